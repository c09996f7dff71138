"""The training loop: resumable, and the same result however often it was interrupted."""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.paths import whole_file, write_text
from posedeploy.synthetic.drawn import WITHOUT_PAIRS
from posedeploy.synthetic.training.recipes import Recipe
from posedeploy.synthetic.training.samples import DrawnSamples
from posedeploy.zoo.pickled_arrays import plain

_STATE = "state.pth"
_LOG = "log.jsonl"
_LEAST_RATE = 0.01  # of the largest one, at the end of the cosine

Evaluate = Callable[[Any], Mapping[str, float]]  # a model on the CPU -> its accuracy
Report = Callable[[int, Mapping[str, float]], None]  # a step that ended, and what was measured


@dataclass(frozen=True)
class Settings:
    """What a training depends on, besides the model and the code.

    Attributes:
        seed: Of the weights and the images.
        threads: Of torch: sums are taken in another order with another number.
        device: 'cpu', 'cuda', …
        workers: Processes that draw; 0 draws between the steps. Changes no result.
        log_every: Steps from one line of the log to the next.
        evaluate_every: Steps from one evaluation to the next; there is one at the end.
        save_every: Steps from one checkpoint to the next.
    """

    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    workers: int = 0
    log_every: int = 50
    evaluate_every: int = 500
    save_every: int = 100


class Training:
    """One training in a folder: `state.pth` to go on from, `log.jsonl`, and the weights."""

    def __init__(
        self,
        name: str,
        model_config: ModelConfig,
        recipe: Recipe,
        settings: Settings,
        folder: Path,
    ) -> None:
        self._config, self._recipe, self._settings = model_config, recipe, settings
        self._folder, self.weights = folder, folder / f"{name}.pth"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = _fresh_model(model_config, recipe)
        self._model = model.to(settings.device, memory_format=torch.channels_last)
        self._average = AveragedModel(
            self._model, multi_avg_fn=_warming_average(recipe.average), use_buffers=True
        )
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(self._model, recipe.decay), lr=recipe.rate, foreach=True
        )
        self._step = 0
        self._seconds = 0.0  # of the processor, which others may use meanwhile
        self._since: list[dict[str, float]] = []  # losses since the last line of the log

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self._step

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self._recipe.steps

    def start(self, backbone: Mapping[str, torch.Tensor] | None = None) -> None:
        """Begin the log.

        Args:
            backbone: Weights that the backbone starts from, None for the initialization of the
                model's config.

        Raises:
            BadInputError: The folder has a training already, or the weights are of another
                backbone.
        """
        if (self._folder / _STATE).is_file():
            raise BadInputError(
                f"--out {self._folder}", "a training that was begun", "a folder without one",
                "Give --resume to go on with it, or another folder.",
            )  # fmt: skip
        if backbone is not None:
            for model in (self._model, self._average.module):
                _load_backbone(model, backbone, self._recipe.backbone_of)
        write_text(self._folder / _LOG, "")

    def resume(self) -> None:
        """Go on from the folder's last checkpoint.

        Raises:
            BadInputError: There is none, or it is of a training with other settings.
        """
        path = self._folder / _STATE
        if not path.is_file():
            raise BadInputError(
                f"--resume {self._folder}", f"no {_STATE}", "the folder of a training",
                "Start it without --resume.",
            )  # fmt: skip
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != self._identity():
            raise BadInputError(
                f"--resume {self._folder}", f"a training with {state['identity']}",
                self._identity(), "Give the options that it was started with, or another --out.",
            )  # fmt: skip
        self._model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds = state["step"], state["cpu_seconds"]
        self._since = state["since"]
        log = (self._folder / _LOG).read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(
            self._folder / _LOG,
            "".join(line for line in log if json.loads(line)["step"] <= self._step),
        )

    def run(self, evaluate: Evaluate, report: Report = lambda _step, _measures: None) -> None:
        """Train to the recipe's last step, and write the averaged weights; `start` comes first.

        Args:
            evaluate: Measures a model.
            report: Called after every step, with 'loss', and what was evaluated if it was.
        """
        started = time.process_time() - self._seconds
        with _threads(self._settings.threads), torch.random.fork_rng():
            for batch in self._batches():
                # what a step draws at random depends on its number alone, for resuming
                torch.manual_seed(self._settings.seed * self._recipe.steps + self._step)
                self._since.append(self._update(batch))
                self._step += 1
                self._seconds = time.process_time() - started
                report(self._step, self._after_step(evaluate))

    def _after_step(self, evaluate: Evaluate) -> Mapping[str, float]:
        """Evaluate, log and save where it is time for that; the last loss, and the accuracy."""
        last, due = self._since[-1], self._settings
        done = self._step == self._recipe.steps
        accuracy = (
            evaluate(self._averaged_model())
            if done or self._step % due.evaluate_every == 0
            else {}
        )
        if accuracy or self._step % due.log_every == 0:
            names = sorted({name for losses in self._since for name in losses})
            count = len(self._since)
            mean = {n: sum(one.get(n, 0.0) for one in self._since) / count for n in names}
            self._log({**mean, **accuracy})
            self._since = []
        if done or self._step % due.save_every == 0:
            self._save()
        return {"loss": last["loss"], **accuracy}

    def _batches(self) -> Iterator[Mapping[str, Any]]:
        from mmengine.dataset import pseudo_collate
        from torch.utils.data import DataLoader

        size, workers = self._recipe.batch, self._settings.workers
        loader: DataLoader[Any] = DataLoader(
            DrawnSamples(self._config, self._settings.seed),
            batch_size=size,
            sampler=range(self._step * size, self._recipe.steps * size),
            num_workers=workers,
            collate_fn=pseudo_collate,
        )
        return iter(loader)

    def _update(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """One step of the optimizer; its losses, with 'loss' for their sum."""
        recipe = self._recipe
        _set_phase(self._model.head, recipe, self._step)
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.rate * rate_factor(self._step, recipe.steps, recipe.warmup)
        data = self._model.data_preprocessor(batch, training=False)
        inputs = data["inputs"].contiguous(memory_format=torch.channels_last)
        terms = self._model.loss(inputs, data["data_samples"])
        losses = {name: value.mean() for name, value in terms.items() if "loss" in name}
        loss = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            raise BadInputError(
                f"training of {self.weights.stem}, step {self._step}", f"a gradient of {norm}",
                "a finite one", "Lower the learning rate of its row in training/recipes.py.",
            )  # fmt: skip
        self._optimizer.step()
        self._average.update_parameters(self._model)
        measured = {"loss": loss, "gradient": norm, **losses}
        return {name: float(value.detach()) for name, value in measured.items()}

    def _averaged_model(self) -> Any:
        return copy.deepcopy(self._average.module).cpu().eval()

    def _identity(self) -> str:
        settings = {k: v for k, v in asdict(self._settings).items() if k in _DECIDING}
        facts = {"model": self.weights.stem, **settings, **asdict(self._recipe)}
        return json.dumps(facts, sort_keys=True)

    def _log(self, measures: Mapping[str, float]) -> None:
        facts = {"step": self._step, "cpu_seconds": round(self._seconds, 1)}
        rounded = {name: round(value, 5) for name, value in measures.items()}
        with (self._folder / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts | rounded) + "\n")

    def _save(self) -> None:
        state = {
            "identity": self._identity(),
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "since": self._since,
            "step": self._step,
            "cpu_seconds": self._seconds,
        }
        with whole_file(self._folder / _STATE) as temporary:
            torch.save(state, temporary)
        model = self._averaged_model()
        facts = {"weights": "trained", "family": self._config.family, "step": self._step}
        meta = {
            "dataset_meta": plain({**model.dataset_meta, **WITHOUT_PAIRS}),
            "posedeploy": {**facts, "identity": self._identity()},
        }
        content = {name: value.contiguous() for name, value in model.state_dict().items()}
        with whole_file(self.weights) as temporary:
            torch.save({"meta": meta, "state_dict": content}, temporary)


_DECIDING = ("seed", "threads", "device")  # settings that change the result


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """The learning rate of a step over the largest one: a linear start, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, (step + 1) / warmup) * (_LEAST_RATE + (1 - _LEAST_RATE) * cosine)


def _fresh_model(model_config: ModelConfig, recipe: Recipe) -> Any:
    """The model with mmpose's own initialization, ready to train."""
    from mmengine.logging import MMLogger

    from posedeploy.config import model_config_from
    from posedeploy.zoo.build import build_model

    MMLogger.get_instance("training", log_level="ERROR")  # or every initialized layer is listed
    config = copy.deepcopy(model_config.config)
    config["model"]["head"].update(recipe.config)
    model: Any = build_model(model_config_from(config), None)
    model.init_weights()
    for path, module in model.named_modules():
        for pattern, deviation in recipe.normal.items():
            if fnmatch.fnmatchcase(path, pattern):
                nn.init.normal_(module.weight, std=deviation)
    return model.train()


def _load_backbone(model: Any, weights: Mapping[str, torch.Tensor], name: str) -> None:
    try:
        model.backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInputError(
            f"the backbone of {name or 'these weights'}", str(error), "the model's own backbone",
            "Name a model with the same backbone in training/recipes.py.",
        ) from error  # fmt: skip


def _parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay of weights, and none of biases and scales, as in mmpose's configs."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _warming_average(most: float) -> Callable[..., None]:
    """A moving average that soon forgets its start: (1 + n) / (10 + n) after n steps, at most."""

    def update(average: Any, current: Any, count: Any) -> None:
        seen = float(count)
        keep = min(most, (1 + seen) / (10 + seen))
        get_ema_multi_avg_fn(keep)(average, current, count)  # type: ignore[no-untyped-call]

    return update


def _set_phase(head: Any, recipe: Recipe, step: int) -> None:
    for phase in recipe.phases:
        if step >= phase.start * recipe.steps:
            for path, value in phase.head.items():
                *owners, name = path.split(".")
                owner = head
                for attribute in owners:
                    owner = getattr(owner, attribute)
                setattr(owner, name, value)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
