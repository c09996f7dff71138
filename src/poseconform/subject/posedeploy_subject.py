"""`posedeploy` as the implementation under test: the default subject."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import posedeploy
from poseconform.isolation.artifacts import ArtifactCache, content_key, tree_sha256
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.subject.environment import package_versions
from poseconform.subject.mmpose_models import config_text
from poseconform.subject.protocol import Conversion
from posedeploy.apis.deploying import convert_exported
from posedeploy.apis.exporting import check_fit, export, export_spec, read_exported
from posedeploy.apis.progress import Progress, StageEvent
from posedeploy.apis.sources import is_zoo_name, published_checkpoint, resolve_checkpoint
from posedeploy.config import (
    FAMILIES,
    DeployConfigName,
    is_deploy_config_name,
    list_deploy_configs,
    load_deploy_config,
    load_model_config,
    parse_name,
)
from posedeploy.convert import built_for, conversion_availability, missing_tools
from posedeploy.errors import PoseDeployError
from posedeploy.heads import head_of_word
from posedeploy.paths import file_sha256
from posedeploy.runtime import Availability, backend_distributions, backend_row
from posedeploy.synthetic.reparametrizations import SCALE_NORM_HEADS
from posedeploy.zoo.table import TIERS, ZOO, config_path, models_of

if TYPE_CHECKING:
    from torch import nn

LOG = logging.getLogger(__name__)
# Packages whose version can change what is exported or computed.
PACKAGES = (
    "torch", "mmpose", "mmengine", "mmcv-lite", "mmcv", "mmdet", "mmpretrain", "numpy", "onnx",
    "onnxscript", "opencv-python-headless", *backend_distributions(),
)  # fmt: skip


def print_stage(event: StageEvent) -> None:
    """Write a stage to standard output: the log of the child process that converts."""
    seconds = "" if event.state == "started" else f" after {event.seconds:.1f} s"
    print(f"posedeploy: {event.stage} {event.state}{seconds}", flush=True)


@cache
def toolchain_key() -> str:
    """A hash of everything but model and configs that a conversion depends on."""
    root = Path(posedeploy.__file__).parent
    parts = {"source": tree_sha256(root), "packages": package_versions(PACKAGES)}
    return content_key("toolchain", parts)


@dataclass(frozen=True)
class PosedeploySubject:
    """`posedeploy`. See `Subject` for what each method returns.

    `resolve` gives a checkpoint for a name or config, a kind of weights and a seed, and
    `toolchain` what the keys of the cache hold of the toolchain.
    """

    resolve: Callable[[str, str, int], Path] = resolve_checkpoint
    toolchain: Callable[[], str] = toolchain_key
    progress: Progress = print_stage
    name: ClassVar[str] = "posedeploy"
    house_rules: ClassVar[bool] = True

    def tiers(self) -> tuple[str, ...]:
        """Names of the zoo's tiers."""
        return tuple(TIERS)

    def families(self) -> tuple[str, ...]:
        """The rows of the support table."""
        return tuple(sorted(set(FAMILIES.values())))

    def models(self, selection: Sequence[str]) -> tuple[Model, ...]:
        """The zoo's models of a selection of tiers and names."""
        models = []
        for row in models_of(selection):
            try:
                model = self.model_from_config(str(config_path(row)))
            except PoseDeployError as error:
                if ZOO not in selection or row.name in selection:
                    raise
                LOG.warning("%s is left out: %s", row.name, error)
                continue
            models.append(replace(model, name=row.name, tiers=(*row.tiers,)))
        return tuple(models)

    def has_model(self, name: str) -> bool:
        """True if the zoo has a model of this name, whether or not its config can be read here."""
        try:
            return bool(models_of((name,)))
        except PoseDeployError:
            return False

    def has_name(self, model: Model) -> bool:
        """True if it is in the zoo."""
        return bool(model.tiers)

    def model_from_config(self, path: str, checkpoint: str = "") -> Model:
        """A model from the user's MMPose config and checkpoint."""
        config = load_model_config(path)
        width, height = config.input_size
        return Model(
            name=Path(path).stem, family=config.family, tiers=(), head=config.head_kind.word,
            shape=(height, width), config=str(path), checkpoint=checkpoint,
            max_detections=int(config.test_cfg.get("max_per_img", 0)),
            score_thr=float(config.test_cfg.get("score_thr", 0.0)),
            bottom_up=config.head_kind.bottom_up, scale_norm=config.head in SCALE_NORM_HEADS,
        )  # fmt: skip

    def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
        """Every deploy config of the project, and those that the user names."""
        names = dict.fromkeys((*list_deploy_configs(), *map(_listed_or_path, more)))
        return tuple(_flow(name) for name in names)

    def locating_weights(self, model: Model) -> Collection[str]:
        """The kinds of weights that there are for a model and that find drawn figures."""
        return _locating(model.config)

    @property
    def flow_names(self) -> tuple[DeployConfigName, ...]:
        """The parsed names of the project's deploy configs, none of which is read."""
        return tuple(map(parse_name, list_deploy_configs()))

    def fetch_published(self, models: Sequence[Model]) -> None:
        """Download the zoo's checkpoints that are not there yet; else a `PoseDeployError`."""
        for model in models:
            if not model.checkpoint:
                published_checkpoint(_source(model))

    def conversion_availability(self, backend: str) -> Availability:
        """Whether it can convert for a backend here."""
        return conversion_availability(backend)

    def missing_tools(self, backend: str) -> tuple[str, ...]:
        """What converting for a backend needs and is not installed."""
        return missing_tools(backend)

    def builds_for_device(self, backend: str) -> bool:
        """True for backends whose engines are built for this machine's GPU."""
        return bool(built_for(backend))

    def versions(self) -> Mapping[str, str]:
        """Version of each installed package that can change what is exported or computed."""
        return package_versions(PACKAGES)

    def checkpoint_for(self, model: Model) -> str:
        """The checkpoint of the model's weights and seed, made if it is not cached."""
        return str(self.resolve(_source(model), model.weights, model.seed))

    def convert(
        self, cell: Cell, checkpoint: str, exporter: str, cache: ArtifactCache
    ) -> Conversion:
        """Export (once a representation) and convert (once a cell), through the cache."""
        deploy_config = load_deploy_config(cell.flow.deploy_config)
        model_config = load_model_config(cell.model.config)
        check_fit(deploy_config, model_config)
        sha256 = file_sha256(Path(checkpoint))

        def make_export(folder: Path) -> dict[str, object]:
            done = export(
                model_config, checkpoint, deploy_config, folder,
                model=_model(cell.model.config, checkpoint), exporter=exporter or None,
                progress=self.progress,
            )  # fmt: skip
            names = ("exporter", "opset", "ir_version", "nodes", "seconds")
            return {name: getattr(done, name) for name in names}

        parts = {
            "model_config": config_text(cell.model.config),
            "checkpoint": sha256,
            "spec": export_spec(deploy_config, exporter or None),
            "toolchain": self.toolchain(),
        }
        exported = cache.get_or_make(content_key("export", parts), make_export)

        def make_sdk(folder: Path) -> dict[str, object]:
            (folder / "sdk").mkdir()
            done = convert_exported(
                read_exported(exported.path), deploy_config, model_config, folder / "sdk",
                progress=self.progress,
            )  # fmt: skip
            return {"seconds": done.convert_seconds}

        parts = {
            "export": exported.key, "deploy_config": deploy_config.raw,
            "toolchain": self.toolchain(), "target": built_for(deploy_config.backend),
        }  # fmt: skip
        deployed = cache.get_or_make(content_key("sdk", parts), make_sdk)
        return Conversion(
            deployed.path / "sdk",
            {name.removeprefix("sdk/"): value for name, value in deployed.files.items()},
            {**exported.facts, "made": exported.made},
            {**deployed.facts, "made": deployed.made},
            sha256,
        )


def _source(model: Model) -> str:
    """Its name in the zoo, or the path of its config."""
    return model.name if is_zoo_name(model.name) else model.config


def _listed_or_path(given: str) -> str:
    """A deploy config so that a file of the user's and one of ours differ, be it by one name."""
    if Path(given).is_file():
        return given if "/" in given else f"./{given}"
    return given.removesuffix(".py") if is_deploy_config_name(given) else given


@cache  # reading all takes a second, and each int8 cell looks through them for its fp32 flow
def _flow(name: str) -> Flow:
    config = load_deploy_config(name)
    shape = (config.input_shape[1], config.input_shape[0]) if config.input_shape else None
    preferred = backend_row(config.backend).stages
    ending = config.raw["backend_config"].get("stage") or (preferred[0] if preferred else "nms")
    return Flow(
        deploy_config=name, head=config.variant, backend=config.backend,
        precision=config.precision, shape_mode=config.shape_mode, shape=shape,
        max_detections=config.nms.keep_top_k if config.nms else 0,
        inference_precision=config.inference_precision,
        host_suppression=ending != "nms" or head_of_word(config.variant).groups,
        keypoints=config.output_names if config.export_postprocess else (),
    )  # fmt: skip


@cache
def _locating(model_config: str) -> tuple[str, ...]:
    from posedeploy.synthetic.weights import locating_kinds

    return locating_kinds(load_model_config(model_config))


@lru_cache(maxsize=1)  # several deploy configs of a model are exported one after the other
def _model(model_config: str, checkpoint: str) -> nn.Module:
    from posedeploy.zoo.build import build_model  # imports torch

    return build_model(load_model_config(model_config), Path(checkpoint))
