"""Regression with a linear output: the δ recursion and plain gradient descent.

    Z_l = A_{l−1} W_l + b_l    A_l = tanh(Z_l)    Ŷ = Z_L    L = 1/(2m) Σᵢ (yᵢ − ŷᵢ)²

δ_l is the gradient of the loss with respect to Z_l. The recursion starts at the output and goes
back. δ_l determines the gradients and the update of layer l:

    δ_L = (Ŷ − Y) / m          δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ (1 − A_l²)
    dW_l = A_{l−1}ᵀ δ_l        db_l = Σᵢ (δ_l)ᵢ
    W_l := W_l − α dW_l        b_l := b_l − α db_l

The data are ten measurements of each of 442 diabetes patients, and the progression of the disease
in a year, standardized to mean 0 and variance 1. A network of one layer is linear regression, whose
optimum `numpy.linalg.lstsq` finds directly, so gradient descent must reach the same loss and
coefficients. The script then prints δ of each layer of an untrained 10-8-4-1 network, and its
difference from JAX's automatic differentiation of the plain formula; and finally the loss of that
network after the same descent. The picture shows both passes of the untrained network for some of
the patients, and how the loss of both networks falls.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from sklearn.datasets import load_diabetes

import fcjax
from fcjax import plot

BLUE, ORANGE = "#0072b2", "#d55e00"  # which the colour-blind can tell apart


def diabetes():
    """Measurements X (442, 10) and progression Y (442, 1), standardized."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    Y = y[:, None]
    return (X - X.mean(0)) / X.std(0), (Y - Y.mean(0)) / Y.std(0)


@jax.jit
def gradients(params, X, Y):
    """The loss, δ of each layer and the gradient of each parameter."""
    Y_hat, cache = fcjax.forward(params, X, activations="tanh")
    L = fcjax.half_squared_error(Y_hat, Y)
    dY_hat = (Y_hat - Y) / len(Y)
    dparams, _ = fcjax.backward(params, cache, dY_hat)
    return L, fcjax.deltas(params, cache, dY_hat), dparams


def descend(params, X, Y, *, alpha, steps):
    """Gradient descent; returns the parameters and the loss before each step."""

    def step(params, _):
        L, _, dparams = gradients(params, X, Y)
        return jax.tree.map(lambda W, dW: W - alpha * dW, params, dparams), L

    run = jax.jit(lambda start: jax.lax.scan(step, start, length=steps))
    return jax.device_get(run(params))


def plain_loss(offsets, params, X, Y):
    """The loss without rules of fcjax. The gradient of the offset of Z_l, here 0, is δ_l."""
    A = X
    for (W, b), offset in zip(params, offsets, strict=True):
        Z = A @ W + b + offset
        A = jnp.tanh(Z)
    return jnp.sum((Y - Z) ** 2) / (2 * len(Y))


@jax.jit
def plain_deltas(params, X, Y):
    zeros = [jnp.zeros((len(X), layer.b.size)) for layer in params]
    return jax.grad(plain_loss)(zeros, params, X, Y)


def least_squares(X, Y):
    """The optimal loss, and the optimal w and b."""
    ones = np.ones((len(X), 1))
    coefficients, *_ = np.linalg.lstsq(np.hstack([X, ones]), Y, rcond=None)
    w, b = coefficients[:-1], coefficients[-1]
    return np.sum((X @ w + b - Y) ** 2) / (2 * len(Y)), w, b


def picture(params, X, Y, losses, best, patients=20):
    """A_l forward and δ_l backward for the first patients, and the losses of two descents."""
    Y_hat, cache = fcjax.forward(params, X, activations="tanh")
    deltas = fcjax.deltas(params, cache, (Y_hat - Y) / len(Y))
    fig = plot.figure(13, 5)
    left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(5, 3))[0]
    outputs = [X, *(layer.A for layer in cache)]
    plot.passes(left, [A[:patients] for A in outputs], [delta[:patients] for delta in deltas])
    left.suptitle(f"10-8-4-1 before training, {patients} of the patients; dZ is δ")
    ax = right.subplots()
    for (network, of_network), color in zip(losses.items(), (ORANGE, BLUE), strict=True):
        ax.plot(range(1, len(of_network) + 1), of_network, color=color, label=network)
    ax.axhline(best, color="black", linestyle="--", linewidth=1, label="least squares")
    ax.set(title="loss before each step", xlabel="step", ylabel="L", xscale="log")
    ax.legend()
    return fig


def main(out: Path = Path("out")) -> None:
    """Descend with one layer and with three, and draw the passes and the losses.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # so that a difference means a mistake, not rounding
    X, Y = map(jnp.asarray, diabetes())

    zeros = (fcjax.Layer(jnp.zeros((10, 1)), jnp.zeros(1)),)
    ((w, b),), one_layer = descend(zeros, X, Y, alpha=0.45, steps=8000)
    best, w_best, b_best = least_squares(X, Y)
    apart = max(np.max(np.abs(w - w_best)), np.max(np.abs(b - b_best)))
    print("one layer, 10-1            loss")
    for step in (0, 10, 100, 1000):
        print(f"before step {step:<10}{one_layer[step]:.12f}")
    print(f"{'after 8000 steps':22}{gradients((fcjax.Layer(w, b),), X, Y)[0]:.12f}")
    print(f"{'least squares':22}{best:.12f}")
    print(f"largest difference of a coefficient from least squares: {apart:.1e}")

    params = fcjax.init(
        jax.random.key(0), (10, 8, 4, 1), w_init=jax.nn.initializers.lecun_normal(), dtype=X.dtype
    )
    print("\n10-8-4-1   shape         norm   δ of the first patient …            from autodiff")
    _, deltas, _ = jax.device_get(gradients(params, X, Y))
    plain = jax.device_get(plain_deltas(params, X, Y))
    for l, (delta, plain_delta) in enumerate(zip(deltas, plain, strict=True), start=1):
        values = " ".join(f"{value:10.2e}" for value in delta[0, :3])
        print(f"δ_{l}        {delta.shape!s:10}{np.linalg.norm(delta):9.6f}", end="")
        print(f" {values:33}{np.max(np.abs(delta - plain_delta)):15.1e}")
    trained, three_layers = descend(params, X, Y, alpha=0.1, steps=2000)
    L, *_ = gradients(trained, X, Y)
    print(f"10-8-4-1, loss {three_layers[0]:.6f} before, {L:.6f} after 2000 steps")
    losses = {"10-1": one_layer, "10-8-4-1": three_layers}
    path = plot.save(picture(params, X, Y, losses, best), out / "03_delta_recursion.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
