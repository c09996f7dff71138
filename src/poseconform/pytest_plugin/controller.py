"""The plugin's part that runs once: collects what all tests say, and writes the report."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poseconform.expectations import entries as expectations
from poseconform.expectations import update as expectations_update
from poseconform.isolation.disk import make_room
from poseconform.planted import score as defect_score
from poseconform.pytest_plugin import baseline as regression
from poseconform.pytest_plugin import recording
from poseconform.pytest_plugin.options import all_cells, availabilities_of, selection_of
from poseconform.pytest_plugin.progress import Progress, count_tests
from poseconform.results.outcome import CellRecord
from poseconform.subject.environment import fingerprint


class Controller:
    """The part that runs once, where results of all xdist workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.monotonic()
        self._partials: list[CellRecord] = []
        self._selected: dict[str, int] = {}
        self._progress = Progress(self._write)
        self._results: Any = None
        self._paths: list[Path] = []
        self._defects = defect_score.Score()
        self._diff: Any = None
        self._no_diff = ""

    def pytest_sessionstart(self) -> None:
        """Refuse a baseline that is not there, and a full disk, before hours are spent."""
        option = self._config.option
        regression.check_options(option, self._config.rootpath)
        make_room(option.artifact_cache, option.artifact_cache_limit)

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

    def _select(self, node_ids: list[str]) -> None:
        if not self._selected:
            self._selected = dict(count_tests(recording.cell_id_of(n) for n in node_ids))
            cells = {c.id for c in selection_of(self._config).cells} if self._selected else set()
            self._selected = {k: n for k, n in self._selected.items() if k in cells}
            self._progress.start(self._selected)

    def pytest_report_teststatus(
        self, report: pytest.TestReport, config: pytest.Config
    ) -> tuple[str, str, str] | None:
        """Tests of cells print no dot: the cell has a line of its own."""
        of_a_cell = any(
            name == recording.PROPERTY for name, _ in getattr(report, "user_properties", ())
        )
        if config.option.verbose > 0 or not of_a_cell or hasattr(report, "wasxfail"):
            return None
        if report.passed:
            return ("passed" if report.when == "call" else "", "", "PASSED")
        return ("skipped", "", "SKIPPED") if report.skipped else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended, here or in a worker."""
        self._defects.add(report)
        for name, value in report.user_properties if report.when != "teardown" else ():
            if name == recording.PROPERTY:
                cell_id, _, text = str(value).partition(" ")
                partial = CellRecord.from_json(text) if text else None
                self._partials += [partial] if partial else []
                self._progress.add(cell_id, partial)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report; compare with the baseline."""
        folder = self._config.option.report_dir
        try:
            if self._selected:
                self._finish(session)
            if folder:
                self._paths += defect_score.write_table(folder, self._defects.facts())
        except OSError as error:
            pytest.exit(
                f"--report-dir {folder}: the report could not be written: {error}. "
                "What is printed above is all that is left; free the disk and run again.",
                pytest.ExitCode.INTERNAL_ERROR,
            )

    def _finish(self, session: pytest.Session) -> None:
        self._results = self._make_results()
        path = regression.baseline_file(self._config.option, self._config.rootpath)
        self._diff, self._no_diff = regression.compare(self._results, path)
        if self._config.option.report_dir:
            self._paths = recording.write_report(
                self._config.option.report_dir,
                self._results,
                path if self._diff is not None else None,
            )
        worse = self._diff is not None and bool(self._diff.regressions)
        if worse and self._config.option.fail_on_regression:
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _make_results(self) -> Any:
        from poseconform.report.data.results import new_results

        selection, found = selection_of(self._config), availabilities_of(self._config)
        exporter = self._config.option.exporter
        cells = recording.complete(
            selection.cells, self._selected, self._partials, exporter, found.subject.name
        )
        if not found.known:  # with xdist the workers have probed
            for backend in sorted({c.backend for c in cells if c.outcome != "not-selected"}):
                found.of(backend)
        environment = fingerprint(found, self._config.option.weights_seed)
        return new_results(cells, environment=environment, run=self._run_facts(cells))

    def _run_facts(self, cells: tuple[CellRecord, ...]) -> dict[str, Any]:
        made = [s for c in cells for s in c.stages if s.name == "export" and s.seconds > 0]
        done = [s for c in cells for s in c.stages if s.name == "export"]
        return {
            "command": shlex.join(["python", "-m", "pytest", *sys.argv[1:]]),
            "seconds": round(time.monotonic() - self._started, 1),
            "exports": len(made),
            "cache_hits": len(done) - len(made),
            "exporter": self._config.option.exporter or "as each deploy config says",
            "image_set": self._config.option.image_set,
            **self._defects.facts(),
        }

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The matrix in text, failures with their commands, and where the report is."""
        for line in defect_score.summary_lines(self._defects.facts()):
            terminalreporter.write_line(line)
        if self._results is None:
            return
        from rich.console import Console

        from poseconform.report.text.github import publish
        from poseconform.report.text.terminal import print_summary

        terminalreporter.write_sep("=", "conformance")
        console = Console(file=sys.stdout if sys.stdout.isatty() else None, soft_wrap=False)
        print_summary(self._results, console)
        for path in [*self._paths, self._config.option.xmlpath] if self._paths else []:
            terminalreporter.write_line(f"wrote {path}")
        self._say_what_changed(terminalreporter.write_line)
        if self._config.option.update_expectations:
            self._update_expectations(terminalreporter.write_line)
        for line in publish(self._results, os.environ):
            terminalreporter.write_line(line)

    def _update_expectations(self, write_line: Callable[[str], None]) -> None:
        folder = self._config.rootpath / expectations.FOLDER
        found, system = availabilities_of(self._config), expectations.this_system()
        matrix = all_cells(self._config)
        run = expectations_update.Run(
            expectations.load_expectations(folder),
            matrix,
            expectations_update.by_cell(matrix, self._results.cells),
            lambda entry: entry.holds(found.of(entry.backend).version, system),
        )
        expectations_update.update(folder, run, write_line)

    def _say_what_changed(self, write_line: Callable[[str], None]) -> None:
        path = regression.baseline_file(self._config.option, self._config.rootpath)
        if self._diff is not None:
            for line in regression.summary_lines(self._diff, path):
                write_line(line)
        if self._no_diff:
            write_line(f"not compared: {self._no_diff}")
        if self._config.option.update_baseline:
            regression.update(self._results, path, write_line)
