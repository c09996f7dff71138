"""Every input that fuzzing begins with, or has found, is read without a finding."""

from __future__ import annotations

from random import Random

import pytest

from suites.fuzz.fuzz import TARGETS, seeds, target
from suites.fuzz.fuzz_folder import SEPARATOR
from suites.fuzz.mutations import mutate_json, mutator


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_are_no_findings(name: str) -> None:
    inputs = sorted(seeds(name).iterdir())
    assert len(inputs) >= 10
    for path in inputs:
        target(name)(path.read_bytes())


@pytest.mark.parametrize("name", ["folder", "results"])
def test_changed_seeds_are_no_findings(name: str) -> None:
    """A short slice of what the fuzzer does, without its guidance."""
    separator = SEPARATOR if name == "folder" else None
    mutate = mutator(lambda data, _: data[: len(data) // 2], separator)
    for path in sorted(seeds(name).iterdir()):
        for seed in range(5):
            target(name)(mutate(path.read_bytes(), 20_000, seed))


def _choices(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - nothing secret


def test_a_mutation_changes_json_and_leaves_it_json() -> None:
    data = b'{"a":[1,{"b":2}],"c":"d"}'
    changed = {mutate_json(data, _choices(seed)) for seed in range(200)}
    assert len(changed - {data}) > 100
    with pytest.raises(ValueError, match="Expecting"):
        mutate_json(b"{", _choices(0))
