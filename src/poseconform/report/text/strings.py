"""Strings and numbers made fit to be shown.

Names, reasons and logs come from tools and users. Control characters and the marks that reverse
or hide text (Unicode Standard Annex 9, bidirectional formatting characters) are shown as escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
ABSENT = "\N{EN DASH}"


def visible(text: str) -> str:
    r"""`text` with control and bidirectional characters as `\uXXXX`; tab and newline stay."""
    return _HIDDEN.sub(lambda m: f"\\u{ord(m.group()):04x}", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 200) -> str:
    """`text` visible, on one line of at most `limit` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def markdown(text: str, limit: int = 200) -> str:
    """`text` as one line of inert Markdown, fit for a table cell."""
    return _MARKDOWN.sub(r"\\\1", one_line(text, limit)).replace("@", "&#64;")


class Inert(str):
    """Markdown that is fit for a table cell as it is."""

    __slots__ = ()


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], limit: int = 200
) -> list[str]:
    """The lines of a Markdown table; none without rows.

    Cells have at most `limit` characters and are made inert unless they are `Inert`.
    """
    lines = [
        f"| {' | '.join(c if isinstance(c, Inert) else markdown(c, limit) for c in row)} |"
        for row in rows
    ]
    return [f"| {' | '.join(head)} |", f"|{':--|' * len(head)}", *lines] if lines else []


def markdown_code(text: str) -> str:
    """`text` as inline code, fit for a table cell; nothing for no text."""
    if not text:
        return ""
    line = one_line(text, 1000).replace("|", r"\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits; a dash when it was not measured."""
    if value is None:
        return ABSENT
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else "-\N{INFINITY}"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -3 <= exponent < 5:
        text = f"{value:.{max(digits - 1 - exponent, 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def pixels(value: float | None) -> str:
    """A distance in pixels to a hundredth; smaller ones are `<0.01`."""
    if value is None or not math.isfinite(value):
        return number(value)
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def headroom(value: float | None) -> str:
    """Error over allowed error, to a hundredth below ten."""
    if value is None or not 0 <= value < 10:
        return number(value, 2)
    return f"{value:.2f}"


def points(value: float | None) -> str:
    """Accuracy lost or gained, in points of a hundred."""
    if value is None or not math.isfinite(value):
        return "" if value is None else f"lost {number(value)} pt"
    return f"lost {max(value, 0.0):.1f} pt" if value > -0.05 else f"gained {-value:.1f} pt"


def size(count: float) -> str:
    """A size in bytes with a decimal unit."""
    value, units = float(round(count)), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{number(value)} {units[0]}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that a person would use."""
    if seconds is None or not math.isfinite(seconds):
        return number(seconds)
    if 0 < seconds < 0.1:
        return f"{number(1000 * seconds, 2)} ms"
    if seconds < 60:
        return f"{number(seconds, 2 if seconds < 10 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def plural(count: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
