"""Every number of a dtype through elementwise functions, chunk by chunk, beside a float64 oracle.

The functions run as their user runs them; their results are then compared in a program of its own,
in float64 on the CPU. Nothing is done per number outside these two programs: what leaves them is a
figure for each column of inputs, and only a column with a new worst is looked at again.

An error is the difference from the oracle's result, in one of two units:

- `ulp`: the spacing of the dtype's numbers at the exact result;
- `scaled`: their spacing at max(|exact result|, floor).

Hardware may take numbers below the smallest normal one, `tiny`, for zero; XLA on CPUs does so in
float32 and bfloat16. Hence all results of at most that size count as one number, no spacing is
taken below it, and at an input of less than that size the oracle's result at zero is as good.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .oracles import Oracle

Function = Callable[..., Any]

COLUMNS = 1 << 13
SMALL = 1 << 16
BITS = {"bfloat16": jnp.uint16, "float16": jnp.uint16, "float32": jnp.uint32}
QUANTITIES = ("value", "derivative")
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
            dtype, is finite, or the reverse.
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


SIZES = Errors._fields[:2]  # the largest is kept; of the other kinds, inputs are counted
Found = dict[str, dict[str, Errors]]  # by function and quantity


class Limits(NamedTuple):
    """What a dtype is judged by: its spacing at 1, the ends of its range, and the floor."""

    eps: float
    tiny: float
    overflow: float
    floor: float


def limits_of(dtype: str, floor: float) -> Limits:
    """Return the limits of a dtype."""
    info = jnp.finfo(dtype)
    eps = float(info.eps)
    # from here on, rounding to nearest gives ∞
    overflow = float(info.max) / (2 - eps) * (2 - eps / 2)
    return Limits(eps, float(info.tiny), overflow, floor)


def number_of_inputs(dtype: str) -> int:
    """Return how many bit patterns a dtype has."""
    return 1 << jnp.finfo(dtype).bits


def nothing_found(labels: Iterable[str]) -> Found:
    """Return what is known before the first input."""
    return {label: dict.fromkeys(QUANTITIES, Errors()) for label in labels}


# --- the two programs -----------------------------------------------------------------------


def runner(functions: Iterable[Function], dtype: str, shape: tuple[int, int]) -> Function:
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


class _Measured(NamedTuple):
    """Of one function and quantity, at each input: the kinds of `Errors`, and what was wanted."""

    ulp: Array
    scaled: Array
    non_finite: Array
    zero_sign: Array
    special: Array
    unjudged: Array
    want: Array


_Results = Sequence[tuple[Any, Any]]  # of each function: values and derivatives


@lru_cache(maxsize=64)
def _measure(oracle: Oracle) -> Function:
    """Return the compiled `_measured`."""
    return jax.jit(partial(_measured, oracle))


@lru_cache(maxsize=64)
def _measure_columns(oracle: Oracle) -> Function:
    """Return the compiled `_measured`, reduced to figures for each column of its arguments.

    The figures of a row of columns are updated together, in vector instructions, row by row: the
    rows are short enough for all of this to stay in the cache.
    """

    def by_column(limits: Limits, z: Array, results: _Results) -> Any:
        def step(figures: Any, row: Any) -> tuple[Any, None]:
            measured = _measured(oracle, limits, *row)
            return jax.tree.map(_accumulated, figures, measured, is_leaf=_is_errors), None

        columns = jnp.zeros(z.shape[1])
        none = Errors(*[columns] * 2, *[columns.astype(jnp.int32)] * 4)
        figures = [[none for _ in both] for both in results]
        return lax.scan(step, figures, (z, results))[0]

    return jax.jit(by_column)


def _is_errors(x: Any) -> bool:
    return isinstance(x, Errors)


def _accumulated(figures: Any, new: _Measured) -> Any:
    sizes = map(jnp.maximum, figures[:2], new[:2])
    counts = (
        count + more.astype(jnp.int32) for count, more in zip(figures[2:], new[2:6], strict=True)
    )
    return Errors(*sizes, *counts)


def _measured(oracle: Oracle, limits: Limits, z: Array, results: _Results) -> list[list[_Measured]]:
    """Compare the results of each function, value and derivative, with the oracle."""
    z = z.astype(jnp.float64)
    wanted = [_wanted(function, z) for function in oracle]
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
    limits: Limits, z: Array, got: Array, want: Array, at_zero: Array, is_value: bool
) -> _Measured:
    # at an input that may be taken for zero, either result is right: the nearer one is wanted
    nearer = (jnp.abs(z) < limits.tiny) & (jnp.abs(got - at_zero) < jnp.abs(got - want))
    want = jnp.where(nearer, at_zero, want)
    want = jnp.where(jnp.abs(want) >= limits.overflow, jnp.copysign(jnp.inf, want), want)

    known, in_range, is_number = ~jnp.isnan(want), jnp.isfinite(want), ~jnp.isnan(z)
    error = jnp.abs(_one_number_below(limits.tiny, got) - _one_number_below(limits.tiny, want))
    error = jnp.where(jnp.isfinite(got) & in_range & is_number, error / limits.eps, 0)
    size = jnp.maximum(jnp.abs(want), limits.tiny)

    finite = jnp.isfinite(z)
    wrong_form = known & ~jnp.where(in_range, jnp.isfinite(got), got == want)
    zero = (got == 0) & (jnp.abs(want) < limits.tiny)
    lost = jnp.isnan(z) & ~jnp.isnan(got) if is_value else jnp.zeros_like(finite)
    return _Measured(
        ulp=error * _one_over_binade(size),
        scaled=error * _one_over_binade(jnp.maximum(size, limits.floor)),
        non_finite=finite & wrong_form,
        zero_sign=finite & zero & (jnp.signbit(got) != jnp.signbit(want)),
        special=is_number & ~finite & wrong_form | lost,
        unjudged=finite & ~known,
        want=want,
    )


def _one_number_below(tiny: float, x: Array) -> Array:
    return jnp.copysign(jnp.maximum(jnp.abs(x) - tiny, 0), x)


def _one_over_binade(size: Array) -> Array:
    """Return 1 over the largest power of two that is at most `size`, from its exponent's bits."""
    exponent = lax.bitcast_convert_type(size, jnp.uint64) >> 52
    return lax.bitcast_convert_type((2 * 1023 - exponent) << 52, jnp.float64)


# --- from figures to findings ---------------------------------------------------------------


class Sweep(NamedTuple):
    """The comparison of functions with one oracle, over all inputs of a dtype.

    Attributes:
        functions: by label.
        oracle: value and derivative, in float64.
        dtype: of the inputs.
        floor: of the scaled error.
        chunk: number of inputs that are compared at a time.
    """

    functions: Mapping[str, Function]
    oracle: Oracle
    dtype: str
    floor: float
    chunk: int

    def programs(self) -> str:
        """Return the text of all that is computed, as JAX traces it."""
        run = runner(self.functions.values(), self.dtype, (1, COLUMNS))
        with jax.enable_x64(True):
            row = jax.ShapeDtypeStruct((COLUMNS,), jnp.float64)
            oracle = [str(jax.make_jaxpr(function)(row)) for function in self.oracle]
        return "\n".join([str(jax.make_jaxpr(run)(first_bits(self.dtype, 0))), *oracle])

    def compare(self) -> Callable[[int, Found], Found]:
        """Return `compare(start, found)`, which adds the findings of one chunk to `found`."""
        # the numbers of 16 bits are few enough to be looked at all
        columns = COLUMNS if self.chunk > SMALL else 1
        run = jax.jit(runner(self.functions.values(), self.dtype, (self.chunk // columns, columns)))
        limits = limits_of(self.dtype, self.floor)

        def compare(start: int, found: Found) -> Found:
            z, results = run(first_bits(self.dtype, start))
            cpu = jax.devices("cpu")[0]
            with jax.enable_x64(True), jax.default_device(cpu):
                columns = _Columns(self.oracle, limits, *jax.device_put((z, results), cpu))
                return {
                    label: {
                        quantity: columns.added(found[label][quantity], f, q)
                        for q, quantity in enumerate(QUANTITIES)
                    }
                    for f, label in enumerate(self.functions)
                }

        return compare


def first_bits(dtype: str, start: int) -> np.integer:
    """Return `start` as an unsigned integer of the width of `dtype`."""
    return np.dtype(BITS[dtype]).type(start)


class _Columns:
    """The results of one chunk, arranged in columns, and what is known of each of these."""

    def __init__(self, oracle: Oracle, limits: Limits, z: Array, results: Any):
        self.oracle, self.limits, self.z, self.results = oracle, limits, z, results
        self.seen: dict[int, list[list[_Measured]]] = {}
        if z.shape[1] == 1:
            self.figures = jax.tree.map(_of_one_column, self.at(0), is_leaf=_is_measured)
        else:
            figures = _measure_columns(oracle)(limits, z, results)
            self.figures = jax.tree.map(np.asarray, figures)

    def at(self, column: int) -> list[list[_Measured]]:
        """Return what is measured at each input of one column."""
        if column not in self.seen:
            args = jax.tree.map(lambda x: _float64(x[:, column]), (self.z, self.results))
            measured = _measure(self.oracle)(self.limits, *args)
            self.seen[column] = jax.tree.map(np.asarray, measured)
        return self.seen[column]

    def added(self, errors: Errors, f: int, q: int) -> Errors:
        """Return `errors` with those of this chunk, for one function and quantity."""
        return Errors(*(self._kind(kind, getattr(errors, kind), f, q) for kind in Errors._fields))

    def _kind(self, kind: str, old: Finding | None, f: int, q: int) -> Finding | None:
        figures = getattr(self.figures[f][q], kind)
        size = float(figures.max() if kind in SIZES else figures.sum())
        if size == 0:
            return old
        if old and kind not in SIZES:
            return old._replace(size=old.size + size)
        return old if old and old.size >= size else self._finding(kind, size, f, q)

    def _finding(self, kind: str, size: float, f: int, q: int) -> Finding:
        column = int(getattr(self.figures[f][q], kind).argmax())
        measured = self.at(column)[f][q]
        i = int(getattr(measured, kind).argmax())
        got = float(self.results[f][q][i, column])
        return Finding(size, float(self.z[i, column]), got, float(measured.want[i]))


def _is_measured(x: Any) -> bool:
    return isinstance(x, _Measured)


def _of_one_column(measured: _Measured) -> Errors:
    sizes, counts = measured[:2], measured[2:6]
    return Errors(*(x.max(keepdims=True) for x in sizes), *(x.sum(keepdims=True) for x in counts))


def _float64(array: Any) -> np.ndarray:
    return np.asarray(array).astype(np.float64)
