"""How every test runs: types checked, exact matrix products, eight simulated devices."""

import contextlib
import importlib.util

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

# Simulated CPU devices, for the tests of sharding; accelerators keep the number that they have.
jax.config.update("jax_num_cpu_devices", 8)
# A float32 product is one of float32 on accelerators too, not of bfloat16 or TF32.
jax.config.update("jax_default_matmul_precision", "highest")

pytest.register_assert_rewrite("support")


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
