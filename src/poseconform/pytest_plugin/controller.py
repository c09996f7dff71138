"""The plugin's part that runs once: it schedules the tests, and reports what became of them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from poseconform.expectations import entries as expectations
from poseconform.expectations import update as expectations_update
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.planted import score as defect_score
from poseconform.pytest_plugin import baseline as regression
from poseconform.pytest_plugin import recording
from poseconform.pytest_plugin.options import (
    CACHE_VARIABLE,
    all_cells,
    availabilities_of,
    is_dropped,
    refuse_unwritable,
    runs_tests,
    selection_of,
    subject_of,
)
from poseconform.pytest_plugin.reproduction import shell_word
from poseconform.report.data.diff import Diff
from poseconform.report.data.vocabulary import words_of
from poseconform.report.text.strings import duration
from poseconform.results.folder import CollectedTest, RunFolder, RunRecord, export_counts
from poseconform.results.records import CellRecord
from poseconform.results.results import Results, new_results, write_results
from poseconform.subject.environment import fingerprint
from posedeploy.signals import STOP_SIGNALS, handling_stop_signals
from posedeploy.workflow import for_log

_FOLDER = pytest.StashKey[RunFolder]()
_WORKERINPUT = "poseconform_run_folder"
CONTROLLER = "poseconform_controller"  # name of the controller's pid in a worker's input
GB = 1_000_000_000
# Enough for export, conversion and reference of most models (the hourglass's files have 375 MB
# each); on a full disk every cell fails, each at another stage.
MIN_FREE_BYTES = GB // 2


def make_room(cache: Path, limit_gb: int) -> None:
    """Bring the cache within its limit (10^9 bytes), before the first test of the judge.

    Raises a `pytest.UsageError` if nothing can be written there, or if its disk has less free
    space than one cell needs.
    """
    another = f"Name another one, by the option or by {CACHE_VARIABLE}."
    refuse_unwritable("--artifact-cache", cache, another)
    if cache.is_dir():
        ArtifactCache(cache).prune(limit_gb * GB)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        raise pytest.UsageError(
            f"--artifact-cache {cache}: found {free / GB:.2f} GB free on its disk; expected at "
            f"least {MIN_FREE_BYTES / GB:g} GB. Remove the folder (it is a cache), lower "
            "--artifact-cache-limit, or name a folder on another disk."
        )


def run_folder(config: pytest.Config) -> RunFolder:
    """Where the files of this run are: in the report's folder, or in a temporary one."""
    if _FOLDER not in config.stash:
        workerinput, option = getattr(config, "workerinput", {}), config.option
        named = workerinput.get(_WORKERINPUT) or (runs_tests(option) and option.report_dir)
        path = Path(named or tempfile.mkdtemp(prefix="poseconform-run-"))
        config.stash[_FOLDER] = RunFolder(path.absolute())
    return config.stash[_FOLDER]


@dataclass
class Progress:
    """Writes one line for each cell when its last test has ended, with the time that is left."""

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic  # seconds
    tests: Mapping[str, int] = field(default_factory=dict)  # how many each cell has
    _started: float = 0.0
    _ended: int = 0
    _done: int = 0

    def start(self, tests: Mapping[str, int]) -> None:
        """The run begins."""
        self.tests, self._started = tests, self.clock()

    def add(self, cell_id: str, outcome: str) -> None:
        """A test of a cell has ended; `outcome` is the cell's if it was the last one, else ''."""
        if cell_id not in self.tests:
            return
        self._ended += 1
        if not outcome:
            return
        self._done += 1
        total, left = len(self.tests), sum(self.tests.values()) - self._ended
        seconds = (self.clock() - self._started) / self._ended * left
        eta = f", about {duration(seconds)} left" if self._done < total else ""
        count = f"{self._done:{len(str(total))}}/{total}"
        self.write(f"[{count}] {cell_id}: {words_of(outcome)}{eta}")


class Controller:
    """The part that runs once, where results of all xdist workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.monotonic()
        self._selected: Counter[str] = Counter()  # cell id -> how many tests it has
        self._progress = Progress(self._write)
        self._results: Results | None = None
        self._paths: list[Path] = []
        self._defects = defect_score.Score()
        self._diff: Diff | None = None
        self._no_diff = ""
        self._interrupted = ""
        self._unwritten = ""  # what could not be written of the report, and why
        self._signals = ExitStack()  # in which they are handled
        self._crashed: set[str] = set()  # node ids of tests whose worker died

    def pytest_sessionstart(self) -> None:
        """Refuse a missing baseline before any test runs; names in the log are no commands."""
        option = self._config.option
        writer = self._config.get_terminal_writer()
        writer._file = for_log(writer._file, os.environ)  # all that pytest prints
        regression.check_options(option, self._config.rootpath)
        if runs_tests(option):
            run_folder(self._config).clear()
        if threading.current_thread() is threading.main_thread():
            self._signals.enter_context(handling_stop_signals(_terminate))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A worker writes its records where this process reads them."""
        node.workerinput[_WORKERINPUT] = str(run_folder(self._config).path)
        node.workerinput[CONTROLLER] = os.getpid()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """A worker died in a test, or before it; another may have taken over by now."""
        self._crashed.add(crashitem)

    def pytest_unconfigure(self) -> None:
        """Give back the signal handler; remove a temporary folder of a run that has ended."""
        self._signals.close()
        option = self._config.option
        temporary = option.report_dir is None or not runs_tests(option)
        if _FOLDER in self._config.stash and temporary:
            shutil.rmtree(run_folder(self._config).path, ignore_errors=True)

    def _write(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist: what was selected."""
        self._select([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With xdist: what a worker has selected; all select the same."""
        self._select(ids)

    def _select(self, node_ids: Iterable[str]) -> None:
        if self._selected or not runs_tests(self._config.option):
            return
        option, tests = self._config.option, run_folder(self._config).tests()
        judged = [tests[node_id] for node_id in node_ids if node_id in tests]
        if judged:
            try:
                make_room(option.artifact_cache, option.artifact_cache_limit)
            except pytest.UsageError:
                run_folder(self._config).clear()
                raise
        self._selected = Counter(test.cell for test in judged if test.cell)
        self._progress.start(self._selected)
        if self._selected:
            run_folder(self._config).write_run(self._run_record())

    def _dead(self) -> dict[str, tuple[str, str]]:
        """Id of a cell's record -> the test and stage in which, or before which, its worker died.

        What a worker had not finished when it was killed is not known to be right, even if its
        record on disk is that of a pass: another worker may have done the rest.
        """
        tests = run_folder(self._config).tests()
        died = {tests[n].cell: (n, tests[n].stage) for n in self._crashed if n in tests}
        option, subject = self._config.option, subject_of(self._config).name
        cells = selection_of(self._config).cells if died else ()
        return {
            recording.base_record(cell, option.exporter, "", subject).cell_id: died[cell.id]
            for cell in cells
            if cell.id in died
        }

    def _run_record(self) -> RunRecord:
        option, subject = self._config.option, subject_of(self._config).name
        cells = []
        for cell in selection_of(self._config).cells:
            base = recording.base_record(cell, option.exporter, "", subject)
            if cell.id in self._selected:
                cells.append(base.with_outcome())
            elif not is_dropped(cell.model):  # the zoo has many thousands that are not selected
                cells.append(base.not_selected())
        run = {
            "command": " ".join(["python -m pytest", *map(shell_word, sys.argv[1:])]),
            "exporter": option.exporter or "the one of each deploy config",
            "image_set": option.image_set,
        }
        return RunRecord(self._environment(cells), run, tuple(cells))

    def _environment(self, cells: Iterable[CellRecord]) -> dict[str, Any]:
        availabilities = availabilities_of(self._config)
        for backend in sorted({c.backend for c in cells if c.outcome != "not-selected"}):
            availabilities.of(backend)  # with xdist only the workers have probed
        return fingerprint(availabilities, self._config.option.weights_seed)

    def pytest_report_teststatus(
        self, report: pytest.TestReport, config: pytest.Config
    ) -> tuple[str, str, str] | None:
        """Tests of cells print no dot: the cell has a line of its own."""
        of_a_cell = hasattr(report, recording.CELL)
        if config.option.verbose > 0 or not of_a_cell or hasattr(report, "wasxfail"):
            return None
        if report.passed:
            return ("passed" if report.when == "call" else "", "", "PASSED")
        return ("skipped", "", "SKIPPED") if report.skipped else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended, here or in a worker."""
        self._defects.add(report)
        if self._config.option.verbose > 0:
            for line in getattr(report, recording.MESSAGES, ()):
                self._write(line)
        if (cell := getattr(report, recording.CELL, None)) is not None:
            self._progress.add(cell["id"], cell["outcome"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """The run is ended from outside: write the report before anything is torn down."""
        self._interrupted = str(excinfo.value) or "SIGINT"
        try:
            self._finish()
        except OSError:
            self._results = None  # `pytest_sessionfinish` tries again, and reports the error

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write the report when the others are done, whether or not they could write theirs."""
        try:
            result = yield
        except OSError as error:  # of junit.xml
            result, session.exitstatus = None, pytest.ExitCode.INTERNAL_ERROR
            self._unwritten = f"{error}"
        self._report(session)
        return result

    def _report(self, session: pytest.Session) -> None:
        """Write the report; compare with the baseline."""
        if not runs_tests(self._config.option):
            return
        folder = self._config.option.report_dir
        if not self._interrupted:
            self._interrupted = str(session.shouldfail or session.shouldstop or "")
        try:
            if self._results is None:
                self._finish()
            if folder:
                self._paths += defect_score.write_table(folder, self._defects.facts())
        except OSError as error:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            self._unwritten = (
                f"--report-dir {folder}: the report could not be written: {error}. "
                "What is printed here is all that is left; free the disk and run again."
            )
        if self._results is not None and not self._unwritten:
            run_folder(self._config).clear()  # now: until here a worker may have written
        worse = self._diff is not None and bool(self._diff.regressions)
        if worse and self._config.option.fail_on_regression:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _finish(self) -> None:
        """Make the results of what has been done, and write the report."""
        if not self._selected:
            return
        folder = run_folder(self._config)
        run = folder.run()
        cells = folder.cells(run, interrupted=bool(self._interrupted), crashed=self._dead())
        missing = any(cell.outcome == "missing" for cell in cells)
        facts = {
            **run.run,
            **export_counts(cells),
            **self._defects.facts(),
            **({"interrupted": self._interrupted} if self._interrupted and missing else {}),
            "seconds": round(time.monotonic() - self._started, 1),
        }
        self._results = results = new_results(
            cells, environment=self._environment(cells), run=facts
        )
        path = regression.baseline_file(self._config.option, self._config.rootpath)
        self._diff, self._no_diff = regression.compare(results, path)
        if self._config.option.report_dir:
            from poseconform.report.build import build_report

            report = self._config.option.report_dir
            written = write_results(report / "results.json", results)
            baseline = path if self._diff is not None else None
            self._paths = [*build_report(written, report, baseline_path=baseline), written]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The matrix in text, failures with their commands, and where the report is."""
        for line in defect_score.summary_lines(self._defects.facts()):
            terminalreporter.write_line(line)
        if self._unwritten:
            terminalreporter.write_line(self._unwritten, red=True)
        if self._results is None:
            return
        from rich.console import Console

        from poseconform.report.text.github import publish
        from poseconform.report.text.terminal import print_summary

        terminalreporter.write_sep("=", "conformance")
        console = Console(file=for_log(sys.stdout, os.environ), soft_wrap=False)
        print_summary(self._results, console)
        for path in [*self._paths, self._config.option.xmlpath] if self._paths else []:
            terminalreporter.write_line(f"wrote {path}")
        self._print_changes(self._results, terminalreporter.write_line)
        if self._config.option.update_expectations:
            self._update_expectations(self._results, terminalreporter.write_line)
        publish(self._results, os.environ)

    def _update_expectations(self, results: Results, write_line: Callable[[str], None]) -> None:
        folder = self._config.rootpath / expectations.FOLDER
        availabilities = availabilities_of(self._config)
        entries = expectations.load_expectations(folder)
        declared = expectations.Declarations(entries, lambda name: availabilities.of(name).version)
        matrix = tuple(all_cells(self._config))
        by_cell = expectations_update.by_cell(matrix, results.cells)
        run = expectations_update.Run(entries, matrix, by_cell, declared.holds)
        expectations_update.update(folder, run, write_line)

    def _print_changes(self, results: Results, write_line: Callable[[str], None]) -> None:
        path = regression.baseline_file(self._config.option, self._config.rootpath)
        if self._diff is not None:
            for line in regression.summary_lines(self._diff, path):
                write_line(line)
        if self._no_diff:
            write_line(f"not compared: {self._no_diff}")
        if self._config.option.update_baseline:
            regression.update(results, path, write_line)


def _terminate(signum: int, frame: object) -> None:
    """End the session as Ctrl-C does; a second signal is not to spoil the report."""
    del frame
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise pytest.exit.Exception(signal.Signals(signum).name)


def group_of(node_id: str, tests: Mapping[str, CollectedTest]) -> str:
    """The model of a test, else its file."""
    test = tests.get(node_id)
    return test.model if test and test.model else node_id.split("::", maxsplit=1)[0]


def make_scheduler(
    config: pytest.Config, log: Any, read_tests: Callable[[], Mapping[str, CollectedTest]]
) -> Any:
    """Xdist's load-by-scope scheduler, with `group_of` as the scope.

    A worker builds a model and reads its reference once, and an earlier failure of a cell blocks
    its later stages. xdist's own `--dist loadgroup` has no effect with pytest 9.2 and xdist 3.8.
    `read_tests` gives what each test is about, once the workers have collected.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class LoadByModel(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        tests: Mapping[str, CollectedTest] = {}

        def _split_scope(self, nodeid: str) -> str:
            self.tests = self.tests or read_tests()
            return group_of(nodeid, self.tests)

        def _assign_work_unit(self, node: Any) -> None:
            # xdist queues again what a dead worker had completed too; a worker that is given
            # such a unit has nothing to run, reports nothing, and is given no other
            for scope in [scope for scope, unit in self.workqueue.items() if all(unit.values())]:
                del self.workqueue[scope]
            if self.workqueue:
                super()._assign_work_unit(node)
            else:
                node.shutdown()

    return LoadByModel(config, log)
