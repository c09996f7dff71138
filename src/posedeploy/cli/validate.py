"""`posedeploy validate`: errors in an SDK model folder that make a client crash or fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from posedeploy.cli.arguments import (
    JsonOption,
)
from posedeploy.cli.inputs import check_model_folder
from posedeploy.cli.terminal import console, escape, print_json

if TYPE_CHECKING:
    from posedeploy.sdk.validate import Finding

COLORS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def validate(
    folder: Annotated[Path, typer.Argument(
        metavar="FOLDER", help="SDK model folder, ours or MMDeploy's, or a zip of it.")],
    client: Annotated[str | None, typer.Option(
        help="A client that must be able to use it: mmdeploy-runtime-1.3.1.")] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Check an SDK model folder for errors, without running the graph in it.

    Exit code: 0 no errors (there may be warnings), 1 errors, 2 no such folder or client.

    Examples:

    - `posedeploy validate work/rtmpose_s`
    - `posedeploy validate work/rtmpose_s --client mmdeploy-runtime-1.3.1`
    - `posedeploy validate work/rtmpose_s --json`
    """
    from posedeploy.sdk.validate import Level
    from posedeploy.sdk.validate import validate as findings_of

    if not folder.is_dir() or folder.suffix == ".mlpackage":
        folder = check_model_folder(folder)
    findings = findings_of(folder, client)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if as_json:
        items = [asdict(finding) for finding in findings]
        print_json({"folder": str(folder), "client": client, "findings": items})
    else:
        show(console(), folder, client, findings)
    if errors:
        raise typer.Exit(1)


def show(out: Console, folder: Path, client: str | None, findings: Sequence[Finding]) -> None:
    """Print the findings as a table with a summary below it."""
    from rich.table import Table

    whom = f" for {client}" if client else ""
    wrong = [finding for finding in findings if finding.level != "note"]
    if not wrong:
        out.print(f"[green]nothing wrong[/] with {escape(str(folder))}{whom}", soft_wrap=True)
    if not findings:
        return
    table = Table("", "where", "found", "expected", show_lines=True)
    for finding in findings:
        level = f"[{COLORS[finding.level]}]{finding.level}[/]"
        place = "\n".join(part for part in (finding.file, finding.path) if part)
        expected = f"{finding.expected}\n({finding.consequence})".removesuffix("\n()")
        cells = map(escape, (place or str(folder), finding.found, expected))
        table.add_row(level, *cells)
    out.print(table)
    if not wrong:
        return
    counts = {level: sum(f.level == level for f in findings) for level in COLORS}
    shown = {level: n for level, n in counts.items() if n or level != "note"}
    summary = ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in shown.items())
    out.print(f"{summary} in {escape(str(folder))}{whom}", soft_wrap=True)
