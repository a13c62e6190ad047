"""Several processes that run one program."""

from typing import Any, NamedTuple


class ProcessGroup(NamedTuple):
    """The processes that `jax.distributed.initialize` has joined.

    Attributes:
        process: the number of this one.
        size: how many there are.
        host: the machine of process 0.
        client: the client of their coordination service, which has a store of keys and values.
    """

    process: int
    size: int
    host: str
    client: Any


def process_group() -> ProcessGroup:
    """Return the processes. Unlike `jax.process_count`, this does not start the backend."""
    from jax._src import distributed

    state = distributed.global_state
    host = (state.coordinator_address or "").rpartition(":")[0].strip("[]")
    return ProcessGroup(state.process_id, state.num_processes, host, state.client)


def finds_cluster() -> bool:
    """Whether `jax.distributed.initialize` detects a cluster from its environment."""
    from jax._src.clusters import ClusterEnv

    kinds = ClusterEnv._cluster_types  # pyright: ignore[reportPrivateUsage]
    return any(kind.is_env_present() for kind in kinds if not kind.opt_in_only_method)
