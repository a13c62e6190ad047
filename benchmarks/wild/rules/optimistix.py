"""Hand-written rules of optimistix.

The solvers share one rule, the implicit function theorem, which goes by the name `fn_wrapper` that
`equinox.filter_custom_jvp` gives it.
"""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "optimistix"
CASES: list[Case] = []
case = collector(CASES)


@case
def fn_wrapper__newton():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(w, b):
        solver = optx.Newton(rtol=1e-6, atol=1e-6)
        residual = lambda y, args: 2 * y + jnp.tanh(args[0] @ y) - args[1]
        return optx.root_find(residual, solver, jnp.zeros(3), (w, b)).value

    return fun, (0.5 * normal(0, 3, 3), normal(1, 3)), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__bisection():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(a):
        solver = optx.Bisection(rtol=1e-6, atol=1e-6)
        options = {"lower": -3.0, "upper": 3.0}
        root = lambda y, a: y + jnp.exp(a * y) - 2
        return optx.root_find(root, solver, jnp.asarray(0.0), a, options=options).value

    return fun, (jnp.asarray(0.7),), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__chord():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(w, b):
        solver = optx.Chord(rtol=1e-6, atol=1e-6)
        residual = lambda y, args: 3 * y + jnp.sin(args[0] @ y) - args[1]
        return optx.root_find(residual, solver, jnp.zeros(3), (w, b), max_steps=500).value

    return fun, (0.5 * normal(2, 3, 3), normal(3, 3)), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__fixed_point():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(w, b):
        solver = optx.FixedPointIteration(rtol=1e-6, atol=1e-6)
        step = lambda y, args: 0.5 * jnp.tanh(args[0] @ y + args[1])
        return optx.fixed_point(step, solver, jnp.zeros(3), (w, b)).value

    return fun, (0.5 * normal(4, 3, 3), normal(5, 3)), {"rtol": 1e-5, "atol": 1e-5}


@case
def fn_wrapper__bfgs():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(a, b):
        solver = optx.BFGS(rtol=1e-6, atol=1e-6)
        objective = lambda y, args: jnp.sum(jnp.cosh(y - args[1])) + jnp.sum((args[0] @ y) ** 2)
        return optx.minimise(objective, solver, jnp.zeros(3), (a, b)).value

    return fun, (normal(6, 5, 3), normal(7, 3)), {"rtol": 1e-4, "atol": 1e-4}


@case
def fn_wrapper__levenberg_marquardt():
    import jax.numpy as jnp
    import optimistix as optx

    def fun(x, y):
        solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
        residuals = lambda p, args: p[0] * jnp.tanh(p[1] * args[0]) - args[1]
        return optx.least_squares(residuals, solver, jnp.ones(2), (x, y)).value

    x = normal(8, 7)
    y = 1.5 * jnp.tanh(0.8 * x) + 0.1 * normal(9, 7)
    return fun, (x, y), {"rtol": 1e-4, "atol": 1e-4}


@case
def _asarray():
    import jax.numpy as jnp
    import optimistix as optx

    # With this adjoint, the iterations themselves are differentiated.
    def fun(w, b):
        solver = optx.Newton(rtol=1e-6, atol=1e-6)
        residual = lambda y, args: 2 * y + jnp.tanh(args[0] @ y) - args[1]
        adjoint = optx.RecursiveCheckpointAdjoint()
        return optx.root_find(
            residual, solver, jnp.zeros(3), (w, b), max_steps=20, adjoint=adjoint
        ).value

    return fun, (0.5 * normal(10, 3, 3), normal(11, 3)), {"rtol": 1e-5, "atol": 1e-5}
