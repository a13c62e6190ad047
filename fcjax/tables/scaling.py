"""Scale the columns in front of a network, each by what the training rows hold."""

from dataclasses import dataclass

import numpy as np

# What a quantile transform gives at most, as in scikit-learn: the normal quantile of 1 - 1e-7.
_LARGEST = 5.199337582605575
# The largest step between the normal scores of two knots.
_STEP = 0.05


@dataclass(frozen=True)
class Robust:
    """Centre by the median, divide by the interquartile range, and bend large numbers to ±3.

    `z = f (x − median)` with `f` the inverse of the distance of the quartiles. Where the quartiles
    are equal, f is 2 over the range; a constant column becomes 0. Then `z/√(1 + (z/3)²)`.

    Source: Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024, section 3.

    >>> Robust.fitted(np.array([[0.0], [1], [2], [3], [4]])).scaled(np.array([[4.0], [1e300]]))
    array([[0.9486833],
           [3.       ]])
    """

    median: np.ndarray
    factor: np.ndarray

    @classmethod
    def fitted(cls, X: np.ndarray) -> "Robust":
        """Fit to the rows of a matrix. Infinite numbers count as very large ones."""
        X = _finite(X)
        low, median, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
        distance = high - low
        distance = np.where(distance == 0, (X.max(axis=0) - X.min(axis=0)) / 2, distance)
        with np.errstate(divide="ignore"):
            factor = np.where(distance == 0, 0.0, 1 / distance)
        return cls(median, factor)

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return the scaled columns."""
        with np.errstate(over="ignore"):
            z = np.clip(self.factor * (_finite(X) - self.median), -1e12, 1e12)
        return z / np.sqrt(1 + (z / 3) ** 2)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a file holds."""
        return {"median": self.median, "factor": self.factor}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Robust":
        """Return what a file holds."""
        return cls(arrays["median"], arrays["factor"])


@dataclass(frozen=True)
class Quantile:
    """Map the quantiles of each number to those of a normal distribution, linearly between knots.

    Infinite numbers count as very large ones.

    `knots` and `scores` have a row for each column that is mapped, the first ones of the matrix;
    the others, 0 and 1 from categories, stay as they are. Numbers outside the knots get the scores
    at the ends.

    Source: Gorishniy et al., TabM, ICLR 2025, section D.2 (with noise that separates equal numbers,
    n/30 quantiles, between 10 and 1000).
    """

    knots: np.ndarray
    scores: np.ndarray

    @classmethod
    def fitted(cls, X: np.ndarray, numbers: int, seed: int = 0) -> "Quantile":
        """Fit to the first columns of a matrix."""
        X = _finite(X[:, :numbers])
        count = max(min(len(X) // 30, 1000), 10)
        noise = np.random.default_rng(seed).standard_normal(X.shape)
        levels = np.linspace(0, 1, count)
        knots = np.quantile(X + 1e-5 * _spread(X) * noise, levels, axis=0).T
        at, scores = _knots(levels)
        more = np.stack([np.interp(at, levels, row) for row in knots]) if numbers else knots
        return cls(np.maximum.accumulate(more, axis=1), np.tile(scores, (numbers, 1)))

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return the scaled columns."""
        X = X.astype(np.float64)
        for i, (knots, scores) in enumerate(zip(self.knots, self.scores, strict=True)):
            X[:, i] = np.interp(_finite(X[:, i]), knots, scores)
        return X

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a file holds."""
        return {"knots": self.knots, "scores": self.scores}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Quantile":
        """Return what a file holds."""
        return cls(arrays["knots"], arrays["scores"])


Scaling = Robust | Quantile


def _knots(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of the knots and their normal scores, which are no more than a step apart.

    Between two quantiles the normal score is not linear, so the tails have more knots than
    quantiles.
    """
    from scipy.special import ndtr, ndtri

    fine = ndtr(np.arange(-_LARGEST, _LARGEST + _STEP, _STEP))
    at = np.unique(np.concatenate([levels, fine[(fine > 0) & (fine < 1)]]))
    return at, np.clip(ndtri(at), -_LARGEST, _LARGEST)


def mean_and_deviation(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the deviation of each column, whose squares may be infinite.

    They are those of numbers below 1, by a power of two, so that nothing is rounded twice.
    """
    _, exponents = np.frexp(np.abs(numbers).max(axis=0))
    small = np.ldexp(numbers, -exponents)
    return np.ldexp(small.mean(axis=0), exponents), np.ldexp(small.std(axis=0), exponents)


def _spread(X: np.ndarray) -> np.ndarray:
    """Return the standard deviations, or less where a few large numbers would make the noise so."""
    low, high = np.quantile(X, [0.25, 0.75], axis=0)
    _, deviation = mean_and_deviation(X)
    return np.where(high > low, np.minimum(deviation, 1000 * (high - low)), deviation)


def _finite(X: np.ndarray) -> np.ndarray:
    """Return X with large numbers in place of infinite ones."""
    return np.clip(X, -1e300, 1e300)
