"""Calls of networks: their parameters, the network as one function, and the textbook passes."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import reference
from hypothesis import strategies as st

import fcjax
from fcjax import Layer

from .judge import Call
from .registry import calls_of
from .rules import COMPUTE, keys, wrong_key, wrong_option
from .spec import Invalid, Want, a_key, floating_dtype, integer, number, promoted, reals, require
from .values import Pair, filled, floats, junk, rarely, wrong_array, wrong_ones

SIZES = ((2, 3), (3, 3, 2), (2, 3, 3, 3, 2))
FILLS = ("grid",) * 4 + ("zeros", "nan", "inf")
SMOOTH = ("tanh", "sigmoid", "silu", "softplus", "identity")
FUNCTIONS: dict[Any, Any] = {jnp.tanh: np.tanh, fcjax.relu: reference.ACTIVATIONS["relu"]}


# --- parameters -----------------------------------------------------------------------------------


def network(sizes, seed=0, dtype="float32", bias=True):
    """Return the layers of a network, with small weights."""
    layers = []
    for i, (n, k) in enumerate(itertools.pairwise(sizes)):
        w = jnp.asarray(filled((n, k), seed=seed + i) / 2, dtype)
        layers.append(Layer(w, jnp.asarray(filled((k,), seed=seed + i), dtype) if bias else None))
    return tuple(layers)


@st.composite
def networks(draw, sizes=None):
    sizes = sizes or draw(st.sampled_from(SIZES))
    dtype = draw(st.sampled_from(("float32", "float32", "float32", "bfloat16")))
    params = network(sizes, draw(st.integers(0, 3)), dtype, bias=not rarely(draw))
    return fcjax.stack(params) if rarely(draw, 3) else params


def _replaced(params, i, **arrays):
    return (*params[:i], params[i]._replace(**arrays), *params[i + 1 :])


@st.composite
def wrong_params(draw):
    """Draw what is wrong as parameters: other trees, or layers that do not fit."""
    params = draw(networks())
    i = draw(st.integers(0, len(params) - 1))
    layer = params[i]
    other = draw(wrong_array(layer.w.shape))
    bias = draw(wrong_array(layer.w.shape[-1:]))
    ways = (
        lambda: (),
        lambda: list(params),
        lambda: tuple((w, b) for w, b in params),
        lambda: {"layers": params},
        lambda: params[0],
        lambda: params[::-1],
        lambda: params[:-1],
        lambda: (params,),
        lambda: tuple(w for w, _ in params),
        lambda: _replaced(params, i, w=other),
        lambda: _replaced(params, i, b=bias),
        lambda: _replaced(params, i, w=layer.b, b=layer.w),
        lambda: _replaced(params, i, w=None),
        lambda: (*params[:i], draw(junk()), *params[i + 1 :]),
        lambda: draw(junk()),
        lambda: tuple(Pair(w, b) for w, b in params),
        lambda: (*params, *params),
        lambda: iter(params),
        lambda: {0: params[0]},
        lambda: set(range(2)),
        lambda: _replaced(params, i, w=np.asarray(layer.w), b=layer.b),
        lambda: _replaced(params, i, w=np.asarray(layer.w, np.float64).tolist()),
        lambda: _replaced(params, -1 % len(params), w=jnp.stack([params[-1].w] * 2)),
        lambda: jax.tree.map(lambda V: V.astype(jnp.float8_e5m2), params),
        lambda: jax.tree.map(lambda V: V.astype(jnp.int32), params),
        lambda: _replaced(params, i, b=0.0),
    )
    return draw(st.sampled_from(ways))()


def layers_of(params):
    """Return the single layers as pairs of `Real`, or raise Invalid."""
    require(isinstance(params, tuple | list) and params, "params")
    require(all(isinstance(layer, Layer) for layer in params), "params")
    layers = []
    for i, (w, b) in enumerate(params):
        require(not isinstance(w, list | tuple), "params", "w")
        w = reals("params", w, "w")
        b = None if b is None else reals("params", b, "b")
        require(w.v.ndim in (2, 3), "params", "w")
        if w.v.ndim == 3:
            require(i < len(params) - 1, "params")
            require(w.shape[0] and w.shape[1] == w.shape[2], "params")
        require(b is None or b.shape == (*w.shape[:-2], w.shape[-1]), "params", "b")
        pairs = [(w, b)] if w.v.ndim == 2 else _unstacked(w, b)
        layers.extend(pairs)
    for (before, _), (w, _) in itertools.pairwise(layers):
        require(before.shape[-1] == w.shape[0], "params", "w")
    return layers


def _unstacked(w, b):
    each = [w._replace(v=v) for v in w.v]
    biases = [None] * len(each) if b is None else [b._replace(v=v) for v in b.v]
    return list(zip(each, biases, strict=True))


DEFAULT = jax.nn.initializers.ones
# XLA ends the process for more bytes than 64 bits count.
TOO_MANY = 2**56


def init(key, sizes, *, bias=True, w_init=DEFAULT, b_init=DEFAULT, dtype=np.float32):
    a_key("key", key)
    is_array = isinstance(sizes, np.ndarray | jax.Array) and sizes.ndim == 1
    require(not (isinstance(sizes, jax.Array) and sizes.is_deleted()), "sizes")
    require(is_array or isinstance(sizes, Sequence), "sizes")
    require(not isinstance(sizes, str | bytes | bytearray | memoryview), "sizes")
    sizes = [integer("sizes", size, 1) for size in sizes]
    require(len(sizes) > 1, "sizes")
    require(all(n * k < TOO_MANY for n, k in itertools.pairwise(sizes)), "sizes")
    require(isinstance(bias, bool | np.bool_), "bias")
    require(w_init is DEFAULT, "w_init")
    # without biases it is not called
    require(b_init is DEFAULT or (callable(b_init) and not bias), "b_init")
    dtype = floating_dtype("dtype", dtype)
    require(dtype is not None, "dtype")
    shapes = []
    for n, k in itertools.pairwise(sizes):
        shapes += [(n, k), (k,)] if bias else [(n, k)]

    def problem(params):
        got = [(V.shape, V.dtype) for V in jax.tree.leaves(params)]
        want = [(shape, jax.dtypes.canonicalize_dtype(dtype)) for shape in shapes]
        return None if got == want else f"{got}, want {want}"

    return problem


WRONG_INITIALIZERS = (
    lambda key, shape, dtype: jnp.ones((*shape[::-1], 1), dtype),
    lambda key, shape, dtype: jnp.ones((), dtype),
    lambda key, shape, dtype: None,
    lambda key, shape, dtype: jnp.ones(shape, jnp.int32),
    jax.nn.initializers.he_normal,
)


@calls_of("init", cases=500)
def init_calls(draw):
    wrong = wrong_ones(draw, ["key", "sizes", "bias", "w_init", "b_init", "dtype"])
    given = {"key": draw(wrong_key() if "key" in wrong else keys())}
    sizes = st.sampled_from(((2, 3), [3, 2, 1], (np.int64(2), 1), range(1, 4)))
    wrong_sizes = st.one_of(
        st.sampled_from(
            ((), (3,), (2, 0), (2, -1), (2, 1.5), (2, True), 3, "23", (2, "3"), (2, None))
        ),
        st.sampled_from(({2: 3, 3: 2}, {2, 3}, (2, 2**60), jnp.array([2, 3]), [[2, 3]], (2, 3.0))),
        junk(),
    )
    given["sizes"] = draw(wrong_sizes if "sizes" in wrong else sizes)
    dtypes = st.sampled_from((jnp.float32, "float16", jnp.bfloat16))
    given["dtype"] = draw(junk() if "dtype" in wrong else dtypes)
    for name in ("w_init", "b_init"):
        if name in wrong:
            given[name] = draw(st.one_of(st.sampled_from(WRONG_INITIALIZERS), junk()))
    given["bias"] = draw(wrong_option() if "bias" in wrong else st.booleans())
    return Call(fcjax.init, given, init, wrong=wrong)


# --- the passes -----------------------------------------------------------------------------------


def functions_of(activations, hidden):
    several = [activations] * max(hidden, 1)  # checked even if there is none
    if not isinstance(activations, str) and not callable(activations):
        require(isinstance(activations, Sequence), "activations")
        require(not isinstance(activations, bytes | bytearray | memoryview), "activations")
        require(len(activations) == hidden, "activations")
        several = activations
    return [function_of("activations", activation) for activation in several]


def function_of(name, activation):
    if isinstance(activation, str):
        require(activation in reference.ACTIVATIONS, name)
        return reference.ACTIVATIONS[activation]
    require(callable(activation), name)
    return FUNCTIONS.get(activation) or _as_numpy(activation, name)


def _as_numpy(activation, name):
    """Return a function that nobody knows, applied to NumPy's arrays."""

    def function(z):
        try:
            a = np.asarray(activation(z), np.float64)
        except Exception:  # it is no activation
            raise Invalid(name, "x", "z") from None
        return a

    return function


def passed(params, x, activations="relu", output_activation="identity", compute_dtype=None):
    """Return A and Z of every layer, their dtypes, and the layers."""
    x = reals("x", x)
    layers = layers_of(params)
    compute_dtype = floating_dtype("compute_dtype", compute_dtype)
    hidden = functions_of(activations, len(layers) - 1)[: len(layers) - 1]
    functions = [*hidden, function_of("output_activation", output_activation)]
    require(x.v.ndim and x.shape[-1] == layers[0][0].shape[0], "x", "params", "w")
    require(x.v.size, "x")
    A, dtype, values = x.v, x.dtype, []
    for i, ((w, b), g) in enumerate(zip(layers, functions, strict=True)):
        require(A.ndim and A.shape[-1] == w.shape[0], "x", "activations")
        Z = reference.dense(A, w.v, None if b is None else b.v)
        dtype = promoted(dtype, w.dtype, *(() if b is None else (b.dtype,)))
        last = i == len(layers) - 1
        if compute_dtype is not None and not last and compute_dtype.itemsize < dtype.itemsize:
            dtype = compute_dtype
        try:
            A = g(Z)
        except Invalid:
            raise
        except Exception:  # such as glu of an odd size
            raise Invalid("activations", "output_activation", "z") from None
        values.append((Z, A, dtype))
    return values, layers, [x.dtype, *([compute_dtype] if compute_dtype else [])]


def mlp(params, x, *, remat_every=None, dropout=0.0, key=None, **options):
    number("dropout", dropout, 0, 1, closed=True)
    if key is not None:  # calls have one or the other, so nothing is dropped
        a_key("key", key)
    values, layers, dtypes = passed(params, x, **options)
    if remat_every is not None:
        integer("remat_every", remat_every, 1)
        require(any(layer.w.ndim == 3 for layer in params), "remat_every")
    _, A, dtype = values[-1]
    dtypes += [w.dtype for w, _ in layers]
    return Want.one(A, dtype, *dtypes, times=4 * len(layers))


def forward(params, x, **options):
    values, layers, dtypes = passed(params, x, **options)
    dtypes += [w.dtype for w, _ in layers]
    one = Want.one(values[-1][1], values[-1][2], *dtypes, times=4 * len(layers))
    return Want([*one.leaves], one.allowed)


def output_of_forward(params, x, **options):
    return fcjax.forward(params, x, **options)[0]


def network_arguments(draw, wrong):
    sizes = draw(st.sampled_from(SIZES))
    given = {"params": draw(wrong_params() if "params" in wrong else networks(sizes))}
    batch = draw(st.sampled_from(((3,), (1,), (), (2, 3))))
    shape = (*batch, sizes[0])
    given["x"] = draw(
        wrong_array(shape)
        if "x" in wrong
        else floats(shape, fills=FILLS, dtypes=("float32", "float32", "bfloat16", "float64"))
    )
    names = st.sampled_from(("relu", "tanh", "gelu", "softmax", "leaky_relu", jnp.tanh, fcjax.relu))
    odd = st.one_of(
        st.sampled_from(
            ("rellu", "", "glu", None, 3, [3], ("tanh",) * 7, (), ("tanh", None), [["tanh"]])
        ),
        st.sampled_from(
            (b"tanh", {"tanh"}, {0: "tanh"}, "Tanh", jnp.sum, jnp.asarray, "tanh " * 300)
        ),
        junk(),
    )
    for name in ("activations", "output_activation"):
        given[name] = draw(odd if name in wrong else names)
    if not wrong and rarely(draw):
        given["activations"] = ["tanh"] * (len(sizes) - 2)
    given["compute_dtype"] = draw(junk() if "compute_dtype" in wrong else COMPUTE)
    return given


NETWORK = ("params", "x", "activations", "output_activation", "compute_dtype")


@calls_of("mlp", cases=800, wide=True)
def mlp_calls(draw):
    wrong = wrong_ones(draw, [*NETWORK, "remat_every", "dropout", "key"])
    given = network_arguments(draw, wrong)
    if draw(st.booleans()):
        given["key"] = draw(wrong_key() if "key" in wrong else keys())
    else:
        given["dropout"] = draw(wrong_option() if "dropout" in wrong else st.sampled_from((0, 0.5)))
    if "remat_every" in wrong:
        given["remat_every"] = draw(wrong_option())
    elif any(
        isinstance(layer, Layer) and np.ndim(layer.w) == 3 for layer in _items(given["params"])
    ):
        given["remat_every"] = draw(st.sampled_from((None, None, 1, 2, np.int32(2))))
    return Call(fcjax.mlp, given, mlp, wrong=wrong)


def output_of_model(params, x, key=None, **description):
    return fcjax.Model(params, **description)(x, key=key)


@calls_of("Model", cases=400)
def model_calls(draw):
    wrong = wrong_ones(draw, [*NETWORK, "dropout", "key"])
    given = network_arguments(draw, wrong)
    if draw(st.booleans()):
        given["key"] = draw(wrong_key() if "key" in wrong else keys())
    else:
        given["dropout"] = draw(wrong_option() if "dropout" in wrong else st.sampled_from((0, 0.5)))
    return Call(output_of_model, given, mlp, wrong=wrong)


def _items(params):
    return params if isinstance(params, tuple) else ()


@calls_of("forward", cases=500)
def forward_calls(draw):
    wrong = wrong_ones(draw, NETWORK)
    return Call(output_of_forward, network_arguments(draw, wrong), forward, wrong=wrong)


def derivative(g):
    return lambda z: (g(z + 1e-6) - g(z - 1e-6)) / 2e-6


def own_values(params, x, activation):
    """Return (X, Z) of each layer, as `forward` must have put them into its cache."""
    values, A = [], x
    for w, b in layers_of(params):
        values.append((A, reference.dense(A, w.v, None if b is None else b.v)))
        A = reference.ACTIVATIONS[activation](values[-1][1])
    return values


def values_of(cache):
    """Return (X, Z) of each layer of a cache that another network made."""
    return [(np.asarray(kept.X, np.float64), np.asarray(kept.Z, np.float64)) for kept in cache]


def passes(name, x, made, activation, own):
    """Return the spec of `backward` or `deltas`; `own` is the cache that `forward` made.

    Other parameters than `made`, and other caches, may fit in shape: the formulas still hold.
    """

    def spec(params, cache, dA):
        dA = reals("dA", dA)
        layers = layers_of(params)
        require(isinstance(cache, tuple), "cache")
        require(all(isinstance(kept, fcjax.network.LayerCache) for kept in cache), "cache")
        require(len(cache) == len(params), "cache", "params")
        require(len(cache) == len(layers), "cache", "params")
        XZ = own_values(made, x, activation) if cache is own else values_of(cache)
        gs = [kept.activation.__name__ for kept in cache]
        for (w, _), (X, Z) in zip(layers, XZ, strict=True):
            require((X.shape[-1], Z.shape[-1]) == w.shape, "cache", "params")
        require(dA.shape == XZ[-1][1].shape, "dA", "cache")
        dZs, gradients, back = [], [], dA.v
        for (w, b), (X, Z), g in reversed(list(zip(layers, XZ, gs, strict=True))):
            dZ = back * derivative(reference.ACTIVATIONS[g])(Z)
            back = dZ @ w.v.T
            dZs.insert(0, dZ)
            gradients = [X.T @ dZ, *([] if b is None else [dZ.sum(0)]), *gradients]
        leaves, dtype = dZs if name == "deltas" else [*gradients, back], layers[0][0].dtype
        allowed = Want.one(0, dtype, dA.dtype, times=8 * len(layers)).allowed
        return lambda got: _differs(got, leaves, max(allowed, 1e-6))

    return spec


def _differs(got, want, allowed):
    got = jax.tree.leaves(got)
    if len(got) != len(want):
        return f"{len(got)} arrays, want {len(want)}"
    for a, b in zip(got, want, strict=True):
        b = np.asarray(b)
        if a.shape != b.shape:
            return f"shape {a.shape}, want {b.shape}"
        largest = np.max(np.abs(b), initial=0.0, where=np.isfinite(b))
        if not np.allclose(
            np.asarray(a, np.float64), b, rtol=0, atol=allowed * max(largest, 1), equal_nan=True
        ):
            return f"{np.asarray(a)}, want {b}"
    return None


@calls_of("backward", "deltas", cases=500)
def backward_calls(draw, name):
    wrong = wrong_ones(draw, ["params", "cache", "dA"])
    sizes, activation = draw(st.sampled_from(SIZES)), draw(st.sampled_from(SMOOTH))
    params = network(sizes, draw(st.integers(0, 3)), bias=not rarely(draw))
    m = draw(st.sampled_from((1, 3)))
    x = filled((m, sizes[0]), seed=draw(st.integers(0, 3)))
    _, cache = fcjax.forward(params, jnp.asarray(x, jnp.float32), activations=activation)
    given = {"params": params, "cache": cache}
    if "params" in wrong:
        given["params"] = draw(wrong_params())
    if "cache" in wrong:
        others = network(draw(st.sampled_from(SIZES)), 7)
        inputs = jnp.ones((draw(st.sampled_from((1, 3))), others[0].w.shape[0]))
        of_others = fcjax.forward(others, inputs, activations="tanh")[1]
        ways = (of_others, cache[:-1], list(cache), (inputs,) * len(cache), cache[0], cache + cache)
        given["cache"] = draw(st.one_of(st.sampled_from(ways), junk()))
    shape = (m, sizes[-1])
    given["dA"] = draw(
        wrong_array(shape)
        if "dA" in wrong
        else floats(shape, fills=("grid", "zeros", "nan"), dtypes=("float32",))
    )
    spec = passes(name, x, params, activation, cache)
    return Call(getattr(fcjax, name), given, spec, wrong=wrong)


def restacked(params):
    """The spec of `stack` and `unstack`: the arrays stay as they are."""
    require(isinstance(params, tuple | list) and params, "params")
    require(all(isinstance(layer, Layer) for layer in params), "params")
    for i, (w, b) in enumerate(params):
        require(not isinstance(w, list | tuple), "params", "w")
        V = reals("params", w, "w")
        require(V.v.ndim in (2, 3), "params", "w")
        if b is not None:
            b = reals("params", b, "b")
        if V.v.ndim == 3:
            require(i < len(params) - 1, "params")
            require(V.shape[0] and V.shape[1] == V.shape[2], "params")
        require(b is None or b.shape == (*V.shape[:-2], V.shape[-1]), "params", "b")
    flat = [np.asarray(V, np.float64).reshape(-1) for V in jax.tree.leaves(params)]

    def problem(got):
        arrays = [np.asarray(V, np.float64).reshape(-1) for V in jax.tree.leaves(got)]
        same = np.array_equal(
            np.sort(np.concatenate(flat)), np.sort(np.concatenate(arrays)), equal_nan=True
        )
        return None if same else f"{len(arrays)} arrays of other numbers"

    return problem


@calls_of("stack", "unstack", cases=300)
def stack_calls(draw, name):
    wrong = wrong_ones(draw, ["params"])
    given = {"params": draw(wrong_params() if wrong else networks())}
    return Call(getattr(fcjax, name), given, restacked, wrong=wrong)
