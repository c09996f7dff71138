"""What the judge asks of the implementation under test.

To judge another toolchain, write one class with these methods and name it with
`--subject module:Class`. A conversion gives a folder; the judge reads everything else from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell, Flow, Model
from posedeploy.runtime import Availability, Code


@dataclass(frozen=True)
class Conversion:
    """An SDK model folder, and facts of how it was exported and converted.

    Facts are 'seconds', 'made' (False if it was in the cache), and more that the implementation
    records.
    """

    folder: Path
    files: Mapping[str, tuple[str, int]]  # name -> (sha256, bytes)
    export: Mapping[str, Any]
    convert: Mapping[str, Any]
    checkpoint_sha256: str


class NotConvertibleError(Exception):
    """A cell that an implementation cannot convert here: it is skipped with a code.

    Attributes:
        unavailable: The code.
    """

    def __init__(self, reason: str, code: Code = Code.TOOL_MISSING) -> None:
        super().__init__(reason)
        self.unavailable = str(code)


def follows_house_rules(subject: object) -> bool:
    """True if this project's own rules, declared failures and baselines are about a subject."""
    return bool(getattr(subject, "house_rules", False))


class FlowWords(Protocol):
    """The words of a flow that are markers: a `Flow` has them, and so has a parsed name."""

    @property
    def backend(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def shape_mode(self) -> str: ...


def words_of_flows(subject: Subject) -> Iterable[FlowWords]:
    """The words of a subject's flows, of its `flow_names` where it has them.

    Every start of pytest registers them as markers, whether or not it judges anything.
    """
    names: Iterable[FlowWords] | None = getattr(subject, "flow_names", None)
    return subject.flows() if names is None else names


class Subject(Protocol):
    """An implementation under test.

    It is made once in the process of the tests, and once in each child process that converts.
    An error that is meant for the user has an attribute `next_step`; it ends the run as a usage
    error where it is raised before the tests. An error of a conversion may have an attribute
    `stage`, 'export' or 'convert', which is where the cell then fails, or an attribute
    `unavailable`, a word of `posedeploy.runtime.Code`: the cell is then skipped with this code.

    What makes a result wrong fails for every subject. Rules of this project's own folders (opset,
    names of dimensions, …) fail only where the subject has an attribute `house_rules` that is
    True; elsewhere they are notes in the cell's record. This project's declared failures and
    baselines are of such subjects too.
    """

    @property
    def name(self) -> str:
        """Its name in reports."""

    def tiers(self) -> tuple[str, ...]:
        """Names of the groups of models that `--models` takes."""

    def families(self) -> tuple[str, ...]:
        """The families that it supports: rows of the support table."""

    def models(self, selection: Sequence[str]) -> tuple[Model, ...]:
        """The models of a selection of tiers and names."""

    def has_name(self, model: Model) -> bool:
        """True if `--models` takes the model's name, False if only its config can be given."""

    def model_from_config(self, path: str, checkpoint: str = "") -> Model:
        """A model from the user's MMPose config and checkpoint."""

    def flows(self, more: Sequence[str] = ()) -> tuple[Flow, ...]:
        """Every deploy config that there is, and those that the user names."""

    def locating_weights(self, model: Model) -> Collection[str]:
        """The kinds of weights that find drawn figures and that the model can have.

        'trained', 'fitted', both or none.
        """

    def fetch_published(self, models: Sequence[Model]) -> None:
        """Download the published checkpoints of the models that are not there yet."""

    def conversion_availability(self, backend: str) -> Availability:
        """Whether it can convert for a backend here, whether or not the backend runs here."""

    def missing_tools(self, backend: str) -> tuple[str, ...]:
        """What it needs to convert for a backend and is not installed."""

    def builds_for_device(self, backend: str) -> bool:
        """True if it builds files for this machine's device, which takes longer."""

    def versions(self) -> Mapping[str, str]:
        """Version of each installed package that can change what it makes."""

    def checkpoint_for(self, model: Model) -> str:
        """Path of a checkpoint for the model's weights and seed, made or fetched (child side)."""

    def convert(
        self, cell: Cell, checkpoint: str, exporter: str, cache: ArtifactCache
    ) -> Conversion:
        """Convert a cell, or take it from the cache (child side).

        `exporter` is 'torchscript', 'dynamo', or '' for the deploy config's. A key of the cache
        must hold everything that decides the result.
        """
