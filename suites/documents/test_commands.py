"""Commands of `sh` blocks in README and docs/ run as they stand.

Those that are not run here are rows of `unrun.py`, with a reason.
"""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path

import cv2
import pytest

from fixtures.images import photograph
from suites.documents.blocks import PAGES, ROOT, blocks, commands, console, typed_lines
from suites.documents.images import BASELINE
from suites.documents.outputs import disagreement
from suites.documents.reader import Reader, reader_of
from suites.documents.unrun import NOT_RUN, why_not_run

# What the capitals of a synopsis stand for.
PLACEHOLDERS = {
    "CHECKPOINT": "my.pth",
    "DEPLOY_CFG": "pose-detection_simcc_onnxruntime_static",
    "DIR": "dir",
    "IMAGE": "person.png",
    "MODEL_CFG": "rtmpose_t",
}
RESULTS = ("OLD.json", "NEW.json", "a.json", "b.json", "results.json")


def shell_commands() -> dict[str, str]:
    """Every command of an `sh` block, and the first page that has it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for block in blocks(page.read_text("utf-8")):
            if block.language in {"sh", "bash"}:
                for line in typed_lines(block.body):
                    found.setdefault(line, page.name)
    return found


RUN = sorted(line for line in shell_commands() if not why_not_run(line))


@pytest.fixture(scope="module")
def reader(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader who has photographs, results of runs and a folder `work/rtmpose_s` too."""
    made = reader_of(ROOT / "README.md", prepared, tmp_path_factory.mktemp("shell") / "reader")
    assert cv2.imwrite(str(made.folder / "photo.jpg"), photograph("astronaut"))
    for name in RESULTS:
        shutil.copy(BASELINE, made.folder / name)
    flow = PLACEHOLDERS["DEPLOY_CFG"]
    command = f"posedeploy convert {flow} rtmpose_t my.pth photo.jpg --work-dir work/rtmpose_s"
    assert made.types(command).code == 0
    return made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", RUN)
def test_shell_commands_run(command: str, reader: Reader) -> None:
    words = re.sub(r"\b[A-Z_]{3,}\b", lambda m: PLACEHOLDERS.get(m[0], m[0]), command)
    done = reader.types(words)
    assert done.code == 0, f"{shell_commands()[command]}: {words}\n{done.output}"


def test_rows_of_commands_that_are_not_run_are_needed() -> None:
    rows = [why_not_run(line) for line in shell_commands()]
    assert [row.begins for row in NOT_RUN if row not in rows] == []


def test_environments_and_files_of_commands_that_are_not_run_exist() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    names = {n for s in parser.sections() for n in re.findall(r"[\w-]+", s.partition(":")[2])}
    text = "\n".join(shell_commands())
    used = set(re.findall(r"tox -e ([\w-]+)", text))
    assert used
    assert used <= names
    files = set(re.findall(r"(?<=-r )requirements/\S+", text))
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    ("written", "printed", "agree"),
    [
        ("   1.2 s  export\n", "  10.7 s  export\n", True),
        ("  end2end.onnx    13,372,431 bytes\n", "  end2end.onnx    9,372 bytes\n", True),
        ("  end2end.onnx    13,372,431 bytes\n", "  end2end.xml    9,372 bytes\n", False),
        ("same keypoints: median 0 px\n", "different keypoints: median 0 px\n", False),
        ("median 66.6 px, at most 174 px\n", "median 70.1 px, at most 190 px\n", True),
        ("median 66.6 px, at most 174 px\n", "median 6.6 px, at most 174 px\n", False),
        ("median 0 px\n", "median 9.2 px\n", False),
        ("(1, 17, 3)\n", "(2, 17, 3)\n", False),
        ("3\n", "0\n", False),
        (" ort   1   0.38   18.6 ±3   0.39   22 ±4   39   44.5   1.00\n",
         " ort   1   0.41    4.6 ±3   0.39   22      9    4.5   1.30\n            ±8.2\n", True),
        (" ort   1   0.38   18.6 ±3   0.39   22 ±4   39   44.5   1.00\n",
         " ov    1   0.38   18.6 ±3   0.39   22 ±4   39   44.5   1.00\n", False),
        ("11 passed in 3.02s\n", "11 passed in 41.20s\n", True),
        ("11 passed in 3.02s\n", "10 passed, 1 failed in 3.02s\n", False),
    ],
)  # fmt: skip
def test_what_agrees(written: str, printed: str, *, agree: bool) -> None:
    assert (disagreement(written, printed) == "") == agree


def test_a_block_is_read_and_written_as_it_was() -> None:
    body = "$ echo 1 \\\n>     2\n1 2\n\nmore\n$ true\n"
    assert [c.typed for c in commands(body)] == ["echo 1 \\\n    2", "true"]
    assert console(commands(body)) == body
    with pytest.raises(ValueError, match="begins with"):
        commands("echo 1\n")


def test_a_reader_has_the_exit_code_of_the_last_command(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "reader")
    reader.folder.mkdir()
    reader.types("exit 3")
    assert reader.types("echo $?").output == "3\n"
