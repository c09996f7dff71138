"""The line about configs that run: once for each file of others, and it can be hidden."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posedeploy.config import config_root
from posedeploy.config.files import TRUST_VARIABLE, read_config
from posedeploy.errors import BadInputError
from posedeploy.zoo.table import config_path, mmpose_files, model_row


def test_a_config_of_others_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    with caplog.at_level(logging.WARNING, "posedeploy.config.files"):
        for name in ("first.py", "first.py", "second.py"):
            (tmp_path / name).write_text("a = 1\n")
            read_config(tmp_path / name, "model config")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "first.py runs as Python" in lines[0]
    assert f"{TRUST_VARIABLE}=1" in lines[0]


def test_our_files_and_mmposes_are_not(caplog: pytest.LogCaptureFixture) -> None:
    read_config(config_root() / "pose-detection_static.py", "deploy config")
    read_config(config_path(model_row("rtmpose_t")), "model config")
    assert not caplog.records


def test_the_line_goes_to_stderr_and_can_be_hidden(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("a = 1\n")
    code = (
        "import sys, pathlib; from posedeploy.config.files import read_config; "
        "read_config(pathlib.Path(sys.argv[1]), 'model config')"
    )
    for value, lines in (("", 1), ("1", 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], env={**os.environ, TRUST_VARIABLE: value},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (done.stdout, len(done.stderr.splitlines())) == ("", lines)


def test_a_base_that_mmpose_s_wheel_lacks_is_named_with_what_to_write(tmp_path: Path) -> None:
    """MMEngine looks for it in mmpose/configs; the wheel has it in mmpose/.mim/configs."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from mmengine.config import read_base\nwith read_base():\n"
        "    from mmpose.configs._base_.default_runtime import *\n"
    )
    with pytest.raises(BadInputError) as caught:
        read_config(path, "model config")
    assert caught.value.found.endswith("not have: mmpose/configs/_base_/default_runtime.py")
    assert caught.value.next_step.endswith("_base_ = ['mmpose::_base_/default_runtime.py']")
    path.write_text("_base_ = ['mmpose::_base_/default_runtime.py']\n")
    assert "default_hooks" in read_config(path, "model config")


def test_edpose_is_not_supported_and_says_why() -> None:
    """Its config in the wheel cannot be read at all."""
    (path,) = (mmpose_files() / "configs").rglob("edpose_*.py")
    with pytest.raises(BadInputError, match=r"EDPose is not supported: .*DeformableAttention"):
        read_config(path, "model config")
