"""Every hand-written rule once, beside autodiff of a plain function and differences of a program.

What `make check` runs. The files of the rules hold the many cases of each; here is one of each, of
its options too where they have a rule of their own, and a proof that none is missing.
"""

import gc
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import Case, cast, check_gradients, normal, plain_activation, uniform

import fcjax
from fcjax.dropout import relu_dropout as rule_of_relu_and_dropout
from fcjax.tables.accumulation import mean_of_parts
from fcjax.verify import rules_in

M, N, K = 5, 3, 4


def both(make):
    """What `make` makes of the two reference libraries: JAX to differentiate, NumPy to trust."""
    return make(plain), make(reference)


def layers():
    X, W, b, V = normal(0, M, N), normal(1, N, K), normal(2, K), normal(3, M, K)
    yield Case("dense", fcjax.dense, *both(lambda to: to.dense), (X, W, b))
    yield Case("layer_norm", fcjax.layer_norm, *both(lambda to: to.layer_norm), (V, 1 + b, b))
    yield Case("rms_norm", fcjax.rms_norm, *both(lambda to: to.rms_norm), (V, 1 + b))
    yield dropout(0.4, jax.random.key(0), X)
    yield relu_and_dropout(0.4, jax.random.key(0), X)
    yield Case("scale", fcjax.scale, *both(lambda to: to.scale), (X, W[:, 0]))
    members, R, S = normal(10, M, 2, N), normal(11, 2, N), normal(12, 2, K)
    of_members = members, W, R, S, normal(13, 2, K)
    yield Case(
        "ensemble_dense", fcjax.ensemble_dense, *both(lambda to: to.ensemble_dense), of_members
    )
    of_groups = members, normal(14, 2, N, K), S
    yield Case("grouped_dense", fcjax.grouped_dense, *both(lambda to: to.grouped_dense), of_groups)
    encoding = fcjax.piecewise_linear_encoding, *both(lambda to: to.piecewise_linear_encoding)
    edges = np.array([[-1, 0, 0.7], [-2.2, -0.3, 1], [-0.9, 0.4, 2.1]])
    yield Case("piecewise_linear_encoding", *encoding, (X, edges))
    yield parts(V, normal(15, 3, K))
    rule = partial(fcjax.parametric, activation="tanh")
    same = (
        partial(to.parametric, g=tanh) for to, tanh in ((plain, jnp.tanh), (reference, np.tanh))
    )
    yield Case("parametric", rule, *same, (X, W[:, 0]))


def parts(shared, own):
    def loss(to):
        return lambda shared, own, *_: to.sum(to.tanh(shared * own))

    def mean(to):
        return lambda shared, own: sum(loss(to)(shared, one) for one in own) / len(own)

    def rule(shared, own):
        return mean_of_parts(loss(jnp), shared, own, None, None)

    return Case("mean of parts", rule, mean(jnp), mean(np), (shared, own))


def dropout(rate, key, x):
    def masked(to):
        return lambda x: to.where(plain.survivors(rate, key, x.shape), x / (1 - rate), 0)

    return Case("dropout", lambda x: fcjax.dropout(x, rate, key), masked(jnp), masked(np), (x,))


def relu_and_dropout(rate, key, x):
    def masked(to):
        def function(x):
            survives = (x > 0) & plain.survivors(rate, key, x.shape)
            return to.where(survives, x / (1 - rate), 0)

        return function

    rule = partial(rule_of_relu_and_dropout, rate=rate, key=key)
    return Case("relu and dropout", rule, masked(jnp), masked(np), (x,))


def activation(name, *args, label=""):
    same = plain_activation(name), reference.ACTIVATIONS[name]
    return Case(f"{name}{label}", getattr(fcjax, name), *same, args)


def activations():
    # one point on each piece of every function
    Z = np.array([[-7.3, -4.1, -2.2, -1.4], [-0.8, -0.35, 0.2, 0.9], [1.3, 2.6, 3.7, 8.4]])
    for name in sorted(reference.ACTIVATIONS):
        yield activation(name, Z)
    exact = partial(jax.nn.gelu, approximate=False), reference.gelu_exact
    yield Case("gelu, exact", partial(fcjax.gelu, approximate=False), *exact, (Z,))
    for name in ("leaky_relu", "elu", "celu", "squareplus"):
        yield activation(name, Z, np.array([0.3, 0.5, 0.7, 1.2]), label=", learned")


PAIRS = {
    "squared_error": (normal(0, M, N), normal(1, M, N)),
    "half_squared_error": (normal(0, M, N), normal(1, M, N)),
    "mean_squared_error": (normal(0, M, N), normal(1, M, N)),
    "absolute_error": (normal(0, M, N), normal(1, M, N)),
    "huber": (2 * normal(0, M, N), normal(1, M, N)),
    "poisson": (normal(0, M, N), uniform(1, M, N, high=4)),
    "hinge": (normal(0, M, N), normal(1, M, N)),
    "binary_cross_entropy": (uniform(0, M, N, low=0.1, high=0.9), uniform(1, M, N)),
    "sigmoid_binary_cross_entropy": (2 * normal(0, M, N), uniform(1, M, N)),
}


def loss_of_pairs(name, reduction="mean", weights=()):
    def rule(p, t, w=None):
        return getattr(fcjax, name)(p, t, weights=w, reduction=reduction)

    def same(to):
        return lambda p, t, w=None: to.reduce(getattr(to, name)(p, t), w, reduction)

    label = f"{name}, {reduction}{', weights' if len(weights) else ''}"
    return Case(label, rule, *both(same), (*PAIRS[name], *weights))


LABELS = np.array([0, 3, 1, 3, 2], np.int32)


def cross_entropy(reduction, ignored):
    options = {"reduction": reduction, "ignore_index": ignored}

    def rule(z):
        return fcjax.softmax_cross_entropy(z, jnp.asarray(LABELS), **options)

    label = f"softmax_cross_entropy, {reduction}, ignored {ignored}"
    same = both(lambda to: lambda z: entropy(to, z, reduction, ignored))
    return Case(label, rule, *same, (normal(4, M, K),))


def fused_cross_entropy(reduction, ignored):
    def rule(x, w, b):
        options = {"chunk_size": 2, "reduction": reduction, "ignore_index": ignored}
        return fcjax.dense_softmax_cross_entropy(x, w, b, jnp.asarray(LABELS), **options)

    def same(to):
        return lambda x, w, b: entropy(to, to.dense(x, w, b), reduction, ignored)

    label = f"dense_softmax_cross_entropy, {reduction}, ignored {ignored}"
    return Case(label, rule, *both(same), (normal(5, M, N), normal(6, N, K), normal(7, K)))


def entropy(to, z, reduction, ignored):
    values, counts = to.softmax_cross_entropy(z, LABELS, 0.0, ignored)
    return to.reduce(values, None, reduction, counts)


def losses():
    yield from map(loss_of_pairs, PAIRS)
    yield loss_of_pairs("squared_error", "sum")
    weights = (uniform(2, M, low=0.2, high=2.0),)
    for reduction in ("mean", "sum", "none"):
        yield loss_of_pairs("squared_error", reduction, weights)
    for reduction, ignored in (("mean", None), ("mean", 3), ("none", None)):
        yield cross_entropy(reduction, ignored)
        yield fused_cross_entropy(reduction, ignored)


def network(name, depth=None, **options):
    """Two layers, or three with a run of `depth` equal ones in the middle."""
    middle = () if depth is None else (normal(2, depth, K, K) / 2, normal(3, depth, K))
    args = normal(9, M, N), normal(0, N, K), normal(1, K), *middle, normal(4, K, 2), normal(5, 2)

    def rule(x, *arrays):
        params = tuple(map(fcjax.Layer, arrays[::2], arrays[1::2]))
        return fcjax.mlp(params, x, activations="tanh", **options)

    def same(to, apply):
        def function(x, *arrays):
            pairs = list(zip(arrays[::2], arrays[1::2], strict=True))
            if depth is not None:
                pairs[1:2] = zip(*pairs[1], strict=True)
            functions = [*[to.tanh] * (len(pairs) - 1), lambda z: z]
            return apply(pairs, x, functions)

        return function

    return Case(name, rule, same(jnp, plain.mlp), same(np, reference.network), args)


def networks():
    yield network("mlp")
    yield network("mlp, stacked", depth=4)
    yield network("mlp, stacked, remat", depth=4, remat_every=2)


CASES = [*layers(), *activations(), *losses(), *networks()]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_gradient_is_right(case, x64):
    check_gradients(case, x64)


# --- nothing is missing -------------------------------------------------------------------------


def written_by_hand():
    """Name, and place of the backward half, of every `jax.custom_vjp` that fcjax has made."""
    for rule in gc.get_objects():
        if isinstance(rule, jax.custom_vjp) and rule.fun.__module__.startswith("fcjax."):
            code = inspect.unwrap(rule.bwd).__code__
            name = inspect.unwrap(rule.fun).__name__
            yield name, f"{code.co_filename}:{code.co_firstlineno}"


# taken before any test makes rules of its own
RULES = {*written_by_hand()}


def test_every_hand_written_rule_is_called():
    called = {
        call.origin for case in CASES for call in rules_in(case.rule, *cast(case.args, jnp.float32))
    }
    assert len(RULES) > 40
    assert sorted(RULES - called) == []


def test_every_public_rule_has_a_test_of_its_name():
    layers = {"dense", "dropout", "layer_norm", "rms_norm", "mlp", "scale", "parametric"}
    layers |= {"ensemble_dense", "grouped_dense", "piecewise_linear_encoding"}
    losses = {name for name, value in vars(fcjax.losses).items() if callable(value)}
    public = layers | losses | set(fcjax.activations.ACTIVATIONS)
    assert {"relu", "softmax_cross_entropy"} < public
    assert public - {case.name.partition(",")[0] for case in CASES} == set()
