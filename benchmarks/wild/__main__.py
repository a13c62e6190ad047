"""`python -m benchmarks.wild run [PACKAGE ...]`, and `report`."""

import sys

from .audits import run

if __name__ == "__main__":
    command, *names = sys.argv[1:] or ["run"]
    if command == "run":
        run(names)
    else:
        from .page import write

        write()
