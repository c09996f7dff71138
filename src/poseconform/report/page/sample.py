"""Made-up results of any size, to look at the report, to measure it and to test it.

No number in them was measured. They are deterministic by seed, and hold every outcome.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from poseconform.report.data.vocabulary import FAMILIES, PRECISIONS, SHAPES
from poseconform.results.outcome import STAGES
from poseconform.results.records import (
    ArtifactRecord,
    CellRecord,
    GraphRecord,
    HistogramRecord,
    ImageRecord,
    LatencyRecord,
    OutputRecord,
    PixelError,
    StageRecord,
)
from poseconform.results.results import Results, new_results

_ENVIRONMENT = {
    "platform": "Linux-6.1 x86_64",
    "cpu": "Made-up CPU @ 2.10 GHz",
    "isa_flags": ["avx2", "avx512f", "amx_bf16"],
    "gpu": "none",
    "os": "Debian GNU/Linux 12",
    "python": "3.11.9",
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "threads": {"OMP_NUM_THREADS": "1", "torch": 1},
    "packages": {"numpy": "2.4.6", "onnx": "1.20.0", "onnxruntime": "1.31.1", "torch": "2.13.0"},
}
_SEED = 56  # 120 cells have every outcome
BACKENDS = ("onnxruntime", "tensorrt", "ncnn", "openvino")
_OUTCOMES = (  # weight, failing stage, its outcome
    (86, "", "pass"),
    (3, "numeric", "mismatch"),
    (2, "load", "failed"),
    (1, "run", "crash"),
    (1, "convert", "timeout"),
)
# A gray pixel, for images.
_IMAGE = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
        "3a7e9b550000000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
    )
).decode()


def sample_results(count: int = 120, seed: int = 0) -> Results:
    """`count` made-up cells: eight families, as many models as it takes, all flows."""
    rng = random.Random(_SEED + seed)  # noqa: S311 - nothing secret about it
    cells = [
        _cell(rng, identity) for identity, _ in zip(_identities(), range(count), strict=False)
    ]
    run = {
        "command": "python -m tox -e onnxruntime",
        "selection": "models: default",
        "seconds": 412.5,
        "exports": 48,
        "cache_hits": 72,
        "planted_defects": {"caught": 41, "total": 41},
    }
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return new_results(cells, environment=_ENVIRONMENT, run=run, created=created)


def _identities() -> Iterator[tuple[str, str, str, str, str]]:
    """Family, model, backend, precision, shape mode; without end."""
    generation = 0
    while True:
        generation += 1
        for family in FAMILIES:
            for backend in BACKENDS:
                for precision in PRECISIONS[:: 1 if backend == "openvino" else 2]:
                    for shape in SHAPES:
                        model = f"{family.lower().replace('-', '')}_v{generation}_coco_256x192"
                        yield family, model, backend, precision, shape


def _cell(rng: random.Random, identity: tuple[str, str, str, str, str]) -> CellRecord:
    family, model, backend, precision, shape = identity
    config = f"pose-detection_{backend}-{precision}_{shape}-256x192.py"
    cell = CellRecord(
        model=model,
        family=family,
        backend=backend,
        precision=precision,
        shape_mode=shape,
        deploy_config=config,
        exporter="torchscript",
        tiers=("default",),
        weights="fitted",
        checkpoint_sha256=hashlib.sha256(model.encode()).hexdigest(),
        repro=f'python -m pytest "suites/parity/test_parity.py::test_parity[{model}-{config}]"',
    )
    if backend == "tensorrt":
        return cell.with_outcome(unavailable=("no-device", "no NVIDIA device was found"))
    rare = rng.random()
    if rare < 0.03:
        return cell.with_outcome() if rare < 0.01 else cell.not_selected()
    return _judged(rng, cell).with_outcome()


def _judged(rng: random.Random, cell: CellRecord) -> CellRecord:
    weights = [weight for weight, _, _ in _OUTCOMES]
    _, bad_stage, outcome = rng.choices(_OUTCOMES, weights)[0]
    last = STAGES.index(bad_stage) if bad_stage else len(STAGES) - 1
    headroom = rng.uniform(2, 30) if bad_stage else rng.uniform(0.05, 0.9)
    for name in STAGES[:last]:
        cell = cell.with_stage(StageRecord(name, round(rng.expovariate(1.5), 3)))
    declared = rng.random() < (0.3 if bad_stage else 0.01)
    if bad_stage:
        reason = f"made-up failure in {bad_stage}"
        code = {"crash": "SIGSEGV"}.get(outcome, "")
        stage = StageRecord(bad_stage, 1.25, outcome, reason, code, declared)
        log = "\n".join(f"[{n:04d}] a line of a made-up log" for n in range(60))
        cell = replace(cell, log_tail=log)
    else:
        stage = StageRecord(STAGES[last], round(rng.expovariate(1.5), 3), expected=declared)
    cell = cell.with_stage(stage)
    if last < STAGES.index("numeric"):
        return cell
    return cell.with_measurements(**_measured(rng, cell, headroom))


def _measured(rng: random.Random, cell: CellRecord, headroom: float) -> dict[str, object]:
    worst = 0.3 * headroom * rng.uniform(0.5, 1.0)
    names = ("simcc_x", "simcc_y") if cell.family in {"SimCC", "RTMPose"} else ("output",)
    error = PixelError(worst / 30, worst / 3, worst)
    batches = (1, 2, 5) if cell.shape_mode == "dynamic" else (1,)
    digest = hashlib.sha256(cell.cell_id.encode()).hexdigest()
    return {
        "headroom": headroom,
        "keypoint_error_px": error,
        "sdk_client_error_px": PixelError(worst / 25, worst / 2, worst * 1.2),
        "benign_flips": rng.choice([0, 0, 0, 1]),
        "outputs": tuple(_output(rng, name, headroom) for name in names),
        "artifacts": tuple(
            ArtifactRecord(name, digest, rng.randrange(900, 110_000_000))
            for name in ("deploy.json", "detail.json", "end2end.onnx", "pipeline.json")
        ),
        "graph": GraphRecord({"Add": 31, "Conv": 102, "MatMul": 12, "Relu": 94}, 239, 17, 8),
        "effective_options": {"intra_op_threads": "1", "precision": cell.precision},
        "latency_ms": LatencyRecord(rng.uniform(4, 300), rng.uniform(0.1, 4), 20),
        "batches": batches,
        "images": (ImageRecord("drawn figure", _IMAGE, "image/png", "made up"),),
    }


def _output(rng: random.Random, name: str, headroom: float) -> OutputRecord:
    allowed = rng.uniform(2e-5, 2e-3)
    center = math.log10(allowed * headroom) - 1.6
    edges = tuple(round(-9 + 0.25 * n, 2) for n in range(33))
    counts = tuple(
        round(40_000 * math.exp(-(((edge + 0.125 - center) / 0.6) ** 2))) for edge in edges[:-1]
    )
    return OutputRecord(
        name,
        (1, 17, 384),
        "float32",
        max_abs=allowed * headroom,
        rms=allowed * headroom / 8,
        allowed_max=allowed,
        allowed_rms=allowed / 7,
        ref32_max=allowed / 5,
        ref32_rms=allowed / 40,
        ratio=5 * headroom,
        headroom=headroom,
        cosine=1 - 1e-9 * headroom,
        sqnr_db=100 - 20 * math.log10(1 + headroom),
        histogram=HistogramRecord(edges, counts),
    )
