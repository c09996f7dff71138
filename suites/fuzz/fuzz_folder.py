"""The reader of SDK model folders: `validate` tells what is wrong, and never dies of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.sdk.binding import decoder_of
from posedeploy.sdk.checks import Level
from posedeploy.sdk.checks.clients import CLIENTS
from posedeploy.sdk.folder import JSON_FILES, TASKS, read_folder
from posedeploy.sdk.transforms import compile_transforms
from posedeploy.sdk.validate import validate

FILES = (*JSON_FILES, "end2end.onnx")
SEPARATOR = b"\n--\n"  # between the files of one input; a missing part is a missing file
_FOLDER = tempfile.TemporaryDirectory()


def one(data: bytes) -> None:
    """Read the folder of one input."""
    folder = Path(_FOLDER.name)
    parts = dict(zip(FILES, data.split(SEPARATOR, len(FILES) - 1), strict=False))
    for name in FILES:
        if name in parts:
            (folder / name).write_bytes(parts[name])
        else:
            (folder / name).unlink(missing_ok=True)
    findings = validate(folder)
    for client in CLIENTS:
        findings += validate(folder, client)
    for finding in findings:
        str(finding).encode()
    try:
        model = read_folder(folder, TASKS)
        decoder_of(model, compile_transforms(model.transforms))
        str(model.dataset_meta).encode()
    except BadInputError as error:
        str(error).encode()
        if not any(finding.level is Level.ERROR for finding in findings):
            raise AssertionError("validate is silent") from error
