"""Runs beside each other: the folders with the first one, and each with its floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from posedeploy.cli.profile.measuring import Run
from posedeploy.cli.profile.ratios import Ratio, paired_ratio


@dataclass(frozen=True)
class Comparison:
    """One run over another of the same batch."""

    folder: str
    other: str  # the folder that it is compared with
    batch: int
    stages: Mapping[str, Ratio]  # those that both have
    to_floor: bool  # with the floor of `other`
    control: bool  # both are of one folder

    @property
    def title(self) -> str:
        """The two, as a fraction."""
        return f"{self.folder} ÷ {'its floor' if self.to_floor else self.other}"

    def to_json(self) -> dict[str, Any]:
        """The fields; of each stage the ratio and its interval."""
        return asdict(self)


def compare(run: Run, other: Run) -> Comparison:
    """The paired ratios of two runs that took turns."""
    stages = {
        stage: paired_ratio(run.medians(stage), other.medians(stage))
        for stage in run.stages
        if stage in other.stages
    }
    control = run.path == other.path and not other.is_floor
    return Comparison(run.folder, other.folder, run.batch, stages, other.is_floor, control)


def comparisons(runs: Sequence[Run], *, folders: bool) -> Iterator[Comparison]:
    """With the first folder at that batch size, if `folders`; then with the floors, if any."""
    first: dict[int, Run] = {}
    for run in runs:
        if not run.is_floor and run is not first.setdefault(run.batch, run) and folders:
            yield compare(run, first[run.batch])
    floors = {(run.folder, run.batch): run for run in runs if run.is_floor}
    for run in runs:
        if not run.is_floor and (floor := floors.get((run.folder, run.batch))):
            yield compare(run, floor)
