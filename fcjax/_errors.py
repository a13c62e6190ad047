"""Exceptions that another process can receive."""

from collections.abc import Callable
from typing import Any


class Portable(BaseException):
    """An exception that can be pickled, whatever the arguments of its constructor.

    Python pickles the message alone, and passes it to the constructor.
    """

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...], dict[str, Any]]:
        """Return how to make the exception again."""
        return _again, (type(self), self.args), self._attributes()

    def _attributes(self) -> dict[str, Any]:
        return self.__dict__


def _again(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    return kind.__new__(kind, *args)
