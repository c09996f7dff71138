"""The JSON files against their JSON Schemas (`posedeploy/sdk/schema`)."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from posedeploy.sdk.fields import show
from posedeploy.sdk.findings import Finding, Level, error, warning
from posedeploy.sdk.folder import DETAIL

MAX_FINDINGS = 20  # of one file; a thousand of the same kind tell no more

# JSON Schema's keyword -> what it expects, in words
_EXPECTED: dict[str, Callable[[Any], str]] = {
    "const": show,
    "contains": lambda value: f"an array that holds {show(value.get('const'))}",
    "enum": lambda value: f"one of {', '.join(map(show, value))}",
    "exclusiveMaximum": lambda value: f"a number below {value}",
    "exclusiveMinimum": lambda value: f"a number above {value}",
    "maxItems": lambda value: f"at most {value} items",
    "maxLength": lambda value: f"at most {value} characters",
    "maximum": lambda value: f"at most {value}",
    "minItems": lambda value: f"at least {value} items",
    "minLength": lambda value: f"at least {value} characters",
    "minimum": lambda value: f"at least {value}",
    "type": lambda value: " or ".join(value) if isinstance(value, list) else str(value),
}


@cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one of the three files.

    Args:
        name: 'deploy.json', 'pipeline.json' or 'detail.json'.
    """
    file = name.replace(".json", ".schema.json")
    package = importlib.resources.files("posedeploy.sdk")
    text = package.joinpath("schema", file).read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _level(name: str, path: str) -> Level:
    """`detail.json` is provenance, which no client reads, but for the section that is ours."""
    ours = name != DETAIL or path.startswith("$.posedeploy")
    return Level.ERROR if ours else Level.WARNING


def check_schema(name: str, value: dict[str, Any]) -> Iterator[Finding]:
    """What in a JSON file its schema does not allow.

    Args:
        name: 'deploy.json', 'pipeline.json' or 'detail.json'.
        value: Its content.
    """
    try:
        import jsonschema
    except ImportError:
        yield warning(
            name, "", "no package jsonschema", "it, to check the file against its JSON Schema",
            "only the first mistake in this file is reported",
        )  # fmt: skip
        return
    problems = jsonschema.Draft202012Validator(schema(name)).iter_errors(value)
    for problem in islice(problems, MAX_FINDINGS):
        path, keyword = problem.json_path, str(problem.validator)
        if keyword == "required":
            missing = problem.message.split("'")[1]
            found, expected = f"an object without {missing!r}", f"a field {missing!r}"
            consequence = "clients cannot read the folder" if name != DETAIL else ""
        else:
            found = show(problem.instance)
            expected = _EXPECTED.get(keyword, show)(problem.validator_value)
            consequence = str(problem.schema.get("description", "")).rstrip(".")
        make = error if _level(name, path) is Level.ERROR else warning
        yield make(name, path, found, expected, consequence)
