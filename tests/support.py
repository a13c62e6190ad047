"""One checker for every rule: `check_gradients` and `check_transformations` of a `Case`."""

import contextlib
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import fcjax
from fcjax._jax import compiled

# Errors that are allowed, in units of the dtype's eps and of the largest entry. In float32 and
# float64, rounding errors of sums add up; in the narrow types only inputs, outputs and a few
# factors are rounded, for sums are accumulated in float32.
MULTIPLES_OF_EPS = {"float64": 64, "float32": 64, "bfloat16": 4, "float16": 8}
# Whether tests that take turns all run, as for `make test-every`.
EVERY = "FCJAX_EVERY_CHECK" in os.environ
# What finite differences in float64 can resolve.
DIFFERENCES = 1e-9


class Case(NamedTuple):
    """A rule at a point, and two independent programs for the same function.

    All three are called with `args`, each of them differentiable; `args` are NumPy float64.
    """

    name: str
    rule: Callable
    plain: Callable
    program: Callable
    args: tuple


def plain_activation(name):
    """The function of `jax.nn`, whose derivative nobody here wrote.

    Where `jax.nn` has none, that of fcjax without its rule.
    """
    return getattr(jax.nn, name, None) or inspect.unwrap(getattr(fcjax, name))


def names(cases):
    """Ids for `pytest.mark.parametrize`."""
    return [case.name for case in cases]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def uniform(seed, *shape, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def tolerance(dtype):
    return MULTIPLES_OF_EPS[jnp.dtype(dtype).name] * float(jnp.finfo(dtype).eps)


def assert_close(got, want, allowed, what=""):
    """Compare within `allowed` times the largest entry of `want`; NaN and ∞ must be the same."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    size = np.max(np.abs(want), initial=0.0, where=np.isfinite(want))
    # what is zero but for rounding errors has no size of its own
    atol = allowed * (size if size > 1e-12 else 1)
    np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=what)


def assert_trees_close(got, want, allowed, what=""):
    assert jax.tree.structure(got) == jax.tree.structure(want), what
    for path, leaf in jax.tree.leaves_with_path(got):
        other = dict(jax.tree.leaves_with_path(want))[path]
        assert_close(leaf, other, allowed, f"{what}{jax.tree_util.keystr(path)}")


def assert_same_bits(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def cast(args, *dtypes):
    """As JAX arrays, of one dtype or of one dtype each."""
    dtypes = dtypes * len(args) if len(dtypes) == 1 else dtypes
    return tuple(_array(arg, dtype) for arg, dtype in zip(args, dtypes, strict=True))


def _array(values, dtype):
    # converted by NumPy: each conversion by JAX is one more program to compile
    return jnp.asarray(np.asarray(values, jnp.dtype(dtype)))


def exactly(arrays):
    """The values that arrays of any dtype hold, as NumPy float64."""
    return tuple(np.asarray(array).astype(np.float64) for array in arrays)


def random_like(array, seed=99):
    """A cotangent whose entries all differ: uniform ones hide a wrong sum."""
    return _array(normal(seed, *array.shape), array.dtype)


def check_gradients(case, *dtypes, jit=True):
    """Value and gradient by each argument, against autodiff and finite differences.

    The oracles are computed in float32 at least, from the same rounded arguments. `jit` compiles
    one program instead of one per operation: quicker, unless many cases share their operations.
    """
    run = pullback if jit else _pullback
    args = cast(case.args, *dtypes)
    dy = random_like(jax.eval_shape(case.rule, *args))
    y, gradients = run(case.rule, args, dy)
    wide = jnp.promote_types(jnp.result_type(*args), jnp.float32)
    # the coarsest rounding anywhere decides
    allowed = max(tolerance(a.dtype) for a in (*args, y))
    plain_args, (plain_dy,) = cast(exactly(args), wide), cast(exactly([dy]), wide)
    _, plain_gradients = run(case.plain, plain_args, plain_dy)
    differences = reference.numerical_vjp(case.program, exactly(args), exactly([dy])[0])
    assert_close(y, case.program(*exactly(args)), allowed, "value")
    for i, arg in enumerate(args):
        got = gradients[i]
        assert got.dtype == arg.dtype, f"argument {i}: {got.dtype} for {arg.dtype}"
        assert got.shape == arg.shape, f"argument {i}: {got.shape} for {arg.shape}"
        assert_close(got, plain_gradients[i], allowed, f"argument {i}, autodiff")
        assert_close(got, differences[i], max(allowed, DIFFERENCES), f"argument {i}, differences")


def pointwise(f, z):
    """Value and derivative of an elementwise function at each point."""
    a, (da,) = pullback(f, (z,), jnp.ones_like(z))
    return a, da


def pullback(f, args, dy):
    """Value and gradients, from one compiled program."""
    return _compiled(_pullback, f, args, dy)


def _pullback(f, args, dy):
    y, pull = jax.vjp(f, *args)
    return y, pull(dy)


@contextlib.contextmanager
def quick_networks():
    """Let RealMLP have one small hidden layer, which is compiled in half the time of three."""
    from fcjax.tables import fitting, presets

    network_of = presets.network_of

    def small(*arguments):
        network = network_of(*arguments)
        is_realmlp = hasattr(network, "hidden")
        return dataclasses.replace(network, hidden=(64,)) if is_realmlp else network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "network_of", small)
        yield


# For tests that take long, and beside which a shorter one has the same subject.
long = pytest.mark.skipif(not EVERY, reason="takes long: it runs in `make test-every`")


def in_turn(cases, part):
    """Return one case of `part`, or all of them for `make test-every`."""
    return list(cases)[:: 1 if EVERY else part]


def every_check(estimators, expected=None, part=1):
    """Decorate a test with scikit-learn's checks of two estimators that share their code.

    A check that both have runs on one of them, in turns, and of these one of `part`; all run for
    `make test-every`.
    """
    from sklearn.utils.estimator_checks import parametrize_with_checks

    mark = parametrize_with_checks(estimators, expected_failed_checks=lambda _: expected or {})
    if EVERY:
        return mark
    names, kept = [], []
    for case in mark.args[1]:
        estimator, check = getattr(case, "values", case)
        name = getattr(check, "func", check).__name__, str(getattr(check, "keywords", ""))
        names.append((type(estimator).__name__, name))
        kept.append(case)
    both = sorted({n for _, n in names if len({kind for kind, other in names if other == n}) > 1})
    turn = {n: type(estimators[i % 2]).__name__ for i, n in enumerate(both)}
    chosen = [
        case for case, (kind, n) in zip(kept, names, strict=True) if turn.get(n, kind) == kind
    ]
    return pytest.mark.parametrize(mark.args[0], in_turn(chosen, part), **mark.kwargs)


def check_transformations(case, dtype):
    """`jit`, `vmap` over each argument, second derivatives of each kind, and `scan`."""
    args = cast(case.args, dtype)
    dy = random_like(jax.eval_shape(case.rule, *args))
    got, want = (_compiled(_transformed, f, args, dy) for f in (case.rule, case.plain))
    # second derivatives lose more digits than first ones
    allowed = 16 * tolerance(dtype)
    assert_trees_close(got, want, allowed)
    again = _compiled(_reverse_over_reverse, case.rule, args, dy)
    assert_trees_close(again, want["hessian"], allowed, "reverse over reverse")


def _compiled(function, f, args, dy):
    """Run under `jit`, compiled quickly rather than well."""
    return compiled(partial(function, f), args, dy, quickly=True)(args, dy)


def _loss(f, dy):
    def loss(*args):
        # not linear in f, so that the second derivatives of f meet a varying cotangent
        y = f(*args)
        return jnp.sum(dy * y) + 0.5 * jnp.sum(y * y)

    return loss


def _transformed(f, args, dy):
    argnums = tuple(range(len(args)))
    loss = _loss(f, dy)
    gradient = jax.grad(loss, argnums)
    directions = tuple(random_like(arg, seed) for seed, arg in enumerate(args))
    return {
        "vmap": [_mapped(gradient, args, i) for i in argnums],
        "hessian": jax.hessian(loss, argnums)(*args),
        "gradient, jvp of grad": jax.jvp(gradient, args, directions),
        "scan": jax.grad(_scanned(loss), argnums)(*args),
    }


def _reverse_over_reverse(f, args, dy):
    argnums = tuple(range(len(args)))
    return jax.jacrev(jax.grad(_loss(f, dy), argnums), argnums)(*args)


def _mapped(gradient, args, argument):
    """Gradients of three examples that differ in one argument."""
    factors = jnp.asarray([1.0, 0.9, 1.1], args[argument].dtype)
    stack = jax.vmap(lambda factor: args[argument] * factor)(factors)
    in_axes = [0 if i == argument else None for i in range(len(args))]
    return jax.vmap(gradient, in_axes)(*args[:argument], stack, *args[argument + 1 :])


def _scanned(loss):
    def total(x, *others):
        def step(carry, factor):
            return carry + loss(x * factor, *others), None

        start = jnp.zeros((), jnp.result_type(loss(x, *others)))
        return jax.lax.scan(step, start, jnp.asarray([1.0, 0.9, 1.1], x.dtype))[0]

    return total


def command(monkeypatch, *arguments):
    """Run the command in this process; return what it exits with."""
    pytest.importorskip("tyro")
    from fcjax_cli import main

    monkeypatch.setattr(sys, "argv", ["fcjax", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


def command_line(monkeypatch, capsys, name):
    """The command `fcjax NAME`: it returns its status or its last words, and what it prints."""
    from fcjax import cli  # late: it needs packages that the core does not

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fcjax", name, *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, capsys.readouterr().out

    return run
