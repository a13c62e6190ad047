"""`python -m benchmarks.wild COMMAND`.

The commands are `audit [PACKAGE ...]`, `rules [MODULE ...]`, `measure [SET ...]`,
`overhead [PACKAGE ...]` and `report`.
"""

import sys

from . import listed, overhead
from .audits import run
from .measure import measure
from .page import write

COMMANDS = {
    "audit": run,
    "rules": listed.run,
    "module": listed.module,
    "measure": measure,
    "overhead": overhead.run,
    "report": lambda _: write(),
}

if __name__ == "__main__":
    command, *names = sys.argv[1:]
    COMMANDS[command](names)
