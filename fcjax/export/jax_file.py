"""`to_jax`: a compiled program of JAX that needs no fcjax."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import jax.export
import jax.numpy as jnp
from jax import Array

from .._arguments import check_one_of, describe
from .._files import checked_file, replace_file
from ..model import Model
from ..tables import TableModel
from ..tables.training import predictions
from .layers import ACCEPTED, checked_model, input_dtype

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def to_jax(
    model: Model | TableModel,
    path: str | PathLike[str],
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write a model as a program of JAX, with its weights, that any process with JAX can call.

    The program takes rows `x (m, n_in)` for any m ≥ 1, in float32, or in float64 if a parameter is.
    On devices of the same kind, it gives the bits of `jax.jit(model)(x)`. Those of `model(x)`
    outside of jit may differ in the last places, because XLA then does not fuse the layers. There
    is no dropout, and no gradient. To call it, without fcjax, but with JAX and its package
    flatbuffers:

        import jax.export
        program = jax.export.deserialize(bytearray(open(path, "rb").read()))
        y = program.call(x)

    Of a `TableModel`, the program is the network alone, because JAX has no text: x is the matrix
    `model.treatment.transform(table)`, and y is what `model.outputs_of_matrix` returns, averaged
    probabilities or numbers that `model.target.decoded` turns into units. `to_onnx` writes the
    treatment too.

    JAX reads such files for six months: keep the model itself too, with `fcjax.save`. Only call
    files that you trust. Another file of that name is replaced in one step.

    Args:
        model: a `Model`, whose activations may be functions of your own, or a `TableModel`.
        path: the file to write.
        platforms: where it can run: "cpu", "cuda", "rocm" and "tpu". They need not be here.

    Raises:
        TypeError: `model` is neither of the two, or `platforms` is not a sequence of names.
        ValueError: a parameter is traced, or lies on devices of other processes, or a platform is
            unknown.
        ImportError: flatbuffers is not installed.
        OSError: the file cannot be written.

    >>> import pathlib, tempfile
    >>> import jax.export
    >>> from fcjax import Model, init
    >>> model = Model(init(jax.random.key(0), (4, 8, 3)), "tanh")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_jax(model, f"{folder}/model.jax")
    ...     data = pathlib.Path(f"{folder}/model.jax").read_bytes()
    >>> jax.export.deserialize(bytearray(data)).call(jax.numpy.ones((5, 4))).shape
    (5, 3)
    """
    apply, columns = _program(model)
    names = _checked_platforms(platforms)
    file = checked_file("path", path)
    try:
        import flatbuffers  # noqa: F401  # pyright: ignore[reportUnusedImport] - JAX writes with it
    except ImportError as error:
        raise ImportError("files of JAX need flatbuffers: pip install 'fcjax[export]'") from error
    (m,) = jax.export.symbolic_shape("m")
    rows = jax.ShapeDtypeStruct((m, *columns.shape), columns.dtype)
    program = jax.export.export(jax.jit(apply), platforms=names)(rows)
    replace_file(file, program.serialize(vjp_order=0))


def _program(model: Model | TableModel) -> tuple[Callable[[Array], Array], jax.ShapeDtypeStruct]:
    """Return what maps rows to outputs, with its weights, and what a row is."""
    if not isinstance(model, TableModel):
        model = checked_model(model, ACCEPTED)
        row = jax.ShapeDtypeStruct((model.sizes[0],), input_dtype(model))
        return jax.tree.map(jnp.asarray, model), row
    networks, task, params = model.networks, model.target.task, model.params

    def apply(x: Array) -> Array:
        return predictions(task, networks.apply(params, x))

    return apply, jax.ShapeDtypeStruct((networks.network.inputs,), jnp.float32)


def _checked_platforms(platforms: Any) -> tuple[str, ...]:
    if not isinstance(platforms, tuple | list) or not platforms:
        raise TypeError(
            f"platforms must be a sequence of names such as ('cpu', 'tpu'), got "
            f"{describe(platforms)}"
        )
    for platform in platforms:
        check_one_of("platforms", platform, PLATFORMS)
    return tuple(dict.fromkeys(platforms))
