"""`posedeploy ranges`: which values, sums and weights of a model leave float16, and where."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from posedeploy.cli.arguments import (
    JsonOption,
    check_word,
    complete_backend,
    complete_checkpoint,
    complete_model_config,
)
from posedeploy.cli.collection import without_collection
from posedeploy.cli.terminal import console, escape, one_line, print_json
from posedeploy.errors import storage_error
from posedeploy.runtime import backend_names

if TYPE_CHECKING:
    from posedeploy.apis.measuring import RangeReport
    from posedeploy.precision.ranges import Range

SHOWN = 12  # operations, if --all is not given
# What the values are drawn against: name -> |x|
_LINES = {"float16 ends": 65504.0, "float16's smallest normal number": 2.0**-14}


def ranges(  # noqa: PLR0917 - the signature is the command line
    model_cfg: Annotated[str, typer.Argument(
        metavar="MODEL_CFG", help="MMPose model config: a path, or a name of `zoo list`.",
        autocompletion=complete_model_config)],
    checkpoint: Annotated[str, typer.Argument(
        metavar="CHECKPOINT", autocompletion=complete_checkpoint,
        help="A .pth file; 'zoo', 'calibrated', 'trained' or 'fitted', as for `convert`.")],
    images: Annotated[Path | None, typer.Argument(
        metavar="[IMAGES]", help="Folder of images; drawn figures if not given.")] = None,
    backend: Annotated[str, typer.Option(
        help="Run the network as it is exported for this backend, rewrites included.",
        autocompletion=complete_backend)] = "",
    count: Annotated[int, typer.Option(min=1, help="At most this many images.")] = 8,
    every: Annotated[bool, typer.Option("--all", help="Show operations without a risk too.")]
        = False,
    plot: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Draw the ranges by depth: .png, .svg or .pdf.")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Say which values, sums and weights of a model leave float16, and where.

    The network runs in float32. Exit code: 0 if no value and no sum leaves float16 but where the
    export does something about it, 1 if one does, 2 bad input.

    Examples:

    - `posedeploy ranges rtmpose_t trained`
    - `posedeploy ranges model.py model.pth photos --backend ncnn --plot ranges.png`
    - `posedeploy ranges rtmpose_t trained --json`
    """
    if backend:
        check_word("--backend", backend, backend_names())
    with without_collection():
        from posedeploy.apis.measuring import model_ranges

        report = model_ranges(model_cfg, checkpoint, images, backend=backend, count=count)
    if plot is not None:
        draw(report, plot)
    if as_json:
        print_json(facts(report))
    else:
        show(console(), report, every)
    if report.failures:
        raise typer.Exit(1)


def facts(report: RangeReport) -> dict[str, Any]:
    """The report as JSON has it: each operation with its risks and what is done about them."""
    return asdict(report) | {"operations": report.facts(report.operations)}


def show(out: Console, report: RangeReport, every: bool = False) -> None:
    """A table of the worst operations, and what its words mean."""
    from rich.table import Table

    from posedeploy.precision.ranges import RISKS

    table = Table(box=None, pad_edge=False)
    table.add_column("operation", overflow="fold")
    for name in ("|x|", "sum", "|w|", "w < 6e-5", "crest"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("risk")
    risky = sum(bool(o.risks) for o in report.operations)
    shown = report.operations if every else report.by_risk[:SHOWN]
    for operation in shown:
        table.add_row(*map(escape, _cells(report, operation)))
    out.print(table)
    out.print(
        f"{risky} of {len(report.operations)} operations at risk below float32, on {report.count} "
        f"{one_line(report.source)}", soft_wrap=True,
    )  # fmt: skip
    for name in sorted({n for o in shown for n in o.risks}, key=list(RISKS).index):
        out.print(f"{name}: {RISKS[name].why}", style="dim", soft_wrap=True)


def _cells(report: RangeReport, operation: Range) -> list[str]:
    o, remedy = operation, report.remedy(operation)
    risks = ", ".join(o.risks) + (f": {remedy}" if o.risks and remedy else "")
    return [
        f"{o.module or '(network)'}: {o.operator}", f"{o.largest:.3g}",
        f"{o.total:.3g}" if o.total else "", f"{o.weight:.3g}" if o.weight else "",
        f"{o.weight_below:.1%}" if o.weight else "", f"{o.crest:.3g}", risks,
    ]  # fmt: skip


def draw(report: RangeReport, path: Path) -> None:
    """Draw |x| and sums of each operation over its depth, against float16's range.

    Raises:
        BadInputError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes: Any = figure.subplots()
    depth = [o.depth for o in report.operations]
    axes.semilogy(depth, [o.largest or None for o in report.operations], label="largest |x|")
    sums = [(o.depth, o.total) for o in report.operations if o.total]
    if sums:
        axes.semilogy(*zip(*sums, strict=True), ".", label="largest sum")
    for label, value in _LINES.items():
        axes.axhline(value, linestyle="--", linewidth=1, color="gray")
        axes.annotate(label, (0, value), xytext=(0, 3), textcoords="offset points")
    for operation in report.operations:
        if operation.overflows:
            axes.annotate(operation.module, (operation.depth, operation.total))
    axes.set(xlabel="operation, in the order of the run", title=report.model)
    axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise storage_error(error, f"--plot {path}") from error
