"""Checkpoints of any pytree of arrays, written by Orbax, with a checksum of each array.

A checkpoint is a folder with the number of its step as its name. Orbax writes it under a temporary
name and renames it when it is complete, so a process that is killed leaves the earlier checkpoints
as they are. Nothing is pickled, and nothing in a folder is executed.

The folder holds the arrays and a record: the path, shape, dtype and checksum of each array, the
caller's metadata, and a checksum of all this. Needs the extra `fcjax[checkpoint]`.
"""

from .folder import (
    check_writable as check_writable,
    checked_directory as checked_directory,
    latest as latest,
    steps as steps,
)
from .reading import (
    in_all_processes as in_all_processes,
    metadata as metadata,
    newest_whole as newest_whole,
    restore as restore,
    verify as verify,
)
from .record import (
    DamagedCheckpointError as DamagedCheckpointError,
    MismatchError as MismatchError,
)
from .writing import OneProcessFailedError as OneProcessFailedError, Writer as Writer, save as save
