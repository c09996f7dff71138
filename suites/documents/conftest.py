"""What the tests of the documents share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suites.documents.reader import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a reader of the documents, which each page copies."""
    return prepare(tmp_path_factory.mktemp("documents") / "prepared")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Xdist's load-by-scope scheduler: a page is a scope, for its reader has a folder of its own.

    Other tests of a file stay together: the commands of a shell share a folder.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class LoadByPage(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.endswith("test_pages.py") else file

    return LoadByPage(config, log)
