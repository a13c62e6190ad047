"""`save` and `load`: a model into a folder, and back."""

import importlib
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import jax

from .._arguments import describe, named_leaves
from .._files import checked_path
from .._jax import Tracer
from .folder import Contents, DamagedModelError, read, write
from .tensors import PrecisionError

# Where the classes are that a folder can hold; their modules may need an extra. A folder names the
# kind, and no other code than this is ever imported for it.
_KINDS = {
    "mlp": ("fcjax.model.model", "Model"),
    "table": ("fcjax.tables.model", "TableModel"),
    "MLPClassifier": ("fcjax.estimators.mlp", "MLPClassifier"),
    "MLPRegressor": ("fcjax.estimators.mlp", "MLPRegressor"),
    "TabularClassifier": ("fcjax.estimators.tabular", "TabularClassifier"),
    "TabularRegressor": ("fcjax.estimators.tabular", "TabularRegressor"),
}


@runtime_checkable
class Saveable(Protocol):
    """What a folder can hold: a `Model`, a `TableModel`, an estimator."""

    def to_contents(self) -> Contents:
        """Return what the folder holds."""
        ...


def save(folder: str | PathLike[str], model: Saveable) -> None:
    """Write a model into a folder: `config.json`, and the weights as safetensors.

    The folder is all that `load` needs, on any machine: no code of the caller, and no pickle.
    Another model in the folder is replaced in one step: a process that is killed leaves the old
    model or the new one, and whoever reads meanwhile gets one of them.

    Args:
        folder: a new or empty folder, or one with a model to replace.
        model: a `Model` whose activations are those of fcjax, a `TableModel`, or an estimator of
            `fcjax.estimators`.

    Raises:
        TypeError: `model` is not a model, an activation is a function of your own, a parameter
            is not an array of 16 bits or more per number, or one of an estimator is an object that
            JSON cannot hold.
        ValueError: a parameter is traced, or lies on devices of other processes.
        FileExistsError: the folder holds something else.
        OSError: the folder cannot be written.

    >>> import tempfile
    >>> from fcjax import Model, init
    >>> model = Model(init(jax.random.key(0), (4, 8, 3)), "tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder, model)
    ...     load(folder)
    Model(4-8-3 float32, activations='tanh', output_activation='identity')
    """
    path = checked_path("folder", folder)
    if not _is_savable(model):
        hint = "; wrap parameters as Model(params, activations)" if _is_params(model) else ""
        raise TypeError(
            f"model must be a Model or an estimator of fcjax, got {describe(model)}{hint}"
        )
    for name, leaf in named_leaves("model", model):
        check_here(name, leaf)
    write(path, model.to_contents())


def load(folder: str | PathLike[str]) -> Any:
    """Read the model that `save` wrote. Its arrays lie on JAX's default device.

    Args:
        folder: the folder of a model.

    Raises:
        FileNotFoundError: there is no model.
        DamagedModelError: a file is missing, or not as it was written.
        ValueError: a newer version of fcjax wrote the folder, or the parameters of a `Model` are
            float64 and JAX does not have that enabled.
        ImportError: it is an estimator, and scikit-learn is not installed.

    See `save` for an example.
    >>> load("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: folder must hold a model, got 'no/such/folder', which is no folder
    """
    path = checked_path("folder", folder)
    contents = read(path)
    kind = contents.config.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise DamagedModelError(path, f"its kind must be one of {[*_KINDS]}, got {kind!r}")
    module, name = _KINDS[kind]
    found = getattr(importlib.import_module(module), name)
    try:
        return found.from_contents(contents)
    except PrecisionError as error:
        raise PrecisionError(f"{str(path)!r}: {error}") from None
    except KeyError as error:
        raise DamagedModelError(path, f"config.json has no {error}") from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise DamagedModelError(path, str(error)) from error


def _is_savable(model: Any) -> bool:
    return (type(model).__module__, type(model).__name__) in _KINDS.values()


def _is_params(model: Any) -> bool:
    return isinstance(model, tuple | list) and bool(jax.tree.leaves(model))


def check_here(name: str, leaf: Any) -> None:
    """Raise ValueError unless this process can read an array."""
    if isinstance(leaf, Tracer):
        raise ValueError(
            f"{name} must be a concrete array, got a traced one; call this outside jit"
        )
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        raise ValueError(
            f"{name} must lie in this process, got an array on devices of others; copy it to all "
            'first: fcjax.distributed.place(model, mesh, "replicated")'
        )
