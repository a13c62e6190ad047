"""The command `fcjax`: what it offers, and how it ends."""

import sys


def main() -> None:
    """Run the command; a wrong argument is explained in one line."""
    try:
        import rich  # noqa: F401 - what is printed needs it
        import tyro

        from .commands import train, verify
    except ImportError:
        sys.exit("fcjax: the command needs tyro and rich: pip install 'fcjax[app]'")
    try:
        tyro.extras.subcommand_cli_from_dict({"train": train, "verify": verify}, prog="fcjax")
    except (TypeError, ValueError, ImportError, OSError, FloatingPointError) as error:
        sys.exit(f"fcjax: {error}")  # a loss that is not finite is a FloatingPointError
