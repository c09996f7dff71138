"""What of a model leaves float16's range, on images, before it is converted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posedeploy.apis.sources import resolve_checkpoint, resolve_model_config
from posedeploy.config import (
    CalibrationSettings,
    ModelConfig,
    load_deploy_config,
    load_model_config,
)
from posedeploy.precision.images import calibration_set
from posedeploy.sdk.reading import ImageSource

if TYPE_CHECKING:
    from posedeploy.apis.reference import Reference
    from posedeploy.precision.ranges import Range

# A backend that computes in float32 alone is given the model as mmpose wrote it
AS_IN_MMPOSE = "torchscript"
COUNT = 8  # images; 1 to 2 s of CPU time of an RTMPose-t


@dataclass(frozen=True)
class RangeReport:
    """The operations of a model in the order of the run.

    `rewritten` are the paths of modules that are exported in another form, for every backend that
    computes in float16: what their operations show does not reach a backend.
    """

    model: str
    checkpoint: str
    backend: str  # as exported for it; '' for the model as mmpose wrote it
    source: str  # of the images
    count: int
    operations: tuple[Range, ...]
    rewritten: tuple[str, ...]

    def remedy(self, operation: Range) -> str:
        """What is done about an operation that something may go wrong in; '' for nothing."""
        if operation.module in self.rewritten:
            return "rewritten at export"
        return _REMEDIES.get(operation.operator, "") if self.backend in _TYPED_GRAPHS else ""

    def facts(self, operations: Sequence[Range]) -> list[dict[str, Any]]:
        """Operations as JSON has them: with their risks and what is done about them."""
        return [
            asdict(o) | {"risks": list(o.risks), "remedy": self.remedy(o) if o.risks else ""}
            for o in operations
        ]

    @property
    def by_risk(self) -> tuple[Range, ...]:
        """The operations, the worst risk first, and then what is next to the end of float16."""
        from posedeploy.precision.ranges import RISKS

        def order(operation: Range) -> tuple[int, float]:
            worst = min(map(list(RISKS).index, operation.risks), default=len(RISKS))
            return worst, -max(operation.largest, operation.total)

        return tuple(sorted(self.operations, key=order))

    @property
    def leaving(self) -> tuple[Range, ...]:
        """Those whose values, sums or weights leave float16, the worst first."""
        return tuple(o for o in self.by_risk if set(o.risks) - {"int8"})

    @property
    def failures(self) -> tuple[Range, ...]:
        """The operations whose values or sums leave float16 and that nothing is done about."""
        return tuple(o for o in self.operations if o.overflows and not self.remedy(o))


# ---- modify this table when `FLOAT_PARTS` gets a part: ATen's operator -> what is done ----------
_TYPED = "kept in float32 by ONNX Runtime and TensorRT"
_TYPED_GRAPHS = frozenset({"", "onnxruntime", "tensorrt", "tensorrt-rtx"})
_REMEDIES = {"_softmax": _TYPED, "native_layer_norm": _TYPED}
# ------------------------------------------------------------------------------------------------


def model_ranges(
    model_cfg: str | Path,
    checkpoint: str | Path | None,
    images: Path | None = None,
    *,
    backend: str = "",
    count: int = COUNT,
) -> RangeReport:
    """Run a model in float32 and report what leaves float16's range.

    Args:
        model_cfg: A path, or a name in the zoo.
        checkpoint: As `sources.resolve_checkpoint` takes it.
        images: A folder of images; None for drawn figures.
        backend: Name of a backend, to run the network as it is exported for it; '' for the model
            as mmpose wrote it.
        count: At most this many images.

    Raises:
        BadInputError: A config, the checkpoint or an image is not what it should be.
    """
    from posedeploy.precision.ranges import network_ranges
    from posedeploy.zoo.build import build_model, check_forward

    config = load_model_config(resolve_model_config(model_cfg))
    inputs = calibration_set(config, CalibrationSettings(images, count))
    model: Any = build_model(config, resolve_checkpoint(model_cfg, checkpoint))
    check_forward(model, config)
    network = exported_network(model, config, backend or AS_IN_MMPOSE)
    operations = network_ranges(network, inputs.inputs(), "model.")
    return RangeReport(
        model=str(model_cfg), checkpoint=str(checkpoint), backend=backend, source=inputs.source,
        count=inputs.count, operations=operations,
        rewritten=() if backend else _rewritten(model),
    )  # fmt: skip


def ranges_on(reference: Reference, images: Sequence[ImageSource], checkpoint: str) -> RangeReport:
    """What leaves float16 on images, of a model as it was exported for a backend."""
    from posedeploy.precision.ranges import network_ranges

    backend = reference.flow[0]
    network = exported_network(reference.model, reference.config, backend)
    inputs = [reference.inputs(image) for image in images]
    return RangeReport(
        model=str(reference.config.path), checkpoint=checkpoint, backend=backend,
        source="images that were compared", count=len(inputs),
        operations=network_ranges(network, inputs, "model."), rewritten=(),
    )  # fmt: skip


def exported_network(model: Any, config: ModelConfig, backend: str) -> Any:
    """The network of a model as it is exported for a backend, up to where nothing is selected."""
    from posedeploy.export import exportable_module

    head = config.head_kind
    (width, height), word = config.input_size, f"_{head.word}" if head.word else ""
    deploy_config = load_deploy_config(f"pose-detection{word}_{backend}_static-{height}x{width}")
    return exportable_module(model, config, deploy_config, head.stage_for(("dense",)).name).network


def _rewritten(model: Any) -> tuple[str, ...]:
    """Paths of the modules that `export.norms` replaces."""
    from posedeploy.export.module import type_name
    from posedeploy.export.norms import SCALE_NORM

    names = dict(model.named_modules())
    return tuple(name for name, module in names.items() if type_name(module) == SCALE_NORM)
