"""`PoseDetection`: the task processor of MMDeploy's documented Python API for MMPose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.apis.pipeline import collate
from posedeploy.apis.reference import keypoints_of
from posedeploy.config import DeployConfig, ModelConfig, class_count, class_meta
from posedeploy.errors import BadInputError
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.fields import Node
from posedeploy.sdk.images import Image, write_image
from posedeploy.sdk.meta import dataset_meta as read_dataset_meta
from posedeploy.sdk.reading import ImageSource, read_source
from posedeploy.sdk.windows import check_windows, show_image
from posedeploy.sdk.writer import color_type, compact_dataset_meta

if TYPE_CHECKING:
    import torch

Data = dict[str, list[Any]]


class PoseDetection:
    """Builds models and inputs, and draws results.

    `device` is where the backend model runs; `show` shows a drawing under a title (None opens a
    window).
    """

    def __init__(
        self,
        model_config: ModelConfig,
        deploy_config: DeployConfig,
        device: str,
        show: Callable[[Image, str], None] | None = None,
    ) -> None:
        self._show = show or show_window
        self.model_config = model_config
        self.deploy_config = deploy_config
        self.device = device

    def build_pytorch_model(self, model_checkpoint: str | Path | None = None) -> Any:
        """The estimator of mmpose itself, in evaluation mode, on the CPU, flip test off.

        The checkpoint is a `.pth` file or its URL; without one the weights stay random.

        Raises:
            BadInputError: The checkpoint cannot be read, or is another model's.
            UnavailableError: It cannot be downloaded.
        """
        from posedeploy.apis.sources import checkpoint_file
        from posedeploy.zoo.build import build_model

        checkpoint = None if model_checkpoint is None else checkpoint_file(model_checkpoint)
        return build_model(self.model_config, checkpoint)

    def build_backend_model(
        self, model_files: Sequence[str | Path] | str | Path, **_: object
    ) -> Any:
        """An mmpose estimator whose network is the backend's; of its files the main one is first.

        `test_step(data)` gives one `PoseDataSample` an image, as mmpose's own does, keypoints and
        boxes in image px.

        Raises:
            BadInputError: A file is missing or the backend refuses it, or the graph has other
                inputs or outputs than the deploy config says.
            UnavailableError: The backend cannot run here.
        """
        from posedeploy.apis.backend_model import build_backend_model

        given = [model_files] if isinstance(model_files, str | Path) else model_files
        files = [Path(file) for file in given]
        return build_backend_model(self.model_config, self.deploy_config, files, self.device)

    def create_input(
        self,
        imgs: ImageSource | Sequence[ImageSource],
        input_shape: Sequence[int] | None = None,
        data_preprocessor: Callable[..., Data] | None = None,
        *,
        bboxes: ArrayLike | None = None,
    ) -> tuple[Data, list[torch.Tensor]]:
        """Images through the model's test pipeline.

        Args:
            imgs: One image or several: paths, or `[H, W, 3]` uint8 arrays in BGR.
            input_shape: `[W, H]` in input px that the graph was made for; None does not check.
            data_preprocessor: A model's `data_preprocessor`, where the result is for the model's
                `forward`; `test_step` applies its own.
            bboxes: `[N, 4]` left, top, right, bottom in image px of the people, for top-down
                models and a single image. None takes each whole image as one box.

        Returns:
            What `test_step` takes, 'inputs' and 'data_samples', one entry a box (an image, for
            models that find people themselves); and the inputs alone, `[3, H, W]` uint8 each.

        Raises:
            BadInputError: `input_shape` is not the model's, an image cannot be read, or boxes
                were given that nobody can use.
        """
        expected = self.model_config.input_size
        if input_shape is not None and tuple(input_shape) != expected:
            raise BadInputError(
                "input_shape", f"{list(input_shape)} (W, H)",
                f"{list(expected)}, the input of {self.model_config.path.name}",
                "Use a deploy config of the model's shape, or one without a shape.",
            )  # fmt: skip
        images = [imgs] if isinstance(imgs, str | Path | np.ndarray) else list(imgs)
        data = collate(self.model_config, [self._load(image) for image in images], bboxes)
        if data_preprocessor is not None:
            data = data_preprocessor(data, False)
        return data, data["inputs"]

    def visualize(  # noqa: PLR0917 - MMDeploy's signature
        self,
        image: ImageSource,
        result: Any,
        model: Any = None,
        window_name: str = "",
        output_file: str | Path | None = None,
        show_result: bool = False,
        min_score: float = 0.0,
    ) -> NDArray[np.uint8]:
        """Draw a result on its image.

        Args:
            image: The image.
            result: A `PoseDataSample`, or several of one image.
            model: Whose `dataset_meta` has skeleton and colors; by default the model config's.
            window_name: Title of the window.
            output_file: Where to write the drawing; None and '' write none.
            show_result: Open a window and wait for a key.
            min_score: Keypoints below this score are left out.

        Returns:
            The drawing, `[H, W, 3]` uint8, BGR.

        Raises:
            BadInputError: The image cannot be read, the drawing cannot be written, or there is
                no display.
        """
        meta = getattr(model, "dataset_meta", None)
        samples = list(result) if isinstance(result, list | tuple) else [result]
        drawing = draw(self._load(image), samples, meta, self.model_config, min_score)
        if output_file:
            path = Path(output_file)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, drawing)
            except OSError as error:
                raise BadInputError(
                    f"output_file {path}", error.strerror or str(error), "a place for an image",
                    "Choose another.",
                ) from error  # fmt: skip
        if show_result:
            self._show(drawing, window_name or "posedeploy")
        return drawing

    def _load(self, source: ImageSource) -> Image:
        """An image; a file is read as the model's test pipeline reads it."""
        return read_source(source, color_type(self.model_config))


def draw(
    image: Image,
    samples: Sequence[Any],
    meta: Mapping[str, Any] | None,
    config: ModelConfig,
    min_score: float,
) -> Image:
    """A copy of the image with all people of its `PoseDataSample`s on it.

    Without `meta`, a model's `dataset_meta`, skeleton and colors are the config's.
    """
    from posedeploy.zoo.build import dataset_meta

    people, labels = ([np.zeros((0, 0, 3))] if not samples else []), []
    for sample in samples:
        if "pred_instances" not in sample:
            raise BadInputError(
                "result", f"a {type(sample).__name__} without pred_instances",
                "a PoseDataSample from `model.test_step(...)`", "Pass `result=results[0]`.",
            )  # fmt: skip
        people.append(keypoints_of(sample.pred_instances))
        if class_count(config) > 1:
            labels.append(np.asarray(sample.pred_instances.labels))
    whole = dataset_meta(config) if meta is None else meta
    compact = compact_dataset_meta(whole) | class_meta(config, whole)
    node = Node({"posedeploy": {"dataset_meta": compact}}, "dataset_meta")
    classes = np.concatenate(labels) if labels else None
    return draw_poses(image, np.concatenate(people), read_dataset_meta(node), min_score, classes)


def show_window(drawing: Image, window_name: str, reason: str | None = None) -> None:
    """Show an image until a key is pressed; UnavailableError if there are no windows.

    `reason` is why there are none; None asks the system.
    """
    check_windows("Use output_file instead.", "show_result", reason)
    show_image(window_name, drawing)
