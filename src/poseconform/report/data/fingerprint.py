"""The environment of a run: shown in full, in one line, and compared with another's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from poseconform.report.text.strings import ABSENT, one_line, visible
from posedeploy.runtime import backends_by_rank

# What the one line shows, in this order: a prefix, then the keys of the fact, the first of which
# is taken that is there (a value, or a value of a group).
_LINE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("cpu.model", "cpu")),
    ("", ("gpu.name", "gpu")),
    ("", ("os.system", "os")),
    ("Python ", ("python",)),
)
_ACRONYMS = frozenset({"cpu", "gpu", "os"})
# Names of which the first is shown that is there: onnxruntime-gpu is there in place of onnxruntime
_LINE_PACKAGES = (
    ("torch",),
    *(
        tuple(n for n in b.distributions if n.startswith(b.distribution))
        for b in backends_by_rank()
    ),
    ("mmpose",),
)

RUNNERS = "runners"  # where the facts of each runner are, after a merge

TIMING_FIELDS = ("cpu", "gpu", "driver", "threads", "power")  # must agree to compare latencies

MAX_FACTS = 1_000  # of a page; a merge of five runners has 300

Group = tuple[str, list[tuple[str, str]]]  # title; names and values


def groups_of(environment: Mapping[str, Any], run: Mapping[str, Any]) -> list[Group]:
    """The fingerprint as titled lists: plain values first, then each group of its own."""
    shown: list[Group] = []
    room, left_out = MAX_FACTS, 0
    for title, rows in (*_groups("Machine", environment, ""), *_groups("Run", run, "run on ")):
        left_out += len(rows[room:])
        if rows[:room]:
            shown.append((title, rows[:room]))
        room -= len(rows[:room])
    if left_out:
        shown.append(("Left out", [("facts", f"{left_out:,}; results.json has them")]))
    return shown


def _groups(title: str, facts: Mapping[str, Any], prefix: str) -> Iterator[Group]:
    runners = runners_of(facts)
    yield (
        title,
        [
            (visible(str(name)).replace("_", " "), _text(value))
            for name, value in facts.items()
            if not isinstance(value, Mapping)
        ],
    )
    for name, value in {**facts, **runners}.items():
        if isinstance(value, Mapping) and name != RUNNERS:
            words = visible(f"{prefix}{name}" if name in runners else name).replace("_", " ")
            heading = words.upper() if words in _ACRONYMS else words[:1].upper() + words[1:]
            yield heading, sorted(_flat(value).items())


def runners_of(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The facts of each runner, of an environment or a run that `merge` made of several."""
    runners = facts.get(RUNNERS)
    if not isinstance(runners, Mapping):
        return {}
    return {str(name): value for name, value in runners.items() if isinstance(value, Mapping)}


def one_liner(environment: Mapping[str, Any]) -> str:
    """The environment in one line."""
    if runners := runners_of(environment):
        lines = (f"{name}: {one_liner(value)}" for name, value in runners.items())
        return one_line("; ".join(lines), 800)
    facts = ((prefix, _first(environment, keys)) for prefix, keys in _LINE)
    parts = [f"{prefix}{value}" for prefix, value in facts if value not in {"", "none", ABSENT}]
    packages = environment.get("packages")
    if isinstance(packages, Mapping):
        shown = (next(filter(packages.get, names), "") for names in _LINE_PACKAGES)
        parts += [f"{name} {packages[name]}" for name in dict.fromkeys(shown) if name]
    commit = _first(environment, ("git_commit", "git"))
    parts += [f"commit {commit[:13]}"] if commit else []
    return one_line(" \N{MIDDLE DOT} ".join(parts), 400)


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[tuple[str, str, str], ...]:
    """Name, old and new value of everything in which two environments differ."""
    before, after = _flat(old), _flat(new)
    return tuple(
        (name, before.get(name, ABSENT), after.get(name, ABSENT))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def warp_note(changed: Iterable[tuple[str, str, str]]) -> str:
    """What to say of `differences` if the environments warp images differently; '' if alike.

    An environment without the fact, of an older run, is not known to differ.
    """
    facts = {name: (old, new) for name, old, new in changed}
    if ABSENT in facts.get("warp: sha256", (ABSENT,)):
        return ""
    old, new = facts.get("warp: opencv", ("the same version", "the same version"))
    return (
        f"OpenCV warps images differently in the two environments ({old}, {new}): the network "
        "inputs differ, so keypoints of one run are no reference for the other."
    )


def same_machine(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True if latencies may be compared; a machine without a description is the same as none."""
    return bool(old.get("cpu")) and all(old.get(n) == new.get(n) for n in TIMING_FIELDS)


def _first(environment: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first value that is there under one of `keys`; empty if there is none."""
    for key in keys:
        name, _, inner = key.partition(".")
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


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or ABSENT
    if value is None or value == "":
        return ABSENT
    return visible(str(value))
