"""Which xdist worker gets which tests: all tests of a model go to one, as do those of a file.

A worker that has a model's cells builds the model and reads its reference once, and a cell's
earlier failure blocks its later stages.  xdist's own `--dist loadgroup` would do the same by
markers, but with pytest 9.2 xdist 3.8 does not see them: its suffix on node ids has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from poseconform.pytest_plugin.recording import cell_id_of


def group_of(node_id: str, models: Mapping[str, str]) -> str:
    """What a test belongs to: its cell's model, else its file.

    Args:
        node_id: pytest's node id.
        models: Parameter id (of a cell or of a model) -> model name.
    """
    return models.get(cell_id_of(node_id)) or node_id.split("::", maxsplit=1)[0]


def make_scheduler(config: pytest.Config, log: Any, models: Mapping[str, str]) -> Any:
    """Xdist's load-by-scope scheduler, with `group_of` as the scope."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class LoadByModel(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid, models)

    return LoadByModel(config, log)
