"""What the library must compute, as NumPy programs in float64, and finite differences of them.

Nothing here is derived, and nothing is shared with the library: neither JAX nor fcjax is imported.
"""

import math

import numpy as np

# --- finite differences ---------------------------------------------------------------------


def numerical_vjp(program, args, dy, step=1e-4):
    """Gradient of `Σ dy ⊙ program(*args)` with respect to each argument, entry by entry.

    The four-point central difference: its error is of order step⁴ = 1e-16, and rounding adds
    1e-16/step = 1e-12, both relative to the size of the program's value.
    """

    def projection(*args):
        return np.sum(dy * program(*args))

    return tuple(_differences(projection, args, i, step) for i in range(len(args)))


def _differences(projection, args, argument, step):
    gradient = np.zeros_like(args[argument])
    for index in np.ndindex(gradient.shape):
        f = [projection(*_moved(args, argument, index, k * step)) for k in (-2, -1, 1, 2)]
        gradient[index] = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)
    return gradient


def _moved(args, argument, index, distance):
    moved = np.array(args[argument], np.float64)
    moved[index] += distance
    return (*args[:argument], moved, *args[argument + 1 :])


# --- dense layer and networks ---------------------------------------------------------------


def dense(x, w, b=None):
    z = np.einsum("...i,ij->...j", x, w)
    return z if b is None else z + b


def network(layers, x, functions):
    """The output of an MLP; `layers` are pairs (w, b), `functions` one per layer."""
    a = x
    for (w, b), g in zip(layers, functions, strict=True):
        a = g(dense(a, w, b))
    return a


def textbook_backward(layers, x, functions, derivatives, dA):
    """The four formulas, for one batch dimension: `([(dW, db), …], [dZ, …], dX)`."""
    inputs, preactivations, a = [], [], x
    for (w, b), g in zip(layers, functions, strict=True):
        inputs.append(a)
        preactivations.append(dense(a, w, b))
        a = g(preactivations[-1])
    gradients, deltas = [], []
    for (w, _), x, z, dg in reversed(
        list(zip(layers, inputs, preactivations, derivatives, strict=True))
    ):
        dZ = dA * dg(z)
        gradients.insert(0, (x.T @ dZ, dZ.sum(axis=0)))
        deltas.insert(0, dZ)
        dA = dZ @ w.T
    return gradients, deltas, dA


def momentum_descent(layers, batches, functions, derivatives, loss, lr, momentum=0.0):
    """Steps of `v = momentum v + g; p = p − lr v`: the layers after them, and the losses before.

    `loss(A, y)` gives the loss and its gradient by the output of the network.
    """
    velocities = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    losses = []
    for x, y in batches:
        value, dA = loss(network(layers, x, functions), y)
        losses.append(value)
        gradients, _, _ = textbook_backward(layers, x, functions, derivatives, dA)
        velocities = _combined(momentum, velocities, gradients)
        layers = _combined(1, layers, velocities, -lr)
    return layers, losses


def _combined(factor, layers, others, other_factor=1):
    return [
        tuple(factor * a + other_factor * b for a, b in zip(one, other, strict=True))
        for one, other in zip(layers, others, strict=True)
    ]


# --- activations ----------------------------------------------------------------------------


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def softplus(z):
    return np.logaddexp(0, z)


def elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def celu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.where(z > 0, 0, z) / alpha))


def selu(z):
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return scale * elu(z, alpha)


def leaky_relu(z, negative_slope=0.01):
    return np.where(z >= 0, z, negative_slope * z)


def gelu(z):
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def gelu_exact(z):
    return 0.5 * z * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))


def glu(z):
    linear, gate = np.split(z, 2, axis=-1)
    return linear * sigmoid(gate)


def squareplus(z, b=4.0):
    return (z + np.sqrt(z**2 + b)) / 2


def sparse_plus(z):
    return np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4))


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(z, axis=-1):
    z = z - z.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def hard_sigmoid(z):
    return np.clip(z + 3, 0, 6) / 6


ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "sigmoid": sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "tanh": np.tanh,
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "softplus": softplus,
    "sparse_plus": sparse_plus,
    "sparse_sigmoid": lambda z: np.clip((z + 1) / 2, 0, 1),
    "soft_sign": lambda z: z / (1 + np.abs(z)),
    "log_sigmoid": lambda z: -softplus(-z),
    "silu": lambda z: z * sigmoid(z),
    "swish": lambda z: z * sigmoid(z),
    "hard_silu": lambda z: z * hard_sigmoid(z),
    "hard_swish": lambda z: z * hard_sigmoid(z),
    "leaky_relu": leaky_relu,
    "elu": elu,
    "celu": celu,
    "selu": selu,
    "gelu": gelu,
    "glu": glu,
    "squareplus": squareplus,
    "mish": lambda z: z * np.tanh(softplus(z)),
    "softmax": softmax,
    "log_softmax": log_softmax,
}


# --- losses: one number per example, then the reduction -------------------------------------


def _sum_features(values):
    return values if values.ndim == 1 else values.sum(axis=-1)


def squared_error(p, t):
    return _sum_features((p - t) ** 2)


def half_squared_error(p, t):
    return squared_error(p, t) / 2


def mean_squared_error(p, t):
    return squared_error(p, t) / (p.shape[-1] if p.ndim > 1 else 1)


def absolute_error(p, t):
    return _sum_features(np.abs(p - t))


def huber(p, t, delta=1.0):
    e = np.abs(p - t)
    return _sum_features(np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)))


def poisson(r, t):
    return _sum_features(np.exp(r) - t * r)


def hinge(p, t):
    return _sum_features(np.maximum(0, 1 - p * t))


def binary_cross_entropy(p, t):
    return _sum_features(-t * np.log(p) - (1 - t) * np.log(1 - p))


def sigmoid_binary_cross_entropy(z, t):
    return _sum_features(t * softplus(-z) + (1 - t) * softplus(z))


def softmax_cross_entropy(z, labels, smoothing=0.0, ignored=None, class_weights=None):
    """The losses of the examples, and how much each counts in a mean.

    Integer labels, one loop over the examples; or distributions of the shape of z.
    """
    classes = z.shape[-1]
    c = np.ones(classes) if class_weights is None else class_weights
    logp = log_softmax(z)
    if labels.dtype.kind == "f":
        q = (1 - smoothing) * labels + smoothing / classes
        return -np.sum(c * q * logp, axis=-1), np.ones(labels.shape[:-1])
    losses, counts = np.zeros(labels.shape), np.zeros(labels.shape)
    for i in np.ndindex(labels.shape):
        k = labels[i]
        if k == ignored:
            continue
        losses[i] = -(1 - smoothing) * c[k] * logp[i][k] - smoothing * np.mean(c * logp[i])
        counts[i] = c[k]
    return losses, counts


def reduce(losses, weights=None, reduction="mean", counts=None):
    weights = np.ones_like(losses) if weights is None else weights
    counts = np.ones_like(losses) if counts is None else counts
    if reduction == "none":
        return weights * losses
    total = np.sum(weights * losses)
    return total if reduction == "sum" else total / np.sum(weights * counts)


# --- normalization --------------------------------------------------------------------------


def layer_norm(x, scale, bias, eps=1e-5):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * scale + bias


def rms_norm(x, scale, eps=1e-5):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + eps) * scale


# --- rules of networks for tables -----------------------------------------------------------------


def scale(x, s):
    return x @ np.diag(s)


def ensemble_dense(x, w, r, s, b=None):
    x = np.broadcast_to(x, (*x.shape[:-2], *r.shape))
    members = [x[..., i, :] @ (np.diag(r[i]) @ w @ np.diag(s[i])) for i in range(len(r))]
    y = np.stack(members, -2)
    return y if b is None else y + b


def grouped_dense(x, w, b=None):
    z = np.stack([x[..., i, :] @ w[i] for i in range(len(w))], -2)
    return z if b is None else z + b


def parametric(z, alpha, g):
    return (1 - alpha) * z + alpha * g(z)


def piecewise_linear_encoding(x, edges):
    """By the definition: the part of each bin that lies below x, in units of its width."""
    q = np.zeros((*x.shape, edges.shape[1] - 1))
    for place in np.ndindex(x.shape):
        ends = [e for e in edges[place[-1]] if np.isfinite(e)]
        bins = len(ends) - 1
        for t in range(bins):
            low = -np.inf if t == 0 else ends[t]
            high = np.inf if t == bins - 1 else ends[t + 1]
            q[(*place, t)] = (np.clip(x[place], low, high) - ends[t]) / (ends[t + 1] - ends[t])
    return q
