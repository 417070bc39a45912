"""A docket, a prompt, a terminal and a clock, all in one process: nothing here waits or runs anything.

stage = Stage()
stage.blocked("203.0.113.10", names=["www.example.com"])
stage.wait(1.2)
stage.key("a")
assert stage.commands == ["allow c1 203.0.113.10"]
"""

from __future__ import annotations

import gc
import re

import pyte

from simple_clearance.base.happenings import Event, Name
from simple_clearance.base.moment import Now
from simple_clearance.docket.docket import Docket
from simple_clearance.docket.verdict import Outcome
from simple_clearance.prompt.keyboard import TAKE_BACK
from simple_clearance.prompt.painter import UP, Painter
from simple_clearance.prompt.prompt import RESIZE_REST, Prompt
from simple_clearance.prompt.reading import Reading

START = 17 * 3600 + 32 * 60 + 5  # 17:32:05
SGR = re.compile(rb"\x1b\[[0-9;]*m")
MOVES = re.compile("(\r\n|\r|\x1b\\[A)")  # where the cursor goes


class Clock:
    """The day is the first of January; what was on any other one is 9 days ago."""

    def time(self, wall):
        whole = int(wall) % 86400
        return "%02d:%02d:%02d" % (whole // 3600, whole // 60 % 60, whole % 60)

    def ago(self, then, wall):
        return self.time(then) if wall - then < 40000 else "30 Dec, 2 days ago"

    def since(self, stamp, wall):
        today = stamp.startswith("jan  1")
        return stamp[7:15] if today else "%s %s, 9 days ago" % (stamp[4:6].strip(), stamp[:3].capitalize())


def name(text, via="", at="jan  1 17:32:03"):
    return Name(text, via, at)


def inspect(data, width):
    """What must hold of everything painted on a screen of this width."""
    plain = SGR.sub(b"", data).replace(b"\a", b"").replace(UP, b"")
    assert all(0x20 <= byte < 0x7F or byte in b"\r\n" for byte in plain), data
    for line in plain.split(b"\r\n"):
        assert b"\n" not in line, data
        for part in line.split(b"\r"):
            assert len(part) <= width - 1, part


def tables(*things):
    """Every table, list and the like that hangs on these, wherever."""
    found, todo = {}, list(things)
    while todo:
        one = todo.pop()
        is_table = isinstance(one, (dict, list, tuple, set))
        if id(one) not in found and (is_table or type(one).__module__.startswith("simple_clearance.")):
            found[id(one)] = one
            todo += gc.get_referents(one)
    return [one for one in found.values() if isinstance(one, (dict, list, tuple, set))]


class Bench:
    """A docket and a clock.  `records` are all that it has told."""

    def __init__(self, kind=Docket, **options):
        self.known = {}
        self.recorded = {}  # what the shield's own log has, by container and address
        self.docket = kind(
            names=lambda container, dest: self.known.get((container, dest), ()),
            recorded=lambda container, dest: self.recorded.get((container, dest)),
            **options,
        )
        self.mono = 1000.0
        self.records = []
        self.docket.add_container("c1", 18, {})

    @property
    def now(self):
        return Now(self.mono, START + self.mono - 1000.0)

    def take(self, *kinds):
        """The records since the last call; those of `kinds` when any are named."""
        found = self.docket.take()
        self.records += found
        return [record for record in found if not kinds or record["type"] in kinds]

    def event(self, kind, dest, port=443, proto=6, container="c1", count=1, names=(), **fields):
        if names:
            self.learn(dest, *names, container=container)
        self.docket.handle(container, Event(kind, dest, port, proto, count=count, **fields), self.now)

    def learn(self, dest, *names, container="c1"):
        """These are the names of an address from now on, the one looked up last first."""
        self.known[container, dest] = [one if isinstance(one, Name) else name(one) for one in names]
        self.docket.learn(container, dest, self.now)

    def blocked(self, dest="203.0.113.10", port=443, **fields):
        self.event("pending", dest, port, **{"uid": 1000, **fields})

    def ids(self):
        return [request.id for request in self.docket.waiting()]

    def answer(self, action, *ids, by="operator", **more):
        return self.docket.answer(action, list(ids), self.now, by, **more)

    def start(self):
        """Begins whatever may begin; the jobs."""
        jobs = self.docket.runnable()
        for job in jobs:
            self.docket.begin(job, self.now)
        return jobs

    def finish(self, job, result="applied", reason="", error="", opened=None):
        if opened is None:
            opened = (job.target,) if job.action == "allow" and not job.named and result == "applied" else ()
        seconds = self.mono - job.started
        self.docket.finish(job, Outcome(result, reason, error, tuple(opened), seconds), self.now)

    def run(self, result="applied", took=0.3, **outcome):
        """Runs all verdicts that wait to their end, each with the same outcome; the commands."""
        commands = []
        while True:
            jobs = self.start()
            if not jobs:
                return commands
            self.mono += took
            for job in jobs:
                commands.append(f"{job.action} {job.container} {job.target}")
                self.finish(job, result, **outcome)


class Stage(Bench):
    """The same with a prompt on a terminal.  `written` are the bytes painted so far."""

    def __init__(
        self,
        width=80,
        height=24,
        *,
        dumb=False,
        colour=False,
        bell=False,
        emulate=True,
        containers=("c1",),
        **options,
    ):
        super().__init__(**options)
        for container in containers:
            self.docket.add_container(container, 18, {})
        self.prompt = Prompt(
            self.docket, Painter(width, height, dumb=dumb, colour=colour), Clock(), bell=bell
        )
        self.screen = pyte.Screen(width, height)
        self.stream = pyte.ByteStream(self.screen) if emulate else None
        self.written = b""
        self.commands = []
        self.stalled = False
        self.waiting_to_go = b""
        self.took = 0.3
        self.result = {}
        self.auto = True
        self.refresh()

    def refresh(self):
        """One round of the session: records to the prompt, jobs to their end, bytes to the terminal."""
        while True:
            for record in self.take():
                self.prompt.record(record, self.now)
            self.prompt.tick(self.now)
            self.prompt.refresh(self.now)
            self.flush()
            jobs = self.start() if self.auto else []
            for job in jobs:
                self.commands.append(f"{job.action} {job.container} {job.target}")
                self.mono += self.took
                self.finish(job, **self.result)
            if not jobs:
                break
        for record in self.take():
            self.prompt.record(record, self.now)
        self.flush()

    def flush(self):
        data = self.prompt.output()
        inspect(data, self.prompt.painter.width)
        self.waiting_to_go += data
        if self.stalled or not self.waiting_to_go:
            return
        data, self.waiting_to_go = self.waiting_to_go, b""
        self.written += data
        if self.stream is not None:
            self.stream.feed(data)
        self.prompt.written(self.now)

    def blocked(self, dest="203.0.113.10", port=443, **fields):
        super().blocked(dest, port, **fields)
        self.refresh()

    def flood(self, container="c1", number=5, first=1):
        """So many addresses at once, before anything is painted."""
        for last in range(first, first + number):
            super().blocked("203.0.113.%d" % last, container=container)
        self.refresh()

    def wait(self, seconds):
        """Time passes; whoever asked to be woken meanwhile is."""
        until = self.mono + seconds
        while True:
            due = self.prompt.deadline()
            if due is None or due > until:
                break
            self.mono = max(due, self.mono)
            self.refresh()
            if self.prompt.deadline() == due:
                break
        self.mono = max(until, self.mono)
        self.refresh()

    def type(self, data):
        """Bytes that come in one read."""
        self.prompt.input(data if isinstance(data, bytes) else data.encode("latin-1"), self.now)
        self.flush()
        self.refresh()

    def key(self, key):
        """A key as a person presses it: alone, and with nothing before or after it."""
        self.wait(1.3)
        self.type(key)
        self.settle()

    def settle(self, seconds=0.2):
        """Time passes, and what a key has announced is done."""
        self.wait(seconds)
        if self.prompt._keyboard.announced:
            self.wait(TAKE_BACK)

    def read(self):
        """Turns the pages of a text that the screen has no room for; the lines of all of them."""
        told = []
        while isinstance(self.prompt._view, Reading):
            told += self.prompt._view.lines()
            self.key(" ")
        return told

    def resize(self, width, height):
        self.screen.resize(height, width)
        self.prompt.resize(width, height, self.now)
        self.refresh()
        self.wait(RESIZE_REST)

    @property
    def text(self):
        """All that was painted, without colours: a line that was rewritten shows what it was last."""
        plain = SGR.sub(b"", self.written).replace(b"\a", b"").decode("ascii")
        lines, row, column = [""], 0, 0
        for part in MOVES.split(plain):
            if part == "\r\n":
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif part == "\r":
                column = 0
            elif part == "\x1b[A":
                row -= 1
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + part + line[column + len(part) :]
                column += len(part)
        assert not any(line.strip() for line in lines[row + 1 :]), "the cursor is on the last line"
        return "\n".join(line.rstrip() for line in lines[: row + 1])

    @property
    def shown(self):
        """The lines on the screen that hold anything."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def keys(self):
        """The line of keys that stands there."""
        return self.text.rsplit("\n", 1)[-1]
