"""`Model`, the parameters of a network together with how they are applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
from jax.tree_util import GetAttrKey
from jaxtyping import ArrayLike, Float

from .._arguments import describe
from .._products import ComputeDtype, compute_dtype_of
from .._types import AnyArray
from ..dropout import checked_rate
from ..network import Layer, Params, check_network, mlp, sizes_of
from .activation import from_json, normal_form, to_json
from .folder import Contents, DamageError
from .tensors import as_parameters


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A network: its parameters, and the description of how they are applied.

    A model is a pytree. Its leaves are the parameters, and the description is static. So
    `jax.grad`, `jax.jit`, Optax, `make_train_step` and `fit` take a model wherever they take
    parameters:

        def loss(model, batch):
            X, labels = batch
            return fcjax.softmax_cross_entropy(model(X), labels)

        model = fcjax.fit(model, data, loss=loss, ...).params

    `dataclasses.replace(model, compute_dtype=None)` returns a model with another description.

    Args:
        params: the layers, as from `init` or `stack`.
        activations, output_activation, compute_dtype: as in `mlp`. Activations of fcjax are kept by
            name, so that models are equal in structure however their activations were passed.
        dropout: probability of zeroing each value of a hidden layer, where a call has a key.

    Raises:
        TypeError, ValueError: as `mlp` raises for such arguments.

    >>> from fcjax import init
    >>> model = Model(init(jax.random.key(0), (4, 8, 3)), "tanh")
    >>> model
    Model(4-8-3 float32, activations='tanh', output_activation='identity')
    >>> model(jax.numpy.ones((5, 4))).shape
    (5, 3)
    """

    params: Params
    activations: Any = "relu"
    output_activation: Any = "identity"
    compute_dtype: ComputeDtype = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        params = tuple(self.params) if isinstance(self.params, list) else self.params
        check_network(params, self.activations, self.output_activation)
        if isinstance(self.activations, Sequence) and not isinstance(self.activations, str):
            given = enumerate(self.activations)
            activations = tuple(normal_form(f"activations[{i}]", g) for i, g in given)
        else:
            activations = normal_form("activations", self.activations)
        dtype = compute_dtype_of(self.compute_dtype)
        self._set(
            params=params,
            activations=activations,
            output_activation=normal_form("output_activation", self.output_activation),
            compute_dtype=None if dtype is None else dtype.name,
            dropout=checked_rate("dropout", self.dropout),
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __call__(
        self, x: Float[ArrayLike, "*batch n_in"], *, key: Array | None = None
    ) -> Float[Array, "*batch n_out"]:
        """Apply the network to inputs; a key draws the masks of dropout, as in `mlp`."""
        return mlp(
            self.params,
            x,
            activations=self.activations,
            output_activation=self.output_activation,
            compute_dtype=self.compute_dtype,
            dropout=self.dropout,
            key=key,
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of units `(n_0, n_1, …, n_L)`, starting with the inputs."""
        return sizes_of(self.params)

    def __repr__(self) -> str:
        if not all(map(_has_shape, jax.tree.leaves(self.params, is_leaf=_is_layer))):
            return f"Model(params={self.params!r})"  # JAX has put something else in their place
        dtypes = dict.fromkeys(str(leaf.dtype) for leaf in jax.tree.leaves(self.params))
        options = [f"activations={self.activations!r}"]
        options.append(f"output_activation={self.output_activation!r}")
        options += [f"compute_dtype={self.compute_dtype!r}"] if self.compute_dtype else []
        options += [f"dropout={self.dropout}"] if self.dropout else []
        sizes = "-".join(map(str, self.sizes))
        return f"Model({sizes} {'/'.join(dtypes)}, {', '.join(options)})"

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Params]], tuple[Any, ...]]:
        """Return the parameters with their name, and the static description."""
        description = self.activations, self.output_activation, self.compute_dtype, self.dropout
        return ((GetAttrKey("params"), self.params),), description

    @classmethod
    def tree_unflatten(cls, description: tuple[Any, ...], children: tuple[Params]) -> "Model":
        """Return a model without checks: JAX puts other things than arrays where leaves were."""
        model = object.__new__(cls)
        activations, output_activation, compute_dtype, dropout = description
        model._set(
            params=children[0],
            activations=activations,
            output_activation=output_activation,
            compute_dtype=compute_dtype,
            dropout=dropout,
        )
        return model

    def to_contents(self) -> Contents:
        """Return what a folder holds of the model."""
        if isinstance(self.activations, tuple):
            given = enumerate(self.activations)
            activations = [to_json(f"activations[{i}]", g) for i, g in given]
        else:
            activations = to_json("activations", self.activations)
        config = {
            "kind": "mlp",
            "sizes": list(self.sizes),
            "stacked": [layer.w.ndim == 3 for layer in self.params],
            "activations": activations,
            "output_activation": to_json("output_activation", self.output_activation),
            "dropout": self.dropout,
            "dtypes": {
                "params": list(dict.fromkeys(str(V.dtype) for V in jax.tree.leaves(self.params))),
                "compute": self.compute_dtype,
            },
            **dict.fromkeys(("preprocessing", "classes", "units")),  # a network has none
        }
        return Contents(config, layers_to_arrays(self.params))

    @classmethod
    def from_contents(cls, contents: Contents) -> "Model":
        """Return the model that a folder holds; raise `DamageError` unless it fits together."""
        config = contents.config
        given = config["activations"]
        many = isinstance(given, list)
        activations = [from_json("activations", g) for g in (given if many else [given])]
        model = cls(
            layers_from_arrays(as_parameters(contents.arrays)),
            activations if many else activations[0],
            from_json("output_activation", config["output_activation"]),
            config["dtypes"]["compute"],
            config["dropout"],
        )
        if list(model.sizes) != config["sizes"]:
            raise DamageError(f"its sizes are {config['sizes']}, its weights are those of {model}")
        return model


def _is_layer(node: object) -> bool:
    return isinstance(node, Layer)


def _has_shape(layer: object) -> bool:
    return isinstance(layer, Layer) and hasattr(layer.w, "shape")


def layers_to_arrays(params: Params, prefix: str = "layers") -> dict[str, AnyArray]:
    """Return the arrays of layers by names such as `layers.0.w`."""
    return {
        f"{prefix}.{i}.{name}": V
        for i, layer in enumerate(params)
        for name, V in layer._asdict().items()
        if V is not None
    }


def layers_from_arrays(arrays: Mapping[str, Any], prefix: str = "layers") -> Params:
    """Return the layers whose arrays have such names."""
    numbers = range(sum(name.endswith(".w") for name in arrays if name.startswith(f"{prefix}.")))
    try:
        return tuple(
            Layer(arrays[f"{prefix}.{i}.w"], arrays.get(f"{prefix}.{i}.b")) for i in numbers
        )
    except KeyError as error:
        raise DamageError(f"it has no array {error}, got {describe(list(arrays))}") from None
