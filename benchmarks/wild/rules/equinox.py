"""Hand-written rules of equinox.

The rule of a function that is decorated with `filter_custom_jvp` is called `fn_wrapper`, and that
of one with `filter_custom_vjp` is called `fn_wrapped`.
"""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "equinox"
CASES: list[Case] = []
case = collector(CASES)


@case
def nextafter():
    import equinox.internal as eqxi

    return eqxi.nextafter, (normal(0, 5),)


@case
def prevbefore():
    import equinox.internal as eqxi

    return eqxi.prevbefore, (normal(1, 5),)


@case
def fn_wrapped__backward_nan():
    import equinox as eqx
    import jax.numpy as jnp

    # A tool for debugging: it is the identity, and prints in the backward pass.
    return lambda x: jnp.sin(eqx.debug.backward_nan(x, terminate=False)), (normal(2, 5),)


@case
def fn_wrapper__error_if():
    import equinox as eqx
    import jax.numpy as jnp

    return lambda x: jnp.sin(eqx.error_if(x, jnp.any(x > 1e9), "too large")), (normal(3, 5),)


@case
def fn_wrapper__error_if_nan():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    def fun(x):
        return jnp.sin(eqxi.error_if(x, jnp.any(x > 1e9), "too large", on_error="nan"))

    return fun, (normal(4, 5, 3),)


@case
def fn_wrapped__checkpointed_while_loop():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    def fun(x, w):
        def body(state):
            i, y = state
            return i + 1, jnp.tanh(w @ y) + 0.5 * y

        start = jnp.asarray(0), x
        return eqxi.while_loop(lambda s: s[0] < 7, body, start, max_steps=7, kind="checkpointed")[1]

    return fun, (normal(5, 3), normal(6, 3, 3))


@case
def fn_wrapper__stop_gradient_on_unperturbed():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    def fun(x):
        # The second part of the state does not depend on `x`.
        def body(state):
            i, y, z = state
            return i + 1, jnp.sin(y) * z, z + 0.5

        start = jnp.asarray(0), x, jnp.ones(5)
        loop = eqxi.while_loop(lambda s: s[0] < 5, body, start, max_steps=8, kind="checkpointed")
        return loop[1:]

    return fun, (normal(7, 5),)


@case
def select_if_vmap():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    def fun(x):
        def body(carry, y):
            carry = jnp.cos(carry) * y
            return carry, carry**2

        return eqxi.scan(body, x[0], x, kind="checkpointed", checkpoints=3)

    return fun, (normal(8, 5, 3),)


@case
def maybe_set():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    def fun(x):
        def body(state):
            i, y, kept = state
            y = jnp.sin(2 * y)
            return i + 1, y, eqxi.buffer_at_set(kept, i, y)

        start = jnp.asarray(0), x, jnp.zeros((5, 3))
        return eqxi.while_loop(
            lambda s: s[0] < 5,
            body,
            start,
            max_steps=5,
            buffers=lambda state: state[2],
            kind="checkpointed",
        )[2]

    return fun, (normal(9, 3),)


@case
def noinline():
    import equinox.internal as eqxi
    import jax.numpy as jnp

    return eqxi.noinline(lambda x, w: jnp.tanh(x @ w)), (normal(10, 5, 3), normal(11, 3, 2))


@case
def announce_jaxpr():
    import equinox as eqx
    import jax.numpy as jnp

    # A tool for debugging: it is the identity, and tells which transformations reach it.
    def fun(x):
        return jnp.sin(eqx.debug.announce_transform(x, announce=lambda message: None))

    return fun, (normal(12, 5),)
