"""The commands around the others: help with examples that run, --version, and completion."""

import contextlib
import gzip
import importlib.metadata
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from support import quick_networks
from training import PARAMS, fit

import fcjax
from fcjax.trackers import read

for _package in ("tyro", "pyarrow", "sklearn", "matplotlib", "orbax.checkpoint", "onnx"):
    pytest.importorskip(_package)

import fcjax.cli.tables  # noqa: E402 - after the skips
import fcjax.cli.train  # noqa: E402
from fcjax_cli import completion, main, version  # noqa: E402
from fcjax_cli.commands import COMMANDS  # noqa: E402


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the command in this process; return its status and what it prints."""
    monkeypatch.delitem(sys.modules, "my_ops", raising=False)  # from the folder of another test

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fcjax", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        code = end.value.code
        if isinstance(code, str):
            return 1, code
        return code or 0, printed.out + printed.err

    return call


ATTENTION = """
import jax, jax.numpy as jnp
attention = jax.custom_vjp(lambda q, k, v: jax.nn.softmax(q @ k.T) @ v)
attention.defvjp(lambda *args: (attention(*args), args), lambda kept, dy: (
    jax.vjp(lambda q, k, v: jax.nn.softmax(q @ k.T) @ v, *kept)[1](dy)))
"""


# --- examples of the help -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with all that the examples name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    size, zip_code = rng.uniform(20, 200, 120), rng.choice([3001, 4001], 120)
    houses = pd.DataFrame({"size": size, "zip": zip_code, "price": 3 * size + zip_code / 100})
    houses.to_csv(folder / "houses.csv", index=False)
    houses.to_csv(folder / "new.csv", index=False)
    houses.to_parquet(folder / "new.parquet")
    visits = {"name": "anyone", "day": pd.date_range("2024-01-01", periods=120), "size": size}
    outcome = np.where(rng.random(120) < 0.5, "yes", "no")
    pd.DataFrame({**visits, "outcome": outcome}).to_parquet(folder / "visits.parquet")
    fcjax.save(folder / "my_model", fcjax.Model(PARAMS, "relu"))
    flowers = {f"column {i}": rng.normal(size=9) for i in range(PARAMS[0].w.shape[0])}
    pd.DataFrame({**flowers, "species": [*"ababababa"]}).to_csv(folder / "iris.csv", index=False)
    fit(epochs=1, checkpoint_dir=folder / "runs/mine")
    (folder / "script.py").write_text("import sys\nprint(sys.argv[1:])\n")
    (folder / "my_ops.py").write_text(ATTENTION)
    (folder / "tests").mkdir()
    (folder / "tests/test_it.py").write_text("import fcjax\ndef test(): fcjax.tanh(1.0)\n")
    (folder / "my_package").mkdir()
    (folder / "my_package/train.py").write_text("print('trained')\n")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Train for an epoch, on small networks."""
    train_table, fit_ = fcjax.cli.tables.train_table, fcjax.cli.train.fit
    monkeypatch.setattr(
        fcjax.cli.tables, "train_table", lambda *a, **k: train_table(*a, **{**k, "epochs": 1})
    )
    monkeypatch.setattr(fcjax.cli.train, "fit", lambda *a, **k: fit_(*a, **{**k, "epochs": 1}))
    with quick_networks():
        yield


def examples(text):
    """The commands in indented lines of a help."""
    return re.findall(r'^ +(?:eval "\$\()?(fcjax [^|)\n]*)', text, re.MULTILINE)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_has_an_example(name, run):
    status, out = run(*name.split(), "--help")
    assert status == 0
    assert f"usage: fcjax {name}".strip() in out
    assert examples(out)


# `fcjax verify` has a test of its own, which runs all of its examples
OTHERS = [(name, one) for name in COMMANDS if name != "verify" for one in examples(
    COMMANDS[name].__doc__)]  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("name", "example"), OTHERS, ids=[example for _, example in OTHERS])
def test_the_examples_run(name, example, run, files, quick, monkeypatch, unchecked):
    monkeypatch.chdir(files)
    if name in ("predict", "show", "explain") and not Path("model").exists():
        run("train", "houses.csv", "--target", "price", "--out", "model")
    command, *arguments = shlex.split(example)
    assert (command, arguments[0]) == ("fcjax", name)
    status, out = run(*arguments)
    assert status == 0, out


def test_the_examples_of_the_overview_are_examples_of_the_commands(run):
    _, out = run("--help")
    listed = [one for command in COMMANDS.values() for one in examples(command.__doc__)]
    assert set(map(str.strip, examples(out))) <= set(map(str.strip, listed))
    assert len(out.splitlines()) < 50, "a paragraph for each command"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian", "t.csv"], "fcjax: there is no command 'trian'; did you mean 'train'?"),
        (["--verson"], "fcjax: there is no command '--verson'; did you mean '--version'?"),
        (["t.csv"], "fcjax: there is no command 't.csv'; fcjax --help lists them"),
        ([""], "fcjax: there is no command ''; fcjax --help lists them"),
    ],
)
def test_a_mistyped_command_is_named_in_a_line(arguments, said, run):
    assert run(*arguments) == (1, said)


def test_help_can_be_asked_for_in_three_ways(run):
    overview, of_show = run("--help"), run("show", "--help")
    assert run() == run("help") == overview
    assert run("help", "show") == of_show
    assert (overview[0], of_show[0]) == (0, 0)


# --- tables ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder with a table that has lists, a category NA, weights, and rows without a target."""
    folder, rng = tmp_path_factory.mktemp("odd"), np.random.default_rng(0)
    size, town = rng.uniform(20, 200, 120), rng.choice(["Bern", "NA", "Genf"], 120)
    table = pd.DataFrame({
        "size": size, "town": town, "agent": rng.integers(0, 9, 120), "weight": rng.random(120) + 1,
        "price": np.where(np.arange(120) < 5, np.nan, 3 * size + 100 * (town == "NA")),
    })  # fmt: skip
    table.assign(lists=[[1]] * 120).to_parquet(folder / "odd.parquet")
    table.to_csv(folder / "rows.csv")
    return folder


@pytest.fixture(scope="module")
def trained(odd):
    """What is printed while a model is trained on it, in the folder `model`."""
    with pytest.MonkeyPatch.context() as patch, quick_networks():
        patch.chdir(odd)
        patch.setattr(sys, "argv", [
            "fcjax", "train", "odd.parquet", "--target", "price", "--drop", "lists", "--split",
            "group:agent", "--sample-weight", "weight", "--epochs", "1", "--dtype", "float32",
        ])  # fmt: skip
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as end:
            main()
    assert end.value.code == 0
    return printed.getvalue()


def test_what_becomes_of_columns_and_rows_is_printed(odd, trained, run):
    assert "odd.parquet: 120 rows, 6 columns" in trained
    assert "rows without a target, left out: 5" in trained
    assert "figure, weighted by weight" in trained
    _, shown = run("show", odd / "model")
    assert "figure, weighted by weight" in shown
    assert re.search(r"^weight +weights of rows", shown, re.M)
    assert re.search(r"^agent +used for the split alone", shown, re.M)
    assert re.search(r"^lists +left out: as asked for", shown, re.M)
    card = (odd / "model" / "README.md").read_text()
    assert "Each row counts by its weight, the column 'weight'." in card
    assert "| figure, weighted by weight |" in card


def test_a_column_for_the_split_that_is_dropped_too_is_read(odd, run, quick, tmp_path):
    status, said = run(
        "train", odd / "rows.csv", "--target", "price", "--drop", "agent", "column 1",
        "--split", "group:agent", "--out", tmp_path / "model",
    )  # fmt: skip
    assert status == 0, said
    assert "120 rows, 6 columns" in said
    _, shown = run("show", tmp_path / "model")
    assert re.search(r"^agent +used for the split alone", shown, re.M)
    assert re.search(r"^column 1 +left out: as asked for", shown, re.M)


TRAIN = ("train", "odd.parquet", "--target", "price")
REFUSED = {
    "lists": (TRAIN, "column 'lists' of odd.parquet must hold numbers, .* got list .*--drop NAME"),
    "a drop": ((*TRAIN, "--drop", "list"), "--drop: 'list' is unknown; did you mean 'lists'"),
    "the target": ((*TRAIN, "--drop", "price"), "--drop: 'price' is the target, which cannot"),
    "a target": (("train", "odd.parquet", "--target", "prise"), "target: 'prise' is unknown; did"),
    "both a drop and a kind": (
        (*TRAIN, "--drop", "lists", "--kinds", "lists=number"),
        "--drop: 'lists' is left out, and --kinds says what it holds; pass one",
    ),
    "float64": (
        (*TRAIN, "--drop", "lists", "--dtype", "float64"),
        "dtype: got 'float64'; accepted: bfloat16, float16, float32",
    ),
    "a workbook": (("--out", "p.xlsx"), r"--out must end in .csv, .csv.gz or .parquet, or be a pi"),
    "no suffix": (("--out", "p"), "--out must end in .csv"),
    "the model": (("--out", "model/config.json"), "--out must not be a file of a model, got 'mod"),
    "a link to it": (("--out", "link.csv"), "--out must not be a file of a model, got 'link.csv'"),
    "a folder": (("--out", "model"), "--out must be a file, got the folder 'model'"),
    "an export": (
        ("export", "model", "--to", "jax", "--out", "model/config.json"),
        "--out must not be a file of a model",
    ),
}


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(("command", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_or_written_is_refused_in_a_line(
    command, message, run, odd, monkeypatch
):
    monkeypatch.chdir(odd)
    if not Path("link.csv").is_symlink():
        Path("link.csv").symlink_to("model/config.json")
    if command[0] == "--out":
        command = ("predict", "model", "rows.csv", *command)
    elif command[0] == "train":
        command = (*command, "--out", "never")
    status, said = run(*command)
    assert status == 1
    assert re.search(message, said)
    assert "\n" not in said
    assert not Path("never").exists()
    fcjax.load("model")


@pytest.mark.usefixtures("trained")
def test_a_category_of_the_model_is_no_missing_value_in_a_csv_file(run, odd, monkeypatch):
    monkeypatch.chdir(odd)
    assert run("predict", "model", "rows.csv", "--out", "p.csv")[0] == 0
    want = fcjax.load("model").predict(pd.read_parquet("odd.parquet"))
    np.testing.assert_array_equal(pd.read_csv("p.csv").prediction, want)
    assert run("predict", "model", "rows.csv", "--out", "p.csv.gz")[0] == 0
    assert gzip.decompress(Path("p.csv.gz").read_bytes()) == Path("p.csv").read_bytes()


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_predictions_are_written_to_the_standard_output(out, odd):
    command = [sys.executable, "-m", "fcjax", "predict", "model", "rows.csv", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, cwd=odd, timeout=300)
    assert (done.returncode, done.stderr) == (0, "120 predictions\n")
    assert done.stdout.startswith("prediction\n")
    assert done.stdout.count("\n") == 121
    written = done.stdout
    assert not (odd / "-").exists()
    (odd / "less.csv").write_text("size\n1\n")
    command[5] = "less.csv"
    done = subprocess.run(command, capture_output=True, text=True, cwd=odd, timeout=300)
    assert (done.returncode, done.stdout) == (1, "")  # no line of names either
    command[5] = "rows.csv"
    with (odd / "appended").open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run(command, check=True, cwd=odd, stdout=file, stderr=subprocess.PIPE)
    assert (odd / "appended").read_text() == f"before\n{written}"


def test_a_training_that_sigterm_ends_is_saved_and_has_its_status(run, odd, monkeypatch, tmp_path):
    train_table = fcjax.cli.tables.train_table

    def stopped(*args, callbacks, **options):
        return train_table(
            *args, callbacks=lambda _: signal.raise_signal(signal.SIGTERM), **options
        )

    monkeypatch.setattr(fcjax.cli.tables, "train_table", stopped)
    with quick_networks():
        status, said = run("train", odd / "rows.csv", "--target", "price", "--out", tmp_path / "m")
    assert status == 143
    assert "Training was stopped; the best network until then is in" in said
    training = fcjax.load(tmp_path / "m").report["training"]
    assert (training["epochs"], training["signal"]) == (1, "SIGTERM")


def test_ctrl_c_has_no_traceback(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fcjax.cli.show.show", interrupted)
    assert run("show", "model") == (130, "")


def test_ctrl_c_where_python_cannot_raise_comes_again():
    program = """if True:
        import signal, sys, time
        from fcjax_cli.interrupts import keeping_interrupts

        class Stops:
            def __init__(self, error):
                self.error = error
            def __del__(self):
                raise self.error

        signal.signal(signal.SIGINT, signal.default_int_handler)
        before = sys.unraisablehook
        try:
            with keeping_interrupts():
                Stops(ValueError("said"))
                Stops(KeyboardInterrupt())
                start = time.monotonic()
                time.sleep(60)
        except KeyboardInterrupt:
            print("comes again", sys.unraisablehook is before, time.monotonic() - start < 30)
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "comes again True True\n"
    assert done.stderr.count("Exception ignored") == 1
    assert "ValueError: said" in done.stderr


def test_ctrl_c_while_packages_are_loaded_ends_the_process_at_once():
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fcjax_cli.loading import loading\n"
        "with loading():\n    pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "with loading():\n    signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


# --- --track --------------------------------------------------------------------------------------


def test_a_table_is_tracked(run, files, quick, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time, all epochs are in the checkpoint
        status, _ = run(
            "train", files / "houses.csv", "--target", "price", "--seed", 3,
            "--track", "run.jsonl", "--checkpoints", "saved",
        )  # fmt: skip
        assert status == 0
    record = read("run.jsonl")
    assert (record.settings["target"], record.settings["seed"]) == (["price"], 3)
    (epoch,) = record.epochs
    assert {"epoch", "seconds", "learning_rate", "loss", "val_loss", "val_rmse"} == set(epoch)
    history = fcjax.load("model").report["training"]["history"]
    assert [epoch["val_rmse"]] == history["val_rmse"]


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (["run.json"], "track: got 'run.json'; accepted: FILE.jsonl, tensorboard:FOLDER"),
        (["wandb:houses"], "track: got 'wandb:houses'; accepted: FILE.jsonl, tensorboard:FOLDER"),
        (["tensorboard:"], "track: got 'tensorboard:'; accepted: FILE.jsonl"),
        (["a.jsonl", "a.jsonl"], "track: got ['a.jsonl', 'a.jsonl']; accepted: each once"),
        (["no/run.jsonl"], "path must lie in a folder that exists, got 'no/run.jsonl'"),
        (["tensorboard:houses.csv"], "folder must be a folder, got the file 'houses.csv'"),
    ],
)
def test_a_wrong_track_is_named_before_the_training(track, message, run, files, monkeypatch):
    monkeypatch.chdir(files)
    command = ("train", "houses.csv", "--target", "price", "--out", "never", "--track")
    status, said = run(*command, *track)
    assert status == 1
    assert message in said
    assert not Path("never").exists()


def test_our_data_sets_are_not_tracked(run):
    status, said = run("train", "--track", "run.jsonl")
    assert (status, "track: needs a file of your own" in said) == (1, True)


# --- --version ------------------------------------------------------------------------------------


def lines_of(text):
    return dict(line.split(": ", 1) for line in text.splitlines())


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_has_what_a_bug_report_needs(option, run, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setattr(version, "_devices", lambda: "none")
    status, out = run(option)
    assert status == 0
    found = lines_of(out)
    for package in ("jax", "jaxlib", "optax", "numpy", "tyro", "scikit-learn", "orbax-checkpoint"):
        assert found[package] == importlib.metadata.version(package)
    assert found["Python"] == f"{sys.version.split()[0]}, {sys.executable}"
    assert re.search(r"\d cores$", found["processor"])
    assert found["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert not {"pytest", "torch", "fcjax[app]"} & set(found)


def test_the_version_has_the_devices(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "3")
    if jax.default_backend() == "cpu":
        assert version._devices() == "3 cpu:cpu"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise RuntimeError('no GPU')", "none found, RuntimeError: no GPU"),
        ("import os; os.abort()", "none found, status -6"),
        ("import time; time.sleep(60)", "none found, JAX did not answer within 0.5 s"),
        (
            "import sys; sys.stderr.write('CUDA is broken\\n'); print('devices:\\ncpu:cpu')",
            "1 cpu:cpu (CUDA is broken)",
        ),
    ],
)
def test_a_broken_plugin_does_not_break_the_version(program, said, monkeypatch):
    monkeypatch.setattr(version, "_FIND_DEVICES", program)
    monkeypatch.setattr(version, "TO_FIND_DEVICES", 0.5 if "sleep" in program else 60.0)
    assert version._devices() == said


def test_the_version_needs_no_extra_and_no_installation(monkeypatch, run):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", missing)
    monkeypatch.setattr(version, "requires", missing)
    monkeypatch.setattr(version, "_devices", lambda: "none")
    monkeypatch.setitem(sys.modules, "tyro", None)
    status, out = run("--version")
    assert status == 0
    assert lines_of(out)["fcjax"] == "not installed"


# --- completion -----------------------------------------------------------------------------------

COMPLETED = {
    "fcjax tr": ["train"],
    "fcjax train --pre": ["--preset"],
    "fcjax train --preset re": ["realmlp"],
    "fcjax export my_model --to o": ["onnx"],
    "fcjax verify --s": ["--search", "--seed", "--shapes"],
    "fcjax verify --args": ["--args"],
    "fcjax predict nothing-of-that-name": [],
}


def test_bash_completes(run, tmp_path):
    status, script = run("completion", "bash")
    assert status == 0
    (tmp_path / "my file.csv").touch()
    asked = "".join(
        f"COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=(); _fcjax\n"
        'printf "%s," "${COMPREPLY[@]}"; echo\n'
        for line in (*COMPLETED, "fcjax predict my")
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{asked}complete -p fcjax"],
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    *answers, registered = done.stdout.splitlines()
    found = [sorted(filter(None, answer.split(","))) for answer in answers]
    assert dict(zip(COMPLETED, found, strict=False)) == COMPLETED
    assert found[-1] == [], "what a script has nothing to offer for, bash completes with files"
    assert registered == "complete -o bashdefault -o default -F _fcjax fcjax"


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes(run, tmp_path):
    (tmp_path / "script").write_text(run("completion", "fish")[1])
    (tmp_path / "my file.csv").touch()
    asked = "".join(f"complete -C {line!r} | string collect; echo ====\n" for line in COMPLETED)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source script\n{asked}complete -C 'fcjax predict my'"],
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    *answers, files = done.stdout.split("====\n")
    for answer, wanted in zip(answers, COMPLETED.values(), strict=True):
        assert {line.split("\t")[0] for line in answer.splitlines()} >= set(wanted)
    assert "my" in files


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_reads_its_script(run, tmp_path):
    (tmp_path / "script").write_text(run("completion", "zsh")[1])
    command = ["zsh", "-f", "-c", "source ./script; echo $_comps[fcjax]"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "_fcjax\n"


def test_a_tyro_that_cannot_complete_is_named(run, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("Shell should be one `bash`, `zsh`, `tcsh`")

    monkeypatch.setattr("tyro.extras.subcommand_cli_from_dict", refuse)
    with pytest.raises(ValueError, match=r"shell: the installed tyro .* cannot complete in fish"):
        completion.script("fish", COMMANDS)


# --- files that cannot be written -----------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_file_that_cannot_be_written_is_named():
    from fcjax._files import naming

    path = Path("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"), naming(path):
        path.write_bytes(b"x")
    with pytest.raises(OSError, match=r"No such file or directory: '/dev/none'"), naming(path):
        Path("/dev/none").read_bytes()
