"""The pytest plugin: markers, collection, and the results of tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from poseconform.datasets.labeled import DataSet
from poseconform.expectations import entries as expectations
from poseconform.isolation.artifacts import ArtifactCache, CacheError
from poseconform.judge.judge import Judge
from poseconform.judge.stages import Blocked, StageFailure, Unavailable
from poseconform.matrix.cells import OTHER_FAMILY, Cell, Model, mark_name, plain
from poseconform.pytest_plugin import checking, recording
from poseconform.pytest_plugin.controller import (
    CONTROLLER,
    Controller,
    make_scheduler,
    run_folder,
)
from poseconform.pytest_plugin.options import (
    add_options,
    all_cells,
    availabilities_of,
    check_folders,
    is_dropped,
    runs_tests,
    selection_of,
    subject_of,
    subject_spec,
)  # fmt: skip
from poseconform.pytest_plugin.reproduction import command, end_with, save
from poseconform.results.folder import CollectedTest
from poseconform.results.outcome import STAGES
from poseconform.subject.protocol import Subject, follows_house_rules, words_of_flows
from posedeploy.paths import scratch_folder
from posedeploy.runtime import BACKENDS, Availability, Code, device_of
from posedeploy.runtime.parent import end_with_parent
from posedeploy.workflow import inert

REFUSED = pytest.StashKey[set[str]]()
NOTES = pytest.StashKey[recording.Notes]()
RECORDER = pytest.StashKey[recording.Recorder]()
MESSAGES = pytest.StashKey[recording.Messages]()
JUDGE = pytest.StashKey[Judge]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register markers from the tables; read the selection."""
    if (controller := getattr(config, "workerinput", {}).get(CONTROLLER)) is not None:
        end_with_parent(controller)
    _refuse_undecodable(config)
    config.stash[MESSAGES] = recording.Messages()
    logging.getLogger("poseconform").addHandler(config.stash[MESSAGES])
    for line in markers(subject_of(config)):
        config.addinivalue_line("markers", line)
    if not hasattr(config, "workerinput"):
        check_folders(config.option)
    if config.option.collectonly or not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller(config), "poseconform-controller")
    if config.option.report_dir and not config.option.xmlpath and runs_tests(config.option):
        config.option.xmlpath = _junit_file(config.option.report_dir)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main() -> Generator[None, object, object]:
    """What refuses a run names options and files, in the log of a job too."""
    try:
        return (yield)
    except pytest.UsageError as error:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            error.args = tuple(inert(str(word)) for word in error.args)
        raise


def pytest_unconfigure(config: pytest.Config) -> None:
    """Log no more."""
    if MESSAGES in config.stash:
        logging.getLogger("poseconform").removeHandler(config.stash[MESSAGES])


def _junit_file(report_dir: Path) -> str:
    """Where pytest is to write JUnit's report; it expands what looks like `~` and variables."""
    path = str(report_dir / "junit.xml")
    path = path if not path.startswith("~") else f"./{path}"
    if os.path.expandvars(path) != path:
        raise pytest.UsageError(
            f"--report-dir {report_dir}: found the name of an environment variable, for which "
            "pytest would put its value; expected another folder's name. Rename it."
        )
    return path


def _refuse_undecodable(config: pytest.Config) -> None:
    """A `pytest.UsageError` for an argument that xdist cannot send to its workers."""
    for word in config.invocation_params.args if _distributed(config) else ():
        if (shown := recording.printable(str(word))) != str(word):
            raise pytest.UsageError(
                f"-n: found the argument {shown}; expected UTF-8, which is all that workers can "
                "be sent. Rename the file, or run with -n 0."
            )


def _distributed(config: pytest.Config) -> bool:
    return str(config.getoption("dist", "no")) != "no"


def markers(subject: Subject) -> Iterator[str]:
    """One marker a backend, precision, shape mode, family and tier, and those of the suites."""
    flows = words_of_flows(subject)
    backends = {*(row.name for row in BACKENDS), *(f.backend for f in flows)}
    words = {
        "backend": {mark_name(name) for name in backends},
        "precision": {p for row in BACKENDS for p in row.precisions}
        | {f.precision for f in flows},
        "shape mode": {f.shape_mode for f in flows},
        "family": {mark_name(f) for f in (*subject.families(), OTHER_FAMILY)},
        "tier": {mark_name(t) for t in subject.tiers()},
    }
    for kind, names in words.items():
        yield from (f"{name}: cells of this {kind}" for name in sorted(names))
    yield f"stage(name): the stage that a test judges: {', '.join(STAGES)}"
    yield "flows(**fields): only cells whose flow has these fields; a tuple holds several values"
    yield "heads(*names): only models of these head kinds"
    yield checking.MARKER
    yield "anywhere: runs where files can be made for a backend, be it able to run there or not"
    yield "external: needs clients that other people wrote; tox -e clients"


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Refuse bad options before anything is collected: one line, not one error a test file."""
    option = session.config.option
    named = (
        option.models, option.model_config, option.checkpoint, option.deploy_config,
        option.sdk_model, option.sdk_models,
    )  # fmt: skip
    if any((*named, option.require, option.disable)):
        selection_of(session.config)
    declared(session.config)
    if option.update_expectations and not follows_house_rules(subject_of(session.config)):
        raise pytest.UsageError(
            f"--update-expectations: found the subject {subject_of(session.config).name!r}; "
            "expected this project's own, which they are about. Leave the option out."
        )
    if _distributed(session.config) and not hasattr(
        session.config, "workerinput"
    ):  # workers need not repeat it
        _refuse_unmatched(session.config)


@pytest.hookimpl(tryfirst=True)  # before xdist sends the controller what was collected
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse entries about no cell; prepare the records of the cells."""
    config = session.config
    tests: dict[str, CollectedTest] = {}
    for item in session.items:
        if model := _model_name(item):
            cell = _cell(item)
            tests[item.nodeid] = CollectedTest(
                cell.id if cell else "", _stage(item) if cell else "", recording.printable(model)
            )
    cells = {node_id: test for node_id, test in tests.items() if test.cell}
    if cells and not hasattr(config, "workerinput"):
        _refuse_unmatched(config)
    if config.option.collectonly:
        return
    if tests:
        run_folder(config).write_tests(tests)
    declarations = expectations.Declarations(
        () if config.option.runxfail else declared(config),
        lambda backend: availabilities_of(config).of(backend).version,
    )
    config.stash[RECORDER] = recording.Recorder(run_folder(config), cells, declarations)


def declared(config: pytest.Config) -> tuple[expectations.Expectation, ...]:
    """All entries of this project, about its own matrix: there are none about others' files."""
    if not follows_house_rules(subject_of(config)):
        return ()
    return expectations.load_expectations(config.rootpath / expectations.FOLDER)


def _refuse_unmatched(config: pytest.Config) -> None:
    """Entries that name another model than this run's are checked where that model is judged.

    To look for its cells would be to read its config, and some of mmpose's import torch.
    """
    has_model = getattr(subject_of(config), "has_model", lambda _name: False)
    judged = {model.name for model in selection_of(config).models}
    entries = [e for e in declared(config) if e.model in judged or not has_model(e.model)]
    if entries:
        expectations.refuse_unmatched(entries, all_cells(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `cell` runs for every cell; one that takes `model`, for every model."""
    config = metafunc.config
    if "cell" in metafunc.fixturenames:
        cells = [cell for cell in selection_of(config).cells if _applies(metafunc, cell)]
        if "check" in metafunc.fixturenames:
            device = availabilities_of(config).device
            params = checking.parameters(
                metafunc, cells, lambda c: device_of(c.flow.backend, c.flow.precision, device)
            )
            metafunc.parametrize(("cell", "check"), list(params))
            return
        params = (pytest.param(c, id=c.id, marks=checking.marks(c.marks)) for c in cells)
        metafunc.parametrize("cell", list(params))
    elif "conformance_model" in metafunc.fixturenames:
        models = selection_of(config).models
        params = (pytest.param(m, id=plain(m.name), marks=checking.marks(m.marks)) for m in models)
        metafunc.parametrize("conformance_model", list(params))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a model together, its cells one after the other, each by stage.

    So a cell ends as early as it can, and only one model at a time is in memory.
    """
    groups = [_model_name(item) or item.nodeid.split("::", maxsplit=1)[0] for item in items]
    first = {group: index for index, group in reversed(list(enumerate(groups)))}

    def order(pair: tuple[str, pytest.Item]) -> tuple[int, str, int]:
        group, item = pair
        cell = _cell(item)
        return first[group], cell.id if cell else "", STAGES.index(_stage(item)) if cell else 0

    items[:] = [item for _, item in sorted(zip(groups, items, strict=True), key=order)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker takes all tests of a model."""
    return make_scheduler(config, log, run_folder(config).tests)


def _params(item: pytest.Item) -> Mapping[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _cell(item: pytest.Item) -> Cell | None:
    cell = _params(item).get("cell")
    return cell if isinstance(cell, Cell) else None


def _model_name(item: pytest.Item) -> str:
    """The model that a test works on; '' for others.

    It is that of its cell, or its parameter `conformance_model`, or, in a test that uses the
    judge, its parameter `model`: the name of one, which may not be in this run.
    """
    if cell := _cell(item):
        return cell.model.name
    model = _params(item).get("conformance_model")
    if isinstance(model, Model):
        return model.name
    named = _params(item).get("model")
    judged = "judge" in getattr(item, "fixturenames", ())
    return named if judged and isinstance(named, str) else ""


def _applies(metafunc: pytest.Metafunc, cell: Cell) -> bool:
    fields = {k: v for m in metafunc.definition.iter_markers("flows") for k, v in m.kwargs.items()}
    names = {n for m in metafunc.definition.iter_markers("heads") for n in m.args}
    wanted = {k: v if isinstance(v, tuple) else (v,) for k, v in fields.items()}
    fits = all(getattr(cell.flow, key) in values for key, values in wanted.items())
    return fits and (not names or cell.model.head in names)


def _stage(item: pytest.Item) -> str:
    marker = item.get_closest_marker("stage")
    return str(marker.args[0]) if marker else STAGES[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a cell whose backend is unavailable, with the code; fail if it is required."""
    cell = _cell(item)
    if cell is None:
        return
    notes = item.stash[NOTES] = recording.Notes()
    item.config.stash[RECORDER].start(_test(item, cell))
    availabilities, flow = availabilities_of(item.config), cell.flow
    running = availabilities.of(flow.backend, flow.precision, flow.inference_precision)
    if running.ok:
        return
    notes.unavailable = running
    if item.get_closest_marker("anywhere") and availabilities.of_converting(flow.backend).ok:
        return
    # --require is about the backend, not about a processor's number formats
    backend = availabilities.of(flow.backend, flow.precision)
    if flow.backend in selection_of(item.config).require and not backend.ok:
        message = f"{flow.backend} is required but unavailable: {running.code}: {running.reason}"
        refused = item.config.stash.setdefault(REFUSED, set())
        if cell.id in refused:
            pytest.skip(str(Blocked("load", message)))
        refused.add(cell.id)
        raise StageFailure("load", "failed", message, running.code)
    pytest.skip(f"unavailable:{running.code}: {running.reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A test that an earlier stage's failure blocks is skipped, naming that stage.

    So is one of a cell that cannot be converted here, with the code.
    """
    try:
        return (yield)
    except Blocked as blocked:
        pytest.skip(str(blocked))
    except Unavailable as missing:
        if NOTES in item.stash:
            item.stash[NOTES].unavailable = Availability(Code(missing.code), missing.reason)
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Append the result of a cell's test to the record of the cell."""
    report = yield
    item.config.stash[MESSAGES].move_to(report)
    # a report that holds a lone surrogate cannot leave an xdist worker
    report.sections = [(title, recording.printable(text)) for title, text in report.sections]
    cell = _cell(item)
    if cell is None:
        return report
    if call.when == "teardown" or (call.when == "setup" and report.passed):
        recording.shorten(report)
        return report
    test = _test(item, cell)
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, CacheError):  # where it was raised tells a person nothing
        report.longrepr = str(error)
    notes = item.stash.get(NOTES, recording.Notes())  # a mark can end a test before its setup
    item.config.stash[RECORDER].end(test, notes, report, error)
    # JUnit takes the properties of the teardown's report, which copies the item's
    measured = test.base.with_measurements(**notes.fields)
    item.user_properties += recording.junit_properties(measured, test.stage)
    if report.failed:
        save(item, cell, report, test.base.repro)
    recording.shorten(report)
    if report.failed:
        end_with(report, "re-run just this cell", test.base.repro)
    return report


def _test(item: pytest.Item, cell: Cell) -> recording.CellTest:
    config = item.config
    base = recording.base_record(
        cell, config.option.exporter, command(config, cell), subject_of(config).name
    )
    return recording.CellTest(item.nodeid, cell, _stage(item), base)


@pytest.fixture(scope="session")
def judge(
    request: pytest.FixtureRequest, conformance_samples: Any, conformance_figures: Any
) -> Iterator[Judge]:
    """The judge of this process; its images come from the other fixtures."""
    config = request.config

    def dataset(bottom_up: bool) -> DataSet:  # of a fixture that only the accuracy suite has
        data: DataSet = request.getfixturevalue("conformance_dataset")(bottom_up)
        return data

    with scratch_folder("poseconform") as scratch:
        judge = Judge(
            ArtifactCache(config.option.artifact_cache), conformance_samples,
            availabilities_of(config), scratch, config.option.exporter,
            figures=conformance_figures, dataset=dataset, subject_spec=subject_spec(config.option),
            dropped=lambda model: is_dropped(model) and not config.option.keep,
        )  # fmt: skip
        config.stash[JUDGE] = judge
        yield judge
        judge.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What is held of a model goes with its last test: hundreds do not fit into memory."""
    cell = _cell(item)
    last = nextitem is None or _model_name(nextitem) != _model_name(item)
    if cell and last and JUDGE in item.config.stash:
        item.config.stash[JUDGE].forget(cell.model)


@pytest.fixture
def record(request: pytest.FixtureRequest) -> recording.Notes:
    """Call it with fields of `CellRecord` that the test has measured."""
    return request.node.stash[NOTES]  # type: ignore[no-any-return]
