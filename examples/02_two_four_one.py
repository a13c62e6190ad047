"""A 2-4-1 network: sigmoid in both layers, quadratic loss.

    Z₁ = X W₁ + b₁    A₁ = σ(Z₁)    Z₂ = A₁ W₂ + b₂    Y = σ(Z₂)    L = (1/m) Σᵢ ½ (yᵢ − tᵢ)²

Going back from the loss, with σ' = σ (1 − σ) written in terms of the outputs:

    dY  = (Y − T) / m
    dZ₂ = dY ⊙ Y ⊙ (1 − Y)            dW₂ = A₁ᵀ dZ₂       db₂ = Σᵢ (dZ₂)ᵢ
    dZ₁ = dZ₂ W₂ᵀ ⊙ A₁ ⊙ (1 − A₁)     dW₁ = Xᵀ dZ₁        db₁ = Σᵢ (dZ₁)ᵢ

The first table lists all 17 gradients by name, for one sample and for a batch of five: on the left
from the backward pass of fcjax, layer by layer, on the right from JAX's automatic differentiation
of the plain formula. Then gradient descent solves XOR, which no network without a hidden layer can
solve: the output must be on the correct side of ½ for each of the four points. The picture shows
how the loss falls, and where in the plane the output is above ½.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import fcjax
from fcjax import plot

XOR_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_T = np.array([[0.0], [1.0], [1.0], [0.0]])


@jax.jit
def gradients(params, X, T):
    """The gradient of each parameter, by the two textbook passes."""
    Y, cache = fcjax.forward(params, X, activations="sigmoid", output_activation="sigmoid")
    dY = (Y - T) / len(X)
    dparams, _ = fcjax.backward(params, cache, dY)
    return dparams


def loss_fn(params, batch):
    X, T = batch
    Y = fcjax.mlp(params, X, activations="sigmoid", output_activation="sigmoid")
    return fcjax.half_squared_error(Y, T)


def plain_loss(params, batch):
    """The loss without rules of fcjax, as an independent function for JAX to differentiate."""
    ((W1, b1), (W2, b2)), (X, T) = params, batch
    A = 1 / (1 + jnp.exp(-(X @ W1 + b1)))
    Y = 1 / (1 + jnp.exp(-(A @ W2 + b2)))
    return jnp.mean((Y - T) ** 2) / 2


def by_name(params):
    """Every number in a network: w1[0,0], …, b2[0]."""
    return {
        f"{name}{layer}[{','.join(map(str, index))}]": number
        for layer, arrays in enumerate(params, start=1)
        for name, array in zip("wb", arrays, strict=True)
        for index, number in np.ndenumerate(array)
    }


def train(params, X, T, *, alpha=8.0, steps=3000):
    """Gradient descent on the whole batch; returns the parameters and the loss before each step."""
    optimizer = optax.sgd(alpha)
    train_step = fcjax.make_train_step(loss_fn, optimizer)
    state = fcjax.init_state(params, optimizer)
    losses = []
    for _ in range(steps):
        state, info = train_step(state, (X, T))
        losses.append(info.loss)
    return state.params, np.array(losses)


def print_gradients(params, X, T):
    samples = {"one sample": (X[:1], T[:1]), f"batch of {len(X)}": (X, T)}
    columns = []
    for batch in samples.values():
        columns += [
            by_name(gradients(params, *batch)),
            by_name(jax.jit(jax.grad(plain_loss))(params, batch)),
        ]
    print(f"{'gradient':10}" + "".join(f"{name:>15}{'autodiff':>15}" for name in samples))
    for name in columns[0]:
        print(f"{name:10}" + "".join(f"{column[name]:15.10f}" for column in columns))
    one, one_auto, many, many_auto = (np.array([*column.values()]) for column in columns)
    print(f"{'largest difference':25}{np.max(np.abs(one - one_auto)):15.1e}", end="")
    print(f"{np.max(np.abs(many - many_auto)):30.1e}")


def picture(trained, losses):
    """The loss before each step, and the plane on both sides of the output ½."""

    def output(X):
        return fcjax.mlp(trained, X, activations="sigmoid", output_activation="sigmoid")

    fig = plot.figure(9, 4)
    left, right = fig.subfigures(1, 2, squeeze=False)[0]
    plot.history(left, {"loss": losses})
    left.axes[0].set(title="loss of XOR", xlabel="step")
    plane = right.subplots()
    plot.decision_boundary(plane, output, XOR_X, XOR_T.astype(int))
    plane.set(title="output above ½ (orange) and below", aspect="equal")
    return fig


def main(out: Path = Path("out")) -> None:
    """Compare the gradients, learn XOR, and draw what the network decides.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # so that a difference means a mistake, not rounding
    normal = jax.nn.initializers.normal(1.0)
    params = fcjax.init(
        jax.random.key(0), (2, 4, 1), w_init=normal, b_init=normal, dtype=jnp.float64
    )
    X = jax.random.normal(jax.random.key(1), (5, 2))
    T = jax.random.uniform(jax.random.key(2), (5, 1))
    print_gradients(params, X, T)

    trained, losses = train(params, XOR_X, XOR_T)
    Y = fcjax.mlp(trained, XOR_X, activations="sigmoid", output_activation="sigmoid")
    print(f"\nXOR: loss {losses[0]:.6f} before, {losses[-1]:.6f} after {len(losses)} steps")
    print(" x1   x2   target   output")
    for (x1, x2), t, y in zip(XOR_X, XOR_T[:, 0], Y[:, 0], strict=True):
        print(f"{x1:3.0f}{x2:5.0f}{t:9.0f}{y:9.4f}")
    path = plot.save(picture(trained, losses), out / "02_two_four_one.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
