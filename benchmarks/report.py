"""Writes the measured part of benchmarks/README.md, between its two markers."""

import tomllib
from pathlib import Path

from . import tables
from .device import title
from .plots import memory_plot, speed_plot
from .results import HERE, RESULTS, Result, devices, load
from .sections import sections

README = HERE / "README.md"
BEGIN, END = "<!-- begin: generated -->\n", "<!-- end: generated -->\n"


def write_report() -> None:
    """Write tables and pictures again, from every result that is there."""
    for path in devices():
        result, picture = load(path), HERE / "pictures" / path.stem
        speed_plot(result, Path(f"{picture}-speed.png"), title(result["device"]))
        memory_plot(result, Path(f"{picture}-memory.png"), title(result["device"]))
    README.write_text(with_report(README.read_text(), report(devices())))


def with_report(readme: str, generated: str) -> str:
    """Return the README with its measured part replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + generated + END + after


def report(paths: list[Path]) -> str:
    """Return the measured part."""
    texts = tomllib.loads((HERE / "page.toml").read_text())
    parts = [_device(load(path), path.stem, texts) for path in paths]
    if (path := RESULTS / "tpu-compiled.json").exists():
        compiled = load(path)
        parts.append(texts["tpu"]["text"].format(table=tables.tpu_table(compiled), **compiled))
    return "".join(f"\n{part}\n" for part in parts)


def _device(result: Result, name: str, texts: dict[str, dict[str, str]]) -> str:
    """Return the targets, and all sections, of one device."""
    device = result["device"]
    packages = ", ".join(f"{p} {v}" for p, v in device["packages"].items() if v)
    parts = [f"## {title(device)}\n", f"Python {device['python']}, {packages}.\n"]
    parts += ["### Targets\n", tables.target_table(result)]
    for section, about in sections(device["platform"]).items():
        if section in result["sections"] and section in texts:
            parts.append(f"### {about.title}\n")
            for shown, text in texts[section].items():
                parts += [text.format(device=name) + "\n"]
                parts += [tables.table(result, section, shown, about.reference)]
            parts += [tables.reasons(result, section)] if tables.reasons(result, section) else []
            made = "{date}, commit {commit}" + (", {rounds} rounds" if about.reference else "")
            parts.append(f"<sub>{made.format(**result['sections'][section])}</sub>\n")
    return "\n".join(parts)
