import ast
import math
import sys
import tomllib

import numpy as np
import pytest

from benchmarks import guard, tables
from benchmarks.activations import ACTIVATIONS
from benchmarks.networks import DEEP, MAIN, MIDDLE, TINY, WIDE
from benchmarks.program import Skip
from benchmarks.report import README, report, with_report
from benchmarks.results import HERE, devices, entry, load, milliseconds, ratio, save
from benchmarks.run import _check_losses, _summary, run_case
from benchmarks.sections import Section, sections
from benchmarks.targets import targets
from benchmarks.turns import Worker, take_turns
from benchmarks.worker import build
from fcjax.activations import ACTIVATIONS as NAMES

SERVE = """
import sys
from benchmarks.program import Program, Skip
from benchmarks.worker import serve

def build():
    {build}

serve(build, sys.stdin, sys.stdout)
"""


def worker(build):
    return Worker([sys.executable, "-c", SERVE.format(build=build)], {"BENCH_TURN_SECONDS": "0.01"})


def with_times(**times):
    return {
        "sections": {"speed": {"cases": {str(TINY): {n: {"step_s": t} for n, t in times.items()}}}}
    }


def test_workers_take_turns():
    workers = {
        "a": worker("return Program(lambda: [3.0, 2.0, 1.0], 3)"),
        "b": worker("import time; return Program(lambda: time.sleep(0.02) or [0.5])"),
    }
    answers = take_turns(workers, 3)
    for one in workers.values():
        one.stop()
    assert [len(answers[name]) for name in workers] == [3, 3]
    assert workers["a"].ready["losses"] == [3, 2, 1]
    assert {answer["loss"] for answer in answers["a"]} == {1}
    assert all(answer["steps"] % 3 == 0 for answer in answers["a"])
    assert all(answer["seconds"] >= 0.02 for answer in answers["b"])
    # while the one works the other waits, without a tick of the processor
    assert sum(answer["idle_cpu_seconds"] for answer in answers["a"]) < 0.02


def test_a_worker_that_cannot_take_part_says_why():
    skipping = worker("raise Skip('no such library')")
    failing = worker("raise OSError('disk on fire')")
    dying = worker("return Program(lambda: [1.0])")
    dying._process.kill()
    answers = take_turns({"skipping": skipping, "failing": failing, "dying": dying}, 2)
    assert answers == {"skipping": [], "failing": [], "dying": []}
    assert skipping.failed == "no such library"
    assert failing.failed == "ended with exit status 1: OSError: disk on fire"
    assert "exit status -9" in str(dying.failed)
    assert _summary(skipping, [], []) == {"skipped": "no such library"}
    assert set(_summary(failing, [], [])) == {"failed"}
    for one in (skipping, failing, dying):
        one.stop()


def test_a_case_runs_from_start_to_end():
    section = sections("cpu")["speed"]
    chosen = ("limit", "fcjax train_epoch", "jax.grad")
    part = Section("", section.cases, {name: section.systems[name] for name in chosen})
    found = run_case("speed", part, str(TINY), {"BENCH_TURN_SECONDS": "0.001"}, rounds=2)
    _check_losses(found, 1e-3)
    assert [len(found[name]["step_s"]) for name in chosen] == [2, 2, 2]
    assert all(found[name]["memory"]["total"] > 0 for name in chosen)
    # the gradients of the limit overwrite those of the step before
    sizes = [m * n for m, n in zip(TINY.sizes, TINY.sizes[1:], strict=False)]
    assert found["limit"]["memory"]["alias"] == 4 * sum(sizes)


def test_other_losses_than_the_peers_are_a_failure():
    found = {
        "a": {"losses": [2.0, 1.0]},
        "b": {"losses": [2.0001, 1.0]},
        "c": {"losses": [2.0, 0.9]},
    }
    _check_losses(found, 1e-3)
    assert [name for name, one in found.items() if "failed" in one] == ["c"]
    nan = {"a": {"losses": [1.0]}, "b": {"losses": [math.nan]}, "c": {"losses": [1.0]}}
    _check_losses(nan, 1e-3)
    assert "failed" in nan["b"]


def test_ratios_are_of_times_in_one_round():
    drifting = with_times(ours=[1.0, 10.0, 100.0], theirs=[2.0, 20.0, 50.0])
    ours, theirs = (entry(drifting, "speed", str(TINY), name) for name in ("ours", "theirs"))
    assert ratio(theirs, ours) == 2
    assert milliseconds(ours) == 10_000
    assert ratio(ours, {"skipped": "absent"}) is None


def test_targets_are_read_off_results():
    result = with_times(
        **{
            "limit": [2.0, 2.0],
            "limit, (dZᵀX)ᵀ": [1.0, 1.0],
            "fcjax train_epoch": [0.9, 0.9],
            "jax.grad": [1.8, 1.8],
            "PyTorch": [9.0, 9.0],
        }
    )
    by_key = {target.key: target for target in targets()}
    limit = by_key[f"limit {TINY}"]
    assert limit.measure(result) == (0.9, "")
    assert limit.met((0.9, ""))
    assert limit.met((1.01, "")) is False
    assert limit.met(None) is None
    assert by_key[f"peers {TINY}"].measure(result) == (2, "jax.grad")
    assert by_key["pytorch"].measure(result)[0] == pytest.approx(10)
    unmeasured = [key for key, target in by_key.items() if target.measure({"sections": {}}) is None]
    assert unmeasured == list(by_key)
    assert "not measured" in tables.target_table({"sections": {}})


def test_every_target_finds_its_systems_and_cases():
    """A target that asks for a name that no section has would never have a figure."""

    asked = set()

    class Level(dict):
        def __init__(self, *names):
            self.names = names

        def get(self, name, default=None):
            if len(self.names) == 2:
                asked.add((*self.names, name))
                return default
            inner = Level(*self.names, name)
            return inner if self.names else {"cases": inner}

    for target in targets():
        target.measure({"sections": Level()})
    assert len(asked) > 50
    known = sections("cpu")
    for section, case, system in asked:
        assert case in known[section].cases, (section, case)
        assert system in known[section].systems, (section, system)


def test_remarks_name_targets():
    remarks = tomllib.loads((HERE / "remarks.toml").read_text())
    assert set(remarks) <= {target.key for target in targets()}


def test_every_system_exists():
    for section in sections("gpu").values():
        for where, options in section.systems.values():
            module, function = where.split(":")
            tree = ast.parse((HERE / f"systems/{module}.py").read_text())
            known = {n.name: n.args for n in tree.body if isinstance(n, ast.FunctionDef)}
            taken = [known[function]]
            if known[function].kwarg:
                taken.append(known["parts"])  # where it passes its options on
            names = {argument.arg for one in taken for argument in one.args}
            assert set(options) <= names, where


def test_networks_have_their_names_and_data():
    assert [str(network) for network in MAIN] == [
        "64-128-10, batch 32",
        "1000-100-10, batch 64",
        "784-512-512-10, batch 128",
        "784-1024×3-10, batch 512",
        "512×17-10, batch 256",
    ]
    assert TINY.flops == 2 * 32 * (2 * 64 * 128 + 3 * 128 * 10)
    X, y = MIDDLE.data()
    assert X.shape == (MIDDLE.batch * MIDDLE.steps, 784)
    np.testing.assert_array_equal(MIDDLE.batches()[1][0], X[128:256])
    assert y.max() == 9
    assert [w.shape for w, _ in WIDE.weights()][-1] == (1024, 10)
    assert len(DEEP.weights()) == 17


def test_all_activations_are_measured():
    assert {*ACTIVATIONS, "glu", "swish", "hard_swish"} == set(NAMES)


def test_results_survive_saving(tmp_path):
    result = with_times(a=[1.5, 2.5])
    save(result, tmp_path / "r.json")
    assert load(tmp_path / "r.json") == result
    assert load(tmp_path / "absent.json") == {"sections": {}}


def test_the_readme_shows_the_committed_results():
    readme = README.read_text()
    assert with_report(readme, report(devices())) == readme


def test_the_page_has_a_text_for_every_table():
    texts = tomllib.loads((HERE / "page.toml").read_text())
    # the activations under scan are columns of the saved outputs
    assert {*texts, "activations"} == {*sections("cpu"), "tpu", "scale"}
    shown = {name for section in sections("cpu") for name in texts.get(section, ())}
    assert shown == {*tables.CELLS, "relative", "activations"}


def test_the_guard_tells_what_got_worse():
    times = {"limit": [1.0] * 2, "fcjax train_epoch": [1.0] * 2, "jax.grad": [1.0] * 2}
    old, new = with_times(**times), with_times(**times | {"fcjax train_epoch": [1.3] * 2})
    for result, total in ((old, 100), (new, 101)):
        case = result["sections"]["speed"]["cases"][str(TINY)]
        case["jax.grad"]["memory"] = {"total": 100}
        case["fcjax train_epoch"]["memory"] = {"total": total}
    assert [check.worse for check in guard.compare(old, old)] == [False, False]
    assert [check.worse for check in guard.compare(new, old)] == [True, True]


def test_the_guard_reruns_a_part_of_the_sections():
    for name, section in guard.small("cpu").items():
        assert set(section.cases) <= set(sections("cpu")[name].cases)


def test_a_system_without_its_library_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "benchmarks.systems.of_keras", raising=False)
    with pytest.raises(Skip, match="keras"):
        build("speed", str(TINY), "Keras on JAX")
