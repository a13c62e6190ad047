"""How the documentation is built: `make docs`."""

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

project = "fcjax"
author = "the engineers of fcjax"
extensions = ["myst_nb", "mathml", "generated", "elsewhere"]
exclude_patterns = ["_build", "_explained", "_extensions", "jupyter_execute"]
html_extra_path = ["_explained"]
(HERE / "_explained").mkdir(exist_ok=True)
html_theme = "sphinx_book_theme"
html_title = "fcjax"
html_static_path = ["_static"]
html_css_files = ["fcjax.css"]
html_math_renderer = "mathml"
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
}
html_copy_source = False
html_show_copyright = False
templates_path: list[str] = []
nitpicky = False

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings: list[str] = []

nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
# The kernels warn that they talk over the loopback interface.
os.environ["IPYTHONDIR"] = tempfile.mkdtemp()
profile = Path(os.environ["IPYTHONDIR"]) / "profile_default"
profile.mkdir()
(profile / "ipython_kernel_config.py").write_text('get_config().IPKernelApp.log_level = "ERROR"\n')
