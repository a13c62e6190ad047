"""python -m benchmarks.tabular run [--tables T ...] [--systems S ...], dropin, or report."""

import argparse
import sys

from . import dropin
from .data import SOURCES
from .run import one, run
from .systems import SYSTEMS

if sys.argv[1:2] == ["one"]:
    one(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular")
    parser.add_argument("what", choices=["run", "dropin", "report"])
    parser.add_argument("--tables", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    options = parser.parse_args()
    if options.what == "run":
        run(options.tables, options.systems)
    if options.what == "dropin" or not dropin.RESULTS.exists():
        dropin.compare()
    from .report import report

    report()
