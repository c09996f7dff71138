"""Rows of head kinds: which graphs leave suppression to the host, and what is missing."""

from __future__ import annotations

from typing import cast

import pytest

from poseconform.reference.heads import BottomUp, reference_head
from poseconform.subject.loading import DEFAULT_SUBJECT, load_subject


def test_only_known_outputs_of_a_detector_leave_suppression_to_the_host() -> None:
    rtmo, yolox = reference_head("rtmo"), reference_head("yolox-pose")
    assert rtmo.leaves_suppression(["keypoints", "scores", "boxes"])
    assert yolox.leaves_suppression(cast("BottomUp", yolox.kind).layers)
    assert not rtmo.leaves_suppression(cast("BottomUp", yolox.kind).layers)
    assert not rtmo.leaves_suppression(["dets", "keypoints"])
    assert not reference_head("simcc").leaves_suppression(["keypoints", "scores", "boxes"])


def test_every_head_kind_of_the_flows_has_a_row() -> None:
    for flow in load_subject(DEFAULT_SUBJECT).flows():
        assert reference_head(flow.head).outputs


def test_a_kind_without_a_row_is_named_with_the_table() -> None:
    with pytest.raises(LookupError, match=r"head kind 'dsnt'.*reference\.heads"):
        reference_head("dsnt")
