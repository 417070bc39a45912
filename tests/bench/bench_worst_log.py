"""What a byte of the worst query log costs, against one of an ordinary log.

    .venv/bin/python tests/bench/bench_worst_log.py [MEGABYTES]

Whoever is inside chooses what is in the log.  At most `LIMIT` times an ordinary byte's time; exit
code 1 where one of these takes longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, os.pardir, os.pardir)]

from simple_clearance.formats.dnsmasq import DnsLog  # noqa: E402

LIMIT = 4.0
PIECE = 65536  # bytes fed at a time, as a session does


def log(size: int, *lines: str) -> bytes:
    """About so many bytes of these lines; `%d`, `%x` (hexadecimal) and `%m` (up to 65) count them."""
    found: list[str] = []
    written = number = 0
    while written < size:
        for line in lines:
            clock = "Nov 29 %02d:%02d:%02d" % (number // 36000 % 24, number // 600 % 60, number // 10 % 60)
            text = line.replace("%d", str(number)).replace("%x", "%x" % number)
            found.append("%s dnsmasq[4711]: %s\n" % (clock, text.replace("%m", str(number % 65))))
            written += len(found[-1])
        number += 1
    return "".join(found).encode("ascii")


LOGS = {
    "ordinary": (
        "query[A] h%d.svc.example.com from 127.0.0.1",
        "forwarded h%d.svc.example.com to 10.0.2.3",
        "query[AAAA] h%d.svc.example.com from 127.0.0.1",
        "forwarded h%d.svc.example.com to 10.0.2.3",
        "reply h%d.svc.example.com is <CNAME>",
        "reply e%d.cdn.example is 198.51.100.7",
        "reply h%d.svc.example.com is <CNAME>",
        "reply e%d.cdn.example is 2001:db8::%d",
    ),
    "text like addresses": ("query[TXT] t.example from 127.0.0.1", "reply t.example is 1.2.3.4"),
    "the same, once asked": ("reply t.example is 1.2.3.4",),
    "heads never asked": ("reply h%d.x.example is <CNAME>", "reply e.example is 198.51.100.7"),
    "other queries alone": ("query[MX] m%d.example from 127.0.0.1",),
    "asked for something else": (
        "query[TXT] t.example from 127.0.0.1",
        "query[MX] t.example from 127.0.0.1",
        "reply t.example is <CNAME>",
    ),
    "short names": ("reply a.b is 1.1.1.1",),
    "new names": ("reply n%d.example is 198.51.100.%d",),
    "names in turn": ("reply n%m.b is 1.1.1.1",),  # one more than an address keeps
    "new names of new addresses": ("reply %x.b is ::%x",),
    "no names": ("reply %x.b%d is 1.1.1.1",),
    "long names": ("reply " + "a." * 100 + "b%x.c is 1.1.1.1",),
}


def per_byte(data: bytes) -> float:
    """Nanoseconds of CPU for each byte, at best of three."""
    best = float("inf")
    for _ in range(3):
        book = DnsLog()
        book.feed(b"Nov 29 00:00:00 dnsmasq[4711]: query[TXT] t.example from 127.0.0.1\n")
        start = time.process_time()
        for at in range(0, len(data), PIECE):
            book.feed(data[at : at + PIECE])
        best = min(best, time.process_time() - start)
    return best / len(data) * 1e9


def costs(size: int) -> dict[str, float]:
    """Nanoseconds of CPU for each byte of each kind of log of so many megabytes, by this Python."""
    return {name: per_byte(log(size << 20, *lines)) for name, lines in LOGS.items()}


def worst(python: str, size: int = 4) -> float:
    """How many times as long as a byte of an ordinary log one of the worst takes, for that Python."""
    done = subprocess.run([python, __file__, str(size)], stdout=subprocess.PIPE, check=False)
    return max(float(line.split()[-2]) for line in done.stdout.decode().splitlines())


def main(words: list[str]) -> int:
    found = costs(int(words[0]) if words else 4)
    for name, cost in found.items():
        print("%-26s %7.1f ns a byte, %5.1f times" % (name, cost, cost / found["ordinary"]))
    return int(max(found.values()) > LIMIT * found["ordinary"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
