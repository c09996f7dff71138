"""Files that must name every backend, and cannot derive the names, agree with its row."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from posedeploy.runtime import BACKENDS, BackendSpec, backend_distributions, backends_by_rank

ROOT = Path(__file__).parents[3]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
ROWS = pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)


def names_of(requirements: list[str]) -> set[str]:
    """Names of distributions, as the index normalizes them."""
    words = [re.split(r"[<>=;\[ #]", line, maxsplit=1)[0] for line in requirements]
    return {word.replace("_", "-").lower() for word in words if word}


@ROWS
def test_what_an_extra_and_a_requirements_file_install_is_in_the_row(row: BackendSpec) -> None:
    if row.name not in EXTRAS:
        assert row.install, "pip has no such package, so the row says what to do"
        return
    path = ROOT / "requirements" / f"{row.name}.txt"
    locked = names_of(path.read_text().splitlines())
    for installed in (names_of(EXTRAS[row.name]), locked):
        # torch is in requirements/convert.txt, which every environment has
        assert installed & set(row.distributions) or row.name == "torchscript"
        assert names_of(list(row.tools)) <= installed


@ROWS
def test_a_row_has_an_environment_of_tox(row: BackendSpec) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    sections = re.findall(r"testenv:\{?([\w,-]+)", " ".join(tox.sections()))
    assert row.name in {name for section in sections for name in section.split(",")}


def test_rows_are_in_order_and_in_no_place_twice() -> None:
    names = [row.name for row in BACKENDS]
    assert names == sorted(names)
    assert sorted(row.rank for row in BACKENDS) == list(range(1, len(BACKENDS) + 1))
    assert next(iter(backends_by_rank())).name == "onnxruntime"
    every = [name for row in BACKENDS for name in row.distributions]
    shared = {name for name in every if every.count(name) > 1}
    assert shared == {"polygraphy"}, "TensorRT and TensorRT for RTX have it; no other has two rows"
    assert set(every) == set(backend_distributions())


@ROWS
def test_the_minimum_of_an_extra_is_that_of_the_row(row: BackendSpec) -> None:
    for requirement in EXTRAS.get(row.name, []):
        name, _, minimum = requirement.partition(">=")
        if name == row.distribution:
            assert row.min_version.startswith(minimum.split(",")[0])
