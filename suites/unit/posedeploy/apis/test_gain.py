"""The gain of bf16 is measured by interleaved calls, and printed after its cost."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from posedeploy.apis.gain import MIN_ROUNDS, ROUNDS, SECONDS, Gain, measure_gain, paired_gain
from posedeploy.cli.convert import report_gain


@dataclass
class Clock:
    """A clock that calls move on."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: Callable[[], float]) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds()

        return call


def test_a_gain_is_the_share_of_calls_that_take_turns() -> None:
    clock = Clock()
    slowed = iter(1.0 if i % 4 else 9.0 for i in range(1000))  # for a call of each
    factor = [1.0]

    def bf16() -> float:
        factor[0] = next(slowed)
        return 0.003 * factor[0]

    found = paired_gain(clock.takes(bf16), clock.takes(lambda: 0.004 * factor[0]), clock)
    assert (found.share, found.low, found.high) == pytest.approx((0.75, 0.75, 0.75))
    assert found.rounds == ROUNDS


def test_slow_networks_get_fewer_rounds_and_not_too_few() -> None:
    clock = Clock()
    whole = paired_gain(clock.takes(lambda: 0.2), clock.takes(lambda: 0.3), clock)
    assert MIN_ROUNDS < whole.rounds <= SECONDS / 0.5 + 1
    assert paired_gain(clock.takes(lambda: 5.0), clock.takes(lambda: 6.0), clock).rounds == 3


def test_the_files_of_a_folder_run_in_both_precisions(
    tmp_path: Path, tiny_sdk: Callable[[str], Path]
) -> None:
    folder = Path(shutil.copytree(tiny_sdk("rtmpose_t"), tmp_path / "sdk"))
    deploy = json.loads((folder / "deploy.json").read_text())
    deploy["models"][0]["precision"] = "BF16"
    (folder / "deploy.json").write_text(json.dumps(deploy))
    found = measure_gain(folder)
    assert 0 < found.low <= found.share <= found.high
    assert MIN_ROUNDS <= found.rounds <= ROUNDS


def deployment(precision: str, compared: tuple[object, ...]) -> Any:
    return SimpleNamespace(
        artifact=SimpleNamespace(precision=precision), compared=compared, folder=Path("work")
    )


@pytest.mark.parametrize(
    ("precision", "compared", "lines"),
    [
        ("bf16", (1,), "time in bf16: 0.56 of that in fp32 (0.50 to 0.61 in half of 15 pairs of "
         "calls, the network alone, 1 thread)\n"),
        ("bf16", (), ""),  # nothing ran
        ("fp16", (1,), ""),
    ],
)  # fmt: skip
def test_the_summary_says_what_bf16_gains(
    precision: str, compared: tuple[object, ...], lines: str
) -> None:
    out = Console(file=io.StringIO(), width=200)
    report_gain(out, deployment(precision, compared), lambda _: Gain(0.56, 0.5, 0.61, 15))
    assert out.file.getvalue() == lines  # type: ignore[attr-defined]
