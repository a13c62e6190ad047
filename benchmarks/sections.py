"""What is measured: the cases of each section, and the systems that take turns on them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .activations import ACTIVATIONS
from .cases import DEEPEST, DEPTHS, MANY_CLASSES, MILLION, UNROLLED, Deep, Product
from .networks import MAIN, MIDDLE, MIXED, NARROW, SMALL, TINY

# A function of benchmarks/systems that builds a `Program`, as `module:function`, and its options.
System = tuple[str, Mapping[str, Any]]


class Section(NamedTuple):
    """Cases and systems; every system tries every case.

    Times are divided by that of the fastest `reference`; where there is none, nothing is timed.
    `rounds` are the most, where a turn is long; the time to compile is taken from `starts`
    processes.
    """

    title: str
    cases: Mapping[str, Any]
    systems: Mapping[str, System]
    reference: tuple[str, ...] = ()
    rounds: int = 1000
    starts: int = 1


def _system(function: str, **options: Any) -> System:
    return function, options


def _ways(function: str, *ways: str) -> dict[str, System]:
    """One function for several systems, which it knows by their names."""
    return {way: _system(function, way=way) for way in ways}


LOOPS = {
    "limit in a loop": _system("limit:limit", loop=True),
    "limit in a loop, (dZᵀX)ᵀ": _system("limit:limit", loop=True, order="(dZᵀX)ᵀ"),
}
SINGLE_LIMITS = {
    "limit": _system("limit:limit"),
    "limit, (dZᵀX)ᵀ": _system("limit:limit", order="(dZᵀX)ᵀ"),
}
OURS = {
    "fcjax train_epoch": _system("of_fcjax:train"),
    "fcjax train_epoch, shuffled": _system("of_fcjax:train", shuffle=True),
    "fcjax train_step": _system("of_fcjax:train", single=True),
}
PEERS = {
    "jax.grad": _system("of_jax:grad"),
    "Equinox": _system("of_equinox:mlp"),
    "Flax NNX": _system("of_flax:mlp"),
    "Keras on JAX": _system("of_keras:fit"),
    "PyTorch": _system("of_torch:train"),
    "torch.compile": _system("of_torch:train", compiled=True),
    "scikit-learn": _system("of_sklearn:partial_fit"),
}
IN_SCAN = {"jax.grad in scan": _system("of_jax:grad", scan=True)}
BF16 = {"compute_dtype": "bfloat16"}
MIXED_SYSTEMS = {
    "fcjax f32 train_epoch": _system("of_fcjax:train"),
    "fcjax bf16 train_epoch": _system("of_fcjax:train", **BF16),
    "fcjax bf16 train_step": _system("of_fcjax:train", single=True, **BF16),
    "autodiff, bf16 result": _system("of_jax:grad", result="bfloat16", scan=True, **BF16),
    "autodiff, f32 result": _system("of_jax:grad", scan=True, **BF16),
    "PyTorch autocast": _system("of_torch:train", autocast=True),
    "limit bf16": _system("limit:limit", dtype="bfloat16", loop=True),
}
ENSEMBLES = {
    "one after another": _system("of_fcjax:ensemble"),
    "vmap of train_epoch": _system("of_fcjax:ensemble", together=True),
    "one after another, unshuffled": _system("of_fcjax:ensemble", shuffle=False),
    "vmap of train_epoch, unshuffled": _system("of_fcjax:ensemble", together=True, shuffle=False),
}
UNROLLED_WAYS = ("unrolled", "unrolled, jax.grad")
SCANNED_WAYS = ("scan, jax.grad", "fcjax.stack")
COMPILED = {
    **{way: _system("stacks:compile_only", way=way, at_most=100) for way in UNROLLED_WAYS},
    **_ways("stacks:compile_only", *SCANNED_WAYS),
    "fcjax.stack, remat_every": _system("stacks:compile_only", way="fcjax.stack", remat=True),
}
VOCABULARIES = {
    "one rule": _system("vocabulary:gradient", way="one rule"),
    "one rule, loss only": _system("vocabulary:gradient", way="one rule", loss_only=True),
    **_ways("vocabulary:gradient", "two rules", "jax.grad"),
}

_SHAPES = [(32, 128, 10), (128, 512, 10), (512, 1024, 10), (128, 512, 512), (256, 512, 512)]
PRODUCTS = [Product(*shape, dtype) for dtype in ("float32", "bfloat16") for shape in _SHAPES]
PRODUCTS += [Product(512, 1024, 1024, "bfloat16")]
STACKS = (Deep(64), Deep(256), UNROLLED)


def _named(cases: Iterable[Any]) -> dict[str, Any]:
    return {str(case): case for case in cases}


def sections(platform: str) -> dict[str, Section]:
    """Return every section for a platform of JAX: cpu, gpu, tpu."""
    speed = SINGLE_LIMITS | LOOPS | OURS | PEERS | IN_SCAN
    small = LOOPS | OURS | IN_SCAN
    mixed = MIXED if platform == "cpu" else dict.fromkeys(MAIN + MIXED)
    rounding = _ways("weight_gradient:rounded", "fcjax", "bf16 result", "f32 result")
    saved = _ways("stacks:saved", "fcjax", "jax.grad")
    products = _ways("weight_gradient:timed", "XᵀdZ", "(dZᵀX)ᵀ", "fcjax")
    stacks = _ways("stacks:gradient", *UNROLLED_WAYS, *SCANNED_WAYS)
    scanned = _ways("stacks:gradient", *SCANNED_WAYS)
    deepest = {"fcjax.stack, remat_every=100": _system("stacks:trained", remat_every=100)}
    each = {name: Deep(64, activation=name) for name in ACTIVATIONS}
    scan, narrow = ("scan, jax.grad",), _named(SMALL)
    return {
        "speed": Section("Speed", _named(MAIN), speed, tuple(SINGLE_LIMITS)),
        "small": Section(
            "Where the time of narrow networks goes", narrow, small, ("limit in a loop",)
        ),
        "mixed": Section(
            "Mixed precision", _named(mixed), MIXED_SYSTEMS, ("fcjax f32 train_epoch",)
        ),
        "rounding": Section("Rounding of dW", _named([MIDDLE]), rounding),
        "saved": Section("Saved outputs", _named([UNROLLED]), saved),
        "products": Section("The weight gradient", _named(PRODUCTS), products, ("XᵀdZ",)),
        "stack": Section("Stacks", _named(STACKS), stacks, scan, rounds=5),
        "activations": Section("Stacks, by activation", each, scanned, scan, rounds=5),
        "depth": Section("Depth", _named(DEPTHS), COMPILED, starts=3),
        "deepest": Section("Ten thousand layers", _named([DEEPEST]), deepest, rounds=1),
        "vocabulary": Section(
            "Many classes", _named([MANY_CLASSES, MILLION]), VOCABULARIES, ("two rules",), rounds=3
        ),
        "ensemble": Section(
            "Ensembles of 32", _named([TINY, NARROW]), ENSEMBLES, ("one after another",)
        ),
    }
