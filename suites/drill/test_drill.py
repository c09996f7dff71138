"""A slice of the drill, which `tox -e drill` runs whole, and whether it notices what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from suites.drill.__main__ import CACHE, findings, run, table
from suites.drill.acts import ACTS, act
from suites.drill.backends import FAULTS
from suites.drill.damage import DAMAGES, SERVERS
from suites.drill.groups import GROUPS
from suites.drill.harness import Drill, Group, Outcome, Result
from suites.drill.payloads import NAMES, PAYLOADS

SEED = 0


def slice_of(group: Group) -> list[int]:
    """Indices of a group's attempts, as far from each other and from both ends as can be."""
    return [group.full * (2 * i + 1) // (2 * group.few) for i in range(group.few)]


@pytest.mark.timeout(3000)  # a minute of CPU time on an idle machine
def test_the_slice_has_no_finding() -> None:
    tasks = [(group, index) for group in GROUPS for index in slice_of(group)]
    done = run(tasks, seed=SEED, workers=1, cache=CACHE, console=Console(quiet=True))
    assert len(done) == len(tasks)
    assert not findings(done, SEED), findings(done, SEED)


def test_what_attempts_do_is_told(tmp_path: Path) -> None:
    group = Group("acts", 5, 5, f"{act.__module__}:act", "", seconds=6)
    drill = Drill(SEED, tmp_path, tmp_path, workers=2)
    done = drill.run([(group, index) for index in range(5)], lambda _: None)
    assert [one.result.outcome for one in done] == list(ACTS)
    assert [one.result.kind.strip("'") for one in done] == [f"kind {one}" for one in ACTS]
    assert (
        table(done).splitlines()[-1] == "| together | 5 | 0 | 1 | 0 | 0 | 1 | 1 | 1 | 1 | 0 | 0 |"
    )
    assert findings(done, SEED).count("python -m suites.drill --seed 0 --only acts --index") == 4
    (again,) = drill.run([(group, 4)], lambda _: None)
    assert again.result == done[4].result, "an index and a seed decide everything"


@pytest.mark.parametrize(
    ("outcome", "kind", "judged"),
    [
        (Outcome.CRASH, "'ncnn simcc: edit_graph, resealed: 3'", Outcome.LIMIT),
        (Outcome.CRASH, "'ncnn simcc: edit_graph: 3'", Outcome.CRASH),
        (Outcome.CRASH, "'openvino simcc: edit_graph, resealed: 3'", Outcome.CRASH),
        (Outcome.HANG, "'ncnn simcc: edit_graph, resealed: 3'", Outcome.HANG),
    ],
)
def test_a_limit_is_about_one_outcome_and_kind(
    outcome: Outcome, kind: str, judged: Outcome
) -> None:
    (folders,) = (group for group in GROUPS if group.name == "folders")
    assert folders.judged(Result(outcome, kind)).outcome is judged


def test_every_row_of_a_table_is_attempted() -> None:
    rows = {
        "backends": FAULTS,
        "cache": DAMAGES,
        "names": NAMES * 2,
        "payloads": PAYLOADS,
        "servers": SERVERS,
    }
    counts = {group.name: group.full for group in GROUPS if group.name in rows}
    assert counts == {name: len(table) for name, table in rows.items()}
