"""Make random calls of every public function, and count how they are answered.

    python -m fuzz [NAME ...] [--cases N] [--seed S] [--jobs J]

NAME chooses the functions whose name contains it. The exit status is 1 if there is a finding.
"""

import argparse
import os
import sys
import time
from multiprocessing import get_context

from .run import Tally, properties, run_one, start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of the names of functions")
    parser.add_argument("--cases", type=float, default=1.0, help="factor of the number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    chosen = [p for p in properties() if not options.names or any(n in p for n in options.names)]
    begin, tallies = time.perf_counter(), []
    with get_context("spawn").Pool(options.jobs, start, maxtasksperchild=4) as pool:
        todo = [(name, options.cases, options.seed, options.first) for name in chosen]
        for tally in pool.imap_unordered(run_one, todo):
            tallies.append(tally)
            print(tally, flush=True)
    total = sum(tallies, Tally("total"))
    print(total.line(), f"{time.perf_counter() - begin:.0f} s")
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
