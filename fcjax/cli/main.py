"""The command `fcjax`: what it offers, and how it ends."""

import sys

import tyro

from ..train import NonFiniteLossError
from .train import train
from .verify import verify


def main() -> None:
    """Run the command; a wrong argument is explained in one line.

    Source: tyro, which makes the options from the signatures of the functions.
    """
    try:
        tyro.extras.subcommand_cli_from_dict({"train": train, "verify": verify}, prog="fcjax")
    except (TypeError, ValueError, ImportError, OSError, NonFiniteLossError) as error:
        sys.exit(f"fcjax: {error}")
