"""Tell the errors of JAX apart by what they say."""

import re
from typing import NamedTuple


class WrongCotangent(NamedTuple):
    """The types in an error of JAX about a cotangent that does not match its argument."""

    got: str
    want: str
    got_shape: str
    want_shape: str


def wrong_cotangent(message: str) -> WrongCotangent | None:
    """Return the types in an error of JAX about the shape of a cotangent, or None."""
    patterns = (
        r"an output of type (\S+) corresponding to an input of type (\S+\])",
        r"an output of type (\S+) which doesn't match expected type (\S+\])",
    )
    for pattern in patterns:
        found = re.search(pattern, message)
        shapes = [re.search(r"\[(.*)\]", kind) for kind in found.groups()] if found else []
        if found and all(shapes):
            return WrongCotangent(*found.groups(), *(shape[1] for shape in shapes if shape))
    return None


def output_path(message: str) -> tuple[int, str] | None:
    """Return the argument and the path in it that an error about cotangents names, or None."""
    found = re.search(r"output\[(\d+)\]((?:\[[^\]]+\])*)", message)
    return (int(found[1]), found[2]) if found else None


def says_closed_over(message: str) -> bool:
    """Whether JAX rejects a rule because it closes over a value that is differentiated outside."""
    return "closed-over" in message or "close over Tracers" in message.replace("\n", " ")


def says_unimplemented(message: str) -> bool:
    """Whether the backend does not implement an operation, which is not the fault of a rule."""
    return "UNIMPLEMENTED" in message


def says_constants_are_lost(message: str) -> bool:
    """Whether a program that was compiled ahead misses the constants that JAX made its inputs.

    In JAX 0.12, this happens to `jax.checkpoint` and `lax.scan` of functions that are made anew at
    each call, and close over arrays. `jax.jit` passes the constants.
    """
    return message.startswith("Computation compiled for")


def says_axes_differ(message: str) -> bool:
    """Whether the types of a value and its cotangent vary along different mesh axes."""
    # JAX appends the axes to a type, in braces
    types = r"of type (\S+\])(\{\S*\})? which doesn't match expected type (\S+\])(\{\S*\})?"
    found = re.search(types, message)
    differ = found is not None and found[1] == found[3] and found[2] != found[4]
    return differ or "manual axis types do not match" in message


def says_checkpoint_lacks_complex(message: str) -> bool:
    """Whether an error of JAX says that `jax.checkpoint` cannot keep complex numbers."""
    return "reduce_precision" in message and "complex" in message


def says_no_reverse_mode(message: str) -> bool:
    """Whether JAX has no derivative in reverse mode, as for a `while_loop`."""
    return "everse-mode" in message
