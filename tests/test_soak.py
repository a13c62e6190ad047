"""What `make soak` says of what it saw."""

import pytest
from soak import Seen, complaints

WARM = Seen(60, 0, 300.0, 80, 6, 2)
STEADY = [WARM] + [Seen(60 * i, i, 310.0 + i / 10, 0, 6, 2) for i in range(1, 11)]


def test_nothing_grew():
    assert complaints(STEADY) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"megabytes": 314.0}, "memory grew from 310.1 to 314.0 MB"),
        ({"compilations": 1}, "1 programs were compiled after the first 5 cycles"),
        ({"files": 7}, "files 6 -> 7, threads 2 -> 2"),
        ({"threads": 3}, "files 6 -> 6, threads 2 -> 3"),
    ],
)
def test_what_grew_is_named(change, said):
    assert complaints([*STEADY, STEADY[-1]._replace(**change)]) == [said]


def test_what_is_not_known_is_not_called_steady():
    assert complaints(STEADY[:4]) == ["too short to tell: 4 looks, and 5 are needed"]
    (said,) = complaints([WARM._replace(compilations=0), *STEADY[1:]])
    assert said.startswith("compilations are not counted")
