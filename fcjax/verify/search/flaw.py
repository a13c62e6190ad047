"""A mistake at a point."""

from typing import Literal, NamedTuple

Kind = Literal["value", "gradient", "not finite", "lost digits", "raises"]
# "wrong": the rule is. "note": autodiff of the plain function is as wrong.
Severity = Literal["wrong", "note"]


class Flaw(NamedTuple):
    """A mistake at a point.

    Attributes:
        kind: what is wrong.
        severity: "wrong" if the rule is at fault, "note" if JAX's own derivative is as wrong.
        k: the leaf whose gradient is wrong, or the output whose value is.
        place: the index of an entry at which it is.
        got: what the rule returns there.
        want: what is right there, or the middle of what may be.
        tolerance: how far the two may differ.
    """

    kind: Kind
    severity: Severity
    k: int
    place: tuple[int, ...]
    got: float
    want: float
    tolerance: float = 0.0

    @property
    def leaf(self) -> int | None:
        """The leaf whose gradient is wrong, None for another mistake."""
        return None if self.kind in ("value", "raises") else self.k

    @property
    def same(self) -> tuple[str, str, int]:
        """What is the same for flaws that are shown once."""
        return self.kind, self.severity, self.k
