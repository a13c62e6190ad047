"""Can a verdict be believed? "right" where something was compared, "wrong" where something is."""

import functools
import itertools
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from optax.losses._classification import weighted_logsoftmax
from support import long

import fcjax
from fcjax.verify import check_at_points, culprit, program, rules_in
from fcjax.verify.program import TimeUp

# A search has tests of its own.
checked = functools.partial(fcjax.check_rule, search=False)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def rule(primal, bwd, fwd=None, **options):
    """Return `primal` with a backward rule that gets the arguments."""
    decorated = jax.custom_vjp(primal)
    decorated.defvjp(fwd or (lambda *args: (primal(*args), args)), bwd, **options)
    return decorated


def failed(report):
    return {(result.name, result.argument) for result in report.failures}


X, W, B = normal(5, 3), normal(3, 2, seed=1), normal(2, seed=2)
QUICK = ["primal", "vjp", "finite_differences", "dot_product", "precision"]

scaled_sine = rule(lambda x, w: jnp.sin(x) @ w, lambda kept, dy: (
    dy @ kept[1].T * jnp.cos(kept[0]), jnp.sin(kept[0]).T @ dy
))  # fmt: skip
forgets_w = rule(lambda x, w: jnp.sin(x) @ w, lambda kept, dy: (
    dy @ kept[1].T * jnp.cos(kept[0]), jnp.zeros_like(kept[1])
))  # fmt: skip


# --- a verdict needs an oracle --------------------------------------------------------------------


def test_nothing_compared_is_inconclusive():
    report = checked(jnp.sin, (X,), checks=["vjp"])
    assert report.verdict == "inconclusive"
    assert not report.ok
    assert not report.failures
    assert "the gradient of x was not compared with an oracle (vjp: no hand-written" in str(report)
    assert report.doubts[0] in report.unchecked
    with pytest.raises(AssertionError, match="not compared with an oracle"):
        fcjax.assert_rule(jnp.sin, (X,), checks=["vjp"])


@pytest.mark.parametrize("checks", [["structure", "dtype"], ["vmap", "jit"], ["linearity"]])
def test_checks_of_form_alone_are_inconclusive(checks):
    assert checked(fcjax.tanh, (X,), checks=checks).verdict == "inconclusive"


@pytest.mark.parametrize("check", ["vjp", "finite_differences", "dot_product", "precision"])
def test_one_comparison_of_values_is_enough(check):
    report = checked(fcjax.tanh, (X,), checks=[check])
    assert report.verdict == "right", f"{report}"
    assert report.to_dict()["verdict"] == "right"


def test_every_argument_needs_one():
    # what is rounded to bfloat16 has no differences, and its while_loop no autodiff
    def f(x, y):
        return x + jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * y, s[1] + 1), (y, 0))[0]

    f = rule(f, lambda kept, dy: (dy, 4 * kept[1] ** 3 * dy))
    report = checked(f, (X, normal(5, 3, seed=4)), checks=["vjp"])
    assert report.verdict == "inconclusive"
    assert "JAX cannot differentiate the reference" in report.doubts[0]
    assert checked(f, (X, normal(5, 3, seed=4))).ok


def test_a_function_without_a_value_is_inconclusive():
    report = checked(rule(lambda x: x * 2 + jnp.nan, lambda _, dy: (2 * dy,)), (X,))
    assert report.verdict == "inconclusive"


def test_noise_is_no_evidence():
    # rounded to a grid, so that differences are larger than the gradient
    coarse = rule(lambda x: jnp.round(jnp.sin(x) * 1e4) / 1e4, lambda kept, dy: (dy * 7,))
    report = checked(coarse, (X,), checks=["finite_differences"])
    assert report.verdict != "right", f"{report}"
    noisy = rule(
        lambda x: jnp.sin(x) + 1e-5 * jnp.sin(1e9 * x),
        lambda kept, dy: (dy * 2 * jnp.cos(kept[0]),),
    )
    report = checked(noisy, (X[:1, :1],), checks=["finite_differences"])
    assert report.verdict == "inconclusive", f"{report}"
    assert [r.status for r in report.results if r.name == "finite_differences"] == ["passed"]


# --- whose rule -----------------------------------------------------------------------------------


def test_a_rule_belongs_to_whoever_wrote_its_backward_function():
    relu = rule(jax.nn.relu, lambda kept, dy: (dy,))
    assert [call.name for call in rules_in(relu, X)] == ["relu"]
    assert "test_trust.py:" in rules_in(relu, X)[0].source
    assert ("vjp", "x") in failed(checked(relu, (X,)))
    assert rules_in(jax.nn.relu, X) == ()


def test_a_neighbour_of_jax_is_not_jax(tmp_path, monkeypatch):
    # a package whose path begins with that of jax, as jaxopt's does
    folder = tmp_path / "jax_neighbour"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import jax\n@jax.custom_vjp\ndef f(x): return x * x\n"
        "def bwd(x, dy): return (3 * x * dy,)\nf.defvjp(lambda x: (x * x, x), bwd)\n"
    )
    monkeypatch.setattr(jax, "__file__", str(tmp_path / "jax" / "__init__.py"))
    monkeypatch.syspath_prepend(tmp_path)
    import jax_neighbour

    assert len(rules_in(jax_neighbour.f, X)) == 1
    assert checked(jax_neighbour.f, (X,), checks=["vjp"]).verdict == "wrong"


FLAGGED = """
    import jax, jax.numpy as jnp
    for flag in ("jax_custom_vjp3", "jax_custom_jvp3"):
        if hasattr(jax.config, flag):
            jax.config.update(flag, True)
    import fcjax
    from jax.experimental import hijax
    x = jnp.linspace(0.2, 1.5, 15).reshape(5, 3)
    w = jnp.eye(3, 2) + 0.5

    def affine(factor):
        f = jax.custom_vjp(lambda x, w: x @ w)
        f.defvjp(lambda x, w: (x @ w, (x, w)), lambda k, d: (d @ k[1].T, factor * k[0].T @ d))
        return f

    def with_jvp(factor):
        f = jax.custom_jvp(lambda x: x ** 3)
        f.defjvp(lambda p, t: (p[0] ** 3, factor * 3 * p[0] ** 2 * t[0]))
        return f

    Base = getattr(hijax, "VJPHiPrimitive", None) or hijax.HiPrim

    class Product(Base):
        def __init__(self, kind, factor):
            self.in_avals, self.out_aval = (kind, kind), kind
            self.params = {"factor": factor}
            super().__init__()
        def expand(self, x, y):
            return x * y
        def vjp_fwd(self, nonzero, x, y):
            return x * y, (x, y)
        def vjp_bwd_retval(self, kept, d):
            return d * kept[1], self.factor * d * kept[0]
        def batch_dim_rule(self, axis, dims):
            return 0
        def batch(self, axis, args, dims):
            x, y = (jnp.moveaxis(a, d, 0) if d is not None else a for a, d in zip(args, dims))
            x, y = jnp.broadcast_arrays(x, y)
            return Product(jax.typeof(x), self.factor)(x, y), 0

    for factor, verdict in ((1.0, "right"), (2.0, "wrong")):
        cases = {
            "vjp": (affine(factor), (x, w)),
            "jitted": (jax.jit(affine(factor)), (x, w)),
            "jvp": (with_jvp(factor), (x,)),
            "scanned": (lambda x, w: jax.lax.scan(
                lambda c, r: (c + affine(factor)(r[None], w), None), jnp.zeros((1, 2), x.dtype), x
            )[0], (x, w)),
            "by hand": (lambda x, y: Product(jax.typeof(x), factor)(x, y), (x, x * x)),
        }
        for name, (fun, args) in cases.items():
            report = fcjax.check_rule(fun, args, search=name == "vjp")
            assert report.verdict == verdict, f"{name} {report}"
            results = [r.status for r in report.results if r.name == "vjp"]
            assert set(results) <= {"passed", "failed"}, f"{name} {report}"
    report = fcjax.check_rule(fcjax.gelu, (x,), checks=["vjp", "dtype", "integers"])
    assert report.ok, f"{report}"
    print("done")
"""


@pytest.mark.parametrize("is_right", [True, False])
def test_nan_of_a_program_that_was_compiled_quickly_is_not_blamed(is_right, monkeypatch):
    # XLA of JAX 0.12 compiles some programs wrongly without its optimizations
    compiled = program.compiled

    def with_nan(function, *inputs, quickly):
        def lost(*inputs):
            is_lost = quickly and function.__qualname__.startswith("repeated")
            return jax.tree.map(lambda y: y * jnp.nan if is_lost else y, function(*inputs))

        return compiled(lost, *inputs, quickly=quickly)

    monkeypatch.setattr(program, "compiled", with_nan)

    def bwd(kept, dy):
        calls.append(0)
        lost = not is_right and len(calls) > 1  # in the second call of a program
        return (dy * jnp.cos(kept[0]) * (jnp.nan if lost else 1.0),)

    calls = []
    sine = rule(jnp.sin, bwd)
    report = fcjax.check_rule(sine, (X,), checks=["vjp", "repeated", "scan"])
    assert report.verdict == ("right" if is_right else "wrong")


@long
def test_rules_are_seen_with_the_coming_defaults_of_jax_too():
    code = textwrap.dedent(FLAGGED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("done"), done.stdout + done.stderr


# --- what is checked, and what is not -------------------------------------------------------------


def test_complex_outputs_get_a_cotangent():
    def f(x):
        return jnp.fft.fft(x)

    right = rule(f, lambda kept, dy: (jnp.real(jnp.fft.fft(dy)),))
    wrong = rule(f, lambda kept, dy: (jnp.real(jnp.fft.fft(jnp.conj(dy))),))
    x = normal(7)
    assert checked(right, (x,)).ok
    assert ("vjp", "x") in failed(checked(wrong, (x,)))


class Layer:
    def __init__(self, w, apply):
        self.w, self.apply = w, apply

    def __call__(self, x):
        return self.apply(x, self.w)

    def method(self, x):
        return self.apply(x, self.w)


def closure(apply, w):
    return lambda x: apply(x, w)


CAPTURES = {
    "a lambda": (closure, "w"),
    "a partial": (lambda apply, w: functools.partial(lambda w, x: apply(x, w), w), "args[0]"),
    "a bound method": (lambda apply, w: Layer(w, apply).method, "self.w"),
    "an object": (lambda apply, w: Layer(w, apply), "w"),
    "jit": (lambda apply, w: jax.jit(closure(apply, w)), "w"),
    "a dict": (lambda apply, w: closure(lambda x, tree: apply(x, tree["w"]), {"w": w}), "w['w']"),
}


@pytest.mark.parametrize("how", CAPTURES)
def test_arrays_that_the_function_closes_over_are_checked(how):
    capture, name = CAPTURES[how]
    good = checked(capture(scaled_sine, W), (X,), checks=QUICK)
    assert good.ok, f"{good}"
    assert name in {result.argument for result in good.results if result.name == "vjp"}
    bad = checked(capture(forgets_w, W), (X,), checks=QUICK)
    assert ("vjp", name) in failed(bad), f"{bad}"
    assert ("vjp", "x") not in failed(bad)


def test_an_equinox_module_is_checked_by_its_parameters():
    eqx = pytest.importorskip("equinox")

    class Linear(eqx.Module):
        w: jax.Array

        def __call__(self, x):
            return forgets_w(x, self.w)

        def apply(self, x):
            return forgets_w(x, self.w)

    assert ("vjp", "w") in failed(checked(Linear(W), (X,), checks=QUICK))
    assert ("vjp", "self.w") in failed(checked(Linear(W).apply, (X,), checks=QUICK))


def test_wherever_an_array_comes_from_it_is_checked_if_a_rule_depends_on_it():
    def twice(x, w):
        return jax.lax.scan(lambda h, _: (scaled_square(h, w), None), x, None, length=2)[0]

    scaled_square = rule(lambda x, w: w * x**2, lambda kept, dy: (
        2 * dy * kept[1] * kept[0], jnp.zeros_like(kept[1])
    ))  # fmt: skip
    x, w = normal(4), normal(4, seed=1)
    wide = np.asarray(w, np.float64)
    ways = [
        lambda x: (lambda a: scaled_square(a, w))(x),
        lambda x: jax.jit(lambda a: scaled_square(a, w))(x),
        lambda x: twice(x, w),
        lambda x: jax.lax.cond(x[0] > -9, lambda a: scaled_square(a, w), lambda a: a, x),
        lambda x: jax.checkpoint(lambda a: scaled_square(a, w))(x),
        lambda x: scaled_square(x, functools.lru_cache(lambda: 3 * w)()),
        lambda x: scaled_square(x, wide),
        lambda x: scaled_square(x, wide * 2),
        lambda y: scaled_square(y, x),  # the argument itself
    ]
    for fun in ways:
        report = checked(fun, (x,), checks=["vjp", "finite_differences"])
        assert report.verdict == "wrong", f"{report}"


def test_what_no_rule_depends_on_is_left_to_jax():
    report = checked(lambda x: fcjax.tanh(x) @ W, (X,), checks=["vjp"])
    assert {r.argument for r in report.results if r.name == "vjp"} == {"x"}


def test_a_constant_of_the_rule_is_kept_constant_and_listed():
    w = W
    fixed = rule(lambda x: x @ w, lambda kept, dy: (dy @ w.T,))
    report = checked(fixed, (X,))
    assert report.ok, f"{report}"
    assert any("a constant of a rule" in line for line in report.unchecked), f"{report}"


def test_the_report_ends_with_what_it_does_not_cover():
    def f(x, rate, flip=False, *, power=2):
        y = jax.lax.cond(x.sum() > 100, lambda v: forgets_w(v, W), lambda v: v @ W, x)
        return rate * y**power

    report = checked(f, (X, 0.5), search=False)
    unchecked = "\n".join(report.unchecked)
    assert "options other than flip=False, power=2" in unchecked
    assert "rate = 0.5 is kept constant" in unchecked
    assert "branch 1 was not taken" in unchecked
    assert "test_trust.py" in unchecked
    assert str(report).rstrip().endswith(report.unchecked[-1])
    assert report.to_dict()["unchecked"] == list(report.unchecked)


def test_a_function_without_a_rule_is_said_to_have_none():
    report = checked(jnp.sin, (X,))
    assert report.ok
    assert any("the function has no hand-written rule" in line for line in report.unchecked)


# --- under vmap -----------------------------------------------------------------------------------


def batched(wrong_when, wrong):
    """Return x ↦ w x with a batching rule that is wrong for some patterns of mapped arguments."""

    @custom_vmap
    def product(x, w):
        return x * w

    @product.def_vmap
    def _(size, is_mapped, x, w):
        y = x * w
        return (wrong(y) if wrong_when(*is_mapped) else y), True

    return product


def pulled(in_value, in_gradient):
    """Return a rule whose value and gradients come from mapped products of their own."""
    f = jax.custom_vjp(lambda x, w: in_value(x, w))
    f.defvjp(
        lambda x, w: (in_value(x, w), (x, w)),
        lambda kept, dy: (in_gradient(dy, kept[1]), in_gradient(dy, kept[0])),
    )
    return f


def never(*mapped):
    return False


PATTERNS = {
    "only x mapped, the value": (lambda x, w: x and not w, never),
    "both mapped, the value": (lambda x, w: x and w, never),
    "the cotangent mapped": (never, lambda dy, other: dy and not other),
    "cotangent and argument mapped": (never, lambda dy, other: dy and other),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_wrong_only_when_mapped_is_found(pattern):
    of_value, of_gradient = PATTERNS[pattern]
    wrong = pulled(batched(of_value, lambda y: 2 * y), batched(of_gradient, lambda y: 2 * y))
    args = normal(4), normal(4, seed=1)
    assert "vmap" in {name for name, _ in failed(checked(wrong, args))}
    right = pulled(batched(never, None), batched(never, None))
    report = checked(right, args)
    assert report.ok, f"{report}"


@pytest.mark.parametrize("pattern", [p for p in itertools.product([0, 1], repeat=3) if any(p)])
def test_each_pattern_of_what_is_mapped_in_a_backward_rule_is_tried(pattern):
    @custom_vmap
    def gradients(dy, x, w):
        return dy * w, dy * x

    @gradients.def_vmap
    def _(size, is_mapped, dy, x, w):
        factor = 2 if tuple(is_mapped) == tuple(map(bool, pattern)) else 1
        dx, dw = jnp.broadcast_arrays(factor * dy * w, factor * dy * x)
        return tuple(jnp.broadcast_to(d, (size, 4)) for d in (dx, dw)), (True, True)

    product = rule(lambda x, w: x * w, lambda kept, dy: gradients(dy, *kept))
    report = checked(product, (normal(4), normal(4, seed=1)), checks=["vmap"])
    assert "vmap" in {name for name, _ in failed(report)}, f"{report}"


# --- symbolic zeros -------------------------------------------------------------------------------


def two_outputs(on_zero):
    """Return x, w ↦ (x w, Σ w²) with a rule that sees symbolic zeros, and what it makes of them."""

    def primal(x, w):
        return x @ w, jnp.sum(w**2)

    def fwd(x, w):
        return primal(x.value, w.value), (x.value, w.value, x.perturbed, w.perturbed)

    def bwd(kept, dy):
        x, w, _, _ = kept
        dZ, dn = (on_zero(d) if isinstance(d, SymbolicZero) else d for d in dy)
        return dZ @ w.T, x.T @ dZ + 2 * dn * w

    return rule(primal, bwd, fwd, symbolic_zeros=True)


def zeros(d):
    return jnp.zeros(d.shape, d.dtype)


def ones(d):
    return jnp.ones(d.shape, d.dtype)


def refuse(d):
    raise ValueError("no cotangent")


@pytest.mark.parametrize("on_zero", [ones, refuse])
def test_a_rule_that_mistakes_an_unused_output_is_wrong(on_zero):
    report = checked(two_outputs(on_zero), (X, W))
    assert {name for name, _ in failed(report)} == {"partial_use"}, f"{report}"
    assert checked(two_outputs(zeros), (X, W)).ok


@pytest.mark.parametrize("mistake", ["wrong", "raises"])
def test_a_rule_that_mistakes_an_unperturbed_argument_is_wrong(mistake):
    def fwd(x, w):
        if mistake == "raises" and not w.perturbed:
            raise ValueError("w must be perturbed")
        return x.value @ w.value, (x.value, w.value if w.perturbed else 2 * w.value)

    def bwd(kept, dy):
        return dy @ kept[1].T, kept[0].T @ dy

    report = checked(rule(lambda x, w: x @ w, bwd, fwd, symbolic_zeros=True), (X, W))
    assert {name for name, _ in failed(report)} == {"partial_use"}, f"{report}"


# --- where the oracle has no number ---------------------------------------------------------------


def safe_sqrt(at_zero):
    def primal(x):
        return jnp.where(x > 0, jnp.sqrt(x), 0)

    def bwd(kept, dy):
        (x,) = kept
        return (dy * jnp.where(x > 0, 0.5 / jnp.sqrt(jnp.where(x > 0, x, 1)), at_zero),)

    return rule(primal, bwd)


def safe_norm(at_zero):
    def primal(x):
        return jnp.sqrt(jnp.sum(x**2, axis=-1))

    def bwd(kept, dy):
        (x,) = kept
        size = primal(x)[:, None]
        return (dy[:, None] * jnp.where(size > 0, x / jnp.where(size > 0, size, 1), at_zero),)

    return rule(primal, bwd)


WITH_ZERO = jnp.asarray([0.0, 0.5, 2.0, -1.0])
WITH_ZERO_ROW = X.at[2].set(0.0)


def test_a_gradient_that_is_finite_where_autodiff_is_not_is_not_blamed():
    report = checked(safe_sqrt(0.0), (WITH_ZERO,))
    assert report.ok, f"{report}"
    assert any("1 entry of x, where autodiff is not finite" in line for line in report.unchecked)
    report = checked(safe_norm(0.0), (WITH_ZERO_ROW,))
    assert report.ok, f"{report}"
    assert not any("autodiff" in line for line in report.unchecked), "the slopes are ±1"


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_an_array_that_the_rule_declares_constant_is_kept(factor):
    # as rules of flax.nnx.custom_vjp: JAX calls them with arrays there, but never with tracers
    @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
    def scaled(x, by):
        return x * jnp.sum(by["factors"])

    scaled.defvjp(
        lambda x, by: (scaled(x, by), None),
        lambda by, _, dy: (factor * dy * jnp.sum(by["factors"]),),
    )
    report = checked(scaled, (jnp.arange(1.0, 4), {"factors": jnp.arange(3.0)}))
    assert report.ok == (factor == 1), f"{report}"
    assert "by['factors'] is kept constant, as nondiff_argnums says" in report.unchecked


def test_an_output_that_is_rounding_alone_is_not_compared_closer():
    @jax.custom_vjp
    def solve(a, b):  # with its residual, as in matfree 0.6.3; the audit of its tests blamed vmap
        x = jnp.linalg.solve(a, b)
        return x, a @ x - b

    def bwd(kept, dys):
        (a, x), (dx, _) = kept, dys  # the residual is 0, whatever a and b are
        db = jnp.linalg.solve(a.T, dx)
        return -jnp.outer(db, x), db

    solve.defvjp(lambda a, b: ((out := solve(a, b)), (a, out[0])), bwd)
    a = jax.random.normal(jax.random.key(0), (13, 13)) * jnp.logspace(0, 3, 13)
    report = checked(solve, (a, jnp.arange(1.0, 14)))
    assert report.ok, f"{report}"


def test_values_that_are_rounding_where_float32_is_another_function():
    # Arnoldi's vectors lose their directions in float32, so that it does not say what rounding does
    matrix = jnp.asarray(1 / (np.arange(13)[:, None] + np.arange(13) + 1), jnp.float32)

    def arnoldi(v):
        rows = [v / jnp.linalg.norm(v)]
        for _ in range(13):
            w = matrix @ rows[-1]
            for row in rows:
                w = w - row * (row @ w)
            rows.append(w / jnp.linalg.norm(w))
        return jnp.stack(rows[:-1]), w

    rule = jax.custom_vjp(arnoldi)
    rule.defvjp(lambda v: jax.vjp(arnoldi, v), lambda pull, dy: pull(dy))
    report = checked(rule, (jnp.sin(jnp.arange(13.0)),), checks=["primal"])
    assert report.failures == (), f"{report}"


@pytest.mark.parametrize(
    ("used", "hint"),
    [((0, 1), "the cotangent of output 2 is"), ((1,), "the cotangents of outputs 0, 2 are")],
    ids=["one", "two"],
)
def test_an_output_whose_cotangent_is_ignored_is_named(used, hint):
    # as lstsq.lsmr of matfree 0.6.3, whose rule drops the cotangents of its statistics
    def outputs(x):
        return jnp.sin(x), jnp.sum(x**2), jnp.exp(x)

    rule = jax.custom_vjp(outputs)

    def bwd(x, dys):
        factors = jnp.cos(x), 2 * x, jnp.exp(x)
        return (sum(factors[i] * dys[i] for i in used),)

    rule.defvjp(lambda x: (outputs(x), x), bwd)
    report = checked(rule, (X,), checks=["vjp"])
    assert f"✗ vjp, x: {hint} ignored" in str(report)


def test_a_second_derivative_is_tried_beyond_the_given_numbers():
    def huber(x):
        return jnp.where(jnp.abs(x) < 1, x**2 / 2, jnp.abs(x) - 0.5)

    def rule(slope):
        clipped = jax.custom_vjp(lambda x: jnp.clip(x, -1, 1))
        clipped.defvjp(lambda x: (jnp.clip(x, -1, 1), x), lambda x, dy: (dy * slope(x),))
        outer = jax.custom_vjp(huber)
        outer.defvjp(lambda x: (huber(x), x), lambda x, dy: (dy * clipped(x),))
        return outer

    x = 0.2 * jnp.array([0.3, -0.2, 0.8, 0.5])
    assert checked(rule(lambda x: jnp.where(jnp.abs(x) < 1, 1.0, 0.0)), (x,)).ok
    report = checked(rule(lambda x: 1.0), (x,))
    assert failed(report) == {("second_order", "x")}
    assert "with 2 added to the arguments" in str(report)


def test_a_large_cotangent_fits_a_narrow_output():
    @jax.custom_vjp
    def centred(x):
        return (x - x.mean(-1, keepdims=True)).astype(jnp.float16)

    centred.defvjp(lambda x: (centred(x), None), lambda _, dy: (dy - dy.mean(-1, keepdims=True),))
    report = checked(centred, (normal(6, 4).astype(jnp.float16),))
    assert report.ok, f"{report}"


def test_an_output_that_is_not_finite_has_no_slope():
    @jax.custom_jvp
    def log1mexp(x):  # as in numpyro 0.22; the audit of its tests called it wrong
        return jnp.where(x > -0.6931472, jnp.log(-jnp.expm1(x)), jnp.log1p(-jnp.exp(x)))

    log1mexp.defjvps(lambda x_dot, _, x: -x_dot / jnp.expm1(-x))
    assert checked(log1mexp, (jnp.array([0.01, 0.0, -jnp.inf]),), checks=["vjp"]).ok
    report = checked(log1mexp, (jnp.array([-0.5, 0.0, -3.0]),))
    assert report.ok, f"{report}"


def test_one_sided_slopes_judge_it():
    report = checked(safe_norm(5.0), (WITH_ZERO_ROW,), checks=["vjp"])
    assert failed(report) == {("vjp", "x")}
    assert "the one-sided slopes of the function are" in report.failures[0].message
    assert checked(safe_norm(0.5), (WITH_ZERO_ROW,), checks=["vjp"]).ok


def test_autodiff_that_the_function_contradicts_is_no_oracle():
    def xlogy(x, y):
        return jnp.where(x == 0, 0.0, x * jnp.log(y))

    args = jnp.asarray([0.0, 0.5, 1.5]), jnp.asarray([2.0, 3.0, 0.5])
    right = rule(xlogy, lambda kept, dy: (dy * jnp.log(kept[1]), dy * kept[0] / kept[1]))
    as_autodiff = rule(
        xlogy,
        lambda kept, dy: (
            dy * jnp.where(kept[0] == 0, 0.0, jnp.log(kept[1])),
            dy * kept[0] / kept[1],
        ),
    )
    assert checked(right, args).ok
    assert ("finite_differences", "x") in failed(checked(as_autodiff, args))


@pytest.mark.parametrize(("at_zero", "verdict"), [(0.5, "right"), (5.0, "wrong")])
def test_at_a_kink_differences_want_a_number_between_the_slopes(at_zero, verdict):
    def bwd(kept, dy):
        (x,) = kept
        return (dy * jnp.where(x == 0, at_zero, jnp.sign(x)),)

    report = checked(rule(jnp.abs, bwd), (WITH_ZERO,), checks=["finite_differences"])
    assert report.verdict == verdict, f"{report}"


def test_a_small_mistake_is_no_kink():
    # one-sided slopes are a thousand times coarser than the differences that they explain
    def power(x):  # without autodiff, so that differences alone see the mistake
        return jax.lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * x, s[1] + 1), (x, 0))[0]

    wrong = rule(power, lambda kept, dy: (dy * 4 * kept[0] ** 3 * (1 + 3e-7),))
    report = checked(wrong, (X,), checks=["finite_differences"])
    assert failed(report) == {("finite_differences", "x")}
    right = rule(power, lambda kept, dy: (dy * 4 * kept[0] ** 3,))
    assert checked(right, (X,), checks=["finite_differences"]).ok
    at_kinks = rule(jnp.abs, lambda kept, dy: (dy * jnp.sign(kept[0]),))
    assert checked(at_kinks, (WITH_ZERO_ROW,), checks=["finite_differences"]).ok


def test_entries_without_a_value_do_not_spoil_the_others():
    report = checked(jnp.log, (X,))
    assert report.ok, f"{report}"
    negative = int(jnp.sum(X < 0))
    (result,) = (r for r in report.results if r.name == "finite_differences")
    assert (result.compared, result.unjudged) == (15 - negative, negative)
    assert f"{negative} entries of x, where the function is not finite" in str(report)
    assert checked(jnp.log, (-jnp.abs(X),)).verdict == "inconclusive"
    wrong = rule(jnp.log, lambda kept, dy: (1.001 * dy / kept[0],))
    assert ("finite_differences", "x") in failed(checked(wrong, (X,)))
    assert checked(rule(jnp.log, lambda kept, dy: (dy / kept[0],)), (X,)).ok


# --- constants, iterations, purpose ---------------------------------------------------------------


def attention_scale(backward):
    d = 7

    def primal(x):
        return jnp.sin(x) / jnp.sqrt(jnp.float32(d))

    return rule(primal, lambda kept, dy: (backward * dy * jnp.cos(kept[0]) / d**0.5,))


def test_a_constant_that_was_rounded_to_float32_is_no_mistake():
    report = checked(attention_scale(1.0), (X,))
    assert report.ok, f"{report}"
    for factor in (1 + 1e-5, 1.001):
        assert ("vjp", "x") in failed(checked(attention_scale(factor), (X,)))


def test_a_hint_shows_the_digits_that_differ():
    slightly = rule(jnp.sin, lambda kept, dy: ((1 + 2e-9) * dy * jnp.cos(kept[0]),))
    (failure,) = checked(slightly, (X,), checks=["vjp"]).failures
    assert failure.hint == "a constant factor: 1.000000002 times the correct gradient"
    first, second = str(failure).split("got ")[1].split("; off")[0].split(", want ")
    assert first != second


def test_the_narrowest_dtype_is_named():
    def bwd(kept, dy):
        return ((dy * jnp.cos(kept[0])).astype(jnp.bfloat16).astype(kept[0].dtype),)

    (failure,) = checked(rule(jnp.sin, bwd), (X,), checks=["vjp"]).failures
    assert failure.hint == "rounded to bfloat16 in an intermediate step"


def fixed_point(one_step):
    """Solve z = tanh(w z + x) to 1e-6, with the implicit gradient or that of one step."""

    def solve(x, w):
        def step(state):
            z, _, n = state
            new = jnp.tanh(w * z + x)
            return new, jnp.max(jnp.abs(new - z)), n + 1

        start = jnp.zeros_like(x), jnp.asarray(1.0, x.dtype), 0
        return jax.lax.while_loop(lambda s: (s[1] > 1e-6) & (s[2] < 200), step, start)[0]

    def bwd(kept, dy):
        _, w, z = kept
        slope = 1 - z**2
        u = dy * slope if one_step else dy * slope / (1 - w * slope)
        return u, jnp.sum(u * z)

    def fwd(x, w):
        z = solve(x, w)
        return z, (x, w, z)

    return rule(solve, bwd, fwd)


def test_what_a_function_is_good_to_widens_every_comparison_and_no_more():
    args, options = (X, jnp.float32(0.6)), {"rtol": 1e-5}
    report = checked(fixed_point(one_step=False), args, **options)
    assert report.ok, f"{report}"
    wrong = checked(fixed_point(one_step=True), args, **options)
    assert {("finite_differences", "x"), ("finite_differences", "w")} <= failed(wrong)
    off = rule(jnp.sin, lambda kept, dy: (1.0001 * dy * jnp.cos(kept[0]),))
    assert checked(off, (X,), checks=["vjp"], rtol=1e-3).ok
    assert not checked(off, (X,), checks=["vjp"], rtol=1e-5).ok
    shifted = rule(jnp.sin, lambda kept, dy: (dy * jnp.cos(kept[0]) + 1e-4,))
    assert not checked(shifted, (X,), checks=["zero_cotangent"], rtol=1e-2).ok
    assert checked(shifted, (X,), checks=["vjp"], atol=1e-3).ok


def clipped(of_w):
    def bwd(kept, dy):
        return jnp.clip(dy @ kept[1].T, -0.1, 0.1), of_w * kept[0].T @ dy

    return rule(lambda x, w: x @ w, bwd)


def test_what_is_expected_of_vjp_is_expected_of_all_that_follows():
    report = checked(clipped(1.0), (X, W), expected_failures={"vjp": "x"})
    assert report.ok, f"{report}"
    assert ("linearity", "expected") in {(r.name, r.status) for r in report.results}
    report = checked(clipped(2.0), (X, W), expected_failures={"vjp": "x"})
    assert ("vjp", "w") in failed(report)


# --- several devices ------------------------------------------------------------------------------


@pytest.mark.skipif(len(jax.devices()) < 2, reason="one device")
def test_a_rule_for_one_device_is_right_on_a_machine_with_two():
    affine = rule(
        lambda x, w, b: x @ w + b,
        lambda kept, dZ: (dZ @ kept[1].T, kept[0].T @ dZ, dZ.sum(0)),
    )
    report = checked(affine, (X, W, B))
    assert report.ok, f"{report}"
    assert {finding.name for finding in report.findings} == {"sharding"}
    assert "! sharding, w: " in str(report)
    asked = checked(affine, (X, W, B), checks=["vjp", "sharding"])
    assert ("sharding", "w") in failed(asked)


def in_shard_map(f):
    mesh = jax.make_mesh((1,), ("rows",))
    return jax.shard_map(f, mesh=mesh, in_specs=jax.P(), out_specs=jax.P())


def test_a_rule_that_uses_a_mesh_counts_as_one_for_several_devices():
    from fcjax.verify.checks import CHECKS
    from fcjax.verify.point import Point
    from fcjax.verify.sample import Sample
    from fcjax.verify.subject import Subject

    for f, counts in ((in_shard_map(scaled_sine), True), (scaled_sine, False)):
        point = Point(f, (X, W), {})
        sample = Sample(f, Subject.of(f, None, point), point, (0,))
        assert CHECKS["sharding"].counts(sample) is counts


# --- mistakes of the checker, of the caller, and time ---------------------------------------------


def test_a_mistake_of_the_checker_is_not_the_rules(monkeypatch):
    from fcjax.verify.checks import values

    def broken(*args, **kwargs):
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(values, "compare", broken)
    with pytest.raises(KeyError, match="a mistake of ours"):
        checked(fcjax.tanh, (X,), checks=["vjp"])


def test_a_mistake_of_the_checker_around_the_users_code_is_not_theirs(monkeypatch):
    from fcjax.verify import point

    monkeypatch.setattr(point, "_sorted", None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        checked(fcjax.tanh, (X,), checks=["vjp"])


def test_what_the_users_code_raises_is_a_failure_with_its_words():
    def bwd(kept, dy):
        raise KeyError("a mistake of theirs")

    report = checked(rule(jnp.sin, bwd), (X,))
    assert report.verdict == "wrong"
    assert "KeyError: 'a mistake of theirs'" in str(report)


def two_arguments(x, w):
    return x @ w


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checked(two_arguments, (X,)), "missing a required argument: 'w'"),
        (
            lambda: checked(fcjax.dense, (X,)),
            "args must fit dense(x, w, b, compute_dtype): missing a required argument: 'w'",
        ),
        (lambda: checked(jnp.sin, (X,), key="a"), "key must be a PRNG key such as"),
        (lambda: checked(jnp.sin, (X,), rtol=-1.0), "rtol must be finite and not neg"),
        (lambda: checked(jnp.sin, (X,), atol="a"), "atol must be a number, got str 'a'"),
        (lambda: checked(jnp.sin, (X,), time_limit=-1), "time_limit must be finite"),
        (lambda: jax.jit(lambda y: checked(jnp.sin, (y,)))(X), "outside of jit"),
        (lambda: checked(lambda x: "a", (X,)), "at least one floating-point array"),
        (
            lambda: checked(jnp.sin, (X,), expected_failures=["vjp"]),
            "expected_failures must map a check to names of arguments, got list",
        ),
        (lambda: checked(jnp.sin, (X,), kinks={"x": None}), "kinks['x'] must map"),
        (lambda: checked(jnp.sin, (X,), kinks="x"), "kinks must map an argument to"),
        (
            lambda: checked(jnp.sin, (X,), kinks={"x": {0.0: np.nan}}),
            "kinks['x'] must map finite numbers",
        ),
        (lambda: check_at_points(jnp.sin, []), "points must contain at least one tuple"),
        (lambda: check_at_points(jnp.sin, [X]), "points[0]: args must be a tuple"),
        (lambda: check_at_points(jnp.sin, 3), "points must be a sequence of tuples"),
        (lambda: check_at_points(jnp.sin, [(X,), (X[1:],)]), "points[1]: x must be float32"),
        (lambda: check_at_points(jnp.sin, [(X,)], checks=["vpj"]), "'vpj' is unknown"),
    ],
)
def test_what_cannot_be_checked_is_refused_at_the_call(call, message, unchecked):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_error_that_ends_in_a_colon_is_not_cut_off():
    @jax.custom_jvp
    def f(x, y):
        return x * y

    f.defjvps(lambda t, ans, x, y: t * y, None)
    report = checked(lambda x: f(x), (X,))
    assert "missing a required argument: 'y'" in str(report)


def test_an_error_is_raised_anew_each_time():
    from fcjax.verify.precision import Precision
    from fcjax.verify.program import Deadline, Program, Refused

    def refuse(x):
        raise ValueError("no")

    program, errors = Program(refuse, Deadline()), []
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            program(Precision.OWN, X)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].error is errors[1].error


def test_entries_without_elements_or_far_wider_than_the_gradient_are_no_evidence():
    halved = rule(jnp.sin, lambda kept, dy: (dy * jnp.cos(kept[0]) / 2,))
    assert checked(halved, (jnp.zeros((0, 3)),)).verdict == "inconclusive"
    assert checked(halved, (X,), rtol=0.5).verdict == "inconclusive"
    assert checked(halved, (X,), atol=1e9).verdict == "inconclusive"
    report = checked(rule(lambda x: 0 * x, lambda kept, dy: (0 * dy,)), (X,))
    assert any("at this point it is zero" in line for line in report.unchecked)


@pytest.mark.parametrize("seed", range(4))
def test_infinite_gradients_do_not_make_a_rule_nonlinear(seed):
    log = rule(jnp.log, lambda kept, dy: (dy / kept[0],))
    args, key = (jnp.asarray([1.0, 2.0, 0.5, 0.0]),), jax.random.key(seed)
    report = checked(log, args, key=key, checks=["linearity", "vjp"])
    assert report.ok, f"{report}"


@pytest.mark.parametrize("flag", ["jax_disable_jit", "jax_debug_nans", "jax_debug_infs"])
def test_what_somebody_switched_on_to_debug_does_not_blame_a_rule(flag):
    before = getattr(jax.config, flag)
    args = (normal(4) ** 2,)
    try:
        jax.config.update(flag, True)
        report = checked(rule(jnp.sqrt, lambda k, dy: (dy / 2 / jnp.sqrt(k[0]),)), args)
    finally:
        jax.config.update(flag, before)
    assert report.ok, f"{report}"


def test_what_no_rule_can_help_is_inconclusive():
    def loop(x):
        return jax.lax.while_loop(
            lambda s: s[0] < 2, lambda s: (s[0] + 1, fcjax.tanh(s[1])), (0, x)
        )[1]

    for fun in (loop, lambda x: dict(x), lambda x: x.nothing):
        report = checked(fun, (X,))
        assert report.verdict == "inconclusive", f"{report}"
        assert report.doubts


def test_a_rule_whose_first_trace_alone_is_wrong_is_not_deterministic():
    calls = [0]

    def bwd(kept, dy):
        calls[0] += 1
        return (dy * jnp.cos(kept[0]) * (1.1 if calls[0] < 2 else 1.0),)

    report = checked(rule(jnp.sin, bwd), (X,), checks=["determinism", "vjp"])
    assert ("determinism", "x") in failed(report), f"{report}"


def test_a_float0_cotangent_of_a_float_is_a_missing_gradient():
    def bwd(kept, dy):
        return (np.zeros(dy.shape, jax.dtypes.float0),)

    report = checked(rule(jnp.sin, bwd), (X,), checks=["vjp"])
    assert "all zeros" in report.failures[0].hint


def test_an_object_without_end_is_searched_for_a_while_only():
    from unittest import mock

    wrong = rule(jnp.sin, lambda kept, dy: (dy,))
    endless = mock.Mock(side_effect=lambda x: wrong(x))
    assert checked(endless, (X,), checks=["vjp"]).verdict == "wrong"


def test_a_time_limit_ends_a_check_with_what_it_has():
    report = checked(fcjax.tanh, (X,), time_limit=0)
    assert report.verdict == "inconclusive"
    left_out = [r.name for r in report.results if "the time limit has passed" in (r.message or "")]
    assert "vjp" in left_out
    assert checked(fcjax.tanh, (X,), time_limit=1000, checks=["vjp"]).ok


def test_a_loop_that_may_not_end_elsewhere_is_not_tried_there():
    def root(x):
        def step(state):
            z, _ = state
            new = 0.5 * (z + x / z)
            return new, jnp.max(jnp.abs(new - z))

        start = x + 1, jnp.asarray(1.0, x.dtype)
        return jax.lax.while_loop(lambda s: s[1] > 1e-7, step, start)[0]

    f = rule(root, lambda y, dy: (0.5 * dy / y,), lambda x: (root(x),) * 2)
    report = checked(f, (jnp.asarray([0.5, 2.0, 9.0]),))
    assert report.ok, f"{report}"
    assert "may not terminate far from 0" in str(report)


def test_a_long_check_shows_how_far_it_is(monkeypatch, capsys):
    from fcjax.verify import check

    monkeypatch.setattr(check, "DELAY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    checked(fcjax.tanh, (X,), checks=["vjp"])
    assert "checks" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    checked(fcjax.tanh, (X,), checks=["vjp"])
    assert capsys.readouterr().err == ""


# --- functions that differentiate ----------------------------------------------------------------


@jax.custom_vjp
def _square_with_half_a_gradient(x):
    return x * x


_square_with_half_a_gradient.defvjp(lambda x: (x * x, x), lambda x, dy: (dy * x,))


def _descends(x):
    return x - 0.1 * jax.grad(lambda y: jnp.sum(_square_with_half_a_gradient(y)))(x)


def _returns_value_and_gradient(x):
    return jax.value_and_grad(lambda y: jnp.sum(_square_with_half_a_gradient(y)))(x)


@pytest.mark.parametrize(
    "fun", [_descends, jax.jit(_descends), _returns_value_and_gradient], ids=["", "jit", "both"]
)
def test_a_rule_that_an_inner_gradient_hides_is_not_called_right(fun):
    report = checked(fun, (jnp.linspace(0.5, 1.5, 5),))
    assert report.verdict == "inconclusive"
    assert "computes a derivative itself" in report.doubts[0]
    assert "JAX's own" not in str(report)


def test_a_rule_that_differentiates_inside_is_no_such_function():
    @jax.custom_vjp
    def rule(x):
        return jnp.sin(x) + jax.grad(lambda y: jnp.sum(y**3))(x)

    rule.defvjp(lambda x: jax.vjp(lambda x: jnp.sin(x) + 3 * x**2, x), lambda pull, dy: pull(dy))
    assert checked(rule, (jnp.linspace(0.5, 1.5, 5),)).verdict == "right"


def test_numbers_alone_are_not_checked():
    with pytest.raises(TypeError, match="args must contain at least one floating-point array"):
        checked(fcjax.tanh, ([1.0, 2.0],))


# --- what the audit of other packages found wrong in the checker itself ---------------------------


def test_autodiff_is_refuted_where_slopes_can_tell_and_not_where_they_cannot():
    # w log p with w = 0: autodiff of `where(w == 0, 0, ...)` has no derivative in w. One of the
    # entries has log p = -1e-4, too small for slopes beside one of 10
    x = jnp.array([10.0, 1.0, -2.0])
    for w in ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]):
        report = checked(weighted_logsoftmax, (x, jnp.array(w)))
        assert report.ok, report


def root(x):
    """Return the y of y + y³ = x, by bisection."""

    def halved(_, ends):
        low, high = ends
        middle = (low + high) / 2
        is_below = middle + middle**3 < x
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = jax.lax.fori_loop(0, 20, halved, (jnp.full_like(x, -4), jnp.full_like(x, 4)))
    return (low + high) / 2


@pytest.mark.parametrize("factor", [1.0, 1.2])
@pytest.mark.parametrize(
    ("x", "dy"),
    [([20.0, 40.0, 60.0], [1.0, -1.0, 0.1]), ([1.0, 8.0, 12.0], [1.0, -0.1, 0.1])],
    ids=["few digits", "bends"],
)
def test_autodiff_is_refuted_where_slopes_are_inaccurate(x, dy, factor):
    # as in the inverses of flowjax and normix: the slope of one entry is no larger than its error,
    # and the slopes of others change by a 50th between two steps
    right = rule(root, lambda kept, dy: (factor * dy / (1 + 3 * root(kept[0]) ** 2),))
    report = checked(right, (jnp.array(x),), rtol=1e-4, atol=1e-5, cotangent=jnp.array(dy))
    assert report.verdict == ("right" if factor == 1 else "wrong"), report


def test_autodiff_of_bits_is_no_oracle():
    # levanter interleaves two arrays by their bits; differences of bfloat16 numbers cannot tell
    def interleaved(x, y):
        low, high = (jax.lax.bitcast_convert_type(a, jnp.uint16) for a in (x, y))
        pairs = low.astype(jnp.uint32) | (high.astype(jnp.uint32) << jnp.uint32(16))
        return jax.lax.bitcast_convert_type(pairs, x.dtype).reshape(5, 6).astype(jnp.float32)

    def gradients(kept, dy):
        return tuple(dy[:, i::2].astype(a.dtype) for i, a in enumerate(kept))

    args = tuple(normal(5, 3, seed=i).astype(jnp.bfloat16) for i in range(2))
    report = checked(rule(interleaved, gradients), args)
    assert report.verdict == "inconclusive", report


def test_an_infinite_gradient_where_autodiff_has_none_is_not_blamed():
    x, w = jnp.array([1.0, -jnp.inf, 2.0]), jnp.array([0.3, 0.2, 0.5])
    product = rule(lambda x, w: x * w, lambda kept, dy: (dy * kept[1], dy * kept[0]))
    plain = functools.partial(jnp.multiply)
    assert not checked(product, (x, w), reference=plain).failures
    report = checked(weighted_logsoftmax, (x, w), checks=["vjp"])
    assert not report.failures, report


def test_differences_of_a_function_that_loses_digits():
    # log(1 + x) has an error of 1e-16, whatever its size
    x = (jnp.array([1e-4, 2e-4, 3e-5]),)
    right = rule(lambda x: jnp.log(1 + x), lambda kept, dy: (dy / (1 + kept[0]),))
    wrong = rule(lambda x: jnp.log(1 + x), lambda kept, dy: (dy / (1 + 2 * kept[0]),))
    assert checked(right, x).ok
    assert ("vjp", "x") in failed(checked(wrong, x))


# --- rules of other packages that were called wrong -----------------------------------------------


def attention(q, k, v):
    scores = jnp.exp(q @ k.T)
    return scores / (scores.sum(-1, keepdims=True) + 1e-10) @ v


def exact_attention_gradients(kept, dy):
    def plain(q, k, v):
        return jax.nn.softmax(q @ k.T) @ v

    return jax.vjp(plain, *kept)[1](dy)


def test_a_difference_that_no_result_in_float32_can_show_is_none():
    # flash-attention-jax adds 1e-10 to a denominator, and leaves it out of the gradient
    args = normal(5, 3), normal(4, 3, seed=1), normal(4, 2, seed=2)
    inexact = rule(attention, exact_attention_gradients)
    assert checked(inexact, args, checks=["vjp", "dot_product"]).verdict == "right"
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.float64) for x in args]
        assert checked(inexact, wide, checks=["vjp"]).verdict == "wrong"


def test_coefficients_with_many_digits_are_rounded_at_integers_too():
    # spherical harmonics have coefficients such as the root of 3
    root = np.float32(np.sqrt(3.0))
    square = rule(lambda x: root * x * x, lambda kept, dy: (2 * (dy * (root * kept[0])),))
    (result,) = [r for r in checked(square, (X,)).results if r.name == "exact"]
    assert result.message == "the function is not a polynomial with short coefficients"
    (result,) = [r for r in checked(cubed, (X,)).results if r.name == "exact"]
    assert result.status == "passed"


cubed = rule(lambda x: 1.5 * x**3, lambda kept, dy: (4.5 * kept[0] ** 2 * dy,))


def test_a_product_may_be_told_to_add_in_float32():
    # kernels of cuEquivariance ask for it, whatever the dtype of their arguments
    single = jax.lax.DotAlgorithmPreset.F32_F32_F32

    def product(x, w):
        return jax.lax.dot(x, w, precision=single)

    in_single = rule(product, lambda kept, dy: (
        product(dy, kept[1].T), product(kept[0].T, dy)
    ))  # fmt: skip
    assert checked(in_single, (X, W)).verdict == "right"


def test_a_program_that_was_compiled_without_its_constants_is_compiled_again(monkeypatch):
    # by JAX 0.12, under checkpoint and scan, for solvers of jaxopt that close over arrays
    def compiled(*_, **__):
        def call(*_):
            raise TypeError("Computation compiled for 5 inputs but called with 3")

        return call

    monkeypatch.setattr("fcjax.verify.program.compiled", compiled)
    report = checked(cubed, (X,), checks=["vjp", "checkpoint", "scan"])
    assert report.verdict == "right", report


def test_a_time_limit_may_pass_after_a_mistake_was_found(monkeypatch):
    def time_is_up(*_):
        raise TimeUp

    monkeypatch.setattr(culprit, "_wrong", time_is_up)
    report = checked(forgets_w, (X, W), checks=["vjp"])
    assert report.verdict == "wrong"
    assert report.culprits == ()
