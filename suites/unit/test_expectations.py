"""Declared failures: what an entry excuses, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.builders import make_cell
from poseconform.expectations import FOLDER, Expectation, load_expectations, marks

GOOD = """
[[xfail]]
model = "m"
deploy_config = "simcc_onnxruntime_static"
stage = "numeric"
reason = "rounds"
link = "https://example.org/1"
"""


def declare(root: Path, text: str, backend: str = "onnxruntime") -> Path:
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{backend}.toml").write_text(text)
    return root


def test_no_folder_declares_nothing(tmp_path: Path) -> None:
    assert load_expectations(tmp_path / FOLDER) == ()
    assert list(marks(make_cell(), "numeric", tmp_path)) == []


def test_an_entry_marks_its_stage_of_its_cell_strictly(tmp_path: Path) -> None:
    root = declare(tmp_path, GOOD)
    (mark,) = marks(make_cell(), "numeric", root)
    assert mark.name == "xfail"
    assert mark.kwargs == {"reason": "rounds (https://example.org/1)", "strict": True}
    assert list(marks(make_cell(), "keypoints", root)) == []
    assert list(marks(make_cell(name="other"), "numeric", root)) == []
    assert list(marks(make_cell(shape_mode="dynamic"), "numeric", root)) == []
    assert list(marks(make_cell(backend="openvino"), "numeric", root)) == []


def test_a_star_matches_anything_but_another_backend() -> None:
    entry = Expectation("onnxruntime", "*", "*", "*", "numeric", "r", "l")
    assert entry.matches(make_cell())
    assert entry.matches(make_cell("rtmo", "x"))
    assert not entry.matches(make_cell(backend="ncnn"))
    family = Expectation("onnxruntime", "*", "RTMO", "*", "numeric", "r", "l")
    assert family.matches(make_cell("rtmo"))
    assert not family.matches(make_cell())


BAD = {
    "no TOML": ("[[xfail", "found no TOML"),
    "no UTF-8": ("\udcff", "found no TOML"),
    "another table": (GOOD.replace("xfail", "xfails"), r"found \['xfails'\]; expected \[\[xfail"),
    "a single table": (GOOD.replace("[[xfail]]", "[xfail]"), "expected .*xfail.* tables only"),
    "no reason": (GOOD.replace('reason = "rounds"', ""), "found no reason"),
    "a blank link": (GOOD.replace("https://example.org/1", " "), "found no link"),
    "no stage": (GOOD.replace('stage = "numeric"', ""), "found no stage"),
    "an unknown stage": (GOOD.replace("numeric", "numbers"), "stage 'numbers'; expected one of"),
    "an unknown field": (GOOD + "os = 'linux'\n", r"unknown \['os'\]; expected"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_with_file_and_place(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    folder = declare(tmp_path, "") / FOLDER
    (folder / "onnxruntime.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(pytest.UsageError, match=message) as caught:
        load_expectations(folder)
    assert "onnxruntime.toml" in str(caught.value)


def test_the_second_of_two_is_named_by_its_index(tmp_path: Path) -> None:
    root = declare(tmp_path, GOOD + GOOD.replace('reason = "rounds"', ""))
    with pytest.raises(pytest.UsageError, match=r"xfail\[1\]: found no reason"):
        load_expectations(root / FOLDER)
