"""deploy() and its parts: what is refused early; a folder that is whole or not there at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import posedeploy
from fixtures.servers import Server
from fixtures.tiny_models import TinyModel
from posedeploy.apis import deploying, exporting, sources
from posedeploy.apis.progress import StageEvent, at_stage
from posedeploy.config import ModelConfig, load_deploy_config, load_model_config
from posedeploy.errors import BadInputError, ConversionError, UnavailableError
from posedeploy.paths import whole_folder
from posedeploy.runtime import Availability, Code
from posedeploy.sdk.folder import read_folder
from posedeploy.zoo.download import fetch_url
from posedeploy.zoo.table import ModelRow, config_path, model_row

STATIC = "pose-detection_simcc_onnxruntime_static"


def zoo(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


@pytest.mark.parametrize(
    ("deploy", "model", "message"),
    [
        (STATIC, "hrnet_w32", "a deploy config for heatmap models"),
        ("pose-detection_onnxruntime_static", "rtmpose_t", "a deploy config for simcc models"),
        ("pose-detection_rtmo_onnxruntime_static", "yoloxpose_tiny", "for yolox-pose models"),
    ],
)
def test_a_deploy_config_must_be_for_the_models_head(
    deploy: str, model: str, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        exporting.check_fit(load_deploy_config(deploy), zoo(model))


def test_a_deploy_config_must_be_for_the_models_shape() -> None:
    config = load_deploy_config(STATIC)
    exporting.check_fit(config, zoo("rtmpose_t"))
    with pytest.raises(BadInputError, match=r"found \[100, 200\] \(W, H\); expected \[192, 256\]"):
        exporting.check_fit(replace(config, input_shape=(100, 200)), zoo("rtmpose_t"))


def test_what_is_exported_depends_on_what_the_spec_holds() -> None:
    config = load_deploy_config(STATIC)
    spec = exporting.export_spec(config)
    assert spec == exporting.export_spec(config, config.exporter)
    for changed in (
        exporting.export_spec(config, "dynamo"),
        exporting.export_spec(replace(config, opset=18)),
        exporting.export_spec(replace(config, dynamic_batch=True)),
        exporting.export_spec(replace(config, output_names=("y", "x"))),
    ):
        assert changed != spec


@pytest.mark.parametrize("device", ["tpu", "tpu:0", ""])
def test_a_device_the_backend_lacks_is_refused(device: str) -> None:
    deploying.check_device(load_deploy_config(STATIC), "cpu")
    with pytest.raises(BadInputError, match="a device of onnxruntime: cpu"):
        deploying.check_device(load_deploy_config(STATIC), device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_here_is_unavailable(device: str) -> None:
    gone = Availability(Code.NO_DRIVER, "no NVIDIA driver")
    with pytest.raises(UnavailableError, match=r"no-driver: no NVIDIA driver; .* --device cpu"):
        deploying.check_device(load_deploy_config(STATIC), device, lambda *_: gone)


def test_a_backend_that_cannot_be_converted_for_is_unavailable() -> None:
    found = Availability(Code.BROKEN_INSTALL, "import onnxruntime failed")
    with pytest.raises(UnavailableError, match="found broken-install: import onnxruntime failed"):
        deploying.check_ready(load_deploy_config(STATIC), zoo("rtmpose_t"), probe=lambda _: found)


def test_only_a_place_of_ours_may_be_written_to(tmp_path: Path) -> None:
    deploying.check_work_dir(tmp_path / "absent" / "deep")
    (tmp_path / "empty").mkdir()
    deploying.check_work_dir(tmp_path / "empty")
    ours = tmp_path / "ours"
    ours.mkdir()
    for name in (*deploying.SDK_FILES, "end2end.onnx", "output_pytorch.jpg"):
        (ours / name).write_text("x")
    deploying.check_work_dir(ours)
    (ours / "deploy.json").unlink()
    with pytest.raises(BadInputError, match="with other things in it"):
        deploying.check_work_dir(ours)
    with pytest.raises(BadInputError, match="found a file; expected a folder"):
        deploying.check_work_dir(ours / "end2end.onnx")
    with pytest.raises(BadInputError, match="which cannot be written to"):
        deploying.check_work_dir(ours / "end2end.onnx" / "deep" / "er")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a read-only file system")
def test_a_place_that_may_not_be_written_to_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"work dir /proc/out: found /proc, .* written to"):
        deploying.check_work_dir(Path("/proc/out"))  # nobody can, root included


def test_the_current_folder_is_no_work_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path(), tmp_path, tmp_path.parent / "x" / "..", tmp_path.parent):
        with pytest.raises(BadInputError, match="found the current folder"):
            deploying.check_work_dir(place)


@pytest.mark.parametrize("name", ["loop", "loop/x", "loop/x/y"])
def test_a_loop_of_links_is_no_work_dir(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInputError, match=f"work dir .*{name}: found a loop of links"):
        deploying.check_work_dir(tmp_path / name)


def test_a_link_to_a_place_that_is_not_there_yet_is_a_work_dir(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("absent")
    deploying.check_work_dir(tmp_path / "link")
    deploying.check_work_dir(tmp_path / "link" / "x")


def test_asking_whether_a_place_can_be_written_to_leaves_nothing(tmp_path: Path) -> None:
    deploying.check_work_dir(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with whole_folder(target) as staging:
        (staging / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert target.stat().st_mode & 0o777 == 0o755
    with whole_folder(target) as staging:
        (staging / "b").write_text("2")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("before", [True, False], ids=["replaced", "new"])
def test_a_folder_that_fails_half_way_leaves_what_was_there(
    tmp_path: Path, error: BaseException, before: bool
) -> None:
    target = tmp_path / "out"
    if before:
        target.mkdir()
        (target / "old").write_text("kept")
    with pytest.raises(type(error)), whole_folder(target) as staging:  # noqa: PT012
        (staging / "half").write_text("x")
        raise error
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == (
        ["out", "out/old"] if before else []
    )


def test_a_parent_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="a place that can be written to"):
        posedeploy.deploy(STATIC, zoo("rtmpose_t").path, None, tmp_path / "file" / "out")


def test_deploy_makes_the_same_folder_as_the_command(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny = tiny_model("rtmpose_t")
    done = posedeploy.deploy(STATIC, tiny.config, tiny.checkpoint, tmp_path / "sdk")
    assert done.folder == tmp_path / "sdk"
    assert [path.name for path in done.files] == ["end2end.onnx"]
    assert done.files[0].is_file()
    assert done.artifact.precision == "fp32"
    assert read_folder(done.folder).dataset_meta.keypoint_names[0] == "nose"
    again = exporting.Exported(**vars(done.exported))
    assert again.path.name == done.exported.graph


def test_an_export_is_read_back(tiny_model: Callable[[str], TinyModel], tmp_path: Path) -> None:
    tiny, config = tiny_model("rtmpose_t"), load_deploy_config(STATIC)
    model_config = load_model_config(tiny.config)
    made = exporting.export(model_config, tiny.checkpoint, config, tmp_path)
    found = exporting.read_exported(tmp_path)
    assert (found.graph, found.opset, found.checkpoint) == (
        made.graph,
        made.opset,
        str(tiny.checkpoint),
    )
    assert found.nodes == made.nodes
    assert found.path.is_file()


def test_a_file_that_the_backend_refuses_is_a_conversion_error_at_load(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    tiny, config = tiny_model("rtmpose_t"), load_deploy_config(STATIC)
    model_config = load_model_config(tiny.config)
    (tmp_path / "export").mkdir()
    (tmp_path / "sdk").mkdir()
    exported = exporting.export(model_config, tiny.checkpoint, config, tmp_path / "export")
    graph = onnx.load(exported.path)
    graph.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(graph, exported.path)
    with pytest.raises(ConversionError, match="a file that the backend loads") as caught:
        deploying.convert_exported(exported, config, model_config, tmp_path / "sdk")
    assert caught.value.stage == "load"


def test_progress_names_each_stage_and_its_seconds(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []

    class Counted(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *args: object, **kwargs: object) -> None:
            loaded.append(args[0])
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Counted)
    events: list[StageEvent] = []
    tiny = tiny_model("rtmpose_t")
    image = np.zeros((90, 120, 3), np.uint8)
    done = posedeploy.deploy(
        STATIC, tiny.config, tiny.checkpoint, tmp_path / "sdk",
        images=[image], progress=events.append,
    )  # fmt: skip
    assert [(e.stage, e.state) for e in events] == [
        (stage, state)
        for stage in ("checkpoint", "model", "export", "convert", "compare")
        for state in ("started", "done")
    ]
    assert all((e.seconds > 0) == (e.state == "done") for e in events)
    assert done.compared[0].distances.same
    assert (tmp_path / "sdk" / "output_pytorch.jpg").is_file()
    assert len(loaded) == 1  # the conversion's session is the comparison's


def test_a_failure_carries_the_stage_it_happened_at() -> None:
    events: list[StageEvent] = []
    with pytest.raises(ValueError, match="no") as caught, at_stage("export", events.append):
        raise ValueError("no")
    assert caught.value.stage == "export"  # type: ignore[attr-defined]
    assert [e.state for e in events] == ["started", "failed"]
    with pytest.raises(ConversionError) as named, at_stage("convert", events.append):
        raise ConversionError("load", "a", "b", "c", "d")
    assert named.value.stage == "load"


def test_zoo_names_stand_for_configs() -> None:
    assert sources.is_zoo_name("rtmpose_t")
    assert not sources.is_zoo_name("rtmpose_x")
    found = sources.resolve_model_config("rtmpose_t")
    assert found.is_file()
    assert sources.resolve_model_config(found) == found
    with pytest.raises(BadInputError, match=r"no such file and no such name.*rtmpose_t"):
        sources.resolve_model_config("rtmpose_x")


@pytest.mark.parametrize("folder", ["", "configs/", "../mmpose/configs/", "/opt/mmpose/configs/"])
def test_paths_of_mmposes_repository_stand_for_the_configs_it_ships(folder: str) -> None:
    row = model_row("rtmpose_t")
    name = f"{folder}{row.config}" if folder else Path(row.config).name
    assert sources.resolve_model_config(name) == config_path(row)


@pytest.mark.parametrize(
    ("name", "next_step"),
    [
        ("projects/rtmpose/{}", "For the config of this name that mmpose ships, write {}"),
        ("configs/body_2d_keypoint/{}", "For the config of this name that mmpose ships, write {}"),
        ("configs/../../model-index.yml", "Check the spelling."),
        ("RTMPose_T", "Did you mean rtmpose_t?"),
    ],
)
def test_other_paths_are_no_configs(name: str, next_step: str) -> None:
    file = Path(model_row("rtmpose_t").config).name
    with pytest.raises(BadInputError) as caught:
        sources.resolve_model_config(name.format(file))
    assert caught.value.next_step == next_step.format(file)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_url_is_downloaded(
    server: Server, tmp_path: Path, kind: Callable[[str], object]
) -> None:
    """`Path` makes one slash of the two in a URL."""
    asked: list[str] = []

    def fetch(url: str, on_progress: Callable[[int, int | None], None]) -> Path:
        asked.append(url)
        return fetch_url(url, tmp_path, on_progress=on_progress)

    path = sources.checkpoint_file(kind(server.url), fetch)  # type: ignore[arg-type]
    assert asked == [server.url]
    assert path.read_bytes() == server.content


def test_a_checkpoint_is_a_file_or_is_made(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"x")
    assert sources.resolve_checkpoint("rtmpose_t", path) == path
    with pytest.raises(
        BadInputError, match=r"a \.pth file or its URL, 'calibrated', 'trained' or 'fitted'"
    ):
        sources.resolve_checkpoint("rtmpose_t", tmp_path / "b.pth")
    with pytest.raises(BadInputError, match="no such name"):
        sources.resolve_checkpoint("rtmpose_x", None)
    asked: list[tuple[str, str]] = []

    def make(_config: object, _folder: Path, name: str, _seed: int, kind: str) -> Path:
        asked.append((name, kind))
        return path

    for model, checkpoint in (
        ("rtmpose_t", None), ("rtmpose_t", "calibrated"), ("rtmpose_t", "fitted"),
        (sources.resolve_model_config("rtmpose_t"), None),
    ):  # fmt: skip
        assert sources.resolve_checkpoint(model, checkpoint, make=make) == path
    made = ("rtmpose_t", "calibrated")
    assert asked == [made, made, ("rtmpose_t", "fitted"), ("", "calibrated")]


def test_a_published_checkpoint_is_fetched_for_a_zoo_model(tmp_path: Path) -> None:
    path, asked = tmp_path / "a.pth", []

    def fetch(row: ModelRow, on_progress: Callable[[int, int | None], None]) -> Path:
        asked.append(row.name)
        on_progress(1, None)
        return path

    assert sources.published_checkpoint("rtmpose_t", fetch) == path
    assert asked == ["rtmpose_t"]
    with pytest.raises(BadInputError, match="a model that is not in the zoo"):
        sources.resolve_checkpoint("my_own.py", "zoo")


@pytest.mark.parametrize(
    ("checkpoint", "note"),
    [(None, "find nobody"), ("calibrated", "find nobody"), ("fitted", "nothing in a photograph")],
)
def test_generated_weights_come_with_a_note(checkpoint: str | None, note: str) -> None:
    assert note in sources.note_on(checkpoint)


@pytest.mark.parametrize("checkpoint", ["zoo", "work/a.pth"])
def test_trained_weights_come_without_a_note(checkpoint: str) -> None:
    assert sources.note_on(checkpoint) == ""
