"""Checkpoints: what comes back, and what is said of one that does not fit."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

import fcjax

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
