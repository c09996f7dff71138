"""The rows of heads and codecs agree with each other, with the code they name and with mmpose."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

from posedeploy.codecs import CODECS, CodecSpec, codec_of, decisive_parameters
from posedeploy.heads import (
    HEADS,
    HeadSpec,
    component_names,
    head_of_kind,
    head_of_mmpose,
    head_of_outputs,
    head_of_word,
    load,
    stage_of_component,
)
from posedeploy.sdk.checks.files import schema


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.kind)
def test_the_code_that_a_row_names_is_there(head: HeadSpec) -> None:
    assert callable(load(head.network))
    for stage in head.stages:
        paths = [path for path in (stage.decoder, stage.host_weights) if path]
        assert all(callable(load(path)) for path in paths)
        assert bool(stage.component) == bool(stage.decoder)
    assert set(head.multi_stage) <= set(head.mmpose_heads)
    assert all(codec_of(codec) for codec in head.codecs)


def test_rows_are_found_by_kind_word_mmpose_type_and_outputs() -> None:
    for head in HEADS:
        assert head_of_kind(head.kind) is head_of_word(head.word) is head
        assert all(head_of_mmpose(name) is head for name in head.mmpose_heads)
        assert head_of_outputs(head.output_names, head.word) is head
        for stage in head.stages:
            if stage.component:
                params = dict(stage.params)
                assert stage_of_component(stage.component, params)[1] == stage
    assert head_of_mmpose("NoSuchHead") is head_of_outputs(("no", "such")) is None
    for word in ("rtmo", "yolox-pose"):
        assert head_of_outputs(("keypoints", "dets"), word) is head_of_kind(word)
    assert head_of_outputs(("dets", "keypoints")) is head_of_kind("yolox-pose")


def test_parameters_tell_the_stages_of_a_component_apart() -> None:
    whole, ended = (
        stage_of_component("SimCCLabelDecode", {"export_postprocess": value})[1].name
        for value in (False, True)
    )
    assert (whole, ended) == ("whole", "keypoints")
    assert stage_of_component("SimCCLabelDecode", {})[1].name == "whole"
    for word in ("", "simcc"):
        assert head_of_outputs(("keypoints", "scores"), word) is head_of_word(word)


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError, match="no stage 'dense'; there are: whole"):
        head_of_kind("simcc").stage("dense")
    with pytest.raises(KeyError):
        stage_of_component("", {})  # of a stage that nothing decodes


def test_every_component_is_listed_once() -> None:
    assert list(component_names()) == sorted(set(component_names()))
    assert {"RTMODetections", "ViPNASHeatmapSimpleHeadDecode"} <= set(component_names())


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.type)
def test_defaults_of_codecs_are_those_of_mmpose(codec: CodecSpec) -> None:
    signature = inspect.signature(_mmpose_codec(codec.type).__init__)
    for parameter in codec.parameters:
        default = signature.parameters[parameter.name].default
        if parameter.default is not None:
            assert parameter.default == default


def _mmpose_codec(name: str) -> Any:
    from posedeploy.compat import install

    install()
    return getattr(importlib.import_module("mmpose.codecs"), name)


def test_the_fields_of_codecs_are_those_of_the_schema() -> None:
    allowed = schema("pipeline.json")["$defs"]["params"]["properties"]
    fields = [dict(part) for codec in CODECS for part in (codec.client, codec.unbiased)]
    assert {name for part in fields for name in part} <= set(allowed)
    assert {part["post_process"] for part in fields if "post_process" in part} <= set(
        allowed["post_process"]["enum"]
    )
    typed = {"heatmap_type", "kernel_size", "radius_factor", "sigma"}  # the decoders check them
    assert {parameter.name for parameter in decisive_parameters()} - typed <= set(allowed)


def test_a_codec_says_what_old_clients_read() -> None:
    msra, megvii, udp = (codec_of(f"{name}Heatmap") for name in ("MSRA", "Megvii", "UDP"))
    assert msra is not None
    assert megvii is not None
    assert udp is not None
    assert msra.client_fields({}) == {"post_process": "default"}
    unbiased = {"unbiased": True, "blur_kernel_size": 17}
    assert msra.client_fields(unbiased) == {"post_process": "unbiased", "modulate_kernel": 17}
    assert msra.client_fields({"unbiased": True})["modulate_kernel"] == 11
    assert megvii.client_fields({"kernel_size": 9})["modulate_kernel"] == 9
    assert udp.client_fields({})["use_udp"] is True
    assert codec_of("NoSuchCodec") is None


def test_rows_import_nothing_heavy() -> None:
    code = (
        "import sys; import posedeploy.heads, posedeploy.codecs, posedeploy.runtime.registry; "
        "print({'torch', 'mmpose', 'mmengine', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
