"""Progress bars, which load their library when the first one is shown."""

from typing import Any


def tqdm(*args: Any, **options: Any) -> Any:
    """Return a bar of tqdm, in the form that suits a terminal or a notebook."""
    from tqdm.auto import tqdm as bar  # late, for `import fcjax` to be quick

    return bar(*args, **options)
