"""A browser for the tests of the report page: the system's Chromium, driven by Playwright.

Where one of them is not installed the tests are skipped, and the skip names it: the page
itself needs neither.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.build import render_html

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Names that distributions give the browser; POSECONFORM_CHROMIUM names another.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: a container's root has none.  The rest keeps the browser from calling home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_path() -> str | None:
    """Path of a Chromium, if there is one."""
    named = os.environ.get("POSECONFORM_CHROMIUM")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("unavailable:not-installed: playwright; see requirements/report-ui.txt")
    path = browser_path()
    if path is None:
        pytest.skip(
            "unavailable:tool-missing: no Chromium; install one or set POSECONFORM_CHROMIUM"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a report on made-up results, compared with other made-up results."""
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(render_html(sample_results(120), sample_results(120, seed=1)))
    return path.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of 1440 x 900 in a context of its own; errors of the page fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(5_000)
    errors: list[str] = []
    requests: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    opened.on("request", lambda r: requests.append(r.url))
    yield opened
    context.close()
    assert errors == []
    foreign = [url for url in requests if not url.startswith(("file:", "data:"))]
    assert foreign == []


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where screenshots go, if someone wants to look at them (POSECONFORM_SHOTS)."""
    named = os.environ.get("POSECONFORM_SHOTS")
    if not named:
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
