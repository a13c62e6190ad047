"""`fcjax cost`: what a rule saves, from the command line."""

import json
import sys

import pytest

pytest.importorskip("tyro")

from support import command_line

MODULE = """
import jax, jax.numpy as jnp

def _root(a):  # Newton's steps, which stop early
    x = (1 + a) / 2
    x = (x + a / x) / 2
    return (x + a / x) / 2

root = jax.custom_vjp(_root)
root.defvjp(lambda a: (_root(a), a), lambda a, dy: (dy / 2 / jnp.sqrt(a),))

def plain(a):
    return jnp.sqrt(a)

def no_rule(x):
    return jnp.sin(x)

def point():
    return (jnp.linspace(0.6, 2.0, 50),)
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """The command, in a folder with `costs.py`: its exit status, and what it prints."""
    (tmp_path / "costs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "costs", raising=False)

    command = command_line(monkeypatch, capsys, "cost")

    def run(*arguments):
        code, out = command(*arguments)
        # Python prints a text, and exits with 1
        return (1, code) if isinstance(code, str) else (code, out)

    return run


def test_a_rule_and_its_report_as_json(run, tmp_path):
    out = ["--out", "new/cost.json"]
    code, out = run("fcjax:gelu", "--shapes", "64x100", "--seconds", "0.01", *out)
    assert code == 0
    assert "kept between the passes" in out
    report = json.loads((tmp_path / "new" / "cost.json").read_text())
    assert report["rule"]["kept_bytes"] == 0
    assert report["agrees"] is True
    assert report["verdict"] in out


@pytest.mark.parametrize("accuracy", [[], ["--rtol", "1e-2"], ["--atol", "1e-2"]], ids=str)
def test_the_accuracy_of_the_function_is_allowed_for(run, accuracy):
    _, out = run("costs:root", "--args", "costs:point", "--seconds", "0.01", *accuracy)
    assert ("run check_rule" in out) != bool(accuracy)


def test_another_reference(run):
    given = ["--args", "costs:point", "--reference", "costs:plain", "--seconds", "0.01"]
    code, out = run("costs:root", *given)
    assert code == 1
    assert "reference must return the values of fun up to rounding" in out
    code, out = run("costs:root", *given, "--rtol", "1e-2")
    assert code == 0
    assert "time of a call" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["costs:no_rule", "--shapes", "5"], "fun has no hand-written rule"),
        (["costs:absent", "--shapes", "5"], "absent"),
        (["costs:root", "--shapes", "5", "--seconds", "0"], "seconds must be positive"),
        (["costs:root", "--shapes", "5", "--rtol", "-1"], "rtol must"),
        (["costs:root", "--shapes", "5", "--out", "."], "out: . is a folder"),
        (["costs:root"], "shapes: got none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_are_explained_in_one_line(run, arguments, message):
    code, out = run(*arguments)
    assert code == 1
    assert message in out
    assert len(out.strip().splitlines()) == 1
