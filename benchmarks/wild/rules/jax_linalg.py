"""Hand-written rules of the linear algebra of JAX.

`__wrapped__` is a function without its `jit`, which calls a rule only when it is traced first.
"""

from ..cases.arrays import normal, positive_definite
from . import Case, collector

PACKAGE = "jax"
CASES: list[Case] = []
case = collector(CASES)


# --- decompositions -------------------------------------------------------------------------------


@case
def cholesky():
    import jax.numpy as jnp

    return lambda a: jnp.linalg.cholesky(a + a.T), (positive_definite(3001, 4),)


@case
def eigh():
    # the sign of an eigenvector is free: its square is not
    import jax.numpy as jnp

    def squares(a):
        values, vectors = jnp.linalg.eigh(a + a.T)
        return values, vectors**2

    return squares, (normal(3002, 4, 4),)


@case
def eig():
    # the scale of an eigenvector is free: the sine of a matrix, V sin(D) V⁻¹, is not
    import jax.numpy as jnp
    from jax import lax

    def sine(a):
        values, vectors = lax.linalg.eig(
            a, compute_left_eigenvectors=False, enable_eigvec_derivs=True
        )
        return jnp.real(vectors * jnp.sin(values) @ jnp.linalg.inv(vectors))

    return sine, (normal(3003, 4, 4),)


@case
def svd():
    # the signs of the singular vectors are free: those of their products are not
    import jax.numpy as jnp

    def products(a):
        u, s, vh = jnp.linalg.svd(a, full_matrices=False)
        return s, u**2, u * s**2 @ vh

    return products, (normal(3004, 5, 3),)


@case
def svd__wide():
    import jax.numpy as jnp

    def products(a):
        u, s, vh = jnp.linalg.svd(a, full_matrices=False)
        return s, vh**2, u * s**2 @ vh

    return products, (normal(3005, 3, 5),)


@case
def svd__values():
    import jax.numpy as jnp

    return lambda a: jnp.linalg.svd(a, compute_uv=False), (normal(3006, 5, 3),)


@case
def qr():
    import jax.numpy as jnp

    return jnp.linalg.qr, (normal(3007, 5, 3),)


@case
def lu():
    from jax import lax

    return lambda a: lax.linalg.lu(a)[0], (normal(3008, 4, 4),)


@case
def lu__tall():
    from jax import lax

    return lambda a: lax.linalg.lu(a)[0], (normal(3009, 5, 3),)


@case
def lu__wide():
    from jax import lax

    return lambda a: lax.linalg.lu(a)[0], (normal(3010, 3, 5),)


# --- linear equations -----------------------------------------------------------------------------


@case
def triangular_solve():
    # the entries above the diagonal are not used
    import jax.numpy as jnp
    from jax import lax

    def solved(a, b):
        return lax.linalg.triangular_solve(a + 3 * jnp.eye(4), b, lower=True, transpose_a=True)

    return solved, (normal(3101, 4, 4), normal(3102, 3, 4))


@case
def triangular_solve__left():
    # the diagonal and the entries below it are not used
    from jax import lax

    def solved(a, b):
        return lax.linalg.triangular_solve(a, b, left_side=True, unit_diagonal=True)

    return solved, (normal(3103, 4, 4), normal(3104, 4, 3))


@case
def tridiagonal_solve():
    # the first entry of the lower and the last of the upper diagonal are not used
    from jax import lax

    args = (normal(3105, 5), normal(3106, 5) + 5, normal(3107, 5), normal(3108, 5, 3))
    return lax.linalg.tridiagonal_solve, args


@case
def custom_linear_solve():
    import jax.numpy as jnp

    return jnp.linalg.solve, (positive_definite(3109, 4), normal(3110, 4, 3))


@case
def custom_linear_solve__cg():
    import jax

    def solved(a, b):
        return jax.scipy.sparse.linalg.cg(lambda x: (a + a.T) @ x, b, tol=1e-7)[0]

    return solved, (positive_definite(3111, 4), normal(3112, 4)), {"rtol": 1e-5}


@case
def _pinv():
    import jax.numpy as jnp

    return jnp.linalg.pinv, (normal(3113, 5, 3),)


@case
def _pinv__wide():
    import jax.numpy as jnp

    return jnp.linalg.pinv, (normal(3114, 3, 5),)


@case
def _pinv__hermitian():
    import jax.numpy as jnp

    return lambda a: jnp.linalg.pinv(a, hermitian=True), (normal(3115, 4, 4),)


# --- determinants ---------------------------------------------------------------------------------


@case
def _det():
    import jax.numpy as jnp

    return jnp.linalg.det.__wrapped__, (normal(3201, 2, 4, 4),)


@case
def _det_2x2():
    import jax.numpy as jnp

    return jnp.linalg.det.__wrapped__, (normal(3202, 5, 2, 2),)


@case
def _det_3x3():
    import jax.numpy as jnp

    return jnp.linalg.det.__wrapped__, (normal(3203, 5, 3, 3),)


@case
def _slogdet_small():
    import jax.numpy as jnp

    return jnp.linalg.slogdet.__wrapped__, (normal(3204, 5, 2, 2),)


@case
def _slogdet_lu():
    import jax.numpy as jnp

    return jnp.linalg.slogdet.__wrapped__, (normal(3205, 2, 4, 4),)


@case
def _slogdet_qr():
    import jax.numpy as jnp

    return lambda a: jnp.linalg.slogdet.__wrapped__(a, method="qr"), (normal(3206, 2, 4, 4),)
