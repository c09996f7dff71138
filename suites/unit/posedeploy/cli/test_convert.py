"""`posedeploy convert`: what it writes, what it says, and that bad input leaves nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from rich.console import Console

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy import __version__
from posedeploy.apis import comparing
from posedeploy.apis.comparing import FindKeypoints
from posedeploy.cli import main
from posedeploy.cli.app import run as run_application
from posedeploy.cli.app import show_error
from posedeploy.cli.convert import JPEG_SIDE, run
from posedeploy.errors import ConversionError, UnavailableError
from posedeploy.runtime import Availability, Code
from posedeploy.runtime.onnxruntime import OnnxRuntime
from posedeploy.sdk.reading import ImageSource

DEPLOY = "pose-detection_simcc_onnxruntime_static"


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    code: int
    out: str
    err: str


@dataclass
class Desk:
    """A folder with good input, and the command run on it with some of it replaced."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    arguments: dict[str, str]

    def run(self, *options: str, **changes: str) -> Done:
        words = self.arguments | changes
        with pytest.raises(SystemExit) as caught:
            main(["convert", *words.values(), *options])
        printed = self.capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int) or code is None
        return Done(code or 0, printed.out, printed.err)

    def listing(self) -> set[str]:
        return {str(p.relative_to(self.folder)) for p in self.folder.rglob("*")}


@pytest.fixture
def desk(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: Callable[[str], TinyModel],
) -> Desk:
    tiny = tiny_model("rtmpose_t")
    image = tmp_path / "figure.png"
    cv2.imwrite(str(image), drawn(3, (120, 90)).image)
    (tmp_path / "notes.txt").write_text("not a checkpoint, not an image")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    arguments = {
        "deploy": DEPLOY, "model": str(tiny.config), "checkpoint": str(tiny.checkpoint),
        "image": str(image), "work_dir": "--work-dir=out",
    }  # fmt: skip
    return Desk(tmp_path, capsys, monkeypatch, arguments)


BAD_INPUT: dict[str, tuple[dict[str, str], str]] = {
    "no deploy config": ({"deploy": "nowhere.py"}, "nowhere"),
    "a deploy config that is a model's": (
        {"deploy": "{model}"}, "onnx_config|ir_config|backend_config|codebase_config",
    ),
    "a deploy config that is text": ({"deploy": "notes.txt"}, "notes.txt"),
    "a deploy config of another head": (
        {"deploy": "pose-detection_onnxruntime_dynamic"}, "pose-detection_simcc_onnxruntime",
    ),
    "a backend without a converter": (
        {"deploy": "pose-detection_simcc_tensorrt_dynamic-256x192"}, "",
    ),
    "a deploy config of another shape": (
        {"deploy": "pose-detection_simcc_openvino_static-256x192"}, "[192, 256]",
    ),
    "no model config": ({"model": "nowhere.py"}, "nowhere.py"),
    "a model config that is text": ({"model": "notes.txt"}, "notes.txt"),
    "no checkpoint": ({"checkpoint": "nowhere.pth"}, "checkpoint nowhere.pth"),
    "a checkpoint that is text": ({"checkpoint": "notes.txt"}, "notes.txt"),
    "a checkpoint of another model": ({"checkpoint": "{other}"}, "tiny_yoloxpose_tiny.pth"),
    "no image": ({"image": "nowhere.jpg"}, "image nowhere.jpg"),
    "an image that is text": ({"image": "notes.txt"}, "bytes that OpenCV cannot read"),
    "a work dir that is a file": ({"work_dir": "--work-dir=notes.txt"}, "work dir notes.txt"),
    "a work dir with other things in it": ({"work_dir": "--work-dir=full"}, "thesis.tex"),
    "a work dir below a file": ({"work_dir": "--work-dir=notes.txt/out"}, "cannot be written to"),
}  # fmt: skip
BAD_OPTIONS = {
    "a device of another backend": ("--device=npu:0", "a device of onnxruntime: cpu"),
    "no such log level": ("--log-level=LOUD", "one of: CRITICAL, ERROR"),
    "no such exporter": ("--exporter=fax", "torchscript"),
    "no such second image": ("--test-img=nowhere.jpg", "image nowhere.jpg"),
}


def assert_refused(done: Done, desk: Desk, before: set[str], code: int = 2) -> None:
    assert done.code == code, done
    for part in ("error:", "found:", "expected:", "next:"):
        assert done.err.count(part) == 1, done.err
    assert "Traceback" not in done.err
    assert desk.listing() == before


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_error_and_nothing_is_written(
    desk: Desk, case: str, tiny_model: Callable[[str], TinyModel]
) -> None:
    changes, named = BAD_INPUT[case]
    other = str(tiny_model("yoloxpose_tiny").checkpoint) if "{other}" in str(changes) else ""
    words = {"model": desk.arguments["model"], "other": other}
    before = desk.listing()
    done = desk.run(**{name: text.format(**words) for name, text in changes.items()})
    assert_refused(done, desk, before)
    assert any(word in done.err for word in named.split("|"))


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused_in_the_same_way(desk: Desk, case: str) -> None:
    option, named = BAD_OPTIONS[case]
    before = desk.listing()
    done = desk.run(option)
    assert_refused(done, desk, before)
    assert named in done.err


def test_an_image_above_the_limit_is_refused_and_one_that_jpeg_cannot_hold(desk: Desk) -> None:
    before = desk.listing()
    done = desk.run(f"--max-pixels={120 * 90 - 1}")
    assert_refused(done, desk, before)
    assert "120x90 px" in done.err
    cv2.imwrite("wide.png", np.zeros((1, JPEG_SIDE + 1, 3), np.uint8))
    before = desk.listing()
    done = desk.run(image="wide.png")
    assert_refused(done, desk, before)
    assert "wide.png" in done.err


@pytest.mark.parametrize("name", ["[b]a[bold", "a\nb", "-a b", "%s'\"", "ü✓"])
def test_names_of_image_and_work_dir(desk: Desk, name: str) -> None:
    image = desk.folder / f"{name}.png"
    image.write_bytes(Path(desk.arguments["image"]).read_bytes())
    work = desk.folder / f"work {name}"
    done = desk.run(image=str(image), work_dir=f"--work-dir={work}")
    assert done.code == 0, done
    printed = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
    assert f"{printed}.png" in done.out
    assert (work / "deploy.json").is_file()


def test_a_work_dir_of_other_bytes_than_utf_8_is_refused(desk: Desk) -> None:
    before = desk.listing()
    done = desk.run(work_dir="--work-dir=\udcff")
    assert_refused(done, desk, before)
    assert r"error: work dir \udcff" in done.err


def test_a_disk_that_is_full_is_one_error_and_leaves_nothing(desk: Desk, small_disk: Path) -> None:
    before = desk.listing()
    done = desk.run(work_dir=f"--work-dir={small_disk / 'out'}")
    assert_refused(done, desk, before, 3)
    assert f"error: {small_disk / 'out'}\n  found:    No space left on device" in done.err
    assert list(small_disk.iterdir()) == []


def test_a_backend_that_is_not_usable_here_has_a_code_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Availability(Code.NOT_INSTALLED, "onnxruntime is not installed: python -m pip …")
    monkeypatch.setattr(OnnxRuntime, "probe", lambda _: found)
    before = desk.listing()
    done = desk.run()
    assert_refused(done, desk, before, code=3)
    assert "not-installed: onnxruntime is not installed" in done.err


def test_a_good_run_writes_the_folder_and_finds_the_same_keypoints(desk: Desk) -> None:
    second = desk.folder / "second.png"
    cv2.imwrite(str(second), drawn(4, (90, 120)).image)
    done = desk.run(f"--test-img={desk.arguments['image']}", f"--test-img={second}")
    assert done.code == 0, done
    assert done.out.count("same keypoints") == 2
    assert {path.name for path in (desk.folder / "out").iterdir()} == {
        "deploy.json", "detail.json", "pipeline.json", "end2end.onnx",
        "output_onnxruntime.jpg", "output_pytorch.jpg",
        "output_onnxruntime_1.jpg", "output_pytorch_1.jpg",
    }  # fmt: skip
    drawn_image = cv2.imread(str(desk.folder / "out" / "output_pytorch_1.jpg"))
    assert drawn_image is not None
    original = cv2.imread(str(second))
    assert original is not None
    assert drawn_image.shape == original.shape
    assert not [p for p in desk.folder.iterdir() if p.name.startswith(".")]


def convert_with(desk: Desk, find: FindKeypoints) -> tuple[str, str]:
    """`convert.run` with another way to find the deployed model's keypoints; what it printed."""
    console = Console(highlight=False, width=200)
    words = [desk.arguments[name] for name in ("deploy", "model", "checkpoint")]
    image = Path(desk.arguments["image"])
    with console.capture() as capture:
        outcome = run(
            words[0], words[1], words[2], [image],
            work_dir=desk.folder / "out", device=None, exporter=None, find=find, out=console,
        )  # fmt: skip
    return outcome, capture.get()


@pytest.fixture
def searches() -> Iterator[list[int]]:
    """The generation of each search for cycles, from now on."""
    done: list[int] = []

    def record(phase: str, facts: Mapping[str, int]) -> None:
        if phase == "start":
            done.append(facts["generation"])

    threshold = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own
    gc.callbacks.append(record)
    yield done
    gc.callbacks.remove(record)
    gc.set_threshold(*threshold)


def test_other_keypoints_than_pytorchs_are_reported_and_are_no_success(
    desk: Desk, searches: list[int]
) -> None:
    def wrong(folder: Path, image: ImageSource) -> np.ndarray:
        found: np.ndarray = comparing.sdk_keypoints(folder, image)
        found[0, 3, 0] += 50
        return found

    assert gc.isenabled()
    searches.clear()
    outcome, printed = convert_with(desk, wrong)
    assert searches == []  # of about a hundred that there would be
    assert gc.isenabled()
    assert outcome == "different"
    assert "different keypoints" in printed
    assert f"at most {50 / (120 / 64 * 1.25):.3g} px apart" in printed  # px of the input
    assert (desk.folder / "out" / "output_pytorch.jpg").is_file()


def test_an_interrupt_leaves_nothing(desk: Desk) -> None:
    def interrupted(_folder: Path, _image: ImageSource) -> np.ndarray:
        raise KeyboardInterrupt

    before = desk.listing()
    with pytest.raises(KeyboardInterrupt):
        convert_with(desk, interrupted)
    assert desk.listing() == before


def test_an_interrupted_command_prints_that_nothing_was_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped = typer.Typer()

    @stopped.command()
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_application([], stopped)
    assert caught.value.code == 130
    assert "nothing half-written was left behind" in capsys.readouterr().err


def test_an_error_is_printed_in_full_with_its_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "x" * 300
    show_error(ConversionError("load", f"[file] {long}", "[red]", "a graph", "Do [it]."))
    printed = capsys.readouterr().err.splitlines()
    rest = ["  found:    [red]", "  expected: a graph", "  next:     Do [it]."]
    assert printed == [f"error: [file] {long}", *rest]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"posedeploy {__version__}"


def test_what_converts_here_and_runs_elsewhere_is_written_and_not_compared(desk: Desk) -> None:
    def elsewhere(_folder: Path, _image: ImageSource) -> np.ndarray:
        raise UnavailableError("backend onnxruntime", "wrong-os: not here", "it", "Go there.")

    with pytest.raises(UnavailableError, match="was not compared with PyTorch") as caught:
        convert_with(desk, elsewhere)
    assert "wrong-os: not here" in str(caught.value)
    assert "posedeploy infer" in caught.value.next_step
    there = {path.name for path in (desk.folder / "out").iterdir()}
    assert there == {"deploy.json", "detail.json", "pipeline.json", "end2end.onnx"}
