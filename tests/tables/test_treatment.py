"""What becomes of a table: features, scaling, splits, targets and weights."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import QuantileTransformer

from fcjax.tables import features as of_columns
from fcjax.tables.columns import as_table, category_columns
from fcjax.tables.features import fitted, from_json, kind_of, to_json
from fcjax.tables.scaling import Quantile, Robust
from fcjax.tables.splits import how_to_split, split
from fcjax.tables.target import Target, fit_target, task_of
from fcjax.tables.treatment import Treatment, fit_treatment, kinds_of, raw_matrix
from fcjax.tables.weights import weights_of

NAN = math.nan
DAYS = pd.date_range("2023-01-01", periods=40, freq="11D")


def column(*values):
    return as_table({"c": list(values)})["c"]


def treated(table, kinds, scaling):
    return fit_treatment(table, kinds_of(table, kinds), scaling)


def matrix(feature, *values):
    return feature.encoded(column(*values))


# --- features -------------------------------------------------------------------------------------


def test_a_number_that_is_missing_is_the_median_and_says_so():
    feature = fitted("c", column(1, 5, None, 2), "number")
    assert feature.outputs == ["c", "c is missing"]
    np.testing.assert_array_equal(matrix(feature, 7, None), [[7, 0], [2, 1]])


def test_equal_places_in_a_period_are_equal_numbers():
    """So that their quantiles are those of few numbers, not of the digits that rounding changed."""
    days = pd.date_range("1911-03-05", periods=200, freq="173D")
    waves = fitted("c", as_table({"c": days})["c"], "date").encoded(as_table({"c": days})["c"])
    angle = 2 * np.pi * np.array([(d - pd.Timestamp(0)).days for d in days]) / 7
    np.testing.assert_allclose(waves[:, 3:], np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-9)
    assert len(np.unique(waves[:, 3:], axis=0)) == 7


def test_a_number_that_was_never_missing_in_training_is_the_median():
    feature = fitted("c", column(1, 5, 2), "number")
    np.testing.assert_array_equal(matrix(feature, 7, None), [[7], [2]])


def test_categories_are_columns_and_what_is_missing_or_unseen_is_zero():
    feature = fitted("c", column("b", "a", "c", "a", None), "category")
    assert feature.outputs == ["c is a", "c is b", "c is c"]
    want = [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(matrix(feature, "a", "c", None, "z"), want)


def test_two_categories_share_a_column():
    feature = fitted("c", column("yes", "no", "no"), "category")
    np.testing.assert_array_equal(matrix(feature, "no", "yes", None, "z"), [[1], [-1], [0], [0]])


def test_categories_beyond_the_most_frequent_are_unseen(monkeypatch):
    monkeypatch.setattr(of_columns, "MOST_CATEGORIES", 3)
    feature = fitted("c", column(*"aaabbbccdde"), "category")
    assert feature.categories == ("a", "b", "c")
    assert feature.rare == 2
    assert "2 rare ones are as unseen" in feature.treatment()


def test_a_date_is_days_and_its_place_in_year_and_week():
    feature = fitted("d", np.asarray(DAYS.to_numpy(), "datetime64[us]"), "date")
    assert feature.outputs[:3] == ["d, days", "d, sin of the year", "d, cos of the year"]
    monday, next_monday = matrix(feature, *pd.to_datetime(["2024-01-01", "2024-01-08"]))
    assert next_monday[0] - monday[0] == 7
    np.testing.assert_allclose(monday[3:], next_monday[3:], atol=1e-9)
    assert monday[0] == 19723


def test_a_date_with_times_has_its_place_in_the_day():
    feature = fitted("d", as_table({"d": pd.to_datetime(["2024-01-01 06:00", None])})["d"], "date")
    assert feature.outputs[-3:] == ["d, sin of the day", "d, cos of the day", "d is missing"]
    morning, missing = matrix(feature, pd.Timestamp("2025-05-05 06:00"), None)
    np.testing.assert_allclose(morning[-3:], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(missing[-3:], [1, 0, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("number", (1, 2, None)), ("category", "abcab"), ("date", (DAYS[0], None, DAYS[3]))],
)
def test_a_feature_is_read_back(kind, values):
    feature = fitted("c", column(*values), kind)
    assert from_json(to_json(feature)) == feature


SAME = {
    "numbers": (["1.0", "2"], [1, 2], [1.0, 2.0], ["1", " 2.00"]),
    "booleans": (["True", "False"], [True, False], ["true", "FALSE"]),
    "days": (["2024-01-31", "2024-02-01"], list(pd.to_datetime(["2024-01-31", "2024-02-01"]))),
}


@pytest.mark.parametrize("columns", SAME.values(), ids=SAME)
def test_a_category_is_the_same_whatever_the_column_came_from(columns):
    feature = fitted("c", column(*columns[0]), "category")
    want = feature.encoded(column(*columns[0]))
    assert np.all(want != 0)
    for other in columns[1:]:
        np.testing.assert_array_equal(matrix(feature, *other), want)


@pytest.mark.parametrize(
    "texts", [("01", "1"), ("1e5", "100000"), ("1", "1.0", "true"), (" 1", "1")]
)
def test_different_texts_are_different_categories(texts):
    names = [*texts, "A17", "B"]
    feature = fitted("c", column(*names), "category")
    assert set(feature.categories) == set(names)
    np.testing.assert_array_equal(matrix(feature, *names).sum(axis=0), np.ones(len(names)))
    np.testing.assert_array_equal(matrix(feature, *names).sum(axis=1), np.ones(len(names)))
    if "1" not in texts:
        assert not matrix(feature, "100000.0").any()  # which of the two it is cannot be known
    else:
        np.testing.assert_array_equal(matrix(feature, 1), matrix(feature, "1"))


def test_a_type_of_categories_and_whole_numbers_that_begin_with_zero_are_categories():
    codes = ["01", "02", "2"] * 4
    frame = pd.DataFrame({
        "code": codes, "kind": pd.Categorical([1, 2, 3] * 4), "number": ["1", "2.5", "0.3"] * 4,
    })  # fmt: skip
    arrow = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    assert category_columns(frame) == category_columns(arrow) == ["kind"]
    assert kinds_of(as_table(frame), {}) == {
        "code": "category", "kind": "number", "number": "number"
    }  # fmt: skip


@pytest.mark.parametrize("start", [2**53, 2**60])
def test_integers_that_float64_cannot_tell_apart_are_different_categories(start):
    large = np.array([start, start + 1, start])
    feature = fitted("c", as_table({"c": large})["c"], "category")
    assert len(feature.categories) == 2


KINDS = {
    "number": (["1", "2.5", None], [1, 2]),
    "date": (["2024-01-31", None],),
    "category": (["a", "b"], ["2024", "x"], ["1,000", "2,000"]),
}


@pytest.mark.parametrize(("kind", "columns"), KINDS.items())
def test_the_kind_of_a_column_is_found(kind, columns):
    for values in columns:
        assert kind_of(column(*values)) == kind


@pytest.mark.parametrize(
    ("kind", "message"),
    [("number", "must hold numbers, got 'x' in row 2"), ("date", "must hold dates such as")],
)
def test_another_kind_than_in_training_is_named(kind, message):
    feature = fitted("c", column(*((1, 2) if kind == "number" else DAYS[:2])), kind)
    with pytest.raises(ValueError, match=f"column 'c' {message}"):
        feature.encoded(column("2024-01-31" if kind == "date" else "1", "x"))


# --- scaling --------------------------------------------------------------------------------------

ROBUST = {
    (0, 0, 0, 0, 1): 1.664100589,  # the quartiles are equal: 2 over the range
    (0, 1, 2, 3, 4): 0.948683298,
    (5, 5, 5): 0.0,
}


@pytest.mark.parametrize(("values", "last"), ROBUST.items())
def test_robust_scaling_is_that_of_the_authors(values, last):
    X = np.array(values, float)[:, None]
    assert Robust.fitted(X).scaled(X)[-1, 0] == pytest.approx(last, abs=1e-9)


@pytest.mark.parametrize("huge", [1e308, -1e308, math.inf, -math.inf])
def test_huge_numbers_are_bent_to_three(huge):
    X = np.array([[0.0], [1], [2], [huge]])
    scaled = Robust.fitted(X).scaled(X)
    assert np.all(np.abs(scaled) <= 3)
    assert Robust.fitted(X[:3]).scaled(X)[-1, 0] == pytest.approx(math.copysign(3, huge))


def test_quantiles_become_those_of_a_normal_distribution():
    X = np.random.default_rng(0).gamma(2, size=(3000, 2))
    ours = Quantile.fitted(X, 2).scaled(X)
    theirs = QuantileTransformer(
        n_quantiles=100, output_distribution="normal", subsample=None
    ).fit_transform(X)
    difference = np.abs(ours - theirs)
    assert np.quantile(difference, 0.999) < 5e-3
    assert difference.max() < 0.3, "at the ends, where the noise decides"
    assert np.all(np.diff(ours[np.argsort(X[:, 0]), 0]) >= 0)


@pytest.mark.parametrize("huge", [1e200, 1e308, math.inf])
def test_quantiles_of_huge_numbers_are_finite(huge):
    X = np.random.default_rng(0).normal(size=(300, 1))
    X[:2, 0] = huge, -huge
    scaled = Quantile.fitted(X, 1).scaled(X)[:, 0]
    assert np.all(np.isfinite(scaled))
    if huge == math.inf:  # which makes no noise, so that the others can still be told apart
        assert len(np.unique(scaled)) > 200


def test_quantiles_leave_columns_of_zero_and_one_alone_and_bound_the_others():
    X = np.array([[0.0, 1], [1, 0], [2, 1], [3, 0]])
    scaling = Quantile.fitted(X, 1)
    got = scaling.scaled(np.array([[-math.inf, 1], [math.inf, 0]]))
    np.testing.assert_allclose(got, [[-5.2, 1], [5.2, 0]], atol=1e-3)
    ties = Quantile.fitted(np.zeros((50, 1)), 1)
    assert np.all(np.isfinite(ties.scaled(np.array([[0.0], [1.0]]))))


# --- treatment ------------------------------------------------------------------------------------


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return as_table({
        "number": rng.normal(size=n),
        "category": rng.choice(list("abc"), n),
        "holes": np.where(rng.random(n) < 0.3, NAN, rng.normal(size=n)),
        "flag": rng.choice([True, False], n),
        "constant": np.ones(n),
        "empty": [None] * n,
    })  # fmt: skip


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_a_treatment(scaling):
    treatment = treated(table(), {}, scaling)
    assert treatment.columns == ["number", "category", "holes", "flag"]
    assert treatment.dropped == {
        "constant": "all values in the rows of training are '1'",
        "empty": "all values in the rows of training are missing",
    }
    assert treatment.outputs[:3] == ["number", "holes", "flag"]
    assert treatment.outputs[3:] == ["category is a", "category is b", "category is c",
                                     "holes is missing"]  # fmt: skip
    assert treatment.groups == (1, 1, 1, 3, 1)
    X = treatment.transform(table(seed=1))
    assert X.shape == (60, 7)
    assert X.dtype == np.float32
    again = Treatment.from_json(treatment.to_json(), treatment.scaling.arrays())
    np.testing.assert_array_equal(again.transform(table(seed=1)), X)


def test_columns_are_found_by_name_and_others_ignored():
    treatment = treated(table(), {}, "robust")
    other = dict(reversed(table(seed=1).items())) | {"target": np.ones(60)}
    np.testing.assert_array_equal(treatment.transform(other), treatment.transform(table(seed=1)))
    del other["holes"]
    with pytest.raises(ValueError, match="must have the column 'holes', got"):
        treatment.transform(other)


def test_what_a_treatment_holds_is_that_of_the_training_rows_alone():
    first = treated(table(), {}, "robust")
    rows = {name: V[:30] for name, V in table().items()}
    assert treated(rows, {}, "robust").to_json() != first.to_json()
    raw = raw_matrix(first.features, table())
    np.testing.assert_array_equal(first.scaling.median, np.median(raw, axis=0))


def test_an_identifier_is_refused_with_what_to_do():
    names = table() | {"name": np.array([f"customer {i}" for i in range(60)], object)}
    message = (
        r"'name' looks like an identifier: 60 different texts in 60 rows, such as 'customer 0'"
    )
    with pytest.raises(ValueError, match=rf"{message}.*--drop name.*--kinds name=category"):
        treated(names, {}, "robust")
    with pytest.raises(ValueError, match=r"--drop 'its name'.*--kinds 'its name=category'"):
        kinds_of({"its name": names["name"]}, {})
    assert "name" in treated(names, {"name": "drop"}, "robust").dropped
    assert "name" in treated(names, {"name": "category"}, "robust").columns


@pytest.mark.parametrize("start", [0, 1, 1000])
def test_a_number_that_counts_the_rows_is_refused_with_what_to_do(start):
    order = np.random.default_rng(0).permutation(60)
    counting = table() | {"Id": start + order.astype(float)}
    message = r"column 'Id' counts the rows.*--drop Id.*--kinds Id=number"
    for column in (counting["Id"], np.array([f"{v:.0f}" for v in counting["Id"]], object)):
        with pytest.raises(ValueError, match=message):
            kinds_of({"Id": column}, {})
    assert kinds_of(counting, {"Id": "number"})["Id"] == "number"
    assert kinds_of(counting, {}, refuse=False)["Id"] == "number"
    gap = np.where(counting["Id"] == start, start + 60, counting["Id"])
    for other in (gap + 0.5 * (gap > start + 5), np.where(order == 1, math.nan, gap), gap // 2):
        assert kinds_of({"Id": other}, {})["Id"] == "number"


NOTATIONS = {
    "decimal commas": (["8,1", "-0,25", "1.234,5"], "numbers with commas, such as '8,1'; write"),
    "thousands": (["580,039", "1,200,000"], "numbers with commas, such as '580,039'"),
    "thousands and a point": (["1,580.5", "2,000.0"], "numbers with commas"),
    "thousands where needed": (["950", "1,025", "75"], "numbers with commas, such as '1,025'"),
    "decimals where needed": (["0", "0,25", "1"], "numbers with commas, such as '0,25'"),
    "groups of India": (["1,00,000", "20,000", "500"], "numbers with commas"),
    "apostrophes": (["1'000", "25'300.5", "7"], "numbers in groups of digits, such as"),
    "spaces": (["1 000", "25\u00a0300", "7"], "numbers in groups of digits, such as '1 000'"),
    "another minus": (["\u22125", "3", "\u22120.5"], "numbers with the sign \u2212, such as"),
    "brackets": (["(5)", "3", "(1,200)"], "numbers in brackets, such as '(5)'; write them as -1"),
    "percent of some": (["5%", "7", "3.5"], "percentages, such as '5%'"),
    "money with signs": (["-$5", "($3)", "5 USD", "EUR 2.50"], "amounts of money, such as '-$5'"),
    "names of months": (["01-Jan-2020", "5 March 21", "May 7, 2020"], "dates, such as '01-Jan"),
    "months": (["2020-01", "2021-12"], "dates, such as '2020-01'"),
    "percent": (["14%", "2.5 %", "3"] + ["1%"] * 30, "percentages, such as '14%'"),
    "money": (["$1,200", "€ 5", "7.50 £"], "amounts of money, such as"),
    "days first": (["31.12.2024", "1.2.2024"], "dates, such as '31.12.2024'; write them as 2024-0"),
    "days first, short": (["31/12/24", "01/02/24 10:15"], "dates, such as '31/12/24'"),
    "slashes": (["2024/01/31", "2024/1/2"], "dates, such as '2024/01/31'"),
}


@pytest.mark.parametrize(("values", "message"), NOTATIONS.values(), ids=NOTATIONS)
def test_numbers_and_dates_in_another_notation_are_named(values, message):
    found = {"odd": np.array(values * 3 + [None], object)}
    with pytest.raises(ValueError, match=rf"'odd' holds {re.escape(message)}.*--kinds odd=cat"):
        kinds_of(found, {})
    assert kinds_of(found, {"odd": "category"}) == {"odd": "category"}
    with pytest.raises(ValueError, match=rf"target 'odd' holds {re.escape(message)}"):
        task_of(found, ["odd"], None)


@pytest.mark.parametrize(
    "text",
    [
        "a,b",
        "10-20",
        "555 123 4567",
        "(a)",
        "USD",
        "ABC 5",
        "7 May",
        "1234-5678",
        "1.2.3",
        "5,",
        "12/24",
        "16-64-128",
        "A,1",
        "50+",
    ],
)
def test_other_texts_are_categories(text):
    assert kinds_of({"c": np.array([text, "x"] * 30, object)}, {}) == {"c": "category"}
    assert kinds_of({"c": np.array([text] * 30, object)}, {}) == {"c": "category"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [*map(str, range(59)), "oops"],
            "'odd' holds numbers but for 'oops' in row 60; correct it",
        ),
        ([*map(str, range(57)), "?", "$3", "-"], "numbers but for '[?]' in row 58 and 2 more"),
        ([*map(str, range(40)), *["?"] * 20], "numbers but for '[?]' in row 41 and 19 more"),
        ([*map(str, DAYS.date), "2024-02-30"], "dates but for '2024-02-30' in row 41"),
    ],
)
def test_a_few_bad_values_are_named_rather_than_made_categories(values, message):
    with pytest.raises(ValueError, match=message):
        kinds_of({"odd": np.array(values, object)}, {})


WRONG_KINDS = {
    "a kind": ({"number": "text"}, r"kinds\['number'\]: 'text' is unknown"),
    "a column": ({"numbr": "drop"}, "kinds: 'numbr' is unknown; did you mean 'number'"),
    "no number": ({"category": "number"}, "column 'category' must hold numbers, got"),
    "all": (
        dict.fromkeys(("number", "category", "holes", "flag"), "drop"),
        "must have a column to",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("kinds", "message"), WRONG_KINDS.values(), ids=WRONG_KINDS)
def test_wrong_kinds_are_named(kinds, message):
    with pytest.raises(ValueError, match=message):
        treated(table(), kinds, "robust")


# --- splits ---------------------------------------------------------------------------------------


def parts(how, table, rows, labels=None, seed=0):
    return split(how_to_split(how, table), table, labels, seed, np.asarray(rows))


def test_rows_are_in_one_part_each_and_classes_in_equal_parts():
    labels = np.repeat([0, 1], [80, 20])
    found = parts("rows", {}, range(100), labels)
    assert [len(part) for part in found] == [64, 16, 20]
    assert sorted(np.concatenate(found)) == list(range(100))
    assert [int(labels[part].sum()) for part in found] == [13, 3, 4]
    same, other = parts("rows", {}, range(100), labels), parts("rows", {}, range(100), labels, 1)
    np.testing.assert_array_equal(same.test, found.test)
    assert set(other.test) != set(found.test)


def test_a_class_of_one_row_can_be_split():
    labels = np.array([0] * 50 + [1])
    assert sorted(np.concatenate(parts("rows", {}, range(51), labels))) == list(range(51))


def test_classes_that_are_one_number_are_named():
    found = {"y": np.array(["1", "2", "1.0", "2"] * 5, object)}
    with pytest.raises(ValueError, match=r"target 'y' holds '1' and '1\.0', which are one"):
        fit_target(found, ["y"], "classification", found)
    codes = {"y": np.array(["01", "1", "2"], object)}
    assert fit_target(codes, ["y"], "classification", codes).classes == ("01", "1", "2")


@pytest.mark.parametrize("sizes", [(140, 5, 5), (100, 5, 5), (50, 50, 50), (148, 1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_large_groups_are_for_training(sizes, seed):
    groups = np.repeat([*"abcdefg"][: len(sizes)], sizes)
    how = how_to_split("group:g", ["g"])
    found = split(how, as_table({"g": groups}), None, seed, np.arange(len(groups)))
    assert sorted(np.concatenate(found)) == [*range(len(groups))]
    assert len(found.train) == max(sizes)


def test_groups_fill_the_parts():
    groups = np.random.default_rng(0).integers(0, 100, 1000).astype(str)
    how = how_to_split("group:g", ["g"])
    found = split(how, as_table({"g": groups}), None, 0, np.arange(1000))
    np.testing.assert_allclose([len(part) for part in found], [640, 160, 200], atol=15)


def test_a_group_is_in_one_part():
    groups = np.random.default_rng(0).choice(list("abcdefghijkl"), 200)
    found = parts("group:g", as_table({"g": groups}), range(200))
    sets = [set(groups[part]) for part in found]
    assert all(sets)
    assert sum(map(len, sets)) == len(set().union(*sets))


@pytest.mark.parametrize("kind", ["numbers", "dates"])
def test_the_last_rows_in_time_are_the_test_and_equal_times_stay_together(kind):
    day = np.random.default_rng(0).integers(0, 25, 200)
    times = day if kind == "numbers" else pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D")
    found = parts("time:t", as_table({"t": times}), range(200))
    assert day[found.train].max() < day[found.validation].min()
    assert day[found.validation].max() < day[found.test].min()
    assert len(found.test) >= 40


WRONG_SPLITS = {
    "a word": ("random", r"split: got 'random'; accepted: rows, group:COLUMN, time:COLUMN"),
    "no column": ("group:", "split: got 'group:'"),
    "a column": ("group:x", r"split: got the column 'x'; accepted: \['t', 'g', 'h'\]"),
    "few groups": ("group:g", "must be at least 3 groups"),
    "no group": ("group:h", "'h' must have a group in every row"),
    "no time": ("time:h", "'h' must have a time in every row"),
    "text": ("time:t", "'t' must hold numbers or dates"),
    "one time": ("time:g", "'g' has too few different times"),
}


@pytest.mark.parametrize(("how", "message"), WRONG_SPLITS.values(), ids=WRONG_SPLITS)
def test_a_wrong_split_is_named(how, message):
    odd = as_table({"t": ["x"] * 20, "g": [1] * 20, "h": [None, *range(19)]})
    with pytest.raises(ValueError, match=message):
        parts(how, odd, range(20))


def test_too_few_rows_are_named():
    with pytest.raises(ValueError, match="at least 10 rows with a target, got 9"):
        parts("rows", {}, range(9))


# --- targets --------------------------------------------------------------------------------------

TASKS = {
    "text": (["a", "b"], "classification"),
    "few whole numbers": ([0, 1, 2, 1], "classification"),
    "booleans": ([True, False], "classification"),
    "many whole numbers": (range(11), "regression"),
    "fractions": ([0.5, 1.5], "regression"),
}


@pytest.mark.parametrize(("values", "task"), TASKS.values(), ids=TASKS)
def test_the_task_is_found(values, task):
    assert task_of({"y": column(*values)}, ["y"], None) == task


CLASSES = {
    "text": (["b", "a", "b"], ("a", "b")),
    "numbers": ([2, 10, 2], (2, 10)),
    "numbers as text": (["10", "2", "2"], ("2", "10")),
    "booleans as text": (["true", "false", "true"], ("false", "true")),
    "halves": ([0.5, 1, 0.5], (0.5, 1)),
}


@pytest.mark.parametrize(("values", "classes"), CLASSES.values(), ids=CLASSES)
def test_classes_are_in_order(values, classes):
    rows = {"y": column(*values)}
    target = fit_target(rows, ["y"], "classification", rows)
    assert target.classes == classes
    assert target.chosen(np.eye(2)).tolist() == list(classes)
    labels = target.encoded(rows)
    assert [target.classes[i] for i in labels] == [type(classes[0])(v) for v in values]


def test_numbers_are_scaled_and_back():
    rows = {"y": column(1, 2, 6), "z": column(10, 20, 60)}
    target = fit_target(rows, ["y", "z"], "regression", rows)
    scaled = target.encoded(rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(target.decoded(scaled), [[1, 10], [2, 20], [6, 60]], rtol=1e-6)


def test_differences_and_predictions_beyond_the_largest_number_are_finite():
    target = Target(("y",), "regression", None, (1.7e308,), (1e308,))
    np.testing.assert_allclose(target.scaled(np.array([[-1.7e308]])), [[-3.4]], rtol=1e-6)
    assert target.decoded(np.array([[2.0]])) == np.finfo(np.float64).max
    np.testing.assert_allclose(target.decoded(np.array([[-3.0]])), [[-1.3e308]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([*map(str, range(30)), "oops"], "target 'y' holds numbers but for 'oops' in row 31"),
        ([str(day.date()) for day in DAYS], "target 'y' holds dates; predict a number"),
        ([f"name {i}" for i in range(30)], "got 30 different texts; pass --task classification"),
    ],
)
def test_a_target_that_is_hardly_one_of_classes_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        task_of({"y": column(*values)}, ["y"], None)
    assert task_of({"y": column(*values)}, ["y"], "classification") == "classification"


WRONG_TARGETS = {
    "one class": (["a", "a"], "classification", "must have at least two classes, got"),
    "text": (["1", "x"], "regression", "target 'y' must hold numbers for a regression, got 'x'"),
    "constant": (
        [2.0, 2.0],
        "regression",
        "target 'y' must differ between the rows of training, got 2",
    ),
    "huge": ([1e308, -1e308, 1e308], "regression", "target 'y' must hold finite numbers"),
    "infinite": ([1.0, math.inf], "regression", "target 'y' must hold finite numbers"),
}


@pytest.mark.parametrize(("values", "task", "message"), WRONG_TARGETS.values(), ids=WRONG_TARGETS)
def test_a_wrong_target_is_named(values, task, message):
    rows = {"y": column(*values)}
    with pytest.raises(ValueError, match=message):
        fit_target(rows, ["y"], task, rows)


# --- weights --------------------------------------------------------------------------------------


def test_balanced_classes_have_equal_sums_over_the_training_rows():
    labels = np.repeat(["a", "b"], [75, 25])
    rows = as_table({"y": labels, "w": np.linspace(1, 2, 100)})
    target = fit_target(rows, ["y"], "classification", rows)
    found = parts("rows", {}, range(100), (labels == "b").astype(int))
    weights = weights_of(rows, target, "balanced", None, found)
    sums = [weights[found.train][labels[found.train] == c].sum() for c in "ab"]
    assert sums[0] == pytest.approx(sums[1])
    assert weights[found.train].mean() == pytest.approx(1)
    assert len(set(weights[found.test])) == 1, "the figures of the test are not weighted by class"
    both = weights_of(rows, target, {"b": 3.0}, "w", found)
    want = rows["w"][found.train] * np.where(labels[found.train] == "b", 3, 1)
    np.testing.assert_allclose(both[found.train], want / want.mean(), rtol=1e-6)
    np.testing.assert_allclose(both[found.test], rows["w"][found.test] / want.mean(), rtol=1e-6)


def test_weights_may_be_huge():
    rows = as_table({"y": ["a", "b"] * 20, "w": [1e308, 5e307] * 20})
    target = fit_target(rows, ["y"], "classification", rows)
    found = parts("rows", {}, range(40))
    weights = weights_of(rows, target, None, "w", found)
    assert weights[0] == pytest.approx(2 * weights[1])
    assert weights[found.train].mean() == pytest.approx(1)


def test_a_class_that_training_has_not_seen_weighs_nothing_special():
    rows = as_table({"y": ["a"] * 30 + ["b"] * 20 + ["c"] * 10, "t": range(60)})
    target = fit_target(rows, ["y"], "classification", rows)
    found = parts("time:t", rows, range(60))
    assert "c" not in set(rows["y"][found.train])
    weights = weights_of(rows, target, "balanced", None, found)
    assert weights.max() < 3


@pytest.mark.parametrize(
    ("values", "classes"),
    [([1, 0], {1: 3}), ([1, 0], {"1": 3}), ([1, 0], {1.0: 3}), ([True, False], {True: 3}),
     ([True, False], {"True": 3})],
)  # fmt: skip
def test_a_class_is_named_by_its_value(values, classes):
    rows = as_table({"y": values * 20})
    target = fit_target(rows, ["y"], "classification", rows)
    found = parts("rows", rows, range(40))
    weights = weights_of(rows, target, classes, None, found)
    ones = np.array(values * 20, bool)[found.train]
    assert weights[found.train][ones][0] == pytest.approx(3 * weights[found.train][~ones][0])


WRONG_WEIGHTS = {
    "a class": ({"c": 1.0}, None, r"class_weight: 'c' is no class; accepted: \('a', 'b'\)"),
    "negative": ({"a": -1.0}, None, "class_weight must be at least 0"),
    "a missing weight": (None, "holes", "'holes' must hold finite numbers of at least 0"),
    "a negative weight": (None, "signed", "'signed' must hold finite numbers of at least 0"),
    "text": (None, "y", "'y' must hold finite numbers"),
    "all zero": (None, "zero", "'zero' must have a weight of at least 1e-30 of the largest in"),
    "no number": ({"a": "x"}, None, "class_weight must hold numbers"),
}


@pytest.mark.parametrize(
    ("classes", "column", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS
)
def test_wrong_weights_are_named(classes, column, message):
    rows = as_table({
        "y": ["a", "b"] * 20, "zero": [0] * 40,
        "holes": [NAN] + [1] * 39, "signed": [-1] + [1] * 39,
    })  # fmt: skip
    target = fit_target(rows, ["y"], "classification", rows)
    with pytest.raises((TypeError, ValueError), match=message):
        weights_of(rows, target, classes, column, parts("rows", {}, range(40)))
