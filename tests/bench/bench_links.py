"""Sessions of other machines, joined: what they cost here, and how late a question comes through them.

    .venv/bin/python tests/bench/bench_links.py [NUMBER...]

Each machine is a stand-in that speaks the protocol, with ten containers of which each blocks ten times in
some seconds, and answers verdicts at once.  For each number of machines, one line:

    start     ms of CPU until all of them are joined
    memory    MB of the session that are its own, for a machine, with all its requests open
    delay     ms from what is blocked there to its line here, p50 / p99
    question  ms of CPU for each
    verdict   ms from an answer to its outcome, there and back, p50 / p99
    idle      times that the session woke up in 4 s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import measure

NUMBERS = (1, 20)
CONTAINERS, TIMES = 10, 10
IDLE = 4.0
CALM = 0.5  # seconds for what the last verdict leaves to be done

# What it is told on stdin it answers; what it blocks carries the moment at which that was.
MACHINE = """
import json, os, select, sys, time
def say(**record):
    os.write(1, json.dumps(record).encode() + b"\\n")
number, containers, times = map(int, sys.argv[1:4])
say(type="session", protocol=1, version="1", containers=[
    {"name": "c%d" % each, "id": "", "source": "nflog", "shield": 18} for each in range(containers)])
go = open(sys.argv[4])
asked, due, rest = {}, time.monotonic() + number * 0.007, b""
while True:
    wait = max(0.0, due - time.monotonic()) if len(asked) < containers * times else None
    if select.select([0], [], [], wait)[0]:
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\\n")
        for line in lines:
            action, request = line.decode().split()
            container, dest = asked[request]
            say(type="verdict", id=request, ids=[request], container=container, action=action, target=dest,
                by="script", result="applied", opened=[dest], seconds=0.0, undo=False, late=False)
            say(type="closed", id=request, why="applied")
    else:
        each = len(asked)
        container, dest = "c%d" % (each % containers), "198.18.%d.%d" % (number, each)
        asked["r%d" % each] = container, dest
        say(type="pending", id="r%d" % each, container=container, dest=dest, port=443, proto=6, count=1,
            reader_id="%.6f" % time.monotonic(), names=[], dossier={"task": "t%d" % each})
        due += 0.05
say(type="summary", exit=0)
"""


class Figures(NamedTuple):
    number: int
    start: float
    memory: float
    p50: float
    p99: float
    question: float
    verdict: float
    verdict99: float
    woken: int

    def __str__(self) -> str:
        return (
            "%4d   start %.0f ms   memory %.2f MB each   delay %.2f / %.2f ms   question %.3f ms   "
            "verdict %.2f / %.2f ms   idle %d" % self
        )


class Outer:
    """The session that joins them; its records come with the moment at which they were read."""

    def __init__(self, python: str, archive: str, machines: list[str]) -> None:
        words = [word for machine in machines for word in ("--join", machine)]
        self.child = subprocess.Popen(
            [python, archive, "--json", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._rest = b""

    def read(self) -> list[tuple[float, dict[str, object]]]:
        assert self.child.stdout is not None
        data = os.read(self.child.stdout.fileno(), 1 << 16)
        now = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data:
            sys.exit("the session ended with %s" % self.child.wait())
        return [(now, json.loads(line)) for line in lines]

    def say(self, text: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def close(self) -> None:
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.close()
        while os.read(self.child.stdout.fileno(), 1 << 16):
            pass
        self.child.stdout.close()
        self.child.wait()


def measured(python: str, archive: str, number: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        code, go = os.path.join(folder, "machine.py"), os.path.join(folder, "go")
        with open(code, "w") as file:
            file.write(MACHINE)
        os.mkfifo(go)
        machines = [f"m{each}={python} -S {code} {each} {CONTAINERS} {TIMES} {go}" for each in range(number)]
        outer = Outer(python, archive, machines)
        while not outer.read():
            pass
        start, before = measure.on_cpu(outer.child.pid), measure.shared_out(outer.child.pid)
        went = os.open(go, os.O_WRONLY)  # kept open, or a machine that comes to it late would wait for ever
        asked: list[tuple[str, float]] = []
        delays: list[float] = []
        while len(asked) < number * CONTAINERS * TIMES:
            for now, record in outer.read():
                if record["type"] == "pending":
                    asked.append((str(record["id"]), now))
                    delays.append(1000 * (now - float(str(record["reader_id"]))))
        question = (measure.on_cpu(outer.child.pid) - start) / len(asked)
        grown = (measure.shared_out(outer.child.pid) - before) / number
        took = []
        for request_id, _ in asked[:200]:
            began, answered = time.monotonic(), False
            outer.say("allow %s\n" % request_id)
            while not answered:
                for now, record in outer.read():
                    if record["type"] == "closed" and record["id"] == request_id:
                        took.append(1000 * (now - began))
                        answered = True
        time.sleep(CALM)
        (woken,) = measure.wake_ups([outer.child.pid], IDLE)
        outer.close()
        os.close(went)
    return Figures(
        number,
        start,
        grown,
        measure.percentile(delays, 0.5),
        measure.percentile(delays, 0.99),
        question,
        measure.percentile(took, 0.5),
        measure.percentile(took, 0.99),
        woken,
    )


def main() -> int:
    numbers = [int(word) for word in sys.argv[1:]] or list(NUMBERS)
    with tempfile.TemporaryDirectory() as folder:
        python = measure.clean(sys.executable, folder)
        archive = measure.built(python, folder)
        for number in numbers:
            print(measured(python, archive, number), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
