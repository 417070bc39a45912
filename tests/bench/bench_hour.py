"""Everything at once, for as long as you like: what a session has grown by after an hour.

    .venv/bin/python tests/bench/bench_hour.py [SECONDS [SEED]]

Two sessions run all the time, each over containers of its own, namespaces with the shield's rules: one on a
terminal, at which any key is pressed, and one with `--json`, whose requests are answered at random.  Each has
`--log` and a policy file that changes.  Their containers flood (up to 5,000 destinations at a time), look
names up, end, start again and are made anew; query logs are begun anew.  A third session starts, asks, is
answered and ends, again and again, on a container that nobody else watches.

For the start, for six moments and for the end it prints, for each of the two sessions:

    session     MB resident, descriptors
    forkserver  MB resident, descriptors
    readers     how many, MB that are the largest one's alone, descriptors of the one that has most
    log         MB of `--log`

Ends with 1 where a session grew by more than its budget, has more descriptors than at the start with the same
containers, ended, or left a process behind.
"""

from __future__ import annotations

import collections
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from typing import Callable, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import measure
from endtoend import processes, role_of
from host import Container, Host, write
from lab import Lab
from support import eventually

BUDGET = 48
"""MB that a session may have grown by: every table full (`bench_full`)."""
CONTAINERS = 4
"""Of each of the two sessions."""
SPARE = 2 * CONTAINERS
"""Descriptors that a session may have more than at the start: some are opened when they are first needed."""
# Not among them: those that end it.
KEYS = "aaddsssmmiilluugnp12345\r x/?"
ADDRESSES = ("198.18.%d.%d", "198.51.%d.%d", "203.0.%d.%d", "2001:db8::%x:%x")
"""Some lie in no network that goes anywhere: they are not sent, and looked up all the same."""


class Sample(NamedTuple):
    """What the processes of one session hold at one moment."""

    session: float
    session_fds: int
    forkserver: float
    forkserver_fds: int
    readers: int
    reader: float
    reader_fds: int
    log: float

    def __str__(self) -> str:
        return (
            "session %.1f MB, %d files   forkserver %.1f MB, %d files   "
            "readers %d, %.1f MB, %d files   log %.1f MB" % self
        )


class Watched:
    """A session that runs all the time, with its containers, and what may happen to them."""

    def __init__(self, host: Host, pyz: str, kind: str, chance: random.Random) -> None:
        self.host, self.kind, self._chance = host, kind, chance
        self.pyz = shutil.copy(pyz, os.path.join(host.folder, kind + ".pyz"))
        self.names = ["%s-%d" % (kind, number) for number in range(CONTAINERS)]
        self.labs = {name: Lab() for name in self.names}
        self.containers: list[Container] = [host.container(name, self.labs[name]) for name in self.names]
        self.rules = os.path.join(host.folder, kind + ".rules")
        self.log = os.path.join(host.folder, kind + ".log")
        self.told: dict[str, int] = collections.Counter()
        self.changes_rules()

    def argv(self, python: str) -> list[str]:
        return [python, self.pyz, "--policy", self.rules, "--log", self.log, "--follow", *self.names]

    def processes(self, role: str) -> list[int]:
        return [pid for pid, argv in processes(self.pyz) if role_of(argv) == role]

    def sample(self) -> Sample:
        def files(pid: int) -> int:
            return len(os.listdir("/proc/%d/fd" % pid))

        (session,), (forkserver,) = self.processes("session"), self.processes("forkserver")
        readers = self.processes("reader")
        return Sample(
            measure.memory(session),
            files(session),
            measure.memory(forkserver),
            files(forkserver),
            len(readers),
            max(map(measure.private, readers)),
            max(map(files, readers)),
            os.path.getsize(self.log) / (1 << 20),
        )

    # --- what happens

    def _any(self) -> Container:
        return self._chance.choice(self.containers)

    def _address(self) -> str:
        return self._chance.choice(ADDRESSES) % (self._chance.randrange(256), self._chance.randrange(256))

    def floods(self) -> None:
        first = "198.%d.%d.0" % (self._chance.choice((18, 19)), self._chance.randrange(200))
        if self._chance.random() < 0.2:
            first = "2001:db8:%x::" % self._chance.randrange(1 << 16)
        number = self._chance.choice((50, 500, 5000))
        self.labs[self._any().name].flood(number, same=self._chance.random() < 0.3, first=first)

    def tries(self) -> None:
        self.labs[self._any().name].connect(self._address(), self._chance.choice((80, 443)), timeout=5)

    def looks_up(self) -> None:
        container = self._any()
        for _ in range(self._chance.choice((1, 10, 100))):
            name = "n%d.%s.example" % (self._chance.randrange(100_000), "x" * self._chance.choice((1, 40)))
            container.looks_up(name, self._address())

    def log_begins_anew(self) -> None:
        write(self._any().path("dnsmasq.log"), "")

    def changes_rules(self) -> None:
        some = [
            "deny 203.0.113.%d" % self._chance.randrange(256),
            "allow 198.51.100.%d/32 port 443" % self._chance.randrange(256),
            "skip 198.18.%d.0/24" % self._chance.randrange(256),
            "allow *.n%d.example" % self._chance.randrange(100),
            "ask 203.0.113.9",
        ]
        write(self.rules, "\n".join(self._chance.sample(some, self._chance.randrange(1, 5))) + "\n")

    def ends_and_starts(self) -> None:
        container = self._any()
        container.stop()
        self.labs[container.name].close()
        time.sleep(self._chance.choice((0.0, 0.5, 2.0)))
        self.labs[container.name] = Lab()
        container.start(self.labs[container.name], new=self._chance.random() < 0.5)

    def close(self) -> None:
        for pid in self.processes("session"):
            os.kill(pid, signal.SIGKILL)
        for lab in self.labs.values():
            lab.close()


class OnTerminal(Watched):
    """Someone presses keys."""

    def start(self, python: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execve(python, self.argv(python), self.host.env())
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        try:
            while True:
                self.told["bytes painted"] += len(os.read(self._master, 1 << 16))
        except OSError:
            pass  # its end

    def answers(self) -> None:
        os.write(self._master, self._chance.choice(KEYS).encode())

    def finish(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        _, status = os.waitpid(self.pid, 0)
        os.close(self._master)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


class Scripted(Watched):
    """A script answers."""

    def start(self, python: str) -> None:
        pipe = subprocess.PIPE
        argv = self.argv(python)
        argv.insert(2, "--json")
        self._child = subprocess.Popen(argv, env=self.host.env(), stdin=pipe, stdout=pipe)
        self.pid = self._child.pid
        self._waiting: collections.deque[str] = collections.deque(maxlen=1000)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            record = json.loads(line)
            self.told[record["type"]] += 1
            if record["type"] == "pending":
                self._waiting.append(record["id"])

    def answers(self) -> None:
        if self._waiting:
            word = self._chance.choice(("allow", "allow", "deny", "skip"))
            self._say("%s %s\n" % (word, self._waiting.pop()))

    def _say(self, text: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(text.encode())
        self._child.stdin.flush()

    def finish(self) -> int:
        self._child.terminate()
        code = self._child.wait()
        assert self._child.stdin is not None
        self._child.stdin.close()
        return code


class Guest:
    """A session that starts, asks, is answered and ends, on a container of its own."""

    def __init__(self, host: Host, pyz: str, python: str, chance: random.Random) -> None:
        self._host, self._chance, self._python = host, chance, python
        self.pyz = shutil.copy(pyz, os.path.join(host.folder, "guest.pyz"))
        self.lab = Lab()
        host.container("guest", self.lab)
        self.codes: dict[int, int] = collections.Counter()

    def visits(self) -> None:
        pipe = subprocess.PIPE
        argv = [self._python, self.pyz, "--json", "guest"]
        with subprocess.Popen(argv, env=self._host.env(), stdin=pipe, stdout=pipe) as child:
            assert child.stdin is not None and child.stdout is not None
            child.stdout.readline()
            dest = "198.51.100.%d" % self._chance.randrange(256)
            self.lab.flood(self._chance.choice((1, 1000)), first=dest)
            child.stdin.write(b"skip all\n")
            child.stdin.flush()
            if self._chance.random() < 0.5:
                child.terminate()
            child.stdin.close()
            child.stdout.read()
            self.codes[child.wait()] += 1


def main(seconds: float = 3600.0, seed: float = 1.0) -> int:
    chance = random.Random(int(seed))
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        python = measure.clean(sys.executable, folder)
        pyz = measure.built(python, folder)
        host = stack.enter_context(Host(os.path.join(folder, "host")))
        watched = [OnTerminal(host, pyz, "screen", chance), Scripted(host, pyz, "script", chance)]
        guest = Guest(host, pyz, python, chance)
        stack.callback(guest.lab.close)
        for one in watched:
            stack.callback(one.close)
            one.start(python)
        for one in watched:
            eventually(lambda one=one: len(one.processes("reader")) == CONTAINERS, what="all are watched")
        time.sleep(1.0)
        began, first = time.monotonic(), [one.sample() for one in watched]
        show(0.0, watched, first)
        acts: list[tuple[Callable[[Watched], None], int]] = [
            (lambda one: one.floods(), 4),
            (lambda one: one.tries(), 10),
            (lambda one: one.looks_up(), 10),
            (lambda one: one.answers(), 30),
            (lambda one: one.changes_rules(), 2),
            (lambda one: one.log_begins_anew(), 1),
            (lambda one: one.ends_and_starts(), 2),
            (lambda one: guest.visits(), 2),
        ]
        done = 0
        for part in range(1, 7):
            while time.monotonic() < began + seconds * part / 6:
                (act,) = chance.choices([act for act, _ in acts], [weight for _, weight in acts])
                act(chance.choice(watched))
                done += 1
                time.sleep(chance.uniform(0.0, 0.3))
            show(time.monotonic() - began, watched, [one.sample() for one in watched])
        for one in watched:
            eventually(lambda one=one: len(one.processes("reader")) == CONTAINERS, what="all are watched")
        while any(measure.wake_ups([pid for one in watched for pid in one.processes("session")], 0.5)):
            pass
        last = [one.sample() for one in watched]
        show(time.monotonic() - began, watched, last)
        for one, before, after in zip(watched, first, last):
            if after.session - before.session > BUDGET:
                faults.append("%s grew by %.1f MB" % (one.kind, after.session - before.session))
            if after.session_fds > before.session_fds + SPARE or after.forkserver_fds > before.forkserver_fds:
                faults.append("%s has more files than at the start" % one.kind)
            code = one.finish()
            print("%s ended with %d, told %s" % (one.kind, code, dict(one.told)))
            if code not in (0, 5):
                faults.append("%s ended with %d" % (one.kind, code))
        print(
            "%d things happened, %d verdicts, guests ended with %s"
            % (done, len(host.verdicts()), dict(guest.codes))
        )
        for path in [one.pyz for one in watched] + [guest.pyz]:
            eventually(lambda path=path: not list(processes(path)), what="no process of %s is left" % path)
    for fault in faults:
        print("fault:", fault)
    return 1 if faults else 0


def show(seconds: float, watched: list[Watched], samples: list[Sample]) -> None:
    for one, sample in zip(watched, samples):
        print("%5.0f s  %-7s %s" % (seconds, one.kind, sample), flush=True)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
