"""The libraries that make a page, loaded on use, or an error that says how to install them."""

from typing import Any

NEEDED = "pages need jinja2 and latex2mathml: pip install 'fcjax[explain]'"


def jinja() -> Any:
    """Return the module jinja2."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(NEEDED) from error
    return jinja2


def converter() -> Any:
    """Return the module that converts LaTeX to MathML."""
    try:
        from latex2mathml import converter as module
    except ImportError as error:
        raise ImportError(NEEDED) from error
    return module
