"""Every check by its name, in the order in which they run."""

from collections.abc import Callable, Iterator

from ..report import CheckResult
from ..trial import Trial
from .exact import exact
from .form import determinism, dtype, integers, structure
from .linear import dot_product, linearity, zero_cotangent
from .mapped import vmap
from .points import finite, kinks
from .sharding import sharding
from .transforms import jit, scan, second_order
from .values import finite_differences, precision, primal, vjp

CHECKS: dict[str, Callable[[Trial], Iterator[CheckResult]]] = {
    check.__name__: check
    for check in (
        structure,
        dtype,
        primal,
        vjp,
        finite_differences,
        dot_product,
        precision,
        exact,
        zero_cotangent,
        linearity,
        second_order,
        finite,
        kinks,
        integers,
        vmap,
        jit,
        scan,
        determinism,
        sharding,
    )
}
