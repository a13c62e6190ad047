"""Hand-written rules of jaxopt.

The solvers share one rule, the implicit function theorem, under the name `solver_fun_flat`.
"""

from ..cases.arrays import normal, uniform
from . import Case, collector

PACKAGE = "jaxopt"
CASES: list[Case] = []
case = collector(CASES)
# The solvers stop at 1e-6, in float32.
ACCURACY = {"rtol": 1e-4, "atol": 1e-4}


@case
def _projection_unit_simplex():
    import jaxopt

    return jaxopt.projection.projection_simplex, (normal(0, 5),)


@case
def _projection_unit_simplex__l1_ball():
    import jaxopt

    return lambda x: jaxopt.projection.projection_l1_ball(x, 0.7), (normal(1, 5),)


@case
def _projection_unit_simplex__sparsemax_loss():
    import jax.numpy as jnp
    import jaxopt

    loss = jaxopt.loss.multiclass_sparsemax_loss
    return lambda x: loss(jnp.asarray(2), x), (normal(2, 5),)


@case
def _projection_unit_sparse_simplex():
    import jaxopt

    return lambda x: jaxopt.projection.projection_sparse_simplex(x, 3), (normal(3, 7),)


@case
def _isotonic_l2_pav():
    import jaxopt

    return jaxopt.isotonic.isotonic_l2_pav, (normal(4, 7),)


@case
def forward_pert__argmax():
    import jax
    import jax.numpy as jnp
    from jaxopt._src.perturbations import make_perturbed_argmax

    # The gradient is a random estimate of that of the expected value, on purpose: the function
    # itself is a mean of steps.
    perturbed = make_perturbed_argmax(lambda x: jax.nn.one_hot(jnp.argmax(x), 5), 50, sigma=0.5)
    return lambda x: perturbed(x, jax.random.key(0)), (normal(5, 5),)


@case
def forward_pert__max():
    import jax
    import jax.numpy as jnp
    from jaxopt._src.perturbations import make_perturbed_max

    # The second derivative is a random estimate on purpose.
    perturbed = make_perturbed_max(lambda x: jax.nn.one_hot(jnp.argmax(x), 5), 50, sigma=0.5)
    return lambda x: perturbed(x, jax.random.key(0)), (normal(6, 5),)


@case
def forward_pert__fun():
    import jax
    import jax.numpy as jnp
    from jaxopt._src.perturbations import make_perturbed_fun

    # The gradient is a random estimate on purpose.
    perturbed = make_perturbed_fun(lambda x: jnp.sum(jax.nn.relu(x)), 50, sigma=0.5)
    return lambda x: perturbed(x, jax.random.key(0)), (normal(7, 5),)


def _ridge(w, data, penalty):
    """Return the loss of ridge regression."""
    import jax.numpy as jnp

    x, y = data
    return 0.5 * jnp.mean((x @ w - y) ** 2) + 0.5 * penalty * jnp.sum(w**2)


def _regression():
    """Return inputs, targets and a penalty."""
    import jax.numpy as jnp

    return normal(8, 7, 3), normal(9, 7), jnp.asarray(0.3)


@case
def solver_fun_flat__gradient_descent():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        solver = jaxopt.GradientDescent(_ridge, tol=1e-6, maxiter=500)
        return solver.run(jnp.zeros(3), (x, y), penalty).params

    return fun, _regression(), ACCURACY


@case
def solver_fun_flat__lbfgs():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        solver = jaxopt.LBFGS(_ridge, tol=1e-6, maxiter=100)
        return solver.run(jnp.zeros(3), (x, y), penalty).params

    return fun, _regression(), ACCURACY


@case
def solver_fun_flat__bfgs():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        solver = jaxopt.BFGS(_ridge, tol=1e-6, maxiter=100)
        return solver.run(jnp.zeros(3), (x, y), penalty).params

    return fun, _regression(), ACCURACY


@case
def solver_fun_flat__nonlinear_cg():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        solver = jaxopt.NonlinearCG(_ridge, tol=1e-6, maxiter=200)
        return solver.run(jnp.zeros(3), (x, y), penalty).params

    return fun, _regression(), ACCURACY


@case
def solver_fun_flat__lasso():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        loss = lambda w, data: 0.5 * jnp.mean((data[0] @ w - data[1]) ** 2)
        prox = jaxopt.prox.prox_lasso
        solver = jaxopt.ProximalGradient(loss, prox, tol=1e-6, maxiter=500)
        return solver.run(jnp.zeros(3), penalty, (x, y)).params

    x, y, _ = _regression()
    return fun, (x, y, jnp.asarray(0.1)), ACCURACY


@case
def solver_fun_flat__projected_gradient():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y):
        loss = lambda w, data: 0.5 * jnp.mean((data[0] @ w - data[1]) ** 2)
        projection = jaxopt.projection.projection_non_negative
        solver = jaxopt.ProjectedGradient(loss, projection, tol=1e-6, maxiter=500)
        return solver.run(jnp.ones(3), data=(x, y)).params

    return fun, _regression()[:2], ACCURACY


@case
def solver_fun_flat__block_coordinate_descent():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y, penalty):
        objective = jaxopt.objective.least_squares
        solver = jaxopt.BlockCoordinateDescent(
            objective, jaxopt.prox.prox_elastic_net, tol=1e-6, maxiter=500
        )
        return solver.run(jnp.zeros(3), (penalty, 1.0), (x, y)).params

    x, y, _ = _regression()
    return fun, (x, y, jnp.asarray(0.1)), ACCURACY


@case
def solver_fun_flat__fixed_point():
    import jax.numpy as jnp
    import jaxopt

    def fun(w, b):
        step = lambda y, w, b: 0.5 * jnp.tanh(w @ y + b)
        solver = jaxopt.FixedPointIteration(step, tol=1e-6, maxiter=200)
        return solver.run(jnp.zeros(3), w, b).params

    return fun, (0.5 * normal(10, 3, 3), normal(11, 3)), ACCURACY


@case
def solver_fun_flat__anderson():
    import jax.numpy as jnp
    import jaxopt

    def fun(w, b):
        step = lambda y, w, b: 0.5 * jnp.tanh(w @ y + b)
        solver = jaxopt.AndersonAcceleration(step, tol=1e-6, maxiter=100)
        return solver.run(jnp.zeros(3), w, b).params

    return fun, (0.5 * normal(12, 3, 3), normal(13, 3)), ACCURACY


@case
def solver_fun_flat__broyden():
    import jax.numpy as jnp
    import jaxopt

    def fun(w, b):
        residual = lambda y, w, b: 2 * y + jnp.tanh(w @ y) - b
        solver = jaxopt.Broyden(residual, tol=1e-6, maxiter=100)
        return solver.run(jnp.zeros(3), w, b).params

    return fun, (0.5 * normal(14, 3, 3), normal(15, 3)), ACCURACY


@case
def solver_fun_flat__bisection():
    import jax.numpy as jnp
    import jaxopt

    def fun(a):
        residual = lambda y, a: y + jnp.exp(a * y) - 2
        solver = jaxopt.Bisection(residual, -3.0, 3.0, tol=1e-6, maxiter=60, check_bracket=False)
        return solver.run(a=a).params

    return fun, (jnp.asarray(0.7),), ACCURACY


@case
def solver_fun_flat__box_section():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, w):
        bounds = -jnp.ones(5), jnp.ones(5)
        return jaxopt.projection.projection_box_section(x, (*bounds, w, jnp.asarray(0.4)))

    return fun, (normal(16, 5), uniform(17, 0.5, 1.5, 5)), ACCURACY


@case
def solver_fun_flat__gauss_newton():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y):
        residuals = lambda p, x, y: p[0] * jnp.tanh(p[1] * x) - y
        solver = jaxopt.GaussNewton(residuals, tol=1e-6, maxiter=100)
        return solver.run(jnp.ones(2), x, y).params

    x = normal(18, 7)
    return fun, (x, 1.5 * jnp.tanh(0.8 * x) + 0.1 * normal(19, 7)), ACCURACY


@case
def solver_fun_flat__levenberg_marquardt():
    import jax.numpy as jnp
    import jaxopt

    def fun(x, y):
        residuals = lambda p, x, y: p[0] * jnp.tanh(p[1] * x) - y
        solver = jaxopt.LevenbergMarquardt(residuals, tol=1e-6, maxiter=100)
        return solver.run(jnp.ones(2), x, y).params

    x = normal(20, 7)
    return fun, (x, 1.5 * jnp.tanh(0.8 * x) + 0.1 * normal(21, 7)), ACCURACY


@case
def solver_fun_flat__equality_qp():
    import jax.numpy as jnp
    import jaxopt

    def fun(q, c, a, b):
        solver = jaxopt.EqualityConstrainedQP(tol=1e-6)
        objective = q @ q.T + jnp.eye(5), c
        return solver.run(params_obj=objective, params_eq=(a, b)).params.primal

    args = normal(22, 5, 5), normal(23, 5), normal(24, 2, 5), normal(25, 2)
    return fun, args, ACCURACY


@case
def solver_fun_flat__affine_set():
    import jaxopt

    def fun(x, a, b):
        return jaxopt.projection.projection_affine_set(x, (a, b))

    return fun, (normal(26, 5), normal(27, 2, 5), normal(28, 2)), ACCURACY


@case
def solver_fun_flat__osqp():
    import jax.numpy as jnp
    import jaxopt

    # At the solution, one of the inequalities is active.
    def fun(q, c, a, b, g, h):
        solver = jaxopt.OSQP(tol=1e-6, maxiter=4000)
        objective = q @ q.T + jnp.eye(3), c
        constraints = {"params_eq": (a, b), "params_ineq": (g, h)}
        return solver.run(params_obj=objective, **constraints).params.primal

    args = normal(29, 3, 3), normal(30, 3), normal(31, 1, 3), normal(32, 1)
    return fun, (*args, -jnp.eye(3)[:2], jnp.asarray([0.1, 5.0])), ACCURACY


@case
def solver_fun_flat__box_cd_qp():
    import jax.numpy as jnp
    import jaxopt

    def fun(q, c):
        solver = jaxopt.BoxCDQP(tol=1e-6, maxiter=200)
        objective = q @ q.T + jnp.eye(3), c
        bounds = jnp.zeros(3), jnp.ones(3)
        return solver.run(jnp.zeros(3), params_obj=objective, params_ineq=bounds).params

    return fun, (normal(33, 3, 3), normal(34, 3)), ACCURACY
