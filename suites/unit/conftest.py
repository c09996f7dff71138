"""The order of the files, the longest first; and searches for cycles of objects, which are rare.

A worker takes a whole file, and the last file leaves the other cores idle. xdist itself begins
with the files of most tests, which are not those that take long: `--no-loadscope-reorder` keeps
this order.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

# ---- modify this table when a file takes more than 20 s: patterns, the longest first ---------
LONGEST = (
    "suites/unit/poseconform/pytest_plugin/test_interruption.py",
    "suites/unit/posedeploy/synthetic/test_fitting*.py",
    "suites/unit/posedeploy/export/test_export_dynamo.py",
    "suites/drill/test_drill.py",
    "suites/unit/posedeploy/export/test_decoding.py",
    "suites/unit/posedeploy/export/test_graphs_for_tensorrt_rtx.py",
    "suites/unit/test_growth.py",
    "suites/unit/poseconform/pytest_plugin/test_names.py",
    "suites/unit/posedeploy/export/test_export_onnx.py",
    "suites/unit/posedeploy/cli/test_mistakes_*.py",
    "suites/unit/test_census.py",
)
# ----------------------------------------------------------------------------------------------


def place(node_id: str) -> int:
    """The row of `LONGEST` that a test's file matches, or their number."""
    file = node_id.partition("::")[0]
    return next((i for i, row in enumerate(LONGEST) if fnmatch(file, row)), len(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by their files' places; within a file, and for the rest, the order stays."""
    items.sort(key=lambda item: place(item.nodeid))


@pytest.fixture(scope="session", autouse=True)
def _rare_searches() -> Iterator[None]:
    """Search for unreachable cycles a hundredth as often.

    Each search looks at what torch and mmpose have brought: a tenth of the CPU time of an export.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    yield
    gc.set_threshold(*before)
