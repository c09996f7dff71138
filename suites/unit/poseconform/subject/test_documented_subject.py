"""The example of `docs/subjects.md` runs as it stands, and its folder finds the same keypoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.tiny_judge import TinyJudge
from poseconform.isolation.child import Child
from poseconform.judge.judge import Judge
from poseconform.planted.defects import first_failure
from suites.documents.blocks import ROOT, blocks

MODULE = "plain_export"


@pytest.fixture
def judge(
    tiny_judge: TinyJudge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Judge]:
    """The judge of the example, whose children find the module."""
    page = (ROOT / "docs" / "subjects.md").read_text(encoding="utf-8")
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.body, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    made = replace(tiny_judge.of(f"{MODULE}:PlainExport"), make_child=Child, _torch=None)
    yield made
    made.close()


def test_the_example_passes(tiny_judge: TinyJudge, judge: Judge) -> None:
    cell = tiny_judge.cell("rtmpose_t", judge.subject)
    assert first_failure(judge, cell) is None
    conversion = judge.conversion(cell)
    assert set(conversion.files) == {"deploy.json", "detail.json", "end2end.onnx", "pipeline.json"}
    assert {flow.backend for flow in judge.subject.flows()} == {"onnxruntime"}
