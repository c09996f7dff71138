"""A command that is told to end removes what it has half written, and so do its children."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import psutil
import pytest

from fixtures.tiny_models import TinyModel
from posedeploy.cli import STOPPED, main
from posedeploy.cli.stopping import Stopping
from posedeploy.synthetic.figures import draw_figure

# A command that is half through when it says so on its pipe.
COMMAND = """
import os, sys, time
from pathlib import Path
from posedeploy.cli.app import run
from posedeploy.cli.stopping import stopping
from posedeploy.paths import scratch_folder, whole_folder
from posedeploy.signals import handling_stop_signals

def convert(**_):
    with whole_folder(Path("work")) as folder, scratch_folder("export", Path()) as scratch:
        (folder / "half").write_text("x")
        (scratch / "half").write_text("x")
        print("a line", flush=True)
        os.write(int(sys.argv[1]), b"half")
        time.sleep(60)

with handling_stop_signals(stopping):
    run([], convert)
"""
# Makes standard input the terminal of its session, as a shell's is, and becomes the program.
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
IGNORING = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
WAIT = 60  # seconds
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command and returns once it is half through."""
    processes: list[subprocess.Popen[str]] = []

    def run(*before: str, terminal: int | None = None) -> subprocess.Popen[str]:
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        command = [*before, sys.executable, "-c", COMMAND, str(writer)]
        streams = {
            "stdin": subprocess.DEVNULL if terminal is None else terminal,
            "stdout": subprocess.PIPE if terminal is None else terminal,
            "stderr": subprocess.PIPE if terminal is None else terminal,
        }
        process = subprocess.Popen(  # type: ignore[call-overload]
            command, cwd=tmp_path, text=True, close_fds=False, start_new_session=True, **streams
        )
        processes.append(process)
        os.close(writer)
        assert os.read(reader, 4) == b"half"
        os.close(reader)
        assert len(hidden(tmp_path)) == 2
        return process  # type: ignore[no-any-return]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_leaves_nothing_half_written(
    start: Start, tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    process = start()
    process.send_signal(signum)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out, err.strip()) == (code, "a line\n", STOPPED)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_terminal_leaves_nothing_half_written(start: Start, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = start(sys.executable, "-c", IN_TERMINAL, terminal=theirs)
    os.close(theirs)
    os.close(ours)  # the system sends SIGHUP
    assert process.wait(WAIT) == 129
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_native_code_swallowed_is_raised_again() -> None:
    now = 0.0
    handler = Stopping(lambda: now)
    handler.check()
    for seconds, code in ((0.0, 129), (7.0, 143)):
        now = seconds
        with pytest.raises(SystemExit, match=f"{code}"):
            handler(code - 128, None)
        with pytest.raises(SystemExit, match=f"{code}"):
            handler.check()
        now += 1.0
        handler(signal.SIGHUP, None)  # does not cut short what the first began


def test_what_is_ignored_stays_ignored(start: Start, tmp_path: Path) -> None:
    process = start(sys.executable, "-c", IGNORING)  # as `nohup` starts it
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    assert len(hidden(tmp_path)) == 2
    process.terminate()
    assert process.wait(WAIT) == 143


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_conversion_that_is_ended_leaves_nothing_for_long(
    tiny_model: Callable[[str], TinyModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signum: signal.Signals,
) -> None:
    tiny = tiny_model("rtmpose_t")
    cv2.imwrite(str(tmp_path / "photo.png"), draw_figure(3, (120, 90))[0])
    (tmp_path / "out").mkdir()
    words = (
        "pose-detection_simcc_onnxruntime_static", str(tiny.config), str(tiny.checkpoint),
        "photo.png", "--work-dir", "out/work",
    )  # fmt: skip
    command = [sys.executable, "-m", "posedeploy", "convert", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        # Two: the folder that is written and the scratch folder beside it. One alone may be the
        # trial of whether the place can be written to, which is gone a moment later.
        while len(hidden(tmp_path / "out")) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signum)
        process.wait(WAIT)
    left = hidden(tmp_path / "out")
    assert not (tmp_path / "out" / "work").exists()
    assert bool(left) is (signum == signal.SIGKILL)
    if left:
        monkeypatch.chdir(tmp_path)  # in this process, where torch is imported already
        with pytest.raises(SystemExit, match="0"):
            main(command[3:])
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["work"]


PARENT = """
import sys
from posedeploy.cli.judge import run_module
sys.exit(run_module("patient", []))
"""
CHILD = """
import signal, sys, time
def end(signum, frame):
    print("told", signum, flush=True)
    sys.exit(2)
for signum in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, end)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=str)
def test_a_child_is_told_and_does_not_outlive_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    (tmp_path / "patient.py").write_text(CHILD)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) == 1
        parent.send_signal(signum)
        _, running = psutil.wait_procs(children, WAIT)
        assert running == []
        if signum == signal.SIGKILL:
            assert parent.wait(WAIT) == -signal.SIGKILL
        else:
            assert parent.stdout.readline() == f"told {int(signum)}\n"
            assert parent.wait(WAIT) == 2
