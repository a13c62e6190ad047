"""The networks and the slices of the plan of training at scale; imports no library."""

from typing import NamedTuple


class Wide(NamedTuple):
    """A network of equal layers, and how "model" splits it in the layouts that do.

    The examples are those of a chip.
    """

    name: str
    width: int
    layers: int
    tensor: int
    fsdp_tensor: int = 4
    examples: int = 2048

    def __str__(self) -> str:
        return f"{self.name}: {self.layers} layers of {self.width:,}"

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.layers * self.width * (self.width + 1)

    @property
    def flops(self) -> int:
        """What a chip has to compute in a step: the three products of each weight."""
        return 6 * self.layers * self.width**2 * self.examples


NETWORKS = (
    Wide("1B", 8192, 15, tensor=4),
    Wide("10B", 16384, 37, tensor=16),
    Wide("100B", 32768, 93, tensor=16),
)
SLICES = {"4x4": 16, "8x8": 64, "8x16": 128, "16x16": 256}
LAYOUTS = ("replicated", "tensor", "fsdp", "fsdp+tensor")


def mesh_shape(network: Wide, layout: str, chips: int) -> dict[str, int]:
    """Return the axes of the mesh of a layout."""
    if "tensor" not in layout:
        return {"data": chips}
    model = network.tensor if layout == "tensor" else network.fsdp_tensor
    return {"data": chips // model, "model": model}


def needed_bytes(network: Wide, layout: str, mesh: dict[str, int]) -> dict[str, float]:
    """Return what a chip has to send in a step: of weights, gradients and activations.

    Fully sharded weights are gathered in bfloat16 for each of the two passes, and their gradients
    scattered in float32; otherwise the gradients are summed, which takes a scatter and a gather.
    Where "model" splits the layers, the input of each is gathered in the forward pass, and its
    gradient scattered in the backward pass, both in bfloat16.
    """
    data, model = mesh["data"], mesh.get("model", 1)
    weights = network.layers * network.width**2 / model * (data - 1) / data
    examples = network.examples * model
    activations = network.layers * network.width * examples * (model - 1) / model
    return {
        "weights": 2 * 2 * weights if "fsdp" in layout else 0.0,
        "gradients": 4 * weights * (1 if "fsdp" in layout else 2),
        "activations": 2 * 2 * activations,
    }
