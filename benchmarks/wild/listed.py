"""Check the rules that are listed in `rules/`, each package in a process of its own."""

import importlib
import importlib.metadata
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import jax

from fcjax._jax import equations_in, name_of
from fcjax.audit.listener import Listener
from fcjax.verify import check_rule

from . import rules
from .rules import Case

RESULTS = Path(__file__).parents[1] / "results" / "wild-rules.json"
# Seconds after which no further check of a rule starts.
FOR_ONE = 30.0
# Rules that are right are checked with so many keys in all, each of which draws other numbers.
KEYS = 5
KEEP_ALL = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def packages() -> list[str]:
    """Return the modules with cases."""
    return [module.name for module in pkgutil.iter_modules(rules.__path__)]


def run(names: list[str]) -> None:
    """Check the rules of the modules that are named, by default of those that have no result."""
    for name in names or [name for name in packages() if name not in read()]:
        command = [sys.executable, "-m", "benchmarks.wild", "module", name, str(KEYS)]
        with tempfile.TemporaryDirectory() as programs:  # the keys share compiled programs
            environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": programs, **KEEP_ALL}
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
        results = {**read(), name: json.loads(done.stdout.splitlines()[-1])}
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read() -> dict[str, Any]:
    """Return all results."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def module(words: list[str]) -> None:
    """Check the rules of one module, and print the results as a line of JSON.

    Args:
        words: the module, then a number of keys, by default 1, or the names of cases, by default
            all.
    """
    warnings.filterwarnings("ignore")
    name, *rest = words
    keys = int(rest.pop(0)) if rest and rest[0].isdigit() else 1
    listed = importlib.import_module(f"{rules.__name__}.{name}")
    found = []
    for case in listed.CASES:
        if not rest or case.__name__ in rest:
            found.append(checked(case, keys))
            print(json.dumps(found[-1], indent=1), file=sys.stderr, flush=True)
    version = importlib.metadata.version(listed.PACKAGE)
    print(json.dumps({"package": listed.PACKAGE, "version": version, "rules": found}))


def checked(case: Case, keys: int = 1) -> dict[str, Any]:
    """Return the verdict on one rule, and what was found; if it is right, also with other keys."""
    fun, args, *options = case()
    options = {"time_limit": FOR_ONE, **(options[0] if options else {})}
    names = called(fun, args, options.get("kwargs"))  # before JAX keeps what it traces
    start = time.perf_counter()
    report = check_rule(fun, args, key=jax.random.key(0), **options)
    seconds = round(time.perf_counter() - start, 1)
    others = [
        check_rule(fun, args, key=jax.random.key(key), **options)
        for key in range(1, keys if report.verdict == "right" else 1)
    ]
    return {
        "rule": case.__name__,
        "is_called": rule_of(case) in names,
        "verdict": report.verdict,
        "doubts": list(report.doubts) if report.verdict == "inconclusive" else [],
        "failures": [str(failure) for failure in report.failures],
        "findings": [str(finding) for finding in report.findings],
        "with_other_keys": [other.verdict for other in others],
        "failures_with_other_keys": [str(f) for other in others for f in other.failures],
        "seconds": seconds,
    }


def rule_of(case: Case) -> str:
    """Return the name of the rule of a case, without what tells it from others."""
    return case.__name__.partition("__")[0]


def called(fun: Any, args: Any, kwargs: Any = None) -> set[str]:
    """Return the names of the rules and the primitives that a function calls."""
    with Listener(callbacks=False) as listener:
        program = jax.make_jaxpr(lambda *args: fun(*args, **(kwargs or {})))(*args)
    names = {heard.definition.name for heard in listener.heard}
    return names | set(map(name_of, equations_in(program)))
