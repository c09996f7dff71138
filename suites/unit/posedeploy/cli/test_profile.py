"""`posedeploy profile`: stages add up, folders take turns, and the machine is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from posedeploy.cli import profiling
from posedeploy.cli.app import app
from posedeploy.cli.profile import fingerprint, show
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
    said = json.loads(done.stdout)
    assert [(r["folder"], r["batch"]) for r in said["runs"]] == [
        (str(folder), batch) for batch in (1, 3) for folder in folders
    ]
    for found in said["runs"]:
        samples = {name: np.array(times) for name, times in found["samples"].items()}
        assert {len(times) for times in samples.values()} == {4}
        parts = sum(samples[name] for name in STAGES)
        np.testing.assert_allclose(parts, samples["total"], rtol=0.05, atol=0.05)
        total = found["stages"]["total"]
        np.testing.assert_allclose(total["median"], np.median(samples["total"]))
        np.testing.assert_allclose(found["fps"], 1e3 * found["batch"] / total["median"])
        assert found["options"]["inference_precision"] == "fp32"
    machine = said["machine"]
    assert machine["threads"] == 1
    assert machine["packages"]["onnxruntime"]
    assert machine["usable_cpus"] >= 1


def test_the_table_compares_side_by_side_and_names_the_machine(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[0].parent)
    shown = run("one", "two", *FEW, columns=80).stdout
    for text in ("one", "two", "1.00", "±", "p99", "CPUs usable", "threads 1", "load "):
        assert text in shown


def test_a_busy_machine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    show([], fingerprint(1, load=7.0))
    shown = " ".join(capsys.readouterr().out.split())
    assert "load 7.0" in shown
    assert "believe none of them" in shown
    show([], fingerprint(1, load=0.2))
    assert "other programs" not in capsys.readouterr().out


def test_folders_take_turns(folders: list[Path]) -> None:
    turns: list[tuple[str, int]] = []

    def turn(_detector: object, _images: object, calls: int, found: profiling.Run) -> None:
        turns.append((Path(found.folder).name, calls))

    detectors = {str(folder): PoseDetector(folder) for folder in folders}
    plan = profiling.Plan(batches=(1,), warm_up=2, calls=25)
    profiling.measure(detectors, np.zeros((9, 9, 3), np.uint8), plan, turn)
    assert turns == [
        ("one", 2),
        ("two", 2),
        *[("one", 10), ("two", 10)] * 2,
        ("one", 5),
        ("two", 5),
    ]


def test_a_stop_watch_gives_every_moment_to_one_stage() -> None:
    moments = iter([0.0, 1.0, 3.0, 3.5, 4.0, 6.0, 6.5, 7.0])
    watch = profiling.StopWatch(lambda: next(moments))
    watch.start()
    for stage in ("pre", "session", "post", "pre", "session", "post", "post"):
        watch.mark(stage)
    assert watch.seconds == {"pre": 1.5, "session": 4.0, "post": 1.5}


@pytest.mark.parametrize("words", [("{0}", "{0}"), ("{0}/nowhere",), ("{0}", "--img=nowhere.png")])
def test_bad_input(folders: list[Path], words: tuple[str, ...]) -> None:
    done = run(*(word.format(folders[0]) for word in words), *FEW)
    assert isinstance(done.exception, BadInputError)
