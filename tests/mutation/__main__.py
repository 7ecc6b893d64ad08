# SPDX-License-Identifier: MIT
"""Mutation tests: `python tests/mutation [--mutants 300] [--seed 0] [FILE ...]` says which mistakes no test catches.

Each mutant is a copy of the package with one mistake (see mutants.py), drawn at random from all of the files. The tests
of its file run on it, then those of its folder and of the folder that uses it, each until the first failure. A mutant
that passes all of them survives: a test is missing, unless the mistake changes nothing, as equivalent.txt explains.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT), str(ROOT / "tests" / "promises")]

from test_package import TESTED_WITH  # noqa: E402

FILES = (
    "ops.py", "network.py", "losses/*.py", "training/*.py", "distillation/*.py", "deployment/**/*.py",
    "experiments/sweep/*.py", "cli/*.py",
)  # fmt: skip
EQUIVALENT = Path(__file__).parent / "equivalent.txt"  # lines "file: source line: mistake: reason"
QUICK = "not compiles and not course and not docs and not ptx and not cuda"
SECONDS = 300  # of one run of tests: a mutant that takes longer is caught


class Trial(NamedTuple):
    """A mutant of one file."""

    file: str
    source: str
    mutant: Mutant

    @property
    def name(self) -> str:
        line = self.source.splitlines()[self.mutant.line - 1].split("  #")[0].strip()
        return f"{self.file}: {line}: {self.mutant.what}"


def main() -> int:
    """Runs the mutants and prints the survivors; the exit status is 1 where there are any that are not explained."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", help="files of the package, such as losses/dist.py; else those above")
    parser.add_argument("--mutants", type=int, default=300, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    trials = drawn(options.files or FILES, options.mutants, options.seed)
    copies: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.processes) as pool:
        for k in range(options.processes):
            copies.put(copied(Path(folder) / str(k)))
        for tests in sorted({each for trial in trials for each in tests_of(trial.file)}):
            if fails(Path(folder) / "0", tests):
                parser.error(f"{tests} fails without a mistake")
        found = list(pool.map(lambda trial: outcome(trial, copies), trials))
    explained = {line.rsplit(": ", 1)[0] for line in EQUIVALENT.read_text().splitlines() if line}
    survivors = [trial.name for trial, caught in zip(trials, found, strict=True) if not caught]
    counts = Counter(trial.file for trial in trials)
    missed = [name for name in survivors if name not in explained]
    for file in counts:
        print(f"{file:45} {counts[file]:4} mutants, {sum(name.startswith(file + ':') for name in missed)} not caught")
    relevant = len(trials) - len(survivors) + len(missed)
    print(f"{relevant - len(missed)} of {relevant} caught, {(relevant - len(missed)) / relevant:.1%}")
    print(*missed, sep="\n")
    return bool(missed)


def drawn(patterns: tuple[str, ...] | list[str], count: int, seed: int) -> list[Trial]:
    """`count` mutants of the files, at random and never the same twice."""
    package = ROOT / "minidistill"
    files = sorted({path for pattern in patterns for path in package.glob(pattern)})
    pool = []
    for path in files:
        source = path.read_text()
        pool += [Trial(str(path.relative_to(package)), source, mutant) for mutant in mutants(source)]
    return random.Random(seed).sample(pool, min(count, len(pool)))


def copied(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in ("minidistill", "tests", "tools", "docs", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def outcome(trial: Trial, copies: "SimpleQueue[Path]") -> bool:
    """Whether the tests catch the mutant."""
    copy = copies.get()
    path = copy / "minidistill" / trial.file
    path.write_text(trial.mutant.of(trial.source))
    start = time.perf_counter()
    try:
        caught = any(fails(copy, tests) for tests in tests_of(trial.file))
    finally:
        path.write_text(trial.source)
        copies.put(copy)
    print(f"{'caught' if caught else 'SURVIVED'} {time.perf_counter() - start:5.1f} s  {trial.name}", file=sys.stderr)
    return caught


def tests_of(file: str) -> list[str]:
    """The tests to run, the likeliest to fail first: of the file, of its folder, and of what is trained with it."""
    own = Path(file).with_suffix("")
    listed = TESTED_WITH.get(str(own))
    first = f"tests/{listed}.py" if listed else f"tests/{own.parent / f'test_{own.name}.py'}"
    above = {"": "training", "losses": "training", "training": "distillation"}.get(own.parent.name)
    folders = [f"tests/{name}" for name in (own.parent.name and str(own.parent), above) if name]
    places = [first, "tests/promises/test_defaults.py", *folders]
    return [each for each in places if (ROOT / each).exists()]


def fails(copy: Path, tests: str) -> bool:
    """Whether a test fails there, hangs, or cannot even be collected."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", QUICK, tests]
    run = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return run.wait(SECONDS) not in (0, 5)  # 5: all tests are of another kind
    except subprocess.TimeoutExpired:
        return True
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)  # what it has started, too


if __name__ == "__main__":
    sys.exit(main())
