"""What a long query log costs: at the start, in the background, and at each look afterwards.

    .venv/bin/python tests/bench/bench_dnslog.py [MEGABYTES]

The log is read as a session reads it: its end first, its history in slices while nothing else is
to be done.  `few` looks the same `FEW` names up again and again, `many` a new one each time, as
nothing but an attack does.  `grep` is how long it takes to find one address with grep(1), which
tells only the record's own name, and takes as long again for the next address.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, os.pardir, os.pardir)]

import measure  # noqa: E402

from simple_clearance.sources.lookups import NameBook  # noqa: E402

LOOKS = 20000
FEW = 300
LOOK_AT = (
    "import json, sys; sys.path.insert(0, %r); import bench_dnslog;"
    "print(json.dumps(bench_dnslog.look_at(sys.argv[1])))" % HERE
)


class Figures(NamedTuple):
    """What one log costs; CPU, where nothing else is said."""

    first: float  # ms, the first look
    history: float  # ms, all of it
    longest: float  # ms, the slice of history that took longest
    look: float  # us, with nothing new
    new: float  # us, with a line to read
    grep: float  # ms on the clock
    memory: float  # MB more


def write(path: str, size: int, names: int) -> None:
    """A log of about `size` bytes: look-ups of both families, every fifth through an alias."""
    pick = random.Random(1)
    written = seconds = 0
    with open(path, "w", encoding="ascii") as file:
        while written < size:
            seconds += pick.random() < 0.3
            number = pick.randrange(names)
            name = "h%d.svc%d.example.com" % (number, number % 97)
            owner, alias = name, []
            if number % 5 == 0:
                owner, alias = "e%d.cdn.example" % (number % 50), ["reply %s is <CNAME>" % name]
            lines = [
                "query[A] %s from 127.0.0.1" % name,
                "forwarded %s to 10.0.2.3" % name,
                "query[AAAA] %s from 127.0.0.1" % name,
                "forwarded %s to 10.0.2.3" % name,
                *alias,
                "reply %s is 198.51.%d.%d" % (owner, number // 256 % 256, number % 256),
                *alias,
                "reply %s is 2001:db8::%x" % (owner, number + 1),
            ]
            clock = "Nov %2d %02d:%02d:%02d" % (
                1 + seconds // 86400 % 28, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60,
            )  # fmt: skip
            written += file.write("".join("%s dnsmasq[4711]: %s\n" % (clock, line) for line in lines))


def figures(python: str, path: str) -> Figures:
    """The log at `path`, measured in a process of its own; 200 lines are appended to it."""
    done = subprocess.run([python, "-I", "-c", LOOK_AT, path], stdout=subprocess.PIPE, check=True)
    return Figures(*json.loads(done.stdout))


def look_at(path: str) -> Figures:
    """The same in this process."""
    before = measure.memory(os.getpid(), "VmHWM")
    book = NameBook(path)
    start = time.process_time()
    book.look()
    first = time.process_time() - start

    total = longest = 0.0
    while book.behind:
        start = time.process_time()
        book.catch_up()
        took = time.process_time() - start
        total += took
        longest = max(longest, took)

    start = time.process_time()
    for _ in range(LOOKS):
        book.look()
    nothing = (time.process_time() - start) / LOOKS

    line = b"Nov 29 00:00:00 dnsmasq[4711]: reply new.example.com is 203.0.113.66\n"
    new = 0.0
    with open(path, "ab", 0) as file:
        for _ in range(200):
            file.write(line)
            start = time.process_time()
            book.look()
            new += time.process_time() - start
    assert book.names("203.0.113.66")[0].name == "new.example.com"
    book.close()

    start = time.monotonic()
    subprocess.run(["grep", "-c", " is 203.0.113.67$", path], stdout=subprocess.DEVNULL, check=False)
    grep = time.monotonic() - start
    return Figures(
        first * 1e3,
        total * 1e3,
        longest * 1e3,
        nothing * 1e6,
        new / 200 * 1e6,
        grep * 1e3,
        measure.memory(os.getpid(), "VmHWM") - before,
    )


def main(words: list[str]) -> None:
    size = int(words[0]) if words else 100
    print("CPU, Python %s, a log of %d MB; grep: on the clock" % (sys.version.split()[0], size))
    heads = ["first look", "history", "one slice", "look", "look, new", "grep", "memory"]
    print("%-6s" % "" + "".join("%12s" % head for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        for kind, names in (("few", FEW), ("many", 1 << 24)):
            path = os.path.join(folder, kind)
            write(path, size << 20, names)
            print(
                "%-6s" % kind
                + "%9.1f ms %9.0f ms %9.1f ms %9.1f us %9.1f us %9.0f ms %+9.0f MB"
                % figures(sys.executable, path),
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
