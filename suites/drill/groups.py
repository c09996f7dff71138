"""The groups of the drill: a row each."""

from __future__ import annotations

from suites.drill.harness import Group

_HERE = "suites.drill"

# ---- modify this table to add a group ------------------------------------------------------
GROUPS: tuple[Group, ...] = (
    Group("folders", 1500, 64, f"{_HERE}.folders:attempt", "mutants of SDK model folders"),
    Group("images", 300, 40, f"{_HERE}.images:image", "odd images in a folder, and alone"),
    Group("arrays", 300, 60, f"{_HERE}.images:array", "odd arrays and boxes"),
    Group("conversions", 24, 0, f"{_HERE}.kills:conversion", "conversions, killed", False, 300),
    Group("judges", 12, 2, f"{_HERE}.kills:judge", "runs of the judge, killed", False, 120),
)
# --------------------------------------------------------------------------------------------
