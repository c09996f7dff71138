"""Any file name of a config goes through the judge: ids, workers, report and command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from fixtures.fake_subject import PLUGINS, FakeSubject
from fixtures.odd_names import ODD_NAMES, id_of
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.pytest_plugin.options import Shard, read_selection
from poseconform.pytest_plugin.recording import printable
from poseconform.pytest_plugin.reproduction import shell_word

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.stage("run")
def test_runs(cell, record):
    record(batches=(1,))

@pytest.mark.stage("numeric")
def test_numbers(cell, record):
    record(headroom=0.5)
    assert cell.flow.shape_mode == "static", "output: 3 is too much"
"""
LOADED = ("a b", "]", "new\nline", "a::b", "-x", "100%", "\N{CJK UNIFIED IDEOGRAPH-4EBA}")


@pytest.fixture
def matrix(inner_run: pytest.Pytester) -> pytest.Pytester:
    inner_run.makepyfile(test_cells=TESTS)
    return inner_run


def run(matrix: pytest.Pytester, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    result = matrix.runpytest_inprocess(*PLUGINS, "--report-dir", "report", *options)
    return result, json.loads((matrix.path / "report" / "results.json").read_text())


def outcomes(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(c["model"], c["deploy_config"], c["outcome"]) for c in results["cells"]]


def words(command: str) -> list[str]:
    """What a shell makes of a command: its arguments."""
    argv = f"printf '%s\\0' {command}"
    done = subprocess.run(["bash", "-c", argv], capture_output=True, check=True)  # noqa: S607
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def test_model_configs_of_any_name_are_judged(matrix: pytest.Pytester) -> None:
    options = [f"--model-config={name}.py" for name in ODD_NAMES]
    result, results = run(matrix, *options, "-m", "onnxruntime")
    count = len(ODD_NAMES)
    result.assert_outcomes(passed=3 * count, failed=count)
    check_each(results, {printable(Path(f"{name}.py").stem) for name in ODD_NAMES})
    lines = [line for line in result.outlines if line.startswith("[")]
    assert len(lines) == 2 * count
    assert {line.partition("/")[2].partition("]")[0] for line in lines} == {f"{2 * count}"}


def check_each(results: dict[str, Any], names: set[str]) -> None:
    by_model: dict[str, list[str]] = {name: [] for name in names}
    for model, _, outcome in outcomes(results):
        by_model[model].append(outcome)
    assert {tuple(sorted(o)) for o in by_model.values()} == {("mismatch", "not-selected", "pass")}


def test_deploy_configs_of_any_name_are_judged(matrix: pytest.Pytester) -> None:
    given = [f"{name}.py" for name in ODD_NAMES]
    options = ("--models", "m1", *(f"--deploy-config={name}" for name in given))
    _, results = run(matrix, *options, "-m", "onnxruntime")
    ended = {config: outcome for _, config, outcome in outcomes(results)}
    assert {ended[printable(name)] for name in given} == {"mismatch"}
    assert len(ended) == len(given) + 3


@pytest.mark.parametrize("name", [*LOADED, "b\udcff", "'q\"", "$HOME"], ids=id_of)
def test_the_command_of_a_cell_runs_that_cell_alone(matrix: pytest.Pytester, name: str) -> None:
    pair = (f"--model-config={name}.py", f"--deploy-config=my/{name}.py")
    _, results = run(matrix, *pair, "-m", "onnxruntime")
    failures = [cell for cell in results["cells"] if cell["outcome"] == "mismatch"]
    assert len(failures) == 2
    for failure in failures:
        again = words(failure["repro"])
        assert again[:4] == ["python", "-m", "pytest", "suites"]
        result, results = run(matrix, *again[4:])
        result.assert_outcomes(passed=1, failed=1)
        ended = {(model, config): outcome for model, config, outcome in outcomes(results)}
        assert ended[failure["model"], failure["deploy_config"]] == "mismatch"


@pytest.mark.parametrize("name", ODD_NAMES, ids=id_of)
def test_a_report_folder_has_any_name(matrix: pytest.Pytester, name: str) -> None:
    options = ("--models", "m1", "-m", "onnxruntime and static", f"--report-dir={name}")
    result = matrix.runpytest_inprocess(*PLUGINS, *options)
    if name == "$HOME":
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["*--report-dir $HOME: found the name of an environment*"])
        return
    result.assert_outcomes(passed=2)
    written = {path.name for path in (matrix.path / name).iterdir()}
    assert written == {"index.html", "junit.xml", "results.json", "support-table.md"}


def test_workers_take_any_name_too(matrix: pytest.Pytester) -> None:
    options = [f"--model-config={name}.py" for name in LOADED]
    result = matrix.runpytest_subprocess(
        *PLUGINS, "--report-dir", "report", "-n", "2", "-m", "onnxruntime", *options
    )
    count = len(LOADED)
    result.assert_outcomes(passed=3 * count, failed=count)
    results = json.loads((matrix.path / "report" / "results.json").read_text())
    check_each(results, {printable(name) for name in LOADED})
    assert len([line for line in result.outlines if f"/{2 * count}] " in line]) == 2 * count


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
def test_no_name_is_a_command_to_ci(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    root = matrix.mkdir("root\n::error::r")
    names = ("a\n::error::b", "::error::c", "d##[error]e", "f\r::warning::g")
    options = ("-v", "-m", "onnxruntime", f"--rootdir={root}", "--report-dir", "p\n::error::q")
    run_matrix = matrix.runpytest_subprocess if workers else matrix.runpytest_inprocess
    result = run_matrix(
        *PLUGINS, *options, *(f"--model-config={name}.py" for name in names), *workers
    )
    log = matrix_log(result)
    assert "::error::q/results.json" in log
    assert "wrote" in log
    assert "4 of 8 cells fail" in log
    announced = [line for line in commands(log) if line.startswith("::error file=")]
    assert len(announced) == len(names)
    assert commands(log) == announced


@pytest.mark.parametrize("option", [
    "--artifact-cache", "--baseline", "--checkpoint", "--deploy-config", "--model-config",
    "--models", "--report-dir", "--repro-dir", "--require", "--subject",
])  # fmt: skip
def test_no_name_in_what_refuses_a_run_is_a_command(
    matrix: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (matrix.path / "there").touch()
    name = "there/\n::error::x"
    result = matrix.runpytest_inprocess(*PLUGINS, f"{option}={name}", f"{name}.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    log = matrix_log(result)
    assert "::error::x" in log
    assert not commands(log)


def matrix_log(result: pytest.RunResult) -> str:
    """All that a run has printed."""
    return f"{result.stdout.str()}\n{result.stderr.str()}"


def commands(log: str) -> list[str]:
    """What GitHub's runner would take for a command."""
    lines = re.split(r"[\r\n]+", log)
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


def test_workers_cannot_be_sent_a_name_that_is_not_utf8(matrix: pytest.Pytester) -> None:
    result = matrix.runpytest_subprocess(*PLUGINS, "-n", "2", "--model-config=b\udcff.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line = result.errlines[0]
    assert "-n: found the argument --model-config=b\\udcff.py; expected UTF-8" in line


def test_two_deploy_configs_of_one_name_are_two_cells(matrix: pytest.Pytester) -> None:
    names = ("one/x.py", "two/x.py", "my/pose-detection_simcc_onnxruntime_dynamic.py")
    options = [f"--deploy-config={name}" for name in names]
    _, results = run(matrix, "--models", "m1", *options, "-m", "onnxruntime", "-k", "runs")
    passed = [config for _, config, outcome in outcomes(results) if outcome == "pass"]
    assert set(names) < set(passed)
    assert len(passed) == len(names) + 2


def test_ids_are_unique_and_plain() -> None:
    flows = [Flow(f"{n}.py", "", "ncnn", "fp32", "static", None) for n in ODD_NAMES]
    models = [Model(n, "f", (), "", (1, 1), n) for n in (*ODD_NAMES, "a_b", "n" * 201)]
    ids = [Cell(m, f).id for m in models for f in flows]
    assert len({name.lower() for name in ids}) == len(ids)
    assert all(name.isascii() and not set(name) & set(" []/:\\'\"%\n") for name in ids)
    assert max(map(len, ids)) < 200


def selected(**given: Any) -> list[tuple[str, str]]:
    option: dict[str, Any] = {
        "models": None, "model_config": [], "checkpoint": [], "deploy_config": [], "require": [],
        "disable": [], "weights": "auto", "weights_seed": 0, "shard": Shard(1, 1),
    }  # fmt: skip
    selection = read_selection(Namespace(**option | given), FakeSubject())
    return [(model.name, Path(model.checkpoint).name) for model in selection.models]


def test_two_models_of_one_name_are_refused() -> None:
    assert selected(model_config=["one/x.py", "one/x.py"]) == [("x", "")]
    with pytest.raises(pytest.UsageError, match=r"two models are called 'x': one/x.py, two/x.py"):
        selected(model_config=["one/x.py", "two/x.py"])
    with pytest.raises(pytest.UsageError, match=r"two models are called 'm1': m1.py, my/m1.py"):
        selected(models=["m1"], model_config=["my/m1.py"])


def test_an_equals_sign_in_a_path_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "run=3" / "a.pth"
    path.parent.mkdir()
    path.write_text("")
    assert selected(models=["m1", "m2"], checkpoint=[f"m2={path}"])[1] == ("m2", "a.pth")
    assert selected(models=["m1"], checkpoint=[str(path)]) == [("m1", "a.pth")]
    configs = ["a.py", "a=b.py"]
    assert selected(model_config=configs, checkpoint=[f"a=b={path}"])[1] == ("a=b", "a.pth")


@pytest.mark.parametrize("name", ODD_NAMES, ids=id_of)
def test_a_word_is_quoted_for_a_shell_on_one_line_of_text(name: str) -> None:
    quoted = shell_word(name)
    assert quoted.isprintable()
    assert words(quoted) == [name]
    if name.isprintable():
        assert quoted == shlex.quote(name)
