"""Errors of a file system, and who they are about."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest

from posedeploy.paths import check_writable, errors_naming, whole_file, whole_folder, write_text


def full(filename: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", filename)


def test_a_full_disk_is_about_the_file_that_was_to_be(tmp_path: Path) -> None:
    target = tmp_path / "made.txt"
    with pytest.raises(OSError, match="No space left") as caught, whole_file(target):
        raise full()  # as `write` raises it
    assert caught.value.filename == str(target)
    with pytest.raises(OSError, match="No space left") as caught, whole_file(target) as temporary:
        raise full(str(temporary))
    assert caught.value.filename == str(target)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_reports_a_full_disk_in_words_of_its_own(tmp_path: Path) -> None:
    def convert() -> None:
        try:
            raise full()
        except OSError as error:
            raise RuntimeError("the exporter failed") from error

    with pytest.raises(OSError, match="No space left") as caught, whole_folder(tmp_path / "work"):
        convert()
    assert caught.value.filename == str(tmp_path / "work")


def test_a_disk_with_no_room_left_is_why(small_disk: Path) -> None:
    def fill(folder: Path) -> None:
        with contextlib.suppress(OSError):
            (folder / "x").write_bytes(bytes(1 << 20))
        raise_its_own()

    def raise_its_own() -> None:
        raise RuntimeError("unexpected pos 970304 vs 970200")  # torch.save

    with pytest.raises(OSError, match="No space left") as caught:  # noqa: SIM117
        with whole_folder(small_disk / "work") as folder:
            fill(folder)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small_disk / "work"))
    assert list(small_disk.iterdir()) == []


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    for error in (full("/elsewhere"), ConnectionResetError(104, "reset"), RuntimeError("no")):
        with pytest.raises(type(error)) as caught, errors_naming(tmp_path / "made"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS])
def test_what_a_disk_refuses_names_the_file(tmp_path: Path, number: int) -> None:
    with pytest.raises(OSError) as caught, errors_naming(tmp_path / "made"):  # noqa: PT011
        raise OSError(number, "refused")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "made"))


def test_a_refusal_names_no_temporary_folder(read_only: Path) -> None:
    with pytest.raises(OSError, match=r"Permission denied|Read-only") as caught:
        write_text(read_only / "made.txt", "text")
    assert caught.value.filename == str(read_only / "made.txt")


def test_what_can_be_written_to_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "there")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        check_writable(tmp_path / "file" / "in" / "it")
    assert caught.value.filename == str(tmp_path / "file")


def test_what_cannot_be_written_to_names_the_folder_that_is_there(read_only: Path) -> None:
    with pytest.raises(OSError, match=r"Permission denied|Read-only") as caught:
        check_writable(read_only / "not" / "there")
    assert caught.value.filename == str(read_only)


def test_a_full_disk_can_be_opened_and_not_written_to(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "big").write_bytes(bytes(1 << 20))
    with pytest.raises(OSError, match="No space"):
        check_writable(small_disk)
