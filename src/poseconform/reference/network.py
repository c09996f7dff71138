"""PyTorch's answers, from mmpose's own code; runs in a child process that has torch loaded.

Nothing here uses the toolchain under test: inputs come from mmpose's test pipeline, outputs from
the model's own head, keypoints from its own codec, detections from its own `predict`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.reference.codecs import decision_gaps, decode_outputs
from poseconform.reference.detections import detection_arrays
from poseconform.reference.half_precision import HalfSumsInFloat32
from poseconform.reference.values import FILE, Sample
from poseconform.subject import mmpose_models

Forward = Callable[[], Any]
CHUNK = 2  # images a forward pass: float64 at 640 x 640 needs about a gigabyte for each


def write_reference(
    config_path: str, checkpoint: str, precision: str, samples: Sequence[Sample], folder: str
) -> Mapping[str, object]:
    """Compute the reference of one model and write it into `folder`.

    Args:
        config_path: MMPose model config.
        checkpoint: Its checkpoint.
        precision: Precision of the flow, which decides the ref_error.
        samples: Images and boxes.
        folder: Where `reference.npz` goes.

    Returns:
        Facts for the record: seconds, torch and mmpose versions.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    model = load_model(config_path, checkpoint)
    batch = prepare(model, samples)
    if hasattr(model.head, "head_module"):
        arrays = detection_arrays(model, batch, precision)
    else:
        arrays = _tensor_arrays(model, batch, precision)
    np.savez(Path(folder) / FILE, **arrays)  # type: ignore[arg-type]  # its stub is wrong
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "torch": torch.__version__,
        "precision": precision,
        "samples": [sample.name for sample in samples],
    }


@functools.lru_cache(maxsize=1)
def load_model(config_path: str, checkpoint: str) -> Any:
    """The mmpose model in eval mode, float32, flip test off."""
    config = mmpose_models.read_model_config(config_path)  # makes mmpose importable
    from mmpose.apis import init_model

    model = init_model(config, None, device="cpu")
    model.load_state_dict(mmpose_models.read_state_dict(Path(checkpoint)))
    model.test_cfg["flip_test"] = False
    return model.eval()


def prepare(model: Any, samples: Sequence[Sample]) -> dict[str, Any]:
    """Network inputs and data samples, by mmpose's own test pipeline.

    Returns:
        'inputs' `[S, 3, H, W]` float32 tensor, 'data_samples' a list.
    """
    from mmengine.dataset import Compose, pseudo_collate

    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    data = [pipeline(_as_mmpose(model, sample)) for sample in samples]
    with torch.no_grad():
        batch: dict[str, Any] = model.data_preprocessor(pseudo_collate(data), False)
    return batch


def _as_mmpose(model: Any, sample: Sample) -> dict[str, Any]:
    info = {"img": sample.image, **model.dataset_meta}
    if not hasattr(model.head, "head_module"):
        info["bbox"] = np.asarray([sample.bbox], np.float32)
        info["bbox_score"] = np.ones(1, np.float32)
    return info


def _tensor_arrays(model: Any, batch: dict[str, Any], precision: str) -> dict[str, NDArray[Any]]:
    inputs = batch["inputs"]
    truth = final_outputs(copy.deepcopy(model).double(), inputs.double())
    errors = {name: np.zeros_like(array) for name, array in truth.items()}
    for run in reference_runs(precision):
        with run(model) as (ready, cast):
            for name, array in final_outputs(ready, cast(inputs)).items():
                errors[name] = np.maximum(errors[name], np.abs(array - truth[name]))
    keypoints, _ = decode_outputs(model.head.decoder, truth)
    argmax_gap, shift_gap = decision_gaps(model.head.decoder, truth)
    arrays = {f"output:{name}": array for name, array in truth.items()}
    arrays |= {f"ref_error:{n}": ref_error(errors[n], a) for n, a in truth.items()}
    arrays |= {"keypoints": keypoints, "argmax_gap": argmax_gap, "shift_gap": shift_gap}
    arrays |= _image_keypoints(model, batch, truth)
    return arrays | {"inputs": inputs.numpy()}


def _image_keypoints(
    model: Any, batch: dict[str, Any], truth: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    outputs = tuple(torch.from_numpy(array) for array in truth.values())
    instances = model.head.decode(outputs[0] if len(outputs) == 1 else outputs)
    done = model.add_pred_to_datasample(instances, None, copy.deepcopy(batch["data_samples"]))
    arrays = {}
    for i, sample in enumerate(done):
        arrays[f"image_keypoints:{i}"] = np.asarray(sample.pred_instances.keypoints, np.float64)
        arrays[f"image_scores:{i}"] = np.ones(1)
    return arrays


def final_outputs(model: Any, inputs: torch.Tensor) -> dict[str, NDArray[np.float64]]:
    """The head's outputs in float64 arrays, by DESIGN's names; MSPN's last stage of many."""
    parts = []
    with torch.no_grad():
        for chunk in torch.split(inputs, CHUNK):
            out = model.head.forward(model.extract_feat(chunk))
            parts.append(_final(out))
    names = ("simcc_x", "simcc_y") if len(parts[0]) == 2 else ("output",)
    stacked = [torch.cat(column).double().numpy() for column in zip(*parts, strict=True)]
    return dict(zip(names, stacked, strict=True))


def _final(out: Any) -> tuple[torch.Tensor, ...]:
    if isinstance(out, list):  # one heatmap a stage: the last is the result
        return (out[-1],)
    return out if isinstance(out, tuple) else (out,)


Run = Callable[[Any], "contextlib.AbstractContextManager[tuple[Any, Callable[[Any], Any]]]"]


def reference_runs(precision: str) -> tuple[Run, ...]:
    """Honest runs of the model at a precision; their envelope is the ref_error.

    One float32 run is a noisy ref_error (channels_last alone is 2.4 times the default on
    hourglass52), so three are taken.
    """
    return REF_ERRORS[precision]


@contextlib.contextmanager
def _plain(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    yield model, lambda x: x


@contextlib.contextmanager
def _without_mkldnn(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    with torch.backends.mkldnn.flags(enabled=False):
        yield model, lambda x: x


@contextlib.contextmanager
def _channels_last(model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    layout: Any = torch.channels_last
    yield copy.deepcopy(model).to(memory_format=layout), lambda x: x.to(memory_format=layout)


@contextlib.contextmanager
def _autocast(dtype: torch.dtype, model: Any) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
    with HalfSumsInFloat32(), torch.autocast("cpu", dtype):
        yield model, lambda x: x


# Precision of a flow -> honest runs.  Autocast, not `.half()`: a batch norm's running variance can
# exceed what float16 holds.  int8 has none of its own: its error is told against float32's.
_FLOAT32 = (_plain, _without_mkldnn, _channels_last)
REF_ERRORS: Mapping[str, tuple[Run, ...]] = {
    "bf16": (functools.partial(_autocast, torch.bfloat16),),
    "fp16": (functools.partial(_autocast, torch.float16),),
    "fp32": _FLOAT32,
    "int8": _FLOAT32,
}


def ref_error(errors: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """The four numbers of `reference.RefError`."""
    if truth.size == 0:
        return np.zeros(4)
    rms = np.sqrt(np.square(errors).mean()), np.sqrt(np.square(truth).mean())
    return np.asarray([errors.max(), rms[0], np.abs(truth).max(), rms[1]])
