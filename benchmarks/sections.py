"""What is measured: the cases of each section, and the systems that take turns on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .cases import ACTIVATIONS, Deep, Product, Vocabulary
from .networks import MAIN, MIDDLE, MIXED, NARROW, SMALL, TINY, by_name


@dataclass(frozen=True)
class System:
    """A function of benchmarks/systems that builds a `Program`, as `module:function`."""

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """Cases and systems; every system tries every case.

    Args:
        title: for the table.
        cases: what the systems are given, under their names.
        systems: by name, in the order of the table.
        reference: the system whose time the others are divided by; None where nothing is timed.
        rounds: at most so many, where a turn is long.
        starts: processes from which the time to compile is taken.
    """

    title: str
    cases: Mapping[str, Any]
    systems: Mapping[str, System]
    reference: str | None = None
    rounds: int = 1000
    starts: int = 1


LOOPS = {
    "limit in a loop": System("limit:limit", {"loop": True}),
    "limit in a loop, (dZᵀX)ᵀ": System("limit:limit", {"loop": True, "order": "(dZᵀX)ᵀ"}),
}
LIMITS = {
    "limit": System("limit:limit"),
    "limit, (dZᵀX)ᵀ": System("limit:limit", {"order": "(dZᵀX)ᵀ"}),
    **LOOPS,
}
OURS = {
    "fcjax train_epoch": System("of_fcjax:train_epoch"),
    "fcjax train_epoch, shuffled": System("of_fcjax:train_epoch", {"shuffle": True}),
    "fcjax train_step": System("of_fcjax:train_step"),
}
PEERS = {
    "jax.grad": System("of_jax:grad"),
    "Equinox": System("of_equinox:mlp"),
    "Flax NNX": System("of_flax:mlp"),
    "Keras on JAX": System("of_keras:fit"),
    "PyTorch": System("of_torch:train"),
    "torch.compile": System("of_torch:train", {"compiled": True}),
    "scikit-learn": System("of_sklearn:partial_fit"),
}
IN_SCAN = {"jax.grad in scan": System("of_jax:grad", {"scan": True})}

_UNSHUFFLED = {"shuffle": False}
_BF16 = {"compute_dtype": "bfloat16"}
MIXED_SYSTEMS = {
    "fcjax f32 train_epoch": System("of_fcjax:train_epoch"),
    "fcjax bf16 train_epoch": System("of_fcjax:train_epoch", _BF16),
    "fcjax bf16 train_step": System("of_fcjax:train_step", _BF16),
    "autodiff, bf16 result": System("of_jax:grad", _BF16 | {"result": "bfloat16", "scan": True}),
    "autodiff, f32 result": System("of_jax:grad", _BF16 | {"scan": True}),
    "PyTorch autocast": System("of_torch:train", {"autocast": True}),
    "limit bf16": System("limit:limit", {"dtype": "bfloat16", "loop": True}),
}


def sections(platform: str) -> dict[str, Section]:
    """Return every section for a platform of JAX: cpu, gpu, tpu."""
    mixed = MIXED if platform == "cpu" else (*MAIN, *(n for n in MIXED if n not in MAIN))
    return {
        "speed": Section(
            "Speed", by_name(MAIN), LIMITS | OURS | PEERS | IN_SCAN, reference="limit"
        ),
        "small": Section(
            "Where the time of narrow networks goes",
            by_name(SMALL),
            LOOPS | OURS | IN_SCAN,
            reference="limit in a loop",
        ),
        "mixed": Section(
            "Mixed precision", by_name(mixed), MIXED_SYSTEMS, reference="fcjax f32 train_epoch"
        ),
        **_exact(),
        "products": _products(),
        **_deep(),
        **_losses(),
        "ensemble": Section(
            "Ensembles of 32",
            by_name((TINY, NARROW)),
            {
                "one after another": System("ensembles:one_by_one"),
                "vmap of train_epoch": System("ensembles:together"),
                "one after another, unshuffled": System("ensembles:one_by_one", _UNSHUFFLED),
                "vmap of train_epoch, unshuffled": System("ensembles:together", _UNSHUFFLED),
            },
            reference="one after another",
        ),
    }


def _products() -> Section:
    shapes = [(32, 128, 10), (128, 512, 10), (512, 1024, 10), (128, 512, 512), (256, 512, 512)]
    cases = [Product(*shape, dtype) for dtype in ("float32", "bfloat16") for shape in shapes]
    cases += [Product(512, 1024, 1024, "bfloat16")]
    ways = ("XᵀdZ", "(dZᵀX)ᵀ", "fcjax")
    systems = {way: System("products:weight_gradient", {"way": way}) for way in ways}
    return Section("The weight gradient", {c.name: c for c in cases}, systems, "XᵀdZ")


def _exact() -> dict[str, Section]:
    names = ("fcjax", "bf16 result", "f32 result")
    systems = {name: System("exact:weight_gradient", {"system": name}) for name in names}
    saved = {n: System("saved:temporaries", {"system": n}) for n in ("fcjax", "jax.grad")}
    unrolled = {"8 layers of 1024, batch 2048": ACTIVATIONS}
    return {
        "rounding": Section("Rounding of dW", by_name((MIDDLE,)), systems),
        "saved": Section("Saved outputs", unrolled, saved),
    }


def _deep() -> dict[str, Section]:
    names = ("unrolled", "unrolled, jax.grad", "scan, jax.grad", "fcjax.stack")
    ways = {name: System("stacks:gradient", {"system": name}) for name in names}
    under_scan = {name: ways[name] for name in ("scan, jax.grad", "fcjax.stack")}
    shapes = [Deep(64, 256, 256), Deep(256, 256, 256), Deep(8, 1024, 2048)]
    depths = [Deep(layers, 256, 256) for layers in (10, 30, 100, 300, 1000)]
    compiled = {
        name: _compiled(name, at_most=100 if "unrolled" in name else None) for name in names
    }
    compiled["fcjax.stack, remat_every"] = _compiled("fcjax.stack", remat=True)
    each = {name: Deep(64, 256, 256, name) for name in ACTIVATIONS}
    trained = Deep(10_000, 256, 256, "relu")
    return {
        "stack": Section("Stacks", {d.name: d for d in shapes}, ways, "scan, jax.grad", 5),
        "activations": Section("Stacks, by activation", each, under_scan, "scan, jax.grad", 5),
        "depth": Section("Depth", {d.name: d for d in depths}, compiled, starts=3),
        "deepest": Section(
            "Ten thousand layers",
            {trained.name: trained},
            {"fcjax.stack, remat_every=100": System("stacks:trained", {"remat_every": 100})},
            rounds=1,
        ),
    }


def _compiled(name: str, **options: Any) -> System:
    return System("stacks:compile_only", {"system": name, **options})


def _losses() -> dict[str, Section]:
    cases = [Vocabulary(4096, 512, 32_768), Vocabulary(256, 512, 1_000_000)]
    systems = {
        "one rule": System("vocabulary:fused"),
        "one rule, loss only": System("vocabulary:fused", {"loss_only": True}),
        "two rules": System("vocabulary:unfused"),
        "jax.grad": System("vocabulary:autodiff"),
    }
    named = {case.name: case for case in cases}
    return {"vocabulary": Section("Many classes", named, systems, "two rules", 3)}
