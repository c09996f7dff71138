"""What is no Python module and yet belongs into a wheel is in the folders that go into it."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from posedeploy.config import config_root, list_deploy_configs
from posedeploy.runtime import BACKENDS, BackendSpec

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEEL = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
PYTHONS = ["3.11", "3.12", "3.13"]
PLACES = WHEEL["force-include"]
# suites that test this repository, or that need what only its tox environments install
OURS = {
    f"suites/{name}"
    for name in (
        "benchmarks", "contract", "documents", "drill", "fuzz", "inference", "mutation",
        "regression", "report_ui", "unit",
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        (
            "poseconform/report/page/templates",
            {"app.js", "charts.html.j2", "icons.svg", "index.html.j2", "style.css", "theme.js"},
        ),
        (
            "posedeploy/sdk/schema",
            {"deploy.schema.json", "detail.schema.json", "pipeline.schema.json"},
        ),
        ("posedeploy", {"py.typed"}),
        ("poseconform", {"py.typed"}),
    ],
)
def test_data_files_lie_in_the_packages(folder: str, names: set[str]) -> None:
    assert f"src/{folder.split('/', maxsplit=1)[0]}" in WHEEL["packages"]
    found = {p.name for p in (ROOT / "src" / folder).iterdir() if p.suffix not in {".py", ""}}
    assert names <= found
    assert found - names == set(), "a data file that this test does not know"


def test_a_package_has_one_version_whichever_environments_name_it() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                asked = Requirement(line)
                assert [s.operator for s in asked.specifier] == ["=="], f"{path.name}: {line}"
                found.setdefault(canonicalize_name(asked.name), set()).add(str(asked.specifier))
    assert {name: pins for name, pins in found.items() if len(pins) > 1} == {}
    assert "onnxruntime-gpu" in found
    assert found["onnxruntime-gpu"] == found["onnxruntime"], "the same graphs, the same kernels"


def test_deploy_configs_go_to_where_an_installed_package_looks() -> None:
    assert config_root() == ROOT / "deploy_configs"
    assert PLACES[config_root().name] == "posedeploy/deploy_configs"
    assert len(list_deploy_configs()) > 30


def test_every_suite_is_shipped_or_is_about_this_repository() -> None:
    there = {f"suites/{p.name}" for p in (ROOT / "suites").iterdir() if p.is_dir()} - OURS
    shipped = {"conftest.py", "fixtures", "pytest.ini"} | {
        name for name in there if not name.endswith("__pycache__")
    }
    assert set(PLACES) - {"deploy_configs", "requirements/mmpose.txt"} == shipped
    assert all(PLACES[name] == f"poseconform/_suites/{name}" for name in shipped)


# Backends that an environment may be without, by the names they are imported by.
OPTIONAL = {
    "MNN", "coremltools", "ncnn", "nncf", "openvino", "pnnx", "pyppl", "tensorrt",
    "tensorrt_rtx_bindings",
}  # fmt: skip
# run in tox environments of their own, which install what they import
ELSEWHERE = ("suites/contract/",)


def imported_when_collected(path: Path) -> set[str]:
    """Backends that a module imports at its top level, unless it asks first if they are there."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {
        name.partition(".")[0]
        for node in body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    asked = {
        call.args[0].value
        for node in body
        if isinstance(node, ast.Expr | ast.Assign)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.importorskip"
        if isinstance(call.args[0], ast.Constant)
    }
    return (names & OPTIONAL) - asked


def test_suites_are_collected_where_only_some_backends_are() -> None:
    """`pytest suites` with one backend installed, which is what the README installs."""
    paths = [*(ROOT / "suites").rglob("*.py"), *(ROOT / "fixtures").rglob("*.py")]
    found = {
        str(path.relative_to(ROOT)): names
        for path in paths
        if not path.relative_to(ROOT).as_posix().startswith(ELSEWHERE)
        if (names := imported_when_collected(path))
    }
    assert len(paths) > 100
    assert found == {}


def test_an_import_of_a_backend_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "test_it.py"
    module.write_text("import numpy\nfrom openvino import Core\n")
    assert imported_when_collected(module) == {"openvino"}
    module.write_text("import pytest\nov = pytest.importorskip('openvino')\nimport openvino.x\n")
    assert imported_when_collected(module) == set()


@pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)
def test_every_backend_that_pip_has_is_an_extra(row: BackendSpec) -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    by_extra = f"posedeploy[{row.name}]" in row.install  # one that brings several packages
    if row.install and not by_extra:  # pip has no such package
        assert row.name not in extras
        return
    names = [re.split(r"[<>=_]", text)[0] for text in extras[row.name]]
    assert row.distribution in names


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs git's index")
def test_nothing_is_committed_that_git_ignores() -> None:
    """A committed file `.venv` was where README and CONTRIBUTING make a virtual environment."""
    words = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--ignored"]
    done = subprocess.run(
        [*words, "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_one_range_of_pythons_is_declared_everywhere() -> None:
    """`requires-python`, the classifiers, README and CI's matrix."""
    project = PYPROJECT["project"]
    assert project["requires-python"] == f">={PYTHONS[0]},<3.{int(PYTHONS[-1][2:]) + 1}"
    classified = [re.search(r":: (3\.\d+)$", text) for text in project["classifiers"]]
    assert [found[1] for found in classified if found] == PYTHONS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}" in readme
    workflow = (ROOT / ".github" / "workflows" / "cpu.yml").read_text(encoding="utf-8")
    assert f"version: {PYTHONS[1:]}".replace("'", '"') in workflow
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert f"base_python = py{PYTHONS[-1].replace('.', '')}" in tox
