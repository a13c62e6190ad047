"""A folder that holds a model: `config.json` and one file of weights.

The file of weights is named after its checksum, and `config.json`, which names it, is replaced
last, in one step. So a reader finds the old model or the new one, whenever the writer is killed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._arguments import brief
from .._errors import Portable
from .._files import replace_file
from .._types import AnyArray
from .tensors import from_safetensors, to_safetensors

FORMAT = 1
CONFIG = "config.json"
# The only names that a config may give its files, all of them in the folder itself.
_WEIGHTS = re.compile(r"weights-[0-9a-f]{16}\.safetensors")
_EXTRA = re.compile(r"[A-Za-z0-9_]+\.(md|png)")
_PACKAGES = ("fcjax", "jax", "jaxlib", "numpy", "safetensors")


class Contents(NamedTuple):
    """What a folder holds: a description that JSON can hold, arrays by name, and other files."""

    config: Mapping[str, Any]
    arrays: Mapping[str, AnyArray]
    files: Mapping[str, bytes] = {}


class DamagedModelError(Portable, ValueError):
    """The folder of a model is damaged or incomplete."""

    def __init__(self, folder: str | Path, reason: str):
        """Make a message that names the folder."""
        self.reason = reason
        super().__init__(f"the model in {str(folder)!r} is damaged: {reason}")


class DamageError(ValueError):
    """What is wrong with the contents of a folder that has yet to be named."""


def write(folder: Path, contents: Contents) -> None:
    """Write a model, in place of one that the folder may hold."""
    prepare(folder)
    before = _files_of_model(folder)
    data = to_safetensors(contents.arrays, {"format": "fcjax"})
    digest = hashlib.sha256(data).hexdigest()
    weights = f"weights-{digest[:16]}.safetensors"
    config = {
        "format_version": FORMAT,
        **contents.config,
        "files": sorted(contents.files),
        "versions": {name: version(name) for name in _PACKAGES},
        "weights": {"file": weights, "sha256": digest},
    }
    text = json.dumps({**config, "checksum": _checksum(config)}, indent=2, ensure_ascii=False)
    files = {weights: data, **contents.files, CONFIG: text.encode()}
    for name, content in files.items():
        replace_file(folder / name, content)
    for name in before - set(files):
        (folder / name).unlink(missing_ok=True)


def read(folder: Path) -> Contents:
    """Read the model in a folder, and raise `DamagedModelError` unless it is whole.

    The arrays are NumPy's.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder must hold a model, got {str(folder)!r}, which is no folder"
        )
    while True:
        text = _config_of(folder)
        try:
            config = _checked_config(folder, text)
            return Contents(config, _arrays(folder, config["weights"]), _files(folder, config))
        except DamageError as damage:
            if _config_of(folder) == text:  # otherwise it was replaced while we read
                raise DamagedModelError(folder, str(damage)) from None


def _config_of(folder: Path) -> bytes:
    content = _content(folder / CONFIG)
    if content is None:
        raise FileNotFoundError(
            f"folder must hold a model, got {str(folder)!r}, which has no {CONFIG}"
        )
    return content


def _content(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none; to read a pipe would wait for ever."""
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:  # it has been removed since
        return None


def _checked_config(folder: Path, text: bytes) -> dict[str, Any]:
    try:
        config = json.loads(text)
        found = config["format_version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamageError(f"{CONFIG} is not that of a model of fcjax") from None
    if isinstance(found, int | float) and found > FORMAT:
        by = config.get("versions", {}).get("fcjax", "a newer version")
        raise ValueError(
            f"the model in {str(folder)!r} has format {found}, written by fcjax {by}; fcjax "
            f"{version('fcjax')} reads formats up to {FORMAT}: upgrade fcjax"
        )
    if config.pop("checksum", None) != _checksum(config):
        raise DamageError(f"{CONFIG} has been changed since it was written")
    # the checksum is no secret: whoever wrote the file may have meant to lead us elsewhere
    weights = config.get("weights")
    if type(found) is not int or found != FORMAT or not isinstance(weights, dict):
        raise DamageError(f"{CONFIG} is not that of a model of fcjax")
    if not _is_weights(weights.get("file")) or not isinstance(weights.get("sha256"), str):
        raise DamageError(f"{CONFIG} names no file of weights")
    return config


def _is_weights(name: Any) -> bool:
    return isinstance(name, str) and _WEIGHTS.fullmatch(name) is not None


def _arrays(folder: Path, weights: Mapping[str, str]) -> dict[str, np.ndarray]:
    path = folder / weights["file"]
    data = _content(path)
    if data is None:
        raise DamageError(f"{path.name} is {'no file' if path.exists() else 'missing'}")
    if hashlib.sha256(data).hexdigest() != weights["sha256"]:
        raise DamageError(f"{weights['file']} is not as it was written ({len(data)} bytes)")
    return from_safetensors(data)


def _files(folder: Path, config: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the other files that are still there; a model without its picture is a model."""
    names = [name for name in config.get("files", ()) if _is_extra(name)]
    contents = {name: _content(folder / name) for name in names}
    return {name: content for name, content in contents.items() if content is not None}


def _is_extra(name: Any) -> bool:
    """Whether a name can be that of a card or a picture of a model in the same folder."""
    return isinstance(name, str) and _EXTRA.fullmatch(name) is not None


def _checksum(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _files_of_model(folder: Path) -> set[str]:
    """Return the names of the files of the model that a folder holds, to be removed at the end.

    All are in the folder itself, and have names that only files of models have.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        names = [config["weights"]["file"], *config["files"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()
    return {name for name in names if _is_weights(name) or _is_extra(name)}


def is_of_model(path: Path) -> bool:
    """Whether a path leads to a file of the model that its folder holds."""
    path = path.resolve()
    names = _files_of_model(path.parent)
    return bool(names) and path.name in {CONFIG, *names}


def prepare(folder: Path, name: str = "folder") -> None:
    """Make the folder; raise unless it is empty, or holds a model that can be replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{name} must be a folder, got the file {str(folder)!r}") from None
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if others and not _is_model(folder):
        raise FileExistsError(
            f"{name} must be new, empty or hold a model to replace, got {str(folder)!r} with "
            f"{brief(others)}"
        )


def _is_model(folder: Path) -> bool:
    """Whether the folder holds a model, or what is left of one that was never finished."""
    try:
        return "weights" in json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        return any(_is_weights(path.name) for path in folder.iterdir())
    except (ValueError, TypeError, RecursionError):
        return False
