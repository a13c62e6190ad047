"""The same call with other sizes: one example, many, one feature; and with other integers."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..._jax import has_dtype, is_array, is_key, largest_array
from ..point import Leaves, Point
from ..program import Refused, user_code
from ..sample import Sample
from ..subject import Subject, pullback_of
from .arithmetic import any_of, differs, size_of, sizes_of
from .integers import other_integers
from .judge import tolerance_of
from .outcome import values_of

# Sizes of the first axis of the first array. A sum over one tile of a kernel, 128 rows, passes
# every smaller test.
OF_BATCH = (1, 2, 129, 1000)
# Forms with more entries are left out, and those of which the program has a larger array: a matrix
# with a row and a column for each of the pairs of a thousand examples takes terabytes.
ENTRIES = 2**17
BYTES = 2**26


class Form(NamedTuple):
    """A sample of the same function with another size.

    Attributes:
        sample: the sample.
        text: what is other about it.
    """

    sample: Sample
    text: str


def suspicious_forms(sample: Sample) -> Iterator[Form]:
    """Yield the forms, of those that the function allows, at which the rule differs from autodiff.

    Those of a kind share one program, because compiling takes most of the time.
    """
    if sample.subject.has_oracle:
        yield from _of_other_sizes(sample)
        yield from _of_other_integers(sample)


def _of_other_sizes(sample: Sample) -> Iterator[Form]:
    found = list(_forms(sample))
    inputs = [(f.sample.xs(f.sample.wide), f.sample.dys(f.sample.wide)) for f in found]
    functions = [_both(form.sample.subject) for form in found]

    def program(inputs: list[tuple[Leaves, Leaves]]) -> list[tuple[Leaves, Leaves]]:
        return [both(*each) for both, each in zip(functions, inputs, strict=True)]

    try:
        results = sample.subject.program("forms", program)(sample.wide, inputs)
    except Refused:
        yield from found
        return
    for form, (by_rule, plain) in zip(found, results, strict=True):
        pairs = zip(values_of(by_rule), values_of(plain), strict=True)
        rtol = tolerance_of(form.sample)
        if any(differs(got, want, size_of(want), rtol=rtol).any() for got, want in pairs):
            yield form


def _of_other_integers(sample: Sample) -> Iterator[Form]:
    found = list(other_integers(sample))
    if not found:
        return
    places = sorted({place for place, *_ in found})
    given = {place: np.asarray(sample.point.leaves[place]) for place in places}
    filled = [{**given, place: array} for place, array, _ in found]
    stacked = {place: np.stack([one[place] for one in filled]) for place in places}

    def program(stacked: dict[int, Array], xs: Leaves, dys: Leaves) -> tuple[Leaves, Leaves]:
        return jax.lax.map(lambda each: _both(sample.subject, each)(xs, dys), stacked)

    wide = sample.wide
    forms = (_with_leaves(sample, {place: array}, text) for place, array, text in found)
    try:
        by_rule, plain = sample.subject.program("integers", program)(
            wide, stacked, sample.xs(wide), sample.dys(wide)
        )
    except Refused:
        yield from forms
        return
    rtol = tolerance_of(sample)
    is_suspicious = np.zeros(len(found), bool)
    for got, want in zip(values_of(by_rule), values_of(plain), strict=True):
        is_suspicious |= any_of(differs(got, want, sizes_of(want), rtol=rtol))
    yield from (form for form, flag in zip(forms, is_suspicious, strict=True) if flag)


def _with_leaves(sample: Sample, changed: dict[int, np.ndarray], text: str) -> Form:
    """Return the sample with other numbers in some leaves that are kept constant."""
    leaves = list(sample.point.leaves)
    for place, array in changed.items():
        leaves[place] = jnp.asarray(array)
    point = Point(sample.fun, *sample.point.unflattened(leaves))
    point.captured = sample.point.captured
    subject = sample.subject.of_form(sample.fun, point)
    return Form(Sample(sample.fun, subject, point, sample.seed, kinks=sample.kinks), text)


def _both(
    subject: Subject, constants: Mapping[int, Array] | None = None
) -> Callable[[Leaves, Leaves], tuple[Leaves, Leaves]]:
    """Return the function that gives the values and gradients of the rule and of autodiff."""
    sides = [partial(side.function, constants=constants) for side in subject.sides]

    def both(xs: Leaves, dys: Leaves) -> tuple[Leaves, Leaves]:
        by_rule, plain = (pullback_of(function)(xs, dys) for function in sides)
        return (*by_rule.ys, *by_rule.dxs), (*plain.ys, *plain.dxs)

    return both


def _forms(sample: Sample) -> Iterator[Form]:
    """Yield the forms that the function allows."""
    leaves = [leaf for leaf in sample.point.leaves if _is_resized(leaf)]
    # integers may be indices into an axis, such as labels
    has_indices = any(has_dtype(leaf, jnp.integer) for leaf in leaves)
    sizes = dict.fromkeys(size for leaf in leaves for size in np.shape(leaf))
    for number, old in enumerate(sizes):
        # a filter of even length is centred otherwise than one of odd length
        others = () if has_indices else (1, 2 + (old + 1) % 2)
        for new in others if number else OF_BATCH:
            text = f"with {new} instead of {old} along {_axis(sample, old)}"
            form = _form(sample, old, new, text) if new != old else None
            if form is not None:
                yield Form(form, text)


def _is_resized(leaf: object) -> bool:
    return is_array(leaf) and not is_key(leaf) and bool(np.size(leaf)) and bool(np.ndim(leaf))


def _axis(sample: Sample, size: int) -> str:
    """Return the first axis of this size."""
    for name, leaf in zip(sample.point.names, sample.point.leaves, strict=True):
        if _is_resized(leaf) and size in np.shape(leaf):
            return f"axis {np.shape(leaf).index(size)} of {name}"
    return "an axis"


def _form(sample: Sample, old: int, new: int, text: str) -> Sample | None:
    """Return the sample with every axis of one size resized.

    None if the function refuses it, or if it is too large; `text` says then what was left out.
    """
    point = sample.point
    rng = np.random.default_rng([*sample.seed, 90, new])
    leaves = [_within(leaf, old, new) for leaf in point.leaves]
    leaves = [_resized(leaf, old, new, rng) if _is_resized(leaf) else leaf for leaf in leaves]
    if sum(np.size(leaf) for leaf in leaves if is_array(leaf)) > ENTRIES:
        return None
    args, kwargs = point.unflattened(leaves)
    other = Point(sample.fun, args, kwargs)
    subject = sample.subject.of_form(sample.fun, other)
    try:
        types = other.types(sample.wide), subject.ys(sample.wide)
        with user_code(), sample.wide.context():
            program = jax.make_jaxpr(_both(subject))(*types)
    except Refused:
        return None
    if largest_array(program) > BYTES:
        sample.too_large.append(text)
        return None
    return Sample(sample.fun, subject, other, sample.seed, kinks=sample.kinks)


def _within(leaf: Any, old: int, new: int) -> Any:
    """Return integers that are indices into an axis of the new size if they were of the old."""
    if not (is_array(leaf) and has_dtype(leaf, jnp.integer) and np.size(leaf)):
        return leaf
    array = np.asarray(leaf)
    return jnp.asarray(array % new) if new <= array.max() < old else leaf


def _resized(leaf: Any, old: int, new: int, rng: np.random.Generator) -> jax.Array:
    """Return an array whose axes of one size have another, with entries of the old one."""
    array = np.asarray(leaf)
    for axis, size in enumerate(array.shape):
        if size == old:
            # in order, so that an array of distinct numbers stays one where it shrinks
            places = np.arange(new) if new <= old else rng.integers(old, size=new)
            array = np.take(array, places, axis)
    if has_dtype(leaf, jnp.floating):
        # no two rows are equal, and numbers in (0, 1) remain there
        factors = rng.uniform(0.6, 1, array.shape)
        array = (array.astype(np.float64) * factors).astype(array.dtype)
    return jnp.asarray(array)
