"""Proof by exhaustion: an elementwise rule at every number that its dtype has."""

import dataclasses
import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from .._arguments import (
    check_bool,
    check_function,
    check_one_of,
    describe,
    floating_dtype,
    is_number,
)
from .._progress import tqdm
from .._types import Function
from .oracles import ORACLES, Oracle
from .report import STYLES, Line, aligned, styled
from .rules import without_rules
from .sweep import (
    BITS,
    Errors,
    Finding,
    Found,
    Sweep,
    chunks,
    merged,
    nothing_found,
    number_of_inputs,
)

TITLES = {
    "ulp": "error, in ulp",
    "scaled": "error, absolute scale",
    "non_finite": "NaN or ∞, or none where due",
    "zero_sign": "sign of zero",
    "special": "at ±∞ and NaN",
    "unjudged": "the oracle is NaN",
}
# Of the state file. Another number whenever what is measured changes.
FORMAT = 1
# A `Finding` in JSON, where NaN and infinities are strings.
Numbers = Mapping[str, float | str]
# Two programs of one thread each keep two cores busy; more take more memory.
THREADS = min(4, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class ElementwiseReport:
    """What `check_elementwise` found about one function in one dtype.

    Attributes:
        function: its name.
        dtype: of the inputs.
        inputs: how many there are, each of them compared.
        value: the `Errors` of the values.
        derivative: the `Errors` of the derivatives.
        floor: the least size at which the absolute scale takes a spacing.
        tolerance: the largest error on that scale that is right.
    """

    function: str
    dtype: str
    inputs: int
    value: Errors
    derivative: Errors
    floor: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; `failures` says what counts."""
        return not self.failures

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """What is wrong: pairs of quantity and kind of error.

        Errors count on the absolute scale, and at finite inputs. A zero of the wrong sign counts
        among the values only: as a derivative it adds nothing to any sum.
        """
        wrong: list[tuple[str, str]] = []
        for quantity, errors in (("value", self.value), ("derivative", self.derivative)):
            counted = {
                "scaled": errors.scaled and errors.scaled.size > self.tolerance,
                "non_finite": errors.non_finite,
                "zero_sign": quantity == "value" and errors.zero_sign,
                "unjudged": errors.unjudged,
            }
            wrong += [(quantity, kind) for kind, counts in counted.items() if counts]
        return tuple(wrong)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that `json.dump` takes.

        NaN and infinities become strings, which JSON has no numbers for.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {"value": _to_dict(self.value), "derivative": _to_dict(self.derivative)}
        return {**fields, **plain, "ok": self.ok}

    def __str__(self) -> str:
        return "\n".join(text for text, _ in self._lines())

    __repr__ = __str__

    def __rich__(self) -> object:
        """Render in colours on a terminal that `rich` prints to."""
        return styled(self._lines())

    def _lines(self) -> Iterator[Line]:
        """Yield the verdict, a row for each kind of error that was met, and what the scale is."""
        verdict = "right" if self.ok else "wrong"
        headline = f"{self.function}, all {self.inputs} inputs of {self.dtype}: {verdict}"
        yield headline, STYLES[verdict]
        yield from self._table()
        yield (
            f"Absolute scale: spacings of {self.dtype} at max(|exact|, {self.floor:g}), "
            f"right up to {self.tolerance:g}.",
            "",
        )
        yield "Numbers below the smallest normal one count as zero.", ""

    def _table(self) -> Iterator[Line]:
        rows: list[tuple[str, ...]] = [("", "", "", "at z", "got", "want")]
        styles = ["bold"]
        for quantity, errors in (("value", self.value), ("derivative", self.derivative)):
            for kind, finding in errors._asdict().items():
                if finding:
                    numbers = (f"{number:.9g}" for number in finding[1:])
                    rows.append((quantity, TITLES[kind], f"{finding.size:.4g}", *numbers))
                    styles.append(STYLES["wrong"] if (quantity, kind) in self.failures else "")
        yield from zip(aligned(rows, right=range(2, 6)), styles, strict=True)


def check_elementwise(
    fun: Function,
    *,
    value: Function | None = None,
    derivative: Function | None = None,
    name: str | None = None,
    dtype: DTypeLike = "bfloat16",
    tolerance: float = 8.0,
    floor: float = 1.0,
    state: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> ElementwiseReport:
    """Compare an elementwise function and its derivative with an oracle at every possible input.

    A function of one number has finitely many inputs: 65536 in a 16-bit dtype, which takes about a
    second, and 2³² in float32, which takes minutes. The derivative is what `jax.vjp` returns for a
    cotangent of 1.

    The report measures errors in two units. `ulp` is the spacing of the dtype's numbers at the
    exact result. It shows how many digits are right, and is large next to a zero of the function.
    `scaled` is the spacing at max(|exact result|, floor), so errors of small results are measured
    on an absolute scale. `tolerance` bounds the scaled error: a derivative `1 − a²` computed from a
    rounded output `a` loses digits where it tends to 0, but its absolute error stays as small as
    the rounding error of `a`. All results below the smallest normal number count as equal, because
    hardware may replace them with zero. At inputs of that size, the oracle's result at zero is
    accepted too.

    Args:
        fun: takes an array, and returns one number for each of its numbers, in the same dtype.
        value: the oracle of its values, in float64; by default `fun` in float64 without its
            hand-written rules.
        derivative: the oracle of its derivatives; by default autodiff of `value`.
        name: the name of an activation in `fcjax.verify.oracles`, to use its formulas as the
            oracle. Names and default parameters are those of `jax.nn`.
        dtype: bfloat16, float16 or float32.
        tolerance: the largest `scaled` error that is accepted.
        floor: the smallest size at which `scaled` measures the spacing.
        state: a JSON file in which to store the results after each chunk of inputs. A later call
            continues from there.
        progress: whether to show a progress bar.

    Returns:
        An `ElementwiseReport`: `report.ok`, `report.value`, `report.derivative`,
        `report.to_dict()`, and `print(report)`. A wrong function never raises.

    Raises:
        TypeError: `fun` does not return an array of the dtype and shape of its argument, or an
            argument is of the wrong type.
        ValueError: `tolerance` or `floor` is not a number, `name` or `dtype` is unknown, or `state`
            holds another function, oracle or dtype than this.

    Source: exhaustive tests of one-argument functions in float32 are those of Zimmermann et al.,
    Accuracy of mathematical functions in single, double, extended double and quadruple precision
    (2024).

    >>> import fcjax
    >>> report = check_elementwise(fcjax.tanh, name="tanh", dtype="bfloat16")
    >>> report.ok, report.inputs
    (True, 65536)
    >>> report.derivative.scaled.size < 1
    True
    """
    for option, function in (("fun", fun), ("value", value), ("derivative", derivative)):
        if function is not None or option == "fun":
            _check_function_of_one(option, function)
    for option, size in (("tolerance", tolerance), ("floor", floor)):
        if not (is_number(size) and 0 <= size < float("inf")):
            raise ValueError(
                f"{option} must be a finite number, not negative, got {describe(size)}"
            )
    check_bool("progress", progress)
    _check_path(state)
    label = getattr(fun, "__name__", type(fun).__name__)
    reports = compare_elementwise(
        {label: fun},
        _oracle(fun, name, value, derivative),
        dtype,
        tolerance=tolerance,
        floor=float(floor),  # an integer may have more bits than JAX takes
        state=state,
        progress=progress,
    )
    return reports[label]


def _check_function_of_one(name: str, function: Any) -> None:
    check_function(name, function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a function of one array, got {describe(function)}: {error}"
        ) from error


def _check_path(state: object) -> None:
    if not isinstance(state, str | os.PathLike | None):
        raise TypeError(f"state must be the path of a file or None, got {describe(state)}")
    if state is not None and "\0" in str(state):
        raise ValueError(f"state must be the path of a file or None, got {describe(state)}")


def compare_elementwise(
    functions: Mapping[str, Function],
    oracle: Oracle,
    dtype: DTypeLike = "bfloat16",
    *,
    tolerance: float = 8.0,
    floor: float = 1.0,
    state: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> dict[str, ElementwiseReport]:
    """Compare several functions with one oracle, as `check_elementwise` does for one.

    Args:
        functions: maps labels to functions.
        oracle: value and derivative, in float64.
        dtype: as in `check_elementwise`, as are the other options.
        tolerance: see there.
        floor: see there.
        state: see there.
        progress: see there.

    Returns:
        A report for each label.

    Raises:
        TypeError: as `check_elementwise`.
        ValueError: as `check_elementwise`.

    >>> import fcjax
    >>> functions = {"by hand": fcjax.tanh, "by JAX": jnp.tanh}
    >>> reports = compare_elementwise(functions, ORACLES["tanh"])
    >>> all(report.ok for report in reports.values())
    True
    """
    dtype = _known_dtype(dtype)
    sweep = Sweep(functions, oracle, dtype, floor)
    memory = _Memory(None if state is None else Path(state), _identity(sweep))
    known, found = memory.recall(nothing_found(functions))
    todo = chunks(dtype)[known:]
    label = f"{', '.join(functions)} in {dtype}"
    new = tqdm(
        _in_threads(sweep, todo),
        label,
        known + len(todo),
        initial=known,
        disable=not (progress and todo),
    )
    for part in new:
        found, known = merged(found, part), known + 1
        memory.write(known, found)
    return {
        label: ElementwiseReport(
            label, dtype, number_of_inputs(dtype), **both, floor=floor, tolerance=tolerance
        )
        for label, both in found.items()
    }


def _in_threads(sweep: Sweep, starts: Sequence[int]) -> Iterator[Found]:
    if starts:
        with ThreadPoolExecutor(min(THREADS, len(starts))) as pool:
            yield from pool.map(sweep.compare(), starts)


def _oracle(
    fun: Function,
    name: str | None,
    value: Function | None,
    derivative: Function | None,
) -> Oracle:
    if name is not None:
        check_one_of("name", name, ORACLES)
    if value is None and derivative is None and name is not None:
        return ORACLES[name]
    if value is None:
        value = ORACLES[name].value if name else without_rules(fun)
    return Oracle(value, derivative or _autodiff(value))


def _autodiff(value: Function) -> Callable[[Array], Array]:
    def derivative(z: Array) -> Array:
        a, pull = jax.vjp(value, z)
        return pull(jnp.ones_like(a))[0]

    return derivative


def _known_dtype(dtype: DTypeLike) -> str:
    name = floating_dtype("dtype", dtype).name
    if name not in BITS:
        raise ValueError(f"dtype: {name} has too many numbers; accepted: {', '.join(BITS)}")
    return name


# --- the state file -------------------------------------------------------------------------


def _identity(sweep: Sweep) -> dict[str, object]:
    """Return what must be the same for findings to be about the same."""
    # objects in it are written with their addresses, which differ from run to run
    program = re.sub(r" at 0x[0-9a-f]+", "", sweep.programs())
    return {
        "format": FORMAT,
        "functions": list(sweep.functions),
        "dtype": sweep.dtype,
        "floor": sweep.floor,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "program": hashlib.sha256(program.encode()).hexdigest(),
    }


@dataclasses.dataclass(frozen=True)
class _Memory:
    """The state file, where there is one."""

    path: Path | None
    identity: Mapping[str, object]

    def recall(self, nothing: Found) -> tuple[int, Found]:
        """Return the number of chunks that are done, and what was found in them."""
        if self.path is None or not self.path.exists():
            return 0, nothing
        try:
            saved = dict(json.loads(self.path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"state: {self.path} is not a state file: {error}") from error
        for key, want in self.identity.items():
            if saved.get(key) != want:
                raise ValueError(
                    f"state: {self.path} is of another {key}: got {saved.get(key)}, want {want}; "
                    "name another file, or delete this one"
                )
        found = {
            label: {quantity: _from_dict(errors) for quantity, errors in both.items()}
            for label, both in saved["found"].items()
        }
        return saved["chunks"], found

    def write(self, known: int, found: Found) -> None:
        """Replace the file, whole: an interruption leaves the old one or the new one."""
        if self.path is None:
            return
        plain = {
            label: {quantity: _to_dict(errors) for quantity, errors in both.items()}
            for label, both in found.items()
        }
        text = json.dumps({**self.identity, "chunks": known, "found": plain}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(text)
        new.replace(self.path)


def _to_dict(errors: Errors) -> dict[str, Numbers | None]:
    return {
        kind: finding and {name: _plain(x) for name, x in finding._asdict().items()}
        for kind, finding in errors._asdict().items()
    }


def _from_dict(errors: Mapping[str, Numbers | None]) -> Errors:
    return Errors(**{kind: _finding(numbers) for kind, numbers in errors.items()})


def _finding(numbers: Numbers | None) -> Finding | None:
    if numbers is None:
        return None
    return Finding(**{name: float(x) for name, x in numbers.items()})


def _plain(x: float) -> float | str:
    return x if abs(x) < float("inf") else str(x)
