"""Runs in several processes: they compute the same bits as one, and end together."""

import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support import long

from fcjax import checkpoint, distributed
from fcjax.distributed import processes, watch

pytest.importorskip("tyro")

from fcjax_cli.launch import launch as run_in_processes

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu" or not hasattr(os, "killpg"), reason="simulates devices"
)

# Seconds within which all processes must have ended after one has failed.
BOUND = 30
# How a program uses the processes: it adds up numbers of all devices.
PREAMBLE = """
    import os, signal, sys, time
    import jax, numpy as np
    from jax.sharding import NamedSharding, PartitionSpec
    from fcjax import checkpoint, distributed

    def join(*where, **options):
        distributed.initialize(*where, **options)
        mesh = distributed.mesh()
        everywhere = NamedSharding(mesh, PartitionSpec())
        add = jax.jit(lambda x: x.sum(), out_shardings=everywhere)
        ones = np.ones(jax.local_device_count(), np.float32)
        total = lambda: float(add(distributed.place_batch(ones, mesh, local=True)))
        assert total() == jax.device_count()
        return total
"""


def environment(**variables):
    return os.environ | {"JAX_PLATFORMS": "cpu"} | variables


@pytest.fixture
def script(tmp_path):
    def write(text, preamble=PREAMBLE):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(preamble) + textwrap.dedent(text))
        return path

    return write


def command(*arguments):
    # as the entry point; `python -m fcjax` loads JAX first
    return [sys.executable, "-c", "from fcjax_cli import main; main()", *map(str, arguments)]


def launch(*arguments, **options):
    return subprocess.run(
        command("launch", *arguments),
        capture_output=True,
        text=True,
        timeout=280,
        env=environment(),
        **options,
    )


def launch_in_background(program):
    return subprocess.Popen(
        command("launch", "-n", 2, program),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_until_up(launcher):
    """Wait until both processes have printed a line."""
    for _ in range(2):
        assert "up" in launcher.stdout.readline()


def last_line(text):
    return text.strip().splitlines()[-1]


# --- the same bits --------------------------------------------------------------------------------

# A step, an epoch and a run, the first two with the rows of each process.
TRAIN = """
    import sys
    import jax, numpy as np, optax
    import fcjax
    from fcjax import checkpoint, distributed
    from jax.experimental import multihost_utils
    from jax.sharding import NamedSharding, PartitionSpec

    distributed.initialize()
    random = np.random.default_rng(0)
    X, labels = np.float32(random.standard_normal((48, 8))), random.integers(0, 4, 48)
    params = fcjax.init(jax.random.key(0), (8, 16, 16, 4))
    optimizer = optax.adam(1e-2)
    found = {}

    def loss(params, batch):
        logits = fcjax.mlp(params, batch[0], activations="tanh")
        return fcjax.softmax_cross_entropy(logits, batch[1])

    def record(name, tree):
        for path, leaf in jax.tree.leaves_with_path(tree):
            if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
                leaf = multihost_utils.process_allgather(leaf, tiled=True)
            found[name + jax.tree_util.keystr(path)] = np.asarray(leaf)

    def own_rows(mesh):
        share = len(X) // jax.process_count()
        rows = slice(share * jax.process_index(), share * (jax.process_index() + 1))
        return distributed.place_batch((X[rows], labels[rows]), mesh, local=True)

    def start(mesh, layout):
        state = fcjax.init_state(distributed.place(params, mesh, layout), optimizer)
        return distributed.on_mesh(state, mesh)

    mesh = distributed.mesh({"data": 4})
    with jax.set_mesh(mesh):
        state = start(mesh, "replicated")
        train_step = fcjax.make_train_step(loss, optimizer)
        for _ in range(3):
            state, info = train_step(state, own_rows(mesh))
            record(f"step {int(state.step)}", (state.params, info.loss))
        train_epoch = fcjax.make_train_epoch(loss, optimizer, batch_size=16)
        state, info = train_epoch(start(mesh, "fsdp"), own_rows(mesh))
        record("epoch", (state.params, info.loss))

    # of four processes, two that share the layers have the same rows
    mesh = distributed.mesh({"data": 2, "model": 2})
    data = own_rows(mesh) if jax.process_count() < 4 else (X, labels)
    result = fcjax.fit(
        params, data, loss=loss, optimizer=optimizer, epochs=2, batch_size=16, mesh=mesh,
        layout="tensor", validation_data=(X[:13], labels[:13]),
    )
    record("fit", (result.params, {name: np.array(h) for name, h in result.history.items()}))
    if jax.process_index() == 0:
        np.savez(sys.argv[1], **found)
"""


def trained(processes, folder):
    """What a run in some processes with four devices computes."""
    path = folder / "train.py"
    path.write_text(textwrap.dedent(TRAIN))
    file = folder / f"{processes}.npz"
    run = launch("-n", processes, "--devices-per-process", 4 // processes, path, file)
    assert run.returncode == 0, run.stderr
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory):
    return trained(1, tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=long)])
def test_several_processes_compute_the_bits_of_one(count, tmp_path, in_one_process):
    several = trained(count, tmp_path)
    assert several.keys() == in_one_process.keys()
    assert len(several) == 3 * 7 + 7 + 8
    for name, array in several.items():
        assert array.tobytes() == in_one_process[name].tobytes(), name


def test_arrays_that_cannot_be_placed(script):
    program = script(
        """
        def refusal(*arguments, **options):
            try:
                distributed.place_batch(*arguments, **options)
            except ValueError as error:
                return str(error)

        join()
        mesh, me = distributed.mesh(), jax.process_index()
        print(refusal(np.arange(8) + (me == 1), mesh, name="data"))
        print(refusal(np.arange(8 + 4 * me), mesh))
        print(refusal(np.arange(3), mesh, local=True))
        x = distributed.place_batch(np.arange(8.0), mesh)  # float64 in NumPy, float32 in JAX
        assert x.dtype == np.float32 and distributed.place_batch(x, mesh) is x
        devices = np.array(jax.devices()).reshape(2, 2).T.ravel()  # both processes in each row
        between = distributed.mesh({"data": 2, "model": 2}, devices=devices)
        print(refusal(np.arange(4.0) + me, between, local=True))
        same = distributed.place_batch(np.arange(4.0), between, local=True)
        assert same.shape == (4,) and same.addressable_shards[0].data.shape == (2,)
        mine = [shard.data.tolist() for shard in x.addressable_shards]
        assert mine == [[0, 1], [2, 3], [4, 5], [6, 7]][2 * me : 2 * me + 2]
        """
    )
    run = launch("-n", 2, "--devices-per-process", 2, program)
    assert run.returncode == 0, run.stderr
    for message in (
        "data must be equal in all processes, got different arrays in process 1 and in process 0",
        "batch must be equal in all processes",
        "examples of batch in this process must be a multiple of 2, the parts into which its",
        "batch must have the same examples in processes 0 and 1, between which 'model' splits",
    ):
        assert run.stdout.count(message) == 2


# --- started by hand ------------------------------------------------------------------------------

FAILING = """
    how, victim, heartbeat, address, process, processes = sys.argv[1:]
    total = join(address, int(processes), int(process), heartbeat=int(heartbeat))
    if process == victim:
        time.sleep(0.3)
        print("fails at", time.time(), flush=True)
        if how == "raise":
            raise ValueError("the data are gone")
        if how == "abort":
            distributed.abort(3)
        if how == "stranger":  # holds a connection, and says nothing
            import socket
            port = distributed.processes._Exit.installed._watch._server.getsockname()[1]
            stranger = socket.create_connection(("127.0.0.1", port))
            time.sleep(1)
        if how in ("done", "stranger"):
            sys.exit()
        os.kill(os.getpid(), getattr(signal, how))
    while how not in ("done", "stranger"):
        total()
    time.sleep(2)
"""


# Some ports for each process of pytest, below those that systems hand out. One of the latter may be
# handed out again before process 0 binds it. Process 0 then dies, and the others look for it.
PORTS = itertools.count(10_000 + 20 * (os.getpid() % 1000))


def is_free(port):
    try:
        with socket.create_server(("", port)):
            return True
    except OSError:
        return False


def free_address():
    return f"127.0.0.1:{next(filter(is_free, PORTS))}"


def give_up(started):
    """Fail with what all processes say, and where each of them is."""
    for process in started:
        process.send_signal(signal.SIGABRT)  # Python's fault handler prints the stacks
    time.sleep(2)
    for process in started:  # one that is stopped does not see the other signal
        process.kill()
    pytest.fail("\n".join(["a process does not end", *(p.communicate()[0] for p in started)]))


def by_hand(program, how, victim, processes, heartbeat=20):
    """Start processes; return each one's status and output, and the seconds after the failure."""
    address = free_address()
    started = [
        subprocess.Popen(
            [sys.executable, program, how, str(victim), str(heartbeat), address, str(i),
             str(processes)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(PYTHONFAULTHANDLER="1"),
        )
        for i in range(processes)
    ]  # fmt: skip
    fails = how not in ("done", "stranger")
    others = [process for i, process in enumerate(started) if i != victim or not fails]
    try:
        said = [process.communicate(timeout=200)[0] for process in others]
        if how != "SIGSTOP":
            started[victim].wait(timeout=BOUND)
        ended = time.time()
    except subprocess.TimeoutExpired:
        give_up(started)
    finally:
        for process in started:
            process.kill()
    statuses = [process.wait() for process in started]
    if not fails:
        return SimpleNamespace(statuses=statuses, said=said)
    victims = started[victim].communicate()[0]
    said.insert(victim, victims)
    seconds = ended - float(re.search(r"fails at (\S+)", victims)[1])
    return SimpleNamespace(statuses=statuses, said=said, seconds=seconds)


@pytest.mark.parametrize(
    ("how", "victim", "status", "word"),
    [
        ("raise", 0, 1, "raised ValueError: the data are gone"),
        ("raise", 1, 1, "raised ValueError: the data are gone"),
        ("SIGKILL", 0, -9, "died"),
        ("SIGKILL", 1, -9, "died"),
        ("abort", 1, 3, "exited with status 3"),
    ],
)
@pytest.mark.in_turn(2)
def test_when_a_process_fails_the_others_name_it(how, victim, status, word, script):
    processes = 3 if how == "abort" else 2  # process 0 passes on what process 1 says
    run = by_hand(script(FAILING), how, victim, processes)
    assert run.seconds < BOUND
    assert run.statuses[victim] == status
    assert ("the data are gone" in run.said[victim]) == (how == "raise")
    for other in set(range(processes)) - {victim}:
        line = f"fcjax: process {victim} of {processes} {word}; this process ends too"
        assert run.said[other].count(line) == 1
        if (how, victim) != ("SIGKILL", 0):  # with which JAX's service dies: JAX may abort first
            assert run.statuses[other] == 1
            assert last_line(run.said[other]) == line
            assert "Traceback" not in run.said[other]
            assert "Terminating process" not in run.said[other]  # what JAX says


def test_a_process_that_does_not_answer_is_found_by_its_heartbeat(script):
    run = by_hand(script(FAILING), "SIGSTOP", 1, 2, heartbeat=5)
    assert run.seconds < BOUND
    assert run.statuses[0] not in (0, -9)
    assert re.search(r"stopped sending heartbeats\):\s+(\S*task:)?1\b", run.said[0])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("how", ["done", "stranger"])
def test_a_process_that_is_done_waits_for_the_others_alone(how, script):
    begin = time.monotonic()
    run = by_hand(script(FAILING), how, 0, 2)
    assert run.statuses == [0, 0], run.said
    assert time.monotonic() - begin < 60
    assert not any("fcjax:" in text for text in run.said)


def test_a_process_that_is_done_waits_for_one_that_has_not_connected(monkeypatch):
    store, ended = {}, []
    service = SimpleNamespace(
        key_value_set=store.__setitem__, blocking_key_value_get=lambda key, _: store[key]
    )
    monkeypatch.setattr(watch, "end_this_process", ended.append)
    hub = watch.Hub(service, 2, 20)
    hub.start()
    leaving = threading.Thread(target=hub.leave, args=(watch.DONE, BOUND))
    leaving.start()
    leaving.join(0.3)
    spoke = watch.Spoke(service, "127.0.0.1", 1, 2, 20)
    spoke.start()
    spoke.leave(watch.DONE, BOUND)
    hub.join(BOUND)
    leaving.join(BOUND)
    for connection in (hub._server, *hub._said):  # as the end of process 0 does
        connection.close()
    spoke.join(BOUND)
    spoke._hub.close()
    assert not ended


# --- fcjax launch ---------------------------------------------------------------------------------


def test_launch_leaves_the_arguments_of_the_script_alone(script):
    program = script(
        "import os, sys; print(sys.argv[1:], __name__, os.environ['JAX_LOCAL_DEVICE_IDS'])", ""
    )
    arguments = ["--lr", "3", "-n", "7", "--help", "--", "-m"]
    for options in (
        ["--processes=2", "--devices-per-process", 2],
        ["-n2", "--devices-per-process=2", "--"],
    ):
        run = launch(*options, program, *arguments)
        assert run.stderr == ""
        assert set(run.stdout.splitlines()) == {
            f"{arguments} __main__ 0,1",
            f"[1] {arguments} __main__ 2,3",
        }


def test_launch_runs_a_module_as_python_does(script):
    program = script("import sys; print(sys.argv, __name__, __spec__.name)", "")
    run = launch("-n", 1, "-m", "script", "--help", cwd=program.parent)
    assert run.stdout == f"['{program}', '--help'] __main__ script\n"


@pytest.mark.parametrize(
    ("text", "status", "line"),
    [
        ("sys.exit(3)", 3, "ended with status 3"),
        ("sys.exit('no data')", 1, "ended with status 1"),
        ("sys.exit(-1)", 255, "ended with status 255"),
        ("raise ValueError('no data')", 1, "ended with status 1"),
        ("os.kill(os.getpid(), 9)", 137, "was killed by SIGKILL"),
    ],
)
def test_launch_ends_with_the_first_process_that_fails(text, status, line, script):
    program = script(
        f"import os, sys, time\nif os.environ['FCJAX_PROCESS'] == '2': {text}\ntime.sleep(99)", ""
    )
    start = time.monotonic()
    run = launch("-n", 4, program)
    assert time.monotonic() - start < BOUND
    assert run.returncode == status
    assert last_line(run.stderr) == f"fcjax launch: process 2 of 4 {line}; the others were stopped"
    assert run.stderr.count("no data") == text.count("no data") * (1 + ("raise" in text))
    assert "runpy" not in run.stderr


@pytest.mark.parametrize(
    ("how", "status", "line"),
    [
        ("sys.exit(3)", 3, "process 0 of 2 ended with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "process 0 of 2 was killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", 1, "process 0 of 2 was stopped by a signal"),
    ],
)
@pytest.mark.in_turn(3)
def test_launch_names_process_0_among_processes_that_wait_for_it(how, status, line, script):
    program = script(
        f"""
        total = join()
        if jax.process_index() == 0:
            print("fails at", time.time(), flush=True)
            {how}
        while True:
            total()
        """
    )
    run = launch("-n", 2, "--heartbeat", 5, program)
    assert time.time() - float(re.search(r"fails at (\S+)", run.stdout)[1]) < BOUND
    assert run.returncode == status
    assert last_line(run.stderr).startswith(f"fcjax launch: {line}")
    if "SIGSTOP" not in how:  # what JAX says in process 1; on a busy machine it may come early
        assert "Terminating process" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_launch_passes_signals_on(number, script):
    """Those of a terminal: the last one comes when it is closed, and tells the processes to end."""
    program = script(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
        print("up", flush=True)
        time.sleep(99)
        """,
        "",
    )
    launcher = launch_in_background(program)
    assert {launcher.stdout.readline() for _ in range(2)} == {"up\n", "[1] up\n"}
    launcher.send_signal(number)
    _, errors = launcher.communicate(timeout=BOUND)
    assert launcher.returncode == 128 + number
    assert last_line(errors) == f"fcjax launch: stopped by {number.name}"
    assert ("told to end" in errors) == (number != signal.SIGINT)


def test_launch_without_a_stdout(script):
    program = script("import sys\nsys.stderr.write('still told\\n')", "")
    run = subprocess.run(
        ["sh", "-c", f"exec {shlex.join(command('launch', '-n', 2, program))} >&-"],
        stderr=subprocess.PIPE, text=True, env=environment(), timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert sorted(run.stderr.splitlines()) == ["[1] still told", "still told"]


def test_a_second_signal_to_the_launcher_does_not_wait(script):
    program = script(
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(99)
        """,
        "",
    )
    with launch_in_background(program) as launcher:
        wait_until_up(launcher)
        launcher.send_signal(signal.SIGTERM)
        told = launcher.stderr.readline()
        begin = time.monotonic()
        launcher.send_signal(signal.SIGTERM)
        _, errors = launcher.communicate(timeout=BOUND)
    assert told == "fcjax launch: its processes have 30 s to end; a second signal ends them now\n"
    assert errors == "fcjax launch: stopped by SIGTERM\n"
    assert launcher.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 10


def test_launch_names_a_process_that_left_early_without_an_error(script):
    program = script(
        """
        total = join()
        total()
        if jax.process_index() == 1:
            os._exit(0)
        while True:
            total()
        """
    )
    run = launch("-n", 2, program)
    assert run.returncode not in (0, None)
    assert ", after process 1 had ended with status 0; the others" in last_line(run.stderr)


def test_a_process_that_is_done_says_that_it_waits(script):
    program = script(
        """
        distributed.processes.TO_TELL = 1
        total = join()
        total()
        if jax.process_index() == 1:
            sys.exit()
        time.sleep(4)
        """
    )
    run = launch("-n", 2, program)
    assert run.returncode == 0, run.stderr
    assert "[1] fcjax: process 1 of 2 is done, and waits for the others" in run.stderr


def test_sigterm_ends_a_loop_of_ones_own(script):
    """JAX would take it for the announcement of a preemption, and go on."""
    program = script("total = join()\ntotal()\nprint('up', flush=True)\nwhile True: total()")
    launcher = launch_in_background(program)
    while "up" not in launcher.stdout.readline():
        assert launcher.poll() is None
    begin = time.monotonic()
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=BOUND)
    assert launcher.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 10


def test_no_process_outlives_a_launcher_that_is_killed(script, tmp_path):
    program = script(
        f"""
        import os, time
        from pathlib import Path
        Path({str(tmp_path)!r}, os.environ["FCJAX_PROCESS"] + ".pid").write_text(str(os.getpid()))
        print("up", flush=True)
        time.sleep(99)
        """,
        "",
    )
    with launch_in_background(program) as launcher:
        wait_until_up(launcher)
        launcher.kill()
    started = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
    assert len(started) == 2
    end = time.monotonic() + BOUND
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in started):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


# What would be a mixture of two runs, or would wait for ever.
DIFFERENT = """
    import optax, tempfile
    import fcjax

    join()
    me = jax.process_index()
    X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
    params = fcjax.init(jax.random.key(0), (4, 4))

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])

    def fit(**changes):
        options = {"optimizer": optax.adam(1e-2), "epochs": 4, "batch_size": 4}
        options |= {"loss": loss, "mesh": distributed.mesh(), **changes}
        return fcjax.fit(params, options.pop("data", (X, X)), **options)

    def rows(n, many):  # a batch of n rows in one process, and of fewer in the other
        for _ in range(many):
            yield distributed.place_batch((X[:n], X[:n]), distributed.mesh(), local=True)

    class Loader:
        def __init__(self, make):
            self.make = make

        def __iter__(self):
            return iter(self.make())

    batches = {"batch_size": None, "data": [(X[:4], X[:4])] * (3 + me)}
    shorter = {"batch_size": None, "data": Loader(lambda: rows(4, 3 + me))}
    smaller = {"batch_size": None, "data": Loader(lambda: rows(4 + 2 * me, 3))}
    validation = {"validation_data": [(X[:4], X[:4])] * (3 + me)}
    for changes in (
        {"mesh": None},
        {"loss": lambda params, batch: (1 + me) * loss(params, batch)},
        batches,
        shorter,
        smaller,
        validation,
        {"seed": me},
        {"epochs": 3 + me},
        {"batch_size": 4 * (1 + me)},
        {"shuffle": bool(me)},
        {"optimizer": optax.adam(1e-2 * (1 + me))},
        {"optimizer": [optax.adam, optax.sgd][me](1e-2)},
        {"checkpoint_dir": tempfile.mkdtemp()},
        {"nonfinite": ["skip", "raise"][me]},
    ):
        try:
            fit(**changes)
        except (ValueError, fcjax.BatchError, distributed.OutOfStepError) as error:
            print(error, flush=True)
    os.makedirs(f"{sys.argv[1]}/{me}")
    os.chdir(f"{sys.argv[1]}/{me}")  # as if each process had a disk of its own
    try:
        fit(checkpoint_dir="run")
    except ValueError as error:
        print(error, flush=True)
    ended = fit(callbacks=lambda end: me == 1 and end.epoch == 2)
    print("epochs:", len(ended.history["loss"]), flush=True)
"""


def test_processes_that_do_not_agree_are_told(script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run = launch("-n", 2, script(DIFFERENT), tmp_path)
    assert run.returncode == 0, run.stderr
    shared = r"directory must be a folder that all processes share, got .* in process 1 than in"
    assert len(re.findall(shared, run.stdout)) == 2, run.stdout
    assert re.search(r"optimizer .* got \[-0.01, .* in process 0 and \[-0.02, ", run.stdout), (
        run.stdout
    )
    for name in ("seed", "epochs", "batch_size", "shuffle", "optimizer", "checkpoint_dir",
                 "nonfinite"):  # fmt: skip
        found = re.findall(rf"{name} must be the same in all processes, got .*", run.stdout)
        assert len(found) == (4 if name == "optimizer" else 2), name
    for times, message in (
        (2, r"mesh must be given in 2 processes, such as fcjax.distributed.mesh\(\), got None"),
        (2, "loss, optimizer and metrics must compute the same in all processes, got another"),
        (2, "data must yield as many batches in all processes, got 3 in process 0 and more"),
        (2, "data must yield as many batches in all processes, got at least 4 in process 1 and"),
        (2, "number of examples of batch must be the same in all processes, got 4 .* and 6 in"),
        (2, "all processes must make the same calls, got .* in process 0 and .* in process 1"),
    ):
        assert len(re.findall(message, run.stdout)) == times, (message, run.stdout)
        assert max(map(len, found)) < 400
    assert run.stdout.count("epochs: 2") == 2


# Each process reads its own parts of the arrays, so one alone meets a damaged file.
DAMAGED = """
    import shutil, warnings
    from pathlib import Path
    import optax
    import fcjax

    join()
    me, run = jax.process_index(), Path(sys.argv[1]) / "run"
    X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
    params = fcjax.init(jax.random.key(0), (4, 256, 256, 4))

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])

    def fit(folder, epochs):
        return fcjax.fit(params, (X, X), loss=loss, optimizer=optax.adam(1e-2), epochs=epochs,
                         batch_size=4, mesh=distributed.mesh(), layout="fsdp",
                         checkpoint_dir=folder)

    fit(run, 2)
    for process in range(2):
        folder = run.parent / str(process)
        if me == 0:
            shutil.copytree(run, folder)
            parts = (folder / "8" / "arrays" / f"ocdbt.process_{process}" / "d").iterdir()
            largest = max(parts, key=lambda path: path.stat().st_size)
            os.truncate(largest, largest.stat().st_size // 2)
        distributed.wait_for_all(f"{process} is damaged")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = fit(folder, 3)
        (what,) = (str(warning.message) for warning in caught)
        print(process, "meets it," if process == me else "met it,", what, flush=True)
        print("steps:", int(result.state.step), fcjax.checkpoint.steps(folder), flush=True)

    fcjax.checkpoint.steps = lambda folder: [me]  # as if each process had a disk of its own
    try:
        fit(run, 3)
    except ValueError as error:
        print(error, flush=True)
"""


def test_damage_that_one_process_meets_is_damage_for_all(script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run = launch("-n", 2, script(DAMAGED), tmp_path)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    for process in range(2):
        where = rf"the checkpoint of step 8 in '{tmp_path / str(process)}' is damaged: "
        mine = rf"{process} meets it, {where}its arrays cannot be read .*; step 4 is used instead"
        others = f"{process} met it, {where}another process cannot read it; step 4 is used instead"
        assert len(re.findall(mine, run.stdout)) == 1, run.stdout
        assert run.stdout.count(others) == 1, run.stdout
    assert run.stdout.count("steps: 12 [4, 8, 12]") == 4
    what = "what checkpoint_dir holds must be the same in all processes, got [0] in process 0"
    assert run.stdout.count(what) == 2


# In epochs 3 to 5, one process finds the disk full, or cannot write large files.
FULL = """
    import resource, shutil
    import optax
    import fcjax

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    join()
    folder, policy, victim, what = sys.argv[1:]
    X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
    params = fcjax.init(jax.random.key(0), (4, 256, 256, 4))
    usage = shutil.disk_usage

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])

    def limit(end):
        full = 3 <= end.epoch < 6 and jax.process_index() == int(victim)
        if full:
            print("fails at", time.time(), flush=True)
        if what == "size":
            size = 20000 if full else resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        else:
            shutil.disk_usage = (lambda path: usage(path)._replace(free=99)) if full else usage

    result = fcjax.fit(
        params, (X, X), loss=loss, optimizer=optax.adam(1e-2), epochs=8, batch_size=4,
        mesh=distributed.mesh(), layout="fsdp", checkpoint_dir=folder, callbacks=limit,
        checkpoint_errors=policy, max_to_keep=None,
    )
    print("epochs:", len(result.history["loss"]), flush=True)
"""


def test_a_disk_that_one_process_finds_full_is_full_for_all(script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run = launch("-n", 2, script(FULL), tmp_path, "warn", 1, "space")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("epochs: 8") == 2
    assert run.stderr.count("could not be written; its earlier checkpoints are as they were: No "
                            "space left on device; training goes on") == 2  # fmt: skip
    assert checkpoint.steps(tmp_path) == [4, 8, 24, 28, 32]
    assert set(checkpoint.verify(tmp_path).values()) == {None}


@long
def test_a_process_that_cannot_write_a_checkpoint_of_ones_own_ends_the_others(script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    program = script(
        """
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        join()
        tree = distributed.place_batch(np.ones((64, 4096), np.float32), distributed.mesh())
        checkpoint.save(sys.argv[1], tree, step=1)
        tree = tree * jax.random.normal(jax.random.key(0), tree.shape)  # which does not compress
        if jax.process_index() == 1:
            print("fails at", time.time(), flush=True)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        checkpoint.save(sys.argv[1], tree, step=2)
        """
    )
    run = launch("-n", 2, program, tmp_path)
    assert time.time() - float(re.search(r"fails at (\S+)", run.stdout)[1]) < BOUND
    assert run.returncode == 1
    assert "File too large; the others cannot go on without it" in run.stderr
    assert last_line(run.stderr).startswith("fcjax launch: process 1 of 2 ended with")
    assert checkpoint.steps(tmp_path) == [1]
    assert set(checkpoint.verify(tmp_path).values()) == {None}


@long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_cannot_write_ends_the_others(victim, script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run = launch("-n", 2, script(FULL), tmp_path, "warn", victim, "size")
    assert time.time() - float(re.search(r"fails at (\S+)", run.stdout)[1]) < BOUND
    assert run.returncode == 1
    assert "File too large; the others cannot go on without it" in run.stderr
    assert last_line(run.stderr).startswith(f"fcjax launch: process {victim} of 2 ended with")
    assert checkpoint.steps(tmp_path) == [4, 8]
    assert set(checkpoint.verify(tmp_path).values()) == {None}


# Two runs that become NaN: in the data, and by an update, after which the newest state is bad.
DIVERGING = """
    import optax
    import fcjax

    join()
    X = np.linspace(-1, 1, 96, dtype=np.float32).reshape(24, 4)
    params = fcjax.init(jax.random.key(0), (4, 5, 4))

    def loss(params, batch):
        return fcjax.half_squared_error(fcjax.mlp(params, batch[0]), batch[1])

    def bad(params, batch):
        return jax.numpy.where(batch[0].max() > 2, jax.numpy.nan, loss(params, batch))

    Z = X.copy()
    Z[14] = 3
    explodes = optax.sgd(lambda count: jax.numpy.where(count == 8, 1e25, 1e-2))
    for name, function, data, optimizer in (
        ("data", bad, (Z, X), optax.sgd(1e-2)),
        ("update", loss, (X, X), explodes),
    ):
        try:
            fcjax.fit(
                params, data, loss=function, optimizer=optimizer, epochs=4, batch_size=4,
                shuffle=False, mesh=distributed.mesh(), checkpoint_dir=f"{sys.argv[1]}/{name}",
                checkpoint_every="1 steps" if name == "update" else 1,
            )
        except fcjax.NonFiniteLossError as error:
            print(name, int(error.state.step), flush=True)
"""


def test_the_newest_checkpoint_of_several_processes_is_good_after_nan(script, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    run = launch("-n", 2, script(DIVERGING), tmp_path)
    assert run.returncode == 0, run.stderr
    for name, good in (("data", 3), ("update", 8)):
        assert run.stdout.count(f"{name} {good}") == 2, run.stdout
        assert checkpoint.steps(tmp_path / name)[-1] == good
    assert [path.name for path in (tmp_path / "update").glob("*.nonfinite")] == ["9.nonfinite"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", 2], "command must be a script, or -m and a module, got nothing"),
        (["-n", 2, "-m"], "command must be a script, or -m and a module, got -m alone"),
        (["-n", 2, "nowhere.py"], "no script 'nowhere.py'"),
        (["-n", 2, "/"], "no __main__.py in the folder '/'"),
        (["-n", 0, __file__], "processes must be positive, got 0"),
        (["-n", 1, "--devices-per-process", -1, __file__], "devices_per_process must be positive"),
        (["-n", 1, "--heartbeat", 0, __file__], "heartbeat must be positive, got 0"),
    ],
)
def test_launch_refuses_what_cannot_be(arguments, message):
    run = launch(*arguments)
    assert run.returncode == 1
    assert run.stderr.startswith(f"fcjax: {message}")


def test_the_main_job_in_two_processes(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    arguments = "train --dataset iris --lr 0.01 --epochs 20 --batch-size 16 --processes 2 --out"
    run = subprocess.run(
        command(*arguments.split(), tmp_path), capture_output=True, text=True, timeout=280,
        env=environment(),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert run.stdout.count("iris: 112 training examples") == 1
    assert float(re.search(r"accuracy ([\d.]+)%", run.stdout)[1]) > 80
    assert [path.name for path in tmp_path.iterdir()] == ["iris.png"]


def test_a_quiet_launch_shows_process_0_and_one_that_fails(script, capfd):
    program = script(
        """
        import os, pathlib, sys, time
        process, mark = int(os.environ["FCJAX_PROCESS"]), pathlib.Path(sys.argv[1])
        print("figures of", process)
        if process == 0:
            mark.touch()
        while process == 1 and not mark.exists():
            time.sleep(0.01)
        if process == 1:
            sys.exit("no data")
        time.sleep(99)
        """,
        "",
    )
    command = [str(program), str(program.with_suffix(".mark"))]
    assert run_in_processes(command, processes=3, quiet=True) == 1
    shown = capfd.readouterr()
    assert set(shown.out.splitlines()) == {"figures of 0", "[1] figures of 1"}
    assert shown.err.splitlines() == [
        "[1] no data",
        "fcjax launch: process 1 of 3 ended with status 1; the others were stopped",
    ]


def test_launch_does_not_load_jax():
    program = "import sys, fcjax_cli.commands; print('jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "False\n"


# --- clusters -------------------------------------------------------------------------------------

ALLOCATED = {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "node[1-2]"}
STEP = {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
IN_A_STEP = ALLOCATED | STEP


@pytest.fixture
def joined(monkeypatch):
    """The options of each call of `jax.distributed.initialize`, which does nothing."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: calls.append(options))
    for name in list(os.environ):
        if name.startswith(("SLURM_", "FCJAX_", "OMPI_", "CUDA_VISIBLE")):
            monkeypatch.delenv(name)
    return calls


@pytest.mark.parametrize(
    "variables",
    [
        {},  # no cluster
        {"SLURM_JOB_ID": "71"},  # a connection by ssh to a node
        ALLOCATED,  # the shell of salloc, on the machine from which it was called
        ALLOCATED | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # the script of sbatch
        IN_A_STEP | {"SLURM_STEP_NUM_TASKS": "1"},  # the shell of salloc, on a node
    ],
)
def test_a_single_process_is_left_alone(variables, joined, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.initialize()
    assert joined == []


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, None),  # JAX takes the GPU with the number of the task
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),
        ({"SLURM_GPUS_PER_TASK": "1", "CUDA_VISIBLE_DEVICES": "3"}, [0]),
        ({"SLURM_GPUS_PER_TASK": "2", "CUDA_VISIBLE_DEVICES": "2,3"}, [0, 1]),
        (
            {
                "SLURM_GPUS_PER_TASK": "2",
                "CUDA_VISIBLE_DEVICES": "2,3",
                "JAX_LOCAL_DEVICE_IDS": "1",
            },
            None,
        ),
    ],
)
def test_tasks_of_srun_are_joined(variables, devices, joined, monkeypatch):
    for name, value in (IN_A_STEP | {"SLURM_STEP_NUM_TASKS": "4"} | variables).items():
        monkeypatch.setenv(name, value)
    distributed.initialize()
    assert joined == [{"local_device_ids": devices, "heartbeat_timeout_seconds": 20}]


def test_tasks_of_srun_find_each_other(script):
    program = script("print(join()(), jax.process_index(), os.environ['SLURM_PROCID'])")
    job = free_address().rpartition(":")[2]  # from which JAX derives the port
    variables = {
        "SLURM_JOB_ID": job, "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            [sys.executable, program], stdout=subprocess.PIPE, text=True,
            env=environment(SLURM_PROCID=str(i), SLURM_LOCALID=str(i), **variables),
        )
        for i in range(2)
    ]  # fmt: skip
    said = [task.communicate(timeout=200)[0] for task in tasks]
    assert [last_line(text) for text in said] == ["2.0 0 0", "2.0 1 1"]


def test_options_go_on_to_jax(joined):
    distributed.initialize("host:1", 2, 1, heartbeat=7, initialization_timeout=9)
    given = {"coordinator_address": "host:1", "num_processes": 2, "process_id": 1}
    beat = {"heartbeat_timeout_seconds": 7, "initialization_timeout": 9, "local_device_ids": None}
    assert joined == [given | beat]


def test_the_heartbeat_of_the_launcher_is_the_default(joined, monkeypatch):
    for name, value in {"PROCESS": "0", "PROCESSES": "1", "HEARTBEAT": "9"}.items():
        monkeypatch.setenv(f"FCJAX_{name}", value)
    distributed.initialize()
    assert joined[0]["heartbeat_timeout_seconds"] == 9
    assert (joined[0]["num_processes"], joined[0]["process_id"]) == (1, 0)


@pytest.mark.parametrize("heartbeat", [0, -1, 2.5, "9"])
@pytest.mark.usefixtures("unchecked")
def test_a_heartbeat_that_cannot_be(heartbeat):
    with pytest.raises((TypeError, ValueError), match="heartbeat must be a positive integer"):
        distributed.initialize(heartbeat=heartbeat)


@pytest.mark.parametrize("status", [0, -1, 256, "1", None])
@pytest.mark.usefixtures("unchecked")
def test_a_status_with_which_others_would_wait(status):
    with pytest.raises((TypeError, ValueError), match="status must be an integer from 1 to 255"):
        distributed.abort(status)


def test_a_call_after_the_first_computation_is_refused():
    jax.devices()
    with pytest.raises(RuntimeError, match="must be called before"):
        distributed.initialize("127.0.0.1:1", 2, 0)
    assert processes._Exit.installed is None
