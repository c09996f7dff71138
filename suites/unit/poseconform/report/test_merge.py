"""Results of several runners as one, baselines, and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.__main__ import main
from poseconform.report.build import render_html
from poseconform.report.data.baseline import (
    baseline_path,
    compare_with_baseline,
    platform_name,
    update_baseline,
    updated_baseline,
)
from poseconform.report.data.fingerprint import groups_of, one_liner
from poseconform.report.data.merge import merge_results
from poseconform.report.data.verdict import disagreeing, verdict_of
from poseconform.report.text.table import BEGIN, END
from poseconform.results.records import CellRecord
from poseconform.results.results import ReportError, Results, read_results, write_results

CELL = replace(sample_results(1).cells[0], stages=(), outcome="pass")


def run(*cells: CellRecord, name: str = "x", **facts: object) -> Results:
    return Results(environment={"cpu": name}, run=facts, cells=cells)


def test_what_ran_is_shown_and_what_each_said_is_kept() -> None:
    gone = replace(CELL, outcome="unavailable:no-device", reason="no GPU")
    merged = merge_results({"cpu": run(gone), "gpu": run(CELL)})
    (cell,) = merged.cells
    assert cell.outcome == "pass"
    sources = [(s.runner, s.outcome, s.reason) for s in cell.sources]
    assert sources == [("cpu", "unavailable:no-device", "no GPU"), ("gpu", "pass", "")]
    assert not disagreeing(cell)


def test_the_worst_is_shown_and_the_conflict_is_said() -> None:
    bad = replace(CELL, outcome="mismatch", headroom=7.0)
    merged = merge_results({"linux": run(CELL), "mac": run(bad)})
    (cell,) = merged.cells
    assert (cell.outcome, cell.headroom) == ("mismatch", 7.0)
    assert disagreeing(cell)
    assert "On 1 cell the runners disagree." in verdict_of(merged.cells).details
    html = render_html(merged)
    assert 'data-mark="split"' in html
    assert "runners disagree" in html


def test_of_two_passes_the_one_with_less_room_is_shown() -> None:
    near = replace(CELL, headroom=0.9)
    far = replace(CELL, headroom=0.1)
    (cell,) = merge_results({"a": run(far), "b": run(near)}).cells
    assert cell.headroom == 0.9


def test_order_and_steps_do_not_matter() -> None:
    parts = {
        "a": sample_results(30, 1),
        "b": sample_results(30, 2),
        "c": replace(sample_results(20, 3), run={}),
    }
    whole = merge_results(parts)
    for names in permutations(parts):
        assert merge_results({n: parts[n] for n in names}) == whole
    stepwise = merge_results({"ab": merge_results({n: parts[n] for n in "ab"}), "c": parts["c"]})
    assert stepwise.cells == whole.cells
    assert stepwise.environment == whole.environment
    assert whole.run["planted_defects"] == {"caught": 82, "total": 82}


def test_facts_of_the_runners_stand_side_by_side() -> None:
    merged = merge_results({"a": run(CELL, name="Xeon", seconds=3), "b": run(CELL, name="M2")})
    titles = [title for title, _ in groups_of(merged.environment, merged.run)]
    assert titles == ["A", "B", "Run on a"]
    assert one_liner(merged.environment) == "a: Xeon; b: M2"


def test_the_line_of_an_environment_names_the_package_that_was_there() -> None:
    packages = {"onnxruntime-gpu": "1.31.1", "polygraphy": "0.53.6", "torch": "2.11.0"}
    assert (
        one_liner({"packages": packages}) == "torch 2.11.0 \N{MIDDLE DOT} onnxruntime-gpu 1.31.1"
    )


def test_an_interrupted_run_stays_one() -> None:
    parts = {"a": run(CELL, interrupted="SIGTERM"), "b": run(CELL)}
    assert merge_results(parts).interrupted == "a: SIGTERM"


def test_runners_need_names_of_their_own() -> None:
    inner = merge_results({"a": run(CELL), "b": run(CELL)})
    with pytest.raises(ReportError, match="the runner 'a' twice"):
        merge_results({"a": run(CELL), "z": inner})
    with pytest.raises(ReportError, match="no results"):
        merge_results({})


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (
            {"os": {"system": "Linux-6.1-x86_64"}, "cpu": {"machine": "x86_64"}},
            "linux-x86_64",
        ),
        ({"platform": "macOS-15", "cpu": {"machine": "arm64"}}, "macos-arm64"),
        ({"os": "Windows 11", "cpu": "Ryzen"}, "windows"),
        ({}, "unknown"),
    ],
)
def test_platforms_have_names(environment: dict[str, object], name: str) -> None:
    assert platform_name(environment) == name
    assert baseline_path(Path("b"), environment) == Path(f"b/{name}.json")


def test_a_baseline_keeps_what_a_run_did_not_judge() -> None:
    other = replace(CELL, model="other")
    old = run(CELL, other)
    new = run(
        replace(CELL, headroom=0.3, log_tail="x"),
        replace(other, outcome="not-selected"),
        replace(CELL, model="third", outcome="unavailable:no-device"),
    )
    updated = updated_baseline(old, new)
    assert {c.model: c.outcome for c in updated.cells} == {CELL.model: "pass", "other": "pass"}
    assert updated.by_id()[CELL.cell_id].headroom == 0.3
    assert updated.by_id()[CELL.cell_id].log_tail == ""


def test_an_update_shows_before_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "linux.json"
    assert compare_with_baseline(run(CELL), path) is None
    first = update_baseline(run(CELL), path, write=False)
    assert [f.kind for f in first.findings] == ["new"]
    assert not path.exists()
    update_baseline(run(CELL, replace(CELL, model="b")), path, write=True)
    broken = replace(CELL, outcome="crash")
    again = update_baseline(run(broken), path, write=False)
    assert [f.kind for f in again.findings] == ["newly-failing"]
    assert read_results(path).by_id()[CELL.cell_id].outcome == "pass"
    compared = compare_with_baseline(run(broken), path)
    assert compared is not None
    assert [(f.kind, f.cell.model) for f in compared.findings] == [("newly-failing", CELL.model)]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "cpu" / "results.json", tmp_path / "gpu" / "results.json"
    write_results(one, sample_results(12))
    write_results(two, sample_results(12, seed=5))
    assert main(["build", str(one), "--baseline", str(two)]) == 0
    assert (tmp_path / "cpu" / "index.html").exists()
    assert main(["diff", str(one), str(one)]) == 0
    bad = read_results(one)
    cells = tuple(replace(c, outcome="crash") for c in bad.cells)
    write_results(two, replace(bad, cells=cells))
    assert main(["diff", str(one), str(two)]) == 1
    assert "### Newly failing" in capsys.readouterr().out
    merged = tmp_path / "all.json"
    assert main(["merge", str(one), f"other={two}", "-o", str(merged)]) == 0
    assert {s.runner for s in read_results(merged).cells[0].sources} == {"cpu", "other"}
    assert main(["merge", str(one), str(one), "-o", str(merged)]) == 2
    assert "the runner 'cpu' twice" in capsys.readouterr().err


def test_command_line_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_results(tmp_path / "results.json", sample_results(12))
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert main(["table", str(source)]) == 0
    assert capsys.readouterr().out.startswith("| Model | Configs | Task |")
    into = ["--into", str(readme)]
    assert main(["table", str(source), *into, "--check"]) == 1
    assert main(["table", str(source), *into]) == 0
    assert main(["table", str(source), *into, "--check"]) == 0
    output = capsys.readouterr().out
    assert [line.rpartition("table ")[2] for line in output.splitlines()] == [
        "is out of date",
        "updated",
        "was current",
    ]


def test_command_line_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_results(tmp_path / "results.json", sample_results(12))
    folder = ["--folder", str(tmp_path / "baselines")]
    assert main(["baseline", str(source), *folder]) == 0
    assert "nothing was written; --update changes" in capsys.readouterr().out
    assert main(["baseline", str(source), *folder, "--update"]) == 0
    (path,) = (tmp_path / "baselines").iterdir()
    assert path.name == "linux.json"
    assert json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("arguments", [["diff", "one"], ["build", "none.json"], ["nonsense"]])
def test_bad_input_has_exit_code_two(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_a_loop_of_links_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert main(["merge", str(tmp_path / "loop"), "-o", str(tmp_path / "all.json")]) == 2
    assert str(tmp_path / "loop") in capsys.readouterr().err
