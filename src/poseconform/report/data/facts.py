"""What the page says of a cell at a glance: labels and values, one row a fact."""

from __future__ import annotations

from collections.abc import Iterator

from poseconform.report.text.strings import headroom, number, pixels, plural, points, visible
from poseconform.results.outcome import CellRecord, LatencyRecord, PixelError


def facts_of(cell: CellRecord) -> list[list[str]]:
    """Label and value of what is known of the whole cell, what was not measured left out."""
    latency = cell.latency_ms
    rows = (
        ("headroom", headroom(cell.headroom)),
        ("keypoint error", _three(cell.keypoint_error_px)),
        ("SDK client error", _three(cell.sdk_client_error_px)),
        ("benign flips", number(cell.benign_flips)),
        *_below_fp32(cell),
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


def _below_fp32(cell: CellRecord) -> Iterator[tuple[str, str]]:
    """What is known of quantized layers and of keypoints on labeled figures."""
    layers, found = cell.layers, cell.accuracy
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


def _spread(latency: LatencyRecord) -> str:
    return f"{number(latency.iqr)} ms over {plural(latency.runs, 'run')}"


def _three(error: PixelError | None) -> str:
    if error is None:
        return ""
    values = (error.p50, error.p99, error.max)
    return " / ".join(pixels(value) for value in values) + " px (p50 / p99 / max)"
