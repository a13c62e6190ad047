"""Forward mode from hand-written backward rules, which `jax.custom_vjp` itself refuses.

A rule gives the pullback `dx = Jᵀ dy`, a linear map of dy. JAX finds the transpose of a linear map
from its program, and the transpose of the pullback is `ẏ = J ẋ`: the derivative along ẋ, computed
by the hand-written rule.

The limits of this:

- `lax.while_loop`, and `fori_loop` with bounds that are not constants, have no reverse mode and so
  no forward mode here (ValueError).
- A backward rule must be linear in its cotangent, unlike one that clips it, and JAX must be able to
  transpose it, unlike one that calls back to Python (TypeError).
- The constant c of an affine rule, `dx = Jᵀ dy + c`, is lost: the result is `J ẋ`, and no error is
  raised. `fcjax.check_rule` reports such a rule.
"""

from .derivative import jvp as jvp, linearize as linearize
from .jacobian import jacfwd as jacfwd
from .products import gauss_newton_product as gauss_newton_product, hvp as hvp
