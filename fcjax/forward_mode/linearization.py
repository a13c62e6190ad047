"""A function at a point: its value, and its derivative in forward and reverse mode."""

from typing import NamedTuple

import jax
from jax import Array
from jax.typing import ArrayLike

from .._arguments import as_array, check_bool, check_function, check_tree, describe
from .._types import Function, Tree
from .directions import Directions, is_inexact
from .transpose import is_about_reverse_mode, no_reverse_mode, transposed


class Linearization(NamedTuple):
    """A function at a point.

    Attributes:
        value: the output of the function.
        aux: the auxiliary output, or None.
        inputs: the form of the tangents of the primals.
        outputs: the form of the tangents of the output.
        pullback: maps the cotangents of the floating-point outputs to those of the inputs.
    """

    value: Tree
    aux: Tree
    inputs: Directions
    outputs: Directions
    pullback: Function

    @property
    def push(self) -> Function:
        """The function `ẋ ↦ J ẋ`, as a pytree of the residuals of the backward rules."""
        inputs, outputs = self.inputs, self.outputs

        def f_jvp(pullback: Function, *tangents: Tree) -> Tree:
            directions = inputs.split(tangents)
            return outputs.join(transposed(pullback, outputs.types, directions))

        return jax.tree_util.Partial(f_jvp, self.pullback)

    def pull(self, dy: Tree) -> tuple[Tree, ...]:
        """Return `Jᵀ dy`."""
        return self.inputs.join(self.pullback(self.outputs.split(dy)))


def linearized(fun: Function, primals: tuple[Tree, ...], has_aux: bool = False) -> Linearization:
    """Evaluate `fun` once, and keep the residuals of its backward rules."""
    check_function("fun", fun)
    check_bool("has_aux", has_aux)
    of_floating, xs = _of_floating(fun, primals, has_aux)
    try:
        _, pullback, (value, aux) = jax.vjp(of_floating, *xs, has_aux=True)
    except ValueError as error:
        if is_about_reverse_mode(error):
            raise no_reverse_mode(error) from error
        raise
    return Linearization(value, aux, Directions.at(primals), Directions.at(value), pullback)


def _of_floating(
    fun: Function, primals: tuple[Tree, ...], has_aux: bool
) -> tuple[Function, list[Array]]:
    """Return `fun` as a function of its floating-point leaves, and these leaves."""
    leaves, tree = jax.tree.flatten(primals)
    chosen = [i for i, leaf in enumerate(leaves) if is_inexact(leaf)]

    def of_floating(*xs: Array) -> tuple[tuple[ArrayLike, ...], tuple[Tree, Tree]]:
        filled = list(leaves)
        for i, x in zip(chosen, xs, strict=True):
            filled[i] = x
        result = fun(*tree.unflatten(filled))
        value, aux = _pair(result) if has_aux else (result, None)
        check_tree("the output of fun", value)
        return tuple(y for y in jax.tree.leaves(value) if is_inexact(y)), (value, aux)

    return of_floating, [as_array("primals", leaves[i]) for i in chosen]


def _pair(result: Tree) -> tuple[Tree, Tree]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"fun must return a pair (output, aux) with has_aux=True, got {describe(result)}"
        )
    return result
