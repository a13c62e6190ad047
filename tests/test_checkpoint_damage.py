"""Checkpoints that are damaged, folders that are unusable, and disks that are full."""

import errno
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import warnings
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from training import assert_same_bits, fit

import fcjax
from fcjax.checkpoint import checksum as checksums, orbax
from fcjax.checkpoint.checksum import checksum
from fcjax.checkpoint.orbax import quietly

pytest.importorskip("orbax.checkpoint")
pytestmark = pytest.mark.usefixtures("unchecked")

checkpoint = fcjax.checkpoint
RNG = np.random.default_rng(3)


def tree(step):
    """Arrays of which the first is too large to lie where TensorStore has checksums of its own."""
    rng = np.random.default_rng(step)
    return {
        "w": jnp.asarray(rng.normal(size=(37, 53)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
        "count": jnp.asarray(step, jnp.int32),
        "key": jax.random.key(step),
    }


# --- checksums ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "int8", "uint16", "int32", "bool", "complex64"]
)
@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 5), (0, 3)])
def test_a_checksum_is_that_of_the_values_wherever_they_lie(dtype, shape):
    array = jnp.asarray(RNG.normal(size=shape) * 9).astype(dtype)
    on_device = int(checksums._sum_on_device(array))
    assert f"{on_device:08x}" == checksum(array) == checksum(np.asarray(array))


@pytest.mark.parametrize("dtype", ["int2", "int4", "float4_e2m1fn"])
def test_numbers_of_less_than_a_byte_are_saved_too(dtype, tmp_path):
    array = jnp.asarray(np.arange(2**21) % 2, dtype)
    checkpoint.save(tmp_path, array, step=1)
    assert checkpoint.verify(tmp_path) == {1: None}


def test_the_checksum_of_a_sharded_array_is_that_of_the_whole():
    array = jnp.asarray(RNG.normal(size=(512, 1024)), jnp.float32)
    whole = checksum(np.asarray(array))
    assert checksum(array) == whole, "over a mebibyte, so summed on the device"
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    for spec in (("a", "b"), ("b",), (("a", "b"),), (None, "a")):
        placed = jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))
        assert checksum(placed) == whole


def test_every_bit_counts():
    array = RNG.normal(size=(6, 4)).astype(np.float32)
    before = checksum(array)
    for byte, bit in product(range(array.nbytes), range(8)):
        flipped = array.copy()
        flipped.view(np.uint8).reshape(-1)[byte] ^= 1 << bit
        assert checksum(flipped) != before


def test_changes_that_a_plain_sum_would_miss():
    array = RNG.normal(size=(6, 4)).astype(np.float32)
    negated = array.copy()
    negated[1, 2], negated[4, 0] = -negated[1, 2], -negated[4, 0]
    changed = [negated, array[::-1], array[:, ::-1], array[[1, 0, 2, 3, 4, 5]], np.roll(array, 1)]
    assert len({checksum(one) for one in [array, *changed]}) == 6
    assert checksum(np.zeros((2, 3), np.float32)) != checksum(np.zeros((3, 2), np.float32))


# --- damage ---------------------------------------------------------------------------------------


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(place):
    def flip(path):
        data = bytearray(path.read_bytes())
        if data:
            data[int(place * (len(data) - 1))] ^= 0x10
        path.write_bytes(bytes(data))

    return flip


def overwrite(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


WAYS = {
    "delete": os.remove,
    "truncate": truncate,
    "empty": empty,
    "overwrite": overwrite,
    **{f"flip at {place:g}": flip(place) for place in (0, 0.5, 1)},
}


@pytest.mark.filterwarnings("ignore:the checkpoint of step 2")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.in_turn(4)
def test_damage_is_never_read_as_numbers(way, tmp_path):
    whole = tmp_path / "whole"
    for step in (1, 2):
        checkpoint.save(whole, tree(step), step=step, metadata={"step": step})
    damaged = []
    for file in files_of(whole / "2"):
        folder = tmp_path / "damaged"
        shutil.copytree(whole, folder)
        WAYS[way](folder / file.relative_to(whole))
        found = checkpoint.restore(folder, tree(0))
        step = int(found["count"])
        assert_same_bits(jax.random.key_data(found["key"]), jax.random.key_data(tree(step)["key"]))
        assert_same_bits({**found, "key": 0}, {**tree(step), "key": 0})
        if step == 1:
            damaged.append(file.name)
            with pytest.raises(checkpoint.DamagedCheckpointError) as caught:
                checkpoint.restore(folder, tree(0), step=2)
            assert f"the checkpoint of step 2 in {str(folder)!r} is damaged: " in str(caught.value)
            assert len(str(caught.value)) < 500
        shutil.rmtree(folder)
    assert len(damaged) > 1


def test_the_one_before_is_used_with_a_warning_and_the_damaged_one_is_kept_aside(tmp_path):
    fit(epochs=2, checkpoint_dir=tmp_path)
    arrays = max(files_of(tmp_path / "10" / "arrays"), key=lambda path: path.stat().st_size)
    flip(0.5)(arrays)
    with pytest.warns(UserWarning, match=r"step 10 in .* is damaged: .* step 5 is used instead"):
        result = fit(epochs=4, checkpoint_dir=tmp_path)
    assert_same_bits(result.params, fit(epochs=4).params)
    assert (tmp_path / "10.damaged").is_dir()
    assert set(checkpoint.verify(tmp_path).values()) == {None}


def test_nothing_is_begun_anew_where_every_checkpoint_is_damaged(tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    for file in files_of(tmp_path / "5" / "record"):
        empty(file)
    with pytest.raises(checkpoint.DamagedCheckpointError, match=r"step 5 .* record cannot be read"):
        fit(epochs=4, checkpoint_dir=tmp_path)


def test_a_stray_folder_and_leftovers_are_no_obstacle(tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    (tmp_path / "12").mkdir()
    (tmp_path / "13.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"step 12 in .* is damaged: its record cannot be read"):
        fit(epochs=3, checkpoint_dir=tmp_path)
    assert checkpoint.steps(tmp_path) == [5, 10, 15]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.isdigit()) == [
        ".lock",
        "12.damaged",
        "notes.txt",
    ]


def test_a_record_that_was_edited_is_noticed(tmp_path):
    checkpoint.save(tmp_path, tree(1), step=1, metadata={"loss": 0.5})
    file = next(f for f in files_of(tmp_path / "1" / "record") if b'"loss"' in f.read_bytes())
    record = json.loads(file.read_text())
    record["metadata"]["loss"] = 0.25
    file.write_text(json.dumps(record))
    with pytest.raises(checkpoint.DamagedCheckpointError, match="does not have its checksum"):
        checkpoint.metadata(tmp_path)


def test_nothing_is_pickled(tmp_path):
    checkpoint.save(tmp_path, tree(1), step=1)
    assert not any(file.read_bytes()[:2] == b"\x80\x04" for file in files_of(tmp_path))


# --- what is stored -------------------------------------------------------------------------------


def test_leaves_come_back_as_what_they_were(tmp_path):
    given = {"a": np.arange(3, dtype=np.float64), "b": 3, "c": 0.5, "d": True, "e": None}
    checkpoint.save(tmp_path, given, step=1)
    found = checkpoint.restore(tmp_path, given)
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in given.items()
    }
    assert found["a"].dtype == np.float64
    assert (found["b"], found["c"], found["d"]) == (3, 0.5, True)


def test_another_dtype_is_told(tmp_path):
    checkpoint.save(tmp_path, jnp.zeros(3), step=1)
    with pytest.raises(checkpoint.MismatchError, match=r"float32\[3\] is stored .* bfloat16\[3\]"):
        checkpoint.restore(tmp_path, jnp.zeros(3, jnp.bfloat16))


@pytest.mark.parametrize("bad", ["a", object(), np.array(["a"]), np.array([object()])])
def test_what_is_no_array_is_refused_by_its_place(bad, tmp_path):
    with pytest.raises(TypeError, match=r"tree\['x'\] must be an array or a number, got "):
        checkpoint.save(tmp_path, {"x": bad}, step=1)
    assert checkpoint.steps(tmp_path) == []


def test_metadata_must_be_json(tmp_path):
    with pytest.raises(TypeError, match="metadata must be a dict that JSON can hold"):
        checkpoint.save(tmp_path, jnp.zeros(3), step=1, metadata={"x": object()})


@pytest.mark.parametrize("layout", ["replicated", "fsdp"])
def test_arrays_come_back_on_the_devices_that_are_asked_for(layout, tmp_path):
    mesh = fcjax.distributed.mesh({"data": 8})
    params = fcjax.init(jax.random.key(0), (16, 8, 8))
    placed = fcjax.distributed.place(params, mesh, layout)
    checkpoint.save(tmp_path, placed, step=1)
    for like in (params, placed, fcjax.distributed.place(params, mesh, "replicated")):
        found = checkpoint.restore(tmp_path, like)
        assert_same_bits(found, params)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(like), strict=True):
            assert (a.sharding, a.committed) == (b.sharding, b.committed)


def test_what_is_overwritten_after_save_returns_is_saved_as_it_was(tmp_path):
    overwrite = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros((2000, 1000))
    with checkpoint.Writer(tmp_path) as writer:
        for step in range(3):
            writer.save(x, step=step)
            for _ in range(5):
                x = overwrite(x)
    assert checkpoint.verify(tmp_path) == {0: None, 1: None, 2: None}
    for step in range(3):
        found = checkpoint.restore(tmp_path, jnp.zeros((2000, 1000)), step=step)
        assert float(found.min()) == float(found.max()) == 5 * step


def test_the_newest_and_the_best_are_kept(tmp_path):
    def keep(metadata):
        return {min(metadata, key=lambda step: metadata[step]["loss"])}

    losses = [5, 4, 1, 3, 6, 2, 7]
    for part in (losses[:4], losses[4:]):  # what is known of the first ones is read again
        with checkpoint.Writer(tmp_path, max_to_keep=2, keep=keep) as writer:
            for loss in part:
                writer.save(jnp.zeros(3), step=losses.index(loss), metadata={"loss": loss})
    assert checkpoint.steps(tmp_path) == [2, 5, 6]


# --- folders that cannot be used ------------------------------------------------------------------


def test_an_unusable_folder_is_told_before_the_first_epoch(tmp_path):
    def loss(params, batch):
        raise AssertionError("training began")

    (tmp_path / "file").write_text("")
    for folder, error, words in [
        ("", ValueError, "checkpoint_dir must be the path of a folder, got ''"),
        ("run[1]", ValueError, "checkpoint_dir must be a path without any of"),
        (3, TypeError, "checkpoint_dir must be a path, got int 3"),
        (tmp_path / "file", NotADirectoryError, "checkpoint_dir must be a folder, got the file"),
        (tmp_path / "file" / "run", OSError, "^checkpoint_dir .* cannot be written"),
        ("/proc/run", OSError, "checkpoint_dir '/proc/run' cannot be written"),
    ]:
        with pytest.raises(error, match=words):
            fit(checkpoint_dir=folder)
    assert not os.path.exists("record")


LIMITED = """
    import resource, signal, sys, warnings
    import jax.numpy as jnp
    import numpy as np
    import optax
    import fcjax

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    X = jnp.asarray(np.random.default_rng(0).normal(size=(23, 3)), jnp.float32)
    large = jnp.asarray(np.random.default_rng(1).normal(size=90000), jnp.float32)
    params = {"small": jnp.ones(3), "large": large}

    def loss(params, batch):
        return jnp.mean((batch @ params["small"]) ** 2) + jnp.sum(params["large"] ** 2)

    def limit(end):
        if end.epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        if end.epoch == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    result = fcjax.fit(params, X, loss=loss, optimizer=optax.sgd(0.01), epochs=8, batch_size=23,
                       checkpoint_dir=sys.argv[1], checkpoint_errors=sys.argv[2], callbacks=limit,
                       max_to_keep=None)
    print(len(result.history["loss"]))
"""


# The save of epoch 2 fails after training has gone on, and that of epoch 4 must still be made.
ONCE = """
    import os, resource, signal, sys, time
    import jax
    import numpy as np
    import optax
    import fcjax

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch), batch)

    def limit(end):
        time.sleep(1)
        size = 20000 if end.epoch == 2 else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        if end.epoch == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    fcjax.fit(fcjax.init(jax.random.key(0), (4, 256, 256, 4)), X, loss=loss, epochs=9, batch_size=4,
              optimizer=optax.adam(1e-3), checkpoint_every=2, checkpoint_dir=sys.argv[1],
              checkpoint_errors="warn", callbacks=limit)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_save_that_failed_does_not_take_the_next_one_with_it(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(ONCE), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 143, run.stderr
    lines = run.stderr.strip().splitlines()
    assert lines[-1].endswith(f"step 12 is saved in {str(tmp_path)!r}"), run.stderr
    assert "Traceback" not in run.stderr  # of Orbax's threads
    assert len(lines) < 9, run.stderr
    assert checkpoint.verify(tmp_path) == {12: None}


@pytest.fixture
def asyncio_logger():
    """The logger, without what the failed saves of other tests have left."""
    logger = logging.getLogger("asyncio")
    logger.removeFilter(orbax._LEFT_BEHIND)
    return logger


@pytest.mark.parametrize(("where", "said"), [("orbax/checkpoint/x.py", False), ("own/x.py", True)])
def test_only_what_orbax_left_in_asyncio_is_not_said_again(caplog, asyncio_logger, where, said):
    # Which of its futures nobody asks, and when the collector finds them, differs from run to run.
    try:
        exec(compile("raise ValueError('left')", f"/site-packages/{where}", "exec"))
    except ValueError as error:
        left = error
    with quietly():
        asyncio_logger.error("exception was never retrieved", exc_info=left)
    assert [record.name for record in caplog.records] == ["asyncio"] * said
    asyncio_logger.error("after", exc_info=left)
    assert caplog.records[-1].getMessage() == "after"


def test_what_a_save_that_failed_leaves_behind_is_not_said_later(caplog, asyncio_logger):
    try:
        exec(compile("raise ValueError('left')", "/site-packages/orbax/checkpoint/x.py", "exec"))
    except ValueError as error:
        left = error
    with pytest.raises(ValueError, match="left"), quietly():
        raise left
    asyncio_logger.error("exception was never retrieved", exc_info=left)
    asyncio_logger.error("exception was never retrieved", exc_info=ValueError("own"))
    assert [record.exc_info[1].args[0] for record in caplog.records] == ["own"]


def test_a_save_that_fails_leaves_the_warnings_of_others_alone(recwarn):
    warnings.simplefilter("default")

    async def never_awaited():
        pass

    def fail():
        cycle = [never_awaited()]
        cycle.append(cycle)  # for the collector to find
        raise ValueError("full")

    for _ in range(2):
        with pytest.raises(ValueError, match="full"), quietly():
            fail()
        warnings.warn("said once", stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["said once"]


def test_an_error_of_the_system_is_not_taken_for_damage(monkeypatch, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    fit(epochs=2, checkpoint_dir=tmp_path)

    def fails(*_, **__):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(ocp.PyTreeCheckpointHandler, "restore", fails)
        with pytest.raises(
            OSError, match=r"the checkpoint of step 10 in .* could not be read: Sta"
        ):
            fit(epochs=3, checkpoint_dir=tmp_path)
        found = checkpoint.verify(tmp_path)
        assert found == dict.fromkeys([5, 10], "it cannot be read now (Stale file handle)")
    result = fit(epochs=3, checkpoint_dir=tmp_path)
    assert checkpoint.steps(tmp_path) == [5, 10, 15]
    assert_same_bits(result.params, fit(epochs=3).params)


def run_limited(folder, policy):
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(folder), policy]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_disk_that_is_full_ends_training_with_its_name_or_is_a_warning(tmp_path):
    ended = run_limited(tmp_path / "a", "raise")
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert f"directory {str(tmp_path / 'a')!r} could not be written" in last, ended.stderr
    assert last.endswith(" as they were: File too large"), last
    whole = checkpoint.verify(tmp_path / "a")  # step 2 may still be on its way to the disk
    assert list(whole) in ([1], [1, 2])
    assert set(whole.values()) == {None}
    went_on = run_limited(tmp_path / "b", "warn")
    assert went_on.stdout.strip() == "8", went_on.stderr
    assert "training goes on" in went_on.stderr
    whole = checkpoint.verify(tmp_path / "b")
    assert set(whole.values()) == {None}
    assert {1, 7, 8} <= set(whole)
    assert not set(whole) & {3, 4}  # 5 is written while the limit ends


def test_two_runs_do_not_write_the_same_folder(tmp_path):
    program = f"""
    import time
    import jax.numpy as jnp
    from fcjax import checkpoint
    with checkpoint.Writer({str(tmp_path)!r}) as writer:
        writer.save(jnp.ones(3), step=1)
        writer.wait()
        print("writes", flush=True)
        time.sleep(99)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writes\n"
        with pytest.raises(OSError, match="is written by another run, which must end first"):
            checkpoint.save(tmp_path, {}, step=2)
        assert checkpoint.verify(tmp_path) == {1: None}
        other.kill()
    checkpoint.save(tmp_path, {}, step=2)  # the lock died with it
    assert checkpoint.verify(tmp_path) == {1: None, 2: None}


def test_a_checkpoint_is_not_a_folder_of_checkpoints(tmp_path):
    fit(epochs=1, checkpoint_dir=tmp_path)
    for use in (checkpoint.steps, lambda folder: fit(epochs=2, checkpoint_dir=folder)):
        with pytest.raises(ValueError, match=re.escape(f"pass {str(tmp_path)!r}")):
            use(tmp_path / "5")
    assert checkpoint.verify(tmp_path) == {5: None}


@pytest.mark.parametrize(
    ("folder", "kind", "message"),
    [
        ("~/run", ValueError, "must be a path without ~"),
        ("link", FileNotFoundError, "got a link to nowhere"),
    ],
)
def test_paths_that_are_no_folders_are_refused(folder, kind, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    os.symlink("gone", "link")
    with pytest.raises(kind, match=f"checkpoint_dir.* {message}"):
        fit(epochs=1, checkpoint_dir=folder)
    assert os.listdir() == ["link"]
