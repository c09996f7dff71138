"""What makes mmpose import: a stand-in where a package is absent, else the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posedeploy.compat import STAND_INS, StandInUsedError, install, without_missing_scopes

REPORT = """
import json, sys, warnings
warnings.simplefilter("always")
from posedeploy import compat
done = compat.install()
import mmpose.models, mmpose.apis
import mmpose.models.heads.hybrid_heads.rtmo_head as head
print(json.dumps({"real": done.real, "stand_ins": done.stand_ins,
                  "reduce_mean": head.reduce_mean.__module__}))
"""


def run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    import os

    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path or ""), *sys.path])}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )


def test_mmpose_imports_with_stand_ins_and_without_a_warning() -> None:
    done = run(REPORT)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {*report["real"], *report["stand_ins"]} == {row.module for row in STAND_INS}
    assert "mmdet.utils" in report["stand_ins"]
    assert "is not installed" not in done.stderr + done.stdout
    assert "MultiScaleDeformableAttention" not in done.stderr


def test_the_backbone_of_vitpose_imports_with_stand_ins() -> None:
    """Without what mmpretrain requires of others: einops, mat4py, modelindex, torchvision."""
    done = run(
        "from posedeploy import compat\ncompat.install()\nimport mmpose.models\n"
        "from mmpose.registry import MODELS\n"
        "print(MODELS.get('mmpretrain.VisionTransformer').__module__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "mmpretrain.models.backbones.vision_transformer"
    assert "Warning" not in done.stderr


def test_the_real_package_is_used_where_it_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "mmdet"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "utils.py").write_text(
        "ConfigType = dict\ndef reduce_mean(tensor): return tensor\nREAL = True\n"
        "def register_all_modules(scope): pass\n"
    )
    done = run(REPORT, tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "mmdet.utils" in report["real"]
    assert report["reduce_mean"] == "mmdet.utils"


def test_a_package_that_does_not_import_is_replaced_and_named(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    done = run(REPORT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "torchvision.transforms" in json.loads(done.stdout)["stand_ins"]
    assert "operator nms does not exist" in done.stderr


def test_a_stand_in_that_is_called_names_what_to_install() -> None:
    if "mmcv.ops" in install().real:
        pytest.skip("not-applicable: compiled mmcv is installed here")
    from mmcv.ops import MultiScaleDeformableAttention

    with pytest.raises(StandInUsedError, match="compiled mmcv"):
        MultiScaleDeformableAttention(embed_dims=8)


def test_the_stand_in_for_a_mean_over_processes_is_the_value_in_a_single_one() -> None:
    """RTMO's loss takes it; mmdet's own function does the same."""
    install()
    import torch
    from mmdet.utils import reduce_mean

    count = torch.tensor(3.0)
    assert reduce_mean(count) is count


def test_installing_twice_changes_nothing() -> None:
    assert install() is install()


def test_scopes_of_missing_packages_are_taken_out() -> None:
    tree: dict[str, Any] = {
        "backbone": {"_scope_": "mmdet", "type": "CSPNeXt"},
        "x": [{"_scope_": "mmpose"}],
    }
    cleaned = without_missing_scopes(tree)
    if "mmdet.utils" in install().stand_ins:
        assert cleaned["backbone"] == {"type": "CSPNeXt"}
    assert cleaned["x"] == [{"_scope_": "mmpose"}]
    assert tree["backbone"]["_scope_"] == "mmdet"


def test_a_scope_that_was_renamed_has_its_present_name() -> None:
    tree: dict[str, Any] = {
        "backbone": {"type": "mmcls.VisionTransformer"},
        "neck": [{"_scope_": "mmcls", "type": "FakeNeck"}],
    }
    assert without_missing_scopes(tree) == {
        "backbone": {"type": "mmpretrain.VisionTransformer"},
        "neck": [{"_scope_": "mmpretrain", "type": "FakeNeck"}],
    }


@pytest.mark.parametrize(
    ("scope", "value", "expected"),
    [
        ("mmcls", False, {"out_type": "featmap"}),
        ("mmcls", True, {"output_cls_token": True}),  # the class token is no map
        ("mmpretrain", False, {"output_cls_token": False}),  # never was a field of it
    ],
)
def test_a_field_of_the_former_name_has_its_present_name(
    scope: str, value: bool, expected: dict[str, Any]
) -> None:
    tree = {"type": f"{scope}.VisionTransformer", "output_cls_token": value}
    assert without_missing_scopes(tree) == {"type": "mmpretrain.VisionTransformer", **expected}
