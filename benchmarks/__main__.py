"""The command line of the benchmarks: `python -m benchmarks --help`."""

import tyro
from rich.console import Console

from .device import describe, file_name, title
from .guard import check_against_record
from .report import write_report
from .results import RESULTS, ROOT
from .run import failures, run_sections
from .scale_page import write_plan
from .sections import sections


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
    device, console = describe(), Console()
    known = sections(device["platform"])
    if unknown := set(only) - set(known):
        raise SystemExit(f"no section {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = {name: known[name] for name in known if not only or name in only}
    console.print(f"{title(device)}: {', '.join(chosen)}")
    path = (ROOT / "out" / "benchmarks" if quick else RESULTS) / f"{file_name(device)}.json"
    rounds, turn_seconds = (2, 0.02) if quick else (rounds, 0.2)
    result = run_sections(chosen, device, path, rounds, turn_seconds)
    if not quick:
        write_report()
    console.print(f"wrote {path.relative_to(ROOT)}")
    for failure in failures(result, chosen):
        console.print(f"failed: {failure}", markup=False)


def check(rounds: int = 15) -> None:
    """Fail if a small case has become slower or larger than recorded, beyond the stated margin."""
    raise SystemExit(check_against_record(rounds))


def cost() -> None:
    """Compare what each rule of fcjax costs with autodiff, and write benchmarks/cost.md."""
    from .cost import run

    run()


def tpu(topology: str = "v5e:2x2") -> None:
    """Compile the train step for a TPU that need not be there; needs libtpu."""
    from .tpu import compile_for  # tells JAX to leave the devices alone

    compile_for(topology)
    write_report()


def scale(only: str = "", page: bool = False) -> None:
    """Compile a step of 1, 10 and 100 billion parameters for up to 256 chips; needs libtpu.

    Writes benchmarks/results/scale-plan.json and benchmarks/scale.md.

    Args:
        only: compile the cases whose name contains this; the others keep their results.
        page: compile nothing, and write the page again.
    """
    if not page:
        from .scale import compile_plan  # libtpu is not there otherwise

        compile_plan(only)
    write_plan()


if __name__ == "__main__":
    commands = {
        "run": run, "report": write_report, "check": check, "cost": cost, "tpu": tpu,
        "scale": scale,
    }  # fmt: skip
    tyro.extras.subcommand_cli_from_dict(commands)
