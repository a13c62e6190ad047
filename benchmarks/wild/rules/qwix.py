"""Hand-written rules of Qwix.

The functions round to few bits where they are told to, and the rules pass straight through the
rounding, on purpose.
"""

import jax.numpy as jnp

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "qwix"
CASES: list[Case] = []
case = collector(CASES)

BATCHED = (((2,), (1,)), ((0,), (0,)))
MATRICES = (((1,), (0,)), ((), ()))
IMAGES = ("NHWC", "HWIO", "NHWC")


@case
def dot_general_qt_fwd_bwd():
    from qwix._src.core import dot_general_qt

    # No rounding.
    config = dot_general_qt.DotGeneralQtConfig()
    return (
        lambda x, y: dot_general_qt.dot_general_qt(x, y, BATCHED, config),
        (normal(0, 2, 5, 3), normal(1, 2, 3, 7)),
    )


@case
def dot_general_qt_fwd_bwd__int8():
    from qwix._src.core import dot_general_qt

    config = dot_general_qt.DotGeneralQtConfig(lhs_qtype=jnp.int8, rhs_qtype=jnp.int8)
    return (
        lambda x, y: dot_general_qt.dot_general_qt(x, y, MATRICES, config),
        (normal(0, 5, 3), normal(1, 3, 7)),
    )


@case
def conv_general_qt():
    from qwix._src.core import conv_general_qt

    # No rounding.
    config = conv_general_qt.ConvGeneralQtConfig()

    def fun(x, y):
        return conv_general_qt.conv_general_qt(
            x, y, config, (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=IMAGES
        )

    return fun, (normal(0, 1, 5, 7, 2), normal(1, 3, 2, 2, 3))


@case
def conv_general_qt__int8():
    from qwix._src.core import conv_general_qt

    config = conv_general_qt.ConvGeneralQtConfig(lhs_qtype=jnp.int8, rhs_qtype=jnp.int8)

    def fun(x, y):
        return conv_general_qt.conv_general_qt(
            x, y, config, (1, 1), "VALID", dimension_numbers=IMAGES
        )

    return fun, (normal(0, 1, 5, 3, 2), normal(1, 3, 2, 2, 3))


@case
def ragged_dot_qt():
    from qwix._src.core import ragged_dot_qt

    config = ragged_dot_qt.RaggedDotQtConfig(lhs_qtype=jnp.int8, rhs_qtype=jnp.int8)
    sizes = jnp.array([3, 2])
    return (
        lambda x, y: ragged_dot_qt.ragged_dot_qt(x, y, sizes, config),
        (normal(0, 5, 3), normal(1, 2, 3, 7)),
    )
