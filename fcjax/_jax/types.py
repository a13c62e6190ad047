"""The types of traced programs: there are no public names for all of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jax._src import core as _internals
from jax.core import AbstractValue, ShapedArray as ShapedArray, Tracer as Tracer

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
else:  # the same classes; to import that module would load Pallas, and double the import time
    Jaxpr, JaxprEqn = _internals.Jaxpr, _internals.JaxprEqn
    Literal, Var = _internals.Literal, _internals.Var
    ClosedJaxpr = getattr(_internals, "ClosedJaxpr", Jaxpr)  # one class since JAX 0.12

# A traced program, with or without its constants.
Program = ClosedJaxpr | Jaxpr
# An input of an equation.
Atom = Var | Literal
Flags = Sequence[bool] | None
# Whether to inline an equation, from which of its inputs depend on a chosen input.
IsChosen = Callable[[JaxprEqn, Flags], bool]
# The variables that replace others.
Names = dict[Var, Atom]
NewVariable = Callable[[AbstractValue], Var]
