"""The images of README and docs/: each is used, has a provenance, and is what was made."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import cv2
import numpy as np
import pytest

from suites.documents.blocks import PAGES, ROOT
from suites.documents.images import (
    ALL_BYTES,
    ASSETS,
    CHANGED,
    DRAWINGS,
    PROVENANCE,
    changed,
    matrix_facts,
    read,
)

KNOWN: dict[str, Any] = json.loads(PROVENANCE.read_text("utf-8"))["images"]
IMAGES = sorted(p.name for p in ASSETS.iterdir() if p.suffix in {".png", ".svg", ".webp"})


def test_every_image_has_a_provenance_and_an_alternative_text() -> None:
    assert sorted(KNOWN) == IMAGES
    for name, facts in KNOWN.items():
        content = (ASSETS / name).read_bytes()
        assert facts["sha256"] == hashlib.sha256(content).hexdigest(), name
        assert facts["bytes"] == len(content), name
        assert len(facts["alt"]) > 20, name
        assert facts["made_from"], name


def test_images_are_small() -> None:
    assert sum(facts["bytes"] for facts in KNOWN.values()) < ALL_BYTES


@pytest.mark.parametrize("name", IMAGES)
def test_every_image_is_shown(name: str) -> None:
    stem = re.sub(r"-(dark|light)$", "", name.rsplit(".", 1)[0])
    pages = [p.read_text("utf-8") for p in PAGES]
    assert any(re.search(rf"<!-- images:[^>]*\b{stem}\b", text) for text in pages)
    if not KNOWN[name]["made_from"].startswith("docs/video.md"):
        assert name in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", [n for n in IMAGES if "outcomes" in KNOWN[n]])
def test_the_matrix_shows_the_outcomes_of_the_baseline(name: str) -> None:
    assert KNOWN[name]["outcomes"] == matrix_facts(), "python -m suites.documents tutorial.md"


def test_a_joint_that_moved_is_a_change() -> None:
    image = read(ASSETS / "pytorch.webp")
    moved = image.copy()
    cv2.circle(moved, (141, 39), 3, (255, 144, 30), -1)  # as a joint is drawn
    noise = np.random.default_rng(0).integers(-20, 21, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    assert changed(image, noisy) <= CHANGED < changed(image, moved)
    assert changed(image, image[1:]) == 1.0
    assert changed(read(ASSETS / "onnxruntime.webp"), read(ASSETS / "int8.webp")) > CHANGED
    assert set(DRAWINGS) <= {n.rsplit(".", 1)[0] for n in KNOWN}
