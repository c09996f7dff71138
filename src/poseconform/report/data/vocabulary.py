"""How outcomes and backends are shown, and the order in which names are.

The order of `OUTCOMES` is the order of severity: a group of cells is shown by the first row
that occurs in it. A glyph is always shown with its word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from poseconform.results.outcome import is_failure
from poseconform.results.records import CellRecord
from posedeploy.runtime import ComputePrecision, backends_by_rank


@dataclass(frozen=True)
class Look:
    """How one kind of outcome, which is the outcome up to its colon, is shown."""

    kind: str
    word: str
    glyph: str
    ascii: str  # stands for `glyph` where only ASCII can be written
    style: str  # for Rich
    group: str  # a color in the page: `bad`, `warn`, `good`, `declared` or `none`
    meaning: str


OUTCOMES: tuple[Look, ...] = (
    Look("crash", "crash", "\u203c", "!!", "bold red", "bad",
         "A native library died; the signal is named."),
    Look("timeout", "timeout", "\u25f7", "T", "bold red", "bad",
         "The time limit of a stage passed."),
    Look("failed", "failed", "\u2717", "X", "bold red", "bad",
         "A stage failed; the stage is named."),
    Look("mismatch", "mismatch", "\u2260", "#", "bold red", "bad",
         "It runs, and differs from PyTorch by more than is allowed."),
    Look("xpass", "xpass", "\u2191", "^", "bold magenta", "warn",
         "Declared to fail, and passes: the declaration is out of date."),
    Look("missing", "missing", "?", "?", "bold yellow", "warn",
         "Expected to run, and no test reported it."),
    Look("xfail", "xfail", "\u21af", "x", "cyan", "declared",
         "Fails as declared, for the reason given."),
    Look("pass", "pass", "\u2713", "+", "green", "good",
         "Same keypoints and tensors as PyTorch, within the limits."),
    Look("unavailable", "unavailable", "\u2205", "0", "dim", "none",
         "The backend cannot run on this machine; the code names the reason."),
    Look("not-selected", "not selected", "\u00b7", ".", "dim", "none",
         "Left out by the selection of this run."),
)  # fmt: skip

# name -> the name people use, e.g. `ONNX Runtime`; in the order of upstream's table, then ours
BACKENDS = {row.name: row.display for row in backends_by_rank()}
# Families of the support table, in the order of upstream's; others come after them.
FAMILIES = ("HRNet", "MSPN", "LiteHRNet", "Hourglass", "SimCC", "RTMPose", "YOLOX-Pose", "RTMO")
PRECISIONS = tuple(precision.value for precision in ComputePrecision)
SHAPES = ("static", "dynamic")

# Kinds of outcome of what was not run; where several runners did not, the first is shown.
NOT_RUN = ("unavailable", "missing", "not-selected")

_LOOKS = {look.kind: look for look in OUTCOMES}


def kind_of(outcome: str) -> str:
    """`failed` of `failed:load`, `pass` of `pass`."""
    return outcome.split(":", maxsplit=1)[0]


def look_of(outcome: str) -> Look:
    """How `outcome` is shown."""
    return _LOOKS[kind_of(outcome)]


def detail_of(outcome: str) -> str:
    """`load` of `failed:load`, the code of `unavailable:<code>`; empty otherwise."""
    return outcome.partition(":")[2]


def words_of(outcome: str) -> str:
    """`failed: load`, `not selected`, `unavailable: no-device`."""
    detail = detail_of(outcome)
    return f"{look_of(outcome).word}: {detail}" if detail else look_of(outcome).word


def severity(outcome: str) -> int:
    """Index in `OUTCOMES`; 0 is the worst."""
    return OUTCOMES.index(look_of(outcome))


def ran(cell: CellRecord) -> bool:
    """True if something of the cell was executed and judged."""
    return kind_of(cell.outcome) not in NOT_RUN


def failed(cell: CellRecord) -> bool:
    """True if the cell turns a run red."""
    return is_failure(cell.outcome)


def backend_name(backend: str) -> str:
    """The name people use."""
    return BACKENDS.get(backend, backend)


def in_order(values: Iterable[str], order: Collection[str] = ()) -> list[str]:
    """Distinct `values`: those of `order` first, as ordered there, then by the alphabet."""
    return sorted(set(values), key=lambda value: order_in(order, value))


def order_in(order: Collection[str], value: str) -> tuple[int, str, str]:
    """Sorts a value by its index in `order`, after which the others come by the alphabet."""
    ranks = [name.casefold() for name in order]
    lower = value.casefold()
    return (ranks.index(lower) if lower in ranks else len(ranks), lower, value)
