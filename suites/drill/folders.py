"""Mutants of SDK model folders, through `posedeploy validate` and `PoseDetector`.

Where a mutant's checksums are written anew (`resealed`), nothing claims to see that its content
is another; without that, every change of a file is claimed to be seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from posedeploy.errors import PoseDeployError
from posedeploy.sdk.validate import validate
from suites.drill.harness import Attempt, Outcome, Result, cli, tail
from suites.drill.models import BASES, Base, keypoints, right_keypoints, sibling

JSON_NAMES = ("deploy.json", "pipeline.json", "detail.json")
DEEP = "[" * 40 + "]" * 40
# JSON texts that replace a value.
VALUES = (
    "null", "true", "false", "0", "1", "-1", "7", str(2**31), str(2**63), "1" + "0" * 400,
    "9" * 5000, "0.5", "-1.5", "1e308", "1e999", "3e38", "NaN", '""', '"x"', '"#0"', '"#99"',
    '"\\ud800"', '"\\u0000"', '"\\u202e\\u2066"', '"<b>[red]"', '"../outside/end2end.onnx"',
    '"/etc/hostname"', '"n\\u00f6t ascii"', json.dumps("x" * 5000), "[]", "[1, 2]", "[0, 0]",
    "[100000, 100000]", "[[]]", '["img"]', "{}", '{"img": "input"}', DEEP, '"default"', '"INT8"',
    '"UDPHeatmap"', '"onnxruntime"', '"end2end.model"', '"detail.json"',
)  # fmt: skip
# Whole contents of a file.
CONTENTS = (
    b"", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"[" * 50_000, b'{"a":1,"a":2}', b"{}", b"null",
    b"[]", b"\x00" * 100, b" " * 2**23, b'{"version": "caf\xe9"}', b'{"a": ' + b"9" * 5000 + b"}",
    b'{"\\ud800": "\\udfff"}', b"version https://git-lfs.github.com/spec/v1\n", b"<!doctype html>",
)  # fmt: skip
EDITED = "changed since the conversion"  # in validate's warning about a JSON file
SIZES = (0, 1, 2, 7, 5000, 100_000, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -1, -7)
Mutation = Callable[[Path, Base, Random, Path], str]  # folder, base, chance, arena -> what it did


def json_files(folder: Path) -> list[Path]:
    return [folder / name for name in JSON_NAMES]


def graph_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name not in JSON_NAMES)


def _any_file(folder: Path, rng: Random) -> Path:
    return rng.choice(rng.choice((json_files, graph_files))(folder))


def flip_bits(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    path = _any_file(folder, rng)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 4, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path.name


def overwrite_part(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    """Zeros, noise, another part of the file, a gap or an insertion."""
    path = _any_file(folder, rng)
    data = path.read_bytes()
    start, length = rng.randrange(len(data)), rng.choice((1, 4, 64, 4096, len(data)))
    end = min(start + length, len(data))
    other = rng.randrange(len(data))
    what, part = rng.choice((
        ("zeros", bytes(end - start)), ("noise", rng.randbytes(end - start)), ("gap", b""),
        ("repeated", data[other : other + end - start]), ("inserted", rng.randbytes(64)),
    ))  # fmt: skip
    path.write_bytes(data[:start] + part + data[end:])
    return f"{path.name}, {what}"


def truncate(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    path = _any_file(folder, rng)
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.choice((rng.random(), 0.0, 1 - 1 / len(data))) * len(data))])
    return path.name


def take_another_models(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    """A file of the sibling with other weights, or of the other model."""
    path = rng.choice(graph_files(folder))
    others = [one.name for one in BASES if one.backend == base.backend and one != base]
    source = rng.choice((sibling(base), *others))
    shutil.copyfile(arena / source / path.name, path)
    return f"{path.name} of {source}"


def swap(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    one, other = rng.sample(sorted(folder.iterdir()), 2)
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])
    return f"{one.name} and {other.name}"


def rename_or_remove(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    path = rng.choice(sorted(folder.iterdir()))
    names = (f"{path.name}.bak", path.name.upper(), f"a b[1]%{path.name}", "")
    if name := rng.choice(names):
        path.rename(folder / name)
    else:
        path.unlink()
    return f"{path.name} -> {name or 'nothing'}"


def replace_by_special(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    """A link, a folder or a pipe in a file's place."""
    path = rng.choice(sorted(folder.iterdir()))
    path.unlink()
    what = rng.choice(
        ("outside", "/dev/zero", "/proc/self/mem", "itself", "sibling", "dir", "pipe")
    )
    if what == "dir":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        inside = {"itself": path.name, "sibling": "deploy.json"}
        outside = arena / base.name / path.name
        path.symlink_to(inside.get(what, outside if what == "outside" else what))
    return f"{path.name} -> {what}"


def change_content(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    path = _any_file(folder, rng)
    number = rng.randrange(len(CONTENTS))
    path.write_bytes(CONTENTS[number])
    return f"{path.name}, content {number}"


def _places(value: Any, path: str = "$") -> Iterator[tuple[Any, Any, str]]:
    """Every (container, key, path) in a JSON value."""
    keys: Any = value if isinstance(value, dict) else ()
    for key in range(len(value)) if isinstance(value, list) else keys:
        yield value, key, f"{path}.{key}"
        yield from _places(value[key], f"{path}.{key}")


def edit_json(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    """Another value, a field that is gone, renamed or there twice."""
    path = folder / rng.choice(("pipeline.json", "pipeline.json", "deploy.json", "detail.json"))
    value, mark = json.loads(path.read_text(encoding="utf-8")), "\uffff"
    container, key, place = rng.choice(list(_places(value)))
    what = rng.choice(("value",) * 5 + ("scaled", "gone", "renamed", "twice"))
    new = json.dumps(old := container[key])
    if what == "gone":
        del container[key]
    elif what == "scaled" and isinstance(old, int | float):
        new = json.dumps(old * rng.choice((2, 0.5, -1, 1e6, 1e-6)))
        container[key] = mark
    elif what in {"renamed", "twice"} and isinstance(container, dict):
        if what == "renamed":
            del container[key]
        container[f"{key}_{mark}"] = mark
    else:
        new = rng.choice(VALUES)
        container[key] = mark
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = text.replace(f"_{mark}", "" if what == "twice" else "_").replace(f'"{mark}"', new)
    path.write_text(text, encoding="utf-8")
    return f"{path.name} {place}, {what} {new[:20]}"


def edit_graph(folder: Path, base: Base, rng: Random, arena: Path) -> str:
    """Sizes, types and counts that the graph declares."""
    return _GRAPHS[base.backend](folder, rng)


def _edit_onnx(folder: Path, rng: Random) -> str:
    import onnx

    path = folder / "end2end.onnx"
    model = onnx.load(path)
    graph, size = model.graph, rng.choice(SIZES)
    info = rng.choice([*graph.input, *graph.output])
    what = rng.choice(("dim", "dim", "dim", "type", "opset", "external", "suffix", "initializer"))
    if what == "dim":
        dim = rng.choice(info.type.tensor_type.shape.dim)
        dim.dim_value = size
    elif what == "type":
        info.type.tensor_type.elem_type = rng.choice((0, 2, 7, 8, 10, 16, 99))
    elif what == "opset":
        model.opset_import[0].version = rng.choice((0, 1, 9, 99))
    elif what == "initializer":
        tensor = rng.choice(graph.initializer)
        tensor.dims[:] = [max(size, -(2**40))] * rng.randrange(4)
    else:
        tensor = rng.choice(graph.initializer)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(("/etc/passwd", "w.bin")))
        (folder / "w.bin").write_bytes(bytes(tensor.raw_data))
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    if what == "suffix":  # external weights, in a file that isn't named as one of ONNX
        path.rename(folder / "end2end.model")
        for name in ("deploy.json", "detail.json"):
            text = (folder / name).read_text(encoding="utf-8")
            (folder / name).write_text(text.replace("end2end.onnx", "end2end.model"))
    return f"{what} {size}"


def _edit_numbers(name: str, pattern: str) -> Callable[[Path, Random], str]:
    """Replace one number that a pattern finds in a text file."""

    def edit(folder: Path, rng: Random) -> str:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        found = rng.choice(list(re.finditer(pattern, text)))
        size = rng.choice(SIZES)
        new = text[: found.start(1)] + str(size) + text[found.end(1) :]
        path.write_text(new, encoding="utf-8")
        return f"{found[0][:30]!r} -> {size}"

    return edit


_XML_NUMBERS = _edit_numbers("end2end.xml", r'(?:<dim>|(?:size|offset|port|layer|id)=")(-?\d+)')
BOMB = "<!DOCTYPE a [" + "".join(
    f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9)
).replace("&e0;", "x") + "]>"  # fmt: skip


def _edit_openvino(folder: Path, rng: Random) -> str:
    if rng.random() < 0.7:
        return _XML_NUMBERS(folder, rng)
    path = folder / "end2end.xml"
    text = path.read_text(encoding="utf-8")
    what, old, new = rng.choice((
        ("entities", "<net ", f"{BOMB}<net "), ("entity", 'name="', 'name="&e9;'),
        ("outside", "<net ", '<!DOCTYPE a [<!ENTITY e9 SYSTEM "/etc/passwd">]><net '),
        ("type", 'type="Const"', 'type="Other"'),
        ("type", 'type="Convolution"', 'type="ReadValue"'),
        ("element", "f32", "string"), ("element", "f32", "u1"),
    ))  # fmt: skip
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return f"{what} {new[:20]!r}"


def _edit_torchscript(folder: Path, rng: Random) -> str:
    """Members of the archive: the code, the constants and our own signature."""
    path = folder / "end2end.pt"
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    texts = [name for name in members if name.endswith((".py", "posedeploy.json"))]
    name = rng.choice((*texts, next(n for n in texts if n.endswith("posedeploy.json")), *members))
    what = rng.choice(("number", "number", "gone", "noise", "doubled"))
    numbers = list(re.finditer(rb"\d+", members[name]))
    if what == "gone":
        del members[name]
    elif what == "number" and numbers and name in texts:
        found, size = rng.choice(numbers), str(rng.choice(SIZES)).encode()
        content = members[name]
        members[name] = content[: found.start()] + size + content[found.end() :]
        what = f"{found[0].decode()} -> {size.decode()}"
    else:
        members[name] = members[name] * 2 if what == "doubled" else rng.randbytes(64)
    with zipfile.ZipFile(path, "w") as new:
        for member, content in members.items():
            new.writestr(member, content)
    return f"{name} {what}"


_GRAPHS: Mapping[str, Callable[[Path, Random], str]] = {
    "ncnn": _edit_numbers("end2end.param", r"(?<=[ =\n,])(-?\d+)\b"),
    "onnxruntime": _edit_onnx,
    "openvino": _edit_openvino,
    "torchscript": _edit_torchscript,
}
# ---- modify this table to add a mutation ---------------------------------------------------
MUTATIONS: tuple[tuple[Mutation, bool], ...] = (  # and whether checksums are written anew
    (flip_bits, False),
    (flip_bits, True),
    (overwrite_part, False),
    (overwrite_part, True),
    (truncate, True),
    (take_another_models, False),
    (take_another_models, True),
    (swap, False),
    (rename_or_remove, True),
    (replace_by_special, True),
    (change_content, True),
    (edit_json, False),
    (edit_json, True),
    (edit_json, True),
    (edit_graph, True),
    (edit_graph, True),
)
# --------------------------------------------------------------------------------------------


def reseal(folder: Path, whole: Path) -> None:
    """Put the checksums of the files, as they are now, into `detail.json`."""
    detail = folder / "detail.json"
    if not detail.is_file() or detail.is_symlink():
        return
    text = detail.read_bytes()
    for path in sorted(whole.iterdir()):
        changed = folder / path.name
        changed = changed if changed.exists() else changed.with_suffix(".model")
        if changed.is_file() and not changed.is_symlink() and path.name != detail.name:
            new = rf'{_hash(changed)}\g<1>"bytes": {changed.stat().st_size}'.encode()
            text = re.sub(rf'{_hash(path)}(",\s*)"bytes": \d+'.encode(), new, text)
    detail.write_bytes(text)


@dataclass(frozen=True)
class Client:
    """What `PoseDetector` made of a folder: 'refused', 'same' or 'different', and its words."""

    answer: str
    words: str = ""


def ask_client(folder: Path, whole: Path, head: str) -> Client:
    """Run the folder and compare with the whole one."""
    right = right_keypoints(whole, head)
    try:
        found = keypoints(folder, head)
    except PoseDeployError as error:
        return Client("refused", str(error))
    if not np.array_equal(found, right, equal_nan=True):
        return Client(
            "different", f"{found.shape}, scores up to {found[..., 2].max(initial=0):.2g}"
        )
    return Client("same")


def _is_recorded(folder: Path, whole: Path) -> bool:
    """True if a file was changed whose checksum is recorded: all but the record itself are."""
    names = {path.name for path in (*whole.iterdir(), *folder.iterdir())} - {"detail.json"}
    return any(_hash(folder / name) != _hash(whole / name) for name in names)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"


@dataclass(frozen=True)
class Mutant:
    """A damaged folder, the whole one that it was, and what was done to it."""

    base: Base
    whole: Path
    folder: Path
    kind: str
    resealed: bool


def mutant(given: Attempt) -> Mutant:
    """One mutant of one base, in a folder of the attempt."""
    mutate, resealed = MUTATIONS[given.index % len(MUTATIONS)]
    base = BASES[given.index // len(MUTATIONS) % len(BASES)]
    whole, folder = given.arena / base.name, given.scratch / "mutant"
    right_keypoints(whole, base.head)
    shutil.copytree(whole, folder)
    what = mutate(folder, base, given.rng, given.arena)
    if resealed:
        reseal(folder, whole)
    name = mutate.__name__ + (", resealed" if resealed else "")
    kind = given.note(f"{base.backend} {base.head}: {name}: {what}")
    return Mutant(base, whole, folder, kind, resealed)


def attempt(given: Attempt) -> Result:
    """One mutant of one base."""
    made = mutant(given)
    base, whole, folder, kind = made.base, made.whole, made.folder, made.kind
    status, text = cli("validate", str(folder))
    if status not in {0, 1, 2} or "Traceback" in text:
        return Result(Outcome.TRACEBACK, kind, f"validate: {status}: {tail(text)}")
    client = ask_client(folder, whole, base.head)
    if client.answer == "refused":
        return Result(Outcome.REFUSED, kind, f"validate {status}; client: {client.words[:300]}")
    if status != 0 or any(EDITED in finding.consequence for finding in validate(folder)):
        return Result(Outcome.REFUSED, kind, f"validate {status}; client: {client.answer}")
    if client.answer == "same":
        return Result(Outcome.SAME, kind)
    claimed = not made.resealed and _is_recorded(folder, whole)
    return Result(Outcome.SILENT if claimed else Outcome.DIFFERENT, kind, client.words)
