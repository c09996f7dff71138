"""Stressed weights of a model, each made once a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from poseconform.isolation.artifacts import content_key
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Model
from poseconform.reference.values import STRESSED_FILE
from poseconform.subject.mmpose_models import stressing_sha256


@dataclass(frozen=True)
class Stressed:
    """A checkpoint, and the largest |x| in front of a ScaleNorm, with the path of that one."""

    checkpoint: Path
    norm: str
    norm_input: float


def stressed_weights(judge: Judge, model: Model, target: float) -> Stressed:
    """Weights of the same function with |x| of `target` or more in front of ScaleNorm."""

    def make() -> Stressed:
        samples, checkpoint = list(judge.samples), judge.checkpoint(model)
        parts = judge.reference_parts(model, samples)
        parts |= {"target": target, "maker": stressing_sha256()}
        entry = judge.written_in_torch(
            judge.cache_of(model), content_key("stressed", parts),
            "poseconform.reference.stressed:write_stressed", model, checkpoint, target, samples,
        )  # fmt: skip
        facts = entry.facts
        return Stressed(
            entry.path / STRESSED_FILE, str(facts["norm"]), float(str(facts["norm_input"]))
        )

    return judge.once(("stressed", model.name, model.weights, f"{target:g}"), make)
