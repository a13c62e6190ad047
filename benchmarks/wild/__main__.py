"""`python -m benchmarks.wild COMMAND`.

The commands are `audit [PACKAGE ...]`, `rules [MODULE ...]`, `measure [SET ...]` and `report`.
"""

import sys

from . import listed
from .audits import run
from .measure import measure
from .page import write

COMMANDS = {
    "audit": run,
    "rules": listed.run,
    "module": listed.module,
    "measure": measure,
    "report": lambda _: write(),
}

if __name__ == "__main__":
    command, *names = sys.argv[1:]
    COMMANDS[command](names)
