"""Lead links to files beside `docs` to the pages that include these files.

In the repository, a link such as `../benchmarks/scale.md` leads to the file. A link to a file that
has no page becomes text.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PAGES = {
    "benchmarks/README.md": "measured/networks",
    "benchmarks/elementwise.md": "measured/elementwise",
    "benchmarks/cost.md": "measured/cost",
    "benchmarks/tabular.md": "measured/tabular",
    "benchmarks/scale.md": "measured/scale",
    "benchmarks/wild/README.md": "wild",
    "SECURITY.md": "security",
    "CONTRIBUTING.md": "contributing",
    "README.md": "index",
    "docs/scale-and-safety.md": "scale-and-safety",
}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def led(text: str, folder: Path) -> str:
    """Return the Markdown of a file in a folder with its links changed."""

    def change(found: re.Match[str]) -> str:
        path = (folder / found[2]).resolve()
        if path.is_relative_to(DOCS) and str(path.relative_to(ROOT)) not in PAGES:
            return found[0]
        if not path.is_relative_to(ROOT):
            return found[0]
        page = PAGES.get(str(path.relative_to(ROOT)))
        return f"[{found[1]}](/{page}.md)" if page else found[1]

    return _LINK.sub(change, text)


def _of_page(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = led(source[0], (Path(app.srcdir) / name).parent)


def _of_included(app: Sphinx, path: Path, name: str, source: list[str]) -> None:
    del name
    source[0] = led(source[0], (Path(app.srcdir) / path).resolve().parent)


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the links when a page is read, and when it includes a file."""
    app.connect("source-read", _of_page)
    app.connect("include-read", _of_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
