"""Completions for the shell: models of the zoo, deploy configs, backends, and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def _matching(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _paths(prefix: str, fits: Callable[[Path], bool]) -> list[str]:
    """Folders, with a slash, and files that fit, whose paths have this prefix."""
    base = Path(prefix) if prefix.endswith("/") else Path(prefix).parent
    if not base.is_dir():
        return []
    found = []
    for path in sorted(base.iterdir()):
        name = str(path) if str(base) != "." or prefix.startswith("./") else path.name
        name = f"./{name}" if prefix.startswith("./") and not name.startswith("./") else name
        if name.startswith(prefix) and not path.name.startswith(".") and fits(path):
            found.append(f"{name}/" if path.is_dir() else name)
    return found


def _folder_or(suffix: str) -> Callable[[Path], bool]:
    return lambda path: path.is_dir() or path.suffix == suffix


def complete_model(incomplete: str) -> list[str]:
    """Models of the zoo."""
    from posedeploy.zoo import MODELS

    return _matching((row.name for row in MODELS), incomplete)


def complete_model_config(incomplete: str) -> list[str]:
    """Models of the zoo, and config files."""
    return [*complete_model(incomplete), *_paths(incomplete, _folder_or(".py"))]


def complete_config(incomplete: str) -> list[str]:
    """Deploy configs that are listed."""
    from posedeploy.config import list_deploy_configs

    return _matching(list_deploy_configs(), incomplete)


def complete_deploy_config(incomplete: str) -> list[str]:
    """Deploy configs that are listed, and config files."""
    return [*complete_config(incomplete), *_paths(incomplete, _folder_or(".py"))]


def complete_checkpoint(incomplete: str) -> list[str]:
    """The words for generated weights, and checkpoint files."""
    from posedeploy.apis.sources import CALIBRATED, FITTED

    return [*_matching((CALIBRATED, FITTED), incomplete), *_paths(incomplete, _folder_or(".pth"))]


def complete_backend(incomplete: str) -> list[str]:
    """Backends."""
    from posedeploy.runtime import backend_names

    return _matching(backend_names(), incomplete)
