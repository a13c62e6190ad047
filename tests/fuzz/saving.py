"""Checkpoints: arguments that cannot be, and folders whose files are damaged at random."""

import functools
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from fcjax import checkpoint

from .judge import Call
from .registry import calls_of
from .spec import require

TREE = {"w": jnp.arange(15.0).reshape(5, 3), "n": jnp.int32(3), "key": jax.random.key(1)}
WRONG_FOLDERS = (None, 3, "", 2.5, ["a"], "a\0b", b"folder", {}, TREE["w"], __file__)
WRONG_STEPS = (-1, 1.5, "1", None, True, 10**30, np.float32(1))


@calls_of(
    "checkpoint.latest",
    "checkpoint.metadata",
    "checkpoint.restore",
    "checkpoint.save",
    "checkpoint.steps",
    "checkpoint.verify",
    "checkpoint.Writer",
    cases=40,
)
def checkpoint_calls(draw, name):
    """Draw a folder that cannot be, or for `save` a step, a tree or metadata."""
    name = name.split(".")[1]
    given = {"directory": draw(st.sampled_from(WRONG_FOLDERS))}
    if name == "restore":
        given["like"] = TREE
    if name == "save":
        given |= {"tree": TREE, "step": 1}
        wrong = draw(st.sampled_from(("directory", "step", "tree", "metadata")))
        if wrong != "directory":
            given["directory"] = f"{tempfile.gettempdir()}/fcjax-fuzz-nothing-is-written"
        if wrong == "step":
            given["step"] = draw(st.sampled_from(WRONG_STEPS))
        if wrong == "tree":
            given["tree"] = draw(st.sampled_from(("a", [object()], {"w": np.array(["a"])})))
        if wrong == "metadata":
            given["metadata"] = draw(st.sampled_from(({"x": object()}, {1: {2}}, {"x": 1j})))
    return Call(getattr(checkpoint, name), given, refused, wrong=tuple(given))


def refused(**_):
    require(False, "directory", "step")


@functools.cache
def whole():
    """Return a folder with two checkpoints, which no call changes."""
    folder = Path(tempfile.mkdtemp(prefix="fcjax-fuzz-"))
    for step in (1, 2):
        checkpoint.save(folder, TREE, step=step, metadata={"step": step})
    return folder


def read_damaged(file, way, place, content):
    """Damage a file of a checkpoint, and return what becomes of reading it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        shutil.copytree(whole(), folder)
        files = sorted(path for path in (folder / "2").rglob("*") if path.is_file())
        path = files[file % len(files)]
        data = bytearray(path.read_bytes())
        at = int(place * len(data))
        damaged = {
            "replace": content,
            "insert": data[:at] + content + data[at:],
            "overwrite": data[:at] + content + data[at + len(content) :],
            "truncate": data[:at],
        }
        path.write_bytes(bytes(damaged[way]))
        try:
            found = checkpoint.restore(folder, TREE, step=2)
            step = checkpoint.metadata(folder, step=2)["step"]
        except checkpoint.DamagedCheckpointError:
            return "named"
        same = all(bool(jnp.all(found[name] == TREE[name])) for name in TREE)
        return "right" if step == 2 and same else "wrong"


@calls_of("checkpoint.restore, damaged", cases=400)
def damaged_calls(draw):
    """Draw a file, and what is done to it."""
    given = {
        "file": draw(st.integers(0, 30)),
        "way": draw(st.sampled_from(("replace", "insert", "overwrite", "truncate"))),
        "place": draw(st.floats(0, 1)),
        "content": draw(st.binary(min_size=1, max_size=40)),
    }
    return Call(read_damaged, given, read)


def read(**_):
    return lambda got: None if got in ("right", "named") else got
