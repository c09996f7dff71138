"""What the tests of the documents share."""

from __future__ import annotations

from pathlib import Path

import pytest

from suites.documents.reader import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a reader of the documents, which each page copies."""
    return prepare(tmp_path_factory.mktemp("documents") / "prepared")
