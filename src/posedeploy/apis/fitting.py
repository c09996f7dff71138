"""The deploy config that fits a model where another one doesn't."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace

from posedeploy.config import DeployConfig, DeployConfigName, ModelConfig, load_deploy_config
from posedeploy.errors import BadInputError
from posedeploy.heads import head_of_outputs

Check = Callable[[DeployConfig, ModelConfig], None]


def naming_a_fit(check: Check) -> Check:
    """A check whose error names a deploy config that would pass it, if there is one."""

    @functools.wraps(check)
    def checked(deploy_config: DeployConfig, model_config: ModelConfig) -> None:
        try:
            check(deploy_config, model_config)
        except BadInputError as error:
            if name := fitting_name(deploy_config, model_config, check):
                error.next_step = f"{error.next_step.removesuffix('.')}: {name}"
                error.instead = deploy_config.path.name.removesuffix(".py"), name
            raise

    return checked


def fitting_name(
    deploy_config: DeployConfig, model_config: ModelConfig, check: Check
) -> str | None:
    """Name of the deploy config nearest to another one that passes the check; None without one.

    Backend, precision and batch stay. A name has a shape where the other has one, or if it must.
    """
    given = deploy_config.name or DeployConfigName(
        "", deploy_config.backend, deploy_config.precision, deploy_config.shape_mode
    )
    width, height = model_config.input_size
    shapes = [None, (height, width)] if given.shape is None else [(height, width), None]
    for option in dict.fromkeys((given.option, "")):
        for shape in shapes:
            word = model_config.head_kind.word
            name = str(replace(given, variant=word, shape=shape, option=option))
            if name == deploy_config.path.stem:  # a file of the user's, with another content
                continue
            with contextlib.suppress(BadInputError):  # its parts do not go together, or no fit
                check(load_deploy_config(name), model_config)
                return name
    return None


def check_output_names(deploy_config: DeployConfig, model_config: ModelConfig) -> None:
    """Raise BadInputError for names that the outputs of no kind of model have."""
    names, head = list(deploy_config.output_names), model_config.head_kind
    if head_of_outputs(names) is None:
        raise BadInputError(
            f"{deploy_config.path}: output_names", f"{names}, the outputs of no kind of model",
            f"{list(head.output_names)}, which is what clients ask {head.kind} models for, and "
            f"{model_config.path.name} has a {model_config.head}",
            "Change the field, or use another deploy config.",
        )  # fmt: skip
