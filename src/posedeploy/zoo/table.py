"""The models that this project supports: one row a model.

A new model is one row here. Everything else is read from its MMPose config, which the mmpose wheel
ships under `mmpose/.mim/configs`, and from mmpose's model index.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError, UnavailableError, did_you_mean

TIERS: Mapping[str, str] = {
    "quick": "the smallest of each family",
    "default": "the size of each family that people deploy most",
    "reference": "the models in MMDeploy's regression list",
    "heads": "one of each head that the quick tier has not",
    "zoo": "every 2D model that mmpose has a config of",
}
ALL = "all"  # the models of the table below


@dataclass(frozen=True)
class ModelRow:
    """One model."""

    name: str
    family: str  # a value of `posedeploy.config.FAMILIES`; '' where only the config tells it
    config: str  # path relative to mmpose's `.mim/configs`
    tiers: tuple[str, ...]  # every model of the table also belongs to 'all' and to 'zoo'


@dataclass(frozen=True)
class Published:
    """A checkpoint in mmpose's model index, and its metrics on a data set."""

    url: str
    dataset: str
    metrics: Mapping[str, float]  # such as 'AP' -> 0.716: 0..1, in a few entries 0..100


Q, D, R, H, ZOO = TIERS  # the columns of the table below
_HEATMAP = "body_2d_keypoint/topdown_heatmap/coco/td-hm_"
_REGRESSION = "body_2d_keypoint/topdown_regression/coco/td-reg_"
_CONFIGS: Mapping[str, str] = {  # family -> prefix of its configs' paths
    "AE": "body_2d_keypoint/associative_embedding/coco/ae_",
    "CID": "body_2d_keypoint/cid/coco/cid_",
    "DEKR": "body_2d_keypoint/dekr/coco/dekr_",
    "DSNT": "body_2d_keypoint/integral_regression/coco/ipr_",
    "DeepPose": _REGRESSION,
    "HRNet": _HEATMAP,
    "Hourglass": _HEATMAP,
    "LiteHRNet": _HEATMAP,
    "MSPN": _HEATMAP,
    "RLE": _REGRESSION,
    "RTMO": "body_2d_keypoint/rtmo/body7/",
    "RTMPose": "body_2d_keypoint/rtmpose/coco/",
    "RTMW": "wholebody_2d_keypoint/rtmpose/cocktail14/",
    "SimCC": "body_2d_keypoint/simcc/coco/simcc_",
    "ViPNAS": _HEATMAP,
    "VisPredict": "body_2d_keypoint/topdown_heatmap/coco/td-hm-vis_",
    "YOLOX-Pose": "body_2d_keypoint/yoloxpose/coco/",
}


def _row(name: str, family: str, config: str, *tiers: str) -> ModelRow:
    return ModelRow(name, family, f"{_CONFIGS[family]}{config}.py", tiers)


# fmt: off
MODELS: tuple[ModelRow, ...] = (
    _row("4xmspn50",          "MSPN", "4xmspn50_8xb32-210e_coco-256x192", R),
    _row("ae_hrnet_w32",      "AE", "hrnet-w32_8xb24-300e_coco-512x512", H),
    _row("cid_hrnet_w32",     "CID", "hrnet-w32_8xb20-140e_coco-512x512", H),
    _row("dekr_hrnet_w32",    "DEKR", "hrnet-w32_8xb10-140e_coco-512x512", H),
    _row("dsnt_res50",        "DSNT", "res50_dsnt-8xb64-210e_coco-256x256", H),
    _row("hourglass52",       "Hourglass", "hourglass52_8xb32-210e_coco-256x256", Q, D, R),
    _row("hrnet_w32",         "HRNet", "hrnet-w32_8xb64-210e_coco-256x192", Q, D),
    _row("hrnet_w48",         "HRNet", "hrnet-w48_8xb32-210e_coco-256x192", R),
    _row("litehrnet_18",      "LiteHRNet", "litehrnet-18_8xb64-210e_coco-256x192", Q, D),
    _row("litehrnet_30",      "LiteHRNet", "litehrnet-30_8xb64-210e_coco-256x192", R),
    _row("mspn50",            "MSPN", "mspn50_8xb32-210e_coco-256x192", Q, D),
    _row("reg_res50",         "DeepPose", "res50_8xb64-210e_coco-256x192", H),
    _row("rle_res50",         "RLE", "res50_rle-8xb64-210e_coco-256x192", H),
    _row("rtmo_s",            "RTMO", "rtmo-s_8xb32-600e_body7-640x640", D, R),
    _row("rtmo_t",            "RTMO", "rtmo-t_8xb32-600e_body7-416x416", Q),
    _row("rtmpose_m",         "RTMPose", "rtmpose-m_8xb256-420e_coco-256x192", R),
    _row("rtmpose_s",         "RTMPose", "rtmpose-s_8xb256-420e_coco-256x192", D),
    _row("rtmpose_t",         "RTMPose", "rtmpose-t_8xb256-420e_coco-256x192", Q),
    _row("rtmw_m",            "RTMW", "rtmw-m_8xb1024-270e_cocktail14-256x192", H),
    _row("simcc_mobilenetv2", "SimCC", "mobilenetv2_wo-deconv-8xb64-210e_coco-256x192", Q, D, R),
    _row("simcc_res50",       "SimCC", "res50_8xb64-210e_coco-256x192"),
    _row("vipnas_mbv3",       "ViPNAS", "vipnas-mbv3_8xb64-210e_coco-256x192", H),
    _row("vis_res50",         "VisPredict", "res50_8xb64-210e_coco-aic-256x192-merge", H),
    _row("yoloxpose_s",       "YOLOX-Pose", "yoloxpose_s_8xb32-300e_coco-640", D, R),
    _row("yoloxpose_tiny",    "YOLOX-Pose", "yoloxpose_tiny_4xb64-300e_coco-416", Q),
)
# fmt: on


def model_row(name: str) -> ModelRow:
    """The row of a name; BadInputError if no model has it."""
    for row in MODELS:
        if row.name == name:
            return row
    raise _unknown(name, [])


def models_of(selection: Sequence[str]) -> tuple[ModelRow, ...]:
    """The rows of tiers, model names and 'all'; BadInputError for other words.

    Those of the table come first, in its order; then those of other configs in mmpose's wheel,
    which are named like their files, without '.py'.
    """
    wanted, tabled = set(selection), {row.name for row in MODELS}
    others = wanted - tabled - TIERS.keys() - {ALL}
    shipped = shipped_models() if others or ZOO in wanted else ()
    for word in sorted(others - {row.name for row in shipped}):
        raise _unknown(word, [ALL, *TIERS])
    return (
        *(row for row in MODELS if {ALL, ZOO, row.name, *row.tiers} & wanted),
        *(row for row in shipped if {ZOO, row.name} & wanted),
    )


@functools.cache
def shipped_models() -> tuple[ModelRow, ...]:
    """The 2D models that mmpose has a config of and that are not in the table, by their paths."""
    root, tabled = mmpose_files() / "configs", {row.config for row in MODELS}
    paths = sorted(path.relative_to(root) for path in root.glob("*_2d_keypoint/**/*.py"))
    return tuple(
        ModelRow(path.stem, "", path.as_posix(), (ZOO,))
        for path in paths
        if path.as_posix() not in tabled and "_base_" not in path.parts
    )


def config_path(row: ModelRow) -> Path:
    """The MMPose config file of a model, without importing mmpose.

    UnavailableError if mmpose is not installed, BadInputError if it has no such config.
    """
    path = mmpose_files() / "configs" / row.config
    if not path.is_file():
        raise BadInputError(
            f"model {row.name}", f"no file {path}", "mmpose 1.3's configs",
            "Run: posedeploy setup --replace",
        )  # fmt: skip
    return path


def shipped_config(name: str) -> Path | None:
    """The config in mmpose's wheel with this file name, or with this path in its repository.

    File names without a folder are unique; a path counts from its last 'configs/'.
    """
    folder, _, last = name.rpartition("/")
    if not last.endswith(".py"):
        return None
    root = mmpose_files() / "configs"
    if not folder:
        return next(root.rglob(glob.escape(last)), None)
    _, named, inside = f"/{name}".rpartition("/configs/")
    path = root / inside
    return path if named and ".." not in Path(inside).parts and path.is_file() else None


def shipped_names() -> list[str]:
    """File names of the configs in mmpose's wheel, but for those that others inherit."""
    root = mmpose_files() / "configs"
    return sorted(p.name for p in root.rglob("*.py") if "_base_" not in p.parts)


@functools.cache
def mmpose_files() -> Path:
    """The `.mim` folder of the installed mmpose: its configs and its model index."""
    spec = importlib.util.find_spec("mmpose")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "mmpose", "no such package in this environment",
            "mmpose 1.3, whose wheel brings the model configs",
            "Run: posedeploy setup",
        )  # fmt: skip
    return Path(spec.origin).parent / ".mim"


def published(row: ModelRow) -> Published | None:
    """A model's entry in mmpose's model index; None if the index lists no checkpoint for it."""
    for model in _index_entries(row):
        if model.get("Config") == f"configs/{row.config}" and "Weights" in model:
            result = (model.get("Results") or [{}])[0]
            metrics = {str(k): float(v) for k, v in (result.get("Metrics") or {}).items()}
            url = str(model["Weights"]).strip("()")  # mmpose 1.3.2 has '(https://…' for ViPNAS
            return Published(url, str(result.get("Dataset", "")), metrics)
    return None


def _index_entries(row: ModelRow) -> Iterator[Mapping[str, Any]]:
    folder = str(Path("configs") / Path(row.config).parent)
    for entry in _read_index("model-index.yml")["Import"]:
        if str(Path(entry).parent) == folder:
            yield from _read_index(entry)["Models"]


@functools.cache
def _read_index(name: str) -> Any:
    """A file of mmpose's model index, which is read once: each takes some 20 ms."""
    import yaml

    return yaml.safe_load((mmpose_files() / name).read_text(encoding="utf-8"))


def _unknown(word: str, also: Sequence[str]) -> BadInputError:
    return BadInputError(
        f"model {word!r}",
        "no such model" if not also else "neither a tier nor a model",
        "one of: " + ", ".join([*also, *(row.name for row in MODELS)]),
        did_you_mean(
            word, [row.name for row in MODELS],
            "`posedeploy zoo list` shows them; your own config goes to `convert` by its path, and "
            "to the judge with --model-config.",
        ),
    )  # fmt: skip
