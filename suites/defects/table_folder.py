"""Defects of the SDK model folder: what its JSON files say, and which files are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from poseconform.planted.defects import Defect, Site
from suites.defects.planting import (
    deploy_json,
    folder,
    of_another_checkpoint,
    onnx_model,
    params,
    step,
    task,
)

RTMPOSE, LITE = ("rtmpose_t",), ("litehrnet_18",)


def swap_mean_and_std(first: Any) -> None:
    (found,) = (s for s in first["transforms"] if s["type"] == "Normalize")
    found["mean"], found["std"] = found["std"], found["mean"]


def swap_colors(first: Any) -> None:
    (found,) = (s for s in first["transforms"] if s["type"] == "Normalize")
    found["to_rgb"] = not found["to_rgb"]


def unit_range(first: Any) -> None:
    """Mean and deviation of images in 0..1, for images in 0..255."""
    (found,) = (s for s in first["transforms"] if s["type"] == "Normalize")
    for name in ("mean", "std"):
        found[name] = [value / 255 for value in found[name]]


def remove(name: str) -> Callable[[Path], None]:
    return lambda copy: (copy / name).unlink()


def cut_short(name: str) -> Callable[[Path], None]:
    def edit(copy: Path) -> None:
        path = copy / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[: len(content) // 2])

    return edit


def empty(name: str) -> Callable[[Path], None]:
    def edit(copy: Path) -> None:
        (copy / name).unlink()
        (copy / name).touch()

    return edit


def rename_net(second: Any) -> None:
    second["name"] = "somebody"


# ---- modify this table to plant another defect in a folder -----------------------------------
# fmt: off
PIPELINE: tuple[Defect, ...] = (
    Defect("mean and std swapped", "two lists of three numbers",
           "pre-processing", "client", Site(RTMPOSE), task(0, swap_mean_and_std)),
    Defect("mean and std for images in 0..1", "torchvision's numbers",
           "pre-processing", "client", Site(("simcc_mobilenetv2",)), task(0, unit_range),
           "https://github.com/open-mmlab/mmdeploy/issues/2127"),
    Defect("RGB and BGR swapped", "to_rgb turned round",
           "pre-processing", "client", Site((*RTMPOSE, *LITE)), task(0, swap_colors),
           "https://github.com/Fannovel16/comfyui_controlnet_aux/pull/629"),
    Defect("padding 1.0 in place of 1.25", "a client's own constant",
           "pre-processing", "client", Site(RTMPOSE),
           step("TopDownGetBboxCenterScale", padding=1.0),
           "https://github.com/open-mmlab/mmpose/issues/2888"),
    Defect("image_size as (h, w)", "the order of a tensor's shape",
           "pre-processing", "pre_processing_shape", Site(LITE),
           step("TopDownAffine", image_size=[256, 192])),
    Defect("the box's aspect ratio as (h, w)", "the same in the step before",
           "pre-processing", "client", Site(LITE),
           step("TopDownGetBboxCenterScale", image_size=[256, 192])),
    Defect("a split ratio of 1.0", "simcc_split_ratio left at its default",
           "post-processing", "client", Site((*RTMPOSE, "rtmw_tiny", "simcc_mobilenetv2")),
           params(simcc_split_ratio=1.0)),
    Defect("'megvii' post-processing on MSRA heatmaps", "MSPN's settings copied to another model",
           "post-processing", "client", Site((*LITE, "vipnas_mbv3")),
           params(post_process="megvii", modulate_kernel=11)),
    Defect("'default' post-processing on Megvii heatmaps", "the other way round",
           "post-processing", "client", Site(("mspn50",)), params(post_process="default")),
    Defect("UDP warping on for a model without it", "use_udp in the wrong config",
           "pre-processing", "client", Site(LITE), step("TopDownAffine", use_udp=True),
           "https://github.com/HuangJunJie2017/UDP-Pose/issues/12"),
    Defect("UDP warping off for a model that has it", "use_udp lost on the way",
           "pre-processing", "client", Site(("litehrnet_18_udp",)),
           step("TopDownAffine", use_udp=False)),
    Defect("UDP decoding off for a model that has it", "use_udp lost in post-processing",
           "post-processing", "client", Site(("litehrnet_18_udp",)),
           params(use_udp=False, type="MSRAHeatmap")),
    Defect("a wrong modulate_kernel", "a blur for heatmaps of another sigma",
           "post-processing", "client", Site(("litehrnet_18_dark",)),
           params(modulate_kernel=17, blur_kernel_size=17),
           "https://github.com/open-mmlab/mmdeploy/issues/2316"),
)

FOLDER: tuple[Defect, ...] = (
    Defect("deploy.json lies about the precision", "a config's hope for a file's fact",
           "JSON", "deploy_json", Site(RTMPOSE), deploy_json(precision="FP16")),
    Defect("deploy.json lies about dynamic_shape", "likewise",
           "JSON", "deploy_json", Site(RTMPOSE), deploy_json(dynamic_shape=False)),
    Defect("deploy.json lies about the backend", "a folder put together by hand",
           "JSON", "deploy_json", Site(LITE), deploy_json(backend="tensorrt")),
    Defect("input_map names no input of the graph", "names from a config, not from the graph",
           "JSON", "deploy_json", Site(LITE),
           task(1, lambda net: net["input_map"].update(img="data"))),
    Defect("output_map names no output of the graph", "likewise",
           "JSON", "deploy_json", Site(RTMPOSE),
           task(1, lambda net: net["output_map"].update(simcc_x="heat_x"))),
    Defect("the net has another name than the model", "two files that nobody compares",
           "JSON", "deploy_json", Site(LITE), task(1, rename_net)),
    Defect("a path that leads out of the folder", "a folder from a stranger",
           "JSON", "deploy_json", Site(RTMPOSE), deploy_json(net="../sdk/end2end.onnx")),
    Defect("a file that is named and missing", "a copy without the large files",
           "JSON", "deploy_json", Site(RTMPOSE), deploy_json(weights="end2end.bin")),
    Defect("weights of another model under the same name", "two folders whose files were mixed",
           "files", "tensors", Site(RTMPOSE, backend="openvino", shape_mode="static"),
           of_another_checkpoint("end2end.bin", folder)),
    Defect("the graph is another file of the same model", "a file exchanged after the conversion",
           "files", "deploy_json", Site(LITE),
           onnx_model(lambda model: setattr(model, "doc_string", "again"), folder)),
    Defect("the graph is missing", "likewise",
           "files", "runs", Site(RTMPOSE), folder(remove("end2end.onnx"))),
    Defect("the graph is cut short", "a download that broke off",
           "files", "runs", Site(LITE), folder(cut_short("end2end.onnx"))),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
