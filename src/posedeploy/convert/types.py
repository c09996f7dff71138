"""What every converter looks like from outside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from posedeploy.config import DeployConfig


@dataclass(frozen=True)
class Converted:
    """The backend's files.

    Attributes:
        files: File names in `work_dir`, the main one first.
        precision: 'fp32', 'fp16' or 'int8', read from the files that were written.
    """

    files: tuple[str, ...]
    precision: str


class Converter(Protocol):
    """One backend's conversion."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions there is a recipe for."""
        ...

    def convert(self, ir: Path, deploy_config: DeployConfig, work_dir: Path) -> Converted:
        """Turn the intermediate representation into the backend's files in `work_dir`.

        Raises:
            ConversionError: The backend's tool refused; the message is its own.
        """
        ...
