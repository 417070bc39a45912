"""What an operator feels and a host pays: the archive on a pty, real packets in a namespace.

    .venv/bin/python tests/bench/bench_prompt.py [RUNS [PYTHON...]]

For each Python, with an archive that it built itself:

    painted   ms from just before a program's connect() until its question is painted whole
    verdict   ms from the key until the verdict command runs: 540 of them the key is held back, to
              see that it came alone and nothing takes it back; the stand-in's own start is in it
    start     ms of CPU until it watches, session + reader, and how many times that is what the bare
              interpreter takes (what podman and terok-shield take is theirs and left out)
    idle      times that each of them woke up in 8 s
    memory    MB resident, session + reader with what forks it, and how many times the bare interpreter's;
              what 300,000 destinations add to it, afterwards and at most
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import Iterator, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import measure
from endtoend import Desk
from host import Host
from lab import Lab
from support import PYTHONS
from terminal_driver import Session

# What has run in the process before it becomes Python is no part of the start.  `cat`, for only of a
# process that sleeps does the kernel tell the exact figure.
_WEIGH = 'cat /proc/$$/schedstat >"$0"; exec "$@"'


@contextmanager
def at_desk(python: str, archive: str, folder: str) -> Iterator[Desk]:
    """A desk where this Python runs this archive; `folder` is for the host and is not there yet."""
    sessions: list[Session] = []

    def terminal(argv: list[str], **options: object) -> Session:
        sessions.append(Session(argv, **options))  # type: ignore[arg-type]
        return sessions[-1]

    with Host(folder) as host, Lab() as lab:
        desk = Desk(host, lab, terminal, archive)
        desk.python, desk.flags = python, []
        try:
            yield desk
        finally:
            for session in sessions:
                session.close()


def leave(desk: Desk) -> None:
    """Ctrl-C, and its end."""
    desk.t.send("\x03")
    desk.t.wait()
    desk.t.close()


def painted(desk: Desk, address: str) -> float:
    """Milliseconds from just before a connect() that is blocked until its question is painted whole."""
    time.sleep(random.uniform(0.0, 0.02))  # at any phase of the kernel's tick
    began = time.monotonic()
    return 1000 * (desk.block(address).at - began)


class Rounds(NamedTuple):
    """Milliseconds of each session: until its question was painted; of CPU until it watched."""

    painted: list[float]
    session: list[float]
    reader: list[float]  # and what forked it
    bare: list[float]  # of the bare interpreter, in turn with them

    @property
    def p50(self) -> float:
        return statistics.median(self.painted)

    @property
    def start(self) -> float:
        """CPU of a start, session and reader, in bare interpreters."""
        both = statistics.median(a + b for a, b in zip(self.session, self.reader))
        return both / statistics.median(self.bare)


def rounds(desk: Desk, runs: int) -> Rounds:
    """A session each: it starts, a question is painted, it ends."""
    taken = Rounds([], [], [], [])
    path = os.path.join(desk.host.folder, "before")
    desk.prefix = ["/bin/sh", "-c", _WEIGH, path]
    for n in range(runs):
        t = desk.sit()
        t.quiet(0.05)
        with open(path) as f:
            before = int(f.read().split()[0]) / 1e6
        (session,) = desk.processes("session")
        taken.session.append(measure.on_cpu(session) - before)
        (forkserver,) = desk.processes("forkserver")
        taken.reader.append(measure.on_cpu(forkserver) + measure.on_cpu(desk.reader()))
        taken.bare.append(measure.cpu(measure.bare(desk.python)))
        taken.painted.append(painted(desk, "203.0.113.%d" % (n % 200)))
        leave(desk)
    desk.prefix = []
    return taken


def verdicts(desk: Desk, runs: int) -> float:
    """Milliseconds from the key until the verdict command runs, median."""
    taken = []
    t = desk.sit()
    for n in range(runs):
        key = "da"[n % 2]  # the same again is held back for longer
        pressed = desk.press(key, desk.block("203.0.113.%d" % n))
        t.expect("done in")
        taken.append(1000 * (desk.host.verdicts()[-1].began - pressed))
    leave(desk)
    return statistics.median(taken)


def idle(desk: Desk, seconds: float = 4.0) -> int:
    """Wake-ups of all our processes: so long with nothing on the screen, and so long with a question."""
    t = desk.sit()
    t.quiet(0.3)
    woken = measure.wake_ups(desk.processes(), seconds)
    desk.wait_for_keys(desk.block("198.51.100.1"))
    woken += measure.wake_ups(desk.processes(), seconds)
    leave(desk)
    return sum(woken)


class Memory(NamedTuple):
    """MB resident of the session, and of what forks its reader with what the reader has for itself alone.

    `most`: how much more was ever resident, of session and reader.  `bare` of one bare interpreter.
    """

    begin: list[float]
    after: list[float]
    most: list[float]
    bare: float

    @property
    def ratio(self) -> float:
        """Both at the start, in bare interpreters."""
        return sum(self.begin) / self.bare

    @property
    def growth(self) -> float:
        """What 300,000 destinations have added to both, MB."""
        return sum(self.after) - sum(self.begin)


def memory(desk: Desk) -> Memory:
    """Before and after 300,000 destinations, 125,000 of them IPv4."""
    t = desk.sit()
    t.quiet(0.3)
    pids = [*desk.processes("session"), desk.reader()]
    begin, resident = used(desk), [measure.memory(pid) for pid in pids]
    desk.block("198.51.100.2")
    for n in range(12):
        first = "198.%d.%d.0" % (18 + n // 2, n % 2 * 128) if n < 5 else "2001:db8:%d::" % n
        desk.lab.flood(25_000, first=first)
    while any(measure.wake_ups(pids, 0.5)):
        pass
    after = used(desk)
    most = [measure.memory(pid, "VmHWM") - before for pid, before in zip(pids, resident)]
    leave(desk)
    return Memory(begin, after, most, measure.bare_memory(desk.python))


def used(desk: Desk) -> list[float]:
    """MB resident of the session, and of all else that is ours."""
    (session,), (forkserver,) = desk.processes("session"), desk.processes("forkserver")
    return [measure.memory(session), measure.memory(forkserver) + measure.private(desk.reader())]


def show(python: str, runs: int, folder: str) -> None:
    python = measure.clean(python, folder)
    with at_desk(python, measure.built(python, folder), os.path.join(folder, "host")) as desk:
        taken, decided, woken, took = rounds(desk, runs), verdicts(desk, 3), idle(desk), memory(desk)
    print(
        "%-8s painted p50 %.1f p95 %.1f   verdict %.0f   start %.0f + %.0f = %.1fx   idle %d   "
        "memory %.0f + %.0f = %.1fx, later +%.0f +%.0f, at most +%.0f +%.0f"
        % (
            measure.version(python),
            taken.p50,
            measure.percentile(taken.painted, 0.95),
            decided,
            statistics.median(taken.session),
            statistics.median(taken.reader),
            taken.start,
            woken,
            *took.begin,
            took.ratio,
            *(after - before for before, after in zip(took.begin, took.after)),
            *took.most,
        ),
        flush=True,
    )


def main(words: list[str]) -> None:
    runs = int(words[0]) if words else 40
    for python in words[1:] or [python.path for python in PYTHONS]:
        with tempfile.TemporaryDirectory() as folder:
            show(python, runs, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
