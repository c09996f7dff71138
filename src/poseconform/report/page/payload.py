"""The data with which the page's script shows one cell: formatted, small, and inert.

Numbers are formatted here, and strings are made visible here (`strings.visible`). Values that many
cells share (graphs, options, logs) are stored once in a pool and referred to by number, as are
labels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poseconform.report.data.verdict import disagreeing
from poseconform.report.data.vocabulary import failed, kind_of, words_of
from poseconform.report.page.grid import Grid, idle_columns
from poseconform.report.text.strings import (
    duration,
    headroom,
    number,
    pixels,
    plural,
    points,
    size,
    visible,
)
from poseconform.results.outcome import STAGES
from poseconform.results.records import (
    CellRecord,
    LatencyRecord,
    OutputRecord,
    PixelError,
    StageRecord,
)

_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # colors of a terminal

LOG_EACH = 16_000  # characters of one log
LOG_ALL = 200_000  # characters of all logs of a page
LOG_LEAST = 1_500

# Label, value, of one output.  Without a unit, the tensor's own.
OUTPUT_ROWS: tuple[tuple[str, Callable[[OutputRecord], str]], ...] = (
    ("shape", lambda o: " \N{MULTIPLICATION SIGN} ".join(visible(str(n)) for n in o.shape)),
    ("dtype", lambda o: visible(o.dtype)),
    ("max error", lambda o: number(o.max_abs)),
    ("allowed max", lambda o: number(o.allowed_max)),
    ("PyTorch's own max", lambda o: number(o.ref32_max)),
    ("RMS error", lambda o: number(o.rms)),
    ("allowed RMS", lambda o: number(o.allowed_rms)),
    ("PyTorch's own RMS", lambda o: number(o.ref32_rms)),
    ("error \N{DIVISION SIGN} PyTorch's own", lambda o: number(o.ratio)),
    ("headroom (limit 1)", lambda o: headroom(o.headroom)),
    ("1 \N{MINUS SIGN} cosine", lambda o: number(None if o.cosine is None else 1 - o.cosine, 2)),
    ("SQNR, dB", lambda o: number(o.sqnr_db)),
)


@dataclass
class Pool:
    """Values that several cells share, each stored once."""

    values: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def put(self, value: Any) -> int:
        """The number of `value` in the pool."""
        key = json.dumps(value, sort_keys=True)
        if key not in self.places:
            self.places[key] = len(self.values)
            self.values.append(value)
        return self.places[key]


def payload_of(
    grid: Grid, changed: Mapping[str, str], lone: Collection[str]
) -> tuple[dict[str, Any], tuple[CellRecord, ...]]:
    """The payload and the cells in its order, which is the order of the matrix.

    Args:
        grid: The matrix.
        changed: Change by `cell_id`.
        lone: Ids of the cells that fail on one backend only.
    """
    placed = [
        (cell, column.label, column.variant)
        for row in grid.rows
        for column, place in zip(grid.columns, row.places, strict=True)
        for cell in place
    ]
    idle = idle_columns(grid)
    pool, limit = Pool(), log_limit([cell for cell, _, _ in placed])
    cells = []
    for cell, label, variant in placed:
        entry = _entry(cell, pool, limit)
        entry |= {
            "flow": visible(label),
            "variant": visible(variant),
            "change": changed.get(cell.cell_id, ""),
        }
        entry |= {"lone": cell.cell_id in lone, "split": disagreeing(cell)}
        entry["idle"] = label in idle
        cells.append(
            {key: value for key, value in entry.items() if value not in ("", [], None, False)}
        )
    labels = [label for label, _ in OUTPUT_ROWS]
    payload = {"labels": labels, "stages": list(STAGES), "cells": cells, "pool": pool.values}
    return payload, tuple(cell for cell, _, _ in placed)


def log_limit(cells: Sequence[CellRecord]) -> int:
    """Characters that each log may have, so that all of them stay within `LOG_ALL`."""
    logs = {cell.log_tail for cell in cells if cell.log_tail}
    return max(LOG_LEAST, min(LOG_EACH, LOG_ALL // max(len(logs), 1)))


def script_json(value: Any) -> str:
    """JSON that is inert inside a `<script>` element: no `<`, `>` or `&` in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _entry(cell: CellRecord, pool: Pool, limit: int) -> dict[str, Any]:
    return {
        "id": visible(cell.cell_id),
        "model": visible(cell.model),
        "family": visible(cell.family),
        "backend": visible(cell.backend),
        "precision": visible(cell.precision),
        "shape": cell.shape_mode,
        "kind": kind_of(cell.outcome),
        "words": visible(words_of(cell.outcome)),
        "failed": failed(cell),
        "code": visible(cell.code),
        "reason": visible(cell.reason),
        "facts": facts_of(cell),
        "done": [_stage(stage) for stage in cell.stages],
        "outputs": [_output(output, pool) for output in cell.outputs],
        "files": [[visible(a.file), a.sha256, size(a.bytes)] for a in cell.artifacts],
        "graph": None if cell.graph is None else pool.put(_graph(cell)),
        "options": pool.put(_pairs(cell.effective_options)) if cell.effective_options else None,
        "log": pool.put(_log(cell.log_tail, limit)) if cell.log_tail else None,
        "repro": visible(cell.repro),
        "sources": [
            [
                visible(s.runner),
                kind_of(s.outcome),
                visible(words_of(s.outcome)),
                visible(s.reason),
            ]
            for s in cell.sources
        ],
    }


def facts_of(cell: CellRecord) -> list[list[str]]:
    """Label and value of the facts of a whole cell; what was not measured is left out."""
    latency = cell.latency_ms
    rows = (
        ("headroom", headroom(cell.headroom)),
        ("keypoint error", _three(cell.keypoint_error_px)),
        ("SDK client error", _three(cell.sdk_client_error_px)),
        ("benign flips", number(cell.benign_flips)),
        *_accuracy(cell),
        ("latency", "" if latency is None else f"{number(latency.median)} ms"),
        ("latency, IQR", "" if latency is None else _spread(latency)),
        ("batches", ", ".join(str(n) for n in cell.batches)),
        ("weights", visible(cell.weights)),
        ("checkpoint", cell.checkpoint_sha256[:12]),
        ("deploy config", visible(cell.deploy_config)),
        ("implementation", visible(cell.implementation)),
        ("exporter", visible(cell.exporter)),
        ("tiers", ", ".join(visible(tier) for tier in cell.tiers)),
    )
    return [[label, value] for label, value in rows if value not in {"", number(None)}]


def _accuracy(cell: CellRecord) -> Iterator[tuple[str, str]]:
    """Facts of quantized layers, and of keypoints on labeled figures and on a data set."""
    layers, found, dataset = cell.layers, cell.accuracy, cell.dataset
    if layers is not None:
        worst = f"{number(layers.min_db)} dB (at least {number(layers.allowed_db)} dB)"
        yield "quantized layers", f"{layers.quantized} of {layers.multiplying}"
        yield "worst layer", f"{visible(layers.worst)}: {worst}" if layers.worst else ""
    if found is not None and found.code:
        yield "accuracy", f"not judged, {visible(found.code)}: {visible(found.reason)}"
    elif found is not None:
        moved = found.shift_mean_px, found.shift_p99_px, found.shift_max_px
        shown = " / ".join(pixels(value) for value in moved)
        yield "accuracy", f"{points(found.points_lost)} on {found.figures} figures"
        yield "moved on figures", f"{shown} px (mean / p99 / max), OKS {number(found.oks, 4)}"
    if dataset is not None:
        yield "data set", f"{plural(dataset.images, 'image')} of {visible(dataset.name)}"
        for label, value, reference in (
            ("AP", dataset.ap, dataset.ap_reference),
            ("AR", dataset.ar, dataset.ar_reference),
            ("PCK", dataset.pck, dataset.pck_reference),
        ):
            yield f"{label} on it", f"{number(value, 4)} (PyTorch {number(reference, 4)})"


def _spread(latency: LatencyRecord) -> str:
    return f"{number(latency.iqr)} ms over {plural(latency.runs, 'run')}"


def _three(error: PixelError | None) -> str:
    if error is None:
        return ""
    values = (error.p50, error.p99, error.max)
    return " / ".join(pixels(value) for value in values) + " px (p50 / p99 / max)"


def _stage(stage: StageRecord) -> list[Any]:
    words = f"{stage.outcome}, declared" if stage.expected else stage.outcome
    text = duration(stage.seconds) if stage.seconds else "cached or instant"
    row: list[Any] = [STAGES.index(stage.name), _finite(stage.seconds), text, stage.outcome]
    notes = [words, visible(stage.code), visible(stage.message)]
    return row if notes == [stage.outcome, "", ""] else row + notes


def _output(output: OutputRecord, pool: Pool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": visible(output.name),
        "rows": [show(output) for _, show in OUTPUT_ROWS],
    }
    histogram = output.histogram
    if histogram is not None and len(histogram.edges) == len(histogram.counts) + 1:
        entry["edges"] = pool.put([_finite(edge) for edge in histogram.edges])
        entry["counts"] = list(histogram.counts)
        entry["lines"] = [
            [label, round(math.log10(value), 3)]
            for label, value in _lines(output)
            if value is not None and math.isfinite(value) and value > 0
        ]
    return entry


def _lines(output: OutputRecord) -> tuple[tuple[str, float | None], ...]:
    return (("allowed max", output.allowed_max), ("PyTorch's own max", output.ref32_max))


def _graph(cell: CellRecord) -> dict[str, Any]:
    graph = cell.graph
    if graph is None:
        return {}
    ops = sorted(graph.ops.items(), key=lambda item: (-item[1], item[0]))
    facts = (("nodes", graph.nodes), ("opset", graph.opset), ("IR version", graph.ir))
    return {
        "facts": [[label, str(value)] for label, value in facts if value is not None],
        "ops": [[visible(name), count] for name, count in ops],
    }


def _pairs(options: Mapping[str, str]) -> list[list[str]]:
    return [[visible(name), visible(options[name])] for name in sorted(options)]


def _log(text: str, limit: int) -> str:
    text = visible(_COLOR.sub("", text).replace("\r", "\n"))
    left_out = len(text) - limit
    if left_out <= 0:
        return text
    return f"[{left_out} earlier characters are in results.json]\n{text[-limit:]}"


def _finite(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else 0.0
