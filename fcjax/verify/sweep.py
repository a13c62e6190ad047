"""Every number of a dtype through elementwise functions, chunk by chunk, beside a float64 oracle.

The functions run as their user runs them; their results are then compared in a program of its own,
in float64 on the CPU. Nothing is done per number outside these two programs: what leaves them is a
figure for each column of inputs, and only the columns with the worst are looked at again.

An error is the difference from the oracle's result, in one of two units:

- `ulp`: the spacing of the dtype's numbers at the exact result;
- `scaled`: their spacing at max(|exact result|, floor).

Hardware may take numbers below the smallest normal one, `tiny`, for zero; XLA on CPUs does so in
float32 and bfloat16. Hence all results of at most that size count as one number, no spacing is
taken below it, and at an input of less than that size the oracle's result at zero is as good.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .._types import Function
from .oracles import Oracle

BITS = {"bfloat16": jnp.uint16, "float16": jnp.uint16, "float32": jnp.uint32}
QUANTITIES = ("value", "derivative")
# 128 rows of a length that stays in the cache
LARGEST_CHUNK = 1 << 22
COLUMNS = 1 << 15
# Farther than every dtype's range; the oracle's result here is its limit at ∞.
FAR = 1e300


class Finding(NamedTuple):
    """The largest error of a kind, or a number of inputs, and one place.

    `size` is the error, or the number of inputs; `got` and `want` are the results at `input`.
    """

    size: float
    input: float
    got: float
    want: float


class Errors(NamedTuple):
    """What was found about the values, or about the derivatives; None stands for nothing.

    Attributes:
        ulp: the largest error, in spacings of the dtype at the exact result.
        scaled: the largest error, in spacings at max(|exact result|, floor).
        non_finite: finite inputs with NaN or an infinity where the oracle's result, rounded to the
            dtype, is another one.
        zero_sign: finite inputs with a zero of the wrong sign.
        special: ±∞ with another result than the limit in this respect, and NaN that gives a number
            as value.
        unjudged: finite inputs at which the oracle itself is NaN.
    """

    ulp: Finding | None = None
    scaled: Finding | None = None
    non_finite: Finding | None = None
    zero_sign: Finding | None = None
    special: Finding | None = None
    unjudged: Finding | None = None


SIZES = 2  # so many kinds are sizes, of which the largest counts; of the others, inputs are counted
Found = dict[str, dict[str, Errors]]  # by label of the function, and quantity


def nothing_found(labels: Iterable[str]) -> Found:
    """Return what is known before the first input."""
    return {label: dict.fromkeys(QUANTITIES, Errors()) for label in labels}


def merged(found: Found, new: Found) -> Found:
    """Return what was found in either of two sets of inputs."""
    return {
        label: {
            q: Errors(*map(_joined, Errors._fields, errors, new[label][q]))
            for q, errors in both.items()
        }
        for label, both in found.items()
    }


def _joined(kind: str, old: Finding | None, new: Finding | None) -> Finding | None:
    if old is None or new is None:
        return old or new
    if kind in Errors._fields[:SIZES]:
        return max(old, new, key=lambda finding: finding.size)
    return old._replace(size=old.size + new.size)


def number_of_inputs(dtype: str) -> int:
    """Return how many bit patterns a dtype has."""
    return 1 << jnp.finfo(dtype).bits


def chunks(dtype: str) -> range:
    """Return where each chunk of inputs starts."""
    count = number_of_inputs(dtype)
    return range(0, count, min(count, LARGEST_CHUNK))


class Sweep(NamedTuple):
    """The comparison of functions with one oracle, over all inputs of a dtype.

    Attributes:
        functions: by label.
        oracle: value and derivative, in float64.
        dtype: of the inputs, a key of `BITS`.
        floor: the least size at which the scaled error takes a spacing.
    """

    functions: Mapping[str, Function]
    oracle: Oracle
    dtype: str
    floor: float

    def compare(self) -> Callable[[int], Found]:
        """Return a function of where a chunk starts, in `chunks`, that says what is found in it."""
        size = chunks(self.dtype).step
        # inputs of 16 bits are few enough to be looked at all: one column
        shape = (size // COLUMNS, COLUMNS) if size == LARGEST_CHUNK else (size, 1)
        run = jax.jit(_runner(self.functions.values(), self.dtype, shape))
        limits = _limits(self.dtype, self.floor)

        def compare(start: int) -> Found:
            z, results = run(_bits(self.dtype, start))
            cpu = jax.devices("cpu")[0]
            with jax.enable_x64(True), jax.default_device(cpu):
                columns = _Columns(self.oracle, limits, *jax.device_put((z, results), cpu))
                return {
                    label: {name: columns.errors(f, q) for q, name in enumerate(QUANTITIES)}
                    for f, label in enumerate(self.functions)
                }

        return compare

    def programs(self) -> str:
        """Return the text of all that is computed, as JAX traces it."""
        run = _runner(self.functions.values(), self.dtype, (1, COLUMNS))
        with jax.enable_x64(True):
            row = jax.ShapeDtypeStruct((COLUMNS,), jnp.float64)
            oracle = [str(jax.make_jaxpr(function)(row)) for function in self.oracle]
        return "\n".join([str(jax.make_jaxpr(run)(_bits(self.dtype, 0))), *oracle])


# --- the functions --------------------------------------------------------------------------


def _runner(functions: Iterable[Function], dtype: str, shape: tuple[int, int]) -> Function:
    """Return `run(start)`: inputs, and value and derivative of each function at them.

    The inputs are those whose bits, read as an integer, are `start`, `start` + 1, …
    """

    def run(start: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        bits = start + lax.iota(BITS[dtype], shape[0] * shape[1])
        z = lax.bitcast_convert_type(bits, jnp.dtype(dtype)).reshape(shape)
        return z, [_value_and_derivative(function, z) for function in functions]

    return run


def _value_and_derivative(function: Function, z: Array) -> tuple[Array, Array]:
    a, pull = jax.vjp(function, z)
    if getattr(a, "shape", None) != z.shape or a.dtype != z.dtype:
        raise TypeError(f"fun must return one number of dtype {z.dtype} for each of z, got {a}")
    (da,) = pull(jnp.ones_like(a))
    return a, da


def _bits(dtype: str, start: int) -> np.generic:
    return np.dtype(BITS[dtype]).type(start)


# --- their comparison -----------------------------------------------------------------------


class _Limits(NamedTuple):
    """What a dtype is judged by: its spacing at 1, the ends of its range, and the floor."""

    eps: ArrayLike
    tiny: ArrayLike
    overflow: ArrayLike
    floor: ArrayLike


def _limits(dtype: str, floor: float) -> _Limits:
    info = jnp.finfo(dtype)
    eps = float(info.eps)
    # from here on, rounding to nearest gives ∞
    overflow = float(info.max) / (2 - eps) * (2 - eps / 2)
    return _Limits(eps, float(info.tiny), overflow, floor)


class _Measured(NamedTuple):
    """Of one function and quantity, at each input: the kinds of `Errors`, and what was wanted."""

    ulp: Array
    scaled: Array
    non_finite: Array
    zero_sign: Array
    special: Array
    unjudged: Array
    want: Array


_Results = Sequence[tuple[Array, Array]]  # of each function: values and derivatives
# Of the inputs of each column: both largest errors, and the counts that share an integer.
_Figures = tuple[Array, Array, Array]
_Comparison = list[list[_Measured]]  # by function and quantity


def _measured(oracle: Oracle, limits: _Limits, z: Array, results: _Results) -> _Comparison:
    """Compare the results of each function, value and derivative, with the oracle's."""
    z = z.astype(jnp.float64)
    # computed once, for all that uses them
    wanted = lax.optimization_barrier([_wanted(function, z) for function in oracle])
    return [
        [
            _measured_one(limits, z, got.astype(jnp.float64), *wanted[q], is_value=q == 0)
            for q, got in enumerate(both)
        ]
        for both in results
    ]


def _wanted(function: Function, z: Array) -> tuple[Array, Array]:
    """Return the oracle's results, and those at the zero of the same sign."""
    below, above = function(jnp.asarray([-0.0, 0.0]))
    return function(jnp.clip(z, -FAR, FAR)), jnp.where(jnp.signbit(z), below, above)


def _measured_one(
    limits: _Limits, z: Array, got: Array, want: Array, at_zero: Array, is_value: bool
) -> _Measured:
    # at an input that may be taken for zero, either result is right: the nearer one is wanted
    nearer = (jnp.abs(z) < limits.tiny) & (jnp.abs(got - at_zero) < jnp.abs(got - want))
    want = jnp.where(nearer, at_zero, want)
    # beyond the range, a finite result has an error as anywhere, and an infinite one is right
    overflows = (jnp.abs(want) >= limits.overflow) & ~(jnp.isfinite(got) & jnp.isfinite(z))
    want = jnp.where(overflows, jnp.copysign(jnp.inf, want), want)

    known, in_range, is_number = ~jnp.isnan(want), jnp.isfinite(want), ~jnp.isnan(z)
    error = jnp.abs(_one_number_below(limits.tiny, got) - _one_number_below(limits.tiny, want))
    measurable = jnp.isfinite(got) & in_range & is_number
    error = jnp.where(measurable, error / limits.eps, 0)
    size = jnp.where(measurable, jnp.maximum(jnp.abs(want), limits.tiny), 1)

    finite = jnp.isfinite(z)
    wrong_form = known & ~jnp.where(in_range, jnp.isfinite(got), got == want)
    zero = (got == 0) & (jnp.abs(want) < limits.tiny)
    lost = ~is_number & ~jnp.isnan(got) if is_value else jnp.zeros_like(finite)
    return _Measured(
        ulp=error * _one_over_binade(size),
        scaled=error * _one_over_binade(jnp.maximum(size, limits.floor)),
        non_finite=finite & wrong_form,
        zero_sign=finite & zero & (jnp.signbit(got) != jnp.signbit(want)),
        special=is_number & ~finite & wrong_form | lost,
        unjudged=finite & ~known,
        want=want,
    )


def _one_number_below(tiny: ArrayLike, x: Array) -> Array:
    return jnp.copysign(jnp.maximum(jnp.abs(x) - tiny, 0), x)


def _one_over_binade(size: Array) -> Array:
    """Return 1 over the largest power of two that is at most `size`, from its exponent's bits."""
    exponent = lax.bitcast_convert_type(size, jnp.uint64) >> 52
    return lax.bitcast_convert_type((2 * 1023 - exponent) << 52, jnp.float64)


@lru_cache(maxsize=64)
def _compiled(oracle: Oracle) -> Function:
    return jax.jit(partial(_measured, oracle))


@lru_cache(maxsize=64)
def _compiled_by_column(oracle: Oracle) -> Function:
    """Return `_measured`, compiled, with its results reduced to figures for each column.

    The figures of all columns are updated together, in vector instructions, row by row. Four
    counts of at most 255 share an integer.
    """

    def by_column(limits: _Limits, z: Array, results: _Results) -> list[_Figures]:
        def step(
            figures: list[_Figures], row: tuple[Array, _Results]
        ) -> tuple[list[_Figures], None]:
            measured = jax.tree.leaves(_measured(oracle, limits, *row), is_leaf=_is_measured)
            return [_accumulated(*pair) for pair in zip(figures, measured, strict=True)], None

        assert len(z) < 1 << 8
        none = jnp.zeros(z.shape[1])
        start = [(none, none, none.astype(jnp.uint32)) for both in results for _ in both]
        return lax.scan(step, start, (z, results))[0]

    return jax.jit(by_column)


def _accumulated(figures: _Figures, new: _Measured) -> _Figures:
    ulp, scaled, counts = figures
    for k, condition in enumerate(new[SIZES:-1]):
        counts = counts + (condition.astype(jnp.uint32) << 8 * k)
    return jnp.maximum(ulp, new.ulp), jnp.maximum(scaled, new.scaled), counts


def _unpacked(figures: _Figures) -> list[np.ndarray]:
    """Return one array for each kind, from what `_accumulated` made."""
    *sizes, counts = map(np.asarray, figures)
    return [*sizes, *(counts >> 8 * k & 255 for k in range(4))]


def _reduced(measured: _Measured) -> list[np.ndarray]:
    """Return the same from one column by itself."""
    arrays = [np.asarray(of_kind) for of_kind in measured]
    sizes, conditions = arrays[:SIZES], arrays[SIZES:-1]
    return [x.max(keepdims=True) for x in sizes] + [x.sum(keepdims=True) for x in conditions]


def _is_measured(x: object) -> bool:
    return isinstance(x, _Measured)


class _Columns:
    """The results of one chunk, arranged in columns, and the figures of each."""

    def __init__(self, oracle: Oracle, limits: _Limits, z: Array, results: _Results):
        self.oracle, self.limits = oracle, limits
        self.z, self.results = jax.tree.map(np.asarray, (z, results))
        self.looked_at: dict[int, _Comparison] = {}
        if z.shape[1] > 1:
            figures = _compiled_by_column(oracle)(limits, z, results)
            self.figures = [_unpacked(of_one) for of_one in figures]
        else:
            self.figures = [_reduced(measured) for both in self.at(0) for measured in both]

    def at(self, column: int) -> _Comparison:
        """Return what is measured at each input of one column."""
        if column not in self.looked_at:
            with np.errstate(invalid="ignore"):  # a signalling NaN among the inputs
                args = jax.tree.map(
                    lambda x: x[:, column].astype(np.float64), (self.z, self.results)
                )
            measured = _compiled(self.oracle)(self.limits, *args)
            self.looked_at[column] = jax.tree.map(np.asarray, measured)
        return self.looked_at[column]

    def errors(self, f: int, q: int) -> Errors:
        """Return what was found about one function and quantity."""
        figures = self.figures[f * len(QUANTITIES) + q]
        return Errors(*(self._finding(f, q, k, of_kind) for k, of_kind in enumerate(figures)))

    def _finding(self, f: int, q: int, k: int, by_column: np.ndarray) -> Finding | None:
        size = float(by_column.max() if k < SIZES else by_column.sum())
        if not size:
            return None
        column = int(by_column.argmax())
        measured = self.at(column)[f][q]
        i = int(measured[k].argmax())
        place = self.z[i, column], self.results[f][q][i, column], measured.want[i]
        return Finding(size, *map(float, place))
