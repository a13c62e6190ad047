"""Make the page: one HTML file with all of its data, styles and script inside."""

import functools
import itertools
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from ..activations import rule_of
from ..dense import dense_bwd, dense_fwd
from ..verify import rules_in
from .arrays import (
    GRADIENTS,
    Axes,
    arrays_of,
    entries_of,
    gradients_of,
    largest_difference,
    packed,
    whole_of,
)
from .extra import jinja
from .formulas import mathml, of_activation, of_loss
from .mistakes import Mistake
from .mixing import Mixing, mixing_of
from .oracles import Oracle
from .record import Function, Step, Task, slopes_of
from .sources import code_of, shortened, source_of, source_of_backward

# A matrix with more rows or columns is drawn as an image, without its numbers.
MOST_NUMBERS = 16


class Effect(NamedTuple):
    """What a mistake does: the steps with it, the losses, and the words of the checker."""

    mistake: Mistake
    steps: tuple[Step, ...]
    losses: np.ndarray
    words: tuple[str, ...]

    @property
    def last(self) -> float:
        """The loss after all steps."""
        return float(self.losses[-1])

    @property
    def diverges(self) -> str:
        """What becomes of a loss that does not stay finite; nothing if it does."""
        return (
            "" if np.isfinite(self.last) else "not a number" if np.isnan(self.last) else "infinite"
        )


class Found(NamedTuple):
    """All that a page shows."""

    task: Task
    steps: tuple[Step, ...]
    losses: np.ndarray
    axes: Axes
    autodiff: tuple[Oracle, ...]
    differences: tuple[Oracle, ...]
    effects: tuple[Effect, ...]
    names: tuple[str, ...] = ()


class Matrix(NamedTuple):
    """A matrix of the page, at the first step.

    Attributes:
        name: such as dW1.
        symbol: the name as MathML.
        whole: all of its numbers.
        values: those that are shown.
        is_kept: whether the backward pass reads it.
        states: of each column that is shown, if its units have a state.
        rows, columns: the names of those that are shown, if they are inputs that have names.
    """

    name: str
    symbol: str
    whole: np.ndarray
    values: np.ndarray
    is_kept: bool
    states: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def size(self) -> str:
        """The shape, and that of what is shown if it is less."""
        whole, shown = (f"{V.shape[0]} × {V.shape[1]}" for V in (self.whole, self.values))
        return whole if whole == shown else f"{whole}, {shown} of it shown"

    @property
    def is_large(self) -> bool:
        """Whether it is drawn as an image."""
        return max(self.values.shape) > MOST_NUMBERS

    @property
    def largest(self) -> float:
        """The largest magnitude, to which the colours are relative."""
        finite = np.abs(self.values[np.isfinite(self.values)])
        return float(np.max(finite, initial=0.0)) or 1.0


class Card(NamedTuple):
    """One formula of the forward or the backward pass, with its matrices."""

    title: str
    formula: str
    source: str
    code: str
    matrices: tuple[Matrix, ...]
    note: str = ""


def render(found: Found) -> str:
    """Return the page."""
    library = jinja()
    environment = library.Environment(
        loader=library.PackageLoader("fcjax.explainer", "."), autoescape=True, trim_blocks=True
    )
    files = resources.files("fcjax.explainer")
    first, L = found.steps[0], len(found.steps[0].layers)
    return environment.get_template("page.html").render(
        title="-".join(map(str, found.axes.sizes)),
        m=found.axes.m,
        axes=found.axes,
        loss=first.loss,
        losses=found.losses,
        loss_name=_name_of_loss(found),
        origin=_origin(found),
        activations=_in_words([name_of(g) for g in found.task.activations]),
        learning_rate=found.task.learning_rate,
        forward=[card for l in range(1, L + 1) for card in _forward(found, l)],
        backward=[_loss(found), *(card for l in range(L, 0, -1) for card in _backward(found, l))],
        differences=_differences(found),
        effects=found.effects,
        formulas={effect.mistake.key: mathml(effect.mistake.formula) for effect in found.effects},
        numbers=[step.number for step in found.steps],
        states=_states(first),
        short=short,
        style=files.joinpath("page.css").read_text(),
        script=files.joinpath("page.js").read_text(),
        data=json.dumps(_data(found)).replace("<", "\\u003c"),  # no name ends the script
    )


def _forward(found: Found, l: int) -> list[Card]:
    step, g = found.steps[0], found.task.activations[l - 1]
    arrays = whole_of(step)
    before = "X" if l == 1 else f"A_{{{l - 1}}}"
    kept = rule_of(g).keeps
    inputs = [_matrix(found, "X", is_kept=True)] if l == 1 else []
    parameters = [_matrix(found, f"W{l}", is_kept=True)]
    bias = f" + b_{{{l}}}" if f"b{l}" in arrays else ""
    parameters += [_matrix(found, f"b{l}")] if bias else []
    outputs = _matrix(found, f"Z{l}", is_kept=kept != "output")
    affine = Card(
        f"Layer {l}: the affine map",
        mathml(f"Z_{{{l}}} = {before} W_{{{l}}}{bias}"),
        *code_of(dense_fwd),
        (*inputs, *parameters, outputs),
    )
    is_read = l < len(step.layers)  # by the next layer, for its dW
    return [
        affine,
        Card(
            f"Layer {l}: {name_of(g)}",
            mathml(f"A_{{{l}}} = g(Z_{{{l}}})") + " " + _formula(g, 0),
            *source_of(g),
            (_matrix(found, f"A{l}", is_kept=kept == "output" or is_read),),
            _NOTES[_mixing(found, l)],
        ),
    ]


def _loss(found: Found) -> Card:
    L = len(found.steps[0].layers)
    name = _name_of_loss(found)
    known = of_loss(found.task.given, L) if found.task.given else ()
    calls = rules_in(found.task.loss, found.steps[0].layers[-1].A)
    source = shortened(calls[0].source) if calls else ""
    arrays = whole_of(found.steps[0])
    return Card(
        f"The loss: {name}",
        " ".join(
            map(mathml, known or (rf"dA_{{{L}}} = \frac{{\partial \ell}}{{\partial A_{{{L}}}}}",))
        ),
        source,
        "",
        tuple(_matrix(found, one) for one in ("p", "y", f"dA{L}") if one in arrays),
    )


def _backward(found: Found, l: int) -> list[Card]:
    g = found.task.activations[l - 1]
    before = "X" if l == 1 else f"A_{{{l - 1}}}"
    gradient = "dX" if l == 1 else f"dA_{{{l - 1}}}"
    names = [f"dW{l}", f"db{l}", "dX" if l == 1 else f"dA{l - 1}"]
    arrays = whole_of(found.steps[0])
    formulas = [rf"dW_{{{l}}} = {before}^{{T}} dZ_{{{l}}}", rf"db_{{{l}}} = \sum_i (dZ_{{{l}}})_i"]
    formulas = [*formulas[: 1 + (f"db{l}" in arrays)], rf"{gradient} = dZ_{{{l}}} W_{{{l}}}^{{T}}"]
    return [
        Card(
            f"Layer {l}: back through {name_of(g)}",
            _back_through(found, l),
            *source_of_backward(g),
            (_matrix(found, f"dZ{l}"),),
            _NOTES_BACK[_mixing(found, l)],
        ),
        Card(
            f"Layer {l}: back through the affine map",
            " ".join(map(mathml, formulas)),
            *code_of(dense_bwd),
            tuple(_matrix(found, name) for name in names if name in arrays),
        ),
    ]


_NOTES: dict[Mixing, str] = {
    "entry": "",
    "row": "It mixes the entries of a row: each entry of A depends on its whole row of Z.",
    "batch": "It mixes examples: an entry of A depends on other rows of Z, too.",
}
_NOTES_BACK: dict[Mixing, str] = {
    "entry": "",
    "row": "Each entry of dZ takes its whole row of dA: no entry has a slope of its own.",
    "batch": "An entry of dZ takes other rows of dA, too: no entry has a slope of its own.",
}


def _mixing(found: Found, l: int) -> Mixing:
    Z = found.steps[0].layers[l - 1].Z
    return mixing_of(found.task.activations[l - 1], Z.shape, Z.dtype)


def _back_through(found: Found, l: int) -> str:
    """Return the formula of dZ: by slopes if there are any, else that of the activation."""
    own = _formula(found.task.activations[l - 1], 1)
    if _mixing(found, l) == "entry":
        return mathml(rf"dZ_{{{l}}} = dA_{{{l}}} \odot g'(Z_{{{l}}})") + " " + own
    i, j = "_{ij}", "_{kn}"
    general = rf"(dZ_{{{l}}}){j} = \sum{i} (dA_{{{l}}}){i} \frac{{\partial a{i}}}{{\partial z{j}}}"
    return own or mathml(general)


def _matrix(found: Found, name: str, *, is_kept: bool = False) -> Matrix:
    step = found.steps[0]
    head, l = name.rstrip("0123456789"), name.lstrip("dXWbZApy")
    whole = whole_of(step)[name]
    values = whole[np.ix_(*entries_of(name, whole.shape, found.axes))]
    symbol = mathml(f"{head}_{{{l}}}" if l else head)
    states: tuple[str, ...] = ()
    if head in ("Z", "A", "dZ") and values.shape[1] == len(found.axes.units[int(l)]):
        states = tuple(step.states[int(l) - 1][j] for j in found.axes.units[int(l)])
    names = _names_shown(found)
    rows = names if name in ("W1", "dW1") else ()
    columns = names if name in ("X", "dX") else ()
    return Matrix(name, symbol, whole, values, is_kept, states, rows, columns)


def _names_shown(found: Found) -> tuple[str, ...]:
    """Return the names of the inputs that are shown; none if they have none."""
    return tuple(found.names[k] for k in found.axes.units[0]) if found.names else ()


def _differences(found: Found) -> list[dict[str, Any]]:
    """Return how far each gradient is from autodiff and from differences."""
    rows: list[dict[str, Any]] = []
    layers = found.steps[0].layers
    for l in range(len(layers), 0, -1):
        for name in GRADIENTS:
            if getattr(layers[l - 1], name) is None or (name == "dX" and l > 1):
                continue
            size = float(np.max(np.abs(getattr(layers[l - 1], name)), initial=0.0))
            rows.append(
                {
                    "name": name if name == "dX" else f"{name}{l}",
                    "symbol": mathml(name if name == "dX" else f"{name}_{{{l}}}"),
                    "size": size,
                    "autodiff": largest_difference(layers, found.autodiff, name, l),
                    "differences": largest_difference(layers, found.differences, name, l),
                }
            )
    return rows


def _states(step: Step) -> list[tuple[int, str, int]]:
    """Return the layers with dead or saturated units, and how many there are."""
    return [
        (l, state, of_layer.count(state))
        for l, of_layer in enumerate(step.states, 1)
        for state in ("dead", "saturated")
        if state in of_layer
    ]


def _data(found: Found) -> dict[str, Any]:
    """Return the numbers of the page: of each step, of the oracles, and with each mistake."""
    axes = found.axes
    steps = [arrays_of(step, axes) for step in found.steps]
    data: dict[str, Any] = {
        "layers": len(found.steps[0].layers),
        "numbers": [step.number for step in found.steps],
        "losses": _numbers(found.losses),
        "shapes": {name: array.shape for name, array in steps[0].items()},
        "arrays": {name: packed([arrays[name] for arrays in steps]) for name in steps[0]},
        "names": _names_shown(found),
        "y": _entries_of_target(found),
        "mixing": [_mixing(found, l) for l in range(1, len(found.steps[0].layers) + 1)],
        "states": [[list(states) for states in step.states] for step in found.steps],
        "m": axes.m,
        "sizes": axes.sizes,
        "shown": [len(axes.batch), *map(len, axes.units)],
        "batch": axes.batch.tolist(),
        "units": [units.tolist() for units in axes.units],
        "oracles": {
            name: {key: packed([array]) for key, array in gradients_of(oracle, axes).items()}
            for name, oracle in (("autodiff", found.autodiff), ("differences", found.differences))
        },
        "mistakes": {},
    }
    for effect in found.effects:
        arrays = [arrays_of(step, axes) for step in effect.steps]
        data["mistakes"][effect.mistake.key] = {
            "losses": _numbers(effect.losses),
            "arrays": {name: packed([one[name] for one in arrays]) for name in arrays[0]},
            "steps": len(arrays),
        }
        if effect.mistake.key == "derivative":
            data["mistakes"]["derivative"]["slopes"] = _slopes(found, effect.steps)
    return data


def _slopes(found: Found, steps: Sequence[Step]) -> dict[str, str]:
    """Return g'(Z) of each layer that has slopes, which cannot be read off where they are lost."""
    slopes: dict[str, str] = {}
    for l, g in enumerate(found.task.activations, 1):
        if _mixing(found, l) == "entry":
            all_of = [slopes_of(g, step.layers[l - 1].Z) for step in steps]
            entries = entries_of(f"Z{l}", all_of[0].shape, found.axes)
            slopes[f"Z{l}"] = packed([slope[np.ix_(*entries)] for slope in all_of])
    return slopes


def _entries_of_target(found: Found) -> list[list[int]]:
    """Return the rows and the columns of the target that are shown; none without a target."""
    y = found.task.y
    return [] if y is None else [V.tolist() for V in entries_of("y", y.shape, found.axes)]


def _numbers(losses: np.ndarray) -> list[float | None]:
    """Return losses as JSON has them, which knows no infinity."""
    return [float(loss) if np.isfinite(loss) else None for loss in losses]


# --- names and sources ---------------------------------------------------------------------------


def short(number: Any) -> str:
    """Return a number with four digits, and no sign if it is 0."""
    return f"{float(number) or 0.0:.4g}"


def name_of(function: Function) -> str:
    """Return the name of a function, of a `partial` with its short options, or of a class."""
    if isinstance(function, functools.partial):
        shown = [f"{k}={v!r}" for k, v in function.keywords.items() if len(repr(v)) <= 20]
        return name_of(function.func) + (f"({', '.join(shown)})" if shown else "")
    return getattr(function, "__name__", type(function).__name__)


def _in_words(names: Sequence[str]) -> str:
    """Return names in order, equal ones that follow each other once."""
    groups = [(name, len([*group])) for name, group in itertools.groupby(names)]
    return ", then ".join(name + (f" ({n} layers)" if n > 1 else "") for name, n in groups)


def _origin(found: Found) -> str:
    """Say which numbers are not those of hand-written rules: of functions that are not ours."""
    plain: list[str] = []
    mixed: list[str] = []
    layers, task = found.steps[0].layers, found.task
    calls = [(f"the activation {name_of(g)}", g, g, layer.Z)
             for g, layer in zip(task.activations, layers, strict=True)]  # fmt: skip
    calls.append(
        (f"the loss {_name_of_loss(found)}", task.given or task.loss, task.loss, layers[-1].A)
    )
    for name, given, function, argument in calls:
        if not _is_ours(given):
            (mixed if rules_in(function, argument) else plain).append(name)
    said = "The numbers" if plain or mixed else "All numbers"
    said += " are those of the hand-written rules in this run."
    if plain:
        said += f" Autodiff gives the gradient of {_listed(plain)}, without such a rule."
    if mixed:
        said += f" Autodiff gives the gradient of {_listed(mixed)}, by the rules that it calls."
    return said


def _is_ours(function: Function) -> bool:
    """Whether a function, perhaps with options, is one of this package."""
    module = getattr(getattr(function, "func", function), "__module__", None) or ""
    return module.partition(".")[0] == __name__.partition(".")[0]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def _formula(g: Function, which: int) -> str:
    """Return the formula of an activation, or of its derivative; nothing if it is not known."""
    known = of_activation(g)
    return mathml(known[which]) if known else ""


def _name_of_loss(found: Found) -> str:
    return name_of(found.task.given or found.task.loss)
