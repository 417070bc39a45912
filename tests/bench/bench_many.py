"""What a session of many containers costs, as their number grows.

    .venv/bin/python tests/bench/bench_many.py [NUMBER...]

Each container is a network namespace with the shield's rules.  For each number of them, one line:

    start     seconds until all of them listen, on the clock (podman's stand-in included) and of CPU, that
              of the session, of the forkserver and of all readers
    memory    MB that are theirs alone and their part of what is shared (PSS): the session, and a container
              beside that, which is its reader and its part of the forkserver
    files     descriptors that a container takes in the session
    idle      times that all of them together woke up in 4 s
    question  ms from a packet in the first one to the line that asks about it, the median; and while each of
              the others tries ten new destinations a second
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Iterator, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import measure
from endtoend import processes, role_of
from host import Host
from lab import ruleset
from support import eventually

NUMBERS = (1, 10, 50, 100)
IDLE = 4.0
QUESTIONS = 20

TRIES = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(1 << 16):
    time.sleep(0.1)
    try: s.sendto(b"?", ("198.18.%d.%d" % (number >> 8, number & 255), 443))
    except OSError: pass
"""
"""Ten new destinations a second."""

ASKS = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number, line in enumerate(sys.stdin):
    began = time.monotonic()
    try: s.sendto(b"?", ("198.19.%s.%d" % (sys.argv[1], number), 443))
    except OSError: pass
    print(began, flush=True)
"""
"""For each line of stdin a packet to another destination in 198.19.N.0/24, and when it was sent."""


class Namespace:
    """A shielded network namespace in which nothing runs; as `lab.Lab` for what a container needs of it."""

    def __init__(self) -> None:
        self.user, self.rules = os.getuid(), 18
        self._sleeper = subprocess.Popen(
            ["unshare", "-n" if self.user == 0 else "-rn", "sleep", "3600"], stdin=subprocess.DEVNULL
        )
        self.pid = self._sleeper.pid
        eventually(self._is_there, what="the namespace is there")
        self.enter = ["nsenter", "-t", str(self.pid), *(["-n"] if self.user == 0 else ["-U", "-n"]), "--"]
        subprocess.run([*self.enter, "nft", "-f", "-"], input=ruleset(self.rules).encode(), check=True)
        ip = "link set lo up\nroute add local 198.18.0.0/15 dev lo\n"
        subprocess.run([*self.enter, "ip", "-batch", "-"], input=ip.encode(), check=True)

    def _is_there(self) -> bool:
        with open("/proc/%d/comm" % self.pid) as file:
            return file.read() == "sleep\n"

    def close(self) -> None:
        self._sleeper.kill()
        self._sleeper.wait()


class Figures(NamedTuple):
    number: int
    wall: float
    session: float
    forkserver: float
    readers: float
    memory: float
    each: float
    files: float
    woken: int
    question: float
    busy: float

    @property
    def cpu(self) -> float:
        """Seconds of all together."""
        return self.session + self.forkserver + self.readers

    def __str__(self) -> str:
        return (
            "%4d   start %.2f s, CPU %.2f s (%.2f + %.2f + %.2f)   memory %.1f MB + %.2f MB each   "
            "files %.1f   idle %d   question %.1f ms, %.1f ms while all are busy"
            % (self.number, self.wall, self.cpu, *self[2:])
        )


@contextmanager
def containers(folder: str, most: int) -> Iterator[tuple[Host, list[str]]]:
    """A host with so many, and their names."""
    with ExitStack() as stack:
        host = stack.enter_context(Host(folder))
        names = ["agent-%d" % number for number in range(most)]
        for name in names:
            namespace = Namespace()
            stack.callback(namespace.close)
            host.container(name, namespace)  # type: ignore[arg-type]
        yield host, names


def measured(python: str, archive: str, host: Host, names: list[str]) -> Figures:
    """One session over these."""
    argv = [python, archive, "--json", *names]
    began = time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=host.env(), stdin=pipe, stdout=pipe) as session:
        assert session.stdout is not None and session.stdin is not None
        assert json.loads(session.stdout.readline())["type"] == "session"
        wall = time.monotonic() - began
        time.sleep(0.5)
        pids: dict[str, list[int]] = {"session": [], "forkserver": [], "reader": []}
        for pid, words in processes(archive):
            pids[role_of(words)].append(pid)
        assert len(pids["reader"]) == len(names)
        cpu = {role: sum(map(measure.on_cpu, some)) / 1000 for role, some in pids.items()}
        files = len(os.listdir("/proc/%d/fd" % session.pid))
        everyone = [pid for some in pids.values() for pid in some]
        own = measure.shared_out(session.pid)
        others = sum(map(measure.shared_out, everyone)) - own
        woken = measure.wake_ups(everyone, IDLE)
        labs = [host.containers[name].lab for name in names]
        quiet = question(session.stdout, labs[0], 1)
        with busy(labs[1:]):
            asked = question(session.stdout, labs[0], 2)
        session.stdin.close()
        session.stdout.read()
        session.wait()
    each = (others / len(names), files / len(names))
    return Figures(len(names), wall, *cpu.values(), own, *each, sum(woken), quiet, asked)


def question(records: BinaryIO, lab: Namespace, network: int) -> float:
    """Milliseconds from a packet in that container to the line that asks about it."""
    pipe, took = subprocess.PIPE, []
    argv = [*lab.enter, sys.executable, "-I", "-S", "-c", ASKS, str(network)]
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as asker:
        assert asker.stdin is not None and asker.stdout is not None
        for _ in range(QUESTIONS):
            asker.stdin.write(b"\n")
            asker.stdin.flush()
            while b'"dest":"198.19.' not in records.readline():
                pass
            came = time.monotonic()
            took.append((came - float(asker.stdout.readline())) * 1000)
            time.sleep(0.05)
        asker.stdin.close()
    return statistics.median(took)


@contextmanager
def busy(labs: list[Namespace]) -> Iterator[None]:
    """Each of these tries new destinations, from a process that sleeps in between."""
    argv = [sys.executable, "-I", "-S", "-c", TRIES]
    triers = [subprocess.Popen([*lab.enter, *argv], stdin=subprocess.DEVNULL) for lab in labs]
    try:
        time.sleep(2.0 if labs else 0.0)
        yield
    finally:
        for trier in triers:
            trier.kill()
            trier.wait()


def grown(python: str, archive: str, folder: str, numbers: tuple[int, ...] = NUMBERS) -> list[Figures]:
    """The figures for each number of containers."""
    with containers(folder, max(numbers)) as (host, names):
        return [measured(python, archive, host, names[:number]) for number in numbers]


def main(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        python = measure.clean(sys.executable, folder)
        archive = measure.built(python, folder)
        numbers = tuple(map(int, words)) or NUMBERS
        for figures in grown(python, archive, os.path.join(folder, "host"), numbers):
            print(figures, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
