"""PyTorch's answers, from mmpose's own code; runs in a child process that has torch loaded.

Nothing here uses the toolchain under test: inputs come from mmpose's test pipeline, outputs from
the model's own head, keypoints from its own codec, detections from its own `predict`.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.matrix.cells import Model
from poseconform.reference.codecs import decode_outputs, encoded
from poseconform.reference.detections import detection_arrays
from poseconform.reference.errors import REF_ERRORS, ref_error
from poseconform.reference.grouping import grouping_arrays
from poseconform.reference.heads import (
    BottomUp,
    Grouping,
    ReferenceHead,
    TopDown,
    reference_head,
)
from poseconform.reference.values import FILE, Sample
from poseconform.subject import mmpose_models

CHUNK = 2  # images a forward pass: float64 at 640 x 640 needs about a gigabyte for each


def write_reference(
    judged: Model, checkpoint: str, precision: str, samples: Sequence[Sample], folder: str
) -> Mapping[str, object]:
    """Write `reference.npz` of a model at a flow's precision; returns facts for the record."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    head, model = reference_head(judged.head), load_model(judged.config, checkpoint)
    of_crops = isinstance(head.kind, TopDown)
    batch = prepare(model, samples, top_down=of_crops)
    computing = time.process_time()
    if isinstance(head.kind, BottomUp):
        arrays = detection_arrays(model, batch, precision)
    else:
        arrays = _tensor_arrays(head, model, batch, precision)
    computed = time.process_time() - computing
    np.savez(Path(folder) / FILE, **arrays)  # type: ignore[arg-type]  # its stub is wrong
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds_per_image": round(computed / len(samples), 4),
        "torch": torch.__version__,
        "precision": precision,
        "samples": [sample.name for sample in samples],
    }


@functools.lru_cache(maxsize=1)
def load_model(config_path: str, checkpoint: str) -> Any:
    """The mmpose model in eval mode, float32, flip test off."""
    config = mmpose_models.read_model_config(config_path)  # makes mmpose importable
    model = _as_mmpose_builds(config)
    loaded = mmpose_models.read_checkpoint(Path(checkpoint))
    model.load_state_dict(loaded.state_dict)
    model.dataset_meta = mmpose_models.dataset_meta(config_path, loaded)
    model.test_cfg["flip_test"] = False
    return model.eval()


def _as_mmpose_builds(config: Any) -> Any:
    """The steps of mmpose 1.3.2's `init_model` on the CPU, without the names of keypoints.

    Its module, `mmpose.apis`, imports what draws.
    """
    import mmpose.datasets.transforms  # noqa: F401  fills the registry that `prepare` reads
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmpose.models import build_pose_estimator

    if "init_cfg" in config.model.backbone:
        config.model.backbone.init_cfg = None
    config.model.train_cfg = None
    if (scope := config.get("default_scope", "mmpose")) is not None:
        init_default_scope(scope)
    model = revert_sync_batchnorm(build_pose_estimator(config.model))
    model.cfg = config
    return model


def prepare(model: Any, samples: Sequence[Sample], *, top_down: bool) -> dict[str, Any]:
    """'inputs' `[S, 3, H, W]` (float32) and the list 'data_samples', by mmpose's test pipeline."""
    from mmengine.dataset import Compose, pseudo_collate

    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    data = []
    for sample in samples:
        info = {"img": sample.image, **model.dataset_meta}
        if top_down:
            info["bbox"] = np.asarray([sample.bbox], np.float32)
            info["bbox_score"] = np.ones(1, np.float32)
        data.append(pipeline(info))
    with torch.no_grad():
        batch: dict[str, Any] = model.data_preprocessor(pseudo_collate(data), False)
    return batch


def _tensor_arrays(
    head: ReferenceHead, model: Any, batch: dict[str, Any], precision: str
) -> dict[str, NDArray[Any]]:
    inputs = batch["inputs"]
    truth = final_outputs(head, copy.deepcopy(model).double(), inputs.double())
    errors, rounded = {name: np.zeros_like(array) for name, array in truth.items()}, []
    for run in REF_ERRORS[precision]:
        with run(model) as (ready, cast):
            rounded.append(final_outputs(head, ready, cast(inputs)))
        for name, array in rounded[-1].items():
            errors[name] = np.maximum(errors[name], np.abs(array - truth[name]))
    arrays: dict[str, NDArray[Any]] = {"inputs": inputs.numpy()}
    arrays |= {f"output:{name}": array for name, array in truth.items()}
    arrays |= {f"ref_error:{n}": ref_error(errors[n], a) for n, a in truth.items()}
    if isinstance(head.kind, Grouping):
        arrays |= {k: np.zeros(0) for k in ("keypoints", "scores", "argmax_gap", "shift_gap")}
        samples = batch["data_samples"]
        return arrays | grouping_arrays(head, model, samples, truth, rounded, precision)
    return arrays | _codec_arrays(head, model, batch, truth)


def _codec_arrays(
    head: ReferenceHead, model: Any, batch: dict[str, Any], truth: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Keypoints by a top-down model's own codec."""
    decoding, read = top_down(head).decoding(model.head), head.read(truth)
    keypoints, scores = decode_outputs(decoding.decoder, read)
    argmax_gap, shift_gap = top_down(head).gaps(decoding.decoder, read)
    refinement = top_down(head).refinement(decoding.decoder, read)
    arrays: dict[str, NDArray[Any]] = {
        "keypoints": keypoints, "scores": scores,
        "argmax_gap": argmax_gap, "shift_gap": shift_gap,
    }  # fmt: skip
    arrays |= {f"refinement:{name}": np.asarray(part) for name, part in vars(refinement).items()}
    outputs = tuple(torch.from_numpy(encoded(decoding.decoder, array)) for array in read.values())
    instances = decoding.decode(outputs[0] if len(outputs) == 1 else outputs)
    done = model.add_pred_to_datasample(instances, None, copy.deepcopy(batch["data_samples"]))
    if selected := model.test_cfg.get("output_keypoint_indices"):
        arrays["selected"] = np.asarray(selected)
    for i, sample in enumerate(done):
        arrays[f"image_keypoints:{i}"] = np.asarray(sample.pred_instances.keypoints, np.float64)
        arrays[f"image_scores:{i}"] = np.ones(1)
        arrays[f"image_labels:{i}"] = np.zeros(1, np.int64)
    return arrays


def final_outputs(
    head: ReferenceHead, model: Any, inputs: torch.Tensor
) -> dict[str, NDArray[np.float64]]:
    """The outputs of a head that ends with tensors in float64 arrays, by the contract's names."""
    kind = head.kind

    def outputs(features: Any) -> tuple[Any, ...]:
        if isinstance(kind, Grouping):
            return kind.maps(model, features)
        return top_down(head).final(top_down(head).forward(model.head, features))

    with torch.no_grad():
        parts = [outputs(model.extract_feat(chunk)) for chunk in torch.split(inputs, CHUNK)]
    stacked = [torch.cat(column).double().numpy() for column in zip(*parts, strict=True)]
    return dict(zip(head.outputs, stacked, strict=True))


def top_down(head: ReferenceHead) -> TopDown:
    """How a head that is given one person's crop is run; `TypeError` for others."""
    if not isinstance(head.kind, TopDown):
        raise TypeError(f"head kind {head.word!r} finds the people itself; expected top-down")
    return head.kind
