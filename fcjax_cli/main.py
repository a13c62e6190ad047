"""The entry point of the command `fcjax`."""

import sys


def main() -> None:
    """Call the command; on invalid arguments, exit with a message of one line."""
    try:
        import rich  # noqa: F401  # pyright: ignore[reportUnusedImport] - the commands print with it
        import tyro

        from .commands import checkpoint, launch, train, verify
    except ImportError:
        sys.exit("fcjax: the command needs tyro and rich: pip install 'fcjax[app]'")
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {"train": train, "verify": verify, "launch": launch, "checkpoint": checkpoint},
            prog="fcjax",
            args=_prepared(sys.argv[1:]),
        )
    except SystemExit as end:
        # tyro exits with 2 on a mistyped option, but 2 is the status of an inconclusive verdict.
        sys.exit(1 if end.code == 2 else end.code)
    except (TypeError, ValueError, ImportError, OSError, FloatingPointError) as error:
        sys.exit(f"fcjax: {error}")  # NonFiniteLossError is a FloatingPointError
    sys.exit(status)


def _prepared(arguments: list[str]) -> list[str]:
    if arguments[:2] == ["checkpoint", "verify"] and {"-h", "--help"} & {*arguments}:
        return ["checkpoint", "--help"]  # argparse leaves an action out that it has read
    return _with_separator(arguments)


def _with_separator(arguments: list[str]) -> list[str]:
    """Put `--` before the script of `fcjax launch`, so that what follows it is left untouched."""
    if arguments[:1] != ["launch"]:
        return arguments
    i = 1
    while i < len(arguments) and arguments[i].startswith("-"):
        if arguments[i] in ("-m", "-h", "--help", "--"):
            break
        i += 1 if "=" in arguments[i] else 2  # each option has a value
    rest = arguments[i:]
    is_program = rest[:1] not in ([], ["-h"], ["--help"], ["--"])
    return [*arguments[:i], "--", *rest] if is_program else arguments
