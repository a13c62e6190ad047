"""What contributors are told: the targets of the Makefile, the hooks, and the documents' links."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_explains_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"^make (\S+) +\S", shown.stdout, re.MULTILINE) == TARGETS
    assert "#" not in shown.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_check_is_the_beginning_of_make_test():
    def commands(target):
        said = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return [line for line in said.stdout.splitlines() if re.match(r"\S*bin/", line)]

    *check, core = [line for line in commands("check") if " -m pip" not in line]
    *test, everything = [line for line in commands("test") if " -m pip" not in line]
    assert check == test
    assert len(check) == 3
    assert "tests/test_core.py" in core
    assert everything.endswith("pytest -n auto --dist worksteal")


def test_the_hooks_have_the_versions_of_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    pins = re.findall(r"additional_dependencies: \[(.*)\]", hooks)
    assert len(pins) == 2
    assert set(pins) <= set(project["optional-dependencies"]["test"])
    assert re.findall(r"repo: (.*)", hooks) == ["local"]


def test_files_that_the_guide_names_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:fcjax|fcjax_cli|tests|examples|benchmarks)/[^`\s]*)`", text)
    named += re.findall(r"\]\(([^)#]+)\)", text)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_tests_that_show_the_promises_are_there():
    text = (ROOT / "docs" / "scale-and-safety.md").read_text()
    named = re.findall(r"`(test_\w+)(?:\.py)?`", text)
    tests = {path.stem: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    there = {*tests, *re.findall(r"^def (test_\w+)", "\n".join(tests.values()), re.MULTILINE)}
    assert len(named) > 40
    assert [name for name in named if name not in there] == []
