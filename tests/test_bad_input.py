"""What a caller gets wrong is refused at the call: the argument, what was got, what is accepted."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcjax

pytestmark = pytest.mark.usefixtures("unchecked")

X, W, B = jnp.ones((5, 3)), jnp.ones((3, 7)), jnp.ones(7)
Z = jnp.ones((5, 4))
LABELS = jnp.array([0, 1, 2, 3, 0])
KEY = jax.random.key(0)
PARAMS = (fcjax.Layer(W, B), fcjax.Layer(jnp.ones((7, 2)), jnp.ones(2)))
INTEGERS = jnp.ones((5, 3), jnp.int32)
STACKED = (fcjax.Layer(jnp.ones((2, 3, 3))), fcjax.Layer(jnp.ones((3, 2))))
# NumPy refuses to compare it with anything.
STRUCTURED = np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")])


class Bad(NamedTuple):
    """A call, the error it raises, and what its message says: what was wrong and what is right."""

    name: str
    call: object
    error: type
    match: str


def reject(name, error, match, function, *args, **kwargs):
    return Bad(name, lambda: function(*args, **kwargs), error, match)


DENSE = [
    reject("x against w", ValueError, r"^x .*\(\.\.\., 3\).*got .*\[5, 4\]", fcjax.dense, Z, W),
    reject("x a scalar", ValueError, r"^x must .*got float32\[\]", fcjax.dense, 1.0, W),
    reject("w a vector", ValueError, r"^w .*\(n_in, n_out\), got float32\[7\]", fcjax.dense, X, B),
    reject("w a stack", ValueError, r"^w .*got float32\[2, 3, 7\]", fcjax.dense, X, [W, W]),
    reject("b against w", ValueError, r"^b .*\(7,\).*got float32\[6\]", fcjax.dense, X, W, B[:6]),
    reject("b a row", ValueError, r"^b .*\(7,\).*got float32\[1, 7\]", fcjax.dense, X, W, B[None]),
    reject("b a scalar", ValueError, r"^b .*\(7,\).*got float32\[\]", fcjax.dense, X, W, 1.0),
    reject("x of integers", TypeError, r"^x .*floating.*int32\[5, 3\]", fcjax.dense, INTEGERS, W),
    reject("w of integers", TypeError, r"^w .*floating.*got int32", fcjax.dense, X, INTEGERS),
    reject("b of integers", TypeError, r"^b .*floating.*got int32", fcjax.dense, X, W, [1] * 7),
    reject("x of booleans", TypeError, r"^x .*floating.*got bool", fcjax.dense, X > 0, W),
    reject("x complex", TypeError, r"^x .*floating.*got complex64", fcjax.dense, X + 1j, W),
    reject("x a string", TypeError, r"^x .*floating.*got str 'abc'", fcjax.dense, "abc", W),
    reject("x None", TypeError, r"^x .*floating.*got NoneType", fcjax.dense, None, W),
    reject("empty batch", ValueError, r"^x .*at least one.*\[0, 3\]", fcjax.dense, X[:0], W),
    reject(
        "compute_dtype of integers",
        TypeError,
        r"^compute_dtype .*floating.*or None, got int8",
        lambda: fcjax.dense(X, W, compute_dtype=jnp.int8),
    ),
]

DTYPES = [
    reject(
        f"compute_dtype of type {type(value).__name__}",
        TypeError,
        r"^compute_dtype must be a floating-point dtype or None, got (str|bool|tuple|int|object)",
        lambda value=value: fcjax.dense(X, W, compute_dtype=value),
    )
    for value in ("", "abc", True, (), -1, object())
] + [
    reject(
        "init, an initializer of no arguments",
        TypeError,
        r"^w_init must take \(key, shape, dtype\)",
        lambda: init((3, 2), w_init=lambda: 1.0),
    ),
    reject(
        "init, a mute dtype", TypeError, r"^dtype .*got Mute", lambda: init((3, 2), dtype=Mute())
    ),
    reject(
        "init, no dtype",
        TypeError,
        r"^dtype .*floating.*NoneType",
        lambda: init((3, 2), dtype=None),
    ),
    reject(
        "z of 8 bits",
        TypeError,
        r"^z must be a floating-point array of 16 bits or more, got float8_e5m2\[5, 3\]",
        lambda: fcjax.relu(X.astype(jnp.float8_e5m2)),
    ),
    reject("too large an integer", TypeError, r"^x .*floating.*got int 11", fcjax.dense, 2**70, W),
    reject(
        "what stands for no gradient",
        TypeError,
        r"^x .*floating.*got float0\[5, 3\]",
        lambda: fcjax.dense(np.zeros((5, 3), jax.dtypes.float0), W),
    ),
    reject("a deleted array", TypeError, r"^x .*got float32\[3\], .*deleted", lambda: deleted()),
    reject(
        "an object without a repr",
        TypeError,
        r"^x .*got Mute <Mute",
        lambda: fcjax.dense(Mute(), W),
    ),
]


class Mute:
    def __repr__(self):
        raise RuntimeError("no repr")


def gone():
    x = jnp.ones(3) + 1
    x.delete()
    return x


def deleted():
    return fcjax.dense(gone(), W)


ACTIVATIONS = [
    reject(name, TypeError, r"^z .*floating.*got int32\[5, 3\]", function, INTEGERS)
    for name, function in sorted(fcjax.activations.ACTIVATIONS.items())
] + [
    reject("relu of a string", TypeError, r"^z .*got str 'z'", fcjax.relu, "z"),
    reject("glu, odd size", ValueError, r"^z .*even size along axis -1, got", fcjax.glu, X),
    reject("glu, no such axis", ValueError, r"^axis .*an axis of z .*, got 2", fcjax.glu, Z, 2),
    reject(
        "leaky_relu, slope of integers",
        TypeError,
        r"^negative_slope .*floating.*got int32\[3\]",
        lambda: fcjax.leaky_relu(X, jnp.ones(3, jnp.int32)),
    ),
    reject(
        "elu, alpha of integers",
        TypeError,
        r"^alpha .*floating.*got int32",
        lambda: fcjax.elu(X, alpha=jnp.ones(3, jnp.int32)),
    ),
    reject(
        "leaky_relu, slope that would broadcast z",
        ValueError,
        r"^negative_slope .*broadcasts to that of z float32\[5, 3\], got float32\[2, 5, 3\]",
        lambda: fcjax.leaky_relu(X, jnp.ones((2, 5, 3))),
    ),
    reject(
        "gelu, approximate a name",
        TypeError,
        r"^approximate must be True or False, got str 'tanh'",
        lambda: fcjax.gelu(X, approximate="tanh"),
    ),
    reject("softmax of a scalar", ValueError, r"^z .*one dimension", fcjax.softmax, 1.0),
    reject(
        "softmax, axis", ValueError, r"^axis .*of z float32\[5, 3\], got 2", fcjax.softmax, X, 2
    ),
    reject("softmax, axis twice", ValueError, r"^axis .*\(0, 0\)", fcjax.softmax, X, (0, 0)),
    reject("softmax, axis 1.0", TypeError, r"^axis .*integer, got float", fcjax.softmax, X, 1.0),
    reject("softmax, nothing", ValueError, r"^z .*numbers along axis", fcjax.softmax, X[:, :0]),
    reject(
        "log_softmax, mask that would broadcast z",
        ValueError,
        r"^where .*broadcasts to that of z float32\[5, 3\], got bool\[2, 5, 3\]",
        lambda: fcjax.log_softmax(X, where=jnp.ones((2, 5, 3), bool)),
    ),
    reject(
        "softmax, mask a word",
        TypeError,
        r"^where .*boolean",
        lambda: fcjax.softmax(X, where="mask"),
    ),
    reject("glu, axis 1.0", TypeError, r"^axis .*integer, got float 1.0", fcjax.glu, Z, 1.0),
    reject(
        "softmax, mask of numbers",
        TypeError,
        r"^where .*boolean.*got float32",
        lambda: fcjax.softmax(X, where=X),
    ),
]


def mlp(x=X, params=PARAMS, **options):
    return fcjax.mlp(params, x, **options)


NETWORKS = [
    reject("mlp of integers", TypeError, r"^x .*floating.*got int32", mlp, INTEGERS),
    *(
        reject(
            f"{name}, x against the first layer",
            ValueError,
            r"^x .*\(\.\.\., 3\) to match params\[0\]\.w float32\[3, 7\], got float32\[5, 4\]",
            lambda f=f: f(PARAMS, Z),
        )
        for name, f in (("mlp", fcjax.mlp), ("forward", fcjax.forward))
    ),
    reject(
        "mlp, x against stacked layers",
        ValueError,
        r"^x .*\(\.\.\., 3\) to match params\[0\]\.w float32\[2, 3, 3\], got",
        lambda: mlp(x=Z, params=STACKED),
    ),
    *(
        reject(
            f"remat_every {kind}",
            error,
            r"^remat_every must be (an integer or None|positive), got",
            lambda every=every: mlp(params=STACKED, remat_every=every),
        )
        for kind, every, error in (
            ("of a structure", STRUCTURED, TypeError),
            ("of an array", np.ones(3), TypeError),
            ("of a float", np.float32(1), TypeError),
            ("of True", True, TypeError),
            ("of 0", 0, ValueError),
            ("too long to print", -(10**5000), ValueError),
        )
    ),
    reject("mlp, empty batch", ValueError, r"^x .*at least one example", mlp, X[:0]),
    reject("mlp, no layers", TypeError, r"^params .*one or more Layers.*got tuple", mlp, params=()),
    reject("mlp, pairs", TypeError, r"^params .*Layers", mlp, params=((W, B),)),
    reject(
        "mlp, layers that do not fit",
        ValueError,
        r"^params\[1\]\.w .*7 rows.*got float32\[3, 7\]",
        lambda: mlp(params=(PARAMS[0], PARAMS[0])),
    ),
    reject(
        "mlp, bias that does not fit",
        ValueError,
        r"b .*\(2,\).*got float32\[3\]",
        lambda: mlp(params=(PARAMS[0], fcjax.Layer(PARAMS[1].w, jnp.ones(3)))),
    ),
    reject(
        "mlp, weights of integers",
        TypeError,
        r"w .*floating.*got int32",
        lambda: mlp(params=(fcjax.Layer(jnp.ones((3, 2), jnp.int32)),)),
    ),
    reject(
        "unknown activation",
        ValueError,
        r"^activations: 'rellu' is unknown; did you mean 'relu'.*accepted: .*softmax.*tanh",
        lambda: mlp(activations="rellu"),
    ),
    reject(
        "unknown activation of one layer",
        ValueError,
        r"^activations\[0\]: 'sigmiod' is unknown; did you mean .*'sigmoid'",
        lambda: mlp(activations=["sigmiod"]),
    ),
    reject(
        "unknown output activation",
        ValueError,
        r"^output_activation: 'sofmax' is unknown; did you mean 'softmax'",
        lambda: mlp(output_activation="sofmax"),
    ),
    reject(
        "no name comes near",
        ValueError,
        r"^activations: 'xyz' is unknown; accepted: celu, elu",
        lambda: mlp(activations="xyz"),
    ),
    *(
        reject(
            f"mlp, params {params!r:.20}", TypeError, r"^params .*Layers, as", mlp, params=params
        )
        for params in (-1, None, "text", {0: PARAMS[0]}, iter(PARAMS))
    ),
    *(
        reject(
            f"mlp, w {w!r:.20}",
            TypeError,
            r"^params\[0\]\.w must be a floating-point array",
            lambda w=w: mlp(params=(fcjax.Layer(w),)),
        )
        for w in (None, [[1.0]], "w")
    ),
    reject(
        "stack, swapped w and b",
        ValueError,
        r"^params\[0\]\.w must have shape \(n_in, n_out\).*got float32\[7\]",
        lambda: fcjax.stack((fcjax.Layer(B, W),)),
    ),
    reject(
        "forward, glu of an odd size",
        ValueError,
        r"^z must have an even size along axis -1, got float32\[5, 7\]",
        lambda: fcjax.forward(PARAMS, X, activations="glu"),
    ),
    reject(
        "too many activations",
        ValueError,
        r"^activations .*each of the 1 hidden layers, got 2",
        lambda: mlp(activations=["relu", "relu"]),
    ),
    reject(
        "too few activations",
        ValueError,
        r"^activations .*each of the 1 hidden layers, got 0",
        lambda: mlp(activations=()),
    ),
    reject(
        "activations a number", TypeError, r"^activations .*name.*got int 3", mlp, activations=3
    ),
    reject(
        "an activation a number",
        TypeError,
        r"^activations\[0\] .*name.*function, got int 3",
        lambda: mlp(activations=[3]),
    ),
    reject(
        "output activation None",
        TypeError,
        r"^output_activation .*name.*got NoneType",
        lambda: mlp(output_activation=None),
    ),
    reject(
        "mlp, compute_dtype of integers",
        TypeError,
        r"^compute_dtype .*got int32",
        lambda: mlp(compute_dtype=jnp.int32),
    ),
    reject(
        "forward, compute_dtype of integers",
        TypeError,
        r"^compute_dtype .*got int32",
        lambda: fcjax.forward(PARAMS, X, compute_dtype=jnp.int32),
    ),
]


def init(sizes, key=KEY, **options):
    return fcjax.init(key, sizes, **options)


INIT = [
    reject("one size", ValueError, r"^sizes .*at least one layer.*got \(3,\)", init, (3,)),
    reject("no sizes", ValueError, r"^sizes .*at least one layer.*got \(\)", init, ()),
    reject("a size of 1.5", TypeError, r"^sizes .*integers, got float 1.5", init, (3, 1.5)),
    reject("a size that is a name", TypeError, r"^sizes .*integers, got str 'a'", init, (3, "a")),
    reject("a boolean size", TypeError, r"^sizes .*integers, got bool True", init, (3, True)),
    reject("a size of zero", ValueError, r"^sizes .*positive, got 0", init, (3, 0, 2)),
    reject("a negative size", ValueError, r"^sizes .*positive, got -2", init, (3, -2)),
    reject("sizes a number", TypeError, r"^sizes .*sequence of integers, got int 3", init, 3),
    reject("key a number", TypeError, r"^key .*PRNG key.*got int 0", init, (3, 2), 0),
    reject(
        "several keys",
        TypeError,
        r"^key .*one PRNG key.*got key<fry>\[2\]",
        lambda: init((3, 2), jax.random.split(KEY)),
    ),
    reject(
        "key of floats", TypeError, r"^key .*got float32\[2\]", lambda: init((3, 2), jnp.ones(2))
    ),
    reject(
        "a raw key of three numbers",
        TypeError,
        r"^key .*got uint32\[3\]",
        lambda: init((3, 2), jnp.zeros(3, jnp.uint32)),
    ),
    *(
        reject(f"sizes {what}", TypeError, r"^sizes must be (a sequence of )?integers", init, sizes)
        for what, sizes in (
            ("of NaN", jnp.full(3, jnp.nan)),
            ("of floats", np.array([3.0, 2.0])),
            ("of no dimension", np.array(3)),
            ("of a mixture", STRUCTURED),
        )
    ),
    reject("sizes that are deleted", TypeError, r"^sizes must be a seq", lambda: init(gone())),
    # XLA would end the process
    *(
        reject("sizes that are huge", ValueError, r"^sizes .*fewer than 2\*\*56", init, sizes)
        for sizes in ((2, 2**62), (2**30, 2**30), (2, 10**5000))
    ),
    *(
        reject(
            f"b_init {b_init!r}, unused or not",
            TypeError,
            r"^b_init must be an initializer",
            lambda bias=bias, b_init=b_init: init((3, 2), bias=bias, b_init=b_init),
        )
        for bias in (True, False)
        for b_init in ("zeros", None)
    ),
    reject("sizes in no order", TypeError, r"^sizes .*sequence.*got set", init, {3, 2}),
    reject("sizes by name", TypeError, r"^sizes .*sequence.*got dict", init, {3: 1, 2: 1}),
    reject(
        "bias a word", TypeError, r"^bias must be True or False", lambda: init((3, 2), bias="no")
    ),
    reject(
        "w_init a name",
        TypeError,
        r"^w_init .*initializer.*got str 'he'",
        lambda: init((3, 2), w_init="he"),
    ),
    reject(
        "w_init of another shape",
        ValueError,
        r"^w_init.* must return float32\[3, 2\], got float32\[2, 3\]",
        lambda: init((3, 2), w_init=lambda key, shape, dtype: jnp.ones(shape[::-1], dtype)),
    ),
    reject(
        "b_init of another dtype",
        ValueError,
        r"^b_init.* must return float32\[2\], got int32\[2\]",
        lambda: init((3, 2), b_init=lambda key, shape, dtype: jnp.ones(shape, jnp.int32)),
    ),
    reject(
        "dtype of integers",
        TypeError,
        r"^dtype .*floating.*got .*int32",
        lambda: init((3, 2), dtype=jnp.int32),
    ),
]

CACHE = fcjax.forward(PARAMS, X)[1]
OF_TWO = fcjax.forward(PARAMS, X[:2])[1]
DA = jnp.ones((5, 2))

BACKWARD = [
    bad
    for name, run in (("backward", fcjax.backward), ("deltas", fcjax.deltas))
    for bad in (
        reject(
            f"{name}, cache of another depth",
            ValueError,
            r"^cache .*one entry per layer of params, 2, got 1",
            lambda run=run: run(PARAMS, CACHE[:1], DA),
        ),
        reject(
            f"{name}, cache of another network",
            ValueError,
            r"cache|params",
            lambda run=run: run((PARAMS[0], fcjax.Layer(jnp.ones((9, 2)), B[:2])), CACHE, DA),
        ),
        reject(
            f"{name}, layers that do not fit",
            ValueError,
            r"^params\[2\]\.w must have 2 rows, .* previous layer, got float32\[3, 7\]",
            lambda run=run: run(PARAMS * 2, CACHE * 2, DA),
        ),
        reject(
            f"{name}, cache of two batches",
            ValueError,
            r"^cache\[0\] must match params\[0\]\.w .*as many examples as cache\[1\], got LayerC",
            lambda run=run: run(PARAMS, (OF_TWO[0], CACHE[1]), DA),
        ),
        reject(
            f"{name}, cache of changed inputs",
            ValueError,
            r"^cache\[0\] must match .*got LayerCache\(X=float32\[2, 3\], Z=float32\[5, 7\]",
            lambda run=run: run(PARAMS, (replace(CACHE[0], X=X[:2]), CACHE[1]), DA),
        ),
        reject(
            f"{name}, no cache",
            TypeError,
            r"^cache .*got",
            lambda run=run: run(PARAMS, None, DA),
        ),
        reject(
            f"{name}, arrays for a cache",
            TypeError,
            r"^cache .*got",
            lambda run=run: run(PARAMS, (X, X), DA),
        ),
        reject(
            f"{name}, pairs for layers",
            TypeError,
            r"^params .*Layers, as from init",
            lambda run=run: run(tuple(map(tuple, PARAMS)), CACHE, DA),
        ),
        reject(
            f"{name}, dA of integers",
            TypeError,
            r"^dA .*floating.*got int32\[5, 2\]",
            lambda run=run: run(PARAMS, CACHE, DA.astype(jnp.int32)),
        ),
        reject(
            f"{name}, dA of another shape",
            ValueError,
            r"dA .*\[5, 2\].*got float32\[5, 3\]",
            lambda run=run: run(PARAMS, CACHE, jnp.ones((5, 3))),
        ),
        reject(
            f"{name}, dA of one example",
            ValueError,
            r"dA .*\[5, 2\].*got float32\[1, 2\]",
            lambda run=run: run(PARAMS, CACHE, jnp.ones((1, 2))),
        ),
        reject(
            f"{name}, dA a scalar",
            ValueError,
            r"dA .*\[5, 2\].*got float32\[\]",
            lambda run=run: run(PARAMS, CACHE, 1.0),
        ),
    )
]

PAIRWISE = {
    "squared_error": "pred",
    "half_squared_error": "pred",
    "mean_squared_error": "pred",
    "absolute_error": "pred",
    "huber": "pred",
    "hinge": "pred",
    "poisson": "log_rate",
    "binary_cross_entropy": "probs",
    "sigmoid_binary_cross_entropy": "logits",
}
COUNTED = ("hinge", "poisson", "binary_cross_entropy", "sigmoid_binary_cross_entropy")


def pairwise(name, pred):
    """What every loss of pairs refuses."""
    f = getattr(fcjax, name)
    bad = [
        (
            "shapes",
            ValueError,
            rf"^target .*shape of {pred}, \[5, 3\], got .*\[5, 2\]",
            X,
            X[:, :2],
        ),
        ("a column", ValueError, rf"^target .*{pred}, \[5\], got .*\[5, 1\]", X[:, 0], X[:, :1]),
        ("a row", ValueError, rf"^target .*{pred}, \[5, 1\], got float32\[5\]", X[:, :1], X[:, 0]),
        ("a scalar target", ValueError, rf"^target .*{pred}, \[5, 3\], got .*\[\]", X, 1.0),
        ("a scalar", ValueError, rf"^{pred} .*\(m,\).*got float32\[\]", 1.0, 1.0),
        ("empty batch", ValueError, rf"^{pred} .*at least one example", X[:0], X[:0]),
        ("no features", ValueError, rf"^{pred} .*at least one example", X[:, :0], X[:, :0]),
        ("integers", TypeError, rf"^{pred} .*floating.*int32", INTEGERS, X),
        ("a string", TypeError, r"^target .*floating.*str", X, "one"),
    ]
    for what, error, match, *args in bad:
        yield reject(f"{name}, {what}", error, match, f, *args)
    for weights, got in (
        (X, r"float32\[5, 3\]"),
        (X[:4, 0], r"float32\[4\]"),
        (2.0, r"float32\[\]"),
    ):
        match = rf"^weights .*one number per example, shape \[5\], got {got}"
        yield reject(f"{name}, weights {got}", ValueError, match, f, X, X, weights=weights)
    match = r"^weights .*floating.*int32"
    yield reject(f"{name}, weights", TypeError, match, f, X, X, weights=INTEGERS[:, 0])
    match = r"^reduction: 'average' is unknown; accepted: mean, none, sum|did you mean"
    yield reject(f"{name}, reduction", ValueError, match, f, X, X, reduction="average")
    match = r"^reduction: None is unknown.*accepted: mean, none, sum"
    yield reject(f"{name}, no reduction", ValueError, match, f, X, X, reduction=None)
    for reduction in (STRUCTURED, np.ones(3)):
        match = r"^reduction: .* is unknown; accepted: mean, none, sum"
        yield reject(f"{name}, no word", ValueError, match, f, X, X, reduction=reduction)
    if name not in COUNTED:
        yield reject(f"{name}, int target", TypeError, r"^target .*floating", f, X, INTEGERS)


def cross_entropy(labels=LABELS, logits=Z, **options):
    return fcjax.softmax_cross_entropy(logits, labels, **options)


def refuse_labels(name, error, got, labels, **options):
    match = rf"^labels .*integer classes of shape \[5\].*distributions of shape \[5, 4\].*got {got}"
    return reject(f"labels {name}", error, match, cross_entropy, labels, **options)


CROSS_ENTROPY = [
    refuse_labels("of another batch", ValueError, r"int32\[4\]", LABELS[:4]),
    refuse_labels("a column", ValueError, r"int32\[5, 1\]", LABELS[:, None]),
    refuse_labels("one-hot of integers", ValueError, r"int32\[5, 4\]", jnp.ones((5, 4), jnp.int32)),
    refuse_labels("class numbers as floats", ValueError, r"float32\[5\]", LABELS * 1.0),
    refuse_labels("distributions of other classes", ValueError, r"float32\[5, 3\]", X),
    refuse_labels("of booleans", TypeError, r"bool\[5\]", LABELS > 0),
    refuse_labels("one scalar", ValueError, r"int32\[\]", jnp.int32(1)),
    reject("labels of strings", TypeError, r"^labels .*got", cross_entropy, np.array(["a"] * 5)),
    reject("label a string", TypeError, r"^labels .*got", cross_entropy, "cat"),
    reject("logits of integers", TypeError, r"^logits .*floating", cross_entropy, logits=INTEGERS),
    reject("logits a scalar", ValueError, r"^logits .*classes\)", cross_entropy, 0, 1.0),
    reject(
        "cross-entropy, empty batch",
        ValueError,
        r"^logits .*at least one example",
        lambda: cross_entropy(LABELS[:0], Z[:0]),
    ),
    *(
        reject(
            f"label_smoothing {smoothing!r}",
            ValueError,
            r"^label_smoothing .*0 <= label_smoothing < 1, got",
            lambda smoothing=smoothing: cross_entropy(label_smoothing=smoothing),
        )
        for smoothing in (-0.1, 1.0, 1.5, float("nan"), "0.1", None, True)
    ),
    reject(
        "class_weights of another length",
        ValueError,
        r"^class_weights .*one number per class, shape \[4\], got float32\[5\]",
        lambda: cross_entropy(class_weights=jnp.ones(5)),
    ),
    reject(
        "class_weights by example",
        ValueError,
        r"^class_weights .*shape \[4\], got float32\[5, 4\]",
        lambda: cross_entropy(class_weights=Z),
    ),
    reject(
        "class_weights of integers",
        TypeError,
        r"^class_weights .*floating.*int32",
        lambda: cross_entropy(class_weights=jnp.ones(4, jnp.int32)),
    ),
    reject(
        "cross-entropy, weights",
        ValueError,
        r"^weights .*one number per example, shape \[5\], got float32\[4\]",
        lambda: cross_entropy(weights=jnp.ones(4)),
    ),
    reject(
        "cross-entropy, reduction",
        ValueError,
        r"^reduction: 'avg' is unknown.*accepted: mean, none, sum",
        lambda: cross_entropy(reduction="avg"),
    ),
    reject(
        "ignore_index a float",
        TypeError,
        r"^ignore_index .*integer or None, got float 1.0",
        lambda: cross_entropy(ignore_index=1.0),
    ),
    reject(
        "ignore_index a boolean",
        TypeError,
        r"^ignore_index .*integer or None, got bool True",
        lambda: cross_entropy(ignore_index=True),
    ),
    reject(
        "ignore_index of distributions",
        ValueError,
        r"^ignore_index .*integer labels.*distributions",
        lambda: cross_entropy(jnp.ones((5, 4)) / 4, ignore_index=1),
    ),
]


def fused(x=X, w=W[:, :4], b=B[:4], labels=LABELS, **options):
    return fcjax.dense_softmax_cross_entropy(x, w, b, labels, **options)


FUSED = [
    reject("fused, x against w", ValueError, r"^x .*\(\.\.\., 3\).*got .*\[5, 4\]", fused, Z),
    reject("fused, x of integers", TypeError, r"^x .*floating.*int32\[5, 3\]", fused, INTEGERS),
    reject("fused, w of integers", TypeError, r"^w .*floating.*int32", fused, w=INTEGERS.T[:, :4]),
    reject("fused, w a vector", ValueError, r"^w .*\(n_in, n_out\), got", fused, w=B),
    reject(
        "fused, no classes",
        ValueError,
        r"^w .*one class, got float32\[3, 0\]",
        fused,
        w=W[:, :0],
        b=None,
    ),
    reject("fused, b against w", ValueError, r"^b .*\(4,\).*got float32\[7\]", fused, b=B),
    reject("fused, b of integers", TypeError, r"^b .*floating", fused, b=LABELS[:4]),
    reject("fused, empty batch", ValueError, r"^x .*at least one", fused, X[:0], labels=LABELS[:0]),
    reject(
        "fused, labels of another batch",
        ValueError,
        r"^labels .*classes of shape \[5\] .*distributions of shape \[5, 4\], to match "
        r"x float32\[5, 3\] and w float32\[3, 4\], got int32\[4\]",
        lambda: fused(labels=LABELS[:4]),
    ),
    reject("fused, labels of booleans", TypeError, r"^labels .*bool", fused, labels=LABELS > 0),
    reject(
        "fused, label_smoothing", ValueError, r"^label_smoothing .*got", fused, label_smoothing=1
    ),
    reject("fused, ignore_index", TypeError, r"^ignore_index .*got", fused, ignore_index=1.0),
    reject("fused, weights", ValueError, r"^weights .*\[5\], got", fused, weights=B[:4]),
    reject(
        "fused, class_weights", ValueError, r"^class_weights .*\[4\], got", fused, class_weights=B
    ),
    reject("fused, reduction", ValueError, r"^reduction: 'avg' is unknown", fused, reduction="avg"),
    reject(
        "fused, compute_dtype", TypeError, r"^compute_dtype .*int8", fused, compute_dtype=jnp.int8
    ),
    *(
        reject(
            f"chunk_size {size!r}",
            error,
            r"^chunk_size must be an? (positive|integer).*, got",
            lambda size=size: fused(chunk_size=size),
        )
        for size, error in [
            (0, ValueError),
            (-2, ValueError),
            (2.0, TypeError),
            ("2", TypeError),
            (True, TypeError),
            (jnp.ones(2), TypeError),
        ]
    ),
]

NORMS = [
    reject(
        "layer_norm, scale", ValueError, r"^scale .*\[3\].*got .*\[7\]", fcjax.layer_norm, X, B, B
    ),
    reject(
        "layer_norm, bias",
        ValueError,
        r"^bias .*\[3\].*got float32\[2\]",
        lambda: fcjax.layer_norm(X, B[:3], B[:2]),
    ),
    reject("rms_norm, scale", ValueError, r"^scale .*\[3\].*\[1\]", fcjax.rms_norm, X, B[:1]),
    reject("rms_norm, x", TypeError, r"^x .*floating", fcjax.rms_norm, INTEGERS, B[:3]),
    reject("rms_norm, x a scalar", ValueError, r"x float32\[\]", fcjax.rms_norm, 1.0, B[:3]),
    reject(
        "layer_norm, scale of integers",
        TypeError,
        r"^scale .*floating",
        lambda: fcjax.layer_norm(X, INTEGERS[0], B[:3]),
    ),
    reject(
        "rms_norm, no features",
        ValueError,
        r"^x .*at least one feature",
        lambda: fcjax.rms_norm(X[:, :0], B[:0]),
    ),
    *(
        reject(
            f"{name}, eps {eps!r}",
            ValueError,
            r"^eps .*positive number, got",
            lambda name=name, eps=eps: getattr(fcjax, name)(
                X, *[B[:3]] * (1 + (name == "layer_norm")), eps=eps
            ),
        )
        for name in ("layer_norm", "rms_norm")
        for eps in (0.0, -1e-5, float("nan"), "1e-5", None, 10**400)
    ),
]

DROPOUT = [
    *(
        reject(
            f"rate {rate!r}",
            ValueError,
            r"^rate .*0 <= rate < 1, got",
            lambda rate=rate: fcjax.dropout(X, rate, KEY),
        )
        for rate in (-0.1, 1.0, 1, 2.0, float("nan"), "0.5", None, True)
    ),
    reject("dropout, key a number", TypeError, r"^key .*PRNG key", fcjax.dropout, X, 0.5, 0),
    reject("dropout, key of floats", TypeError, r"^key .*float32", fcjax.dropout, X, 0.5, B),
    reject(
        "dropout, several keys",
        TypeError,
        r"^key .*one PRNG key",
        lambda: fcjax.dropout(X, 0.5, jax.random.split(KEY)),
    ),
    *(
        reject(
            f"dropout of a network, {rate!r}",
            ValueError,
            r"^dropout must be a number with 0 <= dropout < 1, got",
            lambda rate=rate: mlp(dropout=rate, key=KEY),
        )
        for rate in (-0.1, 1, float("nan"), "0.5", None)
    ),
    reject("key of a network", TypeError, r"^key .*one PRNG key", mlp, dropout=0.5, key=3),
    reject("key without a rate", TypeError, r"^key .*one PRNG key", mlp, key="3"),
    reject("dropout of integers", TypeError, r"^x .*floating", fcjax.dropout, INTEGERS, 0.5, KEY),
]

HUBER = [
    reject(
        f"delta {delta!r}",
        ValueError,
        r"^delta .*positive number, got",
        lambda delta=delta: fcjax.huber(X, X, delta=delta),
    )
    for delta in (0.0, -1.0, float("nan"), "1", None, True)
]

# JAX sorts the keys of dicts.
UNSORTED = {0: X, "a": X}


def first(x, y=None):
    return fcjax.tanh(x)


def check_at(*args):
    return list(fcjax.verify.check_at_points(first, [args]))


def unsorted(x):
    return {0: x, "a": x}


DERIVATIVES = [
    reject("jvp, has_aux", TypeError, r"^has_aux", fcjax.jvp, fcjax.relu, (X,), (X,), has_aux=1),
    reject("jacfwd of no function", TypeError, r"^fun must be a function", fcjax.jacfwd, None),
    *(
        reject(f"argnums {i!r}", TypeError, r"^argnums .*got", fcjax.jacfwd, fcjax.relu, i)
        for i in ((), [[0]], "0", None, True)
    ),
    reject(
        "argnums twice",
        ValueError,
        r"^argnums .*different.*\(0, -1\)",
        lambda: fcjax.jacfwd(fcjax.relu, (0, -1))(X),
    ),
    *(
        reject(f"{name} at keys in no order", TypeError, rf"^{match} must be a pytree.*dict", f)
        for name, match, f in (
            ("jvp", "primals", lambda: fcjax.jvp(first, (UNSORTED,), (X,))),
            ("jvp, tangents", "tangents", lambda: fcjax.jvp(first, (X,), (UNSORTED,))),
            ("linearize", "primals", lambda: fcjax.linearize(first, UNSORTED)),
            ("f_jvp", "tangents", lambda: fcjax.linearize(first, X)[1](UNSORTED)),
            ("jacfwd", "argument 1 of fun", lambda: fcjax.jacfwd(first, 1)(X, UNSORTED)),
            ("hvp", "primals", lambda: fcjax.hvp(first, (UNSORTED,), (X,))),
            (
                "gauss_newton",
                "params",
                lambda: fcjax.gauss_newton_product(first, first, UNSORTED, X),
            ),
            ("gauss_newton, v", "v", lambda: fcjax.gauss_newton_product(first, first, X, UNSORTED)),
            ("jvp of a function", "the output of fun", lambda: fcjax.jvp(unsorted, (X,), (X,))),
            ("check_rule", "args", lambda: fcjax.check_rule(first, (UNSORTED,))),
            (
                "check_rule, y",
                "kwargs",
                lambda: fcjax.check_rule(first, (X,), kwargs={"y": UNSORTED}),
            ),
            ("check_at_points", r"points\[0\]: args", lambda: check_at(UNSORTED)),
            ("rules_in", "args", lambda: fcjax.verify.rules_in(first, UNSORTED)),
            ("without_rules", "args", lambda: fcjax.verify.without_rules(first)(UNSORTED)),
            ("its output", "the output of fun", lambda: fcjax.verify.without_rules(unsorted)(X)),
        )
    ),
    *(
        reject(f"checks, {what}", error, r"^checks", fcjax.check_rule, first, (X,), checks=checks)
        for what, error, checks in (
            ("a number", TypeError, 3),
            ("a dtype", TypeError, jnp.float32),
            ("a deleted array", TypeError, gone()),
            ("a list of lists", ValueError, [["vjp"]]),
        )
    ),
    reject("rule_of no function", TypeError, r"^function must be a function", fcjax.rule_of, 3),
    reject("rules_in no function", TypeError, r"^fun must be", fcjax.verify.rules_in, None),
    reject("without_rules", TypeError, r"^fun must be", fcjax.verify.without_rules, "f"),
    reject("check_elementwise", TypeError, r"^fun must be a function", fcjax.check_elementwise, 3),
    *(
        reject(
            f"check_elementwise, {name}",
            error,
            rf"^{name}\b",
            lambda option=option: fcjax.check_elementwise(fcjax.tanh, **option),
        )
        for name, error, option in (
            ("floor", ValueError, {"floor": "1"}),
            ("tolerance", ValueError, {"tolerance": float("nan")}),
            ("value must be a function of one", TypeError, {"value": lambda a, b: a}),
            ("derivative must be a function of one", TypeError, {"derivative": lambda: 1.0}),
            ("state", TypeError, {"state": 3}),
            ("state", ValueError, {"state": "a\0b"}),
            ("progress", TypeError, {"progress": None}),
            ("value", TypeError, {"value": 3}),
            ("dtype", TypeError, {"dtype": "bfloat"}),
            ("dtype", ValueError, {"dtype": "float64"}),
        )
    ),
]

LONG = [
    reject(
        "a long shape of a mesh",
        ValueError,
        r"^shape .*product",
        lambda: fcjax.distributed.mesh({str(i): 7 for i in range(100)}),
    ),
    reject(
        "a long name in a batch",
        ValueError,
        r"^batch .*equal first dimensions",
        lambda: fcjax.distributed.place_batch(
            {"x" * 500: X, "y": Z[:2]}, fcjax.distributed.mesh({"d": 1}, devices=jax.devices()[:1])
        ),
    ),
    reject("a long name", ValueError, r"^activations: 'x", lambda: mlp(activations="x" * 9000)),
    reject("an optimizer", ValueError, r"^optimizer: 'adm'", fcjax.train.optimizer_named, "adm"),
    reject(
        "rtol a text",
        TypeError,
        r"^rtol must be a number",
        lambda: fcjax.check_rule(fcjax.relu, (X,), rtol="x" * 500),
    ),
]

ALL = [
    *(
        DENSE
        + DTYPES
        + DERIVATIVES
        + LONG
        + ACTIVATIONS
        + NETWORKS
        + INIT
        + BACKWARD
        + CROSS_ENTROPY
        + FUSED
        + NORMS
        + DROPOUT
        + HUBER
    ),
    *(bad for name, pred in PAIRWISE.items() for bad in pairwise(name, pred)),
]


@pytest.mark.parametrize("bad", ALL, ids=[bad.name for bad in ALL])
def test_refused_at_the_call(bad):
    with pytest.raises(bad.error, match=bad.match) as caught:
        bad.call()
    assert len(str(caught.value)) < 400


JITTED = [DENSE[0], DENSE[4], DENSE[7], NETWORKS[0], CROSS_ENTROPY[0], NORMS[0]]


@pytest.mark.parametrize("bad", JITTED, ids=[bad.name for bad in JITTED])
def test_refused_while_tracing_too(bad):
    with pytest.raises(bad.error, match=bad.match):
        jax.jit(bad.call)()
