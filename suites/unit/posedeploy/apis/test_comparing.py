"""What the comparison with PyTorch hands to each side: the file, which each reads itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.apis.comparing import pytorch_keypoints, sdk_keypoints
from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.reading import read_for
from posedeploy.zoo.build import build_model

TURNED = {0x0112: 6}  # EXIF's tag Orientation: to be turned by 90 degrees
LOADS = {
    "turned, as by default": ("dict(type='LoadImage')", True),
    "not turned": ("dict(type='LoadImage', color_type='color_ignore_orientation')", False),
}


@pytest.fixture
def turned_photo(tmp_path: Path) -> Path:
    """A JPEG of 120x80 px that its EXIF turns to 80x120 px."""
    exif = Pillow.Exif()
    exif.update(TURNED)
    path = tmp_path / "turned.jpg"
    Pillow.fromarray(drawn(3, (120, 80)).image[..., ::-1]).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("case", LOADS)
def test_mmpose_reads_the_file_by_the_load_image_of_its_config(
    tiny_model: Callable[[str], TinyModel], turned_photo: Path, tmp_path: Path, case: str
) -> None:
    load, turns = LOADS[case]
    tiny, path = tiny_model("rtmpose_t"), tmp_path / "model.py"
    text = tiny.config.read_text().replace("dict(type='LoadImage')", load)
    path.write_text(text)
    config = load_model_config(path)
    model = build_model(config, tiny.checkpoint)
    stored = cv2.imread(str(turned_photo), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert stored is not None
    images = [np.asarray(stored, np.uint8), np.ascontiguousarray(np.rot90(stored, -1), np.uint8)]
    other, seen = images if turns else reversed(images)
    read = pytorch_keypoints(model, config, turned_photo)
    np.testing.assert_array_equal(read, pytorch_keypoints(model, config, seen))
    assert not np.array_equal(read, pytorch_keypoints(model, config, other))


def test_the_deployed_side_reads_the_file_or_takes_an_array(
    tiny_sdk: Callable[[str], Path], turned_photo: Path
) -> None:
    folder = tiny_sdk("rtmpose_t")
    image = read_for(read_folder(folder), turned_photo)
    assert image.shape == (120, 80, 3)
    found = sdk_keypoints(folder, turned_photo)
    np.testing.assert_array_equal(found, sdk_keypoints(folder, image))
    np.testing.assert_array_equal(found, sdk_keypoints(folder, str(turned_photo)))
    with pytest.raises(BadInputError, match="no such file"):
        sdk_keypoints(folder, turned_photo.with_name("nowhere.jpg"))
