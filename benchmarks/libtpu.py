"""The chips of a TPU that need not be there, for libtpu's compiler."""

import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies


def chips(topology: str) -> Sequence[jax.Device]:
    """Return the chips of a topology such as "v5e:4x4", before JAX starts.

    JAX must not look for a TPU, and libtpu not for the machine that it is part of.
    """
    jax.config.update("jax_platforms", "cpu")
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
