"""Calibrated weights: deterministic, informative, and read like any checkpoint."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.tiny_models import TinyModel
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.paths import cache_dir
from posedeploy.synthetic.admission import (
    Admission,
    failures,
    main,
    measure,
    output_maps,
    table_row,
)
from posedeploy.synthetic.calibration import CANDIDATES, FINAL_LAYERS, calibrate, image_batch
from posedeploy.synthetic.conditioning import CONDITIONING, last_norms
from posedeploy.synthetic.weights import calibrated_checkpoint, checkpoint_for
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.table import MODELS, config_path, model_row

SIMCC = "simcc_mobilenetv2"
SMALL = {"litehrnet_18": 3, "rtmo_t": 2, "rtmpose_t": 6, SIMCC: 6}  # -> images, for time


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def config_of(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


def calibrated(name: str, cache: Path) -> Any:
    return build_model(config_of(name), calibrated_checkpoint(model_row(name), cache))


@pytest.mark.parametrize(("name", "count"), SMALL.items())
def test_calibrated_weights_are_admitted(name: str, count: int, cache: Path) -> None:
    assert failures(measure(calibrated(name, cache), config_of(name), count)) == ()


@pytest.mark.parametrize("name", ["rtmpose_t", SIMCC])
def test_fresh_initialization_fails_what_calibrated_weights_pass(name: str, cache: Path) -> None:
    torch.manual_seed(0)
    fresh = measure(build_model(config_of(name), None), config_of(name))
    assert fresh.same_argmax > 0.5
    assert any("same argmax" in failure for failure in failures(fresh))
    assert measure(calibrated(name, cache), config_of(name)).same_argmax <= 0.1


def test_outputs_have_mean_0_and_deviation_1(cache: Path) -> None:
    torch.manual_seed(0)
    model, config = calibrated(SIMCC, cache), config_of(SIMCC)
    with torch.no_grad():
        maps = output_maps(model, config.head_kind, torch.randn(4, 3, 256, 192))
    for output in maps.values():
        assert torch.isfinite(output).all()
        assert 0.2 < float(output.std()) < 5


@pytest.mark.parametrize("name", ["dsnt_res50", "dsnt_res50/debias", "rle_res50"])
def test_coordinates_lie_in_the_input_and_depend_on_the_image(
    name: str, tiny_model: Callable[[str], TinyModel]
) -> None:
    config = load_model_config(tiny_model(name).config)
    model = build_model(config, tiny_model(name).checkpoint)
    with torch.no_grad():
        (maps,) = output_maps(model, config.head_kind, image_batch(config, 6, 9000)).values()
    points = maps.reshape(6, 17, -1)[..., :2]
    assert ((points > 0) & (points < 1)).float().mean() > 0.9
    assert points.std(dim=0).mean() > 0.05
    measured = measure(model, config)
    assert measured.bf16_sqnr_db > 15  # small layers round more
    assert " |  |  |  | " in table_row(name, "calibrated", measured)  # no maximum decides


def _make(folder: str) -> None:
    torch.manual_seed(99)  # neither the process's generators nor its threads may matter
    np.random.seed(99)  # noqa: NPY002
    torch.set_num_threads(2)
    calibrated_checkpoint(model_row(SIMCC), Path(folder))


def test_two_processes_write_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    first = calibrated_checkpoint(model_row(SIMCC), cache)
    child = multiprocessing.get_context("spawn").Process(target=_make, args=(str(tmp_path),))
    child.start()
    child.join(timeout=120)
    assert child.exitcode == 0
    (second,) = tmp_path.rglob("*.pth")
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes()


def nothing(_config: ModelConfig, _seed: int, _kind: str) -> dict[str, Any]:
    return {}


def test_second_call_makes_nothing(tmp_path: Path) -> None:
    made: list[int] = []

    def make(_config: ModelConfig, seed: int, _kind: str) -> dict[str, Any]:
        made.append(seed)
        return {}

    config = config_of(SIMCC)
    assert checkpoint_for(config, tmp_path, make=make) == checkpoint_for(
        config, tmp_path, make=make
    )
    assert made == [0]


def test_seed_decides(cache: Path) -> None:
    first = load_checkpoint(calibrated_checkpoint(model_row(SIMCC), cache))
    other = load_checkpoint(calibrated_checkpoint(model_row(SIMCC), cache, seed=1))
    assert first.path != other.path
    weights = "head.mlp_head_x.weight"
    assert not torch.allclose(first.state_dict[weights], other.state_dict[weights])


def test_config_decides(tmp_path: Path) -> None:
    changed = config_of(SIMCC)
    before = checkpoint_for(changed, tmp_path, make=nothing)
    assert before.name.startswith(changed.path.stem)
    changed.config["model"]["head"]["simcc_split_ratio"] = 3.0
    assert checkpoint_for(changed, tmp_path, make=nothing) != before


def test_failure_leaves_no_file_behind(tmp_path: Path) -> None:
    """A local function fails in the middle of writing: pickles cannot refer to it."""

    def make(_config: ModelConfig, _seed: int, _kind: str) -> dict[str, Any]:
        return {"first": torch.zeros(1000), "second": lambda: None}

    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoint_for(config_of(SIMCC), tmp_path, make=make)
    assert not list(tmp_path.rglob("*.pth"))


def test_checkpoint_is_in_the_layout_of_mmengine(cache: Path) -> None:
    checkpoint = load_checkpoint(calibrated_checkpoint(model_row(SIMCC), cache))
    assert checkpoint.meta["dataset_meta"]["dataset_name"] == "coco"
    sigmas = checkpoint.meta["dataset_meta"]["sigmas"]
    assert (type(sigmas), len(sigmas)) == (list, 17)  # of numbers: read under any numpy
    assert checkpoint.meta["posedeploy"]["weights"] == "calibrated"


def test_model_is_ready_to_run(cache: Path) -> None:
    model = calibrated("rtmpose_t", cache)
    assert not model.training
    assert model.test_cfg["flip_test"] is False
    assert model.cfg["codec"]["type"] == "SimCCLabel"
    assert model.dataset_meta["num_keypoints"] == 17
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_fresh_model_takes_its_metainfo_from_the_config() -> None:
    config = config_of(SIMCC)
    model: Any = build_model(config, None)
    assert model.dataset_meta["num_keypoints"] == 17
    config.config["test_dataloader"]["dataset"]["metainfo"] = {
        "from_file": "configs/_base_/datasets/ap10k.py"
    }
    model = build_model(config, None)
    assert model.dataset_meta["dataset_name"] == "ap10k"


def test_building_leaves_the_config_alone() -> None:
    config = config_of("rtmpose_t")
    before = str(config.config.to_dict())
    build_model(config, None)
    assert str(config.config.to_dict()) == before


@pytest.mark.filterwarnings("error::UserWarning:mmpose")
def test_building_prints_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    build_model(config_of("rtmpose_t"), None)
    assert capfd.readouterr() == ("", "")


def test_checkpoint_of_mmpose_0_fits(cache: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(calibrated_checkpoint(model_row("litehrnet_18"), cache))
    old = {key.replace("head.", "keypoint_head.") if key.startswith("head.") else key: value
           for key, value in checkpoint.state_dict.items()}  # fmt: skip
    assert set(old) != set(checkpoint.state_dict)
    torch.save({"state_dict": old, "meta": {"mmpose_version": "0.29.0"}}, tmp_path / "old.pth")
    model: Any = build_model(config_of("litehrnet_18"), tmp_path / "old.pth")
    expected = checkpoint.state_dict["head.final_layer.weight"]
    assert torch.equal(model.head.final_layer.weight, expected)
    assert model.dataset_meta["dataset_name"] == "coco"


def test_checkpoint_of_another_family_is_refused(cache: Path) -> None:
    with pytest.raises(BadInputError) as error:
        build_model(config_of("rtmpose_t"), calibrated_checkpoint(model_row(SIMCC), cache))
    assert "keys missing" in error.value.found
    assert "rtmpose-t" in error.value.expected


def test_every_backbone_of_the_zoo_has_its_conditioning() -> None:
    for row in MODELS:
        config = load_model_config(config_path(row))
        assert config.config["model"]["backbone"]["type"] in CONDITIONING, row.name
        assert config.head_kind.bottom_up or config.head in FINAL_LAYERS, row.name


def test_only_blocks_with_a_shortcut_are_damped() -> None:
    model = build_model(config_of(SIMCC), None)
    assert len(list(last_norms(model))) == 10  # MobileNetV2's blocks that keep their shape
    litehrnet = build_model(config_of("litehrnet_18"), None)
    assert not list(last_norms(litehrnet))


def test_cache_is_the_folder_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("POSEDEPLOY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "posedeploy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "posedeploy"


GOOD = Admission(
    bf16_sqnr_db=25.0,
    same_argmax=0.01,
    gap=0.15,
    gap_over_noise=5000.0,
    noise=1e-5,
    detections=(20, 100),
    suppressed=5,
    box_area=(0.02, 0.2),
    at_border=0.0,
    keypoint_noise_px=0.001,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bf16_sqnr_db": 19.0}, "bf16 SQNR 19.0 dB"),
        ({"same_argmax": 0.5}, "same argmax on 50%"),
        ({"gap": 0.001}, "median gap 0.0010"),
        ({"gap_over_noise": 3.0}, "gap 3.0 x noise"),
        ({"detections": (0, 100)}, "0 to 100 detections"),
        ({"detections": (5, 900)}, "5 to 900 detections"),
        ({"suppressed": 0}, "no box is suppressed"),
        ({"box_area": (0.0, 0.2)}, "boxes of 0 to 0.2"),
        ({"at_border": 0.5}, "50% of the boxes are clipped"),
        ({"keypoint_noise_px": 0.5}, "keypoints 0.500 px"),
    ],
)
def test_each_limit_refuses(change: dict[str, Any], message: str) -> None:
    assert failures(GOOD) == ()
    (failure,) = failures(dataclasses.replace(GOOD, **change))
    assert message in failure


def test_weights_that_are_not_numbers_are_not_admitted() -> None:
    assert failures(dataclasses.replace(GOOD, bf16_sqnr_db=float("nan")))


def test_detector_that_finds_nobody_is_measured_and_not_admitted(cache: Path) -> None:
    model = calibrated("rtmo_t", cache)
    with torch.no_grad():
        for layer in model.head.head_module.out_cls:
            layer.bias.sub_(50)
    measured = measure(model, config_of("rtmo_t"), count=2)
    assert measured.detections == (0, 0)
    assert any("0 to 0 detections" in failure for failure in failures(measured))


def test_table_has_as_many_cells_in_every_row() -> None:
    top_down = dataclasses.replace(GOOD, detections=None, box_area=None)
    rows = [table_row("a", "fitted", GOOD), table_row("b", "calibrated", top_down)]
    assert [row.count("|") for row in rows] == [14, 14]


def test_command_prints_the_table(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(cache))
    assert main([SIMCC]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"| {SIMCC} |")
    assert last.endswith("| yes |")


@pytest.mark.parametrize("name", ["rtmo_t", "yoloxpose_tiny"])
def test_a_detector_of_several_classes_finds_people_of_each(name: str) -> None:
    config = config_of(name)
    head = config.config["model"]["head"]
    head["num_classes"] = head["head_module_cfg"]["num_classes"] = 2
    torch.manual_seed(0)
    model: Any = build_model(config, None)
    calibrate(model, config, seed=0)
    images = torch.cat([image_batch(config, 2, seed) for seed in (0, 1)])  # calibrate's own
    with torch.no_grad():
        cls, *others = model.head(model.extract_feat(images))
    scores = torch.cat([level.flatten(2) for level in cls], dim=2).sigmoid()
    if name == "yoloxpose_tiny":
        scores = scores * torch.cat([level.flatten(2) for level in others[0]], dim=2).sigmoid()
    best, labels = scores.max(dim=1)
    candidates = best > float(model.test_cfg["score_thr"])
    assert float(candidates.sum()) / len(images) == pytest.approx(CANDIDATES, abs=1)
    assert set(labels[candidates].tolist()) == {0, 1}
