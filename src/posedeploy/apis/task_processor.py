"""`PoseDetection`: the task processor of MMDeploy's documented Python API for MMPose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError

if TYPE_CHECKING:
    import torch

Image = str | Path | NDArray[np.uint8]
Data = dict[str, list[Any]]


class PoseDetection:
    """Builds models and inputs, and draws results.

    Args:
        model_config: The model.
        deploy_config: The deployment.
        device: Where the backend model runs.
    """

    def __init__(
        self, model_config: ModelConfig, deploy_config: DeployConfig, device: str
    ) -> None:
        self.model_config = model_config
        self.deploy_config = deploy_config
        self.device = device

    def build_pytorch_model(self, model_checkpoint: str | Path | None = None) -> Any:
        """The estimator of mmpose itself, in evaluation mode, on the CPU, flip test off.

        Args:
            model_checkpoint: A `.pth` file; None leaves the weights random.

        Raises:
            BadInputError: The checkpoint cannot be read, or is another model's.
        """
        from posedeploy.zoo.build import build_model

        checkpoint = None if model_checkpoint is None else Path(model_checkpoint)
        if checkpoint is not None and not checkpoint.is_file():
            raise BadInputError(
                f"checkpoint {checkpoint}", "no such file", "a .pth file", "Check the path."
            )
        return build_model(self.model_config, checkpoint)

    def build_backend_model(
        self, model_files: Sequence[str | Path] | str | Path, **_: object
    ) -> Any:
        """An mmpose estimator whose network is the backend's.

        Args:
            model_files: The backend's files, the main one first.

        Returns:
            An estimator: `test_step(data)` gives one `PoseDataSample` a image, as mmpose's own
            does, keypoints and boxes in image px.

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
        imgs: Image | Sequence[Image],
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
            What `test_step` takes, 'inputs' and 'data_samples', one entry a box (a image, for
            models that find people themselves); and the inputs alone, `[3, H, W]` uint8 each.

        Raises:
            BadInputError: `input_shape` is not the model's, a image cannot be read, or boxes
                were given that nobody can use.
        """
        self._check_shape(input_shape)
        images = [imgs] if isinstance(imgs, str | Path | np.ndarray) else list(imgs)
        from posedeploy.apis.inputs import collate, load

        data = collate(self.model_config, [load(image) for image in images], bboxes)
        if data_preprocessor is not None:
            data = data_preprocessor(data, False)
        return data, data["inputs"]

    def visualize(  # noqa: PLR0917 - MMDeploy's signature
        self,
        image: Image,
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
        from posedeploy.apis.inputs import load
        from posedeploy.apis.showing import draw, show, write

        meta = getattr(model, "dataset_meta", None)
        samples = list(result) if isinstance(result, list | tuple) else [result]
        drawing = draw(load(image), samples, meta, self.model_config, min_score)
        if output_file:
            write(drawing, Path(output_file))
        if show_result:
            show(drawing, window_name or "posedeploy")
        return drawing

    def _check_shape(self, input_shape: Sequence[int] | None) -> None:
        expected = self.model_config.input_size
        if input_shape is None or tuple(input_shape) == expected:
            return
        raise BadInputError(
            "input_shape",
            f"{list(input_shape)} (W, H)",
            f"{list(expected)}, the input of {self.model_config.path.name}",
            "Use a deploy config of the model's shape, or one without a shape.",
        )
