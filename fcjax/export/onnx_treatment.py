"""The treatment of a table as nodes of ONNX: from its columns to the matrix of a network.

All is computed in float64, as in `fcjax.tables`, and rounded to float32 at the end. Each node is of
ONNX's default domain: `Equal` compares text, so that `ai.onnx.ml` is not needed.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..tables.columns import as_numbers, plain_form
from ..tables.features import Category, Date, Feature, Number
from ..tables.scaling import Quantile, Robust
from ..tables.treatment import Treatment
from .onnx_graph import DOUBLE, FLOAT, INTEGER, STRING, Graph
from .onnx_scaling import add_quantile, add_robust

# What NumPy makes of NaT.
MISSING_DATE = int(np.iinfo(np.int64).min)
_MICROSECONDS_OF_A_DAY = 86_400_000_000
_AMBIGUOUS = 2**53
# Text that Python reads as a number too. With so few digits, no number overflows.
_NUMBER = r"\s*[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,2})?\s*"
_TRUE, _FALSE = r"\s*(?i:true)\s*", r"\s*(?i:false)\s*"


class _Encoded(NamedTuple):
    """The columns `(m, 1)` or `(m, k)` that a feature becomes: its numbers, and what is 0 and 1."""

    numbers: list[str]
    others: list[str]


def add_inputs(graph: Graph, treatment: Treatment) -> list[str]:
    """Add an input `(m, 1)` for each column that is used; return them in the order of features."""
    return [graph.input(f.name, 1, *_kind_of(f)) for f in treatment.features]


def _kind_of(feature: Feature) -> tuple[np.dtype, str]:
    """Return the dtype of an input, and a note that a reader of the file sees."""
    match feature:
        case Number():
            return DOUBLE, "number; missing is NaN"
        case Category():
            missing = "any other" if "" in feature.categories else "empty"
            return STRING, f"category as text; missing is {missing} text"
        case Date():
            note = f"date as microseconds since 1970 in UTC; missing is {MISSING_DATE}"
            return INTEGER, note


def add_treatment(graph: Graph, treatment: Treatment, columns: list[str]) -> str:
    """Add the treatment of the columns of a table; return the matrix in float32."""
    encoded = [
        _add_feature(graph, f, value) for f, value in zip(treatment.features, columns, strict=True)
    ]
    numbers = [value for own in encoded for value in own.numbers]
    others = [value for own in encoded for value in own.others]
    match treatment.scaling:
        case Robust():
            scaled = add_robust(graph, treatment.scaling, graph.joined(numbers + others))
        case Quantile():
            if numbers:
                numbers = [add_quantile(graph, treatment.scaling, graph.joined(numbers))]
            scaled = graph.joined(numbers + others)
    return graph.cast(scaled, FLOAT)


def _add_feature(graph: Graph, feature: Feature, column: str) -> _Encoded:
    match feature:
        case Number():
            return _add_number(graph, feature, column)
        case Category():
            return _Encoded([], [_add_category(graph, feature, column)])
        case Date():
            return _add_date(graph, feature, column)


def _add_number(graph: Graph, feature: Number, column: str) -> _Encoded:
    missing = graph.add("IsNaN", column)
    filled = _filled(graph, column, missing, feature.median)
    return _Encoded([filled], [graph.cast(missing, DOUBLE)] if feature.has_missing else [])


def _filled(graph: Graph, column: str, missing: str, median: float) -> str:
    return graph.add("Where", missing, graph.constant(median, "median", DOUBLE), column)


def _add_date(graph: Graph, feature: Date, column: str) -> _Encoded:
    missing = graph.add("Equal", column, graph.constant(MISSING_DATE, "missing", INTEGER))
    day = graph.constant(_MICROSECONDS_OF_A_DAY, "day", DOUBLE)
    days = graph.add("Div", graph.cast(column, DOUBLE), day)
    days = _filled(graph, days, missing, feature.median)
    waves = [
        wave for period in feature.periods.values() for wave in _add_waves(graph, days, period)
    ]
    return _Encoded([days, *waves], [graph.cast(missing, DOUBLE)] if feature.has_missing else [])


def _add_waves(graph: Graph, days: str, period: float) -> tuple[str, str]:
    """Add the sine and the cosine of the place in a period."""
    length = graph.constant(period, "period", DOUBLE)
    rest = graph.add("Mod", days, length, fmod=1)  # which has the sign of the days
    is_before = graph.add("Less", rest, graph.constant(0, "zero", DOUBLE))
    place = graph.add("Where", is_before, graph.add("Add", rest, length), rest)
    turn = graph.add("Mul", graph.constant(2 * np.pi, "turn", DOUBLE), place)
    angle = graph.add("Div", turn, length)
    # cos α = sin(α + π/2): ONNX Runtime 1.20 has no cosine in float64
    later = graph.add("Add", angle, graph.constant(np.pi / 2, "quarter", DOUBLE))
    return graph.add("Sin", angle), graph.add("Sin", later)


def _add_category(graph: Graph, feature: Category, column: str) -> str:
    """Add columns of 0 and 1, or a column of ±1 for two categories."""
    known = graph.constant([feature.categories], "categories", STRING)
    found = graph.add("Equal", column, known)
    forms = Counter(map(plain_form, feature.categories))
    values = np.array([
        _number_of(category) if forms[plain_form(category)] == 1 else np.nan
        for category in feature.categories
    ])  # fmt: skip
    if not np.all(np.isnan(values)):
        found = graph.add("Or", found, _add_equal_numbers(graph, values, column))
    hot = graph.cast(found, DOUBLE)
    if len(feature.categories) != 2:
        return hot
    return graph.add("MatMul", hot, graph.constant([[1], [-1]], "signs", DOUBLE))


def _add_equal_numbers(graph: Graph, values: np.ndarray, column: str) -> str:
    """Compare text with categories that are numbers: "1.0" and "01" are 1, and so is "true".

    Values that several categories have are NaN, which equals nothing.
    """
    is_number = graph.add("RegexFullMatch", column, pattern=_NUMBER)
    text = graph.add("Where", is_number, column, graph.constant("nan", "none", STRING))
    number = graph.cast(text, DOUBLE)
    for pattern, value in ((_TRUE, 1), (_FALSE, 0)):
        if value in values:
            is_word = graph.add("RegexFullMatch", column, pattern=pattern)
            number = graph.add("Where", is_word, graph.constant(value, "value", DOUBLE), number)
    return graph.add("Equal", number, graph.constant([values], "values", DOUBLE))


def _number_of(category: str) -> float:
    """Return the number that a category is, or NaN if `fcjax.tables` compares it as text."""
    numbers = as_numbers(np.array([category], object))
    if numbers is None or not abs(numbers[0]) < _AMBIGUOUS:
        return np.nan
    return float(numbers[0])
