"""The regression guard: small cases again, beside what the committed results say of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from .cases import DEPTHS, UNROLLED
from .device import describe, file_name
from .networks import MIDDLE, NARROW, TINY
from .results import RESULTS, ROOT, Result, entry, fastest, load, memory, ratio
from .run import run_sections
from .sections import OURS, SINGLE_LIMITS, Section, sections

# Medians of one run differ by up to a tenth from those of another on a quiet machine.
TIME_MARGIN = 1.2
# Bytes are exact; what is allowed for is the rounding of a ratio.
MEMORY_MARGIN = 1.001
NETWORKS = (TINY, NARROW, MIDDLE)
# The cases and systems of each section that are run again; of the saved outputs all.
PARTS = {
    "speed": (NETWORKS, (*SINGLE_LIMITS, *OURS, "jax.grad")),
    "depth": ((DEPTHS[0], DEPTHS[-1]), ("fcjax.stack", "scan, jax.grad")),
}


class Check(NamedTuple):
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
    device, console = describe(), Console()
    record = RESULTS / f"{file_name(device)}.json"
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
    table = Table("", "recorded", "now", "allowed", "", box=None)
    for name, old, new, margin in checks:
        verdict = "[red]worse[/]" if new > margin * old else "ok"
        table.add_row(name, f"{old:.3f}", f"{new:.3f}", f"{old * margin:.3f}", verdict)
    console.print(table)
    return sum(check.worse for check in checks)


def compare(now: Result, recorded: Result) -> list[Check]:
    """Return every ratio that both results have."""
    old, new = dict(_figures(recorded)), dict(_figures(now))
    return [Check(name, old[name][0], *new[name]) for name in new if name in old]


def _figures(result: Result) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield name, ratio and margin of all that is guarded."""
    for network in NETWORKS:
        best = fastest(result, "speed", network, SINGLE_LIMITS)
        autodiff = memory(entry(result, "speed", network, "jax.grad"), "total")
        for system in OURS:
            found = entry(result, "speed", network, system)
            if time := ratio(found, best):
                yield f"{network}, {system}: time ÷ limit", (time, TIME_MARGIN)
            if (total := memory(found, "total")) and autodiff:
                name = f"{network}, {system}: memory ÷ jax.grad"
                yield name, (total / autodiff, MEMORY_MARGIN)
    autodiff = entry(result, "saved", UNROLLED, "jax.grad").get("temp", {})
    for name, temp in entry(result, "saved", UNROLLED, "fcjax").get("temp", {}).items():
        yield f"8 × 1024, {name}: temporaries ÷ jax.grad", (temp / autodiff[name], MEMORY_MARGIN)
    depths, systems = PARTS["depth"]
    for deep in depths:
        ours, scan = (memory(entry(result, "depth", deep, s), "temp") for s in systems)
        if ours and scan:
            yield f"{deep}, fcjax.stack: temporaries ÷ scan", (ours / scan, MEMORY_MARGIN)


def _measure(device: dict[str, Any], rounds: int) -> Result:
    path = ROOT / "out" / "benchmarks" / "check.json"
    path.unlink(missing_ok=True)
    return run_sections(small(device["platform"]), device, path, rounds, turn_seconds=0.2)


def small(platform: str) -> dict[str, Section]:
    """Return the part of the sections that is guarded."""
    known = sections(platform)
    chosen = {"saved": known["saved"]}
    for name, (cases, systems) in PARTS.items():
        chosen[name] = known[name]._replace(
            cases={str(case): case for case in cases},
            systems={system: known[name].systems[system] for system in systems},
            starts=1,
        )
    return chosen
