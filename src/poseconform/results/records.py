"""The record of a cell (model x flow): its stages and everything that was measured.

Records are frozen values that pydantic validates when they are made and when they are read; the
JSON Schema of `results.json` is generated from them. `None` means "not measured"; NaN and
infinity are measurements, which JSON holds as the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from numbers import Integral, Real
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass
from pydantic_core import core_schema

from poseconform.results.outcome import (
    COMPARING_STAGES,
    FAILED,
    OUTCOME_PATTERN,
    STAGE_OUTCOMES,
    STAGES,
    UNAVAILABLE,
)

# codespell:ignore-next-line ser
CONFIG = ConfigDict(strict=True, extra="forbid", ser_json_inf_nan="strings")
LOG_LIMIT = 16_000  # characters: some 200 lines, enough for a traceback and the backend's output


def _read_number(value: Any) -> Any:
    """A float of the words for what JSON cannot hold, and of numpy's numbers."""
    if isinstance(value, str):
        words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
        return words.get(value, value)
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value) + 0.0  # no negative zero: equal values are written alike
    return value


def _read_count(value: Any) -> Any:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def _read_text(value: Any) -> Any:
    """A string that UTF-8 can hold: bytes of a file name that it cannot become escapes."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def _read_facts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_read_text(name): _read_facts(item) for name, item in value.items()}
    return (
        [_read_facts(v) for v in value] if isinstance(value, list | tuple) else _read_text(value)
    )


@dataclasses.dataclass(frozen=True)
class _FromPython:
    """Prepares a value that Python code gives.

    One from JSON is taken as it is, millions of them without a call of a Python function;
    `words`: or prepared, where it is none of the type.
    """

    prepare: Callable[[Any], Any]
    words: str = ""  # what the type is called in an error, with its words

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        plain = handler(source)
        prepared = core_schema.no_info_before_validator_function(self.prepare, plain)
        of_json = plain
        if self.words:
            of_json = core_schema.union_schema(
                [plain, prepared], mode="left_to_right",
                custom_error_type="no_such_word",
                custom_error_message=f"Input should be {self.words}",
            )  # fmt: skip
        return core_schema.json_or_python_schema(of_json, prepared)


_64_BITS = 2**63

Count = Annotated[
    int, Field(ge=-_64_BITS, lt=_64_BITS), _FromPython(_read_count),
    WithJsonSchema({"type": "integer", "minimum": -_64_BITS, "exclusiveMaximum": _64_BITS}),
]  # fmt: skip
Facts = Annotated[Mapping[str, Any], _FromPython(_read_facts)]
Number = Annotated[
    float,
    _FromPython(_read_number, "a valid number, 'NaN', 'Infinity' or '-Infinity'"),
    WithJsonSchema({"type": ["number", "string"], "pattern": "^(NaN|-?Infinity)$"}),
]
Text = Annotated[str, _FromPython(_read_text)]


@dataclass(frozen=True, config=CONFIG)
class StageRecord:
    """One stage of one cell."""

    name: Annotated[str, Field(json_schema_extra={"enum": list(STAGES)})]
    seconds: Number = 0.0  # 0 when a cached artifact was used
    outcome: Annotated[str, Field(json_schema_extra={"enum": list(STAGE_OUTCOMES)})] = "pass"
    message: Text = ""  # one line for a person
    code: Text = ""  # a signal (`SIGSEGV`), an availability code, or a timeout's (`hang`)
    expected: bool = False  # a declared failure

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("stage", self.name, STAGES),
            (f"outcome of stage {self.name}", self.outcome, STAGE_OUTCOMES),
        ):
            if value not in allowed:
                raise ValueError(f"{what}: found '{value}'; expected one of {', '.join(allowed)}")

    @property
    def failing(self) -> bool:
        """True for a failure, declared or not."""
        return self.outcome != "pass"

    @property
    def as_outcome(self) -> str:
        """The outcome of a cell that this stage decides by failing."""
        wrong = self.outcome == "mismatch" and self.name not in COMPARING_STAGES
        return f"{FAILED}{self.name}" if wrong or self.outcome == "failed" else self.outcome


@dataclass(frozen=True, config=CONFIG)
class HistogramRecord:
    """Nonzero absolute errors of one output: `[B + 1]` edges in log10, `[B]` counts."""

    edges: tuple[Number, ...]
    counts: tuple[Count, ...]


@dataclass(frozen=True, config=CONFIG)
class PixelError:
    """Distance between reference and deployed keypoints, in pixels of the input image."""

    p50: Number | None = None
    p99: Number | None = None
    max: Number | None = None


@dataclass(frozen=True, config=CONFIG)
class OutputRecord:
    """One output tensor against float64, worst over images and batches, in the tensor's own unit.

    `ref32_*` is PyTorch's own float32 error (the reference error). `ratio` is error over reference
    error and `headroom` error over allowed error (1.0 is the limit), the worse of maximum and RMS.
    """

    name: Text
    shape: tuple[Count | Text, ...] = ()  # as run; a str is a dynamic dimension's name
    dtype: Text = ""
    max_abs: Number | None = None
    rms: Number | None = None
    allowed_max: Number | None = None
    allowed_rms: Number | None = None
    ref32_max: Number | None = None
    ref32_rms: Number | None = None
    ratio: Number | None = None
    headroom: Number | None = None
    cosine: Number | None = None
    sqnr_db: Number | None = None  # signal to quantization noise ratio
    histogram: HistogramRecord | None = None


@dataclass(frozen=True, config=CONFIG)
class LayersRecord:
    """Quantized layers of an int8 artifact, each on its own float32 input."""

    quantized: Count  # layers that compute in int8
    multiplying: Count  # layers that sum products
    min_db: Number | None = None  # signal over quantization noise, of the layer `worst`
    median_db: Number | None = None
    worst: Text = ""
    allowed_db: Number | None = None  # limit of `min_db`


@dataclass(frozen=True, config=CONFIG)
class AccuracyRecord:
    """Keypoints on held-out figures: against the same weights in PyTorch float32, and the truth.

    `shift_*` are distances from PyTorch's keypoints, input px; `oks` is the mean object keypoint
    similarity with them, 0 to 1; `pck` is the fraction of keypoints within 5 % of the box's larger
    side of the truth.
    """

    figures: Count = 0
    shift_mean_px: Number | None = None
    shift_p99_px: Number | None = None
    shift_max_px: Number | None = None
    oks: Number | None = None
    pck: Number | None = None
    pck_reference: Number | None = None
    points_lost: Number | None = None  # 100 (pck_reference - pck); negative for a gain
    figures_lost: Count = 0  # that PyTorch finds and the deployment does not; of detectors
    figures_won: Count = 0  # the other way round
    code: Text = ""  # why the check refused, and then `figures` is 0; '' where it measured
    reason: Text = ""


@dataclass(frozen=True, config=CONFIG)
class DatasetRecord:
    """A whole deployment on a labeled data set, and PyTorch on the same; each from 0 to 1.

    `ap` and `ar` are COCO's average precision and recall of keypoints through the client; `pck`
    counts keypoints within 5 % of the box's larger side.
    """

    name: Text
    images: Count
    ap: Number
    ap_reference: Number
    ar: Number
    ar_reference: Number
    pck: Number
    pck_reference: Number


@dataclass(frozen=True, config=CONFIG)
class StressRecord:
    """The cell on weights of the same function, with larger values in front of ScaleNorm.

    `keypoint_error_px` are distances on figures from PyTorch's keypoints, input px, and `headroom`
    is that of the tensors, both against the cell's own reference.
    """

    norm: Text  # its path in the model
    norm_input: Number  # largest |x| in front of it
    headroom: Number | None = None
    keypoint_error_px: PixelError | None = None
    failure: Text = ""  # '' where the cell holds

    @property
    def name(self) -> str:
        """For a person."""
        return f"|x| up to {self.norm_input:,.0f} in front of ScaleNorm ({self.norm})"


@dataclass(frozen=True, config=CONFIG)
class ArtifactRecord:
    """A file of the SDK model folder: name relative to it, SHA-256 in hex, size in bytes."""

    file: Text
    sha256: Text
    bytes: Count


@dataclass(frozen=True, config=CONFIG)
class GraphRecord:
    """What is in the exported graph: operator type to count, nodes, opset, ONNX IR version."""

    ops: Mapping[Text, Count] = field(default_factory=dict)
    nodes: Count | None = None
    opset: Count | None = None
    ir: Count | None = None


@dataclass(frozen=True, config=CONFIG)
class LatencyRecord:
    """Time of one run of the warm backend at batch 1, ms, over `runs` recorded runs."""

    median: Number
    iqr: Number = 0.0
    runs: Count = 1


@dataclass(frozen=True, config=CONFIG)
class ImageRecord:
    """A small image with reference and deployed keypoints drawn over each other."""

    name: Text  # unique in its cell
    data: Text  # base64
    mime: Text = "image/jpeg"
    caption: Text = ""  # also for a screen reader


@dataclass(frozen=True, config=CONFIG)
class SourceRecord:
    """The result of a cell on one runner, of several that were merged."""

    runner: Text
    outcome: Text
    reason: Text = ""
    headroom: Number | None = None


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class CellRecord:
    """One cell of the matrix; errors are the worst over outputs, images and batches."""

    model: Text
    family: Text  # row of the support table
    head: Text = ""  # kind of the model's head, e.g. `heatmap`; '' in older results
    backend: Text
    precision: Text
    shape_mode: Annotated[str, Field(pattern="^(static|dynamic)$")]
    deploy_config: Text  # file name in `deploy_configs/`, or a path the user gave
    implementation: Text = "posedeploy"
    exporter: Text = ""
    tiers: tuple[Text, ...] = ()
    outcome: Annotated[str, Field(pattern=OUTCOME_PATTERN)] = "missing"
    code: Text = ""  # availability code, signal name, or what ran out: `hang`, `cpu-time`
    reason: Text = ""  # one line for a person; '' on a pass
    headroom: Number | None = None  # 1.0 is the limit
    keypoint_error_px: PixelError | None = None  # input px
    sdk_client_error_px: PixelError | None = None  # through the SDK client, px of the image
    benign_flips: Count | None = None  # of keypoints whose reference was near a tie
    stages: tuple[StageRecord, ...] = ()
    notes: tuple[Text, ...] = ()  # rules that others need not follow; none makes a result wrong
    folder: Text = ""  # SDK model folder, or zip, judged as it was; '' for what was converted
    outputs: tuple[OutputRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    graph: GraphRecord | None = None
    effective_options: Mapping[Text, Text] = field(default_factory=dict)  # as the backend reports
    latency_ms: LatencyRecord | None = None
    batches: tuple[Count, ...] = ()  # sizes that were compared
    images: tuple[ImageRecord, ...] = ()
    checkpoint_sha256: Text = ""
    weights: Text = ""  # origin: a kind of `matrix.weights`, or `user`
    layers: LayersRecord | None = None
    accuracy: AccuracyRecord | None = None
    dataset: DatasetRecord | None = None
    stressed: tuple[StressRecord, ...] = ()
    log_tail: Text = ""
    repro: Text = ""  # a command that runs this cell again, alone
    sources: tuple[SourceRecord, ...] = ()  # one a runner, after a merge

    @property
    def flow(self) -> str:
        """Backend, precision and shape mode, e.g. `onnxruntime-fp32-dynamic`."""
        return f"{self.backend}-{self.precision}-{self.shape_mode}"

    @property
    def cell_id(self) -> str:
        """Name of the cell in reports, links and diffs."""
        config = self.deploy_config.removesuffix(".py")
        parts = (self.model, config, self.implementation, self.exporter)
        return "/".join(part for part in parts if part)

    @property
    def worst_px(self) -> float | None:
        """Worst keypoint error, input px."""
        return None if self.keypoint_error_px is None else self.keypoint_error_px.max

    @property
    def artifact_bytes(self) -> int | None:
        """Size of all files of the SDK model folder."""
        return sum(artifact.bytes for artifact in self.artifacts) if self.artifacts else None

    @property
    def median_ms(self) -> float | None:
        """Median run time of the backend, milliseconds."""
        return None if self.latency_ms is None else self.latency_ms.median

    def with_stage(self, stage: StageRecord) -> CellRecord:
        """This record with the result of one more check of a stage.

        Times add up, and the worst result stays, a failure that was not declared before others.
        """
        stages = {record.name: record for record in self.stages}
        earlier = stages.get(stage.name)
        if earlier is not None:
            seconds = earlier.seconds + stage.seconds
            stage = replace(max(earlier, stage, key=_severity), seconds=seconds)
        stages[stage.name] = stage
        return replace(self, stages=tuple(stages[name] for name in STAGES if name in stages))

    def with_measurements(self, **fields: Any) -> CellRecord:
        """This record with what a check measured; the worst of an error stays, None is ignored."""
        measured = {name: value for name, value in fields.items() if value is not None}
        if notes := measured.get("notes"):  # of several checks
            measured["notes"] = tuple(dict.fromkeys((*self.notes, *notes)))
        for name in measured.keys() & _WORST.keys():
            measured[name] = max(getattr(self, name), measured[name], key=_WORST[name])
        return replace(self, **measured)

    def with_outcome(
        self, unavailable: tuple[str, str] | None = None, unfinished: str = ""
    ) -> CellRecord:
        """This record with the outcome that follows from its stages by the table in `outcome.py`.

        `unavailable` is code and reason where the backend cannot run here; `unfinished` names the
        tests of the cell that have not ended.
        """
        failing = [stage for stage in self.stages if stage.failing]
        undeclared = next((stage for stage in failing if not stage.expected), None)
        unexpected = [stage for stage in self.stages if stage.expected and not stage.failing]
        outcome, code, reason = "pass", "", ""
        if undeclared is not None:
            outcome, code, reason = undeclared.as_outcome, undeclared.code, undeclared.message
        elif unexpected:
            outcome, reason = "xpass", "; ".join(s.message for s in unexpected if s.message)
        elif unfinished:
            outcome, reason = "missing", unfinished
        elif failing:
            outcome, code, reason = "xfail", failing[0].code, failing[0].message
        elif unavailable is not None:
            code, reason = unavailable
            outcome = f"{UNAVAILABLE}{code}"
        elif not self.stages:
            outcome, reason = "missing", "selected, but no test returned a result"
        return replace(self, outcome=outcome, code=code, reason=reason)

    def not_selected(self) -> CellRecord:
        """This record of a cell that the run leaves out."""
        return replace(self, outcome="not-selected")


def rank(value: float | None) -> tuple[int, float]:
    """A total order of measurements: not measured, numbers, infinity, and NaN as the worst."""
    if value is None:
        return (0, 0.0)
    return (2, 0.0) if math.isnan(value) else (1, float(value))


def tail(text: str, limit: int = LOG_LIMIT) -> str:
    """The last `limit` characters of a log, from the start of a line where there is one."""
    if len(text) <= limit:
        return text
    end = text[-limit:]
    newline = end.find("\n")
    end = end[newline + 1 :] if 0 <= newline < limit // 2 else end
    return f"[{len(text) - len(end)} earlier characters left out]\n{end}"


def place_of(error: ValidationError) -> str:
    """Where the first thing is that a document has wrong, and what: `$.cells[0].code: ...`."""
    first = error.errors(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    text = f"${place}: {first['msg']}"
    return text if len(text) <= 250 else f"{text[:247]}..."


def _severity(stage: StageRecord) -> tuple[bool, int, bool]:
    undeclared = stage.failing and not stage.expected
    return (undeclared, STAGE_OUTCOMES.index(stage.outcome), stage.expected)


def _pixel_rank(error: PixelError | None) -> tuple[tuple[int, float], ...]:
    return () if error is None else (rank(error.max), rank(error.p99), rank(error.p50))


# Errors that several checks of a cell measure, and the order in which they are worse.
_WORST: dict[str, Any] = {"benign_flips": rank, "headroom": rank}
_WORST |= dict.fromkeys(("keypoint_error_px", "sdk_client_error_px"), _pixel_rank)

CELL_RECORD: TypeAdapter[CellRecord] = TypeAdapter(CellRecord)
