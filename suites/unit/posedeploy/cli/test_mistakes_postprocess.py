"""Likely mistakes with `export_postprocess`: exit code and message, before weights are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from posedeploy.cli import main
from posedeploy.config import deploy_config_text
from posedeploy.sdk.images import write_image
from posedeploy.synthetic.figures import draw_figure

SIMCC, SET = "pose-detection_simcc_onnxruntime_dynamic", "codebase_config['export_postprocess']"

# fmt: off
MISTAKES = (
    # deploy config, line added to a copy of it, model, what is said
    ("pose-detection_simcc_ncnn-keypoints_static", "", "rtmpose_t",
     "ncnn has no layer that finds the place of a maximum"),
    ("pose-detection_onnxruntime-keypoints_static", "", "mspn50", "found: MegviiHeatmap"),
    ("pose-detection_rtmo-keypoints_onnxruntime_static", "", "rtmo_t", "no such name"),
    ("pose-detection_rtmo_onnxruntime-keypoints_static", "", "rtmo_t",
     "it for heatmap, regression, simcc"),
    ("pose-detection_rtmo_onnxruntime_dynamic", f"{SET} = True", "rtmo_t", "keypoints anyway"),
    ("pose-detection_onnxruntime_static", f"{SET} = True", "hrnet_w32",
     "expected: keypoints and scores"),
    (SIMCC, f"{SET} = 'yes'", "rtmpose_t", "found: 'yes'"),
)
# fmt: on


@pytest.mark.parametrize(("name", "line", "model", "message"), MISTAKES)
def test_a_mistake_is_named_and_ends_with_2(
    name: str,
    line: str,
    model: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, config = tmp_path / "figure.png", name
    write_image(image, draw_figure(0, (64, 96))[0])
    if line:
        config = str(tmp_path / "mine.py")
        Path(config).write_text(f"{deploy_config_text(name)}\n{line}\n", encoding="utf-8")
    absent = str(tmp_path / "absent.pth")  # a mistake that would be found with the checkpoint
    with pytest.raises(SystemExit) as ended:
        main(["convert", config, model, absent, str(image), "--work-dir", str(tmp_path / "out")])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2
    assert message in said
    assert not (tmp_path / "out").exists()
