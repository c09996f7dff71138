"""Is a set of weights fit to judge a backend by?  Measures, limits, and the table.

A network whose output ignores the image agrees with every broken backend, and one that
amplifies rounding disagrees with every correct one.  `python -m posedeploy.synthetic.admission
[MODEL|TIER ...]` measures models of the zoo and exits with 1 if one is not admitted.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.paths import cache_dir
from posedeploy.synthetic.calibration import single_thread
from posedeploy.synthetic.images import calibration_images, network_input
from posedeploy.synthetic.measures import (
    centered,
    detections,
    gap,
    output_maps,
    same_argmax,
    sqnr_db,
)
from posedeploy.synthetic.weights import calibrated_checkpoint
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import ALL, config_path, models_of

IMAGES = 6
_SEED = 9000  # far from the seeds of calibration


@dataclass(frozen=True)
class Admission:
    """What was measured on images that calibration has not seen.

    Attributes:
        bf16_sqnr_db: Signal to noise of a bf16 autocast run, the worst output's; the signal is
            what varies within a channel, so that a constant offset cannot pass for one.
        same_argmax: Part of (pair of images, channel) whose maximum is at the same place.
        gap: Median difference of the largest and the second largest value of a channel, in
            standard deviations of the output; the smallest of the outputs.
        gap_over_noise: The same difference, divided by the largest difference between float32
            and float64.
        noise: That largest difference, in standard deviations of the output.
        detections: Fewest and most detections on a image; None for a top-down model.
        suppressed: Fewest candidates on a image that non-maximum suppression removes.
        box_area: Smallest and largest area of a box, as parts of the input's.
        at_border: Part of the boxes that three or four borders of the image clip.
        keypoint_noise_px: Largest distance of a keypoint in float32 from float64, in input px.
    """

    bf16_sqnr_db: float
    same_argmax: float
    gap: float
    gap_over_noise: float
    noise: float
    detections: tuple[int, int] | None = None
    suppressed: int = 0
    box_area: tuple[float, float] | None = None
    at_border: float = 0.0
    keypoint_noise_px: float = 0.0


def measure(model: Any, model_config: ModelConfig, count: int = IMAGES) -> Admission:
    """Measure a model. Runs it four times on each image, on one thread.

    Args:
        model: What `build_model` gave.
        model_config: Its config.
        count: How many images, 2 at least.
    """
    bottom_up = model_config.head_kind.bottom_up
    images = calibration_images(
        count, model_config.input_size, _SEED, people=3 if bottom_up else 1
    )
    batch = torch.from_numpy(
        network_input(images, model_config.mean, model_config.std, model_config.bgr_to_rgb)
    )
    model64 = copy.deepcopy(model).double()
    with single_thread(), torch.no_grad():
        maps = output_maps(model, model_config.head_kind, batch)
        maps64 = output_maps(model64, model_config.head_kind, batch.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps16 = output_maps(model, model_config.head_kind, batch)
        found: dict[str, Any] = {}
        if bottom_up:
            found = detections(model, model64, batch, model_config)
    gaps = {name: gap(y) for name, y in maps64.items()}
    noise = {name: float((maps[name] - y).abs().max()) for name, y in maps64.items()}
    spread = {name: float(centered(y).std()) for name, y in maps64.items()}
    return Admission(
        bf16_sqnr_db=min(sqnr_db(y, maps16[name]) for name, y in maps64.items()),
        same_argmax=max(same_argmax(y) for y in maps64.values()),
        gap=min(gaps[name] / spread[name] for name in maps64),
        gap_over_noise=min(gaps[name] / noise[name] for name in maps64),
        noise=max(noise[name] / spread[name] for name in maps64),
        **found,
    )


def failures(measured: Admission) -> tuple[str, ...]:
    """The limits that a set of weights breaks, as sentences; none if it is admitted."""
    checks = [
        (measured.bf16_sqnr_db >= 20, f"bf16 SQNR {measured.bf16_sqnr_db:.1f} dB < 20 dB"),
        (measured.same_argmax <= 0.1, f"same argmax on {measured.same_argmax:.0%} > 10 %"),
        (measured.gap >= 0.02, f"median gap {measured.gap:.4f} std < 0.02 std"),
        (measured.gap_over_noise >= 20, f"gap {measured.gap_over_noise:.1f} x noise < 20"),
    ]
    if measured.detections is not None and measured.box_area is not None:
        (fewest, most), (smallest, largest) = measured.detections, measured.box_area
        checks += [
            (fewest >= 2 and most <= 200, f"{fewest} to {most} detections, not 2 to 200"),
            (measured.suppressed >= 1, "a image on which no box is suppressed"),
            (smallest >= 1e-3 and largest <= 0.8, f"boxes of {smallest:.2g} to {largest:.2g}"),
            (measured.at_border <= 0.1, f"{measured.at_border:.0%} of the boxes are clipped"),
            (
                measured.keypoint_noise_px <= 0.02,
                f"keypoints {measured.keypoint_noise_px:.3f} px from float64 > 0.02 px",
            ),
        ]
    return tuple(text for passed, text in checks if not passed)


_HEADER = (
    "| model | bf16 SQNR dB | same argmax | gap, std | gap ÷ noise | fp32 noise, std "
    "| detections | suppressed | box area | clipped | keypoint noise, px | admitted |\n"
    + "|---" * 12
    + "|"
)


def table_row(name: str, measured: Admission) -> str:
    """One line of the Markdown table."""
    cells = [
        name,
        f"{measured.bf16_sqnr_db:.1f}",
        f"{measured.same_argmax:.3f}",
        f"{measured.gap:.3f}",
        f"{measured.gap_over_noise:.0f}",
        f"{measured.noise:.1e}",
    ]
    if measured.detections is not None and measured.box_area is not None:
        cells += [
            "{} to {}".format(*measured.detections),
            f"{measured.suppressed}",
            "{:.3f} to {:.3f}".format(*measured.box_area),
            f"{measured.at_border:.3f}",
            f"{measured.keypoint_noise_px:.4f}",
        ]
    else:
        cells += [""] * 5
    cells.append("; ".join(failures(measured)) or "yes")
    return "| " + " | ".join(cells) + " |"


def main(selection: Sequence[str]) -> int:
    """Measure the models of a selection and print the table; 1 if one is not admitted."""
    rows = models_of(selection or [ALL])
    print(_HEADER)
    admitted = True
    for row in rows:
        model_config = load_model_config(config_path(row))
        checkpoint = calibrated_checkpoint(row, cache_dir())
        measured = measure(build_model(model_config, checkpoint), model_config)
        print(table_row(row.name, measured), flush=True)
        admitted = admitted and not failures(measured)
    return 0 if admitted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
