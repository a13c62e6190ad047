"""The regression guard: small cases again, beside what the committed results say of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .device import describe, file_name
from .networks import MIDDLE, NARROW, TINY
from .results import RESULTS, Result, entry, fastest, load, ratio
from .run import ROOT, run_sections
from .sections import Section, sections
from .targets import SINGLE_LIMITS

# Medians of one run differ by up to a tenth from those of another on a quiet machine.
TIME_MARGIN = 1.2
# Bytes are exact; what is allowed for is the rounding of a ratio.
MEMORY_MARGIN = 1.001
OURS = ("fcjax train_epoch", "fcjax train_epoch, shuffled", "fcjax train_step")
NETWORKS = (TINY, NARROW, MIDDLE)
DEPTHS = ("10 layers of 256, batch 256", "1,000 layers of 256, batch 256")


@dataclass(frozen=True)
class Check:
    """A ratio as recorded and as measured now."""

    name: str
    recorded: float
    now: float
    margin: float

    @property
    def worse(self) -> bool:
        """Whether it exceeds the record by more than the margin."""
        return self.now > self.margin * self.recorded


def check_against_record(rounds: int) -> int:
    """Rerun the small cases and print each ratio; return the number that got worse."""
    device = describe()
    record = RESULTS / f"{file_name(device)}.json"
    console = Console()
    if not record.exists():
        console.print(f"no record of this machine, {record.relative_to(ROOT)}: run make bench")
        return 1
    recorded = load(record)
    checks = compare(_measure(device, rounds), recorded)
    slow = {check.name for check in checks if check.worse and check.margin == TIME_MARGIN}
    if slow:
        # A real loss of speed shows again; a moment's noise does not.
        again = {check.name: check for check in compare(_measure(device, rounds), recorded)}
        checks = [again[check.name] if check.name in slow else check for check in checks]
    _show(checks, console)
    return sum(check.worse for check in checks)


def compare(now: Result, recorded: Result) -> list[Check]:
    """Return every ratio that both results have."""
    old, new = dict(_figures(recorded)), dict(_figures(now))
    return [Check(name, old[name][0], *new[name]) for name in new if name in old]


def _figures(result: Result) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield name, ratio and margin of all that is guarded."""
    for network in NETWORKS:
        best = fastest(result, "speed", network.name, SINGLE_LIMITS)
        autodiff = _total(entry(result, "speed", network.name, "jax.grad"))
        for system in OURS:
            found = entry(result, "speed", network.name, system)
            if (time := ratio(found, best)) is not None:
                yield f"{network.name}, {system}: time ÷ limit", (time, TIME_MARGIN)
            if (total := _total(found)) and autodiff:
                name = f"{network.name}, {system}: memory ÷ jax.grad"
                yield name, (total / autodiff, MEMORY_MARGIN)
    saved = "saved", "8 layers of 1024, batch 2048"
    autodiff = entry(result, *saved, "jax.grad").get("temp", {})
    for name, temp in entry(result, *saved, "fcjax").get("temp", {}).items():
        yield f"8 × 1024, {name}: temporaries ÷ jax.grad", (temp / autodiff[name], MEMORY_MARGIN)
    for case in DEPTHS:
        ours, scan = (
            entry(result, "depth", case, system).get("memory", {}).get("temp")
            for system in ("fcjax.stack", "scan, jax.grad")
        )
        if ours and scan:
            yield f"{case}, fcjax.stack: temporaries ÷ scan", (ours / scan, MEMORY_MARGIN)


def _total(found: Result) -> int | None:
    return found.get("memory", {}).get("total")


def _measure(device: dict[str, Any], rounds: int) -> Result:
    path = ROOT / "out" / "benchmarks" / "check.json"
    Path(path).unlink(missing_ok=True)
    return run_sections(small(device["platform"]), device, path, rounds, turn_seconds=0.2)


def small(platform: str) -> dict[str, Section]:
    """Return the part of the sections that is guarded."""
    known = sections(platform)
    return {
        "speed": _part(
            known["speed"], [n.name for n in NETWORKS], [*SINGLE_LIMITS, *OURS, "jax.grad"]
        ),
        "saved": known["saved"],
        "depth": replace(
            _part(known["depth"], list(DEPTHS), ["fcjax.stack", "scan, jax.grad"]), starts=1
        ),
    }


def _part(section: Section, cases: list[str], systems: list[str]) -> Section:
    return replace(
        section,
        cases={name: section.cases[name] for name in cases},
        systems={name: section.systems[name] for name in systems},
    )


def _show(checks: list[Check], console: Console) -> None:
    table = Table("", "recorded", "now", "allowed", "", box=None)
    for check in checks:
        allowed = f"{check.recorded * check.margin:.3f}"
        verdict = "[red]worse[/]" if check.worse else "ok"
        table.add_row(check.name, f"{check.recorded:.3f}", f"{check.now:.3f}", allowed, verdict)
    console.print(table)
