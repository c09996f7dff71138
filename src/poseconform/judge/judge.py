"""Conversions, references and runs of one pytest process, each done once.

Everything native happens in child processes: one that has torch loaded and serves many cells, and
one for the backend of each cell, which runs the files and then the client, and is replaced after a
fault. On the CPU that one is forked from a process that has done the imports. A failure is raised
for the first test that needs the result; for the others it is `Blocked`, which names the stage
that failed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from poseconform import reference
from poseconform.compare.tolerances import NEAR_TIES
from poseconform.datasets.labeled import DataSet, LabeledImage
from poseconform.isolation.artifacts import ArtifactCache, Entry, content_key, tree_sha256
from poseconform.isolation.child import SINGLE_THREAD, Child, ChildFailure
from poseconform.isolation.children import CellChildren
from poseconform.isolation.device_lock import device_lock
from poseconform.judge.limits import Limits, Scale
from poseconform.judge.runs import (
    MAX_TIMED,
    MIN_TIMED,
    Batch,
    Execution,
    Loaded,
    input_fault,
    plan_batches,
)  # fmt: skip
from poseconform.judge.stages import Blocked, StageFailure, Unavailable, failing_at
from poseconform.matrix.cells import Cell, Model
from poseconform.matrix.weights import MADE
from poseconform.reference.heads import reference_head
from poseconform.reference.values import (
    Reference,
    Sample,
    precision_computed,
    read_reference,
)
from poseconform.subject.clients import ClientAnswer
from poseconform.subject.environment import Availabilities, package_versions
from poseconform.subject.loading import DEFAULT_SUBJECT
from poseconform.subject.mmpose_models import config_text
from poseconform.subject.protocol import Conversion, Subject
from poseconform.subject.warping import Warp, own_warp
from posedeploy.paths import file_sha256
from posedeploy.runtime import Code, Device, SessionOptions, backend_row, device_of
from posedeploy.runtime.processes import Limit

T = TypeVar("T")
_DROPPED = "dropped"  # folder of artifacts that go with their model
# What the child of a cell imports whatever its backend is; none of it starts a thread
PRELOADED = (
    "poseconform.judge.runs", "poseconform.reference.values", "poseconform.subject.clients",
    "posedeploy.sdk",
)  # fmt: skip


def no_dataset(_bottom_up: bool) -> DataSet:
    """The data set of a run that has none: always a `LookupError`."""
    raise LookupError("this run has no labeled data set")


@dataclass
class Judge:
    """Does each thing once a process.

    Args:
        scratch: Folder for the children's logs.
        exporter: '' or the exporter that all deploy configs are overridden with.
        options: Cell id -> session options where they are not what the flow stands for.
        figures: Gives so many labeled figures of one person; none by default.
        dataset: Gives the labeled data set for bottom-up models (True) or top-down ones.
        subject_spec: 'module:object' from which child processes load the subject.
        make_child: Makes a child process, as `Child` does.
        config_text: Gives a model config as text, for the key of its reference.
        warp: Gives how images are warped here, for the same.
        dropped: True for a model whose weights and artifacts are removed by `forget`.
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
    subject_spec: str = DEFAULT_SUBJECT
    make_child: Callable[..., Child] = Child
    config_text: Callable[[str], str] = config_text
    warp: Callable[[], Warp] = own_warp
    dropped: Callable[[Model], bool] = lambda _model: False
    _done: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _torch: Child | None = None
    _children: CellChildren = field(default_factory=CellChildren)
    _token: object = field(default_factory=object, init=False)  # of this judge, not of copies

    @property
    def subject(self) -> Subject:
        """The implementation under test."""
        return self.availabilities.subject

    def close(self) -> None:
        """End all child processes."""
        if self._torch is not None:
            self._torch.close()
        self._children.close()

    def cache_of(self, model: Model) -> ArtifactCache:
        """The cache, or one of this judge alone for a model that is dropped."""
        return ArtifactCache(self.scratch / _DROPPED) if self.dropped(model) else self.cache

    def forget(self, model: Model) -> None:
        """Drop what this judge holds in memory, when the last test of a model has ended.

        Of a model that is `dropped` the files go too: its artifacts, and weights that were made
        for it.
        """
        path = self._done.get(checkpoint_key(model))
        if self.dropped(model):
            if isinstance(path, str) and not model.checkpoint and model.weights in MADE:
                Path(path).unlink(missing_ok=True)
            shutil.rmtree(self.scratch / _DROPPED, ignore_errors=True)
        self._done.clear()
        self._children.release()

    def with_conversion(self, cell: Cell, conversion: Conversion) -> Judge:
        """A judge with the results of this one, which judges another folder for one cell."""
        return self._but(cell, {("conversion", cell.id): conversion})

    def with_execution(self, cell: Cell, execution: Execution) -> Judge:
        """A judge with the results of this one, and these outputs of the cell's backend."""
        results = {"conversion": self.conversion(cell), "execution": execution}
        return self._but(cell, {(name, cell.id): result for name, result in results.items()})

    def evaluating(self, cell: Cell) -> Judge:
        """A judge that evaluates the cell's files itself (`BackendSpec.evaluator`).

        Fails at 'numeric': the backend itself has neither loaded nor run anything.
        """

        def evaluate() -> Execution:
            try:
                return self._execute(cell, evaluate=True)
            except StageFailure as failure:
                if failure.stage in {"load", "run"}:
                    failure.stage = "numeric"
                raise

        return self.with_execution(cell, self.once(("evaluation", cell.id), evaluate))

    def with_options(self, cell: Cell, options: SessionOptions) -> Judge:
        """A judge that runs the cell's backend with other options than those of its flow."""
        changed = self._but(cell, {("conversion", cell.id): self.conversion(cell)})
        return replace(changed, options={**self.options, cell.id: options})

    def with_checkpoint(self, cell: Cell, checkpoint: Path) -> Judge:
        """A judge that converts the cell from another checkpoint than the reference's."""
        self.reference(cell.model, cell.flow.precision)
        return self._but(cell, {checkpoint_key(cell.model): str(checkpoint)})

    def with_subject(self, cell: Cell, spec: str) -> Judge:
        """A judge whose child processes convert the cell by another implementation."""
        self.reference(cell.model, cell.flow.precision)
        return replace(self._but(cell, {}), subject_spec=spec)

    def _but(self, cell: Cell, done: Mapping[tuple[str, ...], Any]) -> Judge:
        """This judge with other results for a cell; both share the child that has torch."""
        self._torch = self._torch or self.child("torch")
        others = {key: value for key, value in self._done.items() if key[1] != cell.id}
        return replace(self, _done={**others, **done})

    def conversion(self, cell: Cell) -> Conversion:
        """The cell's SDK model folder. Fails at 'export' or 'convert', or is `Unavailable`."""
        return self.once(("conversion", cell.id), lambda: self.convert(cell))

    def execution(self, cell: Cell) -> Execution:
        """What the backend computes from the folder's files. Fails at 'load' or 'run'."""
        return self.once(("execution", cell.id), lambda: self._execute(cell))

    def device(self, cell: Cell) -> str:
        """Where the cell's backend is to run."""
        return device_of(cell.flow.backend, cell.flow.precision, self.availabilities.device)

    def reference(self, model: Model, precision: str) -> Reference:
        """What PyTorch computes, once for all precisions that share it."""
        precision = precision_computed(precision, model.bottom_up)

        def refer() -> Reference:
            checkpoint, samples = self.checkpoint(model), list(self.samples)
            parts = self.reference_parts(model, samples) | {"precision": precision}
            if model.bottom_up:
                parts["near_ties"] = asdict(NEAR_TIES[precision])
            entry = self.written_in_torch(
                self.cache_of(model), content_key("reference", parts),
                "poseconform.reference.network:write_reference",
                model, checkpoint, precision, samples,
            )  # fmt: skip
            self.learn(model, entry.facts)
            return read_reference(entry.path, entry.facts)

        return self.once(("reference", model.name, model.weights, precision), refer)

    def keypoints(self, model: Model, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Keypoints `[R, K, 2]` in input px of raw outputs, by the model's own codec."""
        decoded: NDArray[np.float64] = self.in_torch(
            "poseconform.reference.codecs:decode",
            model.config,
            reference_head(model.head).read(outputs),
        )
        return decoded

    def client_answers(self, cell: Cell, count: int) -> list[ClientAnswer]:
        """Keypoints through the SDK client for the first `count` samples. Fails at 'sdk'."""
        folder, device = self.conversion(cell).folder, self.device(cell)
        samples = list(self.samples[:count])
        with self.running(cell) as child, failing_at("sdk"):
            answers: list[ClientAnswer] = child.call(
                "poseconform.subject.clients:posedeploy_sdk",
                str(folder), samples, cell.model.bottom_up, device,
                timeout=self.limit(self.limits.client, cell, count),
            )  # fmt: skip
        return answers

    def checkpoint(self, model: Model) -> str:
        """Path of the model's checkpoint; weights of its kind are made once."""
        if model.checkpoint and checkpoint_key(model) not in self._done:  # `with_checkpoint`
            return model.checkpoint
        target, limit = "poseconform.subject.loading:checkpoint_for", self.limits.weights.limit()
        return self.once(
            checkpoint_key(model),
            lambda: str(self.in_torch(target, self.subject_spec, model, timeout=limit)),
        )

    def once(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """What `make` gives; a failure is raised for the first caller, and blocks the others."""
        if key not in self._done:
            try:
                self._done[key] = make()
            except (StageFailure, ChildFailure, Unavailable) as failure:
                self._done[key] = failure
                raise
        result = self._done[key]
        # of no stage of a cell: it fails every cell; or nobody can judge the cell here
        if isinstance(result, ChildFailure | Unavailable):
            raise result
        if isinstance(result, StageFailure):
            raise Blocked(result.stage, result.message)
        return result  # type: ignore[no-any-return]

    def convert(self, cell: Cell) -> Conversion:
        """Convert the cell, even if this judge has done it already."""
        self._children.release()  # the session of the last cell need not be in memory meanwhile
        checkpoint = self.checkpoint(cell.model)
        on_device = self.subject.builds_for_device(cell.flow.backend)
        scale = self.limits.build if on_device else self.limits.convert
        try:
            conversion: Conversion = self.in_torch(
                "poseconform.subject.loading:convert",
                self.subject_spec, cell, checkpoint, self.exporter,
                str(self.cache_of(cell.model).root),
                timeout=scale.limit(self.pytorch_seconds(cell.model)),
            )  # fmt: skip
        except ChildFailure as failure:
            if failure.unavailable in set(Code):
                reason = failure.message.partition(": ")[2]  # without the type of the error
                raise Unavailable(failure.unavailable, reason) from failure
            # an implementation that names a later stage, such as 'load' of its own file, has
            # exported; one that names none may not have
            exporting = failure.stage in {"", "model", "checkpoint", "export"}
            stage = "load" if cell.flow.folder else "export" if exporting else "convert"
            raise StageFailure.from_child(stage, failure) from failure
        return conversion

    def _execute(self, cell: Cell, evaluate: bool = False) -> Execution:
        files = backend_files(cell, self.conversion(cell).folder)
        inputs = self.reference(cell.model, cell.flow.precision).inputs
        plans = plan_batches(cell.flow.shape_mode, len(inputs))
        with self.running(cell) as child:
            loaded, batches = self.run_files(child, cell, files, inputs, plans, evaluate=evaluate)
            timed = self._time(child, cell, inputs[:1], batches)
        if reference_head(cell.model.head).leaves_suppression(i.name for i in loaded.outputs):
            batches = self._finish(cell.model, batches)
        return Execution(loaded, tuple(batches), timed)

    def _time(
        self, child: Child, cell: Cell, image: NDArray[Any], batches: Sequence[Batch]
    ) -> tuple[float, ...]:
        """Seconds of runs on one image `[1, 3, H, W]`: those of `batches` if they are several."""
        timed = tuple(batch.seconds for batch in batches[1:] if len(batch.samples) == 1)
        if len(timed) >= MIN_TIMED:
            return timed
        with failing_at("run"):
            limit = self.limit(self.limits.run, cell, 1 + MAX_TIMED)
            return cast(
                "tuple[float, ...]",
                child.call("poseconform.judge.runs:time_runs", image, timeout=limit),
            )

    def run_files(
        self, child: Child, cell: Cell, files: Sequence[str], inputs: NDArray[Any],
        plans: Sequence[tuple[int, ...]], *, evaluate: bool = False,
    ) -> tuple[Loaded, list[Batch]]:  # fmt: skip
        """Load the cell's backend files in a child and run batches of the inputs.

        `plans` lists the inputs `[S, 3, H, W]` of each batch. Fails at 'load' or 'run'.
        """
        with failing_at("load"):
            loaded = child.call(
                "poseconform.judge.runs:load", cell.flow.backend, files,
                self.device(cell), self.options_of(cell), evaluate,
                timeout=self.limit(self.limits.load, cell),
            )  # fmt: skip
        if cell.flow.folder and (fault := input_fault(loaded.inputs, inputs.shape[1:])):
            raise StageFailure("contract", "failed", fault)
        batches, run = [], "run_filled" if cell.flow.folder else "run"
        scale = self.limits.evaluate if evaluate else self.limits.run
        with failing_at("run"):
            for plan in plans:
                limit = self.limit(scale, cell, len(plan))
                ran = child.call(
                    f"poseconform.judge.runs:{run}", inputs[list(plan)], timeout=limit
                )
                batches.append(Batch(plan, ran.outputs, ran.seconds))
        return loaded, batches

    def limit(self, scale: Scale, cell: Cell, images: int = 1) -> Limit:
        """What a call of the cell's backend on so many images may take."""
        return scale.limit(self.pytorch_seconds(cell.model), images, self.device(cell))

    def learn(self, model: Model, facts: Mapping[str, Any]) -> None:
        """Keep what PyTorch took for a model, from the facts of its reference."""
        key = _pytorch_key(model)
        seconds = float(facts.get("cpu_seconds_per_image", 0.0))
        self._done[key] = max(self._done.get(key, 0.0), seconds)

    def pytorch_seconds(self, model: Model) -> float:
        """CPU seconds that PyTorch took for one image of a model, 0.0 if it is not known yet."""
        return float(self._done.get(_pytorch_key(model), 0.0))

    def options_of(self, cell: Cell) -> SessionOptions:
        """How the cell's backend runs."""
        return self.options.get(cell.id, SessionOptions(cell.flow.precision, threads=1))

    def _finish(self, model: Model, batches: Sequence[Batch]) -> list[Batch]:
        """The same batches with detections, made image by image of outputs before suppression."""
        outputs = [
            {name: rows[row : row + 1] for name, rows in batch.outputs.items()}
            for batch in batches
            for row in range(len(batch.samples))
        ]
        with failing_at("run"):
            images = iter(
                self.in_torch(
                    "poseconform.reference.host_detections:detections",
                    model, self.checkpoint(model), outputs,
                )
            )  # fmt: skip
        return [
            replace(batch, detections=_together([next(images) for _ in batch.samples]))
            for batch in batches
        ]

    def reference_parts(self, model: Model, samples: Sequence[Sample]) -> dict[str, object]:
        """What the reference of a model and its weights depends on."""
        return {
            "model_config": self.config_text(model.config),
            "checkpoint": file_sha256(Path(self.checkpoint(model))),
            "samples": samples_sha256(samples),
            "judge": tree_sha256(Path(reference.__file__).parent),
            "packages": package_versions(("torch", "mmpose", "numpy")),
            "warp": self.warp().sha256,  # the reference holds network inputs
        }

    def in_torch(self, target: str, *args: Any, timeout: Limit | None = None) -> Any:
        """Call a function in the child that has torch loaded."""
        self._torch = self._torch or self.child("torch")
        return self._torch.call(target, *args, timeout=timeout or self.limits.convert.limit())

    def written_in_torch(self, cache: ArtifactCache, key: str, target: str, *args: Any) -> Entry:
        """A folder of a cache, which a function in that child fills; its last argument."""
        return cache.get_or_make(
            key,
            lambda folder: self.in_torch(
                target, *args, str(folder), timeout=self.limits.reference.limit()
            ),
        )

    def child(self, name: str, cell: Cell | None = None) -> Child:
        """A fresh child with a log of this name; one for a cell on the CPU has the imports."""
        log, server = self._log(name), None
        if cell and Device.parse(self.device(cell)).kind == "cpu":
            modules = (*PRELOADED, *backend_row(cell.flow.backend).preload)
            server = self._children.server(modules, self._log("imports"), SINGLE_THREAD)
        return self.make_child(log, SINGLE_THREAD, server=server)

    def _log(self, name: str) -> Path:
        return self.scratch / f"{name.replace('/', '_')}.log"

    @contextmanager
    def running(self, cell: Cell) -> Iterator[Child]:
        """The child for the cell's backend: a fresh one for the cell, and after any failure.

        On a GPU it has the device to itself, and ends with the block.
        """
        device = Device.parse(self.device(cell))
        if device.kind != "cpu":
            with device_lock(device), self.child(cell.id) as child:
                yield child
            return
        child = self._children.of((self._token, cell.id), lambda: self.child(cell.id, cell))
        try:
            yield child
        except BaseException:
            self._children.release()
            raise


def _together(images: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The detections of the images of a batch; all have as many rows."""
    return {name: np.concatenate([image[name] for image in images]) for name in images[0]}


def backend_files(cell: Cell, folder: Path) -> list[str]:
    """What the cell's backend loads from an SDK model folder, the main file first."""
    return [str(folder / name) for name in file_names(cell)]


def file_names(cell: Cell) -> tuple[str, ...]:
    """Names of those files: as a folder that is judged names them, else the backend's own."""
    row = backend_row(cell.flow.backend)
    return cell.flow.files or tuple(name for name in (row.main_file, row.weights_file) if name)


def checkpoint_key(model: Model) -> tuple[str, ...]:
    """The key of a model's checkpoint in `Judge.once`."""
    return ("checkpoint", model.name, model.weights)


def _pytorch_key(model: Model) -> tuple[str, ...]:
    return ("pytorch seconds", model.name, model.weights)


def samples_sha256(samples: Sequence[Sample]) -> str:
    """A hash of images and boxes."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr((sample.name, sample.image.shape, sample.bbox)).encode())
        digest.update(np.ascontiguousarray(sample.image).tobytes())
    return digest.hexdigest()
