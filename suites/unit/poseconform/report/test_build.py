"""The report page: complete, self-contained, and safe with hostile strings."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fixtures.sample_results import sample_results
from poseconform.report import build
from poseconform.report.build import GROUPED_FROM, build_report, render_html
from poseconform.report.data.verdict import lone_failures, verdict_of
from poseconform.report.data.vocabulary import OUTCOMES
from poseconform.report.page import payload
from poseconform.report.page.grid import grid_of, idle_columns
from poseconform.results import records as oc
from poseconform.results.outcome import CONVERTING_STAGES, STAGES, is_failure
from poseconform.results.results import ReportError, Results, write_results

HOSTILE = (
    "</script><script>alert(1)</script>\"'`\u202egnp.exe\u0000<img src=x onerror=alert(2)>&amp;"
)


class Reader(HTMLParser):
    """Elements and text of a page, as a browser's parser sees them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.scripts[-1][1] == "":
            self.scripts[-1] = (self.scripts[-1][0], data)
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def data_of(html: str) -> dict[str, Any]:
    bodies = [body for attrs, body in read(html).scripts if attrs.get("id") == "data"]
    data: dict[str, Any] = json.loads(bodies[0])
    return data


@pytest.fixture(scope="module")
def sample() -> Results:
    return sample_results(120)


@pytest.fixture(scope="module")
def page(sample: Results) -> str:
    return render_html(sample)


def test_files_are_written_from_results_alone(tmp_path: Path) -> None:
    results = sample_results(20)
    source = write_results(tmp_path / "results.json", results)
    base = write_results(tmp_path / "baseline.json", sample_results(20, seed=1))
    html, table = build_report(source, tmp_path / "out", baseline_path=base)
    assert html == tmp_path / "out" / "index.html"
    assert html.read_text() == render_html(results, sample_results(20, seed=1))
    assert "| HRNet | PoseDetection |" in table.read_text()
    with pytest.raises(ReportError, match="no readable text file"):
        build_report(tmp_path / "none.json", tmp_path / "out")


def test_every_cell_is_in_the_matrix_and_in_the_data(sample: Results, page: str) -> None:
    buttons = [a for tag, a in read(page).tags if tag == "button" and "data-i" in a]
    assert sorted(int(a["data-i"] or "") for a in buttons) == list(range(120))
    cells = data_of(page)["cells"]
    assert {c["id"] for c in cells} == {c.cell_id for c in sample.cells}
    for attrs in buttons:
        assert f"k-{cells[int(attrs['data-i'] or '')]['kind']}" in (attrs["class"] or "")


def test_nothing_is_loaded_and_only_our_scripts_may_run(page: str) -> None:
    reader = read(page)
    for tag, attrs in reader.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert "url(" not in page
    assert "@import" not in page
    policy = next(a["content"] or "" for t, a in reader.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    running = [body for attrs, body in reader.scripts if "type" not in attrs]
    digests = [base64.b64encode(hashlib.sha256(b.encode()).digest()).decode() for b in running]
    assert len(running) == 2
    assert all(f"'sha256-{digest}'" in policy for digest in digests)


def test_the_same_results_give_the_same_bytes(sample: Results, page: str) -> None:
    assert render_html(sample) == page


@pytest.mark.parametrize("kind", [look.kind for look in OUTCOMES])
def test_every_outcome_has_an_icon_and_a_word(kind: str, page: str) -> None:
    assert f'id="i-{kind}"' in page


def test_five_hundred_cells_stay_within_the_budget() -> None:
    big = render_html(sample_results(500), sample_results(500, seed=1))
    assert len(big.encode()) < 1_500_000


def test_a_large_matrix_is_shown_by_family_with_counts() -> None:
    cell = replace(sample_results(1).cells[0], outcome="pass", head="heatmap", family="ResNet")
    few = [replace(cell, model=f"m{i}") for i in range(GROUPED_FROM - 1)]
    more = [replace(cell, model=f"n{i}", family="VGG", outcome="mismatch") for i in range(2)]
    assert "data-family" not in render_html(Results(environment={}, cells=tuple(few)))
    page = render_html(Results(environment={}, cells=(*few, *more)))
    text = re.sub(r"<[^>]+>", "", page[page.index("<tbody>") : page.index("</tbody>")])
    assert page.count("data-family") == 2
    assert (
        f"ResNet {GROUPED_FROM - 1} models \u00b7 heatmap \u00b7 {GROUPED_FROM - 1} pass" in text
    )
    assert "VGG 2 models \u00b7 heatmap \u00b7 2 mismatch" in text


def hostile_results() -> Results:
    results = sample_results(24)
    cells = []
    for cell in results.cells:
        outputs = tuple(replace(o, name=HOSTILE, dtype=HOSTILE) for o in cell.outputs)
        stages = (oc.StageRecord("load", 1, "crash", HOSTILE, HOSTILE),)
        cells.append(
            replace(
                cell,
                model=cell.model + HOSTILE,
                family=HOSTILE,
                backend=HOSTILE,
                outcome="crash",
                code=HOSTILE,
                reason=HOSTILE * 50,
                log_tail=(HOSTILE + "\n") * 10_000,
                repro=HOSTILE,
                outputs=outputs,
                stages=stages,
                exporter=HOSTILE,
                effective_options={HOSTILE: HOSTILE},
                graph=oc.GraphRecord({HOSTILE: 3}),
                artifacts=(oc.ArtifactRecord(HOSTILE, "ab", 1),),
                images=(oc.ImageRecord(HOSTILE, "AAAA", caption=HOSTILE),),
                sources=(oc.SourceRecord(HOSTILE, f"unavailable:{HOSTILE}", HOSTILE),),
            )
        )
    environment = {HOSTILE: HOSTILE, "packages": {"torch": HOSTILE}, "cpu": HOSTILE}
    return replace(results, cells=tuple(cells), environment=environment, run={HOSTILE: HOSTILE})


def test_hostile_strings_are_text() -> None:
    html = render_html(hostile_results())
    reader = read(html)
    assert [attrs.get("id") for attrs, _ in reader.scripts] == [None, "data", None]
    assert not [attrs for tag, attrs in reader.tags if tag == "img"]
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    assert "\u202e" not in html
    assert "\x00" not in html
    first = data_of(html)["cells"][0]
    assert first["repro"].startswith("</script><script>alert(1)")
    assert "\\u202e" in first["repro"]
    assert len(html.encode()) < 1_500_000


def test_a_folder_that_was_judged_is_shown_with_its_notes_and_what_is_not_ours() -> None:
    good = next(c for c in sample_results(40).cells if c.outcome == "pass")
    stages = tuple(s for s in good.stages if s.name not in CONVERTING_STAGES)
    cell = replace(good, implementation="folder", folder="/f", notes=("opset 11",), stages=stages)
    (entry,) = data_of(render_html(Results(environment={}, cells=(cell,))))["cells"]
    assert entry["notes"] == ["opset 11"]
    assert {("implementation", "folder"), ("folder", "/f")} <= {tuple(f) for f in entry["facts"]}
    shown = [(STAGES[row[0]], row[3]) for row in entry["done"]]
    assert shown[:3] == [("export", "not ours"), ("convert", "not ours"), ("load", "pass")]
    (entry,) = data_of(render_html(Results(environment={}, cells=(good,))))["cells"]
    assert "not ours" not in {row[3] for row in entry["done"]}


def test_a_long_log_is_cut_with_a_note() -> None:
    cell = replace(sample_results(1).cells[0], log_tail="\x1b[31mred\x1b[0m\r" + "x" * 1_000_000)
    page_data = data_of(render_html(replace(sample_results(1), cells=(cell,))))
    log = page_data["pool"][page_data["cells"][0]["log"]]
    assert log.startswith("[984004 earlier characters are in results.json]\nxxx")
    short = replace(cell, log_tail="\x1b[31mred\x1b[0m\rnext")
    page_data = data_of(render_html(replace(sample_results(1), cells=(short,))))
    assert page_data["pool"][page_data["cells"][0]["log"]] == "red\nnext"


def test_logs_share_a_limit() -> None:
    cells = [replace(c, log_tail=str(i)) for i, c in enumerate(sample_results(500).cells)]
    assert payload.log_limit(cells) == payload.LOG_LEAST
    assert payload.log_limit(cells[:1]) == payload.LOG_EACH


def test_images_fill_what_room_there_is_failing_cells_first() -> None:
    cells = [
        replace(c, outcome="pass", stages=(), images=(oc.ImageRecord("p", f"{i:0>4}" * 5_000),))
        for i, c in enumerate(sample_results(6).cells)
    ]
    cells[3] = replace(cells[3], outcome="mismatch")
    results = replace(sample_results(6), cells=tuple(cells))
    plain = len(render_html(replace(results, cells=tuple(replace(c, images=()) for c in cells))))
    entries = data_of(render_html(results, limit=plain + 50_000))["cells"]
    with_images = {entry["id"] for entry in entries if "images" in entry}
    assert cells[3].cell_id in with_images
    assert len(with_images) == 2
    assert sum("left_out" in entry for entry in entries) == 4


def test_what_no_machine_has_so_many_of_is_counted_and_not_shown() -> None:
    """1.5 million facts and a histogram of as many bins made a page of 90 MB."""
    many = 10_000
    histogram = oc.HistogramRecord((0.5,) * (many + 1), (1,) * many)
    cell = replace(
        sample_results(1).cells[0], outputs=(oc.OutputRecord("x", histogram=histogram),)
    )
    environment = {"os": "Linux", "packages": {f"p{i}": "1" for i in range(many)}}
    page = render_html(Results(environment=environment, run={"seconds": 1.0}, cells=(cell,)))
    assert len(page) < 500_000
    assert "9,002; results.json has them" in page


def test_results_without_cells_still_make_a_page() -> None:
    html = render_html(Results(environment={}, cells=()))
    assert "There are no cells." in html
    assert data_of(html)["cells"] == []


def test_every_sentence_of_the_verdict() -> None:
    def cell(outcome: str, n: int = 0) -> oc.CellRecord:
        return replace(sample_results(1).cells[0], stages=(), outcome=outcome, model=f"m{n}")

    def verdict_on(*outcomes: str) -> tuple[str, str]:
        verdict = verdict_of([cell(o, n) for n, o in enumerate(outcomes)])
        return verdict.group, verdict.headline

    assert verdict_on("pass", "pass") == ("good", "All 2 cells that ran match PyTorch.")
    assert verdict_on("pass") == ("good", "The one cell that ran matches PyTorch.")
    assert (
        verdict_on("pass", "xfail")[1]
        == "1 of 2 cells match PyTorch, the others fail as declared."
    )
    assert verdict_on("pass", "crash") == ("bad", "1 of 2 cells fails: 1 crash.")
    assert (
        verdict_on("xpass", "failed:load")[1]
        == "2 of 2 cells fail: 1 failed in load, 1 unexpected pass."
    )
    assert verdict_on("pass", "missing") == ("warn", "1 cell should have run and did not report.")
    assert verdict_on("unavailable:no-device") == ("none", "Nothing ran.")
    assert verdict_on() == ("none", "There are no cells.")
    made = replace(cell("unavailable:wrong-os"), stages=(oc.StageRecord("convert", 1.0, "pass"),))
    assert verdict_of([made]).headline == "No backend ran."
    assert verdict_of([made]).details[-1] == "Converted without the backend: 1 cell."
    judged = replace(made, effective_options={"evaluator": "mil-interpreter"})
    alone = replace(judged, stages=())
    assert verdict_of([alone]).details[-1] == (
        "Converted without the backend: 1 cell; files evaluated by the judge itself: 1."
    )
    made = replace(made, model="another")
    assert verdict_of([judged, made]).details[-1] == (
        "Converted without the backend: 2 cells; files evaluated by the judge itself: 1."
    )
    stopped = verdict_of([cell("pass"), cell("missing", 1)], "SIGTERM")
    assert (stopped.group, stopped.details) == ("warn", ("The run was interrupted (SIGTERM).",))
    details = verdict_of([cell("crash"), cell("missing", 1), cell("not-selected", 2)]).details
    assert details == ("1 cell should have run and did not report.", "1 cell not selected.")


def test_an_interrupted_run_is_named_on_the_page_and_in_the_table(tmp_path: Path) -> None:
    results = replace(sample_results(20), run={"interrupted": "SIGTERM"})
    made = build_report(write_results(tmp_path / "results.json", results), tmp_path)
    for path in made:
        assert "The run was interrupted (SIGTERM)." in path.read_text()


def test_only_one_backend_fails() -> None:
    base = replace(sample_results(1).cells[0], stages=(), outcome="pass")
    here = replace(base, backend="ncnn", outcome="mismatch")
    assert lone_failures([base, here]) == {here.cell_id}
    both = replace(base, backend="openvino", deploy_config="o", outcome="crash")
    assert lone_failures([base, here, both]) == frozenset()
    assert lone_failures([here]) == frozenset()


def test_an_unusual_exporter_has_columns_of_its_own() -> None:
    cells = list(sample_results(8).cells)
    other = replace(cells[0], exporter="dynamo")
    grid = grid_of([*cells, other])
    assert [c.variant for c in grid.columns if c.variant] == ["dynamo"]
    other = replace(cells[0], deploy_config="another.py")
    groups = [group for row in grid_of([*cells, other]).rows for group in row.groups]
    assert sorted(len(group) for group in groups)[-1] == 2


def test_flows_of_which_nothing_was_selected_are_idle() -> None:
    cells = [
        replace(c, outcome="not-selected") if c.backend == "tensorrt" else c
        for c in sample_results(20).cells
    ]
    idle = idle_columns(grid_of(cells))
    assert {name for name in idle if name.startswith("tensorrt")} == {
        c.label for c in grid_of(cells).columns if c.backend == "tensorrt"
    }
    ran = {c.flow.replace("-", " ") for c in cells if c.outcome != "not-selected"}
    assert not idle & ran
    none = [replace(c, outcome="not-selected") for c in cells]
    assert idle_columns(grid_of(none)) == frozenset()


def test_five_hundred_cells_with_an_image_each_stay_within_the_budget() -> None:
    """Every image another one, as large as they get: failing cells keep theirs."""
    results = sample_results(500)
    cells = tuple(
        replace(c, images=(oc.ImageRecord("p", f"{n:04d}" * 1_500, "image/webp"),))
        for n, c in enumerate(results.cells)
    )
    html = render_html(replace(results, cells=cells))
    assert len(html.encode()) < 1_500_000
    entries = data_of(html)["cells"]
    shown = [entry for entry in entries if "images" in entry]
    assert 40 < len(shown) <= build.IMAGES_LIMIT / 6_200
    assert all("results.json has it" in e["left_out"] for e in entries if e not in shown)
    bad = sum(is_failure(c.outcome) for c in cells)
    assert 0 < bad < len(shown)
    ordered = grid_of(cells).cells
    failing = [e for e, c in zip(entries, ordered, strict=True) if is_failure(c.outcome)]
    assert all("images" in entry for entry in failing)


@pytest.mark.parametrize(
    ("backend", "name", "variant"),
    [
        ("openvino", "pose-detection_yolox-pose_openvino-fp16-f16_static-416x416", "f16"),
        ("openvino", "pose-detection_yolox-pose_openvino-fp16_static-416x416", ""),
        ("tensorrt", "pose-detection_rtmo_tensorrt-nms_dynamic-640x640", "nms"),
        ("onnxruntime", "pose-detection_simcc_onnxruntime_static", ""),
        ("onnxruntime", "mine.py", ""),
    ],
)
def test_a_flow_with_an_option_has_a_column_of_its_own(
    backend: str, name: str, variant: str
) -> None:
    cell = replace(sample_results(1).cells[0], backend=backend, deploy_config=name)
    assert [column.variant for column in grid_of([cell]).columns] == [variant]
