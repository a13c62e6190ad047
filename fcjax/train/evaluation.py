"""Loss and metrics of given parameters, averaged over batches."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._arguments import count_examples
from .._types import Tree
from .arguments import Metrics, check_one_number
from .reuse import Reused

Loss = Callable[[Tree, Tree, Array | None], tuple[Array, Tree]]


class Evaluation:
    """A function from the parameters to the figures at the end of an epoch.

    `figures` is that of one batch, a function of parameters and batch. The names of the results
    begin with `prefix`.
    """

    def __init__(
        self, loss: Loss | None, metrics: Metrics, batches: Iterable[Tree], prefix: str,
        check: Callable[[], None],
    ):  # fmt: skip
        """Evaluate loss, if any, and metrics, and call `check` after each batch."""

        def figures(params: Tree, batch: Tree) -> dict[str, ArrayLike]:
            value = {} if loss is None else {"loss": loss(params, batch, None)[0]}
            return value | {
                n: check_one_number(n, metric(params, batch)) for n, metric in metrics.items()
            }

        self.figures, self.prefix = jax.jit(figures), prefix
        self._reused, self._check = Reused(self.figures), check
        self._batches = batches if loss is not None or metrics else None

    @property
    def only_batch(self) -> Tree:
        """The batch of arrays, if there is one and no other, else None."""
        batches = self._batches
        return batches[0] if isinstance(batches, list) and len(batches) == 1 else None

    def __call__(self, params: Tree) -> dict[str, float]:
        """Return the figures, averaged over all examples."""
        if self._batches is None:
            return {}
        rows: list[dict[str, Any]] = []
        sizes: list[int] = []
        for batch in self._batches:
            rows.append(self._reused(params, batch))
            sizes.append(count_examples(batch, "batch"))
            self._check()
        if not rows:
            raise ValueError(
                "validation_data yielded no batch; pass an iterable that can be iterated repeatedly"
            )
        return {
            f"{self.prefix}{name}": float(np.average([r[name] for r in rows], weights=sizes))
            for name in rows[0]
        }
