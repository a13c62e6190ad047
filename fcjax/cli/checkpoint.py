"""`fcjax checkpoint verify`: which checkpoints of a folder are whole."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from .. import checkpoint

_console = Console(highlight=False, soft_wrap=True)


def verify(directory: Path) -> int:
    """Print a line for each checkpoint; return 0 if all are whole, otherwise 1."""
    damage = checkpoint.verify(directory)
    for step, reason in damage.items():
        line = f"step {step}: " + ("whole" if reason is None else f"damaged, {reason}")
        _console.print(Text(line, "" if reason is None else "red"))
    whole = [step for step, reason in damage.items() if reason is None]
    newest = f"the newest is that of step {whole[-1]}" if whole else "none can be restored"
    _console.print(f"{len(whole)} of {len(damage)} checkpoints are whole; {newest}")
    return 0 if len(whole) == len(damage) else 1
