"""What must make nobody wait: a long query log, and a verdict that is being carried out.

    .venv/bin/python tests/bench/bench_delay.py [PAIRS [MEGABYTES]]

Each thing is measured with and without it, in turn, in ms on the clock; the delay is the difference
of the medians.

    log       of the start, until it watches, and of a question that comes at once, while the
              log's history is still being read
    verdict   of the next question, until it is painted whole, and of a key, until what it
              brings up is painted; the verdict command sleeps meanwhile
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import bench_dnslog
import bench_prompt
import measure
from support import eventually

if TYPE_CHECKING:
    from endtoend import Desk

SLEEP = 1.0  # seconds that the verdict command takes: longer than what is measured meanwhile
KEYS = 3  # presses for each question


class Delay:
    """Milliseconds without (`plain`) and with (`beside`) the thing."""

    def __init__(self) -> None:
        self.plain: list[float] = []
        self.beside: list[float] = []

    def add(self, beside: bool, value: float) -> None:
        (self.beside if beside else self.plain).append(value)

    @property
    def ms(self) -> float:
        """What the thing adds."""
        return statistics.median(self.beside) - statistics.median(self.plain)

    def __str__(self) -> str:
        medians = [statistics.median(times) for times in (self.plain, self.beside)]
        return "%.1f ms without, %.1f ms with: %+.1f ms" % (*medians, self.ms)


def by_log(desk: Desk, log: str, pairs: int) -> tuple[Delay, Delay]:
    """Of the start and of the first question, by this query log; it lies in the host's file system."""
    start, question = Delay(), Delay()
    path = desk.c1.path("dnsmasq.log")
    os.rename(path, path + ".empty")
    for n in range(2 * pairs):
        beside = n % 4 in (1, 2)  # neither is always the first
        os.link(log if beside else path + ".empty", path)
        began = time.monotonic()
        watching = desk.start("c1").expect("watching c1", timeout=20).at
        start.add(beside, 1000 * (watching - began))
        question.add(beside, bench_prompt.painted(desk, "203.0.113.%d" % (n % 200)))
        bench_prompt.leave(desk)
        os.unlink(path)
    os.rename(path + ".empty", path)
    return start, question


def by_verdict(desk: Desk, pairs: int) -> tuple[Delay, Delay]:
    """Of the next question and of a key, by a verdict command that runs."""
    question, key = Delay(), Delay()
    desk.host.control("terok-shield", delay=SLEEP)
    t = desk.sit()
    for n in range(2 * pairs):
        beside = n % 2 == 1  # by the answer to the one before
        t.quiet(0.05)
        question.add(beside, bench_prompt.painted(desk, "198.51.100.%d" % (n % 200)))
        for _ in range(KEYS):
            t.quiet(0.05)
            began = time.monotonic()
            t.send("i")
            t.expect("uid inside")
            painted = t.expect("i l ? q")
            key.add(beside, 1000 * (painted.at - began))
        if beside:
            if desk.host.verdicts()[-1].ended is not None:
                raise RuntimeError("the verdict ended before all was measured")
            t.expect("done in")
            desk.press("s", painted, own=True)
            t.expect("s not now\n")
        else:
            before = len(desk.host.verdicts())
            desk.press("d", painted, own=True)
            eventually(lambda n=before: len(desk.host.verdicts()) > n, what="the verdict has begun")
    bench_prompt.leave(desk)
    desk.host.control("terok-shield")
    return question, key


def main(words: list[str]) -> None:
    pairs = int(words[0]) if words else 24
    size = int(words[1]) if words[1:] else 100
    with tempfile.TemporaryDirectory() as folder:
        python = measure.clean(sys.executable, folder)
        log = os.path.join(folder, "log")
        bench_dnslog.write(log, size << 20, bench_dnslog.FEW)
        host = os.path.join(folder, "host")
        with bench_prompt.at_desk(python, measure.built(python, folder), host) as desk:
            start, question = by_log(desk, log, pairs)
            print("a log of %d MB, start     %s" % (size, start))
            print("a log of %d MB, question  %s" % (size, question), flush=True)
            question, key = by_verdict(desk, pairs)
            print("a verdict, question       %s" % question)
            print("a verdict, key            %s" % key)


if __name__ == "__main__":
    main(sys.argv[1:])
