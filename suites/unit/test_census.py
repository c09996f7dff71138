"""Census of the configs that mmpose ships: which are accepted, and what the others lack.

`pytest suites/unit/test_census.py -rP` prints it. Tests that need all of mmpose's configs are
here, where they are read once: that takes ten seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from posedeploy.apis.exporting import check_fit
from posedeploy.config import DeployConfigName, ModelConfig, load_deploy_config, load_model_config
from posedeploy.config.composing import EXTRAS
from posedeploy.config.naming import SHAPE_MODES
from posedeploy.errors import BadInputError, PoseDeployError, UnavailableError
from posedeploy.runtime import BACKENDS
from posedeploy.synthetic.calibration import FINAL_LAYERS
from posedeploy.zoo.build import dataset_meta
from posedeploy.zoo.checking import check_model
from posedeploy.zoo.table import mmpose_files

# ---- modify these tables when a head is supported ------------------------------------------
# What a refusal names as the thing that is missing -> how many configs of mmpose 1.3.2 need it
REFUSED: Mapping[str, int] = {
    "mmpose/configs/_base_/default_runtime.py": 1,  # EDPose: mmpose's wheel lacks the file
}
THREE_DIMENSIONS: Mapping[str, int] = {  # no aim of this project
    "InternetHead": 1, "MotionRegressionHead": 4, "TemporalRegressionHead": 8,
}  # fmt: skip
# --------------------------------------------------------------------------------------------
CONFIGS_2D = 395


@dataclass(frozen=True)
class Read:
    """A config of mmpose's wheel and what became of it."""

    path: str  # in mmpose's folder of configs
    config: ModelConfig | None
    refusal: PoseDeployError | None = None

    @property
    def missing(self) -> str:
        """What a refusal names, as the tables have it; else the whole message."""
        found = self.refusal.found if self.refusal else ""
        files = (word for word in REFUSED if "/" in word and word in found)
        return found if found in {*REFUSED, *THREE_DIMENSIONS} else next(files, str(self.refusal))


def read(path: Path, root: Path) -> Read:
    name = path.relative_to(root).as_posix()
    try:
        return Read(name, load_model_config(path))
    except PoseDeployError as error:
        return Read(name, None, error)


@pytest.fixture(scope="module")
def census() -> list[Read]:
    """All that mmpose ships, but for what others inherit."""
    root = mmpose_files() / "configs"
    return [read(p, root) for p in sorted(root.rglob("*.py")) if "_base_" not in p.parts]


@pytest.fixture(scope="module")
def accepted(census: list[Read]) -> dict[str, ModelConfig]:
    return {one.path: one.config for one in census if one.config}


def test_what_is_accepted(census: list[Read]) -> None:
    def is_2d(one: Read) -> bool:
        return "_2d_" in one.path.split("/", maxsplit=1)[0]

    planar = [one for one in census if is_2d(one)]
    refused = Counter(one.missing for one in planar if one.refusal)
    methods = Counter("/".join(one.path.split("/")[:2]) for one in planar if one.config)
    for what, count in (*sorted(methods.items()), *sorted(refused.items())):
        print(f"{'accepted' if what in methods else 'refused':9} {count:4}  {what}")
    print(f"{sum(methods.values())} of {len(planar)} configs of 2D models are accepted")
    assert len(planar) == CONFIGS_2D
    assert refused == REFUSED
    assert Counter(o.missing for o in census if not is_2d(o)) == THREE_DIMENSIONS


def test_every_keypoint_has_a_name(accepted: dict[str, ModelConfig]) -> None:
    wrong, names_of = {}, dict[str, int]()
    for path, config in accepted.items():
        dataset = config.config["test_dataloader"]["dataset"]
        key = str([dataset.get(name) for name in ("type", "metainfo", "subset")])
        try:
            if key not in names_of:  # a tenth of them
                names_of[key] = len(dataset_meta(config)["keypoint_id2name"])
            if names_of[key] != config.keypoints:
                wrong[path] = f"{names_of[key]} names, {config.keypoints} keypoints"
        except BadInputError as error:
            wrong[path] = str(error)
    assert wrong == {}


def test_every_type_is_known_or_its_package_is_named(accepted: dict[str, ModelConfig]) -> None:
    wrong = {}
    for path, config in accepted.items():
        try:
            check_model(config)
        except UnavailableError as error:
            if "Install it: " not in error.next_step:
                wrong[path] = str(error)
        except BadInputError as error:
            wrong[path] = str(error)
    assert wrong == {}


def test_every_top_down_head_can_be_calibrated(accepted: dict[str, ModelConfig]) -> None:
    top_down = {config.head for config in accepted.values() if config.head_kind.top_down}
    assert top_down <= FINAL_LAYERS.keys()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda row: row.name)
def test_every_backend_has_a_name_for_every_shape(
    backend: object, accepted: dict[str, ModelConfig]
) -> None:
    """As simcc_onnxruntime_dynamic for all SimCC models, and openvino-int8_dynamic-384x288."""
    row = next(row for row in BACKENDS if row is backend)
    one_each = {(c.head_kind.word, c.input_size): c for c in accepted.values()}
    modes = SHAPE_MODES if row.dynamic_batch else SHAPE_MODES[:1]
    for (word, (width, height)), config in one_each.items():
        for mode in modes:
            needs_shape = mode == "dynamic" and row.name in EXTRAS and EXTRAS[row.name].needs_shape
            for shape in ((height, width), *(() if needs_shape else (None,))):
                for precision in row.precisions:
                    name = DeployConfigName(word, row.name, precision, mode, shape)
                    check_fit(load_deploy_config(str(name)), config)
