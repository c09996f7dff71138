"""Rows take turns, and every moment of a call belongs to one stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from posedeploy.cli.profile.measuring import Call, Run, StopWatch, Times, measure


def a_run(folder: str) -> Run:
    return Run(folder, Path(folder), 1, "onnxruntime", "fp32", {})


def test_rows_take_turns_and_every_other_round_is_in_reverse() -> None:
    called: list[str] = []

    def row(name: str) -> tuple[Run, Call]:
        def call() -> Times:
            called.append(name)
            return {"total": float(len(called))}

        return a_run(name), call

    rows = [row("a"), row("b"), row("c")]
    measure(rows, warm_up=2, calls=45)
    assert "".join(called) == "aabbcc" + ("aabbccccbbaa") * 11 + "abc"
    assert [len(turn["total"]) for turn in rows[0][0].rounds] == [2] * 22 + [1]
    assert rows[0][0].medians("total")[:2] == [7.5, 17.5]
    assert len(rows[0][0].samples("total")) == 45


@pytest.mark.parametrize(("calls", "rounds", "turn"), [(6, 6, 1), (100, 20, 5), (300, 60, 5)])
def test_turns_are_short_and_rounds_many(calls: int, rounds: int, turn: int) -> None:
    run = a_run("a")
    measure([(run, lambda: {"total": 1.0})], warm_up=0, calls=calls)
    assert [len(r["total"]) for r in run.rounds] == [turn] * rounds


def test_a_stop_watch_gives_every_moment_to_one_stage() -> None:
    moments = iter([0.0, 1.0, 3.0, 3.5, 4.0, 6.0, 6.5, 7.0])
    watch = StopWatch(lambda: next(moments))
    for stage in ("read", "session", "post", "pre", "session", "post", "post"):
        watch.mark(stage)
    assert watch.times() == {"read": 1e3, "session": 4e3, "post": 1.5e3, "pre": 500, "total": 6e3}


def test_the_times_of_a_run_in_json() -> None:
    run = Run("a", Path("/a"), 2, "onnxruntime", "fp16", {"threads": "1"})
    for times in ([1.0, 4.0, 9.0], [5.0, 3.0, 4.0]):
        clock = iter(times)
        run.take_turn(lambda: {"pre": 1.0, "total": next(clock)}, 3)  # noqa: B023 - run at once
    assert run.medians("total") == [4.0, 4.0]
    found = run.to_json()
    assert (found["backend"], found["precision"], found["fps"]) == ("onnxruntime", "fp16", 500.0)
    assert found["samples"] == {"pre": [1.0] * 6, "total": [1, 4, 9, 5, 3, 4]}
    assert found["stages"]["total"] == {"median": 4, "iqr": 1.5, "p99": 8.8}
