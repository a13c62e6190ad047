"""What a check is: how it runs, what it needs, and what its results are evidence of."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import jax
import numpy as np

from ..precision import Precision
from ..report import CheckResult
from ..sample import Sample

# Of the gradient's values, by an oracle; of its form; or of what JAX's transformations make of it.
Evidence = Literal["value", "form", "transform"]


class Need(NamedTuple):
    """A condition on a sample, and what to say where it does not hold."""

    is_met: Callable[[Sample], bool]
    otherwise: str


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        run: yields the results for a sample. Its name is that of the check.
        evidence: what its results are evidence of. A verdict needs "value" for every argument.
        needs: without these it is skipped.
        follows_vjp: whether a gradient that is wrong on purpose may fail it too.
        counts: whether its failures make the rule wrong; otherwise they are noted.
    """

    run: Callable[[Sample], Iterator[CheckResult]]
    evidence: Evidence
    needs: tuple[Need, ...] = ()
    follows_vjp: bool = False
    counts: Callable[[Sample], bool] = lambda sample: True

    @property
    def name(self) -> str:
        """The name that `checks` and `expected_failures` take."""
        return self.run.__name__

    def unmet(self, sample: Sample) -> str | None:
        """Return why the check cannot be done, or None."""
        return next((need.otherwise for need in self.needs if not need.is_met(sample)), None)


ORACLE = Need(
    lambda sample: sample.subject.has_oracle,
    "no hand-written rule was found in it: there is nothing to compare with",
)
FLOAT64 = Need(
    lambda sample: sample.wide is Precision.FLOAT64,
    "the function does not take float64, which would be the oracle",
)
SEVERAL_DEVICES = Need(
    lambda sample: len(jax.devices()) > 1,
    "one device; jax.config.update('jax_num_cpu_devices', 2) simulates more",
)
ENDS = Need(
    lambda sample: sample.chosen or not sample.subject.may_not_end,
    "a while_loop in it may not end far out; checks=['finite'] tries",
)
ELEMENTS = Need(
    lambda sample: all(map(np.size, sample.point.xs)),
    "an argument has no elements: XLA may abort the process over its second derivative",
)
SYMBOLIC_ZEROS = Need(
    lambda sample: sample.subject.sees_zeros,
    "no rule in it is told which arguments and outputs are not used",
)
SEVERAL_PARTS = Need(
    lambda sample: sample.count + len(sample.subject.ys(Precision.OWN)) > 2,
    "it has one argument and one output",
)
