"""The command that prints how well made weights find figures."""

from __future__ import annotations

import pytest

from posedeploy.synthetic.accuracy import __main__ as command
from posedeploy.synthetic.accuracy.detectors import DetectorAccuracy
from posedeploy.synthetic.accuracy.top_down import Accuracy

TOP_DOWN = Accuracy(pck=0.995, pck_10=1.0, mean_px=1.25, median_px=1.0, oks=0.99, shift_px=0.5)
DETECTOR = DetectorAccuracy(0.98, 0.75, 0.8, 0.9, 0.95, 4.5, 3.5, 0.9, 1.25, ap=0.92)


@pytest.mark.parametrize(("pck", "code"), [(0.995, 0), (0.98, 1)])
def test_a_table_of_top_down_models(
    pck: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Accuracy(pck, 1.0, 1.25, 1.0, 0.99, 0.5)
    models = ["mspn50", "simcc_res50"]
    assert command.main(models, measure=lambda *_: measured) == code
    printed = capsys.readouterr().out
    assert f"| mspn50 | fitted | {pck:.3f} | 1.000 | 1.25 | 1.00 | 0.990 | 0.50 |" in printed
    assert ("0.99: MISSED" in printed) == bool(code)
    assert "No weights that find figures: simcc_res50." in printed
    assert "| detector |" not in printed  # no table without rows


@pytest.mark.parametrize(("ap", "code"), [(0.92, 0), (0.88, 1)])
def test_a_row_of_a_detector(ap: float, code: int) -> None:
    measured = DetectorAccuracy(0.98, 0.75, 0.8, 0.9, 0.95, 4.5, 3.5, 0.91, 1.25, ap=ap)
    row = command.table_row("rtmo_t", "trained", measured, ("5000", "2.5"))
    assert row.startswith(f"| rtmo_t | trained | {ap:.3f} | 0.980 | 0.750 | 0.800 | 0.900 |")
    assert row.endswith(f"| 1.25 | 5000 | 2.5 | 0.9{': MISSED' if code else ''} |")
