"""Progress bars. tqdm is imported when the first bar is created."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds before a bar appears: what ends sooner shows none.
DELAY = 2.0


def tqdm(*args: Any, **options: Any) -> Any:
    """Return a tqdm progress bar, for a terminal or for a notebook."""
    import warnings  # imported late, so that `import fcjax` stays fast

    with warnings.catch_warnings():  # in a notebook without widgets, where it draws a line of text
        warnings.filterwarnings("ignore", "IProgress not found")
        from tqdm.auto import tqdm as bar

    return bar(*args, **options)


def counted(
    parts: Iterable[T],
    size: Callable[[T], int],
    *,
    unit: str,
    total: int | None = None,
    progress: bool | None = None,
) -> Iterator[T]:
    """Yield parts, and show how much of them has been used and how fast.

    Args:
        parts: what is yielded.
        size: a function from a part to the number of units in it.
        unit: what is counted, such as "rows".
        total: the number of units of all parts, if it is known.
        progress: whether to show it; None shows it on a terminal, after two seconds.
    """
    disable = None if progress is None else not progress
    options = {"unit": f" {unit}", "unit_scale": True, "leave": False, "miniters": 0}
    delay = 0 if progress else DELAY
    with tqdm(total=total, disable=disable, delay=delay, **options) as bar:
        for part in parts:
            yield part
            bar.update(size(part))
