"""Hand-written rules of OTT."""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "ott-jax"
CASES: list[Case] = []
case = collector(CASES)


@case
def norm():
    from ott.math import utils

    return utils.norm, (normal(0, 5),)


@case
def norm__rows():
    from ott.math import utils

    return lambda x: utils.norm(x, 3, 1, True), (normal(1, 5, 3),)


@case
def norm__euclidean():
    import jax
    from ott.geometry import costs

    return jax.vmap(costs.Euclidean()), (normal(2, 5, 3), normal(3, 5, 3))


@case
def logsumexp():
    from ott.math import utils

    return lambda x: utils.logsumexp(x, 1), (normal(4, 5, 3),)


@case
def logsumexp__weighted():
    from ott.math import utils

    def fun(x, b):
        return utils.logsumexp(x, 1, b=b)

    return fun, (normal(5, 5, 3), uniform(6, 0.5, 1.5, 5, 3))


@case
def logsumexp__sign():
    from ott.math import utils

    # The weights have both signs; the logarithm is that of the absolute value.
    def fun(x, b):
        return utils.logsumexp(x, 1, b=b, return_sign=True)[0]

    return fun, (normal(7, 5, 3), normal(8, 5, 3))


@case
def softmin():
    from ott.math import utils

    return lambda x: utils.softmin(x, 0.7, 1), (normal(9, 5, 3),)


@case
def softmin__gamma():
    import jax.numpy as jnp
    from ott.math import utils

    # The rule returns None for `gamma`, which says that it has no gradient.
    return lambda x, gamma: utils.softmin(x, gamma), (normal(10, 5), jnp.asarray(0.7))


@case
def lambertw():
    from ott.math import utils

    return utils.lambertw, (uniform(11, 0.1, 3, 5),)


@case
def sqrtm():
    import jax.numpy as jnp
    from ott.math import matrix_square_root

    def fun(a):
        return matrix_square_root.sqrtm(a @ a.T + jnp.eye(3))[:2]

    return fun, (normal(12, 3, 3),), {"rtol": 1e-4, "atol": 1e-4}


@case
def sqrtm_only():
    import jax.numpy as jnp
    from ott.math import matrix_square_root

    def fun(a):
        return matrix_square_root.sqrtm_only(a @ a.T + jnp.eye(3))

    return fun, (normal(13, 3, 3),), {"rtol": 1e-4, "atol": 1e-4}


@case
def inv_sqrtm_only():
    import jax.numpy as jnp
    from ott.math import matrix_square_root

    def fun(a):
        return matrix_square_root.inv_sqrtm_only(a @ a.T + jnp.eye(3))

    return fun, (normal(14, 3, 3),), {"rtol": 1e-4, "atol": 1e-4}


@case
def sqrtm__bures():
    import jax.numpy as jnp
    from ott.geometry import costs

    # The distance of Bures between two normal distributions.
    def fun(mean, a):
        cost = costs.Bures(3)
        x = costs.mean_and_cov_to_x(mean, a @ a.T + jnp.eye(3), 3)
        return cost(x, costs.mean_and_cov_to_x(jnp.zeros(3), jnp.eye(3), 3))

    return fun, (normal(15, 3), normal(16, 3, 3)), {"rtol": 1e-4, "atol": 1e-4}


@case
def fixpoint_iter():
    """Call `fixpoint_iter_backprop`, which has the name of the function it was made from."""
    import jax.numpy as jnp
    from ott.math import fixed_point_loop

    def fun(w, y):
        step = lambda i, w, state, last: 0.5 * jnp.tanh(w @ state) + 0.3
        return fixed_point_loop.fixpoint_iter_backprop(lambda *_: True, step, 6, 6, 2, w, y)

    return fun, (normal(17, 3, 3), normal(18, 3))


@case
def fixpoint_iter__until():
    import jax.numpy as jnp
    from ott.math import fixed_point_loop

    def fun(w, y):
        step = lambda i, w, state, last: 0.5 * jnp.tanh(w @ state) + 0.3
        return fixed_point_loop.fixpoint_iter_backprop(
            lambda i, w, state: i < 6, step, 0, 20, 2, w, y
        )

    return fun, (normal(19, 3, 3), normal(20, 3))


@case
def fixpoint_iter__sinkhorn():
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    # The iterations are differentiated.
    def fun(x, y):
        geometry = pointcloud.PointCloud(x, y, epsilon=0.5)
        solver = sinkhorn.Sinkhorn(
            implicit_diff=None, use_danskin=False, min_iterations=30, max_iterations=30
        )
        return solver(linear_problem.LinearProblem(geometry)).reg_ot_cost

    return fun, (normal(21, 5, 2), normal(22, 3, 2)), {"rtol": 1e-4, "atol": 1e-4}


@case
def iterations():
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import implicit_differentiation, sinkhorn

    # The transport plan, by the implicit function theorem.
    def fun(x, y):
        geometry = pointcloud.PointCloud(x, y, epsilon=0.5)
        solver = sinkhorn.Sinkhorn(
            threshold=1e-6,
            max_iterations=2000,
            implicit_diff=implicit_differentiation.ImplicitDiff(),
        )
        return solver(linear_problem.LinearProblem(geometry)).matrix

    return fun, (normal(23, 5, 2), normal(24, 3, 2)), {"rtol": 1e-3, "atol": 1e-4}


@case
def iterations__weights():
    import jax
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    def fun(cost, a, b):
        problem = linear_problem.LinearProblem(
            geometry.Geometry(cost, epsilon=0.5), jax.nn.softmax(a), jax.nn.softmax(b)
        )
        solver = sinkhorn.Sinkhorn(threshold=1e-6, max_iterations=2000)
        return solver(problem).reg_ot_cost

    args = uniform(25, 0, 2, 5, 3), normal(26, 5), normal(27, 3)
    return fun, args, {"rtol": 1e-3, "atol": 1e-4}


@case
def fn():
    from ott.geometry import costs, regularizers

    def fun(z):
        return costs.RegTICost(regularizers.L1(), lam=0.7).h_legendre(z)

    return fun, (normal(28, 5),)


@case
def fn__map():
    from ott.geometry import costs, regularizers

    def fun(z):
        return costs.RegTICost(regularizers.SqL2(), lam=0.7, rho=1.3).h_legendre(z)

    return fun, (normal(29, 5),)


@case
def _semidiscrete_loss():
    import jax.numpy as jnp
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem
    from ott.solvers.linear.semidiscrete import _semidiscrete_loss

    # Only `g` has a gradient, on purpose: the problem gets none.
    cloud = pointcloud.PointCloud(normal(30, 5, 2), normal(31, 3, 2), epsilon=0.5)
    problem = linear_problem.LinearProblem(cloud, b=jnp.asarray([0.2, 0.5, 0.3]))
    return lambda g: _semidiscrete_loss(g, problem), (normal(32, 3),)
