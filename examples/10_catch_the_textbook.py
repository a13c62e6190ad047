"""Five mistakes in published derivations, each found and named by the checker.

Each is from a public tutorial on backpropagation. Three are wrong signs, one omits the sum over
examples, and one the derivative of the activation. For each, `fcjax.check_rule` checks a
hand-written rule that follows the text, and reports which gradient is wrong, by how much, and the
likely cause. The picture shows every entry of the wrong gradient against the right one: a wrong
sign mirrors the diagonal, and where the sum is missing, each example has an entry of its own.
"""

import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import fcjax
from fcjax import plot


def draw(*shape: int, seed: int, positive: bool = False) -> jax.Array:
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(0.1, 0.9, shape) if positive else rng.standard_normal(shape))


# --- 1. the sign of cross-entropy's derivative ----------------------------------------------------


@jax.custom_vjp
def cross_entropy(a, y):
    """−(y log a + (1−y) log(1−a)), one example per row."""
    return -(y * jnp.log(a) + (1 - y) * jnp.log(1 - a))


def cross_entropy_fwd(a, y):
    return -(y * jnp.log(a) + (1 - y) * jnp.log(1 - a)), (a, y)


def cross_entropy_bwd(kept, dL):
    a, y = kept
    da = y / a - (1 - y) / (1 - a)  # as printed; the loss has a leading minus
    return dL * da, dL * jnp.log((1 - a) / a)


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)


# --- 2. the sign of the Frobenius loss's gradient by its target -----------------------------------


@jax.custom_vjp
def distance_to_target(S, Y):
    """‖S − Y‖²_F."""
    return jnp.sum((S - Y) ** 2)


def distance_to_target_fwd(S, Y):
    return jnp.sum((S - Y) ** 2), (S, Y)


def distance_to_target_bwd(kept, df):
    S, Y = kept
    return df * 2 * (S - Y), df * 2 * (S - Y)  # ∂f/∂Y as printed


distance_to_target.defvjp(distance_to_target_fwd, distance_to_target_bwd)


# --- 3. and by its prediction ---------------------------------------------------------------------


@jax.custom_vjp
def distance_to_prediction(Y_pred, Y):
    """‖Y_pred − Y‖²_F."""
    return jnp.sum((Y_pred - Y) ** 2)


def distance_to_prediction_fwd(Y_pred, Y):
    return jnp.sum((Y_pred - Y) ** 2), (Y_pred, Y)


def distance_to_prediction_bwd(kept, df):
    Y_pred, Y = kept
    return df * 2 * (Y - Y_pred), df * 2 * (Y - Y_pred)  # ∂f/∂Y_pred as printed


distance_to_prediction.defvjp(distance_to_prediction_fwd, distance_to_prediction_bwd)


# --- 4. the bias of a batch -----------------------------------------------------------------------


def hidden(X, W1, b1):
    return jax.nn.sigmoid(X @ W1 + b1)


@jax.custom_vjp
def unsummed_bias(X, W1, b1, W2, b2):
    """Y_pred = σ(X W₁ + b₁) W₂ + b₂."""
    return hidden(X, W1, b1) @ W2 + b2


def two_layers_fwd(X, W1, b1, W2, b2):
    return hidden(X, W1, b1) @ W2 + b2, (X, W1, b1, W2)


def unsummed_bias_bwd(kept, dY):
    X, W1, b1, W2 = kept
    H = hidden(X, W1, b1)
    dZ = (dY @ W2.T) * H * (1 - H)
    return dZ @ W1.T, X.T @ dZ, dZ.sum(0), H.T @ dY, dY  # ∂f/∂b₂ = ∂f/∂Y_pred as printed


unsummed_bias.defvjp(two_layers_fwd, unsummed_bias_bwd)


# --- 5. the derivative of the hidden activation ---------------------------------------------------


@jax.custom_vjp
def linear_hidden(X, W1, b1, W2, b2):
    """Y_pred = σ(X W₁ + b₁) W₂ + b₂."""
    return hidden(X, W1, b1) @ W2 + b2


def linear_hidden_bwd(kept, dY):
    X, W1, b1, W2 = kept
    H = hidden(X, W1, b1)
    dH = dY @ W2.T
    dZ = dH * H * (1 - H)
    return dZ @ W1.T, X.T @ dH, dZ.sum(0), H.T @ dY, dY.sum(0)  # ∂f/∂W₁ = Xᵀ ∂f/∂h as printed


linear_hidden.defvjp(two_layers_fwd, linear_hidden_bwd)


LAYERS = tuple(draw(*shape, seed=i) for i, shape in enumerate([(5, 3), (3, 7), (7,), (7, 2), (2,)]))
MISTAKES: dict[str, tuple[Any, tuple[jax.Array, ...]]] = {
    "dA = y/a − (1−y)/(1−a) for −(y log a + (1−y) log(1−a))": (
        cross_entropy,
        (draw(5, 1, seed=10, positive=True), draw(5, 1, seed=11, positive=True)),
    ),
    "∂f/∂Y = 2(S − Y) for ‖S − Y‖²": (
        distance_to_target,
        (draw(5, 3, seed=12), draw(5, 3, seed=13)),
    ),
    "∂f/∂Y_pred = 2(Y − Y_pred) for ‖Y_pred − Y‖²": (
        distance_to_prediction,
        (draw(5, 3, seed=14), draw(5, 3, seed=15)),
    ),
    "∂f/∂b₂ = ∂f/∂Y_pred for a batch": (unsummed_bias, LAYERS),
    "∂f/∂W₁ = Xᵀ ∂f/∂h": (linear_hidden, LAYERS),
}


def picture(names):
    """The gradient of the argument `names[i]` as printed in mistake i + 1, against autodiff."""
    fig = plot.figure(15, 3.8)
    fig.suptitle("an entry that is right is on the dashed line")
    axes = fig.subplots(1, len(MISTAKES))
    for i, (name, (rule, args)) in enumerate(zip(names, MISTAKES.values(), strict=True)):
        place = [*inspect.signature(rule).parameters].index(name)
        y, kept = rule.fwd(*args)
        dy = draw(*y.shape, seed=20)
        # not jax.vjp of the rule, which refuses the shape of the fourth
        printed = rule.bwd(kept, dy)[place]
        right = jax.vjp(rule.fun, *args)[1](dy)[place]
        plot.predicted_against_true(axes[i], np.broadcast_to(right, printed.shape), printed)
        axes[i].set(title=f"{i + 1}. gradient by {name}", xlabel="autodiff", ylabel="as printed")
    return fig


def main(out: Path = Path("out")) -> None:
    """Check the five rules, and draw what is wrong in each.

    Args:
        out: the folder for the picture.
    """
    names = []
    for number, (formula, (rule, args)) in enumerate(MISTAKES.items(), start=1):
        report = fcjax.check_rule(rule, args, search=False)  # they show at any point
        print(f"{number}. {formula}")
        for line in str(report).splitlines()[1:3]:
            print(f"   {line}")
        print()
        names.append(report.failures[0].argument)
    print(f"picture: {plot.save(picture(names), out / '10_catch_the_textbook.png')}")


if __name__ == "__main__":
    tyro.cli(main)
