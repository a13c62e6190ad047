"""Every optimizer that Optax exports trains through `make_train_step`, or has its reason here."""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from support import in_turn

import fcjax
from fcjax.train import optimizer_named, optimizers
from fcjax.train.settings import constants_of

CANNOT = {
    "dpsgd": "wants one gradient per example, with the examples along a new first axis",
    "differentially_private_aggregate": "wants one gradient per example, as dpsgd",
    "schedule_free_eval_params": "is no optimizer: it reads parameters from a state",
    "hutchinson_estimator_diag_hessian": "is no optimizer: it estimates a Hessian for sophia",
}

# What an argument without a default is given; all others keep theirs.
ARGUMENTS = {
    "learning_rate": 1e-2,
    "optimizer": optax.sgd(1e-2),
    "base_optimizer": optax.sgd(1e-2),
    "inner": optax.sgd(1e-2),
    "adv_optimizer": optax.chain(optax.contrib.normalize(), optax.sgd(1e-2)),
    "key": 0,
    "seed": 0,
}


def exported():
    """The public functions of Optax's alias module and of contrib, whole or as part of a chain."""
    for module, home in ((optax, "optax._src.alias"), (optax.contrib, "optax.contrib")):
        for name, function in vars(module).items():
            is_own = getattr(function, "__module__", "").startswith(home)
            # scale_by_ functions are parts of optimizers, without the sign of the update
            if inspect.isfunction(function) and is_own and not name.startswith(("_", "scale_by_")):
                yield name, function


EXPORTED = dict(exported())


def build(name):
    function = EXPORTED[name]
    parameters = inspect.signature(function).parameters.values()
    required = {p.name: ARGUMENTS[p.name] for p in parameters if p.default is p.empty}
    if name in {"adadelta", "adafactor"}:  # without a rate they go uphill, or their own way
        required["learning_rate"] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noisy_sgd: its default key will go
        made = function(**required)
    is_piece = name in {"normalize", "reduce_on_plateau"}
    return optax.chain(made, optax.sgd(1e-2)) if is_piece else made


def make_problem():
    rng = np.random.default_rng(0)
    X = jnp.asarray(rng.normal(size=(16, 3)), jnp.float32)
    Y = jnp.sin(X @ jnp.asarray(rng.normal(size=(3, 2)), jnp.float32))
    return fcjax.init(jax.random.key(0), (3, 8, 2)), (X, Y)


def loss_fn(params, batch):
    return fcjax.half_squared_error(fcjax.mlp(params, batch[0], activations="tanh"), batch[1])


def train(optimizer, steps=40):
    params, batch = make_problem()
    state = fcjax.init_state(params, optimizer)
    train_step = fcjax.make_train_step(loss_fn, optimizer)
    losses = []
    for _ in range(steps):
        state, info = train_step(state, batch)
        losses.append(float(info.loss))
    return losses, train_step._cache_size()


def test_optax_exports_what_is_tested_here():
    assert len(EXPORTED) >= 55
    assert {"adam", "lbfgs", "polyak_sgd", "sophia", "sam", "muon"} <= set(EXPORTED)
    assert set(CANNOT) <= set(EXPORTED), "an exception without its optimizer"


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_optimizer_trains(name):
    if name in CANNOT:
        pytest.skip(f"{name} {CANNOT[name]}")
    losses, programs = train(build(name))
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < losses[0]
    assert programs == 1, "the state that goes in has the types of the state that comes out"


COMPOSED = {
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
    "scheduled": lambda: optax.adam(optax.cosine_decay_schedule(1e-2, 40)),
    "injected": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=1e-2),
    "accumulated": lambda: optax.MultiSteps(optax.adam(1e-2), 2).gradient_transformation(),
    "opaque sam": lambda: optax.contrib.sam(
        optax.sgd(1e-2), ARGUMENTS["adv_optimizer"], opaque_mode=True
    ),
    "plateau after adam": lambda: optax.chain(
        optax.adam(1e-2), optax.contrib.reduce_on_plateau(patience=3)
    ),
    "lbfgs with backtracking": lambda: optax.lbfgs(
        linesearch=optax.scale_by_backtracking_linesearch(max_backtracking_steps=10)
    ),
    "frozen first layer": lambda: optax.partition(
        {"train": optax.adam(1e-2), "freeze": optax.set_to_zero()},
        lambda p: tuple(fcjax.Layer(*["freeze" if i == 0 else "train"] * 2) for i in range(len(p))),
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed_optimizer_trains(name):
    losses, programs = train(COMPOSED[name]())
    assert min(losses[-3:]) < losses[0]
    assert programs == 1


def test_optimizers_are_found_by_name():
    found = set(optimizers())
    aliases = {n for n, f in EXPORTED.items() if f.__module__ == "optax._src.alias"}
    assert aliases <= found
    assert {"muon", "sophia", "prodigy", "cocob", "dog"} <= found
    assert not any(name.startswith("scale_by") for name in found)


def test_the_learning_rate_reaches_the_optimizer():
    params = {"w": jnp.ones(3)}
    for lr in (0.5, 0.25):
        optimizer = optimizer_named("sgd", lr)
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        np.testing.assert_allclose(updates["w"], -lr)


@pytest.mark.parametrize("name", ["adadelta", "adafactor", "adam", "lbfgs", "muon", "sophia"])
def test_a_named_optimizer_goes_downhill_by_default(name):
    params, batch = make_problem()
    optimizer = optimizer_named(name)
    state = fcjax.init_state(params, optimizer)
    state, _ = fcjax.make_train_step(loss_fn, optimizer)(state, batch)
    slope = jax.tree.map(
        lambda g, new, old: jnp.vdot(g, new - old),
        jax.grad(loss_fn)(params, batch),
        state.params,
        params,
    )
    assert optax.tree.sum(slope) < 0


@pytest.mark.filterwarnings("ignore:Specifying a key")  # noisy_sgd, of its default one
@pytest.mark.parametrize("name", in_turn(sorted(optimizers()), 2))
def test_the_learning_rate_is_seen_in_the_constants_of_an_optimizer(name):
    if name == "rprop":
        pytest.skip("its rate is where its steps start, which its state holds")
    slow, same, fast = (
        constants_of(optimizer_named(name, rate), make_problem()[0]) for rate in (0.01, 0.01, 0.02)
    )
    assert slow == same != fast


def test_a_wrong_name_or_rate_is_refused():
    with pytest.raises(ValueError, match="did you mean 'adam"):
        optimizer_named("adma")
    with pytest.raises(ValueError, match="lr must be a positive number, got float -1"):
        optimizer_named("adam", -1.0)
