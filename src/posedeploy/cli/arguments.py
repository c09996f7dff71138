"""Arguments that several commands take: types, completion in the shell, checks.

What reads images and SDK model folders is in `inputs`: it imports OpenCV.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from posedeploy.errors import BadInputError, did_you_mean, storage_error
from posedeploy.paths import check_writable
from posedeploy.runtime import Device, backend_names
from posedeploy.zoo.table import MODELS

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads; 0: the backend's choice.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1; by default the backend's first.")
]


def _matching(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _paths(prefix: str, suffix: str) -> list[str]:
    """Folders, with a slash, and files with the suffix, whose paths have this prefix."""
    base = Path(prefix) if prefix.endswith("/") else Path(prefix).parent
    if not base.is_dir():
        return []
    paths = []
    for path in sorted(base.iterdir()):
        name = str(path) if str(base) != "." or prefix.startswith("./") else path.name
        name = f"./{name}" if prefix.startswith("./") and not name.startswith("./") else name
        fits = path.is_dir() or path.suffix == suffix
        if fits and name.startswith(prefix) and not path.name.startswith("."):
            paths.append(f"{name}/" if path.is_dir() else name)
    return paths


def complete_model(incomplete: str) -> list[str]:
    """Models of the zoo."""
    return _matching((row.name for row in MODELS), incomplete)


def complete_model_config(incomplete: str) -> list[str]:
    """Models of the zoo, and config files."""
    return [*complete_model(incomplete), *_paths(incomplete, ".py")]


def complete_config(incomplete: str) -> list[str]:
    """Deploy configs that are listed."""
    from posedeploy.config import list_deploy_configs

    return _matching(list_deploy_configs(), incomplete)


def complete_deploy_config(incomplete: str) -> list[str]:
    """Deploy configs that are listed, and config files."""
    return [*complete_config(incomplete), *_paths(incomplete, ".py")]


def complete_checkpoint(incomplete: str) -> list[str]:
    """The words for generated weights, and checkpoint files."""
    from posedeploy.apis.sources import GENERATED

    return [*_matching(sorted(GENERATED), incomplete), *_paths(incomplete, ".pth")]


def complete_backend(incomplete: str) -> list[str]:
    """Backends."""
    return _matching(backend_names(), incomplete)


def check_word(option: str, word: str, words: Sequence[str]) -> None:
    """Raise BadInputError if the value of an option is none of the words."""
    if word not in words:
        expected = f"one of: {', '.join(words)}"
        raise BadInputError(option, word, expected, did_you_mean(word, words))


def check_name(subject: str, path: Path) -> None:
    """Raise BadInputError for a path that is not UTF-8: backends cannot open a file there."""
    try:
        os.fsencode(path.absolute()).decode()
    except UnicodeDecodeError as error:
        expected, next_step = "a name that backends can open", "Rename it, or choose another."
        raise BadInputError(subject, "a name that is not UTF-8", expected, next_step) from error


def parse_device(text: str) -> Device:
    """The device that 'cuda:1' names; BadInputError if what follows the colon is no number."""
    if text.lower().partition(":")[0] in {"gpu", "nvidia"}:
        raise BadInputError("--device", text, "cpu, cuda or cuda:1", "A GPU of NVIDIA is cuda.")
    try:
        return Device.parse(text)
    except ValueError:
        raise BadInputError("--device", text, "cpu, cuda or cuda:1", "Change it.") from None


def output_folder(path: Path) -> Path:
    """The folder, created if missing.

    Raises:
        BadInputError: It cannot be created or written to.
        UnavailableError: Its file system is full.
    """
    option = f"--out {path}"
    if path.exists() and not path.is_dir():
        expected = "a folder that can be written to"
        raise BadInputError(option, "a file", expected, "Choose another place.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except OSError as error:
        raise storage_error(error, option) from error
    return path
