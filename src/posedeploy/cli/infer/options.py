"""The options of `infer`: what they are called, which go together, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from posedeploy.cli.infer.boxes import check_inside, read_boxes
from posedeploy.cli.infer.people import BoxSource, PeopleFinder
from posedeploy.cli.infer.sources import Source
from posedeploy.cli.inputs import check_model_folder, device_for
from posedeploy.cli.terminal import console, one_line
from posedeploy.errors import BadInputError
from posedeploy.sdk import PersonDetector, PoseDetector
from posedeploy.sdk.bare_detectors import is_bare
from posedeploy.sdk.images import MAX_PIXELS, Image
from posedeploy.sdk.keypoint_orders import KeypointOrder, keypoint_order

# Frames after which a person who is not seen is lost. One walker hides another for more than
# MMDeploy's 10: with detection in every fifth frame, identities changed 21 times in 20 drawn
# videos, and not once with 20 (suites/inference/test_tracking.py).
TRACK_MAX_MISSING = 20
_BOXES, _TRACKING, _OUTPUT = "Boxes of people", "Tracking", "Output"

# fmt: off
SourcesArgument = Annotated[list[str], typer.Argument(
    metavar="SOURCE", help="Images, videos, folders with them, patterns; the number of a camera; "
    "rtsp:// and http(s):// streams; - for paths on standard input.")]
BboxOption = Annotated[list[str] | None, typer.Option(
    metavar="L,T,R,B", rich_help_panel=_BOXES, help="Box of a person in image px; may be "
    "repeated. Without any boxes, a top-down model takes the whole image as one.")]
BoxesOption = Annotated[Path | None, typer.Option(
    metavar="FILE", rich_help_panel=_BOXES, help="Boxes of each image or frame: COCO's results of "
    "detection, or lines of infer --json.")]
DetectorOption = Annotated[Path | None, typer.Option(
    metavar="MODEL_DIR", rich_help_panel=_BOXES, help="Model that finds boxes: SDK model folder "
    "of YOLOX-Pose, RTMO or a detector, a zip of it, or the .onnx of YOLOX or RTMDet.")]
DetScoreOption = Annotated[float | None, typer.Option(
    min=0, max=1, rich_help_panel=_BOXES, help="Limit of a box's score.  [default: 0.3]")]
DetNmsOption = Annotated[float | None, typer.Option(
    min=0, max=1, rich_help_panel=_BOXES, help="Highest IoU of two boxes.  [default: 0.65]")]
DetClassesOption = Annotated[str | None, typer.Option(
    metavar="CLASS,…", rich_help_panel=_BOXES, help="Numbers from 0, or names, of classes. "
    "[default: people]")]
TrackOption = Annotated[bool, typer.Option(
    "--track", rich_help_panel=_TRACKING, help="Give people in videos identities.")]
DetEveryOption = Annotated[int, typer.Option(
    min=1, metavar="N", rich_help_panel=_TRACKING, help="Run --detector on every N-th frame, and "
    "take boxes around keypoints in between.")]
SmoothOption = Annotated[bool, typer.Option(
    "--smooth", rich_help_panel=_TRACKING, help="Smooth keypoints over time (One-Euro filter).")]
OutOption = Annotated[Path | None, typer.Option(
    rich_help_panel=_OUTPUT,
    help="Folder for what is drawn. [default: poses; none with --json, --coco, --show]")]
JsonLinesOption = Annotated[bool, typer.Option(
    "--json", rich_help_panel=_OUTPUT,
    help="Print JSON lines: the model, then one an image or frame.")]
CocoOption = Annotated[Path | None, typer.Option(
    metavar="FILE", rich_help_panel=_OUTPUT, help="Write COCO's keypoint results.")]
ShowOption = Annotated[bool, typer.Option(
    "--show", rich_help_panel=_OUTPUT, help="Open windows; q or Esc stops.")]
OrderOption = Annotated[str | None, typer.Option(
    metavar="openpose", rich_help_panel=_OUTPUT, help="Order of keypoints, for models with those "
    "of COCO (17) or COCO-WholeBody (133).")]
MinScoreOption = Annotated[float, typer.Option(
    rich_help_panel=_OUTPUT,
    help="Keypoints with a lower score are not drawn, and do not count for --track.")]
LiveOption = Annotated[bool, typer.Option(
    "--live", help="Drop frames of a camera or a stream that come too fast.")]
# fmt: on


@dataclass(frozen=True)
class Options:
    """What the options of the command line stand for."""

    bbox: Sequence[list[float]] = ()  # [left, top, right, bottom] in image px
    boxes: Path | None = None
    detector: Path | None = None
    det_score: float | None = None
    det_nms: float | None = None
    det_classes: Sequence[int | str] | None = None
    track: bool = False
    det_every: int = 1
    smooth: bool = False
    live: bool = False
    keypoint_order: str | None = None
    min_score: float = 0.3
    max_pixels: int = MAX_PIXELS
    device: str | None = None
    threads: int = 1

    @property
    def gives_boxes(self) -> bool:
        """Whether there are boxes in any way."""
        return bool(self.bbox) or self.boxes is not None or self.detector is not None

    def check(self, sources: Sequence[Source]) -> None:
        """Raise BadInputError for options that do not go together, or not with the sources."""
        of_boxes = {"--bbox": bool(self.bbox), "--boxes": self.boxes is not None,
                    "--detector": self.detector is not None}  # fmt: skip
        given = [name for name, is_given in of_boxes.items() if is_given]
        if len(given) > 1:
            raise BadInputError(
                given[0], f"boxes of people, and {' and '.join(given[1:])}, which gives boxes too",
                f"one of {', '.join(of_boxes)}", f"Leave {given[0]} out.",
            )  # fmt: skip
        for wrong, option, found, expected in self._rules(sources, given):
            if wrong:
                next_step = f"Leave {option} out, or give what it needs."
                raise BadInputError(option, found, expected, next_step)

    def _rules(
        self, sources: Sequence[Source], given: Sequence[str]
    ) -> Iterator[tuple[bool, str, str, str]]:
        """Whether something is wrong, the option, what was found and what was expected."""
        videos = any(source.is_video for source in sources)
        live = any(source.address is not None for source in sources)
        two = self.track and self.detector is not None
        names = ", ".join(source.name for source in sources[:3])
        no_detector = "--detector" not in given
        unused = not given or given == ["--bbox"]
        either = ("neither --detector nor --boxes", "--detector or --boxes")
        no_order = "a video, a camera or a stream: images have no order"
        # fmt: off
        yield self.det_score is not None and unused, "--det-score", *either
        yield self.det_classes is not None and unused, "--det-classes", *either
        yield self.det_nms is not None and no_detector, "--det-nms", "no --detector", "--detector"
        yield self.track and not videos, "--track", f"images alone: {names}", no_order
        yield self.track and bool(self.bbox), "--track", "--bbox, alike in all frames", either[1]
        yield self.det_every > 1 and not two, "--det-every", "no --track or no --detector", "both"
        yield self.smooth and not self.track, "--smooth", "no --track", "--track"
        yield self.live and not live, "--live", f"files alone: {names}", "a camera or a stream"
        # fmt: on

    def check_model(self, pose: PoseDetector, model_dir: Path) -> None:
        """Raise BadInputError for boxes that a model does not take, or needs and has not."""
        boxes = {"--bbox": self.bbox, "--boxes": self.boxes, "--detector": self.detector}
        option = next((name for name, value in boxes.items() if value), None)
        if option and not pose.top_down:
            raise BadInputError(
                option, f"boxes, and {model_dir}, which finds the people itself",
                "boxes for a top-down model only", f"Leave {option} out.",
            )  # fmt: skip
        if self.track and pose.top_down and option is None:
            raise BadInputError(
                "--track", f"no boxes for {model_dir}, which is given those of people",
                "--detector MODEL_DIR or --boxes FILE", "Add one of them.",
            )  # fmt: skip

    def order(self, pose: PoseDetector) -> KeypointOrder | None:
        """The order of keypoints that is wanted; None for the model's own.

        Raises:
            BadInputError: There is none of that name, or not for this model.
        """
        if self.keypoint_order is None:
            return None
        width, height = pose.input_size
        keypoints = pose(np.zeros((height, width, 3), np.uint8)).shape[1]
        return keypoint_order(self.keypoint_order, pose.dataset_meta, keypoints)

    @property
    def tracking(self) -> dict[str, Any] | None:
        """Parameters of `PoseTracker.create_state`; None without `--track`.

        The limits of boxes are the detector's.
        """
        if not self.track:
            return None
        smooth = {} if self.smooth else {"smooth_params": None}
        return {"det_interval": self.det_every, "det_thr": 0.0, "pose_kpt_thr": self.min_score,
                "track_max_missing": TRACK_MAX_MISSING, **smooth}  # fmt: skip


def parse_classes(text: str | None) -> list[int | str] | None:
    """Numbers and names of classes."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    return [int(word) if word.isdecimal() else word for word in words]


def people_finder(
    options: Options,
    pose: PoseDetector,
    sources: Sequence[Source],
    stack: ExitStack,
    order: KeypointOrder | None,
) -> PeopleFinder:
    """What finds people as the options say; the detector is closed with the stack.

    Raises:
        BadInputError: The detector, or the file of boxes, cannot be used.
        UnavailableError: The detector's backend is not installed.
    """
    return PeopleFinder(
        pose, _box_source(options, sources, stack), labeled=options.det_classes is not None,
        tracking=options.tracking, finds_boxes=pose.top_down, order=order,
    )  # fmt: skip


def _box_source(options: Options, sources: Sequence[Source], stack: ExitStack) -> BoxSource:
    if options.detector is not None:
        detector = stack.enter_context(open_detector(options, options.detector))
        return lambda _source, image, _frame: detector.detect(image)
    if options.boxes is not None:
        return _from_file(options, options.boxes, sources)
    boxes = list(options.bbox)

    def given(source: Source, image: Image, _frame: int | None) -> list[list[float]] | None:
        check_inside(boxes, source, image)
        return boxes or None

    return given


def _from_file(options: Options, path: Path, sources: Sequence[Source]) -> BoxSource:
    numbers = options.det_classes
    wrong = [word for word in numbers or () if not isinstance(word, int)]
    if wrong:
        raise BadInputError(
            "--det-classes", f"{wrong[0]}, with --boxes", "numbers of classes from 0",
            "A file of boxes has no names: write the number.",
        )  # fmt: skip
    file = read_boxes(path, options.det_score, numbers)
    if missing := file.missing(sources):
        names = ", ".join(one_line(source.name) for source in missing[:3])
        line = f"no boxes in {one_line(str(path))}, so nobody: {names}"
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        console(stderr=True).print(f"{line}{more}", style="yellow", soft_wrap=True)
    return file.of


def open_detector(
    options: Options, path: Path, make: Callable[..., PersonDetector] = PersonDetector
) -> PersonDetector:
    """The detector of `--detector`.

    Raises:
        BadInputError: It is none.
        UnavailableError: Its backend is not installed.
    """
    limits = {"score_threshold": options.det_score, "nms_threshold": options.det_nms}
    folder = path if is_bare(path) else check_model_folder(path)
    chosen = device_for(folder, options.device)
    return make(
        folder, chosen.kind, chosen.index, threads=options.threads,
        classes=options.det_classes, max_pixels=options.max_pixels,
        **{name: value for name, value in limits.items() if value is not None},
    )  # fmt: skip
