"""What an installation brings and loads: the core alone, its extras, and how long it all takes."""

import json
import os
import re
import resource
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python(program, *arguments, check=True):
    """Run a program in an interpreter of its own, which may keep the bytecode that it compiles."""
    kept = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=check,
        env={**kept, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(requirements):
    """The names of the packages that pip installs for these requirements, and for theirs."""
    found, todo = set(), [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        name = normalized(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if name not in found:
            found.add(name)
            todo += [(Requirement(text), "") for text in requires(name) or ()]
    return found


# --- the core alone -----------------------------------------------------------------------------

CORE = brought_by(PROJECT["dependencies"])
BEYOND_THE_CORE = sorted(
    name
    for name, packages in packages_distributions().items()
    if {*CORE, "fcjax"}.isdisjoint(map(normalized, packages))
)
# An interpreter that has the core, and nothing else of what is installed here.
CORE_ONLY = f"""
import sys

class CoreOnly:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BEYOND_THE_CORE!r}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(CoreOnly, sys.meta_path)
"""
USE_EVERYTHING = """
import importlib, json, pkgutil, tempfile
import jax, jax.numpy as jnp, optax
import fcjax, fcjax.verify

public = {
    f"{module.__name__}.{name}": repr(getattr(module, name))
    for module in (fcjax, fcjax.activations, fcjax.losses, fcjax.verify)
    for name in dir(module)
}
failed = {}
for module in pkgutil.walk_packages(fcjax.__path__, "fcjax."):
    if not module.name.startswith(("fcjax.__main__", "fcjax.cli.")):  # the command, see below
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed[module.name] = str(error)

x = jnp.linspace(-2, 2, 6).reshape(3, 2)
params = fcjax.init(jax.random.key(0), (2, 3, 1))
loss = lambda params, batch: fcjax.squared_error(fcjax.mlp(params, batch), jnp.ones((3, 1)))
options = dict(loss=loss, optimizer=optax.sgd(0.01), epochs=3, batch_size=3, progress=True)
try:
    fcjax.fit(params, x, checkpoint_dir=tempfile.mkdtemp(), **options)
except ImportError as error:
    failed["checkpoint"] = str(error)
try:
    fcjax.explain(params, x, lambda a: fcjax.squared_error(a, jnp.ones((3, 1))), steps=1)
except ImportError as error:
    failed["explain"] = str(error)
for to in (fcjax.export.to_torch, fcjax.export.to_jax, fcjax.export.to_onnx):
    try:
        to(fcjax.Model(params), tempfile.mkdtemp() + "/file")
    except ImportError as error:
        failed[to.__name__] = str(error)
print(json.dumps({
    "public": sorted(public),
    "failed": failed,
    "verdict": fcjax.check_rule(fcjax.tanh, (x,)).verdict,
    "elementwise": str(fcjax.check_elementwise(fcjax.relu, name="relu")),
    "losses": fcjax.fit(params, x, **options).history["loss"],
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


@pytest.fixture(scope="module")
def core_only():
    return json.loads(python(CORE_ONLY + USE_EVERYTHING).stdout)


def test_the_core_brings_few_packages():
    assert len(CORE) <= 12
    assert CORE.isdisjoint({"scikit-learn", "matplotlib", "rich", "tyro", "orbax-checkpoint"})
    assert {"sklearn", "matplotlib", "rich", "tyro"} <= {*BEYOND_THE_CORE}


def test_the_library_works_with_the_core_alone(core_only):
    assert {"fcjax.mlp", "fcjax.activations.relu", "fcjax.losses.hinge"} < {*core_only["public"]}
    assert core_only["verdict"] == "right"
    assert "relu, all 65536 inputs of bfloat16: right" in core_only["elementwise"]
    first, *_, last = core_only["losses"]
    assert last < first
    assert "tqdm" in core_only["loaded"]
    assert {"sklearn", "matplotlib", "rich", "tyro"}.isdisjoint(core_only["loaded"])


def test_what_needs_an_extra_says_which(core_only):
    assert core_only["failed"] == {
        "fcjax.audit.plugin": "audits of tests need pytest: pip install 'fcjax[audit]'",
        "fcjax.datasets": "data sets need scikit-learn: pip install 'fcjax[app]'",
        "fcjax.estimators": "estimators need scikit-learn 1.7 or newer: "
        "pip install 'fcjax[sklearn]'",
        "fcjax.plot": "plots need matplotlib: pip install 'fcjax[app]'",
        "fcjax.tables.pictures": "plots need matplotlib: pip install 'fcjax[app]'",
        "explain": "pages need jinja2 and latex2mathml: pip install 'fcjax[explain]'",
        "checkpoint": "checkpoints need Orbax: pip install 'fcjax[checkpoint]'",
        "to_jax": "files of JAX need flatbuffers: pip install 'fcjax[export]'",
        "to_onnx": "files of ONNX need onnx: pip install 'fcjax[export]'",
    }


COMMAND = "import sys; from fcjax_cli import main; sys.argv[0] = 'fcjax'; main()"


@pytest.mark.parametrize("arguments", ["", "--help", "train", "verify --only relu"])
def test_the_command_without_its_extra_ends_in_one_line(arguments):
    done = python(CORE_ONLY + COMMAND, *arguments.split(), check=False)
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr == "fcjax: the command needs tyro and rich: pip install 'fcjax[app]'\n"


def test_the_command_says_what_train_lacks():
    for absent, needed in (("matplotlib", "plots need"), ("sklearn", "data sets need")):
        blocked = f"import sys; sys.modules[{absent!r}] = None\n"
        done = python(blocked + COMMAND, "train", check=False)
        assert done.returncode == 1
        assert re.fullmatch(rf"fcjax: {needed} .*: pip install 'fcjax\[app\]'\n", done.stderr)


def test_the_script_is_the_command():
    assert PROJECT["scripts"] == {"fcjax": "fcjax_cli:main"}


# --- what is loaded, and how long it takes ------------------------------------------------------

IMPORT = """
import gc, sys, time
start = time.process_time()
import jax, optax
base = time.process_time() - start
before = set(sys.modules)
gc.collect()  # what JAX made is due to be looked through, whatever is imported next
start = time.process_time()
import fcjax
print(base, time.process_time() - start, *sorted(set(sys.modules) - before))
"""


def test_importing_fcjax_takes_little_more_than_jax_and_optax():
    runs = [python(IMPORT).stdout.split()[:2] for _ in range(5)]
    base, more = (min(map(float, times)) for times in zip(*runs, strict=True))
    # in CPU time; in proportion where a machine takes more than 0.4 s for jax and optax
    assert more <= max(0.06, 0.15 * base)


def test_importing_fcjax_loads_little_else():
    loaded = python(IMPORT).stdout.split()[2:]
    assert "fcjax.verify.check" in loaded
    assert [name for name in loaded if name.startswith("jax._src.pallas")] == []
    outside = {name.partition(".")[0] for name in loaded} - {*sys.stdlib_module_names, "fcjax"}
    assert outside - {"jax", "numpy"} == {"jaxtyping"}
    # models for tables and other formats are loaded where they are used
    parts = {name.split(".")[1] for name in loaded if name.startswith("fcjax.")}
    assert parts.isdisjoint({"tables", "export", "estimators", "plot", "cli", "datasets"})


USES_EXPORT = """
import sys, fcjax
assert "export" in dir(fcjax)
print("fcjax.export" in sys.modules, fcjax.export.to_torch.__name__)
try:
    fcjax.exports
except AttributeError as error:
    print(error)
from fcjax import export
print(export is fcjax.export)
"""


def test_export_is_there_without_an_import_of_its_own():
    done = python(USES_EXPORT)
    assert done.stdout.splitlines() == [
        "False to_torch",
        "module 'fcjax' has no attribute 'exports'",
        "True",
    ]


THEN_LIST = f"""
try:
    {COMMAND}
finally:
    print(*sorted({{*sys.modules}}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    ["--help", "train --help", "verify --help", "checkpoint verify --help", "export --help"],
)
def test_the_help_loads_no_jax(arguments):
    pytest.importorskip("tyro")
    done = python(THEN_LIST, *arguments.split())
    assert "usage: fcjax" in done.stdout
    if "checkpoint" in arguments:
        assert "usage: fcjax checkpoint [-h] {verify} PATH" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "tyro" in loaded
    assert loaded.isdisjoint({"fcjax", "jax", "numpy", "optax", "scipy", "sklearn", "matplotlib"})


def test_the_help_takes_less_than_a_second():
    pytest.importorskip("tyro")

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(COMMAND, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # in CPU time, which is all that it takes on an idle machine
    assert min(seconds() for _ in range(3)) < 1


def test_verify_loads_nothing_of_train(tmp_path):
    pytest.importorskip("tyro")
    options = ["verify", "--only", "relu6", "--checks", "vjp", "--out"]
    done = python(THEN_LIST, *options, str(tmp_path / "verify.json"))
    assert "right on" in done.stdout
    loaded = set(done.stderr.split())
    assert "jax" in loaded
    assert loaded.isdisjoint({"sklearn", "matplotlib", "scipy.stats", "fcjax.datasets"})
