"""`posedeploy infer` on what a folder of a stranger may hold: bombs, odd names, odd videos."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from fixtures.commands import Done, film
from posedeploy.cli.infer.sources import Source, drawn_names
from posedeploy.cli.infer.videos import MOST_SIDE, open_video, write_video
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.synthetic.figures import draw_figure

SIZE = (96, 144)
NAMES = (
    b"\xff\xfe", b"a\nb\x1b[31m", b"x" * 250, "é".encode() * 120, b"a:b", b"-v", b"%03d",
    b"[red]a[bold", b" ", b"'\"$(x)",
)  # fmt: skip


@pytest.fixture
def sdk(tiny_sdk: Callable[[str], Path]) -> Path:
    return tiny_sdk("rtmpose_t")


@pytest.fixture
def infer(sdk: Path, tmp_path: Path) -> Callable[..., Done]:
    """The command in a process of its own: what OpenCV does with some of these files ends it."""

    def run(*words: str, model: str = str(sdk)) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "posedeploy", "infer", model, *words], cwd=tmp_path,
            capture_output=True, check=False, timeout=120,
            env={**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def encoded() -> bytes:
    return cv2.imencode(".png", draw_figure(1, SIZE)[0])[1].tobytes()


@pytest.mark.parametrize("json_lines", [False, True])
def test_every_images_fault_is_left_out_and_the_run_goes_on(
    infer: Callable[..., Done], tmp_path: Path, json_lines: bool
) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    for name in ("a.png", "z.png"):
        (folder / name).write_bytes(encoded())
    bombs = {
        "bomb.bmp": bytes.fromhex("424d").ljust(14, b"\0")
        + np.array([40, 60_000, 60_000, *range(20)], "<u4").tobytes(),
        "bomb.tif": b"II*\0\x08\0\0\0\2\0"
        + np.array([[0x00040100, 1, 60_000], [0x00040101, 1, 60_000]], "<u4").tobytes(),
        "empty.jpg": b"",
        "cut.png": encoded()[:20],
        "text.webp": b"no image",
    }
    for name, content in bombs.items():
        (folder / name).write_bytes(content)
    done = infer("found", *(["--json"] if json_lines else []))
    assert done.code == 1
    assert "Traceback" not in done.err
    if json_lines:
        kinds = {Path(line["source"]).name: line["kind"] for line in done.lines[1:]}
        assert kinds == {**dict.fromkeys(bombs, "unreadable"), "a.png": "image", "z.png": "image"}
        assert "5 of 7 could not be read to the end" in done.err
    else:
        assert done.out.count("left out: ") == len(bombs)
        assert "left out: bomb.bmp: 60000x60000 px, 3,600,000,000 in all" in done.out
        assert "5 of 7 could not be read to the end" in done.out
        assert len(list((tmp_path / "poses").iterdir())) == 2


def test_one_file_of_several_that_are_named_is_left_out_too(
    infer: Callable[..., Done], tmp_path: Path
) -> None:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(encoded())
    (tmp_path / "b.png").write_bytes(b"none")
    done = infer("a.png", "b.png", "c.png", "--json")
    assert (done.code, [line["kind"] for line in done.lines[1:]]) == (
        1, ["image", "unreadable", "image"],
    )  # fmt: skip
    assert infer("b.png").code == 2


def test_the_option_is_the_limit(infer: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    film(tmp_path / "b.avi", SIZE)
    pixels = SIZE[0] * SIZE[1]
    assert infer("a.png", "b.avi", f"--max-pixels={pixels}", "--json").code == 0
    for name in ("a.png", "b.avi"):
        done = infer(name, f"--max-pixels={pixels - 1}", "--json")
        assert (done.code, f"found:    96x144 px, {pixels:,} in all" in done.err) == (2, True)
    assert infer("a.png", "--max-pixels=800000000").code == 2


def test_names_of_files(infer: Callable[..., Done], tmp_path: Path) -> None:
    folder, found = tmp_path / "found", {}
    folder.mkdir()
    video = film(tmp_path / "plain.avi", SIZE).read_bytes()
    for stem in NAMES:
        for suffix, content in ((b".png", encoded()), (b".avi", video)):
            path = Path(os.fsdecode(os.fsencode(folder) + b"/" + stem + suffix))
            try:
                path.write_bytes(content)
            except OSError:  # macOS takes names of UTF-8 alone
                assert sys.platform == "darwin"
                continue
            found[f"found/{path.name}"] = path
    done = infer("found")
    assert done.code == 0, done
    assert len(done.out.splitlines()) == 1 + len(found)  # the model, then the files
    assert "\x1b[31m" not in done.out
    assert all(stem in done.out for stem in (r"\udcff\udcfe", r"a\nb\x1b[31m", "[red]a[bold"))
    drawn = list((tmp_path / "poses").iterdir())
    assert len(drawn) == len(found)
    assert max(len(os.fsencode(path.name)) for path in drawn) <= 255
    lines = [line for line in infer("found", "--json").lines if line["kind"] in {"image", "video"}]
    assert {line["source"] for line in lines} == set(found)  # JSON's escapes are the bytes


def test_a_name_from_the_command_line_may_be_of_any_bytes(
    infer: Callable[..., Done], tmp_path: Path
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    try:
        path.write_bytes(encoded())
    except OSError as error:
        pytest.skip(f"the file system refuses the name: {error.strerror}")
    assert infer(path.name).code == 0
    path.write_bytes(b"none")
    done = infer(path.name)
    assert (done.code, "error: image \\udce9.png" in done.err) == (2, True)


def test_long_names_are_shortened_and_stay_different() -> None:
    stems = ["é" * 124 + "a", "é" * 124 + "b", "é" * 124 + "a"]
    sources = [Source(Path(f"{i}/{stem}.png"), False, False) for i, stem in enumerate(stems)]
    names = drawn_names(sources)
    assert len(set(names)) == 3
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert all(name.endswith(("_poses.png", "_poses_2.png")) for name in names)


def giant(path: Path, side: int) -> Path:
    """An AVI whose header and frames declare a square of that side, px."""
    content = bytearray(film(path, SIZE).read_bytes())
    size = np.array(SIZE, "<u4").tobytes()
    start = 0
    while (start := content.find(size, start)) >= 0:
        content[start : start + 8] = np.array([side, side], "<u4").tobytes()
    start = 0
    while (start := content.find(b"\xff\xc0\0\x11\x08", start) + 5) >= 5:
        content[start : start + 4] = np.array([side, side], ">u2").tobytes()
    path.write_bytes(content)
    return path


def test_a_video_of_giant_frames_is_refused_by_its_header(
    infer: Callable[..., Done], tmp_path: Path
) -> None:
    with (
        pytest.raises(BadInputError, match="12000x12000 px"),
        open_video(giant(tmp_path / "giant.avi", 12_000)),
    ):
        pass
    done = infer("giant.avi")
    assert (done.code, "12000x12000 px, 144,000,000 in all" in done.err) == (2, True)


def test_frames_that_the_codec_cannot_hold_are_an_error(tmp_path: Path) -> None:
    frame = np.zeros((16, MOST_SIDE + 1, 3), np.uint8)
    with (
        pytest.raises(BadInputError, match="frames of 8192x16 px"),
        write_video(tmp_path / "wide.mp4", 25.0) as write,
    ):
        write(frame)
    with write_video(tmp_path / "fits.mp4", 25.0) as write:
        write(frame[:, :MOST_SIDE])
    assert [path.name for path in tmp_path.iterdir()] == ["fits.mp4"]


def test_a_video_that_was_not_written_to_its_end_is_an_error(tmp_path: Path) -> None:
    def cut(written: Sequence[Path]) -> None:
        with write_video(tmp_path / "made.mp4", 25.0) as write:
            write(draw_figure(1, SIZE)[0])
            (folder,) = written[0].glob(".made*")
            os.unlink(folder / "made.mp4")
            (folder / "made.mp4").write_bytes(b"\0\0\0\x08moov\0\0\0\x20mdat")

    with pytest.raises(UnavailableError, match="not written to its end"):
        cut([tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_a_model_folder_of_other_bytes_than_utf_8_is_refused(
    infer: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    done = infer("a.png", model="\udcff")
    assert (done.code, r"error: model folder \udcff" in done.err) == (2, True)
