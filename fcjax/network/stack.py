"""Stack equal hidden layers into one Layer with a leading layer axis."""

import itertools

import jax
import jax.numpy as jnp

from .arguments import check_layers
from .layers import Layer, Params, is_stacked


def stack(params: Params) -> Params:
    """Stack consecutive equal hidden layers into one Layer with a leading layer axis.

    Layers are equal if their weights are square, of the same shape and dtype, and if all or none of
    them have a bias, of the same dtype. L of them become `Layer(w (L, n, n), b (L, n))`, to which
    `mlp`, `forward` and `backward` apply one rule under `lax.scan`: compiling takes the same time
    for any L, and one array per layer is saved. All other layers are unchanged: usually the first
    layer, always the output layer, and layers that are already stacked.

    Gradients and optimizer states have the structure of their parameters, so call `stack` before
    `init_state`.

    Args:
        params: the layers, as from `init`.

    Returns:
        A tuple of layers, shorter than `params` where two or more were stacked.

    Raises:
        TypeError: `params` is not a tuple of Layers.
        ValueError: the `w` or `b` of stacked layers has an invalid shape.

    Source: Goodfellow, Bengio & Courville, Deep Learning (2016), algorithm 6.3, as a loop.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 8, 8, 8, 3))
    >>> [layer.w.shape for layer in stack(params)]
    [(4, 8), (3, 8, 8), (8, 3)]
    """
    check_layers(params)
    *hidden, output = params
    layers: list[Layer] = []
    for kind, group in itertools.groupby(enumerate(hidden), key=_kind):
        equal = tuple(layer for _, layer in group)
        if isinstance(kind, int) or len(equal) == 1:
            layers.extend(equal)
        else:
            layers.append(jax.tree.map(lambda *leaves: jnp.stack(leaves), *equal))
    return (*layers, output)


def _kind(numbered: tuple[int, Layer]) -> object:
    """Return a key that is equal for layers that can be stacked, and unique for other layers."""
    number, (w, b) = numbered
    if w.ndim != 2 or w.shape[0] != w.shape[1]:
        return number
    return w.shape, w.dtype, None if b is None else b.dtype


def unstack(params: Params) -> Params:
    """Split stacked layers into single layers: the inverse of `stack`.

    This also applies to anything with the structure of stacked parameters, such as their gradient.

    Args:
        params: layers, single or stacked.

    Returns:
        A tuple of layers, each with `w (n_in, n_out)`.

    Raises:
        TypeError, ValueError: as `stack`.

    >>> from fcjax import init
    >>> params = init(jax.random.key(0), (4, 8, 8, 8, 8, 3))
    >>> [layer.w.shape for layer in unstack(stack(params))]
    [(4, 8), (8, 8), (8, 8), (8, 8), (8, 3)]
    """
    check_layers(params)
    layers: list[Layer] = []
    for layer in params:
        layers.extend(_layers_of(layer) if is_stacked(layer) else [layer])
    return tuple(layers)


def _layers_of(stacked: Layer) -> list[Layer]:
    biases = itertools.repeat(None) if stacked.b is None else stacked.b
    return [Layer(w, b) for w, b in zip(stacked.w, biases)]  # noqa: B905
