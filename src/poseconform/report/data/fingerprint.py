"""The environment of a run: shown in full, in one line, and compared with another's.

Latencies are compared only if they are from the same machine and the same software;
`same_machine` decides that by the fields of one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poseconform.report.text.strings import ABSENT, one_line, visible

# What the one line shows, in this order: a prefix, then the names of the fact, the first of which
# is taken that is there (a value, or a value of a group).
_LINE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("cpu.model", "cpu")),
    ("", ("gpu.name", "gpu")),
    ("", ("os.system", "os")),
    ("Python ", ("python",)),
)
_ACRONYMS = frozenset({"cpu", "gpu", "os"})
_COMMIT = ("git_commit", "git")
_LINE_PACKAGES = ("torch", "onnxruntime", "openvino", "ncnn", "tensorrt", "mmpose")

RUNNERS = "runners"  # where the facts of each runner are, after a merge

# Fields that must agree before two latencies are compared.
TIMING_FIELDS = ("cpu", "gpu", "driver", "threads", "power")


@dataclass(frozen=True)
class Group:
    """A titled list of names and values."""

    title: str
    rows: tuple[tuple[str, str], ...]


def groups_of(environment: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[Group, ...]:
    """The fingerprint as titled lists: plain values first, then each group of its own."""
    groups = [Group("Machine", _rows(environment))]
    groups += [
        _group(name, value)
        for name, value in {**environment, **runners_of(environment)}.items()
        if _is_group(value) and name != RUNNERS
    ]
    groups.append(Group("Run", _rows(run)))
    groups += [
        _group(f"run on {name}" if name in runners_of(run) else name, value)
        for name, value in {**run, **runners_of(run)}.items()
        if _is_group(value) and name != RUNNERS
    ]
    return tuple(group for group in groups if group.rows)


def runners_of(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The facts of each runner, of an environment or a run that `merge` made of several."""
    found = facts.get(RUNNERS)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, Mapping)}


def one_liner(environment: Mapping[str, Any]) -> str:
    """The environment in one line."""
    runners = runners_of(environment)
    if runners:
        lines = (f"{name}: {one_liner(value)}" for name, value in runners.items())
        return one_line("; ".join(lines), 800)
    found = ((prefix, _first(environment, places)) for prefix, places in _LINE)
    parts = [f"{prefix}{value}" for prefix, value in found if value not in {"", "none", ABSENT}]
    packages = environment.get("packages")
    if isinstance(packages, Mapping):
        parts += [f"{name} {packages[name]}" for name in _LINE_PACKAGES if packages.get(name)]
    commit = _first(environment, _COMMIT)
    parts += [f"commit {commit[:13]}"] if commit else []
    return one_line(" \N{MIDDLE DOT} ".join(parts), 400)


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[tuple[str, str, str], ...]:
    """Name, old and new value of everything in which two environments differ."""
    before, after = _flat(old), _flat(new)
    names = sorted({*before, *after})
    return tuple(
        (name, before.get(name, ABSENT), after.get(name, ABSENT))
        for name in names
        if before.get(name) != after.get(name)
    )


def same_machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True if latencies of the two environments may be compared.

    A machine without a description is the same as none.
    """
    if not old.get("cpu"):
        return False
    return all(old.get(name) == new.get(name) for name in TIMING_FIELDS)


def _first(environment: Mapping[str, Any], places: tuple[str, ...]) -> str:
    """The first value found at one of `places`; empty if there is none."""
    for place in places:
        name, _, inner = place.partition(".")
        value = environment.get(name)
        if inner:
            value = value.get(inner) if isinstance(value, Mapping) else None
        if value and not isinstance(value, Mapping):
            return _text(value)
    return ""


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            flat |= {f"{visible(str(name))}: {key}": text for key, text in _flat(value).items()}
        else:
            flat[visible(str(name))] = _text(value)
    return flat


def _group(name: str, value: Mapping[str, Any]) -> Group:
    title = visible(name).replace("_", " ")
    title = title.upper() if title in _ACRONYMS else title[:1].upper() + title[1:]
    return Group(title, tuple(sorted(_flat(value).items())))


def _rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (visible(str(name)).replace("_", " "), _text(value))
        for name, value in values.items()
        if not _is_group(value)
    )


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or ABSENT
    if value is None or value == "":
        return ABSENT
    return visible(str(value))
