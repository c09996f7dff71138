"""The files of a folder: present, inside the folder, and of the backend's types."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.runtime import backend_names, backend_row
from posedeploy.sdk.findings import Finding, error, from_exception, warning
from posedeploy.sdk.folder import DEPLOY, SdkModel
from posedeploy.sdk.safefiles import MAX_PACKAGE_ENTRIES, file_inside


def check_links(folder: Path) -> Iterator[Finding]:
    """Links in a folder: they break when it is copied, and may lead anywhere."""
    root = folder.resolve()
    for entry in islice(folder.rglob("*"), MAX_PACKAGE_ENTRIES):
        if not entry.is_symlink():
            continue
        name = str(entry.relative_to(folder))
        try:
            inside = entry.resolve().is_relative_to(root)
        except (OSError, RuntimeError):  # a loop of links leads nowhere
            inside = False
        if inside:
            yield warning(name, "", "a link", "a file", "copying may lose or double it")
        else:
            yield error(name, "", "a link out of the folder", "a file", "it is not followed")


def check_files(model: SdkModel) -> Iterator[Finding]:
    """The backend's files as `deploy.json` names them."""
    entry = model.model
    has_runtime = entry.backend in backend_names()
    if not has_runtime:
        yield error(
            DEPLOY, "$.models[0].backend", repr(entry.backend),
            f"one of {', '.join(backend_names())}", "no runtime for it; older clients crash",
        )  # fmt: skip
    files = [("net", entry.net)] + ([("weights", entry.weights)] if entry.weights else [])
    for key, name in files:
        path = f"$.models[0].{key}"
        try:
            file_inside(model.folder, name, f"{DEPLOY}: {path}")
        except BadInputError as problem:
            yield from_exception(problem, DEPLOY)
    if has_runtime:
        yield from _check_names(model)


def _check_names(model: SdkModel) -> Iterator[Finding]:
    row, entry = backend_row(model.model.backend), model.model
    if Path(entry.net).suffix != Path(row.main_file).suffix:
        yield error(
            DEPLOY, "$.models[0].net", repr(entry.net), f"a {Path(row.main_file).suffix} file",
            f"what {row.name} loads",
        )  # fmt: skip
    if bool(entry.weights) != bool(row.weights_file):
        yield error(
            DEPLOY, "$.models[0].weights", repr(entry.weights), repr(row.weights_file),
            f"{row.name} needs {'a' if row.weights_file else 'no'} weights file",
        )  # fmt: skip
