"""Declared failures: what an entry excuses, and what is refused."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.builders import make_cell
from poseconform.expectations.entries import (
    FIELDS,
    FOLDER,
    OUTCOMES,
    SYSTEMS,
    Declarations,
    Expectation,
    load_expectations,
    refuse_unmatched,
)
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import base_record
from poseconform.results.outcome import STAGES
from poseconform.results.records import CellRecord, StageRecord

GOOD = """
[[xfail]]
model = "m"
deploy_config = "simcc_onnxruntime_static"
stage = "numeric"
reason = "rounds"
link = "https://example.org/1"
"""


def declare(root: Path, text: str, backend: str = "onnxruntime") -> Path:
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{backend}.toml").write_text(text)
    return root


def test_no_folder_declares_nothing(tmp_path: Path) -> None:
    assert load_expectations(tmp_path / FOLDER) == ()


def entry(**fields: str) -> Expectation:
    defaults = {
        "backend": "onnxruntime", "model": "*", "family": "*", "deploy_config": "*",
        "stage": "numeric", "reason": "rounds", "link": "https://example.org/1",
    }  # fmt: skip
    return Expectation(**defaults | fields)


def test_an_entry_is_read_whole(tmp_path: Path) -> None:
    more = 'version = ">=1,<2"\nos = "linux"\noutcome = "crash"\nfamily = "RTM*"\n'
    (found,) = load_expectations(declare(tmp_path, GOOD + more) / FOLDER)
    assert found == entry(
        model="m", family="RTM*", deploy_config="simcc_onnxruntime_static", version=">=1,<2",
        os="linux", outcome="crash", source=f"{tmp_path / FOLDER / 'onnxruntime.toml'}: xfail[0]",
    )  # fmt: skip
    assert found.note == "rounds (https://example.org/1)"
    (plain,) = load_expectations(declare(tmp_path / "plain", GOOD) / FOLDER)
    assert (plain.family, plain.version, plain.os, plain.outcome) == ("*", "", "", "")
    named = 'stage = "numeric"\nreason = "r"\nlink = "l"\n'
    (least,) = load_expectations(declare(tmp_path / "least", f"[[xfail]]\n{named}") / FOLDER)
    assert (least.model, least.deploy_config) == ("*", "*")


def test_entries_of_all_files_are_read_in_order(tmp_path: Path) -> None:
    declare(tmp_path, GOOD, "openvino")
    root = declare(tmp_path, GOOD + GOOD, "ncnn")
    found = load_expectations(root / FOLDER)
    assert [e.backend for e in found] == ["ncnn", "ncnn", "openvino"]
    assert [e.source.rsplit(" ", 1)[1] for e in found] == ["xfail[0]", "xfail[1]", "xfail[0]"]


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({}, True),
        ({"model": "m"}, True),
        ({"model": "M"}, False),
        ({"model": "m?"}, False),
        ({"family": "RTMPose"}, True),
        ({"family": "RTMO"}, False),
        ({"deploy_config": "simcc_onnxruntime_static"}, True),
        ({"deploy_config": "*_static*"}, True),
        ({"deploy_config": "*_dynamic"}, False),
        ({"deploy_config": "static"}, False),
        ({"backend": "ncnn"}, False),
        ({"backend": "*"}, False),
        ({"model": "m", "family": "RTMO"}, False),
    ],
)
def test_an_entry_is_about_the_cells_that_fit_all_its_patterns(
    fields: dict[str, str], matches: bool
) -> None:
    assert entry(**fields).matches(make_cell()) is matches


@pytest.mark.parametrize(
    ("fields", "version", "system", "holds"),
    [
        ({}, "", "", True),
        ({"version": ">=1.2,<2"}, "1.2", "Linux", True),
        ({"version": ">=1.2,<2"}, "2.0", "Linux", False),
        ({"version": ">=1.2"}, "1.3.0rc1", "Linux", True),
        ({"version": ">=1.2"}, "", "Linux", False),
        ({"version": ">=1.2"}, "of today", "Linux", False),
        ({"os": "linux"}, "1", "Linux", True),
        ({"os": "linux"}, "1", "Darwin", False),
        ({"os": "macos"}, "1", "Darwin", True),
        ({"os": "windows"}, "1", "Windows", True),
        ({"os": "linux"}, "1", "Java", False),
        ({"os": "linux", "version": "<1"}, "1", "Linux", False),
        ({"os": "windows", "version": "<2"}, "1", "Linux", False),
    ],
)
def test_an_entry_holds_where_all_its_conditions_do(
    fields: dict[str, str], version: str, system: str, holds: bool
) -> None:
    assert entry(**fields).holds(version, system) is holds


@pytest.mark.parametrize("stage", STAGES)
def test_an_entry_excuses_an_honest_disagreement_at_its_stage_only(stage: str) -> None:
    declared = entry(stage=stage)
    found = {
        (other, outcome)
        for other in STAGES
        for outcome in ("pass", *OUTCOMES)
        if declared.excuses(StageRecord(other, 0.0, outcome))
    }
    usual = "mismatch" if stage in {"numeric", "keypoints", "sdk"} else "failed"
    assert found == {(stage, usual)}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_entry_that_names_an_outcome_excuses_that_alone(outcome: str) -> None:
    declared = entry(outcome=outcome)
    excused = [o for o in OUTCOMES if declared.excuses(StageRecord("numeric", 0.0, o))]
    assert excused == [outcome]


def test_entries_that_no_cell_could_meet_are_named_all_at_once() -> None:
    lost = entry(model="other", source="a.toml: xfail[3]")
    good = entry(model="m", source="a.toml: xfail[4]")
    far = entry(backend="ncnn", source="ncnn.toml: xfail[0]")
    with pytest.raises(pytest.UsageError) as caught:
        refuse_unmatched([lost, good, far], iter([make_cell("rtmo"), make_cell()]))
    lines = str(caught.value).splitlines()
    assert [line.split(": model")[0] for line in lines] == [
        "a.toml: xfail[3]", "ncnn.toml: xfail[0]",
    ]  # fmt: skip
    assert lines[0] == (
        "a.toml: xfail[3]: model 'other', family '*', deploy config '*': found no such cell of "
        "onnxruntime; expected at least one of the matrix. Correct the entry, or remove it."
    )


def test_no_more_of_the_matrix_is_read_than_the_entries_need() -> None:
    matrix = (make_cell("rtmo"), make_cell())

    def cells() -> Iterator[Cell]:
        yield from matrix
        raise AssertionError("more than these were read")

    refuse_unmatched([entry(deploy_config=cell.flow.label) for cell in matrix], cells())


def test_this_system_is_known_to_the_operating_system() -> None:
    assert platform.system() in SYSTEMS


BAD = {
    "no TOML": ("[[xfail", "found no TOML"),
    "no UTF-8": ("\udcff", "found no TOML"),
    "another table": (GOOD.replace("xfail", "xfails"), r"found \['xfails'\]; expected \[\[xfail"),
    "a single table": (
        GOOD.replace("[[xfail]]", "[xfail]"),
        "toml: found another xfail; expected .*",
    ),
    "no reason": (GOOD.replace('reason = "rounds"', ""), "found no reason"),
    "a blank link": (GOOD.replace("https://example.org/1", " "), "found no link"),
    "no stage": (GOOD.replace('stage = "numeric"', ""), "found no stage"),
    "an unknown stage": (GOOD.replace("numeric", "numbers"), "stage 'numbers'; expected one of"),
    "an unknown field": (GOOD + "machine = 'x'\n", r"unknown \['machine'\]; expected"),
    "an unknown system": (GOOD + "os = 'Linux'\n", r"os 'Linux'; expected one of \('linux', "),
    "an unknown outcome": (GOOD + "outcome = 'bad'\n", "outcome 'bad'; expected one of"),
    "no version": (GOOD + "version = 'new'\n", "version 'new'; expected e.g. '>=1.2,<2'"),
    "no string": (GOOD + "version = 2\n", "version = 2; expected a string"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_with_file_and_place(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    folder = declare(tmp_path, "") / FOLDER
    (folder / "onnxruntime.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(pytest.UsageError, match=message) as caught:
        load_expectations(folder)
    assert "onnxruntime.toml" in str(caught.value)


def test_an_unknown_field_is_answered_with_those_there_are(tmp_path: Path) -> None:
    root = declare(tmp_path, GOOD + "machine = 'x'\n")
    with pytest.raises(pytest.UsageError) as caught:
        load_expectations(root / FOLDER)
    assert str(sorted(FIELDS)) in str(caught.value)


def test_the_second_of_two_is_named_by_its_index(tmp_path: Path) -> None:
    root = declare(tmp_path, GOOD + GOOD.replace('reason = "rounds"', ""))
    with pytest.raises(pytest.UsageError, match=r"xfail\[1\]: found no reason"):
        load_expectations(root / FOLDER)


# ---- the entries of a run ----------------------------------------------------------------------

CELL, OTHER = make_cell(name="one"), make_cell(name="two")
ENTRY = entry(model="one", source="here")
WRONG = StageRecord("numeric", 0.0, "mismatch")
PASSED = StageRecord("numeric")


def declared(*entries: Expectation, version: str = "1.2", system: str = "Linux") -> Declarations:
    def version_of(backend: str) -> str:
        assert backend == "onnxruntime"
        return version

    return Declarations(entries, version_of, system)


def record(*stages: StageRecord) -> CellRecord:
    return replace(base_record(CELL, "", "", ""), stages=stages)


def test_a_failure_is_excused_by_the_entry_about_it() -> None:
    declarations = declared(replace(ENTRY, stage="sdk"), ENTRY)
    assert declarations.excuse(CELL, WRONG) == ENTRY
    assert declarations.excuse(OTHER, WRONG) is None
    assert declarations.excuse(CELL, replace(WRONG, outcome="crash")) is None
    assert declared().excuse(CELL, WRONG) is None


def test_conditions_are_about_this_machine() -> None:
    new, mac = replace(ENTRY, version=">=1.2"), replace(ENTRY, os="macos")
    assert declared(new).excuse(CELL, WRONG) == new
    assert declared(new, version="1.1").excuse(CELL, WRONG) is None
    assert declared(mac).excuse(CELL, WRONG) is None
    assert declared(mac, system="Darwin").excuse(CELL, WRONG) == mac
    mine = replace(ENTRY, os=SYSTEMS[platform.system()])
    assert Declarations([mine], lambda _: "").excuse(CELL, WRONG) == mine


def test_a_version_is_asked_for_only_where_an_entry_names_one() -> None:
    def nobody(backend: str) -> str:
        raise AssertionError(backend)

    assert Declarations([ENTRY], nobody).excuse(CELL, WRONG) == ENTRY


@pytest.mark.parametrize(
    ("stages", "unmet"),
    [
        ((PASSED,), True),
        ((StageRecord("run"), PASSED, StageRecord("sdk")), True),
        ((WRONG,), False),
        ((), False),
        ((StageRecord("run"), StageRecord("sdk")), False),
    ],
)
def test_an_entry_whose_stage_has_passed_is_unmet(
    stages: tuple[StageRecord, ...], unmet: bool
) -> None:
    declarations = declared(ENTRY, replace(ENTRY, model="two"), replace(ENTRY, stage="load"))
    assert declarations.unmet(CELL, record(*stages)) == ((ENTRY,) if unmet else ())
