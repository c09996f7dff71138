"""The plugin's command-line options, and their typed values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from poseconform.matrix.cells import Cell, Flow, Model, build_cells
from poseconform.matrix.weights import AUTO, CHOICES, PUBLISHED, with_weights
from poseconform.pytest_plugin import baseline as regression
from poseconform.pytest_plugin.folders import folder_cells, names_folders
from poseconform.subject.environment import (
    DISABLE_VARIABLE,
    Availabilities,
    Probe,
    disabled_backends,
)  # fmt: skip
from poseconform.subject.folders import FOLDER_SUBJECT
from poseconform.subject.loading import DEFAULT_SUBJECT, SubjectError, load_subject
from poseconform.subject.protocol import Subject
from posedeploy.paths import cache_dir, check_writable
from posedeploy.runtime import Device, probe_on

CACHE_VARIABLE = "POSECONFORM_CACHE"
# A run of `.ci/run` leaves 3.5 GB: room for several, so that the last commit's are still there.
CACHE_LIMIT_GB = 20
DEFAULT_MODELS = "quick"
BROAD = "zoo"  # tier of models that are judged for the breadth of the zoo
_SELECTION = pytest.StashKey["Selection"]()
_AVAILABILITIES = pytest.StashKey[Availabilities]()
PROBE = pytest.StashKey[Probe]()  # set by a plugin whose backends are not installed here


def add_options(parser: pytest.Parser) -> None:
    """Register the options."""
    add = parser.getgroup("poseconform", "conformance of deployed pose models").addoption
    # fmt: off
    add("--subject", metavar="MODULE:OBJECT[?NAME=VALUE&…]", default=DEFAULT_SUBJECT,
        help="the implementation under test: an instance, or a class or a function that gives "
        "one, with its options (default: posedeploy)")
    add("--sdk-model", action="append", metavar="DIR,…", default=[],
        help="judge these SDK model folders as they are, all of the model that --model-config and "
        "--checkpoint name; nothing is converted")
    add("--sdk-models", metavar="FILE.toml", type=Path,
        help="judge the folders of a file: [[model]] tables with artifact, model_config and "
        "checkpoint")
    add("--models", action="append", metavar="TIER|NAME,…",
        help="models: quick, default, reference, heads, all, zoo (every 2D config of mmpose), or "
        f"names (default: {DEFAULT_MODELS})")
    add("--shard", metavar="I/N", type=_shard, default=Shard(1, 1),
        help="only the I-th of N parts of the models; `report merge` joins their results")
    add("--keep", action="store_true",
        help=f"keep weights and artifacts of models of the tier {BROAD} when they are judged")
    add("--model-config", action="append", metavar="PATH", default=[],
        help="judge this MMPose config too; without --models, judge nothing else")
    add("--checkpoint", action="append", metavar="[MODEL=]PATH", default=[],
        help="checkpoint of a model, by the name it has in the report")
    add("--weights", choices=CHOICES, default=AUTO,
        help="weights of models without a checkpoint; auto: trained where there are some, else "
        "calibrated at fp32, and below it fitted for top-down models that can be fitted; "
        "locating: trained or fitted at every precision; zoo: published ones, downloaded once")
    add("--dataset", choices=("drawn", "coco"), default="drawn",
        help="what suites/accuracy measures on: drawn figures, or COCO val2017 in --data-root")
    add("--data-root", metavar="DIR", type=Path,
        help="holds annotations/person_keypoints_val2017.json and val2017/")
    add("--max-images", metavar="N", type=_count, default=0,
        help="only the data set's first N images with people (default: all)")
    add("--weights-seed", metavar="N", type=_count, default=0,
        help="seed of weights that are made: other numbers, other weights (default: 0)")
    add("--image-set", "--picture-set",  # codespell:ignore picture
        metavar="N", type=_count, default=0,
        help="which images to judge on: other numbers, other images (default: 0)")
    add("--deploy-config", action="append", metavar="PATH", default=[],
        help="judge this deploy config too")
    add("--exporter", choices=("torchscript", "dynamo"), default="",
        help="override the exporter of every deploy config")
    add("--device", metavar="TYPE[:N]", type=_device, default="",
        help="run on this device (cuda, cuda:1); a backend that has none is unavailable")
    add("--require", action="append", metavar="BACKEND", default=[],
        help="fail, rather than skip, where this backend is unavailable")
    add("--disable", action="append", metavar="BACKEND", default=[],
        help=f"treat this backend as switched off (also: {DISABLE_VARIABLE}=a,b)")
    add("--report-dir", metavar="DIR", type=Path,
        help="write results.json, index.html, support-table.md and junit.xml here")
    add("--baseline", metavar="PATH", type=Path,
        help=f"compare with these results (default: {regression.FOLDER}/<platform>.json if it is "
        f"there; with --device, {regression.FOLDER}/<device>/<platform>.json)")
    add("--fail-on-regression", action="store_true",
        help="fail the run if it is worse than the baseline")
    add("--update-baseline", action="store_true",
        help="show what the run changes in the baseline, then change it")
    add("--update-expectations", action="store_true",
        help="rewrite suites/expectations/*.toml as this run ended, and show the diff")
    add("--repro-dir", metavar="DIR", type=Path,
        help="write a folder for each failing cell: files, inputs, outputs and a script")
    add("--artifact-cache", "--artefact-cache",  # codespell:ignore artefact
        metavar="DIR", type=Path, default=cache_dir(CACHE_VARIABLE, "poseconform"),
        help=f"cache of conversions and references (also: {CACHE_VARIABLE})")
    add("--artifact-cache-limit", "--artefact-cache-limit",  # codespell:ignore artefact
        metavar="GB", type=_count, default=CACHE_LIMIT_GB,
        help="remove what was not used for longest above this size (default: %(default)s)")
    # fmt: on


def _device(text: str) -> str:
    try:
        Device.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


@dataclass(frozen=True)
class Shard:
    """One of several parts of the models; `index` counts from 1."""

    index: int
    count: int

    def of(self, models: Sequence[Model]) -> tuple[Model, ...]:
        """Every `count`-th model, so that each part has some of each family."""
        return tuple(models[self.index - 1 :: self.count])


def _shard(text: str) -> Shard:
    index, _, count = text.partition("/")
    numbers = [int(part) for part in (index, count) if part.isascii() and part.isdigit()]
    if len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, such as 2/8")
    return Shard(*numbers)


def is_dropped(model: Model) -> bool:
    """True for a model that is judged for breadth alone: hundreds of them do not fit a disk."""
    return model.tiers == (BROAD,)


@dataclass(frozen=True)
class Selection:
    """What a run judges."""

    models: tuple[Model, ...]
    flows: tuple[Flow, ...]
    cells: tuple[Cell, ...]
    require: frozenset[str]
    disabled: frozenset[str]


def runs_tests(option: Any) -> bool:
    """False for a pytest that only shows what it would run: it judges nothing."""
    showing = ("collectonly", "setuponly", "setupplan")
    return not any(getattr(option, name, False) for name in showing)


def check_folders(option: Any) -> None:
    """A `pytest.UsageError` if what the run makes could not be written where options say."""
    for name, folder in (
        ("--report-dir", option.report_dir),
        ("--repro-dir", option.repro_dir),
    ):
        if folder is not None:
            refuse_unwritable(name, folder, "Name another one.")


def refuse_unwritable(option: str, folder: Path, next_step: str) -> None:
    """A `pytest.UsageError` for the folder of an option that cannot be written to."""
    try:
        check_writable(folder)
    except OSError as error:
        raise pytest.UsageError(
            f"{option} {folder}: found {error.filename}, which cannot be written to "
            f"({error.strerror}); expected a folder that can. {next_step}"
        ) from error


def subject_spec(option: Any) -> str:
    """The 'module:object' of the subject: folders that options name have one of their own."""
    if not names_folders(option):
        return str(option.subject)
    if option.subject != DEFAULT_SUBJECT:
        raise pytest.UsageError(
            f"--subject {option.subject}: found --sdk-model as well; expected one of them: a "
            "folder is judged as it is, whoever made it. Leave --subject out."
        )
    return FOLDER_SUBJECT


def subject_of(config: pytest.Config) -> Subject:
    """The implementation under test; a `pytest.UsageError` if `--subject` names none."""
    try:
        return load_subject(subject_spec(config.option))
    except SubjectError as error:
        raise pytest.UsageError(str(error)) from error


def read_selection(option: Any, subject: Subject) -> Selection:
    """What `pytest.Config.option` selects; a `pytest.UsageError` if it names what is not there."""
    try:
        if names_folders(option):
            cells = folder_cells(option, subject, lambda: _models(option, subject))
            models = option.shard.of(tuple(dict.fromkeys(cell.model for cell in cells)))
            cells = tuple(cell for cell in cells if cell.model in models)
            flows = tuple(dict.fromkeys(cell.flow for cell in cells))
        else:
            models = option.shard.of(_models(option, subject))
            if option.weights == PUBLISHED:
                subject.fetch_published(models)
            flows = subject.flows(option.deploy_config)
            cells = build_cells(models, flows)
            cells = with_weights(cells, option.weights, subject.locating_weights)
    except Exception as error:  # the subject's own errors are for people: pass them on
        if hasattr(error, "next_step"):
            raise pytest.UsageError(str(error)) from error
        raise
    backends = {flow.backend for flow in flows}
    disabled = disabled_backends(option.disable, os.environ.get(DISABLE_VARIABLE, ""))
    for name in (*option.require, *disabled):
        if name not in backends:
            names = ", ".join(sorted(backends))
            raise pytest.UsageError(f"no backend {name!r}; there are: {names}")
    return Selection(models, flows, cells, frozenset(option.require), disabled)


def selection_of(config: pytest.Config) -> Selection:
    """The run's selection, read when the first test asks for it."""
    if _SELECTION not in config.stash:
        config.stash[_SELECTION] = read_selection(config.option, subject_of(config))
    return config.stash[_SELECTION]


def all_cells(config: pytest.Config) -> Iterator[Cell]:
    """The whole matrix: the models of this run and the zoo's, with every deploy config.

    The models of a tier are read when all cells before them have been taken: the zoo's configs
    are hundreds.
    """
    selection, subject = selection_of(config), subject_of(config)
    yield from build_cells(selection.models, selection.flows)
    names = {model.name for model in selection.models}
    for tier in (*subject.tiers(), "all"):
        models = [model for model in subject.models((tier,)) if model.name not in names]
        names |= {model.name for model in models}
        yield from build_cells(models, selection.flows)


def availabilities_of(config: pytest.Config) -> Availabilities:
    """What can run here, probed once a process."""
    if _AVAILABILITIES not in config.stash:
        config.stash[_AVAILABILITIES] = Availabilities(
            subject_of(config), selection_of(config).disabled, config.option.device,
            config.stash.get(PROBE, probe_on),
        )  # fmt: skip
    return config.stash[_AVAILABILITIES]


def _models(option: Any, subject: Subject) -> tuple[Model, ...]:
    words = [word for text in option.models or () for word in text.split(",") if word]
    if not words and not option.model_config:
        words = [DEFAULT_MODELS]
    models = [
        *(subject.models(words) if words else ()),
        *(subject.model_from_config(path) for path in option.model_config),
    ]
    for model in models:
        configs = dict.fromkeys(m.config for m in models if m.name == model.name)
        if len(configs) > 1:
            raise pytest.UsageError(
                f"two models are called {model.name!r}: {', '.join(configs)}; the report names "
                "them by their files: rename one, or leave it out."
            )
    by_name = {model.name: replace(model, seed=option.weights_seed) for model in models}
    for pair in option.checkpoint:
        name, path = _named_checkpoint(pair, tuple(by_name))
        if name not in by_name:
            there = f"no model {name!r} in this run; there are: {', '.join(by_name)}"
            raise pytest.UsageError(f"--checkpoint {pair}: {there}")
        if not Path(path).is_file():
            raise pytest.UsageError(f"--checkpoint {pair}: no such file {path}")
        by_name[name] = replace(by_name[name], checkpoint=str(Path(path).resolve()))
    return tuple(by_name.values())


def _named_checkpoint(pair: str, names: Sequence[str]) -> tuple[str, str]:
    """Model and path of `[MODEL=]PATH`; both may contain equals signs."""
    named = [name for name in names if pair.startswith(f"{name}=")]
    if named:
        name = max(named, key=len)
        return name, pair.removeprefix(f"{name}=")
    if len(names) == 1 and ("=" not in pair or Path(pair).is_file()):
        return names[0], pair
    name, equals, path = pair.partition("=")
    return (name, path) if equals else ("", pair)
