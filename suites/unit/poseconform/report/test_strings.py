"""Strings and numbers made fit to be shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseconform.report.text import strings as text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, text.ABSENT),
        (0.0, "0"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (0.41, "0.41"),
        (12.345, "12.3"),
        (99999.0, "99999"),
        (123456.0, "1.23e5"),
        (1.5e-5, "1.5e-5"),
        (-2e-9, "-2e-9"),
    ],
)
def test_number(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_number_is_short_and_near(value: float) -> None:
    shown = text.number(value)
    assert len(shown) <= 10
    assert float(shown) == pytest.approx(value, rel=6e-3, abs=0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, text.ABSENT),
        (0.0, "0.00"),
        (0.004, "<0.01"),
        (1.234, "1.23"),
        (250.4, "250"),
        (math.nan, "NaN"),
    ],
)
def test_pixels(value: float | None, shown: str) -> None:
    assert text.pixels(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, text.ABSENT), (0.7, "0.70"), (9.999, "10.00"), (22.0, "22"), (-1.0, "-1")],
)
def test_headroom(value: float | None, shown: str) -> None:
    assert text.headroom(value) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1536, "1.54 kB"), (10**7, "10 MB"), (9 * 10**12, "9000 GB")],
)
def test_size(count: int, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, text.ABSENT),
        (0.0, "0 s"),
        (0.0067, "6.7 ms"),
        (0.25, "0.25 s"),
        (12.34, "12.3 s"),
        (75.0, "1 min 15 s"),
        (7260.0, "2 h 01 min"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_what_hides_is_shown() -> None:
    hostile = "a\u202eb\x00c\x1b[31md\ud800e\u200bf\tg\nh"
    assert text.visible(hostile) == "a\\u202eb\\u0000c\\u001b[31md\\ud800e\\u200bf\tg\nh"
    assert text.one_line("a\r\n  b\tc") == "a b c"
    assert text.one_line("x" * 300, 10) == "x" * 9 + "…"


@given(st.text())
def test_visible_text_can_be_written_and_hides_nothing(value: str) -> None:
    shown = text.visible(value)
    shown.encode()
    assert "\u202e" not in shown
    assert text.visible(shown) == shown


def test_markdown_is_inert() -> None:
    assert text.markdown("a|b <i>*c*</i> @all") == r"a\|b \<i\>\*c\*\</i\> &#64;all"
    assert text.markdown_code("a`b|c") == r"`` a`b\|c ``"
    assert text.markdown_code("plain") == "`plain`"


def test_plural() -> None:
    assert [text.plural(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
