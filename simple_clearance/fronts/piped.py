"""Fronts without a terminal: JSON and answers for a script, plain lines for a journal.

Own stdout, never waited for, and the JSON one stdin.  Both are usually pipes that other
processes hold, too, so no flag of theirs is changed: stdin is polled, then read once.
"""

from __future__ import annotations

import os
import sys

from ..base import timestamps
from ..base.errors import USAGE, Refused
from ..docket.states import LATE
from ..prompt.sentences import greetings
from ..system import clocks
from ..system.loop import WRITE
from ..system.output import Output
from . import protocol
from .journal import Journal, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..base.happenings import Watching
    from ..base.moment import Now
    from ..docket.docket import Docket, Record
    from ..docket.jobs import Job
    from ..system.loop import Loop
    from .protocol import Report

CHUNK = 1 << 16

WIDTH = 200
"""Columns that labels leave to the line of a journal, which folds by itself."""

PATIENCE = 5.0
"""Seconds that the last words wait for a stdout that takes nothing."""


class PipedFront:
    """What both have in common: records become lines on stdout.

    `ended` becomes `stdout` once nobody reads it.  `asks` tells whether anybody may answer yet,
    `failed` what of the output was lost in a way that its reader can't know, "" for nothing.
    After `close` and `summary`, `busy` is true while the last words are still being read.
    """

    def __init__(self, loop: Loop, docket: Docket, *, stdout: int = 1) -> None:
        if stdout == 1 and sys.stdout is None:  # its number may be another file's by now
            raise Refused(USAGE, "stdout is closed", "send it somewhere, /dev/null if need be")
        self.failed = ""
        self._loop = loop
        self._docket = docket
        self._out = Output(stdout)
        self._outbox = protocol.Outbox(docket)
        self._closing = False
        self._moved = 0.0
        self._polled = 0
        loop.add(self._out.fd, self._ready, 0)  # tells when it goes away
        loop.deadlines.append(self._deadline)

    @property
    def asks(self) -> bool:
        return False

    @property
    def ended(self) -> str:
        return "stdout" if self._out.gone and not self._owes() else ""

    @property
    def busy(self) -> bool:
        """Whether to go on waiting for stdout at the end."""
        if not self._out.backlog or self._out.gone:
            return False
        if clocks.now().mono < self._moved + PATIENCE:
            return True
        self.failed = self.failed or "stdout was not read to its end"
        return False

    def record(self, record: Record, now: Now) -> None:
        """Sends it at once; where that would have to wait, it waits here or is counted."""
        admitted = self._outbox.admit(record, self._out.backlog)
        if admitted is not None:
            self._put(self._text(admitted, now))

    def refresh(self, now: Now) -> None:
        if self._outbox.has_room(self._out.backlog):
            self._account()

    def _account(self) -> None:
        """Tells what was lost, as a record like any other."""
        lost, self._outbox.lost = self._outbox.lost, 0
        if lost:
            self._docket.lost("", lost, "stdout")

    def greet(self, watched: Sequence[Watching], *more: str) -> None:
        """What is watched; the `session` record has told it."""

    def tell(self, lines: list[str]) -> None:
        """Words for a person; a script gets them as records."""

    def close(self) -> None:
        """No more answers, and all accounts: what was lost is in the docket now, for the summary.

        Whoever still reads gets some time for the last words.
        """
        self._account()
        self._closing = True
        self._moved = clocks.now().mono

    def summary(self, summary: Record, commands: list[str]) -> None:
        """The last record."""
        self.record({**summary, "type": "summary"}, clocks.now())

    def stop(self, waits_for: Sequence[Job]) -> None:
        """Nobody waits for that at a pipe."""

    def resize(self) -> None:
        """There is no window."""

    suspend = resume = part = resize

    def _text(self, record: Record, now: Now) -> str:
        raise NotImplementedError

    def _owes(self) -> bool:
        """Whether something was taken on that has to be finished before the end."""
        return False

    def _put(self, text: str) -> None:
        if not self._out.backlog:
            self._moved = clocks.now().mono
        self._out.put(text)
        if self._out.backlog > protocol.MOST:
            self._out.gone = True
            self.failed = "stdout is not read: %d bytes wait" % self._out.backlog
        self._flush()

    def _flush(self) -> None:
        before = self._out.backlog
        self._out.flush()
        if self._out.backlog < before:
            self._moved = clocks.now().mono
        if self._out.failed is not None and not self.failed:
            self.failed = "stdout: %s" % self._out.failed.strerror
        wanted = -1 if self._out.gone else WRITE if self._out.backlog else 0
        if wanted == self._polled:
            return
        self._polled = wanted
        if wanted < 0:
            self._loop.remove(self._out.fd)
        else:
            self._loop.add(self._out.fd, self._ready, wanted)

    def _ready(self, events: int, _now: Now) -> None:
        if events & ~WRITE:
            self._out.gone = True
        self._flush()

    def _deadline(self) -> float | None:
        return self._moved + PATIENCE if self._closing and self._out.backlog and not self._out.gone else None


class JsonFront(PipedFront):
    """The coprocess of a script: one JSON object a line out, one answer a line in.

    `report(message, line)` tells of a line that was not understood.  `ended` becomes `input` at
    the end of input, once the verdicts asked for until then have had their end.  With a `stdin`
    of -1 there are no answers, and no end of them.
    """

    def __init__(
        self, loop: Loop, docket: Docket, report: Report, *, stdin: int = 0, stdout: int = 1
    ) -> None:
        super().__init__(loop, docket, stdout=stdout)
        self._answers = protocol.Answers(docket, report)
        self._stdin = stdin
        self._open = stdin >= 0
        if stdin == 0 and sys.stdin is None:  # closed: its number may be another file's by now
            self._open = False
        elif self._open:
            loop.add(stdin, self._read, urgent=True)

    @property
    def asks(self) -> bool:
        return self._open

    @property
    def ended(self) -> str:
        at_end = self._stdin >= 0 and not self._open and not self._owes()
        return super().ended or ("input" if at_end else "")

    def close(self) -> None:
        super().close()
        self._end_input()

    def _text(self, record: Record, now: Now) -> str:
        return protocol.line(record, timestamps.stamp(now.wall))

    def _owes(self) -> bool:
        return any(job.by == "script" and job.state != LATE for job in self._docket.jobs())

    def _read(self, _events: int, now: Now) -> None:
        try:
            data = os.read(self._stdin, CHUNK)
        except BlockingIOError:
            return  # someone else has set it so
        except OSError:
            data = b""  # a terminal that hung up, a connection that broke
        if data and not self._out.gone:
            self._answers.feed(data, now)
        else:
            self._answers.finish()
            self._end_input()

    def _end_input(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove(self._stdin)


class QuietFront(PipedFront):
    """For a session that nobody attends to: one line for each outcome, and stdin is not read."""

    def __init__(self, loop: Loop, docket: Docket, *, stdout: int = 1) -> None:
        super().__init__(loop, docket, stdout=stdout)
        self._journal = Journal()

    def greet(self, watched: Sequence[Watching], *more: str) -> None:
        self.tell([plain(sentence) for sentence in greetings(watched, WIDTH, *more)])

    def tell(self, lines: list[str]) -> None:
        self._put("".join(line.rstrip() + "\n" for line in lines))

    def _text(self, record: Record, now: Now) -> str:
        line = self._journal.line(record)
        return line + "\n" if line else ""
