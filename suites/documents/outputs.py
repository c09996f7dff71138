"""Outputs of commands: what of them is the same on every machine, and whether two agree."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What changes from run to run or between machines: times, sizes, versions, names of processors.
_VOLATILE: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern, re.MULTILINE), put)
    for pattern, put in (
        (r"^ *\d+\.\d s(?=  )", "T s"),  # a stage of `convert`
        (r"\d+(\.\d+)? ?(ms|s)\b", "T"),
        (r" *[\d,]+ bytes", " N bytes"),
        (r"^.* CPUs usable [\s\S]*", "MACHINE"),  # `profile`: the rest is about the machine
        (
            r"^ *(\S+)( +\d+)( +([\d.]+|-)( ±[\d.e-]+)?){5,}.*$",
            r"\1\2 TIMES",
        ),  # a row of `profile`
        (r"^ *(\S.* ÷ \S.*?) +\d+ +[\d.]+ +[\d.]+ to [\d.]+ .*$", r"\1 RATIO"),  # of `--compare`
        (r"^[ ±\d.]*±[ ±\d.]*\n", ""),  # a number of it that did not fit
        (r"(inference_num_threads|num_streams|num_threads) \d+", r"\1 N"),
        (r", about [^,]* left", ""),  # progress of `test`
        (r"h [\d.]+", "h H"),  # headroom
        (r"^against .*\n", ""),  # `test` compares with the baseline of this platform, if any
        (r" in \d+\.\d+s( \([\d:]+\))?", ""),
        (r"\d+\.\d+\.\d+\S*", "VERSION"),
        (r"[─-╿]+", "-"),
        (r"[ \t]+", " "),
        (r"^ | $", ""),
        (r"\n{2,}", "\n"),
    )
)
_NUMBER = re.compile(
    r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?|"
    r"(?<=median )\d+|(?<=percentile )\d+|(?<=at most )\d+"
)
RELATIVE, ABSOLUTE = 0.25, 1.0  # px and scores: processors round differently, int8 the most


def settled(text: str) -> str:
    """The output without what changes from run to run."""
    for pattern, put in _VOLATILE:
        text = pattern.sub(put, text)
    return text.strip()


def disagreement(written: str, printed: str) -> str:
    """What differs between the output on a page and the one that was printed; '' for nothing."""
    old, new = settled(written), settled(printed)
    if _NUMBER.sub("#", old) != _NUMBER.sub("#", new):
        return f"the page has\n{old}\n\nand the command prints\n{new}"
    for one, other in zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True):
        if abs(float(one) - float(other)) > max(ABSOLUTE, RELATIVE * abs(float(one))):
            return f"the page has {one}, and the command prints {other}, in\n{new}"
    return ""
