"""The definition of a check: its function, its requirements, and the kind of its evidence."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import jax
import numpy as np

from ..precision import Precision
from ..report import CheckResult
from ..sample import Sample

# Evidence of the values of a gradient, from an oracle; of its form; or of its transformations.
Evidence = Literal["value", "form", "transform"]


class Need(NamedTuple):
    """A condition on a sample, and the message if it does not hold."""

    is_met: Callable[[Sample], bool]
    otherwise: str


@dataclasses.dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        run: yields the results for a sample. Its name is the name of the check.
        evidence: what the results are evidence of. A verdict needs "value" for every argument.
        needs: conditions without which the check is skipped.
        follows_vjp: whether a failure expected of `vjp` is also expected of this check.
        counts: whether a failure makes the rule wrong; otherwise its status is "noted".
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
        """Return why the check does not apply to a sample, or None."""
        return next((need.otherwise for need in self.needs if not need.is_met(sample)), None)


ORACLE = Need(
    lambda sample: sample.subject.has_oracle,
    "no hand-written rule was found, so there is nothing to compare with",
)
FLOAT64 = Need(
    lambda sample: sample.wide is Precision.FLOAT64,
    "the function does not support float64, in which the oracle is computed",
)
SEVERAL_DEVICES = Need(
    lambda sample: len(jax.devices()) > 1,
    "there is only one device; jax.config.update('jax_num_cpu_devices', 2) simulates more",
)
ENDS = Need(
    lambda sample: sample.explicit_checks or not sample.subject.may_not_end,
    "a while_loop may not terminate far from 0; checks=['finite'] checks it anyway",
)
LOOPS_END = Need(
    lambda sample: not sample.subject.may_not_end,
    "a while_loop may not terminate at other points, and nothing could stop it",
)
ELEMENTS = Need(
    lambda sample: all(map(np.size, sample.point.xs)),
    "an argument has no elements, and XLA may abort the process at its second derivative",
)
SYMBOLIC_ZEROS = Need(
    lambda sample: sample.subject.sees_zeros,
    "no rule in the function uses symbolic zeros",
)
SEVERAL_PARTS = Need(
    lambda sample: sample.count + len(sample.subject.ys(Precision.OWN)) > 2,
    "the function has one argument and one output",
)
