"""The pytest plugin: options, markers, collection, and the way of a result. Thin on purpose."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import expectations, implementations, recording
from .artifacts import ArtefactCache
from .availability import Availabilities
from .environment import fingerprint
from .matrix import Cell, Model, mark_name
from .options import Selection, add_options, read_selection
from .outcome import STAGES, CellRecord
from .progress import Progress, count_tests
from .scheduling import make_scheduler
from .session import Judge
from .stages import Blocked, StageFailure

SELECTION = pytest.StashKey[Selection]()
AVAILABILITIES = pytest.StashKey[Availabilities]()
CONTROLLER = pytest.StashKey["Controller"]()
REFUSED = pytest.StashKey[set[str]]()
NOTES = pytest.StashKey[recording.Notes]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers from the tables; read the selection."""
    for line in markers():
        config.addinivalue_line("markers", line)
    if config.option.collectonly or not hasattr(config, "workerinput"):
        config.stash[CONTROLLER] = Controller(config)
        config.pluginmanager.register(config.stash[CONTROLLER], "poseconform-controller")
    report_dir = config.option.report_dir
    if report_dir and not config.option.xmlpath:
        config.option.xmlpath = str(report_dir / "junit.xml")


def markers() -> Iterator[str]:
    """One marker a backend, precision, shape mode, family and tier, and those of the suites."""
    flows = implementations.flows()
    words = {
        "backend": {mark_name(f.backend) for f in flows},
        "precision": {f.precision for f in flows},
        "shape mode": {f.shape_mode for f in flows},
        "family": {mark_name(f) for f in implementations.all_families()},
        "tier": {mark_name(t) for t in implementations.all_tiers()},
    }
    for kind, names in words.items():
        yield from (f"{name}: cells of this {kind}" for name in sorted(names))
    yield f"stage(name): the stage that a test judges: {', '.join(STAGES)}"
    yield "flows(**fields): only cells whose flow has these fields"
    yield "variants(*names): only models of these head kinds"


def selection_of(config: pytest.Config) -> Selection:
    """The run's selection, read when the first test asks for it."""
    if SELECTION not in config.stash:
        config.stash[SELECTION] = read_selection(config.option)
        config.stash[AVAILABILITIES] = Availabilities(config.stash[SELECTION].disabled)
    return config.stash[SELECTION]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `cell` runs for every cell; one that takes `model`, for every model."""
    if "cell" in metafunc.fixturenames:
        stage = _stage(metafunc.definition)
        cells = [c for c in selection_of(metafunc.config).cells if _applies(metafunc, c)]
        params = [
            pytest.param(cell, id=cell.id, marks=(*_marks(cell), *expectations.marks(cell, stage)))
            for cell in cells
        ]
        metafunc.parametrize("cell", params)
    elif "conformance_model" in metafunc.fixturenames:
        models = selection_of(metafunc.config).models
        params = [
            pytest.param(m, id=m.name, marks=[getattr(pytest.mark, w) for w in _model_marks(m)]
)
            for m in models
        ]  # fmt: skip
        metafunc.parametrize("conformance_model", params)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a model together, its cells one after the other, each by stage.

    So a cell's result is known as early as it can be, and only one model at a time is in memory.
    """
    places: dict[str, int] = {}
    for item in items:
        places.setdefault(_model_name(item), len(places))

    def order(item: pytest.Item) -> tuple[int, str, int]:
        cell = _cell(item)
        stage = STAGES.index(_stage(item))
        return places[_model_name(item)], cell.id if cell else "", stage if cell else 0

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker takes all tests of a model."""
    selection = selection_of(config)
    models = {model.name: model.name for model in selection.models}
    models |= {cell.id: cell.model.name for cell in selection.cells}
    return make_scheduler(config, log, models)


def _model_name(item: pytest.Item) -> str:
    cell = _cell(item)
    params = item.callspec.params if hasattr(item, "callspec") else {}
    model = cell.model if cell else params.get("conformance_model")
    return model.name if model else item.nodeid.split("::")[0]


def _applies(metafunc: pytest.Metafunc, cell: Cell) -> bool:
    fields = {k: v for m in metafunc.definition.iter_markers("flows") for k, v in m.kwargs.items()}
    names = {n for m in metafunc.definition.iter_markers("variants") for n in m.args}
    fits = all(getattr(cell.flow, key) == value for key, value in fields.items())
    return fits and (not names or cell.model.variant in names)


def _marks(cell: Cell) -> Iterator[pytest.MarkDecorator]:
    yield from (getattr(pytest.mark, name) for name in cell.marks)


def _model_marks(model: Model) -> Iterator[str]:
    yield from (mark_name(word) for word in (model.family, *model.tiers))


def _stage(node: pytest.Item | pytest.Function | Any) -> str:
    marker = node.get_closest_marker("stage")
    return str(marker.args[0]) if marker else STAGES[0]


def _cell(item: pytest.Item) -> Cell | None:
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(
        item, "callspec") else {}  # fmt: skip
    cell = params.get("cell")
    return cell if isinstance(cell, Cell) else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a cell whose backend is unavailable, with the code; fail if it is required."""
    cell = _cell(item)
    if cell is None:
        return
    item.stash[NOTES] = recording.Notes()
    selection = selection_of(item.config)
    found = item.config.stash[AVAILABILITIES].of(cell.flow.backend)
    if found.ok:
        return
    if cell.flow.backend in selection.require:
        message = f"{cell.flow.backend} is required but unavailable: {found.code}: {found.reason}"
        said = item.config.stash.setdefault(REFUSED, set())
        if cell.id in said:
            pytest.skip(str(Blocked("load", message)))
        said.add(cell.id)
        raise StageFailure("load", "failed", message, found.code)
    pytest.skip(f"unavailable:{found.code}: {found.reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A test that an earlier stage's failure blocks is skipped, naming that stage."""
    try:
        return (yield)
    except Blocked as blocked:
        pytest.skip(str(blocked))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the test says of its cell to its report."""
    report = yield
    cell = _cell(item)
    decided = call.when == "call" or (call.when == "setup" and not report.passed)
    if cell is None or not decided:
        return report
    base = recording.base_record(cell, item.config.option.exporter, repro(item.config, cell))
    error = call.excinfo.value if call.excinfo else None
    partial = recording.partial_record(base, _stage(item), item.stash[NOTES], report, error)
    text = partial.to_json() if partial else ""
    report.user_properties.append((recording.PROPERTY, f"{cell.id} {text}"))
    if report.failed:
        report.sections.append(("re-run just this cell", base.repro))
    return report


def repro(config: pytest.Config, cell: Cell) -> str:
    """The command that re-runs one cell."""
    model, option = cell.model, config.option
    words = ["python", "-m", "pytest", "suites"]
    words += ["--models", model.name] if model.tiers or not model.checkpoint else [
        "--model-config", model.config]  # fmt: skip
    words += ["--checkpoint", f"{model.name}={model.checkpoint}"] if model.checkpoint else []
    words += ["--exporter", option.exporter] if option.exporter else []
    words += ["--deploy-config", cell.flow.deploy_config] if "/" in cell.flow.deploy_config else []
    return shlex.join([*words, "-k", f"[{cell.id}]"])


@pytest.fixture(scope="session")
def judge(request: pytest.FixtureRequest, conformance_samples: Any) -> Iterator[Judge]:
    """The judge of this process; the pictures come from the fixture `conformance_samples`."""
    config = request.config
    selection_of(config)
    with tempfile.TemporaryDirectory(prefix="poseconform-") as scratch:
        judge = Judge(
            cache=ArtefactCache(config.option.artefact_cache),
            samples=conformance_samples,
            availabilities=config.stash[AVAILABILITIES],
            scratch=Path(scratch),
            exporter=config.option.exporter,
        )
        yield judge
        judge.close()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> recording.Notes:
    """Call it with fields of `CellRecord` that the test has measured."""
    return request.node.stash[NOTES]  # type: ignore[no-any-return]


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

    def _write(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist: what was selected."""
        self._select([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
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
        if config.option.verbose > 0 or not any(k == recording.PROPERTY for k, _ in
                                                report.user_properties):  # fmt: skip
            return None
        if report.passed and not hasattr(report, "wasxfail"):
            return ("passed" if report.when == "call" else "", "", "PASSED")
        return ("skipped", "", "SKIPPED") if report.skipped and not hasattr(
            report, "wasxfail") else None  # fmt: skip

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended, here or in a worker."""
        for name, value in report.user_properties if report.when != "teardown" else ():
            if name == recording.PROPERTY:
                cell_id, _, text = str(value).partition(" ")
                partial = CellRecord.from_json(text) if text else None
                self._partials += [partial] if partial else []
                self._progress.add(cell_id, partial)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        if not self._selected:
            return
        from .report.results import new_results

        selection = selection_of(self._config)
        exporter = self._config.option.exporter
        cells = recording.complete(selection.cells, self._selected, self._partials, exporter)
        if self._config.stash[AVAILABILITIES].known == {}:  # with xdist the workers have probed
            for backend in sorted({c.backend for c in cells if c.outcome != "not-selected"}):
                self._config.stash[AVAILABILITIES].of(backend)
        self._results = new_results(
            cells,
            environment=fingerprint(self._config.stash[AVAILABILITIES]),
            run=self._run_facts(cells),
        )
        if self._config.option.report_dir:
            self._paths = recording.write_report(self._config.option.report_dir, self._results)

    def _run_facts(self, cells: tuple[CellRecord, ...]) -> dict[str, Any]:
        made = [s for c in cells for s in c.stages if s.name == "export" and s.seconds > 0]
        done = [s for c in cells for s in c.stages if s.name == "export"]
        return {
            "command": shlex.join(["python", "-m", "pytest", *sys.argv[1:]]),
            "seconds": round(time.monotonic() - self._started, 1),
            "exports": len(made),
            "cache_hits": len(done) - len(made),
            "exporter": self._config.option.exporter or "as each deploy config says",
        }

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The matrix in text, failures with their commands, and where the report is."""
        if self._results is None:
            return
        from rich.console import Console

        from .report.terminal import print_summary

        terminalreporter.write_sep("=", "conformance")
        console = Console(file=sys.stdout if sys.stdout.isatty() else None, soft_wrap=False)
        print_summary(self._results, console)
        for path in [*self._paths, self._config.option.xmlpath] if self._paths else []:
            terminalreporter.write_line(f"wrote {path}")
