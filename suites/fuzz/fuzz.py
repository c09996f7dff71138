"""Coverage-guided fuzzing of what reads files of strangers: `tox -e fuzz -- --seconds 600`.

A target is a module `fuzz_NAME.py` with a function `one(data)`, which raises for a finding, and
inputs to begin with in `seeds/NAME/`. Each runs in a process of its own, one after the other. An
input that is found is written to `reports/fuzz/`: it becomes a seed, and with that a test of
`suites/unit/test_fuzz_seeds.py`. `-- --keep` adds what reached new code to the seeds, as few
inputs as do.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGETS = tuple(sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py")))
SECONDS_AN_INPUT, MEGABYTES = 10, 2048  # more of either is a finding
LONGEST = {"folder": 20_000, "name": 200, "results": 12_000}  # bytes of an input
WORDS = re.compile(rb'"[\w$.#:-]{1,40}"|[a-z0-9]{2,30}')


def target(name: str) -> Callable[[bytes], None]:
    """The function that takes an input."""
    module = importlib.import_module(f"suites.fuzz.fuzz_{name}")
    return module.one  # type: ignore[no-any-return]


def seeds(name: str) -> Path:
    """The folder of a target's inputs."""
    return HERE / "seeds" / name


def main(words: list[str]) -> int:
    """Fuzz each target; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--keep", action="store_true", help="keep what reached new code as seeds")
    options = parser.parse_args(words)
    found = 0
    for name in options.targets or TARGETS:
        if name not in TARGETS:
            parser.error(f"no target {name!r}; there are {', '.join(TARGETS)}")
        found += fuzz(name, options.seconds, keep=options.keep)
    return int(found > 0)


def fuzz(name: str, seconds: int, *, keep: bool) -> int:
    """Run one target; 1 if it found something."""
    findings = ROOT / "reports" / "fuzz" / name
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus, dictionary = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        dictionary.write_text(_dictionary(name))
        command = [
            sys.executable, __file__, "--libfuzzer", name, str(corpus), str(seeds(name)),
            f"-max_total_time={seconds}", f"-timeout={SECONDS_AN_INPUT}",
            f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST[name]}", f"-dict={dictionary}",
            f"-artifact_prefix={findings}/", "-print_final_stats=1", "-verbosity=1",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        log = done.stdout.decode("utf-8", "replace")
        (findings / "log.txt").write_text(log)
        runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", log)
        covered = re.findall(r"cov: (\d+)", log)
        print(
            f"{name}: {int(runs[1]) if runs else 0:,} inputs, {covered[-1] if covered else 0} "
            f"branches, {'a finding' if done.returncode else 'no finding'}",
            flush=True,
        )
        if done.returncode:
            print(log[-4000:], file=sys.stderr)
        if keep:
            smallest = Path(folder, "smallest")
            smallest.mkdir()
            merge = [*command[:4], "-merge=1", str(smallest), str(seeds(name)), str(corpus)]
            subprocess.run([a for a in merge if a != str(corpus) or a == merge[-1]],
                           cwd=ROOT, check=True, stderr=subprocess.DEVNULL)  # fmt: skip
            for path in smallest.iterdir():
                shutil.copy(path, seeds(name) / path.name)
    return int(done.returncode != 0)


def _dictionary(name: str) -> str:
    """The words of the seeds, for libFuzzer to put in."""
    found = {word for path in seeds(name).iterdir() for word in WORDS.findall(path.read_bytes())}
    lines = (word.replace(b'"', b'\\"').decode() for word in sorted(found))
    return "".join(f'"{line}"\n' for line in lines)


def _mutate_bytes(atheris: Any, data: bytes, longest: int) -> bytes:
    """Its `Mutate`, which is another function once `Fuzz` has been called."""
    return atheris.Mutate(data, longest)  # type: ignore[no-any-return]


def worker(name: str, arguments: list[str]) -> None:
    """Fuzz in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["poseconform", "posedeploy"]):
        function = target(name)
    from suites.fuzz.fuzz_folder import SEPARATOR
    from suites.fuzz.mutations import mutator

    separators = {"folder": SEPARATOR, "results": None}
    mutators = {}
    if name in separators:
        mutate = mutator(partial(_mutate_bytes, atheris), separators[name])
        mutators["custom_mutator"] = mutate
    atheris.Setup([sys.argv[0], *arguments], function, **mutators)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--libfuzzer"]:
        worker(sys.argv[2], sys.argv[3:])
    sys.exit(main(sys.argv[1:]))
