"""Which xdist worker gets which tests: all tests of a model go to one, as do those of a file.

A worker builds a model and reads its reference once, and an earlier failure of a cell blocks its
later stages. xdist's own `--dist loadgroup` has no effect with pytest 9.2 and xdist 3.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from poseconform.results.folder import CollectedTest


def group_of(node_id: str, tests: Mapping[str, CollectedTest]) -> str:
    """The model of a test, else its file."""
    test = tests.get(node_id)
    return test.model if test and test.model else node_id.split("::", maxsplit=1)[0]


def make_scheduler(
    config: pytest.Config, log: Any, read_tests: Callable[[], Mapping[str, CollectedTest]]
) -> Any:
    """Xdist's load-by-scope scheduler, with `group_of` as the scope.

    `read_tests` gives what each test is about, once the workers have collected.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class LoadByModel(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        tests: Mapping[str, CollectedTest] = {}

        def _split_scope(self, nodeid: str) -> str:
            self.tests = self.tests or read_tests()
            return group_of(nodeid, self.tests)

    return LoadByModel(config, log)
