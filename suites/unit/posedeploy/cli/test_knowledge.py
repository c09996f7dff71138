"""`posedeploy backends`, `zoo`, `test`, completion and the help."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from posedeploy.cli import arguments as completion
from posedeploy.cli import judge
from posedeploy.cli.app import app, missing_package
from posedeploy.cli.app import run as run_application
from posedeploy.cli.backends import Probes, facts_of
from posedeploy.cli.internal import INTERNAL
from posedeploy.cli.zoo import fetch_all
from posedeploy.config import list_deploy_configs
from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.runtime import BACKENDS, Availability, Code, backend_names
from posedeploy.zoo.table import MODELS

ROOT = Path(__file__).parents[4]


def run(*words: str, columns: int = 100, probes: Probes | None = None) -> Result:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": str(columns)}, obj=probes)


def probes_with(tools: tuple[str, ...] = (), **states: Availability) -> Probes:
    """Probes that start no child process; a backend without a state is available."""
    available = Availability(Code.AVAILABLE, "", "9.9")
    return Probes(lambda name: states.get(name, available), lambda _: tools, lambda _: "bf16")


def test_every_backend_is_reported() -> None:
    probes = probes_with(
        ncnn=Availability(Code.NOT_INSTALLED, "ncnn is not installed: python -m pip install ncnn"),
        openvino=Availability(Code.NO_DEVICE, "no CPU plugin", "2026.4.1"),
        torchscript=Availability(Code.VERSION_TOO_OLD, "torch 1.9 is older than 2.6", "1.9"),
    )
    printed = json.loads(run("backends", "--json", probes=probes).output)
    rows = {row["name"]: row for row in printed["backends"]}
    assert set(rows) == set(backend_names())
    assert rows["onnxruntime"]["own_precision"] == "bf16"
    assert rows["onnxruntime"]["precisions"][0] == "fp32"
    assert (rows["ncnn"]["available"], rows["ncnn"]["code"]) == (False, "not-installed")
    assert rows["ncnn"]["install"] == "python -m pip install ncnn"
    assert (rows["onnxruntime"]["install"], rows["openvino"]["install"]) == ("", "")
    assert rows["torchscript"]["install"].startswith("python -m pip install --upgrade 'torch>=")
    assert {"cpu", "gpu", "os", "python", "packages"} <= set(printed)
    shown = run("backends", probes=probes).output
    assert "  ncnn: ncnn is not installed: python -m pip install ncnn\n" in shown
    assert "  openvino: no CPU plugin\n" in shown  # a device cannot be installed
    assert "  torchscript: torch 1.9 is older than 2.6: python -m pip install --upgrade" in shown


def test_named_backends_decide_the_exit_code() -> None:
    probes = probes_with(openvino=Availability(Code.BROKEN_INSTALL, "import openvino failed"))
    assert run("backends", "onnxruntime", probes=probes).exit_code == 0
    assert run("backends", "onnxruntime", "openvino", probes=probes).exit_code == 3
    assert run("backends", probes=probes).exit_code == 0
    assert isinstance(run("backends", "onxruntime", probes=probes).exception, BadInputError)


def test_missing_tools_are_named_with_what_installs_them() -> None:
    shown = run("backends", "ncnn", probes=probes_with(("pnnx",))).output
    assert "ncnn: converting for it needs: python -m pip install pnnx" in shown


def test_fresh_forgets_what_libraries_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEDEPLOY_CACHE", str(tmp_path))
    (tmp_path / "probes").mkdir()
    assert run("backends", "ncnn", probes=probes_with()).exit_code == 0
    assert (tmp_path / "probes").exists()
    assert run("backends", "ncnn", "--fresh", probes=probes_with()).exit_code == 0
    assert not (tmp_path / "probes").exists()


@pytest.mark.parametrize("name", sorted({"onnxruntime"} & set(backend_names())))
def test_a_real_backend_reports_what_it_computes_in(name: str) -> None:
    row = next(row for row in BACKENDS if row.name == name)
    fact = facts_of(row)
    assert (fact.available, fact.own_precision) == (True, "fp32")


def test_the_zoo_is_listed_with_what_was_published() -> None:
    printed = json.loads(run("zoo", "list", "--json").output)
    assert {row["name"] for row in printed} == {row.name for row in MODELS}
    hrnet = next(row for row in printed if row["name"] == "hrnet_w32")
    assert (hrnet["input_size"], hrnet["metrics"]["AP"]) == ([192, 256], 0.746)
    assert hrnet["url"].endswith("-81c58e40_20220909.pth")
    shown = run("zoo", "list", "quick", columns=80).output
    assert max(map(len, shown.splitlines())) <= 80
    quick = {row.name for row in MODELS if "quick" in row.tiers}
    assert {name for name in quick if name in shown} == quick
    assert "rtmpose_m" not in shown


def test_a_model_is_shown_with_the_deploy_configs_that_fit() -> None:
    printed = json.loads(run("zoo", "show", "rtmo_t", "--json").output)
    assert "pose-detection_rtmo_openvino_static-416x416" in printed["deploy_configs"]
    assert "pose-detection_rtmo_openvino_static-640x640" not in printed["deploy_configs"]
    assert not [name for name in printed["deploy_configs"] if "_rtmo_" not in name]


def test_fetching_prints_the_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[tuple[str, Any, bool]] = []

    def download(row: Any, folder: Path | None, *, offline: bool, on_progress: Any) -> Path:
        on_progress(5, 10)
        asked.append((row.name, folder, offline))
        return tmp_path / f"{row.name}.pth"

    rows = [row for row in MODELS if row.name in {"rtmpose_t", "rtmo_t"}]
    fetch_all(rows, tmp_path, offline=True, download=download)
    assert asked == [("rtmo_t", tmp_path, True), ("rtmpose_t", tmp_path, True)]
    assert f"rtmpose_t: {tmp_path}" in capsys.readouterr().out
    missing = run("zoo", "fetch", "rtmpose_t", f"--folder={tmp_path}", "--offline")
    assert isinstance(missing.exception, UnavailableError)


SHOWN = {
    completion.complete_model: ("rtmpose_", ["rtmpose_m", "rtmpose_s", "rtmpose_t"]),
    completion.complete_backend: ("onnx", ["onnxruntime"]),
    completion.complete_checkpoint: ("cal", ["calibrated"]),
    completion.complete_model_config: ("mod", ["model.py", "models/"]),
    completion.complete_deploy_config: ("./mod", ["./model.py", "./models/"]),
}


@pytest.mark.parametrize("complete", SHOWN, ids=lambda function: function.__name__)
def test_the_shell_completes(
    complete: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("model.py", "model.pth", ".model.py"):
        (tmp_path / name).write_text("")
    begun, expected = SHOWN[complete]
    assert complete(begun) == expected
    assert complete("nowhere/at/all") == []


def test_every_deploy_config_is_completed() -> None:
    assert completion.complete_config("") == list(list_deploy_configs())
    assert completion.complete_checkpoint("") >= ["calibrated", "fitted"]


def test_completion_reaches_the_shell() -> None:
    env = {
        "_POSEDEPLOY_COMPLETE": "complete_bash", "COMP_WORDS": "posedeploy zoo show rtmpose_",
        "COMP_CWORD": "3",
    }  # fmt: skip
    done = CliRunner().invoke(app, [], env=env, prog_name="posedeploy")
    assert done.output.split() == ["rtmpose_m", "rtmpose_s", "rtmpose_t"]


COMMANDS = ("convert", "infer", "validate", "profile", "backends", "zoo list", "zoo show",
            "zoo fetch", "configs list", "configs show", "configs new", "test")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_fits(command: str) -> None:
    done = run(*command.split(), "--help", columns=80)
    assert done.exit_code == 0
    assert f"posedeploy {command}" in done.output.partition("Examples:")[2]
    if command != "test":  # its lines are commands to copy
        assert max(map(len, done.output.splitlines())) <= 80


def test_the_help_names_every_command() -> None:
    shown = run("--help").output
    assert [
        name for name in {c.split()[0] for c in COMMANDS} | {"report"} if name not in shown
    ] == []


def test_suites_of_the_checkout_come_first_then_the_packaged(tmp_path: Path) -> None:
    assert judge.suites_root() == ROOT
    assert {"conversion", "parity", "unit"} <= set(judge.suite_names(ROOT))
    package = tmp_path / "poseconform"
    (package / judge.PACKAGED / "suites" / "parity").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert judge.suites_root(packages=[package]) == ROOT
    elsewhere = tmp_path / "a"
    assert judge.suites_root(elsewhere, [package]) is None  # without its conftest.py it is none
    (package / judge.PACKAGED / "conftest.py").write_text("")
    assert judge.suites_root(elsewhere, [package]) == package / judge.PACKAGED


def test_the_arguments_of_pytest() -> None:
    arguments = judge.pytest_arguments(
        ["parity", "sdk_model", "-m", "parity", "--help-pytest"], ROOT
    )
    folders = [str(ROOT / "suites" / name) for name in ("parity", "sdk_model")]
    ini = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    assert arguments == [*ini, *folders, "-m", "parity", "--help"]
    assert judge.pytest_arguments([], ROOT)[4:] == [
        str(ROOT / "suites" / name) for name in judge.MATRIX
    ]


@pytest.mark.parametrize("code", [0, 1, 5])
def test_the_suites_run_in_a_child_whose_code_is_ours(code: int) -> None:
    seen: list[Any] = []

    def module(name: str, words: Sequence[str]) -> int:
        seen.append((name, words[-2:]))
        return code

    assert judge.run_suites(["-m", "onnxruntime"], ROOT, module) == code
    assert seen == [("pytest", ["-m", "onnxruntime"])]


@pytest.mark.parametrize("words", [["{}"], ["sdk_model", "{}"], ["-m", "fp32", "{}"]])
def test_a_folder_without_options_is_answered_with_what_to_type(
    tmp_path: Path, words: list[str]
) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "deploy.json").write_text("{}")
    typed = [word.format(folder) for word in words]
    with pytest.raises(
        BadInputError, match=r"found an SDK model.* --sdk-model '.*/my model' --mo"
    ):
        judge.run_suites(typed, ROOT, lambda _name, _words: 0)


def test_a_word_that_is_no_suite_starts_nothing() -> None:
    with pytest.raises(BadInputError, match="Did you mean parity"):
        judge.run_suites(["partiy"], ROOT, lambda _name, _words: 0)
    passed_on = [
        ["parity", "suites/parity/test_parity.py::test_parity"],
        ["--sdk-model", "a.onnx"],
        ["-q", "--report-dir", str(ROOT)],
        ["-k", "partiy"],
    ]
    for words in passed_on:
        assert judge.run_suites(words, ROOT, lambda _name, _words: 0) == 0


def test_without_suites_the_command_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnavailableError, match="the conformance suites"):
        judge.run_suites([], None)
    assert judge.run_suites(["--help"], None) == 0
    assert "not installed here" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "known"), [("mmengine.config", True), ("surprise", False)])
def test_a_missing_package_of_ours_is_an_answer_and_any_other_a_defect(
    name: str, known: bool
) -> None:
    error = ModuleNotFoundError(f"No module named {name!r}", name=name)
    assert (missing_package(error, ["convert"]) is not None) == known

    def fails(**_: object) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_application(["convert"], fails)
    assert ended.value.code == (UnavailableError.exit_code if known else INTERNAL)
