"""What a phone's GPU refuses of a file."""

from __future__ import annotations

import pytest

from fixtures.litert_files import LiteRtFile
from posedeploy.convert.litert_gpu import TENSORS, main, refused_by_gpu
from posedeploy.runtime.litert import Graph, Operator, Tensor


def test_refused_operators_and_large_tensors_are_counted() -> None:
    shapes = ((1, 3, 8, 8), (1, 2, 2, 3, 8), (4,))
    tensors = tuple(Tensor(f"t{i}", "FLOAT32", shape, 0) for i, shape in enumerate(shapes))
    kinds = ("GELU", "CONV_2D", "STRIDED_SLICE", "GELU")
    operators = tuple(Operator(kind, (0,), (1,)) for kind in kinds)
    found = refused_by_gpu(Graph(tensors, operators, (1,)))
    assert found == {"GELU": 2, "STRIDED_SLICE": 1, TENSORS: 1}


def test_a_file_is_reported(litert_file: LiteRtFile, capsys: pytest.CaptureFixture[str]) -> None:
    main(str(litert_file.path))
    assert capsys.readouterr().out == "refused by a GPU: nothing known\n"
