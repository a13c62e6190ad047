"""Forward mode from hand-written backward rules, which `jax.custom_vjp` does not support.

A rule gives the pullback `dx = Jᵀ dy`, a linear map of dy. JAX can transpose a linear map from its
program, and the transpose of the pullback is `ẏ = J ẋ`: the derivative along ẋ, computed by the
hand-written rule.

Limitations:

- `lax.while_loop`, and `fori_loop` with bounds that are not constants, have no reverse mode, and
  therefore no forward mode here (ValueError).
- A backward rule must be linear in its cotangent, so it may not clip it. JAX must be able to
  transpose it, so it may not call back to Python (TypeError).
- The constant c of an affine rule, `dx = Jᵀ dy + c`, is silently lost: the result is `J ẋ`.
  `fcjax.check_rule` reports such a rule.
"""

from .derivative import jvp as jvp, linearize as linearize
from .jacobian import jacfwd as jacfwd
from .products import gauss_newton_product as gauss_newton_product, hvp as hvp
