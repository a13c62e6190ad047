"""The pictures say what they show."""

import shutil
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib import font_manager
from matplotlib.colors import to_hex

import fcjax
from fcjax import plot
from fcjax.plot._labels import _find_new_fonts, labels


def test_each_wrong_image_says_what_was_predicted_and_what_the_label_is():
    fig = plot.figure(4, 3)
    plot.wrong_images(fig, np.zeros((2, 8, 8)), ["4", "9"], ["8", "3"], title="2 wrong")
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:2] == ["predicted 8\nlabel 4", "predicted 3\nlabel 9"]
    assert not any(titles[2:])


def test_no_more_wrong_images_are_drawn_than_asked_for():
    fig = plot.figure(4, 3)
    plot.wrong_images(fig, np.zeros((30, 4, 4)), 30 * ["1"], 30 * ["2"], title="many", most=7)
    assert sum(bool(ax.images) for ax in fig.axes) == 7


def test_titles_of_wrong_images_are_literal_and_fit():
    classes = [f"a class with a long name, number {i}" for i in range(24)]
    fig = plot.figure(5, 4)
    title = r"$\foo$ and much more than has room above five inches of images that are wrong"
    key = plot.wrong_images(fig, np.zeros((24, 4, 4)), classes, classes[::-1], title=title)
    laid_out(fig)
    assert {*key.values()} == {*classes}
    assert {*key} == {ax.get_title().split("label ")[1] for ax in fig.axes}
    assert is_inside(fig, *fig.texts)
    assert not overlap([ax.title for ax in fig.axes[:6]])


def test_lines_of_the_title_of_wrong_images_are_kept():
    fig = plot.figure(4, 3)
    plot.wrong_images(fig, np.zeros((1, 4, 4)), ["a"], ["b"], title="1 wrong\nof 9")
    assert fig.get_suptitle() == "1 wrong\nof 9"


def is_inside(fig, *artists):
    """Whether artists that have been drawn lie within their figure."""
    boxes = [artist.get_window_extent() for artist in artists]
    return all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= fig.bbox.x1 and b.y1 <= fig.bbox.y1
               for b in boxes)  # fmt: skip


def overlap(artists, side=0):
    """Whether neighbours that have been drawn overlap along x, or along y if `side` is 1."""
    boxes = [artist.get_window_extent().get_points()[:, side] for artist in artists]
    return any(a[1] > b[0] for a, b in pairwise(sorted(boxes, key=lambda box: box[0])))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def drawn(fig):
    """Draw, which raises for a missing letter and for a formula that is none."""
    assert plot.png(fig).startswith(b"\x89PNG")
    return fig.axes


def laid_out(fig):
    """Draw, and leave everything where it lies at the resolution of the figure."""
    found = drawn(fig)
    fig.draw_without_rendering()
    return found


# --- the training ---------------------------------------------------------------------------------


def test_a_history_has_panels_of_what_is_known_and_marks_the_best_epoch():
    fig = plot.figure(9, 3)
    figures = {"loss": [3.0, 2.0, 1.9], "val_loss": [3.0, 2.5, 2.6], "val_auc": [0.5, 0.9, 0.8],
               "learning_rate": [0.1, 0.0, 0.1], "val_other": [1.0, 1.0, 1.0]}  # fmt: skip
    plot.history(fig, figures, metric="auc", best=2)
    loss, auc, rate = drawn(fig)
    assert [ax.get_ylabel() for ax in fig.axes] == ["loss", "auc", "learning rate"]
    training, validation, best = loss.lines
    np.testing.assert_array_equal(training.get_ydata(), figures["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), figures["val_loss"])
    assert list(best.get_xdata()) == [2, 2]
    np.testing.assert_array_equal(auc.lines[0].get_ydata(), figures["val_auc"])
    assert rate.get_yscale() == "linear"


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1.0, 1e-4], "log"), ([1.0, 0.5], "linear"), ([1.0, 1e-9, -1.0], "linear"),
     ([1.0, 1e-9, 0.0], "linear"), ([np.nan, np.inf], "linear"), ([1e-300, 1e200], "log")],
)  # fmt: skip
def test_losses_that_fall_over_decades_have_a_logarithmic_scale(losses, scale):
    fig = plot.figure(3, 3)
    plot.history(fig, {"loss": losses})
    assert fig.axes[0].get_yscale() == scale
    drawn(fig)


def test_a_history_of_one_epoch_and_one_with_gaps_are_visible():
    for losses in ([1.0], [np.nan, 1.0, np.nan] * 20):
        fig = plot.figure(3, 3)
        plot.history(fig, {"loss": losses}, metric="loss", best=1)
        assert drawn(fig)[0].lines[0].get_marker() == "o"


def test_lines_of_a_loss_curve_are_those_of_the_history():
    ax = axes()
    plot.loss_curve(ax, {"loss": [2.0, 1.0], "val_loss": [3.0, 2.0]})
    assert [list(line.get_ydata()) for line in ax.lines] == [[2, 1], [3, 2]]


# --- classes --------------------------------------------------------------------------------------


def test_a_confusion_matrix_shows_the_counts():
    ax = axes()
    plot.confusion(ax, [0, 0, 0, 1, 2], [0, 0, 1, 1, 0], ["a", "b", "c"])
    assert texts(ax) == ["2", "1", "0", "0", "1", "0", "1", "0", "0"]
    assert names(ax.xaxis) == names(ax.yaxis) == ["a", "b", "c"]


def test_of_many_classes_those_with_the_most_errors_are_drawn():
    labels = np.arange(50).repeat(3)
    predictions = np.where(labels % 2, labels, (labels + 2) % 50)
    predictions[:2] = 0  # class 0 is right twice
    fig = plot.figure(9, 9)
    ax = fig.subplots()
    plot.confusion(ax, labels, predictions, [f"kind {i}" for i in range(50)])
    drawn(fig)
    assert len(names(ax.xaxis)) == 20
    assert all(int(name.split()[1]) % 2 == 0 for name in names(ax.xaxis))
    assert ax.get_title() == "20 of 50 classes, with the most errors"


@pytest.mark.parametrize(("count", "shown"), [(12_345, "12345"), (1_234_567, "1235k")])
def test_large_counts_are_short(count, shown):
    ax = axes()
    plot.confusion(ax, np.zeros(count, int), np.zeros(count, int), ["a", "b"])
    assert texts(ax)[0] == shown


def test_counts_and_labels_of_many_classes_do_not_overlap():
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    labels = np.repeat(np.arange(15), 24_000)
    predictions = np.where(np.arange(len(labels)) % 2, labels, (labels + 1) % 15)
    plot.confusion(ax, labels, predictions, [f"class {i}" for i in range(15)])
    laid_out(fig)
    assert {*texts(ax)} == {"12k"}
    assert not overlap(ax.get_yticklabels(), side=1)
    width = ax.transData.transform([[0, 0], [1, 0]])[:, 0]
    assert max(text.get_window_extent().width for text in ax.texts) < np.diff(width)


def test_classes_with_long_names_have_different_labels():
    fig = plot.figure(10, 10)
    ax = fig.subplots()
    classes = [f"class number {i} of a long and winding name" for i in range(20)]
    plot.confusion(ax, np.arange(20), np.arange(20), classes)
    drawn(fig)
    assert names(ax.xaxis) == names(ax.yaxis) == [f"class number {i}…" for i in range(20)]


def test_labels_of_classes_are_turned_only_where_they_would_overlap():
    for classes, angle in ((["stays", "leaves"], 0), ([f"kind {i}" for i in range(20)], 40)):
        ax = plot.figure(4, 4).subplots()
        plot.confusion(ax, [0], [0], classes)
        assert {label.get_rotation() for label in ax.get_xticklabels()} == {angle}


def test_a_class_that_no_font_can_draw_has_its_number_among_all_classes(monkeypatch):
    monkeypatch.setattr("fcjax.plot._labels._family_with", lambda letter: None)
    ax = axes()
    classes = [f"kind {i}" for i in range(29)] + ["房间"]
    plot.confusion(ax, np.arange(10, 30), np.roll(np.arange(10, 30), 1), classes)
    assert names(ax.xaxis) == [f"kind {i}" for i in range(10, 29)] + ["#30"]


@pytest.mark.parametrize(
    ("p", "happened"),
    [([0.7], [False]), ([1.0] * 9, [True] * 9), ([0.0], [True]), ([np.nan], [True]),
     (np.linspace(0, 1, 50), np.arange(50) > 20)],
    ids=["one row", "perfect", "zero", "nan", "many"],
)  # fmt: skip
def test_calibration_is_drawn_of_any_rows(p, happened):
    fig = plot.figure(4, 4)
    plot.calibration(fig, p, happened)
    _, lower = drawn(fig)
    assert sum(bar.get_height() for bar in lower.patches) == np.sum(~np.isnan(p))


def test_calibration_counts_the_rows_without_a_probability():
    for p, title in (
        ([np.nan, np.nan], "without 2 of 2 rows, NaN"),
        ([1.0, np.nan], "expected calibration error 0\nwithout 1 of 2 rows, NaN"),
        ([1.0, 1.0], "expected calibration error 0"),
    ):
        fig = plot.figure(4, 4)
        plot.calibration(fig, p, [True, True])
        assert drawn(fig)[0].get_title() == title


def test_the_calibration_of_rare_events_fills_its_axes():
    fig = plot.figure(4, 4)
    p = np.linspace(0.001, 0.02, 500)
    plot.calibration(fig, p, np.arange(500) % 100 == 0, bins=200)
    upper, lower = drawn(fig)
    assert upper.get_xlim() == lower.get_xlim()
    assert upper.get_xlim()[1] < 0.021
    (bars,) = upper.containers
    highest = max(segment[:, 1].max() for segment in bars[2][0].get_segments())
    assert highest < upper.get_ylim()[1] < 1.1 * highest
    assert {"0%", "0.5%", "1%"} <= {*names(lower.xaxis)}


# --- numbers --------------------------------------------------------------------------------------

NUMBERS = {
    "one row": ([3.0], [4.0], "linear"),
    "a constant": ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], "linear"),
    "all equal": ([2.0, 2.0], [2.0, 2.0], "linear"),
    "zeros": ([0.0, 0.0], [0.0, 0.0], "linear"),
    "tiny": ([1e-30, 2e-30], [1.5e-30, 2e-30], "linear"),
    "huge": ([1e150, -2e150], [1e150, 1e150], "linear"),
    "tails": ([1.0, 1.5, 2.0, 1e4], [1.0, 2.0, 1.0, 5e3], "log"),
    "signed tails": ([-1.0, 1.5, 2.0, 1e4], [1.0, 2.0, 1.0, -5e3], "symlog"),
    "one wild prediction": ([-1.0, 1.5, 2.0, 1.0], [1.0, 2.0, 1.0, -5e190], "symlog"),
    "outliers within two decades": ([-1.5, *np.full(9, 0.03), 1.4], [0.0] * 11, "linear"),
    "positive over twelve decades": (10.0 ** np.linspace(-3, 9, 50), np.ones(50), "log"),
    "positive with a tiny one": ([1e-30, 1.0, 1.0, 1.0, 1e4], [1.0] * 5, "symlog"),
    "too huge": ([1e308, 1.0], [-1e308, 1.0], "linear"),
    "not finite": ([1.0, 2.0, 3.0, 4.0], [np.nan, np.inf, 3.0, 4.0], "linear"),
    "none finite": ([1.0, 2.0], [np.nan, np.nan], "linear"),
}


@pytest.mark.parametrize(("t", "p", "scale"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_and_residuals_are_drawn_on_a_scale_that_fits(t, p, scale):
    fig = plot.figure(6, 3)
    left, right = fig.subplots(1, 2)
    plot.predicted_against_true(left, t, p)
    plot.residuals(right, t, p)
    drawn(fig)
    assert left.get_xscale() == left.get_yscale() == scale
    t, p = np.array(t), np.array(p)
    shown = (np.abs(t) <= 1e200) & (np.abs(p) <= 1e200)
    np.testing.assert_array_equal(left.lines[0].get_xydata().reshape(-1, 2).T, (t[shown], p[shown]))
    np.testing.assert_array_equal(right.lines[0].get_xydata().T, (p[shown], t[shown] - p[shown]))
    said = f"without {np.sum(~shown)} of {len(t)} rows,\nNaN or beyond 1e+200"
    said = "" if shown.all() else said
    assert left.get_title() == said


def made(seed, spread, sign=1, size=1.0, shift=0.0):
    """Return targets and predictions as of a model with errors of a factor."""
    rng = np.random.default_rng(seed)
    t = size * np.exp(spread * rng.normal(size=200)) * rng.choice([1, sign], 200)
    return t, t * np.exp(0.3 * rng.normal(size=200)) + shift


TICKS = {
    "skewed, with predictions below 0": made(0, 3, shift=-1),
    "skewed, of both signs": made(1, 3, sign=-1, size=1e3),
    "tiny and skewed": made(2, 3, sign=-1, size=1e-12),
    "huge and skewed": made(3, 2.5, size=1e12),
    "very skewed": made(4, 20, sign=-1),
    "one is wild": (np.r_[-5e190, made(5, 0.1)[0][1:]], made(5, 0.1)[1]),
    "six digits": made(6, 0.3, sign=-1, size=3e5),
    "small": made(7, 0.3, sign=-1, size=3e-4),
    "far from 0": (1e6 + made(8, 0.3)[0], 1e6 + made(8, 0.3)[1]),
    "a constant": (made(9, 2)[0], np.full(200, 0.123456)),
    "ten rows": tuple(values[:10] for values in made(10, 1)),
}


@pytest.mark.parametrize(("t", "p"), TICKS.values(), ids=TICKS)
def test_axes_have_ticks_enough_that_do_not_overlap(t, p):
    fig = plot.figure(8, 3.8)
    left, right = fig.subplots(1, 2)
    plot.predicted_against_true(left, t, p)
    plot.residuals(right, t, p)
    fig.draw_without_rendering()
    for ax in fig.axes:
        for axis, side in ((ax.xaxis, 0), (ax.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
            shown = [label.get_window_extent() for at, label in ticks if low <= at <= high]
            assert len(shown) >= 3
            ends = sorted((box.get_points()[0, side], box.get_points()[1, side]) for box in shown)
            assert all(a[1] < b[0] for a, b in pairwise(ends)), names(axis)


def test_an_axis_says_that_it_is_not_linear():
    labels = []
    for t, p in (made(1, 4, sign=-1), made(0, 3), made(0, 0.3)):
        ax = axes()
        plot.predicted_against_true(ax, t, p)
        assert ax.get_ylabel() == ax.get_xlabel().replace("target", "prediction")
        labels.append(ax.get_xlabel())
    symmetric, logarithmic, linear = labels
    assert symmetric == "target\n(symmetric log, linear within ±10)"
    assert logarithmic == "target (log scale)"
    assert linear == "target"


def test_losses_over_few_decades_have_ticks_between_the_powers_of_ten():
    fig = plot.figure(4, 3.4)
    plot.history(fig, {"loss": [2.0, 0.5, 0.05]})
    (ax,) = drawn(fig)
    assert names(ax.yaxis) == ["0.05", "0.1", "0.2", "0.5", "1", "2"]


# --- columns --------------------------------------------------------------------------------------


def test_a_bar_is_the_mean_with_the_deviation():
    ax = axes()
    losses = np.array([[0.5, 0.7, 0.9], [0.0, 0.1, -0.1]])
    plot.importance(ax, ["first", "second"], losses, what="decrease of auc")
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(losses.mean(axis=1))
    (error,) = [c for c in ax.collections if len(c.get_segments()) == 2]
    spread = [np.ptp(segment[:, 0]) / 2 for segment in error.get_segments()]
    assert spread == pytest.approx(losses.std(axis=1))
    assert names(ax.yaxis) == ["first", "second"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first is at the top


def test_of_many_columns_those_with_the_largest_means_are_drawn_and_do_not_overlap():
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    columns = [f"a long name of column {i}, of a table" for i in range(80)]
    worth = np.where(np.arange(80) % 4 == 3, 2.0, 1.0)
    what = "decrease of the area under the curve when the column is shuffled"
    plot.importance(ax, columns, worth[:, None] * np.ones(3), what=what)
    laid_out(fig)
    assert [bar.get_width() for bar in ax.patches] == 20 * [2.0]
    assert names(ax.yaxis) == plot.short_names(columns[3::4])
    assert ax.get_title() == "20 of 80 columns, with the largest means"
    assert not overlap(ax.get_yticklabels(), side=1)
    assert is_inside(fig, ax.title, ax.xaxis.label, *ax.get_yticklabels())


def test_names_are_short_literal_and_in_letters_that_a_font_has(monkeypatch):
    monkeypatch.setattr("fcjax.plot._labels._family_with", lambda letter: None)
    odd = ["a" * 70 + "bcdefghij", "$x^$ and $\\frac$", "two\nlines\t", "цена", "房间", ""]
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    plot.importance(ax, odd, np.ones((6, 1)), what="$\\alpha_$")
    drawn(fig)
    assert names(ax.yaxis) == [
        "a" * 18 + "…bcdefghij", r"\$x^\$ and \$\frac\$", "two lines", "цена", "#5", ""
    ]  # fmt: skip


SHORT = {
    "one part differs": (
        [f"class number {i} of a long name" for i in (1, 12)],
        ["class number 1…", "class number 12…"],
    ),
    "two parts differ": (
        [f"Iris versicolor {a} (var. {b})" for a in ("alba", "nigra") for b in ("major", "minor")],
        ["Iris…alba…major)", "Iris…alba…minor)", "Iri…nigra…major)", "Iri…nigra…minor)"],
    ),
    "without spaces": (
        ["東京都千代田区丸の内一丁目一番地の家", "東京都千代田区丸の内二丁目一番地の家"],
        ["東京都千代田区丸の内一丁目一番…", "東京都千代田区丸の内二丁目一番…"],
    ),
    "much differs": (
        ["the customer stayed with us for the year", "the customer left us within the year"],
        ["the customer st…", "the customer le…"],
    ),
    "in length": (["a" * 100, "a" * 101], ["a" * 15 + "…", "a" * 14 + "…a"]),
    "in the middle of much": (
        ["x" * 200 + letter + "x" * 200 for letter in "ab"], ["x" * 13 + " #1", "x" * 13 + " #2"]
    ),
    "in spaces": (["a b", "a  b", "c"], ["a b #1", "a b #2", "c"]),
    "not at all": (["a" * 20] * 2, ["a" * 10 + "…" + "a" * 5] * 2),
}  # fmt: skip


@pytest.mark.parametrize(("given", "want"), SHORT.values(), ids=SHORT)
def test_names_that_differ_have_labels_that_differ(given, want, monkeypatch):
    monkeypatch.setattr("fcjax.plot._labels._has", lambda family, letter: True)
    assert labels(given, 16).texts == want


def test_fonts_that_were_installed_after_matplotlib_listed_them_are_found(tmp_path, monkeypatch):
    manager = font_manager.fontManager
    font = tmp_path / "new.ttf"
    shutil.copy(font_manager.findfont("DejaVu Sans"), font)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: map(str, tmp_path.iterdir()))
    _find_new_fonts.__wrapped__()
    assert [e.name for e in manager.ttflist if e.fname.startswith(str(tmp_path))] == ["DejaVu Sans"]


def test_letters_are_taken_from_any_installed_font():
    # a letter that the default font lacks, and one of the fonts of matplotlib has
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    plot.importance(ax, ["\u24b6"], [[1.0]])
    drawn(fig)
    assert names(ax.yaxis) == ["\u24b6"]
    assert len(ax.get_yticklabels()[0].get_fontfamily()) == 2


def test_equal_figures_give_equal_files():
    files = set()
    for _ in range(2):
        fig = plot.figure(2, 2)
        plot.residuals(fig.subplots(), [1.0, 2.0], [1.0, 3.0])
        files.add(plot.png(fig))
    assert len(files) == 1


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
    "numbers for events": (
        "happened must be an array of booleans, got list",
        lambda: plot.calibration(plot.figure(1, 1), [0.5], [1]),
    ),
    "a vector of losses": (
        r"losses must be \(columns, repeats\) numbers, got list",
        lambda: plot.importance(axes(), ["a"], [1.0]),
    ),
}
WRONG_VALUES = {
    "no loss": ("figures must have lists of one length", lambda: history({"auc": [1.0]})),
    "lengths": ("figures must have lists of one length", lambda: history({"loss": [1.0, 2.0]}, 1)),
    "a metric": ("metric: 'auk' is unknown; .*'val_loss'|'auk'", lambda: history({}, metric="auk")),
    "no loss of a curve": (
        r"history must have 'loss', got \{'x': \[1\]\}",
        lambda: plot.loss_curve(axes(), {"x": [1]}),
    ),
    "no rows": (
        r"labels must hold at least one number, got list \[\]",
        lambda: plot.confusion(axes(), [], [], ["a"]),
    ),
    "a format": (
        r"path must name a file that matplotlib can write, got 'x\.foo': Format 'foo' is not supp",
        lambda: plot.save(plot.figure(1, 1), "x.foo"),
    ),
    "an epoch": ("best must be an epoch from 1 to 1, got 2", lambda: history({}, best=2)),
    "names": (
        "losses must have as many entries as names, 1, got 2",
        lambda: plot.importance(axes(), ["a"], [[1.0], [2.0]]),
    ),
}


def history(figures, lengths=None, **options):
    figures = {"loss": [1.0]} | figures if lengths is None else {**figures, "val_loss": [1.0]}
    if "auc" in figures:
        del figures["loss"]
    plot.history(plot.figure(1, 1), figures, **options)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("match", "call"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_is_named(match, call):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("match", "call"), WRONG.values(), ids=WRONG)
def test_what_is_no_array_of_numbers_is_refused_by_name(match, call):
    with pytest.raises(TypeError, match=match):
        call()


# --- what is in a network -------------------------------------------------------------------------


def test_regions_are_those_of_the_largest_score_and_examples_stand_in_their_colours():
    x, labels = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.array([0, 1, 2])
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    scores = lambda p: np.stack([np.ones(len(p)), p[:, 0], p[:, 1]], axis=1)  # noqa: E731
    plot.decision_boundary(ax, scores, x, labels)
    drawn(fig)
    regions = ax.collections[0].get_array().reshape(201, 201)
    side = np.linspace(-0.4, 4.4, 201)
    first, second = np.meshgrid(side, side)
    want = np.where(np.maximum(first, second) <= 1, 0, np.where(first >= second, 1, 2))
    np.testing.assert_array_equal(regions, want)
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), x[k : k + 1])
        assert line.get_color() == plot._style.COLORS[k]
    assert names_of_legend(ax) == ["class 0", "class 1", "class 2"]


def names_of_legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("is_whole", [False, True])
def test_where_a_score_is_nan_the_plane_is_blank(is_whole):
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    blank = lambda p: (p[:, 0] < 5) | is_whole  # noqa: E731
    predict = lambda p: np.where(blank(p), np.nan, p[:, 1])  # noqa: E731
    plot.decision_boundary(ax, predict, [[0.0, 1.0], [10.0, 0.0]], [0, 1])
    drawn(fig)
    regions = np.ma.getmaskarray(ax.collections[0].get_array()).reshape(201, 201)
    np.testing.assert_array_equal(regions[0], (np.linspace(-1, 11, 201) < 5) | is_whole)


def test_the_names_of_a_plane_are_literal_and_fit():
    for columns, shown in (
        ((r"$\foo$", "$ per $m"), [r"\$\foo\$", r"\$ per \$m"]),
        (("the length of a thing in metres", 70 * "b"), plot.short_names(
            ("the length of a thing in metres", 70 * "b"))),
    ):  # fmt: skip
        fig = plot.figure(3, 3)
        ax = fig.subplots()
        plot.decision_boundary(ax, lambda p: p[:, 0], ONE, [0], names=columns)
        laid_out(fig)
        assert [ax.get_xlabel(), ax.get_ylabel()] == shown
        assert is_inside(fig, ax.xaxis.label, ax.yaxis.label)


@pytest.mark.parametrize("column", [False, True])
def test_a_probability_is_cut_at_a_half(column):
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    predict = lambda p: (p[:, :1] if column else p[:, 0]) / 10  # noqa: E731
    plot.decision_boundary(ax, predict, [[0.0, 1.0], [10.0, 2.0]], [0, 1])
    regions = ax.collections[0].get_array().reshape(201, 201)
    np.testing.assert_array_equal(regions[0], np.linspace(-1, 11, 201) > 5)


def test_both_passes_are_drawn_each_relative_to_its_largest_entry():
    rng = np.random.default_rng(0)
    X, A, dZ = (
        rng.normal(size=(5, 2)),
        100 * rng.normal(size=(5, 3)),
        0.01 * rng.normal(size=(5, 3)),
    )
    dZ[2, 1] = np.nan
    fig = plot.figure(6, 4)
    plot.passes(fig, [X, A], [dZ])
    images = {ax.get_title().split("\n")[0]: ax.images[0] for ax in drawn(fig)}
    for name, matrix in {"X": X, "A₁": A, "dZ₁": dZ}.items():
        np.testing.assert_array_equal(np.asarray(images[name].get_array().filled(np.nan)), matrix)
        limit = np.nanmax(np.abs(matrix))
        assert images[name].get_clim() == (-limit, limit)
        assert f"up to {limit:.3g}" in images[name].axes.get_title()
    not_a_number = images["dZ₁"].cmap(images["dZ₁"].norm(images["dZ₁"].get_array()))[2, 1]
    assert to_hex(not_a_number) == plot._style.GREEN


def test_the_norms_of_layers_are_lines_and_a_norm_of_0_is_a_gap():
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    plot.gradient_norms(ax, {"layer 1": [1e-4, 0.0, 1e-3], "layer 2": [1.0, 2.0, 3.0]})
    drawn(fig)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1e-4, np.nan, 1e-3])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [1, 2, 3])
    assert ax.get_yscale() == "log"
    assert names_of_legend(ax) == ["layer 1", "layer 2"]


def test_a_color_bar_names_some_of_many_layers():
    rng = np.random.default_rng(0)
    for draw in (
        lambda ax: plot.gradient_norms(ax, {f"layer {i}": rng.uniform(size=9) for i in LAYERS}),
        lambda ax: plot.weight_spectrum(ax, [rng.normal(size=(4, 4)) for _ in LAYERS]),
    ):
        fig = plot.figure(4, 3)
        draw(fig.subplots())
        ax, bar = laid_out(fig)
        assert ax.get_legend() is None
        assert names(bar.yaxis) == [f"layer {i}" for i in (1, 16, 31, 45, 60)]
        assert is_inside(fig, ax.xaxis.label, *bar.get_yticklabels())
        shades = [line.get_color()[0] for line in ax.lines]
        assert shades == sorted(shades, reverse=True)


def test_the_norm_of_a_layer_is_that_of_all_its_parameters():
    gradients = fcjax.init(jax.random.key(0), (3, 4, 2), b_init=jax.nn.initializers.ones)
    norms = fcjax.diagnostics.gradient_norms(gradients)
    for l, (w, b) in enumerate(gradients, 1):
        both = np.concatenate([np.ravel(w), b]).astype(np.float64)
        assert norms[f"layer {l}"] == pytest.approx(np.linalg.norm(both), rel=1e-12)
    assert fcjax.diagnostics.gradient_norms(fcjax.Model(gradients)) == norms


def test_histograms_count_each_value_once_and_name_the_dead_units():
    rng = np.random.default_rng(0)
    first = np.maximum(rng.normal(size=(50, 4)), 0)
    first[:, 2] = 0
    fig = plot.figure(6, 3)
    plot.activation_histograms(fig, [first, rng.normal(size=(50, 2))], bins=10)
    left, right = drawn(fig)
    assert left.get_title() == "layer 1\n1 of 4 units dead"
    assert right.get_title() == "layer 2\nno unit dead"
    heights = [[bar.get_height() for bar in bars] for bars in left.containers]
    assert [sum(of_kind) for of_kind in heights] == [50, 150]
    assert np.sum([bar.get_height() for bars in right.containers for bar in bars]) == 100


def test_histograms_count_the_values_that_are_left_out():
    fig = plot.figure(6, 3)
    some = np.array([[1.0, 2.0], [3.0, 1e300], [np.nan, np.inf]])
    plot.activation_histograms(fig, [np.full((3, 2), np.nan), some])
    left, right = drawn(fig)
    assert left.get_title() == "layer 1\nall values left out"
    assert right.get_title() == "layer 2\nno unit dead\n3 values left out"


def test_a_unit_is_dead_if_its_output_is_always_the_same():
    A = np.array([[0.0, 1.0, 2.0, np.nan], [0.0, 1.0, 3.0, np.nan]])
    np.testing.assert_array_equal(fcjax.diagnostics.dead_units(A), [True, True, False, False])
    np.testing.assert_array_equal(fcjax.diagnostics.dead_units(A[:1]), [True, False, False, False])


def test_the_spectrum_is_that_of_the_eigenvalues_of_the_gram_matrix():
    W = np.random.default_rng(0).normal(size=(5, 3))
    fig = plot.figure(4, 3)
    ax = fig.subplots()
    plot.weight_spectrum(ax, [W.astype(np.float32), np.zeros((3, 2))])
    drawn(fig)
    want = np.sqrt(np.linalg.eigvalsh(W.T @ W))[::-1]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), want, rtol=1e-6)
    assert np.isnan(ax.lines[1].get_ydata()).all()


LAYERS = range(1, 61)
ONE, SQUARE = [[0.0, 1.0]], np.ones((2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: plot.decision_boundary(ax, 1, ONE, [0]), "predict must be"),
        (lambda ax: plot.decision_boundary(ax, len, [[0.0]], [0]), "x must be points in the plane"),
        (lambda ax: plot.decision_boundary(ax, len, ONE, [0, 1]), "labels"),
        (lambda ax: plot.decision_boundary(ax, len, ONE, [7]), "labels must be from 0 to 6, got 7"),
        (lambda ax: plot.decision_boundary(ax, len, ONE, [0], names=("a",)), "names must be two"),
        (lambda ax: plot.decision_boundary(ax, len, ONE, [0], names=3), "names must be of type"),
        (lambda ax: plot.decision_boundary(ax, len, ONE, [0]), "predict must return scores"),
        (lambda ax: plot.gradient_norms(ax, {"a": [1.0], "b": [1.0, 2.0]}), "a number per step"),
        (lambda ax: plot.gradient_norms(ax, {}), "a number per step of each layer, got {}"),
        (lambda ax: plot.weight_spectrum(ax, [np.array([[np.inf]])]), "weights must be finite"),
        (lambda ax: plot.weight_spectrum(ax, []), "weights must hold a matrix of each layer"),
        (lambda ax: plot.passes(ax.figure, [SQUARE], [SQUARE]), "beside 1 deltas"),
        (lambda ax: plot.passes(ax.figure, 2 * [SQUARE], [SQUARE[:1]]), "a row for each example"),
        (lambda ax: plot.passes(ax.figure, 10 * [SQUARE], 9 * [SQUARE]), "of at most 8 layers"),
        (lambda ax: plot.activation_histograms(ax.figure, [np.ones(3)]), "must be a matrix"),
        (lambda ax: fcjax.diagnostics.gradient_norms({"w": 1.0}), "a sequence of layers"),
        (lambda ax: fcjax.diagnostics.dead_units([1.0]), r"must be \(m, n\) numbers"),
        (lambda ax: fcjax.diagnostics.singular_values([1.0]), "must be a matrix"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_of_a_network_is_named(call, message, unchecked):
    with pytest.raises((TypeError, ValueError), match=message):
        call(plot.figure(3, 3).subplots())


def test_saturated_units_have_a_histogram():
    for values in ([1.0, 1 - 6e-8], [1e9, 1e9], [np.inf, -np.inf], [0.0, 0.0]):
        fig = plot.figure(4, 3)
        plot.activation_histograms(fig, [np.array(values, np.float32)[:, None]])
        drawn(fig)


def test_numbers_of_bfloat16_are_numbers():
    A = jnp.array([[1.0, 2.0], [1.0, 3.0]], jnp.bfloat16)
    fig = plot.figure(4, 3)
    plot.activation_histograms(fig, [A])
    assert drawn(fig)[0].get_title() == "layer 1\n1 of 2 units dead"
    fig = plot.figure(4, 3)
    plot.weight_spectrum(fig.subplots(), [A])
    drawn(fig)


def test_losses_that_are_no_logarithms_are_drawn():
    for losses in ([0.0, 0.0], [-1.0, -2.0]):
        fig = plot.figure(4, 3)
        plot.loss_curve(fig.subplots(), {"loss": losses})
        drawn(fig)


def test_arrays_of_float32_and_of_jax_are_drawn_without_a_warning():
    fig = plot.figure(4, 3)
    plot.activation_histograms(fig, [jnp.ones((3, 2)), np.zeros((3, 2), np.float32)])
    drawn(fig)
    fig = plot.figure(4, 3)
    plot.gradient_norms(fig.subplots(), {"layer 1": np.array([1, 1e-30], np.float32)})
    drawn(fig)
    fig = plot.figure(4, 3)
    plot.history(fig, {"loss": jnp.array([1.0, 0.5])})
    drawn(fig)
