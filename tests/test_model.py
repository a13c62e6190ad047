"""`Model` as a pytree, in transformations, in Optax and in training."""

import copy
import dataclasses
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from support import assert_close, assert_same_bits

import fcjax
from fcjax import Model

RNG = np.random.default_rng(5)
X = RNG.normal(size=(11, 5))
LABELS = RNG.integers(0, 3, 11)
LEAKY = partial(fcjax.leaky_relu, negative_slope=0.2)


def params(sizes=(5, 7, 4, 3), seed=0, **options):
    return fcjax.init(jax.random.key(seed), sizes, b_init=jax.nn.initializers.normal(), **options)


def loss(model, batch):
    x, labels = batch
    return fcjax.softmax_cross_entropy(model(x), labels)


def test_a_model_computes_what_numpy_computes():
    model = Model(params(), ["tanh", LEAKY], "softmax")
    layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in model.params]
    functions = np.tanh, lambda z: np.where(z > 0, z, 0.2 * z), reference.softmax
    assert_close(model(X), reference.network(layers, X, functions), 1e-6)
    assert model.sizes == (5, 7, 4, 3)


def test_each_option_of_a_model_is_that_of_mlp():
    given = {"activations": "gelu", "output_activation": "tanh", "compute_dtype": jnp.bfloat16}
    model = Model(params(), **given, dropout=0.3)
    key = jax.random.key(3)
    assert_same_bits(model(X), fcjax.mlp(model.params, X, **given))
    assert_same_bits(model(X, key=key), fcjax.mlp(model.params, X, **given, dropout=0.3, key=key))
    assert np.any(model(X) != model(X, key=key))


def test_the_gradient_with_respect_to_a_model_is_a_model():
    model = Model(params(), "tanh")
    grads = jax.jit(jax.grad(loss))(model, (X, LABELS))
    want = jax.jit(jax.grad(lambda p: loss(Model(p, "tanh"), (X, LABELS))))(model.params)
    assert isinstance(grads, Model)
    assert jax.tree.structure(grads) == jax.tree.structure(model)
    assert_same_bits(jax.tree.leaves(grads), jax.tree.leaves(want))


def test_a_model_trains_in_an_optax_loop_a_step_an_epoch_and_fit():
    model, optimizer, batch = Model(params(), "tanh"), optax.adam(1e-2), (X, LABELS)
    state = optimizer.init(model)
    updates, _ = optimizer.update(jax.grad(loss)(model, batch), state, model)
    want = optax.apply_updates(model, updates)

    step = fcjax.make_train_step(loss, optimizer)
    by_step = step(fcjax.init_state(jax.tree.map(jnp.copy, model), optimizer), batch)[0].params
    options = {"batch_size": len(X), "shuffle": False}
    epoch = fcjax.make_train_epoch(loss, optimizer, **options)
    by_epoch = epoch(fcjax.init_state(jax.tree.map(jnp.copy, model), optimizer), batch)[0].params
    by_fit = fcjax.fit(model, batch, loss=loss, optimizer=optimizer, epochs=1, **options).params
    for trained in (by_step, by_epoch, by_fit):
        assert isinstance(trained, Model)
        for got, expected in zip(*map(jax.tree.leaves, (trained, want)), strict=True):
            assert_close(got, expected, 1e-5)


def test_a_model_of_stacked_layers_and_an_ensemble_under_vmap():
    deep = params((5, 5, 5, 5, 5, 3))
    stacked = Model(fcjax.stack(deep), "tanh")
    assert stacked.sizes == (5, 5, 5, 5, 5, 3)
    assert_close(stacked(X), Model(deep, "tanh")(X), 1e-6)

    many = jax.vmap(lambda key: Model(fcjax.init(key, (5, 4, 3)), "tanh"))
    members = many(jax.random.split(jax.random.key(0), 3))
    outputs = jax.vmap(lambda model: model(X))(members)
    assert outputs.shape == (3, 11, 3)
    assert "Model(" in repr(members)


def test_a_model_is_placed_on_a_mesh_as_its_parameters_are():
    model = Model(params((8, 16, 8)), "tanh")
    shapes = {"replicated": {"data": 8}, "tensor": {"data": 2, "model": 4}, "fsdp": {"data": 8}}
    for layout, shape in shapes.items():
        mesh = fcjax.distributed.mesh(shape)
        placed = fcjax.distributed.place(model, mesh, layout)
        alone = fcjax.distributed.place(model.params, mesh, layout)
        assert isinstance(placed, Model)
        for got, want in zip(*map(jax.tree.leaves, (placed.params, alone)), strict=True):
            assert got.sharding == want.sharding


def test_activations_are_kept_by_name_however_they_are_passed():
    structures = {
        jax.tree.structure(Model(params(), activations, output))
        for activations in ("leaky_relu", fcjax.leaky_relu, partial(fcjax.leaky_relu))
        for output in ("identity", fcjax.identity)
    }
    assert len(structures) == 1
    configured = [Model(params(), partial(fcjax.elu, alpha=0.5)) for _ in range(2)]
    assert jax.tree.structure(configured[0]) == jax.tree.structure(configured[1])
    assert "elu(alpha=0.5)" in repr(configured[0])

    compiled = jax.jit(lambda model: model(X))
    for model in configured:
        compiled(model)
    assert compiled._cache_size() == 1


def test_a_function_of_ones_own_works_as_long_as_it_is_not_saved():
    def double(Z):
        return 2 * Z

    model = Model(params((5, 4, 3)), double)
    w, v = model.params
    assert_close(model(X), (2 * (X @ w.w + w.b)) @ v.w + v.b, 1e-5)
    assert_close(Model(params((5, 4, 3)), [double])(X), model(X), 0)


def test_a_model_cannot_be_changed_but_replaced():
    model = Model(params(), "tanh")
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.activations = "relu"
    other = dataclasses.replace(model, activations="relu", dropout=0.1)
    assert (other.activations, other.dropout, other.params) == ("relu", 0.1, model.params)
    assert repr(other).endswith("dropout=0.1)")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_model_can_be_copied(copied):
    model = Model(params(), LEAKY, dropout=0.5)
    again = copied(model)
    assert jax.tree.structure(again) == jax.tree.structure(model)
    assert_same_bits(again(X), model(X))


def test_jax_may_put_anything_where_the_leaves_were():
    model = Model(params(), "tanh")
    assert "None" in repr(jax.tree.map(lambda _: None, model))
    axes = jax.tree.map(lambda _: 0, model)
    many = jax.tree.map(lambda V: jnp.stack([V, V]), model)
    assert jax.vmap(lambda m: m(X), in_axes=(axes,))(many).shape == (2, 11, 3)
    jax.tree.map(lambda spec, V: None, axes, model)
    assert jax.tree_util.tree_flatten_with_path(model)[0][0][0][0].name == "params"


WRONG = {
    "params": (((),), {}, "params must be a tuple of one or more Layers"),
    "a Model": ((Model(params()),), {}, "params must be a tuple of one or more Layers"),
    "sizes": (((*params((2, 3)), *params((4, 1))),), {}, "params[1].w must have 3 rows"),
    "a name": ((params(), "rellu"), {}, "activations: 'rellu' is unknown; did you mean 'relu'"),
    "a name in a list": ((params(), ["relu", "thanh"]), {}, "activations[1]: 'thanh' is unknown"),
    "the number": ((params(), ["relu"]), {}, "activations must have one entry for each of the 2"),
    "a number": ((params(), 3), {}, "activations must be a name, a function"),
    "the output": ((params(),), {"output_activation": 3}, "output_activation must be the name"),
    "an option": ((params(), partial(fcjax.elu, alfa=1)), {}, "did you mean 'alpha'"),
    "an array": ((params(), partial(fcjax.elu, alpha=jnp.ones(7))), {}, "alpha must be a number"),
    "a dtype": ((params(),), {"compute_dtype": "int8"}, "compute_dtype must be a floating-point"),
    "dropout": ((params(),), {"dropout": 1}, "dropout must be a number with 0 <= dropout < 1"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "options", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("unchecked")
def test_a_wrong_argument_is_named_when_the_model_is_made(args, options, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Model(*args, **options)
    assert message in str(error.value)
