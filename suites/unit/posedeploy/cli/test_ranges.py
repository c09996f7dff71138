"""`posedeploy ranges`: its table, its JSON, its drawing and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import Done
from fixtures.tiny_models import TinyModel
from posedeploy.apis.measuring import RangeReport
from posedeploy.cli import main
from posedeploy.cli.ranges import show
from posedeploy.cli.terminal import console
from posedeploy.precision.ranges import Range

OVERFLOW = Range("head.mlp.0", "linalg_vector_norm", 1, 5e3, 2.5e7, 0.0, 1.2)
FINE = Range("[stem]", "convolution", 0, 9.0, 50.0, 0.0, 4.0, weight=1.0, weight_below=0.002)


def report(*operations: Range, rewritten: tuple[str, ...] = ()) -> RangeReport:
    return RangeReport("model", "my.pth", "", "images", 8, operations, rewritten)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    monkeypatch.chdir(tmp_path)

    def ranges(*words: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(["ranges", *map(str, words)])
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return ranges


def test_json_and_a_drawing(
    run: Callable[..., Done], tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny = tiny_model("rtmpose_t")
    words = (tiny.config, tiny.checkpoint, "--count=1", "--json", "--plot=ranges.png")
    done = run(*words)
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["count"], facts["backend"]) == (1, "")
    assert facts["rewritten"] == ["head.mlp.0", "head.gau.ln"]
    first = facts["operations"][0]
    assert first["module"].startswith("backbone.stem.0")
    assert (first["operator"], first["risks"]) == ("convolution, batch_norm", [])
    assert Path("ranges.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("words", "found"), [
    (("--backend", "onnx"), "onnx"),
    (("missing",), "no such folder"),
    (("file.txt",), "a file"),
])  # fmt: skip
def test_what_is_refused(
    run: Callable[..., Done],
    tiny_model: Callable[[str], TinyModel],
    words: tuple[str, ...],
    found: str,
) -> None:
    tiny = tiny_model("rtmpose_t")
    Path("file.txt").write_text("no images")
    done = run(tiny.config, tiny.checkpoint, *words)
    assert done.code == 2
    assert f"found:    {found}" in done.err


def test_the_worst_comes_first_with_what_is_done_about_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    show(console(), report(FINE, OVERFLOW, rewritten=("head.mlp.0",)))
    lines = capsys.readouterr().out.splitlines()
    first, second = (" ".join(line.split()) for line in lines[1:3])
    assert first == "head.mlp.0: linalg_vector_norm 5e+03 2.5e+07 1.2 sum: rewritten at export"
    assert second == "[stem]: convolution 9 50 1 0.2% 4"
    assert lines[3] == "1 of 2 operations at risk below float32, on 8 images"
    assert lines[4] == "sum: sums above 65504 where they are accumulated in float16"


def test_what_nothing_is_done_about_is_a_failure() -> None:
    assert report(FINE, OVERFLOW).failures == (OVERFLOW,)
    assert report(FINE, OVERFLOW, rewritten=("head.mlp.0",)).failures == ()
