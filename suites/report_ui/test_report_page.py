"""The report in a browser: filters, the hash, one cell, the keyboard, themes, accessibility."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.build import render_html
from poseconform.report.data.merge import merge_results
from poseconform.report.data.verdict import disagreeing, verdict_of
from poseconform.results import records as oc
from poseconform.results.results import Results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CELLS = sample_results(120).cells
BAD = next(c for c in CELLS if c.outcome == "mismatch")


def fragment(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).fragment)


def shown(page: Page) -> int:
    visible: int = page.locator("#grid .c:visible").count()
    return visible


def opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    return page


def count(**fields: str) -> int:
    return sum(all(getattr(c, name) == value for name, value in fields.items()) for c in CELLS)


def test_the_verdict_and_every_cell_are_there(page: Page, report: str) -> None:
    opened(page, report)
    assert page.locator("h1").inner_text().startswith(verdict_of(CELLS).headline)
    assert shown(page) == 120
    assert page.locator("#shown").inner_text() == "120 cells"
    words = page.locator(f'.c[aria-label*="{BAD.model}"]', has_text="mismatch").first
    assert "newly failing" in (words.get_attribute("aria-label") or "")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("family", "SimCC", count(family="SimCC")),
        ("model", BAD.model, count(model=BAD.model)),
        ("backend", "openvino", count(backend="openvino")),
        ("precision", "int8", count(precision="int8")),
        ("shape", "dynamic", count(shape_mode="dynamic")),
    ],
)
def test_drop_down_filters(page: Page, report: str, field: str, value: str, expected: int) -> None:
    opened(page, report)
    page.locator(f"select[name={field}]").select_option(value)
    assert shown(page) == expected
    assert page.locator("#shown").inner_text() == f"{expected} of 120 cells"
    assert fragment(page) == {field: [value]}


def test_columns_and_rows_without_a_cell_go(page: Page, report: str) -> None:
    opened(page, report)
    page.locator("select[name=backend]").select_option("ncnn")
    heads = page.locator("#grid thead tr").first.locator("th:visible")
    assert heads.all_inner_texts() == ["Model", "ncnn"]
    assert heads.nth(1).get_attribute("colspan") == "4"
    page.locator("select[name=family]").select_option("HRNet")
    assert page.locator("#grid tbody tr:visible").count() == 1


def test_outcome_tiles_add_up(page: Page, report: str) -> None:
    opened(page, report)
    page.get_by_role("button", name=re.compile("mismatch")).first.click()
    assert shown(page) == count(outcome="mismatch")
    page.locator(".tile[data-outcome=crash]").click()
    assert shown(page) == count(outcome="mismatch") + count(outcome="crash")
    assert fragment(page) == {"outcome": ["crash,mismatch"]}
    assert page.locator(".tile[data-outcome=crash]").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Reset").click()
    assert shown(page) == 120
    assert fragment(page) == {}


def test_search_takes_every_word(page: Page, report: str) -> None:
    opened(page, report)
    page.keyboard.press("/")
    backend = next(c.backend for c in CELLS if c.code == "SIGSEGV")
    page.keyboard.type(f"SIGSEGV {backend}")
    crashed = [c for c in CELLS if c.code == "SIGSEGV" and c.backend == backend]
    assert shown(page) == len(crashed) > 0
    page.locator("input[name=q]").fill("no such thing")
    assert page.locator("#empty").is_visible()
    assert page.locator("#shown").inner_text() == "0 of 120 cells"


def test_changed_and_lone_failures(page: Page, report: str) -> None:
    opened(page, report)
    page.get_by_label("changed").check()
    assert 0 < shown(page) < 30
    assert "changed" in fragment(page)
    page.get_by_label("changed").uncheck()
    page.get_by_label("only one backend fails").check()
    assert 0 < shown(page) <= 7


def test_a_view_can_be_sent(page: Page, report: str) -> None:
    opened(page, f"{report}#family=HRNet&outcome=pass&q=static&cell=")
    expected = [
        c for c in CELLS
        if c.family == "HRNet" and c.outcome == "pass" and c.shape_mode == "static"
    ]  # fmt: skip
    assert shown(page) == len(expected)
    assert page.locator("select[name=family]").input_value() == "HRNet"
    assert page.locator("input[name=q]").input_value() == "static"


def test_one_cell_with_all_its_numbers(page: Page, report: str) -> None:
    opened(page, report)
    page.locator(".c.k-mismatch").first.click()
    sheet = page.locator("dialog")
    assert sheet.is_visible()
    text = sheet.inner_text()
    for words in ("At a glance", "Run this cell again", "End of the log", "Stages", "Artifacts"):
        assert words in text
    for words in ("Outputs against PyTorch in float64", "headroom (limit 1)", "opset", "Graph"):
        assert words in text
    assert sheet.locator("figure.plot svg .limit").count() >= 1
    assert sheet.locator("img").count() == 1
    assert fragment(page)["cell"]
    page.keyboard.press("Escape")
    assert not sheet.is_visible()
    assert "cell" not in fragment(page)
    assert page.evaluate("document.activeElement.className").startswith("c bad")


def test_a_cell_can_be_sent_and_left_by_the_back_button(page: Page, report: str) -> None:
    opened(page, report)
    page.locator(".c.k-crash").first.click()
    url = page.url
    title = page.locator("#sheet-title").inner_text()
    page.go_back()
    page.locator("dialog").wait_for(state="hidden")
    page.goto("about:blank")
    opened(page, url)
    assert page.locator("#sheet-title").inner_text() == title
    page.locator("#close").click()
    assert not page.locator("dialog").is_visible()


def test_the_next_cell_of_those_shown(page: Page, report: str) -> None:
    opened(page, f"{report}#outcome=mismatch")
    page.locator(".c.k-mismatch").first.click()
    assert page.locator("#position").inner_text() == f"1 of {count(outcome='mismatch')}"
    assert page.locator("#previous").is_disabled()
    first = fragment(page)["cell"]
    page.get_by_role("button", name="Next").click()
    assert page.locator("#position").inner_text().startswith("2 of")
    assert fragment(page)["cell"] != first
    assert fragment(page)["outcome"] == ["mismatch"]


def test_the_command_can_be_copied(browser: Browser, report: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = opened(context.new_page(), report)
    page.locator(".c.k-mismatch").first.click()
    page.locator("#copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied in {c.repro for c in CELLS if c.outcome == "mismatch"}
    assert page.locator("#status").text_content() == "Copied"
    context.close()


def test_the_command_can_be_copied_without_a_clipboard(page: Page, report: str) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    opened(page, report)
    page.locator(".c.k-mismatch").first.click()
    page.locator("#copy").click()
    label = page.locator("#copy").inner_text()
    assert label in {"Copied", "Selected: press Ctrl+C"}
    assert "python -m pytest" in page.evaluate("getSelection().toString()")


def test_the_matrix_by_keyboard(page: Page, report: str) -> None:
    opened(page, report)
    assert page.locator("#grid .c[tabindex='0']").count() == 1
    page.locator("#grid .c[tabindex='0']").focus()
    label = "document.activeElement.getAttribute('aria-label')"
    first = page.evaluate(label)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = page.evaluate(label)
    assert moved != first
    page.keyboard.press("End")
    assert page.evaluate(label).split(",")[0] == moved.split(",")[0]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(label) == first
    page.keyboard.press("ArrowUp")
    assert page.evaluate(label) == first
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    assert page.evaluate("document.activeElement.id") == "sheet-title"
    page.keyboard.press("Escape")
    assert page.evaluate(label) == first


def test_skipping_to_the_matrix(page: Page, report: str) -> None:
    opened(page, report)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "matrix"


def background(page: Page) -> str:
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


def test_themes(page: Page, report: str) -> None:
    opened(page, report)
    light = background(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    assert background(page) != light
    button = page.get_by_role("button", name=re.compile("Theme"))
    button.click()
    assert button.inner_text() == "Theme: light"
    assert background(page) == light
    button.click()
    assert background(page) != light
    page.reload()
    assert page.get_by_role("button", name=re.compile("Theme")).inner_text() == "Theme: dark"


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_sideways_scrolling(
    page: Page, report: str, width: int, scheme: Any, shots: Path | None
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, report)
    for name, act in (("page", None), ("cell", ".c.k-mismatch")):
        if act:
            page.locator(act).first.click()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        if shots:
            page.screenshot(path=shots / f"{name}-{width}-{scheme}.png", full_page=not act)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_accessibility(page: Page, report: str, scheme: Any, width: int) -> None:
    """No serious finding of axe-core, on the page and in a cell (WCAG 2.1 A and AA)."""
    if importlib.util.find_spec("axe_playwright_python") is None:
        pytest.skip("unavailable:not-installed: axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, report)
    for act in (None, ".c.k-mismatch"):
        if act:
            page.locator(act).first.click()
        violations = Axe().run(page).response["violations"]
        serious = [
            (v["id"], v["impact"], [n["html"][:160] for n in v["nodes"][:3]])
            for v in violations
            if v["impact"] in {"serious", "critical"}
        ]
        assert serious == [], json.dumps(serious, indent=1)


def test_hostile_strings_do_nothing(page: Page, tmp_path: Path) -> None:
    evil = (
        "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>\u202e\"'"
    )
    stage = oc.StageRecord("load", 1.0, "crash", evil, evil)
    cell = replace(
        BAD,
        model=evil, family=evil, outcome="crash", reason=evil, code=evil, repro=evil,
        log_tail=(evil + "\n") * 9_000, stages=(stage,), effective_options={evil: evil},
        graph=oc.GraphRecord({evil: 1}), artifacts=(oc.ArtifactRecord(evil, evil, 3),),
        outputs=tuple(replace(o, name=evil) for o in BAD.outputs),
    )  # fmt: skip
    results = Results(environment={evil: evil, "cpu": evil}, run={evil: evil}, cells=(cell,))
    path = tmp_path / "index.html"
    path.write_text(render_html(results))
    opened(page, path.as_uri())
    page.locator(".c").click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("dialog img").count() == len(cell.images)
    assert "window.hacked=1</script>" in page.locator("dialog .reason").inner_text()
    assert "\\u202e" in page.locator("#sheet-title").inner_text()


def test_runners_that_disagree_are_shown(page: Page, tmp_path: Path) -> None:
    merged = merge_results({"cpu": sample_results(40), "gpu": sample_results(40, seed=3)})
    path = tmp_path / "index.html"
    path.write_text(render_html(merged))
    opened(page, path.as_uri())
    page.get_by_label("runners disagree").check()
    assert shown(page) == sum(map(disagreeing, merged.cells)) > 0
    page.locator(".c:visible").first.click()
    assert "Results by runner" in page.locator("dialog").inner_text()


def test_flows_that_nobody_selected_are_there_when_asked_for(page: Page, tmp_path: Path) -> None:
    results = sample_results(40)
    cells = tuple(
        replace(c, outcome="not-selected") if c.backend == "tensorrt" else c for c in results.cells
    )
    path = tmp_path / "index.html"
    path.write_text(render_html(replace(results, cells=cells)))
    opened(page, path.as_uri())
    assert shown(page) == 32
    assert page.locator("#shown").inner_text() == "32 of 40 cells"
    page.get_by_label("flows not selected").check()
    assert shown(page) == 40
    page.get_by_label("flows not selected").uncheck()
    page.locator(".tile[data-outcome=not-selected]").click()
    assert shown(page) == sum(c.outcome == "not-selected" for c in cells)


def test_no_cells_no_errors(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(render_html(Results(environment={}, cells=())))
    opened(page, path.as_uri())
    assert page.locator("h1").inner_text() == "There are no cells."


def test_five_hundred_cells_within_the_budget(
    page: Page, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Under 1.5 MB, and interactive after less than a second of the page's thread.

    Processor time of the thread that a user waits for, so that a busy machine does not matter.
    """
    path = tmp_path / "index.html"
    path.write_text(render_html(sample_results(500), sample_results(500, seed=1)))
    assert path.stat().st_size < 1_500_000
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")

    loads = []
    for _ in range(5):
        page.goto("about:blank")
        before = spent()
        opened(page, path.as_uri())
        loads.append(spent() - before)
    record_property("bytes of 500 cells", path.stat().st_size)
    record_property("thread seconds to load 500 cells", sorted(loads)[2])
    assert 0.01 < sorted(loads)[2] < 1.0, loads
    assert shown(page) == 500
    before = spent()
    page.locator("select[name=backend]").select_option("openvino")
    assert spent() - before < 0.3
    assert shown(page) == sum(c.backend == "openvino" for c in sample_results(500).cells)


def test_a_large_matrix_is_folded_to_families_and_what_fails(page: Page, tmp_path: Path) -> None:
    good = replace(CELLS[0], outcome="pass", stages=(), family="ResNet")
    cells = [replace(good, model=f"m{i}") for i in range(80)]
    cells.append(replace(good, model="bad", outcome="mismatch"))
    cells += [replace(good, model=f"v{i}", family="VGG") for i in range(3)]
    path = tmp_path / "index.html"
    path.write_text(render_html(Results(environment={}, cells=tuple(cells))))
    opened(page, path.as_uri())
    assert shown(page) == 1  # the model that fails
    page.get_by_role("button", name="VGG").click()
    assert shown(page) == 4
    page.locator("input[name=q]").fill("m7")
    assert shown(page) == 11  # m7, m70 to m79
    assert page.locator("tr.family:visible").count() == 1
    page.locator("input[name=q]").fill("")
    assert shown(page) == 4
    page.get_by_role("button", name="VGG").click()
    assert shown(page) == 1
    assert page.locator('.c[tabindex="0"]:visible').count() == 1
