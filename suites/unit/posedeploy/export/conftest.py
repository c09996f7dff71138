"""Tiny models of every head kind, conditioned so that they detect people in noise.

Every model is built once a session from a config file of its own, as a user's would be.  The
weights are random; batch-norm statistics and output layers are fitted to noise, because with
fresh initialization nothing depends on the image and no two boxes overlap.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from posedeploy.config import DeployConfig, ModelConfig, load_deploy_config, load_model_config
from posedeploy.export import ExportableModule, exportable_module
from posedeploy.zoo.build import build_model

JOINTS = 17
NORM = {"type": "BN"}
SWISH = {"type": "Swish"}
MSE = {"type": "KeypointMSELoss", "use_target_weight": True}
KL = {"type": "KLDiscretLoss", "use_target_weight": True}
L1 = {"type": "L1Loss"}
BCE = {"type": "BCELoss", "reduction": "sum"}
OKS = {"type": "OKSLoss", "metainfo": "configs/_base_/datasets/coco.py"}
ASSIGNER = {
    "type": "SimOTAAssigner",
    "dynamic_k_indicator": "oks",
    "oks_calculator": {"type": "PoseOKS", "metainfo": "configs/_base_/datasets/coco.py"},
}
# One stage of four: the operators are the same, and an export takes as long as a graph has nodes.
RESNET = {"type": "ResNet", "depth": 18, "num_stages": 1, "strides": (8,), "dilations": (1,)}
RESNET |= {"out_indices": (0,), "stem_channels": 16, "base_channels": 64}
DARKNET = {
    "type": "CSPDarknet",
    "deepen_factor": 0.1,
    "widen_factor": 0.125,
    "out_indices": (2, 3, 4),
    "norm_cfg": NORM,
    "act_cfg": {"type": "ReLU"},  # one node instead of two; necks and heads have Swish
}


def _msra(size: tuple[int, int], cell: int) -> dict[str, Any]:
    heatmap = (size[0] // cell, size[1] // cell)
    return {"type": "MSRAHeatmap", "input_size": size, "heatmap_size": heatmap, "sigma": 2}


def _simcc(size: tuple[int, int]) -> dict[str, Any]:
    return {"type": "SimCCLabel", "input_size": size, "sigma": 6.0, "simcc_split_ratio": 2.0}


def _heatmap_model() -> dict[str, Any]:
    head: dict[str, Any] = {
        "type": "HeatmapHead",
        "in_channels": 64,
        "out_channels": JOINTS,
        "loss": MSE,
    }
    head |= {"deconv_out_channels": (16,), "deconv_kernel_sizes": (4,)}
    return {"backbone": RESNET, "head": head | {"decoder": _msra((64, 96), 16)}}


def _swin_model() -> dict[str, Any]:
    """Its last feature map is smaller than a window, so that a window's mask has empty parts."""
    backbone: dict[str, Any] = {"type": "SwinTransformer", "embed_dims": 16, "depths": (2, 2)}
    backbone |= {"num_heads": (2, 2), "patch_size": 8, "strides": (8, 2), "out_indices": (1,)}
    head = _heatmap_model()["head"] | {"in_channels": 32, "decoder": _msra((64, 96), 8)}
    return {"backbone": backbone, "head": head}


def _vit_model() -> dict[str, Any]:
    arch = {"embed_dims": 32, "num_layers": 2, "num_heads": 4, "feedforward_channels": 64}
    backbone: dict[str, Any] = {"type": "mmpretrain.VisionTransformer", "arch": arch}
    backbone |= {"img_size": (96, 64)}
    backbone |= {"patch_size": 16, "patch_cfg": {"padding": 2}, "with_cls_token": False}
    head = _heatmap_model()["head"] | {"in_channels": 32, "decoder": _msra((64, 96), 8)}
    return {"backbone": backbone | {"out_type": "featmap"}, "head": head}


def _cpm_model() -> dict[str, Any]:
    backbone: dict[str, Any] = {
        "type": "HourglassNet",
        "downsample_times": 1,
        "num_stacks": 2,
        "stage_channels": (256, 16),  # the stem has 256
        "stage_blocks": (1, 1),
        "feat_channel": 16,
    }
    head: dict[str, Any] = {
        "type": "CPMHead",
        "in_channels": 16,
        "out_channels": JOINTS,
        "num_stages": 2,
    }
    head |= {"deconv_out_channels": None, "loss": MSE, "decoder": _msra((64, 64), 4)}
    return {"backbone": backbone, "head": head}


def _mspn_model() -> dict[str, Any]:
    units: dict[str, Any] = {
        "unit_channels": 16,
        "num_stages": 2,
        "num_units": 2,
        "norm_cfg": NORM,
    }
    backbone: dict[str, Any] = {"type": "MSPN", "num_blocks": [1, 1]} | units
    head: dict[str, Any] = {
        "type": "MSPNHead",
        "out_shape": (16, 12),
        "out_channels": JOINTS,
    } | units
    head |= {"level_indices": [0, 1] * 2, "loss": [MSE] * 4, "decoder": _msra((48, 64), 4)}
    return {"backbone": backbone, "head": head}


def _litehrnet_model() -> dict[str, Any]:
    stages = {
        "num_modules": (1,),
        "num_branches": (2,),
        "num_blocks": (1,),
        "module_type": ("LITE",),
        "with_fuse": (True,),
        "reduce_ratios": (8,),
        "num_channels": ((16, 32),),
    }
    extra: dict[str, Any] = {"stem": {"stem_channels": 16, "out_channels": 16, "expand_ratio": 1}}
    extra |= {"num_stages": 1, "stages_spec": stages, "with_head": True}
    head: dict[str, Any] = {
        "type": "HeatmapHead",
        "in_channels": 16,
        "out_channels": JOINTS,
        "loss": MSE,
    }
    head |= {"deconv_out_channels": None, "decoder": _msra((48, 64), 4)}
    return {"backbone": {"type": "LiteHRNet", "in_channels": 3, "extra": extra}, "head": head}


def _simcc_model() -> dict[str, Any]:
    head: dict[str, Any] = {
        "type": "SimCCHead",
        "in_channels": 64,
        "out_channels": JOINTS,
        "loss": KL,
    }
    head |= {"input_size": (64, 96), "in_featuremap_size": (2, 3), "simcc_split_ratio": 2.0}
    head |= {"deconv_out_channels": None, "decoder": _simcc((64, 96))}
    return {"backbone": RESNET, "head": head}


def _rtmpose_model() -> dict[str, Any]:
    backbone: dict[str, Any] = {
        "type": "CSPNeXt",
        "deepen_factor": 0.167,
        "widen_factor": 0.125,
        "out_indices": (4,),
        "channel_attention": True,
        "norm_cfg": NORM,
    }
    gau: dict[str, Any] = {"hidden_dims": 32, "s": 16, "expansion_factor": 2, "dropout_rate": 0.0}
    gau |= {"drop_path": 0.0, "act_fn": "SiLU", "use_rel_bias": False, "pos_enc": False}
    head: dict[str, Any] = {
        "type": "RTMCCHead",
        "in_channels": 128,
        "out_channels": JOINTS,
        "loss": KL,
    }
    head |= {"input_size": (64, 96), "in_featuremap_size": (2, 3), "simcc_split_ratio": 2.0}
    head |= {"final_layer_kernel_size": 3, "gau_cfg": gau, "decoder": _simcc((64, 96))}
    return {"backbone": backbone, "head": head}


def _rtmw_model() -> dict[str, Any]:
    model = _rtmpose_model()
    model["backbone"] |= {"out_indices": (2, 3, 4)}
    neck: dict[str, Any] = {
        "type": "CSPNeXtPAFPN",
        "in_channels": [32, 64, 128],
        "out_channels": None,
    }
    neck |= {"num_csp_blocks": 1, "out_indices": (1, 2), "norm_cfg": NORM}
    return model | {"neck": neck, "head": model["head"] | {"type": "RTMWHead"}}


def _vipnas_model() -> dict[str, Any]:
    head = _heatmap_model()["head"] | {"type": "ViPNASHead", "deconv_num_groups": (16,)}
    return {"backbone": RESNET, "head": head}


def _visibility_model() -> dict[str, Any]:
    loss = {"type": "BCELoss", "use_sigmoid": False}  # then `predict` takes the sigmoid
    pose = _heatmap_model()["head"]
    return {"backbone": RESNET, "head": {"type": "VisPredictHead", "loss": loss, "pose_cfg": pose}}


def _regression_model(head: str) -> dict[str, Any]:
    codec = {"type": "RegressionLabel", "input_size": (64, 96)}
    fields = {"type": head, "in_channels": 64, "num_joints": JOINTS, "decoder": codec}
    return {"backbone": RESNET, "neck": {"type": "GlobalAveragePooling"}, "head": fields}


def _integral_model(head: str, **fields: Any) -> dict[str, Any]:
    sizes = {"input_size": (64, 96), "heatmap_size": (4, 6)}
    codec = {"type": "IntegralRegressionLabel", "sigma": 2.0, **sizes}
    fields = {"in_featuremap_size": (2, 3), "num_joints": JOINTS, "decoder": codec, **fields}
    return {"backbone": RESNET, "head": {"type": head, "in_channels": 64, **fields}}


def _yoloxpose_model(classes: int = 1) -> dict[str, Any]:
    neck: dict[str, Any] = {"type": "YOLOXPAFPN", "in_channels": [32, 64, 128], "out_channels": 32}
    neck |= {"num_csp_blocks": 1, "norm_cfg": NORM, "act_cfg": SWISH}
    neck |= {"upsample_cfg": {"scale_factor": 2, "mode": "nearest"}}
    module: dict[str, Any] = {
        "num_classes": classes,
        "in_channels": 256,
        "feat_channels": 256,
        "widen_factor": 0.125,
    }
    module |= {"stacked_convs": 1, "norm_cfg": NORM, "act_cfg": SWISH}
    head: dict[str, Any] = {
        "type": "YOLOXPoseHead",
        "num_classes": classes,
        "num_keypoints": JOINTS,
        "featmap_strides": (8, 16, 32),
    }
    head |= {"head_module_cfg": module, "assigner": ASSIGNER, "loss_obj": BCE}
    head |= {
        "prior_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]}
    }
    head |= {"loss_cls": BCE, "loss_bbox": L1, "loss_oks": OKS, "loss_vis": BCE}
    return {"backbone": DARKNET, "neck": neck, "head": head}


def _rtmo_model(classes: int = 1) -> dict[str, Any]:
    encoder: dict[str, Any] = {
        "self_attn_cfg": {"embed_dims": 32, "num_heads": 4, "dropout": 0.0},
        "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 64, "ffn_drop": 0.0},
    }
    projector: dict[str, Any] = {
        "type": "ChannelMapper",
        "in_channels": [32, 32],
        "kernel_size": 1,
    }
    projector |= {"out_channels": 64, "act_cfg": None, "norm_cfg": NORM, "num_outs": 2}
    neck: dict[str, Any] = {
        "type": "HybridEncoder",
        "in_channels": [32, 64, 128],
        "hidden_dim": 32,
    }
    neck |= {"deepen_factor": 0.33, "widen_factor": 0.5, "output_indices": [1, 2]}
    neck |= {"encoder_cfg": encoder, "projector": projector}
    module: dict[str, Any] = {"num_classes": classes, "in_channels": 256, "cls_feat_channels": 256}
    module |= {"widen_factor": 0.125, "channels_per_group": 36, "pose_vec_channels": 32}
    module |= {"stacked_convs": 1, "norm_cfg": NORM, "act_cfg": SWISH}
    gau: dict[str, Any] = {"s": 16, "expansion_factor": 2, "dropout_rate": 0.0, "drop_path": 0.0}
    gau |= {"act_fn": "SiLU", "pos_enc": "add"}
    dcc: dict[str, Any] = {
        "in_channels": 32,
        "feat_channels": 16,
        "num_bins": (24, 32),
        "spe_channels": 16,
    }
    head: dict[str, Any] = {
        "type": "RTMOHead",
        "num_classes": classes,
        "num_keypoints": JOINTS,
        "featmap_strides": (16, 32),
    }
    priors = {"type": "MlvlPointGenerator", "centralize_points": True, "strides": [16, 32]}
    head |= {"head_module_cfg": module, "assigner": ASSIGNER, "prior_generator": priors}
    head |= {"dcc_cfg": dcc | {"gau_cfg": gau}}
    head |= {"loss_cls": BCE, "loss_bbox": L1, "loss_oks": OKS, "loss_vis": BCE}
    return {"backbone": DARKNET, "neck": neck, "head": head}


@dataclasses.dataclass(frozen=True)
class _Row:
    size: tuple[int, int]  # W, H
    model: Callable[[], dict[str, Any]]
    variant: str = ""


# fmt: off
_ROWS = {
    "coordinates": _Row((64, 96), functools.partial(_regression_model, "RegressionHead"),
                        "regression_"),
    "cpm":       _Row((64, 64),   _cpm_model),
    "debias":    _Row((64, 96),   functools.partial(
        _integral_model, "IntegralRegressionHead", debias=True, beta=2.0,
        deconv_out_channels=None), "regression_"),
    "dsnt":      _Row((64, 96),   functools.partial(
        _integral_model, "DSNTHead", deconv_out_channels=(16,), deconv_kernel_sizes=(4,)),
        "regression_"),
    "heatmap":   _Row((64, 96),   _heatmap_model),
    "litehrnet": _Row((48, 64),   _litehrnet_model),
    "mspn":      _Row((48, 64),   _mspn_model),
    "rle":       _Row((64, 96),   functools.partial(_regression_model, "RLEHead"), "regression_"),
    "rtmo":      _Row((160, 96),  _rtmo_model, "rtmo_"),
    "rtmo/3":    _Row((160, 96),  functools.partial(_rtmo_model, 3), "rtmo_"),
    "rtmpose":   _Row((64, 96),   _rtmpose_model, "simcc_"),
    "rtmw":      _Row((64, 96),   _rtmw_model, "simcc_"),
    "simcc":     _Row((64, 96),   _simcc_model, "simcc_"),
    "swin":      _Row((64, 96),   _swin_model),
    "vit":       _Row((64, 96),   _vit_model),
    "vipnas":    _Row((64, 96),   _vipnas_model),
    "vis":       _Row((64, 96),   _visibility_model, "vis_"),
    "yoloxpose": _Row((128, 96),  _yoloxpose_model, "yolox-pose_"),
    "yoloxpose/3": _Row((128, 96), functools.partial(_yoloxpose_model, 3), "yolox-pose_"),
}
# fmt: on


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model under export; after the '/' in its name, the number of its classes."""

    name: str
    model: Any
    config: ModelConfig

    @property
    def size(self) -> tuple[int, int]:
        return self.config.input_size

    def sized_config(self, flow: str) -> DeployConfig:
        """The deploy config of a flow whose names end with the input's size."""
        width, height = self.size
        name = f"pose-detection_{_ROWS[self.name].variant}{flow}-{height}x{width}"
        return load_deploy_config(name)

    def deploy_config(self, shape_mode: str = "static", **changes: Any) -> DeployConfig:
        name = f"pose-detection_{_ROWS[self.name].variant}onnxruntime_{shape_mode}"
        return dataclasses.replace(load_deploy_config(name), **{"input_shape": None} | changes)

    def exportable(
        self,
        deploy_config: DeployConfig | None = None,
        stage: str = "",
        **test_cfg: Any,
    ) -> ExportableModule:
        config = dataclasses.replace(self.config, test_cfg={**self.config.test_cfg, **test_cfg})
        return exportable_module(self.model, config, deploy_config or self.deploy_config(), stage)

    def image(self, batch: int, seed: int = 0) -> torch.Tensor:
        """[N, 3, H, W]: blotches of noise, so that images differ in more than their grain."""
        width, height = self.size
        noise = torch.Generator().manual_seed(seed)
        coarse = torch.randn((batch, 3, 6, 6), generator=noise)
        fine = torch.randn((batch, 3, height, width), generator=noise)
        return nn.functional.interpolate(coarse, (height, width), mode="bilinear") + 0.3 * fine

    def predict(self, image: torch.Tensor, **test_cfg: Any) -> list[Any]:
        """What mmpose's own head detects: one `InstanceData` an image, numpy."""
        samples = [SimpleNamespace(metainfo={"input_size": self.size}) for _ in image]
        settings = {**self.config.test_cfg, **test_cfg}
        with torch.no_grad():
            features = self.model.extract_feat(image)
            found: list[Any] = self.model.head.predict(features, samples, settings)
        return found


def _write_config(folder: Path, name: str) -> Path:
    from mmengine.config import Config

    row = _ROWS[name]
    bottom_up = name.split("/", maxsplit=1)[0] in {"yoloxpose", "rtmo"}
    resize = "BottomupResize" if bottom_up else "TopdownAffine"
    boxes = [] if bottom_up else [{"type": "GetBBoxCenterScale"}]
    pipeline = [
        {"type": "LoadImage"}, *boxes, {"type": resize, "input_size": row.size},
        {"type": "PackPoseInputs"},
    ]  # fmt: skip
    model = {
        "type": "BottomupPoseEstimator" if bottom_up else "TopdownPoseEstimator",
        "data_preprocessor": {"type": "PoseDataPreprocessor"},
        "test_cfg": {"score_thr": 0.3, "nms_thr": 0.65} if bottom_up else {"flip_test": True},
        **row.model(),
    }
    dataset = {"type": "CocoDataset", "pipeline": pipeline}
    path = folder / f"{name.replace('/', '_')}.py"
    Config({"model": model, "test_dataloader": {"dataset": dataset}}).dump(str(path))
    return path


def _condition(model: Any, image: torch.Tensor) -> None:
    """Batch norm and output layers fitted to `image`, so that no layer is constant."""
    for name, weights in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.normal_(weights)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        # random networks amplify what differs between images; in the linear part of the
        # activations they do so less
        nn.init.ones_(norm.bias)
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        features = model.extract_feat(image)
        model.head(features)
    model.eval()
    module = getattr(model.head, "head_module", None)
    if module is None:
        return
    # (name, standard deviation, mean): logits spread over the threshold, boxes that overlap
    targets = (("cls", 1.5, 0.0), ("obj", 1.5, 1.0), ("bbox", 0.3, 1.6), ("kpt_vis", 1.0, 0.0))
    for name, std, mean in targets:
        for layer in getattr(module, f"out_{name}", ()):
            _fit(layer, std, mean, lambda: model.head(model.extract_feat(image)))
    if hasattr(model.head, "dcc"):
        vectors = 2.0 * torch.randn((256, model.head.dcc.in_channels))
        # the soft maximum over the bins is ill-conditioned where its logits are large
        for layer in (model.head.dcc.x_fc, model.head.dcc.y_fc):
            nn.init.normal_(layer.weight, std=0.03)
        model.head.dcc.pose_to_kpts.train()
        with torch.no_grad():
            model.head.dcc.pose_to_kpts(vectors)
        model.eval()


def _fit(layer: nn.Conv2d, std: float, mean: float, forward: Callable[[], object]) -> None:
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _i, output: seen.append(output))
    with torch.no_grad():
        forward()
        handle.remove()
        output = seen[0]
        gain = std / output.std(dim=(0, 2, 3)).clamp(min=1e-6)
        assert layer.bias is not None
        layer.weight.mul_(gain.reshape(-1, 1, 1, 1))
        layer.bias.copy_((layer.bias - output.mean(dim=(0, 2, 3))) * gain + mean)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Subject]:
    """The tiny model of a name, built once."""

    @functools.cache
    def make(name: str) -> Subject:
        path = _write_config(tmp_path_factory.mktemp("subject"), name)
        config = load_model_config(path)
        torch.manual_seed(0)
        made = Subject(name, build_model(config, None), config)
        _condition(made.model, made.image(48, seed=99))
        return made

    return make


@pytest.fixture(params=[name for name in _ROWS if "/" not in name])
def each_subject(request: pytest.FixtureRequest, subject: Callable[[str], Subject]) -> Subject:
    """The tiny model of every row; of detectors, those of one class."""
    return subject(str(request.param))


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., list[NDArray[np.float32]]]:
    """Runs an ONNX file in ONNX Runtime; one session a file."""
    import onnxruntime as ort

    @functools.cache
    def session(path: Path) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(path: Path, image: torch.Tensor) -> list[NDArray[np.float32]]:
        loaded = session(path)
        feed = {loaded.get_inputs()[0].name: image.numpy()}
        made: list[NDArray[np.float32]] = loaded.run(None, feed)
        return made

    return run


@pytest.fixture(scope="session")
def assert_same_people() -> Callable[..., None]:
    """Rows of one image against what mmpose found in it, matched by score and box."""

    def check(dets: NDArray[np.float32], keypoints: NDArray[np.float32], expected: Any) -> None:
        order = np.argsort(-expected.bbox_scores, kind="stable")[: len(dets)]
        found = int((dets[:, 4] > 0).sum())
        assert found == len(order), f"{found} people, mmpose finds {len(order)}"
        assert not dets[found:].any()
        assert not keypoints[found:].any()
        assert (np.diff(dets[:found, 4]) <= 0).all()
        free = list(range(found))
        for at in order:
            truth = np.append(expected.bboxes[at], expected.bbox_scores[at])
            nearest = min(free, key=lambda row: float(np.abs(dets[row, :5] - truth).max()))
            free.remove(nearest)
            np.testing.assert_allclose(dets[nearest, :5], truth, atol=5e-3)
            assert (dets[nearest, 5] if dets.shape[1] > 5 else 0) == expected.labels[at]
            # px: PyTorch itself is up to 0.03 from its float64 self with these weights
            np.testing.assert_allclose(keypoints[nearest, :, :2], expected.keypoints[at], atol=0.1)
            visible = expected.keypoint_scores[at]
            np.testing.assert_allclose(keypoints[nearest, :, 2], visible, atol=1e-3)

    return check
