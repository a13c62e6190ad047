"""The options of `fcjax verify`, and what its help says about them."""

import dataclasses
from typing import Annotated, Any

from tyro.conf import Positional, arg

# The names in `fcjax.verify.CHECKS`, written out: loading these would load JAX.
CHECKS = (
    "structure", "dtype", "primal", "vjp", "finite_differences", "dot_product", "precision",
    "exact", "partial_use", "zero_cotangent", "linearity", "second_order", "finite", "kinks",
    "integers", "vmap", "jit", "scan", "determinism", "sharding",
)  # fmt: skip
CHECKS_TO_RUN = f"which checks to run; by default all of {', '.join(CHECKS)}."


def _as(metavar: str, text: str | None = None) -> Any:
    """Return how the help shows an option: without its default, which is to leave it out."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of yours, and the point that its gradient is checked at.

    Attributes:
        target: package.module:function, installed or in this folder. Without it, every rule of
            fcjax is checked.
        shapes: one description for each argument of the function; arrays are drawn at random.
            - 5x3 is an array of normal numbers
            - 5x3@0.1:2 lies between 0.1 and 2, and 5@-2:-1 between -2 and -1
            - 5:4 is five integers from 0 to 3, and 5:-2:4 from -2 to 3
            - scalar, scalar@0:1 and scalar:4 are one such number, an array without axes
            - 0.5 is a Python number
            - =3, =True, =None, =(1,2) or =name is that Python value; what is no literal is a string

            The gradient is checked by each floating-point array. Python values are held.
        args: the arguments themselves, in place of shapes.
            - FILE.json is a JSON list of them. Nested lists of numbers of equal length are arrays,
            of int32 where every number is an integer. Other lists stay lists, objects are dicts;
            strings, true, null and numbers outside of lists are Python values.
            - package.module:function is called without arguments. It returns the tuple of the
            arguments, or (args, kwargs): a tuple and a dict. Its arrays keep their dtypes, unless
            dtypes are named.
        reference: package.module:function with the same arguments and a gradient that is known to
            be right; by default the target without its hand-written rules.
        expected_failures: what is wrong on purpose: vjp=x is the gradient by x, and linearity,
            alone, that check of every argument. What is expected of vjp is expected of every check
            of the same values.
    """

    target: Annotated[Positional[str | None], _as("TARGET")] = None
    shapes: Annotated[tuple[str, ...], _as("SHAPE ...")] = ()
    args: Annotated[str | None, _as("FILE.json|MODULE:FUNCTION")] = None
    reference: Annotated[str | None, _as("MODULE:FUNCTION")] = None
    expected_failures: Annotated[tuple[str, ...], _as("CHECK[=ARGUMENT] ...")] = ()


@dataclasses.dataclass(frozen=True)
class Library:
    """Which of fcjax's own rules are checked.

    Attributes:
        only: those whose name contains this.
        exhaustive: each activation at every number of the dtypes instead: 65536 of bfloat16 and of
            float16, and 2³² of float32, which takes some minutes an activation. What is known is
            kept beside the file of the reports, and a second call goes on with it.
    """

    only: Annotated[str, _as("NAME")] = ""
    exhaustive: Annotated[bool, arg(help_behavior_hint="")] = False


@dataclasses.dataclass(frozen=True)
class Checking:
    """How it is checked.

    Attributes:
        dtypes: bfloat16, float16, float32 or float64, or several of them: the rule is checked once
            with its arrays in each. By default float32, at which it is also compared in float64
            and in 16 bits.
        checks: names of the checks to run; all by default.
        rtol: what the function is good to by itself, relative to its size, such as 1e-6 for an
            iteration that stops there; every comparison is widened by it.
        atol: the same, absolutely.
        time_limit: seconds for each rule, after which no further check of it begins.
        seed: that arrays and cotangents are drawn from.
    """

    dtypes: Annotated[tuple[str, ...], _as("DTYPE ...")] = ()
    checks: Annotated[tuple[str, ...], _as("CHECK ...", CHECKS_TO_RUN)] = ()
    rtol: Annotated[float | None, _as("NUMBER")] = None
    atol: Annotated[float | None, _as("NUMBER")] = None
    time_limit: Annotated[float | None, _as("SECONDS")] = None
    seed: Annotated[int, arg(metavar="INTEGER")] = 0
