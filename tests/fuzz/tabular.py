"""Calls of the rules of networks for tables."""

import numpy as np
import reference
from hypothesis import strategies as st

import fcjax

from .judge import Call
from .registry import calls_of
from .rules import COMPUTE, has_gradient
from .spec import Want, floating_dtype, one_of, promoted, reals, require
from .values import SIZES, TOGETHER, floats, formed, junk, rarely, wrong_array, wrong_ones

SIZE = st.sampled_from(SIZES)
BATCH = st.sampled_from(((), (3,), (2, 3)))


def drawn(draw, shapes, wrong):
    dtypes = draw(st.sampled_from(TOGETHER))
    return {
        name: draw(wrong_array(shape) if name in wrong else floats(shape, dtypes=dtypes))
        for name, shape in shapes.items()
    }


def dtypes_of(*arrays):
    return [V.dtype for V in arrays if V is not None]


# --- scale, and parametric ------------------------------------------------------------------------


def scale(x, s):
    x, s = reals("x", x), reals("s", s)
    require(x.v.ndim and s.shape == x.shape[-1:], "s", "x")
    require(x.shape[-1], "x", "s")
    dtypes = dtypes_of(x, s)
    return Want.one(x.v * s.v, promoted(*dtypes), *dtypes)


@calls_of("scale", cases=400, wide=True)
def scale_calls(draw):
    n = draw(SIZE)
    shapes = {"x": (*draw(BATCH), n), "s": (n,)}
    wrong = wrong_ones(draw, [*shapes])
    given = drawn(draw, shapes, wrong)
    names = () if wrong else has_gradient(draw, given, [*shapes])
    return Call(fcjax.scale, given, scale, names, wrong)


BENT = ("tanh", "selu", "silu", "softplus")


def parametric(z, alpha, activation="selu"):
    z, alpha = reals("z", z), reals("alpha", alpha)
    require(z.v.ndim and alpha.shape == z.shape[-1:], "alpha", "z")
    require(z.shape[-1], "z", "alpha")
    one_of("activation", activation, BENT)
    dtypes = dtypes_of(z, alpha)
    with np.errstate(all="ignore"):
        y = z.v + alpha.v * (reference.ACTIVATIONS[activation](z.v) - z.v)
    return Want.one(y, promoted(*dtypes), *dtypes, times=4)


@calls_of("parametric", cases=400, wide=True)
def parametric_calls(draw):
    n = draw(SIZE)
    shapes = {"z": (*draw(BATCH), n), "alpha": (n,)}
    wrong = wrong_ones(draw, [*shapes, "activation"])
    given = drawn(draw, shapes, wrong)
    odd = st.sampled_from(("selo", "", 3, None, "glu", ["selu"], b"selu"))
    given["activation"] = draw(odd if "activation" in wrong else st.sampled_from(BENT))
    names = () if wrong else has_gradient(draw, given, [*shapes])
    return Call(fcjax.parametric, given, parametric, names, wrong)


# --- ensembles ------------------------------------------------------------------------------------


def ensemble_dense(x, w, r, s, b=None, *, compute_dtype=None):
    x, w, r, s = reals("x", x), reals("w", w), reals("r", r), reals("s", s)
    b = None if b is None else reals("b", b)
    compute_dtype = floating_dtype("compute_dtype", compute_dtype)
    every = ("x", "w", "r", "s", "b")
    require(w.v.ndim == 2, *every)
    require(r.v.ndim == 2 and r.shape[1] == w.shape[0], *every)
    require(s.shape == (len(r.v), w.shape[1]), *every)
    require(b is None or b.shape == s.shape, *every)
    require(x.v.ndim > 1 and x.shape[-1] == w.shape[0], *every)
    require(x.shape[-2] in (1, len(r.v)), *every)
    require(x.v.size, *every)
    Y = reference.ensemble_dense(x.v, w.v, r.v, s.v, None if b is None else b.v)
    dtypes = dtypes_of(x, w, r, s, b)
    coarse = [compute_dtype] if compute_dtype else []
    return Want.one(Y, promoted(*dtypes), *dtypes, *coarse, times=4)


@calls_of("ensemble_dense", cases=800, wide=True)
def ensemble_dense_calls(draw):
    n, m, k = draw(SIZE), draw(SIZE), draw(st.sampled_from((1, 2)))
    of_x = draw(st.sampled_from((1, k)))
    shapes = {
        "x": (*draw(BATCH), of_x, n), "w": (n, m), "r": (k, n), "s": (k, m), "b": (k, m),
    }  # fmt: skip
    wrong = wrong_ones(draw, [*shapes, "compute_dtype"])
    # 0 ∞ depends on the order of the products, and two large factors overflow in 16 bits
    fills = ("grid",) * 6 + ("zeros",)
    dtypes = draw(st.sampled_from(TOGETHER))
    given = {
        name: draw(wrong_array(shape) if name in wrong else floats(shape, fills, dtypes))
        for name, shape in shapes.items()
    }
    if rarely(draw) and "b" not in wrong:
        given["b"] = None
    given["compute_dtype"] = draw(junk() if "compute_dtype" in wrong else COMPUTE)
    names = [name for name in shapes if given[name] is not None]
    differentiable = has_gradient(draw, given, names) if not wrong else ()
    return Call(fcjax.ensemble_dense, given, ensemble_dense, differentiable, wrong)


def grouped_dense(x, w, b=None, *, compute_dtype=None):
    x, w = reals("x", x), reals("w", w)
    b = None if b is None else reals("b", b)
    compute_dtype = floating_dtype("compute_dtype", compute_dtype)
    require(w.v.ndim == 3, "w", "x")
    require(x.v.ndim > 1 and x.shape[-2:] == w.shape[:2], "x", "w")
    require(b is None or b.shape == (w.shape[0], w.shape[2]), "b", "w", "x")
    require(x.v.size, "x", "w")
    Z = reference.grouped_dense(x.v, w.v, None if b is None else b.v)
    dtypes = dtypes_of(x, w, b)
    coarse = [compute_dtype] if compute_dtype else []
    return Want.one(Z, promoted(*dtypes), *dtypes, *coarse)


@calls_of("grouped_dense", cases=600, wide=True)
def grouped_dense_calls(draw):
    n, m, groups = draw(SIZE), draw(SIZE), draw(st.sampled_from((1, 2)))
    shapes = {"x": (*draw(BATCH), groups, n), "w": (groups, n, m), "b": (groups, m)}
    wrong = wrong_ones(draw, [*shapes, "compute_dtype"])
    given = drawn(draw, shapes, wrong)
    if rarely(draw) and "b" not in wrong:
        given["b"] = None
    given["compute_dtype"] = draw(junk() if "compute_dtype" in wrong else COMPUTE)
    names = [name for name in shapes if given[name] is not None]
    differentiable = has_gradient(draw, given, names) if not wrong else ()
    return Call(fcjax.grouped_dense, given, grouped_dense, differentiable, wrong)


# --- encoding -------------------------------------------------------------------------------------

EDGES = np.array([[-1.0, 0.0, 0.5, 2.0], [-2.0, 1.0, np.inf, np.inf], [0.0, 0.25, 3.0, np.inf]])


def piecewise_linear_encoding(x, edges):
    x, edges = reals("x", x), reals("edges", edges)
    require(x.v.ndim, "edges", "x")
    require(edges.v.ndim == 2 and edges.shape[1] > 1, "edges", "x")
    require(len(edges.v) == x.shape[-1], "edges", "x")
    if not np.array_equal(edges.v, EDGES[: len(edges.v)]):
        return lambda got: None  # of edges in another order, nothing is promised
    q = reference.piecewise_linear_encoding(x.v, edges.v)
    q[np.isnan(x.v)[..., None] & np.isfinite(edges.v[:, 1:])] = np.nan
    dtypes = dtypes_of(x, edges)
    return Want.one(q, promoted(*dtypes), *dtypes)


@calls_of("piecewise_linear_encoding", cases=400, wide=True)
def piecewise_linear_encoding_calls(draw):
    n = draw(SIZE)
    wrong = wrong_ones(draw, ["x", "edges"])
    given = drawn(draw, {"x": (*draw(BATCH), n), "edges": (n, 4)}, wrong)
    if "edges" not in wrong:
        dtype = draw(st.sampled_from(("float32", "float32", "bfloat16", "float64")))
        given["edges"] = formed(EDGES[:n], dtype, draw(st.sampled_from(("jax", "numpy", "list"))))
    return Call(
        fcjax.piecewise_linear_encoding, given, piecewise_linear_encoding, wrong=wrong,
    )  # fmt: skip
