"""What an operator feels and a host pays: the archive on a pty, real packets in a namespace.

    python3 tests/bench/bench_prompt.py [RUNS [PYTHON...]]

For each Python, with an archive that it built itself:

    painted   ms from just before a program's connect() until its question is painted whole
    verdict   ms from the key until the verdict command runs: 40 of them the key is held back, to
              see that it came alone; the stand-in's own start is in it
    start     ms of CPU until it watches, session + reader, and how many times that is what the bare
              interpreter takes (what podman and terok-shield take is theirs and left out)
    idle      times that each of them woke up in 5 s
    memory    MB resident, session + reader, and how many times that is the bare interpreter's;
              what 300,000 destinations add to it
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from endtoend import Desk
from host import Host
from lab import Lab
from support import PYTHONS, ROOT
from terminal_driver import Session


def on_cpu(pid: int) -> float:
    """Milliseconds that a process has run (proc(5), schedstat)."""
    with open("/proc/%d/schedstat" % pid) as f:
        return int(f.read().split()[0]) / 1e6


def status(pid: int, key: str) -> int:
    with open("/proc/%d/status" % pid) as f:
        return int(next(line for line in f if line.startswith(key + ":")).split()[1])


def bare(python: str) -> float:
    """Milliseconds of CPU of the interpreter that does nothing."""
    pid = os.posix_spawn(python, [python, "-I", "-c", "pass"], {"PATH": os.defpath})
    usage = os.wait4(pid, 0)[2]
    return 1000 * (usage.ru_utime + usage.ru_stime)


def bare_memory(python: str) -> float:
    """MB resident of the interpreter that does nothing."""
    code = "print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])"
    return int(subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, check=True).stdout) / 1024


class Bench:
    """One Python, with its archive, at a desk of its own."""

    def __init__(self, desk: Desk, runs: int) -> None:
        self.desk, self.runs = desk, runs
        self.painted: list[float] = []
        self.verdict: list[float] = []
        self.start: list[list[float]] = []  # of session and reader
        self.bare: list[float] = []

    def pids(self) -> list[int]:
        return [self.desk.processes(role)[0] for role in ("session", "reader")]

    def rounds(self) -> None:
        """A session each: it starts, a question is painted, it ends."""
        for n in range(self.runs):
            t = self.desk.sit()
            self.start.append([on_cpu(pid) for pid in self.pids()])
            self.bare.append(bare(self.desk.python))
            t.quiet(0.05)
            began = time.monotonic()
            asked = self.desk.block("203.0.113.%d" % (n % 200))
            self.painted.append(1000 * (asked.at - began))
            if n < 3:
                pressed = self.desk.press("d", asked)
                t.expect("done in")
                self.verdict.append(1000 * (self.desk.host.verdicts()[-1].began - pressed))
            t.send("\x03")
            t.wait()
            t.close()

    def idle(self, seconds: float = 5.0) -> tuple[int, ...]:
        """Wake-ups of session and reader while nothing happens, a question on the screen."""
        t = self.desk.sit()
        asked = self.desk.block("198.51.100.1")
        self.desk.wait_for_keys(asked)
        pids = self.pids()
        before = [status(pid, "voluntary_ctxt_switches") for pid in pids]
        time.sleep(seconds)
        after = [status(pid, "voluntary_ctxt_switches") for pid in pids]
        t.close()
        return tuple(b - a for a, b in zip(before, after))

    def memory(self) -> tuple[list[float], list[float]]:
        """MB resident of session and reader: at the start, and the most with 300,000 destinations."""
        t = self.desk.sit()
        pids = self.pids()
        begin = [status(pid, "VmRSS") / 1024 for pid in pids]
        self.desk.block("198.51.100.2")
        for n in range(12):
            self.desk.lab.flood(25_000, first="198.18.0.0" if n < 5 else "2001:db8:%d::" % n)
        time.sleep(3)
        most = [status(pid, "VmHWM") / 1024 for pid in pids]
        t.close()
        return begin, most


def measure(python: str, runs: int, folder: str) -> None:
    archive = os.path.join(folder, "simple-clearance.pyz")
    subprocess.run([python, os.path.join(ROOT, "build_zipapp.py"), "-o", archive], check=True)
    sessions: list[Session] = []

    def terminal(argv: list[str], **options: object) -> Session:
        sessions.append(Session(argv, **options))  # type: ignore[arg-type]
        return sessions[-1]

    with Host(os.path.join(folder, "host")) as host, Lab() as lab:
        desk = Desk(host, lab, terminal, archive)
        desk.python, desk.flags = python, []
        bench = Bench(desk, runs)
        try:
            bench.rounds()
            woken = bench.idle()
            memory = bench.memory()
        finally:
            for session in sessions:
                session.close()
    name = subprocess.run([python, "-V"], stdout=subprocess.PIPE, check=True).stdout.decode().split()[1]
    painted = sorted(bench.painted)
    session, reader = (statistics.median(times) for times in zip(*bench.start))
    alone = statistics.median(bench.bare)
    begin, most = memory
    print(
        "%-8s painted p50 %.1f p95 %.1f   verdict %.0f   start %.0f + %.0f = %.1fx   idle %d + %d   "
        "memory %.0f + %.0f = %.1fx, later +%.0f +%.0f"
        % (
            name,
            statistics.median(painted),
            painted[int(0.95 * (len(painted) - 1))],
            statistics.median(bench.verdict),
            session,
            reader,
            (session + reader) / alone,
            *woken,
            *begin,
            sum(begin) / bare_memory(python),
            *(after - before for before, after in zip(begin, most)),
        ),
        flush=True,
    )


def main(words: list[str]) -> None:
    runs = int(words[0]) if words else 40
    for python in words[1:] or [python.path for python in PYTHONS]:
        with tempfile.TemporaryDirectory() as folder:
            measure(python, runs, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
