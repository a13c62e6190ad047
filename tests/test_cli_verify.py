"""`fcjax verify`: the library's own rules, and somebody else's function."""

import json
import sys

import pytest

pytest.importorskip("tyro")

from fcjax import activations, cli, losses
from fcjax.cli.rules import built_in

MODULE = """
import jax, jax.numpy as jnp

def plain(x, w, labels, scale):
    return scale * jnp.sum((x @ w)[jnp.arange(len(labels)), labels])

wrong = jax.custom_vjp(plain, nondiff_argnums=(3,))
def fwd(x, w, labels, scale):
    return plain(x, w, labels, scale), (x, w, labels)
def bwd(scale, kept, dy):
    x, w, labels = kept
    dZ = jnp.zeros((x.shape[0], w.shape[1]), x.dtype)
    dZ = dZ.at[jnp.arange(len(labels)), labels].set(scale * dy)
    return dZ @ w.T, x.T @ dZ / 5, None
wrong.defvjp(fwd, bwd)
"""


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_rules.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "own_rules", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fcjax", "verify", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
        return code, capsys.readouterr().out

    return run


SHAPES = ["--shapes", "5x3", "3x2", "5:2", "0.5"]
CHECKS = ["--checks", "vjp", "finite_differences"]


def test_a_function_of_somebody_else(run, tmp_path):
    code, out = run("own_rules:wrong", *SHAPES, *CHECKS, "--out", "report.json")
    assert code == 1
    assert "✗ vjp, w: a factor 1/5 too many" in out
    assert "1 of 1 are wrong" in out
    (report,) = json.loads((tmp_path / "report.json").read_text()).values()
    assert {r["argument"] for r in report["results"] if r["status"] == "failed"} == {"w"}
    code, out = run("own_rules:plain", *SHAPES, *CHECKS, "--reference", "own_rules:plain")
    assert code == 0
    assert "all 1 are right" in out


def test_the_built_in_rules(run, tmp_path):
    code, out = run("--only", "relu", "--checks", "vjp", "kinks", "--dtypes", "float32", "bfloat16")
    assert code == 0
    reports = json.loads((tmp_path / "out/verify.json").read_text())
    names = [case.name for case in built_in() if "relu" in case.name]
    assert list(reports) == [f"{n}, {d}" for n in names for d in ("float32", "bfloat16")]
    assert all(report["ok"] for report in reports.values())
    assert f"all {len(reports)} are right on" in out


def test_every_number_of_a_dtype(run, tmp_path):
    arguments = ["--exhaustive", "--only", "tanh", "--dtypes", "bfloat16", "float16"]
    code, out = run(*arguments)
    assert code == 0
    assert "tanh, all 65536 inputs of bfloat16: right" in out
    assert "all 4 are right" in out  # tanh and hard_tanh, in two dtypes
    assert (tmp_path / "out/exhaustive-tanh-bfloat16.json").exists()
    assert len(json.loads((tmp_path / "out/verify.json").read_text())) == 4
    assert run(*arguments)[0] == 0, "goes on with what is known"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own_rules:wrong"], "shapes: give one for each argument"),
        (["own_rules", *SHAPES], "must have the form package.module:function"),
        (["own_rules:absent", *SHAPES], "own_rules has no function 'absent'"),
        (["absent_module:f", *SHAPES], "No module named 'absent_module'"),
        (["own_rules:wrong", "--shapes", "5y3"], "shapes: '5y3' is none of"),
        (["--exhaustive", "--only", "dense"], "no elementwise activation has 'dense'"),
        (["--only", "nothing"], "no built-in rule has 'nothing' in its name"),
        (["--only", "relu", "--checks", "vpj"], "checks: 'vpj' is unknown"),
        (["--only", "relu", "--dtypes", "float33"], "float33"),
    ],
)
def test_wrong_arguments_are_explained_in_one_line(arguments, message, run):
    code, _ = run(*arguments)
    assert isinstance(code, str)
    assert message in code
    assert "\n" not in code


def test_every_public_rule_is_built_in():
    names = " ".join(case.name for case in built_in())
    rules = [*activations.ACTIVATIONS, "dense", "layer_norm", "rms_norm", "dropout", "mlp"]
    rules += [
        name for name in vars(losses) if not name.startswith("_") and callable(vars(losses)[name])
    ]
    assert len(rules) > 35
    assert [name for name in rules if name not in names] == []
