"""The README's snippets run, in order, in one namespace, and print what it says."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_every_snippet_runs_and_shows_what_it_is_for(capsys):
    namespace: dict = {}
    printed = []
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), namespace)
        printed.append(capsys.readouterr().out)
    train, tracked, step, table, classifier, model, verify, verdict, *others = printed
    found, cost, forward, deep, together, many, processes, kept, see = others
    losses = namespace["result"].history["loss"]
    assert str(losses) in train
    assert losses[-1] < 0.2 < losses[0]
    assert tracked == ""
    assert step.startswith("57 ")
    assert table.startswith("TableModel(regression of price from 2 columns, realmlp) [")
    assert 250 < float(re.search(r"\[([\d.]+)\]", table)[1]) < 450
    assert float(classifier) > 0.7
    assert model.startswith("Model(64-128-10 float32, activations='relu'")
    assert verify.strip() in README, "what is printed is what is shown"
    assert verdict == "inconclusive\n"
    assert found.strip() in README, "what is printed is what is shown"
    assert "kept between the passes" in cost
    u, du, d2u = (namespace["jnp"].asarray(float(value)) for value in forward.split())
    step_size = 0.05
    u_of = namespace["u"]
    ahead, behind = u_of(1 + step_size), u_of(1 - step_size)
    assert jnp.isclose(du, (ahead - behind) / (2 * step_size), rtol=0.02)
    assert jnp.isclose(d2u, (ahead - 2 * u + behind) / step_size**2, rtol=0.1, atol=0.02)
    assert deep.strip() == "(99, 32, 32) float32"
    assert len(re.findall(r"\d\.\d+", together)) == 8
    assert (namespace["info"].loss[:, -10:].mean(1) < namespace["info"].loss[:, :10].mean(1)).all()
    assert "'data', None" in many
    assert processes == ""
    assert namespace["batch"][0].shape == (1024, 64)
    assert re.fullmatch(r"\{\d+: None\}\n", kept), "the run is saved at its end"
    assert see.splitlines()[1] == "[(5, 128), (5, 10)]"
    assert jnp.isfinite(namespace["dX"]).all()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_the_counts_are_those_of_the_last_run():
    counts = json.loads((ROOT / "benchmarks/results/power.json").read_text())
    assert f"of {counts['wrong rules']} wrong rules" in README
    assert f"of {counts['correct rules']} correct ones" in README
    rows = re.findall(
        r"^\| `(?:fcjax\.|jax\.test_util\.)?([^`]*)`[^|]*\| (\d+) \| (\d+) \|$", README, re.M
    )
    shown = {name: (int(caught), int(passed)) for name, caught, passed in rows}
    assert shown == {n: (counts["caught"][n], counts["passed"][n]) for n in counts["caught"]}


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_targets_of_the_makefile(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
