"""A share of the random calls of `make fuzz`, the same ones in every run."""

import pytest

import fcjax
from fcjax import checkpoint, datasets, distributed, network, plot, train, verify

from .judge import judge
from .registry import PROPERTIES
from .run import each_call

pytestmark = pytest.mark.usefixtures("unchecked")

# One case of this many.
SHARE = 40
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
    "Facts, Rule, Dataset": "records that only the library makes",
    "CheckResult, RuleReport, RuleCall, NonFiniteLossError": "made by the library, not by users",
    "train.check_count, train.optimizers": "for the command; the second has no arguments",
    "distributed.check_mesh, distributed.check_shared, distributed.number_of_shards": "for `fit`",
    "distributed.on_mesh, distributed.place_parts": "for `fit`",
}
NAMES = {name for names in EXEMPT for name in names.split(", ")}


def public_names():
    """Yield every public function and class, by the name of its property."""
    known = {id(value) for value in vars(fcjax).values()}
    for prefix, modules in MODULES.items():
        for module in modules:
            for name, value in vars(module).items():
                own = getattr(value, "__module__", "").startswith("fcjax")
                imported = "_arguments" in getattr(value, "__module__", "")
                if name.startswith("_") or not callable(value) or not own or imported:
                    continue
                yield name if not prefix or id(value) in known else prefix + name


def test_every_public_function_has_a_property():
    missing = {name for name in public_names() if name.split(".")[-1] not in NAMES} - {*PROPERTIES}
    assert missing - NAMES == set()
    assert set(NAMES) <= {*public_names()} | {name.split(".")[-1] for name in public_names()}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_call_gives_the_right_result_or_an_error_that_names_an_argument(name):
    of_name = PROPERTIES[name]
    each_call(of_name.calls, judge, max(2, of_name.cases // SHARE), seed=None)
