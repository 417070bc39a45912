"""The project's performance, measured, as a Markdown table: `tests/bench [--python PYTHON ...]`.

A column for each Python.  Each figure stands beside what it must not exceed and what is aimed at, and says
so where it does; each row names what limits it.  Ends with 1 where a must is missed, with 2 where this
machine lacks what it takes: root or user namespaces, nft, cc and the packages of the tests.  It takes about
three minutes for each Python.

Ratios are of what ran in turn, so a busy machine slows both sides.  Starts, prompts and delays
are medians, the reader's figures the quickest of three runs, losses are those of all runs.  The
Python under measure runs without the packages of its site, as `measure.clean` has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE)]

NONE = 5.0
"""Milliseconds of delay that count as none: about a tick of the kernel's clock."""
NONE_OF_START = 10.0
"""The same for a start, which takes a hundred and varies by some: a screen is painted each 17."""


MOST_CPU, AIM_CPU = (0.5, 0.7, 1.7, 3.0), (0.2, 0.3, 0.6, 1.0)
"""Seconds for each of the numbers of containers that `bench_many` has."""
MOST_EACH = (14, 4, 2.5, 2.5)
"""MB for each of them: one has what forks it for itself."""


class Figure(NamedTuple):
    """One figure of a row: `value` must not exceed `must`, nor `aim` if that is a number.

    `form` is its text, with a place for the number.
    """

    form: str
    value: float
    must: float
    aim: float | str = ""

    @property
    def shown(self) -> float:
        """What the table shows is what is judged."""
        return round(self.value, 1) + 0.0  # -0.0 becomes 0.0

    @property
    def missed(self) -> bool:
        return self.shown > self.must

    def text(self, number: float | str) -> str:
        return number if isinstance(number, str) else self.form % ("%g" % number)

    def measured_text(self) -> str:
        aim_missed = not isinstance(self.aim, str) and self.shown > self.aim
        mark = " **must missed**" if self.missed else " *aim missed*" if aim_missed else ""
        return self.text(self.shown) + mark

    def must_text(self) -> str:
        return self.text(self.must)


class Delay(Figure):
    """Milliseconds that something adds; it must add none."""

    def text(self, number: float | str) -> str:
        return number if isinstance(number, str) else self.form % ("%+g" % number)

    def must_text(self) -> str:
        return "none (under %g ms)" % self.must


class Row:
    """One thing that is measured, in one figure or several, and what limits it."""

    def __init__(self, what: str, limit: str, *figures: Figure) -> None:
        self.what = what
        self.limit = limit
        self.figures = figures

    @property
    def missed(self) -> bool:
        return any(figure.missed for figure in self.figures)

    def measured(self) -> str:
        return " / ".join(figure.measured_text() for figure in self.figures)

    def line(self, columns: list[str]) -> str:
        """Of the table, with what each Python's column says."""
        must = " / ".join(figure.must_text() for figure in self.figures)
        aim = " / ".join(figure.text(figure.aim) for figure in self.figures if figure.aim != "")
        return "| %s |" % " | ".join([self.what, *columns, must, aim, self.limit])


def table(pythons: list[str], measured: list[list[Row]]) -> list[str]:
    """Lines of Markdown: the same rows, measured for each of these versions, side by side."""
    heads = ["", *("Python " + python for python in pythons), "must: at most", "aim: at most", "limited by"]
    lines = ["| %s |" % " | ".join(heads), "|---" * len(heads) + "|"]
    return lines + [rows[0].line([row.measured() for row in rows]) for rows in zip(*measured)]


def say(text: str) -> None:
    sys.stderr.write("measuring %s\n" % text)
    sys.stderr.flush()


def measured(python: str, folder: str) -> list[Row]:
    """All rows; `python` is measured, `folder` is an empty one."""
    import bench_delay
    import bench_dnslog
    import bench_full
    import bench_hub
    import bench_links
    import bench_many
    import bench_prompt
    import bench_reader
    import bench_start
    import bench_worst_log
    import measure

    python = measure.clean(python, folder)
    archive = measure.built(python, folder)
    say("the reader against a C reader")
    c, reader = bench_reader.compare(python, 3)
    say("starts without a session")
    start = bench_start.starts(python, archive, 50)
    with bench_prompt.at_desk(python, archive, os.path.join(folder, "host")) as desk:
        say("starts of sessions, and their first questions")
        sessions = bench_prompt.rounds(desk, 40)
        say("an idle session")
        idle = bench_prompt.idle(desk)
        say("memory before and after 300,000 destinations")
        memory = bench_prompt.memory(desk)
        say("the same session with and without a query log of 100 MB")
        log = os.path.join(folder, "dnsmasq.log")
        bench_dnslog.write(log, 100 << 20, bench_dnslog.FEW)
        log_start, log_question = bench_delay.by_log(desk, log, 24)
        say("the same session with and without a verdict in progress")
        verdict_question, verdict_key = bench_delay.by_verdict(desk, 12)
    say("starts of sessions from the sources")
    folder_of_sources = os.path.join(folder, "sources")
    with bench_prompt.at_desk(python, measure.of_sources(archive), folder_of_sources) as desk:
        uncompiled = bench_prompt.rounds(desk, 8)
    say("looks into that query log")
    look = bench_dnslog.figures(python, log)
    say("a byte of the worst query log")
    worst = bench_worst_log.worst(python)
    say("a look for a hub")
    hub = bench_hub.beside_others(python)
    say("sessions of %s containers" % ", ".join(map(str, bench_many.NUMBERS)))
    many = bench_many.grown(python, archive, os.path.join(folder, "many"))
    numbers = " / ".join(str(one.number) for one in many) + " containers: "
    say("sessions of %d other machines, joined" % bench_links.NUMBERS[-1])
    links = bench_links.measured(python, archive, bench_links.NUMBERS[-1])
    say("a session of ten containers that do their worst")
    full = bench_full.measured(python)
    return [
        Row(
            "blocked packet to its line on the reader's pipe, p50 / p99",
            "the kernel gathers packets until its next tick, each 4 ms here",
            Figure("%s ms", reader.p50, 4, 3),
            Figure("%s ms", reader.p99, 12, 8),
        ),
        Row(
            "blocked connection to its question painted, p50",
            "the row above; the rest is a wake-up of the session and its painting",
            Figure("%s ms", sessions.p50, 8, 5),
        ),
        Row(
            "CPU per packet, flood of 200,000 to one destination, against a C reader / lost",
            "Python reads each packet's attributes; in C that is next to nothing",
            Figure("%sx", reader.same.us / c.same.us, 8, 4),
            Figure("%s", reader.same.lost, 0, 0),
        ),
        Row(
            "CPU per packet, flood to 50,000 destinations, a line each, against a C reader / lost",
            "the same; a line costs the C reader something, too",
            Figure("%sx", reader.many.us / c.many.us, 12, 4),
            Figure("%s", reader.many.lost, 0, 0),
        ),
        Row(
            "CPU of `--version` / `--help`, against a bare interpreter",
            "Python opens a zip file / imports `argparse`",
            Figure("%sx", start["version"] / start["bare"], 2.5, 1.7),
            Figure("%sx", start["help"] / start["bare"], 4.5, 3),
        ),
        Row(
            "CPU from start to listening, session, forkserver and reader, against a bare interpreter / by a "
            "Python that the file was not built for",
            "two interpreters start, and both import `socket` and `signal` / each compiles what it imports",
            Figure("%sx", sessions.start, 10, 6),
            Figure("%sx", uncompiled.start, 40, 12),
        ),
        Row(
            "wake-ups when idle, session, forkserver and reader, in 8 s",
            "nothing: no timer runs",
            Figure("%s", idle, 0, 0),
        ),
        Row(
            "memory of all three, against a bare interpreter / more after 300,000 destinations",
            "two interpreters with their modules / 20,000 requests are remembered",
            Figure("%sx", memory.ratio, 3.5, "lower"),
            Figure("+%s MB", memory.growth, 32, 16),
        ),
        Row(
            "query log of 100 MB: delay of the start / of the first question / a look after that",
            "a slice of the history is being read when a question comes / system calls on the file",
            Delay("%s ms", log_start.ms, NONE_OF_START),
            Delay("%s ms", log_question.ms, NONE),
            Figure("%s us", look.look, 10),
        ),
        Row(
            "a byte of the worst query log, against one of an ordinary log",
            "a line with a new name and a new address each time is kept, and another forgotten for it",
            Figure("%sx", worst, bench_worst_log.LIMIT, 3),
        ),
        Row(
            "a look for a hub, beside 500 sockets that others have bound",
            "a connect() for each place that a hub may have",
            Figure("%s ms", hub, 50, 1),
        ),
        Row(
            "verdict in progress: delay of a question / of a key",
            "nothing: the verdict is another process, for which nobody waits",
            Delay("%s ms", verdict_question.ms, NONE),
            Delay("%s ms", verdict_key.ms, NONE),
        ),
        Row(
            numbers + "CPU from start to all listening",
            "for each container a fork, and the pages that the reader writes to",
            *(Figure("%s s", one.cpu, most, aim) for one, most, aim in zip(many, MOST_CPU, AIM_CPU)),
        ),
        Row(
            numbers + "memory (PSS) of each beside the session",
            "CPython writes reference counts to what a reader looks at, which is shared no longer; one has "
            "the forkserver for itself",
            *(Figure("%s MB", one.each, most, 1) for one, most in zip(many, MOST_EACH)),
        ),
        Row(
            numbers + "a packet to its line while each of the others tries ten new addresses a second",
            "the kernel's tick, as above; all share this machine's cores",
            *(Figure("%s ms", one.busy, 12, 5) for one in many),
        ),
        Row(
            numbers + "wake-ups of all when idle, in %g s" % bench_many.IDLE,
            "nothing: no timer runs",
            *(Figure("%s", one.woken, 0, 0) for one in many),
        ),
        Row(
            "%d other machines of ten containers, joined: memory of each / CPU of a question / its delay, "
            "p50 / a verdict there and back, p50 / wake-ups when idle, in %g s"
            % (links.number, bench_links.IDLE),
            "a hundred requests are kept / JSON is read and written / the same / the same, twice / nothing",
            Figure("+%s MB", links.memory, 1, 0.2),
            Figure("%s ms", links.question, 2, 0.5),
            Figure("%s ms", links.p50, 20, 5),
            Figure("%s ms", links.verdict, 20, 5),
            Figure("%s", links.woken, 0, 0),
        ),
        Row(
            "ten containers, every table full and changing: memory / CPU of a question / of a key / "
            "`--log` for each packet and look-up that says nothing new",
            "the budget of 20,000 requests / its painting / the list, which looks at all 20,000 / a loss is "
            "told once a second, as a sum",
            Figure("+%s MB", full.memory, 48),
            Figure("%s ms", full.question, 20),
            Figure("%s ms", full.key, 50),
            Figure("%s bytes", full.log, 200),
        ),
    ]


def lacks() -> str:
    """What this machine can't give, with its own words; empty when it gives everything."""
    packages = [name for name in ("pytest", "pyte") if importlib.util.find_spec(name) is None]
    if packages:
        return "the packages of the tests (%s)" % ", ".join(packages)
    from needs import lacking

    reasons = [(name, lacking(name)) for name in ("nft", "cc", "pty")]
    return "; ".join("%s (%s)" % (name, reason) for name, reason in reasons if reason)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench", description="Measure, and print a Markdown table.")
    parser.add_argument(
        "--python",
        dest="pythons",
        metavar="PYTHON",
        action="append",
        help="a Python to measure; repeatable (default: this one)",
    )
    pythons = parser.parse_args().pythons or [sys.executable]
    absent = [python for python in pythons if not shutil.which(python)]
    missing = "a Python: there is no %s" % absent[0] if absent else lacks()
    if missing:
        sys.stderr.write("tests/bench: needs %s\n" % missing)
        return 2
    import measure

    versions, found = [measure.version(python) for python in pythons], []
    for python, version in zip(pythons, versions):
        sys.stderr.write("Python %s\n" % version)
        with tempfile.TemporaryDirectory() as folder:
            found.append(measured(python, folder))
    print("\n".join(table(versions, found)))
    print(
        "\nMeasured on %d cores, Linux %s, each Python by itself, one after the other."
        % (os.cpu_count() or 1, platform.release().partition("-")[0])
    )
    return 1 if any(row.missed for rows in found for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
