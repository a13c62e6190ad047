"""Two layers with ReLU: 64 random samples, 1000 inputs, 100 hidden units, 10 outputs, no biases.

    Z₁ = X W₁      A₁ = max(Z₁, 0)      A₂ = A₁ W₂      loss = ‖A₂ − Y‖²_F

X, Y, W₁ and W₂ are drawn from the normal distribution. Plain gradient descent at rate 1e-6
replaces both weights by W − 1e-6 dW in each of 501 iterations. The script prints the loss before
every 50th update, and the time per iteration. The picture shows how the loss falls by almost twelve
decades, how often the hidden units put out 0, and how exactly the network learns random targets.
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
    """Random inputs X and targets Y, and the weights that training starts from."""
    x_key, y_key, w_key = jax.random.split(jax.random.key(0), 3)
    X = jax.random.normal(x_key, (SAMPLES, SIZES[0]), dtype)
    Y = jax.random.normal(y_key, (SAMPLES, SIZES[-1]), dtype)
    standard_normal = jax.nn.initializers.normal(1.0)
    return fcjax.init(w_key, SIZES, bias=False, w_init=standard_normal, dtype=dtype), X, Y


def loss_fn(params, batch):
    X, Y = batch
    return fcjax.squared_error(fcjax.mlp(params, X, activations="relu"), Y, reduction="sum")


def train(params, X, Y, iterations=ITERATIONS):
    """Return the trained weights, the loss before each update, and the seconds per iteration."""
    train_step = fcjax.make_train_step(loss_fn, OPTIMIZER)
    train_step(fcjax.init_state(params, OPTIMIZER), (X, Y))  # compile; discard the result
    state, losses = fcjax.init_state(params, OPTIMIZER), []
    start = time.perf_counter()
    for _ in range(iterations):
        state, info = train_step(state, (X, Y))
        losses.append(info.loss)
    losses = np.array(jax.device_get(losses))  # waits for the last step
    return state.params, losses, (time.perf_counter() - start) / iterations


def picture(params, trained, X, Y, losses):
    """The losses, the outputs of the hidden units, and those of the network beside Y."""
    before = fcjax.mlp(params, X, activations="relu")
    after, (hidden, _) = fcjax.forward(trained, X, activations="relu")
    fig = plot.figure(13, 3.8)
    left, middle, right = fig.subfigures(1, 3, squeeze=False, width_ratios=(4, 3, 6))[0]
    plot.history(left, {"loss": losses})
    left.axes[0].set(title="loss", xlabel="iteration")
    plot.activation_histograms(middle, [hidden.A])
    axes = right.subplots(1, 2)
    plot.predicted_against_true(axes[0], Y, before, name="before training")
    plot.predicted_against_true(axes[1], Y, after, name="after training")
    return fig


def main(out: Path = Path("out")) -> None:
    """Train the network, print the losses, and draw what it learned.

    Args:
        out: the folder for the picture.
    """
    params, X, Y = problem()
    trained, losses, seconds = train(params, X, Y)
    print("iteration          loss")
    for i in range(0, ITERATIONS, 50):
        print(f"{i:9d}  {losses[i]:12.5e}")
    print(f"{1e3 * seconds:.3f} ms per iteration")
    path = plot.save(picture(params, trained, X, Y, losses), out / "05_two_layers_relu.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
