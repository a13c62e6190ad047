"""Every built-in rule, with arguments at which to check it."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import activations, losses
from .._types import Function, Tree
from ..dense import dense
from ..dropout import dropout, relu_dropout
from ..encoding import piecewise_linear_encoding
from ..ensemble import ensemble_dense, grouped_dense
from ..network import Params, init, mlp, stack
from ..norms import layer_norm, rms_norm
from ..scale import scale


@dataclasses.dataclass(frozen=True)
class Draw:
    """An array that has not been drawn yet."""

    draw: Callable[[np.random.Generator], np.ndarray]

    def __call__(self, rng: np.random.Generator, dtype: str) -> jax.Array:
        """Draw the array; if it is floating-point, cast it to `dtype`.

        Raise ValueError if a number is too large for `dtype`.
        """
        array = np.asarray(self.draw(rng))
        if array.dtype != np.float64:
            return jnp.asarray(array)
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        if (too_large := np.isfinite(array) & ~np.isfinite(cast)).any():
            raise ValueError(f"args: numbers must fit into {dtype}, got {array[too_large][0]}")
        return jnp.asarray(cast)


class Case(NamedTuple):
    """A rule, and the arguments at which it is checked: values, and arrays to draw."""

    name: str
    fun: Function
    args: Sequence[Tree]
    kwargs: Mapping[str, Tree] = {}
    kinks: Mapping[str, Mapping[float, float]] = {}
    reference: Function | None = None
    expected_failures: Mapping[str, bool | Sequence[str]] = {}

    def drawn(self, seed: int, dtype: str) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
        """Return positional and keyword arguments, with floating-point arrays in `dtype`."""
        draw = partial(_drawn, rng=np.random.default_rng(seed), dtype=dtype)
        return jax.tree.map(draw, (tuple(self.args), dict(self.kwargs)))


def _drawn(value: Tree, rng: np.random.Generator, dtype: str) -> Tree:
    return value(rng, dtype) if isinstance(value, Draw) else value


def normal(*shape: int) -> Draw:
    return Draw(lambda rng: rng.standard_normal(shape))


def uniform(low: float, high: float, *shape: int) -> Draw:
    return Draw(lambda rng: rng.uniform(low, high, shape))


def integers(below: int, *shape: int, low: int = 0) -> Draw:
    return Draw(lambda rng: rng.integers(low, below, shape, dtype=np.int32))


def distributions(*shape: int) -> Draw:
    return Draw(lambda rng: rng.dirichlet(np.ones(shape[-1]), shape[:-1]))


def built_in() -> list[Case]:
    """Return every rule of the library, in two or three dimensions, and with each option."""
    return [*_layers(), *_activations(), *_losses(), *_networks()]


def _layers() -> Iterator[Case]:
    yield Case("dense", dense, (normal(5, 3), normal(3, 2), normal(2)))
    yield Case("dense, two batch dimensions", dense, (normal(3, 2, 5), normal(5, 7), normal(7)))
    yield Case("dense, no bias", dense, (normal(7, 5), normal(5, 3)))
    half = {"compute_dtype": "bfloat16"}
    yield Case("dense in bfloat16", dense, (normal(5, 3), normal(3, 2), normal(2)), half)
    yield Case("layer_norm", layer_norm, (normal(3, 2, 5), normal(5), normal(5)))
    yield Case("rms_norm", rms_norm, (normal(3, 2, 5), normal(5)))
    yield Case("dropout", dropout, (normal(5, 7), 0.4, jax.random.key(1)))
    yield Case("relu_dropout", relu_dropout, (normal(5, 7), 0.4, jax.random.key(1)))
    yield Case("scale", scale, (normal(5, 3), normal(3)))
    parameters = normal(3, 2), normal(4, 3), normal(4, 2), normal(4, 2)
    yield Case("ensemble_dense", ensemble_dense, (normal(5, 4, 3), *parameters))
    yield Case("ensemble_dense, shared input", ensemble_dense, (normal(5, 1, 3), *parameters))
    yield Case("grouped_dense", grouped_dense, (normal(5, 4, 3), normal(4, 3, 2), normal(4, 2)))
    edges = Draw(lambda rng: np.sort(rng.standard_normal((3, 5)), axis=1))
    yield Case("piecewise_linear_encoding", piecewise_linear_encoding, (normal(7, 3), edges))
    for name in ("selu", "mish"):
        bent = {"activation": name}
        yield Case(f"parametric, {name}", activations.parametric, (normal(5, 3), normal(3)), bent)


def _activations() -> Iterator[Case]:
    for name, fun in activations.ACTIVATIONS.items():
        shape = (3, 6) if name == "glu" else (2, 3, 5)
        facts = activations.facts_of(fun)
        kinks = {"z": facts.kinks} if facts and facts.kinks else {}
        yield Case(name, fun, (normal(*shape),), kinks=kinks)
    yield Case("gelu, exact", activations.gelu, (normal(2, 3, 5),), {"approximate": False})
    for name in ("leaky_relu", "elu", "celu"):
        fun = activations.ACTIVATIONS[name]
        yield Case(f"{name}, learned", fun, (normal(3, 5), uniform(0.2, 2, 5)))
    yield Case("softmax, axis 0", activations.softmax, (normal(3, 5),), {"axis": 0})


def _losses() -> Iterator[Case]:
    pairs = {
        losses.squared_error: normal(5, 3),
        losses.half_squared_error: normal(5, 3),
        losses.mean_squared_error: normal(5, 3),
        losses.absolute_error: normal(5, 3),
        losses.huber: normal(5, 3),
        losses.poisson: uniform(0, 4, 5, 3),
        losses.hinge: Draw(lambda rng: rng.choice([-1.0, 1.0], (5, 3))),
        losses.sigmoid_binary_cross_entropy: uniform(0, 1, 5, 3),
    }
    for fun, target in pairs.items():
        yield Case(fun.__name__, fun, (normal(5, 3), target))
        weighted = {"weights": uniform(0.5, 2, 5)}
        yield Case(f"{fun.__name__}, weights", fun, (normal(5, 3), target), weighted)
    probabilities = uniform(0.1, 0.9, 5, 3), uniform(0, 1, 5, 3)
    yield Case("binary_cross_entropy", losses.binary_cross_entropy, probabilities)
    yield from _cross_entropies()


def _cross_entropies() -> Iterator[Case]:
    fun, labels = losses.softmax_cross_entropy, integers(3, 5)
    options = {
        "labels": {},
        "sum": {"reduction": "sum"},
        "none": {"reduction": "none", "weights": uniform(0.5, 2, 5)},
        "smoothing": {"label_smoothing": 0.1},
        "ignored, class weights": {"ignore_index": 1, "class_weights": uniform(0.5, 2, 3)},
    }
    for what, kwargs in options.items():
        yield Case(f"softmax_cross_entropy, {what}", fun, (normal(5, 3), labels), kwargs)
    yield Case("softmax_cross_entropy, distributions", fun, (normal(5, 3), distributions(5, 3)))
    fun, layer = losses.dense_softmax_cross_entropy, (normal(5, 2), normal(2, 3), normal(3))
    # The other options change the same terms as above; "none" has a separate backward pass.
    for what in ("none", "ignored, class weights"):
        kwargs = {"chunk_size": 2, **options[what]}
        yield Case(f"dense_softmax_cross_entropy, {what}", fun, (*layer, labels), kwargs)
    soft = (*layer, distributions(5, 3))
    yield Case("dense_softmax_cross_entropy, distributions", fun, soft, {"chunk_size": 2})


def _networks() -> Iterator[Case]:
    key, batch = jax.random.key(0), (normal(5, 3), integers(2, 5))
    params = init(key, (3, 5, 7, 2), dtype=jnp.float32)
    deep = stack(init(key, (3, 5, 5, 5, 5, 2), dtype=jnp.float32))

    def loss(params: Params, x: jax.Array, labels: jax.Array, **options: Any) -> jax.Array:
        return losses.softmax_cross_entropy(mlp(params, x, **options), labels)

    yield Case("mlp and its loss", loss, (params, *batch), {"activations": ("gelu", "tanh")})
    yield Case("mlp and its loss, stacked, tanh", loss, (deep, *batch), {"activations": "tanh"})
    options = {"activations": "gelu", "remat_every": 2}
    yield Case("mlp and its loss, stacked, remat", loss, (deep, *batch), options)
