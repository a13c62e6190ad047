"""Checkpoints: what comes back, and what is said of one that does not fit."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

import fcjax

checkpoint = fcjax.checkpoint
pytest.importorskip("orbax.checkpoint")
pytestmark = pytest.mark.usefixtures("unchecked")


def state(sizes=(3, 4, 2), optimizer=None):
    params = fcjax.init(jax.random.key(0), sizes)
    return fcjax.init_state(params, optax.adam(0.1) if optimizer is None else optimizer)


def saved(folder, tree, step=5):
    fcjax.checkpoint.save(folder, tree, step=step)
    return folder


def words(folder, like):
    with pytest.raises(ValueError, match="like must have the arrays of the checkpoint") as caught:
        fcjax.checkpoint.restore(folder, like)
    text = str(caught.value)
    assert f"of step 5 in {str(folder)!r}" in text
    assert "\n" not in text
    assert not re.search("padding|strict|partial_restore|truncat", text), "options restore lacks"
    return text.rpartition(": ")[2]


def test_another_width_is_told_by_leaf_and_shapes(tmp_path):
    folder = saved(tmp_path / "run", state())
    want = "float32[3, 4] is stored at .params[0].w, got float32[3, 5]"
    assert words(folder, state((3, 5, 2))) == want


def test_another_depth_or_optimizer_is_told_by_what_is_missing(tmp_path):
    folder = saved(tmp_path / "run", state())
    deeper = state((3, 4, 2, 2), optax.sgd(0.1))
    assert words(folder, state(optimizer=optax.sgd(0.1))) == (
        "int32[] is stored at .opt_state[0].count, got nothing"
    )
    assert words(folder, deeper._replace(opt_state=state().opt_state)) == (
        "nothing is stored at .params[2].w, got float32[2, 2]"
    )


def test_a_single_array_has_no_place_of_its_own(tmp_path):
    folder = saved(tmp_path / "one", jnp.zeros(3))
    assert words(folder, jnp.zeros(4)) == "float32[3] is stored at the top, got float32[4]"


def test_fit_into_the_folder_of_another_network_is_told_so(tmp_path):
    def loss(params, batch):
        return jnp.mean(fcjax.mlp(params, batch) ** 2)

    def fit(width):
        params = fcjax.init(jax.random.key(0), (3, width, 1))
        fcjax.fit(params, jnp.ones((8, 3)), loss=loss, optimizer=optax.sgd(0.1), epochs=1,
                  batch_size=8, checkpoint_dir=tmp_path / "run")  # fmt: skip

    fit(4)
    with pytest.raises(ValueError, match="params must have the arrays of the checkpoint of") as e:
        fit(6)
    assert str(e.value).endswith("float32[3, 4] is stored at ['best'][0].w, got float32[3, 6]")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint$"):
        fcjax.checkpoint.restore(tmp_path / "none", jnp.zeros(3))
    folder = saved(tmp_path / "run", jnp.zeros(3))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of step 7; it holds \[5\]"):
        fcjax.checkpoint.metadata(folder, step=7)


def test_a_step_that_is_too_small_is_told_the_smallest(tmp_path):
    with pytest.raises(ValueError, match=r"step must be at least 0, .* got -1"):
        fcjax.checkpoint.save(tmp_path / "run", jnp.zeros(3), step=-1)
    folder = saved(tmp_path / "run", jnp.zeros(3))
    newest = fcjax.checkpoint.latest(folder)
    with pytest.raises(ValueError, match=f"step must be at least {newest + 1}, "):
        fcjax.checkpoint.save(folder, jnp.zeros(3), step=newest)


@pytest.mark.parametrize(
    "tree",
    [
        {"a": jnp.ones((0, 3)), "b": jnp.arange(3.0)},
        {"a": jnp.ones((0, 3)), "k": jax.random.split(jax.random.key(0), 3)[:0]},
        (),
    ],
    ids=["one of two", "all", "no leaves"],
)
def test_what_has_no_elements_comes_back(tree, tmp_path):
    checkpoint.save(tmp_path, tree, step=1)
    back = checkpoint.restore(tmp_path, tree)
    assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, tree)
    assert checkpoint.verify(tmp_path) == {1: None}


@pytest.mark.parametrize("name", ["run [2]", "run*", "what?", "a\\b"])
def test_a_path_that_orbax_reads_as_a_pattern_is_refused(name, tmp_path):
    """Orbax finds no part of such a checkpoint, writes a log line, and the arrays are gone."""
    with pytest.raises(ValueError, match=r"directory must be a path without any of \* \? \["):
        checkpoint.save(tmp_path / name, jnp.ones(3), step=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a b", "ä漢", "50%", "x{y}", "a:b;c", "#1+2=3", "p'q"])
def test_other_paths_are_fine(name, tmp_path):
    checkpoint.save(tmp_path / name, jnp.arange(3.0), step=1)
    assert checkpoint.restore(tmp_path / name, jnp.zeros(3)).tolist() == [0, 1, 2]
