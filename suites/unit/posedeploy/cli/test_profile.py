"""`posedeploy profile`: stages add up, folders take turns, and the machine is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from posedeploy.cli.app import app
from posedeploy.cli.profile import Run, StopWatch, fingerprint, measure, show
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.pose_detector import STAGES

FEW = ("--calls=4", "--warm-up=1")


def run(*words: object, columns: int = 100) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, words)], env={"COLUMNS": str(columns)})


@pytest.fixture
def folders(tiny_sdk: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    """Two names of one folder."""
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tiny_sdk("rtmpose_t"))
    return [tmp_path / "one", tmp_path / "two"]


def test_json_has_every_sample_and_the_machine(folders: list[Path]) -> None:
    done = run(*folders, "--json", "--batch=1", "--batch=3", *FEW)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert [(r["folder"], r["batch"]) for r in printed["runs"]] == [
        (str(folder), batch) for batch in (1, 3) for folder in folders
    ]
    for found in printed["runs"]:
        samples = {name: np.array(times) for name, times in found["samples"].items()}
        assert {len(times) for times in samples.values()} == {4}
        parts = sum(samples[name] for name in STAGES)
        np.testing.assert_allclose(parts, samples["total"], rtol=0.05, atol=0.05)
        total = found["stages"]["total"]
        np.testing.assert_allclose(total["median"], np.median(samples["total"]))
        np.testing.assert_allclose(found["fps"], 1e3 * found["batch"] / total["median"])
        assert found["options"]["inference_precision"] == "fp32"
    machine = printed["machine"]
    assert machine["threads"] == 1
    assert machine["packages"]["onnxruntime"]
    assert machine["usable_cpus"] >= 1


def test_the_table_compares_side_by_side_and_names_the_machine(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[0].parent)
    printed = run("one", "two", *FEW, columns=80).stdout
    for text in ("one", "two", "1.00", "±", "p99", "CPUs usable", "threads 1", "load"):
        assert text in printed


@pytest.mark.parametrize(("load", "busy"), [(7.0, True), (0.2, False), (None, False)])
def test_a_busy_machine_is_reported(load: float | None, busy: bool) -> None:
    console = Console(highlight=False, width=100)
    with console.capture() as capture:
        show(console, [], {**fingerprint(1), "load_average": load})
    assert (f"load {'?' if load is None else load}") in capture.get()
    assert ("other programs were busy" in capture.get()) == busy


def test_folders_take_turns(folders: list[Path]) -> None:
    turns: list[tuple[str, int]] = []

    def turn(_detector: object, _images: object, calls: int, found: Run) -> None:
        turns.append((Path(found.folder).name, calls))

    detectors = {str(folder): PoseDetector(folder) for folder in folders}
    measure(detectors, np.zeros((9, 9, 3), np.uint8), [1], warm_up=2, calls=25, turn=turn)
    assert turns == [
        ("one", 2),
        ("two", 2),
        *[("one", 10), ("two", 10)] * 2,
        ("one", 5),
        ("two", 5),
    ]


def test_a_stop_watch_gives_every_moment_to_one_stage() -> None:
    moments = iter([0.0, 1.0, 3.0, 3.5, 4.0, 6.0, 6.5, 7.0])
    watch = StopWatch(lambda: next(moments))
    for stage in ("pre", "session", "post", "pre", "session", "post", "post"):
        watch.mark(stage)
    assert watch.seconds == {"pre": 1.5, "session": 4.0, "post": 1.5}


@pytest.mark.parametrize("words", [("{0}", "{0}"), ("{0}/nowhere",), ("{0}", "--img=nowhere.png")])
def test_bad_input(folders: list[Path], words: tuple[str, ...]) -> None:
    done = run(*(word.format(folders[0]) for word in words), *FEW)
    assert isinstance(done.exception, BadInputError)
