"""The pages of `make wild` and of the costs are those of their results."""

import importlib
import json
import re
from collections import Counter

import jax
import jax.numpy as jnp

import fcjax
from benchmarks import cost
from benchmarks.wild import audits, listed, measure, page
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


def test_every_module_is_measured_and_every_alarm_is_explained():
    assert set(listed.read()) == set(listed.packages())
    found = [one for cases in page.by_package().values() for one in cases]
    outcomes = Counter(one.outcome for one in found)
    assert not outcomes[page.UNKNOWN]
    rules = {(one.module, one.rule) for one in found}
    wrong = {(one.module, one.rule) for one in found if one.outcome != "right"}
    readme = (page.PAGE.parents[2] / "README.md").read_text()
    packages = len(page.by_package())
    assert f"Of {len(rules)} hand-written rules of {packages} packages" in readme
    assert f"it calls {len(rules - wrong)} right" in readme


def test_no_path_of_a_machine_is_kept():
    text = audits.RESULTS.read_text()
    assert not re.findall(r"(?<![\w.])/\w+/[^\s\"]*", text)
    assert "site-packages/" not in text


def test_the_listed_rules_are_many_and_of_packages_that_are_required():
    text = (listed.RESULTS.parents[1] / "wild" / "requirements.txt").read_text()
    required = {_normal(line.partition("==")[0]) for line in text.splitlines()}
    names = set()
    for module in listed.packages():
        rules = importlib.import_module(f"benchmarks.wild.rules.{module}")
        assert _normal(rules.PACKAGE) in required | {"jax"}
        cases = [case.__name__ for case in rules.CASES]
        assert len(cases) == len(set(cases))
        names |= {(rules.PACKAGE, listed.rule_of(case)) for case in rules.CASES}
    assert len(names) >= 250
    assert len({package for package, _ in names}) >= 20


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_listed_rule_is_seen_to_be_called():
    x = jnp.ones(3)
    assert {"relu", "tanh"} <= listed.called(jax.jit(lambda x: jax.nn.relu(jnp.tanh(x))), (x,))
    assert "relu" not in listed.called(fcjax.tanh, (x,))


def test_a_rule_that_is_right_is_checked_with_further_keys():
    def sine():
        return fcjax.tanh, (jnp.linspace(-2, 2, 5),), {"checks": ["vjp", "finite_differences"]}

    result = listed.checked(sine, keys=3)
    assert (result["verdict"], result["with_other_keys"]) == ("right", ["right", "right"])
    assert not result["is_called"]  # for the rule is that of tanh
