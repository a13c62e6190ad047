"""The networks of the presets: their parameters, how they begin, and what they compute.

Parameters are drawn by NumPy, because JAX would compile a program for each shape.

A network maps a batch of n rows to outputs `(n, members, outputs)`: `realmlp` has one member, and
the 32 members of `tabm` share most of their weights. Members are trained on the mean of their own
losses, and their predictions are averaged.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from .._types import Tree
from ..activations import relu
from ..dropout import relu_dropout
from ..encoding import piecewise_linear_encoding
from ..ensemble import ensemble_dense, grouped_dense
from ..network import Layer, Params, mlp
from ..scale import scale
from .accumulation import mean_of_parts

Key = Array | None
# A mean over rows and members of outputs `(n, members, outputs)` and data.
LossOfOutputs = Callable[[Array, Tree], Array]
# The embedded input and the weights that all members share; their factors, biases and heads.
Shared = tuple[Array, tuple[Array, ...]]
Own = tuple[tuple[tuple[Array, Array, Array], ...], Layer]


class PlainNetwork(NamedTuple):
    """One member of a network as `mlp` has it: its layers, their input, and the activation."""

    layers: Params
    x: Array
    activation: str


class RealMLPParams(NamedTuple):
    """Factors of the inputs `s`, and dense layers."""

    s: Array
    layers: Params


@dataclass(frozen=True)
class RealMLP:
    """The network of RealMLP-TD-S: a scaled layer and three hidden layers of 256 units.

    The authors write a layer as `Z = X W/√n_in + b`, the NTK parametrization, with W ~ N(0, 1) and
    b ~ N(0, 1). Here the layer holds the product `W' = W/√n_in`. For Adam with learning rate η, a
    step on W is a step on W' with rate `η/√n_in`: by the chain rule `dW = dW'/√n_in`, Adam divides
    this factor out again, and W' moves by `1/√n_in` of what W moves. So `rates` has that factor,
    and the network is a plain `mlp`. (Adam's eps is then `√n_in` times smaller relative to the
    gradient: 1e-8, next to which gradients are large.)

    Source: Holzmüller, Grinsztajn & Steinwart, Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data, NeurIPS 2024, section 3 and table A.1.
    """

    inputs: int
    outputs: int
    activation: str
    hidden: tuple[int, ...] = (256, 256, 256)

    @property
    def size(self) -> int:
        """The number of parameters."""
        sizes = (self.inputs, *self.hidden, self.outputs)
        return self.inputs + sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))

    def init(self, rng: np.random.Generator) -> RealMLPParams:
        """Draw the parameters. The last layer begins with zeros."""
        layers: list[Layer] = []
        n_in = self.inputs
        for n_out in self.hidden:
            w = rng.standard_normal((n_in, n_out), np.float32) / np.float32(np.sqrt(n_in))
            layers.append(_layer(w, rng.standard_normal(n_out, np.float32)))
            n_in = n_out
        last = _layer(_zeros(n_in, self.outputs), _zeros(self.outputs))
        return jax.device_put(RealMLPParams(_ones(self.inputs), (*layers, last)))

    def apply(
        self, params: RealMLPParams, x: Float[Array, "n inputs"], key: Key = None,
        compute_dtype: Any = None,
    ) -> Float[Array, "n 1 outputs"]:  # fmt: skip
        """Return the outputs of a batch. Nothing is random."""
        del key
        X = scale(x, params.s)
        Z = mlp(params.layers, X, activations=self.activation, compute_dtype=compute_dtype)
        return Z[:, None]

    def plain(
        self, params: RealMLPParams, x: Float[Array, "n inputs"], member: int
    ) -> PlainNetwork:
        """Return the network as plain layers; it has one member."""
        del member
        return PlainNetwork(params.layers, scale(x, params.s), self.activation)

    def mean_loss(
        self, loss: LossOfOutputs, params: RealMLPParams, x: Float[Array, "n inputs"], data: Tree,
        key: Key = None, compute_dtype: Any = None,
    ) -> Array:  # fmt: skip
        """Return the loss of a batch."""
        return loss(self.apply(params, x, key, compute_dtype), data)

    def rates(self, params: RealMLPParams) -> Any:
        """Return the factor of the learning rate for each parameter."""
        factors = [{"w": len(layer.w) ** -0.5, "b": 0.1} for layer in params.layers]
        layers = tuple(Layer(**one) for one in factors)  # pyright: ignore[reportArgumentType]
        return RealMLPParams(6.0, layers)  # pyright: ignore[reportArgumentType]


class TabMBlock(NamedTuple):
    """A layer that the members share, with factors and biases of each; see `ensemble_dense`."""

    w: Array
    r: Array
    s: Array
    b: Array


class TabMParams(NamedTuple):
    """The embedding of each number, if there is one, hidden blocks, and an output layer each."""

    embedding: Layer | None
    blocks: tuple[TabMBlock, ...]
    heads: Layer


@dataclass(frozen=True)
class TabM:
    """The network of TabM: 32 members that share their weights through `((x ⊙ r) W) ⊙ s + b`.

    With `edges`, each number is first embedded: a linear layer of its piecewise-linear encoding and
    of the number itself. The numbers are the first columns of the input. `groups` are the numbers
    of input columns that come from one column of the table: the factors r of the first layer are
    equal within a group.

    Source: Gorishniy, Kotelnikov & Babenko, TabM: advancing tabular deep learning with
    parameter-efficient ensembling, ICLR 2025, section 3; Gorishniy, Rubachev & Babenko, On
    embeddings for numerical features in tabular deep learning, NeurIPS 2022.
    """

    inputs: int
    outputs: int
    groups: tuple[int, ...]
    members: int = 32
    width: int = 512
    depth: int = 3
    rate: float = 0.1
    edges: tuple[tuple[float, ...], ...] | None = None
    embedding: int = 16

    @property
    def size(self) -> int:
        """The number of parameters."""
        numbers, bins = (0, 0) if self.edges is None else (len(self.edges), len(self.edges[0]) - 1)
        widths = self._width_of_inputs, *(self.width,) * (self.depth - 1)
        blocks = sum(n * self.width + self.members * (n + 2 * self.width) for n in widths)
        heads = self.members * (self.width + 1) * self.outputs
        return numbers * (bins + 2) * self.embedding + blocks + heads

    def init(self, rng: np.random.Generator) -> TabMParams:
        """Draw the parameters. Members begin with equal weights but for r of the first layer."""
        embedding, blocks = self._first_embedding(rng), list[TabMBlock]()
        for i in range(self.depth):
            n_in = self.width if i else self._width_of_inputs
            r = _ones(self.members, n_in) if i else self._first_factors(rng)
            w, bias = _uniform(rng, n_in, n_in, self.width), _uniform(rng, n_in, self.width)
            s, b = _ones(self.members, self.width), _ones(self.members, 1) * bias
            blocks.append(TabMBlock(w, r, s, b))
        heads = _layer(
            _uniform(rng, self.width, self.members, self.width, self.outputs),
            _uniform(rng, self.width, self.members, self.outputs),
        )
        return jax.device_put(TabMParams(embedding, tuple(blocks), heads))

    @property
    def _width_of_inputs(self) -> int:
        numbers = 0 if self.edges is None else len(self.edges)
        return self.inputs - numbers + numbers * self.embedding

    def _first_factors(self, rng: np.random.Generator) -> Any:
        """Draw one factor per member and column of the table: a sign, or a normal number."""
        shape = (self.members, len(self.groups))
        numbers = 0 if self.edges is None else len(self.edges)
        signs = rng.choice(np.array([-1, 1], np.float32), shape)
        factors = signs if self.edges is None else rng.standard_normal(shape, np.float32)
        sizes = (*(self.embedding,) * numbers, *self.groups[numbers:])
        return np.repeat(factors, sizes, axis=1)

    def _first_embedding(self, rng: np.random.Generator) -> Layer | None:
        """Begin as a linear embedding of the numbers, with zeros for their encodings."""
        if self.edges is None:
            return None
        numbers, bins = len(self.edges), len(self.edges[0]) - 1
        w = _uniform(rng, self.embedding, numbers, 1, self.embedding)
        b = _uniform(rng, self.embedding, numbers, self.embedding)
        return _layer(np.pad(w, ((0, 0), (bins, 0), (0, 0))), b)

    def apply(
        self, params: TabMParams, x: Float[Array, "n inputs"], key: Key = None,
        compute_dtype: Any = None,
    ) -> Float[Array, "n members outputs"]:  # fmt: skip
        """Return the outputs of a batch; a key draws the masks of dropout."""
        return self.apply_members(*self.parts(params, x), key, compute_dtype)

    def parts(self, params: TabMParams, x: Float[Array, "n inputs"]) -> tuple[Shared, Own]:
        """Return what all members share, the embedded input among it, and what each has."""
        shared = self._embedded(params, x), tuple(block.w for block in params.blocks)
        factors = tuple((block.r, block.s, block.b) for block in params.blocks)
        return shared, (factors, params.heads)

    def apply_members(
        self, shared: Shared, own: Own, key: Key = None, compute_dtype: Any = None
    ) -> Float[Array, "n members outputs"]:
        """Return the outputs of members, all or some."""
        (x, weights), (factors, heads) = shared, own
        A = x[:, None]
        for i, (w, (r, s, b)) in enumerate(zip(weights, factors, strict=True)):
            Z = ensemble_dense(A, w, r, s, b, compute_dtype=compute_dtype)
            if key is None or not self.rate:
                A = relu(Z)
            else:
                A = relu_dropout(Z, self.rate, jax.random.fold_in(key, i))
        return grouped_dense(A, heads.w, heads.b, compute_dtype=compute_dtype)

    def plain(self, params: TabMParams, x: Float[Array, "n inputs"], member: int) -> PlainNetwork:
        """Return a member as plain layers, with the weights `diag(r) W diag(s)`."""
        layers = [
            Layer(block.r[member][:, None] * block.w * block.s[member], block.b[member])
            for block in params.blocks
        ]
        w, b = params.heads
        head = Layer(w[member], None if b is None else b[member])
        return PlainNetwork((*layers, head), self._embedded(params, x), "relu")

    def mean_loss(
        self, loss: LossOfOutputs, params: TabMParams, x: Float[Array, "n inputs"], data: Tree,
        key: Key = None, compute_dtype: Any = None,
    ) -> Array:  # fmt: skip
        """Return the mean of the members' losses. Each two of them are computed by themselves."""

        def of_part(shared: Shared, own: Own, data: Tree, key: Key) -> Array:
            return loss(self.apply_members(shared, own, key, compute_dtype), data)

        shared, own = self.parts(params, x)
        parts = self.members // math.gcd(self.members, 2)
        own = jax.tree.map(lambda V: V.reshape(parts, -1, *V.shape[1:]), own)
        keys = None if key is None else jax.random.split(key, parts)
        return mean_of_parts(of_part, shared, own, data, keys)

    def _embedded(self, params: TabMParams, x: Array) -> Array:
        if params.embedding is None or self.edges is None:
            return x
        numbers, others = jnp.split(x, [len(self.edges)], axis=1)
        q = piecewise_linear_encoding(numbers, jnp.asarray(self.edges, x.dtype))
        E = grouped_dense(jnp.concatenate([q, numbers[..., None]], axis=-1), *params.embedding)
        return jnp.concatenate([E.reshape(x.shape[0], -1), others], axis=1)


Network = RealMLP | TabM


# Parameters as NumPy draws them; `init` puts them on the device.


def _layer(w: Any, b: Any) -> Layer:
    return Layer(w, b)


def _ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def _zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def _uniform(rng: np.random.Generator, n_in: int, *shape: int) -> Any:
    """Draw numbers between ±1/√n_in."""
    return ((2 * rng.random(shape, np.float32) - 1) / np.sqrt(n_in)).astype(np.float32)
