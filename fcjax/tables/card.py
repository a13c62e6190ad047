"""What is known of a model of a table, in words: for `fcjax show`, and as its card."""

from collections.abc import Collection, Mapping
from typing import Any

from .importance import in_words
from .metrics import metrics_of
from .model import TableModel
from .networks import RealMLP

Rows = list[tuple[str, ...]]

# The columns that the card and `fcjax show` list; config.json has all that were measured.
MOST_COLUMNS = 15
# What each picture shows, by the section that it belongs to.
PICTURES = {
    "Figures": {
        "predictions.png": "Predictions against targets, and residuals against predictions",
        "confusion.png": "How often each label was predicted as each class",
        "calibration.png": "How often predictions were right, against their probability",
    },
    "Importance": {"importance.png": "How much worse the metric is when a column is shuffled"},
    "Training": {"history.png": "Losses and the metric of each epoch"},
}


class Pictures(dict[str, bytes]):
    """Pictures as PNG files by name, and what the labels in them stand for.

    `keys_to` has for each picture the names, by label, whose label is another: those that are long,
    and those in letters that no font has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys_to: dict[str, dict[str, str]] = {}


def sections(model: TableModel) -> dict[str, Rows]:
    """Return titles, and rows of cells; the first row of each has the names of its columns."""
    found = {
        "Figures": _figures(model),
        "Importance": _importance(model),
        "Network": _network(model),
        "Training": _training(model),
        "Columns": _columns(model),
    }
    return {title: rows for title, rows in found.items() if rows}


def card(model: TableModel, pictures: Collection[str] = ()) -> str:
    """Return the card of a model as Markdown, which shows the pictures that lie beside it."""
    parts = [f"# {headline(model)}", _note(model)]
    for title, rows in sections(model).items():
        parts += [f"## {title}", _table(rows)]
        if title == "Importance":
            parts.append(in_words(model.report["importance"]))
        for name, text in PICTURES.get(title, {}).items():
            if name in pictures:
                parts += [f"![{text}]({name})", *_key(name, pictures)]
    return "\n\n".join(parts) + "\n"


def _table(rows: Rows) -> str:
    head, *others = rows
    lines = [head, tuple("---" for _ in head), *others]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _key(picture: str, pictures: Collection[str]) -> list[str]:
    """Return a table of the names that are shortened or replaced in a picture, if there are any."""
    key = pictures.keys_to.get(picture) if isinstance(pictures, Pictures) else None
    return [_table([("in the picture", "name"), *key.items()])] if key else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def headline(model: TableModel) -> str:
    """Return what the model does, in a line."""
    target = model.target
    what = ", ".join(target.names)
    if target.classes is None:
        return f"Prediction of {what}"
    return f"Prediction of {what}, one of {len(target.classes)} classes"


def _note(model: TableModel) -> str:
    split = model.report.get("split", "rows")
    how = {
        "rows": "drawn at random",
        "group": f"of groups of {split.partition(':')[2]!r} that training has not seen",
        "time": f"the last ones by {split.partition(':')[2]!r}",
    }[split.partition(":")[0]]
    weights = model.report.get("sample weights")
    weighted = f" Each row counts by its weight, the column {weights!r}." if weights else ""
    return (
        "The figures are those of rows that neither trained the network nor chose anything, "
        f"{how}. They hold for rows like these.{weighted} Behind each is the interval in which it "
        "lies for 95 % of resamples of these rows. Infinite numbers count as very large ones."
    )


def _figures(model: TableModel) -> Rows:
    figures: Mapping[str, Mapping[str, Any]] = model.report.get("figures", {})
    weights = model.report.get("sample weights")
    rows: Rows = [(f"figure, weighted by {weights}" if weights else "figure", *figures)]
    for name, metric in metrics_of(model.target.task).items():
        cells = [_figure(of.get(name), with_interval=n == "model") for n, of in figures.items()]
        good = "high" if metric.mode == "max" else "low"
        rows.append((f"{name} ({good} is good)", *cells))
    return rows


def _figure(figure: Mapping[str, Any] | None, *, with_interval: bool) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{figure['value']:.4g}"
    if not with_interval or figure["low"] is None:
        return value
    return f"{value} ({figure['low']:.4g} to {figure['high']:.4g})"


def _importance(model: TableModel) -> Rows:
    found = model.report.get("importance")
    if found is None:  # of an older model
        return []
    columns = list(found["columns"].items())
    rows: Rows = [("column", f"{found['change']} of {found['metric']} when it is shuffled")]
    for name, loss in columns[:MOST_COLUMNS]:
        known = loss["mean"] is not None and loss["deviation"] is not None
        rows.append((name, f"{loss['mean']:.3g} ± {loss['deviation']:.2g}" if known else "-"))
    left = len(columns) - MOST_COLUMNS
    return [*rows, (f"{left} others", "less")] if left > 0 else rows


def _network(model: TableModel) -> Rows:
    network, copies = model.networks.network, model.networks.copies
    rows: Rows = [("what", "value"), ("preset", model.preset)]
    if isinstance(network, RealMLP):
        rows.append(("hidden layers", " ".join(map(str, network.hidden))))
        rows.append(("activation", network.activation))
    else:
        rows.append(("hidden layers", " ".join([str(network.width)] * network.depth)))
        rows.append(("members", f"{network.members}, which share weights"))
        rows.append(
            ("embeddings of numbers", "none" if network.edges is None else "piecewise-linear")
        )
    rows.append(("inputs", str(network.inputs)))
    rows.append(("outputs", str(network.outputs)))
    if copies > 1:
        rows.append(("networks", f"{copies}, whose predictions are averaged"))
    if model.networks.compute_dtype:
        rows.append(("operands of products", model.networks.compute_dtype))
    parameters = model.report.get("training", {}).get("parameters")
    return [*rows, ("parameters", f"{parameters:,}")] if parameters else rows


def _training(model: TableModel) -> Rows:
    report = model.report
    rows: Rows = [("what", "value")]
    rows += [(f"rows, {part}", f"{n:,}") for part, n in report.get("rows", {}).items()]
    for name in ("split", "seed", "class weights", "sample weights"):
        if report.get(name) is not None:
            rows.append((name, str(report[name])))
    training = report.get("training", {})
    names = ("metric", "epochs", "best epoch", "seconds", "interrupted", "signal")
    rows += [(name, str(training[name])) for name in names if training.get(name) is not None]
    return rows


def _columns(model: TableModel) -> Rows:
    target = model.target
    if target.classes is None:
        what = "target; numbers, scaled to mean 0 and deviation 1 for the network"
    else:
        classes = ", ".join(map(str, target.classes[:10]))
        more = ", ..." if len(target.classes) > 10 else ""
        what = f"target; classes {classes}{more}"
    rows: Rows = [("column", "treatment"), *((name, what) for name in target.names)]
    weights, split = (model.report.get(name) or "" for name in ("sample weights", "split"))
    if weights:
        rows.append((weights, "weights of rows, of the training and of the figures"))
    by, dropped = split.partition(":")[2], {**model.treatment.dropped}
    if by and by not in model.treatment.columns:
        dropped.pop(by, None)
        rows.append((by, "used for the split alone"))
    rows += [(feature.name, feature.treatment()) for feature in model.treatment.features]
    return rows + [(name, f"left out: {why}") for name, why in dropped.items()]
