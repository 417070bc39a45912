"""What a start costs: CPU of the archive against the bare interpreter's.

    .venv/bin/python tests/bench/bench_start.py [RUNS [PYTHON...]]

Each Python builds its own archive and starts both in turn, so that a busy machine slows both; the
figures are medians.  `other` is an archive that another Python built: its compiled modules don't fit.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import measure
from support import PYTHONS


def medians(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Milliseconds of CPU of each command: one of each in turn, `runs` times."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            taken[name].append(measure.cpu(argv))
    return {name: statistics.median(times) for name, times in taken.items()}


def starts(python: str, archive: str, runs: int, other: str = "") -> dict[str, float]:
    """Milliseconds of CPU: `bare`, `version`, `help`, and with another archive `other`."""
    commands = {
        "bare": measure.bare(python),
        "version": [python, archive, "--version"],
        "help": [python, archive, "--help"],
    }
    if other:
        commands["other"] = [python, other, "--help"]
    return medians(commands, runs)


def main(words: list[str]) -> None:
    runs = int(words[0]) if words else 50
    pythons = words[1:] or [python.path for python in PYTHONS]
    with tempfile.TemporaryDirectory() as folder:
        pythons = [measure.clean(python, folder) for python in pythons]
        archives = [measure.built(python, folder) for python in pythons]
        print("CPU in ms and times the bare interpreter, median of %d" % runs)
        print("%-10s %6s %14s %14s %14s" % ("python", "bare", "--version", "--help", "--help, other"))
        for i, python in enumerate(pythons):
            took = starts(python, archives[i], runs, archives[i - 1] if len(pythons) > 1 else "")
            bare = took.pop("bare")
            print(
                "%-10s %6.1f " % (measure.version(python), bare)
                + " ".join("%7.1f %5.2fx" % (t, t / bare) for t in took.values()),
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
