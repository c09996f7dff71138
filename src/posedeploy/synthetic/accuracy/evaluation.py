"""The accuracy of one model after another on the same unseen figures."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from posedeploy.config import ModelConfig
from posedeploy.synthetic.accuracy.coco import average_precision
from posedeploy.synthetic.accuracy.detectors import DetectorAccuracy, detect, matched, summarize
from posedeploy.synthetic.accuracy.rounding import rounded
from posedeploy.synthetic.accuracy.top_down import Accuracy, compare, locate
from posedeploy.synthetic.samples import make_samples

PEOPLE = (1, 2, 3)  # people in an image, for a detector


class Evaluation:
    """The evaluation figures of a model, drawn once."""

    def __init__(self, model_config: ModelConfig, count: int) -> None:
        """Draw `count` images: a person in each, or for a detector one, two and three in turn."""
        self._config = model_config
        people = PEOPLE if model_config.head_kind.bottom_up else (1,)
        self._samples = [
            make_samples(model_config, "evaluation", count // len(people), number)
            for number in people
        ]

    def __call__(self, model: Any) -> Accuracy | DetectorAccuracy:
        """Measure a model, which is on the CPU and in evaluation mode."""
        if not self._config.head_kind.bottom_up:
            (samples,) = self._samples
            return compare(locate(model, self._config, samples), samples)
        found = [detect(model, samples) for samples in self._samples]
        parts = [
            asdict(summarize(matched(some, samples), samples))
            for some, samples in zip(found, self._samples, strict=True)
        ]
        means = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
        return replace(DetectorAccuracy(**means), ap=average_precision(found, self._samples))

    def with_shift(self, model: Any) -> Accuracy | DetectorAccuracy:
        """As a call, with `shift_px` measured too; it runs the model twice."""
        return replace(self(model), shift_px=float(np.nanmean(self._shifts(model))))

    def _shifts(self, model: Any) -> Any:
        """Distances in input px of all joints between the model and its 8-bit copy."""
        return np.concatenate([
            np.linalg.norm(a - b, axis=-1).ravel()
            for a, b in zip(self._joints(model), self._joints(rounded(model)), strict=True)
        ])  # fmt: skip

    def _joints(self, model: Any) -> list[Any]:
        """Joints [N, P, 17, 2] or [N, 17, 2] in input px; NaN where a person is not found."""
        if not self._config.head_kind.bottom_up:
            return [locate(model, self._config, samples) for samples in self._samples]
        return [matched(detect(model, samples), samples).joints for samples in self._samples]


def measures_of(accuracy: Accuracy | DetectorAccuracy) -> dict[str, float]:
    """What a training logs of its accuracy."""
    names = ["pck", "mean_px", "median_px"]
    if isinstance(accuracy, DetectorAccuracy):
        names += ["ap", "recall", "precision"]
    return {name: round(getattr(accuracy, name), 4) for name in names}
