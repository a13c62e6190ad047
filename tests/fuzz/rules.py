"""Calls of the rules: dense, activations, norms, dropout and losses."""

import jax
import jax.numpy as jnp
import numpy as np
import reference
from hypothesis import strategies as st

import fcjax

from .judge import Call
from .registry import calls_of
from .spec import (
    Invalid,
    Want,
    a_key,
    as_numpy,
    floating_dtype,
    integer,
    number,
    one_of,
    promoted,
    reals,
    require,
)
from .values import (
    BATCHES,
    SIZES,
    TOGETHER,
    floats,
    integers,
    junk,
    probabilities,
    rarely,
    wrong_array,
    wrong_ones,
)

SIZE, BATCH = st.sampled_from(SIZES), st.sampled_from(BATCHES)
COMPUTE = st.sampled_from((None,) * 5 + (jnp.bfloat16, "float16", np.float32))
# Options that are a number in some calls, and none in others.
ODD_NUMBERS = st.sampled_from(
    (0, 1, -1.0, 0.0, 2, float("nan"), float("inf"), "0.1", None, True, [0.1], np.float32(0.25))
)


@st.composite
def wrong_option(draw):
    """Draw a number that may be out of range, or anything."""
    return draw(st.one_of(ODD_NUMBERS, junk()))


def has_gradient(draw, arguments, names):
    """Draw whether to compare the gradient: only of numbers far from kinks, in arrays of JAX."""
    if not rarely(draw, 6) or any(not isinstance(arguments[n], jax.Array) for n in names):
        return ()
    arrays = [arguments[n] for n in names]
    usual = all(jnp.issubdtype(a.dtype, jnp.floating) and a.dtype.itemsize > 1 for a in arrays)
    near = usual and all(bool((jnp.abs(a) <= 2).all()) and bool((a != 0).all()) for a in arrays)
    return tuple(names) if near else ()


# --- dense ----------------------------------------------------------------------------------------


def dense(x, w, b=None, *, compute_dtype=None):
    x, w = reals("x", x), reals("w", w)
    b = None if b is None else reals("b", b)
    compute_dtype = floating_dtype("compute_dtype", compute_dtype)
    require(w.v.ndim == 2, "w", "x")
    require(x.v.ndim and x.shape[-1] == w.shape[0], "x", "w")
    require(b is None or b.shape == w.shape[1:], "b", "w")
    require(x.v.size, "x")
    dtypes = [V.dtype for V in (x, w, b) if V is not None]
    Z = reference.dense(x.v, w.v, None if b is None else b.v)
    coarse = [compute_dtype] if compute_dtype else []
    return Want.one(Z, promoted(*dtypes), *dtypes, *coarse)


def arrays_of_a_layer(draw, shapes, wrong):
    """Draw the arrays of a layer, those in `wrong` badly; now and then there is no bias."""
    dtypes = draw(st.sampled_from(TOGETHER))
    given = {
        name: draw(wrong_array(shape) if name in wrong else floats(shape, dtypes=dtypes))
        for name, shape in shapes.items()
    }
    if rarely(draw) and "b" not in wrong:
        given["b"] = None
    return given


@calls_of("dense", cases=1600, wide=True)
def dense_calls(draw):
    batch, n, k = draw(BATCH), draw(SIZE), draw(SIZE)
    shapes = {"x": (*batch, n), "w": (n, k), "b": (k,)}
    wrong = wrong_ones(draw, [*shapes, "compute_dtype"])
    given = arrays_of_a_layer(draw, shapes, wrong)
    given["compute_dtype"] = draw(junk() if "compute_dtype" in wrong else COMPUTE)
    names = [name for name in shapes if given[name] is not None]
    differentiable = has_gradient(draw, given, names) if not wrong else ()
    return Call(fcjax.dense, given, dense, differentiable, wrong)


# --- activations ----------------------------------------------------------------------------------

PARAMETERS = {"leaky_relu": "negative_slope", "elu": "alpha", "celu": "alpha", "squareplus": "b"}
OTHERS = ("glu", "softmax", "log_softmax", "gelu", *PARAMETERS)
PLAIN = tuple(name for name in reference.ACTIVATIONS if name not in OTHERS)


def elementwise(name):
    def spec(z):
        z = reals("z", z)
        return Want.one(reference.ACTIVATIONS[name](z.v), z.dtype)

    return spec


def array_of_z(draw, wrong, fills=None):
    shape = draw(st.sampled_from(((3,), (2, 3), (), (0,))))
    return draw(wrong_array(shape) if wrong else floats(shape))


@calls_of(*PLAIN, cases=190, wide=True)
def plain_calls(draw, name):
    wrong = wrong_ones(draw, ["z"])
    given = {"z": array_of_z(draw, wrong)}
    names = () if wrong else has_gradient(draw, given, ["z"])
    return Call(getattr(fcjax, name), given, elementwise(name), names, wrong)


def gelu(z, approximate=True):
    z = reals("z", z)
    require(isinstance(approximate, bool | np.bool_), "approximate")
    return Want.one(reference.gelu(z.v) if approximate else reference.gelu_exact(z.v), z.dtype)


@calls_of("gelu", cases=300, wide=True)
def gelu_calls(draw):
    wrong = wrong_ones(draw, ["z", "approximate"])
    given = {"z": array_of_z(draw, "z" in wrong)}
    right = st.booleans()
    given["approximate"] = draw(wrong_option() if "approximate" in wrong else right)
    names = () if wrong else has_gradient(draw, given, ["z"])
    return Call(fcjax.gelu, given, gelu, names, wrong)


def squareplus(z, b):
    """The reference without squares that overflow, or a difference that is NaN at −∞.

    A negative b, which is not accepted but cannot be refused in an array, gives NaN.
    """
    root = np.hypot(z, np.sqrt(b))
    return np.where(z > 0, z / 2 + root / 2, b / 2 / (root - np.minimum(z, 0)))


def parametric(name):
    parameter = PARAMETERS[name]

    def spec(z, **options):
        z = reals("z", z)
        p = options[parameter]
        if type(p) in (int, float):  # a plain number has the dtype of z
            # NaN is accepted, as jax.nn accepts it: it gives NaN
            values, dtype = np.float64(np.nan if p != p else number(parameter, p, -np.inf)), z.dtype
        else:
            values, dtype = reals(parameter, p)
        try:
            together = np.broadcast_shapes(z.shape, values.shape)
        except ValueError:
            raise Invalid(parameter, "z") from None
        require(together == z.shape, parameter, "z")
        g = squareplus if name == "squareplus" else reference.ACTIVATIONS[name]
        return Want.one(g(z.v, values), promoted(z.dtype, dtype), z.dtype, dtype)

    return spec


@st.composite
def parameter_value(draw):
    kind = draw(st.sampled_from(("number",) * 3 + ("array",) * 2))
    if kind == "number":
        return draw(st.sampled_from((0.01, 0.5, 1, 2.0, 1.0)))
    shape = draw(st.sampled_from(((), (3,), (1,), (2, 3))))
    values = np.random.default_rng(draw(st.integers(0, 7))).integers(1, 16, shape) / 8
    dtype = draw(st.sampled_from(("float32", "float32", "bfloat16")))
    return jnp.asarray(values, dtype)


@calls_of(*PARAMETERS, cases=300, wide=True)
def parametric_calls(draw, name):
    parameter = PARAMETERS[name]
    wrong = wrong_ones(draw, ["z", parameter])
    given = {"z": array_of_z(draw, "z" in wrong)}
    given[parameter] = draw(wrong_option() if parameter in wrong else parameter_value())
    names = [n for n in given if isinstance(given[n], jax.Array)]
    differentiable = has_gradient(draw, given, names) if names and not wrong else ()
    return Call(getattr(fcjax, name), given, parametric(name), differentiable, wrong)


def axis_of(z, axis):
    """Return an axis or a tuple of axes that z has, or raise Invalid."""
    several = axis if isinstance(axis, tuple) else (axis,)
    axes = [integer("axis", a) for a in several]
    require(axes and all(-z.v.ndim <= a < z.v.ndim for a in axes), "axis", "z")
    require(len({a % z.v.ndim for a in axes}) == len(axes), "axis")
    return tuple(a % z.v.ndim for a in axes)


def softmax_spec(name):
    def spec(z, axis=-1, where=None):
        z = reals("z", z)
        require(z.v.ndim, "z", "axis")
        axes = axis_of(z, axis)
        if where is not None:
            mask = as_numpy(where)
            require(mask is not None and mask.dtype == np.bool_, "where")
            try:
                mask = np.broadcast_to(mask, z.shape)
            except ValueError:
                raise Invalid("where", "z") from None
        else:
            mask = np.ones(z.shape, bool)
        require(all(z.shape[a] for a in axes), "z", "axis")
        kept = np.where(mask, z.v, -np.inf)
        top = kept.max(axes, keepdims=True, initial=-np.inf)
        e = np.where(mask, np.exp(z.v - top), 0)
        log = z.v - top - np.log(e.sum(axes, keepdims=True))
        values = np.where(mask, e / e.sum(axes, keepdims=True), 0)  # where others are NaN, too
        if name == "log_softmax":
            values = np.where(mask, log, -np.inf)
        return Want.one(values, z.dtype)

    return spec


@calls_of("softmax", "log_softmax", cases=500, wide=True)
def softmax_calls(draw, name):
    wrong = wrong_ones(draw, ["z", "axis", "where"])
    shape = draw(st.sampled_from(((3,), (2, 3), (2, 3, 1))))
    given = {"z": draw(wrong_array(shape) if "z" in wrong else floats(shape))}
    axes = st.sampled_from((-1, 0, len(shape) - 1, (0,), tuple(range(len(shape)))))
    given["axis"] = draw(
        st.one_of(st.sampled_from((3, -4, (0, 0), (), 1.0, (5,))), wrong_option())
        if "axis" in wrong
        else axes
    )
    if rarely(draw, 3) or "where" in wrong:
        masks = st.sampled_from(((True,) * 3, (False, True, True))).map(np.array)
        fits_rows = shape[-1] == 3
        given["where"] = (
            draw(wrong_array(shape) if "where" in wrong else masks)
            if fits_rows or "where" in wrong
            else None
        )
    names = ()
    if not wrong and given.get("where") is None:
        names = has_gradient(draw, given, ["z"])
    return Call(getattr(fcjax, name), given, softmax_spec(name), names, wrong)


def glu(z, axis=-1):
    z = reals("z", z)
    require(z.v.ndim, "z", "axis")
    (axis,) = axis_of(z, integer("axis", axis))
    require(z.shape[axis] % 2 == 0, "z")
    linear, gate = np.split(z.v, 2, axis)
    return Want.one(linear * reference.sigmoid(gate), z.dtype)


@calls_of("glu", cases=300, wide=True)
def glu_calls(draw):
    wrong = wrong_ones(draw, ["z", "axis"])
    shape = draw(st.sampled_from(((2,), (3, 2), (2, 2), (2, 3, 2))))
    given = {"z": draw(wrong_array(shape) if "z" in wrong else floats(shape))}
    axes = st.one_of(st.sampled_from((3, -4, (0,), 1.0)), wrong_option())
    given["axis"] = draw(axes if "axis" in wrong else st.sampled_from((-1, len(shape) - 1)))
    names = () if wrong else has_gradient(draw, given, ["z"])
    return Call(fcjax.glu, given, glu, names, wrong)


# --- norms and dropout ----------------------------------------------------------------------------


def layer_norm(x, scale, bias, *, eps=1e-5):
    x, scale, bias = reals("x", x), reals("scale", scale), reals("bias", bias)
    require(x.v.ndim and scale.shape == x.shape[-1:], "scale", "x")
    require(bias.shape == x.shape[-1:], "bias", "x")
    require(x.shape[-1], "x")
    eps = number("eps", eps, 0)
    y = reference.layer_norm(x.v, scale.v, bias.v, eps)
    return Want.one(y, x.dtype, scale.dtype, bias.dtype, times=8)


def rms_norm(x, scale, *, eps=1e-5):
    x, scale = reals("x", x), reals("scale", scale)
    require(x.v.ndim and scale.shape == x.shape[-1:], "scale", "x")
    require(x.shape[-1], "x")
    eps = number("eps", eps, 0)
    return Want.one(reference.rms_norm(x.v, scale.v, eps), x.dtype, scale.dtype, times=8)


@calls_of("layer_norm", "rms_norm", cases=600, wide=True)
def norm_calls(draw, name):
    batch, n = draw(BATCH), draw(SIZE)
    shapes = {"x": (*batch, n), "scale": (n,)}
    if name == "layer_norm":
        shapes["bias"] = (n,)
    wrong = wrong_ones(draw, [*shapes, "eps"])
    dtypes = draw(st.sampled_from(TOGETHER))
    given = {
        key: draw(wrong_array(shape) if key in wrong else floats(shape, dtypes=dtypes))
        for key, shape in shapes.items()
    }
    given["eps"] = draw(wrong_option() if "eps" in wrong else st.sampled_from((1e-5, 0.5, 1)))
    # a row of one number, or of equal ones, has a gradient near the resolution of differences
    names = has_gradient(draw, given, [*shapes]) if not wrong and given["eps"] != 1e-5 else ()
    return Call(getattr(fcjax, name), given, globals()[name], names, wrong)


def dropout(x, rate, key):
    x = reals("x", x)
    rate = number("rate", rate, 0, 1, closed=True)
    a_key("key", key)

    def problem(y):
        if y.shape != x.shape or y.dtype != x.dtype:
            return f"{y.dtype}{list(y.shape)}, want {x.dtype}{list(x.shape)}"
        y = np.asarray(y, np.float64)
        close = np.isclose(y, x.v / (1 - rate), rtol=2**-7, equal_nan=True)
        return None if np.all(close | (y == 0)) else f"{y} from {x.v}"

    return problem


@st.composite
def keys(draw):
    seed = draw(st.integers(0, 3))
    return draw(st.sampled_from((jax.random.key, jax.random.PRNGKey)))(seed)


@st.composite
def wrong_key(draw):
    several = st.sampled_from((0, 3)).map(lambda n: jax.random.split(jax.random.key(0), n))
    raw = st.sampled_from(((), (1,), (3,), (2, 2), (0,))).map(lambda s: jnp.zeros(s, jnp.uint32))
    numpy = st.just(np.zeros(2, np.uint32))
    return draw(st.one_of(several, raw, numpy, junk()))


@calls_of("dropout", cases=500)
def dropout_calls(draw):
    wrong = wrong_ones(draw, ["x", "rate", "key"])
    given = {"x": array_of_z(draw, "x" in wrong)}
    rates = st.sampled_from((0.0, 0, 0.25, 0.5))
    given["rate"] = draw(wrong_option() if "rate" in wrong else rates)
    given["key"] = draw(wrong_key() if "key" in wrong else keys())
    return Call(fcjax.dropout, given, dropout, wrong=wrong)


# --- losses ---------------------------------------------------------------------------------------


def _xlogy(x, y):
    return np.where(x == 0, 0, x * np.log(np.where(x == 0, 1, y)))


def binary_cross_entropy(p, t):
    each = -_xlogy(t, p) - _xlogy(1 - t, 1 - p)
    return each if each.ndim == 1 else each.sum(-1)


PREDICTIONS = {
    "poisson": "log_rate",
    "binary_cross_entropy": "probs",
    "sigmoid_binary_cross_entropy": "logits",
}
OF_CLASSES = ("hinge", *PREDICTIONS)
PAIRWISE = (
    *("squared_error", "half_squared_error", "mean_squared_error", "absolute_error", "huber"),
    *OF_CLASSES,
)


def reduced(losses, dtype, weights, reduction, counts=None):
    """Return the losses after weights and reduction, their dtype, and how many times they cancel.

    Weights below zero can leave a sum far smaller than its terms, whose rounding errors remain.
    """
    one_of("reduction", reduction, ("mean", "sum", "none"))
    if weights is not None:
        weights = reals("weights", weights)
        require(weights.shape == losses.shape, "weights")
        dtype = promoted(dtype, weights.dtype)
    values = None if weights is None else weights.v
    result = reference.reduce(losses, values, reduction, counts)
    if values is None or reduction == "none":
        return result, dtype, 1.0
    total = reference.reduce(losses, values, "sum")
    terms = reference.reduce(abs(losses), abs(values), "sum")
    return result, dtype, terms / abs(total) if total and np.isfinite(terms) else 1.0


def pairwise(name):
    """Return the spec of a loss of predictions and targets."""
    first = PREDICTIONS.get(name, "pred")

    def spec(*, target, weights=None, reduction="mean", **others):
        P = reals(first, others.pop(first))
        T = as_numpy(target)
        require(T is not None, "target")
        if name in OF_CLASSES and T.dtype.kind in "biu":
            T = T.astype(np.float64)
            dtype = P.dtype
        elif name in OF_CLASSES and jnp.issubdtype(T.dtype, jnp.integer):
            T, dtype = T.astype(np.float64), P.dtype
        else:
            T, dtype = reals("target", target)
        require(P.v.ndim, first)
        require(T.shape == P.shape, "target", first)
        require(P.v.size, first)
        if name == "huber":
            number("delta", others["delta"], 0)
        each = binary_cross_entropy if name == "binary_cross_entropy" else getattr(reference, name)
        wide = promoted(P.dtype, dtype, np.dtype(np.float32))
        losses, out, times = reduced(each(P.v, T, **others), wide, weights, reduction)
        # inputs are exact: only what is computed is rounded, in float32 or wider
        return Want.one(losses, out, wide, times=times)

    return spec


@st.composite
def reductions(draw, wrong):
    odd = st.one_of(st.sampled_from(("avg", "Mean", b"mean", None, 0)), junk())
    return draw(odd if wrong else st.sampled_from(("mean", "mean", "sum", "none")))


@st.composite
def weights_of(draw, batch, wrong):
    if wrong:
        return draw(wrong_array(batch))
    return draw(st.one_of(st.none(), st.none(), floats(batch)))


def at_a_joint(pred, target, delta=0.0, **_):
    """Whether two formulas of a loss meet at an entry, where differences are less accurate."""
    distance = np.abs(np.asarray(pred, np.float64) - np.asarray(target, np.float64))
    return (distance == delta).any()


@calls_of(*PAIRWISE, cases=500, wide=True)
def pairwise_calls(draw, name):
    first = PREDICTIONS.get(name, "pred")
    shape = draw(st.sampled_from(((3,), (3, 2), (2, 3, 2), (3, 1))))
    batch = shape[:-1] if len(shape) > 1 else shape
    options = ["weights", "reduction"] + (["delta"] if name == "huber" else [])
    wrong = wrong_ones(draw, [first, "target", *options])
    right = probabilities if name == "binary_cross_entropy" else floats
    given = {first: draw(wrong_array(shape) if first in wrong else right(shape))}
    targets = floats(shape, fills=("zeros", "grid", "nan"))
    if name in OF_CLASSES:
        targets = st.one_of(integers(shape, 0, 1), probabilities(shape))
    given["target"] = draw(wrong_array(shape) if "target" in wrong else targets)
    given["weights"] = draw(weights_of(batch, "weights" in wrong))
    given["reduction"] = draw(reductions("reduction" in wrong))
    if name == "huber":
        given["delta"] = draw(
            wrong_option() if "delta" in wrong else st.sampled_from((1.0, 0.5, 2))
        )
    names = () if wrong else has_gradient(draw, given, [first])
    if name in ("absolute_error", "huber") and names and at_a_joint(**given):
        names = ()
    return Call(getattr(fcjax, name), given, pairwise(name), names, wrong)


def _log_sum_exp(Z):
    top = Z.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return top + np.log(np.exp(Z - top).sum(-1, keepdims=True))


def cross_entropy(
    Z,
    wide,
    labels,
    label_smoothing=0.0,
    ignore_index=None,
    class_weights=None,
    weights=None,
    reduction="mean",
    blamed=("logits",),
):
    """Return the expected cross-entropy of logits in float64."""
    K = Z.shape[-1]
    y = as_numpy(labels)
    require(y is not None, "labels")
    of_classes = jnp.issubdtype(y.dtype, jnp.integer)
    y = y.astype(np.int64) if of_classes else reals("labels", labels).v
    require(y.shape == (Z.shape[:-1] if of_classes else Z.shape), "labels", *blamed)
    smoothing = number("label_smoothing", label_smoothing, 0, 1, closed=True)
    if ignore_index is not None:
        integer("ignore_index", ignore_index)
        require(of_classes, "ignore_index", "labels")
    c = None
    if class_weights is not None:
        c = reals("class_weights", class_weights).v
        require(c.shape == (K,), "class_weights")
    weights_of_classes = np.ones(K) if c is None else c
    onehot = y[..., None] == np.arange(K) if of_classes else y
    s = weights_of_classes * ((1 - smoothing) * onehot + smoothing / K)
    # a class without weight contributes nothing, whatever its logit
    losses = -np.where(s == 0, 0, s * (Z - _log_sum_exp(Z))).sum(-1)
    counts = np.ones(Z.shape[:-1])
    if of_classes:
        inside, ignored = (y >= 0) & (y < K), y == ignore_index
        counts = np.where(inside, (weights_of_classes * onehot).sum(-1), np.nan)
        losses = np.where(ignored, 0, np.where(inside, losses, np.nan))
        counts = np.where(ignored, 0, counts)
    return reduced(losses, wide, weights, reduction, counts)


def softmax_cross_entropy(logits, labels, **options):
    Z = reals("logits", logits)
    require(Z.v.ndim, "logits")
    require(Z.v.size, "logits")
    wide = promoted(Z.dtype, np.dtype(np.float32))
    losses, dtype, times = cross_entropy(Z.v, wide, labels, **options)
    return Want.one(losses, dtype, wide, times=times)


def options_of_labels(draw, wrong, batch, K):
    """Draw labels and the options of a cross-entropy."""
    of_classes = not rarely(draw, 3)
    right = integers(batch, -1 if rarely(draw) else 0, K - 1)
    if not of_classes:
        right = probabilities((*batch, K))
    given = {"labels": draw(wrong_array(batch, integers) if "labels" in wrong else right)}
    smoothing = st.sampled_from((0.0, 0.0, 0.125, 0))
    given["label_smoothing"] = draw(wrong_option() if "label_smoothing" in wrong else smoothing)
    indices = st.sampled_from((None, None, -1, 1)) if of_classes else st.none()
    given["ignore_index"] = draw(wrong_option() if "ignore_index" in wrong else indices)
    positive = st.one_of(st.none(), st.none(), floats((K,), fills=("grid", "zeros")))
    given["class_weights"] = draw(wrong_array((K,)) if "class_weights" in wrong else positive)
    given["weights"] = draw(weights_of(batch, "weights" in wrong))
    given["reduction"] = draw(reductions("reduction" in wrong))
    return given


LABEL_OPTIONS = (
    *("labels", "label_smoothing", "ignore_index", "class_weights", "weights", "reduction"),
)


@calls_of("softmax_cross_entropy", cases=1200, wide=True)
def softmax_cross_entropy_calls(draw):
    batch, K = draw(st.sampled_from(((3,), (2, 3)))), draw(st.sampled_from((1, 3)))
    wrong = wrong_ones(draw, ["logits", *LABEL_OPTIONS])
    shape = (*batch, K)
    given = {"logits": draw(wrong_array(shape) if "logits" in wrong else floats(shape))}
    given |= options_of_labels(draw, wrong, batch, K)
    names = () if wrong or not is_finite(given) else has_gradient(draw, given, ["logits"])
    return Call(fcjax.softmax_cross_entropy, given, softmax_cross_entropy, names, wrong)


def is_finite(given):
    """Whether nothing is NaN, and all labels are classes: differences of NaN say nothing."""
    numbers = [as_numpy(value) for value in given.values() if value is not None]
    numbers = [array.astype(np.float64) for array in numbers if array is not None]
    return (
        all(np.isfinite(array).all() for array in numbers)
        and (np.asarray(given["labels"]) >= 0).all()
    )


def dense_softmax_cross_entropy(x, w, b, labels, *, chunk_size=None, compute_dtype=None, **options):
    x, w = reals("x", x), reals("w", w)
    b = None if b is None else reals("b", b)
    require(w.v.ndim == 2, "w", "x")
    require(x.v.ndim and x.shape[-1] == w.shape[0], "x", "w")
    require(b is None or b.shape == w.shape[1:], "b", "w")
    require(x.v.size, "x")
    require(w.shape[1], "w")
    compute_dtype = floating_dtype("compute_dtype", compute_dtype)
    if chunk_size is not None:
        integer("chunk_size", chunk_size, 1)
    dtypes = [V.dtype for V in (x, w, b) if V is not None]
    wide = promoted(*dtypes, *([compute_dtype] if compute_dtype else []), np.dtype(np.float32))
    Z = reference.dense(x.v, w.v, None if b is None else b.v)
    losses, dtype, times = cross_entropy(Z, wide, labels, blamed=("x", "w"), **options)
    coarse = [compute_dtype] if compute_dtype else []
    return Want.one(losses, dtype, wide, *dtypes, *coarse, times=times)


@calls_of("dense_softmax_cross_entropy", cases=1200, wide=True)
def dense_softmax_cross_entropy_calls(draw):
    batch, n, K = draw(st.sampled_from(((3,), (2, 3)))), draw(SIZE), draw(st.sampled_from((1, 3)))
    shapes = {"x": (*batch, n), "w": (n, K), "b": (K,)}
    wrong = wrong_ones(draw, [*shapes, *LABEL_OPTIONS, "chunk_size", "compute_dtype"])
    given = arrays_of_a_layer(draw, shapes, wrong)
    given |= options_of_labels(draw, wrong, batch, K)
    chunks = st.sampled_from((None,) * 8 + (1, 2, np.int64(2)))
    given["chunk_size"] = draw(wrong_option() if "chunk_size" in wrong else chunks)
    given["compute_dtype"] = draw(junk() if "compute_dtype" in wrong else COMPUTE)
    names = [name for name in shapes if given[name] is not None]
    finite = not wrong and is_finite(
        {k: v for k, v in given.items() if k not in ("reduction", "compute_dtype")}
    )
    return Call(
        fcjax.dense_softmax_cross_entropy,
        given,
        dense_softmax_cross_entropy,
        has_gradient(draw, given, names) if finite else (),
        wrong,
    )
