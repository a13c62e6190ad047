"""All checks by name, in the order in which they run."""

from ..sample import Sample
from ..search import search
from ._check import (
    ELEMENTS,
    ENDS,
    FLOAT64,
    LOOPS_END,
    ORACLE,
    SEVERAL_DEVICES,
    SEVERAL_PARTS,
    SYMBOLIC_ZEROS,
    Check,
)
from .differences import finite_differences
from .exact import exact
from .form import determinism, dtype, integers, structure
from .forward import forward
from .linear import dot_product, linearity, zero_cotangent
from .mapped import vmap
from .narrow import precision
from .orders import second_order, third_order
from .partial_use import partial_use
from .points import finite, kinks
from .sharding import sharding
from .transforms import checkpoint, jit, repeated, scan
from .values import primal, vjp


def _is_for_several_devices(sample: Sample) -> bool:
    """Whether a rule must be right on several devices: if it uses a mesh, or on request."""
    return sample.explicit_checks or sample.subject.uses_mesh


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check(structure, "form"),
        Check(dtype, "form"),
        Check(primal, "form"),
        Check(vjp, "value", (ORACLE,), follows_vjp=True),
        Check(finite_differences, "value", follows_vjp=True),
        Check(dot_product, "value", (ORACLE,), follows_vjp=True),
        Check(precision, "value", (ORACLE, FLOAT64), follows_vjp=True),
        Check(exact, "value", (ORACLE,), follows_vjp=True),
        Check(partial_use, "value", (SEVERAL_PARTS, SYMBOLIC_ZEROS, ORACLE), follows_vjp=True),
        Check(zero_cotangent, "form", follows_vjp=True),
        Check(linearity, "form", follows_vjp=True),
        Check(forward, "transform", (ORACLE,), follows_vjp=True),
        Check(second_order, "transform", (ELEMENTS, ORACLE), follows_vjp=True),
        Check(third_order, "transform", (ELEMENTS, ORACLE), follows_vjp=True),
        Check(finite, "form", (ENDS,)),
        Check(kinks, "form", follows_vjp=True),
        Check(search, "form", (LOOPS_END,), follows_vjp=True),
        Check(integers, "form"),
        Check(vmap, "transform"),
        Check(jit, "transform"),
        Check(checkpoint, "transform"),
        Check(repeated, "transform"),
        Check(scan, "transform"),
        Check(determinism, "form"),
        Check(sharding, "transform", (SEVERAL_DEVICES,), counts=_is_for_several_devices),
    )
}
