"""The entry point of the command `fcjax`."""

import sys


def main() -> None:
    """Call the command; on invalid arguments, exit with a message of one line."""
    try:
        import rich  # noqa: F401  # pyright: ignore[reportUnusedImport] - the commands print with it
        import tyro

        from .commands import train, verify
    except ImportError:
        sys.exit("fcjax: the command needs tyro and rich: pip install 'fcjax[app]'")
    try:
        tyro.extras.subcommand_cli_from_dict({"train": train, "verify": verify}, prog="fcjax")
    except (TypeError, ValueError, ImportError, OSError, FloatingPointError) as error:
        sys.exit(f"fcjax: {error}")  # NonFiniteLossError is a FloatingPointError
