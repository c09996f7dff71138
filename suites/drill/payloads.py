"""Files that try to do something: run code, touch other files, live as markup, speak to CI."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2

from fixtures.sample_results import sample_results
from poseconform.isolation.child import SINGLE_THREAD, Child, ChildTimeout
from poseconform.results.results import write_results
from posedeploy.errors import PoseDeployError
from suites.drill.damage import run_report
from suites.drill.folders import ask_client, reseal
from suites.drill.harness import Attempt, Outcome, Result, cli, is_about_memory, tail
from suites.drill.models import BASES, IMAGE, config_of
from suites.drill.processes import start_judge, status_of

BASE = "simcc_torchscript"
_CANARY = b"0123456789abcdef" * 64


class _Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def _checkpoint(how: str) -> Callable[[Attempt], Result]:
    """A checkpoint with a pickle that makes a folder; `how` says where the pickle is."""

    def act(given: Attempt) -> Result:
        import torch

        from posedeploy.zoo.checkpoints import load_checkpoint

        marker, path = given.scratch / "it-ran", given.scratch / "model.pth"
        evil, weights = _Payload(marker), {"a": torch.zeros(3)}
        if how == "bare":
            path.write_bytes(pickle.dumps(evil))
        else:
            contents: dict[str, Any] = {
                "meta": {"state_dict": weights, "meta": {"x": evil}},
                "weights": {"state_dict": {**weights, "b": evil}},
                "old": {"state_dict": weights, "optimizer": evil},
            }
            torch.save(contents[how], path, _use_new_zipfile_serialization=how != "old")
        try:
            load_checkpoint(path)
        except PoseDeployError as error:
            words = str(error)
            return Result(Outcome.BROKEN if marker.exists() else Outcome.REFUSED, how, words[:200])
        return Result(Outcome.BROKEN if marker.exists() else Outcome.DIFFERENT, how, "it was read")

    return act


# Statements of a module of TorchScript that has the model's inputs and outputs.
# FILE is a file of the user.
_PROGRAMS = {
    "endless": "while x.numel() > 0:\n        x = x + 1",
    "file when called": "y = torch.from_file('FILE', True, 64)\n"
    "    y.zero_()\n    x = x + y.sum()",
    "file when loaded": "pass",
    "gigabytes": "x = x + torch.ones([4000, 1000, 1000])[0, 0, 0]",
}
_FORWARD = """
def forward(self, x):
    {}
    return torch.zeros([1, 17, 128]) + x[0, 0, 0, 0], torch.zeros([1, 17, 192])
"""
_SET_STATE = (
    "@torch.jit.export\ndef __getstate__(self):\n    return (self.training, 1)\n"
    "@torch.jit.export\ndef __setstate__(self, state: Tuple[bool, int]):\n"
    "    y = torch.from_file('FILE', True, 64)\n    y.zero_()\n"
    "    self.training = state[0] and bool(y.sum() > 0)\n"
)
_MODULE = "import torch\nfrom typing import Tuple\nclass Program(torch.nn.Module):\n"


# ---- modify this table to add a limit: the program, what it does, and why it is not refused ----
LIMITS: Mapping[str, tuple[Outcome, str]] = {
    "endless": (
        Outcome.HANG,
        "detectors have loops too, and whether one ends cannot be told",
    ),
    "gigabytes": (Outcome.MEMORY, "the sizes of a program's tensors are known when it runs"),
}
# ------------------------------------------------------------------------------------------------
LIMIT_SECONDS = 8  # of CPU time, after which a program has no end; a whole one takes 3


def _limit(name: str, folder: Path, whole: Path, log: Path) -> Result:
    """A program of `LIMITS`, run where it harms nobody: as the judge does, in a child process."""
    wanted, why = LIMITS[name]
    client = f"{ask_client.__module__}:{ask_client.__name__}"
    with Child(log, SINGLE_THREAD) as child:
        try:
            found = child.call(client, folder, whole, "simcc", timeout=LIMIT_SECONDS)
        except ChildTimeout:
            outcome, words = Outcome.HANG, ""
        else:
            no_memory = found.answer == "refused" and is_about_memory(found.words)
            outcome, words = Outcome.MEMORY if no_memory else Outcome.SAME, found.words
    if outcome is not wanted:
        return Result(Outcome.BROKEN, name, f"no {wanted} now, so it is no limit: {words}")
    return Result(Outcome.LIMIT, name, f"{wanted}: {why}")


def _torchscript(name: str) -> Callable[[Attempt], Result]:
    """A TorchScript folder with a program of its own in the graph's place."""

    def act(given: Attempt) -> Result:
        import torch

        canary = given.scratch / "canary"
        canary.write_bytes(_CANARY)
        whole, folder = given.arena / BASE, given.scratch / "model"
        shutil.copytree(whole, folder)
        source = _FORWARD.format(_PROGRAMS[name]) + (
            _SET_STATE if name == "file when loaded" else ""
        )
        source = _MODULE + "".join(f"    {line}\n" for line in source.splitlines())
        module = _import(given.scratch / "program.py", source.replace("FILE", str(canary)))
        signature = {"posedeploy.json": ""}
        torch.jit.load(str(whole / "end2end.pt"), _extra_files=signature)  # type: ignore[no-untyped-call]
        torch.jit.script(module.Program()).save(str(folder / "end2end.pt"), _extra_files=signature)
        canary.write_bytes(_CANARY)
        reseal(folder, whole)
        if name in LIMITS:
            return _limit(name, folder, whole, given.scratch / "log")
        status, _ = cli("validate", str(folder))
        if status == 0:
            client = ask_client(folder, whole, "simcc")
            if canary.read_bytes() != _CANARY:
                return Result(Outcome.BROKEN, name, f"a file outside was changed; {client.words}")
            return Result(
                Outcome.BROKEN,
                name,
                f"validate finds nothing; client {client.answer} {client.words}",
            )
        client = ask_client(folder, whole, "simcc")
        changed = canary.read_bytes() != _CANARY
        words = f"validate {status}; client {client.answer}: {client.words[:200]}"
        return Result(Outcome.BROKEN if changed else Outcome.REFUSED, name, words)

    return act


def _import(path: Path, source: str) -> Any:
    import importlib.util

    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>[a](javascript:b)|\n::error::c"
)
PLAIN = "x" * 20
_FREE = ("model", "family", "reason", "code", "log_tail", "repro", "message", "name", "caption")


class _Tags(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def _report_of(words: str, folder: Path) -> tuple[str, str]:
    """The page and the table of results whose free texts are `words`."""
    path = folder / "results.json"
    write_results(path, sample_results(40))

    def replaced(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: replaced(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [replaced(v, key) for v in value]
        marked = isinstance(value, str) and value and key in _FREE
        return f"{value}{words}" if marked and key == "model" else words if marked else value

    data = json.loads(path.read_text())
    for cell in data["cells"]:
        stages = cell["stages"]
        cell.update(replaced(cell))
        for old, new in zip(stages, cell["stages"], strict=True):
            new["name"] = old["name"]
    path.write_text(json.dumps(data))
    status, text = run_report("build", str(path), "--out", str(folder))
    if status:
        raise ValueError(f"not built: {tail(text)}")
    return (folder / "index.html").read_text(), (folder / "support-table.md").read_text()


def markup(given: Attempt) -> Result:
    """Markup in a results file: the page has the elements that it has for plain words."""
    pages: list[Any] = []
    for words in (PLAIN, HOSTILE):
        folder = given.scratch / str(len(pages))
        folder.mkdir()
        page, table = _report_of(words, folder)
        reader = _Tags()
        reader.feed(page)
        pages.append((reader.tags, len(table.splitlines())))
    bare = re.sub(r"(`+).+?\1", "", table)
    live = re.search(r"(?<!\\)<(script|img)|(?<!\\)\]\(javascript|^::", bare, re.MULTILINE)
    if pages[0] != pages[1] or live:
        return Result(Outcome.BROKEN, "markup", f"live: {live and live[0]}; {_difference(pages)}")
    return Result(Outcome.SAME, "markup")


def _difference(pages: list[Any]) -> str:
    more = [tag for tag in pages[1][0] if tag not in pages[0][0]]
    return f"{len(pages[0][0])} and {len(pages[1][0])} elements; new: {more[:5]}"


# ---- modify this table to add a payload ----------------------------------------------------
PAYLOADS: Mapping[str, Callable[[Attempt], Result]] = {
    **{f"checkpoint, {how}": _checkpoint(how) for how in ("bare", "meta", "weights", "old")},
    "markup": markup,
    **{f"TorchScript, {name}": _torchscript(name) for name in sorted(_PROGRAMS)},
}
# --------------------------------------------------------------------------------------------


def attempt(given: Attempt) -> Result:
    """One payload."""
    kind = given.note(sorted(PAYLOADS)[given.index % len(PAYLOADS)])
    result = PAYLOADS[kind](given)
    return Result(result.outcome, kind, result.detail)


NAMES = (
    "plain", "a b", "a]b", "[red]b", "'a\"", "a\nb", "a\n::error::b", "日本é", "100%d%s", "a::b",
    "-a", "--help", "$HOME;x", "a%0Ab", "<b>c", "a\x1b[31mb", "::error::b", "a##[error]b",
)  # fmt: skip
TESTS = """
import pytest

@pytest.mark.stage("run")
def test_runs(cell, record):
    record(batches=(1,))

@pytest.mark.stage("numeric")
def test_numbers(cell):
    assert not cell.model.config, "it fails, to be announced"
"""


def commands(log: str) -> list[str]:
    """The lines of a log that GitHub's runner takes for commands."""
    lines = re.split(r"[\r\n]+", log)
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


def name(given: Attempt) -> Result:
    """A name of every file and folder of a conversion, or of a run of the judge under CI."""
    word = NAMES[given.index // 2 % len(NAMES)]
    kind = given.note(f"{'judge' if given.index % 2 else 'conversion'}, {word!r}")
    return (_named_judge if given.index % 2 else _named_conversion)(
        given.scratch, word, kind, given
    )


def _named_conversion(folder: Path, word: str, kind: str, given: Attempt) -> Result:
    config, checkpoint, image = (folder / f"{word}{suffix}" for suffix in (".py", ".pth", ".png"))
    shutil.copyfile(config_of(given.arena, "simcc"), config)
    shutil.copyfile(given.arena / "simcc.pth", checkpoint)
    image.write_bytes(cv2.imencode(".png", IMAGE)[1].tobytes())
    work = folder / word
    words = (f"--work-dir={work}", BASES[0].deploy_config, *map(str, (config, checkpoint, image)))
    with patch.dict(os.environ, GITHUB_ACTIONS="true"):
        status, text = cli("convert", *words)
    if lines := commands(text):
        return Result(Outcome.BROKEN, kind, f"a line for CI: {lines[0][:80]}")
    if status == 2:
        return Result(Outcome.REFUSED, kind, tail(text))
    whole = status in {0, 1} and cli("validate", str(work))[0] == 0
    return Result(Outcome.SAME if whole else Outcome.BROKEN, kind, tail(text) * (not whole))


def _named_judge(folder: Path, word: str, kind: str, given: Attempt) -> Result:
    config, report = folder / f"{word}.py", folder / f"{word}-report"
    config.write_text("model = dict(type='TopdownPoseEstimator')\n")
    status = status_of(start_judge(
        folder, TESTS, f"--model-config={config.name}", f"--report-dir={report.name}",
        *(["-n", "2"] if given.index // 2 % 2 else []),
        before="os.environ.update(GITHUB_ACTIONS='true', GITHUB_STEP_SUMMARY='summary')",
    ))  # fmt: skip
    text = (folder / "log").read_text(errors="replace")
    if status == 4 and "Traceback" not in text:
        return Result(Outcome.REFUSED, kind, tail(text))
    path = report / "results.json"
    if "INTERNALERROR" in text or "Traceback (most" in text or not path.is_file():
        return Result(Outcome.BROKEN, kind, f"exit status {status}: {tail(text)}")
    outcomes = sorted(cell["outcome"] for cell in json.loads(path.read_text())["cells"])
    others = [line for line in commands(text) if not line.startswith("::error file=")]
    wrong = [f"a line for CI: {line[:80]}" for line in others]
    if outcomes != ["mismatch", "mismatch", "unavailable:no-driver"]:
        wrong.append(f"outcomes {outcomes}")
    return Result(Outcome.BROKEN if wrong else Outcome.SAME, kind, "; ".join(wrong))
