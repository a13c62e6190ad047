"""How every test runs: types checked, exact matrix products, eight simulated devices."""

import contextlib
import gc
import importlib.metadata
import importlib.util
import os
import tempfile
from functools import partial

# Most of the time, XLA compiles programs that run once or twice. On a CPU they are compiled quickly
# rather than well. XLA_FLAGS from outside replaces this: `XLA_FLAGS= make test` tests the programs
# that users run. A flag that a version does not know would end the process.
if not importlib.metadata.entry_points(group="jax_plugins"):
    jaxlib = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    older = " --xla_cpu_use_fusion_emitters=false" if jaxlib < (0, 11) else ""
    quick = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", quick + older)
# This folder keeps compiled programs for later tests, after memory has dropped them, and for the
# scripts that tests start. Each worker has its own: JAX does not lock the files.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="fcjax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_COMPILATION_CACHE_DIR"] += "/" + os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import jax.numpy as jnp
import pytest

CHECKS_TYPES = all(importlib.util.find_spec(name) for name in ("jaxtyping", "beartype"))

if CHECKS_TYPES:
    # Before fcjax is imported anywhere: the shapes in its signatures are then checked at each call.
    import jaxtyping

    # An int will do for a float, as in Python's own typing.
    tower = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    jaxtyping.install_import_hook("fcjax", tower)

    # What users call in the checker. To check its thousands of small calls takes minutes.
    CHECKER = tuple(f"fcjax.verify.{name}" for name in ("check", "elementwise", "report", "rules"))

    def of_modules(fn, *, check):
        """Check what modules and classes define: to decorate inner functions takes minutes."""
        place = getattr(fn, "__module__", "")
        internal = place.startswith("fcjax.verify.") and not place.startswith(CHECKER)
        return fn if internal or "<locals>" in getattr(fn, "__qualname__", "") else check(fn)

    jaxtyped = jaxtyping.jaxtyped
    jaxtyping.jaxtyped = lambda **options: partial(of_modules, check=jaxtyped(**options))

# Simulated CPU devices, for the tests of sharding; accelerators keep the number that they have.
jax.config.update("jax_num_cpu_devices", 8)
# A float32 product is one of float32 on accelerators too, not of bfloat16 or TF32.
jax.config.update("jax_default_matmul_precision", "highest")

pytest.register_assert_rewrite("support")


def pytest_collection_modifyitems(config, items):
    """Keep one of k cases of the tests marked so, with each value of each parameter among them."""
    from support import EVERY

    kept, left = [], []
    for item in items:
        marker = item.get_closest_marker("in_turn")
        indices = getattr(getattr(item, "callspec", None), "indices", {})
        is_left = marker and not EVERY and sum(indices.values()) % marker.args[0]
        (left if is_left else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


# A compiled program takes about a megabyte of memory.
PROGRAMS_HELD = 500
_compiled = []


def _count_compiled(event, _, **__):
    if event.endswith("backend_compile_duration"):
        _compiled.append(event)


jax.monitoring.register_event_duration_secs_listener(_count_compiled)


def pytest_collection_finish():
    """Spare the collector what lives to the end: it looks at all objects hundreds of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _forget():
    """Let go of compiled programs, which JAX would keep to the end."""
    yield
    if len(_compiled) > PROGRAMS_HELD:
        _compiled.clear()
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64():
    """The widest dtype of the machine, float64 wherever there is one."""
    if jax.default_backend() == "tpu":
        yield jnp.float32
    else:
        with jax.enable_x64(True):
            yield jnp.float64


@contextlib.contextmanager
def _types_unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unchecked():
    """Without the type checks, so that a test sees the errors that users see."""
    with _types_unchecked() if CHECKS_TYPES else contextlib.nullcontext():
        yield


# JAX has two implementations of hand-written rules; a flag that a version lacks is left out.
FLAGS = [name for name in ("jax_custom_vjp3", "jax_custom_jvp3") if name in jax.config.values]


@pytest.fixture(params=[False, True], ids=["flags off", "flags on"])
def flags(request):
    """The implementation of hand-written rules, for the rules that a test defines itself."""
    before = {name: jax.config.values[name] for name in FLAGS}
    for name in FLAGS:
        jax.config.update(name, request.param)
    yield request.param
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def compilations():
    """A list with one entry per compiled program."""
    seen = []

    def note(event, _, **__):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.fixture(scope="module")
def browser():
    """A real browser, for the tests in `browser/`."""
    from chromium import CHROMIUM, playwright  # which skips where there is none

    with playwright.sync_playwright() as running:
        quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(quiet))
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark", "phone", "phone-dark"])
def setting(request):
    """A size and a colour scheme of a browser."""
    return request.param
