"""The entry point of the command `fcjax`."""

import sys


def main() -> None:
    """Call the command; on invalid arguments, exit with a message of one line."""
    try:
        import rich  # noqa: F401  # pyright: ignore[reportUnusedImport] - the commands print with it
        import tyro

        from .commands import checkpoint, train, verify
    except ImportError:
        sys.exit("fcjax: the command needs tyro and rich: pip install 'fcjax[app]'")
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            {"train": train, "verify": verify, "checkpoint": checkpoint}, prog="fcjax"
        )
    except SystemExit as end:
        # tyro exits with 2 on a mistyped option, but 2 is the status of an inconclusive verdict.
        sys.exit(1 if end.code == 2 else end.code)
    except (TypeError, ValueError, ImportError, OSError, FloatingPointError) as error:
        sys.exit(f"fcjax: {error}")  # NonFiniteLossError is a FloatingPointError
    sys.exit(status)
