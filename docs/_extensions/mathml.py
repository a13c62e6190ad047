"""Render mathematics as MathML when the site is made: it needs no script and no network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# The dot of a derivative is hardly seen without a font for mathematics.
_DOT = "<mo>&#x002D9;</mo>"
_LARGER_DOT = '<mo lspace="0" rspace="0" style="font-size: 70%">&#x2022;</mo>'


def _converted(node: nodes.Element, display: str) -> str:
    return convert(node.astext(), display=display).replace(_DOT, _LARGER_DOT)


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{_converted(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
