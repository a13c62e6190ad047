"""A shallow classifier: tanh hidden layer, sigmoid output, cross-entropy, points in the plane.

    Z₁ = X W₁ + b₁    A₁ = tanh(Z₁)    Z₂ = A₁ W₂ + b₂    A₂ = σ(Z₂)
    J = −(1/m) Σᵢ (yᵢ log aᵢ + (1 − yᵢ) log(1 − aᵢ))

Many textbooks write one sample per column, with W of shape (n_out, n_in) and b a column:

    Z = W X + b
    dZ₂ = A₂ − Y                  dW₂ = dZ₂ A₁ᵀ / m
    dZ₁ = W₂ᵀ dZ₂ ⊙ (1 − A₁²)     dW₁ = dZ₁ Xᵀ / m
    db = np.sum(dZ, axis=1, keepdims=True) / m    for either layer

In fcjax a sample is a row, so all arrays, including gradients, are transposed. The table shows the
shapes in both layouts, and the largest difference between a gradient and the transpose of its
counterpart, before and after training. Gradient descent learns a flower of eight petals, four of
each class, and the plot shows the boundary that the network learned, A₂ = ½.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

import fcjax

ORANGE, BLUE = "#d95f02", "#1f6fb4"


def flower(rng, m=400):
    """Points X (m, 2) on a flower of eight petals, and their classes Y (m, 1)."""
    y = np.repeat([0.0, 1.0], m // 2)
    angle = np.pi * (y + np.tile(np.linspace(0, 1, m // 2), 2)) + 0.2 * rng.standard_normal(m)
    radius = 4 * np.sin(4 * angle) + 0.2 * rng.standard_normal(m)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1), y[:, None]


def loss_fn(params, batch):
    X, Y = batch
    # Sigmoid and cross-entropy in one rule: dZ₂ = (A₂ − Y) / m, which cannot overflow.
    return fcjax.sigmoid_binary_cross_entropy(fcjax.mlp(params, X, activations="tanh"), Y)


@jax.jit
def probabilities(params, X):
    return fcjax.mlp(params, X, activations="tanh", output_activation="sigmoid")


def accuracy(params, X, Y):
    return float(jnp.mean((probabilities(params, X) > 0.5) == (Y > 0.5)))


def train(params, X, Y, *, alpha=1.0, steps=4000):
    """Gradient descent on all samples; returns the parameters and the loss before each step."""
    optimizer = optax.sgd(alpha)
    train_step = fcjax.make_train_step(loss_fn, optimizer)
    state = fcjax.init_state(params, optimizer)
    losses = []
    for _ in range(steps):
        state, info = train_step(state, (X, Y))
        losses.append(info.loss)
    return state.params, np.array(losses)


def textbook_gradients(params, X, Y):
    """dW₁, db₁, dW₂ and db₂ with one sample per column; `params`, X and Y are in that layout."""
    (W1, b1), (W2, b2) = params
    m = X.shape[1]
    A1 = np.tanh(W1 @ X + b1)
    A2 = 1 / (1 + np.exp(-(W2 @ A1 + b2)))
    dZ2 = A2 - Y
    dZ1 = (W2.T @ dZ2) * (1 - A1**2)
    return {
        "dW1": dZ1 @ X.T / m,
        "db1": np.sum(dZ1, axis=1, keepdims=True) / m,
        "dW2": dZ2 @ A1.T / m,
        "db2": np.sum(dZ2, axis=1, keepdims=True) / m,
    }


def both_layouts(params, X, Y):
    """By name, each gradient from fcjax and from the textbook formulas."""
    dparams = jax.jit(jax.grad(loss_fn))(params, (X, Y))
    names = [f"d{name}{layer}" for layer in (1, 2) for name in "Wb"]
    as_columns = [(np.asarray(W).T, np.asarray(b)[:, None]) for W, b in params]
    textbook = textbook_gradients(as_columns, np.asarray(X).T, np.asarray(Y).T)
    rows = dict(zip(names, jax.tree.leaves(dparams), strict=True))
    return {name: (np.asarray(rows[name]), textbook[name]) for name in names}


def apart(ours, textbook):
    """The largest difference between one layout and the transpose of the other."""
    return np.max(np.abs(np.atleast_2d(ours) - textbook.T))


def picture(params, X, Y, title):
    """The network's output over the plane, the boundary, and the samples."""
    side = np.linspace(-5, 5, 300)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    A = probabilities(params, jnp.asarray(grid))[..., 0]
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="$x_1$", ylabel="$x_2$", title=title, aspect="equal", xlim=(-5, 5), ylim=(-5, 5)
    )
    colors = LinearSegmentedColormap.from_list("classes", [ORANGE, "white", BLUE])
    shades = axes.imshow(
        A, colors, origin="lower", extent=(-5, 5, -5, 5), vmin=0, vmax=1, alpha=0.55
    )
    axes.contour(side, side, A, [0.5], colors="black", linewidths=1.5)
    for label, (color, marker) in enumerate([(ORANGE, "o"), (BLUE, "s")]):
        points = np.asarray(X)[np.asarray(Y)[:, 0] == label].T
        style = {"marker": marker, "color": color, "edgecolor": "white", "linewidth": 0.5}
        axes.scatter(*points, s=22, label=f"class {label}", **style)
    axes.legend(loc="upper right")
    figure.colorbar(
        shades, label="$A_2$, the probability of class 1", ticks=[0, 0.25, 0.5, 0.75, 1]
    )
    return figure


def main(out: Path = Path("out")) -> None:
    """Train the classifier and draw its decision boundary.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # so that a difference means a mistake, not rounding
    X, Y = map(jnp.asarray, flower(np.random.default_rng(0)))
    unseen = flower(np.random.default_rng(1))
    glorot = jax.nn.initializers.glorot_normal()
    params = fcjax.init(jax.random.key(0), (2, 8, 1), w_init=glorot, dtype=X.dtype)
    trained, losses = train(params, X, Y)

    print("gradient   fcjax    textbook   largest difference, before and after training")
    before, after = both_layouts(params, X, Y), both_layouts(trained, X, Y)
    for name, (ours, textbook) in before.items():
        print(f"{name:11}{ours.shape!s:9}{textbook.shape!s:11}", end="")
        print(f"{apart(ours, textbook):.1e}   {apart(*after[name]):.1e}")
    figures = f"train {accuracy(trained, X, Y):.3f}, test {accuracy(trained, *unseen):.3f}"
    print(f"\nloss {losses[0]:.6f} before, {losses[-1]:.6f} after {len(losses)} steps")
    print(f"accuracy: {figures}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "08_shallow_classifier.png"
    picture(trained, X, Y, f"2-8-1, tanh and sigmoid; accuracy: {figures}").savefig(path, dpi=150)
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
