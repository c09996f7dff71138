"""Whether a graph can hold a model's decoding, as `codebase_config.export_postprocess` asks."""

from __future__ import annotations

from posedeploy.codecs import CODECS, codec_of
from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.heads import KEYPOINTS, HeadSpec, Stage
from posedeploy.runtime import backend_row

FLOAT32 = ("", "f32")  # inference precisions, in OpenVINO's words, that hold every coordinate
OUTSIDE = "Remove the field: the decoder outside of the graph computes it."


def check_postprocess(deploy_config: DeployConfig, model_config: ModelConfig) -> None:
    """Refuse a deploy config whose `export_postprocess` fits neither its outputs nor the model.

    Raises:
        BadInputError: The field is set for a detector, for a codec or a computing precision that
            a graph cannot decode with, or with other than two outputs; or the outputs are those
            of a graph with decoding, and the field is not set.
    """
    head, names = model_config.head_kind, list(deploy_config.output_names)
    field = f"{deploy_config.path}: codebase_config.export_postprocess"
    stage = None if model_config.head in head.unscored else _keypoints(head)
    if not deploy_config.export_postprocess:
        if stage and set(names) == set(stage.output_names):
            raise BadInputError(
                field, "False", f"True, for the outputs {', '.join(names)}",
                f"Set it, or name the outputs {', '.join(head.output_names)}.",
            )  # fmt: skip
        return
    if stage is None:
        raise BadInputError(
            field, "True", f"False: the graph of a {model_config.head} ends with keypoints anyway",
            "Remove the field.",
        )  # fmt: skip
    if len(names) != len(stage.outputs):
        raise BadInputError(
            f"{deploy_config.path}: output_names", ", ".join(names),
            f"{' and '.join(stage.output_names)}, for export_postprocess", "Change the names.",
        )  # fmt: skip
    if why := dict(backend_row(deploy_config.backend).lacks).get(KEYPOINTS):
        raise BadInputError(field, "True", f"False for {deploy_config.backend}: {why}", OUTSIDE)
    _check_codec(model_config)
    if (computes := deploy_config.inference_precision) not in FLOAT32:
        bf16 = deploy_config.precision == computes
        raise BadInputError(
            f"{deploy_config.path}: backend_config.{'' if bf16 else 'inference_'}precision",
            f"{computes!r} with export_postprocess",
            f"{'fp32' if bf16 else 'f32'}: coordinates are computed in the graph",
            "Remove one of the two fields.",
        )  # fmt: skip


def _keypoints(head: HeadSpec) -> Stage | None:
    return next((stage for stage in head.stages if stage.name == KEYPOINTS), None)


def _ruling_out(model_config: ModelConfig) -> list[str]:
    """Parameters of the codec that rule out that a graph decodes it."""
    params, codec = model_config.codec, codec_of(str(model_config.codec.get("type")))
    flags = codec.not_in_graph if codec else ()
    return [f"{flag}={params[flag]!r}" for flag in flags if params.get(flag)]


def graph_can_decode(model_config: ModelConfig) -> bool:
    """Whether a graph can hold the decoding of a top-down model's codec."""
    codec = codec_of(str(model_config.codec.get("type")))
    return codec is not None and bool(codec.in_graph) and not _ruling_out(model_config)


def _check_codec(model_config: ModelConfig) -> None:
    if graph_can_decode(model_config):
        return
    name, found = str(model_config.codec.get("type", "no codec")), _ruling_out(model_config)
    able = [
        f"{row.type} without {' or '.join(row.not_in_graph)}" for row in CODECS if row.in_graph
    ]
    raise BadInputError(
        f"{model_config.path}: codec", " with ".join([name, *found]),
        f"a codec that a graph can decode, for export_postprocess: {', '.join(able)}", OUTSIDE,
    )  # fmt: skip
