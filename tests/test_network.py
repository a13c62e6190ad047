"""Networks: parameters, the composed rules, and the textbook passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import plain
import pytest
import reference
from support import (
    assert_close,
    assert_same_bits,
    assert_trees_close,
    normal,
    plain_activation,
    random_like,
    tolerance,
)

import fcjax

# --- init -----------------------------------------------------------------------------------


def test_init_draws_a_layer_for_each_pair_of_sizes():
    params = fcjax.init(jax.random.key(0), (5, 3, 7, 2))
    assert [layer.w.shape for layer in params] == [(5, 3), (3, 7), (7, 2)]
    assert [layer.b.shape for layer in params] == [(3,), (7,), (2,)]
    assert all(isinstance(layer, fcjax.Layer) for layer in params)
    assert isinstance(params, tuple)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, "float16"])
def test_init_has_the_dtype_asked_for(dtype):
    leaves = jax.tree.leaves(fcjax.init(jax.random.key(0), (3, 2, 1), dtype=dtype))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}


def test_init_is_a_function_of_the_key():
    draw = partial(fcjax.init, sizes=(3, 4, 4, 2))
    assert_same_bits(draw(jax.random.key(1)), draw(jax.random.key(1)))
    assert_same_bits(draw(jax.random.PRNGKey(1)), draw(jax.random.PRNGKey(1)))
    one, other = draw(jax.random.key(1)), draw(jax.random.key(2))
    assert all(np.all(np.asarray(a.w != b.w)) for a, b in zip(one, other, strict=True))


def test_init_draws_each_layer_anew():
    params = fcjax.init(jax.random.key(0), (4, 4, 4), b_init=jax.nn.initializers.normal())
    assert not np.any(np.asarray(params[0].w == params[1].w))
    assert not np.any(np.asarray(params[0].b == params[1].b))
    assert not np.any(np.asarray(params[0].b == params[0].w[0]))


def test_init_gives_every_draw_a_key_of_its_own():
    keys = []

    def record(key, shape, dtype):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return jnp.zeros(shape, dtype)

    fcjax.init(jax.random.key(0), (2, 3, 4, 5), w_init=record, b_init=record)
    assert len(set(keys)) == 6


def test_init_defaults_are_he_normal_and_zeros():
    (layer,) = fcjax.init(jax.random.key(0), (400, 100))
    # the sample deviation of 40000 numbers is right to 0.4%; Glorot's would be 10% off
    assert float(layer.w.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    np.testing.assert_array_equal(layer.b, np.zeros(100))


def test_init_takes_initializers_and_may_leave_out_biases():
    ones = jax.nn.initializers.ones
    (layer,) = fcjax.init(jax.random.key(0), (3, 2), w_init=ones, bias=False)
    np.testing.assert_array_equal(layer.w, np.ones((3, 2)))
    assert layer.b is None
    (layer,) = fcjax.init(jax.random.key(0), [3, 2], b_init=ones)
    np.testing.assert_array_equal(layer.b, np.ones(2))


# --- networks of every depth ----------------------------------------------------------------

SIZES = (3, 5, 4, 7, 4, 2, 6)
NAMES = ("tanh", "relu", "sigmoid", "softplus", "leaky_relu", "identity")
DEPTHS = pytest.mark.parametrize("depth", range(1, 7))


def layers(depth, bias=True):
    """Pairs (w, b) of NumPy float64."""
    return tuple(
        (normal(i, SIZES[i], SIZES[i + 1]) / 2, normal(50 + i, SIZES[i + 1]) if bias else None)
        for i in range(depth)
    )


def parameters(pairs, dtype):
    return tuple(
        fcjax.Layer(jnp.asarray(w, dtype), None if b is None else jnp.asarray(b, dtype))
        for w, b in pairs
    )


def options(names):
    return {"activations": names[:-1], "output_activation": names[-1]}


def programs(names, library):
    return tuple(library.ACTIVATIONS[name] for name in names)


X = normal(90, 5, 3)
# derivatives in terms of z, none of them taken from the library
DERIVATIVES = {
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "relu": lambda z: (z > 0).astype(z.dtype),
    "sigmoid": lambda z: reference.sigmoid(z) * reference.sigmoid(-z),
    "softplus": reference.sigmoid,
    "leaky_relu": lambda z: np.where(z >= 0, 1, 0.01),
    "identity": np.ones_like,
}


@DEPTHS
@pytest.mark.parametrize("bias", [True, False])
def test_the_network_is_the_numpy_program(depth, bias, x64):
    pairs, names = layers(depth, bias), NAMES[-depth:]
    params, x = parameters(pairs, x64), jnp.asarray(X, x64)
    want = reference.network(pairs, X, programs(names, reference))
    assert_close(fcjax.mlp(params, x, **options(names)), want, tolerance(x64))
    assert_close(fcjax.forward(params, x, **options(names))[0], want, tolerance(x64))


@DEPTHS
def test_backward_is_the_textbook_recursion(depth, x64):
    pairs, names = layers(depth), NAMES[-depth:]
    params, x = parameters(pairs, x64), jnp.asarray(X, x64)
    A, cache = fcjax.forward(params, x, **options(names))
    dA = random_like(A)
    dparams, dX = fcjax.backward(params, cache, dA)
    derivatives = [DERIVATIVES[name] for name in names]
    gradients, deltas, want_dX = reference.textbook_backward(
        pairs, X, programs(names, reference), derivatives, np.asarray(dA, np.float64)
    )
    allowed = 4 * tolerance(x64)
    assert_trees_close([tuple(layer) for layer in dparams], gradients, allowed)
    assert_close(dX, want_dX, allowed)
    assert_trees_close(list(fcjax.deltas(params, cache, dA)), deltas, allowed)


def mlp_loss(apply, names, params, x, weights):
    """A scalar whose gradient at the output is not uniform."""
    return jnp.sum(weights * apply(params, x, **options(names)) ** 2)


def textbook_gradients(names, params, x, weights):
    """The gradients of `mlp_loss`, by the explicit passes."""
    A, cache = fcjax.forward(params, x, **options(names))
    _, pull = jax.vjp(lambda A: jnp.sum(weights * A**2), A)
    return fcjax.backward(params, cache, *pull(jnp.ones((), A.dtype)))


def at_a_point(depth, dtype):
    """Names, parameters, inputs and weights of a network."""
    return (
        NAMES[-depth:],
        parameters(layers(depth), dtype),
        jnp.asarray(X, dtype),
        jnp.asarray(normal(91, 5, SIZES[depth]), dtype),
    )


def check_agreement(names, jitted, *point):
    """`jax.grad` through the rules and the textbook passes: equal to the last bit."""
    by_rules = jax.grad(partial(mlp_loss, fcjax.mlp, names), argnums=(0, 1))
    by_hand = partial(textbook_gradients, names)
    if not jitted:
        assert_same_bits(by_hand(*point), by_rules(*point))
        return
    got, want = jax.jit(by_hand)(*point), jax.jit(by_rules)(*point)
    if jax.default_backend() == "cpu":
        assert_same_bits(got, want)
    else:
        # an accelerator's compiler may choose other kernels for one program than for the other
        assert_trees_close(got, want, tolerance(point[1].dtype))


JITTED = pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])


@DEPTHS
@pytest.mark.parametrize("wide", [True, False], ids=["widest", "float32"])
@JITTED
def test_autodiff_and_the_textbook_passes_agree_to_the_last_bit(depth, wide, jitted, x64):
    names, *point = at_a_point(depth, x64 if wide else jnp.float32)
    check_agreement(names, jitted, *point)


@pytest.mark.parametrize("names", [("gelu", "mish", "log_softmax"), ("elu", "elu", "softmax")])
@JITTED
def test_mixed_activations_agree_to_the_last_bit(names, jitted, x64):
    _, *point = at_a_point(3, x64)
    check_agreement(names, jitted, *point)


def plain_mlp(params, x, *, activations, output_activation):
    return plain.mlp(params, x, [plain_activation(g) for g in (*activations, output_activation)])


@pytest.mark.parametrize("names", [("tanh", "sigmoid", "identity"), ("gelu", "elu", "softmax")])
def test_hessian_is_that_of_plain_autodiff(names, x64):
    _, params, x, weights = at_a_point(3, x64)
    hessians = [
        jax.jit(jax.hessian(partial(mlp_loss, apply, names)))(params, x, weights)
        for apply in (fcjax.mlp, plain_mlp)
    ]
    allowed = 1e-10 if x64 == jnp.float64 else 1e-4
    assert_trees_close(hessians[0], hessians[1], allowed)


def test_network_under_vmap_and_with_two_batch_dimensions(x64):
    names, params, x, weights = at_a_point(3, x64)
    gradient = jax.grad(partial(mlp_loss, fcjax.mlp, names))
    xs, many = jnp.stack([x, 2 * x]), jnp.stack([weights, weights - 1])
    one_by_one = jax.tree.map(lambda a, b: a + b, *map(partial(gradient, params), xs, many))
    assert_trees_close(gradient(params, xs, many), one_by_one, tolerance(x64))
    mapped = jax.vmap(gradient, (None, 0, 0))(params, xs, many)
    summed = jax.tree.map(lambda leaf: leaf.sum(0), mapped)
    assert_trees_close(summed, one_by_one, tolerance(x64))


def test_textbook_passes_with_two_batch_dimensions(x64):
    names, params, x, weights = at_a_point(3, x64)
    point = params, jnp.stack([x, 2 * x]), jnp.stack([weights, weights - 1])
    want = jax.grad(partial(mlp_loss, fcjax.mlp, names), argnums=(0, 1))(*point)
    assert_same_bits(textbook_gradients(names, *point), want)


# --- dropout --------------------------------------------------------------------------------

RATE, KEY = 0.3, jax.random.key(5)
WIDE = (3, 6, 6, 6, 6, 2)


def plain_with_dropout(layers, x, g, rate=RATE, key=KEY):
    a = x
    for number, (w, b) in enumerate(layers[:-1]):
        a = g(plain.dense(a, w, b))
        kept = plain.survivors(rate, jax.random.fold_in(key, number), a.shape)
        a = jnp.where(kept, a / (1 - rate), 0)
    return plain.dense(a, *layers[-1])


def with_dropout(params, x, name, **options):
    return fcjax.mlp(params, x, activations=name, dropout=RATE, key=KEY, **options)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("form", ["layers", "stacked", "remat"])
def test_dropout_is_that_of_plain_jax(form, name, x64):
    layers = fcjax.init(jax.random.key(0), WIDE, dtype=x64)
    x, dA = jnp.asarray(normal(1, 7, 3), x64), jnp.asarray(normal(2, 7, 2), x64)
    g = plain_activation(name)
    want, pull = jax.vjp(lambda layers, x: plain_with_dropout(layers, x, g), layers, x)
    options = {"remat_every": 2} if form == "remat" else {}

    def apply(layers, x):
        params = layers if form == "layers" else fcjax.stack(layers)
        return with_dropout(params, x, name, **options)

    got, rule_pull = jax.vjp(apply, layers, x)
    assert_trees_close(got, want, tolerance(x64))
    assert_trees_close(rule_pull(dA), pull(dA), tolerance(x64))
    assert np.any(np.asarray(got) != np.asarray(fcjax.mlp(layers, x, activations=name)))


def test_second_derivatives_go_through_dropout(x64):
    layers = fcjax.init(jax.random.key(0), WIDE, dtype=x64)
    x = jnp.asarray(normal(1, 3), x64)
    stacked = fcjax.stack(layers)
    got = jax.hessian(lambda x: with_dropout(stacked, x, "tanh").sum())(x)
    want = jax.hessian(lambda x: plain_with_dropout(layers, x, jnp.tanh).sum())(x)
    assert_close(got, want, tolerance(x64))


def test_each_key_of_a_vmap_has_masks_of_its_own():
    params = fcjax.stack(fcjax.init(jax.random.key(0), WIDE))
    x, keys = jnp.asarray(normal(1, 7, 3), jnp.float32), jax.random.split(KEY, 3)

    def apply(key):
        return fcjax.mlp(params, x, dropout=RATE, key=key)

    together = jax.vmap(apply)(keys)
    assert_close(together, jnp.stack([apply(key) for key in keys]), tolerance(jnp.float32))
    assert len({A.tobytes() for A in np.asarray(together)}) == 3


@pytest.mark.parametrize("options", [{"dropout": RATE}, {"key": KEY}, {"dropout": 0, "key": None}])
def test_without_a_key_or_a_rate_nothing_is_dropped(options):
    params, x = fcjax.init(jax.random.key(0), WIDE), jnp.asarray(normal(1, 7, 3), jnp.float32)
    program = jax.make_jaxpr(partial(fcjax.mlp, **options))
    assert str(program(params, x)) == str(jax.make_jaxpr(fcjax.mlp)(params, x))


def test_masks_are_drawn_again_and_not_stored():
    params, x = fcjax.stack(fcjax.init(jax.random.key(0), WIDE)), jnp.ones((7, 3))

    def kept(**options):
        _, pull = jax.vjp(
            lambda params: fcjax.mlp(params, x, activations="tanh", **options), params
        )
        arrays = [V for V in jax.tree.leaves(pull) if jnp.issubdtype(V.dtype, jnp.floating)]
        return sum(V.size for V in arrays)

    outputs_dropped = 2 * x.shape[0] * WIDE[-2]  # of the first layer and the last stacked one
    assert kept(dropout=RATE, key=KEY) <= kept() + outputs_dropped


def test_the_masks_of_relu_are_drawn_once_and_nothing_is_kept_for_them():
    params, x = fcjax.init(jax.random.key(0), WIDE), jnp.ones((7, 3))
    hidden = len(params) - 1

    def kept(**options):
        run = partial(fcjax.mlp, activations="relu", **options)
        return len({id(V) for V in jax.tree.leaves(jax.vjp(run, params, x)[1])})

    def draws(name):
        apply = partial(with_dropout, name=name)
        gradient = jax.grad(lambda params: jnp.sum(apply(params, x) ** 2))
        return str(jax.make_jaxpr(gradient)(params)).count("random_bits[")

    assert kept(dropout=RATE, key=KEY) == kept()
    assert (draws("relu"), draws("tanh")) == (hidden, 2 * hidden)


# --- what may be passed ---------------------------------------------------------------------


@jax.custom_vjp
def caller_square(z):
    return z**2


# Not the derivative of a square: whoever differentiates z² instead is caught.
caller_square.defvjp(lambda z: (z**2, z), lambda z, dA: (3 * z * dA,))

CALLERS = {
    "lambda": lambda z: jnp.sin(z) * z,
    "custom_vjp": caller_square,
    "partial of a rule": partial(fcjax.leaky_relu, negative_slope=0.2),
    "function of jax.nn": jax.nn.gelu,
}


@pytest.mark.parametrize("function", CALLERS.values(), ids=CALLERS.keys())
@JITTED
def test_a_callers_own_activation(function, jitted, x64):
    names = (function, "tanh", function)
    _, *point = at_a_point(3, x64)
    by_rules = jax.grad(partial(mlp_loss, fcjax.mlp, names), argnums=(0, 1))
    by_hand = partial(textbook_gradients, names)

    def composed(params, x, weights):
        A = plain.mlp(params, x, (function, jnp.tanh, function))
        return jnp.sum(weights * A**2)

    want = jax.grad(composed, argnums=(0, 1))(*point)
    if jitted:
        by_rules, by_hand = jax.jit(by_rules), jax.jit(by_hand)
    assert_trees_close(by_rules(*point), want, 4 * tolerance(x64))
    assert_trees_close(by_hand(*point), want, 4 * tolerance(x64))


def test_activations_may_be_one_for_all_or_one_for_each():
    _, params, x, _ = at_a_point(4, jnp.float32)
    one = fcjax.mlp(params, x, activations="sigmoid")
    each = fcjax.mlp(params, x, activations=["sigmoid", fcjax.sigmoid, "sigmoid"])
    np.testing.assert_array_equal(one, each)
    np.testing.assert_array_equal(fcjax.mlp(params, x, activations=fcjax.sigmoid), one)
    default = fcjax.mlp(params, x)
    relus = fcjax.mlp(params, x, activations=("relu",) * 3, output_activation="identity")
    np.testing.assert_array_equal(default, relus)


def test_the_order_of_activations_is_that_of_the_layers():
    _, params, x, _ = at_a_point(3, jnp.float32)
    a = fcjax.mlp(params, x, activations=("tanh", "softplus"))
    b = fcjax.mlp(params, x, activations=("softplus", "tanh"))
    pairs = layers(3)
    functions = (np.tanh, reference.softplus, lambda z: z)
    assert_close(a, reference.network(pairs, X, functions), 1e-5)
    assert_close(b, reference.network(pairs, X, (reference.softplus, np.tanh, functions[2])), 1e-5)


def test_a_network_without_biases_has_no_gradient_for_them(x64):
    names = NAMES[-3:]
    params, x = parameters(layers(3, bias=False), x64), jnp.asarray(X, x64)
    weights = jnp.asarray(normal(91, 5, SIZES[3]), x64)
    by_hand = textbook_gradients(names, params, x, weights)
    assert [layer.b for layer in by_hand[0]] == [None] * 3
    by_rules = jax.grad(partial(mlp_loss, fcjax.mlp, names), argnums=(0, 1))(params, x, weights)
    assert_same_bits(by_hand, by_rules)


@pytest.mark.parametrize(
    "names", [("tanh", "gelu", "identity"), ("relu", CALLERS["lambda"], "softmax")]
)
def test_the_cache_survives_jit(names, x64):
    _, params, x, weights = at_a_point(3, x64)
    run = partial(fcjax.forward, **options(names))
    A, cache = jax.jit(run)(params, x)
    eager_A, eager_cache = run(params, x)
    assert_close(A, eager_A, tolerance(x64))
    got = jax.jit(fcjax.backward)(params, cache, weights)
    want = fcjax.backward(params, eager_cache, weights)
    assert_trees_close(got, want, 4 * tolerance(x64))
    assert_trees_close(
        jax.jit(fcjax.deltas)(params, cache, weights),
        fcjax.deltas(params, eager_cache, weights),
        4 * tolerance(x64),
    )


def test_the_cache_holds_inputs_and_preactivations():
    names, params, x, _ = at_a_point(2, jnp.float32)
    A, cache = fcjax.forward(params, x, **options(names))
    np.testing.assert_array_equal(cache[0].X, x)
    np.testing.assert_array_equal(cache[0].Z, fcjax.dense(x, *params[0]))
    np.testing.assert_array_equal(cache[1].X, fcjax.leaky_relu(cache[0].Z))
    np.testing.assert_array_equal(A, cache[1].Z)


def test_backward_is_differentiable(x64):
    names, *point = at_a_point(3, x64)

    def squared_gradient(gradient, params, x, weights):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient(params, x, weights)))

    by_plain = jax.grad(partial(mlp_loss, plain_mlp, names), argnums=(0, 1))
    got, want = (
        jax.jit(jax.grad(partial(squared_gradient, gradient)))(*point)
        for gradient in (partial(textbook_gradients, names), by_plain)
    )
    assert_trees_close(got, want, 16 * tolerance(x64))


# --- dtypes ---------------------------------------------------------------------------------


def test_compute_dtype_rounds_operands_and_what_lies_between_the_layers():
    names, params, x, weights = at_a_point(3, jnp.float32)
    narrow = {"compute_dtype": jnp.bfloat16}

    def by_layers(params, x):
        A, (*hidden, last) = x, zip(params, names, strict=True)
        for layer, name in hidden:
            Z = fcjax.dense(A, *layer, **narrow)
            A = getattr(fcjax, name)(Z.astype(jnp.bfloat16))
        layer, name = last
        return jnp.sum(weights * getattr(fcjax, name)(fcjax.dense(A, *layer, **narrow)))

    def loss(params, x):
        return jnp.sum(weights * fcjax.mlp(params, x, **options(names), **narrow))

    by_rules = jax.grad(loss, (0, 1))(params, x)
    assert_same_bits(by_rules, jax.grad(by_layers, (0, 1))(params, x))
    A, cache = fcjax.forward(params, x, **options(names), **narrow)
    assert_same_bits(fcjax.backward(params, cache, weights), by_rules)
    assert {leaf.dtype for leaf in jax.tree.leaves(by_rules)} == {jnp.dtype(jnp.float32)}
    exact = fcjax.mlp(params, x, **options(names))
    assert 1e-4 < np.max(np.abs(A - exact)) < 0.2


def test_parameters_and_inputs_may_differ_in_dtype():
    names, params, x, weights = at_a_point(3, jnp.bfloat16)
    wide = x.astype(jnp.float32)
    gradient = jax.grad(partial(mlp_loss, fcjax.mlp, names), argnums=(0, 1))
    dparams, dX = gradient(params, wide, weights.astype(jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(dparams)} == {jnp.dtype(jnp.bfloat16)}
    assert dX.dtype == jnp.float32
    by_hand = textbook_gradients(names, params, wide, weights.astype(jnp.float32))
    assert_same_bits(by_hand, (dparams, dX))


def test_the_network_trains():
    # gradient descent on y = x₀ x₁ + x₂: the loss falls by two orders of magnitude
    x = jnp.asarray(normal(7, 64, 3), jnp.float32)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:]
    params = fcjax.init(jax.random.key(0), (3, 32, 32, 1))

    def loss(params):
        return fcjax.half_squared_error(fcjax.mlp(params, x, activations="tanh"), y)

    @jax.jit
    def descend(params):
        def step(params, _):
            value, gradient = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, dp: p - 0.1 * dp, params, gradient), value

        return jax.lax.scan(step, params, length=500)

    _, values = descend(params)
    assert values[-1] < 0.01 * values[0]


# --- the cache ------------------------------------------------------------------------------


class Doubled:
    """Callable, and not hashable."""

    __hash__ = None

    def __call__(self, z):
        return 2 * fcjax.tanh(z)


def test_an_unhashable_activation_works_in_the_passes_as_in_the_network():
    params = fcjax.init(jax.random.key(0), (3, 5, 2))
    x, dA = jnp.ones((4, 3)), jnp.asarray(normal(1, 4, 2), jnp.float32)
    A, cache = jax.jit(partial(fcjax.forward, activations=Doubled()))(params, x)
    want, pull = jax.vjp(partial(fcjax.mlp, activations=Doubled()), params, x)
    np.testing.assert_allclose(A, want, rtol=1e-6)
    got = fcjax.backward(params, cache, dA)
    assert_trees_close(got, pull(dA), tolerance(jnp.float32))


@pytest.mark.parametrize("name", ["tanh", "gelu", "softmax"])
def test_the_cache_has_the_outputs_and_prints_no_arrays(name):
    params = fcjax.stack(fcjax.init(jax.random.key(0), (3, 5, 5, 5, 2)))
    x = jnp.asarray(normal(2, 4, 3), jnp.float32)
    A, cache = fcjax.forward(params, x, activations=name, output_activation=name)
    # another program may round the activation in another way
    assert_close(cache[-1].A, A, tolerance(jnp.float32))
    assert_close(cache[0].A, cache[1].X[0], tolerance(jnp.float32))
    assert_close(cache[1].A[-1], cache[2].X, tolerance(jnp.float32))
    assert str(cache[1]) == f"LayerCache(X=float32[2, 4, 5], Z=float32[2, 4, 5], activation={name})"
