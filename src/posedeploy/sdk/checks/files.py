"""The files of a folder: the backend's as `deploy.json` names them, and the JSON by its schema."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError
from posedeploy.paths import followed
from posedeploy.runtime import backend_names, backend_row, torchscript_program
from posedeploy.sdk.checks import Finding, Level, error, from_exception, note, warning
from posedeploy.sdk.checksums import edited, mismatches, recorded
from posedeploy.sdk.fields import show
from posedeploy.sdk.folder import DEPLOY, DETAIL, SdkModel
from posedeploy.sdk.safefiles import MAX_PACKAGE_ENTRIES, file_inside

MAX_FINDINGS = 20  # of one file; a thousand of the same kind tell no more

# JSON Schema's keyword -> what it expects, in words; others show their value
_EXPECTED = {
    "exclusiveMaximum": "a number below {}",
    "exclusiveMinimum": "a number above {}",
    "maxItems": "at most {} items",
    "maxLength": "at most {} characters",
    "maximum": "at most {}",
    "minItems": "at least {} items",
    "minLength": "at least {} characters",
    "minimum": "at least {}",
}


def check_links(folder: Path) -> Iterator[Finding]:
    """Links in a folder: they break when it is copied, and may lead anywhere."""
    root = Path(os.path.realpath(folder))
    for entry in islice(folder.rglob("*"), MAX_PACKAGE_ENTRIES):
        if not entry.is_symlink():
            continue
        name = str(entry.relative_to(folder))
        target = followed(entry)
        if target is None:
            yield error(name, "", "a loop of links", "a file", "it leads nowhere")
        elif target.is_relative_to(root):
            yield warning(name, "", "a link", "a file", "copying may lose or double it")
        else:
            yield error(name, "", "a link out of the folder", "a file", "it is not followed")


def check_files(model: SdkModel) -> Iterator[Finding]:
    """The backend's files: present, inside the folder, and of the backend's types."""
    entry, path = model.model, "$.models[0]"
    for key, name in (("net", entry.net), ("weights", entry.weights)):
        try:
            if name or key == "net":
                file_inside(model.folder, name, f"{DEPLOY}: {path}.{key}")
        except BadInputError as problem:
            yield from_exception(problem, DEPLOY)
    if entry.backend not in backend_names():
        found, expected = repr(entry.backend), f"one of {', '.join(backend_names())}"
        why = "no runtime for it; older clients crash"
        yield error(DEPLOY, f"{path}.backend", found, expected, why)
        return
    row = backend_row(entry.backend)
    suffix = Path(row.main_file).suffix
    if Path(entry.net).suffix != suffix:
        found, why = repr(entry.net), f"what {row.name} loads"
        yield error(DEPLOY, f"{path}.net", found, f"a {suffix} file", why)
    if bool(entry.weights) != bool(row.weights_file):
        why = f"{row.name} needs {'a' if row.weights_file else 'no'} weights file"
        yield error(DEPLOY, f"{path}.weights", repr(entry.weights), repr(row.weights_file), why)


def check_checksums(model: SdkModel) -> Iterator[Finding]:
    """The files against the checksums in `detail.json`; a person may have edited the JSON."""
    try:
        if model.detail and recorded(model) is None:
            why = "files of another model or with flipped bits go unnoticed"
            expected = "those that `posedeploy convert` writes"
            yield note(DETAIL, "$.posedeploy.files", "no checksums", expected, why)
        for problem in islice(mismatches(model), MAX_FINDINGS):
            yield from_exception(problem, problem.subject, "keypoints are silently wrong")
        for problem in edited(model):
            why = "changed since the conversion: keypoints may differ"
            yield warning(problem.subject, "", problem.found, problem.expected, why)
    except BadInputError as problem:
        yield from_exception(problem, DETAIL)


def check_program(model: SdkModel) -> Iterator[Finding]:
    """A TorchScript file is a program: what it may do beyond computing, before anyone loads it."""
    net = model.model.net
    if model.model.backend != "torchscript" and not net.endswith((".pt", ".pth")):
        return
    try:
        path = file_inside(model.folder, net, DEPLOY)
    except BadInputError:
        return  # check_files reports it
    why = "it could touch other files: posedeploy does not load it, others would"
    try:
        for found in islice(torchscript_program.problems_of_file(path), MAX_FINDINGS):
            yield error(net, "", found, torchscript_program.EXPECTED, why)
    except ValueError as problem:
        yield error(net, "", str(problem), "an archive of torch.jit.save", "no client loads it")


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of 'deploy.json', 'pipeline.json' or 'detail.json'."""
    file = name.replace(".json", ".schema.json")
    text = importlib.resources.files("posedeploy.sdk").joinpath("schema", file).read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def _expected(keyword: str, value: Any) -> str:
    match keyword:
        case "contains":
            return f"an array that holds {show(value.get('const'))}"
        case "enum":
            return f"one of {', '.join(map(show, value))}"
        case "type":
            return " or ".join(value) if isinstance(value, list) else str(value)
    return _EXPECTED[keyword].format(value) if keyword in _EXPECTED else show(value)


def check_schema(name: str, value: dict[str, Any]) -> Iterator[Finding]:
    """What in the content of a JSON file its schema does not allow."""
    try:
        import jsonschema
    except ImportError:
        expected = "it, to check the file against its JSON Schema"
        why = "only the first mistake in this file is reported"
        yield warning(name, "", "no package jsonschema", expected, why)
        return
    problems = jsonschema.Draft202012Validator(schema(name)).iter_errors(value)
    for problem in islice(problems, MAX_FINDINGS):
        path, keyword = problem.json_path, str(problem.validator)
        if keyword == "required":
            missing = problem.message.split("'")[1]
            found, expected = f"an object without {missing!r}", f"a field {missing!r}"
            consequence = "clients cannot read the folder" if name != DETAIL else ""
        else:
            found = show(problem.instance)
            expected = _expected(keyword, problem.validator_value)
            consequence = str(problem.schema.get("description", "")).rstrip(".")
        # no client reads detail.json, and only its section `posedeploy` is ours
        severe = name != DETAIL or path.startswith("$.posedeploy")
        level = Level.ERROR if severe else Level.WARNING
        yield Finding(level, name, path, found, expected, consequence)
