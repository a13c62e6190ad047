"""The page about tables: figures, ranks and ratios of known results."""

import sys

import pytest
from support import long

pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

from benchmarks.tabular import dropin, epochs, run
from benchmarks.tabular.picture import draw
from benchmarks.tabular.report import RIVALS, goals, page
from benchmarks.tabular.run import still_to_do
from benchmarks.tabular.summary import ahead, difference, ranks, spread, times
from benchmarks.tabular.systems import SYSTEMS
from benchmarks.turns import Worker, epochs_of_one

OURS, THEIRS, SKLEARN = "fcjax realmlp", "pytabkit RealMLP-TD-S", "scikit-learn MLP"


def result(table, system, seed, fit_s=1.0, **figures):
    about = {"table": table, "system": system, "seed": seed, "machine": "A"}
    costs = {"fit_s": fit_s, "again_s": fit_s - 0.5, "predict_s": 0.1, "memory_mb": 200}
    return {**about, "rows": 100, "columns": 3, **costs, **figures}


RESULTS = [
    *(result("credit", OURS, s, 2, accuracy=a) for s, a in enumerate([0.8, 0.9, 0.85])),
    *(result("credit", THEIRS, s, 8, accuracy=a) for s, a in enumerate([0.7, 0.8, 0.76])),
    *(result("credit", SKLEARN, s, 1, accuracy=a) for s, a in enumerate([0.8, 0.9, 0.85])),
    *(result("ames", OURS, s, 2, rmse=a) for s, a in enumerate([3.0, 5.0, 4.0])),
    *(result("ames", THEIRS, s, 12, rmse=a) for s, a in enumerate([3.1, 4.9, 4.0])),
    result("ames", SKLEARN, 0, 1, rmse=9.0),
]
TABLES, NAMES = ["credit", "ames"], [OURS, THEIRS, SKLEARN]


def test_figures_are_averaged_over_the_seeds():
    found = spread([r for r in RESULTS if (r["table"], r["system"]) == ("credit", OURS)], "error")
    assert found == (pytest.approx(0.15), pytest.approx(0.05), 3)


def test_ties_share_their_rank_and_the_smaller_figure_is_first():
    assert ranks(RESULTS, TABLES, NAMES, "primary") == {
        OURS: [1.5, 1], THEIRS: [3, 2], SKLEARN: [1.5, 3]  # ames has one seed of all three
    }  # fmt: skip
    assert ranks(RESULTS, TABLES, NAMES, "rmse")[SKLEARN] == [3]
    larger = [r | {"auc": -r.get("rmse", 1.0)} for r in RESULTS]
    assert ranks(larger, ["ames"], NAMES, "auc")[SKLEARN] == [3]
    assert ranks(RESULTS[:-1], TABLES, NAMES, "primary")[OURS] == [1.5]
    assert ranks(RESULTS, ["ames"], NAMES[:2], "primary") == {OURS: [1.5], THEIRS: [1.5]}


def test_differences_within_the_spread_of_seeds_are_none():
    assert difference(RESULTS, TABLES, OURS, THEIRS) == (1, 1, 0, 0)
    assert difference(RESULTS, TABLES, THEIRS, OURS) == (0, 1, 1, 0)
    assert difference(RESULTS, TABLES, OURS, SKLEARN) == (0, 1, 0, 1)


def test_ahead_is_by_the_seeds_of_both():
    assert ahead(RESULTS, TABLES, OURS, SKLEARN) == ["ames"]


def test_times_are_compared_on_one_machine_and_only_those_of_the_first_seed():
    busy = [r | {"fit_s": 99.0} if r["seed"] and r["system"] == THEIRS else r for r in RESULTS]
    assert times(busy, TABLES, THEIRS, OURS) == {"credit": 4, "ames": 6}
    assert "99" not in page(busy, TABLES, list(SYSTEMS))
    beside = [r | {"busy": True} if r["table"] == "ames" else r for r in RESULTS]
    assert times(beside, TABLES, THEIRS, OURS) == {"credit": 4}
    moved = [r | {"machine": "B"} if r["system"] == OURS else r for r in RESULTS]
    assert times(moved, TABLES, THEIRS, OURS) == {}


def test_the_page_says_what_was_met():
    failed = {"table": "ames", "system": SKLEARN, "seed": 1, "error": "ValueError: no"}
    text = page([*RESULTS, failed], TABLES, list(SYSTEMS))
    ranking, speed, sklearn = goals(RESULTS, TABLES)
    assert ranking.startswith("- Met:")
    assert "better on 1 and worse on 0, not on 1" in ranking
    assert speed.startswith("- Not met:")
    assert "4.9 times" in speed
    assert "from 4.0 on credit to 6.0 on ames" in speed
    assert "repeated, 6.2 times (from 5.0 on credit to 7.7 on ames)" in speed
    assert "| credit | 2.00 / 1.50 | 8.00 / 7.50 |" in text
    assert sklearn.endswith("on 1 of 2.")
    assert "| credit (100 × 3) | error, % | **15.0** ± 5.00 | 24.7 ± 5.03 |" in text
    assert "scikit-learn MLP on ames, seed 1: ValueError: no" in text


def test_the_picture_is_drawn(tmp_path):
    draw(RESULTS, TABLES, NAMES, RIVALS, tmp_path / "tabular.png")
    assert (tmp_path / "tabular.png").stat().st_size > 10_000


def test_what_is_to_do_is_what_has_no_result():
    long = [result("ames", THEIRS, 0, 500.0, rmse=1.0), result("ames", OURS, 0, 5.0, rmse=1.0)]
    todo = list(still_to_do(long, ["ames"], [OURS, THEIRS]))
    assert todo == [("ames", seed, OURS) for seed in (1, 2, 3, 4)]
    assert "**Not complete**: 2 fits are there, 4 are to come." in page(
        long, ["ames"], [OURS, THEIRS]
    )
    whole = [*long, *(result("ames", OURS, seed, 5.0, rmse=1.0) for seed in (1, 2, 3, 4))]
    assert "Not complete" not in page(whole, ["ames"], [OURS, THEIRS])


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.jsonl")
    monkeypatch.setattr(run, "_one", lambda *which: result(*which[:1], which[2], which[1], 1.0))
    run.run(["ames"], [OURS])
    lines = run.RESULTS.read_text().splitlines()
    assert len(lines) == 5
    run.RESULTS.write_text("\n".join(lines[:2]) + "\n")
    run.run(["ames"], [OURS, THEIRS])
    assert [(r["system"], r["seed"]) for r in run.results()].count((OURS, 4)) == 1
    assert len(run.results()) == 10


def test_what_scikit_learn_takes_longer_is_told_by_epochs():
    def of(*seconds, epochs=1):
        return [{"fit_s": s, "epochs": epochs} for s in seconds]

    found = {
        f"{data}, {dtype}": {
            "scikit-learn": of(4.0, 8.0, 40.0, epochs=2), "fcjax": of(1.0, 1.0, 4.0),
            dropin.PRODUCTS: of(0.5, 0.5, 2.0),
        }
        for data in dropin.CASES for dtype in dropin.DTYPES
    }  # fmt: skip
    assert epochs_of_one("scikit-learn", found["digits, float64"]) == {
        "fcjax": 4,
        dropin.PRODUCTS: 8,
    }
    text = dropin.section(found)
    assert "| digits | float32 | 2 | 8.00 | 4.00 |  | 8.00 |" in text
    assert "- Not met: 5 times as fast on digits in float64: 4.0 times." in text
    assert "- Met: 3 times as fast on mnist5k in float32: 4.0 times." in text


def test_what_an_epoch_takes_is_beside_its_products():
    rounds = [{"fit_s": s, "epochs": 4} for s in (8.0, 16.0, 80.0)]
    ours = [{"fit_s": s / 2, "epochs": 4} for s in (8.0, 16.0, 80.0)]
    least = [{"fit_s": s / 32, "epochs": 1} for s in (8.0, 16.0, 80.0)]
    found = {
        f"{preset}, {table}": {"pytabkit": rounds, "fcjax": ours, epochs.PRODUCTS: least}
        for preset in epochs.PRESETS for table in epochs.TABLES
    }  # fmt: skip
    assert "| tabm | insurance | 4.00 | 2.00 | 8.00 |" in epochs.section(found)


@pytest.mark.parametrize("system", ["scikit-learn", dropin.PRODUCTS])
@long
def test_a_process_fits_whenever_it_is_told_to(system):
    command = [sys.executable, "-m", "benchmarks.tabular.dropin", system, "digits", "float32"]
    worker = Worker(command, {})
    answer = worker.turn()
    worker.stop()
    assert worker.failed is None
    assert answer["fit_s"] > 0
    assert answer["epochs"] in (1, 200)
