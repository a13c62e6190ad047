"""Have the generated pages written before the sources are read."""

import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx


def _generate(app: Sphinx) -> None:
    program = Path(__file__).with_name("generate.py")
    subprocess.run([sys.executable, program, str(app.srcdir)], check=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the program to the start of a build."""
    app.connect("builder-inited", _generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
