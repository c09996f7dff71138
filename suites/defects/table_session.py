"""Defects of a session: options, files of other backends, and what comes back from a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from poseconform.judge.runs import Execution
from poseconform.planted.defects import Defect, Site
from suites.defects.planting import both, checkpoint, folder, options, outputs, task
from suites.defects.table_folder import cut_short, empty, remove


def says_fp32(ran: Execution) -> Execution:
    """A runtime that cannot tell what it computes in, or does not say the truth."""
    said = {**ran.loaded.effective_options, "inference_precision": "fp32"}
    return replace(ran, loaded=replace(ran.loaded, effective_options=said))


def one_run_late(ran: Execution) -> Execution:
    """Each image gets what the image before it gave."""
    late = [ran.batches[0], *ran.batches[:-1]]
    pairs = zip(ran.batches, late, strict=True)
    return replace(ran, batches=tuple(replace(b, outputs=a.outputs) for b, a in pairs))


def swap_positions(net: Any) -> None:
    net["output_map"] = {"simcc_x": "#1", "simcc_y": "#0"}


def on(backend: str, *models: str, computing: str = "") -> Site:
    return Site(models, backend=backend, shape_mode="static", inference_precision=computing)


# ---- modify this table to plant another defect in a session ----------------------------------
# fmt: off
SESSION: tuple[Defect, ...] = (
    Defect("OpenVINO in bf16 where fp32 is claimed", "its default on CPUs that can do bf16",
           "runtime option", "precision", on("openvino", "rtmpose_t", computing="bf16"),
           options(precision="bf16"),
           "https://github.com/openvinotoolkit/openvino/issues/27795"),
    Defect("OpenVINO in bf16, and it says fp32", "the same, unnoticed",
           "runtime option", "tensors",
           on("openvino", "rtmpose_t", "yoloxpose_tiny", computing="bf16"),
           both(options(precision="bf16"), outputs(says_fp32)),
           "https://github.com/intel/ipex-llm/issues/6473"),
    Defect("OpenVINO in fp16, and it says fp32", "an option taken for another",
           "runtime option", "tensors", on("openvino", "litehrnet_18", computing="f16"),
           both(options(extra={"inference_precision": "f16"}), outputs(says_fp32))),
    Defect("ncnn with fp16 storage where fp32 is claimed", "its default",
           "runtime option", "precision", on("ncnn", "rtmpose_t"), options(precision="fp16"),
           "https://github.com/Tencent/ncnn/issues/2885"),
    Defect("ncnn with fp16 storage, and it says fp32", "the same, unnoticed",
           "runtime option", "tensors", on("ncnn", "rtmpose_t", "litehrnet_18"),
           both(options(precision="fp16"), outputs(says_fp32)),
           "https://github.com/Tencent/ncnn/issues/2703"),
    Defect("ncnn with bf16 storage, and it says fp32", "an option taken for another",
           "runtime option", "tensors", on("ncnn", "simcc_mobilenetv2", computing="bf16"),
           both(options(precision="bf16"), outputs(says_fp32))),
    Defect("MNN with Winograd convolutions", "its default",
           "runtime option", "tensors", on("mnn", "rtmpose_t", "yoloxpose_tiny"),
           options(extra={"winograd": "on"})),
    Defect("each image gets the one before", "results that are views of a buffer",
           "outputs", "tensors",
           Site(("rtmpose_t", "yoloxpose_tiny"), shape_mode="static"), outputs(one_run_late)),
    Defect("OpenVINO's weights are missing", "one file of two was copied",
           "files", "runs", on("openvino", "rtmpose_t"), folder(remove("end2end.bin"))),
    Defect("ncnn's weights are cut short", "a download that broke off",
           "files", "runs", on("ncnn", "rtmpose_t"), folder(cut_short("end2end.bin"))),
    Defect("MNN's file is cut short", "a download that broke off",
           "files", "runs", on("mnn", "rtmpose_t"), folder(cut_short("end2end.mnn"))),
    Defect("MNN's file is empty", "its converter returns success and writes nothing",
           "files", "runs", on("mnn", "rtmpose_t"), folder(empty("end2end.mnn"))),
    Defect("OpenVINO's file of another checkpoint", "the wrong file on the command line",
           "checkpoint", "tensors", on("openvino", "simcc_mobilenetv2"),
           checkpoint("other_weights", 1)),
    Defect("outputs swapped by position", "TorchScript knows its outputs by position only",
           "JSON", "client", on("torchscript", "rtmpose_t"), task(1, swap_positions)),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
