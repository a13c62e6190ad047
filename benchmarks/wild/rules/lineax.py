"""Hand-written rules of lineax."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "lineax"
CASES: list[Case] = []
case = collector(CASES)


@case
def linear_solve__lu():
    import jax.numpy as jnp
    import lineax as lx

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=lx.LU()).value

    return fun, (normal(0, 5, 5) + 4 * jnp.eye(5), normal(1, 5))


@case
def linear_solve__qr_tall():
    import lineax as lx

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=lx.QR()).value

    return fun, (normal(2, 5, 3), normal(3, 5))


@case
def linear_solve__qr_wide():
    import lineax as lx

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=lx.QR()).value

    return fun, (normal(4, 3, 5), normal(5, 3))


@case
def linear_solve__svd_tall():
    import lineax as lx

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=lx.SVD()).value

    return fun, (normal(6, 5, 3), normal(7, 5))


@case
def linear_solve__svd_wide():
    import lineax as lx

    def fun(a, b):
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=lx.SVD()).value

    return fun, (normal(8, 3, 5), normal(9, 3))


@case
def linear_solve__svd_of_rank_2():
    import lineax as lx

    # The pseudoinverse is smooth where the rank is constant.
    def fun(u, v, b):
        operator = lx.MatrixLinearOperator(u @ v)
        return lx.linear_solve(operator, b, solver=lx.SVD(rcond=1e-3)).value

    return fun, (normal(10, 5, 2), normal(11, 2, 3), normal(12, 5))


@case
def linear_solve__cholesky():
    import jax.numpy as jnp
    import lineax as lx

    def fun(a, b):
        operator = lx.MatrixLinearOperator(a @ a.T + jnp.eye(5), lx.positive_semidefinite_tag)
        return lx.linear_solve(operator, b, solver=lx.Cholesky()).value

    return fun, (normal(13, 5, 5), normal(14, 5))


@case
def linear_solve__triangular():
    import jax.numpy as jnp
    import lineax as lx

    def fun(a, b):
        operator = lx.MatrixLinearOperator(jnp.tril(a), lx.lower_triangular_tag)
        return lx.linear_solve(operator, b, solver=lx.Triangular()).value

    return fun, (normal(15, 5, 5) + 3 * jnp.eye(5), normal(16, 5))


@case
def linear_solve__tridiagonal():
    import lineax as lx

    def fun(diagonal, lower, upper, b):
        operator = lx.TridiagonalLinearOperator(diagonal, lower, upper)
        return lx.linear_solve(operator, b, solver=lx.Tridiagonal()).value

    args = uniform(17, 3, 4, 5), normal(18, 4), normal(19, 4), normal(20, 5)
    return fun, args


@case
def linear_solve__diagonal():
    import lineax as lx

    def fun(diagonal, b):
        operator = lx.DiagonalLinearOperator(diagonal)
        return lx.linear_solve(operator, b, solver=lx.Diagonal()).value

    return fun, (uniform(21, 1, 2, 5), normal(22, 5))


@case
def linear_solve__cg():
    import jax.numpy as jnp
    import lineax as lx

    def fun(a, b):
        operator = lx.MatrixLinearOperator(a @ a.T + jnp.eye(5), lx.positive_semidefinite_tag)
        return lx.linear_solve(operator, b, solver=lx.CG(rtol=1e-6, atol=1e-6)).value

    return fun, (normal(23, 5, 5), normal(24, 5)), {"rtol": 1e-5, "atol": 1e-5}


@case
def linear_solve__normal_cg():
    import lineax as lx

    def fun(a, b):
        solver = lx.Normal(lx.CG(rtol=1e-6, atol=1e-6))
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=solver).value

    return fun, (normal(25, 5, 3), normal(26, 5)), {"rtol": 1e-4, "atol": 1e-4}


@case
def linear_solve__gmres():
    import jax.numpy as jnp
    import lineax as lx

    def fun(a, b):
        solver = lx.GMRES(rtol=1e-6, atol=1e-6)
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=solver).value

    args = normal(27, 5, 5) + 6 * jnp.eye(5), normal(28, 5)
    return fun, args, {"rtol": 1e-5, "atol": 1e-5}


@case
def linear_solve__lsmr():
    import lineax as lx

    def fun(a, b):
        solver = lx.LSMR(rtol=1e-6, atol=1e-6)
        return lx.linear_solve(lx.MatrixLinearOperator(a), b, solver=solver).value

    return fun, (normal(31, 5, 3), normal(32, 5)), {"rtol": 1e-4, "atol": 1e-4}


@case
def linear_solve__jacobian():
    import jax.numpy as jnp
    import lineax as lx

    # One step of Newton's method.
    def fun(x, w):
        operator = lx.JacobianLinearOperator(lambda y, _: jnp.tanh(w @ y) + 2 * y, x)
        return lx.linear_solve(operator, jnp.sin(x), solver=lx.AutoLinearSolver(True)).value

    return fun, (normal(33, 3), 0.3 * normal(34, 3, 3))


@case
def _asarray():
    import jax.numpy as jnp
    import lineax as lx

    def fun(diagonal, x):
        return lx.DiagonalLinearOperator(diagonal).mv(jnp.sin(x))

    return fun, (normal(35, 5), normal(36, 5))


@case
def _two_norm():
    import lineax.internal as lxi

    return lxi.two_norm, (normal(37, 5, 3),)


@case
def _two_norm__tree():
    import lineax.internal as lxi

    return lambda x, y: lxi.rms_norm({"x": x, "y": (y,)}), (normal(38, 5), normal(39, 3, 2))


@case
def _zero_grad_at_zero():
    import lineax.internal as lxi

    return lambda x, y: lxi.max_norm((x, y)), (normal(40, 5), normal(41, 3))
