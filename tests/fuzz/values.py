"""Arguments for random calls: arrays of numbers, and whatever a caller may pass in their place.

Sizes and dtypes come from small pools, so that the programs that JAX compiles are reused.
"""

import collections
import datetime
import decimal
import fractions
import math
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import strategies as st

SIZES = (1, 3)
BATCHES = ((), (3,), (2, 3))
FLOATS = ("float32",) * 5 + ("float16", "bfloat16", "float64")
# Of one call, the arrays mostly have one dtype.
TOGETHER = tuple((dtype,) * 12 + ("float16", "bfloat16", "float64") for dtype in FLOATS)
FORMS = ("jax",) * 4 + ("numpy", "numpy", "list")
FILLS = ("grid",) * 8 + ("zeros", "large", "nan", "inf", "-inf")
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
SEEDS = st.integers(0, 15)


def rarely(draw, one_in=4):
    """Whether to do what is done in one case of `one_in`; shrinks to not doing it."""
    return draw(st.sampled_from((False,) * (one_in - 1) + (True,)))


def filled(shape, fill="grid", seed=0):
    """Numbers that every floating dtype holds exactly, with one special number for some fills.

    Those of the grid are odd multiples of 1/16 between −2 and 2: no kink of an activation is there.
    """
    rng = np.random.default_rng(seed)
    values = (2 * rng.integers(-16, 16, shape) + 1) / 16
    if fill == "zeros":
        return np.zeros(shape)
    if fill == "large":
        return values * 1024
    if fill in SPECIAL and values.size:
        values.flat[rng.integers(values.size)] = SPECIAL[fill]
    return values


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def formed(values, dtype, form):
    """The values as an array of JAX or NumPy, or as nested lists."""
    array = np.asarray(values).astype(dtype_of(dtype))
    if form == "numpy":
        return array
    return array.tolist() if form == "list" else jnp.asarray(array)


@st.composite
def floats(draw, shape, fills=FILLS, dtypes=FLOATS, forms=FORMS):
    """Draw a floating-point array of this shape."""
    values = filled(shape, draw(st.sampled_from(fills)), draw(SEEDS))
    return formed(values, draw(st.sampled_from(dtypes)), draw(st.sampled_from(forms)))


@st.composite
def probabilities(draw, shape):
    """Draw an array of numbers from 0 to 1, with both ends and NaN."""
    ends = ("inside",) * 5 + ("ends", "nan")
    fill = draw(st.sampled_from(ends))
    rng = np.random.default_rng(draw(SEEDS))
    values = rng.integers(0 if fill == "ends" else 1, 17 if fill == "ends" else 16, shape) / 16
    if fill == "nan" and values.size:
        values.flat[0] = math.nan
    return formed(values, draw(st.sampled_from(FLOATS)), draw(st.sampled_from(FORMS)))


@st.composite
def integers(draw, shape, low=0, high=3):
    """Draw an array of integers, `high` included."""
    values = np.random.default_rng(draw(SEEDS)).integers(low, high + 1, shape)
    kinds = ("int32",) * 3 + ("int64", "int8") + (("uint8",) if low >= 0 else ())
    return formed(values, draw(st.sampled_from(kinds)), draw(st.sampled_from(FORMS)))


# --- what is no such array ------------------------------------------------------------------------


@st.composite
def other_shape(draw, shape):
    """Draw a shape near this one: of another rank or size, empty, or one that would broadcast."""
    shape = tuple(shape)
    near = [(*shape, 1), (1, *shape), (), (0,), (4,), (2, 2, 2, 2)]
    if shape:
        near += [shape[1:], shape[:-1], (*shape[:-1], 0), (0, *shape[1:]), shape[::-1]]
        near += [(*shape[:-1], shape[-1] + 1), (*shape[:-1], 1), (1, *shape[1:])]
    return draw(st.sampled_from(near))


WRONG_DTYPES = (
    *("int32", "bool", "complex64", "uint8", "int8", "complex128"),
    *("float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float8_e4m3b11fnuz"),
)


class _Multiline:
    def __repr__(self):
        return "line\n" * 200


class _Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


class _NamesAnArray:
    """Has a shape and a dtype as an array has, and nothing else."""

    shape, dtype = (3,), np.dtype("float32")


def _deleted():
    array = jnp.ones(3) + 1
    array.delete()
    return array


Pair = collections.namedtuple("Pair", "w b")

# Made anew in each case: some can be used only once.
JUNK = (
    *(lambda value=value: value for value in (None, "abc", "", 3, True, 1.5, -1, 0, {}, (), [])),
    lambda: ["a", "b"],
    lambda: [[1.0], [2.0, 3.0]],
    lambda: {"x": jnp.ones(3)},
    lambda: {0: 1.0, "a": 1.0},  # JAX cannot sort its keys
    object,
    lambda: [None, 1.0],
    lambda: jnp.ones((3,), jnp.int32),
    lambda: np.array(["a", "b", "c"]),
    lambda: 1j,
    lambda: math.nan,
    lambda: (value for value in (1.0, 2.0)),
    lambda: {1.0, 2.0},
    lambda: range(3),
    lambda: b"abc",
    lambda: memoryview(np.ones(3)),
    lambda: decimal.Decimal("0.5"),
    lambda: fractions.Fraction(1, 3),
    lambda: 2**70,
    lambda: [2**70],
    lambda: 10**400,
    lambda: -(2**63) - 1,
    lambda: ...,
    lambda: NotImplemented,
    lambda: len,
    lambda: int,
    lambda: math,
    lambda: lambda value: value,
    lambda: jax.ShapeDtypeStruct((3,), jnp.float32),
    _deleted,
    lambda: np.ma.masked_array([1.0, 2.0, 3.0], [True, False, False]),
    lambda: np.array([1.0, None, "a"], object),
    lambda: np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
    lambda: np.array(["2020-01-01"], "datetime64[D]"),
    lambda: np.timedelta64(1, "s"),
    lambda: datetime.date(2020, 1, 1),
    lambda: jax.random.key(0),
    lambda: jax.random.split(jax.random.key(0)),
    lambda: np.zeros(3, jax.dtypes.float0),
    lambda: "x" * 10_000,
    lambda: ["y" * 1000] * 1000,
    lambda: {str(i): i for i in range(1000)},
    _Multiline,
    _Unprintable,
    _NamesAnArray,
    lambda: Pair(jnp.ones((3, 2)), jnp.ones(2)),
    lambda: [jnp.ones(3), jnp.ones(2)],
    lambda: [[[[[[[[1.0]]]]]]]],
    lambda: types.SimpleNamespace(shape=(3,), dtype="float32", ndim=1),
    lambda: np.float16(0.5),
    lambda: np.array(0.5),
    lambda: np.bool_(True),
    lambda: np.int64(2),
    lambda: np.longdouble(0.5),
    lambda: 1e300,
    lambda: np.full(3, 1e300),
    lambda: Path("file"),
    lambda: jnp.float32,
    lambda: "float32",
    lambda: np.nan * jnp.ones(3),
    lambda: np.ones(3, ">f4"),
    lambda: bytearray(b"ab"),
    lambda: collections.OrderedDict(a=1.0),
    lambda: slice(3),
)


def junk():
    """Draw anything but what the argument is."""
    return st.integers(0, len(JUNK) - 1).map(lambda i: JUNK[i]())


@st.composite
def of_wrong_dtype(draw, shape):
    """Draw an array of this shape that is not floating-point, or is of an unusual dtype."""
    values = np.random.default_rng(draw(SEEDS)).integers(0, 2, shape)
    return formed(
        values, draw(st.sampled_from(WRONG_DTYPES)), draw(st.sampled_from(("jax", "numpy")))
    )


@st.composite
def wrong_array(draw, shape, right=floats):
    """Draw what is wrong, or may be, where an array of this shape is expected."""
    kind = draw(st.sampled_from(("shape", "dtype", "junk", "junk")))
    if kind == "shape":
        return draw(right(draw(other_shape(shape))))
    if kind == "dtype":
        return draw(of_wrong_dtype(shape))
    return draw(junk())


def wrong_ones(draw, names, valid=2):
    """Draw which arguments of a call are wrong: none in `valid` of 3 cases, else one or two."""
    if draw(st.sampled_from((False,) * valid + (True,) * (3 - valid))):
        return draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    return ()
