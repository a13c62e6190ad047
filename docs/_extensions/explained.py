"""Make the pages of `explain` that the documentation shows, of three networks."""

from pathlib import Path

FOLDER = "_explained"


def write_pages(docs: Path) -> None:
    """Write the pages; they are copied beside the documentation as they are."""
    import jax
    import jax.numpy as jnp
    from sklearn.datasets import load_digits, load_iris

    import fcjax

    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    small = jax.nn.initializers.normal(0.5)
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    xor = fcjax.explain(
        fcjax.Model(
            fcjax.init(jax.random.key(0), (2, 4, 1), b_init=small), "sigmoid", "sigmoid"
        ),
        x, fcjax.binary_cross_entropy, jnp.array([[0.0], [1.0], [1.0], [0.0]]),
    )  # fmt: skip
    xor.save(folder / "explain-2-4-1.html")
    flowers, species = load_iris(return_X_y=True)
    rows = slice(0, 150, 15)
    iris = fcjax.explain(
        fcjax.Model(fcjax.init(jax.random.key(1), (4, 8, 3)), "relu"),
        (flowers[rows] - flowers.mean(0)) / flowers.std(0),
        fcjax.softmax_cross_entropy, species[rows],
    )  # fmt: skip
    iris.save(folder / "explain-iris.html")
    images, digits = load_digits(return_X_y=True)
    deep = fcjax.explain(
        fcjax.Model(fcjax.init(jax.random.key(2), (64, 64, 64, 10)), "gelu"),
        images[:32] / 16, fcjax.softmax_cross_entropy, digits[:32], steps=10,
    )  # fmt: skip
    deep.save(folder / "explain-digits.html")
