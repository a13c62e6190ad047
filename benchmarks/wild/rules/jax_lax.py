"""Hand-written rules of the array and arithmetic primitives of jax.lax."""

from collections.abc import Callable
from typing import Any

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jax"
CASES: list[Case] = []
case = collector(CASES)


def named(name: str) -> Callable[[Case], Case]:
    """Return a decorator that names a case after a primitive whose name is not one in Python."""

    def rename(function: Case) -> Case:
        function.__name__ = name
        return function

    return rename


# --- elementwise functions of one argument --------------------------------------------------------


@case
def neg():
    from jax import lax

    return lax.neg, (normal(1001, 5, 3),)


@case
def exp():
    from jax import lax

    return lax.exp, (normal(1002, 5, 3),)


@case
def exp2():
    from jax import lax

    return lax.exp2, (normal(1003, 5, 3),)


@case
def log():
    from jax import lax

    return lax.log, (uniform(1004, 0.2, 3, 5, 3),)


@case
def log2():
    import jax.numpy as jnp

    return jnp.log2, (uniform(1005, 0.2, 3, 5, 3),)


@case
def expm1():
    from jax import lax

    return lax.expm1, (normal(1006, 5, 3),)


@case
def log1p():
    from jax import lax

    return lax.log1p, (uniform(1007, -0.8, 3, 5, 3),)


@case
def tanh():
    from jax import lax

    return lax.tanh, (normal(1008, 5, 3),)


@case
def logistic():
    from jax import lax

    return lax.logistic, (normal(1009, 5, 3),)


@case
def sin():
    from jax import lax

    return lax.sin, (normal(1010, 5, 3),)


@case
def cos():
    from jax import lax

    return lax.cos, (normal(1011, 5, 3),)


@case
def tan():
    from jax import lax

    return lax.tan, (uniform(1012, -1.2, 1.2, 5, 3),)


@case
def asin():
    from jax import lax

    return lax.asin, (uniform(1013, -0.9, 0.9, 5, 3),)


@case
def acos():
    from jax import lax

    return lax.acos, (uniform(1014, -0.9, 0.9, 5, 3),)


@case
def atan():
    from jax import lax

    return lax.atan, (normal(1015, 5, 3),)


@case
def sinh():
    from jax import lax

    return lax.sinh, (normal(1016, 5, 3),)


@case
def cosh():
    from jax import lax

    return lax.cosh, (normal(1017, 5, 3),)


@case
def asinh():
    from jax import lax

    return lax.asinh, (normal(1018, 5, 3),)


@case
def acosh():
    from jax import lax

    return lax.acosh, (uniform(1019, 1.2, 4, 5, 3),)


@case
def atanh():
    from jax import lax

    return lax.atanh, (uniform(1020, -0.9, 0.9, 5, 3),)


@case
def abs():
    from jax import lax

    return lax.abs, (normal(1021, 5, 3),)


@case
def sqrt():
    from jax import lax

    return lax.sqrt, (uniform(1022, 0.2, 3, 5, 3),)


@case
def rsqrt():
    from jax import lax

    return lax.rsqrt, (uniform(1023, 0.2, 3, 5, 3),)


@case
def cbrt():
    from jax import lax

    return lax.cbrt, (uniform(1024, 0.2, 3, 5, 3),)


@case
def square():
    from jax import lax

    return lax.square, (normal(1025, 5, 3),)


@case
def one_minus_square():
    from jax import lax

    return lax.one_minus_square, (normal(1026, 5, 3),)


@case
def integer_pow():
    from jax import lax

    return lambda x: lax.integer_pow(x, -3), (uniform(1027, 0.4, 2, 5, 3),)


@case
def sign():
    # the sign of a real number is flat, that of a complex number is not: z / |z|
    from jax import lax

    return lambda x, y: lax.sign(lax.complex(x, y)), (normal(1028, 5), normal(1029, 5))


@case
def floor():
    # a step function: the gradient is zero between the steps
    from jax import lax

    return lax.floor, (normal(1030, 5, 3),)


@case
def ceil():
    # a step function: the gradient is zero between the steps
    from jax import lax

    return lax.ceil, (normal(1031, 5, 3),)


@case
def round():
    # a step function: the gradient is zero between the steps
    from jax import lax

    return lax.round, (normal(1032, 5, 3),)


@case
def real():
    from jax import lax

    return lambda x, y: lax.real(lax.complex(x, y)), (normal(1033, 5), normal(1034, 5))


@case
def imag():
    from jax import lax

    return lambda x, y: lax.imag(lax.complex(x, y)), (normal(1035, 5), normal(1036, 5))


@case
def conj():
    from jax import lax

    return lambda x, y: lax.conj(lax.complex(x, y)), (normal(1037, 5), normal(1038, 5))


@case
def convert_element_type():
    import jax.numpy as jnp
    from jax import lax

    return lambda x: lax.convert_element_type(x, jnp.complex64), (normal(1039, 5, 3),)


@case
def reduce_precision():
    # the gradient ignores the rounding, on purpose; a float32 has 23 bits, which are kept here
    from jax import lax

    return lambda x: lax.reduce_precision(x, 8, 23), (normal(1040, 5, 3),)


@case
def stop_gradient():
    # the gradient of y is zero, on purpose
    from jax import lax

    return lambda x, y: x * lax.stop_gradient(y), (normal(1041, 5), normal(1042, 5))


# --- elementwise functions of several arguments ---------------------------------------------------


@case
def add():
    from jax import lax

    return lax.add, (normal(1101, 5, 3), normal(1102, 5, 3))


@case
def sub():
    from jax import lax

    return lax.sub, (normal(1103, 5, 3), normal(1104, 5, 3))


@case
def mul():
    from jax import lax

    return lax.mul, (normal(1105, 5, 3), normal(1106, 5, 3))


@case
def div():
    from jax import lax

    return lax.div, (normal(1107, 5, 3), uniform(1108, 0.5, 2, 5, 3))


@case
def rem():
    from jax import lax

    return lax.rem, (uniform(1109, 2, 9, 5, 3), uniform(1110, 0.5, 2, 5, 3))


@case
def max():
    from jax import lax

    return lax.max, (normal(1111, 5, 3), normal(1112, 5, 3))


@case
def min():
    from jax import lax

    return lax.min, (normal(1113, 5, 3), normal(1114, 5, 3))


@case
def pow():
    from jax import lax

    return lax.pow, (uniform(1115, 0.3, 2, 5, 3), normal(1116, 5, 3))


@case
def atan2():
    from jax import lax

    return lax.atan2, (normal(1117, 5, 3), normal(1118, 5, 3))


@case
def nextafter():
    # the gradient is that of the first argument, which the function moves by one rounding
    from jax import lax

    return lax.nextafter, (normal(1119, 5, 3), normal(1120, 5, 3))


@case
def complex():
    from jax import lax

    return lax.complex, (normal(1121, 5, 3), normal(1122, 5, 3))


@case
def clamp():
    from jax import lax

    return lax.clamp, (uniform(1123, -1, 0, 5, 3), normal(1124, 5, 3), uniform(1125, 0, 1, 5, 3))


@case
def select_n():
    import jax.numpy as jnp
    from jax import lax

    which = jnp.array([0, 2, 1, 1, 0])
    return lax.select_n, (which, normal(1126, 5), normal(1127, 5), normal(1128, 5))


@case
def polynomial():
    from jax import lax

    coefficients = normal(1129, 4)
    return lambda x, c: lax.polynomial(x, list(c)), (normal(1130, 5, 3), coefficients)


# --- products -------------------------------------------------------------------------------------


@case
def dot_general():
    from jax import lax

    dimensions = (((2,), (1,)), ((0,), (2,)))
    args = (normal(1201, 2, 5, 3), normal(1202, 4, 3, 2))
    return lambda x, y: lax.dot_general(x, y, dimensions), args


@case
def ragged_dot_general():
    import jax.numpy as jnp
    from jax import lax

    return lax.ragged_dot, (normal(1203, 7, 3), normal(1204, 3, 3, 2), jnp.array([2, 4, 1]))


@case
def conv_general_dilated():
    from jax import lax

    def convolved(x, w):
        return lax.conv_general_dilated(
            x, w, (2,), [(1, 2)], lhs_dilation=(2,), rhs_dilation=(3,), feature_group_count=2
        )

    return convolved, (normal(1205, 2, 4, 7), normal(1206, 6, 2, 3))


@case
def conv_general_dilated__batch_groups():
    from jax import lax

    def convolved(x, w):
        return lax.conv_general_dilated(x, w, (1,), "SAME", batch_group_count=2)

    return convolved, (normal(1207, 4, 3, 7), normal(1208, 2, 3, 3))


# --- shapes ---------------------------------------------------------------------------------------


@case
def broadcast_in_dim():
    from jax import lax

    return lambda x: lax.broadcast_in_dim(x, (5, 4, 3), (0, 2)), (normal(1301, 5, 1),)


@case
def tile():
    from jax import lax

    return lambda x: lax.tile(x, (2, 3)), (normal(1302, 5, 3),)


@case
def concatenate():
    from jax import lax

    return lambda x, y: lax.concatenate([x, y, x], 1), (normal(1303, 5, 3), normal(1304, 5, 2))


@case
def stack():
    from jax import lax

    return lambda x, y: lax.stack([x, y], 1), (normal(1305, 5, 3), normal(1306, 5, 3))


@case
def unstack():
    from jax import lax

    return lambda x: lax.unstack(x, 1), (normal(1307, 5, 3),)


@case
def split():
    from jax import lax

    return lambda x: lax.split(x, (2, 1, 4), 1), (normal(1308, 3, 7),)


@case
def pad():
    from jax import lax

    args = (normal(1309, 5, 3), normal(1310))
    return lambda x, value: lax.pad(x, value, [(2, -1, 1), (0, 3, 2)]), args


@case
def squeeze():
    from jax import lax

    return lambda x: lax.squeeze(x, (1,)), (normal(1311, 5, 1, 3),)


@case
def reshape():
    from jax import lax

    return lambda x: lax.reshape(x, (2, 9), (2, 0, 1)), (normal(1312, 3, 1, 6),)


@case
def rev():
    from jax import lax

    return lambda x: lax.rev(x, (0,)), (normal(1313, 5, 3),)


@case
def transpose():
    from jax import lax

    return lambda x: lax.transpose(x, (2, 0, 1)), (normal(1314, 5, 3, 2),)


@case
def copy():
    import jax.numpy as jnp

    return lambda x: jnp.array(x, copy=True), (normal(1315, 5, 3),)


# --- reductions -----------------------------------------------------------------------------------


@case
def reduce():
    # a + b + a b is associative: it multiplies 1 + a and 1 + b
    import jax.numpy as jnp
    from jax import lax

    def reduced(x):
        return lax.reduce(x, jnp.zeros((), x.dtype), lambda a, b: a + b + a * b, (1,))

    return reduced, (normal(1401, 5, 3),)


@case
def reduce_sum():
    import jax.numpy as jnp

    return lambda x: jnp.sum(x, (0, 2)), (normal(1402, 5, 3, 2),)


@case
def reduce_prod():
    import jax.numpy as jnp

    return lambda x: jnp.prod(x, 1), (normal(1403, 5, 3),)


@case
def reduce_max():
    import jax.numpy as jnp

    return lambda x: jnp.max(x, 0), (normal(1404, 5, 3),)


@case
def reduce_min():
    import jax.numpy as jnp

    return lambda x: jnp.min(x, 0), (normal(1405, 5, 3),)


@case
def cumsum():
    from jax import lax

    return lambda x: lax.cumsum(x, 0, reverse=True), (normal(1406, 5, 3),)


@case
def cumprod():
    from jax import lax

    return lambda x: lax.cumprod(x, 0, reverse=True), (normal(1407, 5, 3),)


@case
def cumlogsumexp():
    from jax import lax

    return lambda x: lax.cumlogsumexp(x, 0), (normal(1408, 5, 3),)


@case
def cummax():
    from jax import lax

    return lambda x: lax.cummax(x, 0), (normal(1409, 5, 3),)


@case
def cummin():
    from jax import lax

    return lambda x: lax.cummin(x, 0, reverse=True), (normal(1410, 5, 3),)


@case
def sort():
    from jax import lax

    args = (normal(1411, 5, 3), normal(1412, 5, 3))
    return lambda x, y: lax.sort((x, y), dimension=0, num_keys=1), args


@case
def top_k():
    from jax import lax

    return lambda x: lax.top_k(x, 3), (normal(1413, 2, 7),)


@case
def approx_top_k():
    from jax import lax

    return lambda x: lax.approx_max_k(x, 3), (normal(1414, 2, 7),)


# --- windows --------------------------------------------------------------------------------------


@case
def reduce_window_sum():
    from jax import lax

    def pooled(x):
        return lax.reduce_window(
            x, 0.0, lax.add, (2, 3), (2, 1), [(1, 0), (0, 1)], base_dilation=(2, 1)
        )

    return pooled, (normal(1502, 5, 7),)


@case
def reduce_window_max():
    import jax.numpy as jnp
    from jax import lax

    def pooled(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (2, 3), (2, 2), "SAME")

    return pooled, (normal(1503, 5, 7),)


@case
def reduce_window_min():
    import jax.numpy as jnp
    from jax import lax

    def pooled(x):
        return lax.reduce_window(x, jnp.inf, lax.min, (2, 3), (1, 2), "VALID")

    return pooled, (normal(1504, 5, 7),)


@case
def select_and_scatter_add():
    # the backward pass of pooling
    import jax
    import jax.numpy as jnp
    from jax import lax

    def pooled(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 2), "VALID")

    return lambda x, dy: jax.vjp(pooled, x)[1](dy), (normal(1505, 4, 5), normal(1506, 3, 2))


@case
def select_and_gather_add():
    # the forward derivative of pooling
    import jax
    import jax.numpy as jnp
    from jax import lax

    def pooled(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 2), "VALID")

    return lambda x, t: jax.jvp(pooled, (x,), (t,))[1], (normal(1507, 4, 5), normal(1508, 4, 5))


# --- slices and indices ---------------------------------------------------------------------------


@case
def slice():
    from jax import lax

    return lambda x: lax.slice(x, (1, 0), (5, 7), (2, 3)), (normal(1601, 5, 7),)


@case
def dynamic_slice():
    import jax.numpy as jnp
    from jax import lax

    return lambda x, i: lax.dynamic_slice(x, i, (2, 3)), (normal(1602, 5, 7), jnp.array([2, 1]))


@case
def dynamic_update_slice():
    import jax.numpy as jnp
    from jax import lax

    start = jnp.array([2, 1])
    return lax.dynamic_update_slice, (normal(1603, 5, 7), normal(1604, 2, 3), start)


@case
def gather():
    import jax.numpy as jnp

    return lambda x, i: x[i, :, 1], (normal(1605, 5, 3, 2), jnp.array([4, 0, 4]))


@case
def scatter():
    import jax.numpy as jnp

    args = (normal(1606, 5, 3), normal(1607, 2, 3), jnp.array([3, 0]))
    return lambda x, y, i: x.at[i].set(y), args


@case
@named("scatter-add")
def scatter_add():
    import jax.numpy as jnp

    repeated = jnp.array([3, 0, 3])
    return lambda x, y, i: x.at[i].add(y), (normal(1608, 5, 3), normal(1609, 3, 3), repeated)


@case
@named("scatter-sub")
def scatter_sub():
    import jax.numpy as jnp

    repeated = jnp.array([3, 0, 3])
    return lambda x, y, i: x.at[i].subtract(y), (normal(1610, 5, 3), normal(1611, 3, 3), repeated)


@case
@named("scatter-mul")
def scatter_mul():
    # the gradient is refused unless the indices are said to be unique
    import jax.numpy as jnp

    def multiplied(x, y, i):
        return x.at[i].multiply(y, unique_indices=True)

    return multiplied, (normal(1612, 5, 3), normal(1613, 2, 3), jnp.array([3, 0]))


@case
@named("scatter-min")
def scatter_min():
    import jax.numpy as jnp

    repeated = jnp.array([3, 0, 3])
    return lambda x, y, i: x.at[i].min(y), (normal(1614, 5, 3), normal(1615, 3, 3), repeated)


@case
@named("scatter-max")
def scatter_max():
    import jax.numpy as jnp

    repeated = jnp.array([3, 0, 3])
    return lambda x, y, i: x.at[i].max(y), (normal(1616, 5, 3), normal(1617, 3, 3), repeated)


# --- Fourier transforms ---------------------------------------------------------------------------


@case
def fft():
    import jax.numpy as jnp
    from jax import lax

    return lambda x, y: jnp.fft.fft(lax.complex(x, y)), (normal(1701, 3, 5), normal(1702, 3, 5))


@case
def fft__rfft():
    import jax.numpy as jnp

    return lambda x: jnp.fft.rfft2(x), (normal(1703, 3, 5),)


@case
def fft__irfft():
    import jax.numpy as jnp
    from jax import lax

    args = (normal(1704, 3, 4), normal(1705, 3, 4))
    return lambda x, y: jnp.fft.irfft(lax.complex(x, y), 6), args


# --- programs in programs -------------------------------------------------------------------------


@case
def cond():
    import jax.numpy as jnp
    from jax import lax

    def either(is_sine, x, y):
        return lax.cond(is_sine, lambda x, y: jnp.sin(x) * y, lambda x, y: x + jnp.exp(y), x, y)

    return either, (jnp.array(True), normal(1801, 5), normal(1802, 5))


@case
def scan():
    import jax.numpy as jnp
    from jax import lax

    def recurrent(w, h, xs):
        return lax.scan(lambda h, x: (jnp.tanh(w * h + x), h * x), h, xs)

    return recurrent, (normal(1803, 3), normal(1804, 3), normal(1805, 5, 3))


@case
def jit():
    import jax
    import jax.numpy as jnp

    return jax.jit(lambda x, y: (jnp.sin(x) * y, x)), (normal(1806, 5), normal(1807, 5))


@case
@named("remat2")
def checkpoint():
    import jax
    import jax.numpy as jnp

    return jax.checkpoint(lambda x, y: jnp.sin(jnp.exp(x) * y)), (normal(1808, 5), normal(1809, 5))


@case
def name():
    import jax.numpy as jnp
    from jax.ad_checkpoint import checkpoint_name

    return lambda x: jnp.sin(checkpoint_name(jnp.exp(x), "e")), (normal(1810, 5),)


@case
def optimization_barrier():
    from jax import lax

    return lambda x, y: lax.optimization_barrier((x, y)), (normal(1811, 5), normal(1812, 3))


@case
def linear_call():
    import jax
    import jax.numpy as jnp

    def scaled(x, y):
        scale = lambda scale, y: scale * y
        return jax.custom_derivatives.linear_call(scale, scale, jnp.array(3.0, x.dtype), x) * y

    return scaled, (normal(1815, 5), normal(1816, 5))


# --- mutable arrays -------------------------------------------------------------------------------


@case
def get():
    import jax

    return lambda x: jax.new_ref(x)[1:3], (normal(1901, 5, 3),)


@case
def swap():
    import jax

    def replaced(x, y):
        ref = jax.new_ref(x)
        return jax.ref.swap(ref, 1, y), ref[...]

    return replaced, (normal(1902, 5, 3), normal(1903, 3))


@case
def addupdate():
    import jax

    def added(x, y):
        ref = jax.new_ref(x)
        jax.ref.addupdate(ref, 1, y)
        return jax.freeze(ref)

    return added, (normal(1904, 5, 3), normal(1905, 3))


# --- devices --------------------------------------------------------------------------------------


@case
def device_put():
    import jax

    return lambda x: jax.device_put(x, jax.devices()[0]), (normal(1911, 5, 3),)


@case
def compute_on():
    import jax
    import jax.numpy as jnp
    from jax.experimental.compute_on import compute_on

    space = jax.memory.Space.Device
    on_host = compute_on(compute_type="device_host", out_memory_spaces=space)
    return jax.jit(on_host(lambda x, y: jnp.sin(x) * y)), (normal(1912, 5), normal(1913, 5))


@case
def xla_metadata_value():
    import jax.numpy as jnp
    from jax.experimental.xla_metadata import set_xla_metadata

    return lambda x: set_xla_metadata(jnp.sin(x), cost="low"), (normal(1914, 5),)


@case
def f_flat():
    # the rule of an exported function; it takes float32 alone
    import jax
    import jax.numpy as jnp
    from jax import export

    def scaled(x, y):
        return jnp.sin(x) * y

    args = (normal(1915, 5), normal(1916, 5))
    return export.export(jax.jit(scaled))(*args).call, args, {"reference": scaled}


# --- collectives, on a mesh of one device ---------------------------------------------------------


def sharded(function: Callable[..., Any], *, is_whole: bool = False) -> Callable[..., Any]:
    """Return a function split over the rows of its argument; or its result is whole."""
    import jax
    from jax.sharding import AxisType, PartitionSpec

    mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
    rows, out = PartitionSpec("i"), PartitionSpec() if is_whole else PartitionSpec("i")
    return jax.shard_map(function, mesh=mesh, in_specs=rows, out_specs=out)


@case
def psum_invariant():
    from jax import lax

    return sharded(lambda x: lax.psum(x, "i"), is_whole=True), (normal(1921, 4, 3),)


@case
def all_gather():
    from jax import lax

    return sharded(lambda x: lax.all_gather(x, "i")), (normal(1922, 4, 3),)


@case
def ppermute():
    from jax import lax

    return sharded(lambda x: lax.ppermute(x, "i", [(0, 0)])), (normal(1923, 4, 3),)


@case
def reduce_scatter():
    from jax import lax

    return sharded(lambda x: lax.psum_scatter(x, "i", tiled=True)), (normal(1924, 4, 3),)


@case
def all_to_all():
    from jax import lax

    return sharded(lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True)), (normal(1925, 4, 3),)


@case
def pvary():
    import jax.numpy as jnp
    from jax import lax

    return sharded(lambda x: x * lax.psum(jnp.sin(x), "i")), (normal(1926, 4, 3),)
