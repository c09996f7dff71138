"""The typed record of a cell (model x flow): what was done, what was measured, what it came to.

A record is a value.  It travels as a JSON string through pytest's `user_properties`, lies in
`results.json`, and is all that the report ever sees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from poseconform.results.codec import dumps, from_plain
from poseconform.results.records import (
    AccuracyRecord,
    ArtifactRecord,
    DatasetRecord,
    GraphRecord,
    ImageRecord,
    LatencyRecord,
    LayersRecord,
    OutputRecord,
    PixelError,
    SourceRecord,
    StageRecord,
    check_outcome,
)


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One cell of the matrix, or the part of it that one test contributes.

    Attributes:
        model: Name in the zoo table.
        family: One of the eight rows of the support table.
        tiers: Tiers the model belongs to.
        backend: Backend name.
        precision: `fp32`, `fp16`, `bf16` or `int8`.
        shape_mode: `static` or `dynamic` (batch).
        deploy_config: File name in `deploy_configs/`, or a path the user gave.
        implementation: Who converted.
        exporter: Who exported; part of the cell's identity, so set it in every part.
        outcome: What it came to.
        code: Availability code, signal name, or empty.
        reason: One line for a person; empty on a pass.
        headroom: Worst over the outputs; 1.0 is the limit.
        keypoint_error_px: Worst over images and batches, input px.
        sdk_client_error_px: The same through the SDK client, image px.
        benign_flips: Keypoints that flipped where the reference was near a tie.
        stages: What was done, in the order of `STAGES` once merged.
        outputs: One record an output.
        artifacts: Files of the SDK model folder.
        graph: What the exported graph holds.
        effective_options: Options in force, as the backend tells them.
        latency_ms: Backend run time.
        batches: Batch sizes that were compared.
        images: Overlays.
        checkpoint_sha256: Hash of the checkpoint, hex.
        weights: `calibrated`, `fitted`, `zoo` or `user`: where the weights are from.
        layers: Quantized layers of an int8 flow.
        accuracy: Keypoints on held-out figures, below fp32.
        dataset: The whole deployment on a labeled data set.
        log_tail: Last lines of the failing stage's log.
        repro: A command that re-runs this cell alone.
        sources: One entry a runner, after a merge of several runners.
    """

    model: str
    family: str
    backend: str
    precision: str
    shape_mode: str
    deploy_config: str
    implementation: str = "posedeploy"
    exporter: str = ""
    tiers: tuple[str, ...] = ()
    outcome: str = "missing"
    code: str = ""
    reason: str = ""
    headroom: float | None = None
    keypoint_error_px: PixelError | None = None
    sdk_client_error_px: PixelError | None = None
    benign_flips: int | None = None
    stages: tuple[StageRecord, ...] = ()
    outputs: tuple[OutputRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    graph: GraphRecord | None = None
    effective_options: Mapping[str, str] = field(default_factory=dict)
    latency_ms: LatencyRecord | None = None
    batches: tuple[int, ...] = ()
    images: tuple[ImageRecord, ...] = ()
    checkpoint_sha256: str = ""
    weights: str = ""
    layers: LayersRecord | None = None
    accuracy: AccuracyRecord | None = None
    dataset: DatasetRecord | None = None
    log_tail: str = ""
    repro: str = ""
    sources: tuple[SourceRecord, ...] = ()

    def __post_init__(self) -> None:
        check_outcome(self.outcome)

    @property
    def flow(self) -> str:
        """Backend, precision and shape mode, e.g. `onnxruntime-fp32-dynamic`."""
        return f"{self.backend}-{self.precision}-{self.shape_mode}"

    @property
    def cell_id(self) -> str:
        """Name of the cell in reports, links and diffs; equal for the parts of one cell."""
        config = self.deploy_config.removesuffix(".py")
        parts = (self.model, config, self.implementation, self.exporter)
        return "/".join(part for part in parts if part)

    def to_json(self) -> str:
        """Strict, compact JSON; equal records give equal strings."""
        return dumps(self)

    @classmethod
    def from_json(cls, text: str) -> CellRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: `text` is not JSON, or not a cell record; the message says where.
        """
        return from_plain(cls, json.loads(text), "cell")
