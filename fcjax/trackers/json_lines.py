"""A run as a file of JSON lines, which any program reads while the run goes on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._arguments import brief
from .._files import checked_file, checked_path, naming, replace_file
from ..distributed import is_first_process
from ..train import EpochEnd
from .settings import checked_settings, plain

# The texts for numbers that JSON lacks; float() reads them.
_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


class Record(NamedTuple):
    """What a file says: the settings of the run, and a dict of numbers for each epoch."""

    settings: dict[str, Any]
    epochs: list[dict[str, Any]]


class JsonLines:
    """A callback of `fit` that appends each epoch to a file, as a line of JSON.

    The first line is `{"settings": {…}}`, the others are such as `{"epoch": 1, "seconds": 0.2,
    "loss": 0.5}`, with the learning rate if the optimizer's state holds it. Every line is written
    at once, so that a run that is killed leaves whole lines. NaN and infinity, which JSON lacks,
    are the texts "NaN", "Infinity" and "-Infinity".

    A run that is resumed from a checkpoint goes on in the file, and replaces the epochs that it
    repeats. A run that begins anew keeps an earlier file as `run.1.jsonl`. Of several processes,
    the first writes.

    Args:
        path: the file, in a folder that exists.
        settings: what the first line has besides the arguments of `fit`.

    Raises:
        TypeError: `path` is not a path, or `settings` are not a dict.
        OSError: the file cannot lie there.
        ValueError: there is a file of another kind.

    >>> import tempfile
    >>> from fcjax import EpochEnd, init_state
    >>> import jax.numpy as jnp, optax
    >>> path = tempfile.mkdtemp() + "/run.jsonl"
    >>> track = JsonLines(path, {"data": "digits"})  # for fit(callbacks=track)
    >>> state = init_state({"w": jnp.ones(2)}, optax.sgd(0.1))
    >>> track(EpochEnd(1, state, {"loss": 0.5}, 0.2))
    >>> print(Path(path).read_text(), end="")
    {"settings": {"data": "digits"}}
    {"epoch": 1, "seconds": 0.2, "loss": 0.5}
    >>> read(path).epochs
    [{'epoch': 1, 'seconds': 0.2, 'loss': 0.5}]
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any] | None = None):
        """Check the arguments; nothing is written before the end of the first epoch."""
        file = checked_file("path", path)
        if file.exists() and not file.is_file():
            raise OSError(f"path must be a file that can be replaced, got {str(file)!r}")
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(f"path must lie in a folder to write to, got {str(file)!r}")
        self._path = file.resolve()  # the program may change its folder
        _whole_lines(self._path)  # fail before training if it is another file
        self._settings = checked_settings(settings)
        self._epoch = 0  # the last one that was written

    def __call__(self, end: EpochEnd) -> None:
        """Write the end of an epoch."""
        if not is_first_process():
            return
        if "epoch" in end.figures:
            raise ValueError("a figure must have another name than 'epoch', which counts epochs")
        if not 0 < self._epoch < end.epoch:  # another call of `fit` begins anew
            self._begin(end)
        self._epoch = end.epoch
        _append(self._path, {"epoch": end.epoch, **end.numbers})

    def _begin(self, end: EpochEnd) -> None:
        """Make the file ready: without the epochs that are repeated, and with the settings."""
        lines = _whole_lines(self._path)
        if lines and end.epoch == 1:
            _keep(self._path)
            lines = []
        settings = _number(plain({**end.settings, **self._settings}))
        told = _settings_of(lines)
        lines = [line for line in lines if not line.get("epoch", 0) >= end.epoch]
        if told != settings or not lines:
            lines.append({"settings": settings})
        replace_file(self._path, "".join(map(_text, lines)).encode())

    def __repr__(self) -> str:
        return f"JsonLines({str(self._path)!r})"


def read(path: str | os.PathLike[str]) -> Record:
    r"""Return what a file of `JsonLines` says, with NaN and infinity as numbers.

    A last line that is not whole, as while it is written, is left out.

    Args:
        path: the file.

    Returns:
        A `Record` of the settings and of the epochs, in their order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not one of `JsonLines`; the message has its number.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "run.jsonl")
    >>> path.write_text('{"settings": {"seed": 0}}\n{"epoch": 1, "loss": "NaN"}\n{"epo') > 0
    True
    >>> read(path)
    Record(settings={'seed': 0}, epochs=[{'epoch': 1, 'loss': nan}])
    """
    path = checked_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    lines = _whole_lines(path)
    return Record(_settings_of(lines), [line for line in lines if "epoch" in line])


def _settings_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the newest settings."""
    return next((line["settings"] for line in reversed(lines) if "settings" in line), {})


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, without a last one that is not whole."""
    return list(_parsed(path)) if path.exists() else []


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not text.endswith(b"\n"):
            return
        yield {name: _number(value) for name, value in _line(text, number, path).items()}


def _line(text: bytes, number: int, path: Path) -> dict[str, Any]:
    """Return an epoch or settings, or raise ValueError."""
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not (
        type(line.get("epoch")) is int or isinstance(line.get("settings"), dict)
    ):
        got = brief(text.decode(errors="replace").strip())
        raise ValueError(
            f"line {number} of {str(path)!r} must be an epoch or settings as JsonLines writes "
            f"them, got {got}"
        )
    return line


def _number(value: Any) -> Any:
    """Return a value with numbers for the texts that stand for them."""
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


def _text(line: Mapping[str, Any]) -> str:
    """Return a line of JSON."""
    return json.dumps(plain(line)) + "\n"


def _append(path: Path, line: Mapping[str, Any]) -> None:
    """Write a whole line in one call, behind what is there."""
    with naming(path), path.open("ab", buffering=0) as file:
        file.write(_text(line).encode())


def _keep(path: Path) -> None:
    """Rename a file to the first free one of run.1.jsonl, run.2.jsonl, ..."""
    number = 1
    while (kept := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
