"""Hand-written rules of JAX MD.

Those of its Pallas kernels for Triton run on a GPU only, and are not listed.
"""

import jax.numpy as jnp

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jax-md"
CASES: list[Case] = []
case = collector(CASES)


@case
def transform():
    from jax_md import space

    # The rule gives the derivative by the positions in real space, on purpose: see its docstring.
    return space.transform, (uniform(0, 1, 2, 3, 3), uniform(1, 0, 1, 5, 3))


@case
def transform_gradients():
    from jax_md._energy import electrostatics

    # The identity, whose rule multiplies by the box, on purpose.
    return electrostatics.transform_gradients, (uniform(0, 1, 2, 3), uniform(1, 0, 1, 5, 3))


@case
def transform_gradients__nonbonded():
    from jax_md.mm_forcefields.nonbonded import electrostatics

    # The identity, whose rule multiplies by the box, on purpose.
    return electrostatics.transform_gradients, (uniform(0, 1, 2, 3), uniform(1, 0, 1, 5, 3))


@case
def _quaternion_rotate():
    from jax_md import rigid_body

    # The rule is for quaternions of norm 1.
    def fun(q, v):
        return rigid_body.quaternion_rotate(rigid_body.Quaternion(q / jnp.linalg.norm(q)), v)

    return fun, (normal(0, 4), normal(1, 3))


@case
def safe_sqrt():
    from jax_md.mm_forcefields.reaxff.reaxff_helper import safe_sqrt

    return safe_sqrt, (uniform(0, 0.5, 2, 5),)


@case
def safe_acos():
    from jax_md._nn.uma.common import rotation

    return lambda x: rotation.init_edge_rot_euler_angles(x)[1:], (normal(0, 5, 3),)


@case
def safe_atan2():
    from jax_md._nn.uma.common.rotation import safe_atan2

    return safe_atan2, (normal(0, 5), normal(1, 5))


@case
def _segment_mm_2d():
    from jax_md._nn.uma import kernels

    sizes = jnp.array([3, 2])
    return lambda x, w: kernels.segment_mm(x, w, sizes), (normal(0, 5, 3), normal(1, 2, 7, 3))
