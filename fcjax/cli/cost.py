"""`fcjax cost`: what the gradient of a function costs by its rules and by autodiff."""

import json
from pathlib import Path

from fcjax_cli.options import Checking, CostOf, Function, Library

from ..verify import compare_cost
from .options import check_options
from .user_code import import_function
from .verify import user_case


def cost(
    function: CostOf,
    rtol: float | None,
    atol: float | None,
    seconds: float,
    seed: int,
    out: Path | None,
) -> int:
    """Print the costs of a function; return the exit status."""
    if out is not None and out.is_dir():
        raise ValueError(f"out: {out} is a folder; accepted: a file")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    asked = Function(function.target, function.shapes, function.args, function.reference)
    checking = Checking(seed=seed)
    check_options(asked, Library(), checking)
    (case,), (dtype, *_) = user_case(asked, checking)
    args, kwargs = case.drawn(seed, dtype)
    report = compare_cost(
        import_function("target", function.target),
        args,
        kwargs=kwargs,
        reference=case.reference,
        rtol=rtol,
        atol=atol,
        seconds=seconds,
    )
    print(report)
    if out is not None:
        out.write_text(json.dumps(report.to_dict(), indent=1))
    return 0
