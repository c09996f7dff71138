"""Folders that options name: what is asked for, and the whole judge on folders like MMDeploy's."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from fixtures.mmdeploy_folders import like_mmdeploys, mmdeploy_detector
from fixtures.tiny_models import TinyModel
from poseconform.checks.table import applicable
from poseconform.matrix.cells import Model
from poseconform.pytest_plugin.baseline import baseline_file
from poseconform.pytest_plugin.folders import folder_cells
from poseconform.results.outcome import CONVERTING_STAGES
from posedeploy.config import config_root

pytest_plugins = ["pytester"]

MODEL = Model("m", "RTMPose", (), "simcc", (64, 48), "m.py", "/m.pth")
DEPLOY_CONFIG = """
_base_ = [{base!r}]
onnx_config = dict(opset_version=11)
"""
ROW = '[[model]]\nartifact = "{}"\nmodel_config = "model.py"\ncheckpoint = "{}"\n'
SCORE_THR = 0.6


class Options:
    """The options of a run; what is not named has its default."""

    def __init__(self, **named: Any) -> None:
        known: dict[str, Any] = {
            "sdk_model": [],
            "sdk_models": None,
            "models": None,
            "checkpoint": [],
            "deploy_config": [],
            "exporter": "",
            "weights": "auto",
            "weights_seed": 0,
        }
        config = ["m.py"] if named.get("sdk_model") else []
        vars(self).update(known | {"model_config": config} | named)


def write_folder(folder: Path, **entry: Any) -> Path:
    folder.mkdir(parents=True)
    known = {"name": "m", "net": "end2end.onnx", "backend": "onnxruntime", "precision": "FP32"}
    (folder / "deploy.json").write_text(json.dumps({"models": [known | entry]}))
    task = {"module": "mmpose", "component": "SimCCLabelDecode", "params": {}}
    (folder / "pipeline.json").write_text(json.dumps({"pipeline": {"tasks": [task]}}))
    return folder


class Subject:
    """The models of files, as the default subject would read them."""

    def model_from_config(self, path: str) -> Model:
        return Model(Path(path).stem, "RTMPose", (), "simcc", (64, 48), path)

    def fetch_published(self, models: list[Model]) -> None:
        assert models == []


def cells(models: tuple[Model, ...] = (MODEL,), **named: Any) -> list[tuple[str, str]]:
    subject: Any = Subject()
    found = folder_cells(Options(**named), subject, lambda: models)
    return [(cell.id, cell.flow.folder) for cell in found]


def test_each_folder_is_a_cell_of_the_one_model(tmp_path: Path) -> None:
    a, b = write_folder(tmp_path / "a"), write_folder(tmp_path / "b", backend="openvino")
    assert cells(sdk_model=[f"{a},{b}"]) == [
        ("m-simcc_onnxruntime_static", str(a)), ("m-simcc_openvino_static", str(b)),
    ]  # fmt: skip


def test_a_zip_of_a_folder_and_a_file_in_one_are_taken_for_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a")
    (folder / "end2end.onnx").write_bytes(b"")
    zipped = Path(shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path, "a"))
    subject: Any = Subject()
    named = Options(sdk_model=[str(folder / "end2end.onnx"), str(zipped)])
    of_file, of_zip = (c.flow for c in folder_cells(named, subject, lambda: (MODEL,)))
    assert of_file.folder == str(folder)
    assert (of_zip.artifact, (Path(of_zip.folder) / "deploy.json").is_file()) == (
        str(zipped),
        True,
    )
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(pytest.UsageError, match=r"c\.zip: found "):
        cells(sdk_model=[str(tmp_path / "c.zip")])


def test_folders_of_one_flow_are_told_apart_by_their_names(tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / name) for name in ("a", "b")]
    assert [name for name, _ in cells(sdk_model=[str(f) for f in folders])] == [
        "m.a-simcc_onnxruntime_static", "m.b-simcc_onnxruntime_static",
    ]  # fmt: skip
    again = write_folder(tmp_path / "other" / "a")
    with pytest.raises(pytest.UsageError, match=r"two folders are called 'm\.a-simcc.*Rename one"):
        cells(sdk_model=[str(folders[0]), str(again)])


@pytest.mark.parametrize(
    ("models", "named", "message"),
    [
        ((), {"model_config": []}, "found no model; expected the one that the folders hold. Type"),
        ((MODEL, MODEL), {}, "found 2 models"),
        (
            (Model("m", "", (), "", (4, 4), "m.py"),),
            {},
            "found no --checkpoint.* Type --sdk-model",
        ),
    ],
)
def test_what_is_missing_is_what_to_type(
    tmp_path: Path, models: tuple[Model, ...], named: dict[str, Any], message: str
) -> None:
    folder = write_folder(tmp_path / "a")
    with pytest.raises(pytest.UsageError, match=message):
        cells(models, sdk_model=[str(folder)], **named)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"exporter": "dynamo"}, "--exporter dynamo: found it with --sdk-model; .* converted"),
        ({"deploy_config": ["x.py"]}, r"--deploy-config x\.py: found it with --sdk-model;"),
        (
            {"sdk_model": [], "checkpoint": ["a.pth"]},
            r"--checkpoint a\.pth: .* with --sdk-models;",
        ),
    ],
)
def test_what_would_be_left_out_without_a_word_is_refused(
    tmp_path: Path, named: dict[str, Any], message: str
) -> None:
    both: dict[str, Any] = {"sdk_model": ["a"], "sdk_models": tmp_path / "zoo.toml"}
    with pytest.raises(pytest.UsageError, match=message):
        cells(**both | named)


def test_everything_that_is_no_folder_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(pytest.UsageError) as caught:
        cells(sdk_model=[str(tmp_path / "a"), str(tmp_path / "b")])
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"SDK model {tmp_path / 'a'}: found no folder")
    assert second.startswith(f"{tmp_path / 'b' / 'deploy.json'}: found no such file")


def test_a_file_of_rows_names_folders_models_and_checkpoints(tmp_path: Path) -> None:
    write_folder(tmp_path / "a")
    write_folder(tmp_path / "b")
    for name in ("model.py", "a.pth", "b.pth"):
        (tmp_path / name).write_text("")
    table = tmp_path / "zoo.toml"
    rows = ROW.format("a", "a.pth"), ROW.format("b", "b.pth") + 'name = "newer"\n'
    table.write_text("".join(rows))
    assert [name for name, _ in cells(sdk_models=table)] == [
        "model-simcc_onnxruntime_static", "newer-simcc_onnxruntime_static",
    ]  # fmt: skip
    table.write_text(ROW.format("a", "a.pth") + ROW.format("b", "calibrated"))
    assert [name for name, _ in cells(sdk_models=table)] == [
        "model.a-simcc_onnxruntime_static", "model.b-simcc_onnxruntime_static",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a =", "found no TOML"),
        ("", r"found no row; expected \[\[model\]\] tables"),
        ("[[models]]", r"found \['models'\]"),
        ("[[model]]\nfolder = 'a'", r"model\[0\]: found unknown \['folder'\]"),
        ("[[model]]\nartifact = 'a'", r"model\[0\]: model_config: found none; expected a string"),
        (
            ROW.format("a", "no.pth"),
            r"checkpoint: found no file .*no\.pth; expected one, or one of",
        ),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.py").write_text("")
    table = tmp_path / "zoo.toml"
    table.write_text(text)
    with pytest.raises(pytest.UsageError, match=message):
        cells(sdk_models=table)


def test_folders_have_a_baseline_of_their_own(tmp_path: Path) -> None:
    judged, matrix = (
        baseline_file(Options(baseline=None, device="cpu", sdk_model=folders), tmp_path)
        for folders in (["a"], [])
    )
    assert judged.relative_to(matrix.parent) == Path("folders") / matrix.name


def test_checks_of_a_conversion_do_not_apply_to_a_folder(tmp_path: Path) -> None:
    subject: Any = Subject()
    option = Options(sdk_model=[str(write_folder(tmp_path / "a"))])
    (cell,) = folder_cells(option, subject, lambda: (MODEL,))
    checks = applicable(cell, "cpu")
    assert not {check.stage for check in checks} & {*CONVERTING_STAGES}
    assert {"files", "graph", "tensors", "client"} <= {check.name for check in checks}


@pytest.fixture(scope="session")
def detector(
    tiny_model: Callable[[str], TinyModel], tmp_path_factory: pytest.TempPathFactory
) -> TinyModel:
    """A tiny YOLOX-Pose that finds another number of people in each image."""
    tiny = tiny_model("yoloxpose_tiny")
    folder = tmp_path_factory.mktemp("detector")
    text = tiny.config.read_text().replace("score_thr=0.25", f"score_thr={SCORE_THR}")
    config, checkpoint = folder / "model.py", folder / "model.pth"
    config.write_text(text)
    checkpoint.write_bytes(tiny.checkpoint.read_bytes())
    return TinyModel(config, checkpoint)


@pytest.fixture(scope="session")
def old_graph(detector: TinyModel) -> Path:
    """Its graph at MMDeploy's opset."""
    from posedeploy.apis.deploying import deploy

    folder = detector.config.parent
    base = config_root() / "pose-detection_yolox-pose_onnxruntime_dynamic.py"
    deploy_config = folder / "opset11.py"
    deploy_config.write_text(DEPLOY_CONFIG.format(base=str(base)))
    deploy(str(deploy_config), detector.config, detector.checkpoint, folder / "ours")
    return folder / "ours" / "end2end.onnx"


def test_folders_like_mmdeploys_get_the_verdicts_that_they_deserve(
    inner_run: pytest.Pytester, detector: TinyModel, old_graph: Path
) -> None:
    """Opset 11, `Identity`, varying rows and UNKNOWN are no faults; two others are, and named."""
    faults: dict[str, dict[str, Any]] = {"mended": {}, "faulty": {"clip": False, "score_thr": 0.5}}
    folder, rows = detector.config.parent, []
    for name, edits in faults.items():
        graph = folder / f"{name}.onnx"
        onnx.save(like_mmdeploys(onnx.load(old_graph), **edits), graph)
        test_cfg = {"score_thr": SCORE_THR, "nms_thr": 0.65}
        mmdeploy_detector(graph, folder / name, (96, 96), test_cfg)
        rows.append(ROW.format(name, "model.pth") + f'name = "{name}"\n')
    (folder / "zoo.toml").write_text("".join(rows))
    done = inner_run.run(
        sys.executable, "-m", "posedeploy", "test", "--sdk-models", folder / "zoo.toml",
        "--artifact-cache", "cache", "--report-dir", "report", "-q", "-p", "no:cacheprovider",
    )  # fmt: skip
    results = json.loads((inner_run.path / "report" / "results.json").read_text())
    by_name = {cell["model"]: cell for cell in results["cells"]}
    for cell in by_name.values():
        stages = {stage["name"]: stage["outcome"] for stage in cell["stages"]}
        assert not set(stages) & {*CONVERTING_STAGES}
        assert (cell["implementation"], cell["folder"]) == ("folder", str(folder / cell["model"]))
        assert cell["graph"]["opset"] == 11
        assert stages["contract"] == stages["finite"] == stages["run"] == "pass"
        for note in ("opset 11;", "do nothing: Identity", "first dimension of dets: found ('?',)"):
            assert any(note in text for text in cell["notes"])
        assert any(text.startswith("shape of dets: found {(") for text in cell["notes"])
    mended, faulty = by_name["mended"], by_name["faulty"]
    assert (mended["outcome"], mended["headroom"] <= 1) == ("pass", True)
    assert mended["sdk_client_error_px"]["max"] < 0.01
    assert faulty["outcome"] == "mismatch"
    assert "boxes not clipped to the input: " in faulty["reason"]
    assert f"score less than the model's {SCORE_THR}" in faulty["reason"]
    assert "with these mended, 0 would be missing and 0 would not be" in faulty["reason"]
    done.stdout.fnmatch_lines(["Judged: folder.", "*note: opset 11; this project's exporters*"])
    assert "[17, 18]" not in faulty["reason"]
