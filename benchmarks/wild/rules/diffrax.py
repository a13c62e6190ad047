"""Hand-written rules of diffrax.

The rule of the backward solve goes by the name `fn_wrapped` that `equinox.filter_custom_vjp` gives
it, and that of the steady state by the name `fn_wrapper` of `equinox.filter_custom_jvp`.
"""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "diffrax"
CASES: list[Case] = []
case = collector(CASES)


@case
def fn_wrapped__backsolve():
    import diffrax
    import jax.numpy as jnp

    # The backward solve is another discretization of the same equation.
    def fun(y, w):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, w: jnp.tanh(w @ y)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=y,
            args=w,
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-6),
            adjoint=diffrax.BacksolveAdjoint(),
        ).ys

    return fun, (normal(0, 3), normal(1, 3, 3)), {"rtol": 1e-4, "atol": 1e-4}


@case
def fn_wrapped__backsolve_at_times():
    import diffrax
    import jax.numpy as jnp

    def fun(y, k):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, k: -k * y + jnp.cos(t)),
            diffrax.Dopri5(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=y,
            args=k,
            saveat=diffrax.SaveAt(ts=jnp.asarray([0.3, 0.7, 1.0])),
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-6),
            adjoint=diffrax.BacksolveAdjoint(),
        ).ys

    return fun, (normal(2, 2), jnp.asarray([0.5, 1.5])), {"rtol": 1e-4, "atol": 1e-4}


@case
def fn_wrapped__recursive_checkpoint():
    import diffrax
    import jax.numpy as jnp

    # The rule is equinox's, for a loop with checkpoints.
    def fun(y, w):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, w: jnp.tanh(w @ y)),
            diffrax.Heun(),
            t0=0.0,
            t1=1.0,
            dt0=0.1,
            y0=y,
            args=w,
            max_steps=16,
        ).ys

    return fun, (normal(3, 3), normal(4, 3, 3))


@case
def fn_wrapper__implicit():
    import diffrax
    import jax.numpy as jnp

    # The steady state of y' = b - 2 y - tanh(w y).
    def fun(w, b):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: args[1] - 2 * y - jnp.tanh(args[0] @ y)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=jnp.inf,
            dt0=0.1,
            y0=jnp.zeros(3),
            args=(w, b),
            stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-6),
            event=diffrax.Event(diffrax.steady_state_event(rtol=1e-4, atol=1e-6)),
            adjoint=diffrax.ImplicitAdjoint(),
        ).ys[0]

    return fun, (0.5 * normal(5, 3, 3), normal(6, 3)), {"rtol": 1e-3, "atol": 1e-3}
