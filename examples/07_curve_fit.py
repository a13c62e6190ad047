"""Curve fit: 100 points of y = x² + 0.2 u, u uniform on (0, 1), by a 1-20-1 sigmoid network.

    Z₁ = x W₁ + b₁      A₁ = 1/(1 + exp(−Z₁))      ŷ = A₁ W₂ + b₂      loss = (1/m) Σᵢ (ŷᵢ − yᵢ)²

The loss is the mean over all entries, which is what PyTorch calls `nn.MSELoss`. Gradient descent at
rate 0.2 takes 201 steps, each on all 100 points. Every 20 steps the script prints the loss and
redraws the fit. `out/07_curve_fit.gif` animates the fits, and `out/07_curve_fit.png` shows all of
them and the loss of every step. The noise has variance 0.2²/12 = 0.0033, which is about the lowest
possible loss.

The rate is high: at the start the loss has curvature 15 along its steepest direction, more than
2/0.2 = 10, so the first steps overshoot. They drive most hidden units towards A₁ = 0, which lowers
the curvature to 3; from then on the loss decreases steadily.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import fcjax

LEARNING_RATE = 0.2
STEPS = 201
REDRAW = 20


def samples(dtype=jnp.float32):
    """Inputs x, evenly spaced on [−1, 1], and noisy targets y, each (100, 1)."""
    x = jnp.linspace(-1, 1, 100, dtype=dtype)[:, None]
    return x, x**2 + 0.2 * jax.random.uniform(jax.random.key(0), x.shape, dtype)


def start(dtype=jnp.float32):
    """The parameters that training starts from, all drawn from normal distributions."""
    return fcjax.init(
        jax.random.key(12),
        (1, 20, 1),
        w_init=jax.nn.initializers.variance_scaling(4, "fan_in", "normal"),
        b_init=jax.nn.initializers.normal(1.0),
        dtype=dtype,
    )


def loss_fn(params, batch):
    """The loss and the prediction."""
    x, y = batch
    prediction = fcjax.mlp(params, x, activations="sigmoid")
    return fcjax.mean_squared_error(prediction, y), prediction


def train(params, x, y, steps=STEPS):
    """Return the trained parameters, and the loss and prediction before each update."""
    optimizer = optax.sgd(LEARNING_RATE)
    train_step = fcjax.make_train_step(loss_fn, optimizer, has_aux=True)
    state, losses, fits = fcjax.init_state(params, optimizer), [], []
    for _ in range(steps):
        state, info = train_step(state, (x, y))
        losses.append(info.loss)
        fits.append(info.aux)
    return state.params, np.array(jax.device_get(losses)), np.array(jax.device_get(fits))


def data_axes(figure, place, x, y):
    """Axes with the samples and the curve x² + 0.1, the mean of y."""
    axes = figure.add_subplot(place)
    axes.scatter(x, y, s=12, color="0.6", label="samples")
    axes.plot(x, x**2 + 0.1, "--", color="black", linewidth=1, label="mean of y, x² + 0.1")
    axes.set(xlim=(-1.05, 1.05), ylim=(-0.05, 1.5), xlabel="x", ylabel="y")
    return axes


def title(losses, step):
    return f"step {step}, loss {losses[step]:.4f}"


def save_gif(path, x, y, losses, fits):
    """One frame per redrawn fit, two per second. The last is shown for two and a half seconds."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = data_axes(figure, 111, x, y)
    (line,) = axes.plot(x, fits[0], color="tab:red", linewidth=2.5, label="network")
    axes.legend(loc="upper center")

    def draw(step):
        line.set_ydata(fits[step])
        axes.set_title(title(losses, step))
        return (line,)

    steps = range(0, len(fits), REDRAW)
    frames = [*steps, *[steps[-1]] * 4]
    FuncAnimation(figure, draw, frames=frames).save(path, writer=PillowWriter(fps=2))


def save_png(path, x, y, losses, fits):
    """All redrawn fits, later ones darker, next to the loss of every step."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = data_axes(figure, 121, x, y)
    steps = range(0, len(fits), REDRAW)
    for step in steps:
        label = f"network, step {step}" if step in (steps[0], steps[-1]) else None
        axes.plot(x, fits[step], color="tab:red", alpha=0.15 + 0.85 * step / steps[-1], label=label)
    axes.legend(loc="upper center")
    axes.set_title(title(losses, steps[-1]))

    curve = figure.add_subplot(122)
    curve.semilogy(losses, color="tab:red", label="loss")
    curve.axhline(
        0.2**2 / 12, color="black", linestyle="--", linewidth=1, label="variance of noise"
    )
    curve.set(xlabel="step", ylabel="mean squared error", title="loss before each update")
    curve.legend()
    figure.savefig(path, dpi=120)


def main(out: Path = Path("out")) -> None:
    """Fit the curve, print the loss, and write 07_curve_fit.gif and .png into the folder `out`."""
    x, y = samples()
    _, losses, fits = train(start(), x, y)
    print("step      loss")
    for step in range(0, STEPS, REDRAW):
        print(f"{step:4d}  {losses[step]:8.5f}")
    print(f"largest loss {losses.max():.2f}, of step {losses.argmax()}")

    out.mkdir(parents=True, exist_ok=True)
    save_gif(out / "07_curve_fit.gif", x, y, losses, fits)
    save_png(out / "07_curve_fit.png", x, y, losses, fits)
    print(f"wrote 07_curve_fit.gif and 07_curve_fit.png to {out}")


if __name__ == "__main__":
    tyro.cli(main)
