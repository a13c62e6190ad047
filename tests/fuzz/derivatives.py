"""Calls of forward mode: derivatives along a direction, Jacobians, products with a Hessian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import fcjax

from .judge import Call
from .registry import calls_of
from .rules import wrong_option
from .spec import Invalid, Want, as_numpy, integer, is_one_of, promoted, require
from .values import filled, formed, junk, of_wrong_dtype, rarely, wrong_array, wrong_ones

# Where a function is called with wrong arguments, its own error may pass: it names these.
OWN = (
    "z",
    "x",
    "y",
    "pred",
    "target",
    "product",
    "square",
    "with_aux",
    "broken",
    "model",
    "half",
    "integers",
)


def naming_itself(f):
    """Return a function of a user whose errors begin with its name."""

    @functools.wraps(f)
    def function(*args):
        try:
            return f(*args)
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(f"{f.__name__}: {str(error)[:200]}") from error

    return function


@naming_itself
def product(x, y):
    return fcjax.tanh(x) * y


@naming_itself
def square(x, y):
    return fcjax.squared_error(x, y, reduction="sum")


@naming_itself
def with_aux(x, y):
    return product(x, y), {"n": 3}


@naming_itself
def broken(x, y):
    return jax.lax.while_loop(lambda v: None, lambda v: v * 2, x * y)


@naming_itself
def integers(x, y):
    return x.astype(jnp.int32)


# Their outputs have no derivative, which is none or float0.
WITHOUT_DERIVATIVE = (
    lambda x, y: "text",
    lambda x, y: None,
    integers,
)
WRONG_FUNCTIONS = (*(None, "tanh", 3, broken), *WITHOUT_DERIVATIVE)


def arrays(name, values):
    """Return a tuple or list of two float32 arrays of equal shape, as NumPy arrays."""
    require(isinstance(values, tuple | list) and len(values) == 2, name)
    found = [as_numpy(value) for value in values]
    for value, array in zip(values, found, strict=True):
        require(array is not None and not isinstance(value, list | tuple), name)
        require(jnp.issubdtype(array.dtype, jnp.floating), name)
    return [array.astype(np.float64) for array in found], [
        jax.dtypes.canonicalize_dtype(array.dtype) for array in found
    ]


def broadcast(x, y):
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return True


def point_and_direction(fun, primals, tangents, right):
    (x, y), dtypes = arrays("primals", primals)
    (dx, dy), of_tangents = arrays("tangents", tangents)
    require(is_one_of(fun, right), "fun", "has_aux")
    same = x.shape == y.shape if fun is square else broadcast(x, y)
    require(same, "primals", "fun", "target")
    require((dx.shape, dy.shape) == (x.shape, y.shape), "tangents", "primals")
    require(dtypes == of_tangents, "tangents", "primals")
    return x, y, dx, dy, dtypes


def jvp(fun, primals, tangents, has_aux=False):
    require(isinstance(has_aux, bool), "has_aux")
    right = (product, with_aux, *WITHOUT_DERIVATIVE)
    x, y, dx, dy, dtypes = point_and_direction(fun, primals, tangents, right)
    if is_one_of(fun, WITHOUT_DERIVATIVE):
        return anything()
    require(has_aux == (fun is with_aux), "fun", "has_aux")
    a = np.tanh(x)
    dtype = promoted(*dtypes)
    leaves = [(a * y, dtype), ((1 - a * a) * dx * y + a * dy, dtype)]
    want = Want.one(0, dtype, *dtypes, times=4)
    return Want(leaves, want.allowed)


def without_aux(f):
    """Return `jvp` or a like function, without the auxiliary output."""

    def function(**given):
        return f(**given)[:2]

    function.__name__ = f.__name__
    return function


def a_pair(draw, wrong):
    shape = draw(st.sampled_from(((3,), (2, 3), ())))
    dtype = draw(st.sampled_from(("float32", "float32", "bfloat16")))
    seed = draw(st.integers(0, 7))
    return [jnp.asarray(formed(filled(shape, seed=seed + i), dtype, "jax")) for i in range(2)]


@st.composite
def wrong_pair(draw, pair):
    """Draw what is wrong in place of two arrays."""
    shape = pair[0].shape
    ways = (
        lambda: tuple(pair[:1]),
        lambda: (*pair, *pair),
        lambda: (pair[0], draw(wrong_array(shape))),
        lambda: (draw(of_wrong_dtype(shape)), pair[1]),
        lambda: (pair[0].astype(jnp.float16), pair[1]),
        lambda: pair[0],
        lambda: dict(enumerate(pair)),
        lambda: (None, None),
        lambda: draw(junk()),
    )
    return draw(st.sampled_from(ways))()


def pairs(draw, wrong):
    pair = a_pair(draw, wrong)
    form = draw(st.sampled_from((tuple, list)))
    given = {"primals": form(pair), "tangents": tuple(pair[::-1])}
    for name in given:
        if name in wrong:
            given[name] = draw(wrong_pair(pair))
    return given


def wrong_function(draw):
    drawn = draw(st.one_of(st.sampled_from(WRONG_FUNCTIONS), junk()))
    # what else can be called may be differentiable, or raise errors of its own
    return drawn if any(drawn is f for f in WRONG_FUNCTIONS) or not callable(drawn) else None


@calls_of("jvp", cases=300)
def jvp_calls(draw):
    wrong = wrong_ones(draw, ["fun", "primals", "tangents", "has_aux"])
    given = {"fun": product, "has_aux": False, **pairs(draw, wrong)}
    if rarely(draw):
        given |= {"fun": with_aux, "has_aux": True}
    if "fun" in wrong:
        given["fun"] = wrong_function(draw)
    if "has_aux" in wrong:
        given["has_aux"] = draw(wrong_option())
    return Call(without_aux(fcjax.jvp), given, jvp, wrong=(*wrong, *OWN), uncertain="fun" in wrong)


@calls_of("linearize", cases=250)
def linearize_calls(draw):
    wrong = wrong_ones(draw, ["fun", "primals", "tangents"])
    given = {"fun": product, **pairs(draw, wrong)}
    if "fun" in wrong:
        given["fun"] = wrong_function(draw)

    def linearize(fun, primals, tangents):
        y, f_jvp = fcjax.linearize(fun, *primals)
        return y, f_jvp(*tangents)

    def spec(fun, primals, tangents):
        require(isinstance(primals, tuple | list), "primals")
        require(isinstance(tangents, tuple | list), "tangents")
        return jvp(fun, primals, tangents)

    sequences = [isinstance(given[name], tuple | list) for name in ("primals", "tangents")]
    if not all(sequences):  # not a call of ours: the star itself fails
        given |= {"primals": (jnp.ones(3), jnp.ones(3)), "tangents": (jnp.ones(3), jnp.ones(3))}
    return Call(linearize, given, spec, wrong=(*wrong, "primals", *OWN), uncertain="fun" in wrong)


@calls_of("jacfwd", cases=250)
def jacfwd_calls(draw):
    wrong = wrong_ones(draw, ["fun", "argnums", "has_aux", "primals"])
    given = {"fun": product, "argnums": draw(st.sampled_from((0, 1, -1, (0,), (1, 0), [0, 1])))}
    given["has_aux"] = False
    given["primals"] = pairs(draw, ["primals"] if "primals" in wrong else ())["primals"]
    if not isinstance(given["primals"], tuple | list):
        given["primals"] = (given["primals"],)
    if "fun" in wrong:
        given["fun"] = wrong_function(draw)
    if "argnums" in wrong:
        odd = st.sampled_from((2, -3, (0, 5), "0", None, 0.0, (), (0, 0), True, [[0]]))
        given["argnums"] = draw(st.one_of(odd, junk()))
    if "has_aux" in wrong:
        given["has_aux"] = draw(wrong_option())

    def call(fun, argnums, has_aux, primals):
        return fcjax.jacfwd(fun, argnums, has_aux)(*primals)

    return Call(call, given, jacobian, wrong=(*wrong, "argnums", *OWN), uncertain=bool(wrong))


def jacobian(fun, argnums, has_aux, primals):
    require(isinstance(has_aux, bool), "has_aux")
    several = argnums if isinstance(argnums, tuple | list) else (argnums,)
    several = [integer("argnums", i) for i in several]
    require(several and all(-len(primals) <= i < len(primals) for i in several), "argnums")
    require(len({i % len(primals) for i in several}) == len(several), "argnums")
    for i in several:
        arrays("fun", [primals[i]] * 2)
    try:
        (x, y), dtypes = arrays("fun", primals)
    except Invalid:  # the function may still take what it is not differentiated by
        return anything()
    if is_one_of(fun, WITHOUT_DERIVATIVE):
        return anything()
    require(fun is product, "fun", "has_aux")
    require(broadcast(x, y) and not has_aux, "fun", "has_aux")
    out = np.broadcast_shapes(x.shape, y.shape)
    if x.shape != y.shape:
        shapes = [(*out, *(x, y)[i].shape) for i in several]
        return lambda got: None if shapes == [*map(np.shape, jax.tree.leaves(got))] else f"{got}"
    dtype = promoted(*dtypes)
    a = np.tanh(x)
    by = [(1 - a * a) * y, a]
    leaves = []
    for i in several:
        diagonal = np.diag(np.reshape(by[i], -1)).reshape((*x.shape, *x.shape))
        leaves.append((diagonal, dtype))
    return lambda got: _close(got, leaves, Want.one(0, dtype, *dtypes, times=4).allowed)


def _close(got, leaves, allowed):
    for leaf, (values, _) in zip(jax.tree.leaves(got), leaves, strict=True):
        if leaf.shape != values.shape or not np.allclose(
            np.asarray(leaf, np.float64), values, rtol=0, atol=allowed * 4
        ):
            return f"{leaf}, want {values}"
    return None


def hvp(fun, primals, tangents):
    x, y, dx, dy, dtypes = point_and_direction(fun, primals, tangents, (square, product))
    if fun is product:
        require(x.ndim == y.ndim == 0, "fun")  # it returns no scalar
        a = np.tanh(x)
        slope = 1 - a * a
        second = -2 * a * slope * y * dx + slope * dy, slope * dx
    else:
        require(x.ndim, "fun", "pred", "primals")
        second = 2 * (dx - dy), 2 * (dy - dx)
    wants = list(zip(second, dtypes, strict=True))
    return Want(wants, Want.one(0, dtypes[0], *dtypes, times=4).allowed)


@calls_of("hvp", cases=200)
def hvp_calls(draw):
    wrong = wrong_ones(draw, ["fun", "primals", "tangents"])
    given = {"fun": square, **pairs(draw, wrong)}
    if "fun" in wrong:
        given["fun"] = product if rarely(draw, 2) else wrong_function(draw)
    return Call(fcjax.hvp, given, hvp, wrong=(*wrong, *OWN))


@naming_itself
def model(w):
    return jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) @ w


@naming_itself
def half(y):
    return 0.5 * jnp.sum(y * y)


def gauss_newton_product(model_, loss, params, v):
    require(model_ is model, "model", "fun")
    require(loss is half, "loss")
    p, u = as_numpy(params), as_numpy(v)
    for name, array, value in (("params", p, params), ("v", u, v)):
        require(array is not None and not isinstance(value, list | tuple), name)
        require(array.dtype == np.float32 or array.dtype == np.float64, name)
        require(array.shape == (2,), name, "model")
    J = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    return Want.one(J.T @ J @ u, np.dtype(np.float32))


@calls_of("gauss_newton_product", cases=150)
def gauss_newton_calls(draw):
    wrong = wrong_ones(draw, ["model", "loss", "params", "v"])
    vector = st.integers(0, 7).map(lambda seed: jnp.asarray(filled((2,), seed=seed), jnp.float32))
    given = {"model": model, "loss": half, "params": draw(vector), "v": draw(vector)}
    for name in ("model", "loss"):
        if name in wrong:
            of_one = st.sampled_from((None, "f", lambda w: w, lambda w: "text", jnp.sum))
            given[name] = draw(st.one_of(of_one, junk()))
    for name in ("params", "v"):
        if name in wrong:
            given[name] = draw(wrong_array((2,)))

    def spec(model, loss, params, v):
        return gauss_newton_product(model, loss, params, v)

    if not known(given["model"], model) or not known(given["loss"], half):
        spec = anything
    uncertain = spec is anything
    return Call(
        fcjax.gauss_newton_product, given, spec, wrong=(*wrong, "fun", *OWN), uncertain=uncertain
    )


def known(function, right):
    return function is right or not callable(function)


def anything(**_):
    """The spec of a call with a function that may or may not do: any result or a good error."""
    return Want(None, 0.0)
