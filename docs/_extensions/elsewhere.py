"""Lead links to files beside `docs` to the pages that include these files.

In the repository, a link such as `../benchmarks/scale.md` leads to the file.
"""

import re

from sphinx.application import Sphinx

PAGES = {
    "../benchmarks/README.md": "measured/networks.md",
    "../benchmarks/elementwise.md": "measured/elementwise.md",
    "../benchmarks/cost.md": "measured/cost.md",
    "../benchmarks/tabular.md": "measured/tabular.md",
    "../benchmarks/scale.md": "measured/scale.md",
    "../benchmarks/wild/README.md": "wild.md",
    "../SECURITY.md": "security.md",
    "../CONTRIBUTING.md": "contributing.md",
}


def _lead(app: Sphinx, name: str, source: list[str]) -> None:
    del app, name
    source[0] = re.sub(
        r"\]\((\.\./[^)#]+)", lambda found: f"]({PAGES.get(found[1], found[1])}", source[0]
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the links when a page is read."""
    app.connect("source-read", _lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
