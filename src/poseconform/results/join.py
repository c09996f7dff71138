"""How each field of two partial cell records becomes one: a table of joins.

Every join is commutative, associative and idempotent (the maximum of a total order, or a
union), which is what makes the merge of a cell independent of test order and worker count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from poseconform.results.cell import CellRecord
from poseconform.results.codec import dumps
from poseconform.results.records import (
    STAGE_OUTCOMES,
    STAGES,
    ImageRecord,
    OutputRecord,
    PixelError,
    StageRecord,
)

T = TypeVar("T")


def rank(value: float | None) -> tuple[int, float]:
    """A total order of measurements: not measured, numbers, infinity, and NaN as the worst."""
    if value is None:
        return (0, 0.0)
    return (2, 0.0) if math.isnan(value) else (1, float(value))


def strongest_stage(stages: Iterable[StageRecord]) -> tuple[StageRecord, ...]:
    """One record a stage, the most telling, in the order of `STAGES`."""
    return _best_by_name(stages, _stage_strength, lambda s: STAGES.index(s.name))


def join_fields(one: CellRecord, other: CellRecord) -> CellRecord:
    """All fields of two parts of one cell joined, but for outcome, code and reason."""
    joined = {name: join(getattr(one, name), getattr(other, name)) for name, join in _JOINS}
    return replace(one, **joined)


def _stage_strength(stage: StageRecord) -> tuple[Any, ...]:
    undeclared_failure = stage.failing and not stage.expected
    order = STAGE_OUTCOMES.index(stage.outcome)
    return (undeclared_failure, order, rank(stage.seconds), dumps(stage))


def _output_strength(output: OutputRecord) -> tuple[Any, ...]:
    return (rank(output.headroom), rank(output.max_abs), dumps(output))


def _pixel_strength(error: PixelError | None) -> tuple[Any, ...]:
    if error is None:
        return ()
    return (rank(error.max), rank(error.p99), rank(error.p50))


def _best_by_name(
    items: Iterable[T], strength: Callable[[T], Any], order: Callable[[T], Any]
) -> tuple[T, ...]:
    best: dict[str, T] = {}
    for item in items:
        name = item.name  # type: ignore[attr-defined]
        if name not in best or strength(item) > strength(best[name]):
            best[name] = item
    return tuple(sorted(best.values(), key=order))


def _stages(
    one: tuple[StageRecord, ...], other: tuple[StageRecord, ...]
) -> tuple[StageRecord, ...]:
    return strongest_stage((*one, *other))


def _outputs(
    one: tuple[OutputRecord, ...], other: tuple[OutputRecord, ...]
) -> tuple[OutputRecord, ...]:
    return _best_by_name((*one, *other), _output_strength, lambda o: o.name)


def _images(
    one: tuple[ImageRecord, ...], other: tuple[ImageRecord, ...]
) -> tuple[ImageRecord, ...]:
    return _best_by_name((*one, *other), dumps, lambda p: p.name)


def _union(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    """Both sets of records, equal ones once, in a stable order."""
    by_text = {dumps(item): item for item in (*one, *other)}
    return tuple(by_text[text] for text in sorted(by_text))


def _numbers(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*one, *other}))


def _worst(one: float | None, other: float | None) -> float | None:
    return max(one, other, key=rank)


def _worst_pixels(one: PixelError | None, other: PixelError | None) -> PixelError | None:
    return max(one, other, key=_pixel_strength)


def _options(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    names = sorted({*one, *other})
    return {name: max(one.get(name, ""), other.get(name, "")) for name in names}


def _longest(one: str, other: str) -> str:
    return max(one, other, key=lambda text: (len(text), text))


def _shortest(one: str, other: str) -> str:
    """The shorter command re-runs no more than it must; an empty one is none."""
    return min(one, other, key=lambda text: (text == "", len(text), text))


def _largest(one: Any, other: Any) -> Any:
    return max(one, other, key=dumps)  # "null" comes before any object


def _most_runs(one: Any, other: Any) -> Any:
    return max(one, other, key=lambda v: (-1, "") if v is None else (v.runs, dumps(v)))


_JOINS: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
    ("accuracy", _largest),
    ("artifacts", _union),  # a file with two hashes shows twice: that is a finding
    ("batches", _numbers),
    ("benign_flips", _worst),
    ("checkpoint_sha256", _longest),
    ("dataset", _largest),
    ("effective_options", _options),
    ("graph", _largest),
    ("headroom", _worst),
    ("keypoint_error_px", _worst_pixels),
    ("latency_ms", _most_runs),
    ("layers", _largest),
    ("log_tail", _longest),
    ("outputs", _outputs),
    ("images", _images),
    ("repro", _shortest),
    ("sdk_client_error_px", _worst_pixels),
    ("sources", _union),
    ("stages", _stages),
    ("tiers", _union),
    ("weights", _longest),
)
