"""The pictures say what they show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from fcjax import plot


def test_each_wrong_image_says_what_was_predicted_and_what_the_label_is():
    fig = plot.figure(4, 3)
    plot.wrong_images(fig, np.zeros((2, 8, 8)), ["4", "9"], ["8", "3"], title="2 wrong")
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:2] == ["predicted 8\nlabel 4", "predicted 3\nlabel 9"]
    assert not any(titles[2:])


def deleted():
    array = jnp.ones(3) + 1
    array.delete()
    return array


def axes():
    return plot.figure(1, 1).subplots()


WRONG = {
    "a number for a history": (
        r"history\['loss'\] .*one number per epoch, got int\d+\[\]",
        lambda: plot.loss_curve(axes(), {"loss": 3}),
    ),
    "a deleted array": (
        r"predictions must be an array of numbers, got float32\[3\]",
        lambda: plot.predicted_against_true(axes(), [1.0, 2.0, 3.0], deleted()),
    ),
    "keys for labels": (
        r"labels must be an array of integers, got key<fry>\[\]",
        lambda: plot.confusion(axes(), jax.random.key(0), [0], ["a"]),
    ),
    "a key for images": (
        r"images must be an array of numbers, got key<fry>\[\]",
        lambda: plot.wrong_images(plot.figure(1, 1), jax.random.key(0), [], [], title=""),
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("match", "call"), WRONG.values(), ids=WRONG)
def test_what_is_no_array_of_numbers_is_refused_by_name(match, call):
    with pytest.raises(TypeError, match=match):
        call()
