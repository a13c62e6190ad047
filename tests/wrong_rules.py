"""Wrong hand-written rules, to measure what `fcjax.check_rule` catches.

Each rule is wrong in one way, and names the check that must find it, the argument that must be
reported and, where there is a known pattern, a part of the hint. The mistakes are real ones: of
textbooks, of hand-written rules in general, and of public bug reports, rebuilt here in small
functions of our own. Where a report is cited, `source` says what it reports.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from correct_rules import cholesky_by_lapack, partitioned_sine
from flax import nnx
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental import pallas as pl


class WrongRule(NamedTuple):
    """A rule that must fail `check`, for `argument`.

    `argument` is None where the fault is of no single one. `hint` is a lowercase part of the hint
    to expect, `culprit` the name of the wrong rule inside a composition. Without a `reference`,
    the undecorated function is the oracle.
    """

    name: str
    rule: Callable[..., Any]
    args: tuple
    check: str
    argument: str | None
    source: str
    hint: str | None = None
    reference: Callable[..., Any] | None = None
    kwargs: Mapping[str, Any] = {}
    kinks: Mapping[str, Mapping[float, float]] | None = None
    culprit: str | None = None


WRONG_RULES: list[WrongRule] = []

COMMON = "a common mistake of hand-written rules"
TEXTBOOK = "a public tutorial on the backward pass: "
CONSTRUCTED = "constructed: "


def vjp_of(primal, fwd=None, nondiff=()):
    """Decorate a backward rule: what results is `primal` with that rule.

    Without `fwd`, the residuals are the arguments.
    """

    def keep_arguments(*args):
        return primal(*args), tuple(arg for i, arg in enumerate(args) if i not in nondiff)

    def decorate(bwd):
        rule = jax.custom_vjp(primal, nondiff_argnums=nondiff)
        rule.defvjp(fwd or keep_arguments, bwd)
        return rule

    return decorate


def wrong(primal, args, check, argument=None, *, source, fwd=None, nondiff=(), **more):
    """Decorate a wrong backward rule of `primal`, and enter it in the table by its own name."""

    def decorate(bwd):
        rule = vjp_of(primal, fwd, nondiff)(bwd)
        enter(bwd.__name__, rule, args, check, argument, source=source, **more)
        return rule

    return decorate


def enter(name, rule, args, check, argument=None, *, source, **more):
    WRONG_RULES.append(WrongRule(name, rule, args, check, argument, source, **more))


def wrong_function(args, check, argument=None, *, source, **more):
    """Enter a function that contains a wrong rule, or that is one already."""

    def decorate(function):
        enter(function.__name__, function, args, check, argument, source=source, **more)
        return function

    return decorate


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def uniform(*shape, low=0.1, high=0.9, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def integers(*shape, below, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, below, shape).astype(np.int32)


def scalar(value):
    return np.array(value, np.float32)


# --- dense layers -----------------------------------------------------------------------------


def dense(x, w, b):
    return x @ w + b


DENSE = (normal(5, 3), normal(3, 7), normal(7))
SQUARE = (normal(5, 3), normal(3, 3), normal(3))


@wrong(dense, DENSE, "vjp", "b", hint="1/5", source=COMMON)
def bias_averaged(kept, dZ):
    # db is the mean over examples, not the sum
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, dZ.mean(0)


@wrong(dense, DENSE, "vjp", "b", hint="sum over examples", source=COMMON)
def bias_of_first_example(kept, dZ):
    # db is that of the first example alone
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, dZ[0]


@wrong(dense, DENSE, "vjp", "b", hint="zero", source=COMMON)
def bias_without_gradient(kept, dZ):
    # None stands for zeros in JAX
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, None


@wrong(dense, DENSE, "exact", "x", source=CONSTRUCTED + "a scale that is divided out again")
def input_scaled_and_unscaled(kept, dZ):
    # right but for a rounding error, where none has to be
    x, w, _ = kept
    return (dZ / 3) @ w.T * 3, x.T @ dZ, dZ.sum(0)


@wrong(dense, SQUARE, "vjp", "x", source=COMMON)
def input_by_untransposed_weights(kept, dZ):
    # dX = dZ W has the right shape where W is square
    x, w, _ = kept
    return dZ @ w, x.T @ dZ, dZ.sum(0)


@wrong(dense, SQUARE, "vjp", "w", hint="transposed", source=COMMON)
def weights_transposed(kept, dZ):
    # dW = dZᵀ X has the right shape where W is square
    x, w, _ = kept
    return dZ @ w.T, dZ.T @ x, dZ.sum(0)


@wrong(dense, DENSE, "vjp", "w", hint="1/5", source=COMMON)
def weights_averaged(kept, dZ):
    # the 1/m belongs to the loss
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ / len(x), dZ.sum(0)


@wrong(dense, DENSE, "structure", "b", source=COMMON)
def bias_unsummed(kept, dZ):
    # db has a row for each example
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, dZ


def scaled_dense(x, w, scale):
    return scale * (x @ w)


LARGE = (normal(61, 127), normal(127, 31), scalar(0.7))


@wrong(scaled_dense, LARGE, "vjp", "scale", hint="factor", source=COMMON)
def scale_halved(kept, dY):
    # one number out of thousands, hidden beside a large product
    x, w, scale = kept
    return scale * dY @ w.T, scale * x.T @ dY, 0.5 * jnp.sum(dY * (x @ w))


def affine(params, x):
    return {"z": x @ params["w"] + params["b"], "norm": jnp.sum(params["w"] ** 2)}


AFFINE = ({"w": normal(3, 7), "b": normal(7)}, normal(5, 3))


@wrong(
    affine,
    AFFINE,
    "vjp",
    "params['w']",
    source=CONSTRUCTED + "the cotangent of a second output, a weight decay, is left out",
)
def weight_decay_dropped(kept, dY):
    params, x = kept
    dW = x.T @ dY["z"]
    return {"w": dW, "b": dY["z"].sum(0)}, dY["z"] @ params["w"].T


@wrong(
    affine,
    AFFINE,
    "structure",
    source=CONSTRUCTED + "parameters are a dict, their gradients a tuple",
)
def gradients_in_another_tree(kept, dY):
    params, x = kept
    dW = x.T @ dY["z"] + 2 * dY["norm"] * params["w"]
    return (dW, dY["z"].sum(0)), dY["z"] @ params["w"].T


@wrong(
    dense,
    (normal(5, 2, 3), normal(3, 7), normal(7)),
    "structure",
    "b",
    source="ooples/AiDotNet.Tensors#234: the bias gradient sums axis 0 only, at rank 3 too",
)
def bias_summed_over_one_axis(kept, dZ):
    x, w, _ = kept
    return dZ @ w.T, jnp.einsum("abi,abj->ij", x, dZ), dZ.sum(0)


def values_and_norm(x, w):
    return x @ w, jnp.sum(w**2)


def values_and_norm_fwd(x, w):
    x, w = x.value, w.value
    return values_and_norm(x, w), (x, w)


def bwd_without_check(kept, dY):
    # an output that nobody uses has a symbolic zero for its cotangent, taken for a one here
    x, w = kept
    is_unused = [isinstance(d, jax.custom_derivatives.SymbolicZero) for d in dY]
    dZ = jnp.zeros((x.shape[0], w.shape[1]), x.dtype) if is_unused[0] else dY[0]
    norm = jnp.ones((), x.dtype) if is_unused[1] else dY[1]
    return dZ @ w.T, x.T @ dZ + 2 * norm * w


symbolic_zero_taken_for_one = jax.custom_vjp(values_and_norm)
symbolic_zero_taken_for_one.defvjp(values_and_norm_fwd, bwd_without_check, symbolic_zeros=True)
enter(
    "symbolic_zero_taken_for_one",
    symbolic_zero_taken_for_one,
    (normal(5, 3), normal(3, 7)),
    "partial_use",
    "w",
    source=CONSTRUCTED + "an output's symbolic zero is mistaken",
)


def product(x, mask):
    return x * mask


@wrong(
    product,
    (normal(5, 3), normal(5, 1)),
    "structure",
    "mask",
    source="deeplearning4j/nd4j#2424: the gradient of what was broadcast is not summed back",
)
def broadcast_not_summed(kept, dY):
    x, mask = kept
    return dY * mask, dY * x


@wrong(
    product,
    (normal(5, 3), normal(5, 3, seed=1)),
    "structure",
    source="huawei-noah/AdderNet#21: backward returns one gradient, the function has two arguments",
)
def second_gradient_missing(kept, dY):
    _, mask = kept
    return (dY * mask,)


@wrong_function((normal(5, 3), normal(3, 7)), "structure", source=COMMON)
def closed_over_weights(x, w):
    # the rule knows nothing of w, which its function closes over
    def layer(x):
        return jnp.tanh(x @ w)

    @vjp_of(layer, lambda x: (layer(x), x))
    def rule(x, dA):
        return ((dA * (1 - layer(x) ** 2)) @ w.T,)

    return rule(x)


def two_layers(x, w1, b1, w2, b2):
    return jax.nn.sigmoid(x @ w1 + b1) @ w2 + b2


TWO_LAYERS = (normal(5, 3), normal(3, 11), normal(11), normal(11, 2), normal(2))


def hidden(x, w1, b1):
    return jax.nn.sigmoid(x @ w1 + b1)


@wrong(
    two_layers,
    TWO_LAYERS,
    "structure",
    "b2",
    source=TEXTBOOK + "∂f/∂b₂ = ∂f/∂Y_pred for a batch: the sum over examples is missing",
)
def textbook_output_bias(kept, dY):
    x, w1, b1, w2, _ = kept
    h = hidden(x, w1, b1)
    dZ = (dY @ w2.T) * h * (1 - h)
    return dZ @ w1.T, x.T @ dZ, dZ.sum(0), h.T @ dY, dY


@wrong(
    two_layers,
    TWO_LAYERS,
    "vjp",
    "w1",
    source=TEXTBOOK + "∂f/∂W₁ = Xᵀ ∂f/∂h: the derivative of the sigmoid is missing",
)
def textbook_hidden_weights(kept, dY):
    x, w1, b1, w2, _ = kept
    h = hidden(x, w1, b1)
    dH = dY @ w2.T
    dZ = dH * h * (1 - h)
    return dZ @ w1.T, x.T @ dH, dZ.sum(0), h.T @ dY, dY.sum(0)


# --- losses -----------------------------------------------------------------------------------


def negative_log_likelihoods(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)[:, 0]


def cross_entropy(logits, labels):
    return negative_log_likelihoods(logits, labels).mean()


def excess(logits, labels):
    """Softmax minus one-hot: the gradient of each example's loss by its logits."""
    return jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


CLASSIFIED = (normal(5, 7), integers(5, below=7))


@wrong(cross_entropy, CLASSIFIED, "vjp", "logits", hint="1/5", source=COMMON)
def mean_without_division(kept, dL):
    return dL * excess(*kept), None


@wrong(cross_entropy, CLASSIFIED, "zero_cotangent", "logits", hint="ignored", source=COMMON)
def loss_ignores_cotangent(kept, dL):
    # right as long as the loss is the last thing computed
    return excess(*kept) / len(kept[0]), None


@wrong(negative_log_likelihoods, CLASSIFIED, "vjp", "logits", source=COMMON)
def each_loss_by_first_cotangent(kept, dL):
    # reduction="none", and each example gets the first one's cotangent
    return dL[0] * excess(*kept), None


def masked_mean(losses, mask):
    return jnp.sum(losses * mask) / jnp.sum(mask)


@wrong(
    masked_mean,
    (normal(7), np.array([1, 0, 1, 1, 0, 1, 0], bool)),
    "vjp",
    "losses",
    hint="factor",
    source=COMMON,
)
def masked_mean_over_all(kept, dL):
    # divided by the number of examples, not by that of the unmasked ones
    losses, mask = kept
    return dL * mask.astype(losses.dtype) / len(losses), None


def cross_entropy_with_z_loss(logits, labels):
    z = jax.nn.logsumexp(logits, axis=-1)
    return cross_entropy(logits, labels) + 1e-4 * jnp.mean(z**2)


@wrong(cross_entropy_with_z_loss, CLASSIFIED, "vjp", "logits", source=COMMON)
def z_loss_dropped(kept, dL):
    # a term of size 1e-4 is left out
    return dL * excess(*kept) / len(kept[0]), None


def soft_cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits)) / len(logits)


@wrong(
    soft_cross_entropy, (normal(5, 7), uniform(5, 7)), "vjp", "targets", hint="zero", source=COMMON
)
def soft_labels_without_gradient(kept, dL):
    logits, targets = kept
    p = jax.nn.softmax(logits)
    dlogits = p * jnp.sum(targets, -1, keepdims=True) - targets
    return dL * dlogits / len(logits), jnp.zeros_like(targets)


def mean_over_positions(pred, target):
    return jnp.sum((pred - target) ** 2) / (pred.shape[0] * pred.shape[1])


@wrong(
    mean_over_positions,
    (normal(5, 11, 3), normal(5, 11, 3, seed=1)),
    "vjp",
    "pred",
    hint="11",
    source=COMMON,
)
def mean_over_first_axis(kept, dL):
    # 1/x.shape[0], where there are two batch dimensions; the target's gradient is right
    pred, target = kept
    dpred = 2 * dL * (pred - target) / pred.shape[0]
    return dpred, -dpred / pred.shape[1]


def binary_cross_entropy(a, y):
    return -(y * jnp.log(a) + (1 - y) * jnp.log(1 - a))


@wrong(
    binary_cross_entropy,
    (uniform(5, 3), uniform(5, 3, seed=1)),
    "vjp",
    "a",
    hint="sign",
    source=TEXTBOOK + "dA = y/a − (1−y)/(1−a), and the loss is negated already",
)
def textbook_cross_entropy(kept, dL):
    a, y = kept
    return dL * (y / a - (1 - y) / (1 - a)), dL * (jnp.log(1 - a) - jnp.log(a))


def distance(s, y):
    return jnp.sum((s - y) ** 2)


@wrong(
    distance,
    (normal(5, 3), normal(5, 3, seed=1)),
    "vjp",
    "y",
    hint="sign",
    source=TEXTBOOK + "∂f/∂Y = 2(S − Y) for f = ‖S − Y‖²",
)
def textbook_target(kept, dL):
    s, y = kept
    return 2 * dL * (s - y), 2 * dL * (s - y)


def squared_error(y_pred, y):
    return jnp.sum((y - y_pred) ** 2)


@wrong(
    squared_error,
    (normal(5, 3), normal(5, 3, seed=1)),
    "vjp",
    "y_pred",
    hint="sign",
    source=TEXTBOOK + "∂f/∂Y_pred = 2(Y − Y_pred) for f = ‖Y − Y_pred‖²",
)
def textbook_prediction(kept, dL):
    y_pred, y = kept
    return 2 * dL * (y - y_pred), 2 * dL * (y - y_pred)


def reduced_cross_entropy(logits, labels, reduction="mean"):
    losses = negative_log_likelihoods(logits, labels)
    return losses.mean() if reduction == "mean" else losses.sum()


@wrong(
    reduced_cross_entropy,
    CLASSIFIED,
    "vjp",
    "logits",
    nondiff=(2,),
    kwargs={"reduction": "sum"},
    hint="1/5",
    source="paiml/aprender#2182: backward divides by the batch whatever the reduction",
)
def sum_divided_by_batch(reduction, kept, dL):
    return dL * excess(*kept) / len(kept[0]), None


def linear_losses(x, w, labels):
    return negative_log_likelihoods(x @ w, labels)


@wrong(
    linear_losses,
    (normal(5, 3), normal(3, 7), integers(5, below=7)),
    "vjp",
    "w",
    source="linkedin/Liger-Kernel#1298: with reduction='none' the weight gradient is summed in the "
    "forward pass and then multiplied by the first token's cotangent",
)
def fused_weights_by_first_cotangent(kept, dL):
    x, w, labels = kept
    dlogits = excess(x @ w, labels)
    return dL[:, None] * dlogits @ w.T, dL[0] * x.T @ dlogits, None


def smooth_l1(pred, target, beta=0.5):
    d = jnp.abs(pred - target)
    return jnp.where(d < beta, 0.5 * d**2 / beta, d - 0.5 * beta)


@wrong(
    smooth_l1,
    (normal(5, 3), normal(5, 3) + 0.4 * normal(5, 3, seed=1)),
    "vjp",
    "pred",
    nondiff=(2,),
    kwargs={"beta": 0.5},
    source="pytorch/pytorch#44433: since the loss divides by beta, its derivative has to",
)
def smooth_l1_without_beta(beta, kept, dL):
    d = kept[0] - kept[1]
    dtarget = -dL * jnp.clip(d / beta, -1, 1)
    return dL * jnp.where(jnp.abs(d) < beta, d, jnp.sign(d)), dtarget


def cross_entropy_and_accuracy(logits, labels):
    hits = jnp.argmax(logits, -1) == labels
    return {"loss": cross_entropy(logits, labels), "hits": jnp.sum(hits, dtype=jnp.int32)}


@wrong(
    cross_entropy_and_accuracy,
    CLASSIFIED,
    "vjp",
    "logits",
    source=CONSTRUCTED + "the one-hot is subtracted from the wrong class, shifted by one",
)
def labels_off_by_one(kept, dL):
    logits, labels = kept
    return dL["loss"] * excess(logits, (labels + 1) % logits.shape[-1]) / len(logits), None


# --- activations ------------------------------------------------------------------------------


def gelu(z):
    return 0.5 * z * (1 + lax.erf(z / np.sqrt(2)))


@wrong(gelu, (normal(5, 3),), "vjp", "z", source=COMMON)
def gelu_by_tanh_derivative(kept, dA):
    # the function is the exact one, the derivative that of the approximation
    (z,) = kept
    c = float(np.sqrt(2 / np.pi))
    t = jnp.tanh(c * (z + 0.044715 * z**3))
    slope = 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * c * (1 + 3 * 0.044715 * z**2)
    return (dA * slope,)


def softmax(z):
    e = jnp.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@wrong(softmax, (normal(5, 7),), "vjp", "z", source=COMMON)
def softmax_diagonal(kept, dA):
    # the diagonal of the Jacobian alone
    a = softmax(*kept)
    return (dA * a * (1 - a),)


def sine_product(x, y):
    return jnp.sin(x) * y


@wrong(
    sine_product,
    (normal(5, 3), normal(5, 3, seed=1)),
    "vjp",
    "y",
    hint="sign",
    source="jax-ml/jax#3213: the example in the documentation has −sin(x) for the derivative by y",
)
def sign_of_documentation(kept, dF):
    x, y = kept
    return dF * jnp.cos(x) * y, -dF * jnp.sin(x)


def prelu(x, alpha):
    return jnp.where(x > 0, x, alpha * x)


@wrong(
    prelu,
    (normal(5, 3), np.array([0.3, -0.4, 0.2], np.float32)),
    "vjp",
    "alpha",
    source="PaddlePaddle/Paddle#12538: alpha's gradient asks for the sign of the output, which is "
    "not the input's where alpha is negative",
)
def slope_by_sign_of_output(kept, dA):
    x, alpha = kept
    dalpha = jnp.sum(jnp.where(prelu(x, alpha) > 0, 0, x) * dA, 0)
    return dA * jnp.where(x > 0, 1, alpha), dalpha


def swiglu(gate, up):
    return gate * jax.nn.sigmoid(gate) * up


@wrong(
    swiglu,
    (normal(5, 7), normal(5, 7, seed=1)),
    "vjp",
    "up",
    source="ByteDance-Seed/Triton-distributed#180: the output pointers are not moved, so that all "
    "rows' gradients are stored in row 0",
)
def rows_stored_in_row_zero(kept, dA):
    gate, up = kept
    s = jax.nn.sigmoid(gate)
    dgate, dup = dA * up * s * (1 + gate * (1 - s)), dA * gate * s
    return jnp.zeros_like(gate).at[0].set(dgate[-1]), jnp.zeros_like(up).at[0].set(dup[-1])


def tanh_scaled(z, temperature):
    return jnp.tanh(z / temperature)


@wrong(
    tanh_scaled,
    (normal(5, 3), scalar(1.7)),
    "vjp",
    "temperature",
    hint="sign",
    source=CONSTRUCTED + "the derivative of 1/t lost its sign; the argument is a scalar",
)
def temperature_of_wrong_sign(kept, dA):
    z, t = kept
    dZ = dA * (1 - jnp.tanh(z / t) ** 2) / t
    return dZ, jnp.sum(dZ * z) / t


def leaky_relu(z, slope=0.1):
    return jnp.where(z > 0, z, slope * z)


@wrong(
    leaky_relu,
    (normal(5, 3),),
    "vjp",
    "z",
    nondiff=(1,),
    kwargs={"slope": 0.3},
    source=CONSTRUCTED + "the backward rule has the default of an option in it, not its value",
)
def option_ignored(slope, kept, dA):
    (z,) = kept
    return (dA * jnp.where(z > 0, 1, 0.1),)


# --- norms and attention ----------------------------------------------------------------------


def rms_norm(x, scale):
    return scale * x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)


def through_rms(x, dN, eps=1e-5):
    """Gradient of x/rms(x) by x."""
    inverse = lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + eps)
    n = x * inverse
    return inverse * (dN - n * jnp.mean(dN * n, -1, keepdims=True))


NORMED = (normal(5, 7), normal(7))


@wrong(rms_norm, NORMED, "vjp", "x", source=COMMON)
def other_eps_backward(kept, dY):
    # 1e-5 forward and 1e-3 backward
    x, scale = kept
    return through_rms(x, dY * scale, 1e-3), jnp.sum(dY * rms_norm(x, 1), 0)


@wrong(
    rms_norm,
    NORMED,
    "vjp",
    "x",
    source="karpathy/llm.c#763: a reader finds that his backward forgot to multiply by the weight",
)
def norm_forgets_weight(kept, dY):
    x, _ = kept
    return through_rms(x, dY), jnp.sum(dY * rms_norm(x, 1), 0)


@wrong(
    rms_norm,
    NORMED,
    "vjp",
    "scale",
    hint="zero",
    source="unslothai/unsloth#4550: backward returns None for the weight, also when it is trained",
)
def norm_weight_without_gradient(kept, dY):
    x, scale = kept
    return through_rms(x, dY * scale), None


def add_and_norm(x, residual, scale):
    """Return the normed sum, and the sum for the next block."""
    total = x + residual
    return rms_norm(total, scale), total


@wrong(
    add_and_norm,
    (normal(5, 7), normal(5, 7, seed=1), normal(7)),
    "vjp",
    "x",
    source="Dao-AILab/quack#53: the residual's cotangent is added before the norm's derivative "
    "instead of after",
)
def residual_added_before_norm(kept, dYs):
    x, residual, scale = kept
    dY, dtotal = dYs
    dX = through_rms(x + residual, dY * scale + dtotal)
    return dX, dX, jnp.sum(dY * rms_norm(x + residual, 1), 0)


def normalize(x):
    return x / (jnp.sqrt(jnp.sum(x**2, -1, keepdims=True)) + 0.1)


@wrong(
    normalize,
    (normal(5, 3),),
    "vjp",
    "x",
    source="chainer/chainer#4190: NormalizeL2's backward is wrong unless eps is negligible",
)
def eps_neglected_backward(kept, dY):
    (x,) = kept
    norm = jnp.sqrt(jnp.sum(x**2, -1, keepdims=True))
    y = normalize(x)
    return ((dY - y * jnp.sum(dY * y, -1, keepdims=True)) / (norm + 0.1),)


def attention(q, k, v):
    """Return the outputs and the logsumexp of each query's scores."""
    scores = q @ k.T
    return softmax(scores) @ v, jax.nn.logsumexp(scores, -1)


ATTENTION = (normal(5, 3), normal(11, 3), normal(11, 2))


@wrong(
    attention,
    ATTENTION,
    "vjp",
    "q",
    source="Dao-AILab/flash-attention#141, #889: the logsumexp is returned, and nothing is "
    "propagated back through it",
)
def logsumexp_not_propagated(kept, dYs):
    q, k, v = kept
    dO, _ = dYs
    p = softmax(q @ k.T)
    dP = dO @ v.T
    dS = p * (dP - jnp.sum(dP * p, -1, keepdims=True))
    return dS @ k, dS.T @ q, p.T @ dO


def scaled_norms(x, x1, rowscale):
    """Two inputs normed in parallel, each row scaled."""
    return rms_norm(rowscale[0][:, None] * x, 1), rms_norm(rowscale[1][:, None] * x1, 1)


@wrong(
    scaled_norms,
    (normal(5, 7), normal(5, 7, seed=1), integers(2, 5, below=4) + 1),
    "vjp",
    "x1",
    source="state-spaces/mamba#1023: dx1 is written without the row scale that dx gets",
)
def second_input_unscaled(kept, dYs):
    x, x1, rowscale = kept
    r, r1 = rowscale.astype(x.dtype)[:, :, None]
    return r * through_rms(r * x, dYs[0]), through_rms(r1 * x1, dYs[1]), None


# --- indices, convolutions and dropout --------------------------------------------------------


def embed(table, index):
    return table[index]


EMBEDDED = (normal(7, 3), np.array([2, 5, 2, 0, 2], np.int32))


@wrong(
    embed,
    EMBEDDED,
    "vjp",
    "table",
    source="pytorch/pytorch#1631: gather's gradient of an index that repeats is the last one, "
    "not the sum",
)
def repeated_index_overwritten(kept, dY):
    table, index = kept
    return jnp.zeros_like(table).at[index].set(dY), None


def short_convolution(x, w):
    """Causal and depthwise: y[t] = Σ_k w[k] x[t − k]."""
    shifted = [jnp.pad(x, ((k, 0), (0, 0)))[: len(x)] for k in range(len(w))]
    return sum(w[k] * shifted[k] for k in range(len(w)))


@wrong(
    short_convolution,
    (normal(11, 2), normal(3, 2)),
    "vjp",
    "w",
    hint="row",
    source="fla-org/flash-linear-attention#388: in review, x is found to be loaded once and used "
    "at every filter position, without the shift in time",
)
def filter_gradient_without_shift(kept, dY):
    x, w = kept
    flipped = short_convolution(dY[::-1], w)[::-1]
    return flipped, jnp.broadcast_to(jnp.sum(dY * x, 0), w.shape)


def dropout(x, words):
    """Drop 2 of 5; `words` are those of a PRNG key."""
    mask = jax.random.bernoulli(jax.random.wrap_key_data(words), 0.6, x.shape)
    return jnp.where(mask, x / 0.6, 0)


SEED = np.array([3, 17], np.uint32)


@wrong(
    dropout,
    (normal(7, 5), SEED),
    "vjp",
    "x",
    source="pytorch/pytorch#190717: the mask is drawn again in the backward pass from another "
    "state of the generator",
)
def mask_drawn_anew(kept, dY):
    _, words = kept
    return dropout(dY, words + jnp.uint32(1)), None


@wrong(
    dropout,
    (np.maximum(normal(7, 5), 0), SEED),
    "vjp",
    "x",
    source="kaldi-asr/kaldi#3890: the mask is inferred as output / input, and an input of zero "
    "passes its cotangent on, dropped or not",
)
def mask_inferred_from_values(kept, dY):
    x, words = kept
    return jnp.where(x == 0, dY, dropout(x, words) / jnp.where(x == 0, 1, x) * dY), None


# --- what the forward rule returns ------------------------------------------------------------


def tanh(z):
    return jnp.tanh(z)


def tanh_enlarged(z):
    a = jnp.tanh(z)
    return 1.0005 * a, a


@wrong(tanh, (normal(5, 3),), "primal", source=COMMON, fwd=tanh_enlarged)
def primal_off_by_little(a, dA):
    # the forward rule's value is 1.0005 times the function's
    return (dA * (1 - a**2),)


def standardize(x):
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)


def standardize_by_sample_variance(x):
    variance = jnp.var(x, -1, keepdims=True, ddof=1)
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(variance + 1e-5), (x,)


@wrong(
    standardize,
    (normal(5, 7),),
    "primal",
    source="lucidrains/triton-transformer#6: layernorm's forward differs from the reference by "
    "a factor in each row, its backward does not",
    fwd=standardize_by_sample_variance,
)
def forward_by_another_variance(kept, dY):
    (x,) = kept
    centred = x - x.mean(-1, keepdims=True)
    dcentred = through_rms(centred, dY)
    return (dcentred - dcentred.mean(-1, keepdims=True),)


def rms_norm_with_offset(x, scale):
    return rms_norm(x, 1 + scale)


@wrong(
    rms_norm,
    NORMED,
    "primal",
    reference=rms_norm_with_offset,
    source="linkedin/Liger-Kernel#74: the model that is patched has (1 + weight), the kernel has "
    "the weight",
)
def norm_without_offset(kept, dY):
    x, scale = kept
    return through_rms(x, dY * scale), jnp.sum(dY * rms_norm(x, 1), 0)


def one_array_of_two(q, k, v):
    out, lse = attention(q, k, v)
    return out, (q, k, v, lse)


@wrong(
    attention,
    ATTENTION,
    "structure",
    source="lucidrains/flash-attention-jax#7: the function returns several arrays, its forward "
    "rule only the first as its value",
    fwd=one_array_of_two,
)
def forward_returns_fewer(kept, dO):
    q, k, v, lse = kept
    p = jnp.exp(q @ k.T - lse[:, None])
    dP = dO @ v.T
    dS = p * (dP - jnp.sum(dP * p, -1, keepdims=True))
    return dS @ k, dS.T @ q, p.T @ dO


# --- dtypes and integers ----------------------------------------------------------------------


@wrong(dense, DENSE, "dtype", "w", source=COMMON)
def weights_in_bfloat16(kept, dZ):
    # JAX takes a bfloat16 cotangent for a float32 argument
    x, w, _ = kept
    return dZ @ w.T, (x.T @ dZ).astype(jnp.bfloat16), dZ.sum(0)


@wrong(
    tanh,
    (normal(5, 3).astype(jnp.bfloat16),),
    "dtype",
    "z",
    source="jax-ml/jax#27144: the backward pass returns float32 where the forward has bfloat16, "
    "and fails inside scan",
)
def wider_than_the_argument(kept, dA):
    (z,) = kept
    return ((dA * (1 - jnp.tanh(z) ** 2)).astype(jnp.float32),)


@wrong(
    embed,
    EMBEDDED,
    "integers",
    "index",
    source="jax-ml/jax#23779: what a rule returns for an integer argument is dropped unseen",
)
def gradient_of_indices(kept, dY):
    table, index = kept
    return jnp.zeros_like(table).at[index].add(dY), dY.sum(-1)


@wrong(
    cross_entropy,
    CLASSIFIED,
    "integers",
    "labels",
    source="jax-ml/jax#7652: rules have to return something for integer arguments, and nobody can "
    "be expected to know of float0",
)
def gradient_of_labels(kept, dL):
    logits, labels = kept
    return dL * excess(logits, labels) / len(logits), dL * negative_log_likelihoods(logits, labels)


# --- linear in the cotangent ------------------------------------------------------------------


@wrong(tanh, (normal(5, 3),), "zero_cotangent", "z", source=COMMON)
def something_added(kept, dA):
    (z,) = kept
    return (dA * (1 - jnp.tanh(z) ** 2) + 1e-3,)


def softmax_output(logits, labels):
    return softmax(logits)


@wrong(
    softmax_output,
    CLASSIFIED,
    "zero_cotangent",
    "logits",
    hint="ignored",
    source="dmlc/gluon-cv#1668: nothing that is computed after SoftmaxOutput changes its gradient",
)
def softmax_output_is_the_loss(kept, dP):
    return excess(*kept), None


@wrong(tanh, (normal(5, 3),), "linearity", "z", hint="linear", source=COMMON)
def cotangent_clipped(kept, dA):
    (z,) = kept
    return (jnp.clip(dA, -10, 10) * (1 - jnp.tanh(z) ** 2),)


def triple(x):
    return 3 * x


@wrong(
    triple,
    (normal(5, 3),),
    "linearity",
    "x",
    source="jax-ml/jax#2930: a rule that replaces NaN cotangents by zeros, to keep going",
)
def nan_hidden(kept, dY):
    return (3 * jnp.nan_to_num(dY),)


@wrong(
    dense,
    DENSE,
    "linearity",
    "w",
    hint="linear",
    source=CONSTRUCTED + "a weight gradient of norm above 1000 is scaled down",
)
def gradient_clipped_by_norm(kept, dZ):
    x, w, _ = kept
    dW = x.T @ dZ
    return dZ @ w.T, dW / jnp.maximum(1, jnp.sqrt(jnp.sum(dW**2)) / 1000), dZ.sum(0)


# --- far out, at zero and at kinks ------------------------------------------------------------


def log_sigmoid(z):
    return -jnp.logaddexp(0, -z)


@wrong(log_sigmoid, (normal(5, 3),), "finite", "z", source=COMMON)
def log_sigmoid_saturated(kept, dA):
    # ∞/∞ where exp(−z) overflows
    e = jnp.exp(-kept[0])
    return (dA * e / (1 + e),)


def steep_sigmoid(u):
    return jax.nn.sigmoid(25 * u)


@wrong(
    steep_sigmoid,
    (0.1 * normal(5, 3),),
    "finite",
    "u",
    source="jeshraghian/snntorch#433: e/(1 + e)² with e = exp(−25 u) is NaN a little below zero",
)
def surrogate_overflows(kept, dA):
    e = jnp.exp(-25 * kept[0])
    return (dA * 25 * e / (1 + e) ** 2,)


def row_products(x):
    return jnp.prod(x, -1)


@wrong(
    row_products,
    (normal(5, 3),),
    "finite",
    "x",
    source="tinygrad/tinygrad#17404: prod's gradient is output / input, NaN for an input of zero",
)
def product_over_input(kept, dY):
    (x,) = kept
    return (dY[:, None] * jnp.prod(x, -1, keepdims=True) / x,)


def power(x, y):
    return x**y


@wrong(
    power,
    (uniform(5, 3), uniform(5, 3, low=1, high=3)),
    "finite",
    "y",
    source="tinygrad/tinygrad#155: x^y log(x) is not guarded where the base is zero",
)
def logarithm_of_zero(kept, dP):
    x, y = kept
    return dP * y * x ** (y - 1), dP * x**y * jnp.log(x)


def row_norms(x):
    return jnp.sqrt(jnp.sum(x**2, -1))


def safe_row_norms(x):
    square = jnp.sum(x**2, -1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


@wrong(
    row_norms,
    (normal(5, 3),),
    "finite",
    "x",
    reference=safe_row_norms,
    source="ott-jax/ott#411: x / ‖x‖ is NaN at zero, where a gradient of zero is wanted",
)
def norm_at_zero(kept, dY):
    (x,) = kept
    return ((dY / row_norms(x))[:, None] * x,)


def relu(z):
    return jnp.maximum(z, 0)


@wrong(relu, (normal(5, 3),), "kinks", "z", kinks={"z": {0.0: 0.0}}, source=COMMON)
def relu_at_zero(kept, dA):
    # z ≥ 0 where the convention is z > 0
    return (jnp.where(kept[0] >= 0, dA, 0),)


def relu6(z):
    return jnp.clip(z, 0, 6)


@wrong(
    relu6,
    (3 * normal(5, 3),),
    "kinks",
    "z",
    kinks={"z": {0.0: 0.0, 6.0: 0.0}},
    source="jax-ml/jax#14682, tinygrad/tinygrad#18029: relu6 has the slope ½ at 6 instead of 0",
)
def relu6_at_ties(kept, dA):
    (z,) = kept
    inside, tie = (z > 0) & (z < 6), z == 6
    return (jnp.where(inside, dA, jnp.where(tie, 0.5 * dA, 0)),)


def hard_tanh(z):
    return jnp.clip(z, -1, 1)


@wrong(
    hard_tanh,
    (normal(5, 3),),
    "kinks",
    "z",
    kinks={"z": {-1.0: 0.0, 1.0: 0.0}},
    source="pytorch/pytorch#184574: clamp has the slope 1 at its bounds, hardtanh the slope 0",
)
def hard_tanh_at_bounds(kept, dA):
    return (jnp.where(jnp.abs(kept[0]) <= 1, dA, 0),)


# --- low precision ----------------------------------------------------------------------------

SOME_LARGE = normal(5, 3) + np.array([[95, 0, 0]], np.float32)


def softplus(z):
    return jnp.logaddexp(z, 0)


@wrong(
    softplus,
    (SOME_LARGE,),
    "precision",
    "z",
    source="tenstorrent/tt-metal#56397: softplus has the gradient 0 where exp overflows, above 88",
)
def softplus_tail(kept, dA):
    e = jnp.exp(kept[0])
    return (jnp.where(jnp.isinf(e), 0, dA * e / (1 + e)),)


def wide(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def unit_rows(x):
    v = wide(x)
    return (v * lax.rsqrt(jnp.sum(v**2, -1, keepdims=True) + 1e-8)).astype(x.dtype)


@wrong(
    unit_rows,
    (normal(5, 3) * np.array([[1], [1], [0], [1], [1]], np.float32),),
    "precision",
    "x",
    source="pytorch/pytorch#32137: normalize's eps is zero in half precision, and a row of zeros "
    "gives NaN",
)
def eps_lost_in_float16(kept, dY):
    (x,) = kept
    inverse = lax.rsqrt(jnp.sum(x**2, -1, keepdims=True) + jnp.asarray(1e-8, x.dtype))
    y = x * inverse
    return (inverse * (dY - y * jnp.sum(dY * y, -1, keepdims=True)),)


def scaled_total(x, scale):
    return scale * jnp.sum(x)


@wrong(
    scaled_total,
    (uniform(10007, low=0.5, high=1.5), scalar(0.7)),
    "precision",
    "scale",
    source="linkedin/Liger-Kernel#950: the weight gradient is summed in the narrow dtype of its "
    "terms; a float16 sum stops growing at 2048 times its term",
)
def summed_in_own_dtype(kept, dY):
    x, scale = kept
    total, _ = lax.scan(lambda sum_, term: (sum_ + term, None), jnp.zeros((), x.dtype), x)
    return jnp.broadcast_to(dY * scale, x.shape), dY * total


# --- differentiated again ---------------------------------------------------------------------


def sigmoid(z):
    return jax.nn.sigmoid(z)


def sigmoid_detached(z):
    a = sigmoid(z)
    return a, lax.stop_gradient(a)


@wrong(
    sigmoid,
    (normal(5, 3),),
    "second_order",
    "z",
    hint="stop_gradient",
    source=COMMON,
    fwd=sigmoid_detached,
)
def residual_detached(a, dA):
    return (dA * a * (1 - a),)


def square_of_double(x):
    return (2 * x) ** 2


def square_with_intermediate(x):
    twice = 2 * x
    return twice**2, lax.stop_gradient(twice)


@wrong(
    square_of_double,
    (normal(5, 3),),
    "second_order",
    "x",
    source="pytorch/pytorch#58509: an intermediate saved for backward is a constant to the second "
    "derivative",
    fwd=square_with_intermediate,
)
def intermediate_is_a_constant(twice, dY):
    return (4 * twice * dY,)


@jax.custom_jvp
def sinc(x):
    return jnp.where(x == 0, 1, jnp.sin(x) / jnp.where(x == 0, 1, x))


@sinc.defjvp
def sinc_jvp(primals, tangents):
    # the branch at zero is a constant, and so the second derivative there is zero, not −1/3
    (x,), (t,) = primals, tangents
    slope = jnp.where(x == 0, 0, (jnp.cos(x) - sinc(x)) / jnp.where(x == 0, 1, x))
    return sinc(x), slope * t


def unnormalized_sinc(x):
    return jnp.sinc(x / np.pi)


enter(
    "sinc_flat_at_zero",
    sinc,
    (np.array([0.7, -1.3, 0.0, 2.1, -0.4, 1.9, 3.2], np.float32),),
    "second_order",
    "x",
    reference=unnormalized_sinc,
    source="jax-ml/jax#5054: sinc's derivatives of even order are wrong at zero",
)


# --- vmap, jit, scan and determinism ----------------------------------------------------------


@custom_vmap
def gated(dA, z):
    return jnp.where(z > 0, dA, 0)


@gated.def_vmap
def gated_batch(size, batched, dA, z):
    shape = dA.shape if batched[0] else z.shape
    return jnp.zeros(shape, dA.dtype), True


@wrong(
    relu,
    (normal(5, 3),),
    "vmap",
    "z",
    source="pytorch/functorch#922: a gradient that is computed inside the rule is zero under vmap",
)
def zero_under_vmap(kept, dA):
    return (gated(dA, *kept),)


@custom_vmap
def total(v):
    return jnp.sum(v)


@total.def_vmap
def total_batch(size, batched, v):
    return jnp.sum(v), False


def times_total(x):
    return x * jnp.sum(x)


@wrong(
    times_total,
    (normal(7),),
    "vmap",
    "x",
    source=CONSTRUCTED + "the rule for batches sums over the batch as well",
)
def summed_over_the_batch(kept, dY):
    (x,) = kept
    return (dY * jnp.sum(x) + total(dY * x),)


@wrong(
    tanh,
    (normal(5, 3),),
    "jit",
    "z",
    source=CONSTRUCTED + "a shortcut for concrete arrays, in NumPy, has the wrong formula",
)
def shortcut_outside_of_jit(kept, dA):
    (z,) = kept
    if isinstance(dA, jax.core.Tracer) or isinstance(z, jax.core.Tracer):
        return (dA * (1 - jnp.tanh(z) ** 2),)
    return (jnp.asarray(np.asarray(dA) * (1 - np.tanh(np.asarray(z)))),)


@wrong(
    relu,
    (normal(5, 3),),
    "jit",
    source=CONSTRUCTED + "a Python `if` on the values of the cotangent, which jit does not have",
)
def branch_on_values(kept, dA):
    if not float(jnp.max(jnp.abs(dA))):
        return (jnp.zeros_like(dA),)
    return (jnp.where(kept[0] > 0, dA, 0),)


STASH = {}


def tanh_stashed(z):
    STASH["a"] = jnp.tanh(z)
    return STASH["a"], None


@wrong(
    tanh,
    (normal(5, 3),),
    "scan",
    source=CONSTRUCTED + "the residual is passed through a global, and belongs to another trace "
    "once scan traces the two halves apart",
    fwd=tanh_stashed,
)
def residual_in_a_global(_, dA):
    return (dA * (1 - STASH["a"] ** 2),)


@wrong(
    dense,
    (normal(101, 3), normal(3, 7), normal(7)),
    "determinism",
    "b",
    source="Dao-AILab/flash-attention#414: gradients are added up by atomics, in another order "
    "each time",
)
def summed_in_random_order(kept, dZ):
    x, w, _ = kept
    order = np.random.default_rng().permutation(len(x))
    db, _ = lax.scan(lambda sum_, row: (sum_ + row, None), jnp.zeros_like(dZ[0]), dZ[order])
    return dZ @ w.T, x.T @ dZ, db


@wrong(
    dense,
    DENSE,
    "determinism",
    "w",
    source=CONSTRUCTED + "stochastic rounding with NumPy's generator instead of a key",
)
def rounded_at_random(kept, dZ):
    x, w, _ = kept
    dW = x.T @ dZ
    noise = np.random.default_rng().uniform(-1, 1, w.shape).astype(dW.dtype)
    return dZ @ w.T, dW * (1 + noise * jnp.finfo(dW.dtype).eps), dZ.sum(0)


@wrong(
    tanh,
    (normal(5, 3),),
    "determinism",
    "z",
    source=CONSTRUCTED
    + "gradient noise from NumPy: another one in each trace, the same ever after",
)
def noise_of_each_trace(kept, dA):
    (z,) = kept
    noise = np.random.default_rng().uniform(-1, 1, z.shape).astype(z.dtype)
    return (dA * (1 - jnp.tanh(z) ** 2) * (1 + 0.05 * noise),)


# --- several devices --------------------------------------------------------------------------


def linear(x, w):
    return x @ w


LINEAR = (normal(5, 3), normal(3, 7))


def manual_axes():
    return tuple(jax.sharding.get_abstract_mesh().manual_axes)


def weights_on_this_device(x, w, dZ):
    """Xᵀ dZ of the examples here, placed as W is where the axes of the mesh are explicit."""
    return lax.dot_general(x, dZ, (((0,), (0,)), ((), ())), out_sharding=jax.typeof(w).sharding)


@wrong(linear, LINEAR, "sharding", "w", source=COMMON)
def weights_of_one_shard(kept, dZ):
    # no psum: W is on every device, and the gradient here is a term of the sum
    x, w = kept
    return dZ @ w.T, x.T @ dZ


@wrong(linear, LINEAR, "sharding", "w", hint="devices", source=COMMON)
def weights_summed_twice(kept, dZ):
    # an unconditional psum: without check_vma, the boundary of shard_map sums once more
    x, w = kept
    dW = weights_on_this_device(x, w, dZ)
    return dZ @ w.T, lax.psum(dW, manual_axes()) if manual_axes() else dW


@wrong(
    linear,
    LINEAR,
    "sharding",
    "w",
    hint="devices",
    source=CONSTRUCTED + "the mean over devices instead of the sum",
)
def weights_averaged_over_devices(kept, dZ):
    x, w = kept
    dW = weights_on_this_device(x, w, dZ)
    return dZ @ w.T, lax.pmean(dW, manual_axes()) if manual_axes() else dW


@wrong(
    rms_norm,
    NORMED,
    "sharding",
    "scale",
    source="NVIDIA/TransformerEngine#435: with sequences split over devices, the norm's weight "
    "gradient has to be summed over them, which the layer leaves to its caller",
)
def norm_weight_of_one_shard(kept, dY):
    x, scale = kept
    return through_rms(x, dY * scale), jnp.sum(dY * rms_norm(x, 1), 0)


# --- where autodiff of the function is no oracle ----------------------------------------------


def standardize_by_constant(x):
    """Standardize; the standard deviation is detached, as it must not be."""
    x = x - x.mean(-1, keepdims=True)
    return x / lax.stop_gradient(jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5))


@wrong(
    standardize_by_constant,
    (normal(5, 7),),
    "finite_differences",
    "x",
    source="abhiskk/ladder#2: the variance of a batch norm is computed from a detached value",
)
def variance_detached(kept, dY):
    # what autodiff says too: both are blind to the denominator
    (x,) = kept
    dX = dY / jnp.sqrt(jnp.var(x, -1, keepdims=True) + 1e-5)
    return (dX - dX.mean(-1, keepdims=True),)


def log1p_over_x(x):
    return jnp.where(x == 0, 1, jnp.log1p(x) / jnp.where(x == 0, 1, x))


@wrong(
    log1p_over_x,
    (np.array([0.7, 0.3, 0.0, 2.1, -0.4, 1.9, 3.2], np.float32),),
    "finite_differences",
    "x",
    source=CONSTRUCTED + "a value filled in at zero has the slope 0 for autodiff, and for the rule",
)
def filled_in_value_is_flat(kept, dY):
    (x,) = kept
    safe = jnp.where(x == 0, 1, x)
    slope = (safe / (1 + safe) - jnp.log1p(safe)) / safe**2
    return (dY * jnp.where(x == 0, 0, slope),)


def iterate(step, start):
    """Apply `step` 60 times, in a loop that has forward mode only."""
    return lax.while_loop(lambda s: s[0] < 60, lambda s: (s[0] + 1, step(s[1])), (0, start))[1]


def equilibrium(x, w):
    """A fixed point, a = tanh(a W + x)."""
    return iterate(lambda a: jnp.tanh(a @ w + x), jnp.zeros_like(x))


EQUILIBRIUM = (normal(5, 3), 0.2 * normal(3, 3))


def through_equilibrium(x, w, dA, transposed=False):
    """Solve (I − W D) λ = dA for each example; return the fixed point and D λ."""
    a = equilibrium(x, w)
    d = 1 - a**2
    system = jnp.eye(len(w), dtype=w.dtype) - w * d[:, None, :]
    system = system.swapaxes(1, 2) if transposed else system
    return a, d * jnp.linalg.solve(system, dA[..., None])[..., 0]


@wrong(
    equilibrium,
    EQUILIBRIUM,
    "dot_product",
    "x",
    source="facebookresearch/theseus#39: the implicit gradient is off by the step size",
)
def implicit_gradient_scaled(kept, dA):
    x, w = kept
    a, dX = through_equilibrium(x, w, dA)
    return 0.5 * dX, a.T @ dX


@wrong(
    equilibrium,
    EQUILIBRIUM,
    "dot_product",
    "x",
    source="JuliaDecisionFocusedLearning/ImplicitDifferentiation.jl#161: a wrong transpose in the "
    "linear system of implicit differentiation",
)
def implicit_system_transposed(kept, dA):
    x, w = kept
    a, dX = through_equilibrium(x, w, dA, transposed=True)
    return dX, a.T @ dX


# --- compositions: a right function of several rules, one of them wrong -----------------------


class Layer(NamedTuple):
    w: Any
    b: Any


def right_dense(x, w, b):
    return x @ w + b


@vjp_of(right_dense)
def right_layer(kept, dZ):
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, dZ.sum(0)


def averaging_dense(x, w, b):
    return x @ w + b


@vjp_of(averaging_dense)
def averaging_layer(kept, dZ):
    x, w, _ = kept
    return dZ @ w.T, x.T @ dZ, dZ.mean(0)


LAYERS = (Layer(normal(3, 11), normal(11)), Layer(normal(11, 7), normal(7)))


@wrong_function(
    (LAYERS, normal(5, 3), integers(5, below=7)),
    "vjp",
    "params[0].b",
    hint="1/5",
    culprit="averaging_dense",
    source=CONSTRUCTED + "db is a mean, in the first layer of a jitted network",
)
def network_under_jit(params, x, labels):
    @jax.jit
    def loss(params, x):
        first, last = params
        return cross_entropy(right_layer(jnp.tanh(averaging_layer(x, *first)), *last), labels)

    return loss(params, x)


def tanh_of_scan(z):
    return jnp.tanh(z)


@vjp_of(tanh_of_scan)
def tanh_without_square(kept, dA):
    return (dA * (1 - jnp.tanh(kept[0])),)


@wrong_function(
    (0.5 * normal(3, 7, 7), normal(5, 7)),
    "vjp",
    "w",
    culprit="tanh_of_scan",
    source=CONSTRUCTED + "1 − a for 1 − a², in a stack of layers under lax.scan",
)
def stack_under_scan(w, x):
    def layer(a, w):
        return tanh_without_square(right_layer(a, w, jnp.zeros_like(a[0]))), None

    return jnp.mean(lax.scan(layer, x, w)[0] ** 2)


def cell(h, x, u):
    return jnp.tanh(h @ u + x)


@vjp_of(cell)
def forgetful_cell(kept, dH):
    h, x, u = kept
    dZ = dH * (1 - cell(h, x, u) ** 2)
    return jnp.zeros_like(h), dZ, h.T @ dZ


@wrong_function(
    (normal(5, 3), normal(7, 5, 3), normal(3, 3)),
    "vjp",
    "h",
    hint="zero",
    culprit="cell",
    source=CONSTRUCTED + "a recurrent cell that passes nothing back in time",
)
def recurrence_under_scan(h, xs, u):
    return lax.scan(lambda h, x: (forgetful_cell(h, x, u), None), h, xs)[0]


def leaky_relu_of_branch(z):
    return jnp.where(z > 0, z, 0.1 * z)


@vjp_of(leaky_relu_of_branch)
def leaky_relu_of_one_slope(kept, dA):
    return (dA,)


@wrong_function(
    (normal(5, 3), normal(3, 7), normal(7), np.array(True)),
    "vjp",
    "w",
    culprit="leaky_relu_of_branch",
    source=CONSTRUCTED + "the rule of one branch of lax.cond has one slope for both sides",
)
def activation_under_cond(x, w, b, leaky):
    return lax.cond(leaky, leaky_relu_of_one_slope, jnp.tanh, right_layer(x, w, b))


def silu_of_block(z):
    return z * jax.nn.sigmoid(z)


@vjp_of(silu_of_block)
def silu_by_one_factor(kept, dA):
    return (dA * jax.nn.sigmoid(kept[0]),)


@wrong_function(
    ({"w1": normal(3, 11), "w2": normal(11, 2)}, normal(5, 3)),
    "vjp",
    "params['w1']",
    culprit="silu_of_block",
    source=CONSTRUCTED + "the product rule is forgotten in a block under jax.checkpoint",
)
def block_under_checkpoint(params, x):
    @jax.checkpoint
    def block(x):
        return silu_by_one_factor(right_layer(x, params["w1"], jnp.zeros(11, x.dtype)))

    return {"y": block(x) @ params["w2"], "x": x}


def error_of_one(pred, target):
    return jnp.sum((pred - target) ** 2)


@vjp_of(error_of_one)
def error_without_two(kept, dL):
    difference = kept[0] - kept[1]
    return dL * difference, -dL * difference


@wrong_function(
    (normal(3, 7), normal(5, 3), normal(5, 7)),
    "vjp",
    "w",
    hint="factor",
    culprit="error_of_one",
    source=CONSTRUCTED + "the 2 of a square is missing in a loss under vmap",
)
def loss_under_vmap(w, x, target):
    return jnp.mean(jax.vmap(error_without_two)(x @ w, target))


def softmax_of_scores(z):
    return softmax(z)


@vjp_of(softmax_of_scores)
def softmax_of_unsummed_rows(kept, dA):
    a = softmax(*kept)
    return (a * (dA - jnp.sum(dA * a)),)


@wrong_function(
    ATTENTION,
    "vjp",
    "k",
    culprit="softmax_of_scores",
    source=CONSTRUCTED + "softmax's sum runs over the whole matrix, not over its row",
)
def attention_over_softmax(q, k, v):
    return softmax_of_unsummed_rows(q @ k.T) @ v


@jax.custom_jvp
def softplus_of_network(z):
    return jnp.logaddexp(z, 0)


@softplus_of_network.defjvp
def softplus_of_network_jvp(primals, tangents):
    # σ(−z) for σ(z)
    (z,), (t,) = primals, tangents
    return jnp.logaddexp(z, 0), jax.nn.sigmoid(-z) * t


@wrong_function(
    (LAYERS, normal(5, 3)),
    "vjp",
    "params[0].w",
    culprit="softplus_of_network",
    source=CONSTRUCTED + "a wrong custom_jvp beside a right custom_vjp",
)
@jax.jit
def network_with_custom_jvp(params, x):
    first, last = params
    return right_layer(softplus_of_network(right_layer(x, *first)), *last)


@vjp_of(lambda x: x / (1 + jnp.abs(x)))
def soft_sign_of_positive_numbers(kept, dy):
    (x,) = kept
    return (dy / (1 + x) ** 2,)


@wrong_function(
    (jnp.abs(normal(5, 3)),),
    "search",
    "x",
    source=CONSTRUCTED + "|x| is taken for x, which no positive argument shows",
)
def soft_sign_for_positive_arguments(x):
    return soft_sign_of_positive_numbers(x)


# --- complex numbers --------------------------------------------------------------------------

PYTORCH = "JAX's documentation: its gradients are the conjugates of those of other frameworks"


def complex_normal(*shape, seed=0):
    return normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 1)


@wrong(
    lambda z, w: z @ w,
    (complex_normal(5, 3), complex_normal(3, 2, seed=2)),
    "vjp",
    "z.real",
    hint="a conjugate is missing or too many",
    source=PYTORCH,
)
def complex_product_with_conjugates(kept, dy):
    z, w = kept
    return dy @ jnp.conj(w).T, jnp.conj(z).T @ dy


@wrong(
    lambda z: jnp.real(z) ** 2 + jnp.imag(z) ** 2,
    (complex_normal(5, 3),),
    "vjp",
    "z.imag",
    hint="a conjugate is missing or too many",
    source=PYTORCH,
)
def square_of_the_modulus_without_conjugate(kept, dy):
    (z,) = kept
    return (2 * z * dy,)


@wrong(
    lambda z: jnp.fft.fft(z),
    (complex_normal(5, 3),),
    "finite_differences",
    "z.real",
    source=CONSTRUCTED + "the adjoint of the transform for its transpose",
)
def fourier_transform_with_its_adjoint(kept, dw):
    (z,) = kept
    return (jnp.fft.ifft(dw) * z.shape[-1],)


# --- transformations --------------------------------------------------------------------------


def last_residual(x):
    return jnp.sin(x)


KEPT: list[jax.Array] = []


def keep_in_a_list(x):
    KEPT.append(x)
    return jnp.sin(x), ()


@vjp_of(last_residual, keep_in_a_list)
def sine_with_the_last_residual(kept, dy):
    return (dy * jnp.cos(KEPT[-1]),)


for check in ("repeated", "checkpoint"):
    enter(
        f"residual_in_a_list_under_{check}",
        sine_with_the_last_residual,
        (normal(5, 3),),
        check,
        source=CONSTRUCTED + "the residual is kept in a list outside of the rule",
    )


@vjp_of(jnp.cos)
def cosine_with_a_stopped_derivative(kept, dy):
    (x,) = kept
    return (dy * lax.stop_gradient(-jnp.sin(x)),)


@wrong(
    jnp.sin,
    (normal(5, 3),),
    "third_order",
    "x",
    source=CONSTRUCTED + "the second derivative is right and stopped",
)
def sine_with_a_stopped_second_derivative(kept, dy):
    (x,) = kept
    return (dy * cosine_with_a_stopped_derivative(x),)


@jax.custom_jvp
def root_by_newton(x):
    def body(y):
        return 0.5 * (y + x / y)

    return lax.while_loop(lambda y: jnp.any(jnp.abs(y * y - x) > 1e-5), body, 1 + x)


@root_by_newton.defjvp
def root_by_newton_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    y = root_by_newton(x)
    return y, lax.while_loop(lambda t: False, lambda t: t, t / y)


enter(
    "root_by_newton",
    root_by_newton,
    (uniform(5),),
    "forward",
    "x",
    reference=jnp.sqrt,
    source=CONSTRUCTED + "1/y for 1/(2 y), in a rule that has forward mode alone",
)


# --- rules of other packages' decorators, kernels and calls out of JAX ------------------------


@eqx.filter_custom_vjp
def scaled_by_a_module(vjp_arg):
    layer, x = vjp_arg
    return layer.weight[0] * jnp.sin(x)


@scaled_by_a_module.def_fwd
def scaled_by_a_module_fwd(perturbed, vjp_arg):
    layer, x = vjp_arg
    return layer.weight[0] * jnp.sin(x), None


@scaled_by_a_module.def_bwd
def scaled_by_a_module_bwd(residuals, dy, perturbed, vjp_arg):
    layer, x = vjp_arg
    # the mean over the examples for the sum
    dweight = jnp.mean(dy * jnp.sin(x), 0)[None]
    dlayer = eqx.tree_at(lambda layer: layer.weight, layer, dweight)
    return dlayer, dy * layer.weight[0] * jnp.cos(x)


@wrong_function(
    (normal(1, 3), normal(5, 3)),
    "vjp",
    "weight",
    hint="an extra factor of 1/5",
    source=CONSTRUCTED + "a mean for a sum in equinox.filter_custom_vjp",
)
def equinox_rule_with_a_mean(weight, x):
    layer = eqx.nn.Linear(3, 1, use_bias=False, key=jax.random.key(0))
    return scaled_by_a_module((eqx.tree_at(lambda layer: layer.weight, layer, weight), x))


class Scaled(nnx.Module):
    """A module with one parameter."""

    def __init__(self, w):
        self.w = nnx.Param(w)


@nnx.custom_vjp
def scaled_by_an_nnx_module(module, x):
    return module.w[...] * jnp.sin(x)


def scaled_by_an_nnx_module_fwd(module, x):
    w = module.w[...]
    return w * jnp.sin(x), (w, x)


def scaled_by_an_nnx_module_bwd(kept, cotangents):
    (dmodule, _), dy = cotangents
    _, x = kept
    dmodule.w[...] = jnp.sum(dy * jnp.sin(x), 0)
    return dmodule, dy * jnp.cos(x)  # the factor w is missing


scaled_by_an_nnx_module.defvjp(scaled_by_an_nnx_module_fwd, scaled_by_an_nnx_module_bwd)


@wrong_function(
    (normal(3), normal(5, 3)),
    "vjp",
    "x",
    source=CONSTRUCTED + "a factor is missing in flax.nnx.custom_vjp",
)
def nnx_rule_without_a_factor(w, x):
    return scaled_by_an_nnx_module(Scaled(w), x)


@wrong(
    lambda x: partitioned_sine(x),
    (normal(5, 3),),
    "vjp",
    "x",
    reference=jnp.sin,
    hint="the sign is wrong",
    source=CONSTRUCTED + "the sign of the derivative of a partitioned function",
)
def partitioned_sine_with_the_sign_of_cosine(kept, dy):
    (x,) = kept
    return (-dy * jnp.cos(x),)


def square_kernel(x_ref, y_ref):
    y_ref[...] = x_ref[...] * x_ref[...]


def squared_in_blocks(x):
    block = pl.BlockSpec((1, x.shape[1]), lambda i: (i, 0))
    return pl.pallas_call(
        square_kernel,
        grid=(x.shape[0],),
        in_specs=[block],
        out_specs=block,
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        interpret=True,
    )(x)


@wrong(
    squared_in_blocks,
    (normal(5, 3),),
    "vjp",
    "x",
    reference=jnp.square,
    source=CONSTRUCTED + "the last block of a Pallas kernel is left out",
)
def square_without_the_last_block(kept, dy):
    (x,) = kept
    return (2 * x * dy * (jnp.arange(x.shape[0])[:, None] < x.shape[0] - 1),)


def sine_on_the_host(x):
    return jax.pure_callback(
        lambda x: np.sin(np.asarray(x)),
        jax.ShapeDtypeStruct(x.shape, x.dtype),
        x,
        vmap_method="expand_dims",
    )


@wrong(
    sine_on_the_host,
    (normal(5, 3),),
    "vjp",
    "x",
    reference=jnp.sin,
    hint="the cotangent, unchanged",
    source=CONSTRUCTED + "a callback without its derivative",
)
def sine_on_the_host_without_its_derivative(kept, dy):
    return (dy,)


def cholesky_of_the_symmetric_part(a):
    return cholesky_by_lapack((a + a.T) / 2)


SQUARE = normal(4, 4)

if jax.default_backend() == "cpu":

    @wrong(
        cholesky_of_the_symmetric_part,
        (SQUARE @ SQUARE.T + 2 * np.eye(4, dtype=np.float32),),
        "vjp",
        "a",
        reference=lambda a: jnp.linalg.cholesky((a + a.T) / 2),
        source=CONSTRUCTED + "the triangle of Murray (2016), equation 9, with its whole diagonal",
    )
    def foreign_function_with_a_whole_diagonal(kept, dL):
        (a,) = kept
        L = jnp.linalg.cholesky((a + a.T) / 2)
        inverse = jnp.linalg.inv(L)
        S = inverse.T @ jnp.tril(L.T @ dL) @ inverse
        return (0.5 * (S + S.T),)
