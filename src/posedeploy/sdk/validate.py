"""`validate`: everything about an SDK model folder that makes a client crash or go wrong.

Clients silently accept a folder that gives wrong keypoints, and crash on one with a typo.  This
looks for both in the folder alone: no graph is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.runtime import backend_names, backend_row
from posedeploy.sdk.archive import locate
from posedeploy.sdk.binding import check_kind, decoder_of
from posedeploy.sdk.checks import Finding, Level, error, from_exception, warning
from posedeploy.sdk.checks.clients import Client, check_client, client_named
from posedeploy.sdk.checks.detail import check_facts, check_meta, check_provenance
from posedeploy.sdk.checks.files import (
    check_checksums,
    check_files,
    check_links,
    check_program,
    check_schema,
)
from posedeploy.sdk.checks.graph import check_graph, keypoint_count
from posedeploy.sdk.decode import UNKNOWN
from posedeploy.sdk.folder import DETAIL, JSON_FILES, PIPELINE, SdkModel, read_folder
from posedeploy.sdk.onnxfile import OnnxFacts, read_onnx
from posedeploy.sdk.safefiles import read_json
from posedeploy.sdk.transforms import compile_transforms

__all__ = ["Finding", "Level", "validate"]


def validate(folder: str | Path, client: str | None = None) -> list[Finding]:
    """What is wrong with an SDK model folder, ours or MMDeploy's: errors, warnings, notes.

    `folder` may be a file in it or a zip of it, as for `read_folder`; a zip that cannot be
    unpacked is an error. `client` names one that must be able to use it; a BadInputError lists
    those there are.
    """
    profile = client_named(client) if client else None
    try:
        path, _unpacked = locate(folder)
    except BadInputError as problem:
        return [from_exception(problem, Path(folder).name)]
    if not path.is_dir():
        return [error("", "", "no directory", "an SDK model folder")]
    levels = list(Level)
    findings = sorted(_all(path, profile), key=lambda finding: levels.index(finding.level))
    # The schema, the reader and a client's limits may all object to one place: once is enough.
    unique: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        unique.setdefault((finding.file, finding.path or finding.found), finding)
    return list(unique.values())


def _all(folder: Path, client: Client | None) -> Iterator[Finding]:
    yield from check_links(folder)
    in_json = [finding for name in JSON_FILES for finding in _check_json(folder, name)]
    yield from in_json
    try:
        model = read_folder(folder)
    except BadInputError as problem:
        if all(finding.level is not Level.ERROR for finding in in_json):
            yield from_exception(problem, "")
        return
    yield from _check_model(model, client)


def _check_json(folder: Path, name: str) -> Iterator[Finding]:
    path = folder / name
    if name == DETAIL and not path.exists() and not path.is_symlink():
        why = "nobody can tell which model this is; clients do without it"
        yield warning(name, "", "no such file", "where the model came from", why)
        return
    try:
        value = read_json(folder, name)
    except BadInputError as problem:
        yield from_exception(problem, name)
        return
    yield from check_schema(name, value)


def _check_model(model: SdkModel, client: Client | None) -> Iterator[Finding]:
    """The checks that need a folder whose JSON files are readable."""
    in_files = list(check_files(model))
    yield from in_files
    if all(finding.level is not Level.ERROR for finding in in_files):
        yield from check_checksums(model)
    yield from check_program(model)
    if model.unnamed:
        found = f"{UNKNOWN!r}, which MMDeploy writes for detectors"
        why = "posedeploy decodes it by the outputs of its graph; MMDeploy's client crashes"
        yield warning(PIPELINE, model.component_path, found, repr(model.component), why)
    preprocessor = decoder = graph = keypoints = None
    try:
        preprocessor = compile_transforms(model.transforms)
        decoder = decoder_of(model, preprocessor)
    except BadInputError as problem:
        yield from_exception(problem, PIPELINE)
    try:
        graph = _graph(model)
    except BadInputError as problem:
        yield from_exception(problem, model.model.net)
    if graph is not None and preprocessor is not None:
        yield from check_graph(model, graph, preprocessor.input_size, decoder)
    if graph is not None and decoder is not None:
        keypoints = keypoint_count(model, graph, decoder)
    yield from check_facts(model)
    yield from check_meta(model, keypoints)
    yield from check_provenance(model, graph.opsets.get("") if graph else None)
    if client is not None:
        yield from check_client(model, graph, client)


def _graph(model: SdkModel) -> OnnxFacts | None:
    """Facts of an ONNX file; None for other backends' files and for files that are not there."""
    try:
        files = model.backend_files()
    except BadInputError:
        return None  # check_files reports it
    suffix = Path(model.model.net).suffix
    if model.model.backend in backend_names():  # check_files reports others
        check_kind(model, files[0])
        suffix = Path(backend_row(model.model.backend).main_file).suffix
    return read_onnx(files[0]) if suffix == ".onnx" else None
