"""`--replay FILE`: events out of a recording instead of a container.

Owns the file.  What its lines mean is in `recording`; the session gets the same messages as
from a reader, each with the time at which it was recorded, as fast as it takes them.
"""

from __future__ import annotations

import errno
import os
import sys

from ..base.errors import CANNOT_START, USAGE, Refused
from ..base.happenings import Learnt
from ..base.jsonlines import BadLine, Lines
from ..base.moment import Now
from ..base.text import count, printable
from ..formats.recording import LINE_LIMIT, OTHERS_SHOWN, REMEMBERED, Recorded, Recording

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

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
CHUNK = 1 << 16
AHEAD = 1 << 20
"""Bytes read before the start, to find out which container it is about."""

FORMATS = "a recording is what --log or --json wrote, or a reader's lines"


class ReplayFile:
    """An open recording, `-` for stdin.

    `known` becomes true once enough of it is read to tell its container.
    Refused (3) when it can't be read or holds nothing of the kind, (2) when it holds several
    containers and `container` does not say which.  It never waits: a pipe's first lines may be
    long in coming, or never come, and whoever waits for them has to hear of signals, too.
    """

    def __init__(self, path: str, container: str = "") -> None:
        self.name = printable(path, 200)
        self.recording = Recording(container)
        self.known = False
        self.at_end = False
        self._found: list[Recorded] = []
        self._size = 0
        self._bad = 0
        self._broken = ""
        self._lines = Lines(LINE_LIMIT)
        try:
            self.fd = self._stdin() if path == "-" else os.open(path, _OPEN)
        except (OSError, ValueError) as error:
            raise self._refused(error) from None

    @staticmethod
    def _stdin() -> int:
        """Another descriptor of it, none of whose flags are changed: it is read once it polls readable."""
        if sys.stdin is None:
            raise OSError(errno.EBADF, "it is closed")
        if os.isatty(0):
            raise OSError(errno.ENOTSUP, "it is a terminal")
        return os.dup(0)

    def __repr__(self) -> str:
        return "ReplayFile(%s, %s)" % (self.name, self.recording.container)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self) -> None:
        """Reads the next 64 KiB, for `take`."""
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if not self.known:
                raise self._refused(error) from None
            self._broken = error.strerror or str(error)  # what there was has been replayed
            data = b""
        self._size += len(data)
        if data:
            self._parse(self._lines.feed(data))
        else:
            self._lines.finish()
            self.at_end = True
        if not self.known and (self.recording.understood or self.at_end or self._size >= AHEAD):
            self._decide()
            self.known = True

    def take(self) -> list[Recorded]:
        """What has been read since the last call."""
        found, self._found = self._found, []
        return found

    @property
    def bad_lines(self) -> int:
        """Lines that meant nothing, one cut short at the end included."""
        return self._bad + self._lines.dropped

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

    def _parse(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.strip():
                try:
                    self._found += self.recording.parse(line)
                except BadLine:
                    self._bad += 1

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
        self._names: dict[str, tuple[Name, ...]] = {}
        loop.add(file.fd, self._read)

    def __repr__(self) -> str:
        return "ReplaySource(%r)" % self.file

    @property
    def started(self) -> bool:
        return self.file.known

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names recorded for an address so far."""
        return self._names.get(dest, ())

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
        for recorded in self.file.take():
            if self.over:
                return
            message = recorded.message
            if isinstance(message, Learnt):
                if len(self._names) >= REMEMBERED:
                    self._names.clear()
                self._names[message.dest] = message.names
            self._sink(self, message, Now(now.mono, now.wall if recorded.wall is None else recorded.wall))
        if self.file.at_end and not self.over:
            self.stop()
            self._gone(self, now)

    def _read(self, _events: int, now: Now) -> None:
        was_known = self.file.known
        self.file.read()
        if was_known:
            self.catch_up(now)
        elif self.file.known:
            self._known(self.file)
