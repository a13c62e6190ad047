"""Plant the faults of `faults.py` in copies of fcjax, one at a time, and count those caught.

    python tests/mutate.py [NAME] [-n JOBS] [--limit SECONDS] [--dry]

A fault is caught if a test that is named for it fails. That they all pass without it is seen
first: otherwise a broken machine would catch everything. NAME chooses the faults whose name
contains it, and --dry only looks whether each of them can be planted. The exit status is 0 if all
are caught, 1 if not, and 2 if that cannot be said.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[1]
# What a test raises where the code cannot run at all: then nothing is known of the test.
BROKEN = ("NameError", "UnboundLocalError", "SyntaxError", "ImportError", "ModuleNotFoundError")
FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.*?)(?: - (.*))?$", re.MULTILINE)


class Outcome(NamedTuple):
    """What came of a fault: "caught", "missed" or "error", and by which test or why."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.upper() if self.kind != 'caught' else self.kind}: {self.detail}"


def planted(fault: Fault) -> str:
    """Return the file with the fault in it; raise ValueError if it does not apply."""
    text = (ROOT / "fcjax" / fault.file).read_text()
    if (times := text.count(fault.old)) != 1:
        raise ValueError(f"{fault.name}: {fault.old!r} occurs {times} times, not once")
    text = text.replace(fault.old, fault.new)
    try:
        compile(text, fault.file, "exec")
    except SyntaxError as error:
        raise ValueError(f"{fault.name}: {error}") from error
    return text


def copy_to(folder: Path) -> None:
    """Copy what the tests need."""
    for name in ("fcjax", "fcjax_cli", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)


def run(folder: Path, *arguments: str, limit: float | None = None) -> tuple[int | None, str]:
    """Run Python in a copy; return its exit status, None if it took too long, and its output."""
    # An installed fcjax comes after PYTHONPATH. Lines of 80 columns would cut off the errors.
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    env["COLUMNS"] = "1000"
    output = folder / "output.txt"
    with output.open("w") as file:
        try:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=folder, env=env, stdout=file,
                stderr=subprocess.STDOUT, timeout=limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, output.read_text()
    return done.returncode, output.read_text()


def run_tests(
    folder: Path, tests: Iterable[str], *options: str, limit: float | None = None
) -> tuple[int | None, str]:
    """Run tests in a copy, up to the first failure."""
    chosen = [f"tests/{test}" for test in tests]
    pytest = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options)
    return run(folder, *pytest, *chosen, limit=limit)


def outcome(fault: Fault, limit: float) -> Outcome:
    """Plant a fault in a copy of its own, and run the tests that are named for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        (folder / "fcjax" / fault.file).write_text(planted(fault))
        code, output = run_tests(folder, fault.tests, limit=limit)
    if code == 0:
        return Outcome("missed", f"{', '.join(fault.tests)} passed")
    if code is None:
        return Outcome("error", f"no answer within {limit:.0f} s")
    failure = FAILURE.search(output)
    if code != 1 or failure is None:
        return Outcome("error", f"pytest ended with {code}: {output.strip()[-500:]}")
    test, why = failure[1], failure[2] or ""
    if why.startswith(BROKEN):
        return Outcome("error", f"the fault breaks the code: {why}")
    return Outcome("caught", f"{test.removeprefix('tests/')} ({textwrap.shorten(why, 100)})")


def without_parts(tests: Iterable[str]) -> list[str]:
    """Return the tests, without those that are in a file or a function among them."""
    every = set(tests)
    parts = {test for test in every if {*_wholes(test)} & every}
    return sorted(every - parts)


def _wholes(test: str) -> list[str]:
    return [test[: match.start()] for match in re.finditer(r"::|\[", test)]


def check_without_faults(faults: Sequence[Fault], jobs: int) -> str | None:
    """Return why the copies are not to be trusted, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_to(folder)
        _, where = run(folder, "-c", "import fcjax; print(fcjax.__file__)")
        if Path(where.strip()) != folder / "fcjax" / "__init__.py":
            return f"the tests would not run on the copy but on {where.strip()}"
        options = ("-n", str(jobs)) if jobs > 1 else ()
        tests = without_parts(test for fault in faults for test in fault.tests)
        code, output = run_tests(folder, tests, *options)
    return f"without a fault, the tests fail already:\n{output[-3000:]}" if code else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="", help="a part of the faults' names")
    parser.add_argument("-n", "--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each fault")
    parser.add_argument("--dry", action="store_true", help="only see whether they can be planted")
    options = parser.parse_args()
    start = time.perf_counter()
    chosen = [fault for fault in FAULTS if options.name in fault.name]
    try:
        for fault in chosen:
            planted(fault)
    except ValueError as error:
        print(error)
        return 2
    if options.dry or not chosen:
        print(f"{len(chosen)} faults can be planted")
        return 0 if chosen else 2
    if why := check_without_faults(chosen, options.jobs):
        print(why)
        return 2
    print("without a fault, the tests pass", flush=True)
    count: Counter[str] = Counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = pool.map(partial(outcome, limit=options.limit), chosen)
        for fault, found in zip(chosen, outcomes, strict=True):
            count[found.kind] += 1
            print(f"{fault.name}\n    {found}", flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(
        f"{count['caught']} of {len(chosen)} faults are caught, {count['missed']} missed, "
        f"{count['error']} in error; {minutes:.0f} min"
    )
    return 0 if count["caught"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
