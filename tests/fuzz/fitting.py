"""Calls of `fit`: one epoch that NumPy repeats, or one argument that is wrong."""

import jax.numpy as jnp
import numpy as np
import reference
from hypothesis import strategies as st
from support import assert_close

import fcjax

from .judge import Call
from .networks import network
from .registry import calls_of
from .spec import Invalid
from .training import (
    RELU,
    SGD,
    SIZES,
    WRONG_BATCHES,
    WRONG_LOSSES,
    WRONG_PARAMS,
    X,
    Y,
    close_layers,
    descent,
    loss,
    problem_of,
    softmax_loss,
    wrong_optimizer,
)
from .values import rarely

PARTS = [(X[:1], Y[:1]), (X[1:], Y[1:])]


def twice(params, batch):
    return 2 * loss(params, batch)


def of_all(params, batch):
    return jnp.ones(3)


RIGHT = {
    "batch_size": (3, 4, 6, np.int64(4)),
    "validation_data": (None, (X[:4], Y[:4]), PARTS),
    "metrics": (None, {}, {"m": twice}),
    "seed": (0, 7, np.uint32(3)),
    "patience": (None, 2, np.int32(1)),
    "max_to_keep": (None, 1),
    "keep_best": (None, "lowest loss"),
    "checkpoint_errors": ("raise", "warn"),
    "nonfinite": ("raise", "skip"),
    "max_skipped": (1, 5),
    "callbacks": ((), [lambda end: None], lambda end: True),
    "checkpoint_every": (1, 2, "3 steps", "1.5 minutes"),
    "progress": (None, False),
}

NOT_BOOL = (0, 1, 1.5, "True", [True], object())
NOT_SEED = (1.5, "1", [1], 2**70, float("nan"), object(), True, None)
NOT_COUNT = (*NOT_SEED[:-1], 0, -1)
WRONG = {
    "params": WRONG_PARAMS,
    "data": (*WRONG_BATCHES, (), None, [], X[:0], 3, [(X, Y)], iter(())),
    "loss": WRONG_LOSSES,
    "optimizer": (),
    "epochs": (*NOT_COUNT, None),
    "batch_size": (*NOT_COUNT, None),
    "accumulate": (*NOT_COUNT, None),
    "max_skipped": (*NOT_COUNT, None),
    "patience": NOT_COUNT,
    "max_to_keep": NOT_COUNT,
    "seed": NOT_SEED,
    "shuffle": (*NOT_BOOL, None),
    "drop_last": (*NOT_BOOL, None),
    "monitor": ("accuracy", "val_m", 3, ["loss"], True),
    "mode": ("max", "most", None, 1),
    "ties": ("none", None, 1, True),
    "progress": NOT_BOOL,
    "mesh": ("mesh", {"data": 2}, 3),
    "layout": ("tensor", "x", 3, None),
    "metrics": (loss, {"loss": loss}, {"m": 3}, {3: loss}, [loss], "m", {"m": of_all}),
    "callbacks": (3, [3], "text", {"a": 1}),
    "validation_data": ((X[:, :2], Y), (X, Y[:-1]), (X, "text"), 3, (), [], "text"),
    "keep_best": ("loss", "best loss", "lowest", "lowest val_m", 3, ["lowest", "loss"]),
    "checkpoint_errors": ("ignore", None, True),
    "nonfinite": ("ignore", None, 1),
    "checkpoint_every": ("1 year", "-2 steps", "1.5 steps", "often", "", 0, 1.5, True, None),
    "checkpoint_dir": ("", b"runs", 3, "run*"),
}
# What an error of the loss names, which passes parts of these to rules.
OF_THE_LOSS = ("x", "w", "labels", "logits", "batch")
MAY_NAME = dict.fromkeys(("params", "data", "loss", "validation_data"), OF_THE_LOSS) | {
    "data": (*OF_THE_LOSS, "batch_size"),  # which an iterable must not have
    "layout": ("mesh",),
}


def one_epoch(params, data, batch_size, validation_data, metrics, **_):
    size = int(batch_size)
    layers, losses = descent(params, data, size, momentum=0.0)
    sizes = [len(X[i : i + size]) for i in range(0, len(X), size)]
    history = {"loss": np.average(losses, weights=sizes)}
    factors = {"loss": 1.0} | dict.fromkeys(metrics or {}, 2.0)
    if validation_data is None:
        own = {name: name for name in metrics or {}}
        x, y = data
    else:
        own = {name: f"val_{name}" for name in factors}
        parts = validation_data if isinstance(validation_data, list) else [validation_data]
        x, y = map(np.concatenate, zip(*parts, strict=True))
    final, _ = softmax_loss(reference.network(layers, x, RELU), y)
    history |= {shown: factors[name] * final for name, shown in own.items()}

    def check(got):
        close_layers(got.params, layers)
        close_layers(got.state.params, layers)
        assert int(got.state.step) == len(sizes), f"step {got.state.step}"
        assert list(got.history) == list(history), f"the history has {list(got.history)}"
        for name, value in history.items():
            assert_close(got.history[name], [value], 1e-5, name)

    return problem_of(check)


def refused(*names):
    def spec(**_):
        raise Invalid(*names)

    return spec


@calls_of("fit", cases=150)
def fit_calls(draw):
    given = {"params": network(SIZES), "data": (X, Y), "loss": loss, "optimizer": SGD, "epochs": 1}
    given |= {name: draw(st.sampled_from(values)) for name, values in RIGHT.items()}
    given["shuffle"] = given["batch_size"] == len(X)  # else NumPy does not know the order
    if rarely(draw, 3):
        return Call(fcjax.fit, given, one_epoch)
    name = draw(st.sampled_from([*WRONG]))
    odd = wrong_optimizer() if name == "optimizer" else st.sampled_from(WRONG[name])
    given[name] = draw(odd)
    return Call(fcjax.fit, given, refused(name, *MAY_NAME.get(name, ())))
