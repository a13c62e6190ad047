"""What the documentation is made of: its formulas, its generated pages, and the check of its links.

`make docs` builds it.
"""

import ast
import doctest
import importlib
import inspect
import re

import api_pages
import links
import pytest
import rule_code
import rule_pages
import unicode_math

import fcjax
from fcjax.cli.rules import built_in
from fcjax.explainer.formulas import mathml

RIGHT = rule_pages.Verified("right", "✓ 3 checks", 3)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("dX = dZ Wᵀ", "dX = dZ W^{T}"),
        ("a = 1/(1 + e⁻ᶻ)", "a = 1/(1 + e^{-z})"),
        ("dx = r (dx̂ − x̂ mean(dx̂ x̂))",
         r"dx = r (d\hat{x} - \hat{x} \operatorname{mean}(d\hat{x} \hat{x}))"),
        ("x̂˙ = r ċ", r"\dot{\hat{x}} = r \dot{c}"),
        ("u = √(2/π) (z + 0.04 z³)", r"u = \sqrt{2/\pi } (z + 0.04 z^{3})"),
        ("eₜ₊₁ − eₜ", "e_{t+1} - e_{t}"),
        ("r = (v + eps)^(−½)", r"r = (v + \mathit{eps})^{-\frac{1}{2}}"),
        ("⟨dP, Ṗ⟩ ≤ Σ(dP ⊙ P)", r"\langle dP, \dot{P}\rangle  \le  \sum (dP \odot  P)"),
        ("g'(z) = 1 for z > 0", r"g'(z) = 1 \text{ for } z > 0"),
    ],
)  # fmt: skip
def test_plain_formulas_become_latex(text, latex):
    assert unicode_math.to_latex(text) == latex
    assert mathml(latex).startswith("<math")


def test_the_examples_of_the_converter_are_right():
    assert doctest.testmod(unicode_math).failed == 0


def test_prose_stays_prose_between_formulas():
    lines = ["a = z s with s = sigmoid(z), so da = s dz. Subtracting a", "rounded s is worse."]
    assert unicode_math.set_comment(lines) == (
        r"$a = z s$ with $s = \operatorname{sigmoid}(z)$, so $da = s dz$. "
        "Subtracting a rounded $s$ is worse."
    )


@pytest.mark.parametrize("code", ["jax.nn.relu", "axis", "params[0].w", 'reduction="mean"'])
def test_code_stays_code(code):
    assert unicode_math.set_docstring(f"As `{code}`.") == f"As `{code}`."


def test_every_rule_has_a_page_of_its_own():
    named = {case.name.split(",")[0] for case in built_in()}
    networks = {name for name in named if "and its loss" in name}
    assert {*rule_pages.pages()} == named - networks - {"dense in bfloat16"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    rule_pages.write_pages(folder, dict.fromkeys(rule_pages.pages(), RIGHT))
    return {path.stem: path.read_text() for path in (folder / "rules").glob("*.md")}


def test_a_page_has_the_derivation_the_code_and_the_verdict(pages):
    for name, text in pages.items():
        if name != "index":
            assert "## Code" in text, name
            assert "says **right**" in text, name
            assert "## Derivation" in text or "$" in text, name
    assert r"$$" + "\ndX = dZ W^{T}\n" + "$$" in pages["dense"]
    assert "def dense_bwd(" in pages["dense"]
    assert r"\langle dZ W^{T}, \dot{X}\rangle" in pages["dense"]
    assert "def _silu_derivative(" in pages["silu"]
    assert "| float32 | 4,294,967,296 |" in pages["tanh"]
    assert "| z | derivative |" in pages["relu"]
    assert re.search(
        r"\| bytes kept between the passes.*\| 2,048 \| [\d,]+ \|", pages["layer_norm"]
    )


def test_every_formula_of_a_page_can_be_set(pages):
    count = 0
    for text in pages.values():
        for found in re.findall(r"\$\$\n(.*?)\n\$\$|\$([^$\n]+)\$", text):
            mathml(found[0] or found[1])
            count += 1
    assert count > 300


def test_code_of_a_rule_is_whole_and_without_checks():
    for case in rule_pages.pages().values():
        _, parts = rule_code.code_of(case.fun)
        for part in parts:
            ast.parse(part)
            assert not part.startswith("def _check")


def test_a_page_that_has_no_rule_any_more_is_removed(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "gone.md").write_text("# gone")
    rule_pages.write_pages(tmp_path, dict.fromkeys(rule_pages.pages(), RIGHT))
    assert not (tmp_path / "rules" / "gone.md").exists()


def test_the_reference_has_every_public_name_with_its_arguments(tmp_path):
    api_pages.write_pages(tmp_path)
    text = (tmp_path / "api" / "fcjax.md").read_text()
    public = [name for name in dir(fcjax) if not name.startswith("_")]
    callable_ = [n for n in public if inspect.isroutine(getattr(fcjax, n))
                 or inspect.isclass(getattr(fcjax, n))]  # fmt: skip
    assert [n for n in callable_ if f"}} fcjax.{n}(" not in text] == []
    assert ":::{py:function} fcjax.dense(x, w, b=None, *, compute_dtype=None)" in text
    assert "- `x`: inputs $X$, shape" in text or "- `x`: inputs X, shape" in text
    assert "0x" not in text
    for name in api_pages.MODULES:
        assert api_pages.public_names(importlib.import_module(name)), name


def test_a_broken_link_and_what_comes_from_afar_are_named(tmp_path):
    (tmp_path / "a.html").write_text(
        '<script src="https://example.org/x.js"></script><a href="b.html#there">'
        '<a href="b.html#gone"><a href="c.html"><a href="https://example.org">'
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    assert [*links.broken(tmp_path)] == [
        "a.html loads https://example.org/x.js",
        "a.html: there is no b.html#gone",
        "a.html: there is no c.html",
    ]
    assert links.main(tmp_path) == 1
