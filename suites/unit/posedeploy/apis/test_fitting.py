"""The deploy config that a refused one's error names passes the check that refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from posedeploy.apis.exporting import check_fit
from posedeploy.apis.sources import resolve_model_config
from posedeploy.config import (
    ModelConfig,
    deploy_config_text,
    load_deploy_config,
    load_model_config,
)
from posedeploy.errors import BadInputError

P = "pose-detection"
CPM = "td-hm_cpm_8xb64-210e_mpii-368x368.py"
LARGE = "rtmpose-m_8xb256-420e_aic-coco-384x288.py"


def model(name: str) -> ModelConfig:
    return load_model_config(resolve_model_config(name))


# fmt: off
FITS = [
    (f"{P}_simcc_openvino-int8_dynamic-256x192", LARGE,
     f"{P}_simcc_openvino-int8_dynamic-384x288"),
    (f"{P}_simcc_tensorrt-fp16_dynamic-256x192", LARGE,
     f"{P}_simcc_tensorrt-fp16_dynamic-384x288"),
    (f"{P}_simcc_openvino_static-192x256", "rtmpose_t", f"{P}_simcc_openvino_static-256x192"),
    (f"{P}_openvino-fp16-f16_static-256x192", "rtmpose_t",
     f"{P}_simcc_openvino-fp16-f16_static-256x192"),
    (f"{P}_rtmo_tensorrt-nms_static-640x640", "yoloxpose_tiny",
     f"{P}_yolox-pose_tensorrt-nms_static-416x416"),
    (f"{P}_rtmo_tensorrt-nms_static-640x640", "hrnet_w32", f"{P}_tensorrt_static-256x192"),
    (f"{P}_tensorrt_dynamic-256x192", CPM, f"{P}_tensorrt_dynamic-368x368"),
    (f"{P}_torchscript", "hourglass52", f"{P}_torchscript_static"),
]
# fmt: on


@pytest.mark.parametrize(("given", "name", "fits"), FITS)
def test_the_error_names_what_fits(given: str, name: str, fits: str) -> None:
    config = model(name)
    with pytest.raises(BadInputError) as caught:
        check_fit(load_deploy_config(given), config)
    assert caught.value.instead == (given, fits)
    assert caught.value.next_step.endswith(f": {fits}")
    check_fit(load_deploy_config(fits), config)


def test_a_file_of_the_user_s_with_our_config_s_name(tmp_path: Path) -> None:
    """MMDeploy's own file has a shape that its name has not."""
    path = tmp_path / f"{P}_simcc_onnxruntime_dynamic.py"
    text = deploy_config_text(path.stem)
    text = text.replace("'input_shape': None", "'input_shape': [192, 256]")
    path.write_text(text, encoding="utf-8")
    check_fit(load_deploy_config(path), model("rtmpose_t"))
    with pytest.raises(BadInputError) as caught:
        check_fit(load_deploy_config(path), model(LARGE))
    assert caught.value.instead == (path.stem, f"{path.stem}-384x288")


def test_without_a_fit_the_advice_stays() -> None:
    """No name has a side that is no multiple of 8, and TensorRT needs a shape for this batch."""
    odd = replace(model("rtmpose_t"), input_size=(100, 100))
    with pytest.raises(BadInputError, match=r"or one without a shape\.$") as caught:
        check_fit(load_deploy_config(f"{P}_simcc_tensorrt_dynamic-256x192"), odd)
    assert caught.value.instead is None
