"""Fields of a model config that the SDK model must have too: what `convert` does with each.

A row: an edit of the config, then the exit code and the words that are printed: 'same keypoints'
where the field is carried over. The image is a JPEG that its EXIF turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.images import turned_jpeg
from fixtures.tiny_models import TinyModel
from posedeploy.apis.reference import pytorch_keypoints
from posedeploy.cli import main
from posedeploy.config import load_model_config
from posedeploy.zoo.build import build_model

LOAD, PACK = "dict(type='LoadImage')", "dict(type='PackPoseInputs')"
BOX = "dict(type='GetBBoxCenterScale')"
UNTURNED = "dict(type='LoadImage', color_type='color_ignore_orientation')"
MODEL = "model = dict("
SAME = "same keypoints: turned.jpg: 1 person"

# ---- modify this table to add a field ------------------------------------------------------
# what is replaced in the config, by what -> exit code, what is printed
# fmt: off
ROWS: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "as it is":            (LOAD, LOAD, 0, (SAME,)),
    "not turned":          (LOAD, UNTURNED, 0, (SAME,)),
    "files of a store":    (LOAD, "dict(type='LoadImage', backend_args=dict(backend='petrel'))", 0,
                            (SAME,)),
    "grayscale":           (LOAD, "dict(type='LoadImage', color_type='grayscale')", 2,
                            ("(LoadImage).color_type", "found: 'grayscale'", "'color' or")),
    "another decoder":     (LOAD, "dict(type='LoadImage', imdecode_backend='pillow')", 2,
                            ("(LoadImage).imdecode_backend", "found: 'pillow'")),
    "float pixels":        (LOAD, "dict(type='LoadImage', to_float32=True)", 2,
                            ("(LoadImage).to_float32", "expected: False")),
    "a field mistyped":    (LOAD, "dict(type='LoadImage', color_typ='color')", 2,
                            ("next: Did you mean color_type?",)),
    "a random flip":       (PACK, f"dict(type='RandomFlip'), {PACK}", 2,
                            ("pipeline[3]", "found: 'RandomFlip'", "next: Remove it")),
    "targets of training": (PACK, f"dict(type='GenerateTarget', encoder=codec), {PACK}", 2,
                            ("pipeline[3]", "found: 'GenerateTarget'", "It encodes annotations")),
    "no box":              (f"{BOX},", "", 2, ("each once, in this order",)),
    "boxes with a scope":  (BOX, "dict(type='mmpose.GetBBoxCenterScale', padding=1.5)", 0,
                            (SAME,)),
    "rgb_to_bgr":          (MODEL, f"{MODEL}data_preprocessor=dict(bgr_to_rgb=False, "
                            "rgb_to_bgr=True),", 0, (SAME,)),
    "both conversions":    (MODEL, f"{MODEL}data_preprocessor=dict(rgb_to_bgr=True),", 2,
                            ("model.data_preprocessor", "bgr_to_rgb and rgb_to_bgr")),
    "one mean":            (MODEL, f"{MODEL}data_preprocessor=dict(mean=[120.0], std=[60.0]),", 0,
                            (SAME,)),
    "padding of batches":  (MODEL, f"{MODEL}data_preprocessor=dict(pad_size_divisor=100),", 2,
                            ("pad_size_divisor", "found: 100", "64x96 px")),
    "test_cfg of 0.x":     (MODEL, f"{MODEL}test_cfg=dict(post_process='default'),", 2,
                            ("model.test_cfg.post_process", "MMPose 1.3.2 reads there")),
    "keypoints reordered": (MODEL, f"{MODEL}test_cfg=dict(output_keypoint_indices="
                            f"{list(range(16, -1, -1))}),", 0, (SAME,)),
    "DARK":                ("use_dark=False", "use_dark=True", 0, (SAME,)),
}
# fmt: on
# --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 160x90 px that its EXIF turns by 90 degrees."""
    return turned_jpeg(tmp_path_factory.mktemp("turned") / "turned.jpg", (160, 90))


def command(*words: str) -> int:
    """The exit code of a command of the command line."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


@pytest.mark.parametrize("name", ROWS)
def test_a_field_is_carried_over_or_refused(
    name: str,
    tiny_model: Callable[[str], TinyModel],
    turned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    tiny, (old, new, code, words) = tiny_model("rtmpose_t"), ROWS[name]
    text, config, sdk = tiny.config.read_text(), tmp_path / "model.py", tmp_path / "sdk"
    assert text.count(old) == 1
    config.write_text(text.replace(old, new))
    flow = "pose-detection_simcc_onnxruntime_static"
    folder = ("--work-dir", str(sdk))
    found = command("convert", flow, str(config), str(tiny.checkpoint), str(turned), *folder)
    out, err = capsys.readouterr()
    assert found == code, out + err
    for word in words:
        assert word in " ".join((out + err).split())
    assert sdk.exists() == (code == 0)
    if code:
        return
    assert command("infer", str(sdk), str(turned), "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    people = next(line["people"] for line in lines if line["kind"] == "image")
    inferred = np.asarray([person["keypoints"] for person in people], np.float64)
    read = load_model_config(config)
    expected = pytorch_keypoints(build_model(read, tiny.checkpoint), read, turned)
    np.testing.assert_allclose(inferred[..., :2], expected[..., :2], atol=0.05)
    assert command("validate", str(sdk)) == 0
