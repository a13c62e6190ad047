"""Signals and kills during training: how it ends, and what it goes on from."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import jax
import kills
import numpy as np
import pytest
from support import long
from training import BATCHES, X, Y, assert_same_bits, fit, fit_batches

import fcjax

checkpoint = fcjax.checkpoint
pytest.importorskip("orbax.checkpoint")
pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(autouse=True)
def _heeds_ctrl_c():
    """A shell lets what it starts behind `&` ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def signal_in_epoch(epoch, number):
    def send(end):
        if end.epoch == epoch:
            os.kill(os.getpid(), number)

    return send


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_fit_with_what_there_is(number, status, capsys, tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(fcjax.TrainingInterrupted) as caught:
        fit(epochs=5, callbacks=signal_in_epoch(2, number), checkpoint_dir=tmp_path)
    error = caught.value
    assert isinstance(error, KeyboardInterrupt)
    assert isinstance(error, SystemExit)
    assert error.code == status
    assert len(error.result.history["loss"]) == 2
    assert_same_bits(error.result.params, fit(epochs=2).params)
    lines = capsys.readouterr().err.strip().splitlines()
    name = signal.Signals(number).name
    assert lines[-1].startswith(f"fcjax.fit: ended by {name} after 0 steps of epoch 3; step 10 is")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    resumed = fit(epochs=5, checkpoint_dir=tmp_path)
    assert_same_bits(resumed.params, fit(epochs=5).params)
    assert resumed.history == fit(epochs=5).history


def test_it_is_caught_as_any_ctrl_c(capsys):
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(callbacks=signal_in_epoch(1, signal.SIGINT))
    assert int(caught.value.result.state.step) == 5
    assert "saved" not in capsys.readouterr().err


def test_the_second_ctrl_c_does_not_wait():
    def twice(end):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one was ignored")

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(callbacks=twice)
    assert not isinstance(caught.value, fcjax.TrainingInterrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_caller_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        result = fit(callbacks=signal_in_epoch(1, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    assert len(result.history["loss"]) == 3


def test_a_handler_of_the_caller_may_raise_and_loses_nothing(tmp_path):
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(5))
    try:
        with pytest.raises(SystemExit) as caught:
            fit(callbacks=signal_in_epoch(2, signal.SIGTERM), checkpoint_dir=tmp_path,
                checkpoint_every=99)  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 5
    assert checkpoint.steps(tmp_path) == [10]


def test_ctrl_c_within_asyncio_does_not_wait_for_the_event_loop(tmp_path):
    async def main():
        fit(callbacks=signal_in_epoch(1, signal.SIGINT), checkpoint_dir=tmp_path)

    with pytest.raises(KeyboardInterrupt) as caught:
        asyncio.run(main())
    assert isinstance(caught.value, fcjax.TrainingInterrupted)
    assert int(caught.value.result.state.step) == 5
    assert checkpoint.steps(tmp_path) == [5]


def test_a_handler_of_the_caller_stays_within_asyncio_too():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))

    async def train():
        return fit(epochs=2, callbacks=signal_in_epoch(1, signal.SIGTERM))

    try:
        result = asyncio.run(train())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(result.history["loss"]) == 2
    assert seen == [signal.SIGTERM]


def test_a_signal_during_the_last_save_is_told(monkeypatch, tmp_path):
    save = checkpoint.Writer.save

    def signalled(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return save(*args, **kwargs)

    monkeypatch.setattr(checkpoint.Writer, "save", signalled)
    with pytest.raises(fcjax.TrainingInterrupted) as caught:
        fit(epochs=2, checkpoint_dir=tmp_path, checkpoint_every="1 hours")
    assert len(caught.value.result.history["loss"]) == 2
    assert checkpoint.verify(tmp_path) == {10: None}


def test_a_signal_after_the_last_look_has_its_usual_effect(monkeypatch, tmp_path):
    close = checkpoint.Writer.close

    def signalled(writer):
        os.kill(os.getpid(), signal.SIGINT)
        close(writer)

    monkeypatch.setattr(checkpoint.Writer, "close", signalled)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(epochs=2, checkpoint_dir=tmp_path)
    assert not isinstance(caught.value, fcjax.TrainingInterrupted)
    assert checkpoint.verify(tmp_path)[10] is None


class Slow:
    """Batches that take as long as they are told."""

    def __init__(self, many, seconds=0.1):
        self.many, self.seconds = many, seconds

    def __iter__(self):
        for i in range(self.many):
            time.sleep(self.seconds)
            yield BATCHES[i % len(BATCHES)]


def ends_within(seconds, **options):
    """Train, send a signal after half a second, and return the error that ends it."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    begin = time.monotonic()
    timer.start()
    with pytest.raises(fcjax.TrainingInterrupted) as caught:
        fit(batch_size=None, **options)
    assert time.monotonic() - begin < seconds
    return caught.value


def test_a_signal_does_not_wait_for_a_slow_validation():
    options = {"data": BATCHES, "validation_data": Slow(1)}
    fit(batch_size=None, epochs=1, **options)  # compiles
    error = ends_within(5, epochs=9, **options | {"validation_data": Slow(200)})
    assert error.result.history == {}
    assert int(error.result.state.step) == len(BATCHES)


def test_a_signal_does_not_wait_until_batches_that_were_used_are_skipped(tmp_path):
    def broken():
        yield from Slow(50, 0)
        raise RuntimeError

    options = {"epochs": 1, "checkpoint_dir": tmp_path}
    with pytest.raises(fcjax.BatchError):
        fit(data=broken(), batch_size=None, **options)
    assert checkpoint.steps(tmp_path) == [50]
    ends_within(5, data=Slow(200), **options)
    assert checkpoint.verify(tmp_path) == {50: None}


FORKING = """
    import multiprocessing
    import jax, numpy as np, optax
    import fcjax

    class Data:
        def __iter__(self):
            process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(99,))
            process.start()
            for _ in range(3):
                yield np.ones((4, 2), np.float32)
            process.terminate()
            process.join(9)
            print("alive" if process.is_alive() else "ended", flush=True)
            process.kill()

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch), batch)

    params = fcjax.init(jax.random.key(0), (2, 2))
    fcjax.fit(params, Data(), loss=loss, optimizer=optax.sgd(0.1), epochs=1)
"""


def test_a_process_that_data_forks_can_be_terminated():
    program = "import time" + textwrap.dedent(FORKING)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200
    )
    assert run.stdout.split() == ["ended"], run.stderr


@pytest.mark.parametrize("fast", [0, 200])
def test_a_signal_does_not_wait_for_many_slow_batches(fast, tmp_path):
    """Neither where reading takes the time, nor where it suddenly does."""
    read = []

    class Slow:
        def __iter__(self):
            for i in range(400):
                if i == fast + 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                if i >= fast:
                    time.sleep(0.2)
                read.append(i)
                yield BATCHES[i % 4]

    with pytest.raises(fcjax.TrainingInterrupted) as caught:
        fit_batches(data=Slow(), epochs=1, checkpoint_dir=tmp_path)
    assert len(read) < fast + 25
    steps = int(caught.value.result.state.step)
    assert checkpoint.steps(tmp_path) == [steps]
    assert len(read) - 1 <= steps <= len(read)


def test_threads_train_too():
    results = []
    thread = threading.Thread(target=lambda: results.append(fit()))
    thread.start()
    thread.join()
    assert_same_bits(results[0].params, fit().params)


def test_a_callback_that_raises_loses_nothing(tmp_path):
    def fail(end):
        if end.epoch == 2:
            raise RuntimeError("no more room for plots")

    with pytest.raises(RuntimeError, match="no more room"):
        fit(checkpoint_dir=tmp_path, checkpoint_every=99, callbacks=fail)
    assert checkpoint.steps(tmp_path) == [10]
    assert_same_bits(fit(checkpoint_dir=tmp_path).params, fit().params)


# --- in the middle of an epoch --------------------------------------------------------------------


@pytest.mark.parametrize("every", ["2 steps", "3 steps", "7 steps"])
@pytest.mark.parametrize("as_batches", [False, True])
@pytest.mark.in_turn(2)
def test_a_run_goes_on_in_the_middle_of_an_epoch(every, as_batches, tmp_path):
    run = fit_batches if as_batches else fit
    whole = run(epochs=3, validation_data=(X[:7], Y[:7]))
    options = {"checkpoint_dir": tmp_path, "checkpoint_every": every, "max_to_keep": None}
    assert_same_bits(run(epochs=3, validation_data=(X[:7], Y[:7]), **options).params, whole.params)
    steps = checkpoint.steps(tmp_path)
    number = int(every.split()[0])
    assert steps == sorted({*range(number, 16, number), 15})
    for step in steps[:-1]:  # go on from each of them
        folder = tmp_path.parent / f"{tmp_path.name}-{step}"
        folder.mkdir()
        os.rename(tmp_path / str(step), folder / str(step))
        again = run(
            epochs=3, validation_data=(X[:7], Y[:7]), **{**options, "checkpoint_dir": folder}
        )
        assert_same_bits(again.params, whole.params)
        assert again.history == whole.history


def test_arguments_that_the_rest_of_an_epoch_depends_on_must_stay(tmp_path):
    def fail(*_):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(checkpoint_dir=tmp_path, checkpoint_every="3 steps", callbacks=fail)
    os.rename(tmp_path / "3", tmp_path / "x")
    for step in checkpoint.steps(tmp_path):
        os.rename(tmp_path / str(step), tmp_path / f"{step}.x")
    os.rename(tmp_path / "x", tmp_path / "3")
    for change in ({"batch_size": 4}, {"shuffle": False}, {"data": (X[:20], Y[:20])}):
        with pytest.raises(ValueError, match=r"must stay .* because it was made in the middle of"):
            fit(checkpoint_dir=tmp_path, **change)
    assert_same_bits(fit(checkpoint_dir=tmp_path).params, fit().params)


class Pulls:
    """A source of examples for Grain, which notes those that are read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 20

    def __repr__(self):
        return "Pulls()"  # by which Grain knows a source again

    def __getitem__(self, index):
        self.read.append(int(index))
        return np.asarray(X[index]), np.asarray(Y[index])


def dataset_of_grain(source):
    grain = pytest.importorskip("grain")
    return grain.MapDataset.source(source).shuffle(seed=3).batch(4)


def pipeline_of_grain(source):
    grain = pytest.importorskip("grain")
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    return grain.MapDataset.source(source).shuffle(seed=3).to_iter_dataset(options).batch(4)


def loader_of_grain(source):
    grain = pytest.importorskip("grain")
    sampler = grain.samplers.IndexSampler(
        num_records=20,
        num_epochs=1,
        shuffle=True,
        seed=3,
        shard_options=grain.sharding.NoSharding(),
    )
    return grain.DataLoader(
        data_source=source, sampler=sampler, worker_count=0,
        operations=[grain.transforms.Batch(batch_size=4)],
    )  # fmt: skip


@pytest.mark.parametrize("make", [dataset_of_grain, pipeline_of_grain, loader_of_grain])
@pytest.mark.filterwarnings("ignore")  # what Grain itself warns of
def test_a_loader_of_grain_goes_on_in_the_middle_of_an_epoch(make, tmp_path):
    whole = fit_batches(data=make(Pulls()), epochs=2)
    options = {"checkpoint_dir": tmp_path, "checkpoint_every": "3 steps", "max_to_keep": None}
    assert_same_bits(fit_batches(data=make(Pulls()), epochs=2, **options).params, whole.params)
    assert checkpoint.steps(tmp_path) == [3, 6, 9, 10]
    for step in (6, 9, 10):
        shutil.rmtree(tmp_path / str(step))
    source = Pulls()
    again = fit_batches(data=make(source), epochs=2, **options)
    assert_same_bits(again.params, whole.params)
    assert again.history == whole.history
    if make is not dataset_of_grain:  # whose iterator has a state: what was used is not read again
        assert len(source.read) < 40


class Numbered:
    """Batches of an iterator that has a state, and how often each was read."""

    def __init__(self):
        self.reads = [0] * len(BATCHES)

    def __iter__(self):
        return NumberedIterator(self)


class NumberedIterator:
    def __init__(self, data):
        self.data, self.number = data, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.number == len(BATCHES):
            raise StopIteration
        self.data.reads[self.number] += 1
        self.number += 1
        return BATCHES[self.number - 1]

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


@pytest.mark.parametrize("on_mesh", [False, True])
def test_a_loader_with_a_state_goes_on_from_it(on_mesh, tmp_path):
    options = {"checkpoint_dir": tmp_path, "checkpoint_every": "3 steps", "epochs": 1}
    if on_mesh:
        options["mesh"] = fcjax.distributed.mesh({"data": 1}, devices=jax.devices()[:1])
    whole = fit_batches(data=Numbered(), **options)
    shutil.rmtree(tmp_path / "5")
    data = Numbered()
    again = fit_batches(data=data, **options)
    assert_same_bits(again.params, whole.params)
    assert data.reads == [0, 0, 0, 1, 1]
    shutil.rmtree(tmp_path / "5")
    with pytest.raises(ValueError, match="data must be a loader whose iterator has set_state"):
        fit_batches(**options)


def test_a_state_that_cannot_be_saved_hides_no_error(tmp_path):
    class Broken(NumberedIterator):
        def __next__(self):
            if self.number == 2:
                raise OSError("the disk of the data is gone")
            return super().__next__()

        def get_state(self):
            return {1, 2}

    with pytest.raises(fcjax.BatchError, match="the disk of the data is gone"):
        fit_batches(data=Broken(Numbered()), checkpoint_dir=tmp_path)


def test_a_state_that_cannot_be_saved_is_told(tmp_path):
    class Odd:
        def __init__(self):
            self.batches = iter(BATCHES)

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.batches)

        def get_state(self):
            return object()

    with pytest.raises(TypeError, match="state of the iterator of data must be bytes or JSON"):
        fit_batches(data=Odd(), checkpoint_dir=tmp_path, checkpoint_every="2 steps")


# --- processes that are killed --------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return kills.finish(tmp_path_factory.mktemp("whole") / "run", kills.Job(epochs=60))


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_script_ends_with_one_line_and_the_status_of_the_signal(
    number, status, tmp_path, undisturbed
):
    process = kills.start(tmp_path / "run", kills.Job(epochs=100000, every="1 hour"))
    assert kills.training(process)
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == status
    (line,) = errors.strip().splitlines()
    assert line.startswith(f"fcjax.fit: ended by {signal.Signals(number).name} after")
    assert line.endswith(f"is saved in {str(tmp_path / 'run')!r}")


@long
def test_a_process_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path, undisturbed):
    job = kills.Job(epochs=60)
    killed = kills.kill_repeatedly(tmp_path / "run", job, kills=3, seed=5)
    assert killed.kills == 3
    assert_same_bits(kills.finish(tmp_path / "run", job), undisturbed)
    assert not list((tmp_path / "run").glob("*tmp*")), "unfinished saves are cleared away"


# --- several processes ----------------------------------------------------------------------------


@long
def test_a_job_goes_on_with_other_numbers_of_processes_and_devices(tmp_path):
    job = kills.Job(epochs=3, layout="fsdp")
    whole = kills.finish(tmp_path / "whole", job._replace(devices=4, every="1 hour"))
    for i, (processes, devices) in enumerate([(4, 1), (1, 4), (2, 2)]):
        part = job._replace(processes=processes, devices=devices, epochs=i + 1)
        last = kills.finish(tmp_path / "run", part)
    assert_same_bits(last, whole)
    # and without a mesh, where sums are rounded in another order
    shutil.rmtree(tmp_path / "run" / "150")
    again = kills.finish(tmp_path / "run", job._replace(layout=""))
    for a, b in zip(again, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_signal_to_the_launcher_saves_and_ends_every_process(tmp_path):
    process = kills.start(tmp_path / "run", kills.Job(100000, "1 hour", "replicated", 2))
    assert kills.training(process, 2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    lines = errors.strip().splitlines()
    assert lines[-1] == "fcjax launch: stopped by SIGTERM"
    assert sum("fcjax.fit: ended by SIGTERM" in line for line in lines) == 1
    assert set(checkpoint.verify(tmp_path / "run").values()) == {None}
