"""The plugin, driven by a fake implementation: no torch, no backend, every way a cell can end."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from fixtures.fake_subject import PLUGINS, FakeSubject
from poseconform.expectations.entries import load_expectations
from poseconform.matrix.cells import Cell, Flow, Model, mark_name
from poseconform.pytest_plugin.plugin import markers
from poseconform.subject.posedeploy_subject import PosedeploySubject
from posedeploy.runtime import BACKENDS

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from poseconform.judge.stages import Blocked, StageFailure

@pytest.mark.stage("numeric")
def test_numbers(cell, record):
    if cell.id == "m2-simcc_onnxruntime_static":
        raise Blocked("load", "SIGSEGV in load")
    record(headroom=0.5)
    assert cell.id != "m2-simcc_onnxruntime_dynamic", "output: 3 is too much"

@pytest.mark.stage("run")
def test_runs(cell, record):
    if cell.id == "m2-simcc_onnxruntime_static":
        raise StageFailure("load", "crash", "SIGSEGV in load", "SIGSEGV", "last words")
    record(batches=(1,))

@pytest.mark.flows(shape_mode="dynamic")
def test_dynamic_only(cell): pass

@pytest.mark.heads("rtmo")
def test_other_head_kinds_only(cell): pass

def test_every_model(conformance_model): assert conformance_model.name

def test_of_nothing(): pass
"""
XFAIL = """
[[xfail]]
model = "m2"
deploy_config = "simcc_onnxruntime_{mode}"
stage = "numeric"
reason = "known to round"
link = "https://example.org/1"
"""


@pytest.fixture
def matrix(inner_run: pytest.Pytester) -> pytest.Pytester:
    inner_run.makepyfile(test_cells=TESTS)
    return inner_run


def run(matrix: pytest.Pytester, *options: str) -> pytest.RunResult:
    return matrix.runpytest_inprocess(*PLUGINS, "--strict-markers", *options)


def cells(matrix: pytest.Pytester, report: str = "report") -> dict[str, dict[str, Any]]:
    data = json.loads((matrix.path / report / "results.json").read_text())
    return {
        f"{c['model']}-{c['deploy_config'].removeprefix('pose-detection_')}": c
        for c in data["cells"]
    }


def outcomes(matrix: pytest.Pytester, report: str = "report") -> dict[str, str]:
    return {name: cell["outcome"] for name, cell in cells(matrix, report).items()}


EXPECTED = {
    "m1-simcc_onnxruntime_static": "pass",
    "m1-simcc_onnxruntime_dynamic": "pass",
    "m1-simcc_tensorrt_static": "unavailable:no-driver",
    "m2-simcc_onnxruntime_static": "crash",
    "m2-simcc_onnxruntime_dynamic": "mismatch",
    "m2-simcc_tensorrt_static": "unavailable:no-driver",
}


def test_every_cell_comes_to_its_outcome_and_the_report_is_written(
    matrix: pytest.Pytester,
) -> None:
    result = run(matrix, "--report-dir", "report")
    result.assert_outcomes(passed=10, failed=2, skipped=6)
    assert outcomes(matrix) == EXPECTED
    by_id = cells(matrix)
    crash = by_id["m2-simcc_onnxruntime_static"]
    assert (crash["code"], crash["reason"]) == ("SIGSEGV", "SIGSEGV in load")
    assert "last words" in crash["log_tail"]
    mismatch = by_id["m2-simcc_onnxruntime_dynamic"]
    assert mismatch["reason"].startswith("output: 3 is too much")
    assert mismatch["headroom"] == 0.5
    assert by_id["m1-simcc_tensorrt_static"]["reason"] == "libcuda.so.1 is not there"
    assert by_id["m1-simcc_onnxruntime_static"]["batches"] == [1]
    assert mismatch["repro"].endswith("-k '[m2-simcc_onnxruntime_dynamic]'")
    junit = (matrix.path / "report" / "junit.xml").read_text()
    assert '<property name="headroom" value="0.5"' in junit
    for name in ("index.html", "support-table.md", "junit.xml"):
        assert (matrix.path / "report" / name).stat().st_size > 0
        result.stdout.fnmatch_lines([f"wrote *{name}"])


def test_markers_derive_from_the_rows() -> None:
    flow = Flow("x_new_dynamic", "simcc", "new-one", "fp4", "ragged", None)
    subject = FakeSubject(known_flows=(flow,), known_families=("New Family",))
    names = {line.partition(":")[0] for line in markers(subject)}
    assert {mark_name(row.name) for row in BACKENDS} <= names
    assert {precision for row in BACKENDS for precision in row.precisions} <= names
    assert {"new_one", "fp4", "ragged", "new_family", "other", "quick"} <= names
    cell = Cell(Model("m", "New Family", ("quick",), "simcc", (4, 4), "m.py"), flow)
    assert set(cell.marks) <= names, "every marker of a cell is registered"


def test_a_start_reads_no_configs_for_its_markers() -> None:
    """It would cost every worker of every run; the names hold the words."""
    subject = PosedeploySubject()
    words = [(f.backend, f.precision, f.shape_mode) for f in subject.flows()]
    assert [(n.backend, n.precision, n.shape_mode) for n in subject.flow_names] == words

    class Unread(FakeSubject):
        flow_names = subject.flow_names

        def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
            raise AssertionError(f"reads configs, and {more}")

    assert {"openvino", "int8", "dynamic"} <= {n.partition(":")[0] for n in markers(Unread())}


def test_tests_that_plant_in_a_model_belong_to_it(matrix: pytest.Pytester) -> None:
    matrix.makepyfile(
        test_planting="import pytest\n"
        "@pytest.mark.parametrize('model', ['m1', 'elsewhere'])\n"
        "def test_planted(model, judge): pass\n"
        "@pytest.mark.parametrize('model', ['m1'])\n"
        "def test_of_a_word(model): pass\n"
    )
    result = run(matrix, "--collect-only", "-q", "-k", "planted or word or runs")
    ids = [line.split("::")[1] for line in result.outlines if "::" in line]
    together, others = ids[:4], ids[4:]
    assert together[0] == "test_planted[m1]", "with the tests of the model's cells"
    assert all(name.startswith("test_runs[m1-") for name in together[1:])
    assert others[-2:] == ["test_planted[elsewhere]", "test_of_a_word[m1]"]


def test_a_finished_cell_has_one_line_and_failures_have_their_command(
    matrix: pytest.Pytester,
) -> None:
    result = run(matrix)
    lines = [line for line in result.outlines if line.startswith("[")]
    assert len(lines) == 6
    assert lines[0].startswith("[1/6] m1-simcc_onnxruntime_dynamic: pass, about ")
    assert lines[-1] == "[6/6] m2-simcc_tensorrt_static: unavailable (no-driver)" or (
        "no-driver" in lines[-1] and "left" not in lines[-1]
    )
    result.stdout.fnmatch_lines(["*re-run just this cell*"])
    result.stdout.fnmatch_lines(
        ["*python -m pytest suites --models m2 --subject fixtures.fake_subject:FakeSubject -k*"]
    )


def test_a_failures_message_ends_with_its_command_in_junit_too(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--report-dir", "report", "-k", "m2 and numbers and dynamic")
    failure = str(result.stdout).partition("\n- generated xml file")[0].splitlines()
    command = (
        "python -m pytest suites --models m2 --subject fixtures.fake_subject:FakeSubject "
        "-k '[m2-simcc_onnxruntime_dynamic]'"
    )
    assert failure[-1] == command
    tree = ElementTree.parse(matrix.path / "report" / "junit.xml").getroot()  # noqa: S314 - ours
    (element,) = tree.iter("failure")
    assert (element.text or "").rstrip().endswith(command)


def test_a_long_log_is_cut_in_every_file_of_a_report(matrix: pytest.Pytester) -> None:
    """30 lines of 100 kB made 6 MB of junit.xml."""
    matrix.makepyfile(
        test_long="import pytest\n"
        "from poseconform.judge.stages import StageFailure\n"
        "@pytest.mark.stage('run')\n"
        "def test_it(cell):\n"
        "    print('p' * 10**6)\n"
        "    lines = ['x' * 10**5] * 30 + ['last words']\n"
        "    raise StageFailure('load', 'crash', 'm' * 10**5, 'SIGSEGV', '\\n'.join(lines))\n"
    )
    result = run(matrix, "--report-dir", "report", "-k", "long and m1", "-o", "junit_logging=all")
    result.assert_outcomes(failed=2, skipped=1)
    assert "test_long.py::test_it[m1-simcc_onnxruntime_static] - poseconform" in str(result.stdout)
    tree = ElementTree.parse(matrix.path / "report" / "junit.xml").getroot()  # noqa: S314 - ours
    for element in tree.iter("failure"):
        assert "last words" in (element.text or "")
        assert (element.text or "").rstrip().endswith("]'"), "it ends with the command"
    for path in (matrix.path / "report").glob("*.*"):
        assert path.stat().st_size < 300_000, path.name
    for cell in json.loads((matrix.path / "report" / "results.json").read_text())["cells"]:
        assert len(cell["reason"]) <= 1000
    assert len(str(result.stdout)) < 300_000


def test_a_failing_cell_leaves_a_folder_where_that_is_asked_for(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--repro-dir", "again", "-k", "m2")
    folders = sorted(path.name for path in (matrix.path / "again").iterdir())
    assert folders == ["m2-simcc_onnxruntime_dynamic", "m2-simcc_onnxruntime_static"]
    text = (matrix.path / "again" / folders[0] / "failure.txt").read_text()
    assert text.startswith("AssertionError: output: 3 is too much")
    assert f"-k '[{folders[0]}]'" in text
    result.stdout.fnmatch_lines([f"again/{folders[0]}"])
    (matrix.path / "taken" / folders[0] / "failure.txt").mkdir(parents=True)
    result = run(matrix, "--repro-dir", "taken", "-k", "m2 and dynamic")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*no reproduction folder*"])


def test_expectations_are_rewritten_as_the_run_ended(matrix: pytest.Pytester) -> None:
    declare(matrix, "static", stage="numeric")  # m2 crashes there: not what is declared
    path = matrix.path / "suites" / "expectations" / "onnxruntime.toml"
    path.write_text("# ours\n" + path.read_text().replace('"m2"', '"m1"'))
    result = run(matrix, "--update-expectations", "-k", "not every")
    result.stdout.fnmatch_lines(["*-model = *m1*", "*+model = *m2*"])
    entries = tomllib.loads(path.read_text())["xfail"]
    assert [(e["model"], e["deploy_config"], e["stage"], e.get("outcome")) for e in entries] == [
        ("m2", "simcc_onnxruntime_static", "load", "crash"),
        ("m2", "simcc_onnxruntime_dynamic", "numeric", None),
    ]
    assert path.read_text().startswith("# ours")
    load_expectations.cache_clear()
    refused = run(matrix)
    assert "xfail[0]: found no link; expected one. Add it." in str(refused.stderr)
    path.write_text(path.read_text().replace('link = ""', 'link = "https://example.org/2"'))
    load_expectations.cache_clear()
    result = run(matrix, "--update-expectations")
    result.assert_outcomes(passed=10, xfailed=2, skipped=6)
    result.stdout.fnmatch_lines(["expectations: nothing to change"])


def test_a_blocked_test_says_by_what(matrix: pytest.Pytester) -> None:
    result = run(matrix, "-rs", "-k", "m2-simcc_onnxruntime_static")
    result.stdout.fnmatch_lines(["*blocked: load failed (SIGSEGV in load)*"])


def test_a_cell_that_is_not_converted_here_is_unavailable(inner_run: pytest.Pytester) -> None:
    inner_run.makepyfile(
        test_cells="""
        import pytest
        from poseconform.judge.stages import Unavailable

        @pytest.mark.stage("convert")
        def test_converts(cell):
            if cell.id == "m1-simcc_onnxruntime_static":
                raise Unavailable("tool-missing", "no toolchain")

        @pytest.mark.stage("run")
        def test_runs(cell):
            test_converts(cell)
        """
    )
    options = ("-m", "onnxruntime", "--models", "m1", "--report-dir", "report", "-rs")
    result = run(inner_run, *options)
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["*unavailable:tool-missing: no toolchain*"])
    found = cells(inner_run)["m1-simcc_onnxruntime_static"]
    assert found["outcome"] == "unavailable:tool-missing"
    assert (found["code"], found["reason"]) == ("tool-missing", "no toolchain")
    assert outcomes(inner_run)["m1-simcc_onnxruntime_dynamic"] == "pass"


def test_cells_of_a_model_follow_each_other_stage_by_stage(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--collect-only", "-q", "-m", "static and onnxruntime")
    ids = [line.split("::")[1] for line in result.outlines if "::" in line]
    assert ids == [
        "test_runs[m1-simcc_onnxruntime_static]",
        "test_numbers[m1-simcc_onnxruntime_static]",
        "test_runs[m2-simcc_onnxruntime_static]",
        "test_numbers[m2-simcc_onnxruntime_static]",
    ]


def test_what_is_not_selected_is_in_the_report_as_such(matrix: pytest.Pytester) -> None:
    run(matrix, "--report-dir", "report", "-m", "onnxruntime and static", "--models", "m1")
    assert outcomes(matrix) == {
        "m1-simcc_onnxruntime_static": "pass",
        "m1-simcc_onnxruntime_dynamic": "not-selected",
        "m1-simcc_tensorrt_static": "not-selected",
    }


def test_a_selected_cell_without_a_result_is_missing(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--report-dir", "report", "-x", "-m", "onnxruntime", "-k", "runs")
    result.assert_outcomes(passed=3, failed=1)
    assert list(outcomes(matrix).values()).count("missing") == 0
    result = run(matrix, "--report-dir", "more", "--maxfail=1", "-m", "onnxruntime")
    by_id = outcomes(matrix, "more")
    assert by_id["m2-simcc_onnxruntime_dynamic"] == "mismatch"
    assert by_id["m2-simcc_onnxruntime_static"] == "missing"


@pytest.mark.parametrize("option", ["--collect-only", "--setup-only", "--setup-plan"])
def test_a_pytest_that_runs_no_test_judges_nothing(matrix: pytest.Pytester, option: str) -> None:
    options = ("--report-dir", "report", "--baseline", "b.json", "-k", "m1", "-m", "onnxruntime")
    run(matrix, *options, "--update-baseline")
    before = {path.name: path.read_bytes() for path in (matrix.path / "report").iterdir()}
    result = run(matrix, *options, "--fail-on-regression", option)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*regression*")
    assert {p.name: p.read_bytes() for p in (matrix.path / "report").iterdir()} == before


def test_a_required_backend_that_is_unavailable_fails_once_a_cell(
    matrix: pytest.Pytester,
) -> None:
    options = ("-m", "tensorrt", "--require", "tensorrt", "--report-dir", "report")
    result = run(matrix, *options)
    result.assert_outcomes(errors=2, skipped=2)
    result.stdout.fnmatch_lines(["*tensorrt is required but unavailable: no-driver: libcuda*"])
    assert outcomes(matrix)["m1-simcc_tensorrt_static"] == "failed:load"
    assert run(matrix, "-m", "tensorrt").ret == pytest.ExitCode.OK


def test_a_backend_can_be_switched_off(matrix: pytest.Pytester) -> None:
    run(matrix, "--disable", "onnxruntime", "--report-dir", "report", "-m", "onnxruntime")
    assert outcomes(matrix)["m1-simcc_onnxruntime_static"] == "unavailable:disabled-by-user"


def test_an_option_that_names_nothing_is_a_usage_error(matrix: pytest.Pytester) -> None:
    result = run(matrix, "--require", "tensorrtt")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = str(result.stdout) + str(result.stderr)
    assert "no backend 'tensorrtt'; there are: onnxruntime, tensorrt" in text


def declare(matrix: pytest.Pytester, mode: str, **fields: str) -> None:
    folder = matrix.path / "suites" / "expectations"
    folder.mkdir(parents=True, exist_ok=True)
    more = "".join(f'{name} = "{value}"\n' for name, value in fields.items() if name != "stage")
    text = XFAIL.replace("numeric", fields.get("stage", "numeric")).format(mode=mode) + more
    (folder / "onnxruntime.toml").write_text(text)
    load_expectations.cache_clear()


def test_a_declared_failure_is_expected(matrix: pytest.Pytester) -> None:
    declare(matrix, "dynamic")
    result = run(matrix, "--report-dir", "report", "-k", "dynamic", "-rx")
    result.assert_outcomes(passed=5, xfailed=1)
    assert outcomes(matrix)["m2-simcc_onnxruntime_dynamic"] == "xfail"
    result.stdout.fnmatch_lines(["*known to round (https://example.org/1)*"])
    cell = cells(matrix)["m2-simcc_onnxruntime_dynamic"]
    assert cell["reason"] == "known to round (https://example.org/1)"
    result = run(matrix, "--runxfail", "-k", "dynamic")
    result.assert_outcomes(passed=5, failed=1)


def test_a_declared_mismatch_excuses_no_crash(matrix: pytest.Pytester) -> None:
    crash = """
    import pytest
    from poseconform.isolation.child import ChildCrash
    from poseconform.judge.stages import StageFailure

    @pytest.mark.stage("numeric")
    def test_numbers(cell):
        if cell.id.startswith("m2"): raise {error}
    """
    for error, outcome in (
        ("StageFailure('numeric', 'crash', 'SIGSEGV in run', 'SIGSEGV')", "crash"),
        ("ChildCrash('SIGSEGV in reference')", "crash"),
        ("StageFailure('load', 'failed', 'no such operator')", "failed:load"),
        ("LookupError('no tolerance')", "failed:numeric"),
    ):
        matrix.makepyfile(test_cells=crash.format(error=error))
        declare(matrix, "dynamic")
        run(matrix, "--report-dir", "report", "-k", "m2 and dynamic").assert_outcomes(failed=1)
        assert outcomes(matrix)["m2-simcc_onnxruntime_dynamic"] == outcome


def test_an_entry_for_a_stage_that_no_test_carries_excuses_it(matrix: pytest.Pytester) -> None:
    declare(matrix, "static", stage="load", outcome="crash")
    result = run(matrix, "--report-dir", "report", "-k", "m2 and static and onnxruntime")
    result.assert_outcomes(xfailed=1, skipped=1)
    assert outcomes(matrix)["m2-simcc_onnxruntime_static"] == "xfail"
    declare(matrix, "static", stage="load")  # declared: it fails
    result = run(matrix, "--report-dir", "report", "-k", "m2 and static and onnxruntime")
    result.assert_outcomes(failed=1, skipped=1)


def test_one_test_of_a_stage_may_pass_if_another_fails_as_declared(
    matrix: pytest.Pytester,
) -> None:
    more = "@pytest.mark.stage('numeric')\ndef test_more_numbers(cell): pass\n"
    matrix.makepyfile(test_cells=f"{TESTS}\n{more}")
    declare(matrix, "dynamic")
    result = run(matrix, "--report-dir", "report", "-k", "m2 and dynamic and numbers")
    result.assert_outcomes(passed=1, xfailed=1)
    assert outcomes(matrix)["m2-simcc_onnxruntime_dynamic"] == "xfail"


def test_entries_and_baselines_are_not_about_another_implementation(
    matrix: pytest.Pytester,
) -> None:
    run(matrix, "-m", "onnxruntime", "--update-baseline")
    entries = XFAIL.format(mode="dynamic") + XFAIL.format(mode="of_nobody")
    matrix.mkdir("suites").joinpath("expectations").mkdir()
    path = matrix.path / "suites" / "expectations" / "onnxruntime.toml"
    path.write_text(entries, encoding="utf-8")
    load_expectations.cache_clear()
    options = ("--subject", "fixtures.fake_subject:of_others", "-m", "onnxruntime")
    result = run(matrix, *options, "--report-dir", "report")
    assert outcomes(matrix)["m2-simcc_onnxruntime_dynamic"] == "mismatch", "not excused"
    assert "against" not in result.stdout.str(), "that baseline is of another implementation"
    refused = run(matrix, *options, "--update-expectations")
    refused.stderr.fnmatch_lines(["*--update-expectations: found the subject 'others'*"])


def test_an_entry_about_no_cell_is_one_usage_error(matrix: pytest.Pytester) -> None:
    declare(matrix, "sometimes")
    for options in ((), ("-n", "1")):
        # xdist gives its workers the path that Python started with
        result = matrix.runpytest_subprocess(*PLUGINS, *options) if options else run(matrix)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        text = str(result.stdout) + str(result.stderr)
        assert "xfail[0]: model 'm2', family '*'" in text
        assert "Correct the entry, or remove it." in text
    declare(matrix, "static")  # m2 is not selected, but it is in the matrix
    assert run(matrix, "--models", "m1").ret == pytest.ExitCode.OK


def test_a_condition_that_does_not_hold_excuses_nothing(matrix: pytest.Pytester) -> None:
    declare(matrix, "dynamic", version="<1.27")
    run(matrix, "-k", "m2 and dynamic").assert_outcomes(passed=2, failed=1)
    declare(matrix, "dynamic", version=">=1.27")
    run(matrix, "-k", "m2 and dynamic").assert_outcomes(passed=2, xfailed=1)


def test_a_declared_failure_that_does_not_come_fails(matrix: pytest.Pytester) -> None:
    matrix.makepyfile(test_cells=TESTS.replace("assert cell.id", "cell.id"))
    declare(matrix, "dynamic")
    result = run(matrix, "--report-dir", "report", "-k", "dynamic")
    result.assert_outcomes(passed=5, failed=1)
    cell = cells(matrix)["m2-simcc_onnxruntime_dynamic"]
    assert cell["outcome"] == "xpass"
    assert cell["reason"].startswith("numeric passed: known to round (https://example.org/1)")
    assert "onnxruntime.toml: xfail[0]" in cell["reason"]


def test_a_declaration_that_is_wrong_is_one_usage_error(matrix: pytest.Pytester) -> None:
    declare(matrix, "dynamic")
    path = matrix.path / "suites" / "expectations" / "onnxruntime.toml"
    path.write_text(path.read_text().replace("numeric", "numerics"))
    load_expectations.cache_clear()
    result = run(matrix)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "xfail[0]: stage 'numerics'; expected one of" in str(result.stderr)


def test_a_mark_that_skips_before_setup_does_no_harm(matrix: pytest.Pytester) -> None:
    skip = "import pytest\n@pytest.mark.skip(reason='not now')\ndef test_a(cell): pass\n"
    matrix.makepyfile(test_cells=skip)
    run(matrix).assert_outcomes(skipped=6)


def test_the_judge_has_the_images_and_the_cache(matrix: pytest.Pytester) -> None:
    matrix.makepyfile(
        test_cells="""
        def test_judge(judge):
            assert judge.samples == ("image",)
            assert judge.cache.root.name == "here"
            assert judge.scratch.is_dir()
            assert judge.exporter == "dynamo"
        """
    )
    result = run(matrix, "--artifact-cache", "here", "--exporter", "dynamo")
    result.assert_outcomes(passed=1)
    assert "conformance" not in str(result.stdout)  # no cell, no report


def comparable(matrix: pytest.Pytester, report: str) -> dict[str, dict[str, Any]]:
    by_id = cells(matrix, report)
    for cell in by_id.values():
        cell["log_tail"] = ""
        for stage in cell["stages"]:
            stage["seconds"] = 0
    return by_id


def test_workers_change_nothing(matrix: pytest.Pytester) -> None:
    run(matrix, "--report-dir", "alone")
    # in a process of its own: xdist gives its workers the path that Python started with
    result = matrix.runpytest_subprocess(*PLUGINS, "--report-dir", "together", "-n", "2")
    result.assert_outcomes(passed=10, failed=2, skipped=6)
    assert comparable(matrix, "together") == comparable(matrix, "alone")
    assert len([line for line in result.outlines if "/6] m" in line]) == 6
