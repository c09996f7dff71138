"""Mutants of what decides a verdict: `tox -e mutation`, or `-- compare` for one folder.

mutmut changes one thing at a time in the folders below and runs the tests that are named for them.
A mutant that no test notices has survived; at most one in twenty may. It works on a copy of the
sources in a temporary folder, with the tests alone.

mutmut rather than cosmic-ray: it forks a process that has imported everything once, and runs only
the tests that reach the changed function, so a mutant costs a tenth of a second; cosmic-ray starts
Python and pytest anew for every one. mutmut changes nothing outside of functions: the tables of
tolerances and of stages have tests of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_SURVIVORS = 0.05  # of all mutants
# ---- modify this table to add a folder: name -> (sources, their tests) --------------------------
FOLDERS: Mapping[str, tuple[str, str]] = {
    "compare": ("src/poseconform/compare", "suites/unit/poseconform/compare"),
    "decode": ("src/posedeploy/sdk/decode", "suites/unit/posedeploy/sdk/test_sdk_decode.py"),
    "results": ("src/poseconform/results", "suites/unit/poseconform/results"),
}
# -------------------------------------------------------------------------------------------------
# Exit statuses of pytest as mutmut records them, and what they mean here.
VERDICTS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", 36: "timeout"}
NOTICED = ("killed", "timeout")
_TIMEOUTS = (-signal.SIGXCPU, -signal.SIGKILL)
# It counts the functions of a module, and mutmut adds some.
_DESELECTED = "suites/unit/poseconform/compare/test_metrics_limits.py::test_every_metric_is_here"
_SETTINGS = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {only}
also_copy = ["fixtures", "suites", "conftest.py", "pytest.ini", "deploy_configs"]
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--deselect", "{deselected}"]
use_git_change_detection = false
"""
# Fewer examples than in a run of the suites, the same ones each time, and no search for the
# simplest: here it matters only that one of them fails.
_CONFTEST = """
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation", max_examples=20, deadline=None, derandomize=True, database=None,
    phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
settings.load_profile("mutation")
"""


def prepare(folder: Path, names: Sequence[str]) -> None:
    """Fill the folder that mutmut works in."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "fixtures", "deploy_configs", "suites/unit"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pytest.ini", folder)
    (folder / "conftest.py").write_text(_CONFTEST)
    settings = _SETTINGS.format(
        only=json.dumps([f"{FOLDERS[name][0]}/*.py" for name in names]),
        tests=json.dumps([FOLDERS[name][1] for name in names]),
        deselected=_DESELECTED,
    )
    (folder / "pyproject.toml").write_text(settings)


def read_verdicts(folder: Path) -> dict[str, str]:
    """Mutant -> verdict, from the files that mutmut writes."""
    found: dict[str, str] = {}
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        statuses = json.loads(path.read_text())["exit_code_by_key"]
        for name, status in statuses.items():
            late = status in _TIMEOUTS
            found[name] = "timeout" if late else VERDICTS.get(status, f"unclear ({status})")
    return found


def mutmut(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mutmut in the folder; it puts `src` of its copy before the installed project."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def show(folder: Path, names: Sequence[str]) -> None:
    """Print what each mutant changes."""
    for name in names:
        text = mutmut(folder, "show", name).stdout
        lines = [x for x in text.splitlines() if x[:1] in "+-" and x[:3] not in {"+++", "---"}]
        print(f"\n{name}", *lines, sep="\n  ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Mutate, test, count; 1 if too many survive, 2 if mutmut could not run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(FOLDERS))
    parser.add_argument("--processes", default="1", help="mutants at a time (default: 1)")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.folders) - set(FOLDERS)):
        parser.error(f"no folder {', '.join(unknown)}; there are: {', '.join(FOLDERS)}")
    names = options.folders or list(FOLDERS)
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        folder = Path(temporary)
        prepare(folder, names)
        ran = mutmut(folder, "run", "--max-children", options.processes)
        verdicts = read_verdicts(folder)
        if ran.returncode or not verdicts:
            print(ran.stdout[-4000:], ran.stderr[-4000:], sep="\n")
            return 2
        survivors = [mutant for mutant, verdict in verdicts.items() if verdict not in NOTICED]
        show(folder, survivors)
    print("\nmutants:", dict(Counter(verdicts.values())))
    for name in names:
        package = FOLDERS[name][0].removeprefix("src/").replace("/", ".")
        here = [verdict for mutant, verdict in verdicts.items() if mutant.startswith(package)]
        left = sum(verdict not in NOTICED for verdict in here)
        print(f"  {name:20} {len(here):4} mutants, {left:3} survived")
    share = len(survivors) / len(verdicts)
    print(
        f"{len(survivors)} of {len(verdicts)} survived: {share:.1%}; at most {MOST_SURVIVORS:.0%}"
    )
    return int(share > MOST_SURVIVORS)


if __name__ == "__main__":
    sys.exit(main())
