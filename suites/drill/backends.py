"""One detector called from eight threads, and backends with faults under the judge."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from fixtures.threads import THREADS, compare_threads
from posedeploy.sdk import PoseDetector
from suites.drill.harness import Attempt, Outcome, Result, tail
from suites.drill.models import BASES, BOXES, IMAGE
from suites.drill.processes import start_judge, status_of


def threads(given: Attempt) -> Result:
    """Each thread with its own image; every result is bit-equal to that of one thread."""
    base = BASES[given.index % len(BASES)]
    kind = given.note(base.name)
    images = [np.roll(IMAGE, 5 * i, axis=1) for i in range(THREADS)]
    boxes = BOXES if base.head == "simcc" else None
    with PoseDetector(given.arena / base.name) as detector:
        done = compare_threads(lambda image: detector(image, boxes), images)
    if not done.mismatches:
        return Result(Outcome.SAME, kind)
    detail = f"{done.mismatches} of {done.calls} calls differ, by up to {done.largest:.3g}"
    return Result(Outcome.SILENT, kind, detail)


# A stand-in for onnxruntime, whose faults are named by the content of the model's file.
STAND_IN = """
import ctypes, os, sys, time
import numpy as np

class SessionOptions:
    def add_session_config_entry(self, *_): pass

class Argument:
    def __init__(self, name, shape):
        self.name, self.shape, self.type = name, shape, "tensor(float)"

kept = []
FAULTS = {
    "aborts": lambda: os.abort(),
    "closes its descriptors": lambda: os.closerange(3, 256),
    "computes without an end": lambda: [None for _ in iter(int, 1) if not kept or kept],
    "exits with 0": lambda: os._exit(0),
    "forks": lambda: os.fork() or (time.sleep(20), os._exit(0)),
    "leaks": lambda: kept.append(np.ones(2 ** 22)),
    "prints 100 MB": lambda: [os.write(1, b"x" * 2 ** 20) for _ in range(100)],
    "prints lines": lambda: [print("::error::x" + "y" * 1000) for _ in range(20000)],
    "raises": lambda: 1 / 0,
    "raises what does not pickle": lambda: (_ for _ in ()).throw(type("Odd", (Exception,), {})(sys)),
    "segfaults": lambda: ctypes.string_at(0),
    "stops": lambda: os.kill(os.getpid(), 19),
    "waits without an end": lambda: time.sleep(10 ** 6),
}

class InferenceSession:
    def __init__(self, path, options, providers=()):
        self.stage, _, self.fault = open(path).read().partition(" ")
        if self.stage == "load":
            FAULTS[self.fault]()
    def get_inputs(self): return [Argument("input", ["N", 3, 64, 48])]
    def get_outputs(self): return [Argument("simcc_x", ["N", 2, 96]), Argument("simcc_y", ["N", 2, 128])]
    def get_providers(self): return ["CPUExecutionProvider"]
    def run(self, names, feed):
        if self.stage == "run" and self.fault in FAULTS:
            FAULTS[self.fault]()
        n = len(feed["input"])
        out = [np.ones((n, 2, 96), np.float32), np.ones((n, 2, 128), np.float32)]
        if self.fault == "gives NaN": out[0][:] = np.nan
        if self.fault == "gives another shape": out[0] = out[0][:, :, :5]
        if self.fault == "gives another type": out[0] = out[0].astype(np.int8)
        if self.fault == "gives objects": out[0] = np.array([print], object)
        if self.fault == "gives too few": out.pop()
        return out
"""  # noqa: E501 - a program
TESTS = """
import numpy as np
import pytest
from poseconform.judge.limits import Limits, Scale

@pytest.mark.stage("run")
def test_runs(judge, cell, record, tmp_path):
    judge.limits = Limits(load=Scale(5, idle=10), run=Scale(5, idle=10))
    faulty = cell.model.name == "m1" and cell.flow.shape_mode == "static"
    path = tmp_path / "end2end.onnx"
    path.write_text(open("fault").read() if faulty else "none")
    inputs = np.zeros((3, 3, 64, 48), np.float32)
    with judge.running(cell) as child:
        _, batches = judge.run_files(child, cell, [str(path)], inputs, ((0,), (1, 2)))
    for batch in batches:
        x = batch.outputs["simcc_x"]
        assert x.shape == (len(batch.samples), 2, 96) and x.dtype == np.float32
        assert np.isfinite(x).all()
    record(batches=(1, 2))
"""
HARMLESS = {"forks", "leaks", "prints 100 MB", "prints lines"}
# ---- modify this table to add a fault of the stand-in: fault -> the stage that it is in -----
FAULTS: Mapping[str, str] = {
    **dict.fromkeys(("aborts", "raises", "segfaults"), "load"),
    **dict.fromkeys((
        "closes its descriptors", "computes without an end", "exits with 0", "forks",
        "gives another shape", "gives another type", "gives NaN", "gives objects",
        "gives too few", "leaks", "prints 100 MB", "prints lines", "raises what does not pickle",
        "stops", "waits without an end",
    ), "run"),
}  # fmt: skip
# --------------------------------------------------------------------------------------------


def fault(given: Attempt) -> Result:
    """One faulty cell of four: it alone fails, and the report has all of them."""
    name, folder = sorted(FAULTS)[given.index % len(FAULTS)], given.scratch
    kind = given.note(f"{name}, at {FAULTS[name]}")
    (folder / "fault").write_text(f"{FAULTS[name]} {name}")
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "__init__.py").write_text(STAND_IN)
    status = status_of(start_judge(folder, TESTS))
    text = (folder / "log").read_text(errors="replace")
    path = folder / "report" / "results.json"
    if status not in {0, 1} or "INTERNALERROR" in text or not path.is_file():
        return Result(Outcome.BROKEN, kind, f"exit status {status}: {tail(text)}")
    cells = json.loads(path.read_text())["cells"]
    ran = [cell for cell in cells if cell["backend"] == "onnxruntime"]
    others = {
        cell["outcome"] for cell in ran if (cell["model"], cell["shape_mode"]) != ("m1", "static")
    }
    faulty = next(c["outcome"] for c in ran if (c["model"], c["shape_mode"]) == ("m1", "static"))
    wrong = [f"the other cells: {others}"] if others != {"pass"} or len(ran) != 4 else []
    if (faulty == "pass") != (name in HARMLESS):
        wrong.append(f"the faulty cell: {faulty}")
    size = sum(one.stat().st_size for one in (folder / "report").rglob("*") if one.is_file())
    if size > 5 * 2**20:
        wrong.append(f"a report of {size:,} bytes")
    return Result(Outcome.BROKEN if wrong else Outcome.SAME, kind, "; ".join(wrong) or faulty)
