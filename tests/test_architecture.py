"""Imports run one way: rules ← network ← train ← command; each outside library has one home."""

import ast
from pathlib import Path

import pytest

import fcjax

PACKAGE = Path(fcjax.__file__).parent
RULES = {"dense", "activations", "losses", "norms", "dropout"}
SHARED = {"_arguments", "_cotangent", "_rule"}

ALLOWED = {
    **dict.fromkeys(RULES, SHARED),
    "dense": SHARED | {"_transposed"},
    "_jax": set(),
    "_ranges": set(),
    "_transposed": {"_jax"},
    "losses": SHARED | {"_ranges", "dense"},
    **dict.fromkeys(SHARED, SHARED),
    "_cotangent": SHARED | {"_jax"},
    "network": SHARED | {"_jax", "dense", "activations"},
    "checkpoint": {"_arguments"},
    "plot": set(),
    "forward_mode": {"_arguments", "_jax"},
    "verify": {"_jax", "forward_mode"},
    "datasets": {"_arguments"},
    "train": {"_arguments", "_ranges", "checkpoint"},
    "cli": {
        "_arguments",
        *RULES,
        "network",
        "train",
        "verify",
        "datasets",
        "plot",
    },
    "__main__": {"cli"},
}

HOMES = {
    "optax": {"train", "estimators", "cli"},
    "matplotlib": {"plot"},
    "sklearn": {"datasets", "estimators"},
    "orbax": {"checkpoint"},
    "tyro": {"cli"},
    "rich": {"cli", "verify"},
    "tqdm": {"train", "verify"},
}


def imports(path):
    """Yield (parts of fcjax, outside libraries) that a file imports at any level."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((None, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield None, node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((name.split(".")[0], None) for name in names)


FILES = [p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for inner, outer in imports(path):
        assert inner is None or inner in ALLOWED[part] | {part}, f"{part} must not import {inner}"
        assert part in HOMES.get(outer, {part}), f"only {HOMES[outer]} know {outer}"


def test_the_checker_knows_nothing_of_what_it_checks():
    for path in (PACKAGE / "verify").rglob("*.py"):
        inner = {name for name, _ in imports(path) if name}
        # the public names of forward mode are listed beside those of the checker
        allowed = {"_jax", "forward_mode"} if path.stem == "__init__" else {"_jax"}
        assert inner <= allowed, path
        outside = {name for _, name in imports(path) if name}
        assert outside.isdisjoint({"sklearn", "matplotlib", "tyro", "optax"}), path


def test_the_checker_catches_everything_in_one_place_only():
    files = (PACKAGE / "verify").rglob("*.py")
    broad = [
        path.name
        for path in files
        for line in path.read_text().splitlines()
        if line.strip().startswith(("except Exception", "except BaseException", "except:"))
    ]
    assert broad == ["program.py"]


@pytest.mark.parametrize("path", list(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_an_init_only_re_exports(path):
    statements = ast.parse(path.read_text()).body[1:]  # after the docstring
    assert all(isinstance(statement, ast.ImportFrom) for statement in statements)


def public_functions():
    for name, value in vars(fcjax).items():
        if callable(value) and not name.startswith("_") and not isinstance(value, type):
            yield pytest.param(value, id=name)


@pytest.mark.parametrize("function", list(public_functions()))
def test_a_public_function_has_an_example_and_a_source(function):
    text = function.__doc__
    assert ">>>" in text
    assert "Source:" in text
