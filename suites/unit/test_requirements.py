"""requirements/ holds what pyproject.toml asks for. `tox -e lock` writes it, with a network."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve()
while not (ROOT / "pyproject.toml").exists():
    ROOT = ROOT.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROWS: dict[str, dict[str, Any]] = PYPROJECT["tool"]["posedeploy"]["lock"]
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[str]] = PYPROJECT["dependency-groups"]
FILES = {file.stem: file for file in sorted((ROOT / "requirements").glob("*.txt"))}
NO_PACKAGE = {"pplnn"}  # built from source: its file is a comment


def _lines(name: str) -> list[str]:
    return [line for line in FILES[name].read_text().splitlines() if not line.startswith("#")]


def _pins(name: str) -> dict[str, str]:
    """Package → version."""
    pins = map(Requirement, _lines(name))
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}


def _wanted(requirements: Iterable[str]) -> list[Requirement]:
    """The requirements, with the project's own extras (`posedeploy[convert]`) resolved."""
    wanted: list[Requirement] = []
    for requirement in map(Requirement, requirements):
        if requirement.name == PYPROJECT["project"]["name"]:
            wanted += [one for extra in requirement.extras for one in _wanted(EXTRAS[extra])]
        else:
            wanted.append(requirement)
    return wanted


def _wanted_by_row(name: str) -> list[Requirement]:
    row = ROWS[name]
    wanted = [GROUPS[group] for group in row.get("groups", [])]
    wanted += [EXTRAS[extra] for extra in row.get("extras", [])]
    if "extras" in row and "direct" not in row:
        wanted.append(PYPROJECT["project"]["dependencies"])
    every = _wanted(one for requirements in wanted for one in requirements)
    return [one for one in every if one.name not in row.get("without", ())]


def test_every_file_is_a_row_and_every_extra_and_group_is_locked() -> None:
    """A new extra or group without a file would be installed in whatever version there is."""
    assert set(FILES) - NO_PACKAGE == set(ROWS)
    assert {extra for row in ROWS.values() for extra in row.get("extras", [])} == set(EXTRAS)
    assert {group for row in ROWS.values() for group in row.get("groups", [])} == set(GROUPS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_what_pyproject_asks_for_is_pinned_within_its_range(name: str) -> None:
    pins, wanted = _pins(name), _wanted_by_row(name)
    missing = [str(one) for one in wanted if canonicalize_name(one.name) not in pins]
    assert not missing, f"requirements/{name}.txt lacks {missing}: run `python -m tox -e lock`"
    for one in wanted:
        version = pins[canonicalize_name(one.name)]
        assert one.specifier.contains(version, prereleases=True), f"{one} admits no {version}"
    assert not set(pins) & set(ROWS[name].get("without", ()))
    if "direct" in ROWS[name]:
        assert set(pins) == {canonicalize_name(one.name) for one in wanted}


def test_torch_is_locked_as_its_cpu_build() -> None:
    """CUDA's packages are several GB, and setuptools 81 has no pkg_resources for mmengine."""
    # TensorRT for RTX needs the runtime of CUDA and nothing more
    packages = {one for name in FILES.keys() - {"tensorrt-rtx"} for one in _pins(name)}
    assert not {one for one in packages if one.startswith(("cuda-", "nvidia-")) or one == "triton"}
    torch = _pins("convert")["torch"]
    assert f"torch=={torch}" in EXTRAS["convert"]
    metadata = PYPROJECT["tool"]["uv"]["dependency-metadata"]
    assert [one["version"] for one in metadata if one["name"] == "torch"] == [torch]
    assert int(_pins("convert")["setuptools"].split(".")[0]) < 81
