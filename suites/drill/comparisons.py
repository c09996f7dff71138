"""Mutants of artifacts, through `posedeploy compare`: a folder, a zip of it, or its bare file.

The verdict is right if `same` is said of those alone that find what the whole artifact finds; a
damage may be told as a fault of a stage or be refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from suites.drill.folders import Mutant, graph_files, mutant
from suites.drill.harness import Attempt, Outcome, Result, cli, tail
from suites.drill.models import IMAGE, config_of

LIMIT_PX = 25.0  # of what is called the same, whatever precision a mutant claims to be of
FORMS = ("folder", "folder", "zip", "file")


def attempt(given: Attempt) -> Result:
    """One mutant, in one of its forms."""
    made = mutant(given)
    form = given.rng.choice(FORMS)
    artifact = _artifact(made, form, given)
    kind = given.note(f"{made.kind}; as a {form}")
    image = given.scratch / "image.png"
    cv2.imwrite(str(image), IMAGE)
    words = (config_of(given.arena, made.base.head), given.arena / f"{made.base.head}.pth", image)
    status, text = cli(
        "compare", str(artifact), *map(str, words), "--out", str(given.scratch / "drawn")
    )
    if status not in {0, 1, 2, 3, 4} or "Traceback" in text:
        return Result(Outcome.TRACEBACK, kind, f"{status}: {tail(text)}")
    if status in {2, 3, 4}:
        return Result(Outcome.REFUSED, kind, tail(text))
    if status == 1:
        return Result(Outcome.DIFFERENT, kind, tail(text))
    apart = _distance(made, form)
    if apart > LIMIT_PX:
        return Result(Outcome.SILENT, kind, f"{apart:.3g} px apart: {tail(text)}")
    return Result(Outcome.SAME, kind, f"{apart:.3g} px apart")


def _artifact(made: Mutant, form: str, given: Attempt) -> Path:
    """The path that is given to `compare`; of zips some are damaged once more, as bytes."""
    if form == "folder":
        return made.folder
    if form == "file":
        bare = given.scratch / "bare"
        bare.mkdir()
        for path in graph_files(made.folder):
            if path.is_file() and not path.is_symlink():
                shutil.copyfile(path, bare / path.name)
        main = (graph_files(made.whole) or [made.whole])[-1].name
        return bare / main
    target = given.scratch / "mutant"
    for path in made.folder.rglob("*"):
        if path.is_fifo() or path.is_symlink():  # a zip has none
            path.unlink()
    zipped = Path(shutil.make_archive(str(target), "zip", made.folder))
    if given.rng.random() < 0.5:
        data = bytearray(zipped.read_bytes())
        for _ in range(given.rng.choice((1, 4, 64))):
            data[given.rng.randrange(len(data))] ^= 1 << given.rng.randrange(8)
        zipped.write_bytes(data)
    return zipped


def _distance(made: Mutant, form: str) -> float:
    """How far the keypoints of a mutant's graph are from the whole one's, px; inf if others."""
    from posedeploy.sdk import PoseDetector

    folders = [made.whole, made.folder]
    if form == "file":  # the JSON is not looked at
        for name in ("deploy.json", "pipeline.json", "detail.json"):
            path = made.folder / name
            if path.is_symlink() or path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copyfile(made.whole / name, path)
    found = []
    for folder in folders:
        with PoseDetector(folder, verify=False) as detector:
            found.append(detector(IMAGE))
    if found[0].shape != found[1].shape:
        return float("inf")
    return float(np.abs(found[0][..., :2] - found[1][..., :2]).max(initial=0.0))
