"""The reader against a small C reader with the same settings: delay, CPU per packet, loss, memory.

    python tests/bench/bench_reader.py

Each row is measured for both in the same namespace on the same flood, so their ratio is worth
more than the figures.  CPU is user and system time of the reader alone, from its schedstat
before and after the flood (the C reader's, too).  Needs root or user namespaces, nft and cc.
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

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from lab import Lab  # noqa: E402

READER = (
    "import sys; sys.path.insert(0, %r); from simple_clearance.reader import main;"
    "sys.exit(main('/nowhere', 'c1', sys.argv[1]))" % ROOT
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

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of its only thread."""
        with open("/proc/%d/schedstat" % self.pid) as stat:
            return int(stat.read().split()[0]) / 1e9

    def memory(self) -> float:
        """Resident MiB."""
        with open("/proc/%d/statm" % self.pid) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

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


def compiled(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    subprocess.run(["cc", "-O2", "-o", path, os.path.join(HERE, name + ".c")], check=True)
    return path


def delays(lab: Lab, reader: Reader, samples: int = 300) -> tuple:
    """Milliseconds from a blocked packet to its line, median and 99th percentile."""
    found = []
    for i in range(samples):
        time.sleep(0.003 + 0.0001 * (i * 37 % 61))  # at every phase of the kernel's tick
        dest = "203.0.113.%d" % i if i < 250 else "192.0.2.%d" % (i - 249)
        sent, arrived = lab.ask_while(partial(reader.wait_for, 1), SEND % dest)
        found.append((arrived - sent) * 1000)
    reader.taken()
    found.sort()
    return statistics.median(found), found[int(len(found) * 0.99)]


def flood(lab: Lab, reader: Reader, tool: str, count: int, how: str, port: int = 443) -> dict:
    reader.taken()
    before = reader.cpu()
    sender = subprocess.Popen([*lab.enter(), tool, str(count), how, str(port)], stdout=subprocess.PIPE)
    while sender.poll() is None:
        reader.read(0.01)
    reader.quiet(0.6)
    used = reader.cpu() - before
    lines = reader.taken()
    assert sender.stdout is not None
    with sender.stdout:
        rate = count / float(sender.stdout.read())
    return {
        "us": used * 1e6 / count,
        "lost": sum(line["count"] for line in lines if line["type"] == "lost"),
        "told": sum(line.get("count", 1) for line in lines if line["type"] in ("pending", "again")),
        "rate": rate,
    }


def bare_memory() -> float:
    """Resident MiB of the interpreter alone."""
    script = "import os; print(open('/proc/self/statm').read().split()[1], os.sysconf('SC_PAGE_SIZE'))"
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE, check=True
    ).stdout
    pages, size = map(int, out.split())
    return pages * size / (1 << 20)


def wake_ups(reader: Reader, seconds: float) -> int:
    def switches() -> int:
        with open("/proc/%d/status" % reader.pid) as status:
            return sum(int(line.split()[1]) for line in status if "_ctxt_switches" in line)

    reader.quiet(0.3)
    before = switches()
    time.sleep(seconds)
    return switches() - before


def main() -> None:
    runs = int(sys.argv[1]) if sys.argv[1:] else 3
    taken: dict = {"C": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        tool, limit = compiled(folder, "flood"), compiled(folder, "creader")
        ours = [sys.executable, "-I", "-S", "-c", READER, lab.netns]
        for _ in range(runs):
            for name, argv in (("C", [*lab.enter(), limit]), ("ours", ours)):
                with Reader(lab, argv) as reader:
                    run = {"delay": delays(lab, reader)}
                    for how, count in (("same", 200_000), ("many", 50_000)):
                        run[how] = flood(lab, reader, tool, count, how)
                taken[name].append(run)
        with Reader(lab, ours) as reader:
            idle = wake_ups(reader, 5.0)
            memory = [reader.memory()]
            for port in (1, 2, 3):
                flood(lab, reader, tool, 100_000, "many", port)
            memory.append(reader.memory())
    show(taken)
    print("%-46s %12s %12d" % ("wake-ups in 5 s without a packet", "", idle))
    print(
        "%-46s %8.1f MiB %8.1f MiB %6.1fx"
        % ("memory, against a bare interpreter", bare_memory(), memory[0], memory[0] / bare_memory())
    )
    print("%-46s %12s %+8.1f MiB" % ("  after 300,000 destinations", "", memory[1] - memory[0]))


def show(taken: dict) -> None:
    """The quickest run of each: whatever else this machine does only makes them slower."""
    print("%-46s %12s %12s %7s" % ("", "C", "ours", "ratio"))
    for at, name in enumerate(("p50", "p99")):
        c, o = (min(run["delay"][at] for run in taken[who]) for who in ("C", "ours"))
        print("%-46s %9.2f ms %9.2f ms %6.1fx" % ("blocked packet to its line, " + name, c, o, o / c))
    for how, name in (("same", "200,000 to one destination"), ("many", "50,000 to as many, a line each")):
        c, o = (min(run[how]["us"] for run in taken[who]) for who in ("C", "ours"))
        print("%-46s %9.3f us %9.3f us %6.1fx" % ("CPU per packet, " + name, c, o, o / c))
        c, o = (sum(run[how]["lost"] for run in taken[who]) for who in ("C", "ours"))
        print(
            "%-46s %12d %12d   (%d packets a second)"
            % ("  lost, all runs", c, o, taken["ours"][0][how]["rate"])
        )


if __name__ == "__main__":
    main()
