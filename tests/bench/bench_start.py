"""What a start costs: CPU (user and system) of the archive against the bare interpreter's.

    .venv/bin/python tests/bench/bench_start.py [RUNS [PYTHON...]]

Each Python builds its own archive and starts both in turn, so that a busy machine slows both; the
figures are medians.  `other` is an archive that another Python built: its compiled modules don't fit.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from support import PYTHONS, ROOT


def cpu(argv: list[str]) -> float:
    """Milliseconds of CPU that one run takes."""
    pid = os.posix_spawn(
        argv[0],
        argv,
        {"PATH": os.defpath, "LANG": "C.UTF-8"},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit("%s: status %d" % (" ".join(argv), status))
    return 1000 * (usage.ru_utime + usage.ru_stime)


def medians(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """One of each in turn, `runs` times."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            taken[name].append(cpu(argv))
    return {name: statistics.median(times) for name, times in taken.items()}


def main(words: list[str]) -> None:
    runs = int(words[0]) if words else 50
    pythons = words[1:] or [python.path for python in PYTHONS]
    with tempfile.TemporaryDirectory() as folder:
        archives = {}
        for i, python in enumerate(pythons):
            archives[python] = os.path.join(folder, "%d.pyz" % i)
            subprocess.run(
                [python, os.path.join(ROOT, "build_zipapp.py"), "-o", archives[python]], check=True
            )
        print("CPU in ms and times the bare interpreter, median of %d" % runs)
        print("%-10s %6s %14s %14s %14s" % ("python", "bare", "--version", "--help", "--help, other"))
        for i, python in enumerate(pythons):
            mine, other = archives[python], archives[pythons[i - 1]]
            commands = {
                "bare": [python, "-c", "pass"],
                "version": [python, mine, "--version"],
                "help": [python, mine, "--help"],
            }
            if len(pythons) > 1:
                commands["other"] = [python, other, "--help"]
            took = medians(commands, runs)
            bare = took.pop("bare")
            name = subprocess.run([python, "-V"], capture_output=True, check=True).stdout.decode().split()[1]
            print(
                "%-10s %6.1f " % (name, bare)
                + " ".join("%7.1f %5.2fx" % (t, t / bare) for t in took.values())
            )


if __name__ == "__main__":
    main(sys.argv[1:])
