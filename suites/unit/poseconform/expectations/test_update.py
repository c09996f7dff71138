"""What a run changes in the files of declared failures."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.builders import make_cell
from fixtures.odd_names import ODD_NAMES, id_of
from poseconform.expectations.entries import Expectation, load_expectations
from poseconform.expectations.update import (
    Change,
    Run,
    by_cell,
    changes,
    entry_text,
    rewritten,
    update,
)
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import base_record
from poseconform.results.records import CellRecord, StageRecord

ONE, TWO = make_cell(name="one"), make_cell(name="two")
ENTRY = Expectation("onnxruntime", "*", "*", "*", "numeric", "r", "l", source="here")
PATH = Path("onnxruntime.toml")
TEXT = """# about the file

# about the first
[[xfail]]
model = "one"
stage = "numeric"
reason = "r"
link = "l"

# about the second,
# in two lines
[[xfail]]  # really
model = "two"
stage = "sdk"
reason = "r"
link = "l"
"""


def record(cell: Cell, outcome: str, *stages: StageRecord, code: str = "") -> CellRecord:
    made = base_record(cell, "", "", "fake")
    for stage in stages:
        made = made.with_stage(stage)
    return replace(made, outcome=outcome, code=code)


def passed(cell: Cell, stage: str = "numeric") -> CellRecord:
    return record(cell, "xpass", StageRecord(stage))


def failed(cell: Cell, outcome: str = "mismatch", message: str = "") -> CellRecord:
    stages = StageRecord("sdk", 0.0, "mismatch"), StageRecord("numeric", 0.0, outcome, message)
    return record(cell, outcome, StageRecord("run"), *stages)


def run_of(
    records: Sequence[CellRecord], entries: Sequence[Expectation] = (), holds: bool = True
) -> Run:
    matrix = (ONE, TWO)
    return Run(entries, matrix, by_cell(matrix, records), lambda _: holds)


def test_an_entry_goes_when_all_its_cells_pass() -> None:
    lines: list[str] = []
    changed = changes(run_of([passed(ONE), passed(TWO)], [ENTRY]), lines.append)
    assert changed == {"onnxruntime": Change({0}, [])}
    assert lines == []


def test_an_entry_stays_and_is_named_when_some_pass_or_were_not_run() -> None:
    for records in ([passed(ONE)], [passed(ONE), failed(TWO)]):
        lines: list[str] = []
        changed = changes(run_of(records, [ENTRY]), lines.append)
        assert not any(change.removed for change in changed.values())
        assert lines == [
            f"here: 1 of the 2 cells that it is about pass numeric ({ONE.id}); narrow it by hand"
        ]


def test_an_entry_stays_where_its_conditions_do_not_hold_or_nothing_was_judged() -> None:
    lines: list[str] = []
    assert changes(run_of([passed(ONE), passed(TWO)], [ENTRY], holds=False), lines.append) == {}
    assert changes(run_of([passed(ONE, "sdk")], [ENTRY]), lines.append) == {}
    assert changes(run_of([], [ENTRY]), lines.append) == {}
    assert lines == []


def test_entries_are_counted_file_by_file() -> None:
    other = replace(ENTRY, backend="ncnn")
    remaining = replace(ENTRY, stage="sdk")
    run = run_of([passed(ONE), passed(TWO)], [other, other, remaining, ENTRY])
    assert changes(run, print) == {"onnxruntime": Change({1}, [])}


def test_a_failure_is_added_at_its_first_stage_with_what_was_found() -> None:
    changed = changes(run_of([failed(ONE, message='3 is "too" much')]), print)
    (block,) = changed["onnxruntime"].added
    (entry,) = tomllib.loads(block)["xfail"]
    assert entry == {
        "model": "one", "deploy_config": "simcc_onnxruntime_static", "stage": "numeric",
        "reason": 'found: 3 is "too" much', "link": "",
    }  # fmt: skip
    assert block.startswith("# add the link")


@pytest.mark.parametrize("outcome", ["crash", "timeout", "failed"])
def test_anything_but_an_honest_disagreement_is_named(outcome: str) -> None:
    whole = "failed:numeric" if outcome == "failed" else outcome
    judged = replace(failed(ONE), outcome=whole)
    judged = replace(judged, stages=(StageRecord("numeric", 0.0, outcome),))
    (block,) = changes(run_of([judged]), print)["onnxruntime"].added
    (entry,) = tomllib.loads(block)["xfail"]
    assert (entry["outcome"], entry["reason"]) == (outcome, f"found: {outcome}")


def test_a_declared_failure_a_pass_and_a_missing_backend_add_nothing() -> None:
    declared = record(ONE, "xfail", StageRecord("numeric", 0.0, "mismatch", expected=True))
    absent = record(TWO, "failed:load", StageRecord("load", 0.0, "failed"), code="no-driver")
    assert changes(run_of([declared, absent]), print) == {}
    assert changes(run_of([record(ONE, "pass", StageRecord("numeric"))]), print) == {}


def test_a_stage_that_was_declared_is_not_added_beside_one_that_was_not() -> None:
    stages = (
        StageRecord("numeric", 0.0, "mismatch", expected=True),
        StageRecord("sdk", 0.0, "mismatch"),
    )
    (block,) = changes(run_of([record(ONE, "mismatch", *stages)]), print)["onnxruntime"].added
    assert tomllib.loads(block)["xfail"][0]["stage"] == "sdk"


def test_comments_go_with_their_entry_and_the_rest_stays() -> None:
    without_first = rewritten(TEXT, Change({0}), PATH)
    assert without_first.startswith("# about the file\n\n# about the second,\n# in two lines\n")
    assert "about the first" not in without_first
    without_second = rewritten(TEXT, Change({1}, ["[[xfail]]\na = 1"]), PATH)
    assert without_second == TEXT.partition("\n\n# about the second")[0] + "\n\n[[xfail]]\na = 1\n"
    assert rewritten(TEXT, Change(), PATH) == TEXT
    assert rewritten("", Change(set(), ["[[xfail]]", "[[xfail]]"]), PATH) == (
        "[[xfail]]\n\n[[xfail]]\n"
    )


def test_a_file_whose_entries_cannot_be_told_apart_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "onnxruntime.toml"
    path.write_text('xfail = [{model = "one"}]\n')
    with pytest.raises(ValueError, match="found xfail = ") as caught:
        update(tmp_path, run_of([failed(ONE)]), print)
    assert str(caught.value) == (
        f"{path}: found xfail = [...]; expected a table [[xfail]] for each entry. Write every "
        "entry as a table of its own."
    )
    assert path.read_text() == 'xfail = [{model = "one"}]\n'


def test_what_is_written_is_shown_and_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "suites" / "expectations"
    lines: list[str] = []
    judged = failed(ONE, message="odd \x7f \\ \n é")
    (path,) = update(folder, run_of([judged]), lines.append)
    assert '+model = "one"' in lines
    assert "expectations: nothing to change" not in lines
    text = path.read_text(encoding="utf-8")
    assert "é" in text
    assert tomllib.loads(text)["xfail"][0]["reason"] == "found: odd \x7f \\ \n é"
    path.write_text(text.replace('link = ""', 'link = "x"'), encoding="utf-8")
    (entry,) = load_expectations(folder)
    assert entry.matches(ONE)
    assert not entry.matches(TWO)
    lines.clear()
    assert update(folder, run_of([passed(ONE)], [entry]), lines.append) == [path]
    assert path.read_text() == "\n"
    assert update(folder, run_of([]), lines.append) == []
    assert lines[-1] == "expectations: nothing to change"


def test_the_difference_names_the_file_and_what_to_narrow(tmp_path: Path) -> None:
    lines: list[str] = []
    path = tmp_path / "onnxruntime.toml"
    path.write_text(TEXT)
    third = make_cell(name="three")
    matrix, judged = (ONE, TWO, third), [passed(ONE), passed(TWO), failed(third)]
    entry = replace(ENTRY, source="there")
    seen: list[Expectation] = []

    def holds(asked: Expectation) -> bool:
        seen.append(asked)
        return True

    update(tmp_path, Run([entry], matrix, by_cell(matrix, judged), holds), lines.append)
    assert seen == [entry]
    assert lines[0] == (
        f"there: 2 of the 3 cells that it is about pass numeric ({ONE.id}, {TWO.id}); narrow it "
        "by hand"
    )
    assert lines[1:3] == [f"--- {path}", f"+++ {path}"]
    assert lines[-1] == '+link = ""'
    assert not any("\n" in line for line in lines)


def test_an_honest_failure_of_another_stage_is_not_named() -> None:
    judged = record(ONE, "failed:load", StageRecord("load", 0.0, "failed", "no such operator"))
    (block,) = changes(run_of([judged]), print)["onnxruntime"].added
    (entry,) = tomllib.loads(block)["xfail"]
    assert "outcome" not in entry
    judged = record(ONE, "failed:load", StageRecord("load", 0.0, "mismatch", "odd"))
    (block,) = changes(run_of([judged]), print)["onnxruntime"].added
    assert tomllib.loads(block)["xfail"][0]["outcome"] == "mismatch"


def test_records_are_found_by_their_cell() -> None:
    other = make_cell(name="one", shape_mode="dynamic")
    records = by_cell((ONE, TWO, other), [passed(ONE), failed(other)])
    assert {name: r.outcome for name, r in records.items()} == {
        ONE.id: "xpass", other.id: "mismatch",
    }  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES, ids=id_of)
def test_a_new_entry_is_about_its_cell_alone(name: str, tmp_path: Path) -> None:
    cell = make_cell(name=name)
    text = entry_text(cell, StageRecord("numeric", 0.1, "mismatch", "too much"))
    (tmp_path / "onnxruntime.toml").write_text(text.replace('link = ""', 'link = "l"'), "utf-8")
    (entry,) = load_expectations(tmp_path)
    assert entry.matches(cell)
    assert not entry.matches(make_cell(name=f"{name}_"))
