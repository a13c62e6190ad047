"""Progress bars. tqdm is imported when the first bar is created."""

from typing import Any


def tqdm(*args: Any, **options: Any) -> Any:
    """Return a tqdm progress bar, for a terminal or for a notebook."""
    from tqdm.auto import tqdm as bar  # imported late, so that `import fcjax` stays fast

    return bar(*args, **options)
