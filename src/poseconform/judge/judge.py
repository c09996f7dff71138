"""The judge at work in one pytest process: conversions, references and runs, each done once.

Everything native happens in children: one that has torch loaded and serves many cells, and a
fresh one a cell for the backend.  What fails, fails for the first test that asks; the others are
told that they are blocked, and by what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from poseconform import reference
from poseconform.datasets.labeled import DataSet, LabeledImage
from poseconform.isolation.artifacts import (
    ArtifactCache,
    Entry,
    content_key,
    file_sha256,
    tree_sha256,
)
from poseconform.isolation.child import SINGLE_THREAD, Child, ChildFailure
from poseconform.isolation.device_lock import device_lock
from poseconform.judge.conversions import Conversion, failing_stage
from poseconform.judge.runs import Batch, Execution, plan_batches
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell, Model
from poseconform.reference.heads import reference_head
from poseconform.reference.values import Reference, Sample, read_reference
from poseconform.subject import clients
from poseconform.subject import posedeploy_subject as implementations
from poseconform.subject.availability import Availabilities
from posedeploy.runtime import SessionOptions, backend_row, device_of

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Seconds that one call in a child may take before it counts as a hang.

    `build` is for conversions that time kernels on a device, which several workers share;
    `weights` for fitting, which takes minutes of one idle core for the largest models.
    """

    build: float = 3600.0
    weights: float = 2700.0
    convert: float = 900.0
    reference: float = 900.0
    load: float = 300.0
    run: float = 120.0


def no_dataset(_bottom_up: bool) -> DataSet:
    """Stands for a data set where a run has none.

    Raises:
        LookupError: Always.
    """
    raise LookupError("this run has no labeled data set")


@dataclass
class Judge:
    """Does each thing once a process.

    Args:
        cache: The artifact cache.
        samples: Images with boxes.
        availabilities: What can run here.
        scratch: Folder for the children's logs.
        exporter: '' or the exporter that all deploy configs are overridden with.
        limits: Time limits.
        options: Cell id -> session options where they are not what the flow stands for.
        figures: Gives labeled figures of one person, as many as asked for; none by default.
        dataset: Gives the labeled data set for bottom-up models (True) or top-down ones.
    """

    cache: ArtifactCache
    samples: Sequence[Sample]
    availabilities: Availabilities
    scratch: Path
    exporter: str = ""
    limits: Limits = field(default_factory=Limits)
    options: Mapping[str, SessionOptions] = field(default_factory=dict)
    figures: Callable[[int], Sequence[LabeledImage]] = lambda _count: ()
    dataset: Callable[[bool], DataSet] = no_dataset
    _done: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _torch: Child | None = None

    def close(self) -> None:
        """End the child that has torch loaded."""
        if self._torch is not None:
            self._torch.close()

    def with_conversion(self, cell: Cell, conversion: Conversion) -> Judge:
        """A judge that knows everything this one knows, but judges another folder for one cell."""
        return self._but(cell, {("conversion", cell.id): conversion})

    def with_execution(self, cell: Cell, execution: Execution) -> Judge:
        """Likewise, but the cell's backend is taken to have given these outputs."""
        known: dict[tuple[str, ...], Any] = {("conversion", cell.id): self.conversion(cell)}
        return self._but(cell, {**known, ("execution", cell.id): execution})

    def evaluating(self, cell: Cell) -> Judge:
        """Likewise, but the judge evaluates the cell's files itself (`execution.EVALUATORS`)."""
        made = self.once(("evaluation", cell.id), lambda: self._evaluate(cell))
        return self.with_execution(cell, made)

    def _evaluate(self, cell: Cell) -> Execution:
        """Fails at 'numeric': the backend itself has neither loaded nor run anything."""
        try:
            return self._execute(cell, evaluate=True)
        except StageFailure as failure:
            if failure.stage not in {"load", "run"}:
                raise
            said = failure.kind, failure.message, failure.code, failure.log_tail
            raise StageFailure("numeric", *said) from failure

    def with_options(self, cell: Cell, options: SessionOptions) -> Judge:
        """Likewise, but the cell's backend is told other options than its flow stands for."""
        known: dict[tuple[str, ...], Any] = {("conversion", cell.id): self.conversion(cell)}
        return replace(self._but(cell, known), options={**self.options, cell.id: options})

    def with_checkpoint(self, cell: Cell, checkpoint: Path) -> Judge:
        """Likewise, but the cell is converted from another checkpoint than the reference's."""
        self.reference(cell.model, cell.flow.precision)
        return self._but(cell, {checkpoint_key(cell.model): str(checkpoint)})

    def _but(self, cell: Cell, known: dict[tuple[str, ...], Any]) -> Judge:
        """This judge, knowing other things of a cell; both share the child that has torch."""
        self._torch = self._torch or self._torch_child()
        kept = {key: value for key, value in self._done.items() if key[1] != cell.id}
        return replace(self, _done=kept | known)

    def conversion(self, cell: Cell) -> Conversion:
        """The cell's SDK model folder. Fails at 'export' or 'convert'."""
        return self.once(("conversion", cell.id), lambda: self.convert(cell))

    def execution(self, cell: Cell) -> Execution:
        """What the backend computes from the folder's files. Fails at 'load' or 'run'."""
        return self.once(("execution", cell.id), lambda: self._execute(cell))

    def device(self, cell: Cell) -> str:
        """Where the cell's backend is to run."""
        flow = cell.flow
        return device_of(flow.backend, flow.precision, self.availabilities.device)

    def reference(self, model: Model, precision: str) -> Reference:
        """What PyTorch computes."""
        key = ("reference", model.name, model.weights, precision)
        return self.once(key, lambda: self._refer(model, precision))

    def keypoints(self, model: Model, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Keypoints `[R, K, 2]` in input px of raw outputs, by the model's own codec."""
        decoded: NDArray[np.float64] = self.in_torch(
            "poseconform.reference.codecs:decode", model.config, dict(outputs)
        )
        return decoded

    def client_answers(self, cell: Cell, count: int) -> list[clients.ClientAnswer]:
        """Keypoints through the SDK client for the first `count` samples. Fails at 'sdk'."""
        folder = self.conversion(cell).folder
        with device_lock(self.device(cell)), self.child(cell.id) as child:
            try:
                answers: list[clients.ClientAnswer] = child.call(
                    "poseconform.subject.clients:posedeploy_sdk",
                    str(folder), list(self.samples[:count]), cell.model.bottom_up,
                    self.device(cell), timeout=self.limits.run * count,
                )  # fmt: skip
            except ChildFailure as failure:
                raise StageFailure.from_child("sdk", failure) from failure
        return answers

    def checkpoint(self, model: Model) -> str:
        """Path of the model's checkpoint; weights of its kind are made once."""
        if model.checkpoint:
            return model.checkpoint
        made: str = self.once(
            checkpoint_key(model),
            lambda: self.in_torch(
                "poseconform.subject.posedeploy_subject:checkpoint_for",
                model.name if model.tiers else model.config,
                model.weights,
                model.seed,
                timeout=self.limits.weights,
            ),
        )
        return made

    def once(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """What `make` gives; what fails, fails for who asks first, and blocks the others."""
        if key not in self._done:
            try:
                self._done[key] = make()
            except (StageFailure, ChildFailure) as failure:
                self._done[key] = failure
                raise
        known = self._done[key]
        if isinstance(known, ChildFailure):  # no stage of a cell: each cell must hear of it
            raise known
        if isinstance(known, StageFailure):
            raise Blocked(known.stage, known.message)
        return known  # type: ignore[no-any-return]

    def convert(self, cell: Cell) -> Conversion:
        """The same, whether or not this judge knows it already."""
        checkpoint = self.checkpoint(cell.model)
        request = implementations.Request(
            model_config=cell.model.config,
            checkpoint=checkpoint,
            deploy_config=cell.flow.deploy_config,
            exporter=self.exporter,
            cache_root=str(self.cache.root),
            toolchain=implementations.toolchain_key(),
        )
        try:
            limit = self.limits.build if implementations.tied(cell.flow.backend) else None
            facts = self.in_torch(
                "poseconform.subject.posedeploy_subject:convert", request, timeout=limit
            )
        except ChildFailure as failure:
            raise StageFailure.from_child(failing_stage(failure), failure) from failure
        files = {n.removeprefix("sdk/"): v for n, v in facts["files"].items()}
        sha = self.once(("sha", checkpoint), lambda: file_sha256(Path(checkpoint)))
        return Conversion(Path(facts["folder"]), files, facts["export"], facts["convert"], sha)

    def _execute(self, cell: Cell, evaluate: bool = False) -> Execution:
        flow = cell.flow
        folder = self.conversion(cell).folder
        files = backend_files(cell, folder)
        inputs = self.reference(cell.model, flow.precision).inputs
        options, stage = self.options_of(cell), "load"
        with device_lock(self.device(cell)), self.child(cell.id) as child:
            try:
                loaded = child.call(
                    "poseconform.judge.execution:load", flow.backend, files,
                    self.device(cell), options, evaluate, timeout=self.limits.load,
                )  # fmt: skip
                stage = "run"
                batches = [
                    self._run(child, inputs, plan)
                    for plan in plan_batches(flow.shape_mode, len(inputs))
                ]
            except ChildFailure as failure:
                raise StageFailure.from_child(stage, failure) from failure
        if reference_head(cell.model.variant).leaves_suppression(i.name for i in loaded.outputs):
            batches = self._finish(cell.model, batches)
        return Execution(loaded, tuple(batches))

    def options_of(self, cell: Cell) -> SessionOptions:
        """What the cell's backend is told."""
        flows_own = SessionOptions(precision=cell.flow.precision, threads=1)
        return self.options.get(cell.id, flows_own)

    def _finish(self, model: Model, batches: Sequence[Batch]) -> list[Batch]:
        """The same batches with detections, made of outputs before suppression."""
        checkpoint = self.checkpoint(model)
        try:
            found = self.in_torch(
                "poseconform.reference.host_detections:detections",
                model, checkpoint, [dict(batch.outputs) for batch in batches],
            )  # fmt: skip
        except ChildFailure as failure:
            raise StageFailure.from_child("run", failure) from failure
        return [
            replace(batch, detections=part) for batch, part in zip(batches, found, strict=True)
        ]

    def _run(self, child: Child, inputs: NDArray[Any], plan: tuple[int, ...]) -> Batch:
        ran = child.call(
            "poseconform.judge.execution:run",
            inputs[list(plan)],
            timeout=self.limits.run * len(plan),
        )
        return Batch(plan, ran.outputs, ran.seconds)

    def _refer(self, model: Model, precision: str) -> Reference:
        checkpoint = self.checkpoint(model)
        parts = self.reference_parts(model, self.samples) | {"precision": precision}
        entry: Entry = self.cache.get_or_make(
            content_key("reference", parts),
            lambda folder: self.in_torch(
                "poseconform.reference.network:write_reference",
                model, checkpoint, precision, list(self.samples), str(folder),
                timeout=self.limits.reference,
            ),
        )  # fmt: skip
        return read_reference(entry.path, entry.facts)

    def reference_parts(self, model: Model, samples: Sequence[Sample]) -> dict[str, object]:
        """What PyTorch's answers for a model and its weights depend on."""
        return {
            "model_config": implementations.config_text(model.config),
            "checkpoint": file_sha256(Path(self.checkpoint(model))),
            "samples": samples_sha256(samples),
            "judge": tree_sha256(Path(reference.__file__).parent),
            "packages": implementations.versions(("torch", "mmpose", "numpy")),
        }

    def in_torch(self, target: str, *args: Any, timeout: float | None = None) -> Any:
        """Call a function in the child that has torch loaded."""
        self._torch = self._torch or self._torch_child()
        return self._torch.call(target, *args, timeout=timeout or self.limits.convert)

    def _torch_child(self) -> Child:
        return Child(self.scratch / "torch.log", SINGLE_THREAD)

    def child(self, name: str) -> Child:
        """A fresh child with a log of this name."""
        return Child(self.scratch / f"{name.replace('/', '_')}.log", SINGLE_THREAD)


def backend_files(cell: Cell, folder: Path) -> list[str]:
    """What the cell's backend loads from an SDK model folder, the main file first."""
    row = backend_row(cell.flow.backend)
    return [str(folder / name) for name in (row.main_file, row.weights_file) if name]


def checkpoint_key(model: Model) -> tuple[str, ...]:
    """What a judge knows a model's checkpoint by."""
    return ("checkpoint", model.name, model.weights)


def samples_sha256(samples: Sequence[Sample]) -> str:
    """A hash of images and boxes."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr((sample.name, sample.image.shape, sample.bbox)).encode())
        digest.update(np.ascontiguousarray(sample.image).tobytes())
    return digest.hexdigest()
