"""Damaged entries of the artifact cache, hostile results files, hostile servers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import shutil
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

from fixtures.sample_results import sample_results
from poseconform.isolation.artifacts import MANIFEST, ArtifactCache
from poseconform.report.__main__ import main as report
from poseconform.results.results import write_results
from posedeploy.errors import PoseDeployError
from suites.drill.folders import CONTENTS, DEEP, VALUES, _places
from suites.drill.harness import GIB, Attempt, Outcome, Result, tail

FILES = {"a.bin": b"abc" * 100, "sub/b.bin": b"d" * 1000}


def _fill(folder: Path) -> Mapping[str, object]:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return {"seconds": 1}


def _rewrite(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A damage of the manifest's JSON."""

    def damage(entry: Path) -> None:
        data = json.loads((entry / MANIFEST).read_text())
        change(data)
        (entry / MANIFEST).write_text(json.dumps(data))

    return damage


def _written(content: bytes) -> Callable[[Path], object]:
    return lambda entry: (entry / MANIFEST).write_bytes(content)


def _in_place(make: Callable[[Path], object], name: str = "") -> Callable[[Path], object]:
    """Put something in the place of the entry, or of a file in it."""

    def damage(entry: Path) -> None:
        path = entry / name if name else entry
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        make(path)

    return damage


def _lock(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(entry: Path) -> None:
        lock = entry.with_name(f"{entry.name}.lock")
        lock.unlink(missing_ok=True)
        make(lock)
        shutil.rmtree(entry)

    return damage


# ---- modify this table to add a damage; it is given the entry's folder ----------------------
DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "entry: a file in its place": _in_place(Path.touch),
    "entry: a loop of links": _in_place(lambda path: path.symlink_to(path.name)),
    "entry: a link to nothing": _in_place(lambda path: path.symlink_to("nowhere")),
    "entry: empty": _in_place(Path.mkdir),
    "file: another content": lambda entry: (entry / "a.bin").write_bytes(b"xyz" * 100),
    "file: a folder in its place": _in_place(Path.mkdir, "a.bin"),
    "file: gone": lambda entry: (entry / "sub" / "b.bin").unlink(),
    "file: truncated": lambda entry: (entry / "a.bin").write_bytes(b"abc"),
    "lock: a folder in its place": _lock(Path.mkdir),
    "lock: a link to nothing": _lock(lambda path: path.symlink_to("nowhere")),
    "manifest: a folder": _in_place(Path.mkdir, MANIFEST),
    "manifest: a list": _written(b"[]"),
    "manifest: another encoding": _written(
        json.dumps({"facts": {}, "files": {}}).encode("utf-16")
    ),
    "manifest: bytes": _written(b"\xff\xfe\x00\x80"),
    "manifest: empty": _written(b""),
    "manifest: files is no object": _rewrite(lambda data: data.update(files=3)),
    "manifest: nested": _written(b"[" * 100_000),
    "manifest: null": _written(b"null"),
    "manifest: truncated": lambda e: (e / MANIFEST).write_bytes((e / MANIFEST).read_bytes()[:40]),
    "manifest: without facts": _rewrite(lambda data: data.pop("facts")),
    "manifest: without files": _rewrite(lambda data: data.pop("files")),
    "manifest: wrong hashes": _rewrite(lambda data: data["files"].update({"a.bin": ["x"]})),
}
# --------------------------------------------------------------------------------------------


def cache(given: Attempt) -> Result:
    """One damage: the entry is made again, and found after that."""
    kind = given.note(sorted(DAMAGES)[given.index % len(DAMAGES)])
    artifacts = ArtifactCache(given.scratch / "cache")
    DAMAGES[kind](artifacts.get_or_make("k", _fill).path)
    again = artifacts.get_or_make("k", _fill)
    healed = artifacts.find("k")
    content = {name: (again.path / name).read_bytes() for name in FILES}
    right = content == FILES and dict(again.facts) == {"seconds": 1} and healed is not None
    return Result(Outcome.SAME if right else Outcome.BROKEN, kind, f"made again: {again.made}")


_HOSTILE_TEXTS = (*VALUES, '"</script><script>alert(1)</script>"', '"::error::x"', '"\\u001b[31m"')


def _edit_results(text: str, rng: Random) -> tuple[str, str]:
    """One damage of a results.json: what, and the text."""
    if rng.random() < 0.2:
        whole = (DEEP, "[" * 100_000, text[: rng.randrange(len(text))], text * 2, "9" * 5000, "{}")
        number = rng.randrange(len(whole))
        return f"whole {number}", whole[number]
    data, mark = json.loads(text), "\uffff"
    places = list(_places(data))
    run = [place for place in places if place[2].startswith(("$.run", "$.environment"))]
    container, key, path = rng.choice(rng.choice((places, run)))
    what = rng.choice(("value", "value", "value", "gone", "many", "deep"))
    new = rng.choice(_HOSTILE_TEXTS)
    if what == "gone":
        del container[key]
    else:
        if what == "many":
            new = json.dumps([container[key]] * rng.choice((1000, 100_000)))
        new = "[" * 5000 + "]" * 5000 if what == "deep" else new
        container[key] = mark
    return f"{path} {what} {new[:20]}", json.dumps(data).replace(json.dumps(mark), new)


def run_report(*words: str) -> tuple[int, str]:
    """`python -m poseconform.report` in this process."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        status = report(list(words))
    return status, out.getvalue()


def results(given: Attempt) -> Result:
    """A damaged results.json, through every command that reads one."""
    good, bad = given.scratch / "good.json", given.scratch / "bad.json"
    write_results(good, sample_results(24))
    if given.index % 3:
        what, text = _edit_results(good.read_text(), given.rng)
        content = text.encode("utf-8", "surrogatepass")
    else:
        number = given.rng.randrange(len(CONTENTS))
        what, content = f"content {number}", CONTENTS[number]
    bad.write_bytes(content)
    kind = given.note(what)
    out, statuses = str(given.scratch / "out"), set()
    for words in (
        ("build", str(bad), "--out", out),
        ("build", str(good), "--out", out, "--baseline", str(bad)),
        ("diff", str(good), str(bad)), ("merge", f"a={bad}", f"b={good}", "--out", f"{out}.json"),
        ("table", str(bad)),
    ):  # fmt: skip
        status, text = run_report(*words)
        statuses.add(status)
        if status not in {0, 1, 2} or "Traceback" in text:
            return Result(Outcome.TRACEBACK, kind, f"{words[0]}: {status}: {tail(text)}")
    return Result(Outcome.REFUSED if statuses == {2} else Outcome.SAME, kind, f"{statuses}")


BODY = bytes(range(256)) * 4000
NAME = f"model-{hashlib.sha256(BODY).hexdigest()[:8]}_20230127.pth"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


def _lengths(value: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: " + value + b"\r\n\r\n", BODY]


def _redirect(to: bytes) -> list[bytes]:
    return [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to + b"\r\n\r\n"]


def _endless(start: bytes) -> Iterator[bytes]:
    return itertools.chain([start], itertools.repeat(b"x" * 2**20))


def _slow() -> Iterator[bytes]:
    yield _OK
    for start in range(0, len(BODY), len(BODY) // 20):
        time.sleep(0.1)
        yield BODY[start : start + len(BODY) // 20]


# ---- modify this table to add a server: what it sends --------------------------------------
SERVERS: Mapping[str, Callable[[], Any]] = {
    "a body without an end": lambda: _endless(b"HTTP/1.1 200 OK\r\n\r\n"),
    "a body without an end, in chunks": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
        itertools.repeat(b"100000\r\n" + b"x" * 2**20 + b"\r\n")),
    "a body without an end, a short length": lambda: _endless(_OK),
    "a line without an end": lambda: itertools.repeat(b"x" * 2**16),
    "another file": lambda: [_OK, bytes(len(BODY))],
    "bad chunks": lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "headers without an end": lambda: itertools.chain(
        [b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"a: b\r\n")),
    "half of the body": lambda: [_OK, BODY[: len(BODY) // 2]],
    "length, huge": lambda: _lengths(b"9" * 30),
    "length, negative": lambda: _lengths(b"-5"),
    "length, of 5,000 digits": lambda: _lengths(b"9" * 5000),
    "length, text": lambda: _lengths(b"many"),
    "length, too small": lambda: _lengths(b"10"),
    "no HTTP": lambda: [b"\xff" * 1000],
    "nothing": lambda: [b""],
    "parts of another range": lambda: [
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\n"
                                       b"Content-Length: 5\r\n\r\nxxxxx"],
    "redirect in a circle": lambda: _redirect(b"/" + NAME.encode()),
    "redirect to a file": lambda: _redirect(b"file:///etc/passwd"),
    "redirect to half an address": lambda: _redirect(b"http://[::1"),
    "slow, and right": _slow,
    "status 500": lambda: [b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"],
    "the target is a folder": lambda: [_OK, BODY],
    "the target's part is a folder": lambda: [_OK, BODY],
    "right": lambda: [_OK, BODY],
}  # fmt: skip
# --------------------------------------------------------------------------------------------
MOST_SENT = 3 * GIB  # where a body without an end does end


@contextmanager
def _serving(send: Callable[[], Any]) -> Iterator[str]:
    """The URL of a server on the loopback interface."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            sent = 0
            with contextlib.suppress(OSError):  # the client has hung up
                self.request.recv(65536)
                for part in send():
                    self.request.sendall(part)
                    sent += len(part)
                    if sent > MOST_SENT:
                        return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{NAME}"
        server.shutdown()


def server(given: Attempt) -> Result:
    """A checkpoint fetched from one server; nothing but the right file may be there after it."""
    from posedeploy.zoo.download import fetch

    kind = given.note(sorted(SERVERS)[given.index % len(SERVERS)])
    path = given.scratch / "checkpoints" / NAME
    if kind == "the target is a folder":
        path.mkdir(parents=True)
    if kind == "the target's part is a folder":
        path.with_name(f"{NAME}.part").mkdir(parents=True)
    with _serving(SERVERS[kind]) as url:
        try:
            fetch(url, path)
        except PoseDeployError as error:
            left = path.is_file() or sum(p.stat().st_size for p in path.parent.glob("*")) > GIB
            return Result(Outcome.BROKEN if left else Outcome.REFUSED, kind, str(error)[:300])
    right = path.is_file() and path.read_bytes() == BODY
    return Result(Outcome.SAME if right else Outcome.SILENT, kind)
