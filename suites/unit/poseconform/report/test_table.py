"""The support table: upstream's form, our marks, and where it stands in a document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.data.vocabulary import BACKENDS, FAMILIES
from poseconform.report.page.grid import grid_of
from poseconform.report.text.table import (
    BEGIN,
    END,
    LEGEND,
    NOT_BY_US,
    WHOLE_LEGEND,
    insert_table,
    mark_of,
    support_table,
    update_table,
)
from poseconform.results.records import CellRecord
from poseconform.results.results import ReportError, Results
from poseconform.subject.loading import load_subject


def cell(outcome: str, backend: str = "onnxruntime", **fields: object) -> CellRecord:
    base = replace(sample_results(1).cells[0], stages=(), outcome=outcome, backend=backend)
    config = f"{backend}-{fields}.py"
    return replace(base, deploy_config=config, **fields)  # type: ignore[arg-type]


def results(*cells: CellRecord) -> Results:
    return Results(environment={}, cells=cells)


@pytest.mark.parametrize(
    ("outcomes", "mark"),
    [
        ([], ""),
        (["not-selected", "missing"], ""),
        (["unavailable:no-device", "not-selected"], "U"),
        (["pass", "unavailable:no-device"], "Y"),
        (["pass", "mismatch"], "P"),
        (["pass", "xfail"], "P"),
        (["xfail"], "X"),
        (["xfail", "crash"], "N"),
        (["xpass"], "N"),
    ],
)
def test_marks(outcomes: list[str], mark: str) -> None:
    assert mark_of([cell(o) for o in outcomes]) == mark


def test_the_form_of_the_table() -> None:
    table = support_table(
        results(
            cell("pass", shape_mode="static"),
            cell("pass", shape_mode="dynamic"),
            cell("mismatch", precision="int8"),
            cell("crash", precision="fp16"),
            cell("unavailable:no-device", "tensorrt", code="no-device"),
            cell("not-selected", "ncnn"),
            cell("not-selected", "coreml"),
            cell("pass", "tvm|x", family="Zed"),
            cell("pass", "ncnn", family="RTMO"),
        )
    )
    assert table.splitlines()[:5] == [
        "| Model | Task | ONNX Runtime | TensorRT | ncnn | tvm\\|x |",
        "|:--|:--|:--|:--|:--|:--|",
        "| HRNet | PoseDetection | P (fp32 sd; crash: fp16 s; mismatch: int8 s) | U no-device "
        "|  |  |",
        "| RTMO | PoseDetection |  |  | Y (fp32 s) |  |",
        "| Zed | PoseDetection |  |  |  | Y (fp32 s) |",
    ]
    assert table.endswith("dynamic batch.\n")
    assert support_table(results()) == "No cells were run.\n"


def test_families_stand_in_the_order_of_upstreams_table_and_others_after_them() -> None:
    families = ("Zed", *reversed(FAMILIES), "DEKR")
    cells = [cell("pass", family=family) for family in families]
    rows = support_table(results(*cells)).splitlines()[2:]
    shown = [row.split("|")[1].strip() for row in rows if "|" in row]
    assert shown == [*FAMILIES, "DEKR", "Zed"]
    assert [row.family for row in grid_of(cells).rows] == shown


def test_the_projects_table_marks_what_was_never_run() -> None:
    found = results(
        cell("pass", family="RTMO"), cell("not-selected", "tensorrt"), cell("pass", "tvm"),
        cell("not-selected", family="MSPN"),
    )  # fmt: skip
    head, _, *rows = support_table(found, whole=True).splitlines()
    backends = [title.strip() for title in head.split("|")[4:-1]]
    assert backends == [*BACKENDS.values(), "tvm"]
    cells_of = {row.split("|")[1].strip(): row.split("|")[4:-1] for row in rows if "|" in row}
    assert list(cells_of) == ["HRNet", "MSPN", "RTMO"]
    marks = {name: {mark.strip() for mark in row} for name, row in cells_of.items()}
    assert marks["RTMO"] == {"Y (fp32 s)", NOT_BY_US}
    assert marks["HRNet"] == {"Y (fp32 s)", NOT_BY_US}
    assert marks["MSPN"] == {NOT_BY_US}
    assert rows[-1] == WHOLE_LEGEND
    assert NOT_BY_US in WHOLE_LEGEND
    assert NOT_BY_US not in support_table(found), "a run's table is about the run"
    assert support_table(found).splitlines()[-1] == LEGEND


def test_the_projects_table_counts_the_models_of_several_results() -> None:
    quick = results(cell("pass", model="a"), cell("pass", precision="fp16", model="a"))
    zoo = results(cell("pass", model="b"), cell("pass", family="DEKR", model="c"))
    _, _, *rows = support_table(quick, zoo, whole=True).splitlines()
    counts = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in rows if "|" in row}
    assert counts == {"HRNet": "2", "DEKR": "1"}


def test_every_backend_of_the_table_has_flows_of_every_model() -> None:
    """The project's table has `not run by us` for every backend, so each must have flows."""
    models = load_subject().models(["quick"])
    flows = load_subject().flows()
    assert {flow.backend for flow in flows} == set(BACKENDS)
    without = [
        (backend, model.name)
        for backend in BACKENDS
        for model in models
        if not any(flow.backend == backend and flow.fits(model) for flow in flows)
    ]
    assert without == []


def test_files_that_were_evaluated_without_their_backend_are_named() -> None:
    lacks: dict[str, Any] = {"code": "wrong-os", "outcome": "unavailable:wrong-os"}
    evaluated = {**lacks, "effective_options": {"evaluator": "mil-interpreter"}}
    table = support_table(
        results(
            replace(cell("pass", "coreml"), **evaluated),
            replace(cell("pass", "coreml", precision="fp16"), **lacks),
        )
    )
    assert "| U wrong-os (files evaluated: fp32 s) |" in table


def test_a_document_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nrest\n")
    found = results(cell("pass"))
    assert update_table(path, found, check=True) is False
    assert "old" in path.read_text()
    assert update_table(path, found) is False
    assert path.read_text().startswith(f"# Title\n\n{BEGIN}\n\n| Model |")
    assert path.read_text().endswith(f"\n\n{END}\n\nrest\n")
    assert update_table(path, found, check=True) is True


@pytest.mark.parametrize("text", ["nothing", f"{BEGIN}", f"{END} {BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_documents_without_a_place_are_refused(text: str) -> None:
    with pytest.raises(ReportError, match="Put these two lines"):
        insert_table(text, "table", "README.md")


def test_a_missing_document_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no readable text file"):
        update_table(tmp_path / "none.md", results())
