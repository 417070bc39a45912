"""A session of ten containers that do their worst, with the decisions, the screen, the names and the log
in one process: what it costs to keep, to ask and to answer.

    .venv/bin/python tests/bench/bench_full.py [PYTHON...]

For each Python, one line:

    memory    MB above the start, when each container has filled every table that it can
    question  ms of CPU until the next question is painted, the worst of 20
    key       ms of CPU of the worst of the keys that decide nothing, with names changing all the while
    log       bytes of `--log` for each packet and look-up that says nothing new
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

CONTAINERS = ["c%d" % number for number in range(1, 11)]
DESTS, NAMES, VERDICTS = 30_000, 20_000, 10_000  # of each container; more than is kept of any
LABELS = {"label-%d" % number: "x" * 128 for number in range(16)}


class Figures(NamedTuple):
    memory: float
    question: float
    key: float
    log: float


def dest_of(number: int) -> str:
    return "198.%d.%d.%d" % (18 + number // 65536, number // 256 % 256, number % 256)


def lookup(name: str, dest: str) -> str:
    head = "Nov 23 23:05:%02d dnsmasq[17816]: " % (hash(name) % 60)
    return "%squery[A] %s from 127.0.0.1\n%sreply %s is %s\n" % (head, name, head, name, dest)


class Session:
    """What a session keeps, without its processes."""

    def __init__(self, log: str) -> None:
        from simple_clearance.base.moment import Now
        from simple_clearance.docket.docket import Docket
        from simple_clearance.docket.policy import parse
        from simple_clearance.formats.dnsmasq import DnsLog
        from simple_clearance.fronts.logfile import Log
        from simple_clearance.prompt.painter import Painter
        from simple_clearance.prompt.prompt import Prompt
        from simple_clearance.system.clocks import LocalClock

        self._moment = Now
        self.mono = 1000.0
        self.books = {name: DnsLog(share=1 / len(CONTAINERS)) for name in CONTAINERS}
        self.docket = Docket(report_again=True, names=lambda name, dest: tuple(self.books[name].names(dest)))
        self.docket.set_policy(parse(b"deny 192.0.0.0/8", "rules"), self.now)
        self.prompt = Prompt(self.docket, Painter(80, 24, dumb=False, colour=True), LocalClock())
        self.log = Log(log, lambda *words, **more: None)
        for name in CONTAINERS:
            self.docket.add_container(name, 18, LABELS)

    @property
    def now(self):
        return self._moment(self.mono, 1e9 + self.mono)

    def blocked(self, container: str, dest: str, port: int = 443) -> None:
        from simple_clearance.base.happenings import Event

        self.docket.handle(container, Event("pending", dest, port, 6, uid=1000), self.now)

    def looks_up(self, container: str, text: str) -> None:
        for dest in self.books[container].feed(text.encode()):
            self.docket.learn(container, dest, self.now)

    def round(self, seconds: float = 0.01) -> None:
        """One round of the session; verdicts that may run have run."""
        from simple_clearance.docket.verdict import Outcome

        self.mono += seconds
        self.docket.tick(self.now)
        for job in self.docket.runnable():
            self.docket.begin(job, self.now)
            self.docket.finish(job, Outcome("applied", seconds=0.2), self.now)
        for record in self.docket.take():
            self.log.record(record, self.now)
            self.prompt.record(record, self.now)
        self.prompt.tick(self.now)
        self.prompt.refresh(self.now)
        self.prompt.output()
        self.prompt.written(self.now)

    def fill(self) -> None:
        for number in range(DESTS):
            for container in CONTAINERS:
                self.blocked(container, dest_of(number))
            if number % 64 == 0:
                self.round()
        for number in range(NAMES):
            for container in CONTAINERS:
                name = "n%d.%s.evil.example" % (number, "x" * 40)
                self.looks_up(container, lookup(name, dest_of(number % 5000)))
            if number % 64 == 0:
                self.round()
        for number in range(NAMES):
            for container in CONTAINERS:
                query = "query[MX] m%d.%s.evil.example from 127.0.0.1" % (number, "x" * 40)
                self.looks_up(container, "Nov 23 23:05:02 dnsmasq[17816]: %s\n" % query)
        for number in range(VERDICTS):
            for container in CONTAINERS:
                self.blocked(container, "192.0.%d.%d" % (number // 256, number % 256))
            self.round(0.001)

    def change(self, number: int) -> None:
        """What goes on meanwhile: each container tries, and looks up one more name."""
        for container in CONTAINERS:
            self.blocked(container, dest_of(number % 100), number % 50)
            self.looks_up(container, lookup("m%d.example" % number, dest_of(number % 10)))


def milliseconds(work) -> float:
    before = time.process_time()
    work()
    return 1000 * (time.process_time() - before)


def figures() -> Figures:
    import measure

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        session = Session(path)
        session.round()
        before = measure.memory(os.getpid())
        session.fill()
        memory = measure.memory(os.getpid()) - before
        questions, keys = [], []
        for number in range(20):
            session.change(number)
            for key in "s" if number % 2 else "sil l":
                session.mono += 2
                session.prompt.refresh(session.now)
                session.prompt.output()
                session.prompt.written(session.now)
                session.mono += 2
                session.change(number)

                def press(key: str = key) -> None:
                    session.prompt.input(key.encode(), session.now)
                    session.prompt.output()

                def ask() -> None:
                    session.round(1.0)

                keys.append(milliseconds(press))
                questions.append(milliseconds(ask))
        session.round(2.0)
        told = os.path.getsize(path)
        for number in range(2000):
            for container in CONTAINERS:
                session.blocked(container, dest_of(25_000 + number % 10))
                session.looks_up(container, lookup("n%d.example" % (number % 20), dest_of(25_000)))
            session.round(0.001)
        return Figures(memory, max(questions), max(keys), (os.path.getsize(path) - told) / (2 * 2000 * 10))


def measured(python: str) -> Figures:
    """The same in a process of its own, run by that Python."""
    done = subprocess.run([python, __file__, "--here"], stdout=subprocess.PIPE, check=True)
    return Figures(*json.loads(done.stdout))


def main(words: list[str]) -> None:
    if words == ["--here"]:
        print(json.dumps(figures()))
        return
    for python in words or [sys.executable]:
        print("memory +%.0f MB   question %.1f ms   key %.1f ms   log %.0f bytes" % measured(python))


if __name__ == "__main__":
    main(sys.argv[1:])
