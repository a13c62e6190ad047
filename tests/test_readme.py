"""The README's snippets run, in order, in one namespace, and print what it says."""

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
    train, step, verify, see = printed
    losses = namespace["result"].history["loss"]
    assert str(losses) in train
    assert losses[-1] < 0.2 < losses[0]
    assert step.startswith("57 ")
    differences = [float(line.split()[-1]) for line in verify.splitlines()]
    assert max(differences[:2]) < 1e-5 < 0.1 < differences[2], "db, and only db, is wrong"
    assert see.splitlines()[1] == "[(5, 128), (5, 10)]"
    assert jnp.isfinite(namespace["dX"]).all()


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_targets_of_the_makefile(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
