"""A model as a line of Python that makes the same network with PyTorch."""

import functools

import jax.numpy as jnp
import numpy as np

from ..model import Model
from .layers import DenseLayer, checked_model, dense_layers

# The modules of `torch.nn`, with their arguments where these are not PyTorch's own defaults.
_MODULES = {
    "celu": "CELU(alpha={alpha})",
    "elu": "ELU(alpha={alpha})",
    "gelu": "GELU(approximate={approximate!r})",
    "glu": "GLU(dim=-1)",
    "hard_sigmoid": "Hardsigmoid()",
    "hard_silu": "Hardswish()",
    "hard_swish": "Hardswish()",
    "hard_tanh": "Hardtanh()",
    "identity": "Identity()",
    "leaky_relu": "LeakyReLU(negative_slope={negative_slope})",
    "log_sigmoid": "LogSigmoid()",
    "log_softmax": "LogSoftmax(dim=-1)",
    "mish": "Mish()",
    "relu": "ReLU()",
    "relu6": "ReLU6()",
    "selu": "SELU()",
    "sigmoid": "Sigmoid()",
    "silu": "SiLU()",
    "soft_sign": "Softsign()",
    "softmax": "Softmax(dim=-1)",
    # By default PyTorch returns z itself from z = 20 on, which is not yet the same in float64.
    "softplus": "Softplus(threshold=40.0)",
    "swish": "SiLU()",
    "tanh": "Tanh()",
}


class NoModuleError(ValueError):
    """PyTorch has no module for an activation."""


def torch_code(model: Model) -> str:
    """Return a line of Python that makes the same network with PyTorch, its weights not yet set.

    The keys of its `state_dict` are those of the file that `to_torch` writes. The line leaves
    dropout and `compute_dtype` out. Each Linear has the widest dtype of the parameters.

    Args:
        model: a `Model` whose activations are those of fcjax.

    Raises:
        TypeError: `model` is not a Model, or an activation is a function of your own.
        ValueError: PyTorch has no module for an activation: `squareplus`, `sparse_plus` and
            `sparse_sigmoid`, `softmax`, `log_softmax` and `glu` along another axis than the last,
            or with a mask; or a parameter is traced.

    >>> import jax
    >>> from fcjax import Model, init
    >>> torch_code(Model(init(jax.random.key(0), (4, 8, 3)), "tanh"))
    'torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))'
    """
    return code_of(dense_layers(checked_model(model)))


def code_of(layers: list[DenseLayer]) -> str:
    """Return the line for these layers; raise `NoModuleError` if PyTorch lacks an activation."""
    dtype = functools.reduce(
        jnp.promote_types,
        (V.dtype for layer in layers for V in (layer.w, layer.b) if V is not None),
    )
    modules: list[str] = []
    for layer in layers:
        modules += [_linear(layer, dtype), _module(layer)]
    if layers[-1].activation == "identity":  # between layers, Identity keeps the numbers in step
        modules.pop()
    return f"torch.nn.Sequential({', '.join(f'torch.nn.{module}' for module in modules)})"


def _linear(layer: DenseLayer, dtype: np.dtype) -> str:
    bias = ", bias=False" if layer.b is None else ""
    kind = "" if dtype == np.float32 else f", dtype=torch.{dtype}"
    return f"Linear({layer.w.shape[0]}, {layer.w.shape[1]}{bias}{kind})"


def _module(layer: DenseLayer) -> str:
    if layer.activation not in _MODULES:
        raise NoModuleError(
            f"PyTorch has no module for {layer.activation!r}; it has one for {', '.join(_MODULES)}"
        )
    options = dict(layer.options)
    if "approximate" in options:
        options["approximate"] = "tanh" if options["approximate"] else "none"
    return _MODULES[layer.activation].format(**options)
