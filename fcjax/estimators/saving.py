"""What a folder holds of an estimator: parameters and facts as JSON, numbers as arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from .._arguments import describe
from ..model.folder import Contents, DamageError

# What an estimator has learned, by how it is kept: facts as JSON, and lists of numbers as arrays.
_FACTS = (
    *("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_", "loss_"),
    *("best_loss_", "best_validation_score_", "_no_improvement_count", "_rate", "_steps"),
)
_CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")


def to_contents(estimator: Any) -> Contents:
    """Return what a folder holds of an estimator.

    Raises:
        TypeError: a parameter is an object that JSON cannot hold.
    """
    fitted = vars(estimator)
    facts = {name: _plain(name, fitted[name]) for name in _FACTS if name in fitted}
    config = {
        "kind": type(estimator).__name__,
        "parameters": parameters_to_json(estimator),
        "fitted": facts | _labels(estimator),
        "lists": [name for name in _CURVES if fitted.get(name) is not None],
        "none": [name for name in _CURVES if name in fitted and fitted[name] is None],
    }
    return Contents(config, dict(_arrays(estimator)))


def parameters_to_json(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator as JSON can hold them."""
    given = estimator.get_params(deep=False)
    return {name: _plain(name, value) for name, value in given.items()}


def parameters_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a folder holds."""
    return {name: _again(value) for name, value in config["parameters"].items()}


def facts_of(estimator: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return facts of these names, the classes and the names of the features."""
    found = {name: _plain(name, getattr(estimator, name)) for name in names}
    labels = ("classes_", "feature_names_in_")
    return found | {
        name: _label_array(name, vars(estimator)[name])
        for name in labels
        if name in vars(estimator)
    }


def restore_facts(estimator: Any, stored: Mapping[str, Any]) -> None:
    """Set what `facts_of` returned."""
    for name, value in stored.items():
        is_labels = name in ("classes_", "feature_names_in_")
        setattr(estimator, name, _array_of(value) if is_labels else _again(value))


def _arrays(estimator: Any) -> Any:
    for kind in ("coefs", "intercepts"):
        for i, V in enumerate(getattr(estimator, f"{kind}_", ())):
            yield f"{kind}.{i}", V
    for name in _CURVES:
        if getattr(estimator, name, None) is not None:
            yield name, np.asarray(getattr(estimator, name), np.float64)
    for i, V in enumerate(getattr(estimator, "_solver_state", None) or ()):
        yield f"solver.{i}", V


def _labels(estimator: Any) -> dict[str, Any]:
    """Return the classes, what kind of labels they are, and the names of the features."""
    found = facts_of(estimator, ())
    if "classes_" in found:
        binarizer = estimator._label_binarizer
        found["labels"] = [binarizer.y_type_, bool(binarizer.sparse_input_)]
    return found


def _label_array(name: str, labels: np.ndarray) -> dict[str, Any]:
    values = labels.tolist()
    if not all(isinstance(value, str | int | float | bool) for value in values):
        raise TypeError(
            f"{name} must be strings, numbers or booleans to be saved, got {describe(values[0])}"
        )
    dtype = "object" if labels.dtype == object else labels.dtype.str
    return {"dtype": dtype, "values": values}


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON can hold it, or raise TypeError that names it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray):
        return {"tuple": _plain(name, value.tolist())}
    if type(value) is list or type(value) is tuple:
        entries = [_plain(name, entry) for entry in cast("Any", value)]
        return entries if type(value) is list else {"tuple": entries}
    if type(value) is dict:
        pairs = cast("Mapping[Any, Any]", value).items()
        return {"dict": [[_plain(name, key), _plain(name, entry)] for key, entry in pairs]}
    raise TypeError(
        f"{name} must be None, a number, a string, or a list, tuple or dict of these to be saved, "
        f"because a folder holds no code; got {describe(value)}"
    )


def _again(stored: Any) -> Any:
    """Return a value that `_plain` has written."""
    if isinstance(stored, list):
        return [_again(entry) for entry in cast("list[Any]", stored)]
    if not isinstance(stored, dict):
        return stored
    [(kind, content)] = cast("dict[str, Any]", stored).items()
    match kind:
        case "float":
            return float(content)
        case "tuple":
            return tuple(_again(content))
        case _:
            return {_again(key): _again(entry) for key, entry in content}


def from_contents(kind: type[Any], contents: Contents) -> Any:
    """Return the estimator that a folder holds; raise `DamageError` unless it fits together."""
    config, arrays = contents.config, contents.arrays
    estimator = kind(**parameters_of(config))
    fitted = dict(config["fitted"])
    labels = fitted.pop("labels", None)
    restore_facts(estimator, fitted)
    for name in config["lists"]:
        setattr(estimator, name, _array(arrays, name).tolist())
    for name in config["none"]:
        setattr(estimator, name, None)
    if labels is not None:
        estimator._label_binarizer = _binarizer(estimator.classes_, *labels)
    if "n_layers_" in fitted:
        _restore_weights(estimator, arrays)
    return estimator


def _restore_weights(estimator: Any, arrays: Mapping[str, Any]) -> None:
    layers = range(estimator.n_layers_ - 1)
    estimator.coefs_ = [_array(arrays, f"coefs.{i}") for i in layers]
    estimator.intercepts_ = [_array(arrays, f"intercepts.{i}") for i in layers]
    states = sum(name.startswith("solver.") for name in arrays)
    stored = [_array(arrays, f"solver.{i}") for i in range(states)]
    estimator._solver_state = stored or None


def _array(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in arrays:
        raise DamageError(f"it has no array {name!r}, got {describe(list(arrays))}")
    return np.array(arrays[name])


def _array_of(stored: Mapping[str, Any]) -> np.ndarray:
    return np.array(stored["values"], dtype=stored["dtype"])


def _binarizer(classes: np.ndarray, kind: str, sparse: bool) -> LabelBinarizer:
    binarizer = LabelBinarizer()
    binarizer.classes_, binarizer.y_type_, binarizer.sparse_input_ = classes, kind, sparse
    return binarizer
