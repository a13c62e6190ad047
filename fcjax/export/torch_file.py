"""`to_torch` and `from_torch`: the weights of a `torch.nn.Sequential`, without PyTorch itself."""

import contextlib
import re
from collections.abc import Mapping
from os import PathLike
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from .._arguments import brief, describe
from .._files import checked_file, checked_path, replace_file
from .._products import ComputeDtype
from ..model import Model
from ..model.tensors import check_precision, from_safetensors, metadata_of, to_safetensors
from ..network import Layer, Params
from .layers import checked_model, dense_layers
from .torch_code import NoModuleError, code_of, torch_code

# The key of the metadata that holds the line of Python.
CODE = "torch_code"
_KEY = re.compile(r"(0|[1-9]\d*)\.(weight|bias)")


def to_torch(model: Model, path: str | PathLike[str]) -> None:
    """Write the weights of a model for PyTorch, as a safetensors file.

    Its keys are those of `torch.nn.Sequential(Linear, activation, Linear, ...)`: `0.weight`
    `(n_out, n_in)`, `0.bias`, `2.weight` and so on. Stacked layers are written one by one. All
    numbers keep their dtype and their bits. To load the file,

        sequential = torch.nn.Sequential(...)  # the line that torch_code(model) returns
        sequential.load_state_dict(safetensors.torch.load_file(path))

    The metadata of the file hold that line as `torch_code`, unless PyTorch lacks an activation.
    Another file of that name is replaced in one step.

    Args:
        model: a `Model` whose activations are those of fcjax.
        path: the file to write.

    Raises:
        TypeError: `model` is not a Model, or an activation is a function of your own.
        ValueError: a parameter is traced, or lies on devices of other processes, or an activation
            works along another axis than the features, or with a mask.
        OSError: the file cannot be written.

    >>> import pathlib, tempfile
    >>> import jax, safetensors.numpy
    >>> from fcjax import Model, init
    >>> model = Model(init(jax.random.key(0), (4, 8, 3)), "tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_torch(model, f"{folder}/model.safetensors")
    ...     state = safetensors.numpy.load_file(f"{folder}/model.safetensors")
    >>> {name: array.shape for name, array in sorted(state.items())}
    {'0.bias': (8,), '0.weight': (8, 4), '2.bias': (3,), '2.weight': (3, 8)}
    """
    layers = dense_layers(checked_model(model))
    file = checked_file("path", path)
    arrays: dict[str, np.ndarray] = {}
    for i, layer in enumerate(layers):
        arrays[f"{2 * i}.weight"] = layer.w.T
        if layer.b is not None:
            arrays[f"{2 * i}.bias"] = layer.b
    metadata: dict[str, str] = {}
    with contextlib.suppress(NoModuleError):
        metadata[CODE] = code_of(layers)
    replace_file(file, to_safetensors(arrays, metadata))


def from_torch(
    source: str | PathLike[str] | Mapping[str, Any],
    activations: Any = "relu",
    output_activation: Any = "identity",
    *,
    compute_dtype: ComputeDtype = None,
    dropout: float = 0.0,
) -> Model:
    """Return a model with the weights of a `torch.nn.Sequential` of Linear layers.

    All numbers keep their dtype and their bits. Between the Linear layers may be modules without
    parameters, such as activations and Dropout. A state dict does not say which, so pass them here.

    Args:
        source: a safetensors file, or the `state_dict()` of a Sequential: tensors of PyTorch, or
            arrays, by keys such as `0.weight` and `0.bias`. The layers follow the numbers.
        activations: as in `Model`. If `to_torch` wrote the file, its activations must be these.
        output_activation: as in `Model`.
        compute_dtype: as in `Model`.
        dropout: as in `Model`. PyTorch's Dropout modules are not read.

    Raises:
        TypeError: `source` is neither a path nor a state dict, an array is not floating-point, or
            an activation is neither a name nor a function, or another argument of `Model` is not
            what it must be.
        ValueError: a key is not that of a Linear layer, the shapes do not fit together, the file is
            not of safetensors, a parameter is float64 and JAX does not have that enabled, or
            `to_torch` wrote the file for other activations.
        FileNotFoundError: there is no file.

    >>> import numpy as np
    >>> state = {"0.weight": np.ones((8, 4)), "0.bias": np.zeros(8), "3.weight": np.ones((2, 8))}
    >>> from_torch({name: V.astype("float32") for name, V in state.items()}, "tanh")
    Model(4-8-2 float32, activations='tanh', output_activation='identity')
    """
    code = None
    if isinstance(source, Mapping):
        what = "the state dict"
        _check_keys(source)
        state = {key: _as_numpy(key, V) for key, V in source.items()}
    else:
        what = f"the file {str(source)!r}"
        state, code = _read(source)
        _check_keys(state)
    check_precision(what, state)
    model = Model(_layers(state), activations, output_activation, compute_dtype, dropout)
    if code is not None and code != torch_code(model):
        raise ValueError(
            f"activations must be those for which {what} was written, {code}; got those of "
            f"{torch_code(model)}"
        )
    return model


def _read(source: object) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the arrays of a file, and the line of Python if `to_torch` wrote it."""
    if hasattr(source, "state_dict"):
        raise TypeError(f"source must be a state dict, got {describe(source)}; pass .state_dict()")
    path = checked_path("source", source)
    if not path.is_file():
        raise FileNotFoundError(
            f"source must be a safetensors file, got {str(path)!r}, which is no file"
        )
    data = path.read_bytes()
    try:
        return from_safetensors(data), metadata_of(data).get(CODE)
    except ValueError as error:
        raise ValueError(
            f"source must be a safetensors file, got {str(path)!r}: {error}; of a file of "
            "torch.save, pass torch.load(path, weights_only=True)"
        ) from None


def _check_keys(state: Mapping[Any, Any]) -> None:
    """Raise ValueError unless all keys are those of Linear layers in a Sequential."""
    for key, value in state.items():
        if _KEY.fullmatch(str(key)) is None:
            raise ValueError(
                "source must have the keys of a torch.nn.Sequential of Linear layers, 0.weight, "
                f"0.bias, 2.weight, ..., got {brief(key)}, shape {[*getattr(value, 'shape', ())]}"
            )
    if not state:
        raise ValueError("source must hold at least one Linear layer, got none")


def _as_numpy(key: str, value: Any) -> Shaped[np.ndarray, "..."]:
    """Return a tensor of PyTorch, or an array, as one of NumPy with the same bits."""
    if not hasattr(value, "detach"):
        array = np.asarray(value)
    elif str(value.dtype) == "torch.bfloat16":  # which NumPy does not take from PyTorch
        wide = value.detach().cpu().float().numpy()
        # the upper half of a float32 that was a bfloat16, so that a NaN keeps its bits too
        array = (wide.view(np.uint32) >> 16).astype(np.uint16).view(jnp.bfloat16)
    else:
        array = value.detach().cpu().numpy()
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"source[{key!r}] must be floating-point, got {describe(value)}")
    return array


def _layers(state: Mapping[str, np.ndarray]) -> Params:
    """Return the layers of a state dict, in the order of their numbers."""
    numbers = sorted({int(key.partition(".")[0]) for key in state})
    return tuple(_layer(number, state) for number in numbers)


def _layer(number: int, state: Mapping[str, np.ndarray]) -> Layer:
    weight, bias = (state.get(f"{number}.{name}") for name in ("weight", "bias"))
    if weight is None or weight.ndim != 2:
        got = "none" if weight is None else describe(weight)
        raise ValueError(
            f"source['{number}.weight'] must have shape (n_out, n_in), as that of Linear, got {got}"
        )
    # copies: PyTorch goes on to change its own memory
    w = jnp.array(weight.T)
    return Layer(w, None if bias is None else jnp.array(bias))
