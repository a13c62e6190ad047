"""The command line of the benchmarks: `python -m benchmarks --help`."""

from pathlib import Path

import tyro
from rich.console import Console

from .device import describe, file_name, title
from .results import RESULTS
from .run import ROOT, failures, run_sections
from .sections import sections

QUICK = ROOT / "out" / "benchmarks"


def run(
    rounds: int = 15,
    only: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    quick: bool = False,
) -> None:
    """Measure, and write benchmarks/results/<device>.json and benchmarks/README.md.

    Args:
        rounds: turns of each system on each case.
        only: a section to measure; may be given several times. The others keep their results.
        quick: two rounds of short turns, to see that all works; writes to out/benchmarks alone.
    """
    from .report import write_report

    device = describe()
    known = sections(device["platform"])
    if unknown := set(only) - set(known):
        raise SystemExit(f"no section {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name: section for name, section in known.items() if not only or name in only}
    path = (QUICK if quick else RESULTS) / f"{file_name(device)}.json"
    console = Console()
    console.print(f"{title(device)}: {', '.join(chosen)}")
    if quick:
        result = run_sections(chosen, device, path, rounds=2, turn_seconds=0.02)
    else:
        result = run_sections(chosen, device, path, rounds, turn_seconds=0.2)
        write_report()
    console.print(f"wrote {path.relative_to(ROOT)}")
    for failure in failures(result, chosen):
        console.print(f"failed: {failure}", markup=False)


def report() -> None:
    """Write the tables and plots of benchmarks/README.md again, from the results that are there."""
    from .report import write_report

    write_report()


def check(rounds: int = 15) -> None:
    """Fail if a small case has become slower or larger than recorded, beyond the stated margin.

    Args:
        rounds: turns of each system on each case.
    """
    from .guard import check_against_record

    raise SystemExit(check_against_record(rounds))


def tpu(topology: str = "v5e:2x2", output: Path | None = None) -> None:
    """Compile the train step for a TPU that need not be there; needs libtpu.

    Args:
        topology: as `jax.experimental.topologies` names it.
        output: a file for the result, instead of benchmarks/results.
    """
    from .report import write_report
    from .tpu import compile_for

    compile_for(topology, output)
    if output is None:
        write_report()


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "report": report, "check": check, "tpu": tpu})
