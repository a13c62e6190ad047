"""The start and the end of a run in several processes.

`jax.distributed.initialize` connects the processes, and ends them if one stops sending heartbeats.
Two cases are left to the user, and are dealt with here. A process may be alone, although a few
variables of a cluster are set. And a process that fails would wait at its exit for the others,
which wait for its part of a sum.
"""

import atexit
import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any, NoReturn

import jax

from .._arguments import describe
from .._jax import ProcessGroup, finds_cluster, process_group
from .watch import Hub, Spoke, Watch, flush_within

# Seconds without a heartbeat after which a process counts as dead. JAX's own default is 100.
HEARTBEAT = 20
# Seconds in which a process that lost a connection waits to hear whose end the cause was.
TO_LEARN_WHY = 5
# Seconds that the other threads of a process have after it has raised.
TO_END_THREADS = 10
# Seconds for which a process that is done waits for the others before it says so.
TO_TELL = 10
# What `fcjax launch` sets.
_PREEMPTION = "JAX_ENABLE_PREEMPTION_SERVICE"
PROCESS, PROCESSES, BEAT = "FCJAX_PROCESS", "FCJAX_PROCESSES", "FCJAX_HEARTBEAT"


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    heartbeat: int | None = None,
    **options: Any,
) -> None:
    """Join the processes of a run, if there are several. Do nothing if there is one.

    Call this first, before anything that uses a device. Without arguments, it joins the processes
    of `fcjax launch`, or of any cluster that `jax.distributed.initialize` detects, such as Slurm
    and Cloud TPU. Otherwise the process is alone: on a laptop, and also in a shell or a batch
    script of Slurm that was not started by `srun`, where some of Slurm's variables are set.

    When a process raises, or dies, the others print one line that names it and exit with status 1.
    They learn of it at once. A process that only stops answering is found by JAX, whose message
    names it, after `heartbeat` seconds. A process that calls `sys.exit` counts as done, and waits
    at its exit for the others, which it says after 10 seconds: `abort` ends them, and so does
    `sys.exit` under `fcjax launch` with another status than 0.

    From then on, JAX takes SIGTERM for the announcement of a preemption, and the process goes on;
    the option `jax_enable_preemption_service` controls this. During `fit`, SIGTERM ends `fit`, and
    after a first `fit`, it ends the process. Under `fcjax launch`, it always ends the process.

    Args:
        coordinator_address: as in `jax.distributed.initialize`: host and port of process 0.
        num_processes: as there.
        process_id: as there.
        heartbeat: seconds after which a process that does not answer counts as dead; by default
            that of `fcjax launch`, or 20.
        **options: other options of `jax.distributed.initialize`.

    Raises:
        TypeError, ValueError: `heartbeat` is not a positive integer.
        RuntimeError: a device has been used before, or this has been called before.

    >>> initialize()  # alone, so nothing happens
    >>> jax.process_count()
    1
    """
    heartbeat = _heartbeat() if heartbeat is None else heartbeat
    _check_seconds(heartbeat)
    where: dict[str, Any] = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    given = {name: value for name, value in where.items() if value is not None}
    launched = not given and PROCESS in os.environ
    if launched:  # JAX itself reads the address from the environment
        if _PREEMPTION not in os.environ:  # nothing else preempts it, and SIGTERM is to end it
            jax.config.update("jax_enable_preemption_service", False)
        given["num_processes"] = int(os.environ[PROCESSES])
        given["process_id"] = int(os.environ[PROCESS])
    elif not given and (_is_alone_in_slurm() or not finds_cluster()):
        return
    given |= options
    given.setdefault("local_device_ids", _devices_of_slurm())
    jax.distributed.initialize(**given, heartbeat_timeout_seconds=heartbeat)
    group = process_group()
    if group.size > 1:
        # the launcher watches its own processes
        watch = None if launched else _start_watch(group, heartbeat)
        _Exit(group, watch, given.get("shutdown_timeout_seconds", 300)).install()


def abort(status: int = 1) -> NoReturn:
    """Exit with a status other than 0, without waiting for the other processes, which end too.

    Args:
        status: the exit status, from 1 to 255.

    Raises:
        TypeError, ValueError: `status` is not such an integer. With 0, the process would count as
            done, and wait.
        SystemExit: otherwise; cleanup runs as after `sys.exit`.

    >>> abort(3)
    Traceback (most recent call last):
    SystemExit: 3
    """
    _check_status(status)
    if _Exit.installed is not None:
        _Exit.installed.fail(f"exited with status {status}", status)
    sys.exit(status)


def _check_status(status: object) -> None:
    if not isinstance(status, int):
        raise TypeError(f"status must be an integer from 1 to 255, got {describe(status)}")
    if not 1 <= status <= 255:
        raise ValueError(f"status must be an integer from 1 to 255, got {status}")


def _check_seconds(heartbeat: object) -> None:
    if not isinstance(heartbeat, int):
        raise TypeError(f"heartbeat must be a positive integer, got {describe(heartbeat)}")
    if heartbeat < 1:
        raise ValueError(f"heartbeat must be a positive integer, got {heartbeat}")


def _heartbeat() -> int:
    return int(os.environ.get(BEAT, HEARTBEAT))


def _is_alone_in_slurm() -> bool:
    """Whether Slurm has not started this process as one of several tasks of a step.

    JAX counts SLURM_NTASKS, which an interactive step takes from the allocation: it would wait for
    processes that nobody has started.
    """
    return "SLURM_JOB_ID" in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) == 1


def _devices_of_slurm() -> list[int] | None:
    """Return all visible GPUs if --gpus-per-task hides the others, else None.

    JAX takes the GPU with the number of the task on its node, of which there then is none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if (
        "SLURM_GPUS_PER_TASK" not in os.environ
        or not visible
        or "JAX_LOCAL_DEVICE_IDS" in os.environ
    ):
        return None
    return list(range(len(visible.split(","))))


def _start_watch(group: ProcessGroup, heartbeat: int) -> Watch | None:
    """Connect the processes, or return None if the network does not allow it."""
    try:
        if group.process == 0:
            watch = Hub(group.client, group.size, heartbeat)
        else:
            watch = Spoke(group.client, group.host, group.process, group.size, heartbeat)
    except (OSError, RuntimeError, ValueError) as error:  # of the socket, or of JAX's service
        logging.getLogger("fcjax").warning(
            "process %d cannot connect to process 0 (%s): the end of another process is noticed "
            "after %d seconds only",
            group.process, error, heartbeat,
        )  # fmt: skip
        return None
    watch.start()
    return watch


class _Exit:
    """What happens at the exit of this process."""

    installed: "_Exit | None" = None

    def __init__(self, group: ProcessGroup, watch: Watch | None, patience: float):
        self._name = f"process {group.process} of {group.size}"
        self._watch, self._patience = watch, patience
        self._status, self._why = 0, ""
        self._print_exception = sys.excepthook

    def install(self) -> None:
        _Exit.installed = self
        sys.excepthook = self._on_exception
        atexit.register(self._run)  # after JAX has registered its own, hence before that runs

    def fail(self, why: str, status: int) -> None:
        self._status, self._why = status, f"{self._name} {why}"

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if "Gloo" in str(error):  # a lost connection; the watch or the launcher ends this process
            time.sleep(TO_LEARN_WHY)
        self._print_exception(kind, error, trace)
        first_line = (str(error).splitlines() or [""])[0]
        self.fail(f"raised {kind.__name__}: {first_line}"[:200], 1)
        threading.Thread(target=self._run_soon, daemon=True).start()

    def _run_soon(self) -> None:
        """Do not wait for threads that wait for other processes, as those of a save may."""
        time.sleep(TO_END_THREADS)
        self._run()

    def _run(self) -> None:
        if not self._status:
            tell = threading.Timer(TO_TELL, self._tell_that_it_waits)
            tell.daemon = True
            tell.start()
        if self._watch is not None:
            self._watch.leave(self._why or "done", self._patience)
        if self._status:  # do not wait in JAX's barrier
            flush_within(1)
            os._exit(self._status)

    def _tell_that_it_waits(self) -> None:
        os.write(2, f"fcjax: {self._name} is done, and waits for the others\n".encode())
