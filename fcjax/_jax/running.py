"""The state of JAX while a program runs: tracing, tracebacks and logs."""

import contextlib
import logging
from collections.abc import Generator


@contextlib.contextmanager
def without_logs_of_callbacks() -> Generator[None]:
    """Keep JAX from logging the traceback of each error that a callback raises."""
    logger = logging.getLogger("jax._src.callback")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def is_tracing() -> bool:
    """Whether JAX is tracing: whether this is called inside jit, grad or vmap."""
    from jax._src import core as internals

    return not internals.trace_state_clean()


def unfiltered_tracebacks() -> contextlib.AbstractContextManager[None]:
    """Keep the frames of JAX in tracebacks, which show where an error was raised."""
    from jax._src import config

    return config.traceback_filtering("off")
