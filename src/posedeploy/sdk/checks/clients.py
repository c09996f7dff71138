"""What a named client can and cannot do with a folder.

The limits of mmdeploy-runtime 1.3.1 were measured with the wheel from PyPI (it bundles ONNX
Runtime 1.15.1): it crashes on most of what it cannot do, or silently does something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from posedeploy.errors import BadInputError
from posedeploy.sdk.checks import Finding, error, warning
from posedeploy.sdk.checks.detail import step
from posedeploy.sdk.fields import show
from posedeploy.sdk.folder import PIPELINE, SdkModel
from posedeploy.sdk.onnxfile import OnnxFacts


@dataclass(frozen=True)
class Client:
    """A program that reads SDK model folders."""

    name: str
    max_opset: int  # newest operator set that it loads, whatever is in the graph
    doubtful_opset: int  # newest that it loads if no operator in the graph is new in it
    max_ir: int  # newest IR version that it loads
    transforms: tuple[str, ...]
    components: tuple[str, ...]


_RUNTIME = Client(
    name="mmdeploy-runtime-1.3.1", max_opset=18, doubtful_opset=19, max_ir=9,
    transforms=(
        "Collect", "ImageToTensor", "LoadImageFromFile", "Normalize", "TopDownAffine",
        "TopDownGetBboxCenterScale",
    ),
    components=(
        "DeepposeRegressionHeadDecode",
        "SimCCLabelDecode", "TopdownHeatmapBaseHeadDecode", "TopdownHeatmapMSMUHeadDecode",
        "TopdownHeatmapMultiStageHeadDecode", "TopdownHeatmapSimpleHeadDecode",
        "ViPNASHeatmapSimpleHeadDecode",
    ),
)  # fmt: skip
CLIENTS = {_RUNTIME.name: _RUNTIME}


def client_named(name: str) -> Client:
    """The client of this name; a BadInputError lists the names where there is none."""
    if name not in CLIENTS:
        expected = f"one of {', '.join(CLIENTS)}"
        raise BadInputError("client", repr(name), expected, "Pass one of these names.")
    return CLIENTS[name]


Params = dict[str, object]


def _other_dark(params: Params) -> bool:
    kernel = params.get("blur_kernel_size", 11)
    return bool(params.get("unbiased")) and params.get("modulate_kernel", 11) != kernel


# What the client reads without effect, or decodes in another way than the codec asks for.
# (parameter, true if it goes wrong, what the client does)
IGNORED: tuple[tuple[str, Callable[[Params], bool], str], ...] = (
    ("blur_kernel_size", _other_dark, "it blurs with modulate_kernel, 11 by default"),
    ("heatmap_type", lambda p: p.get("heatmap_type") == "combined"
     and p.get("target_type") != "CombinedTarget", "it decodes the maps as Gaussians"),
    ("output_keypoint_indices", lambda p: p.get("output_keypoint_indices") is not None,
     "it outputs all keypoints of the graph"),
    ("post_process", lambda p: p.get("type") == "MegviiHeatmap"
     and p.get("post_process") != "megvii", "it decodes as for MSRAHeatmap"),
    ("unbiased", lambda p: bool(p.get("unbiased")) and p.get("post_process") != "unbiased",
     "it decodes without DARK"),
    ("use_dark", lambda p: bool(p.get("use_dark")), "it decodes without DARK"),
    ("use_udp", lambda p: p.get("type") == "UDPHeatmap" and p.get("use_udp") is not True,
     "it decodes as for MSRAHeatmap"),
)  # fmt: skip


def check_client(model: SdkModel, graph: OnnxFacts | None, client: Client) -> Iterator[Finding]:
    """What this client cannot do, or does otherwise; `graph` is None without an ONNX file."""
    names = [(t.path + ".type", t.value["type"], client.transforms) for t in model.transforms]
    names.append((model.component_path, model.component, client.components))
    for path, value, allowed in names:
        if value not in allowed:
            expected = f"one of {', '.join(allowed)}"
            yield error(PIPELINE, path, show(value), expected, f"{client.name} crashes")
    for key, wrong, what in IGNORED:
        if wrong(model.params.value):
            path, found = f"{model.params.path}.{key}", repr(model.params.value.get(key))
            yield warning(PIPELINE, path, found, "what the client obeys", f"{client.name}: {what}")
    affine = step(model, "TopDownAffine")
    if affine is not None and affine.value.get("use_udp"):
        path, why = f"{affine.path}.use_udp", f"{client.name} crops as without UDP"
        yield warning(PIPELINE, path, "true", "what the client obeys", why)
    if graph is not None:
        yield from _check_versions(model.model.net, graph, client)
        yield from _check_columns(model, graph, client)


def _check_columns(model: SdkModel, graph: OnnxFacts, client: Client) -> Iterator[Finding]:
    """Coordinates with sigmas: the client reads two numbers a keypoint, however many there are.

    MMDeploy 1.3.1, csrc/mmdeploy/codebase/mmpose/keypoints_from_regression.cpp. Measured:
    keypoints up to 362 px off, and every score 1.
    """
    for info in graph.outputs:
        if model.component == "DeepposeRegressionHeadDecode" and info.shape[-1:] == (4,):
            yield error(
                model.model.net, "", f"output {info.name!r} of shape {list(info.shape)}",
                "two numbers a keypoint, or keypoints and scores: a deploy config of a name with "
                "'-keypoints'",
                f"{client.name} takes sigmas for the next keypoint",
            )  # fmt: skip


def _check_versions(net: str, graph: OnnxFacts, client: Client) -> Iterator[Finding]:
    crash = f"{client.name} crashes"
    opset = graph.opsets.get("", graph.opsets.get("ai.onnx", 0))
    found, expected = f"opset {opset}", f"opset {client.max_opset} or older"
    if opset > client.doubtful_opset:
        yield error(net, "", found, expected, f"{crash} while loading")
    elif opset > client.max_opset:
        why = f"{crash} if an operator in the graph is new in it"
        yield warning(net, "", found, expected, why)
    if graph.ir_version > client.max_ir:
        found, expected = f"IR version {graph.ir_version}", f"{client.max_ir} or older"
        yield error(net, "", found, expected, f"{crash} while loading")
    for info in (*graph.inputs, *graph.outputs):
        if info.dtype not in ("float32", "?"):
            yield error(net, "", f"{info.name!r} of {info.dtype}", "float32", client.name)
