"""The entry point of the command `fcjax`."""

import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from .interrupts import keeping_interrupts
from .loading import loading

_DESCRIPTION = """Train fully connected networks, keep them, and verify hand-written gradients.

`fcjax COMMAND --help` describes a command. `fcjax --version` prints what a bug report needs.

For example,
  fcjax train houses.csv --target price --out model
  fcjax predict model new.csv --out predictions.csv
  fcjax verify my_ops:affine --shapes 5x3 3x2 2
"""


def main() -> None:
    """Call the command; on invalid arguments, exit with a message of one line."""
    try:
        with keeping_interrupts():
            _main()
    except KeyboardInterrupt:  # before or after a training, which says itself how it ended
        sys.exit(128 + signal.SIGINT)


def _main() -> None:
    if sys.argv[1:2] in (["--version"], ["-V"]):
        from .version import print_version

        sys.exit(print_version())
    try:
        with loading():
            import rich  # noqa: F401  # pyright: ignore[reportUnusedImport] - for the commands
            import tyro

            from .commands import COMMANDS
    except ImportError:
        sys.exit("fcjax: the command needs tyro and rich: pip install 'fcjax[app]'")
    arguments = _prepared(sys.argv[1:])
    _check_command(arguments[:1], COMMANDS)
    is_overview = arguments[:1] in ([], ["-h"], ["--help"])
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {name: _in_short(command) for name, command in COMMANDS.items()}
            if is_overview
            else COMMANDS,
            prog="fcjax",
            description=_DESCRIPTION if is_overview else None,
            args=arguments or ["--help"],
        )
    except SystemExit as end:
        # tyro exits with 2 on a mistyped option, but 2 is the status of an inconclusive verdict.
        sys.exit(1 if end.code == 2 else end.code)
    except (TypeError, ValueError, ImportError, OSError, FloatingPointError) as error:
        sys.exit(f"fcjax: {error}")  # NonFiniteLossError is a FloatingPointError
    sys.exit(status)


def _check_command(first: Sequence[str], commands: Iterable[str]) -> None:
    """Exit with a line if the first argument is no command."""
    for name in first:
        if name not in (*commands, "-h", "--help") and not name.startswith("--tyro-"):
            import difflib

            similar = difflib.get_close_matches(name, (*commands, "--version"), 1)
            hint = f"did you mean {similar[0]!r}?" if similar else "fcjax --help lists them"
            sys.exit(f"fcjax: there is no command {name!r}; {hint}")


def _in_short(command: Callable[..., int]) -> Callable[[], int]:
    """Return a command of which the overview shows the first paragraph alone."""

    def short() -> int:
        raise AssertionError("the overview calls no command")

    short.__doc__ = (command.__doc__ or "").partition("\n\n")[0]
    return short


def _prepared(arguments: list[str]) -> list[str]:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if arguments[:2] == ["checkpoint", "verify"] and {"-h", "--help"} & {*arguments}:
        return ["checkpoint", "--help"]  # argparse leaves an action out that it has read
    return _with_separator(arguments)


def _with_separator(arguments: list[str]) -> list[str]:
    """Put `--` before the program that a command runs, so that what follows is left untouched."""
    if arguments[:1] not in (["launch"], ["audit"]):
        return arguments
    i = 1
    while i < len(arguments) and arguments[i].startswith("-"):
        if arguments[i] in ("-m", "-h", "--help", "--"):
            break
        # each other option has a value
        i += 1 if "=" in arguments[i] or arguments[i].endswith("callbacks") else 2
    rest = arguments[i:]
    is_program = rest[:1] not in ([], ["-h"], ["--help"], ["--"])
    return [*arguments[:i], "--", *rest] if is_program else arguments
