"""The page that explains a training step: its numbers, its mistakes, and what it needs."""

import base64
import json
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import quick_networks

import fcjax
from fcjax import activations, losses
from fcjax.cli.explain import explain
from fcjax.explainer import arrays, formulas, mistakes, oracles, record
from fcjax.explainer.explain import Page
from fcjax.explainer.mixing import mixing_of
from fcjax.explainer.page import Effect, Found, render
from fcjax_cli.options import Explained

X = jnp.array([[0.0, 0.2], [0.1, 1.0], [1.0, -0.3], [0.9, 1.1], [0.4, 0.7]])
Y = jnp.array([[0.0], [1.0], [1.0], [0.0], [1.0]])
PARAMS = fcjax.init(jax.random.key(0), (2, 4, 1), b_init=jax.nn.initializers.normal(0.5))


def task_of(loss=None, x=X, hidden=fcjax.sigmoid, output=fcjax.sigmoid):
    loss = loss or (lambda a: fcjax.binary_cross_entropy(a, Y))
    return record.Task((hidden, output), x, loss, 0.5)


@pytest.fixture(scope="module")
def page():
    return fcjax.explain(
        PARAMS,
        X,
        fcjax.binary_cross_entropy,
        Y,
        activations="sigmoid",
        output_activation="sigmoid",
        steps=5,
    )


def data_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html)
    return json.loads(found[1])


def numbers(data, text, name):
    shape = data["shapes"][name]
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, *shape)


def by_numpy(steps, rate):
    """Return the gradients of each step of a sigmoid network, in float64 and by NumPy alone."""
    (w1, b1), (w2, b2) = [[np.asarray(a, np.float64) for a in layer] for layer in PARAMS]
    x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    for _ in range(steps):
        a1 = 1 / (1 + np.exp(-(x @ w1 + b1)))
        a2 = 1 / (1 + np.exp(-(a1 @ w2 + b2)))
        dz2 = (a2 - y) / len(x)
        dz1 = dz2 @ w2.T * a1 * (1 - a1)
        found = {"dZ2": dz2, "dW2": a1.T @ dz2, "db2": dz2.sum(0, keepdims=True)}
        found |= {"dZ1": dz1, "dW1": x.T @ dz1, "db1": dz1.sum(0, keepdims=True), "dX": dz1 @ w1.T}
        yield found
        w1, b1 = w1 - rate * found["dW1"], b1 - rate * found["db1"][0]
        w2, b2 = w2 - rate * found["dW2"], b2 - rate * found["db2"][0]


def test_the_numbers_of_each_step_are_those_of_numpy_in_float64(page):
    data = data_of(page)
    assert data["numbers"] == [0, 1, 2, 3, 4, 5]
    for step, want in enumerate(by_numpy(6, 0.5)):
        for name, array in want.items():
            got = numbers(data, data["arrays"][name], name)[step]
            np.testing.assert_allclose(got, array, rtol=2e-5, atol=1e-6, err_msg=name)


def test_the_oracles_of_the_page_agree_with_numpy(page):
    data = data_of(page)
    want = next(by_numpy(1, 0.5))
    for oracle, rtol in (("autodiff", 1e-6), ("differences", 1e-6)):
        for name, array in want.items():
            got = numbers(data, data["oracles"][oracle][name], name)[0]
            np.testing.assert_allclose(got, array, rtol=rtol, atol=1e-8, err_msg=name)


def test_the_oracles_call_no_hand_written_rule(monkeypatch):
    (step,) = record.record(task_of(), PARAMS, {0})
    value = oracles._value_of(task_of())
    with jax.enable_x64(True):
        assert not fcjax.verify.rules_in(value, oracles._points(task_of(), step.layers))


@pytest.mark.parametrize("mistake", mistakes.MISTAKES, ids=lambda m: m.key)
def test_each_mistake_changes_a_gradient_and_the_checker_names_it(mistake):
    (right,) = record.record(task_of(), PARAMS, {0})
    (wrong,) = record.record(task_of(), PARAMS, {0}, mistakes.backward_with(mistake.key))
    found = {
        name
        for one, other in zip(right.layers, wrong.layers, strict=True)
        for name in ("dW", "db")
        if not np.allclose(getattr(one, name), getattr(other, name), rtol=1e-5)
    }
    assert found == {"mean": {"dW", "db"}, "derivative": {"dW", "db"}, "sum": {"db"}}.get(
        mistake.key, {"dW"}
    )
    text = "\n".join(mistakes.words(mistake, task_of(), right.layers))
    says = {
        "mean": "5 times too large: is 1/5 missing?",
        "derivative": "the factor g' is missing",
        "transpose": "transposed, and read in the shape of the argument: is a .T missing?",
        "sum": "the sum over examples is missing",
        "sign": "the sign is wrong",
    }
    assert says[mistake.key] in text


def test_the_backward_pass_without_a_mistake_is_that_of_the_rules():
    (right,) = record.record(task_of(), PARAMS, {0})
    (same,) = record.record(task_of(), PARAMS, {0}, mistakes.backward_with(""))
    for one, other in zip(right.layers, same.layers, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


def test_units_that_do_not_learn_are_marked():
    params = (
        fcjax.Layer(jnp.eye(2, 3), jnp.array([0.0, -9.0, 40.0])),
        fcjax.Layer(jnp.ones((3, 1)), jnp.zeros(1)),
    )
    relu = record.record(task_of(hidden=fcjax.relu, output=fcjax.identity), params, {0})
    tanh = record.record(task_of(hidden=fcjax.tanh, output=fcjax.identity), params, {0})
    assert relu[0].states == (("", "dead", ""), ("",))
    assert tanh[0].states == (("", "saturated", "dead"), ("",))
    leaky = record.record(task_of(hidden=fcjax.leaky_relu, output=fcjax.identity), params, {0})
    assert leaky[0].states == (("", "", ""), ("",))  # whose slope stays 0.01
    softmax = record.record(task_of(hidden=fcjax.softmax), params, {0})
    assert softmax[0].states[0] == ("", "", "")


MIXING = {
    "softmax": (fcjax.softmax, "row"),
    "log_softmax": (fcjax.log_softmax, "row"),
    "softmax over the batch": (partial(fcjax.softmax, axis=0), "batch"),
    "a norm in a lambda": (lambda z: fcjax.rms_norm(z, jnp.ones(4)), "row"),
    "glu": (fcjax.glu, "row"),
    "sort": (lambda z: jnp.sort(z, axis=1), "row"),
    "a norm of the batch": (lambda z: z - z.mean(0), "batch"),
    "relu": (fcjax.relu, "entry"),
    "JAX's": (lambda z: jnp.log(z) * jnp.sin(z), "entry"),
    "options": (partial(fcjax.elu, alpha=jnp.arange(4.0)), "entry"),
}


@pytest.mark.parametrize(("activation", "want"), MIXING.values(), ids=MIXING)
def test_what_an_activation_mixes_is_known(activation, want):
    assert mixing_of(activation, (5, 4), np.dtype("float32")) == want


def test_an_activation_that_mixes_a_row_has_no_slope():
    params = fcjax.init(jax.random.key(1), (2, 4, 3))
    for output in (fcjax.softmax, lambda z: fcjax.layer_norm(z, jnp.ones(3), jnp.zeros(3))):
        page = fcjax.explain(params, X, lambda a: jnp.mean(a**2), output_activation=output, steps=1)
        assert data_of(page)["mixing"] == ["entry", "row"]
        card = page.html.partition("<h3>Layer 2: back through")[2].partition("</section>")[0]
        assert "no entry has a slope of its own" in card
        of_1, of_2 = (
            formulas.mathml(rf"dZ_{{{l}}} = dA_{{{l}}} \odot g'(Z_{{{l}}})") for l in (1, 2)
        )
        assert of_1 in page.html
        assert of_2 not in page.html


@pytest.mark.parametrize(
    "name", ["soft_sign", "squareplus", "log_sigmoid", "elu", "gelu", "sigmoid"]
)
def test_units_saturate_where_the_slope_vanishes(name):
    params = (fcjax.Layer(jnp.eye(2, 3), jnp.array([0.0, -30.0, 30.0])),)
    task = record.Task((getattr(fcjax, name),), X, lambda a: jnp.mean(a**2), 0.5)
    (states,) = record.record(task, params, {0})[0].states
    assert {*states[1:]} & {"saturated", "dead"}
    assert states[0] == ""


def test_what_a_mistake_does_is_said_truly(page):
    html = page.html.partition("<h2>Break it</h2>")[2]
    assert "All gradients are 5 times as large: it acts as a rate of 2.5." in html
    assert "It draws a gradient of the output at random" in html
    zeros = fcjax.explain(
        PARAMS, 0 * X, fcjax.squared_error, Y, activations="identity", steps=1
    ).html
    card = zeros.partition('data-mistake="derivative"')[2].partition("</section>")[0]
    assert "At these numbers it makes no difference." in card
    for name in ("sign", "transpose"):  # in the second layer, whose input is not 0
        card = zeros.partition(f'data-mistake="{name}"')[2].partition("</section>")[0]
        assert ("<pre" in card) != ("makes no difference" in card)
    assert "changes nothing" not in zeros


@pytest.mark.parametrize(("last", "says"), [(np.inf, "infinite"), (np.nan, "not a number")])
def test_a_loss_that_is_not_finite_diverges(last, says):
    (step,) = record.record(task_of(), PARAMS, {0})
    effect = Effect(mistakes.MISTAKES[0], (step,), np.array([1.0, last]), ())
    found = Found(
        task_of(), (step,), np.ones(2), arrays.axes_of(step),
        oracles.autodiff(task_of(), step.layers),
        oracles.differences(task_of(), step.layers), (effect,),
    )  # fmt: skip
    assert f"The training diverges: the loss is {says} after 1 steps." in render(found)


def test_a_wrong_gradient_that_leads_further_down_is_no_better():
    params = fcjax.init(jax.random.key(0), (2, 4, 1))
    page = fcjax.explain(
        params, X, fcjax.squared_error, Y, activations="sigmoid", output_activation="sigmoid",
        learning_rate=0.01, steps=1,
    )  # fmt: skip
    data = data_of(page)
    card = page.html.partition('data-mistake="derivative"')[2].partition("</section>")[0]
    assert data["mistakes"]["derivative"]["losses"][-1] < data["losses"][-1]
    assert "one that is too large acts as a larger rate" in card


def test_zero_has_no_sign():
    params = (fcjax.Layer(jnp.array([[-1.0], [0.5]]), jnp.zeros(1)),)
    html = fcjax.explain(params, 0 * X, fcjax.squared_error, 0 * Y, steps=1).html
    assert ">-0<" not in html
    wide = jnp.zeros((5, 20)) * -1
    html = fcjax.explain(
        (fcjax.Layer(jnp.ones((20, 1)), None),), wide, fcjax.squared_error, Y, steps=1
    ).html
    assert "5 × 20 numbers, from 0 to 0" in html


def test_large_layers_are_sampled_and_say_so():
    params = fcjax.init(jax.random.key(0), (3, 100, 2))
    x, labels = jnp.ones((70, 3)) * jnp.arange(70.0)[:, None] / 70, jnp.arange(70) % 2
    task = record.Task(
        (fcjax.relu, fcjax.identity), x, lambda a: fcjax.softmax_cross_entropy(a, labels), 0.5
    )
    (step,) = record.record(task, params, {0})
    axes = arrays.axes_of(step)
    assert axes.is_sampled
    shown = arrays.arrays_of(step, axes)
    assert shown["W1"].shape == (3, 64)
    assert shown["dW2"].shape == (64, 2)
    assert shown["A1"].shape == (64, 64)
    np.testing.assert_array_equal(shown["Z1"][-1], step.layers[0].Z[-1, axes.units[1]])
    found = Found(
        task, (step,), np.ones(2), axes, oracles.autodiff(task, step.layers),
        oracles.differences(task, step.layers), (),
    )  # fmt: skip
    html = render(found)
    assert "64 are shown" in html
    assert "<canvas" in html
    captions = re.findall(r"<small>(\d[^<]*)</small></figcaption>", html)
    assert {"3 × 100, 3 × 64 of it shown, kept", "70 × 3, 64 × 3 of it shown, kept"} < {*captions}
    assert not [text for text in captions if text.startswith(("3 × 64", "64"))]
    A1 = step.layers[0].A
    assert f"70 × 100 numbers, from {A1.min():.4g} to {A1.max():.4g}" in html


def test_differences_of_a_large_network_are_at_some_entries(monkeypatch):
    monkeypatch.setattr(oracles, "WORK", 1e3)
    (step,) = record.record(task_of(), PARAMS, {0})
    exact = oracles.autodiff(task_of(), step.layers)
    found = oracles.differences(task_of(), step.layers)
    known = np.isfinite(found[0].dZ)
    assert known.sum() == oracles.FEWEST
    np.testing.assert_allclose(found[0].dZ[known], exact[0].dZ[known], rtol=1e-6)


def test_differences_are_one_program_for_any_number_of_layers():
    traced = []

    def loss(a):
        traced.append(a)
        return jnp.mean(a**2)

    counts = []
    for sizes in ((2, 3, 1), (2, 3, 3, 3, 3, 1)):
        task = record.Task((fcjax.tanh,) * (len(sizes) - 1), X, loss, 0.5)
        (step,) = record.record(task, fcjax.init(jax.random.key(0), sizes), {0})
        traced.clear()
        found, exact = oracles.differences(task, step.layers), oracles.autodiff(task, step.layers)
        counts.append(len(traced))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), found, exact)
    assert counts[0] == counts[1]


def test_every_activation_and_loss_has_a_formula():
    assert set(formulas.ACTIVATIONS) == {*activations.ACTIVATIONS, "layer_norm", "rms_norm"}
    ours = {
        name
        for name in dir(losses)
        if callable(getattr(losses, name)) and not name.startswith(("_", "dense_"))
    }
    assert set(formulas.LOSSES) == ours
    for pair in (formulas.EXACT_GELU, *formulas.ACTIVATIONS.values(), *formulas.LOSSES.values()):
        for latex in pair:
            assert formulas.mathml(latex).startswith("<math")


def test_the_formula_of_an_activation_is_that_of_its_options():
    for g, says in {
        fcjax.leaky_relu: "s = 0.01",
        partial(fcjax.leaky_relu, negative_slope=0.2): "s = 0.2",
        jax.nn.leaky_relu: "s = 0.01",
        fcjax.elu: r"\alpha = 1",
        partial(fcjax.celu, alpha=jnp.array([1.0, 2.5])): r"\alpha = (1, 2.5)",
        fcjax.squareplus: "b = 4",
        fcjax.selu: r"\lambda = 1.0507, \; \alpha = 1.6733",
        partial(
            fcjax.rms_norm, scale=jnp.ones(9)
        ): r"s \text{ of 9 numbers}, \; \epsilon = 1 \cdot 10^{-5}",
    }.items():
        assert formulas.of_activation(g)[0].endswith(says)
    assert formulas.of_activation(fcjax.rms_norm)[0].endswith(r"\epsilon = 1 \cdot 10^{-5}")
    assert formulas.of_loss(fcjax.huber, 2)[0].endswith(r"\delta = 1")
    assert formulas.of_loss(partial(fcjax.huber, delta=0.5), 2)[0].endswith(r"\delta = 0.5")
    assert formulas.of_loss(partial(fcjax.squared_error, reduction="sum"), 2) == ()
    approximate, exact = formulas.ACTIVATIONS["gelu"], formulas.EXACT_GELU
    assert "tanh" in approximate[0]
    assert formulas.of_activation(fcjax.gelu) == approximate
    assert formulas.of_activation(jax.nn.gelu) == approximate
    assert formulas.of_activation(partial(fcjax.gelu, approximate=True)) == approximate
    assert formulas.of_activation(partial(fcjax.gelu, approximate=False)) == exact


def test_the_formula_of_gelu_is_what_is_computed():
    z = np.linspace(-4, 4, 33)
    u = np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)
    h, du = (1 + np.tanh(u)) / 2, np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    slope = jax.vmap(jax.grad(fcjax.gelu))(jnp.asarray(z, jnp.float32))
    np.testing.assert_allclose(z * h, fcjax.gelu(z.astype(np.float32)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(h + 2 * z * h * (1 - h) * du, slope, rtol=1e-5, atol=1e-6)


def test_the_pieces_of_a_derivative_are_those_of_the_formula():
    z = jnp.array([-4.0, -2.0, -0.5, 0.5, 2.0, 4.0])
    for g, steep, edge in (
        (fcjax.hard_silu, (2 * z + 3) / 6, 3),
        (fcjax.sparse_plus, (z + 1) / 2, 1),
    ):
        want = jnp.where(abs(z) < edge, steep, z > 0)
        np.testing.assert_allclose(jax.vmap(jax.grad(g))(z), want, rtol=1e-6)
        assert r"\text{ else } [z > 0]" in formulas.of_activation(g)[1]
        assert rf"|z| < {edge}" in formulas.of_activation(g)[1]


def test_a_function_has_no_formula_only_because_of_its_name():
    def relu(z):
        return 2 * z

    assert formulas.of_activation(relu) is None
    assert formulas.of_activation(lambda z: z) is None
    assert formulas.of_activation(jax.nn.relu) == formulas.ACTIVATIONS["relu"]


@pytest.mark.parametrize("name", sorted({*activations.ACTIVATIONS} - {"glu"}))
@pytest.mark.in_turn(5)
def test_every_activation_can_be_explained(name):
    params = fcjax.init(jax.random.key(1), (2, 4, 3))
    task = record.Task(
        (activations.ACTIVATIONS[name], fcjax.identity), X, lambda a: jnp.mean(a**2), 0.1
    )
    (step,) = record.record(task, params, {0})
    found = oracles.autodiff(task, step.layers)
    for layer, oracle in zip(step.layers, found, strict=True):
        for key in ("dA", "dZ", "dW", "db", "dX"):
            np.testing.assert_allclose(
                getattr(layer, key), getattr(oracle, key), rtol=1e-4, atol=1e-6, err_msg=key
            )


def test_the_code_under_a_backward_step_is_that_of_its_derivative(page):
    code = page.html.partition("back through sigmoid")[2].partition("</details>")[0]
    assert "fcjax/activations/_smooth.py" in code
    assert "return a * (1 - a)" in code
    steep = partial(fcjax.leaky_relu, negative_slope=0.2)
    html = fcjax.explain(PARAMS, X, losses.squared_error, Y, activations=steep, steps=1).html
    code = html.partition("back through leaky_relu")[2].partition("</details>")[0]
    assert "jnp.where(a &gt;= 0, 1, negative_slope)" in code


def test_the_page_needs_nothing_from_elsewhere(page):
    html = page.html.replace("http://www.w3.org/1998/Math/MathML", "")
    assert not re.search(r"https?://|<link|@import|url\(", html)
    assert not re.search(r'\b(src|href)="', html)


def test_the_page_shows_its_numbers_without_scripts(page):
    want = next(by_numpy(1, 0.5))
    before_scripts = page.html[: page.html.index('id="data"')]
    for value in want["dW1"].ravel():
        assert f"{np.float32(value):.4g}"[:5] in before_scripts
    assert "is 1/5 missing" in before_scripts


def test_the_page_says_which_gradients_are_of_autodiff(page):
    def header(**given):
        html = fcjax.explain(
            PARAMS, X, **{"loss": fcjax.squared_error, "target": Y} | given, steps=1
        ).html
        return html.partition("</header>")[0]

    ours = "All numbers are those of the hand-written rules in this run."
    assert ours in page.html
    assert ours in header(loss=partial(fcjax.huber, delta=0.5))
    assert ours in header(output_activation=partial(fcjax.layer_norm, scale=jnp.ones(1), bias=Y[0]))
    plain = header(activations=jnp.sin, loss=lambda a, y: jnp.mean((a - y) ** 2))
    assert "All numbers" not in plain
    of = "of the activation sin and the loss &lt;lambda&gt;"
    assert f"Autodiff gives the gradient {of}, without such a rule." in plain
    mixed = header(loss=lambda a, y: fcjax.squared_error(a, y) + jnp.sum(a**2))
    assert "All numbers" not in mixed
    of = "of the loss &lt;lambda&gt;"
    assert f"Autodiff gives the gradient {of}, by the rules that it calls." in mixed


def test_the_inputs_have_their_names():
    names = ["first", "</script><b>"]
    page = fcjax.explain(PARAMS, X, fcjax.squared_error, Y, steps=1, names=names)
    assert data_of(page)["names"] == names
    for name, label in (("X", "2{}"), ("dX", "2{}"), ("W1", "{} 2"), ("dW1", "{} 2")):
        figure = page.html.partition(f'data-name="{name}"')[2].partition("</figure>")[0]
        small = '<small class="name">&lt;/script&gt;&lt;b&gt;</small>'
        assert label.format(small) in figure
    assert "<b>" not in page.html
    wide = fcjax.init(jax.random.key(0), (100, 1))
    page = fcjax.explain(
        wide,
        jnp.ones((5, 100)),
        fcjax.squared_error,
        Y,
        steps=1,
        names=[f"x{k}" for k in range(100)],
    )
    data = data_of(page)
    assert data["names"] == [f"x{k}" for k in data["units"][0]]


@pytest.mark.parametrize("names", [["a"], "ab", ["a", 2], ["a", "b", "c"]])
def test_names_are_one_text_for_each_column(names, unchecked):
    with pytest.raises(ValueError, match="names must be 2 texts, one for each column of x, got"):
        fcjax.explain(PARAMS, X, fcjax.squared_error, Y, names=names)


def test_a_model_brings_its_own_activations(page):
    model = fcjax.Model(PARAMS, "sigmoid", "sigmoid")
    assert data_of(fcjax.explain(model, X, fcjax.binary_cross_entropy, Y, steps=5)) == data_of(page)


def test_a_page_can_be_saved_and_shown(page, tmp_path):
    path = page.save(tmp_path / "page.html")
    assert path.read_text() == page.html
    assert repr(page).startswith("Page(")
    assert page._repr_html_().startswith("<iframe srcdoc=")


def test_wrong_inputs_are_named():
    loss = fcjax.binary_cross_entropy
    with pytest.raises(
        ValueError, match=r"x must be a batch of rows, \(m, 2\), got float32\[0, 2\]"
    ):
        fcjax.explain(PARAMS, X[:0], loss, Y)
    with pytest.raises(ValueError, match="steps must be a positive integer, got int 0"):
        fcjax.explain(PARAMS, X, loss, Y, output_activation="sigmoid", steps=0)
    with pytest.raises(TypeError, match=r"loss must return a number, got float32\[5\]"):
        fcjax.explain(PARAMS, X, lambda a: a[:, 0])
    with pytest.raises(ValueError, match="activations"):
        fcjax.explain(PARAMS, X, loss, Y, activations="sigmid")
    with pytest.raises(
        ValueError, match=r"learning_rate must be a positive number, got float -1.0"
    ):
        fcjax.explain(PARAMS, X, loss, Y, learning_rate=-1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda a: jnp.nan * jnp.sum(a)}, "loss must be finite for these arguments, got"),
        ({"loss": lambda a: jnp.sum(a > 0)}, "loss must return a real floating-point number, got"),
        ({"output_activation": lambda z: z[:, :0]}, "the activation of layer 2 must return"),
        (
            {"activations": lambda z: z.astype(jnp.bfloat16)},
            "the activation of layer 1 must return",
        ),
        (
            {"params": fcjax.Model(PARAMS, compute_dtype="bfloat16")},
            "a model without compute_dtype",
        ),
        ({"loss": fcjax.squared_error}, "float32[5, 1], and target: squared_error() missing 1"),
        (
            {"loss": fcjax.squared_error, "target": jnp.ones(3)},
            "loss cannot be computed from the output, float32[5, 1], and target: target must have",
        ),
        ({"x": X.at[0, 1].set(jnp.inf)}, "x must hold finite numbers, got inf at [0, 1]"),
        (
            {"params": (PARAMS[0], fcjax.Layer(jnp.full((4, 1), -jnp.inf), None))},
            "params[1].w must hold finite numbers, got -inf at [0, 0]",
        ),
        (
            {"params": (PARAMS[0], fcjax.Layer(PARAMS[1].w, jnp.full(1, jnp.nan)))},
            "params[1].b must hold finite numbers, got nan at [0]",
        ),
        (
            {"loss": fcjax.squared_error, "target": Y.at[2, 0].set(jnp.nan)},
            "target must hold finite numbers, got nan at [2, 0]",
        ),
        (
            {
                "params": fcjax.init(jax.random.key(0), (2, 3)),
                "loss": partial(fcjax.softmax_cross_entropy, label_smoothing=0.1),
                "target": jnp.array([0, 1, 3, 0, -1]),
            },
            "target must hold classes from 0 to 2, the outputs of the network, got 3 at [2]",
        ),
        (
            {
                "params": fcjax.init(jax.random.key(0), (2, 3)),
                "loss": partial(fcjax.softmax_cross_entropy, ignore_index=-1),
                "target": jnp.array([0, -1, 2, 0, 5]),
            },
            "target must hold classes from 0 to 2, the outputs of the network, got 5 at [4]",
        ),
        (
            {"loss": fcjax.softmax_cross_entropy, "target": np.array(["a", "b", "a", "a", "b"])},
            "target must be an array of numbers, such as the numbers of classes, got <U1[5]",
        ),
    ],
)
def test_what_a_page_cannot_show_is_refused(change, message, unchecked):
    given = {"params": PARAMS, "x": X, "loss": lambda a: jnp.sum(a**2)} | change
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fcjax.explain(**given)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parameters_may_be_narrower_than_the_batch(dtype):
    params = jax.tree.map(lambda V: V.astype(dtype), PARAMS)
    data = data_of(fcjax.explain(params, X, fcjax.squared_error, Y, steps=1))
    want = fcjax.mlp(params, X)
    np.testing.assert_allclose(numbers(data, data["arrays"]["A2"], "A2")[0], want, rtol=1e-6)


def test_the_rate_is_one_with_which_the_loss_falls():
    params = (fcjax.Layer(3.0 * jnp.ones((2, 1)), jnp.zeros(1)),)
    data = data_of(fcjax.explain(params, 30 * X, fcjax.squared_error, Y, steps=1))
    assert np.isfinite(data["losses"]).all()
    assert data["losses"][-1] < data["losses"][0]


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_no_loss_is_above_the_first_with_the_default_rate(seed):
    params = fcjax.init(jax.random.key(seed), (3, 5, 2))
    x, y = jax.random.normal(jax.random.key(seed + 1), (2, 8, 3))
    given = {"activations": "log_sigmoid", "steps": 1}
    curve = [
        data_of(fcjax.explain(params, x, fcjax.half_squared_error, y[:, :2], **given, **rate))[
            "losses"
        ]
        for rate in ({"learning_rate": 0.5}, {})
    ]
    assert max(curve[0]) > curve[0][0] > curve[0][-1]  # which rises at first
    assert max(curve[1]) == curve[1][0] > curve[1][-1]


def test_the_default_rate_is_for_all_steps_that_are_shown(monkeypatch):
    monkeypatch.setattr(sys.modules["fcjax.explainer.explain"], "CURVE", 2)
    params = (fcjax.Layer(jnp.full((1, 1), 1.0), None),)

    def loss(a):  # falls from 1 to -1, and then rises to 60
        return jnp.sum(jnp.where(a > -1, a, -1 - 120 * (a + 1)))

    data = data_of(fcjax.explain(params, jnp.ones((1, 1)), loss, steps=30))
    assert max(data["losses"]) == data["losses"][0]


def test_there_is_a_loss_for_each_step_that_is_shown():
    params = fcjax.init(jax.random.key(3), (2, 1))
    data = data_of(fcjax.explain(params, X, fcjax.squared_error, Y, steps=100))
    assert data["numbers"][-1] == 100
    assert len(data["losses"]) == 101


def test_a_sum_has_no_mean_that_could_be_lost_and_options_are_named():
    loss = partial(fcjax.softmax_cross_entropy, reduction="sum")
    params = fcjax.init(jax.random.key(3), (2, 3))
    page = fcjax.explain(params, X, loss, jnp.array([0, 1, 2, 0, 1]), steps=1)
    assert set(data_of(page)["mistakes"]) == {"derivative", "transpose", "sum", "sign"}
    assert "softmax_cross_entropy(reduction=&#39;sum&#39;)" in page.html


@pytest.mark.parametrize(
    ("loss", "is_mean"),
    [
        (fcjax.softmax_cross_entropy, True),
        (lambda z, y: fcjax.softmax_cross_entropy(z, y, reduction="sum"), False),
        (lambda z, y: jnp.mean(jax.nn.logsumexp(z, 1) - z[jnp.arange(len(y)), y]), True),
        (lambda z, y: jnp.sum(jax.nn.logsumexp(z, 1) - z[jnp.arange(len(y)), y]), False),
        (partial(fcjax.softmax_cross_entropy, weights=jnp.arange(1.0, 6)), False),
    ],
    ids=["ours", "sum", "mean of JAX", "sum of JAX", "weights of the batch"],
)
def test_the_mean_can_be_lost_only_of_a_loss_that_is_one(loss, is_mean):
    params = fcjax.init(jax.random.key(3), (2, 3))
    page = fcjax.explain(params, X, loss, jnp.array([0, 1, 2, 0, 1]), steps=1)
    assert ("mean" in data_of(page)["mistakes"]) == is_mean
    assert ("1/m is lost" in page.html) == is_mean


def test_the_mean_of_a_loss_without_a_target_can_be_lost():
    for loss, is_mean in ((lambda a: jnp.mean(a**2), True), (lambda a: jnp.sum(a**2), False),
                          (lambda a: jnp.sum((a - Y) ** 2), False)):  # fmt: skip
        data = data_of(fcjax.explain(PARAMS, X, loss, steps=1))
        assert ("mean" in data["mistakes"]) == is_mean


def test_a_network_without_biases_cannot_lose_a_sum_of_them():
    params = fcjax.init(jax.random.key(3), (2, 4, 1), bias=False)
    data = data_of(fcjax.explain(params, X, fcjax.squared_error, Y, steps=1))
    assert set(data["mistakes"]) == {"mean", "derivative", "transpose", "sign"}
    params = (params[0], fcjax.Layer(params[1].w, jnp.zeros(1)))
    assert "sum" in data_of(fcjax.explain(params, X, fcjax.squared_error, Y, steps=1))["mistakes"]


def test_entries_of_long_axes_keep_their_numbers():
    params = fcjax.init(jax.random.key(0), (2, 300, 1))
    data = data_of(fcjax.explain(params, X, fcjax.squared_error, Y, steps=1))
    columns = data["units"][1]
    assert (columns[0], columns[-1], len(columns)) == (0, 299, 64)
    got = numbers(data, data["arrays"]["W1"], "W1")[0]
    np.testing.assert_array_equal(got, params[0].w[:, np.array(columns)])


# --- cross-entropy of logits, and norms -----------------------------------------------------------

LABELS = np.array([0, 2, 1, 1, 2])


@pytest.mark.parametrize("one_hot", [False, True], ids=["integers", "one-hot"])
def test_the_gradient_of_softmax_cross_entropy_stands_beside_p_and_y(one_hot):
    params = fcjax.init(jax.random.key(3), (2, 3))
    y = np.eye(3)[LABELS]
    target = jnp.asarray(y if one_hot else LABELS)
    data = data_of(fcjax.explain(params, X, fcjax.softmax_cross_entropy, target, steps=1))
    z = np.asarray(X, np.float64) @ np.asarray(params[0].w) + np.asarray(params[0].b)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    for name, want in {"p": p, "y": y, "dA1": (p - y) / 5}.items():
        got = numbers(data, data["arrays"][name], name)[0]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_gradient_of_sigmoid_cross_entropy_stands_beside_p_and_y():
    data = data_of(fcjax.explain(PARAMS, X, fcjax.sigmoid_binary_cross_entropy, Y, steps=1))
    of = {name: numbers(data, data["arrays"][name], name)[0] for name in ("p", "y", "dA2", "A2")}
    np.testing.assert_allclose(of["p"], 1 / (1 + np.exp(-of["A2"].astype(float))), rtol=1e-6)
    np.testing.assert_allclose(of["dA2"], (of["p"] - of["y"]) / 5, rtol=1e-5, atol=1e-8)


def test_a_loss_that_smooths_its_labels_has_no_p():
    loss = partial(fcjax.softmax_cross_entropy, label_smoothing=0.1)
    params = fcjax.init(jax.random.key(3), (2, 3))
    data = data_of(fcjax.explain(params, X, loss, jnp.asarray(LABELS), steps=1))
    assert "p" not in data["shapes"]
    np.testing.assert_array_equal(numbers(data, data["arrays"]["y"], "y")[0, :, 0], LABELS)


GRADIENTS_OF_LOSSES = {
    "squared_error": lambda a, y: 2 * (a - y) / 5,
    "half_squared_error": lambda a, y: (a - y) / 5,
    "mean_squared_error": lambda a, y: 2 * (a - y) / 5 / a.shape[1],
    "absolute_error": lambda a, y: np.sign(a - y) / 5,
    "huber": lambda a, y: np.clip(a - y, -1, 1) / 5,
    "poisson": lambda a, y: (np.exp(a) - y) / 5,
    "hinge": lambda a, y: -y * (a * y < 1) / 5,
}


@pytest.mark.parametrize("name", GRADIENTS_OF_LOSSES)
def test_the_gradient_of_each_loss_follows_from_the_target_beside_it(name):
    y = jnp.array([[0.0, 2.0], [1.0, 0.5], [1.0, 1.0], [0.0, 3.0], [1.0, 0.1]])
    params = fcjax.init(jax.random.key(3), (2, 2))
    page = fcjax.explain(params, X, getattr(fcjax, name), y, steps=1)
    data = data_of(page)
    of = {
        key: numbers(data, data["arrays"][key], key)[0].astype(float) for key in ("A1", "y", "dA1")
    }
    np.testing.assert_array_equal(of["y"], y)
    want = GRADIENTS_OF_LOSSES[name](of["A1"], of["y"])
    np.testing.assert_allclose(of["dA1"], want, rtol=1e-5, atol=1e-7)
    card = page.html.partition("<h3>The loss:")[2].partition("</section>")[0]
    assert 'data-name="y"' in card
    assert formulas.mathml(formulas.LOSSES[name][1]) in card


def test_a_target_of_any_shape_is_shown():
    for target in (2.0, jnp.arange(5.0), jnp.ones((5, 2, 3)), jnp.arange(3), jnp.ones(5, bool)):
        page = fcjax.explain(
            PARAMS, X, lambda a, y: jnp.mean(a**2) + 0 * jnp.sum(y), target, steps=1
        )
        shown = numbers(data_of(page), data_of(page)["arrays"]["y"], "y")[0]
        np.testing.assert_array_equal(shown.ravel(), jnp.ravel(jnp.asarray(target)))
    wide = jnp.ones((5, 1)) * jnp.arange(200.0)
    page = fcjax.explain(PARAMS, X, lambda a, y: jnp.mean((a - y) ** 2), wide, steps=1)
    shown = numbers(data_of(page), data_of(page)["arrays"]["y"], "y")[0]
    np.testing.assert_array_equal(shown, wide[:, np.array(data_of(page)["y"][1])])


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
def test_a_norm_is_an_activation_of_its_rows(norm):
    scale = jnp.array([1.0, 2.0, -1.0, 0.5])
    options = {"scale": scale} | ({"bias": scale[::-1]} if norm == "layer_norm" else {})
    page = fcjax.explain(
        PARAMS, X, fcjax.squared_error, Y,
        activations=partial(getattr(fcjax, norm), **options), steps=1,
    )  # fmt: skip
    data = data_of(page)
    z, dz = (numbers(data, data["arrays"][name], name)[0].astype(float) for name in ("Z1", "dZ1"))
    da = numbers(data, data["arrays"]["dA1"], "dA1")[0].astype(float)
    dh = da * np.asarray(scale)
    centred = z - z.mean(1, keepdims=True) * (norm == "layer_norm")
    sigma = np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    h = centred / sigma
    want = dh - h * (h * dh).mean(1, keepdims=True)
    want -= dh.mean(1, keepdims=True) * (norm == "layer_norm")
    np.testing.assert_allclose(dz, want / sigma, rtol=2e-4, atol=1e-6)
    assert f"back through {norm}" in page.html
    assert formulas.mathml(formulas.ACTIVATIONS[norm][1]) in page.html


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model and a table of its inputs, with classes as texts."""
    folder = tmp_path_factory.mktemp("explained")
    fcjax.save(folder / "model", fcjax.Model(fcjax.init(jax.random.key(0), (2, 3)), "tanh"))
    rows = [f"{x[0]},{x[1]},{'cab'[k]}" for x, k in zip(X, LABELS, strict=True)]
    (folder / "data.csv").write_text("\n".join(["first,second,class", *rows]))
    (folder / "two.csv").write_text("\n".join(["first,second,class", *rows[1:]]))
    binary = fcjax.Model(fcjax.init(jax.random.key(0), (2, 4, 1)), "tanh", "sigmoid")
    fcjax.save(folder / "binary", binary)
    for name, values in {
        "counts": ["1,2,0", "1,2,1", "1,2,", "3,4,2"],
        "large": ["1,2,0", "1,1e300,1"],
        "large target": ["1,2,0", "1,2,-1e300"],
        "gap": ["1,2,0", "1,2,", ",3,1"],
        "word": ["1,2,0", "1,many,1"],
        "classes": ["1,2,0", "1,2,3", "1,2,4"],
    }.items():
        (folder / f"{name}.csv").write_text("\n".join(["first,second,class", *values]))
    return folder


def explained(folder, out="page.html", steps=1, **options):
    paths = {name: folder / options.pop(name) for name in ("model", "file") if name in options}
    given = Explained(**paths, **options)
    assert explain(given, learning_rate=0.5, steps=steps, seed=0, out=folder / out) == 0
    html = (folder / out).read_text()
    return data_of(Page(html))


def test_the_command_explains_the_smallest_network(folder, capsys):
    data = explained(folder, out="new/smallest.html")
    assert data["sizes"] == [2, 4, 1]
    assert capsys.readouterr().out.startswith("Model(2-4-1 float32, activations='sigmoid'")


def test_the_command_explains_a_model_on_a_table(folder):
    data = explained(folder, model="model", file="data.csv", target=("class",))
    np.testing.assert_array_equal(numbers(data, data["arrays"]["X"], "X")[0], X)
    # classes are in the order of their texts: a, b, c
    assert data["names"] == ["first", "second"]
    want = np.eye(3)[[2, 1, 0, 0, 1]]
    np.testing.assert_array_equal(numbers(data, data["arrays"]["y"], "y")[0], want)


def test_classes_are_counted_over_the_whole_file(folder):
    data = explained(folder, model="model", file="data.csv", target=("class",), rows=2)
    np.testing.assert_array_equal(numbers(data, data["arrays"]["X"], "X")[0], X[np.array([0, 4])])
    want = np.eye(3)[[2, 1]]
    np.testing.assert_array_equal(numbers(data, data["arrays"]["y"], "y")[0], want)


def test_one_row_is_not_rows(folder, capsys):
    explained(folder, model="model", file="data.csv", target=("class",), rows=1)
    assert ", 1 row, softmax_cross_entropy: the page is" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["realmlp", "tabm", "tabm with embeddings"])
def test_the_command_explains_a_model_for_tables(preset, tmp_path):
    points = np.random.default_rng(0).normal(size=(60, 2))
    rows = [f"{a},{b},{'uvw'[k % 3]},{'xy'[int(a * b > 0)]}" for k, (a, b) in enumerate(points)]
    (tmp_path / "data.csv").write_text("\n".join(["first,second,kind,side", *rows]))
    table = fcjax.tables.read(tmp_path / "data.csv")
    with quick_networks():
        preset, _, embeddings = preset.partition(" with ")
        model = fcjax.tables.train_table(
            table, "side", preset=preset, epochs=1, embeddings=bool(embeddings)
        )
    fcjax.save(tmp_path / "model", model)
    options = {} if preset == "realmlp" else {"member": 3}
    data = explained(tmp_path, model="model", file="data.csv", rows=5, **options)
    chosen = np.linspace(0, 59, 5).round().astype(int)
    treated = jnp.asarray(model.treatment.transform(table)[chosen])
    outputs = model.treatment.outputs
    assert outputs[:2] == ["first", "second"]
    assert len(data["names"]) == data["sizes"][0]
    assert data["names"][-1] == outputs[-1]
    assert data["names"][0] == ("first, 1 of 16" if embeddings else "first")
    want = model.networks.apply(model.params, treated)
    got = numbers(data, data["arrays"][f"A{data['layers']}"], f"A{data['layers']}")[0]
    np.testing.assert_allclose(got, want[options.get("member", 1) - 1], rtol=1e-4, atol=1e-5)


def test_the_rows_of_a_table_that_are_wrong_are_counted_in_the_file(tmp_path):
    points = np.random.default_rng(0).normal(size=(60, 2))
    rows = [f"{a},{b},{a + b}" for a, b in points]
    table = {name: "\n".join(["first,second,side", *rows[:6], last]) for name, last in {
        "data": rows[6], "text": "1,z,1", "large": "1,2,1e300"}.items()}  # fmt: skip
    for name, text in table.items():
        (tmp_path / f"{name}.csv").write_text(text)
    whole = {"first": points[:, 0], "second": points[:, 1], "side": points.sum(1)}
    with quick_networks():
        fcjax.save(tmp_path / "model", fcjax.tables.train_table(whole, "side", epochs=1))
    for name, options, message in (
        ("text", {}, "column 'second' must hold numbers, got 'z' in row 7"),
        ("large", {}, "target 'side' must hold numbers of at most 3.4e+38, got 1e+300 in row 7"),
        ("data", {"member": 0}, "member: got 0; accepted: 1 to 1"),
        ("data", {"loss": "poisson"}, "target 'side, scaled' must hold counts, numbers from 0 for"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            explained(tmp_path, model="model", file=f"{name}.csv", rows=3, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ("class",)}, "target: needs a model and a file"),
        ({"model": "model"}, "file: got none; accepted: a CSV or a Parquet file, beside a model"),
        ({"model": "model", "file": "data.csv"}, "target: got none; accepted: the column to"),
        ({"model": "model", "file": "data.csv", "target": ("side",)}, "target: 'side' is unknown"),
        ({"model": "model", "file": "data.csv", "target": ("first",)}, "column 'class' must hold"),
        (
            {"model": "model", "file": "data.csv", "target": ("first", "class")},
            "must have 2 columns beside the target, which the model takes, got 1",
        ),
        (
            {"model": "model", "file": "data.csv", "target": ("class",), "loss": "log"},
            "loss: 'log' is unknown; accepted: absolute_error, binary_cross_entropy",
        ),
        ({"rows": 0}, "rows: got 0; accepted: a positive integer"),
        (
            {"model": "model", "file": "two.csv", "target": ("class",)},
            "target 'class' must hold a text for each of the 3 outputs of the model",
        ),
        (
            {"model": "binary", "file": "counts.csv", "target": ("class",)},
            "target 'class' must hold numbers from 0 to 1 for binary_cross_entropy, got 2 in row 4",
        ),
        (
            {"model": "binary", "file": "data.csv", "target": ("class",)},
            "target 'class' must hold numbers, got 'c' in row 1",
        ),
        (
            {"model": "binary", "file": "counts.csv", "target": ("class",), "loss": "hinge"},
            "target 'class' must hold -1 and 1 for hinge, got 0 in row 1",
        ),
        (
            {"model": "model", "file": "large.csv", "target": ("class",)},
            "column 'second' must hold numbers of at most 3.4e+38, got 1e+300 in row 2",
        ),
        (
            {"model": "binary", "file": "large target.csv", "target": ("class",), "loss": "huber"},
            "target 'class' must hold numbers of at most 3.4e+38, got -1e+300 in row 2",
        ),
        (
            {"model": "model", "file": "gap.csv", "target": ("class",)},
            "column 'first' must hold a number, got none in row 3",
        ),
        (
            {"model": "model", "file": "word.csv", "target": ("class",)},
            "column 'second' must hold numbers, got 'many' in row 2",
        ),
        (
            {"model": "model", "file": "classes.csv", "target": ("class",)},
            "target 'class' must hold texts or the whole numbers from 0 to 2, one for each "
            "output of the model, got 3 in row 2",
        ),
        ({"rows": 5}, "rows: needs a model and a file"),
        ({"member": 2}, "member: needs a model and a file"),
        (
            {"model": "model", "file": "data.csv", "target": ("class",), "member": 2},
            "member: needs a model for tables",
        ),
        ({"out": "model/config.json"}, "--out must not be a file of a model"),
        ({"model": "model", "file": "no.csv", "target": ("class",)}, "there is no file"),
    ],
)
def test_the_command_names_what_is_wrong(options, message, folder):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        explained(folder, **options)
