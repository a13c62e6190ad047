"""Hand-written rules of TensorCircuit-NG."""

from ..cases.arrays import normal, positive_definite
from . import Case, collector

PACKAGE = "tensorcircuit-ng"
CASES: list[Case] = []
case = collector(CASES)


@case
def adaware_svd():
    from tensorcircuit.backends.jax_ops import adaware_svd

    # The signs of a pair of singular vectors are arbitrary, their product is not.
    def fun(a, w):
        u, s, vh = adaware_svd(a)
        return s, (u * w) @ vh

    return fun, (normal(0, 5, 3), normal(1, 3))


@case
def adaware_svd__wide():
    from tensorcircuit.backends.jax_ops import adaware_svd

    def fun(a, w):
        u, s, vh = adaware_svd(a)
        return s, (u * w) @ vh

    return fun, (normal(2, 3, 5), normal(3, 3))


@case
def adaware_svd__complex():
    from tensorcircuit.backends.jax_ops import adaware_svd

    def fun(x, y, w):
        u, s, vh = adaware_svd(x + 1j * y)
        product = (u * w) @ vh
        return s, product.real, product.imag

    return fun, (normal(4, 5, 3), normal(5, 5, 3), normal(6, 3))


@case
def adaware_qr():
    from tensorcircuit.backends.jax_ops import adaware_qr

    return adaware_qr, (normal(7, 5, 3),)


@case
def adaware_qr__wide():
    from tensorcircuit.backends.jax_ops import adaware_qr

    return adaware_qr, (normal(8, 3, 5),)


@case
def adaware_qr__complex():
    from tensorcircuit.backends.jax_ops import adaware_qr

    def fun(x, y):
        q, r = adaware_qr(x + 1j * y)
        return q.real, q.imag, r.real, r.imag

    return fun, (normal(9, 5, 3), normal(10, 5, 3))


@case
def adaware_eigh():
    from tensorcircuit.backends.jax_ops import adaware_eigh

    # The sign of an eigenvector is arbitrary.
    def fun(a, w):
        values, vectors = adaware_eigh((a + a.T) / 2)
        return values, (vectors * w) @ vectors.T

    return fun, (normal(11, 5, 5), normal(12, 5))


@case
def adaware_eigh__complex():
    from tensorcircuit.backends.jax_ops import adaware_eigh

    def fun(x, y, w):
        a = x + 1j * y
        values, vectors = adaware_eigh((a + a.conj().T) / 2)
        product = (vectors * w) @ vectors.conj().T
        return values, product.real, product.imag

    return fun, (normal(13, 3, 3), normal(14, 3, 3), normal(15, 3))


@case
def modified_bessel_ive_jax():
    import jax.numpy as jnp
    from tensorcircuit.backends.jax_ops import modified_bessel_ive_jax

    return lambda x: modified_bessel_ive_jax(4, x, 20), (jnp.asarray(1.7),)


@case
def bessel_jv_jax_rescaled():
    import jax.numpy as jnp
    from tensorcircuit.backends.jax_ops import bessel_jv_jax_rescaled

    return lambda x: bessel_jv_jax_rescaled(4, x, 20), (jnp.asarray(1.7),)


@case
def _projected_exponential():
    import jax.numpy as jnp
    from tensorcircuit.tnalg.krylov import _projected_exponential

    # Lanczos' method makes the matrix, which is symmetric.
    def fun(a, c):
        return _projected_exponential((a + a.T) / 2, c)

    return fun, (normal(16, 5, 5), jnp.asarray(-0.3))


@case
def _exponential_with_continuation():
    import jax.numpy as jnp
    from tensorcircuit.tnalg.krylov import expm_action_hermitian

    def fun(a, v, c):
        return expm_action_hermitian(lambda x: (a + a.T) @ x, v, c, 4)[0]

    return fun, (normal(17, 5, 5), normal(18, 5), jnp.asarray(-0.3))


@case
def _eigenpair_with_response():
    import jax.numpy as jnp
    from tensorcircuit.tnalg.krylov import lowest_eigenvector_hermitian

    def fun(a, v):
        matvec = lambda x: (a + a.T) @ x / 2
        vector, value = lowest_eigenvector_hermitian(matvec, v, 4, return_report=False)
        return jnp.outer(vector, vector), value

    return fun, (positive_definite(19, 5), normal(20, 5))
