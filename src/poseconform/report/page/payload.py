"""The data with which the page's script shows one cell: formatted, small, and inert.

Numbers are formatted here, and strings are made visible here (`strings.visible`). Values that many
cells share (graphs, options, logs) are stored once in a pool and referred to by number, as are
labels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poseconform.report.data.verdict import disagreeing
from poseconform.report.data.vocabulary import failed, kind_of, words_of
from poseconform.report.page.grid import Grid, idle_columns
from poseconform.report.text.stressed import HEAD, result_of
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
from poseconform.results import records
from poseconform.results.outcome import CONVERTING_STAGES, STAGES
from poseconform.results.records import CellRecord

_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # colors of a terminal

LOG_EACH = 16_000  # characters of one log
LOG_ALL = 200_000  # characters of all logs of a page
LOG_LEAST = 1_500
MAX_BINS = 1_000  # of a histogram on a page; ours have 40
# Labels of the values of one output.  Without a unit, the tensor's own.
OUTPUT_LABELS = (
    "shape", "dtype", "max error", "allowed max", "PyTorch's own max", "RMS error", "allowed RMS",
    "PyTorch's own RMS", "error \N{DIVISION SIGN} PyTorch's own", "headroom (limit 1)",
    "1 \N{MINUS SIGN} cosine", "SQNR, dB",
)  # fmt: skip


@dataclass
class Pool:
    """Values that several cells share, each stored once."""

    values: list[Any] = field(default_factory=list)
    indices: dict[str, int] = field(default_factory=dict)

    def put(self, value: Any) -> int:
        """The index of `value` in the pool."""
        key = json.dumps(value, sort_keys=True)
        if key not in self.indices:
            self.indices[key] = len(self.values)
            self.values.append(value)
        return self.indices[key]


def payload_of(grid: Grid, changed: Mapping[str, str], lone: Collection[str]) -> dict[str, Any]:
    """The payload of the cells of `grid`, in its order; `changed` is by `cell_id`, `lone` ids."""
    placed = [
        (cell, column)
        for row in grid.rows
        for column, group in zip(grid.columns, row.groups, strict=True)
        for cell in group
    ]
    idle = idle_columns(grid)
    pool, limit = Pool(), log_limit(grid.cells)
    cells = []
    for cell, column in placed:
        entry = _entry(cell, pool, limit) | {
            "flow": visible(column.label),
            "variant": visible(column.variant),
            "change": changed.get(cell.cell_id, ""),
            "lone": cell.cell_id in lone,
            "split": disagreeing(cell),
            "idle": column.label in idle,
        }
        cells.append({k: v for k, v in entry.items() if v not in ("", [], None, False)})
    return {"labels": OUTPUT_LABELS, "stages": STAGES, "cells": cells, "pool": pool.values}


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
    options = [[visible(k), visible(value)] for k, value in sorted(cell.effective_options.items())]
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
        "notes": [visible(note) for note in cell.notes],
        "done": [*_not_ours(cell), *(_stage(stage) for stage in cell.stages)],
        "outputs": [_output(output, pool) for output in cell.outputs],
        "files": [[visible(a.file), a.sha256, size(a.bytes)] for a in cell.artifacts],
        "graph": None if cell.graph is None else pool.put(_graph(cell.graph)),
        "options": pool.put(options) if options else None,
        "log": pool.put(_log(cell.log_tail, limit)) if cell.log_tail else None,
        "repro": visible(cell.repro),
        "sources": [
            [visible(s.runner), kind_of(s.outcome), *map(visible, (words_of(s.outcome), s.reason))]
            for s in cell.sources
        ],
    }


def facts_of(cell: CellRecord) -> list[list[str]]:
    """Label and value of the facts of a whole cell; what was not measured is left out."""
    median = spread = ""
    if cell.latency_ms is not None:
        median = f"{number(cell.latency_ms.median)} ms"
        spread = f"{number(cell.latency_ms.iqr)} ms over {plural(cell.latency_ms.runs, 'run')}"
    rows = (
        ("headroom", headroom(cell.headroom)),
        ("keypoint error", _three(cell.keypoint_error_px)),
        ("SDK client error", _three(cell.sdk_client_error_px)),
        ("benign flips", number(cell.benign_flips)),
        *_accuracy(cell),
        (HEAD[-1], visible("; ".join(map(result_of, cell.stressed)))),
        ("latency", median),
        ("latency, IQR", spread),
        ("batches", ", ".join(str(n) for n in cell.batches)),
        ("weights", visible(cell.weights)),
        ("checkpoint", cell.checkpoint_sha256[:12]),
        ("deploy config", visible(cell.deploy_config)),
        ("implementation", visible(cell.implementation)),
        ("folder", visible(cell.folder)),
        ("exporter", visible(cell.exporter)),
        ("tiers", ", ".join(visible(tier) for tier in cell.tiers)),
    )
    return [[label, value] for label, value in rows if value not in {"", number(None)}]


def _accuracy(cell: CellRecord) -> Iterator[tuple[str, str]]:
    """Facts of quantized layers, and of keypoints on labeled figures and on a data set."""
    layers, accuracy, dataset = cell.layers, cell.accuracy, cell.dataset
    if layers is not None:
        worst = f"{number(layers.min_db)} dB (at least {number(layers.allowed_db)} dB)"
        yield "quantized layers", f"{layers.quantized} of {layers.multiplying}"
        yield "worst layer", f"{visible(layers.worst)}: {worst}" if layers.worst else ""
    if accuracy is not None and accuracy.code:
        yield "accuracy", f"not judged, {visible(accuracy.code)}: {visible(accuracy.reason)}"
    elif accuracy is not None:
        shifts = (accuracy.shift_mean_px, accuracy.shift_p99_px, accuracy.shift_max_px)
        shown = " / ".join(pixels(value) for value in shifts)
        yield "accuracy", f"{points(accuracy.points_lost)} on {accuracy.figures} figures"
        yield "moved on figures", f"{shown} px (mean / p99 / max), OKS {number(accuracy.oks, 4)}"
    if dataset is not None:
        yield "data set", f"{plural(dataset.images, 'image')} of {visible(dataset.name)}"
        for label, value, reference in (
            ("AP", dataset.ap, dataset.ap_reference),
            ("AR", dataset.ar, dataset.ar_reference),
            ("PCK", dataset.pck, dataset.pck_reference),
        ):
            yield f"{label} on it", f"{number(value, 4)} (PyTorch {number(reference, 4)})"


def _three(error: records.PixelError | None) -> str:
    if error is None:
        return ""
    values = (error.p50, error.p99, error.max)
    return " / ".join(pixels(value) for value in values) + " px (p50 / p99 / max)"


def _not_ours(cell: CellRecord) -> Iterator[list[Any]]:
    """Stages that do not apply to a folder that was judged as it was: no pass, and no failure."""
    for name in CONVERTING_STAGES if cell.folder else ():
        why = "somebody else's: the folder was judged as it was"
        yield [STAGES.index(name), 0.0, "", "not ours", "not ours", "", why]


def _stage(stage: records.StageRecord) -> list[Any]:
    words = f"{stage.outcome}, declared" if stage.expected else stage.outcome
    text = duration(stage.seconds) if stage.seconds else "cached or instant"
    row: list[Any] = [STAGES.index(stage.name), _finite(stage.seconds), text, stage.outcome]
    notes = [words, visible(stage.code), visible(stage.message)]
    return row if notes == [stage.outcome, "", ""] else row + notes


def _output(output: records.OutputRecord, pool: Pool) -> dict[str, Any]:
    limits = {"allowed max": output.allowed_max, "PyTorch's own max": output.ref32_max}
    values = [
        " \N{MULTIPLICATION SIGN} ".join(visible(str(n)) for n in output.shape),
        visible(output.dtype),
        *map(number, (output.max_abs, *limits.values())),
        *map(number, (output.rms, output.allowed_rms, output.ref32_rms, output.ratio)),
        headroom(output.headroom),
        number(None if output.cosine is None else 1 - output.cosine, 2),
        number(output.sqnr_db),
    ]
    entry: dict[str, Any] = {"name": visible(output.name), "rows": values}
    histogram = output.histogram
    bins = 0 if histogram is None else len(histogram.counts)
    if histogram is not None and len(histogram.edges) == bins + 1 <= MAX_BINS + 1:
        entry["edges"] = pool.put([_finite(edge) for edge in histogram.edges])
        entry["counts"] = histogram.counts
        entry["lines"] = [
            [label, round(math.log10(value), 3)]
            for label, value in limits.items()
            if value is not None and math.isfinite(value) and value > 0
        ]
    return entry


def _graph(graph: records.GraphRecord) -> dict[str, Any]:
    ops = sorted(graph.ops.items(), key=lambda item: (-item[1], item[0]))
    facts = (("nodes", graph.nodes), ("opset", graph.opset), ("IR version", graph.ir))
    return {
        "facts": [[label, str(value)] for label, value in facts if value is not None],
        "ops": [[visible(name), count] for name, count in ops],
    }


def _log(text: str, limit: int) -> str:
    text = visible(_COLOR.sub("", text).replace("\r", "\n"))
    left_out = len(text) - limit
    if left_out <= 0:
        return text
    return f"[{left_out} earlier characters are in results.json]\n{text[-limit:]}"


def _finite(value: float) -> float:
    return round(value, 4) if math.isfinite(value) else 0.0
