"""The names of scikit-learn that are not public, in one place, and the types that it lacks."""

from collections.abc import Callable, Mapping
from numbers import Integral as Integral, Real as Real
from typing import Any, TypeVar, cast

import numpy as np

from .._arguments import brief

try:
    from sklearn.base import _fit_context  # pyright: ignore[reportPrivateUsage]
    from sklearn.utils import check_array
    from sklearn.utils._param_validation import (
        Interval as Interval,
        Options as Options,
        StrOptions as StrOptions,
    )
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import (
        _check_partial_fit_first_call,  # pyright: ignore[reportPrivateUsage]
    )
    from sklearn.utils.optimize import _check_optimize_result  # pyright: ignore[reportPrivateUsage]
    from sklearn.utils.validation import _check_sample_weight  # pyright: ignore[reportPrivateUsage]
except ImportError as error:
    raise ImportError(
        "estimators need scikit-learn 1.7 or newer: pip install 'fcjax[sklearn]'"
    ) from error

_Method = TypeVar("_Method", bound=Callable[..., Any])


def validated(method: _Method) -> _Method:
    """Return a method that checks the parameters of its estimator before it begins."""
    return cast("_Method", _fit_context(prefer_skip_nested_validation=True)(method))


def only_if(condition: Callable[[Any], bool]) -> Callable[[_Method], _Method]:
    """Return a decorator that hides a method where a condition raises AttributeError."""
    return cast("Callable[[_Method], _Method]", available_if(condition))


def sample_weights(weights: Any, X: Any) -> Any:
    """Return weights as an array of the dtype of X, or raise unless there is one for each row."""
    given = np.asarray(weights)
    if given.size and not np.any(given != 0):
        raise ValueError("sample_weight must have a number that is not zero, got zeros alone")
    return _check_sample_weight(weights, X)


def class_weights(weights: Any, y: Any) -> np.ndarray:
    """Return the weight of each row's class, or raise unless those given are finite and not < 0."""
    for of_class in weights if isinstance(weights, list) else [weights]:
        if isinstance(of_class, Mapping):
            for weight in cast("Mapping[Any, Any]", of_class).values():
                if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
                    raise ValueError(
                        f"class_weight must hold finite numbers of at least 0, got {brief(weight)}"
                    )
    return compute_sample_weight(weights, y)


def checked_array(values: Any, **options: Any) -> Any:
    """Return values as an array of NumPy, or raise; `options` are those of `check_array`."""
    with np.errstate(invalid="ignore"):  # of its sum, which may be infinite
        return check_array(values, **options)


def check_lbfgs(result: Any, max_iter: int) -> int:
    """Return the number of iterations of SciPy's L-BFGS, and warn if it has not converged."""
    return int(_check_optimize_result("lbfgs", result, max_iter))


def check_first_call(classifier: Any, classes: Any) -> bool:
    """Whether this is the first call of partial_fit, which then stores the classes."""
    return bool(_check_partial_fit_first_call(classifier, classes))
