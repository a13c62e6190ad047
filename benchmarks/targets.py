"""The targets, and how the figure of each is read off the results."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from .cases import ACTIVATIONS, Deep
from .networks import DEEP, MAIN, MIDDLE, MIXED, NARROW, TINY, WIDE, WIDEST
from .results import Result, entry, fastest, ratio
from .sections import LIMITS, PEERS

# A figure, and where it was measured if that is not the whole of the target.
Figure = tuple[float, str] | None

SINGLE_LIMITS = [name for name in LIMITS if "loop" not in name]
# g' is a function of the output, so that nothing else needs to be kept.
KEEPS_OUTPUT = (
    *("celu", "elu", "leaky_relu", "log_sigmoid", "log_softmax", "relu", "relu6", "selu"),
    *("sigmoid", "soft_sign", "softmax", "softplus", "sparse_plus", "squareplus", "tanh"),
)
VOCABULARY, MILLION = "4,096 × 512 × 32,768", "256 × 512 × 1,000,000"

# Where the logits exist at once: two rules of fcjax, and JAX with Optax.
UNFUSED = ("two rules", "jax.grad")


@dataclass(frozen=True)
class Target:
    """What is asked for. `key` names it in remarks.toml.

    The figure has to be at most, or at least, the bound.
    """

    key: str
    text: str
    bound: float
    at_most: bool
    measure: Callable[[Result], Figure]
    unit: str = "×"

    def met(self, figure: Figure) -> bool | None:
        """Whether the figure meets the target; None where there is no figure."""
        if figure is None:
            return None
        return figure[0] <= self.bound if self.at_most else figure[0] >= self.bound


def targets() -> list[Target]:
    """Return all of them."""
    return [*_speed(), *_mixed(), *_deep(), *_losses(), *_saved(), *_ensembles()]


def _speed() -> Iterable[Target]:
    for network in (WIDE, DEEP, TINY, NARROW):
        bound = 1.05 if network in (WIDE, DEEP) else 1.0
        text = f"{network.name}: a `train_epoch` step ÷ the time of its matrix products alone"
        measure = partial(_against_limit, case=network.name, system="fcjax train_epoch")
        yield Target(f"limit {network.name}", text, bound, True, measure)
        text = f"{network.name}: the same, with the examples shuffled before"
        measure = partial(_against_limit, case=network.name, system="fcjax train_epoch, shuffled")
        yield Target(f"shuffled {network.name}", text, bound, True, measure)
    for network in MAIN:
        text = f"{network.name}: the fastest peer's step ÷ a `train_epoch` step"
        measure = partial(_against_peers, case=network.name)
        yield Target(f"peers {network.name}", text, 1.0, False, measure)
    text = f"{TINY.name}: PyTorch's step ÷ a `train_epoch` step"
    systems = "PyTorch", "fcjax train_epoch"
    yield Target("pytorch", text, 8.0, False, partial(_times, "speed", TINY.name, *systems))


def _mixed() -> Iterable[Target]:
    ours = "fcjax bf16 train_epoch"
    for network in MIXED:
        text = f"{network.name}, bf16: PyTorch autocast ÷ `train_epoch`"
        measure = partial(_times, "mixed", network.name, "PyTorch autocast", ours)
        yield Target(f"autocast {network.name}", text, 1.0, False, measure)
    for network in (WIDE, DEEP, WIDEST):
        text = f"{network.name}: the f32 step ÷ the bf16 step"
        measure = partial(_times, "mixed", network.name, "fcjax f32 train_epoch", ours)
        yield Target(f"bf16 {network.name}", text, 1.4, False, measure)
    text = "bf16: error of `dW` relative to the gradient of the rounded operands"
    yield Target("rounding", text, 1e-5, True, _rounding, "")


def _deep() -> Iterable[Target]:
    text = "`stack`: temporaries ÷ one saved input per layer, the worst activation"
    yield Target("stack memory", text, 1.1, True, _saved_inputs)
    text = "`stack`: step ÷ that of the scan under autodiff, the worst activation"
    yield Target("stack time", text, 1.0, True, _worst_activation)
    text = "`stack`, gelu: the scan under autodiff ÷ `stack`"
    systems = "scan, jax.grad", "fcjax.stack"
    measure = partial(_times, "activations", "gelu", *systems)
    yield Target("stack gelu", text, 1.2, False, measure)
    text = "`stack`: time to compile 1,000 layers ÷ 10 layers"
    yield Target("stack compile", text, 1.5, True, _compile_growth)
    text = "10,000 layers of width 256: the second step's loss ÷ the first's"
    yield Target("ten thousand", text, 1.0, True, _trains)


def _losses() -> Iterable[Target]:
    text = f"{VOCABULARY}: temporaries of `dense_softmax_cross_entropy` ÷ the least of two rules"
    yield Target("one rule memory", text, 1 / 7, True, _one_rule_memory)
    text = f"{VOCABULARY}: time of `dense_softmax_cross_entropy` ÷ the faster of two rules"
    yield Target("one rule time", text, 1.0, True, _one_rule_time)
    text = f"{VOCABULARY}: time of the loss alone ÷ with its gradient"
    measure = partial(_times, "vocabulary", VOCABULARY, "one rule, loss only", "one rule")
    yield Target("loss only", text, 0.5, True, measure)
    text = f"{MILLION}: memory of loss and gradient"
    yield Target("million", text, 24.0, True, _million, " GiB")


def _saved() -> Iterable[Target]:
    text = "8 × 1024 unrolled, batch 2048: temporaries, the worst activation that keeps its output"
    yield Target("saved outputs", text, 72.0, True, _most_saved, " MiB")


def _ensembles() -> Iterable[Target]:
    for network in (TINY, NARROW):
        text = f"32 networks {network.name}: one after another ÷ `vmap` of `train_epoch`"
        systems = "one after another", "vmap of train_epoch"
        measure = partial(_times, "ensemble", network.name, *systems)
        yield Target(f"ensemble {network.name}", text, 1.0, False, measure)
        text = f"32 networks {network.name}: the same where all see the examples in one order"
        unshuffled = [f"{system}, unshuffled" for system in systems]
        measure = partial(_times, "ensemble", network.name, *unshuffled)
        yield Target(f"ensemble in one order {network.name}", text, 1.0, False, measure)


def _figure(value: float | None, note: str = "") -> Figure:
    return None if value is None else (value, note)


def _times(section: str, case: str, system: str, reference: str, result: Result) -> Figure:
    """Return the time of one system divided by that of another."""
    found = [entry(result, section, case, name) for name in (system, reference)]
    return _figure(ratio(*found))


def _against_limit(result: Result, case: str, system: str) -> Figure:
    best = fastest(result, "speed", case, SINGLE_LIMITS)
    return _figure(ratio(entry(result, "speed", case, system), best))


def _against_peers(result: Result, case: str) -> Figure:
    ours = entry(result, "speed", case, "fcjax train_epoch")
    ratios = {peer: ratio(entry(result, "speed", case, peer), ours) for peer in PEERS}
    return _extreme(ratios, min)


def _extreme(figures: dict[str, float | None], choose: Callable) -> Figure:
    """Return the figure that decides, and whose it is; None if there is none."""
    known = {name: figure for name, figure in figures.items() if figure is not None}
    if not known:
        return None
    name = choose(known, key=lambda name: known[name])
    return known[name], name


def _rounding(result: Result) -> Figure:
    return _figure(entry(result, "rounding", MIDDLE.name, "fcjax").get("error"))


def _temp(found: Result) -> int | None:
    return found.get("memory", {}).get("temp")


def _saved_inputs(result: Result) -> Figure:
    saved = Deep(64, 256, 256).saved_inputs
    figures = {}
    for name in ACTIVATIONS:
        temp = _temp(entry(result, "activations", name, "fcjax.stack"))
        figures[name] = None if temp is None else temp / saved
    return _extreme(figures, max)


def _worst_activation(result: Result) -> Figure:
    figures = {}
    for name in ACTIVATIONS:
        figure = _times("activations", name, "fcjax.stack", "scan, jax.grad", result)
        figures[name] = None if figure is None else figure[0]
    return _extreme(figures, max)


def _compile_growth(result: Result) -> Figure:
    few, many = (
        entry(result, "depth", Deep(layers, 256, 256).name, "fcjax.stack").get("compile_s")
        for layers in (10, 1000)
    )
    return _figure(many / few if few and many else None)


def _trains(result: Result) -> Figure:
    case = Deep(10_000, 256, 256).name
    losses = entry(result, "deepest", case, "fcjax.stack, remat_every=100").get("first_losses")
    return _figure(losses[1] / losses[0] if losses else None)


def _one_rule_memory(result: Result) -> Figure:
    ours, *others = (
        _temp(entry(result, "vocabulary", VOCABULARY, name)) for name in ("one rule", *UNFUSED)
    )
    known = [temp for temp in others if temp]
    return _figure(ours / min(known) if ours and known else None)


def _one_rule_time(result: Result) -> Figure:
    best = fastest(result, "vocabulary", VOCABULARY, UNFUSED)
    return _figure(ratio(entry(result, "vocabulary", VOCABULARY, "one rule"), best))


def _million(result: Result) -> Figure:
    found = entry(result, "vocabulary", MILLION, "one rule").get("memory")
    return _figure(found["total"] / 2**30 if found else None)


def _most_saved(result: Result) -> Figure:
    found = entry(result, "saved", "8 layers of 1024, batch 2048", "fcjax").get("temp", {})
    return _extreme({name: found[name] / 2**20 for name in KEEPS_OUTPUT if name in found}, max)
