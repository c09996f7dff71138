"""Conversions and runs of the judge that are killed at a random moment.

Of a conversion, the work dir is whole or absent, and nothing hidden stays: after TERM and HUP at
once, after KILL when the next conversion has ended. Of the judge, `results.json` says what was
done and that the run was interrupted, and no cell passes whose tests had not all ended.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import psutil

from suites.drill.harness import Attempt, Outcome, Result, cli, tail
from suites.drill.models import BASES, IMAGE, Base, config_of, sibling
from suites.drill.processes import (
    WAIT,
    environment,
    kill,
    python,
    start,
    start_judge,
    status_of,
    wait_for,
)  # fmt: skip

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def _words(base: Base, given: Attempt, checkpoint: str) -> list[str]:
    image = given.scratch / "image.png"
    cv2.imwrite(str(image), IMAGE)
    config, weights = config_of(given.arena, base.head), given.arena / f"{checkpoint}.pth"
    return ["convert", base.deploy_config, str(config), str(weights), str(image),
            "--work-dir", str(given.scratch / "models" / "work")]  # fmt: skip


def _state(work: Path, before: Mapping[str, bytes]) -> str:
    """'absent', 'as before' or 'new'; a sentence for what must not be."""
    if not work.exists():
        return "absent"
    status, text = cli("validate", str(work))
    if status != 0:
        return f"a work dir that is not whole: {tail(text)}"
    return "as before" if before and _bytes(work) == before else "new"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def conversion(given: Attempt) -> Result:
    """`posedeploy convert`, killed; a third of the work dirs are there before."""
    signum, rng = SIGNALS[given.index % 3], given.rng
    base = BASES[given.index // 3 % len(BASES)]
    work = given.scratch / "models" / "work"
    work.parent.mkdir()
    if replaced := given.index % 2 == 0:
        shutil.copytree(given.arena / sibling(base), work)
    before, moment = _bytes(work), rng.random()
    kind = given.note(f"{signum.name} of {base.name}, {'replacing' if replaced else 'new'}")
    main = "from posedeploy.cli import main; main()"
    process = start([main, *_words(base, given, base.head)], given.scratch)
    if moment < 0.8:  # most in what is written, the rest while Python imports
        wait_for(lambda: [p for p in work.parent.iterdir() if p.name.startswith(".")], process)
        time.sleep(moment**2 * 2)
    else:
        time.sleep((moment - 0.8) * 20)
    orphans = kill(process, signum)
    state, ended = _state(work, before), process.returncode
    hidden = _hidden(work.parent)
    lost = replaced and state == "absent" and signum != signal.SIGKILL
    wrong = [state] if "not whole" in state or lost else []
    if orphans:
        wrong.append(f"children that go on: {', '.join(p.name() or '?' for p in orphans)}")
    if hidden and signum != signal.SIGKILL:
        wrong.append(f"left after {signum.name}: {', '.join(hidden)}")
    if hidden or signum == signal.SIGKILL:
        status, text = cli(*_words(base, given, base.head))
        if left := _hidden(work.parent):
            wrong.append(f"left after the next conversion: {', '.join(left)}")
        if status not in {0, 1} or _state(work, {}) != "new":
            wrong.append(f"the next conversion: exit code {status}: {tail(text)}")
    outcome = Outcome.BROKEN if wrong else Outcome.SAME
    return Result(outcome, kind, "; ".join(wrong) or f"{state}, exit status {ended}")


def _hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# Every test of a cell takes a while, and says on disk that it has ended.
TESTS = """
import time
import pytest

def note(cell, stage):
    with open("ended", "a") as file:
        file.write(f"{cell.model.name} {cell.flow.deploy_config} {stage}\\n")

@pytest.mark.stage("run")
def test_runs(cell, record):
    open("began", "a").close()
    time.sleep(0.2)
    record(batches=(1,))
    note(cell, "run")

@pytest.mark.stage("numeric")
def test_numbers(cell, record):
    time.sleep(0.2)
    record(headroom=0.5)
    note(cell, "numeric")
"""
# What is killed: the whole run with a signal, or one of two workers.
JUDGED = tuple(
    (signum, workers, "run")
    for signum in (*SIGNALS, signal.SIGINT)
    for workers in (0, 2)
) + ((signal.SIGKILL, 2, "worker"),) * 4  # fmt: skip


def judge(given: Attempt) -> Result:
    """A run of the judge over the fake subject, killed."""
    signum, workers, target = JUDGED[given.index % len(JUDGED)]
    kind = given.note(f"{signum.name} of a {target}, {workers} workers")
    folder, moment = given.scratch, given.rng.random()
    process = start_judge(folder, TESTS, *(["-n", "2"] if workers else []))
    wait_for((folder / "began").exists, process)
    time.sleep(moment * 1.2)
    if target == "worker":
        children = psutil.Process(process.pid).children(recursive=True)
        if busy := [c for c in children if "execnet" in " ".join(c.cmdline())]:
            given.rng.choice(busy).kill()
        status_of(process)
        orphans = []
    else:
        orphans = kill(process, signum)
    text = (folder / "log").read_text(errors="replace")
    if not (folder / "report" / "results.json").is_file() and signum == signal.SIGKILL:
        subprocess.run(
            python("-m", "poseconform.report", "build", "report"), cwd=folder, timeout=WAIT,
            env=environment(folder), check=False, capture_output=True,
        )  # fmt: skip
    wrong = _wrong_in_report(folder, text)
    if orphans:
        wrong.append(f"{len(orphans)} processes go on")
    outcome = Outcome.BROKEN if wrong else Outcome.SAME
    return Result(outcome, kind, "; ".join(wrong) or f"exit status {process.returncode}")


def _wrong_in_report(folder: Path, log: str) -> list[str]:
    """What the report says that is not so."""
    report = folder / "report"
    if not (report / "results.json").is_file():
        return [f"no results.json: {tail(log)}"]
    data = json.loads((report / "results.json").read_text())
    ended = (folder / "ended").read_text().split("\n") if (folder / "ended").exists() else []
    outcomes = {f"{c['model']} {c['deploy_config']}": c["outcome"] for c in data["cells"]}
    early = [
        cell for cell, outcome in outcomes.items()
        if outcome == "pass" and not {f"{cell} run", f"{cell} numeric"} <= {*ended}
    ]  # fmt: skip
    wrong = [f"pass, and not ended: {', '.join(early)}"] if early else []
    whole = [cell for cell in outcomes if {f"{cell} run", f"{cell} numeric"} <= {*ended}]
    complete = len(whole) == 4  # of six cells, two are unavailable
    if len(outcomes) != 6:
        wrong.append(f"{len(outcomes)} cells of 6")
    if not complete:
        crashed = "crash" in outcomes.values()
        if not data["run"].get("interrupted") and not crashed:
            wrong.append("nothing says that it was interrupted")
        pages = [p for p in report.iterdir() if p.suffix in {".html", ".md"}]
        if any("cells that ran match" in page.read_text() for page in pages):
            wrong.append("a sentence says that all match")
    if "Traceback" in log or "INTERNALERROR" in log:
        wrong.append(f"a traceback: {tail(log)}")
    return wrong
