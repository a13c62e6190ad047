"""Make random calls of every public function, and count how they are answered.

    python -m fuzz [NAME ...] [--cases FACTOR] [--seed S] [--jobs J]

NAME chooses the functions whose name contains it. The exit status is 1 if there is a finding.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Programs run once or twice: compile them quickly rather than well, as in `tests/conftest.py`.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

from .run import Tally, properties, run

CHILD = "FUZZ_CHILD"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of the names of functions")
    parser.add_argument("--cases", type=float, default=1.0, help="factor of the number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if CHILD in os.environ:
        for name in options.names:
            print(run(name, options.cases, options.seed).to_json(), flush=True)
        return 0
    for name in options.names:
        if not any(name in p for p in properties()):
            parser.error(
                f"no function has {name!r} in its name; there are {', '.join(properties())}"
            )
    chosen = [p for p in properties() if not options.names or any(n in p for n in options.names)]
    begin, tallies = time.perf_counter(), []

    def child(names: list[str]) -> None:
        arguments = [*names, f"--cases={options.cases}", f"--seed={options.seed}"]
        command = [sys.executable, "-m", __spec__.parent, *arguments]
        environment = {**os.environ, CHILD: "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            for line in process.stdout:
                if line.startswith("{"):
                    tallies.append(Tally.from_json(line))
                    print(tallies[-1], flush=True)
        if process.returncode:
            raise SystemExit(f"a process ended with status {process.returncode}")

    shares = [chosen[i :: options.jobs] for i in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as threads:
        list(threads.map(child, filter(None, shares)))
    total = sum(tallies, Tally("total"))
    print(total.line(), f"({time.perf_counter() - begin:.0f} s)")
    return 1 if total.findings else 0


if __name__ == "__main__":
    sys.exit(main())
