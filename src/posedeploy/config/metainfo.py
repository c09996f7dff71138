"""What a config says of its keypoints: `metainfo` of the data set, inline or in a file.

Reading it needs neither torch nor mmpose, whose `parse_pose_metainfo` takes what is returned here.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.config.files import find_beside, read_config, wheels_file
from posedeploy.errors import BadInputError

WHERE = "test_dataloader.dataset.metainfo"
_DATASETS = Path("configs/_base_/datasets")  # of mmpose: with these names it means its own files
_NEXT = "Write the metainfo as mmpose's configs/_base_/datasets/coco.py has it."
_log = logging.getLogger(__name__)


def config_metainfo(path: Path, config: Any) -> Mapping[str, Any] | None:
    """The metainfo of the test data set of a config (of the file `path`), as `read_metainfo`.

    None where it has none: that of the data set's type counts.

    Raises:
        BadInputError: It is not what mmpose takes, or its file is not there.
    """
    metainfo = config["test_dataloader"]["dataset"].get("metainfo")
    return None if not metainfo else read_metainfo(path, metainfo, f"{path}: {WHERE}")


def read_metainfo(path: Path, metainfo: Any, subject: str) -> Mapping[str, Any]:
    """A metainfo with all entries that mmpose's parser reads; `path` is that of the config.

    What is for training and evaluation alone may be missing: weights are then 1 and `sigmas`
    empty.

    Raises:
        BadInputError: It is not what mmpose takes, or its file is not there.
    """
    if not isinstance(metainfo, Mapping):
        raise BadInputError(subject, reprlib.repr(metainfo), "a dict", _NEXT)
    if "from_file" in metainfo:
        file = find_metainfo(path, str(metainfo["from_file"]), f"{subject}.from_file")
        subject = str(file)
        metainfo = read_config(file, "file with a dataset_info").get("dataset_info")
        if not isinstance(metainfo, dict):
            raise BadInputError(subject, "no dataset_info", "dataset_info = dict(…)", _NEXT)
    names = _names(metainfo.get("keypoint_info"), f"{subject}: keypoint_info")
    links = metainfo.get("skeleton_info") or {}
    _check_links(links, names, f"{subject}: skeleton_info")
    for key in ("joint_weights", "sigmas"):
        values = metainfo.get(key)
        listed = isinstance(values, list | tuple) and all(map(_is_number, values))
        if values is not None and not listed:  # mmpose's own have none, or too many
            expected = "numbers, one a keypoint, or none"
            raise BadInputError(f"{subject}: {key}", reprlib.repr(values), expected, _NEXT)
    defaults = {
        "dataset_name": path.stem, "skeleton_info": {}, "joint_weights": [1.0] * len(names),
        "sigmas": [],
    }  # fmt: skip
    return defaults | {key: value for key, value in metainfo.items() if value is not None}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(keypoints: Any, subject: str) -> list[str]:
    """Names of the keypoints; each must be in its place, once, and its `swap` another's name."""
    found = reprlib.repr(keypoints) if keypoints else "nothing"
    if not keypoints or not isinstance(keypoints, dict):
        raise BadInputError(subject, found, "{0: dict(name='nose', id=0, …), …}", _NEXT)
    if set(keypoints) != set(range(len(keypoints))):
        raise BadInputError(subject, found, f"the keys 0 to {len(keypoints) - 1}", _NEXT)
    for i, keypoint in keypoints.items():
        if not isinstance(keypoint, dict) or not isinstance(keypoint.get("name"), str):
            expected = "a dict with a name"
            raise BadInputError(f"{subject}[{i}]", reprlib.repr(keypoint), expected, _NEXT)
        _check_color(keypoint, f"{subject}[{i}]")
    names = [keypoints[i]["name"] for i in range(len(keypoints))]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BadInputError(subject, f"{twice!r} twice", "each name once", "Rename one of them.")
    for i, keypoint in keypoints.items():
        if keypoint.get("swap", "") not in ["", *names]:
            raise BadInputError(
                f"{subject}[{i}].swap", repr(keypoint["swap"]), "the name of a keypoint, or ''",
                "Correct the name.",
            )  # fmt: skip
    return names


def _check_links(links: Any, names: list[str], subject: str) -> None:
    if not isinstance(links, dict):
        raise BadInputError(subject, reprlib.repr(links), "a dict of links", _NEXT)
    for i, entry in links.items():
        link: Any = entry.get("link") if isinstance(entry, dict) else None
        pair = isinstance(link, list | tuple) and len(link) == 2
        if not pair or not all(name in names for name in link):
            found, expected = reprlib.repr(entry), "dict(link=(…)) with two keypoints' names"
            raise BadInputError(f"{subject}[{i}]", found, expected, "Correct the names.")
        _check_color(entry, f"{subject}[{i}]")


def _check_color(entry: Mapping[str, Any], subject: str) -> None:
    color = entry.get("color", (0, 0, 0))
    whole = isinstance(color, list | tuple) and len(color) == 3
    if not (whole and all(isinstance(part, int) and 0 <= part <= 255 for part in color)):
        expected = "three integers from 0 to 255"
        raise BadInputError(f"{subject}.color", reprlib.repr(color), expected, "Correct it.")


def find_metainfo(path: Path, name: str, subject: str) -> Path:
    """The file of a metainfo, which the config `path` names.

    As in mmpose a relative name counts from the current folder, and the file of mmpose's wheel
    with the same name is taken where there is none; before that, it counts from the folder of the
    config and those around it.

    Raises:
        BadInputError: No such file.
    """
    if found := find_beside(path, name):
        return found
    wheels = wheels_file(str(_DATASETS / Path(name).name))
    if wheels is None:
        raise BadInputError(
            subject, f"{name}, which is no file", f"a file in {Path.cwd()}, beside the config or "
            "in a folder around it, or one of mmpose's own data sets",
            "Correct the path, or write an absolute one.",
        )  # fmt: skip
    if Path(name).parent != _DATASETS:
        _log.warning("%s: no file %s; as in mmpose, %s is taken for it", subject, name, wheels)
    return wheels
