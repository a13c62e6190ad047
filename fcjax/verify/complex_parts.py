"""Complex arguments as pairs of real ones, in JAX's convention.

Every check compares real derivatives, so a complex leaf z = x + iy counts as the two leaves
`z.real` and `z.imag`, and a complex output w = u + iv as two real outputs.

The convention. For a real loss L, JAX's gradient with respect to z is

    dz = ∂L/∂x − i ∂L/∂y,

so that δL = Re(dz δz). A cotangent dw = ∂L/∂u − i ∂L/∂v of an output obeys δL = Re(dw δw).
If δw = a δz + b δz̄, the backward rule follows from Re(dw (a δz + b δz̄)) = Re((a dw + b̄ dw̄) δz):

    dz = a dw + b̄ dw̄.

For a holomorphic function (b = 0) it is dz = f'(z) dw, without a conjugate: for w = c z, dz = c dw.
PyTorch's convention is the conjugate, ∂L/∂x + i ∂L/∂y, in which dz = c̄ dw. A rule that was
written for one is wrong in the other.

Source: Hjørungnes & Gesbert, Complex-valued matrix differentiation, IEEE Transactions on Signal
Processing 55 (2007); the JAX Autodiff Cookbook, "Complex numbers and differentiation".
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._jax import has_dtype
from .._types import Tree


class Parts(NamedTuple):
    """The parts of a complex array."""

    real: Any
    imag: Any


def split(tree: Tree) -> Tree:
    """Return a tree with `Parts` in place of each complex array."""

    def parts(leaf: Any) -> Any:
        if not has_dtype(leaf, np.complexfloating):
            return leaf
        return Parts(jnp.real(jnp.asarray(leaf)), jnp.imag(jnp.asarray(leaf)))

    return jax.tree.map(parts, tree)


def joined(tree: Tree) -> Tree:
    """Return a tree with a complex array in place of each `Parts`."""
    return jax.tree.map(
        lambda leaf: _complex(leaf.real, leaf.imag) if isinstance(leaf, Parts) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, Parts),
    )


def _complex(real: Any, imag: Any) -> Array:
    return lax.complex(jnp.asarray(real), jnp.asarray(imag))


def whole(name: str) -> str:
    """Return the name of the array of which a leaf may be a part."""
    return name.removesuffix(".real").removesuffix(".imag")
