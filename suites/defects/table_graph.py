"""Defects planted in graphs and weights: an exporter, a converter or a person did this once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import Defect, Site
from suites.defects import graph_edits as g
from suites.defects.planting import (
    Array,
    checkpoint,
    converted,
    folder,
    graph,
    of_another_checkpoint,
    onnx_model,
)

SMALL = ("litehrnet_18", "rtmpose_t", "simcc_mobilenetv2")
ALL = ("hourglass52", "hrnet_w32", "litehrnet_18", "mspn50", "rtmo_t", "rtmpose_t",
       "simcc_mobilenetv2", "yoloxpose_tiny")  # fmt: skip


def half(weights: Array) -> Array:
    return weights.astype(np.float16).astype(np.float32)


def half_a_channel(weights: Array) -> Array:
    """The first output channel alone in fp16."""
    changed = weights.copy()
    changed[0] = half(weights[0])
    return changed


def bfloat(weights: Array) -> Array:
    """Rounded to the eight bits of bf16's mantissa, ties to even."""
    bits = weights.astype(np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & 0xFFFF0000).astype(np.uint32).view(np.float32)


def nan_for_one_image(judge: Judge, cell: Cell, scratch: Path) -> Judge:
    """The brightest image of those that are judged is the one."""
    means = np.sort(judge.reference(cell.model, cell.flow.precision).inputs.mean(axis=(1, 2, 3)))
    return graph(g.nan_for_bright(float(means[-2:].mean())))(judge, cell, scratch)


def earlier_unit(judge: Judge, cell: Cell, scratch: Path) -> Judge:
    good = judge.checkpoint(cell.model)

    def edit(copy: Path) -> None:
        path = str(copy / "end2end.onnx")
        declared = onnx.load(path).graph.output[0]
        judge.in_torch("suites.defects.doctored:earlier_unit", cell.model.config, good, path, -2)
        model = onnx.load(path)
        model.graph.output[0].CopyFrom(declared)
        onnx.save(model, path)

    return converted(edit)(judge, cell, scratch)


def newer_opset(model: onnx.ModelProto) -> None:
    """The same graph in opset 21, by ONNX's own converter."""
    model.CopyFrom(onnx.version_converter.convert_version(model, 21))


def newer_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 10


def foreign_operator(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    node.domain = "mmdeploy"
    model.opset_import.append(onnx.helper.make_opsetid("mmdeploy", 1))


def weights_beside(copy: Path) -> None:
    path = copy / "end2end.onnx"
    model = onnx.load(path)
    path.unlink()
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=64)


MMDEPLOY = "https://github.com/open-mmlab/mmdeploy/issues"

# ---- modify this table to plant another defect in a graph or in weights ----------------------
# fmt: off
WEIGHTS: tuple[Defect, ...] = (
    Defect("one convolution's weights times 1.01", "a layer that is fused or folded wrongly",
           "weights", "tensors", Site(ALL), graph(g.weights(lambda w: w * 1.01))),
    Defect("one convolution's weights in fp16", "a file that mixes precisions and says fp32",
           "weights", "tensors", Site((*SMALL, "rtmo_t", "yoloxpose_tiny")),
           graph(g.weights(half))),
    Defect("all convolutions' weights in fp16", "a compressed model behind an fp32 name",
           "weights", "tensors", Site(("mspn50", "rtmpose_t", "yoloxpose_tiny")),
           graph(g.weights(half, every_one=True))),
    Defect("all convolutions' weights in bf16", "the same, on hardware that likes bf16",
           "weights", "tensors", Site(("simcc_mobilenetv2",)),
           graph(g.weights(bfloat, every_one=True))),
    Defect("a bias added to one convolution", "a kernel that rounds or a wrong fold of a norm",
           "weights", "tensors", Site(SMALL), graph(g.bias_on_one_conv)),
    Defect("all batch norms with ten times their epsilon", "another framework's default epsilon",
           "checkpoint", "tensors", Site(("litehrnet_18", "rtmpose_t", "yoloxpose_tiny")),
           checkpoint("other_epsilon", 10.0, 0)),
    Defect("one batch norm with twice its epsilon", "a layer that was built by another default",
           "checkpoint", "tensors", Site(("rtmpose_t",)), checkpoint("other_epsilon", 2.0, 1)),
    Defect("batch norms without their running averages", "a checkpoint saved before training",
           "checkpoint", "finite", Site(("simcc_mobilenetv2",)), checkpoint("averages_lost")),
    Defect("a checkpoint that was never loaded", "keys that do not match, and nobody complains",
           "checkpoint", "finite", Site(("rtmpose_t",)), checkpoint("never_loaded")),
    Defect("another checkpoint of the same architecture", "the wrong file on the command line",
           "checkpoint", "tensors", Site(("rtmpose_t", "rtmo_t")),
           checkpoint("other_weights", 1)),
    Defect("a stale file of another checkpoint", "a work folder that is used twice",
           "files", "tensors", Site(("litehrnet_18",)),
           of_another_checkpoint("end2end.onnx", converted)),
)

GRAPH: tuple[Defect, ...] = (
    Defect("nearest in place of bilinear upsampling", "a backend without the bilinear kind",
           "graph", "tensors", Site(("litehrnet_18", "mspn50")), graph(g.resize(mode="nearest"))),
    Defect("align_corners flipped", "another convention for the corners of an image",
           "graph", "tensors", Site(("litehrnet_18", "mspn50")),
           graph(g.resize(coordinates="half_pixel")),
           "https://github.com/NVIDIA/TensorRT/issues/273"),
    Defect("nearest upsampling shifted by half a pixel", "rounding up where PyTorch rounds down",
           "graph", "tensors", Site(("litehrnet_18", "yoloxpose_tiny", "hourglass52")),
           graph(g.resize(nearest="ceil", of="nearest")),
           "https://github.com/onnx/onnx/issues/2214"),
    Defect("bilinear in place of nearest upsampling", "one default for every upsampling",
           "graph", "tensors", Site(("litehrnet_18", "rtmo_t")),
           graph(g.resize(mode="linear", of="nearest"))),
    Defect("pooling that rounds sizes up", "ceil_mode misread by an exporter",
           "graph", "runs", Site(("mspn50",)), graph(g.every("MaxPool", ceil_mode=1)),
           "https://github.com/pytorch/pytorch/issues/71549"),
    Defect("pooling padded on one side only", "'same' padding as other frameworks have it",
           "graph", "tensors", Site(("mspn50",)),
           graph(g.every("MaxPool", first=True, pads=[0, 0, 2, 2]))),
    Defect("a hard sigmoid for a sigmoid", "an activation that a backend approximates",
           "graph", "tensors", Site(("rtmpose_t", "yoloxpose_tiny")),
           graph(g.replace_kind("Sigmoid", "HardSigmoid"))),
    Defect("softmax over the wrong axis", "an axis counted without the batch",
           "graph", "tensors", Site(("rtmo_t",)), graph(g.every("Softmax", axis=-2))),
    Defect("simcc_x and simcc_y swapped", "outputs listed in another order than computed",
           "graph", "tensors", Site(("rtmpose_t", "simcc_mobilenetv2")), graph(g.swap_outputs)),
    Defect("an output dropped", "a heatmap deploy config for a SimCC model, and the like",
           "graph", "names_and_shapes", Site(("rtmpose_t", "rtmo_t")), graph(g.drop_output),
           f"{MMDEPLOY}/2661"),
    Defect("an output renamed", "an exporter that numbers its tensors",
           "graph", "names_and_shapes", Site(("litehrnet_18",)), graph(g.rename_output)),
    Defect("heatmaps transposed", "rows and columns taken for one another",
           "graph", "tensors", Site(("litehrnet_18",)), graph(g.transpose_output)),
    Defect("heatmaps one cell to the right", "padding on the wrong side",
           "graph", "tensors", Site(("litehrnet_18", "hrnet_w32")), graph(g.shift_output)),
    Defect("left and right keypoints swapped", "another data set's order of keypoints",
           "graph", "tensors", Site(("litehrnet_18", "rtmpose_t", "yoloxpose_tiny")),
           graph(g.permute_keypoints), "https://github.com/farooqhassaan/FlyPose/issues/2"),
    Defect("a batch of which only the first image counts", "a dynamic batch that is none",
           "graph", "tensors", Site((*SMALL, "rtmo_t")), graph(g.first_sample_only),
           f"{MMDEPLOY}/2207"),
    Defect("a batch declared as 1", "an export without dynamic axes",
           "graph", "runs", Site(("rtmpose_t",)), graph(g.freeze_batch), f"{MMDEPLOY}/1814"),
    Defect("batch 1 baked into a reshape", "a traced shape that became a constant",
           "graph", "runs", Site(("simcc_mobilenetv2",)), graph(g.freeze_reshapes)),
    Defect("heatmaps of an earlier unit", "intermediate supervision taken for the result",
           "graph", "tensors", Site(("mspn50",)), earlier_unit),
    Defect("NaN for one image of those that are judged", "a root or an overflow that few reach",
           "graph", "finite", Site(("litehrnet_18", "rtmpose_t")), nan_for_one_image,
           "https://github.com/NVIDIA/TensorRT/issues/1787"),
    Defect("ScaleNorm's sum of squares overflows fp16", "activations whose squares exceed 65504",
           "graph", "tensors", Site(("rtmpose_t",)), graph(g.overflowing_norm),
           "https://github.com/open-mmlab/mmdeploy/pull/1819"),
    Defect("outputs that are constant", "a graph cut in the wrong place",
           "graph", "finite", Site(("litehrnet_18", "simcc_mobilenetv2")),
           graph(g.constant_output)),
    Defect("outputs that ignore the image", "an input that is bound to a buffer never filled",
           "graph", "finite", Site(("rtmpose_t", "rtmo_t")), graph(g.ignore_input)),
    Defect("normalized in the graph and in the pipeline", "both sides mean well",
           "graph", "tensors", Site(("rtmpose_t",)), graph(g.normalize_twice)),
    Defect("an opset too new for the named client", "an exporter's default",
           "graph", "graph", Site(("litehrnet_18",)), onnx_model(newer_opset),
           f"{MMDEPLOY}/2491"),
    Defect("an IR version too new for the named client", "an onnx package's default",
           "graph", "graph", Site(("rtmpose_t",)), onnx_model(newer_ir),
           "https://github.com/microsoft/onnxruntime/issues/20559"),
    Defect("an operator of MMDeploy's own domain", "a graph for a custom build of a runtime",
           "graph", "runs", Site(("simcc_mobilenetv2",)), onnx_model(foreign_operator),
           f"{MMDEPLOY}/2377"),
    Defect("weights in a second file", "a graph whose weights nobody copies",
           "files", "graph", Site(("simcc_mobilenetv2",)), folder(weights_beside)),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
