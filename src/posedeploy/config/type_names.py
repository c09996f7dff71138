"""Types in a config as names, whether it has names, classes or MMEngine's lazy objects there.

A config in MMEngine's newer style imports the classes that it names. Of such a config nothing is
imported here: a class of mmpose becomes the name by which mmpose registers it, and any other the
full name, such as `torch.nn.SiLU`, which MMEngine's registries import.
"""

from __future__ import annotations

import inspect
from typing import Any

TYPE = "type"
OWN = "mmpose."  # what mmpose has is registered by the last part of its name


def with_type_names(config: Any) -> Any:
    """A copy of an `mmengine.config.Config` in which all types are names."""
    from mmengine.config import Config

    named = _named(config.to_dict())  # lazy objects become full names
    return Config(named, cfg_text=config.text, filename=config.filename)


def type_name(value: Any) -> Any:
    """The name of a type; what is neither a name, a class nor a function is returned as it is."""
    if inspect.isclass(value) or inspect.isroutine(value):
        value = f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, str) and value.startswith(OWN):
        return value.rpartition(".")[2]
    return value


def _named(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: type_name(v) if k == TYPE else _named(v) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_named(item) for item in node)
    return node
