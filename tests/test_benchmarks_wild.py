"""The pages of `make wild` and of the costs are those of their results."""

import json
import re

from benchmarks import cost
from benchmarks.wild import audits, measure, page
from benchmarks.wild.suites import SUITES


def test_the_page_of_the_costs_is_that_of_its_results(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "PAGE", tmp_path / "cost.md")
    cost.write()
    written = (tmp_path / "cost.md").read_text()
    assert written == (cost.RESULTS.parents[1] / "cost.md").read_text()
    measured = set(json.loads(cost.RESULTS.read_text()))
    assert {name for name, *_ in cost.cases()} == measured


def test_the_page_in_the_wild_is_that_of_its_results(monkeypatch, tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "PAGE", copy)
    before = copy.read_text()
    page.write()
    assert copy.read_text() == before


def test_the_results_name_suites_and_cases_that_exist():
    assert set(audits.read()) <= {suite.package for suite in SUITES}
    found = json.loads(measure.RESULTS.read_text())
    assert set(found) == set(measure.SETS)
    for name in ("mistakes", "right"):
        module = __import__(f"benchmarks.wild.cases.{name}", fromlist=["CASES"])
        assert {r["case"] for r in found[name]} == {case.__name__ for case in module.CASES}


def test_no_path_of_a_machine_is_kept():
    text = audits.RESULTS.read_text()
    assert not re.findall(r"(?<![\w.])/\w+/[^\s\"]*", text)
    assert "site-packages/" not in text
