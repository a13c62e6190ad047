"""`fcjax show`: what is known of a saved model."""

from collections.abc import Collection
from pathlib import Path

import jax
from rich.console import Console
from rich.table import Table

from ..model import Model, load
from ..tables import TableModel
from ..tables.card import headline, sections

_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
if not _console.is_terminal:
    _console.width = 240  # so that a program reads each row from one line


def show(folder: Path) -> int:
    """Print what is known of the model of a folder; return the exit status."""
    with jax.enable_x64(True):  # to read a model in float64 as it is
        model = load(folder)
    if isinstance(model, TableModel):
        _console.print(headline(model))
        print_sections(model)
        return 0
    _console.print(repr(model))
    if isinstance(model, Model):
        count = sum(leaf.size for leaf in jax.tree.leaves(model))
        _console.print(f"{count:,} parameters")
    return 0


def print_sections(model: TableModel, titles: Collection[str] | None = None) -> None:
    """Print sections of what is known of a model, as tables."""
    for title, (head, *rows) in sections(model).items():
        if titles is None or title in titles:
            table = Table(*head, title=title, title_justify="left", box=None, pad_edge=False)
            for row in rows:
                table.add_row(*row)
            _console.print()
            _console.print(table)
    _console.print()
