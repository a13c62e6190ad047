"""Records of training runs: lines of JSON, files of TensorBoard, and a tracker of one's own."""

import contextlib
import json
import math
import runpy
import struct
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import X, Y, fit

import fcjax
from fcjax.trackers import JsonLines, TensorBoard, read

SCHEDULE = optax.linear_schedule(0.5, 0.25, 100)
ADAM = optax.adam(1e-2)  # one for all, so that little is compiled
SCHEDULED = optax.inject_hyperparams(optax.sgd)(SCHEDULE)


def end(epoch, **figures):
    state = fcjax.init_state({"w": jnp.ones(2)}, optax.sgd(0.1))
    return fcjax.EpochEnd(epoch, state, figures, 0.5, {"seed": 3})


def lines(path):
    """The lines of a file, by a parser that takes strict JSON alone."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


# --- what there is to record ----------------------------------------------------------------------


def test_a_callback_learns_the_settings_the_seconds_and_the_learning_rate():
    ends = []
    fit(optimizer=SCHEDULED, callbacks=lambda end: ends.append(end) or end.numbers, epochs=2)
    # an epoch has five steps, and the rate decreases by 0.0025 after each update
    assert [end.learning_rate for end in ends] == pytest.approx([0.49, 0.4775])
    assert all(0 < end.seconds < 60 for end in ends)
    settings = ends[0].settings
    assert (settings["epochs"], settings["batch_size"], settings["examples"]) == (2, 5, 23)
    assert settings["parameters"] == 3 * 8 + 8 + 8 * 2 + 2
    assert settings["initial_learning_rate"] == 0.5
    assert list(ends[0].numbers) == ["seconds", "learning_rate", "loss"]


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [
        (optax.sgd(0.1), None),
        (optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.sgd)(0.5)), 0.5),
        (optax.MultiSteps(optax.inject_hyperparams(optax.adam)(0.5), 2), 0.5),
        (optax.inject_hyperparams(optax.clip)(0.5), None),
        (
            optax.partition(
                {"w": optax.inject_hyperparams(optax.sgd)(0.5), "b": optax.sgd(0.1)},
                {"w": "w", "b": "b"},
            ),
            0.5,
        ),
        (
            optax.partition(
                {n: optax.inject_hyperparams(optax.sgd)(r) for n, r in (("w", 0.5), ("b", 0.25))},
                {"w": "w", "b": "b"},
            ),
            None,
        ),
    ],
)
def test_the_learning_rate_is_known_or_not_guessed(optimizer, rate):
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    state = fcjax.TrainState(jnp.array(0), params, optimizer.init(params), jnp.array(0))
    assert fcjax.EpochEnd(1, state, {}).learning_rate == rate


# --- lines of JSON --------------------------------------------------------------------------------


def test_each_epoch_is_a_line_of_json(tmp_path):
    path = tmp_path / "run.jsonl"
    result = fit(
        optimizer=ADAM, callbacks=JsonLines(path, {"data": "mine"}), validation_data=(X, Y)
    )
    settings, *epochs = lines(path)
    assert settings["settings"]["data"] == "mine"
    assert settings["settings"]["batch_size"] == 5
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert [epoch["val_loss"] for epoch in epochs] == result.history["val_loss"]
    record = read(path)
    assert record.epochs == epochs
    assert record.settings == settings["settings"]


def test_pandas_reads_the_lines(tmp_path):
    pandas = pytest.importorskip("pandas")
    result = fit(optimizer=ADAM, callbacks=JsonLines(tmp_path / "run.jsonl"))
    frame = pandas.read_json(tmp_path / "run.jsonl", lines=True).dropna(subset="epoch")
    assert frame["loss"].tolist() == pytest.approx(result.history["loss"])


def test_numbers_that_json_lacks_come_back(tmp_path):
    given = {"far": math.inf, "path": tmp_path, "n": (1, 2), "in": {"x": [np.float32(2)]}}
    track = JsonLines(tmp_path / "run.jsonl", given | {"count": np.int64(3), "none": math.nan})
    track(end(1, loss=math.nan, best=math.inf, worst=-math.inf))
    track(end(2, loss=1e-300))
    settings, first, _ = lines(tmp_path / "run.jsonl")
    assert (first["loss"], first["best"], first["worst"]) == ("NaN", "Infinity", "-Infinity")
    assert settings["settings"] == {
        "seed": 3, "far": "Infinity", "path": str(tmp_path), "n": [1, 2], "in": {"x": [2.0]},
        "count": 3, "none": "NaN",
    }  # fmt: skip
    known, (one, two) = read(tmp_path / "run.jsonl")
    assert (known["far"], str(known["none"])) == (math.inf, "nan")
    assert math.isnan(one["loss"])
    assert (one["best"], one["worst"], two["loss"]) == (math.inf, -math.inf, 1e-300)


def test_a_second_run_of_one_tracker_keeps_the_first(tmp_path):
    track = JsonLines(tmp_path / "run.jsonl")
    first, second = (fit(callbacks=track, epochs=2, seed=seed) for seed in (0, 1))
    for name, result in (("run.1.jsonl", first), ("run.jsonl", second)):
        told = [epoch["loss"] for epoch in read(tmp_path / name).epochs]
        assert told == pytest.approx(result.history["loss"])


def test_a_resumed_run_has_no_epoch_twice_and_no_half_line(tmp_path):
    path = tmp_path / "run.jsonl"
    track = JsonLines(path)
    for epoch in (1, 2, 3):
        track(end(epoch, loss=epoch))
    with path.open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [epoch["epoch"] for epoch in read(path).epochs] == [1, 2, 3]
    JsonLines(path)(end(3, loss=30.0))
    assert [line.get("loss") for line in lines(path)] == [None, 1, 2, 30]
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_goes_on_from_its_checkpoint(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    whole, path = tmp_path / "whole.jsonl", tmp_path / "run.jsonl"
    fit(optimizer=ADAM, callbacks=JsonLines(whole), epochs=4)
    options = {"checkpoint_dir": tmp_path / "run", "checkpoint_every": 2}
    fit(optimizer=ADAM, callbacks=JsonLines(path), epochs=2, **options)
    with path.open("a") as file:  # by a process that was killed before it could save
        file.write('{"epoch": 3, "loss": 7.0}\n{"epoch": 4, "lo')
    fit(optimizer=ADAM, callbacks=JsonLines(path), epochs=4, **options)
    assert [line["loss"] for line in read(path).epochs] == [
        line["loss"] for line in read(whole).epochs
    ]
    told = [line["settings"]["epochs"] for line in lines(path) if "settings" in line]
    assert told == [2, 4], "settings that changed are added"


def test_a_run_that_begins_anew_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "run.jsonl"
    for loss in (1.0, 2.0, 3.0):
        JsonLines(path)(end(1, loss=loss))
    found = {p.name: read(p).epochs[0]["loss"] for p in tmp_path.iterdir()}
    assert found == {"run.1.jsonl": 1.0, "run.2.jsonl": 2.0, "run.jsonl": 3.0}


KILLED = """
import os, signal, sys
import jax.numpy as jnp, optax
import fcjax
track = fcjax.trackers.JsonLines(sys.argv[1])
state = fcjax.init_state({"w": jnp.ones(2)}, optax.sgd(0.1))
for epoch in range(1, 10**9):
    track(fcjax.EpochEnd(epoch, state, {f"figure {i}": 1 / 3 for i in range(50)}, 0.1))
    print(epoch, flush=True)
"""


def test_a_run_that_is_killed_leaves_whole_lines(tmp_path):
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        for _ in range(300):
            last = int(run.stdout.readline())
        run.kill()
    epochs = [line["epoch"] for line in lines(path)[1:]]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) >= last


def test_the_first_process_alone_writes(tmp_path, monkeypatch):
    for module in ("json_lines", "tensorboard"):
        monkeypatch.setattr(f"fcjax.trackers.{module}.is_first_process", lambda: False)
    JsonLines(tmp_path / "run.jsonl")(end(1, loss=1.0))
    TensorBoard(tmp_path)(end(1, loss=1.0))
    assert list(tmp_path.iterdir()) == []


def test_the_program_may_change_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    track = JsonLines("run.jsonl")
    track(end(1, loss=1.0))
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir("inner")
    track(end(2, loss=1.0))
    assert len(lines(tmp_path / "run.jsonl")) == 3


# --- TensorBoard ----------------------------------------------------------------------------------


def events(folder):
    """The events of the files of a folder, in the order in which TensorBoard reads them."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # length, its checksum, the event, its checksum
            (size,) = struct.unpack_from("<Q", data, at)
            yield event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size


def scalars(folder):
    return [
        (value.tag, event.step, value.simple_value)
        for event in events(folder)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def test_tensorboard_has_every_number_and_the_settings(tmp_path):
    track = TensorBoard(tmp_path / "run", {"data": "mine"})
    result = fit(callbacks=track, optimizer=SCHEDULED, validation_data=(X, Y))
    track.close()
    found = scalars(tmp_path / "run")
    for name in ("loss", "val_loss"):
        values = [(step, value) for tag, step, value in found if tag == name]
        assert values == [(i, pytest.approx(v)) for i, v in enumerate(result.history[name], 1)]
    assert {tag for tag, *_ in found} == {"seconds", "learning_rate", "loss", "val_loss"}
    (text,) = [
        value.tensor.string_val[0].decode()
        for event in events(tmp_path / "run")
        for value in event.summary.value
        if value.tensor.string_val
    ]
    settings = json.loads(text.removeprefix("```json").removesuffix("```"))
    assert (settings["data"], settings["batch_size"]) == ("mine", 5)


def test_a_resumed_run_hides_what_it_repeats_and_loses_no_file(tmp_path):
    for first in (1, 3):
        track = TensorBoard(tmp_path)  # twice in a second
        for epoch in range(first, first + 3):
            track(end(epoch, loss=first))
        track.close()
    assert len(list(tmp_path.iterdir())) == 2
    start = [e.step for e in events(tmp_path) if e.HasField("session_log")]
    assert start == [1, 3], "TensorBoard forgets what it has read from that step on"
    assert [(s, v) for tag, s, v in scalars(tmp_path) if tag == "loss"] == [
        (1, 1), (2, 1), (3, 1), (3, 3), (4, 3), (5, 3),
    ]  # fmt: skip


def test_what_is_not_finite_is_drawn_as_such(tmp_path):
    track = TensorBoard(tmp_path)
    track(end(1, loss=math.nan, far=math.inf))
    track.close()
    values = {tag: value for tag, _, value in scalars(tmp_path)}
    assert math.isnan(values["loss"])
    assert values["far"] == math.inf


# --- wrong arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "path must be a path, got int 3"),
        (("no/run.jsonl",), FileNotFoundError, "path must lie in a folder that exists"),
        ((".",), IsADirectoryError, "path must be a file, got the folder"),
        (("~/run.jsonl",), ValueError, "path must be a path without ~"),
        (("/dev/null",), OSError, "path must be a file that can be replaced, got '/dev/null'"),
        (("data.csv",), ValueError, "line 1 of .* must be an epoch or settings .* got 'a,b'"),
        (("numbers.json",), ValueError, "line 1 of .* must be an epoch or settings"),
        (("text.jsonl",), ValueError, 'line 2 of .* got \'{"epoch": "one"}\''),
        (("set.jsonl",), ValueError, "line 1 of .* got '{\"settings\": 3}'"),
        (("run.jsonl", "adam"), TypeError, "settings must be a dict or None, got str 'adam'"),
    ],
)
def test_a_wrong_argument_of_json_lines_is_named(
    arguments, error, message, tmp_path, monkeypatch, unchecked
):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("a,b\n1,2\n")
    Path("numbers.json").write_text("[1, 2]\n")
    Path("text.jsonl").write_text('{"epoch": 1}\n{"epoch": "one"}\n')
    Path("set.jsonl").write_text('{"settings": 3}\n')
    with pytest.raises(error, match=message):
        JsonLines(*arguments)
    assert Path("data.csv").read_text() == "a,b\n1,2\n"


def test_a_figure_must_not_be_called_epoch(tmp_path):
    with pytest.raises(ValueError, match="a figure must have another name than 'epoch'"):
        JsonLines(tmp_path / "run.jsonl")(end(1)._replace(figures={"epoch": 3.0}))


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match=r"line 2 of '.*' must be an epoch .* got '{\"epoch\": 2'"):
        read(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None,), TypeError, "folder must be a path, got None"),
        (("",), ValueError, "folder must be a path, got ''"),
        (("file",), NotADirectoryError, "folder must be a folder, got the file 'file'"),
        (("run", [1]), TypeError, "settings must be a dict or None, got list"),
    ],
)
def test_a_wrong_argument_of_tensorboard_is_named(
    arguments, error, message, tmp_path, monkeypatch, unchecked
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(error, match=message):
        TensorBoard(*arguments)


def test_without_tensorboardx_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'fcjax\[tensorboard\]'"):
        TensorBoard(tmp_path)


# --- a tracker of one's own -----------------------------------------------------------------------


class Server:
    """What the example calls of MLflow. As there, a parameter must not change within a run."""

    def __init__(self):
        self.params, self.metrics = {}, []

    def start_run(self):
        return contextlib.nullcontext()

    def log_params(self, params):
        assert not {n for n, v in self.params.items() if params.get(n, v) != v}
        self.params |= params

    def log_metrics(self, metrics, step):
        assert all(isinstance(value, float) for value in metrics.values())
        self.metrics.append((step, metrics))


def test_the_example_records_with_mlflow(monkeypatch):
    server = Server()
    monkeypatch.setitem(sys.modules, "mlflow", server)
    example = Path(__file__).parents[1] / "examples/track_with_mlflow.py"
    runpy.run_path(str(example), run_name="__main__")
    assert server.params["epochs"] == 30
    assert [step for step, _ in server.metrics] == list(range(1, 31))
    first, last = server.metrics[0][1], server.metrics[-1][1]
    assert set(first) == {"seconds", "learning_rate", "loss"}
    assert last["loss"] < first["loss"] / 3
    assert 0 <= last["learning_rate"] < first["learning_rate"] <= 0.01
