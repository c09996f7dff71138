"""The images of README and docs/: what commands of pages drew, and the matrix of the report.

`docs/assets/images.json` names what each was made from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from poseconform.report.build import build_report
from suites.documents.blocks import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
ASSETS = ROOT / "docs" / "assets"
PROVENANCE = ASSETS / "images.json"
BASELINE = ROOT / "reports" / "baselines" / "linux-x86_64.json"
ALL_BYTES = 1_500_000  # of all images together
QUALITY = 90  # of WebP
# A pixel that differs by more than 100 of 255 is one that was drawn elsewhere: compression changes
# none by more than 80. A joint that is drawn a radius away changes five times this part of them.
PIXEL, CHANGED = 100, 1e-4


@dataclass(frozen=True)
class Drawing:
    """An image that the commands of a page leave in the reader's folder."""

    source: str  # path in that folder
    caption: str
    alt: str
    page: str = "tutorial.md"
    frame: int | None = None  # of a video


# ---- modify this table to add a drawing ----------------------------------------------------
# fmt: off
DRAWINGS: Mapping[str, Drawing] = {
    "int8":        Drawing("models/dark/output_onnxruntime.jpg",
                           "int8, calibrated on images that are too dark: different keypoints",
                           "The figure with lines between points that are not its joints"),
    "onnxruntime": Drawing("models/ort/output_onnxruntime.jpg",
                           "ONNX Runtime: same keypoints",
                           "The figure with the same skeleton drawn on its joints"),
    "person":      Drawing("person.png",
                           "The image",
                           "A drawn figure with a disc on each joint"),
    "pytorch":     Drawing("models/ort/output_pytorch.jpg",
                           "Keypoints found by PyTorch",
                           "The figure with a skeleton drawn on its joints"),
    "street":      Drawing("drawn/street_poses.mp4",
                           "A frame of drawn/street_poses.mp4: three people, three identities",
                           "Three walking figures, each with a skeleton of another color and a "
                           "number above its head", "video.md", 30),
}
# fmt: on

# The part of the report that is shown, and how Chromium is told which theme a person prefers.
THEMES: Mapping[str, str] = {"dark": "0", "light": "1"}
WINDOW, SCALE = (880, 1105), 1.5
FILTER = "shape=static"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox: a container's root has none. The rest keeps the browser from calling home.
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


def read(path: Path, frame: int | None = None) -> NDArray[np.uint8]:
    """`[H, W, 3]`, BGR: an image, or a frame of a video.

    Raises:
        FileNotFoundError: No image there.
    """
    if frame is None:
        image = cv2.imread(str(path))
    else:
        capture = cv2.VideoCapture(str(path))
        capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        image = capture.read()[1]
    if image is None:
        raise FileNotFoundError(f"{path}: no image")
    return np.asarray(image, np.uint8)


def drawings(page: Path) -> Mapping[str, Drawing]:
    """The drawings that the commands of a page leave."""
    return {name: drawing for name, drawing in DRAWINGS.items() if drawing.page == page.name}


def changed(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The part of the pixels of two drawings that differ visibly; 1 for other sizes."""
    if one.shape != other.shape:
        return 1.0
    difference = np.abs(one.astype(int) - other.astype(int)).max(axis=2)
    return float((difference > PIXEL).mean())


def matrix_facts() -> str:
    """A hash of what the image of the matrix shows: the outcome of every cell."""
    cells = json.loads(BASELINE.read_text("utf-8"))["cells"]
    rows = sorted((c["model"], c["deploy_config"], c["exporter"], c["outcome"]) for c in cells)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _write(name: str, image: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(ASSETS / f"{name}.webp"), image, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def _screenshot(page: Path, theme: str, folder: Path) -> NDArray[np.uint8]:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)}: the matrix needs a browser")
    target = folder / f"{theme}.png"
    subprocess.run(
        [browser, *ARGUMENTS, f"--user-data-dir={folder / theme}",
         f"--blink-settings=preferredColorScheme={THEMES[theme]}",
         f"--force-device-scale-factor={SCALE}", f"--window-size={WINDOW[0]},{WINDOW[1]}",
         f"--screenshot={target}", f"{page.as_uri()}#{FILTER}"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return read(target)


def write_images(page: Path, reader: Path) -> None:
    """Write the images of a page and where they come from; `reader` is its reader's folder.

    With the tutorial, those of the matrix are made too.
    """
    known: dict[str, Any] = json.loads(PROVENANCE.read_text("utf-8"))["images"]
    for name, drawing in drawings(page).items():
        fresh, path = read(reader / drawing.source, drawing.frame), ASSETS / f"{name}.webp"
        if not path.is_file() or changed(read(path), fresh) > CHANGED:
            _write(name, fresh)
        known[f"{name}.webp"] = {
            "alt": drawing.alt, "caption": drawing.caption,
            "made_from": f"docs/{page.name}: {drawing.source}",
        }  # fmt: skip
    if page == TUTORIAL:
        known |= _write_matrix()
    for name, facts in known.items():
        content = (ASSETS / name).read_bytes()
        facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = {"made_by": "python -m suites.documents", "images": dict(sorted(known.items()))}
    PROVENANCE.write_text(json.dumps(text, indent=1) + "\n", "utf-8")


def _write_matrix() -> dict[str, Any]:
    """Write the images of the report's matrix; where they come from."""
    known: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        report, _ = build_report(BASELINE, Path(folder))
        for theme in THEMES:
            _write(f"matrix-{theme}", _screenshot(report, theme, Path(folder)))
            known[f"matrix-{theme}.webp"] = {
                "alt": "A table of models and deploy configs; each cell has an outcome, the "
                "distance of the keypoints in px, the time and the headroom",
                "caption": "The report of a run: every model with every deploy config",
                "made_from": BASELINE.relative_to(ROOT).as_posix(),
                "outcomes": matrix_facts(),
            }
    return known
