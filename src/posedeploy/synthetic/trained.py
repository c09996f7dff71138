"""Weights that were trained on drawn figures, stored beside the code in 16 bits.

`python -m posedeploy.synthetic.trained DIR` takes the training in DIR into the folder of stored
weights: `MODEL.pth`, an MMEngine checkpoint whose matrices and kernels are float16, and
`MODEL.jsonl`, the log of the training. Reading adds the bits below float16's last one, at random
and seeded: without them a float16 backend would compute with the very weights of the reference,
and half precision would look better than it is. Looking files up imports no torch.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.paths import whole_file
from posedeploy.zoo.pickled_arrays import plain
from posedeploy.zoo.table import MODELS, config_path, model_row

if TYPE_CHECKING:
    import torch

_PACKAGE = Path(__file__).parents[1]
# The checkout's folder, and the one in which a wheel has the suites' files.
_FOLDERS = (
    _PACKAGE.parents[1] / "fixtures" / "weights",
    _PACKAGE.parent / "poseconform" / "_suites" / "fixtures" / "weights",
)
_LOG = "log.jsonl"
_MANTISSA = 10  # bits of float16 behind the point
_LEAST_EXPONENT = -14  # of a normal float16


def weights_folder(folders: Sequence[Path] = _FOLDERS) -> Path:
    """The folder of stored weights; it need not be there."""
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def trained_file(model_config: ModelConfig, folder: Path | None = None) -> Path | None:
    """The stored weights of a config of the zoo, None where there are none."""
    for path in sorted((folder or weights_folder()).glob("*.pth")):
        for row in MODELS:
            if row.name == path.stem and config_path(row).samefile(model_config.path):
                return path
    return None


def trained_content(path: Path) -> dict[str, Any]:
    """The content of stored weights as a checkpoint: `meta`, and `state_dict` in float32."""
    from posedeploy.zoo.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(path)
    return {
        "meta": plain(checkpoint.meta),
        "state_dict": {name: _dithered(name, t) for name, t in checkpoint.state_dict.items()},
    }


def stored_backbone(name: str, folder: Path | None = None) -> dict[str, torch.Tensor]:
    """The backbone's part of the stored weights of a model of the zoo, names without the prefix.

    Raises:
        BadInputError: None are stored.
    """
    path = trained_file(load_model_config(config_path(model_row(name))), folder)
    if path is None:
        raise BadInputError(
            f"{folder or weights_folder()}", f"no weights of {name}", f"{name}.pth",
            f"Train {name} and store its weights first: another model starts from its backbone.",
        )  # fmt: skip
    prefix, state = "backbone.", trained_content(path)["state_dict"]
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _dithered(name: str, stored: torch.Tensor) -> torch.Tensor:
    """A float16 tensor as float32, with uniform noise of one step of float16; others unchanged."""
    import torch

    from posedeploy.synthetic.conditioning import uniform

    if stored.dtype != torch.float16:
        return stored
    values = stored.float()
    # a value is mantissa * 2 ** exponent with a mantissa of 0.5 to 1: IEEE 754's exponent less 1
    exponents = torch.frexp(values).exponent - 1
    step = torch.ldexp(torch.ones_like(values), exponents.clamp(min=_LEAST_EXPONENT) - _MANTISSA)
    noise = uniform(f"{name}.dither", 0, stored.shape) - 0.5
    return torch.where(values == 0, values, values + noise * step)


def store(training: Path, folder: Path) -> Path:
    """Take a finished training's weights and log into the folder of stored weights.

    Raises:
        BadInputError: The folder is no training's, or a weight is too large for float16.
    """
    import torch

    from posedeploy.zoo.checkpoints import load_checkpoint

    found = [training / f"{row.name}.pth" for row in MODELS]
    sources = [path for path in found if path.is_file()]
    if len(sources) != 1 or not (training / _LOG).is_file():
        raise BadInputError(
            f"{training}", "no weights of a model beside a log.jsonl",
            "a folder that `python -m posedeploy.synthetic.train MODEL --out DIR` wrote",
            "Check the path.",
        )  # fmt: skip
    source = sources[0]
    checkpoint = load_checkpoint(source)
    state = {name: _stored(source, name, t) for name, t in checkpoint.state_dict.items()}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    with whole_file(target) as temporary:
        torch.save({"meta": plain(checkpoint.meta), "state_dict": state}, temporary)
    shutil.copyfile(training / _LOG, target.with_suffix(".jsonl"))
    return target


def _stored(source: Path, name: str, value: torch.Tensor) -> torch.Tensor:
    """Matrices and kernels in float16; vectors (biases, statistics) are few and stay float32."""
    import torch

    if value.ndim < 2 or not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise BadInputError(
            f"{source}: {name}", f"a value of {float(value.abs().max()):g}",
            "values that float16 holds, up to 65504", "Train with more weight decay.",
        )  # fmt: skip
    return half


def main(words: Sequence[str], folder: Path | None = None) -> int:
    """Store the trainings in these folders; the exit code."""
    for word in words:
        try:
            target = store(Path(word), folder or weights_folder())
        except BadInputError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


def stored_facts(path: Path) -> Mapping[str, Any]:
    """What the log of stored weights says at its end: steps, CPU seconds and accuracy."""
    lines = path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    facts: dict[str, Any] = json.loads(lines[-1])
    return facts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
