"""The naming grammar: names parse, print and are refused as its rows say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posedeploy.config.naming import (
    IRREGULAR,
    OPTIONS,
    SHAPE_MODES,
    DeployConfigName,
    conflict,
    grammar,
    parse_name,
    split_name,
)
from posedeploy.heads import head_words
from posedeploy.runtime import BACKENDS
from suites.unit.posedeploy.config.names import deploy_config_names


@given(deploy_config_names(st.tuples(st.integers(1, 4096), st.integers(1, 4096))))
def test_printed_names_parse_back(name: DeployConfigName) -> None:
    assert parse_name(str(name)) == name
    assert parse_name(f"{name}.py") == name


@given(
    st.builds(
        DeployConfigName,
        st.sampled_from(head_words()),
        st.sampled_from([row.name for row in BACKENDS]),
        st.sampled_from(["fp32", "fp16", "bf16", "int8"]),
        st.sampled_from(SHAPE_MODES),
        st.none(),
        st.sampled_from(["", *OPTIONS]),
    )
)
def test_parts_that_do_not_go_together_are_refused(name: DeployConfigName) -> None:
    assert split_name(str(name)) == name
    wrong = conflict(name)
    if wrong is None:
        assert parse_name(str(name)) == name
    else:
        with pytest.raises(ValueError, match="not a deploy config's name"):
            parse_name(str(name))


@given(st.text(max_size=40) | st.from_regex(r"pose-detection(_[a-z0-9-]{1,12}){1,3}"))
def test_what_parses_prints_back(text: str) -> None:
    name = split_name(text)
    stem = text.removesuffix(".py")
    assert name is None or stem in IRREGULAR or str(name) == stem


@pytest.mark.parametrize(
    "text",
    [
        "pose-detection_onnxruntime",  # no shape mode
        "pose-detection_static",  # MMDeploy's base file names no backend
        "pose-detection_onnxruntime-fp32_static",  # fp32 is not written
        "pose-detection_onnxruntime_static_256x192",  # shape after '-', not '_'
        "pose-detection_onnxruntime_static-0256x192",
        "pose-detection_rknn_static-256x192",  # a backend without a row
        "pose-detection_heatmap_onnxruntime_static",  # heatmap has no word
        "detection_onnxruntime_static",
    ],
)
def test_names_off_the_grammar_are_refused(text: str) -> None:
    assert split_name(text) is None
    with pytest.raises(ValueError, match="not a deploy config's name"):
        parse_name(text)


@pytest.mark.parametrize(
    ("name", "part", "there"),
    [
        ("torchscript-int8_static", "precision int8", "torchscript has: fp32"),
        ("ncnn_dynamic-256x192", "a dynamic batch", "static"),
        ("openvino-int8-f16_static", "option f16", "openvino with fp16"),
        ("onnxruntime-fp16-f16_static", "option f16", "openvino with fp16"),
        ("openvino-bf16-f16_static", "option f16", "openvino with fp16"),
        ("onnxruntime-bf16_static", "precision bf16", "onnxruntime has: fp32, fp16, int8"),
        (
            "simcc_openvino-bf16-keypoints_static",
            "option keypoints",
            "it for openvino with fp32, fp16, int8 alone",
        ),
        ("simcc_tensorrt-nms_static", "option nms", "rtmo, yolox-pose alone"),
    ],
)
def test_a_conflict_names_the_part_and_what_there_is(name: str, part: str, there: str) -> None:
    parsed = split_name(f"pose-detection_{name}")
    assert parsed is not None
    wrong = conflict(parsed)
    assert wrong is not None
    assert wrong[0] == part
    assert there in wrong[1]


def test_the_grammar_is_written_with_the_words_of_the_rows() -> None:
    assert grammar() == (
        "pose-detection[_{associative-embedding,cid,dekr,regression,rtmo,simcc,vis,yolox-pose}]"
        "_{backend}[-{fp16,bf16,int8}][-{f16,keypoints,nms}]_{static,dynamic}[-{H}x{W}]"
    )
