"""A share of the random calls of `make fuzz`, the same ones in every run."""

import pytest

import fcjax
from fcjax import checkpoint, datasets, distributed, network, plot, train, verify

from .judge import judge
from .registry import PROPERTIES
from .run import each_call

pytestmark = pytest.mark.usefixtures("unchecked")

# One case of this many.
SHARE = 100
MODULES = {
    "": (fcjax, fcjax.activations, fcjax.losses, network),
    "train.": (train,),
    "verify.": (verify,),
    "distributed.": (distributed,),
    "checkpoint.": (checkpoint,),
    "plot.": (plot,),
    "datasets.": (datasets,),
}
EXEMPT = {
    "Layer, LayerCache, TrainState, StepInfo, FitResult, EpochEnd": "records, which are checked by "
    "the functions that take them",
    "Facts, Rule, datasets.Dataset": "records that only the library makes",
    "verify.CheckResult, verify.RuleReport, verify.RuleCall": "records that only the library makes",
    "verify.Cost, verify.CostReport": "records that only the library makes",
    "compare_cost": "its results are times; its arguments are those of check_rule",
    "verify.Budget": "a record, which is checked by the function that takes it",
    "NonFiniteLossError, BatchError, TrainingInterrupted, distributed.OutOfStepError": "exceptions",
    "checkpoint.DamagedCheckpointError, checkpoint.MismatchError": "exceptions",
    "DamagedModelError": "an exception",
    "save, load": "folders, which test_save.py damages and refuses",
    "check_network, sizes_of": "for `Model`",
    "backward_steps, BackwardStep": "`backward` and `deltas`, which are tried, are made of it",
    "train.checked_count, train.checked_optional_count, train.optimizers": "for the command and "
    "for tables; the last has no arguments",
    "distributed.check_mesh, distributed.check_shared, distributed.number_of_shards": "for `fit`",
    "checkpoint.check_writable, checkpoint.checked_directory, checkpoint.in_all_processes": "for "
    "`fit`",
    "checkpoint.OneProcessFailedError": "an exception",
    "checkpoint.newest_whole, distributed.on_mesh, distributed.place_parts": "for `fit`",
    "distributed.largest_of_all_processes, distributed.is_first_process, "
    "distributed.of_first_process, distributed.of_all_processes, distributed.other_than_first, "
    "distributed.wait_for_all, distributed.texts_of_all_processes": "for `fit`",
    "distributed.shardings": "the first half of `place`",
    "distributed.initialize, distributed.abort": "they begin and end processes, in "
    "test_processes.py",
}
NAMES = {name for names in EXEMPT for name in names.split(", ")}


def public_names():
    """Yield every public function and class, by the name of its property."""
    known = {id(value) for value in vars(fcjax).values()}
    for prefix, modules in MODULES.items():
        for module in modules:
            for name, value in vars(module).items():
                own = getattr(value, "__module__", "").startswith(module.__name__)
                if name.startswith("_") or not callable(value) or not own:
                    continue
                yield name if not prefix or id(value) in known else prefix + name


def test_every_public_function_has_a_property():
    public = {*public_names()}
    missing, gone = public - {*PROPERTIES} - NAMES, NAMES - public
    assert not missing, missing
    assert not gone, gone


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.in_turn(2)
def test_a_call_gives_the_right_result_or_an_error_that_names_an_argument(name):
    of_name = PROPERTIES[name]
    each_call(of_name.calls, judge, max(2, of_name.cases // SHARE), seed=None)
