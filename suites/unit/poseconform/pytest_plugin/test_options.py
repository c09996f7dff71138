"""What the options select, and how they are refused."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.fake_subject import FLOWS, PLUGINS, FakeSubject
from fixtures.tiny_models import TinyModel
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.pytest_plugin.options import (
    CACHE_VARIABLE,
    Shard,
    add_options,
    is_dropped,
    read_selection,
)
from poseconform.pytest_plugin.reproduction import command
from poseconform.subject.loading import DEFAULT_SUBJECT, load_subject
from posedeploy.zoo.table import MODELS

pytest_plugins = ["pytester"]


SUBJECT = load_subject()
FAMILIES = {row.family for row in MODELS if "quick" in row.tiers}


def options(**values: Any) -> Namespace:
    defaults: dict[str, Any] = {
        "models": None, "model_config": [], "checkpoint": [], "deploy_config": [],
        "require": [], "disable": [], "weights_seed": 0, "weights": "auto", "exporter": "",
        "shard": Shard(1, 1),
    }  # fmt: skip
    return Namespace(**defaults | values)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSECONFORM_DISABLE", raising=False)


def test_the_quick_tier_is_the_default() -> None:
    selection = read_selection(options(), SUBJECT)
    assert all("quick" in model.tiers for model in selection.models)
    assert {model.family for model in selection.models} == FAMILIES
    assert {cell.model.name for cell in selection.cells} == {m.name for m in selection.models}


def test_shards_are_whole_models_and_together_all_of_them() -> None:
    whole = read_selection(options(models=["all"]), SUBJECT)
    parts = [
        read_selection(options(models=["all"], shard=Shard(i, 3)), SUBJECT) for i in (1, 2, 3)
    ]
    names = [[model.name for model in part.models] for part in parts]
    every = sorted(model.name for model in whole.models)
    assert sorted(name for part in names for name in part) == every
    assert max(map(len, names)) - min(map(len, names)) <= 1
    assert [{c.model.name for c in part.cells} for part in parts] == list(map(set, names))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", "1/0"])
def test_a_shard_that_there_is_not_is_refused(text: str, pytester: pytest.Pytester) -> None:
    plugin = ("-p", "poseconform.pytest_plugin.plugin", "-p", "no:cacheprovider")
    refused = pytester.runpytest_inprocess(*plugin, f"--shard={text}")
    refused.stderr.fnmatch_lines([f"*argument --shard*: '{text}' is not I/N with I from 1 to N*"])


def test_models_of_the_zoo_are_dropped_and_those_of_the_table_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "td-hm_vgg16-bn_8xb64-210e_coco-256x192"
    vgg, rtmpose = (
        read_selection(options(models=[n]), SUBJECT).models[0] for n in (name, "rtmpose_t")
    )
    assert (vgg.name, vgg.family, is_dropped(vgg)) == (name, "VGG", True)
    assert not is_dropped(rtmpose)
    assert SUBJECT.has_name(vgg)
    assert caplog.messages == []


def test_names_and_tiers_add_up_in_the_tables_order() -> None:
    selection = read_selection(options(models=["rtmpose_t,rtmpose_s", "rtmpose_t"]), SUBJECT)
    assert [model.name for model in selection.models] == ["rtmpose_s", "rtmpose_t"]


def test_a_config_of_the_users_is_judged_alone_or_with_others(
    tiny_model: Callable[[str], TinyModel],
) -> None:
    tiny = tiny_model("rtmpose_t")
    mine = {"model_config": [str(tiny.config)], "checkpoint": [str(tiny.checkpoint)]}
    alone = read_selection(options(**mine), SUBJECT)
    (model,) = alone.models
    assert (model.name, model.family, model.shape) == ("tiny_rtmpose_t", "RTMPose", (96, 64))
    assert model.checkpoint == str(tiny.checkpoint)
    both = read_selection(options(models=["rtmpose_t"], model_config=[str(tiny.config)]), SUBJECT)
    assert [m.name for m in both.models] == ["rtmpose_t", "tiny_rtmpose_t"]


def test_a_seed_decides_the_weights_of_every_model() -> None:
    selection = read_selection(options(models=["rtmpose_t,rtmpose_s"], weights_seed=3), SUBJECT)
    assert {model.seed for model in selection.models} == {3}
    assert {cell.model.seed for cell in selection.cells} == {3}
    assert {model.seed for model in read_selection(options(), SUBJECT).models} == {0}


@pytest.mark.parametrize("option", ["--weights-seed", "--image-set"])
def test_a_number_below_zero_is_refused(option: str, pytester: pytest.Pytester) -> None:
    plugin = ("-p", "poseconform.pytest_plugin.plugin", "-p", "no:cacheprovider")
    refused = pytester.runpytest_inprocess(*plugin, option, "-1")
    refused.stderr.fnmatch_lines([f"*argument {option}*: '-1' is no number from 0 on"])


def test_a_checkpoint_is_for_the_model_it_names(tiny_model: Callable[[str], TinyModel]) -> None:
    path = tiny_model("rtmpose_t").checkpoint
    pair = f"rtmpose_s={path}"
    selection = read_selection(
        options(models=["rtmpose_t", "rtmpose_s"], checkpoint=[pair]), SUBJECT
    )
    assert {m.name: bool(m.checkpoint) for m in selection.models} == {
        "rtmpose_s": True, "rtmpose_t": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"models": ["nonsense"]}, "nonsense"),
        ({"model_config": ["/no/such.py"]}, "/no/such.py: found no such file"),
        ({"deploy_config": ["no-such-config"]}, "no-such-config"),
        ({"models": ["rtmpose_t"], "checkpoint": ["/no/such.pth"]}, "no such file /no/such.pth"),
        ({"models": ["rtmpose_t"], "checkpoint": ["x=/no/such.pth"]}, "no model 'x' in this run"),
        ({"models": ["rtmpose_t,rtmpose_s"], "checkpoint": ["/x.pth"]}, "no model '' in this run"),
        ({"require": ["onnx"]}, "no backend 'onnx'; there are: .*onnxruntime"),
        ({"disable": ["onnx"]}, "no backend 'onnx'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(pytest.UsageError, match=message):
        read_selection(options(**given), SUBJECT)


class Broken(FakeSubject):
    """Raises an error that is not for the user."""

    def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
        del more
        raise ZeroDivisionError


def test_an_error_that_is_not_for_the_user_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        read_selection(options(), Broken())


def test_another_subject_is_judged() -> None:
    selection = read_selection(options(), FakeSubject())
    assert selection.flows == FLOWS
    assert [cell.model.name for cell in selection.cells] == ["m1"] * 3 + ["m2"] * 3


def test_the_environment_switches_backends_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSECONFORM_DISABLE", "tensorrt, ncnn")
    selection = read_selection(options(disable=["onnxruntime"]), SUBJECT)
    assert selection.disabled == {"tensorrt", "ncnn", "onnxruntime"}


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def default_cache() -> Path:
        parser = pytest.Parser(_ispytest=True)
        add_options(parser)
        path: Path = parser.parse_known_args([]).artifact_cache
        return path

    monkeypatch.setenv(CACHE_VARIABLE, "/a")
    assert default_cache() == Path("/a")
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert default_cache() == Path("/b/poseconform")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "poseconform"


@pytest.mark.parametrize(
    ("model", "deploy_config", "exporter", "words"),
    [
        (("zoo", ("quick",), ""), "pose-detection_x_static", "", "--models zoo"),
        (("zoo", ("quick",), "/c.pth"), "x", "dynamo",
         "--models zoo --checkpoint zoo=/c.pth --exporter dynamo"),
        (("my", (), "/c d.pth"), "/d/x.py", "",
         "--model-config my.py --checkpoint 'my=/c d.pth' --deploy-config /d/x.py"),
    ],
)  # fmt: skip
def test_a_command_runs_the_same_cell_again(
    model: tuple[str, tuple[str, ...], str], deploy_config: str, exporter: str, words: str
) -> None:
    name, tiers, checkpoint = model
    flow = Flow(deploy_config, "", "onnxruntime", "fp32", "static", None)
    cell = Cell(Model(name, "HRNet", tiers, "", (4, 4), f"{name}.py", checkpoint), flow)
    option = Namespace(exporter=exporter, subject=DEFAULT_SUBJECT)
    here, there = (Namespace(dir=Path(name)) for name in (".", "elsewhere"))
    config: Any = Namespace(option=option, stash={}, invocation_params=here, rootpath=Path())
    assert command(config, cell).startswith(f"python -m pytest suites {words} -k ")
    config.invocation_params = there  # of a wheel, the suites are not where the user is
    assert command(config, cell).startswith(f"posedeploy test {words} -k ")


def test_a_device_with_a_wrong_number_is_a_usage_error(pytester: pytest.Pytester) -> None:
    ended = pytester.runpytest_inprocess(*PLUGINS, "--device", "cuda:x")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines(["*--device*device 'cuda:x': 'x' is no number*"])
