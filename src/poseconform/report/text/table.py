"""The support table in Markdown: one row a family, one column a backend.

It has the form of MMDeploy's table of supported models (docs/en/04-supported-codebases): `Y` and
`N`, and further marks, which `LEGEND` explains.

The table of a run has what the run selected. That of a document is about the project: it has every
backend that there is, every family of one or several results, and how many models of it there are.

Precision and shape modes follow the mark: `fp32 sd` is fp32, static and dynamic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from poseconform.report.data.verdict import interruption
from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    PRECISIONS,
    SHAPES,
    backend_name,
    failed,
    in_order,
    kind_of,
    ran,
    severity,
    words_of,
)
from poseconform.report.text.strings import Inert, markdown, markdown_table
from poseconform.results.records import CellRecord
from poseconform.results.results import ReportError, Results
from posedeploy.paths import write_text

BEGIN = "<!-- support-table: begin; made by `python -m poseconform.report table` -->"
END = "<!-- support-table: end -->"

LEGEND = (
    "Y: every cell that ran passed. P: some did. N: none did. X: fails as declared. "
    "U: the backend is unavailable on the machine that made this table. Blank: not tried. "
    "s: static, d: dynamic batch."
)
NOT_BY_US = "not run by us"
WHOLE_LEGEND = (
    LEGEND.replace("Blank: not tried", f"{NOT_BY_US}: it has flows, and no run yet")
    + " Configs: how many of MMPose's were judged; not all of them in each flow."
)


def support_table(results: Results, *others: Results, whole: bool = False) -> str:
    """The table of a run in Markdown with its legend; with `whole` that of the project.

    `others` are results of other models, the whole zoo's for example; their cells are added.
    """
    everything = [cell for part in (results, *others) for cell in part.cells]
    cells = [c for c in everything if kind_of(c.outcome) != "not-selected"]
    if not cells:
        return "No cells were run.\n"
    backends = in_order((*(c.backend for c in cells), *(BACKENDS if whole else ())), BACKENDS)
    rows = []
    for family in in_order((c.family for c in (everything if whole else cells)), FAMILIES):
        groups = ([c for c in cells if (c.family, c.backend) == (family, b)] for b in backends)
        blank = NOT_BY_US if whole else ""
        marks = (Inert(_mark_and_notes(group) or blank) for group in groups)
        models = str(len({c.model for c in everything if c.family == family}))
        rows.append((family, *((models,) if whole else ()), "PoseDetection", *marks))
    names = (markdown(backend_name(b)) for b in backends)
    head = ("Model", *(("Configs",) if whole else ()), "Task", *names)
    notes = [WHOLE_LEGEND if whole else LEGEND, interruption(results.interrupted)]
    paragraphs = ["\n".join(markdown_table(head, rows)), *(note for note in notes if note)]
    return "\n\n".join(paragraphs) + "\n"


def mark_of(cells: Iterable[CellRecord]) -> str:
    """`Y`, `P`, `N`, `X`, `U` or nothing, for the cells in one cell of the table."""
    group = tuple(cells)
    judged = [c for c in group if ran(c)]
    passed = [c for c in judged if c.outcome == "pass"]
    if passed:
        return "Y" if len(passed) == len(judged) else "P"
    if judged:
        return "N" if any(failed(c) for c in judged) else "X"
    return "U" if any(kind_of(c.outcome) == "unavailable" for c in group) else ""


def _mark_and_notes(cells: Sequence[CellRecord]) -> str:
    mark = mark_of(cells)
    if mark in {"", "U"}:
        codes = sorted({c.code for c in cells if c.code})
        # files that the judge itself has evaluated, where their backend could not run
        flows = ", ".join(_flows(c for c in cells if "evaluator" in c.effective_options))
        evaluated = f" (files evaluated: {flows})" if flows else ""
        return f"{mark} {markdown(', '.join(codes))}{evaluated}".strip()
    bad = [c for c in cells if ran(c) and c.outcome != "pass"]
    bad.sort(key=lambda c: (severity(c.outcome), c.cell_id))
    notes = _flows(c for c in cells if c.outcome == "pass")
    for words in dict.fromkeys(words_of(c.outcome) for c in bad):
        wrong = _flows(c for c in bad if words_of(c.outcome) == words)
        notes.append(f"{words}: {', '.join(wrong)}")
    return f"{mark} ({markdown('; '.join(notes))})"


def _flows(cells: Iterable[CellRecord]) -> list[str]:
    """Precisions with the letters of their shape modes, e.g. `fp32 sd`."""
    modes = {(c.precision, c.shape_mode) for c in cells}
    precisions = in_order((precision for precision, _ in modes), PRECISIONS)
    return [f"{p} {''.join(s[0] for s in SHAPES if (p, s) in modes)}" for p in precisions]


def insert_table(document: str, table: str, subject: str) -> str:
    """`document` with the text between its markers replaced; errors name `subject`."""
    counts = (document.count(BEGIN), document.count(END))
    head, _, rest = document.partition(BEGIN)
    _, end, foot = rest.partition(END)
    if counts != (1, 1) or not end:
        raise ReportError(
            subject, f"markers: {counts[0]} begin, {counts[1]} end, or not in this order",
            "one begin and one end marker of the support table",
            f"Put these two lines where the table belongs: {BEGIN} and {END}",
        )  # fmt: skip
    return f"{head}{BEGIN}\n\n{table.strip()}\n\n{end}{foot}"


def update_table(path: Path, results: Results, *others: Results, check: bool = False) -> bool:
    """Bring the project's table in a file up to date (`check`: only look); True if it was."""
    try:
        document = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            str(path), f"no readable text file ({type(error).__name__})",
            "the Markdown file that holds the support table", "Give its path with --into.",
        ) from error  # fmt: skip
    new = insert_table(document, support_table(results, *others, whole=True), str(path))
    if new != document and not check:
        write_text(path, new)
    return new == document
