"""What is measured besides the networks of networks.py; imports no library."""

from dataclasses import dataclass

# Every one of fcjax that keeps the shape of its argument, without second names; a test compares.
ACTIVATIONS = (
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "tanh",
)


@dataclass(frozen=True)
class Deep:
    """A network of `layers` equal hidden layers, and an output layer for ten classes."""

    layers: int
    width: int
    batch: int
    activation: str = "gelu"

    @property
    def name(self) -> str:
        """For example `64 layers of 256, batch 256`."""
        return f"{self.layers:,} layers of {self.width}, batch {self.batch}"

    @property
    def saved_inputs(self) -> int:
        """Bytes of one float32 array per hidden layer."""
        return 4 * self.layers * self.batch * self.width


@dataclass(frozen=True)
class Product:
    """The shape of `Xᵀ dZ`, and the dtype of its operands."""

    examples: int
    n_in: int
    n_out: int
    dtype: str

    @property
    def name(self) -> str:
        """For example `128: 512 × 10, float32`."""
        return f"{self.examples}: {self.n_in} × {self.n_out}, {self.dtype}"


@dataclass(frozen=True)
class Vocabulary:
    """Examples, features and classes of a last layer."""

    batch: int
    features: int
    classes: int

    @property
    def name(self) -> str:
        """For example `4,096 × 512 × 32,768`."""
        return f"{self.batch:,} × {self.features} × {self.classes:,}"
