"""Deploy configs are read without running them, and as MMEngine reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posedeploy.config import config_root, deploy_config_text, load_deploy_config
from posedeploy.config.literals import NotLiteralError, read_literals

FILES = sorted(path.relative_to(config_root()) for path in config_root().rglob("*.py"))
PAYLOAD = "open({target!r}, 'w').close()"


def by_mmengine(path: Path) -> Any:
    from mmengine.config import Config

    return Config.fromfile(str(path)).to_dict()


@pytest.mark.parametrize("name", [str(path) for path in FILES])
def test_our_files_are_as_mmengine_reads_them(name: str) -> None:
    path = config_root() / name
    assert repr(read_literals(path)) == repr(by_mmengine(path))


OWN = {
    "a new section": "more = dict(a=1, b=[1, (2, None)], c={'x': -0.5, 0: True})",
    "computed": "backend_config = dict(size=1 << 30)",
    "deleted": "backend_config = dict(_delete_=True, type='x')",
    "deleted, and new": "more = dict(_delete_=True, type='x')",
    "merged": "backend_config = dict(common=dict(fp16=True))",
    "nothing": "",
    "private": "__name = 3",
    "replaced": "backend_config = 7",
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_inheritance_is_mmengines(tmp_path: Path, own: str) -> None:
    base = "'''Text.'''\nbackend_config = dict(type='base', common=dict(fp16=False, size=[1]))\n"
    (tmp_path / "base.py").write_text(base)
    (tmp_path / "other.py").write_text("onnx_config = {'opset_version': 17}\n")
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = ['base.py', './other.py']\n{own}\n")
    assert repr(read_literals(path)) == repr(by_mmengine(path))


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "a = open('x')",
        "a = [].__class__",
        "a = 1\nb = a",
        "a = dict(**{})",
        "a = dict([])",
        "a = 1 << 10000",
        "a = 2 ** 10000",
        "a, b = 1, 2",
        "a = f'{1}'",
        "a = '{{ fileDirname }}'",
        "custom_imports = dict(imports=['os'])",
        "_base_ = 'missing.py'",
        "_base_ = 'mmpose::_base_/default_runtime.py'",
        "_base_ = ['mine.py']",
        "_base_ = [7]",
        "if True:\n  a = 1",
        "a = [1",
        "a = " + "[" * 3000,
        "a = '\0'",
        "a = {[]: 1}",
    ],
)
def test_what_is_more_than_literals_is_refused_by_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(NotLiteralError) as caught:
        read_literals(path)
    assert str(tmp_path) in caught.value.subject


def test_a_config_of_literals_is_never_run_and_another_only_where_that_is_allowed(
    tmp_path: Path,
) -> None:
    text = deploy_config_text("pose-detection_onnxruntime_static")
    path, made = tmp_path / "mine.py", tmp_path / "made"
    path.write_text(f"{text}\n__payload = open({str(made)!r}, 'w').close()\n")
    with pytest.raises(NotLiteralError, match=r"`open\(.*` in line"):
        load_deploy_config(path, run=False)
    assert not made.exists()
    assert load_deploy_config(path).backend == "onnxruntime"
    assert made.exists()
