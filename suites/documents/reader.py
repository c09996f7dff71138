"""A folder as the tutorial's reader has it, and commands that run in it as they are typed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from fixtures.mmdeploy_folders import mmdeploy_folder
from fixtures.walking_figures import walking
from suites.documents.blocks import ROOT, Block, Command, blocks, commands
from suites.documents.images import TUTORIAL

EXAMPLE = "example.py"  # the tutorial's block of this title makes the model and the images
COLUMNS, WIDE = 76, 79  # of a terminal; what a page's column holds on a screen of 1280 px
SECONDS = 420  # for one command
# What a reader finds on the PATH, and how it is started from this tree.
PROGRAMS = {
    "posedeploy": ("-m", "posedeploy"),
    "pytest": ("-m", "pytest"),
    "python": (),
}
_OWN = ("PYTEST_", "POSECONFORM_", "GITHUB_", "CI")  # variables of the run that tests the pages


@dataclass(frozen=True)
class Printed:
    """The exit code of a command; its standard output and error, as a terminal has them."""

    code: int
    output: str


class Reader:
    """Types commands in a folder; `$?` is the exit code of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._code = 0
        self._programs = folder.parent / f"{folder.name}-programs"
        self._programs.mkdir(exist_ok=True)
        for name, words in PROGRAMS.items():
            program = self._programs / name
            line = shlex.join(["exec", sys.executable, *words])
            program.write_text(f'#!/bin/sh\n{line} "$@"\n', encoding="utf-8")
            program.chmod(0o755)

    def types(self, command: str, columns: int = COLUMNS) -> Printed:
        """Run one command; it may have several lines.

        Raises:
            subprocess.TimeoutExpired: It takes longer than any command of a page may.
        """
        done = subprocess.run(
            ["bash", "-c", f"(exit {self._code})\n{command}"],  # noqa: S607 - the reader's own
            cwd=self.folder, env=self._environment(columns), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
        )  # fmt: skip
        self._code = done.returncode
        lines = done.stdout.decode().replace(f"{ROOT}/", "").splitlines()
        return Printed(done.returncode, "".join(f"{line.rstrip()}\n" for line in lines))

    def _environment(self, columns: int) -> dict[str, str]:
        paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
        return kept | {
            "COLUMNS": str(columns),
            "NO_COLOR": "1",
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # mmengine's; it depends on the version of setuptools
            "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
            "TERM": "dumb",
        }

    def follows(self, page: Iterable[Block]) -> dict[Block, list[Command]]:
        """Write the files of a page, type its commands: what each `console` block should have."""
        printed: dict[Block, list[Command]] = {}
        for block in page:
            if block.title:
                target = self.folder / block.title
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.body, encoding="utf-8")
            elif block.language == "console":
                columns = WIDE if block.wide else COLUMNS
                printed[block] = [
                    Command(c.typed, self.types(c.typed, columns).output)
                    for c in commands(block.body)
                ]
        return printed


def prepare(folder: Path) -> Path:
    """Make the folder that the pages' commands run in: what the tutorial's first step leaves.

    Raises:
        RuntimeError: The tutorial's script failed.
    """
    folder.mkdir()
    script = next(b for b in blocks(TUTORIAL.read_text("utf-8")) if b.title == EXAMPLE)
    (folder / EXAMPLE).write_text(script.body, encoding="utf-8")
    done = Reader(folder).types(f"python {EXAMPLE}")
    if done.code:
        raise RuntimeError(f"{EXAMPLE} of {TUTORIAL.name}: {done.output}")
    return folder


def reader_of(page: Path, prepared: Path, folder: Path) -> Reader:
    """The reader of a page, with a folder of their own."""
    reader = Reader(Path(shutil.copytree(prepared, folder)))
    if also := ALSO.get(page.name):
        also(reader)
    return reader


def add_mmdeploy_folder(reader: Reader) -> None:
    """What a reader who comes from MMDeploy has: the folder of a model that MMDeploy converted.

    Raises:
        RuntimeError: The graph in it could not be made.
    """
    flow = "pose-detection_simcc_onnxruntime_dynamic"
    command = f"posedeploy convert {flow} rtmpose_t my.pth person.png --work-dir"
    with tempfile.TemporaryDirectory() as folder:
        done = reader.types(f"{command} {folder}/ours")
        if done.code:
            raise RuntimeError(done.output)
        (reader.folder / "mmdeploy_models").mkdir()
        mmdeploy_folder(Path(folder, "ours"), reader.folder / "mmdeploy_models" / "rtmpose")


def add_street(reader: Reader) -> None:
    """What the reader of the page on videos has: a pose model, a video, and boxes in it."""
    from posedeploy.apis.deploying import deploy

    flow = "pose-detection_simcc_onnxruntime_dynamic"
    deploy(flow, "rtmpose_t", str(reader.folder / "my.pth"), reader.folder / "work" / "rtmpose_t")
    scene = walking("walk", size=(640, 384), frames=50)
    writer = cv2.VideoWriter(
        str(reader.folder / "street.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, scene.size
    )
    lines = []
    for index, (image, truth) in enumerate(scene.drawn()):
        writer.write(image)
        people = [{"box": box.tolist(), "score": 0.9} for box in truth.boxes]
        place = {"kind": "frame", "source": "street.mp4", "frame": index}
        sides = {"width": scene.size[0], "height": scene.size[1]}
        lines.append(json.dumps({**place, **sides, "people": people}))
    writer.release()
    (reader.folder / "boxes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


# Pages whose readers have more than the tutorial's script makes.
ALSO: Mapping[str, Callable[[Reader], None]] = {
    "compare.md": add_mmdeploy_folder, "mmdeploy-folder.md": add_mmdeploy_folder,
    "video.md": add_street,
}  # fmt: skip
