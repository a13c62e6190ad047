"""Deep network: L layers of sigmoid, tanh, ReLU and leaky ReLU (0.01), by the textbook passes.

Forward, from A₀ = X:     Z = A W + b                A ← g(Z)
Backward, from dA_L:      dZ = dA ⊙ g'(Z)            dW = Aᵀ dZ, with A the input of the layer
                          db = Σᵢ dZᵢ                dA ← dZ Wᵀ, the layer before

The output is a sigmoid with binary cross-entropy, so the recursion starts with
dA_L = (1/m) (−Y/A_L + (1 − Y)/(1 − A_L)). (With the opposite sign, which some texts print, every
gradient is reversed.) The hidden layers cycle through all four activations.

The script prints, in float64: for L = 1 to 10, the largest difference of any gradient from JAX's
autodiff of the same network in plain formulas; for L = 6, the norms of the gradients of every
layer; and, for a unit whose Z is exactly 0, the conventions at the kinks, ReLU'(0) = 0 and 1 for
leaky ReLU. The picture shows both passes for L = 6, and that the gradients of the first layers
are smaller than those of the last.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from numpy.linalg import norm

import fcjax
from fcjax import plot

PLAIN = {
    "sigmoid": lambda Z: 1 / (1 + jnp.exp(-Z)),
    "tanh": jnp.tanh,
    "relu": lambda Z: jnp.where(Z > 0, Z, 0),  # jnp.maximum(Z, 0) would give ½ at the kink
    "leaky_relu": lambda Z: jnp.where(Z >= 0, Z, 0.01 * Z),
}
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"  # which the colour-blind can tell apart
CYCLE = ("tanh", "relu", "sigmoid", "leaky_relu")


def activations_of(L):
    """The names of L activations: the hidden layers cycle through four, the output is sigmoid."""
    return (*(CYCLE[i % 4] for i in range(L - 1)), "sigmoid")


def problem(L, dtype):
    """Parameters with biases, 12 samples of 7 features, and 3 binary labels for each."""
    keys = jax.random.split(jax.random.key(L), 3)
    sizes = (7, *[8] * (L - 1), 3)
    params = fcjax.init(keys[0], sizes, b_init=jax.nn.initializers.constant(0.1), dtype=dtype)
    X = jax.random.normal(keys[1], (12, 7), dtype)
    return params, X, jax.random.bernoulli(keys[2], shape=(12, 3)).astype(dtype)


def passes(params, X, Y, activations, loss=fcjax.binary_cross_entropy):
    """Return dA_L, dZ of every layer, (dW, db) of every layer, and dX."""
    *hidden, output = activations
    A, cache = fcjax.forward(params, X, activations=hidden, output_activation=output)
    dA = jax.grad(loss)(A, Y)
    return dA, fcjax.deltas(params, cache, dA), *fcjax.backward(params, cache, dA)


def plain_loss(params, X, Y, activations):
    A = X
    for (W, b), name in zip(params, activations, strict=True):
        A = PLAIN[name](A @ W + b)
    return -jnp.sum(Y * jnp.log(A) + (1 - Y) * jnp.log(1 - A)) / len(X)


def difference(L, dtype=jnp.float64):
    """The largest difference of any dW, db or dX from autodiff of the plain formulas."""
    params, X, Y = problem(L, dtype)
    activations = activations_of(L)
    _, _, *by_hand = passes(params, X, Y, activations)
    plain = jax.grad(plain_loss, argnums=(0, 1))(params, X, Y, activations)
    by_hand, plain = jax.device_get((by_hand, plain))
    apart = jax.tree.map(lambda dV, from_plain: np.max(np.abs(dV - from_plain)), by_hand, [*plain])
    return max(jax.tree.leaves(apart))


def at_kink(activation, dtype=jnp.float64):
    """Z, dA and dZ of a hidden unit whose weights and bias are 0, so that Z = 0 exactly."""
    (first, last), X, Y = problem(2, dtype)
    params = (fcjax.Layer(first.w.at[:, 0].set(0), first.b.at[0].set(0)), last)
    _, (dZ, dZ_last), _, _ = passes(params, X, Y, (activation, "sigmoid"))
    Z, dA = fcjax.dense(X, *params[0]), dZ_last @ last.w.T
    return Z[:, 0], dA[:, 0], dZ[:, 0]


def picture(params, X, Y, activations):
    """Both passes, and the norms of the gradients of each layer."""
    *hidden, output = activations
    _, cache = fcjax.forward(params, X, activations=hidden, output_activation=output)
    _, dZs, dparams, _ = passes(params, X, Y, activations)
    fig = plot.figure(15, 5)
    left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(7, 3))[0]
    plot.passes(left, [X, *(layer.A for layer in cache)], dZs)
    left.suptitle(" → ".join(["X", *activations]))
    ax, layers = right.subplots(), range(1, len(dZs) + 1)
    ax.plot(layers, [norm(dZ) for dZ in dZs], "o-", color=BLUE, label="‖dZ‖")
    ax.plot(layers, [norm(dW) for dW, _ in dparams], "s-", color=ORANGE, label="‖dW‖")
    ax.plot(layers, [norm(db) for _, db in dparams], "^-", color=GREEN, label="‖db‖")
    ax.set(title="norms of the gradients", xlabel="layer", ylim=(0, None))
    ax.legend()
    return fig


def main(out: Path = Path("out")) -> None:
    """Compare the gradients with autodiff, and draw both passes of six layers.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # so that a difference means a mistake, not rounding
    print(" L  largest difference from autodiff")
    for L in range(1, 11):
        print(f"{L:2d}  {difference(L):.1e}")

    params, X, Y = problem(6, jnp.float64)
    activations = activations_of(6)
    _, dZs, dparams, _ = passes(params, X, Y, activations)
    print("\nlayer  activation   W         ‖dZ‖      ‖dW‖      ‖db‖")
    for i, (name, dZ, (dW, db)) in enumerate(zip(activations, dZs, dparams, strict=True), 1):
        norms = "  ".join(f"{norm(array):.2e}" for array in (dZ, dW, db))
        print(f"{i:5d}  {name:11s}  {dW.shape!s:8s}  {norms}")

    print("\nunit at its kink  ‖Z‖  ‖dA‖      ‖dZ‖      hence g'(0)")
    for name in ("relu", "leaky_relu"):
        Z, dA, dZ = at_kink(name)
        print(f"{name:16s}  {norm(Z)}  {norm(dA):.2e}  {norm(dZ):.2e}  {norm(dZ) / norm(dA):.0f}")
    path = plot.save(picture(params, X, Y, activations), out / "09_deep_network.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
