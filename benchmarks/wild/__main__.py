"""`python -m benchmarks.wild audit [PACKAGE ...]`, `measure [SET ...]` and `report`."""

import sys

from .audits import run
from .measure import measure
from .page import write

if __name__ == "__main__":
    command, *names = sys.argv[1:]
    {"audit": run, "measure": measure, "report": lambda _: write()}[command](names)
