"""Two layers with sigmoid and biases: 64 random samples, 1000 inputs, 100 hidden units, 10 outputs.

    Z₁ = X W₁ + b₁      A₁ = 1/(1 + exp(−Z₁))      A₂ = A₁ W₂ + b₂      loss = ‖A₂ − Y‖²_F

All arrays are drawn from the normal distribution. Gradient descent takes 501 steps,
θ ← θ − 1e-6 dθ. The script prints the loss before every 50th step, and the time per step. The loss
falls far more slowly than with ReLU: with Z₁ near ±32, most A₁ are 0 or 1 instead of 0 to 32, and
A₁(1 − A₁) passes almost no gradient to W₁ and b₁. The picture shows how the loss falls, and both
passes at the start: A₁ is white or dark, and dZ₁ white where A₁ is 0 or 1.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import fcjax
from fcjax import plot

SAMPLES, SIZES = 64, (1000, 100, 10)
OPTIMIZER, ITERATIONS = optax.sgd(1e-6), 501


def problem(dtype=jnp.float32):
    """Random inputs X and targets Y, and the weights and biases that training starts from."""
    x_key, y_key, key = jax.random.split(jax.random.key(0), 3)
    X = jax.random.normal(x_key, (SAMPLES, SIZES[0]), dtype)
    Y = jax.random.normal(y_key, (SAMPLES, SIZES[-1]), dtype)
    draw = jax.nn.initializers.normal(1.0)
    return fcjax.init(key, SIZES, w_init=draw, b_init=draw, dtype=dtype), X, Y


def loss_fn(params, batch):
    X, Y = batch
    return fcjax.squared_error(fcjax.mlp(params, X, activations="sigmoid"), Y, reduction="sum")


def train(params, X, Y, iterations=ITERATIONS):
    """Return the trained parameters, the loss before each update, the seconds per iteration."""
    train_step = fcjax.make_train_step(loss_fn, OPTIMIZER)
    train_step(fcjax.init_state(params, OPTIMIZER), (X, Y))  # compile; discard the result
    state, losses = fcjax.init_state(params, OPTIMIZER), []
    start = time.perf_counter()
    for _ in range(iterations):
        state, info = train_step(state, (X, Y))
        losses.append(info.loss)
    losses = np.array(jax.device_get(losses))  # waits for the last step
    return state.params, losses, (time.perf_counter() - start) / iterations


def picture(params, X, Y, losses):
    """The losses, and both passes before training."""
    A2, cache = fcjax.forward(params, X, activations="sigmoid")
    deltas = fcjax.deltas(params, cache, 2 * (A2 - Y))
    fig = plot.figure(13, 5)
    left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(2, 4))[0]
    plot.history(left, {"loss": losses})
    left.axes[0].set(title="loss", xlabel="iteration")
    plot.passes(right, [X, *(layer.A for layer in cache)], deltas)
    return fig


def main(out: Path = Path("out")) -> None:
    """Train the network, print the losses, and draw why they fall slowly.

    Args:
        out: the folder for the picture.
    """
    params, X, Y = problem()
    _, losses, seconds = train(params, X, Y)
    print("iteration          loss")
    for i in range(0, ITERATIONS, 50):
        print(f"{i:9d}  {losses[i]:12.5e}")
    print(f"{1e3 * seconds:.3f} ms per iteration")
    path = plot.save(picture(params, X, Y, losses), out / "06_two_layers_sigmoid.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
