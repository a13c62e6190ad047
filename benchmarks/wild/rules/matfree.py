"""Hand-written rules of matfree."""

from ..cases.arrays import normal
from . import Case, collector

PACKAGE = "matfree"
CASES: list[Case] = []
case = collector(CASES)


@case
def _estimate__hessenberg():
    from matfree import decomp

    def fun(a, v):
        return tuple(decomp.hessenberg(3, reortho="full")(lambda x, a: a @ x, v, a))

    return fun, (normal(0, 5, 5), normal(1, 5))


@case
def _estimate__hessenberg_once():
    from matfree import decomp

    def fun(a, v):
        return tuple(decomp.hessenberg(3, reortho="none")(lambda x, a: a @ x, v, a))

    return fun, (normal(2, 5, 5), normal(3, 5))


@case
def _estimate__tridiagonal():
    from matfree import decomp

    def fun(a, v):
        matvec = lambda x, a: (a + a.T) @ x
        return tuple(decomp.tridiag_sym(3, reortho="none")(matvec, v, a))

    return fun, (normal(4, 5, 5), normal(5, 5))


@case
def _estimate__quadratic_form():
    import jax.numpy as jnp
    from matfree import decomp

    # Lanczos' estimate of a quadratic form, that of the logarithm of a matrix.
    def fun(a, v):
        tridiagonal = decomp.tridiag_sym(3, reortho="full")
        matrix = tridiagonal(lambda x, a: a @ (a.T @ x) + x, v, a)[1]
        values, vectors = jnp.linalg.eigh(matrix)
        return jnp.sum(v**2) * jnp.sum(jnp.log(values) * vectors[0] ** 2)

    return fun, (normal(6, 5, 5), normal(7, 5))


@case
def _run__tall():
    from matfree import lstsq

    def fun(a, b):
        return lstsq.lsmr(atol=1e-6, btol=1e-6)(lambda x: a.T @ x, b)[0]

    return fun, (normal(8, 5, 3), normal(9, 5)), {"rtol": 1e-4, "atol": 1e-4}


@case
def _run__wide():
    from matfree import lstsq

    def fun(a, b):
        return lstsq.lsmr(atol=1e-6, btol=1e-6)(lambda x: a.T @ x, b)[0]

    return fun, (normal(10, 3, 5), normal(11, 3)), {"rtol": 1e-4, "atol": 1e-4}


@case
def _run__damped():
    import jax.numpy as jnp
    from matfree import lstsq

    def fun(a, b, damp):
        return lstsq.lsmr(atol=1e-6, btol=1e-6)(lambda x: a.T @ x, b, damp=damp)[0]

    args = normal(12, 5, 3), normal(13, 5), jnp.asarray(0.7)
    return fun, args, {"rtol": 1e-4, "atol": 1e-4}


@case
def _run__damped_wide():
    import jax.numpy as jnp
    from matfree import lstsq

    def fun(a, b, damp):
        return lstsq.lsmr(atol=1e-6, btol=1e-6)(lambda x: a.T @ x, b, damp=damp)[0]

    args = normal(14, 3, 5), normal(15, 3), jnp.asarray(0.7)
    return fun, args, {"rtol": 1e-4, "atol": 1e-4}
