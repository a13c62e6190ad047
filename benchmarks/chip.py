"""What the published figures of a TPU v5e allow: the time of each bound, and the efficiency.

Sources: Google Cloud, TPU v5e, "System architecture" (cloud.google.com/tpu/docs/v5e), for all
figures. It gives the interconnect as 1600 Gbit/s and, in later editions, as 400 GB/s in both
directions, over 4 ports: 50 GB/s for each port and direction. Austin et al., How to Scale Your
Model (2025), part 2, for the links that close a ring: a slice has them in a dimension of 16 chips.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

FLOPS = 197e12  # a second, of products of bfloat16
HBM = 16e9  # bytes
HBM_SPEED = 819e9  # bytes a second
LINK_SPEED = 50e9  # bytes a second, of one link in one direction
PORTS = 4
RING = 16  # the chips of a dimension whose ends are linked

BOUNDS = ("compute", "HBM", "interconnect")


def links(places: np.ndarray, extents: tuple[int, ...]) -> float:
    """Return how many links connect a chip with others of its group, the chip with fewest.

    Args:
        places: the coordinates of the chips of a group, (chips, dimensions).
        extents: the chips of the slice in each dimension.

    In each dimension that the group spans, a chip at an end has one link, or two where they close
    a ring. Chips at a distance share the links between them with the groups in between.
    """
    lines = [np.unique(places[:, d]) for d in range(len(extents))]
    if np.prod([len(line) for line in lines]) != len(places):
        raise ValueError(f"a group must be a grid of chips, got {places.tolist()}")
    found = 0.0
    for line, extent in zip(lines, extents, strict=True):
        if len(line) > 1:
            (stride,) = set(np.diff(line).tolist())
            is_ring = extent == RING and stride * len(line) == extent
            found += (2 if is_ring else 1) / stride
    return found


def hops(sender: np.ndarray, receiver: np.ndarray, extents: tuple[int, ...]) -> int:
    """Return the links on the shortest way from one chip to another."""
    apart = np.abs(sender - receiver)
    around = np.where(np.array(extents) == RING, RING - apart, apart)
    return int(np.minimum(apart, around).sum())


def bounds(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of a step that the products, the HBM and the interconnect need."""
    sent = sum(one["bytes"] / one["links"] for one in found["collectives"])
    times = found["flops"] / FLOPS, found["hbm_bytes"] / HBM_SPEED, sent / LINK_SPEED
    return dict(zip(BOUNDS, times, strict=True))


def efficiency(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return the time of the needed products ÷ that of the step: without overlap, and with all.

    The needed products are 6 operations for each parameter and example; what is computed again to
    save memory is not needed. Without overlap, a step takes the sum of the bounds; with all, the
    longest.
    """
    needed = found["needed_flops"] / FLOPS
    times = bounds(found).values()
    return needed / sum(times), needed / max(times)
