"""TorchScript archives that would touch files are refused before anything of them runs."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from posedeploy.runtime import RefusedError, SessionOptions, get_runtime
from posedeploy.runtime.torchscript_program import (
    MAX_CODE_BYTES,
    OPERATORS,
    problems_of_file,
)

BEFORE = b"somebody's file."
FILE = '("{victim}", True, 4)'


class OpensInForward(nn.Module):
    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file(self.victim, True, 4).fill_(7.0)[0]


class OpensWhileLoading(OpensInForward):
    def __init__(self, victim: str) -> None:
        super().__init__(victim)
        self.content = torch.zeros(4)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.victim, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.victim = state[0]
        self.training = state[1]
        self.content = torch.from_file(self.victim, True, 4).fill_(7.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(BEFORE)
    return path


def refused(path: Path) -> list[str]:
    """What is wrong with an archive, which the runtime refuses as well."""
    with pytest.raises(RefusedError):
        get_runtime("torchscript").load([path], "cpu", SessionOptions())
    return list(problems_of_file(path))


@pytest.mark.parametrize("kind", [OpensInForward, OpensWhileLoading])
def test_a_payload_is_refused_and_its_file_is_as_it_was(
    tmp_path: Path, victim: Path, kind: Callable[[str], nn.Module]
) -> None:
    path = tmp_path / "end2end.pt"
    torch.jit.script(kind(str(victim))).save(str(path))  # type: ignore[no-untyped-call]
    assert any("the operator torch.from_file in 'code/" in found for found in refused(path))
    assert victim.read_bytes() == BEFORE

    module: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    module(torch.zeros(1))
    assert victim.read_bytes() != BEFORE, "the payload does nothing, so this test shows nothing"


HEAD = """class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.Net,
    x: Tensor) -> Tensor:
    """
# Ways to write the call that PyTorch's own reader takes, and one class of C++.
WRITTEN = {
    "alias": f"f = torch.from_file\n    y = f{FILE}\n    return x",
    "alias of the module": f"t = torch\n    y = t.from_file{FILE}\n    return x",
    "backslash": f"y = torch\\\n.from_file{FILE}\n    return x",
    "C++ class": "a = __torch__.torch\n    b = a.classes.dist_c10d.Store\n    return x",
    "comment": f"y = (torch # no\n    .from_file{FILE})\n    return x",
    "getattr": f'y = getattr(torch, "from_file"){FILE}\n    return x',
    "namespace": f"y = ops.aten.from_file{FILE}\n    return x",
    "name in two strings": 'a = __torch__.torch\n    b = getattr(a, "clas" "ses")\n    return x',
    "save": 'torch.save(x, "{victim}")\n    return x',
    "spaces": f"y = torch . from_file{FILE}\n    return x",
}


def archive(path: Path, code: str, **changed: bytes) -> Path:
    """An archive with this program; `changed` are records that it has besides, or instead."""
    pickled = b"\x80\x02c__torch__\nNet\n)\x81}X\x08\x00\x00\x00training\x88sb."
    records = {
        "data.pkl": pickled, "code/__torch__.py": code.encode(), "constants.pkl": b"\x80\x02).",
        "version": b"3\n", **changed,
    }  # fmt: skip
    with zipfile.ZipFile(path, "w") as file:
        for name, content in records.items():
            file.writestr(f"end2end/{name}", content)
    return path


@pytest.mark.parametrize("name", WRITTEN)
def test_every_way_to_write_it_is_refused(tmp_path: Path, victim: Path, name: str) -> None:
    body = WRITTEN[name].replace("{victim}", str(victim))
    path = archive(tmp_path / "end2end.pt", f"{HEAD}{body}\n")
    assert refused(path)
    assert victim.read_bytes() == BEFORE
    module: Any = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    module(torch.zeros(1))  # PyTorch takes it: it is no mere mistake of syntax that is refused


@pytest.mark.parametrize("damage", [b"\xff", b"y = \xff\n    return x", b'return "\xff"'])
def test_code_that_is_not_utf_8_is_an_error_of_the_file(tmp_path: Path, damage: bytes) -> None:
    code = HEAD.encode() + damage
    path = archive(tmp_path / "end2end.pt", "", **{"code/__torch__.py": code})
    with pytest.raises(RuntimeError, match="torchscript: "):
        get_runtime("torchscript").load([path], "cpu", SessionOptions())


def test_a_program_of_listed_operators_runs(tmp_path: Path) -> None:
    path = archive(tmp_path / "end2end.pt", f"{HEAD}return torch.relu_(torch.add(x, 1))\n")
    assert not list(problems_of_file(path))
    assert get_runtime("torchscript").load([path], "cpu", SessionOptions()).inputs


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("data.pkl", b"\x80\x02c__torch__.torch\nclasses.dist_c10d.Store\n.", "a C++ class"),
        ("constants.pkl", b"\x80\x02c__torch__.torch.classes.x\nY\n.", "a C++ class"),
        ("model.json", b"{}", "PyTorch before 1.0"),
        ("code/__torch__/x.PY", b"torch.from_file()", "torch.from_file"),
    ],
)
def test_what_else_an_archive_must_not_have(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    path = archive(tmp_path / "end2end.pt", f"{HEAD}return x\n", **{name: content})
    (found,) = refused(path)
    assert what in found


def _appended(good: bytes, name: str) -> bytes:
    file = io.BytesIO(good)
    with zipfile.ZipFile(file, "a") as edited:
        edited.writestr(name, "again")
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda good: good[: len(good) // 2],
        lambda good: b"before" + good,
        lambda good: good.replace(b"end2end/version", b"another/version"),
        lambda good: _appended(good, "end2end/CODE/__torch__.py"),
    ],
    ids=["empty", "cut", "bytes before", "two folders", "a name twice"],
)
def test_a_file_that_is_no_such_archive_is_named_so(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = archive(tmp_path / "end2end.pt", f"{HEAD}return x\n")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="no TorchScript archive"):
        list(problems_of_file(path))


def test_a_program_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "end2end.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for index in range(3):
            file.writestr(f"end2end/code/{index}.py", bytes(MAX_CODE_BYTES // 2))
    with pytest.raises(ValueError, match="a program of 100,663,296 bytes"):
        list(problems_of_file(path))


def test_no_listed_operator_takes_the_name_of_a_file() -> None:
    """PyTorch's own table: which operators have a text among their arguments, and which it is."""
    words = {
        "approximate", "equation", "indexing", "interpolation", "mode", "ord", "padding", "reduce",
        "rounding_mode", "type",
    }  # fmt: skip
    operands = {
        "a", "b", "el", "idx", "inputs", "key", "l", "s", "self", "separator", "string", "substr",
        "t",
    }  # fmt: skip
    taking = {
        (schema.name.removeprefix("aten::"), argument.name)
        for schema in torch._C._jit_get_all_schemas()
        for argument in schema.arguments
        if re.search(r"\bstr\b", str(argument.type)) and schema.name.startswith("aten::")
    }
    assert ("from_file", "filename") in taking
    named = {what for what in taking if what[0].removesuffix("_") in OPERATORS}
    assert {argument for _, argument in named} <= words | operands
