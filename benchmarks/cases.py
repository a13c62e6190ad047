"""What is measured besides the networks of networks.py; imports no library."""

from typing import NamedTuple


class Deep(NamedTuple):
    """A network of `layers` equal hidden layers, and an output layer for ten classes."""

    layers: int
    width: int = 256
    batch: int = 256
    activation: str = "gelu"

    def __str__(self) -> str:
        return f"{self.layers:,} layers of {self.width}, batch {self.batch}"

    @property
    def saved_inputs(self) -> int:
        """Bytes of one float32 array per hidden layer."""
        return 4 * self.layers * self.batch * self.width


class Product(NamedTuple):
    """The shape of `Xᵀ dZ`, and the dtype of its operands."""

    examples: int
    n_in: int
    n_out: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.examples}: {self.n_in} × {self.n_out}, {self.dtype}"


class Vocabulary(NamedTuple):
    """Examples, features and classes of a last layer."""

    batch: int
    features: int
    classes: int

    def __str__(self) -> str:
        return f"{self.batch:,} × {self.features} × {self.classes:,}"


# The network whose saved outputs are counted, and the depths at which a stack is compiled.
UNROLLED = Deep(8, 1024, 2048)
DEPTHS = tuple(Deep(layers) for layers in (10, 30, 100, 300, 1000))
DEEPEST = Deep(10_000, activation="relu")
MANY_CLASSES, MILLION = Vocabulary(4096, 512, 32_768), Vocabulary(256, 512, 1_000_000)
