"""`--replay FILE`: events out of a recording instead of a container.

Owns the file.  What its lines mean is in `recording`; the session gets the same messages as
from a reader, each with the time at which it was recorded, as fast as it takes them.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..base.errors import CANNOT_START, USAGE, Refused
from ..base.jsonlines import BadLine, Lines
from ..base.moment import Now
from ..base.text import count, printable
from ..formats.recording import OTHERS_SHOWN, Recorded, Recording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Name
    from ..formats.recording import Message
    from ..system.loop import Loop
    from .watched import Watched

    Known = Callable[["ReplayFile"], None]
    Sink = Callable[["ReplaySource", Message, Now], None]
    Gone = Callable[["ReplaySource", Now], None]

CHUNK = 1 << 16
AHEAD = 1 << 20
"""Bytes read before the start, to find out which container it is about."""

FORMATS = "a recording is what --log or --json wrote, or a reader's lines"


class ReplayFile:
    """An open recording.  `known` becomes true once enough of it is read to tell its container.

    Refused (3) when it can't be read or holds nothing of the kind, (2) when it holds several
    containers and `container` does not say which.  It never waits: a pipe's first lines may be
    long in coming, or never come, and whoever waits for them has to hear of signals, too.
    """

    def __init__(self, path: str, container: str = "") -> None:
        self.name = printable(path, 200)
        self.recording = Recording(container)
        self.known = False
        self.at_end = False
        self._ahead: list[Recorded] = []
        self._size = 0
        self._bad = 0
        self._broken = ""
        self._lines = Lines()
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError) as error:
            raise self._refused(error) from None

    def __repr__(self) -> str:
        return "ReplayFile(%s, %s)" % (self.name, self.recording.container)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read_ahead(self) -> None:
        """Reads on for the sake of `known`; `ahead` has what was read on the way."""
        try:
            self._ahead += self.read()
        except OSError as error:
            raise self._refused(error) from None
        if self.recording.understood or self.at_end or self._size >= AHEAD:
            self._decide()
            self.known = True

    def ahead(self) -> list[Recorded]:
        """What was read too early, once."""
        found, self._ahead = self._ahead, []
        return found

    def read(self) -> list[Recorded]:
        """What the next 64 KiB hold; at the end it sets `at_end`."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return []
        self._size += len(data)
        if data:
            return self._parse(self._lines.feed(data))
        self._lines.finish()
        self.at_end = True
        return []

    @property
    def bad_lines(self) -> int:
        """Lines that meant nothing, one cut short at the end included."""
        return self._bad + self._lines.dropped

    def give_up(self, error: OSError) -> list[Recorded]:
        """A disk that fails half-way: what there was has been replayed."""
        self.at_end = True
        self._broken = error.strerror or str(error)
        return []

    def remarks(self) -> list[str]:
        """What was not replayed, once it has been read to its end."""
        found = []
        if self._broken:
            found.append("%s: it ends too early: %s" % (self.name, self._broken))
        if self.bad_lines:
            bad = count(self.bad_lines, "line was", "lines were")
            found.append("%s: %s not understood" % (self.name, bad))
        if self.recording.others:
            found.append("%s: left out what is recorded of %s" % (self.name, self._others()))
        return found

    def _decide(self) -> None:
        """Which container it is about, or Refused."""
        if not self.recording.understood:
            raise Refused(CANNOT_START, "--replay %s: no recording" % self.name, FORMATS)
        choice = [printable(name, 80) for name in self.recording.choice[:OTHERS_SHOWN]]
        if not self.recording.container or len(choice) > 1:
            how = "it is of several containers" if choice else "it does not say which container it is of"
            raise Refused(
                USAGE, "--replay %s: %s" % (self.name, how), "name one: " + (" ".join(choice) or "c1")
            )

    def _parse(self, lines: list[bytes]) -> list[Recorded]:
        found = []
        for line in lines:
            if not line.strip():
                continue
            try:
                recorded = self.recording.parse(line)
            except BadLine:
                self._bad += 1
                continue
            if recorded is not None:
                found.append(recorded)
        return found

    def _others(self) -> str:
        names = sorted(printable(name, 80) for name in self.recording.others)
        return ", ".join(names) + (" and more" if len(names) == OTHERS_SHOWN else "")

    def _refused(self, error: Exception) -> Refused:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Refused(CANNOT_START, "--replay %s: %s" % (self.name, text), FORMATS)


class ReplaySource:
    """Stands where a `ReaderSource` would.  Gives its events to `sink`, and its end to `gone`.

    `started` is true once it is known what it is about, which is told to `known`; nothing goes to
    `sink` before the next round.  The moment that goes with an event has the monotonic clock of
    now and the wall clock of then.
    """

    kind = "replay"
    foreign = False
    held_by = 0

    def __init__(
        self, watched: Watched, file: ReplayFile, loop: Loop, known: Known, sink: Sink, gone: Gone
    ) -> None:
        self.watched = watched
        self.file = file
        self.over = False
        self._loop = loop
        self._known = known
        self._sink = sink
        self._gone = gone
        self._wall: float | None = None
        loop.add(file.fd, self._read)

    def __repr__(self) -> str:
        return "ReplaySource(%r)" % self.file

    @property
    def started(self) -> bool:
        return self.file.known

    @property
    def bad_lines(self) -> int:
        return self.file.bad_lines

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names recorded for an address so far."""
        return self.file.recording.names(dest)

    def stop(self) -> None:
        """Reads no further."""
        if not self.over:
            self.over = True
            self._loop.remove(self.file.fd)

    def close(self) -> None:
        self.stop()
        self.file.close()

    def reap(self, now: Now) -> None:
        """There is no process to end."""

    def catch_up(self, now: Now) -> None:
        """Gives what was read before it was known, for which nothing may become readable any more."""
        self._give(self.file.ahead(), now)

    def _read(self, _events: int, now: Now) -> None:
        if not self.file.known:
            self.file.read_ahead()
            if self.file.known:
                self._known(self.file)
            return
        self.catch_up(now)
        try:
            found = self.file.read()
        except OSError as error:
            found = self.file.give_up(error)
        self._give(found, now)

    def _give(self, found: list[Recorded], now: Now) -> None:
        for recorded in found:
            if self.over:
                return
            wall = timestamps.seconds(recorded.ts)
            self._wall = self._wall if wall is None else wall
            self._sink(self, recorded.message, Now(now.mono, now.wall if self._wall is None else self._wall))
        if self.file.at_end and not self.over:
            self.stop()
            self._gone(self, now)
