"""Run a script or a module in this process as `python` would."""

import io
import os
import runpy
import sys
import types
from collections.abc import Sequence
from types import TracebackType


def run(command: Sequence[str]) -> None:
    """Run `-m` and a module, or a script, with the rest of the command as its arguments."""
    is_module = command[0] == "-m"
    name, *arguments = command[is_module:]
    sys.argv = [name, *arguments]
    if is_module:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        _run_script(os.path.abspath(name))


def _run_script(path: str) -> None:
    """Run a script; `runpy` would take its module away at the end, and change `sys.argv[0]`."""
    sys.path[0] = os.path.dirname(path)
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    main.__file__ = path
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec")
    exec(code, main.__dict__)


def show(error: BaseException) -> None:
    """Print what Python prints of an error that ends a program."""
    trace = _of_the_program(error.__traceback__)
    if trace is None and isinstance(error, ImportError):  # there is no such module to run
        print(f"{sys.executable}: {error}", file=sys.stderr)
    else:
        sys.excepthook(type(error), error.with_traceback(trace), trace)


def _of_the_program(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of this file and of `runpy`, and those before them."""
    while trace is not None and not _is_own(trace):
        trace = trace.tb_next
    while trace is not None and _is_own(trace):
        trace = trace.tb_next
    return trace


def _is_own(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>")
