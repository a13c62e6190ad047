"""Hand-written rules of MuJoCo XLA.

That of the cylinder is for the point only: it leaves out what the size contributes.
"""

import jax.numpy as jnp

from . import Case, collector

PACKAGE = "mujoco-mjx"
CASES: list[Case] = []
case = collector(CASES)


@case
def _cylinder():
    from mujoco.mjx._src import collision_sdf

    # A point beside the cylinder.
    size = jnp.array([0.5, 0.8])
    return lambda pos: collision_sdf._cylinder(pos, size), (jnp.array([0.7, -0.9, 0.3]),)


@case
def _cylinder__corner():
    from mujoco.mjx._src import collision_sdf

    # A point beside and above the cylinder.
    size = jnp.array([0.5, 0.8])
    return lambda pos: collision_sdf._cylinder(pos, size), (jnp.array([0.7, -0.9, 1.3]),)


@case
def _cylinder__inside():
    from mujoco.mjx._src import collision_sdf

    size = jnp.array([0.5, 0.8])
    return lambda pos: collision_sdf._cylinder(pos, size), (jnp.array([0.1, 0.2, -0.7]),)


@case
def _cylinder__size():
    from mujoco.mjx._src import collision_sdf

    args = jnp.array([0.7, -0.9, 1.3]), jnp.array([0.5, 0.8])
    return collision_sdf._cylinder, args
