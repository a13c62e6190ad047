"""The option `--track` of `fcjax train`."""

from collections.abc import Mapping, Sequence
from typing import Any

from .._arguments import brief
from ..trackers import JsonLines, TensorBoard

Tracker = JsonLines | TensorBoard
_ACCEPTED = "FILE.jsonl, tensorboard:FOLDER"


def trackers_of(texts: Sequence[str], settings: Mapping[str, Any]) -> list[Tracker]:
    """Return what the option names; raise for what it cannot."""
    if len(set(texts)) < len(texts):
        raise ValueError(f"track: got {brief(list(texts))}; accepted: each once")
    return [_tracker_of(text, settings) for text in texts]


def _tracker_of(text: str, settings: Mapping[str, Any]) -> Tracker:
    kind, separator, folder = text.partition(":")
    if separator and kind == "tensorboard" and folder:
        return TensorBoard(folder, settings)
    if not text.endswith(".jsonl"):
        raise ValueError(f"track: got {brief(text)}; accepted: {_ACCEPTED}")
    try:
        return JsonLines(text, settings)
    except OSError as error:
        raise type(error)(f"track: {error}") from None
