"""The figures of each epoch, and which of them is the best."""

import math

import pytest

from fcjax.train.figures import Figures, Monitor


def start(**options):
    return Figures({}, Monitor("val_loss", **options))


def added(figures, *losses):
    for loss in losses:
        figures = figures.added({"loss": -loss, "val_loss": loss})
    return figures


def test_an_earlier_moment_keeps_its_figures():
    early = added(start(), 3.0, 2.0)
    late = added(early, 1.0)
    assert early.history() == {"loss": [-3.0, -2.0], "val_loss": [3.0, 2.0]}
    assert early.last() == {"loss": -2.0, "val_loss": 2.0}
    assert late.history()["val_loss"] == [3.0, 2.0, 1.0]
    assert (early.since_best, late.since_best) == (0, 0)


def test_a_run_that_went_back_goes_on_from_there():
    early = added(start(), 3.0, 2.0)
    added(early, 9.0, 9.0)
    assert added(early, 1.0).history()["val_loss"] == [3.0, 2.0, 1.0]


def test_another_epoch_copies_nothing():
    early = added(start(), 3.0)
    late = added(early, 2.0)
    assert all(late.lists[name] is values for name, values in early.lists.items())
    early.history()["loss"].clear()
    assert late.history()["loss"] == [-3.0, -2.0]


def test_the_first_of_equal_epochs_is_the_best():
    assert added(start(), 3.0, 2.0, 2.0, 4.0).since_best == 2


def test_the_last_of_equal_epochs_may_be_the_best():
    figures = added(start(last=True), 3.0, 2.0, 2.0, 4.0)
    assert (figures.best, figures.since_best) == (3, 1)


def test_the_highest_figure_may_be_the_best():
    figures = added(start(highest=True), 1.0, 3.0, 2.0, 3.0)
    assert (figures.best, figures.lowest) == (2, -3.0)
    assert Figures.of(figures.history(), figures.monitor) == figures
    assert added(start(highest=True, last=True), 1.0, 3.0, 2.0, 3.0).best == 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_the_best(bad):
    assert added(start(), bad).since_best == 1
    figures = added(start(), bad, 2.0, bad)
    assert (figures.best, figures.since_best, figures.lowest) == (2, 1, 2.0)


def test_a_history_is_read_back():
    figures = added(start(), 3.0, math.nan, 1.0, 2.0)
    again = Figures.of(figures.history(), figures.monitor)
    assert (again.epochs, again.best, again.lowest) == (4, 3, 1.0)
    assert repr(again.history()) == repr(figures.history())
    assert Figures.of({}, Monitor("loss")).history() == {}
