"""The networks of the presets, and how they are trained, beside NumPy programs in float64."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from support import assert_close

from fcjax import mlp
from fcjax.tables import training
from fcjax.tables.metrics import metric_of
from fcjax.tables.networks import RealMLP, TabM
from fcjax.tables.presets import coslog, network_of, recipe_of
from fcjax.tables.training import Examples, Networks, each, predictions, train

RNG = np.random.default_rng(0)
N, P = 37, 5
X = RNG.normal(size=(N, P))
NUMBERS = np.stack([np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2], X[:, 3]], axis=1)
LABELS = RNG.integers(0, 3, N)
SELU = reference.selu


def d_selu(z):
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return np.where(z > 0, scale, scale * alpha * np.exp(np.minimum(z, 0)))


# --- RealMLP --------------------------------------------------------------------------------------


def realmlp_of_the_paper(weights, x, y, epochs, batch, base, eps):
    """RealMLP-TD-S as its authors write it: NTK layers, Adam, coslog₄, rates by kind, smoothing.

    `weights` are s, and pairs W, b of N(0, 1). Batches in order, and none that is smaller. `eps`
    gives Adam's for each of them.
    """
    params = [np.array(V, np.float64) for V in weights]
    first, second = [np.zeros_like(V) for V in params], [np.zeros_like(V) for V in params]
    rates = [6.0] + [1.0, 0.1] * ((len(params) - 1) // 2)
    steps = len(x) // batch
    for step in range(epochs * steps):
        rows = slice(step % steps * batch, (step % steps + 1) * batch)
        gradients = realmlp_gradient(params, x[rows], y[rows])
        progress = step / (epochs * steps)
        lr = base * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * progress)))
        for i, g in enumerate(gradients):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.95 * second[i] + 0.05 * g**2
            m, v = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.95 ** (step + 1))
            params[i] = params[i] - lr * rates[i] * m / (np.sqrt(v) + eps(params[i]))
    return params


def realmlp_outputs(params, x):
    s, *layers = params
    inputs, preactivations, a = [], [], x * s
    for w, b in zip(layers[::2], layers[1::2], strict=True):
        inputs.append(a)
        preactivations.append(a @ w / np.sqrt(len(w)) + b)
        a = SELU(preactivations[-1])
    return preactivations[-1], inputs, preactivations


def realmlp_gradient(params, x, labels):
    """Of the mean cross-entropy with smoothed labels."""
    logits, inputs, preactivations = realmlp_outputs(params, x)
    classes = logits.shape[1]
    target = 0.9 * np.eye(classes)[labels] + 0.1 / classes
    dz = (reference.softmax(logits) - target) / len(x)
    gradients = []
    for i in reversed(range(len(inputs))):
        w, n_in = params[1 + 2 * i], len(params[1 + 2 * i])
        gradients = [inputs[i].T @ dz / np.sqrt(n_in), dz.sum(axis=0), *gradients]
        da = dz @ w.T / np.sqrt(n_in)
        dz = da * d_selu(preactivations[i - 1]) if i else da
    return [np.sum(x * dz, axis=0), *gradients]


def as_of_the_paper(params):
    s, layers = params
    pairs = [(np.asarray(w, float) * np.sqrt(len(w)), np.asarray(b, float)) for w, b in layers]
    return [np.asarray(s, float), *(V for pair in pairs for V in pair)]


def test_realmlp_is_trained_as_its_authors_train_it(x64, monkeypatch):
    """The NTK parametrization and plain layers with their own rates are one algorithm."""
    network = RealMLP(P, 3, "selu", hidden=(7, 6))
    networks = Networks(network)
    start = networks.init(3)
    wide = jax.tree.map(lambda V: V.astype(x64), start)
    monkeypatch.setattr(Networks, "init", lambda self, seed: wide)
    recipe = dataclasses.replace(recipe_of(network, "classification"), epochs=9, batch_size=8)
    examples = Examples(X, LABELS)
    metric = metric_of("classification", "log_loss")
    result = train(
        networks, "classification", recipe, examples, examples, metric, seed=3, shuffle=False
    )
    start, end = as_of_the_paper(start), as_of_the_paper(result.state.params)

    def eps_of_plain_layers(V):
        return 1e-8 / np.sqrt(len(V)) if V.ndim == 2 else 1e-8

    for eps, allowed in ((eps_of_plain_layers, 5e-7), (lambda V: 1e-8, 1e-5)):
        want = realmlp_of_the_paper(start, X, LABELS, 9, 8, 0.04, eps)
        for got, expected in zip(end, want, strict=True):
            assert_close(got, expected, allowed)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(start, want, strict=True))


def test_realmlp_begins_as_its_authors_begin():
    network = network_of("realmlp", "classification", (1,) * 300, 4)
    assert (network.hidden, network.activation) == ((256, 256, 256), "selu")
    assert network_of("realmlp", "regression", (1,), 1).activation == "mish"
    params = network.init(np.random.default_rng(0))
    s, layers = params
    np.testing.assert_array_equal(s, 1)
    assert sum(V.size for V in jax.tree.leaves(params)) == 300 + 300 * 256 + 256 + 2 * (
        256 * 256 + 256
    ) + 256 * 4 + 4  # fmt: skip
    for w, b in layers[:-1]:
        assert np.std(w) * np.sqrt(len(w)) == pytest.approx(1, abs=0.02)
        assert np.std(b) == pytest.approx(1, abs=0.2)
    assert not any(np.any(V) for V in layers[-1])
    np.testing.assert_array_equal(network.apply(params, jnp.ones((3, 300))), 0)


def test_the_first_update_of_realmlp_is_zero_and_the_second_moves_the_last_layer_alone():
    network = RealMLP(P, 2, "mish", hidden=(6,))
    optimizer = recipe_of(network, "regression").optimizer(20)
    params = network.init(np.random.default_rng(1))
    state, x = optimizer.init(params), jnp.asarray(X, jnp.float32)

    def loss(params):
        return jnp.mean((network.apply(params, x)[:, 0] - NUMBERS) ** 2)

    moved = []
    for _ in range(3):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        moved.append([bool(np.any(V)) for V in jax.tree.leaves(updates)])
    assert moved[0] == [False] * 5
    assert moved[1] == [False, False, False, True, True]
    assert moved[2] == [True] * 5


GOLDEN = {0: 0, 0.01: 0.350381262, 0.1: 0.718354688, 0.5: 0.073618934, 0.9: 0.186200800, 1: 0}


@pytest.mark.parametrize(("progress", "value"), GOLDEN.items())
def test_the_schedule_is_that_of_the_authors(progress, value, x64):
    assert float(coslog(4, 100)(jnp.asarray(100 * progress, x64))) == pytest.approx(value, abs=1e-8)


# --- TabM -----------------------------------------------------------------------------------------


def tabm(outputs=2, **changes):
    options = {"groups": (1, 1, 1, 2), "members": 4, "width": 8, "depth": 3}
    return TabM(P, outputs, **(options | changes))


def tabm_members(network, params, x):
    """Each member by itself, with the weights that it sees."""
    members = []
    for i in range(network.members):
        a = x
        for w, r, s, b in params.blocks:
            a = np.maximum(a @ (np.diag(r[i]) @ np.asarray(w, float) @ np.diag(s[i])) + b[i], 0)
        members.append(a @ np.asarray(params.heads.w[i], float) + np.asarray(params.heads.b[i]))
    return np.stack(members, 1)


def test_tabm_is_its_members():
    network = tabm()
    params = network.init(np.random.default_rng(0))
    noisy = jax.tree.map(lambda V: V + 0.3 * RNG.normal(size=V.shape).astype(V.dtype), params)
    got = network.apply(noisy, jnp.asarray(X, jnp.float32))
    assert got.shape == (N, 4, 2)
    assert_close(got, tabm_members(network, noisy, X), 1e-5)


@pytest.mark.parametrize("edges", [None, ((-2.0, 0.0, 2.0),) * 3], ids=["numbers", "embedded"])
def test_a_member_of_tabm_is_a_plain_network(edges):
    network = tabm(edges=edges, embedding=3)
    params = network.init(np.random.default_rng(0))
    noisy = jax.tree.map(lambda V: V + 0.3 * RNG.normal(size=V.shape).astype(V.dtype), params)
    x = jnp.asarray(X, jnp.float32)
    for member in range(4):
        layers, inputs, activation = network.plain(noisy, x, member)
        assert_close(
            mlp(layers, inputs, activations=activation), network.apply(noisy, x)[:, member], 1e-5
        )


def test_the_network_of_realmlp_is_a_plain_network():
    network = network_of("realmlp", "regression", (1,) * P, 2)
    params = network.init(np.random.default_rng(0))
    noisy = jax.tree.map(lambda V: V + 0.3 * RNG.normal(size=V.shape).astype(V.dtype), params)
    x = jnp.asarray(X, jnp.float32)
    layers, inputs, activation = network.plain(noisy, x, 0)
    got = mlp(layers, inputs, activations=activation)
    assert_close(got, network.apply(noisy, x)[:, 0], 1e-5)


def test_tabm_begins_as_its_authors_begin():
    network = network_of("tabm", "regression", (1,) * 8, 1)
    assert (network.members, network.width, network.depth, network.rate) == (32, 512, 3, 0.1)
    params = network.init(np.random.default_rng(0))
    assert sum(V.size for V in jax.tree.leaves(params)) == 676_128
    first, *others = params.blocks
    assert set(np.unique(first.r)) == {-1, 1}
    for block in others:
        np.testing.assert_array_equal(block.r, 1)
    for block, n_in in zip(params.blocks, (8, 512, 512), strict=True):
        np.testing.assert_array_equal(block.s, 1)
        np.testing.assert_array_equal(block.b, np.tile(block.b[0], (32, 1)))
        for V in (block.w, block.b):
            assert np.abs(V).max() == pytest.approx(n_in**-0.5, rel=0.05)
    assert len(np.unique(params.heads.w[:, 0, 0])) == 32


@pytest.mark.parametrize(
    "network",
    [RealMLP(5, 3, "selu"), RealMLP(1, 1, "mish", (4,)), tabm(),
     TabM(4, 3, (1, 1, 2), 2, 8, 2, edges=((0.0, 1.0, 2.0), (0.0, 1.0, 2.0)), embedding=5)],
)  # fmt: skip
def test_the_number_of_parameters_is_known_before_they_are_drawn(network):
    drawn = jax.tree.leaves(Networks(network, 2).init(0))
    assert Networks(network, 2).size == sum(V.size for V in drawn)


def test_factors_are_equal_within_a_column_of_the_table():
    network = tabm(groups=(1, 1, 3), members=50)
    r = np.asarray(network.init(np.random.default_rng(0)).blocks[0].r)
    np.testing.assert_array_equal(r[:, 2], r[:, 4])
    assert np.any(r[:, 0] != r[:, 1])
    assert np.any(r[:, 1] != r[:, 2])


def test_factors_of_one_make_tabm_a_network():
    network = tabm(rate=0.0)
    params = network.init(np.random.default_rng(0))
    blocks = tuple(block._replace(r=jnp.ones_like(block.r)) for block in params.blocks)
    heads = jax.tree.map(lambda V: jnp.broadcast_to(V[:1], V.shape), params.heads)
    outputs = network.apply(
        params._replace(blocks=blocks, heads=heads), jnp.asarray(X, jnp.float32)
    )
    assert_close(outputs, np.broadcast_to(outputs[:, :1], outputs.shape), 1e-6)


def test_dropout_needs_a_key_and_differs_between_members():
    network = tabm(rate=0.5)
    params = network.init(np.random.default_rng(0))
    x = jnp.asarray(X, jnp.float32)
    plain, dropped = network.apply(params, x), network.apply(params, x, jax.random.key(0))
    assert np.any(plain != dropped)
    np.testing.assert_array_equal(plain, tabm(rate=0.0).apply(params, x, jax.random.key(0)))


EDGES = ((-1.0, 0.0, 0.5, 2.0), (-2.0, 1.0, np.inf, np.inf))


def test_embeddings_begin_linear_and_learn_their_bins():
    network = tabm(groups=(1, 1, 3), edges=EDGES, embedding=4, depth=2)
    params = network.init(np.random.default_rng(0))
    w, b = (np.asarray(V, float) for V in params.embedding)
    assert w.shape == (2, 4, 4)
    assert not np.any(w[:, :-1])
    assert np.abs(w[:, -1]).max() <= 0.5
    w[:, :-1] = RNG.normal(size=(2, 3, 4))
    q = reference.piecewise_linear_encoding(X[:, :2], np.asarray(EDGES))
    z = np.concatenate([q, X[:, :2, None]], axis=-1)
    embedded = np.einsum("nft,ftd->nfd", z, w) + b
    inputs = np.concatenate([embedded.reshape(N, -1), X[:, 2:]], axis=1)
    changed = params._replace(embedding=params.embedding._replace(w=jnp.asarray(w, jnp.float32)))
    got = network.apply(changed, jnp.asarray(X, jnp.float32))
    assert_close(got, tabm_members(network, changed, inputs), 1e-5)
    r = np.asarray(params.blocks[0].r)
    np.testing.assert_array_equal(r[:, :4], r[:, :1].repeat(4, axis=1))
    assert len(np.unique(np.abs(r[:, 0]))) == 4, "normal numbers, not signs"


# --- several networks at once ---------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_networks_trained_at_once_are_those_trained_alone(task):
    """With one order of the rows: the losses, gradients and clipped norms do not mix."""
    y = LABELS if task == "classification" else NUMBERS.astype(np.float32)
    examples = Examples(X.astype(np.float32), y, np.linspace(0.5, 2, N, dtype=np.float32))
    network = tabm(outputs=3 if task == "classification" else 2, rate=0.0)
    recipe = dataclasses.replace(recipe_of(network, task), epochs=3, batch_size=8)
    run = partial(
        train, task=task, recipe=recipe, train_data=examples, validation_data=examples,
        metric=metric_of(task, None), seed=5,
    )  # fmt: skip
    together = run(Networks(network, 3)).state.params
    alone = []
    for i in range(3):
        one = Networks(network)
        start = network.init(np.random.default_rng([5, i]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Networks, "init", lambda self, seed, start=start: start)
            alone.append(run(one).state.params)
    want = jax.tree.map(lambda *V: jnp.stack(V), *alone)
    for got, expected in zip(*map(jax.tree.leaves, (together, want)), strict=True):
        assert_close(got, expected, 2e-4)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_loss_of_tabm_is_the_mean_of_the_losses_of_its_members(task):
    """Not that of their mean, with which members would correct each other's errors."""
    y = LABELS if task == "classification" else NUMBERS.astype(np.float32)
    weights = np.linspace(0.5, 2, N)
    examples = Examples(X.astype(np.float32), y, weights.astype(np.float32))
    network = tabm(outputs=3 if task == "classification" else 2, rate=0.0)
    recipe = dataclasses.replace(recipe_of(network, task), epochs=1, batch_size=N)
    metric = metric_of(task, None)
    found = train(Networks(network), task, recipe, examples, examples, metric, seed=5)
    params = network.init(np.random.default_rng([5, 0]))
    losses = []
    for out in np.moveaxis(tabm_members(network, params, X), 1, 0):
        if task == "classification":
            own = -np.log(reference.softmax(out)[np.arange(N), y])
        else:
            own = np.mean((out - y) ** 2, axis=1)
        losses.append(np.average(own, weights=weights))
    assert np.std(losses) > 0.01
    assert_close(found.history["loss"][0], np.mean(losses), 1e-5)


@pytest.mark.parametrize("copies", [1, 3])
def test_validation_multiplies_once_for_its_loss_and_its_metric(copies):
    networks = Networks(tabm(outputs=3, rate=0.0), copies)
    params, metric = networks.init(0), metric_of("classification", None)
    weights = jnp.linspace(0.5, 2, N)
    batch = {"x": jnp.float32(X), "y": jnp.asarray(LABELS), "weights": weights, "unit": jnp.ones(N)}

    def figures(params, key):
        score = training._score(networks, "classification", metric, params, batch)
        return training._loss(networks, "classification", 0.0, params, batch, key), score

    program = jax.jit(partial(figures, key=None)).lower(params).compile().as_text()
    assert len(re.findall(r" dot\(", program)) == networks.network.depth + 1
    loss, _ = figures(params, None)
    assert_close(loss, figures(params, jax.random.key(0))[0], 1e-6)  # as in training


def test_an_optimizer_of_each_clips_each():
    optimizer = optax.clip_by_global_norm(1.0)
    both = each(optimizer)
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4]])
    updates, _ = both.update(gradients, both.init(gradients), gradients)
    np.testing.assert_allclose(updates, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)


def test_predictions_average_probabilities_not_logits():
    outputs = jnp.array([[[0.0, 10.0]], [[0.0, -2.0]]])
    probabilities = np.mean([reference.softmax(np.array(o)) for o in outputs], axis=0)
    assert_close(predictions("classification", outputs), probabilities, 1e-6)
    assert_close(predictions("regression", outputs), [[0.0, 4.0]], 1e-6)


def test_the_last_of_the_best_epochs_of_realmlp_is_kept_and_the_first_of_tabm():
    assert recipe_of(RealMLP(1, 1, "selu"), "regression").ties == "last"
    assert recipe_of(tabm(), "regression").ties == "first"
