"""The groups of the drill: a row each."""

from __future__ import annotations

from suites.drill.harness import Group, KnownLimit, Outcome

_HERE = "suites.drill"
_FOLDERS = "mutants of SDK model folders"
# ---- modify this table to add a limit, and docs/trust.md -------------------------------------
_OF_FOLDERS = (
    KnownLimit(Outcome.CRASH, r"ncnn [\w-]+: \w+, resealed",
               "ncnn does not check that the numbers in a .param file fit together"),
)  # fmt: skip

# ---- modify this table to add a group ------------------------------------------------------
GROUPS: tuple[Group, ...] = (
    Group("folders", 1500, 30, f"{_HERE}.folders:attempt", _FOLDERS, limits=_OF_FOLDERS),
    Group(
        "compare",
        1000,
        4,
        f"{_HERE}.comparisons:attempt",
        "mutants of artifacts, compared",
        limits=_OF_FOLDERS,
    ),
    Group("images", 300, 30, f"{_HERE}.images:image", "odd images in a folder, and alone"),
    Group("arrays", 300, 30, f"{_HERE}.images:array", "odd arrays and boxes"),
    Group("conversions", 24, 0, f"{_HERE}.kills:conversion", "conversions, killed", False, 300),
    Group("judges", 12, 1, f"{_HERE}.kills:judge", "runs of the judge, killed", False, 120),
    Group("cache", 22, 22, f"{_HERE}.damage:cache", "damaged entries of the artifact cache"),
    Group("results", 200, 20, f"{_HERE}.damage:results", "damaged results files"),
    Group("servers", 24, 4, f"{_HERE}.damage:server", "hostile servers of checkpoints"),
    Group("payloads", 9, 4, f"{_HERE}.payloads:attempt", "files that try to do something"),
    Group("names", 36, 2, f"{_HERE}.payloads:name", "names of files and folders", False, 120),
    Group("threads", 64, 5, f"{_HERE}.backends:threads", "504 calls from 8 threads", False, 300),
    Group("backends", 18, 1, f"{_HERE}.backends:fault", "backends with faults", False, 120),
)
# --------------------------------------------------------------------------------------------
