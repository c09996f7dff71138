"""Folders broken in every way: a clear error or a right result, and nothing read outside.

Forty examples a kind of model by default; HYPOTHESIS_PROFILE=deep tries a thousand.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.detector_folders import write_mmdeploy_detector
from posedeploy.errors import PoseDeployError
from posedeploy.sdk import PersonDetector, PoseDetector
from posedeploy.sdk.checks import Level
from posedeploy.sdk.safefiles import MAX_JSON_BYTES
from posedeploy.sdk.validate import validate

OLD = "mmdeploy-runtime-1.3.1"
FILES = ("deploy.json", "pipeline.json", "detail.json", "end2end.onnx")
IMAGE = np.random.default_rng(0).integers(180, 256, (64, 64, 3), dtype=np.uint8)
Mutation = Callable[[Path, Path], object]  # the folder, and a directory outside it

DEEP: Any = 0
for _ in range(40):
    DEEP = [DEEP]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**400, 0.5, -1.5, 1e308, "", "x", "#0", "#99",
    "../outside/end2end.onnx", "/etc/hostname", "deploy.json", "nöt ascii", "x" * 5000,
    [], [1, 2], [0, 0], [1, 2, 3], [0, 0, 0], ["img"], {}, {"img": "input"}, DEEP,
    "default", "unbiased", "megvii", "UDPHeatmap", "INT8", "onnxruntime", "UNKNOWN",
]  # fmt: skip


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from containers(value[key])


def change_json(
    name: str, where: float, change: Callable[[Any, Any], object]
) -> Callable[[Path, Path], object]:
    """A mutation of one place in a JSON file; `where` in [0, 1) picks it."""

    def mutate(folder: Path, outside: Path) -> None:
        try:
            value = json.loads(content(folder / name))
        except (ValueError, RecursionError):
            return  # another mutation has been here
        places = list(containers(value))
        if places:
            change(*places[int(where * len(places))])
        (folder / name).write_text(json.dumps(value), encoding="utf-8")

    return mutate


def retype(value: Any) -> Callable[[Any, Any], object]:
    return lambda container, key: container.__setitem__(key, value)


def drop(container: Any, key: Any) -> None:
    del container[key]


def rename(container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[f"{key}_"] = container.pop(key)
    else:
        container.insert(0, container[key])


def clear(path: Path) -> Path:
    """Make way at a path, whatever is there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    return path


def content(path: Path) -> bytes:
    """Bytes of a regular file; nothing of anything else."""
    return path.read_bytes() if path.is_file() and not path.is_symlink() else b""


def truncate(name: str, part: float) -> Mutation:
    def mutate(folder: Path, outside: Path) -> None:
        data = content(folder / name)
        clear(folder / name).write_bytes(data[: int(part * len(data))])

    return mutate


def swap(one: str, other: str) -> Mutation:
    def mutate(folder: Path, outside: Path) -> None:
        data = content(folder / one), content(folder / other)
        clear(folder / one).write_bytes(data[1])
        clear(folder / other).write_bytes(data[0])

    return mutate


def link_outward(name: str) -> Mutation:
    return lambda folder, outside: clear(folder / name).symlink_to(outside / name)


def overwrite(name: str, data: bytes) -> Mutation:
    return become(name, lambda path: path.write_bytes(data))


def become(name: str, make: Callable[[Path], object]) -> Mutation:
    def mutate(folder: Path, outside: Path) -> None:
        make(clear(folder / name))

    return mutate


JSON_NAMES = st.sampled_from(FILES[:2] * 4 + FILES[2:3])
PLACES = st.floats(0, 1, exclude_max=True)
NAMES = st.sampled_from(FILES)
BYTES = st.sampled_from(
    [b"", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"[" * 50_000, b'{"a":1,"a":2}', b"{}", b"null",
     b"\x00" * 100, b" " * (MAX_JSON_BYTES + 1), b'{"version": "caf\xe9"}']
)  # fmt: skip
MUTATIONS = st.one_of(
    st.builds(change_json, JSON_NAMES, PLACES, st.sampled_from(VALUES).map(retype)),
    st.builds(change_json, JSON_NAMES, PLACES, st.sampled_from([drop, rename])),
    st.builds(truncate, NAMES, PLACES),
    st.builds(swap, NAMES, NAMES),
    st.builds(link_outward, NAMES),
    st.builds(overwrite, NAMES, BYTES),
    st.builds(become, NAMES, st.sampled_from([Path.exists, Path.mkdir, os.mkfifo])),  # or gone
)

_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_audit)


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Paths that Python opens meanwhile."""
    global _opened  # noqa: PLW0603 - audit hooks cannot be removed
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def outcome(folder: Path, kind: str) -> str | np.ndarray[Any, Any]:
    """The keypoints, which have the right form, or the error; all else fails the test."""
    try:
        with PoseDetector(folder) as detector:
            boxes = None if kind == "detections" else [[5, 5, 40, 60], [-9, 0, 99, 30]]
            keypoints = detector(IMAGE, boxes)
    except PoseDeployError as error:
        return str(error)
    assert keypoints.dtype == np.float32
    assert keypoints.shape[1:] == (3, 3)
    assert len(keypoints) == 2 or kind == "detections"
    assert np.isfinite(keypoints).all()
    return keypoints


def add_facts(content: dict[str, Any]) -> None:
    """The model config's facts, by which the validator knows right from wrong."""
    _, _, post = content["pipeline.json"]["pipeline"]["tasks"]
    steps = content["pipeline.json"]["pipeline"]["tasks"][0]["transforms"]
    norm = next(step for step in steps if step["type"] == "Normalize")
    content["detail.json"]["posedeploy"]["model"] = {
        "mean": norm["mean"],
        "std": norm["std"],
        "bgr_to_rgb": norm["to_rgb"],
        "input_size": post["params"]["input_size"],
        "padding": 1.25,
        "use_udp": False,
        "pad_val": [9, 9, 9],
        "num_keypoints": 3,
        "codec": post["params"],
    }


@pytest.fixture(scope="session")
def arena(folders: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path]:
    """Whole folders of each kind, and a directory for their mutants next to one `outside`."""
    whole = {kind: folders.make(kind, add_facts) for kind in ("heatmap", "simcc", "detections")}
    root = tmp_path_factory.mktemp("mutants")
    shutil.copytree(whole["simcc"], root / "outside")
    return whole, root


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "detections"])
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_broken_folder_ends_in_an_error_or_in_keypoints(
    arena: Any, kind: str, mutations: list[Mutation]
) -> None:
    whole, root = arena
    folder, outside = root / "mutant", root / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole[kind], folder)
    for mutate in mutations:
        mutate(folder, outside)
    with opened_files() as opened:
        findings = validate(folder)
        validate(folder, client=OLD)
        result = outcome(folder, kind)
    assert all(str(finding) for finding in findings)
    if not any(finding.level is Level.ERROR for finding in findings):
        assert not isinstance(result, str), f"validate is silent, PoseDetector says: {result}"
        if content(folder / "detail.json") == content(whole[kind] / "detail.json"):
            np.testing.assert_array_equal(result, outcome(whole[kind], kind))
    resolved = [Path(path).resolve() for path in opened]
    assert not [path for path in resolved if path.is_relative_to(outside)]


@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_broken_detection_folder_ends_in_an_error_or_in_boxes(
    arena: Any, mutations: list[Mutation]
) -> None:
    _, root = arena
    folder, outside = root / "mutant", root / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    write_mmdeploy_detector(folder, [[3, 4, 30, 60], [5, 5, 9, 9]], size=(64, 64))
    for mutate in mutations:
        mutate(folder, outside)
    with opened_files() as opened:
        try:
            with PersonDetector(folder) as detector:
                boxes = detector(IMAGE)
        except PoseDeployError:
            boxes = np.zeros((0, 4), np.float32)
    assert boxes.shape == (len(boxes), 4)
    assert np.isfinite(boxes).all()
    resolved = [Path(path).resolve() for path in opened]
    assert not [path for path in resolved if path.is_relative_to(outside)]


def test_what_is_not_broken_is_read(arena: Any) -> None:
    for kind, folder in arena[0].items():
        assert validate(folder) == []
        assert not isinstance(outcome(folder, kind), str)


def test_the_watch_on_opened_files_sees(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with opened_files() as opened:
        (tmp_path / "file").read_text()
    assert opened == [str(tmp_path / "file")]
