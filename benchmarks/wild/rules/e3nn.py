"""Hand-written rules of e3nn-jax."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "e3nn-jax"
CASES: list[Case] = []
case = collector(CASES)


@case
def _custom_jvp_spherical_harmonics():
    import e3nn_jax as e3nn

    def fun(x):
        return e3nn.spherical_harmonics("0e + 1o + 2e + 3o", x, normalize=False).array

    return fun, (normal(0, 2, 3),)


@case
def _custom_jvp_spherical_harmonics__norm():
    import e3nn_jax as e3nn

    def fun(x):
        return e3nn.spherical_harmonics("2e + 4e", x, normalize=True, normalization="norm").array

    return fun, (normal(0, 2, 3),)


@case
def _custom_jvp_spherical_harmonics__legendre():
    import e3nn_jax as e3nn

    algorithm = ("legendre", "sparse", "custom_jvp")

    def fun(x):
        return e3nn.spherical_harmonics(
            "1o + 5o", x, normalize=False, normalization="component", algorithm=algorithm
        ).array

    return fun, (normal(0, 2, 3),)


@case
def einsum():
    import e3nn_jax as e3nn
    from e3nn_jax.legacy import FunctionalTensorProduct

    left, right, out = e3nn.Irreps("2x0e + 1o"), e3nn.Irreps("0e + 2x1o"), e3nn.Irreps("0e + 1o")
    product = FunctionalTensorProduct(
        left,
        right,
        out,
        [(0, 0, 0, "uvw", True), (0, 1, 1, "uvw", True), (1, 0, 1, "uvw", True)],
    )
    shapes = [i.path_shape for i in product.instructions]

    def fun(weights, x, y):
        x, y = e3nn.IrrepsArray(left, x), e3nn.IrrepsArray(right, y)
        return product.left_right(weights, x, y, custom_einsum_jvp=True).array

    weights = [normal(i, *shape) for i, shape in enumerate(shapes)]
    return fun, (weights, normal(7, left.dim), normal(8, right.dim))
