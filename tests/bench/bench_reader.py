"""The reader against a small C reader with the same settings: delay, CPU per packet, loss, memory.

    .venv/bin/python tests/bench/bench_reader.py [RUNS]

Each row is measured for both in the same namespace on the same flood, so their ratio is worth
more than the figures.  CPU is user and system time of the reader alone, from its schedstat
before and after the flood (the C reader's, too).  Of several runs the quickest counts: whatever
else this machine does only makes them slower.  Lost is what no line accounts for.  Needs root or
user namespaces, nft and cc.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

import measure  # noqa: E402
from lab import Lab  # noqa: E402

READER = (
    "import sys; sys.path.insert(0, %r); from simple_clearance.reader.reader import main;"
    "sys.exit(main('c1', sys.argv[1]))" % ROOT
)
SEND = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
result = time.monotonic()
try:
    s.sendto(b"?", (%r, 443))
except OSError:
    pass
"""


class Reader:
    """A running reader, ours or the C one, and the lines it has told."""

    def __init__(self, lab: Lab, argv: list) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        self._parts: list = []
        self.wait_for(1)  # container_started

    def read(self, timeout: float) -> bool:
        if not select.select([self._fd], [], [], timeout)[0]:
            return False
        data = os.read(self._fd, 1 << 20)
        self._parts.append(data)
        return bool(data)

    def wait_for(self, lines: int, timeout: float = 10.0) -> float:
        """The moment when so many lines have come since the last `taken`."""
        deadline = time.monotonic() + timeout
        have = 0
        while have < lines:
            if not self.read(max(0.0, deadline - time.monotonic())):
                raise RuntimeError("%d of %d lines came" % (have, lines))
            have += self._parts[-1].count(b"\n")
        return time.monotonic()

    def quiet(self, seconds: float) -> None:
        """Read until nothing has come for that long."""
        while self.read(seconds):
            pass

    def taken(self) -> list:
        lines = [json.loads(line) for line in b"".join(self._parts).splitlines()]
        self._parts.clear()
        return lines

    def close(self) -> None:
        self._process.terminate()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Flood(NamedTuple):
    us: float  # CPU per packet, microseconds
    lost: int  # packets
    rate: float  # packets a second that were sent


class Run(NamedTuple):
    p50: float  # ms from a blocked packet to its line
    p99: float
    same: Flood  # 200,000 packets to one destination
    many: Flood  # 50,000 to as many


def compiled(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    subprocess.run(["cc", "-O2", "-o", path, os.path.join(HERE, name + ".c")], check=True)
    return path


def ours(python: str, lab: Lab) -> list[str]:
    return [python, "-I", "-S", "-c", READER, lab.netns]


def delays(lab: Lab, reader: Reader, samples: int = 300) -> tuple[float, float]:
    """Milliseconds from a blocked packet to its line, median and 99th percentile."""
    found = []
    for i in range(samples):
        time.sleep(0.003 + 0.0001 * (i * 37 % 61))  # at every phase of the kernel's tick
        dest = "203.0.113.%d" % i if i < 250 else "192.0.2.%d" % (i - 249)
        sent, arrived = lab.ask_while(partial(reader.wait_for, 1), SEND % dest)
        found.append((arrived - sent) * 1000)
    reader.taken()
    return statistics.median(found), measure.percentile(found, 0.99)


def flood(lab: Lab, reader: Reader, tool: str, count: int, how: str, port: int = 443) -> Flood:
    """`count` packets to the `same` destination or to as `many`."""
    reader.taken()
    before = measure.on_cpu(reader.pid)
    sender = subprocess.Popen([*lab.enter(), tool, str(count), how, str(port)], stdout=subprocess.PIPE)
    while sender.poll() is None:
        reader.read(0.01)
    reader.quiet(0.6)
    used = measure.on_cpu(reader.pid) - before
    told = sum(line.get("count", 1) for line in reader.taken() if line["type"] in ("pending", "again"))
    assert sender.stdout is not None
    with sender.stdout:
        rate = count / float(sender.stdout.read())
    return Flood(used * 1e3 / count, count - told, rate)


def run(lab: Lab, argv: list[str], tool: str) -> Run:
    with Reader(lab, argv) as reader:
        p50, p99 = delays(lab, reader)
        same = flood(lab, reader, tool, 200_000, "same")
        many = flood(lab, reader, tool, 50_000, "many")
    return Run(p50, p99, same, many)


def quickest(runs: list[Run]) -> Run:
    """The best of each figure, and all that was lost."""

    def floods(all_of_it: list[Flood]) -> Flood:
        us, lost, rates = zip(*all_of_it)
        return Flood(min(us), sum(lost), max(rates))

    p50, p99, same, many = zip(*runs)
    return Run(min(p50), min(p99), floods(same), floods(many))


def compare(python: str, runs: int) -> tuple[Run, Run]:
    """The C reader and ours, in turn."""
    c, own = [], []
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        tool, limit = compiled(folder, "flood"), compiled(folder, "creader")
        for _ in range(runs):
            c.append(run(lab, [*lab.enter(), limit], tool))
            own.append(run(lab, ours(python, lab), tool))
    return quickest(c), quickest(own)


def main() -> None:
    show(*compare(sys.executable, int(sys.argv[1]) if sys.argv[1:] else 3))
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        tool = compiled(folder, "flood")
        with Reader(lab, ours(sys.executable, lab)) as reader:
            reader.quiet(0.3)
            (idle,) = measure.wake_ups([reader.pid], 5.0)
            memory = [measure.memory(reader.pid)]
            for port in (1, 2, 3):
                flood(lab, reader, tool, 100_000, "many", port)
            memory.append(measure.memory(reader.pid))
    bare = measure.bare_memory(sys.executable)
    print("%-46s %12s %12d" % ("wake-ups in 5 s without a packet", "", idle))
    print(
        "%-46s %8.1f MiB %8.1f MiB %6.1fx"
        % ("memory, against a bare interpreter", bare, memory[0], memory[0] / bare)
    )
    print("%-46s %12s %+8.1f MiB" % ("  after 300,000 destinations", "", memory[1] - memory[0]))


def show(c: Run, own: Run) -> None:
    print("%-46s %12s %12s %7s" % ("", "C", "ours", "ratio"))
    for name, one, other in (("p50", c.p50, own.p50), ("p99", c.p99, own.p99)):
        print(
            "%-46s %9.2f ms %9.2f ms %6.1fx"
            % ("blocked packet to its line, " + name, one, other, other / one)
        )
    for name, it, mine in (
        ("200,000 to one destination", c.same, own.same),
        ("50,000 to as many, a line each", c.many, own.many),
    ):
        print("%-46s %9.3f us %9.3f us %6.1fx" % ("CPU per packet, " + name, it.us, mine.us, mine.us / it.us))
        print("%-46s %12s %12d   (%d packets a second)" % ("  lost, all runs", "", mine.lost, mine.rate))


if __name__ == "__main__":
    main()
