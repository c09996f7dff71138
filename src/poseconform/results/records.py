"""What the record of a cell is made of: the stages, the outcomes, and what was measured.

Records are values.  `None` means "not measured"; NaN and infinity are measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STAGES: tuple[str, ...] = (
    "export",  # PyTorch module to intermediate representation
    "convert",  # intermediate representation to the backend's files
    "load",  # the backend opens its files
    "run",  # the backend computes something
    "finite",  # no NaN, no infinity, not constant, depends on the input
    "contract",  # names, shapes, dtypes, opset, dynamic dimensions are as DESIGN says
    "numeric",  # tensors against PyTorch in float64
    "keypoints",  # decoded keypoints in pixels of the input image
    "sdk",  # the SDK model folder, through a client
)

# What a stage can come to, from the least to the most telling: of two records of one stage the
# later in this list is kept.
STAGE_OUTCOMES: tuple[str, ...] = ("skipped", "pass", "mismatch", "failed", "timeout", "crash")
STAGE_FAILURES = frozenset({"mismatch", "failed", "timeout", "crash"})

FAILED, UNAVAILABLE = "failed:", "unavailable:"
PLAIN_OUTCOMES = frozenset(
    {"pass", "mismatch", "crash", "timeout", "xfail", "xpass", "not-selected", "missing"}
)


def check_outcome(outcome: str) -> str:
    """`outcome` itself.

    Raises:
        ValueError: It is not one of the outcomes of the design of record.
    """
    stage = outcome.removeprefix(FAILED)
    code = outcome.removeprefix(UNAVAILABLE)
    known = (
        outcome in PLAIN_OUTCOMES
        or (outcome.startswith(FAILED) and stage in STAGES)
        or (outcome.startswith(UNAVAILABLE) and code != "")
    )
    if not known:
        plain = ", ".join(sorted(PLAIN_OUTCOMES))
        raise ValueError(
            f"outcome: found '{outcome}'; expected failed:<stage>, unavailable:<code> or {plain}"
        )
    return outcome


@dataclass(frozen=True)
class StageRecord:
    """One stage of one cell.

    Attributes:
        name: One of `STAGES`.
        seconds: Wall-clock seconds; 0 when a cached artifact was used.
        outcome: One of `STAGE_OUTCOMES`.
        message: One line for a person; empty on a pass.
        code: A word for a machine where there is one: a signal (`SIGSEGV`), an availability code.
        expected: True when the failure was declared beforehand (xfail).
    """

    name: str
    seconds: float = 0.0
    outcome: str = "pass"
    message: str = ""
    code: str = ""
    expected: bool = False

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise ValueError(f"stage: found '{self.name}'; expected one of {', '.join(STAGES)}")
        if self.outcome not in STAGE_OUTCOMES:
            expected = ", ".join(STAGE_OUTCOMES)
            raise ValueError(
                f"outcome of stage {self.name}: found '{self.outcome}'; expected {expected}"
            )

    @property
    def failing(self) -> bool:
        """True for a failure, declared or not."""
        return self.outcome in STAGE_FAILURES


@dataclass(frozen=True)
class HistogramRecord:
    """Absolute element errors of one output, in bins of log10.

    Attributes:
        edges: `[B + 1]` bin edges, log10 of the absolute error.
        counts: `[B]` elements in each bin; elements with no error at all are left out.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class PixelError:
    """Distance between reference and deployed keypoints, in pixels of the input image."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class OutputRecord:
    """One output tensor against float64, worst over images and batches.

    Attributes:
        name: Tensor name in the graph.
        shape: Shape as run, e.g. `[1, 17, 64, 48]`; a str entry is a dynamic dimension's name.
        dtype: numpy dtype name.
        max_abs: Maximum absolute error, in the tensor's own unit, as are `rms` and `allowed_*`.
        rms: Root mean square error.
        allowed_max: Limit of `max_abs`.
        allowed_rms: Limit of `rms`.
        ref32_max: PyTorch's own float32 error (the ref_error), maximum.
        ref32_rms: The same, RMS.
        ratio: Error over the ref_error, the worse of maximum and RMS.
        headroom: Error over allowed error, the worse of the two; 1.0 is the limit.
        cosine: Cosine similarity with float64.
        sqnr_db: Signal to quantization noise ratio, dB.
        argmax_flips: Keypoints whose peak moved.
        benign_flips: Those of them where the reference itself was near a tie.
        keypoint_error_px: Decoded from this output, input px.
        oks: Object keypoint similarity with the reference, 0 to 1.
        histogram: Where the element errors lie.
    """

    name: str
    shape: tuple[int | str, ...] = ()
    dtype: str = ""
    max_abs: float | None = None
    rms: float | None = None
    allowed_max: float | None = None
    allowed_rms: float | None = None
    ref32_max: float | None = None
    ref32_rms: float | None = None
    ratio: float | None = None
    headroom: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    argmax_flips: int | None = None
    benign_flips: int | None = None
    keypoint_error_px: PixelError | None = None
    oks: float | None = None
    histogram: HistogramRecord | None = None


@dataclass(frozen=True)
class LayersRecord:
    """Quantized layers of an int8 artifact, each on its own float32 input.

    Attributes:
        quantized: How many layers compute in int8, of those `multiplying` that sum products.
        min_db: Signal over quantization noise of the layer `worst`, dB; `allowed_db` its limit.
        median_db: The same of the median layer.
    """

    quantized: int
    multiplying: int
    min_db: float | None = None
    median_db: float | None = None
    worst: str = ""
    allowed_db: float | None = None


@dataclass(frozen=True)
class AccuracyRecord:
    """Keypoints on held-out figures: against the same weights in PyTorch float32, and the truth.

    Attributes:
        figures: How many; 0 where nothing was measured, and `code` says why.
        shift_mean_px: Mean distance from PyTorch's keypoints, input px; p99 and max likewise.
        oks: Object keypoint similarity with PyTorch's keypoints, mean over figures, 0 to 1.
        pck: Fraction of keypoints within 5 % of the box's larger side of the truth.
        pck_reference: The same of PyTorch.
        points_lost: 100 times `pck_reference` less `pck`; negative for a gain.
        code: Why the check refused, `reason` in one line; '' where it measured.
    """

    figures: int = 0
    shift_mean_px: float | None = None
    shift_p99_px: float | None = None
    shift_max_px: float | None = None
    oks: float | None = None
    pck: float | None = None
    pck_reference: float | None = None
    points_lost: float | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True)
class DatasetRecord:
    """A whole deployment on a labeled data set, and PyTorch on the same; each from 0 to 1.

    Attributes:
        name: The data set.
        images: How many of it.
        ap: COCO's average precision of keypoints through the client; `ar` its average recall.
        pck: Keypoints within 5 % of the box's larger side; `…_reference` the same of PyTorch.
    """

    name: str
    images: int
    ap: float
    ap_reference: float
    ar: float
    ar_reference: float
    pck: float
    pck_reference: float


@dataclass(frozen=True)
class ArtifactRecord:
    """A file of the SDK model folder: name relative to it, SHA-256 in hex, size in bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class GraphRecord:
    """What is in the exported graph: operator type to count, nodes, opset, ONNX IR version."""

    ops: Mapping[str, int] = field(default_factory=dict)
    nodes: int | None = None
    opset: int | None = None
    ir: int | None = None


@dataclass(frozen=True)
class LatencyRecord:
    """Time of one run of the backend at batch 1, milliseconds, over `runs` recorded runs."""

    median: float
    iqr: float = 0.0
    runs: int = 1


@dataclass(frozen=True)
class ImageRecord:
    """A small image with reference and deployed keypoints drawn over each other.

    Attributes:
        name: Name of the image, unique in its cell.
        data: Base64 of the file, without a prefix.
        mime: `image/jpeg`, `image/png` or `image/webp`.
        caption: What a reader sees in it, also for a screen reader.
    """

    name: str
    data: str
    mime: str = "image/jpeg"
    caption: str = ""


@dataclass(frozen=True)
class SourceRecord:
    """What one runner said of a cell, kept when the results of several runners are merged."""

    runner: str
    outcome: str
    reason: str = ""
    headroom: float | None = None
