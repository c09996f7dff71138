"""However a model config is edited: it is refused in words, or deployed as PyTorch runs it.

300 edits, 50 of each of six models. Of those that are accepted, what goes into the network and
what is made of its outputs is compared with MMPose's own, to the last bit. Some, of small models,
are converted and compared whole: more of them with HYPOTHESIS_PROFILE=deep.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from numpy.typing import NDArray

from fixtures.config_edits import edited
from fixtures.images import turned_jpeg
from fixtures.tiny_models import TinyModel
from poseconform.reference.codecs import decode_outputs
from posedeploy import compat, strictjson
from posedeploy.apis.deploying import deploy
from posedeploy.config import ModelConfig, load_deploy_config
from posedeploy.config.files import read_config
from posedeploy.config.model_config import model_config_from
from posedeploy.errors import PoseDeployError
from posedeploy.export.detection import detection_settings
from posedeploy.runtime import StoredPrecision, TensorInfo
from posedeploy.sdk.checks.files import check_schema
from posedeploy.sdk.decode import compile_decoder
from posedeploy.sdk.decode.selected import selected
from posedeploy.sdk.fields import Node
from posedeploy.sdk.folder import PIPELINE
from posedeploy.sdk.images import read_image
from posedeploy.sdk.transforms import compile_transforms
from posedeploy.sdk.writer import Artifact, pipeline_json
from posedeploy.zoo.build import dataset_meta
from posedeploy.zoo.table import config_path, model_row, shipped_config

UDP = "td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192.py"
MODELS = ("hrnet_w32", "rtmo_t", "rtmpose_t", "simcc_mobilenetv2", UDP, "yoloxpose_tiny")
EDITS = 50  # of each model
BOX = np.array([[7.5, 3.0, 101.25, 70.0]], np.float32)
CONVERTED = 40 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 3  # of each small model


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 120x90 px that its EXIF turns by 90 degrees."""
    return turned_jpeg(tmp_path_factory.mktemp("turned") / "turned.jpg", (120, 90))


def config_of(name: str) -> Config:
    compat.install()
    path = shipped_config(name) if name == UDP else config_path(model_row(name))
    assert path is not None
    return read_config(path, "model config")


def folder_of(config: ModelConfig) -> tuple[list[Node], str, Node]:
    """Transforms, component and its parameters, as `pipeline.json` has them."""
    width, height = config.input_size
    word = f"{config.head_kind.word}_" if config.head_kind.word else ""
    inputs = (TensorInfo("input", ("batch", 3, height, width), "float32"),)
    artifact = Artifact(("end2end.onnx",), StoredPrecision("fp32"), inputs, ())
    deploy_config = load_deploy_config(f"pose-detection_{word}onnxruntime_dynamic")
    written = strictjson.parse(json.dumps(pipeline_json(artifact, config, deploy_config)))
    assert list(check_schema(PIPELINE, written)) == []
    pre, _, post = written["pipeline"]["tasks"]
    steps = [Node(step, "pipeline.json") for step in pre["transforms"]]
    return steps, post["component"], Node(post["params"], "pipeline.json")


def mmpose_input(
    config: ModelConfig, path: Path, box: NDArray[np.float32], meta: Mapping[str, Any]
) -> NDArray[Any]:
    """`[1, 3, H, W]`: the file through MMPose's own pipeline and preprocessor."""
    import mmpose.datasets.transforms
    import mmpose.models  # noqa: F401  both fill registries
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS as REGISTRY

    init_default_scope("mmpose")
    pipeline = Compose(config.config["test_dataloader"]["dataset"]["pipeline"])
    score = np.ones(1, np.float32)
    person = {} if config.head_kind.bottom_up else {"bbox": box, "bbox_score": score}
    sample = pipeline({"img_path": str(path), **person, **meta})
    preprocessor = REGISTRY.build(config.config["model"]["data_preprocessor"])
    inputs: NDArray[Any] = preprocessor(pseudo_collate([sample]), False)["inputs"].numpy()
    return inputs


def check_decoding(config: ModelConfig, component: str, params: Node) -> None:
    """The folder's decoding against MMPose's codec, or the thresholds of its heads."""
    from mmpose.registry import KEYPOINT_CODECS

    rng = np.random.default_rng(0)
    if config.head_kind.bottom_up:
        word = config.head_kind.word
        settings = detection_settings(
            config, load_deploy_config(f"pose-detection_{word}_onnxruntime_dynamic")
        )
        test_cfg = config.config["model"]["test_cfg"]
        assert settings.score_threshold == test_cfg["score_thr"]
        assert settings.iou_threshold == test_cfg["nms_thr"]
        compile_decoder(component, params, config.input_size)
        return
    fields = config.config["model"]["head"]["decoder"]
    codec = KEYPOINT_CODECS.build(dict(fields))
    if "heatmap_size" in fields:
        width, height = fields["heatmap_size"]
        outputs = {"output": rng.random((2, 6, height, width), np.float32)}
    else:
        bins = [int(side * codec.simcc_split_ratio) for side in config.input_size]
        names = ("simcc_x", "simcc_y")
        outputs = {n: rng.random((2, 6, b), np.float32) for n, b in zip(names, bins, strict=True)}
    decoder = selected(compile_decoder(component, params, config.input_size), params)
    decoded = decoder.decode(outputs)
    points, scores = decode_outputs(codec, outputs)
    chosen = config.config["model"].get("test_cfg", {}).get("output_keypoint_indices")
    kept = slice(None) if chosen is None else list(chosen)
    np.testing.assert_allclose(decoded.points, points[:, kept], rtol=0, atol=1e-3)
    np.testing.assert_allclose(decoded.point_scores, scores[:, kept], rtol=1e-6)


def outcome(config: Config, turned: Path) -> str:
    """'refused', or 'same' where the folder does what MMPose does."""
    try:
        read = model_config_from(config)
        meta = dataset_meta(read)
    except PoseDeployError as error:
        parts = (error.subject, error.found, error.expected, error.next_step)
        return "refused" if all(parts) else f"refused without words: {error}"
    transforms, component, params = folder_of(read)
    pre = compile_transforms(transforms)
    image = read_image(turned, color_type=pre.color_type)
    ours = pre.tensor(pre.regions(image, BOX if pre.top_down else None))
    np.testing.assert_array_equal(ours, mmpose_input(read, turned, BOX, meta))
    check_decoding(read, component, params)
    return "same"


@pytest.mark.parametrize("name", MODELS)
def test_an_edited_config_is_refused_in_words_or_deployed_as_mmpose_runs_it(
    name: str, turned: Path
) -> None:
    config, outcomes, faults = config_of(name), Counter[str](), []
    assert outcome(config, turned) == "same"
    for seed in range(EDITS):
        edit = edited(config.to_dict(), MODELS.index(name) * EDITS + seed)
        try:
            outcomes[outcome(Config(edit.config, filename=config.filename), turned)] += 1
        except Exception as error:  # noqa: BLE001 - what a person would see as a traceback
            faults.append(f"{edit.what}: {type(error).__name__}: {str(error).strip()[:300]}")
    assert not faults, "\n".join(faults)
    assert set(outcomes) == {"refused", "same"}
    assert min(outcomes.values()) >= 8, outcomes


@pytest.mark.parametrize("name", ["rtmpose_t", "yoloxpose_tiny"])
def test_an_edited_config_that_is_accepted_converts_and_finds_the_same(
    name: str, turned: Path, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny, word = tiny_model(name), {"rtmpose_t": "simcc", "yoloxpose_tiny": "yolox-pose"}[name]
    base, converted, seed = read_config(tiny.config, "model config"), 0, 1000
    while converted < CONVERTED:  # about half of the edits are accepted
        edit, path = edited(base.to_dict(), seed), tmp_path / f"edit_{seed}.py"
        seed += 1
        try:
            model_config_from(Config(edit.config, filename=base.filename))
            Config(edit.config).dump(path)
            done = deploy(
                f"pose-detection_{word}_onnxruntime_static", path, tiny.checkpoint,
                tmp_path / f"sdk_{seed}", images=[turned],
            )  # fmt: skip
        except PoseDeployError:  # of the names of keypoints too, which are read later
            continue
        converted += 1
        assert done.compared[0].distances.same, edit.what
