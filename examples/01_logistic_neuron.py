"""A logistic neuron: 12,288 inputs, one sigmoid unit, cross-entropy, m samples.

    Z = X W + b        A = σ(Z)        J = −(1/m) Σᵢ (yᵢ log aᵢ + (1 − yᵢ) log(1 − aᵢ))

Each row of X is a 64×64×3 patch of a photograph. Differentiate the loss of one sample with respect
to its z: σ'(z) = a (1 − a) cancels the denominators from the logarithms, which leaves

    dZ = A − Y         dW = Xᵀ dZ / m         db = Σᵢ dZᵢ / m

The first table shows these gradients at random weights, computed in five ways: a loop over the
samples that adds up dW and db, the three formulas above, fcjax with sigmoid and loss in one rule,
fcjax with one rule for each, and JAX's automatic differentiation of the plain formula. They agree
to the rounding of float64. (The textbook's dZ belongs to the sum of the losses, and is divided by m
afterwards. In fcjax the mean of the loss contributes the 1/m, so dZ already contains it.)

Then gradient descent, W := W − α dW, learns whether a patch comes from the photograph of a temple
(0) or of a flower (1). It trains on the left halves, and is tested on the right halves. The picture
shows how the loss falls, the weights W as the colours of a patch, and how many patches of the right
halves are told apart.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from sklearn.datasets import load_sample_image

import fcjax
from fcjax import plot

LEFT, RIGHT = slice(0, 320), slice(320, 640)
CLASSES = ("temple", "flower")


def patches(image):
    """All patches of 64×64×3 on a grid of 32 pixels, one per row."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (64, 64, 3))
    return windows[::32, ::32].reshape(-1, 64 * 64 * 3)


def photographs(columns):
    """Patches X (m, 12288) from these columns of both photographs, and their classes Y (m, 1)."""
    temple, flower = (
        patches(load_sample_image(name)[:, columns] / 255) for name in ("china.jpg", "flower.jpg")
    )
    Y = np.repeat([0.0, 1.0], [len(temple), len(flower)])
    return np.concatenate([temple, flower]), Y[:, None]


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def loop_over_samples(W, b, X, Y):
    """J, dW and db in the first form of the textbook: one sample at a time."""
    J, dW, db = 0.0, np.zeros_like(W), np.zeros_like(b)
    for x, y in zip(X, Y, strict=True):
        a = sigmoid(x @ W + b)
        J += -(y * np.log(a) + (1 - y) * np.log(1 - a)).item()
        dz = a - y
        dW += x[:, None] * dz
        db += dz
    m = len(X)
    return J / m, dW / m, db / m


def vectorised(W, b, X, Y):
    """The same without a loop."""
    m = len(X)
    A = sigmoid(X @ W + b)
    J = -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / m
    dZ = A - Y
    return J, X.T @ dZ / m, dZ.sum(axis=0) / m


def loss_fn(params, batch):
    X, Y = batch
    return fcjax.sigmoid_binary_cross_entropy(fcjax.mlp(params, X), Y)


def loss_fn_in_two_rules(params, batch):
    X, Y = batch
    return fcjax.binary_cross_entropy(fcjax.mlp(params, X, output_activation="sigmoid"), Y)


def plain_loss(params, batch):
    """The loss without rules of fcjax, as an independent function for JAX to differentiate."""
    ((W, b),), (X, Y) = params, batch
    A = 1 / (1 + jnp.exp(-(X @ W + b)))
    return -jnp.mean(Y * jnp.log(A) + (1 - Y) * jnp.log(1 - A))


def accuracy(params, batch):
    X, Y = batch
    return jnp.mean((fcjax.mlp(params, X) > 0) == (Y > 0.5))


def gradients(params, X, Y):
    """(J, dW, db) by name, computed five ways."""

    def through_jax(function):
        J, ((dW, db),) = jax.jit(jax.value_and_grad(function))(params, (X, Y))
        return J, dW, db

    W, b, X_, Y_ = map(np.asarray, (*params[0], X, Y))
    return {
        "loop over the samples": loop_over_samples(W, b, X_, Y_),
        "dZ = A − Y, dW = XᵀdZ/m, db = ΣdZ/m": vectorised(W, b, X_, Y_),
        "fcjax, sigmoid and loss in one rule": through_jax(loss_fn),
        "fcjax, one rule for each": through_jax(loss_fn_in_two_rules),
        "autodiff of the plain formula": through_jax(plain_loss),
    }


def train(params, data, test_data, *, alpha=0.003, steps=100):
    """Gradient descent on all samples at once; the history has one entry per step."""
    return fcjax.fit(
        params,
        data,
        loss=loss_fn,
        optimizer=optax.sgd(alpha),
        epochs=steps,
        batch_size=len(data[0]),
        shuffle=False,
        validation_data=test_data,
        metrics={"accuracy": accuracy},
        progress=False,
    )


def picture(result, test_data):
    """The losses of every step, the weights as a patch, and the classes of the test patches."""
    (W, _), (X, Y) = result.params[0], test_data
    fig = plot.figure(12, 4)
    left, right = fig.subfigures(1, 2, squeeze=False, width_ratios=(2, 3))[0]
    plot.history(left, {name: result.history[name] for name in ("loss", "val_loss")})
    left.axes[0].set(title="loss, J", xlabel="step")
    weights, counts = right.subplots(1, 2)
    # a weight of 0 is grey; the largest is 0 or 1 in its colour
    weights.imshow(0.5 + np.reshape(W, (64, 64, 3)) / (2 * np.max(np.abs(W))))
    weights.set(title="W: a patch like this is a flower", xticks=[], yticks=[])
    predicted = fcjax.mlp(result.params, X) > 0
    plot.confusion(counts, np.ravel(Y).astype(int), np.ravel(predicted).astype(int), CLASSES)
    counts.set_title(f"test patches, {np.mean(predicted == Y):.0%} right")
    return fig


def main(out: Path = Path("out")) -> None:
    """Compare the gradients, train the neuron, and draw what it learned.

    Args:
        out: the folder for the picture.
    """
    jax.config.update("jax_enable_x64", True)  # so that a difference means a mistake, not rounding
    data = tuple(map(jnp.asarray, photographs(LEFT)))
    test_data = tuple(map(jnp.asarray, photographs(RIGHT)))
    small = jax.nn.initializers.normal(0.01)
    params = fcjax.init(jax.random.key(0), (64 * 64 * 3, 1), w_init=small, dtype=jnp.float64)

    ways = gradients(params, *data)
    _, dW, db = ways["loop over the samples"]
    print(f"{'gradients of m = ' + str(len(data[0])) + ' samples':37}{'J':>10}{'db':>10}", end="")
    print(f"{'‖dW‖':>10}   largest difference from the loop: dW, db")
    for name, (J, dW_, db_) in ways.items():
        apart = f"{np.max(np.abs(dW_ - dW)):11.1e}{np.max(np.abs(db_ - db)):9.1e}"
        print(f"{name:37}{J:10.6f}{db_.item():10.6f}{np.linalg.norm(dW_):10.6f}{apart}")

    zeros = jax.tree.map(jnp.zeros_like, params)
    result = train(zeros, data, test_data)
    print("\nsteps   loss before")
    for step in (0, 10, 30, 99):
        print(f"{step:5}{result.history['loss'][step]:14.6f}")
    print(f"accuracy after {len(result.history['loss'])} steps: ", end="")
    print(
        f"train {accuracy(result.params, data):.3f}, test {accuracy(result.params, test_data):.3f}"
    )
    path = plot.save(picture(result, test_data), out / "01_logistic_neuron.png")
    print(f"picture: {path}")


if __name__ == "__main__":
    tyro.cli(main)
