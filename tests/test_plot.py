"""The pictures say what they show."""

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
