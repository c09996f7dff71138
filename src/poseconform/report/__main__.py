"""`python -m poseconform.report`: build, diff, merge, table, baseline, schema.

Exit codes: 0 for success; 1 for a regression, or a table that is out of date; 2 for an input that
cannot be used.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from poseconform.report.build import build_report
from poseconform.report.data.baseline import baseline_path, update_baseline
from poseconform.report.data.diff import diff_results
from poseconform.report.data.merge import merge_results
from poseconform.report.text.github import diff_markdown
from poseconform.report.text.table import support_table, update_table
from poseconform.results.folder import RunFolder
from poseconform.results.results import ReportError, Results, read_results, schema, write_results
from posedeploy.workflow import for_log

app = typer.Typer(
    help="From results.json to what a person reads.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ResultsFile = Annotated[Path, typer.Argument(help="A results.json.", metavar="RESULTS")]
ResultsFiles = Annotated[
    list[Path], typer.Argument(help="Files results.json.", metavar="RESULTS...")
]


@app.command()
def build(
    results: Annotated[
        Path,
        typer.Argument(help="A results.json, or the --report-dir of a run.", metavar="RESULTS"),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; default: that of RESULTS.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Results to compare with.")] = None,
) -> None:
    """Write index.html and support-table.md.

    For the folder of a run that was killed, results.json is made first, of what the run has done.
    """
    if results.is_dir():
        run, results = RunFolder(results), results / "results.json"
        if run.unfinished:
            typer.echo(f"wrote {write_results(results, run.finish())}, of a run that did not end")
    for path in build_report(results, out or results.parent, baseline_path=baseline):
        typer.echo(f"wrote {path}")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of results.json."""
    typer.echo(json.dumps(schema(), indent=1))


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The results before.")],
    new: Annotated[Path, typer.Argument(help="The results now.")],
) -> None:
    """Print what changed as Markdown; exit code 1 on a regression."""
    difference = diff_results(read_results(old), read_results(new))
    typer.echo(diff_markdown(difference), nl=False)
    raise typer.Exit(1 if difference.regressions else 0)


@app.command()
def merge(
    parts: Annotated[list[str], typer.Argument(help="RESULTS or NAME=RESULTS, one a runner.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The merged results.json.")],
) -> None:
    """Make one results.json of those of several runners; without NAME the folder is the name."""
    named: dict[str, Results] = {}
    for part in parts:
        name, equals, path = part.partition("=")
        if not (equals and name) or Path(part).exists():
            name, path = Path(os.path.realpath(part)).parent.name or "runner", part
        if name in named:
            raise ReportError(
                part, f"the runner '{name}' twice", "different names", "Give NAME=RESULTS."
            )
        named[name] = read_results(Path(path))
    typer.echo(f"wrote {write_results(out, merge_results(named))}")


@app.command()
def table(
    results: ResultsFiles,
    into: Annotated[Path | None, typer.Option(help="Markdown file with the two markers.")] = None,
    check: Annotated[bool, typer.Option(help="Only report whether INTO is current.")] = False,
) -> None:
    """Print the project's support table, or bring it up to date in a document.

    Several results are of different models, such as the zoo's. Backends of which RESULTS hold
    nothing are columns too: 'not run by us'.
    """
    found = [read_results(path) for path in results]
    if into is None:
        typer.echo(support_table(*found, whole=True), nl=False)
        return
    current = update_table(into, *found, check=check)
    done = "was current" if current else "is out of date" if check else "updated"
    typer.echo(f"{into}: the support table {done}")
    raise typer.Exit(1 if check and not current else 0)


@app.command()
def baseline(
    results: ResultsFile,
    folder: Annotated[Path, typer.Option(help="Where baselines lie.")] = Path("reports/baselines"),
    update: Annotated[bool, typer.Option(help="Write it, after showing what changes.")] = False,
) -> None:
    """Show what a run would change in the baseline of its platform; with --update, change it."""
    run = read_results(results)
    path = baseline_path(folder, run.environment)
    changed = update_baseline(run, path, write=update)
    typer.echo(diff_markdown(changed), nl=False)
    typer.echo(f"\nwrote {path}" if update else f"\nnothing was written; --update changes {path}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may hold what UTF-8 cannot
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with redirect_stdout(for_log(sys.stdout, os.environ)):
            app(arguments, prog_name=os.environ.get("POSECONFORM_PROGRAM"))
    except (ReportError, OSError) as error:
        console = Console(file=for_log(sys.stderr, os.environ))
        console.print(Text(f"error: {error}"), soft_wrap=True)
        return ReportError.exit_code
    except SystemExit as done:  # how the command line's library ends a command
        return done.code if isinstance(done.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
