"""Names in the log of a job of GitHub Actions are no commands."""

from __future__ import annotations

import io
import re

import pytest

from posedeploy.workflow import InertStream, for_log, inert

HOSTILE = (
    "::error::x", "a\n::error::x", "a\r::add-mask::x", "a\r\n  ::error::x",
    "\t::set-output name=a::b", "\u2028::error::x", "a\x0b\n\x0c::error::x", "a ##[error]x",
    "a\n::x::\n::y::",
)  # fmt: skip


def commands(log: str) -> list[str]:
    """What the runner would take for a command: see ActionCommand.cs."""
    lines = re.split(r"\r\n|\r|\n", log)
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_line_is_a_command(text: str) -> None:
    assert commands(text)
    assert not commands(inert(text))
    assert inert(text).replace("\\", "") == text


@pytest.mark.parametrize("text", ["a::b", "a\nb ::c", "suites/a.py::test[b]", "", "# [x]", ":"])
def test_other_text_stays(text: str) -> None:
    assert inert(text) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("before", ["", "  ", "a\n", "a\n \t", "\r"])
def test_lines_that_are_written_in_parts(text: str, before: str) -> None:
    log = io.StringIO(newline="")
    stream = InertStream(log)
    assert (stream.write(before), stream.write(text)) == (len(before), len(text))
    assert not commands(log.getvalue())
    assert log.getvalue().replace("\\", "") == before + text


def test_what_goes_on_a_line_stays() -> None:
    log = io.StringIO()
    stream = InertStream(log)
    for part in ("suites/a.py", "::test ", "::b"):
        stream.write(part)
    assert log.getvalue() == "suites/a.py::test ::b"


def test_only_a_job_of_github_actions_has_another_stream() -> None:
    log = io.StringIO()
    assert for_log(log, {}) is log
    assert for_log(log, {"GITHUB_ACTIONS": "false"}) is log
    stream = for_log(log, {"GITHUB_ACTIONS": "true"})
    assert stream is not log
    assert for_log(stream, {"GITHUB_ACTIONS": "true"}) is stream
    assert not stream.isatty()
