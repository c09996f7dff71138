"""Models beside the zoo's that some defects need: another codec, another shape of the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from fixtures.grouping_configs import GROUPING_KINDS, write_grouping_config
from fixtures.tiny_models import DEBIAS, INTEGRAL, REGRESSION, RTMW, VISIBILITY
from poseconform.matrix.cells import Cell, Model
from poseconform.planted.defects import Defect, Site
from poseconform.subject.protocol import Subject

GoodCell = Callable[[Site, str], Cell]  # of a site and a model's name
TryIt = Callable[[Defect, str], None]

_PIPELINE = """
val_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage'), {steps} dict(type='PackPoseInputs', {packed})]))
test_dataloader = val_dataloader
"""
_TOP_DOWN = """
_base_ = {base!r}
codec = dict(_delete_=True, input_size=(192, 256), heatmap_size=(48, 64), {codec})
model = dict(head=dict(decoder=dict(
    _delete_=True, input_size=(192, 256), heatmap_size=(48, 64), {codec})))
"""
_WARP = "dict(type='GetBBoxCenterScale'), dict(type='TopdownAffine', input_size=(192, 256){udp}),"
_WIDE = """
_base_ = {base!r}
input_size = (640, 416)
codec = dict(type='YOLOXPoseAnnotationProcessor', input_size=input_size)
model = dict(test_cfg=dict(input_size=input_size))
"""
_CLASSES = """
_base_ = {base!r}
model = dict(head=dict(num_classes=2, head_module_cfg=dict(num_classes=2)))
"""
_BOTTOM_UP = "dict(type='BottomupResize', input_size=(640, 416), pad_val=(114, 114, 114)),"
_PACKED = """meta_keys=('id', 'img_id', 'img_path', 'ori_shape', 'img_shape', 'input_size',
                        'input_center', 'input_scale')"""

# Name -> the zoo's model it derives from, and its config
VARIANTS: Mapping[str, tuple[str, str]] = {
    "dsnt_res18": ("dsnt_res50", INTEGRAL),
    "dsnt_res18_debias": ("dsnt_res50", DEBIAS),
    "litehrnet_18_udp": (
        "litehrnet_18",
        _TOP_DOWN.replace("{codec}", "type='UDPHeatmap', sigma=2")
        + _PIPELINE.format(steps=_WARP.format(udp=", use_udp=True"), packed=""),
    ),
    "litehrnet_18_dark": (
        "litehrnet_18",
        _TOP_DOWN.replace("{codec}", "type='MSRAHeatmap', sigma=2, unbiased=True")
        + _PIPELINE.format(steps=_WARP.format(udp=""), packed=""),
    ),
    "reg_res18": ("reg_res50", REGRESSION),
    "rle_res18": ("rle_res50", REGRESSION),
    "rtmo_t_640x416": (
        "rtmo_t",
        _WIDE + _PIPELINE.format(steps=_BOTTOM_UP, packed=_PACKED),
    ),
    "rtmo_t_2_classes": ("rtmo_t", _CLASSES),
    "rtmw_tiny": ("rtmw_m", RTMW),
    "vis_res18": ("vis_res50", VISIBILITY),
    "yoloxpose_tiny_2_classes": ("yoloxpose_tiny", _CLASSES),
}  # fmt: skip


def model_of(subject: Subject, name: str, folder: Path) -> Model:
    """A model of the zoo; or of `VARIANTS` or a kind that groups, its config put into `folder`."""
    if name in GROUPING_KINDS:
        return subject.model_from_config(str(write_grouping_config(name, folder / f"{name}.py")))
    if name not in VARIANTS:
        (model,) = subject.models([name])
        return model
    base, text = VARIANTS[name]
    path = folder / f"{name}.py"
    (known,) = subject.models([base])
    path.write_text(text.replace("{base!r}", repr(known.config)), encoding="utf-8")
    return subject.model_from_config(str(path))
