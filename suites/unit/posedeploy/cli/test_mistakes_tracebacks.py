"""Model configs and checkpoints at which mmpose or torch would stop with an error of theirs.

Each is refused in four lines, before anything is exported, and by the same words on a second run,
which finds in the cache whatever the first has made.
"""

from __future__ import annotations

import re
import shutil
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from fixtures.commands import Done
from fixtures.tiny_models import TinyModel
from posedeploy.cli import main
from posedeploy.synthetic.figures import draw_figure
from posedeploy.zoo.table import mmpose_files

DEPLOY = "pose-detection_simcc_onnxruntime_static"
METAINFO = "test_dataloader = dict(dataset=dict(metainfo={}))"
TRIANGLE = (
    "dict(dataset_name='triangle', keypoint_info={i: dict(name=n, id=i, swap='') for i, n in "
    "enumerate('abc')}, skeleton_info={0: dict(link=('a', 'b'))}, joint_weights=[1.0] * 3)"
)


@dataclass(frozen=True)
class Row:
    """Lines that a model config adds to that of the tiny model, and what is printed."""

    lines: str
    subject: str  # a part of the first line
    found: str  # regular expressions
    next_step: str = ""
    code: int = 2


# ---- modify this table to add a mistake in a model config ----------------------------------
# fmt: off
CONFIGS: Mapping[str, Row] = {
    "backbone-misspelled": Row(
        "model = dict(backbone=dict(type='CSPNext'))",
        "model.backbone.type", "'CSPNext', which is not registered", "Did you mean CSPNeXt?"),
    "backbone-of-another-package": Row(
        "model = dict(backbone=dict(_delete_=True, type='mmseg.MixVisionTransformer'))",
        "model.backbone.type", "no package 'mmseg'", "pip install mmsegmentation", code=3),
    "backbone-that-is-a-word": Row(
        "model = dict(backbone='HRNet')", "model.backbone", "'HRNet'"),
    "backbone-field-unknown": Row(
        "model = dict(backbone=dict(breadth=2))", ": model", "unexpected keyword .*'breadth'"),
    "backbone-field-of-another-type": Row(
        "model = dict(backbone=dict(widen_factor='a'))", ": model", "TypeError"),
    "channels-four": Row(
        "model = dict(backbone=dict(_delete_=True, type='HRNet', in_channels=4))",
        "model.backbone.in_channels", "4"),
    "channels-one": Row(
        "model = dict(backbone=dict(_delete_=True, type='ResNet', depth=50, in_channels=1))",
        "model.backbone.in_channels", "1"),
    "codec-misspelled": Row(
        "model = dict(head=dict(decoder=dict(type='SimCCLabels')))",
        "model.head.decoder.type", "SimCCLabels", "Did you mean SimCCLabel?"),
    "codec-that-is-a-number": Row("model = dict(head=dict(decoder=3))", "model.head.decoder", "3"),
    "config-that-exits": Row("raise SystemExit(0)", "model.py", "SystemExit: 0"),
    "custom-import-missing": Row(
        "custom_imports = dict(imports=['no_such_package.heads'])",
        "custom_imports", "No module named 'no_such_package'", "Set PYTHONPATH to"),
    "custom-import-of-a-folder-near": Row(
        "custom_imports = dict(imports=['near_package.heads'])",
        "custom_imports", "No module named 'near_package'", "Set PYTHONPATH=.*desk"),
    "custom-import-failing": Row(
        "import sys; sys.path.insert(0, __import__('os').getcwd())\n"
        "custom_imports = dict(imports=['failing_module'])",
        "custom_imports", r"ZeroDivisionError: division by zero \(line 2 of .*failing_module\.py"),
    "custom-imports-that-are-a-word": Row(
        "custom_imports = 'my_package'", "custom_imports", "'my_package'"),
    "data-set-misspelled": Row(
        "test_dataloader = dict(dataset=dict(type='CocoDataSets'))",
        "test_dataloader.dataset.type", "CocoDataSets", "mean CocoDataset?.*custom_imports"),
    "data-set-that-is-a-word": Row(
        "test_dataloader = dict(dataset='coco')", "test_dataloader.dataset", "'coco'"),
    "estimator-of-the-other-kind": Row(
        "model = dict(type='BottomupPoseEstimator')",
        "model.type", "BottomupPoseEstimator, with a RTMCCHead"),
    "head-and-codec-of-two-ratios": Row(
        "model = dict(head=dict(simcc_split_ratio=3.0))", "model.head.simcc_split_ratio", "3.0"),
    "head-and-codec-of-two-sizes": Row(
        "model = dict(head=dict(decoder=dict(input_size=(192, 256))))",
        "input_size", "64, 96|192, 256"),
    "head-misspelled": Row(
        "model = dict(head=dict(type='RTMCHead'))",
        "model.head.type", "RTMCHead", "Did you mean RTMCCHead?"),
    "head-that-is-a-list": Row("model = dict(head=[1, 2])", "model.head", r"\[1, 2\]"),
    "input-size-of-one-number": Row(
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), "
        "dict(type='TopdownAffine', input_size=64)]))", "TopdownAffine", "64"),
    "keypoints-fewer-than-names": Row(
        "model = dict(head=dict(out_channels=6))", "model.head.out_channels",
        "a head of 6 keypoints, and 17 names of keypoints in the data set CocoDataset"),
    "keypoints-more-than-names": Row(
        METAINFO.format(TRIANGLE), "model.head.out_channels",
        "a head of 17 keypoints, and 3 names of keypoints in .*metainfo"),
    "keypoints-that-are-a-word": Row(
        "model = dict(head=dict(out_channels='17'))", "model.head.out_channels", "'17'"),
    "loss-misspelled": Row(
        "model = dict(head=dict(loss=dict(type='KLDiscretLos')))",
        "model.head.loss.type", "KLDiscretLos", "Did you mean KLDiscretLoss?"),
    "metainfo-of-a-missing-file": Row(
        METAINFO.format("dict(from_file='no/such.py')"),
        "test_dataloader.dataset.metainfo.from_file", "no/such.py", "Correct the path"),
    "metainfo-of-another-file": Row(
        METAINFO.format("dict(from_file='failing_module.py')"), "failing_module.py", ""),
    "metainfo-swap-unknown": Row(
        METAINFO.format("dict(keypoint_info={0: dict(name='a', swap='b')})"),
        "keypoint_info[0].swap", "'b'"),
    "metainfo-link-unknown": Row(
        METAINFO.format("dict(keypoint_info={0: dict(name='a')}, skeleton_info={0: "
                        "dict(link=('a', 'b'))})"), "skeleton_info[0]", "'b'"),
    "metainfo-name-twice": Row(
        METAINFO.format("dict(keypoint_info={0: dict(name='a'), 1: dict(name='a')})"),
        "keypoint_info", "'a' twice"),
    "metainfo-numbers-with-gaps": Row(
        METAINFO.format("dict(keypoint_info={1: dict(name='a')})"), "keypoint_info", "1"),
    "metainfo-that-is-a-word": Row(METAINFO.format("'coco.py'"), "metainfo", "'coco.py'"),
    "pipeline-of-numbers": Row(
        "test_dataloader = dict(dataset=dict(pipeline=[1]))", "pipeline[0]", "1"),
    "preprocessor-unknown": Row(
        "model = dict(data_preprocessor=dict(type='PosePreprocess'))",
        "model.data_preprocessor", "PosePreprocess"),
    "scope-of-another-package": Row("default_scope = 'mmdet'", "default_scope", "'mmdet'"),
    "size-that-does-not-fit-the-head": Row(
        "model = dict(head=dict(in_channels=64))", ": network", "RuntimeError"),
    "test-cfg-that-is-a-list": Row("model = dict(test_cfg=[1])", "model.test_cfg", r"\[1\]"),
    "transform-misspelled": Row(
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImages'), "
        "dict(type='TopdownAffine', input_size=(64, 96))]))",
        "pipeline[0]", "LoadImages"),
}
# fmt: on
# --------------------------------------------------------------------------------------------

Run = Callable[..., Done]


@pytest.fixture(scope="module")
def tiny(tiny_model: Callable[[str], TinyModel]) -> TinyModel:
    return tiny_model("rtmpose_t")


@pytest.fixture
def run(
    tiny: TinyModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `convert` in a folder with the tiny model, a config that inherits from it, an image."""
    desk = tmp_path / "desk"
    desk.mkdir()
    monkeypatch.chdir(desk)
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POSEDEPLOY_TRUST_CONFIGS", "1")
    monkeypatch.syspath_prepend(str(tmp_path))  # what is put there by a config is taken back
    shutil.copy(tiny.config, "tiny.py")
    shutil.copy(tiny.checkpoint, "tiny.pth")
    Path("near_package").mkdir()
    Path("failing_module.py").write_text("names = []\n1 / len(names)\n")
    cv2.imwrite("photo.png", draw_figure(3, (120, 90))[0])

    def convert(lines: str = "", checkpoint: str = "calibrated", config: str = "model.py") -> Done:
        path = Path(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        base = "../" * (len(path.parts) - 1)
        path.write_text(f"_base_ = '{base}tiny.py'\n{lines}\n")
        words = ["convert", DEPLOY, config, checkpoint, "photo.png", "--work-dir=out"]
        with pytest.raises(SystemExit) as caught:
            main(words)
        out, err = capsys.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return convert


def parts(done: Done) -> list[str]:
    """The four parts of an error."""
    lines = [line for line in done.err.splitlines() if "mmengine - WARNING" not in line]
    assert [line.split(":")[0].strip() for line in lines] == ["error", "found", "expected", "next"]
    return [line.split(":", 1)[1].strip() for line in lines]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_config(name: str, run: Run) -> None:
    row = CONFIGS[name]
    for done in (run(row.lines), run(row.lines)):
        subject, found, _, next_step = parts(done)
        assert row.subject in subject
        assert re.search(row.found, found), found
        assert re.search(row.next_step, next_step), next_step
        assert done.code == row.code
    assert not Path("out").exists()


def test_a_custom_import_of_mmpose_s_data_sets(run: Run) -> None:
    """What mmpose needs is there by what `compat` provides, wherever the import comes from."""
    Path("own_package.py").write_text(
        "from mmpose.datasets import CocoDataset\nfrom mmpose.registry import DATASETS\n"
        "@DATASETS.register_module(force=True)\nclass OwnDataset(CocoDataset):\n    pass\n"
    )
    lines = "import sys; sys.path.insert(0, __import__('os').getcwd())\n"
    lines += "custom_imports = dict(imports=['own_package'])\n"
    lines += "test_dataloader = dict(dataset=dict(type='OwnDataset'))"
    assert run(lines, "tiny.pth").code == 0


@pytest.mark.parametrize("checkpoint", ["calibrated", "tiny.pth"])
def test_a_data_set_without_sigmas(run: Run, checkpoint: str) -> None:
    lines = METAINFO.format(TRIANGLE) + "\nmodel = dict(head=dict(out_channels=3))"
    if checkpoint != "calibrated":
        content = torch.load(checkpoint)
        final, width = content["state_dict"], 3
        for key in ("head.final_layer.weight", "head.final_layer.bias"):
            final[key] = final[key][:width].clone()
        torch.save(content, checkpoint)
    # three joints of a network that was not trained are nowhere else in another image: code 4
    assert run(lines, checkpoint).code == (0 if checkpoint == "calibrated" else 4)
    assert '"a",' in Path("out/detail.json").read_text()


@pytest.mark.parametrize("place", ["beside", "above", "current"])
def test_a_file_of_a_data_set_by_a_relative_name(
    run: Run, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the config, in a folder around it, as mmpose's repository has it, or as mmpose."""
    folder = {"beside": "deep/er", "above": "deep", "current": "."}[place]
    text = (mmpose_files() / "configs/_base_/datasets/coco.py").read_text()
    target = Path(folder, "datasets", "own.py")
    target.parent.mkdir(parents=True)
    target.write_text(text.replace("'nose'", "'muzzle'"))
    done = run(METAINFO.format("dict(from_file='datasets/own.py')"), config="deep/er/model.py")
    assert done.code == 0
    assert "muzzle" in Path("out/detail.json").read_text()
    target.unlink()  # the weights are in the cache now
    done = run(METAINFO.format("dict(from_file='datasets/own.py')"), config="deep/er/model.py")
    assert (done.code, parts(done)[1]) == (2, "datasets/own.py, which is no file")


def test_a_file_of_a_data_set_that_changes(run: Run) -> None:
    """Weights from the cache bring the names of the file as it is, and not as it was."""
    text = (mmpose_files() / "configs/_base_/datasets/coco.py").read_text()
    for name in ("muzzle", "snout"):
        Path("own.py").write_text(text.replace("'nose'", f"'{name}'"))
        assert run(METAINFO.format("dict(from_file='own.py')")).code == 0
        assert name in Path("out/detail.json").read_text()


# ---- modify this table to add a checkpoint ------------------------------------------------
Change = Callable[[dict[str, Any]], Any]
CHECKPOINTS: Mapping[str, tuple[Change, int, str]] = {
    "a-list": (lambda _: [1, 2], 2, "a pickled list"),
    "a-number": (lambda _: 3, 2, "a pickled int"),
    "a-whole-module": (lambda _: torch.nn.Linear(2, 2), 2, "a pickle that asks for"),
    "another-model": (
        lambda _: OrderedDict(a=torch.zeros(1)), 2, r"\d+ keys missing .*; 1 key left over \(a\)",
    ),
    "data-parallel": (
        lambda c: {f"module.{k}": v for k, v in c["state_dict"].items()}, 0, "",
    ),
    "ema-alone": (
        lambda c: {"state_dict": {f"ema_{k}": v for k, v in c["state_dict"].items()}},
        2, "keys missing",
    ),
    "half-precision": (
        lambda c: {"state_dict": {k: v.half() for k, v in c["state_dict"].items()}}, 0, "",
    ),
    "integers": (
        lambda c: {"state_dict": {k: v.int() for k, v in c["state_dict"].items()}},
        2, r"\d+ keys of integers",
    ),
    "meta-tensors": (
        lambda c: {"state_dict": {k: v.to("meta") for k, v in c["state_dict"].items()}},
        2, r"\d+ keys without data",
    ),
    "sparse-tensors": (
        lambda c: {"state_dict": {k: v.to_sparse() for k, v in c["state_dict"].items()}},
        2, r"\d+ keys sparse",
    ),
    "no-tensors-in-state-dict": (lambda _: {"state_dict": {"a": 1}}, 2, "a dict with"),
    "nothing": (lambda _: {}, 2, "nothing in it"),
    "meta-of-another-kind": (
        lambda c: {**c, "meta": {"dataset_meta": {"num_keypoints": 17}}}, 2, "keypoint_id2name",
    ),
    "meta-of-another-number": (
        lambda c: {**c, "meta": {"dataset_meta": {"num_keypoints": 1, "keypoint_id2name": ["a"]}}},
        0, "",
    ),
    "optimizer-alone": (
        lambda _: {"optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, 2, "'optimizer'",
    ),
}  # fmt: skip
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint(name: str, run: Run) -> None:
    change, code, found = CHECKPOINTS[name]
    torch.save(change(torch.load("tiny.pth")), "mine.pth")
    done = run(checkpoint="mine.pth")
    assert done.code == code, done
    if code:
        assert re.search(found, parts(done)[1]), done.err
