"""Loss and metrics of given parameters, averaged over batches."""

from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._arguments import count_examples
from .._types import Tree
from .arguments import Metrics, check_one_number
from .reuse import Reused


def evaluate(
    loss: Callable[[Tree, Tree, Array | None], tuple[Array, Tree]] | None,
    metrics: Metrics,
    check: Callable[[], None],
) -> Callable[[Tree, Iterable[Tree]], dict[str, float]]:
    """Return `f(params, batches)`: loss, if any, and metrics, averaged over all examples.

    It calls `check` after each batch.
    """

    @jax.jit
    def figures(params: Tree, batch: Tree) -> dict[str, ArrayLike]:
        value = {} if loss is None else {"loss": loss(params, batch, None)[0]}
        return value | {
            n: check_one_number(n, metric(params, batch)) for n, metric in metrics.items()
        }

    reused = Reused(figures)

    def evaluate_batches(params: Tree, batches: Iterable[Tree]) -> dict[str, float]:
        rows: list[dict[str, Array]] = []
        sizes: list[int] = []
        for batch in batches:
            rows.append(reused(params, batch))
            sizes.append(count_examples(batch, "batch"))
            check()
        if not rows:
            raise ValueError(
                "validation_data yielded no batch; pass an iterable that can be iterated repeatedly"
            )
        return {name: float(np.average([r[name] for r in rows], weights=sizes)) for name in rows[0]}

    return evaluate_batches
