"""`save` and `load`: the same bits in another process, and damage that is never read in silence."""

import contextlib
import json
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from support import assert_same_bits

import fcjax
from fcjax import DamagedModelError, Layer, Model
from fcjax.model import folder as folders

X = np.random.default_rng(5).normal(size=(11, 5)).astype(np.float32)


LEAKY = partial(fcjax.leaky_relu, negative_slope=0.3)
pytestmark = pytest.mark.usefixtures("unchecked")


def params(sizes=(5, 7, 4, 3), seed=0, **options):
    return fcjax.init(jax.random.key(seed), sizes, b_init=jax.nn.initializers.normal(), **options)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def weights_in(folder):
    return sorted(folder.glob("*.safetensors"))


MODELS = {
    "plain": lambda: Model(params()),
    "all options": lambda: Model(params(), ["tanh", LEAKY], "softmax", "bfloat16", 0.25),
    "gelu, exact": lambda: Model(params(), partial(fcjax.gelu, approximate=False)),
    "one layer": lambda: Model(params((5, 2))),
    "no bias": lambda: Model(params(bias=False)),
    "some biases": lambda: Model((Layer(jnp.ones((5, 3))), *params((3, 2)))),
    "bfloat16": lambda: Model(params(dtype=jnp.bfloat16)),
    "float16": lambda: Model(params(dtype=jnp.float16)),
    "two dtypes": lambda: Model((*params((5, 3), dtype=jnp.bfloat16), *params((3, 2)))),
    "stacked": lambda: Model(fcjax.stack(params((5, 4, 4, 4, 4, 3))), "tanh"),
    "not in C order": lambda: Model(
        (Layer(np.asfortranarray(np.arange(15, dtype=np.float32).reshape(5, 3))),)
    ),
    "not finite": lambda: Model((Layer(jnp.array([[jnp.nan, -jnp.inf, -0.0]])),)),
    "sharded": lambda: fcjax.distributed.place(
        Model(params((8, 16, 8)), "tanh"), fcjax.distributed.mesh({"data": 2, "model": 4}), "tensor"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_as_it_was(name, tmp_path):
    model = MODELS[name]()
    fcjax.save(tmp_path / "model", model)
    again = fcjax.load(tmp_path / "model")
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for got, want in zip(*map(jax.tree.leaves, (again, model)), strict=True):
        assert isinstance(got, jax.Array)
        assert got.dtype == want.dtype
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


def test_float64_comes_back_only_where_jax_has_it(tmp_path):
    with jax.enable_x64(True):
        model = Model(params(dtype=jnp.float64))
        fcjax.save(tmp_path, model)
        assert_same_bits(fcjax.load(tmp_path)(X), model(X))
    with pytest.raises(
        ValueError, match=r"the model has .*float64, which JAX would round to float32; call"
    ):
        fcjax.load(tmp_path)


def test_the_config_describes_the_model_and_the_weights_are_safetensors(tmp_path):
    model = MODELS["all options"]()
    fcjax.save(tmp_path, model)
    config = config_of(tmp_path)
    assert config["format_version"] == 1
    assert config["sizes"] == [5, 7, 4, 3]
    assert config["activations"] == ["tanh", {"name": "leaky_relu", "negative_slope": 0.3}]
    assert config["output_activation"] == "softmax"
    assert config["dtypes"] == {"params": ["float32"], "compute": "bfloat16"}
    assert config["dropout"] == 0.25
    assert config["preprocessing"] is config["classes"] is config["units"] is None
    assert config["versions"]["jax"] == jax.__version__
    (weights,) = weights_in(tmp_path)
    assert weights.name == config["weights"]["file"]
    arrays = safetensors.numpy.load_file(weights)
    assert sorted(arrays) == [f"layers.{i}.{name}" for i in range(3) for name in "bw"]
    assert_same_bits(arrays["layers.1.w"], model.params[1].w)


IN_A_PROCESS = """
import hashlib, sys
import jax
import numpy as np
import fcjax
what, folder = sys.argv[1:]
if what == "save":
    params = fcjax.init(jax.random.key(0), (5, 7, 4, 3))
    model = fcjax.Model(params, ["tanh", "silu"], "softmax")
    fcjax.save(folder, model)
else:
    model = fcjax.load(folder)
X = np.random.default_rng(5).normal(size=(11, 5)).astype(np.float32)
print(repr(model), hashlib.sha256(np.asarray(model(X)).tobytes()).hexdigest())
"""


def test_another_process_needs_the_folder_alone_and_gets_the_same_bits(tmp_path):
    def run(what, folder):
        command = [sys.executable, "-c", IN_A_PROCESS, what, folder]
        root = Path(fcjax.__file__).parents[1]
        return subprocess.run(command, check=True, text=True, capture_output=True, cwd=root).stdout

    here = run("save", tmp_path / "model")
    moved = shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    assert here.startswith("Model(5-7-4-3 float32, activations=('tanh', 'silu')")
    assert run("load", moved) == here


def test_nothing_in_a_folder_is_code(tmp_path):
    fcjax.save(tmp_path, MODELS["all options"]())
    for path in tmp_path.iterdir():
        assert path.suffix in (".json", ".safetensors")
    source = "".join(path.read_text() for path in Path(folders.__file__).parent.glob("*.py"))
    assert not any(word in source for word in ("import pickle", "eval(", "exec(", "np.load("))


def test_a_model_replaces_another_and_leaves_no_other_file(tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    fcjax.save(tmp_path, MODELS["one layer"]())
    assert fcjax.load(tmp_path).sizes == (5, 2)
    assert len([*tmp_path.iterdir()]) == 2
    fcjax.save(tmp_path, MODELS["one layer"]())  # the same once more
    assert len([*tmp_path.iterdir()]) == 2
    assert fcjax.load(tmp_path).sizes == (5, 2)


ELSEWHERE = (
    "../thesis.docx", "../weights-0123456789abcdef.safetensors", "/tmp/x", "thesis.docx",
    "sub/weights-0123456789abcdef.safetensors", 3, None,
)  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_folder_from_elsewhere_leads_to_no_other_file(name, with_checksum, tmp_path):
    folder, precious = tmp_path / "model", b"precious"
    fcjax.save(folder, MODELS["plain"]())
    kept = [folder / ".." / "thesis.docx", folder / "thesis.docx"]
    kept += [base / "weights-0123456789abcdef.safetensors" for base in (tmp_path, folder / "sub")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(precious)
    config = config_of(folder)
    config["weights"]["file"], config["files"] = name, ["../thesis.docx", "thesis.docx", name]
    if with_checksum:
        rewritten(folder, **config)
    else:
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedModelError, match=r"config\.json"):
        fcjax.load(folder)
    fcjax.save(folder, MODELS["one layer"]())
    assert fcjax.load(folder).sizes == (5, 2)
    assert [path.read_bytes() for path in kept] == [precious] * 4


def test_the_card_and_the_pictures_of_a_model_go_with_it(tmp_path):
    model = MODELS["plain"]()
    contents = model.to_contents()
    files = {"README.md": b"# A card", "history.png": b"...", "confusion.png": b"..."}
    folders.write(tmp_path, contents._replace(files=files))
    (tmp_path / "notes.md").write_text("the user's own")
    folders.write(tmp_path, contents._replace(files={"README.md": b"# Another"}))
    names = {path.name for path in tmp_path.iterdir() if path.suffix in (".md", ".png")}
    assert names == {"README.md", "notes.md"}
    assert folders.read(tmp_path).files == {"README.md": b"# Another"}


def test_a_folder_in_the_place_of_the_weights_is_named(tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    weights = next(tmp_path.glob("weights-*"))
    weights.unlink()
    weights.mkdir()
    with pytest.raises(DamagedModelError, match="is no file"):
        fcjax.load(tmp_path)


def test_files_have_the_permissions_that_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        fcjax.save(tmp_path, MODELS["plain"]())
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


# --- atomic ---------------------------------------------------------------------------------------


class Died(BaseException):
    """The process ended here, as far as the files can tell."""


def calls_of_the_system(monkeypatch, tmp_path):
    """How many calls that change files a save makes."""
    count = [0]
    for name in ("replace", "fsync", "unlink"):
        whole = getattr(os, name)

        def counted(*args, whole=whole, **options):
            count[0] += 1
            return whole(*args, **options)

        monkeypatch.setattr(os, name, counted)
    fcjax.save(tmp_path / "counted", MODELS["plain"]())
    fcjax.save(tmp_path / "counted", MODELS["one layer"]())
    monkeypatch.undo()
    return count[0]


def test_wherever_a_save_dies_there_is_the_old_model_or_the_new_one(monkeypatch, tmp_path):
    new, old = MODELS["one layer"](), MODELS["plain"]()
    sizes = set()
    for last in range(calls_of_the_system(monkeypatch, tmp_path)):
        folder = tmp_path / str(last)
        fcjax.save(folder, old)
        left = [last]
        for name in ("replace", "fsync", "unlink"):
            whole = getattr(os, name)

            def dying(*args, whole=whole, left=left, **options):
                left[0] -= 1
                if left[0] < 0:
                    raise Died
                return whole(*args, **options)

            monkeypatch.setattr(os, name, dying)
        with contextlib.suppress(Died):
            fcjax.save(folder, new)
        monkeypatch.undo()
        sizes.add(fcjax.load(folder).sizes)
        fcjax.save(folder, new)  # what is left over is in nobody's way
        assert fcjax.load(folder).sizes == new.sizes
    assert sizes == {old.sizes, new.sizes}


def test_a_writer_that_is_killed_leaves_a_model(tmp_path):
    """With a real process and a real SIGKILL, at times spread over its saves."""
    script = """
    import sys, jax, fcjax
    models = [fcjax.Model(fcjax.init(jax.random.key(s), (50, 50, n))) for s, n in ((0, 2), (1, 3))]
    fcjax.save(sys.argv[1], models[0])
    print("ready", flush=True)
    while True:
        for model in models:
            fcjax.save(sys.argv[1], model)
    """
    rng = np.random.default_rng(0)
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "model"]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            threading.Event().wait(rng.uniform(0.0, 0.1))
            process.kill()
        assert fcjax.load(tmp_path / "model").sizes in ((50, 50, 2), (50, 50, 3))


def test_whoever_reads_while_another_saves_gets_a_model(tmp_path):
    models = [Model(params((5, 5, n), seed=n)) for n in (2, 3)]
    fcjax.save(tmp_path, models[0])
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for model in models:
                fcjax.save(tmp_path, model)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = {fcjax.load(tmp_path).sizes[-1] for _ in range(200)}
    finally:
        stop.set()
        writer.join()
    assert seen <= {2, 3}


def test_two_writers_leave_a_whole_model(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_save_often, args=(tmp_path, n)) for n in (2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert fcjax.load(tmp_path).sizes[-1] in (2, 3)


def _save_often(folder, units):
    model = Model(fcjax.init(jax.random.key(units), (5, units)))
    for _ in range(20):
        fcjax.save(folder, model)


def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch):
    fcjax.save(tmp_path, MODELS["plain"]())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fcjax.save(tmp_path, MODELS["one layer"]())
    monkeypatch.undo()
    assert fcjax.load(tmp_path).sizes == (5, 7, 4, 3)
    assert len([*tmp_path.iterdir()]) == 2


# --- damage ---------------------------------------------------------------------------------------


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    fcjax.save(tmp_path / "whole", Model(params((3, 2))))
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "whole").iterdir()):
        data = path.read_bytes()
        places = rng.choice(8 * len(data), 60, replace=False)
        damaged = [_flipped(data, int(place)) for place in places]
        damaged += [data[:cut] for cut in (0, 1, 7, 8, len(data) // 2, len(data) - 1)]
        damaged += [data + b"\0", b"\0" * len(data), b"{}", b"[1]", b"null", b"[" * 10_000]
        for content in damaged:
            path.write_bytes(content)
            if path.suffix == ".json" and _means(content, data):
                assert fcjax.load(tmp_path / "whole").sizes == (3, 2)
                continue
            # another number of the format is a newer one
            with pytest.raises(ValueError, match=r"is damaged: |upgrade fcjax") as error:
                fcjax.load(tmp_path / "whole")
            assert str(tmp_path / "whole") in str(error.value)
        path.write_bytes(data)
    assert fcjax.load(tmp_path / "whole").sizes == (3, 2)


def _means(content, data):
    """Whether two texts are the same JSON: some damage changes a blank."""
    try:
        return json.loads(content) == json.loads(data)
    except (ValueError, RecursionError):
        return False


def _flipped(data, place):
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def rewritten(folder, **changes):
    """Change the config as somebody who knows the checksum would."""
    config = config_of(folder)
    config.pop("checksum")
    config.update(changes)
    config["checksum"] = folders._checksum(config)
    (folder / "config.json").write_text(json.dumps(config))


CHANGES = {
    "another kind": ({"kind": "transformer"}, "its kind must be one of"),
    "other sizes": ({"sizes": [5, 3]}, "its sizes are [5, 3], its weights are those of"),
    "an unknown activation": ({"activations": "zelu"}, "activations: 'zelu' is unknown"),
    "an activation that is code": ({"activations": {"name": "os.system"}}, "is unknown"),
    "an option of no name": ({"activations": {"name": "elu", "a": 1}}, "'a' is unknown"),
    "no dtypes": ({"dtypes": {}}, "'compute'"),
    "an older format": ({"format_version": 0}, "config.json is not that of a model"),
    "no format": ({"format_version": True}, "config.json is not that of a model"),
    "dropout": ({"dropout": 2}, "dropout must be a number"),
    "a kind that is a list": ({"kind": []}, "its kind must be one of"),
    "weights that are none": ({"weights": None}, "config.json is not that of a model"),
    "weights without a file": ({"weights": {}}, "config.json names no file of weights"),
    "no sum": ({"weights": {"file": "weights-0123456789abcdef.safetensors"}}, "names no file"),
}


@pytest.mark.parametrize(("changes", "message"), CHANGES.values(), ids=CHANGES)
def test_a_folder_that_does_not_fit_together_is_named(changes, message, tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    rewritten(tmp_path, **changes)
    with pytest.raises(DamagedModelError) as error:
        fcjax.load(tmp_path)
    assert message in str(error.value)


TABLE_CHANGES = {
    "more networks than memory": {"copies": 10**12},
    "more inputs than memory": {"network": {"inputs": 10**12, "outputs": 1, "activation": "mish"}},
    "networks of no number": {"copies": "two"},
    "no preprocessing": {"preprocessing": None},
    "no target": {"target": 3},
}


@pytest.fixture(scope="module")
def table_model():
    pytest.importorskip("sklearn")
    return fcjax.tables.train_table({"x": [*range(0, 40, 2), 7], "y": [*range(21)]}, "y", epochs=1)


@pytest.mark.parametrize("changes", TABLE_CHANGES.values(), ids=TABLE_CHANGES)
def test_the_folder_of_a_table_that_does_not_fit_together_is_named(changes, table_model, tmp_path):
    fcjax.save(tmp_path, table_model)
    rewritten(tmp_path, **changes)
    with pytest.raises(DamagedModelError):
        fcjax.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "weights"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name, tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    path = tmp_path / name if name == "config.json" else weights_in(tmp_path)[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((FileNotFoundError, DamagedModelError), match=r"has no config|is no file"):
        fcjax.load(tmp_path)


def test_a_newer_folder_is_named_with_what_to_do(tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    (tmp_path / "config.json").write_text('{"format_version": 7, "versions": {"fcjax": "9.1"}}')
    with pytest.raises(ValueError, match=r"format 7, written by fcjax 9.1; .*: upgrade fcjax"):
        fcjax.load(tmp_path)


def test_weights_that_are_missing_are_named(tmp_path):
    fcjax.save(tmp_path, MODELS["plain"]())
    (weights,) = weights_in(tmp_path)
    weights.unlink()
    with pytest.raises(DamagedModelError, match=rf"{weights.name} is missing"):
        fcjax.load(tmp_path)


# --- wrong arguments ------------------------------------------------------------------------------


def own(Z):
    return Z


REFUSED = {
    "parameters": (
        params,
        TypeError,
        r"model must be a Model or an estimator of fcjax, got .*; wrap parameters as Model",
    ),
    "a number": (
        lambda: 3,
        TypeError,
        "model must be a Model or an estimator of fcjax, got int 3$",
    ),
    "a function": (lambda: Model(params(), own), TypeError, "must be an activation of fcjax to be"),
    "in a list": (lambda: Model(params(), ["relu", own]), TypeError, r"activations\[1\] must be"),
    "the output": (lambda: Model(params(), "relu", own), TypeError, "output_activation must be"),
}


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(make, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        fcjax.save(tmp_path / "model", make())
    assert not (tmp_path / "model").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match=r"must be new, empty or hold a model .*'thesis.tex'"):
        fcjax.save(tmp_path, MODELS["plain"]())
    (tmp_path / "config.json").write_text('{"name": "another program"}')
    with pytest.raises(FileExistsError, match="must be new, empty or hold a model"):
        fcjax.save(tmp_path, MODELS["plain"]())
    with pytest.raises(NotADirectoryError, match="got the file"):
        fcjax.save(tmp_path / "thesis.tex", MODELS["plain"]())
    with pytest.raises(DamagedModelError, match="is not that of a model of fcjax"):
        fcjax.load(tmp_path)


@pytest.mark.parametrize("use", [fcjax.load, lambda folder: fcjax.save(folder, MODELS["plain"]())])
@pytest.mark.parametrize("folder", [3, None, "", "a\0b", "~/model"])
def test_a_path_that_is_none_is_named(use, folder):
    with pytest.raises((TypeError, ValueError), match=r"^folder must be"):
        use(folder)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        fcjax.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        fcjax.load(tmp_path / "none")


def test_a_traced_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.params\[0\]\.w must be a concrete array"):
        jax.jit(lambda model: fcjax.save(tmp_path, model))(MODELS["plain"]())


def test_the_files_are_read_by_others(tmp_path):
    """safetensors' own reader, with bfloat16 through ml_dtypes."""
    model = MODELS["bfloat16"]()
    fcjax.save(tmp_path, model)
    with safetensors.safe_open(weights_in(tmp_path)[0], "np") as file:
        assert_same_bits(file.get_tensor("layers.0.w"), model.params[0].w)
