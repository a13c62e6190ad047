"""The domain of a function: at which arguments a rule is meant to be right."""

from collections.abc import Callable, Sequence

from .._arguments import check_function, describe
from .._types import Function, Tree
from .program import call


class Domain:
    """The arguments that a predicate accepts; without one, all are."""

    def __init__(self, predicate: Function | None = None):
        self._predicate = predicate

    def has(self, args: Callable[[], Sequence[Tree]]) -> bool:
        """Whether arguments are in the domain; they are made only if there is a predicate."""
        if self._predicate is None:
            return True
        try:
            found = call(self._predicate, *args())
        except TypeError as error:
            message = f"domain must take the positional arguments of fun: {error}"
            raise TypeError(message) from error
        if getattr(found, "shape", ()) != ():
            raise TypeError(f"domain must return True or False, got {describe(found)}")
        return bool(found)


def domain_of(predicate: Function | None, args: Sequence[Tree]) -> Domain:
    """Return the domain, or raise unless it has the given arguments."""
    if predicate is None:
        return Domain()
    check_function("domain", predicate)
    domain = Domain(predicate)
    if not domain.has(lambda: args):
        raise ValueError("args must be in the domain, got some for which domain returns False")
    return domain
