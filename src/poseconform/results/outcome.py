"""The stages of a cell, what they and the cell can come to, and how one follows from the other.

`CellRecord.with_outcome` does it; the first row that applies decides:

| the cell holds | outcome | code and reason |
|---|---|---|
| a failing stage that was not declared: the first of `STAGES` decides | see below | of the stage |
| a stage that was declared to fail and passed | `xpass` | of the stage |
| a declared failure: the first of `STAGES` decides | `xfail` | of the stage |
| tests that have not ended | `missing` | how many |
| a backend that is unavailable | `unavailable:<code>` | of the availability |
| a stage that passed | `pass` | empty |
| nothing | `missing` | no test returned a result |

| outcome of the deciding stage | numeric, keypoints, sdk | any other stage |
|---|---|---|
| `crash` | `crash` | `crash` |
| `timeout` | `timeout` | `timeout` |
| `failed` | `failed:<stage>` | `failed:<stage>` |
| `mismatch` | `mismatch` | `failed:<stage>` |
"""

from __future__ import annotations

STAGES: tuple[str, ...] = (
    "export",  # PyTorch module to intermediate representation
    "convert",  # intermediate representation to the backend's files
    "load",  # the backend opens its files
    "run",  # the backend computes something
    "finite",  # no NaN, no infinity, not constant, depends on the input
    "contract",  # names, shapes, dtypes, opset and dynamic dimensions follow the contract
    "numeric",  # tensors against PyTorch in float64
    "keypoints",  # decoded keypoints in pixels of the input image
    "sdk",  # the SDK model folder, through a client
)
# Somebody else has done these for a folder that is judged as it is: they do not apply to it.
CONVERTING_STAGES = ("export", "convert")
COMPARING_STAGES = frozenset({"numeric", "keypoints", "sdk"})  # those in which a mismatch is one

# What a stage can come to, from the mildest to the most severe.
STAGE_OUTCOMES: tuple[str, ...] = ("pass", "mismatch", "failed", "timeout", "crash")

FAILED, UNAVAILABLE = "failed:", "unavailable:"
PLAIN_OUTCOMES = frozenset(
    {"pass", "mismatch", "crash", "timeout", "xfail", "xpass", "not-selected", "missing"}
)
OUTCOME_PATTERN = (
    f"^({'|'.join(sorted(PLAIN_OUTCOMES))}|{FAILED}({'|'.join(STAGES)})|{UNAVAILABLE}.+)$"
)


def is_failure(outcome: str) -> bool:
    """True if `outcome` turns a run red: a failure that was not declared, or an xpass."""
    return outcome in {"mismatch", "crash", "timeout", "xpass"} or outcome.startswith(FAILED)


def usual_failure(stage: str) -> str:
    """How a stage fails that neither crashes nor hangs: `mismatch` where values are compared."""
    return "mismatch" if stage in COMPARING_STAGES else "failed"
