"""The naming grammar: round trip, refusals, and that each file's name agrees with its content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posedeploy.config import DeployConfig, list_deploy_configs, load_deploy_config, parse_name
from posedeploy.config.naming import (
    IRREGULAR,
    OPTIONS,
    PRECISIONS,
    SHAPE_MODES,
    VARIANTS,
    DeployConfigName,
)

names = st.builds(
    DeployConfigName,
    variant=st.sampled_from(VARIANTS),
    backend=st.from_regex(r"[a-z][a-z0-9]{1,12}", fullmatch=True).filter(
        lambda word: word not in {*SHAPE_MODES, *VARIANTS}
    ),
    precision=st.sampled_from(PRECISIONS),
    shape_mode=st.sampled_from(SHAPE_MODES),
    shape=st.none() | st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    option=st.sampled_from(OPTIONS),
)


@given(names)
def test_printed_names_parse_back(name: DeployConfigName) -> None:
    assert parse_name(str(name)) == name
    assert parse_name(f"{name}.py") == name


@given(st.text(max_size=40))
def test_what_parses_prints_back(text: str) -> None:
    try:
        name = parse_name(text)
    except ValueError:
        return
    assert str(name) == text.removesuffix(".py") or text.removesuffix(".py") in IRREGULAR


@pytest.mark.parametrize(
    "text",
    [
        "pose-detection_onnxruntime",  # no shape mode
        "pose-detection_static",  # MMDeploy's base file names no backend
        "pose-detection_onnxruntime-fp32_static",  # fp32 is not written
        "pose-detection_onnxruntime_static_256x192",  # shape after '-', not '_'
        "pose-detection_onnxruntime_static-0256x192",
        "detection_onnxruntime_static",
    ],
)
def test_names_off_the_grammar_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a deploy config's name"):
        parse_name(text)


@pytest.mark.parametrize("name", list_deploy_configs())
def test_name_and_content_agree(name: str) -> None:
    config = load_deploy_config(name)
    said = parse_name(name)
    assert (config.variant, config.backend, config.precision, config.shape_mode) == (
        said.variant, said.backend, said.precision, said.shape_mode
    )  # fmt: skip
    if said.shape is not None:
        assert config.input_shape == (said.shape[1], said.shape[0])
    assert option(config) == said.option


def option(config: DeployConfig) -> str:
    """What the content says of `OPTIONS`."""
    backend = config.raw["backend_config"]
    if backend.get("inference_precision", "f32") != "f32":
        return str(backend["inference_precision"])
    return str(backend.get("stage", ""))


@pytest.mark.parametrize("name", [n for n in list_deploy_configs() if n not in IRREGULAR])
def test_content_gives_the_name(name: str) -> None:
    """The other way: print the name from the content; only a shape may be left out of a name."""
    config = load_deploy_config(name)
    shape = parse_name(name).shape
    printed = DeployConfigName(
        config.variant, config.backend, config.precision, config.shape_mode, shape, option(config)
    )
    assert str(printed) == name
