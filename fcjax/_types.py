"""Types that the signatures of many modules name."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jax import Array

# Arrays in tuples, lists, dicts and registered classes, as `jax.tree` takes them: a pytree. No type
# of Python describes it. jaxtyping's `PyTree` would load another package, only to accept anything.
Tree: TypeAlias = Any

# A function of trees, such as that of a user.
Function = Callable[..., Tree]

# An array of JAX or NumPy; the entries of a NumPy array are of the last two types.
AnyArray = Array | np.ndarray | np.number | np.bool_
