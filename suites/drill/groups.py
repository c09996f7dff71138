"""The groups of the drill: a row each."""

from __future__ import annotations

from suites.drill.harness import Group

# ---- modify this table to add a group ------------------------------------------------------
GROUPS: tuple[Group, ...] = (
    Group("folders", 1500, 64, "suites.drill.folders:attempt", "mutants of SDK model folders"),
)
# --------------------------------------------------------------------------------------------
