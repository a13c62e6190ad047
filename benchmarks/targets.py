"""The targets, and how the figure of each is read off the results."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .activations import ACTIVATIONS, KEEPS_OUTPUT
from .cases import DEEPEST, DEPTHS, MANY_CLASSES, MILLION, UNROLLED, Deep
from .networks import DEEP, MAIN, MIDDLE, MIXED, NARROW, TINY, WIDE, WIDEST
from .results import Result, entry, fastest, memory, ratio
from .sections import PEERS, SINGLE_LIMITS

# The figures, by what tells them apart, of which the worst has to meet a target.
Figures = dict[str, float | None]
Measure = Callable[[Result], Figures]

OURS, OURS_BF16 = "fcjax train_epoch", "fcjax bf16 train_epoch"
STACK, SCAN = "fcjax.stack", "scan, jax.grad"
LOOP, TOGETHER = "one after another", "vmap of train_epoch"
# Where the logits exist at once: two rules of fcjax, and JAX with Optax.
UNFUSED = ("two rules", "jax.grad")


class Target(NamedTuple):
    """What is asked for; `key` names it in remarks.toml."""

    key: str
    text: str
    sign: str  # ≤ or ≥
    bound: float
    figures: Measure
    unit: str = "×"

    def measure(self, result: Result) -> tuple[float, str] | None:
        """Return the figure that decides, and whose it is."""
        known = [(value, name) for name, value in self.figures(result).items() if value is not None]
        worst = max if self.sign == "≤" else min
        return worst(known, key=lambda figure: figure[0], default=None)

    def met(self, figure: tuple[float, str] | None) -> bool | None:
        """Whether the figure meets the target; None where there is no figure."""
        if figure is None:
            return None
        return figure[0] <= self.bound if self.sign == "≤" else figure[0] >= self.bound


def targets() -> list[Target]:
    """Return all of them."""
    return [*_speed(), *_mixed(), *_stacks(), *_vocabularies(), *_ensembles()]


def _speed() -> Iterator[Target]:
    for net in (WIDE, DEEP, TINY, NARROW):
        bound = 1.05 if net in (WIDE, DEEP) else 1.0
        text = f"{net}: a `train_epoch` step ÷ the time of its matrix products alone"
        measure = _times("speed", net, [OURS], SINGLE_LIMITS)
        yield Target(f"limit {net}", text, "≤", bound, measure)
        text = f"{net}: the same, with the examples shuffled before"
        measure = _times("speed", net, [f"{OURS}, shuffled"], SINGLE_LIMITS)
        yield Target(f"shuffled {net}", text, "≤", bound, measure)
    for net in MAIN:
        text = f"{net}: the fastest peer's step ÷ a `train_epoch` step"
        yield Target(f"peers {net}", text, "≥", 1.0, _times("speed", net, PEERS, [OURS]))
    text = f"{TINY}: PyTorch's step ÷ a `train_epoch` step"
    yield Target("pytorch", text, "≥", 8.0, _times("speed", TINY, ["PyTorch"], [OURS]))


def _mixed() -> Iterator[Target]:
    for net in MIXED:
        text = f"{net}, bf16: PyTorch autocast ÷ `train_epoch`"
        measure = _times("mixed", net, ["PyTorch autocast"], [OURS_BF16])
        yield Target(f"autocast {net}", text, "≥", 1.0, measure)
    for net in (WIDE, DEEP, WIDEST):
        text = f"{net}: the f32 step ÷ the bf16 step"
        measure = _times("mixed", net, ["fcjax f32 train_epoch"], [OURS_BF16])
        yield Target(f"bf16 {net}", text, "≥", 1.4, measure)
    text = "bf16: error of `dW` relative to the gradient of the rounded operands"
    yield Target("rounding", text, "≤", 1e-5, _rounding, "")


def _stacks() -> Iterator[Target]:
    text = "`stack`: temporaries ÷ one saved input per layer, the worst activation"
    yield Target("stack memory", text, "≤", 1.1, _saved_inputs)
    text = "`stack`: step ÷ that of the scan under autodiff, the worst activation"
    yield Target("stack time", text, "≤", 1.0, _activations)
    text = "`stack`, gelu: the scan under autodiff ÷ `stack`"
    yield Target("stack gelu", text, "≥", 1.2, _times("activations", "gelu", [SCAN], [STACK]))
    text = "`stack`: time to compile 1,000 layers ÷ 10 layers"
    yield Target("stack compile", text, "≤", 1.5, _compile_growth)
    text = "10,000 layers of width 256: the second step's loss ÷ the first's"
    yield Target("ten thousand", text, "≤", 1.0, _trains)


def _vocabularies() -> Iterator[Target]:
    case = MANY_CLASSES
    text = f"{case}: temporaries of `dense_softmax_cross_entropy` ÷ the least of two rules"
    yield Target("one rule memory", text, "≤", 1 / 7, _one_rule_memory)
    text = f"{case}: time of `dense_softmax_cross_entropy` ÷ the faster of two rules"
    measure = _times("vocabulary", case, ["one rule"], UNFUSED)
    yield Target("one rule time", text, "≤", 1.0, measure)
    text = f"{case}: time of the loss alone ÷ with its gradient"
    measure = _times("vocabulary", case, ["one rule, loss only"], ["one rule"])
    yield Target("loss only", text, "≤", 0.5, measure)
    text = f"{MILLION}: memory of loss and gradient"
    yield Target("million", text, "≤", 24.0, _million, " GiB")
    text = "8 × 1024 unrolled, batch 2048: temporaries, the worst activation that keeps its output"
    yield Target("saved outputs", text, "≤", 72.0, _saved_outputs, " MiB")


def _ensembles() -> Iterator[Target]:
    for net in (TINY, NARROW):
        text = f"32 networks {net}: one after another ÷ `vmap` of `train_epoch`"
        measure = _times("ensemble", net, [LOOP], [TOGETHER])
        yield Target(f"ensemble {net}", text, "≥", 1.0, measure)
        text = f"32 networks {net}: the same where all see the examples in one order"
        measure = _times("ensemble", net, [f"{LOOP}, unshuffled"], [f"{TOGETHER}, unshuffled"])
        yield Target(f"ensemble in one order {net}", text, "≥", 1.0, measure)


def _times(section: str, case: Any, systems: Iterable[str], references: Iterable[str]) -> Measure:
    """Return the time of each system divided by that of the fastest reference."""

    def figures(result: Result) -> Figures:
        best = fastest(result, section, case, references)
        known = [(name, ratio(entry(result, section, case, name), best)) for name in systems]
        return dict(known) if len(known) > 1 else {"": known[0][1]}

    return figures


def _over(value: float | None, reference: float | None) -> float | None:
    return value / reference if value and reference else None


def _rounding(result: Result) -> Figures:
    return {"": entry(result, "rounding", MIDDLE, "fcjax").get("error")}


def _saved_inputs(result: Result) -> Figures:
    found = {name: entry(result, "activations", name, STACK) for name in ACTIVATIONS}
    return {name: _over(memory(one, "temp"), Deep(64).saved_inputs) for name, one in found.items()}


def _activations(result: Result) -> Figures:
    return {n: _times("activations", n, [STACK], [SCAN])(result)[""] for n in ACTIVATIONS}


def _compile_growth(result: Result) -> Figures:
    ends = [entry(result, "depth", deep, STACK) for deep in (DEPTHS[-1], DEPTHS[0])]
    return {"": _over(*(one.get("compile_s") for one in ends))}


def _trains(result: Result) -> Figures:
    found = entry(result, "deepest", DEEPEST, f"{STACK}, remat_every=100")
    first, second, *_ = found.get("first_losses", (None, None))
    return {"": _over(second, first)}


def _one_rule_memory(result: Result) -> Figures:
    found = [entry(result, "vocabulary", MANY_CLASSES, name) for name in ("one rule", *UNFUSED)]
    ours, *others = (memory(one, "temp") for one in found)
    return {"": _over(ours, min(filter(None, others), default=None))}


def _million(result: Result) -> Figures:
    return {"": _over(memory(entry(result, "vocabulary", MILLION, "one rule"), "total"), 2**30)}


def _saved_outputs(result: Result) -> Figures:
    found = entry(result, "saved", UNROLLED, "fcjax").get("temp", {})
    return {name: _over(found.get(name), 2**20) for name in KEEPS_OUTPUT}
