"""python -m benchmarks.tabular run [--tables T ...] [--systems S ...], dropin, epochs or report."""

import argparse
import sys

from . import dropin, epochs
from .data import SOURCES
from .run import one, run
from .systems import SYSTEMS

if sys.argv[1:2] == ["one"]:
    one(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular")
    parser.add_argument("what", choices=["run", "dropin", "epochs", "report"])
    parser.add_argument("--tables", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--busy", action="store_true", help="other work runs: costs do not count")
    options = parser.parse_args()
    if options.what == "run":
        run(options.tables, options.systems, busy=options.busy)
    if options.what == "dropin" or not dropin.RESULTS.exists():
        dropin.compare()
    if options.what == "epochs" or not epochs.RESULTS.exists():
        epochs.compare()
    from .report import report

    report()
