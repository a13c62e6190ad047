"""Writes the measured part of benchmarks/scale.md, and its picture."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from .chip import BOUNDS, bounds, efficiency
from .plots import efficiency_plot
from .report import with_report
from .results import HERE, RESULTS, Result, load
from .tables import markdown, number
from .wide import LAYOUTS, NETWORKS, SLICES, Wide, needed_bytes

PAGE = HERE / "scale.md"
RESULT = RESULTS / "scale-plan.json"
PICTURE = HERE / "pictures" / "scale-plan.png"
KINDS = ("all-gather", "reduce-scatter", "all-reduce", "collective-permute")

# What one step needs, as the compiler found it, or why there is none.
Case = dict[str, Any]


def write_plan() -> None:
    """Write the tables and the picture again, from the result that is there."""
    result = load(RESULT)
    efficiency_plot(efficiencies(result), PICTURE)
    PAGE.write_text(with_report(PAGE.read_text(), plan(result)))


def cases(result: Result, network: Wide) -> Iterator[tuple[str, str, Case]]:
    """Yield slice, layout and what is known of each case of a network."""
    slices = result["networks"][str(network)]
    for topology in SLICES:
        for layout in LAYOUTS:
            yield topology, layout, slices[topology][layout]


def efficiencies(result: Result) -> dict[str, dict[str, dict[int, tuple[float, float]]]]:
    """Return the efficiency by network, layout and chips, where the step fits."""
    found: dict[str, dict[str, dict[int, tuple[float, float]]]] = {}
    for network in NETWORKS:
        for topology, layout, case in cases(result, network):
            if "flops" in case:
                lines = found.setdefault(network.name, {})
                lines.setdefault(layout, {})[SLICES[topology]] = efficiency(case)
    return found


def plan(result: Result) -> str:
    """Return the measured part."""
    text = tomllib.loads((HERE / "page.toml").read_text())["scale"]
    parts = [text["picture"]]
    for network in NETWORKS:
        head = f"{network.parameters / 1e9:.4g} billion parameters"
        parts += [f"## {head}: {network.layers} layers of {network.width:,}\n"]
        parts += [f"{text['times']}\n", time_table(result, network)]
        parts += [f"{text['messages']}\n", message_table(result, network)]
    return "\n".join([*parts, text["end"].format(**result)])


def time_table(result: Result, network: Wide) -> str:
    """Return memory, operations and the time of each bound, for every case."""
    head = ["slice", "layout", "mesh", "memory, GB", "TFLOP", "HBM, GB", "sent, GB"]
    head += [f"{bound}, ms" for bound in BOUNDS] + ["efficiency"]
    rows = [
        [topology, layout, _mesh(case), *(_times(case) if "flops" in case else _refusal(case))]
        for topology, layout, case in cases(result, network)
    ]
    return markdown(head, rows, text=(0, 1, 2))


def _mesh(case: Case) -> str:
    return " × ".join(map(str, case["mesh"].values()))


def _refusal(case: Case) -> list[str]:
    """Return the state, and the least memory that the compiler asked for."""
    asked = min(map(asked_bytes, case["refused"].values()))
    needs = f"{number(case['state_bytes'] / 1e9)} / **{number(asked / 1e9)}**"
    return [needs, *[""] * (len(BOUNDS) + 4)]


def asked_bytes(message: str) -> float:
    """Return the bytes that the compiler asks for when it refuses a program."""
    size, unit = re.search(r"\(([\d.]+)([GT])\) exceeds", message).groups()
    return float(size) * 2 ** {"G": 30, "T": 40}[unit]


def _times(case: Case) -> list[str]:
    remat = f", remat {case['remat_every']}" if case["remat_every"] else ""
    sent = sum(one["bytes"] for one in case["collectives"])
    low, high = efficiency(case)
    return [
        f"{number(case['state_bytes'] / 1e9)} / {number(case['memory']['peak'] / 1e9)}{remat}",
        f"{case['flops'] / 1e12:.1f}",
        number(case["hbm_bytes"] / 1e9),
        number(sent / 1e9),
        *(number(1e3 * seconds) for seconds in bounds(case).values()),
        f"{low:.0%}–{high:.0%}",
    ]


def message_table(result: Result, network: Wide) -> str:
    """Return count and bytes of each kind of collective, beside what the layout needs."""
    rows = [
        [
            topology,
            layout,
            *(_messages(case, kind) for kind in KINDS),
            *_sent(network, layout, case),
        ]
        for topology, layout, case in cases(result, network)
        if "flops" in case
    ]
    return markdown(["slice", "layout", *KINDS, "all", "needed", "÷"], rows, text=(0, 1))


def _messages(case: Case, kind: str) -> str:
    found = [one for one in case["collectives"] if one["kind"] == kind]
    count, size = (sum(one[key] for one in found) for key in ("count", "bytes"))
    return f"{count}: {number(size / 1e9)}" if found else ""


def _sent(network: Wide, layout: str, case: Case) -> list[str]:
    sent = sum(one["bytes"] for one in case["collectives"])
    needed = sum(needed_bytes(network, layout, case["mesh"]).values())
    return [number(sent / 1e9), number(needed / 1e9), f"{sent / needed:.2f}"]
