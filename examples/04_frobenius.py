"""f = ‖max(X W, 0) − Y‖²_F: its three gradients, with the right signs.

    Z = X W      S = max(Z, 0)      f = Σ (S − Y)²

The differential is df = Σ 2 (S − Y) ⊙ (dS − dY): S enters with a plus, Y with a minus. Hence

    ∂f/∂S = 2 (S − Y)         ∂f/∂Y = −2 (S − Y)         ∂f/∂Z = ∂f/∂S ⊙ [Z > 0]
    ∂f/∂W = Xᵀ ∂f/∂Z          ∂f/∂X = ∂f/∂Z Wᵀ

Tutorials contain two mistakes: ∂f/∂Y = 2 (S − Y), and ∂f/∂S = 2 (Y − S), which also reverses the
signs of ∂f/∂W and ∂f/∂X. Each table shows a gradient entry by entry: from fcjax, from JAX's
automatic differentiation of the plain formula, from finite differences (f (θ+h) − f (θ−h)) / 2h,
and with the mistake. Finite differences use no calculus, so they decide which is correct. The
picture shows the four values of every entry: three coincide, the mistake is on the other side of 0.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import fcjax
from fcjax import plot

X = np.array([[1.0, -0.5, -2.0], [-0.3, 1.2, 0.5]])
W = np.array([[0.6, -0.4], [0.2, 0.9], [-0.7, 1.1]])
Y = np.array([[0.5, -1.0], [2.0, 0.1]])
BLUE, GREEN, ORANGE = "#0072b2", "#009e73", "#d55e00"  # which the colour-blind can tell apart


def f(W, X, Y):
    S = fcjax.relu(fcjax.dense(X, W))
    return fcjax.squared_error(S, Y, reduction="sum")


def f_of_S(S, Y):
    return fcjax.squared_error(S, Y, reduction="sum")


def plain_f(W, X, Y):
    """The loss without rules of fcjax, as an independent function for JAX to differentiate."""
    return jnp.sum((jnp.maximum(X @ W, 0) - Y) ** 2)


def plain_f_of_S(S, Y):
    return jnp.sum((S - Y) ** 2)


def finite_differences(function, args, argument, h=1e-4):
    """The gradient with respect to one argument. f is quadratic, so h need not be tiny."""
    gradient = np.zeros(args[argument].shape)
    for index in np.ndindex(gradient.shape):
        step = np.zeros(gradient.shape)
        step[index] = h
        above, below = ([*args] for _ in range(2))
        above[argument] = args[argument] + step
        below[argument] = args[argument] - step
        gradient[index] = (function(*above) - function(*below)) / (2 * h)
    return gradient


def mistaken(W, X, Y):
    """The gradients by S, W and X that follow from ∂f/∂S = 2 (Y − S), and ∂f/∂Y = 2 (S − Y)."""
    Z = X @ W
    S = np.maximum(Z, 0)
    dS = 2 * (Y - S)
    dZ = dS * (Z > 0)
    return {"W": X.T @ dZ, "X": dZ @ W.T, "Y": 2 * (S - Y), "S": dS}


def gradients(W, X, Y):
    """By name, each gradient computed in three correct ways and one wrong way."""
    S = np.maximum(X @ W, 0)
    wrong = mistaken(W, X, Y)
    right = {}
    for name, rules, plain, args, i in (
        ("W", f, plain_f, (W, X, Y), 0),
        ("X", f, plain_f, (W, X, Y), 1),
        ("Y", f, plain_f, (W, X, Y), 2),
        ("S", f_of_S, plain_f_of_S, (S, Y), 0),
    ):
        ways = (jax.grad(rules, i)(*args), jax.grad(plain, i)(*args))
        right[name] = (*ways, finite_differences(plain, args, i), wrong[name])
    return right


def picture(all_gradients):
    """Every entry of each gradient, computed in the four ways."""
    fig = plot.figure(12, 4)
    for ax, (name, ways) in zip(fig.subplots(1, 4), all_gradients.items(), strict=True):
        rules, autodiff, differences, mistake = map(np.ravel, ways)
        entries = [f"{row},{column}" for row, column in np.ndindex(ways[0].shape)]
        ax.axhline(0, color="0.6", linewidth=1)
        # smaller and smaller, so that equal values lie in each other
        ax.plot(entries, differences, "o", color="black", fillstyle="none", markersize=13)
        ax.plot(entries, autodiff, "o", color=GREEN, fillstyle="none", markersize=8)
        ax.plot(entries, rules, "o", color=BLUE, markersize=3)
        ax.plot(entries, mistake, "s", color=ORANGE, markersize=6)
        ax.set(title=f"∂f/∂{name}", xlabel="entry")
        ax.margins(0.1)
    ways = ["finite differences", "autodiff", "fcjax", "mistake"]
    fig.legend(fig.axes[0].lines[1:], ways, loc="outside lower center", ncols=4)
    return fig


def main(out: Path = Path("out")) -> None:
    """Compute each gradient in four ways, print them, and draw them.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # finite differences need the precision
    all_gradients = gradients(W, X, Y)
    for name, ways in all_gradients.items():
        print(f"{'∂f/∂' + name:10}{'fcjax':>12}{'autodiff':>12}{'differences':>13}{'mistake':>12}")
        for index in np.ndindex(ways[0].shape):
            one, two, three, four = (way[index] for way in ways)
            print(f"{list(index)!s:10}{one:12.6f}{two:12.6f}{three:13.6f}{four:12.6f}")
        one, two, three, four = ways
        apart = [np.max(np.abs(way - three)) for way in (one, two, four)]
        print(f"{'off by':10}{apart[0]:12.1e}{apart[1]:12.1e}{'':13}{apart[2]:12.1e}\n")
    print(f"picture: {plot.save(picture(all_gradients), out / '04_frobenius.png')}")


if __name__ == "__main__":
    tyro.cli(main)
