"""The faults that `make mutate` plants: each can still be planted, and names tests that exist."""

import re
from collections import Counter
from pathlib import Path

import pytest
from faults import FAULTS
from mutate import planted, without_parts

HERE = Path(__file__).parent


def test_every_fault_can_be_planted():
    for fault in FAULTS:
        assert planted(fault)


def test_a_fault_that_no_longer_applies_is_named():
    stale = FAULTS[0]._replace(old="no such text")
    with pytest.raises(ValueError, match=rf"{re.escape(stale.name)}: 'no such text' occurs 0"):
        planted(stale)
    with pytest.raises(ValueError, match=re.escape(stale.name)):
        planted(FAULTS[0]._replace(new="no program (((\n"))


def test_every_fault_has_a_name_of_its_own_and_tests_that_exist():
    assert [name for name, count in Counter(f.name for f in FAULTS).items() if count > 1] == []
    named = {re.sub(r"\[.*", "", test) for fault in FAULTS for test in fault.tests}
    for test in named:
        file, *parts = test.split("::")
        text = (HERE / file).read_text()
        for part in parts:
            assert re.search(rf"^\s*(def|class) {part}\b", text, re.MULTILINE), test


def test_a_test_runs_once_where_its_file_is_named_too():
    named = ["b.py", "a.py::f[1]", "b.py::g[x::y]", "a.py::f", "a.py::ff"]
    assert without_parts(named) == ["a.py::f", "a.py::ff", "b.py"]
