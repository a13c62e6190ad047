"""Writes the measured part of benchmarks/README.md, between its two markers."""

from pathlib import Path

from . import tables
from .device import title
from .plots import memory_plot, speed_plot
from .results import HERE, RESULTS, Result, devices, load
from .sections import Section, sections

README = HERE / "README.md"
PICTURES = HERE / "pictures"
BEGIN, END = "<!-- begin: generated -->\n", "<!-- end: generated -->\n"


def write_report() -> None:
    """Write tables and pictures again, from every result that is there."""
    for path in devices():
        draw(load(path), path.stem)
    README.write_text(with_report(README.read_text(), report(devices())))


def with_report(readme: str, generated: str) -> str:
    """Return the README with its measured part replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + generated + END + after


def report(paths: list[Path]) -> str:
    """Return the measured part."""
    parts = [device_report(load(path), path.stem) for path in paths]
    tpu = RESULTS / "tpu-compiled.json"
    if tpu.exists():
        parts.append(tpu_report(load(tpu)))
    return "".join(f"\n{part}\n" for part in parts)


def draw(result: Result, name: str) -> None:
    """Draw the pictures of one device."""
    if "speed" in result["sections"]:
        speed_plot(result, PICTURES / f"{name}-speed.png", title(result["device"]))
    if "depth" in result["sections"]:
        memory_plot(result, PICTURES / f"{name}-memory.png", title(result["device"]))


def device_report(result: Result, name: str) -> str:
    """Return the targets, and all sections, of one device."""
    device = result["device"]
    packages = ", ".join(f"{p} {v}" for p, v in device["packages"].items() if v)
    parts = [
        f"## {title(device)}\n",
        f"Python {device['python']}, {packages}.\n",
        "### Targets\n",
        tables.target_table(result),
    ]
    known = sections(device["platform"])
    for section in known:
        if section in result["sections"] and section != "activations":
            parts += _section(result, section, known[section], name)
    return "\n".join(parts)


def _section(result: Result, name: str, section: Section, picture: str) -> list[str]:
    about = result["sections"][name]
    made = f"{about['date']}, commit {about['commit']}"
    rounds = f", {about['rounds']} rounds" if section.reference else ""
    return [f"### {section.title}\n", *_body(result, name, picture), f"<sub>{made}{rounds}</sub>\n"]


def _body(result: Result, name: str, picture: str) -> list[str]:
    reasons = tables.reasons(result, name)
    return [*_TABLES[name](result, picture), *([reasons] if reasons else [])]


def _speed(result: Result, picture: str) -> list[str]:
    return [
        f"![Time of a step over that of its matrix products](pictures/{picture}-speed.png)\n",
        "Time of a step ÷ that of its matrix products alone (the faster of the two orders, one "
        "call a step); in brackets the quartiles of the rounds.\n",
        tables.speed_ratios(result),
        "Milliseconds per step.\n",
        tables.times(result, "speed"),
        "Seconds from a ready model to the end of its first steps, less the time of the same "
        "steps later: tracing and compiling.\n",
        tables.starts(result, "speed"),
        "MiB in all: arguments + outputs + temporaries − what is overwritten. A `train_epoch` and "
        "a loop hold the whole data.\n",
        tables.temporaries(result, "speed", "total"),
    ]


def _small(result: Result, picture: str) -> list[str]:
    return [
        "Time of a step ÷ that of its matrix products in a loop. What `train_epoch` has above "
        "it are activations, loss, update and the launch of each kernel; shuffled, the drawing of "
        "an order and the copy too; `train_step` pays a call from Python for each step.\n",
        tables.ratios(result, "small", "limit in a loop"),
        "Milliseconds per step.\n",
        tables.times(result, "small"),
    ]


def _mixed(result: Result, picture: str) -> list[str]:
    return [
        "Time of a step ÷ that of `train_epoch` in float32.\n",
        tables.ratios(result, "mixed", "fcjax f32 train_epoch"),
        "Milliseconds per step.\n",
        tables.times(result, "mixed"),
    ]


def _rounding(result: Result, picture: str) -> list[str]:
    rows = [
        [system, f"{found['error']:.1e}"]
        for case in result["sections"]["rounding"]["cases"].values()
        for system, found in case.items()
        if "error" in found
    ]
    return [tables.markdown(["largest error of `dW`, relative to its largest entry", ""], rows)]


def _products(result: Result, picture: str) -> list[str]:
    return [
        "`Xᵀ dZ` alone, of a batch of examples and a layer n_in × n_out: time ÷ that of the "
        "product as XLA runs it. fcjax transposes X first where that is faster.\n",
        tables.ratios(result, "products", "XᵀdZ", cases_down=True),
    ]


def _saved(result: Result, picture: str) -> list[str]:
    return [
        "MiB of temporaries of the 8 × 1024 network at batch 2048, unrolled; of 64 layers of 256 "
        "at batch 256 under `lax.scan`; and the time of the latter ÷ autodiff's.\n",
        tables.activation_table(result),
    ]


def _stack(result: Result, picture: str) -> list[str]:
    return [
        "Loss and gradient, gelu: time ÷ that of the scan under autodiff.\n",
        tables.ratios(result, "stack", "scan, jax.grad"),
        "Milliseconds.\n",
        tables.times(result, "stack"),
        "MiB of temporaries.\n",
        tables.temporaries(result, "stack"),
    ]


def _depth(result: Result, picture: str) -> list[str]:
    return [
        f"![Temporaries against the number of layers](pictures/{picture}-memory.png)\n",
        "Seconds to trace and compile loss and gradient.\n",
        tables.compile_times(result, "depth"),
        "MiB of temporaries; `remat_every` is the root of the depth.\n",
        tables.temporaries(result, "depth"),
    ]


def _deepest(result: Result, picture: str) -> list[str]:
    lines = []
    for case, systems in result["sections"]["deepest"]["cases"].items():
        for system, found in systems.items():
            if "first_losses" in found:
                losses = ", ".join(f"{loss:.4f}" for loss in found["first_losses"])
                total, step = found["memory"]["total"] / 2**30, found["step_s"][0]
                lines.append(
                    f"{case}, relu, {system}: {step:.1f} s a step, {total:.1f} GiB in all; "
                    f"losses of the first steps {losses}.\n"
                )
    return lines


def _vocabulary(result: Result, picture: str) -> list[str]:
    return [
        "Loss and gradient, examples × features × classes: time ÷ that of the two rules.\n",
        tables.ratios(result, "vocabulary", "two rules"),
        "Milliseconds.\n",
        tables.times(result, "vocabulary"),
        "MiB of temporaries.\n",
        tables.temporaries(result, "vocabulary"),
    ]


def _ensemble(result: Result, picture: str) -> list[str]:
    return [
        "Time of 32 networks' step ÷ that of one network after another. Shuffled, each network "
        "has an order, and so a copy of the data, of its own; unshuffled all see the same batches, "
        "and X meets their first weights in one product.\n",
        tables.ratios(result, "ensemble", "one after another"),
        "Milliseconds for a step of all 32.\n",
        tables.times(result, "ensemble"),
    ]


_TABLES = {
    "speed": _speed,
    "small": _small,
    "mixed": _mixed,
    "rounding": _rounding,
    "products": _products,
    "saved": _saved,
    "stack": _stack,
    "depth": _depth,
    "deepest": _deepest,
    "vocabulary": _vocabulary,
    "ensemble": _ensemble,
}


def tpu_report(result: Result) -> str:
    """Return what was compiled for a TPU."""
    rows = [
        [
            case,
            *(f"{found[system]['bytes'] / 2**20:.1f}" for system in found),
            *(f"{found[system]['total'] / 2**20:.1f}" for system in found),
        ]
        for case, found in result["cases"].items()
    ]
    head = ["", "accessed: fcjax", "jax.grad", "peak: fcjax", "jax.grad"]
    return "\n".join(
        [
            f"## {result['device']}, compiled ahead of time\n",
            f"One step for one of its chips, by {result['compiler']}, from a machine without a "
            "TPU: MiB of memory accessed, by XLA's estimate, and MiB in all, arguments + outputs + "
            "temporaries − what is overwritten.\n",
            tables.markdown(head, rows),
            f"<sub>{result['date']}, commit {result['commit']}</sub>\n",
        ]
    )
