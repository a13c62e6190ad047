"""Calls of training: states, compiled steps and epochs with wrong states and batches, `fit`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import reference
from hypothesis import strategies as st
from support import assert_close

import fcjax
from fcjax import TrainState
from fcjax.train import optimizer_named, optimizers

from .devices import is_array
from .judge import Call
from .networks import network
from .registry import calls_of
from .rules import keys, wrong_key, wrong_option
from .spec import a_key, integer, is_one_of, leaves_of, number, require
from .values import filled, junk, wrong_ones

SIZES = (3, 4, 2)
X = np.asarray(filled((6, 3)), np.float32)
Y = np.array([0, 1, 0, 1, 1, 0], np.int32)
LR, MOMENTUM, EPOCH_BATCH = 0.1, 0.9, 4
ADAM, SGD = optax.adam(1e-3), optax.sgd(LR)
WITH_MOMENTUM = optax.sgd(LR, MOMENTUM)
RELU = reference.ACTIVATIONS["relu"], np.positive
RELU_PRIME = lambda z: z > 0, np.ones_like


def loss(params, batch):
    x, y = batch
    return fcjax.softmax_cross_entropy(fcjax.mlp(params, x), y)


def with_aux(params, batch):
    return loss(params, batch), {"n": 1}


def anything(**_):
    return lambda got: None


def is_params(params):
    leaves = leaves_of("params", params)
    return leaves and all(is_array(V) and jnp.issubdtype(V.dtype, jnp.floating) for V in leaves)


def init_state(params, optimizer, key=None):
    if key is not None:
        a_key("key", key)
    require(is_one_of(optimizer, (ADAM, SGD)), "optimizer")
    require(is_params(params), "params")
    leaves = jax.tree.leaves(params)

    def problem(state):
        same = jax.tree.structure(state.params) == jax.tree.structure(params)
        got = jax.tree.leaves(state.params)
        equal = same and all(
            np.array_equal(a, jnp.asarray(b), True) for a, b in zip(got, leaves, strict=True)
        )
        return None if equal and int(state.step) == 0 else f"{state}"

    return problem


WRONG_PARAMS = (
    *((), None, {}, [[1.0, 2.0]], {"w": "text"}, {"w": jnp.ones(3, jnp.int32)}, {"w": 1.0}),
    *((fcjax.Layer(None, None),), {"w": jnp.ones(3) + 1j}, {"w": np.array(["a"])}, [None]),
)


def some_params(draw):
    ways = (
        network(SIZES),
        {"w": jnp.ones((2, 3))},
        [jnp.ones(2, jnp.bfloat16)],
        np.ones(3, np.float32),
    )
    return draw(st.sampled_from(ways))


@st.composite
def wrong_optimizer(draw):
    odd = (optax.adam, None, "adam", 3, (ADAM.init, ADAM.update), [ADAM], lambda g: g, 1e-3)
    return draw(st.one_of(st.sampled_from(odd), junk()))


@calls_of("init_state", cases=300)
def init_state_calls(draw):
    wrong = wrong_ones(draw, ["params", "optimizer", "key"])
    given = {"params": some_params(draw), "optimizer": draw(st.sampled_from((ADAM, SGD)))}
    given["key"] = draw(st.one_of(st.none(), keys()))
    if "params" in wrong:
        given["params"] = draw(st.one_of(st.sampled_from(WRONG_PARAMS), junk()))
    if "optimizer" in wrong:
        given["optimizer"] = draw(wrong_optimizer())
    if "key" in wrong:
        given["key"] = draw(wrong_key())
    return Call(fcjax.init_state, given, init_state, wrong=wrong)


# --- what makes a step or an epoch ----------------------------------------------------------------

WRONG_LOSSES = (None, "loss", 3, lambda: 0.0, lambda a: 0.0, lambda a, b, c, d: 0.0, (loss,), [])


def step_of(loss_fn, optimizer, batch_size=1, **flags):
    require(is_one_of(loss_fn, (loss, with_aux)), "loss_fn")
    require(is_one_of(optimizer, (ADAM, SGD)), "optimizer")
    for name, value in flags.items():
        require(isinstance(value, bool | np.bool_), name)
    integer("batch_size", batch_size, 1)
    return lambda made: None if callable(made) else f"{made}"


def maker_arguments(draw, wrong):
    given = {"loss_fn": loss, "optimizer": ADAM, "has_aux": draw(st.booleans())}
    given["grad_norm"] = draw(st.booleans())
    if "loss_fn" in wrong:
        given["loss_fn"] = draw(st.one_of(st.sampled_from(WRONG_LOSSES), junk()))
        if callable(given["loss_fn"]) and not is_one_of(given["loss_fn"], WRONG_LOSSES):
            given["loss_fn"] = None  # a function that may be a loss
    if "optimizer" in wrong:
        given["optimizer"] = draw(wrong_optimizer())
    for name in ("has_aux", "grad_norm"):
        if name in wrong:
            given[name] = draw(wrong_option())
    return given


MAKER = ("loss_fn", "optimizer", "has_aux", "grad_norm")


@calls_of("make_train_step", cases=200)
def make_train_step_calls(draw):
    wrong = wrong_ones(draw, MAKER)
    return Call(fcjax.make_train_step, maker_arguments(draw, wrong), step_of, wrong=wrong)


@calls_of("make_train_epoch", cases=200)
def make_train_epoch_calls(draw):
    wrong = wrong_ones(draw, [*MAKER, "batch_size", "shuffle", "drop_last"])
    given = maker_arguments(draw, wrong)
    given["batch_size"] = draw(wrong_option() if "batch_size" in wrong else st.sampled_from((1, 4)))
    for name in ("shuffle", "drop_last"):
        given[name] = draw(wrong_option() if name in wrong else st.booleans())
    return Call(fcjax.make_train_epoch, given, step_of, wrong=wrong)


# --- calls of a step and of an epoch --------------------------------------------------------------


@functools.cache
def step():
    return fcjax.make_train_step(loss, WITH_MOMENTUM)


@functools.cache
def epoch():
    return fcjax.make_train_epoch(loss, WITH_MOMENTUM, batch_size=EPOCH_BATCH, shuffle=False)


def a_state(params=None, optimizer=WITH_MOMENTUM):
    return fcjax.init_state(network(SIZES) if params is None else params, optimizer)


def overwritten():
    state = a_state()
    step()(state, (X, Y))
    return state


@st.composite
def wrong_state(draw):
    """Draw a state of another tree, optimizer or network, or one that was overwritten."""
    state = a_state()
    other = a_state(network((3, 5, 2)))
    replaced = (
        {"params": other.params},
        {"opt_state": other.opt_state},
        {"params": None},
        {"opt_state": None},
        {"opt_state": ()},
        {"key": None},
        {"key": 3},
        {"step": None},
        {"step": 0.5},
        {"step": "0"},
        {"step": jnp.zeros(3, jnp.int32)},
        {"params": "text"},
        {"params": list(state.params)},
        {"params": jax.tree.map(lambda V: V.astype(jnp.int32), state.params)},
        {"params": {}},
        {"opt_state": a_state(optimizer=ADAM).opt_state},
        {"params": object()},
        {"key": jnp.ones(2)},
        {"opt_state": object()},
        {"opt_state": "text"},
        {"step": jnp.ones((), jnp.float32)},
    )
    changed = st.sampled_from(replaced).map(lambda new: state._replace(**new))
    others = st.sampled_from((tuple(state), state._asdict(), state.params, overwritten, None))
    value = draw(st.one_of(changed, others, junk()))
    return value() if value is overwritten else value


WRONG_BATCHES = (
    *(
        (X, Y[:-1]),
        (X[:, :2], Y),
        (X[:0], Y[:0]),
        (X, None),
        (X, "text"),
        (X, Y.astype(np.float32)),
    ),
    *((X.astype(np.int32), Y), (X, np.array(["a"] * 6)), (X, object()), (X, np.array([None] * 6))),
    *(
        (X + 1j, Y),
        (X, np.array(["2020-01-01"] * 6, "datetime64[D]")),
        (X, {"y": "b"}),
        (X, {1, 2}),
    ),
)


def shapes_of(tree):
    return jax.tree.map(np.shape, tree)


# What an error may name: the loss passes parts of the arguments to rules, which name theirs.
NAMES = {
    "state": ("state", "params", "opt_state", "step", "w"),
    "batch": ("batch", "data", "x", "labels", "logits"),
}


def a_state_of(optimizer, state):
    """Raise Invalid unless a state has the parts that `init_state` makes of `network(SIZES)`."""
    require(isinstance(state, TrainState), *NAMES["state"])
    # the loss takes no key, so a step passes any on
    own, state = (one._replace(key=None) for one in (a_state(optimizer=optimizer), state))
    leaves = leaves_of("state", state)
    require(not any(isinstance(V, jax.Array) and V.is_deleted() for V in leaves), "state")
    same = jax.tree.structure(state) == jax.tree.structure(own) and all(map(is_array, leaves))
    require(same and shapes_of(state) == shapes_of(own), *NAMES["state"])
    require(is_params(state.params), *NAMES["state"])
    require(jnp.issubdtype(state.step.dtype, jnp.integer), *NAMES["state"])


def examples(batch):
    """Raise Invalid unless a batch is numbers and labels, as X and Y are."""
    require(isinstance(batch, tuple) and len(batch) == 2, *NAMES["batch"])
    require(all(map(is_array, batch)), *NAMES["batch"])
    for array, right in zip(batch, (X, Y), strict=True):
        require(array.shape == right.shape and array.dtype == right.dtype, *NAMES["batch"])


def descent(params, data, batch_size, momentum=MOMENTUM):
    """Return NumPy's layers, and its losses, after one epoch in order."""
    batches = [tuple(V[i : i + batch_size] for V in data) for i in range(0, len(X), batch_size)]
    return reference.momentum_descent(
        exact(params), batches, RELU, RELU_PRIME, softmax_loss, LR, momentum
    )


def exact(params):
    return [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in params]


def softmax_loss(logits, labels):
    losses, _ = reference.softmax_cross_entropy(logits, labels)
    dA = reference.softmax(logits) - np.eye(logits.shape[1])[labels]
    return losses.mean(), dA / len(labels)


def close_layers(got, layers):
    assert [type(layer) for layer in got] == [fcjax.Layer] * len(layers)
    for i, (layer, want) in enumerate(zip(got, layers, strict=True)):
        for name, V in zip("wb", want, strict=True):
            assert_close(getattr(layer, name), V, 1e-5, f"params[{i}].{name}")


def problem_of(check):
    """Return a function that says which assertion on a result fails, None if all hold."""

    def problem(got):
        try:
            check(got)
        except AssertionError as error:
            return str(error) or repr(got)
        return None

    return problem


def steps_of(batch_size, state, batch):
    a_state_of(WITH_MOMENTUM, state)
    examples(batch)
    before = int(state.step)
    layers, losses = descent(state.params, batch, batch_size)

    def check(got):
        state, info = got
        close_layers(state.params, layers)
        assert int(state.step) == before + len(losses), f"step {state.step}"
        assert_close(np.ravel(info.loss), losses, 1e-5, "the loss")

    return problem_of(check)


def judged(name, made):
    def call(state, batch):
        return made()(state, batch)

    call.__name__ = name
    return call


@calls_of("train_step", "train_epoch", cases=250)
def step_calls(draw, name):
    wrong = wrong_ones(draw, ["state", "batch"])
    state = a_state(network(SIZES, draw(st.integers(0, 255))))
    state = draw(wrong_state()) if "state" in wrong else state
    batch = draw(st.sampled_from(WRONG_BATCHES)) if "batch" in wrong else (X, Y)
    make, size = {"train_step": (step, len(X)), "train_epoch": (epoch, EPOCH_BATCH)}[name]
    spec = functools.partial(steps_of, size)
    names = tuple(name for one in wrong for name in NAMES[one])
    return Call(judged(name, make), {"state": state, "batch": batch}, spec, wrong=names)


def optimizer(name, lr=None):
    require(isinstance(name, str) and name in optimizers(), "name", "optimizer")
    if lr is not None:
        number("lr", lr, 0)
    return lambda got: None if isinstance(got, optax.GradientTransformation) else f"{got}"


@calls_of("train.optimizer_named", cases=150)
def optimizer_calls(draw):
    wrong = wrong_ones(draw, ["name", "lr"])
    odd = st.one_of(st.sampled_from(("adm", "", "Adam", "adam ", None)), junk())
    given = {"name": draw(odd if "name" in wrong else st.sampled_from(("adam", "sgd", "lion")))}
    given["lr"] = draw(wrong_option() if "lr" in wrong else st.sampled_from((None, 0.1, 1)))
    return Call(optimizer_named, given, optimizer, wrong=wrong)
