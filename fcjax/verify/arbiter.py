"""Decide between a rule and autodiff of the reference by the slopes of the function.

Autodiff of a correct function can be wrong. `where(x == 0, 0, x * log(y))` has the derivative
log(y) at x = 0, but autodiff returns 0. A bisection has a derivative, but autodiff returns 0
everywhere. And a rule may be finite where autodiff is not: the gradient of a norm at zero.
"""

import numpy as np

from .compare import difference, undefined
from .precision import as_float64
from .program import Refused
from .sample import Sample
from .slopes import OneSidedSlopes, one_sided_slopes, unit, weights_of

# At most this many entries are decided, spread over all: each takes five calls of the function.
MAX_ENTRIES = 32
# Accuracy of the slopes, relative to the size of the gradient.
SLOPE_RTOL = 1e-3


def slopes_at(sample: Sample, k: int, index: tuple[int, ...]) -> OneSidedSlopes:
    """Return the one-sided slopes of the function along one entry of the k-th leaf."""
    shape = sample.point.xs[k].shape
    place = int(np.ravel_multi_index(index, shape)) if shape else 0
    return one_sided_slopes(sample, k, unit(shape, place), weights_of(sample, sample.wide))


def slope_tolerance(sample: Sample, k: int, gradient: np.ndarray) -> float:
    """Return how far the slopes may lie from a correct gradient."""
    finite = np.abs(gradient[np.isfinite(gradient)])
    size = float(np.max(finite, initial=0.0))
    return SLOPE_RTOL * max(size, 1e-3) + sample.subject.accuracy.of(size)


def autodiff_is_refuted(sample: Sample, k: int) -> bool:
    """Whether the slopes of the function support the k-th gradient of the rule over autodiff.

    At every entry where the two gradients differ, the rule must lie between the one-sided slopes.
    At one of them at least, autodiff must not, or the slopes differ (a kink, where any value
    between them is a valid choice); at the others, slopes cannot tell the two apart. It must also
    hold along all these entries at once: where two entries
    tie for a maximum, each alone looks like a kink, but only one of them has the gradient.
    """
    if sample.subject.has_reference:  # its gradient is right by declaration
        return False
    if k not in sample.refuted:
        sample.refuted[k] = _refuted(sample, k)
    return sample.refuted[k]


def _refuted(sample: Sample, k: int) -> bool:
    precision = sample.wide
    try:
        got = as_float64(sample.rule(precision).dxs[k])
        want = as_float64(sample.autodiff(precision).dxs[k])
    except Refused:
        return False
    if got.shape != want.shape:
        return False
    differ = (difference(got, want) > sample.allowed(k, want, precision)) & ~undefined(got, want)
    places = np.argwhere(differ)
    if not len(places):
        return False
    tolerance = slope_tolerance(sample, k, got)
    every = -(-len(places) // MAX_ENTRIES)
    indices = [tuple(map(int, place)) for place in places[::every]]
    decided = [_supports_rule(sample, k, index, got, want, tolerance) for index in indices]
    # where numbers are taken apart into bits, autodiff is wrong, whether slopes can tell or not
    if None in decided or not (any(decided) or sample.subject.takes_bits):
        return False
    u = differ.astype(float)
    along = one_sided_slopes(sample, k, u, weights_of(sample, precision))
    return along.bracket(float(np.sum(got * u)), tolerance * len(places))


def _supports_rule(
    sample: Sample,
    k: int,
    index: tuple[int, ...],
    got: np.ndarray,
    want: np.ndarray,
    tolerance: float,
) -> bool | None:
    """Return whether slopes support the rule over autodiff, None if they do not support the rule.

    False: the two are so close that slopes cannot tell.
    """
    slopes = slopes_at(sample, k, index)
    if not slopes.bracket(float(got[index]), tolerance):
        return None
    if slopes.differ(tolerance) or not slopes.bracket(float(want[index]), tolerance):
        return True
    return False if abs(got[index] - want[index]) <= tolerance + slopes.error else None
