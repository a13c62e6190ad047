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


def converted(latex: str, display: str) -> str:
    """Return a formula as MathML."""
    try:
        from latex2mathml.converter import convert
    except ImportError as error:
        raise ImportError(NEEDED) from error
    return convert(latex, display=display)
