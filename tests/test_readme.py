"""The snippets of the README and of pages beside it run, in order, and print what is said."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Pages that go on where the README ends, with its names.
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("tables", "processes", "nothing-lost")]


def run(text, namespace, capsys):
    """Run the snippets of a page, and return what each printed."""
    printed = []
    for snippet in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(snippet, "README.md", "exec"), namespace)
        printed.append(capsys.readouterr().out)
    return printed


def test_every_snippet_runs_and_shows_what_it_is_for(capsys):
    namespace: dict = {}
    train, tracked, step, table, model, verify, verdict, *others = run(README, namespace, capsys)
    found, cost, forward, deep, together, many, kept, explained, see = others
    losses = namespace["result"].history["loss"]
    assert str(losses) in train
    assert losses[-1] < 0.2 < losses[0]
    assert tracked == ""
    assert step.startswith("57 ")
    assert table.startswith("TableModel(regression of price from 2 columns, realmlp) [")
    assert 250 < float(re.search(r"\[([\d.]+)\]", table)[1]) < 450
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
    assert explained == ""
    assert "dW" in namespace["page"].html
    assert re.fullmatch(r"\{\d+: None\}\n", kept), "the run is saved at its end"
    assert see.splitlines()[1] == "[(5, 128), (5, 10)]"
    assert jnp.isfinite(namespace["dX"]).all()
    (again, classifier), processes, kept_again = (
        run(page.read_text(), namespace, capsys) for page in PAGES
    )
    assert again.startswith("TableModel(regression of price")
    assert float(classifier) > 0.7
    assert processes == [""]
    assert namespace["batch"][0].shape == (1024, 64)
    assert re.fullmatch(r"\{\d+: None\}\n", *kept_again)


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert missing == []


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
