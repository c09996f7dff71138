"""`posedeploy profile`: the table, the JSON, what is compared, and that the machine is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from posedeploy.cli.app import app
from posedeploy.cli.profile.command import names_of
from posedeploy.errors import BadInputError
from posedeploy.sdk.pose_detector import STAGES

FEW = ("--calls=6", "--warm-up=1")


def run(*words: object, columns: int = 120) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, words)], env={"COLUMNS": str(columns)})


@pytest.fixture
def folders(tiny_sdk: Callable[[str], Path], tmp_path: Path) -> list[Path]:
    """Two names of one folder, and an image beside them."""
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(tiny_sdk("rtmpose_t"))
    assert cv2.imwrite(str(tmp_path / "photo.png"), np.full((60, 50, 3), 90, np.uint8))
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
        assert {name: len(times) for name, times in samples.items()} == dict.fromkeys(
            (*STAGES, "total"), 6
        )
        total = found["stages"]["total"]
        np.testing.assert_allclose(total["median"], np.median(samples["total"]))
        np.testing.assert_allclose(found["fps"], 1e3 * found["batch"] / total["median"])
        assert found["options"]["inference_precision"] == "fp32"
    machine = printed["machine"]
    assert machine["threads"] == 1
    assert machine["packages"]["onnxruntime"]
    assert machine["usable_cpus"] >= 1
    assert printed["comparisons"] == []


def test_json_has_the_floors_the_file_and_the_comparisons(folders: list[Path]) -> None:
    one = folders[0]
    photo = one.parent / "photo.png"
    done = run(one, one, "--json", "--compare", "--floor", f"--img={photo}", *FEW)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert [(r["folder"], r["floor"], tuple(r["stages"])) for r in printed["runs"]] == [
        (str(one), False, ("read", *STAGES, "total")),
        (str(one), True, ("pre", "session", "total")),
        (f"{one} (2)", False, ("read", *STAGES, "total")),
        (f"{one} (2)", True, ("pre", "session", "total")),
    ]
    control, *floors = printed["comparisons"]
    assert (control["folder"], control["other"], control["control"]) == (
        f"{one} (2)", str(one), True,
    )  # fmt: skip
    assert [(c["other"], c["to_floor"], c["control"]) for c in floors] == [
        (str(one), True, False), (f"{one} (2)", True, False),
    ]  # fmt: skip
    assert control["stages"]["total"]["rounds"] == 6
    assert set(floors[0]["stages"]) == {"pre", "session", "total"}


def test_the_tables_compare_side_by_side_and_name_the_machine(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[0].parent)
    printed = run("one", "two", "--compare", "--floor", "--img=photo.png", *FEW).stdout
    for text in (
        "1.00", "±", "p99", "CPUs usable", "threads 1", "load",
        "two ÷ one", "control: ", "one ÷ its floor", "ratios of 6 rounds",
        "read: of the image file",
    ):  # fmt: skip
        assert text in printed
    one = run("one", *FEW).stdout
    assert "÷" not in one
    assert "read: " not in one


def test_a_folder_that_is_named_again_has_a_number() -> None:
    named = [Path("a"), Path("b"), Path("a"), Path("a")]
    assert names_of(named) == ["a", "b", "a (2)", "a (3)"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("{0}", "{0}"), "add --compare"),
        (("{0}/nowhere",), "no such folder"),
        (("{0}", "--img=nowhere.png"), "nowhere.png"),
        (("{0}", "--compare"), "this one twice"),
        (("{0}", "{1}", "--compare", "--calls=5"), "6 or more with --compare"),
        (("{0}", "--floor", "--calls=5"), "6 or more with --floor"),
    ],
)
def test_bad_input(folders: list[Path], words: tuple[str, ...], names: str) -> None:
    done = run("--warm-up=1", *(word.format(*folders) for word in words))
    assert isinstance(done.exception, BadInputError)
    assert names in str(done.exception)
