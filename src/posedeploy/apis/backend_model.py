"""An mmpose estimator whose network is a backend's.

mmpose's own code does everything around the network: normalization, decoding, mapping to the
image, the structure of the result.  So only what the backend computes can differ from PyTorch.
Where the graph holds the decoding too (detectors, `export_postprocess`), its people or keypoints
replace what the head would find.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict

from posedeploy.compat import install, without_missing_scopes
from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import Runtime, Session, SessionOptions, backend_row, get_runtime
from posedeploy.sdk.binding import resolve
from posedeploy.sdk.decode import Decoder, compile_decoder
from posedeploy.sdk.fields import Node
from posedeploy.sdk.folder import DEPLOY, PIPELINE, read_folder
from posedeploy.sdk.writer import postprocess

Outputs = dict[str, torch.Tensor]


def build_backend_model(
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    files: Sequence[Path],
    device: str,
    runtime: Runtime | None = None,
) -> torch.nn.Module:
    """As `PoseDetection.build_backend_model`; `runtime` None takes the backend's own."""
    session = _load(deploy_config, files, device, runtime or get_runtime(deploy_config.backend))
    model = _estimator(model_config)
    if model_config.head_kind.bottom_up:
        decoder = _decoder(model_config, session, files[0].parent)
        names = decoder.outputs
        model.head.predict = functools.partial(_predict, decoder)
    elif deploy_config.export_postprocess:
        names = deploy_config.output_names
        model.head.predict = functools.partial(_decoded, names)
    else:
        names = deploy_config.output_names
        _replace_forward(model.head, model_config)
    network = BackendNetwork(session, names, backend_row(deploy_config.backend).by_position)
    model.backbone, model.extract_feat, model.session = network, network, session
    estimator: torch.nn.Module = model.eval()
    return estimator


def _replace_forward(head: Any, model_config: ModelConfig) -> None:
    """Make what the head's `predict` calls return the outputs."""
    if model_config.head_kind.kind != "visibility":
        head.forward = functools.partial(_forward, model_config)
        return
    heatmaps, visibility = model_config.head_kind.output_names
    head.pose_head.forward = operator.itemgetter(heatmaps)
    head.vis_forward, head.use_sigmoid = (
        operator.itemgetter(visibility),
        True,
    )  # it is in the graph


def _forward(model_config: ModelConfig, outputs: Outputs) -> Any:
    """`forward` of a head of mmpose: a tensor, a tuple, or the last network stage in a list."""
    head = model_config.head_kind
    tensors = tuple(outputs[name] for name in head.output_names)
    if model_config.head in head.multi_stage:
        return list(tensors)
    if model_config.head in head.with_heatmaps:  # which the graph does not output
        return tensors[0], tensors[0].new_zeros((*tensors[0].shape[:2], 0, 0))
    return tensors if len(tensors) > 1 else tensors[0]


class BackendNetwork(torch.nn.Module):
    """The backend's session as a module: a batch in, the outputs `names` of the contract back.

    `by_position` is for graphs whose outputs have no names: they are in the order of `names`.

    Raises:
        BadInputError: The graph has other outputs.
    """

    def __init__(self, session: Session, names: Sequence[str], by_position: bool) -> None:
        super().__init__()
        self._session = session
        graph = [info.name for info in session.outputs]
        mapping = {name: f"#{i}" for i, name in enumerate(names)} if by_position else {}
        resolved = {name: resolve(name, mapping, graph) for name in names}
        if None in resolved.values() or len(graph) != len(names):
            raise BadInputError(
                "backend files", f"a graph with the outputs {', '.join(graph)}",
                f"one with {', '.join(names)}, as the deploy config says",
                "Pass the deploy config that the files were made with.",
            )  # fmt: skip
        self._names = resolved

    def forward(self, inputs: torch.Tensor) -> Outputs:
        """`[N, 3, H, W]` float32 to outputs, image by image where the batch is static."""
        info, batch = self._session.inputs[0], inputs.detach().cpu().numpy()
        size = info.shape[0] if info.shape and isinstance(info.shape[0], int) else len(batch)
        count = len(batch)  # a static batch is filled up, and the surplus rows are dropped
        batch = np.pad(batch, [(0, -count % size), (0, 0), (0, 0), (0, 0)])
        runs = [
            self._session.run({info.name: np.ascontiguousarray(batch[start : start + size])})
            for start in range(0, count, size)
        ]
        return {
            name: torch.from_numpy(np.concatenate([run[str(output)] for run in runs])[:count])
            for name, output in self._names.items()
        }


def _load(
    deploy_config: DeployConfig, files: Sequence[Path], device: str, runtime: Runtime
) -> Session:
    if missing := [file for file in files if not file.is_file()]:
        raise BadInputError(
            f"backend file {missing[0]}", "no such file", "what `posedeploy convert` wrote",
            "Check the path.",
        )  # fmt: skip
    name = deploy_config.backend
    available = runtime.probe()
    if not available.ok:
        raise UnavailableError(
            f"backend {name}", f"{available.code}: {available.reason}", "a backend that runs here",
            "`posedeploy backends` says how to install it.",
        )  # fmt: skip
    try:
        return runtime.load(files, device, SessionOptions(deploy_config.precision, threads=0))
    except RuntimeError as error:
        raise BadInputError(
            str(files[0]), str(error), f"files that {name} can load", "Convert the model again."
        ) from error


def _estimator(model_config: ModelConfig) -> Any:
    """The estimator with an empty backbone: the backend has the network."""
    from posedeploy.zoo.build import dataset_meta

    install()
    import mmpose.models  # noqa: F401  fills the registry
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope("mmpose")
    config = without_missing_scopes(model_config.config["model"])
    config = ConfigDict({**config, "backbone": {"type": torch.nn.Identity}})
    config.pop("neck", None)
    config.update(train_cfg=None, test_cfg=ConfigDict(model_config.test_cfg), init_cfg=None)
    model = MODELS.build(config)
    vars(model).update(cfg=model_config.config, dataset_meta=dataset_meta(model_config))
    return model


def _decoder(model_config: ModelConfig, session: Session, folder: Path) -> Decoder:
    """The decoder of a detector's outputs: from the folder, or else from the model config."""
    size = model_config.input_size
    if (folder / DEPLOY).is_file():
        sdk = read_folder(folder)
        return compile_decoder(sdk.component, sdk.params, size, folder)
    if len(session.outputs) != len(model_config.head_kind.outputs):
        raise BadInputError(
            f"folder {folder}",
            f"a graph without suppression, and no {PIPELINE} that says how to go on",
            "an SDK model folder", "Pass files in the folder that `posedeploy convert` wrote.",
        )  # fmt: skip
    component, params = postprocess(model_config)
    return compile_decoder(component, Node(params, "model config"), size, folder)


def _decoded(
    names: Sequence[str], outputs: Outputs, samples: Sequence[Any], **_: object
) -> list[Any]:
    """`predict` of a top-down head, of keypoints [N, K, 2] (input px) and scores [N, K]."""
    from mmengine.structures import InstanceData

    points, scores = (outputs[name].numpy() for name in names)
    return [
        InstanceData(keypoints=points[i : i + 1], keypoint_scores=scores[i : i + 1])
        for i in range(len(samples))
    ]


def _predict(decoder: Decoder, outputs: Outputs, samples: Sequence[Any], **_: object) -> list[Any]:
    """`predict` of a detector's head, in the fields that mmpose's own heads give."""
    from mmengine.structures import InstanceData

    decoded = decoder.decode({name: value.numpy() for name, value in outputs.items()})
    if decoded.boxes is None or decoded.box_scores is None:
        raise TypeError("a detector's decoder gives boxes")
    instances = []
    for image in range(len(samples)):
        rows = decoded.image == image
        scores, visible = decoded.box_scores[rows], decoded.point_scores[rows]
        none = np.zeros(len(scores), np.int64)
        labels = none if decoded.labels is None else decoded.labels[rows]
        instances.append(
            InstanceData(
                scores=scores, labels=labels,
                bboxes=decoded.boxes[rows], bbox_scores=scores, keypoints=decoded.points[rows],
                keypoint_scores=visible, keypoints_visible=visible,
            )
        )  # fmt: skip
    return instances
