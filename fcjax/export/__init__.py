"""Models as files of other libraries: PyTorch, JAX without fcjax, and ONNX.

`to_jax` and `to_onnx` need the extra `fcjax[export]`.
"""

from .jax_file import to_jax as to_jax
from .onnx_file import to_onnx as to_onnx
from .torch_code import torch_code as torch_code
from .torch_file import from_torch as from_torch, to_torch as to_torch
