"""What a session of many containers costs, as their number grows.

    .venv/bin/python tests/bench/bench_many.py [NUMBER...]

Each container is a network namespace with the shield's rules.  For each number of them, one line:

    start     seconds until all of them listen, on the clock (podman's stand-in included) and of CPU, that
              of the session, of the forkserver and of all readers
    memory    MB that are theirs alone and their part of what is shared (PSS): the session, and a container
              beside that, which is its reader and its part of the forkserver
    files     descriptors that a container takes in the session
    idle      times that all of them together woke up in 4 s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from typing import Iterator, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import measure
from endtoend import processes, role_of
from host import Host
from lab import ruleset
from support import eventually

NUMBERS = (1, 10, 50, 100)
IDLE = 4.0


class Namespace:
    """A shielded network namespace in which nothing runs; as `lab.Lab` for what a container needs of it."""

    def __init__(self) -> None:
        self.user, self.rules = os.getuid(), 18
        self._sleeper = subprocess.Popen(
            ["unshare", "-n" if self.user == 0 else "-rn", "sleep", "3600"], stdin=subprocess.DEVNULL
        )
        self.pid = self._sleeper.pid
        eventually(self._is_there, what="the namespace is there")
        enter = ["nsenter", "-t", str(self.pid), *(["-n"] if self.user == 0 else ["-U", "-n"]), "--"]
        subprocess.run([*enter, "nft", "-f", "-"], input=ruleset(self.rules).encode(), check=True)

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

    @property
    def cpu(self) -> float:
        """Seconds of all together."""
        return self.session + self.forkserver + self.readers

    def __str__(self) -> str:
        return (
            "%4d   start %.2f s, CPU %.2f s (%.2f + %.2f + %.2f)   memory %.1f MB + %.2f MB each   "
            "files %.1f   idle %d" % (self.number, self.wall, self.cpu, *self[2:8], self.woken)
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
        session.stdin.close()
        session.wait()
    return Figures(len(names), wall, *cpu.values(), own, others / len(names), files / len(names), sum(woken))


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
