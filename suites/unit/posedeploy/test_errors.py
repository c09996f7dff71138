"""An OSError as an error for a person."""

from __future__ import annotations

import errno
import os
import re
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from posedeploy.errors import (
    BadInputError,
    UnavailableError,
    did_you_mean,
    names_beside,
    storage_error,
)


@pytest.mark.parametrize(
    ("code", "kind", "next_step"),
    [
        (errno.ENOSPC, UnavailableError, "Free some space, or choose another place."),
        (errno.EDQUOT, UnavailableError, "Free some space, or choose another place."),
        (errno.EROFS, BadInputError, "Choose another place, or change its permissions."),
        (errno.EACCES, BadInputError, "Choose another place, or change its permissions."),
        (errno.ENAMETOOLONG, BadInputError, "Shorten it."),
        (errno.EEXIST, BadInputError, "Move what is there."),
        (errno.EIO, UnavailableError, "Choose another place."),
    ],
)
def test_the_file_system_refused(code: int, kind: type, next_step: str) -> None:
    error = storage_error(OSError(code, os.strerror(code), "work/a.bin"))
    assert error is not None
    assert type(error) is kind
    assert (error.subject, error.found, error.next_step) == (
        "work/a.bin", os.strerror(code), next_step,
    )  # fmt: skip


def test_a_cache_is_moved_by_its_variable(tmp_path: Path) -> None:
    caches = {tmp_path / "cache": "POSEDEPLOY_CACHE"}
    for name, moved in (("cache/weights/a.pth", True), ("cached/a.pth", False)):
        raised = OSError(errno.EROFS, "Read-only", str(tmp_path / name))
        error = storage_error(raised, None, caches)
        assert error is not None
        assert error.next_step.startswith("Set POSEDEPLOY_CACHE") == moved


def test_an_option_is_named_with_the_file() -> None:
    error = storage_error(OSError(errno.EROFS, "Read-only", "/mnt/x"), "--out poses")
    assert str(error).startswith("--out poses: found /mnt/x: Read-only; expected a place")


def test_a_full_disk_needs_no_name_and_other_errors_do() -> None:
    error = storage_error(OSError(errno.ENOSPC, "No space left on device"))
    assert error is not None
    assert re.match("the output: found No space left", str(error))
    assert storage_error(OSError(errno.EPIPE, "Broken pipe")) is None
    assert storage_error(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert storage_error(OSError("no number")) is None
    url = "http://127.0.0.1/x.pth"
    assert storage_error(urllib.error.HTTPError(url, 404, "Not Found", Message(), None)) is None


def test_a_link_that_leads_nowhere_is_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "model.pth").touch()
    (tmp_path / "model-1.pth").symlink_to("model-1.pth")
    (tmp_path / "model-2.pth").symlink_to("gone.pth")
    assert names_beside(tmp_path / "model-1.pth") == ["model.pth"]


@pytest.mark.parametrize(
    ("word", "advice"),
    [("RTMPose_T", "Did you mean rtmpose_t?"), ("hrnet", "Did you mean hrnet_w32_long_name?"),
     ("hr", "Check the spelling."), ("other", "Check the spelling.")],
)  # fmt: skip
def test_the_nearest_name_is_meant_in_any_case_or_by_its_beginning(word: str, advice: str) -> None:
    assert did_you_mean(word, ["rtmpose_t", "hrnet_w32_long_name"]) == advice
