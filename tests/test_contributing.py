"""The guide's "Add an activation", followed to the letter on a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import long

import fcjax

ROOT = Path(__file__).parents[1]
# Where each of the three pieces of code goes: a file, and the line after which.
PLACES = [
    ("fcjax/activations/_smooth.py", None),
    ("fcjax/activations/__init__.py", "from ._smooth import ("),
    ("tests/reference.py", "ACTIVATIONS = {"),
]


def pieces():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(r"^## Add an activation\n(.*?)^## ", guide, re.DOTALL | re.MULTILINE)[1]
    blocks = re.findall(r"^   ```python\n(.*?)^   ```$", section, re.DOTALL | re.MULTILINE)
    return [
        textwrap.indent(block, "").replace("\n   ", "\n").removeprefix("   ") for block in blocks
    ]


def insert(path, piece, after):
    text = path.read_text()
    if after is None:
        path.write_text(f"{text}\n\n{piece}")
    else:
        assert text.count(after) == 1
        path.write_text(text.replace(after, f"{after}\n{piece.rstrip()}"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    for part in ("fcjax", "fcjax_cli", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for (path, after), piece in zip(PLACES, pieces(), strict=True):
        insert(folder / path, piece, after)
    return folder


def run(copy, *command):
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_three_files_are_enough_for_the_tests_of_a_new_activation(copy):
    files = ["tests/test_core.py", "tests/test_activations.py", "tests/test_network.py"]
    said = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "isru or kept", *files)
    assert int(re.search(r"(\d+) passed", said)[1]) > 20
    run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "isru", "fcjax/activations")


@long
def test_networks_and_the_command_know_it_by_name(copy):
    program = """
        import jax, jax.numpy as jnp, fcjax
        assert fcjax.ACTIVATIONS["isru"] is fcjax.isru
        assert fcjax.rule_of(fcjax.isru).keeps == "output"
        params = fcjax.stack(fcjax.init(jax.random.key(0), (3, 4, 4, 4, 2)))
        jax.grad(lambda p: fcjax.mlp(p, jnp.ones((5, 3)), activations="isru").sum())(params)
    """
    run(copy, "-c", textwrap.dedent(program))
    said = run(copy, "-m", "fcjax", "verify", "--only", "isru")
    assert "right on" in said
    assert not hasattr(fcjax, "isru")
