"""Where a container's events come from: a reader process, ours or another program.

Owns the reader process.  Its stdin is a pipe or a socket that nobody writes to: the reader ends when
the other end closes, however that happens, so it never outlives us.
"""

from __future__ import annotations

import signal

from ..base.errors import CANNOT_START, Refused
from ..base.happenings import Held, Started
from ..base.jsonlines import BadLine, Lines
from ..base.text import printable, printable_lines
from ..formats import readerline
from ..system import children, clocks
from ..system.loop import ROUND
from .forked import Forked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Message
    from ..base.moment import Now
    from ..system.children import Child
    from ..system.loop import Loop
    from .bridge import Bridge
    from .forked import Forkserver
    from .watched import Watched

    Sink = Callable[["ReaderSource", Message, Now], None]

ERR_LIMIT = 8192
SLICE = 1 << 14
"""Bytes read at a time: some 80 lines, a few milliseconds."""
SLICES = 16
"""Of them in one round, where there is time for so many.  What is made of each event takes memory until
the round ends: 0.8 MB more with four times as many."""
LEFT = 1 << 20
"""Bytes read after its end: as much as our own reader's pipe may hold."""


class ReaderSource:
    """A reader process for one container.  Gives its events to `sink`, and its end to `gone`.

    `started` is true once it listens; `holder` is the pid of whoever holds the packet log, where
    that is why it never does, else 0; `said` is the end of what it wrote to stderr; `fault` is
    what was wrong with the first of its lines that was no event.
    """

    kind = "nflog"
    held_by = 0

    def __init__(
        self,
        watched: Watched,
        loop: Loop,
        sink: Sink,
        gone: Callable[[ReaderSource, Now], None],
        readers: Forkserver | list[str],
        trace: Callable[[str], None],
    ) -> None:
        """`readers` starts ours, or is the command line that another program begins with."""
        self.watched = watched
        self.started = False
        self.holder = 0
        self.fault = ""
        self.foreign = isinstance(readers, list)
        if self.foreign:
            self.kind = "reader"
        self._loop = loop
        self._sink = sink
        self._gone = gone
        self._trace = trace
        self._lines = Lines()
        self._bad = 0
        self._said = bytearray()
        self._over = False
        try:
            self.child: Child | Forked = self._start(readers)
        except OSError as error:
            what, hints = "start a reader", []
            if isinstance(readers, list):
                what, hints = "reader " + readers[0], ["--reader CMD names another"]
            raise Refused(CANNOT_START, f"{what}: {error.strerror}", *hints) from None
        loop.add(self.child.out, self._read)

    def _start(self, readers: Forkserver | list[str]) -> Child | Forked:
        if not isinstance(readers, list):
            return readers.start(self.watched.name, self.watched.namespace, self.reap)
        argv = [*readers, self.watched.state_dir, self.watched.name, "--emit=json"]
        self._trace("start: " + " ".join(argv))
        child = children.spawn(argv, stdin_pipe=True)
        self._loop.add(child.err, self._listen)
        return child

    def __repr__(self) -> str:
        return f"ReaderSource({self.watched.name}, {self.child!r})"

    @property
    def bad_lines(self) -> int:
        """How many of its lines were no events: not understood, too long, or only half a line."""
        return self._bad + self._lines.dropped

    @property
    def said(self) -> list[str]:
        """The lines of its stderr, the last ones."""
        return printable_lines(bytes(self._said))

    @property
    def tells_its_end(self) -> bool:
        """Whether `gone` is still to come, once it is told to end: of a foreign one that is not known."""
        return not (self.foreign or self._over)

    def refusal(self) -> Refused:
        """Why it never listened, in its own words."""
        said = self.said
        message = next((line for line in said if line.startswith("simple-clearance: ")), "")
        hints = [line[len("hint: ") :] for line in said if line.startswith("hint: ")]
        if not message and self.foreign:
            hints.append("--debug shows what it said")
        text = message[len("simple-clearance: ") :] or "the reader ended before it listened%s" % (
            ": " + said[-1] if said else f" (exit code {self.child.status})"
        )
        return Refused(CANNOT_START, text, *hints, by=self.holder)

    def stop(self) -> None:
        """Tells it to end; a foreign one may need a signal for that."""
        if self.foreign and self.child.status is None:
            self.child.kill(signal.SIGTERM)
        self.child.close_stdin()
        self.child.kill(signal.SIGCONT)  # one that someone has stopped could not end

    def close(self) -> None:
        """Ends it for good and forgets it."""
        self.stop()
        for fd in (self.child.out, self.child.err):
            self._loop.remove(fd)
        self.child.close()

    def read_rest(self, now: Now, until: float = float("inf")) -> bool:
        """What is in its pipe by now, as far as it can be read `until` then; whether that was all of it."""
        for _ in range(LEFT // SLICE):
            if not self._take(now):
                return True
            if clocks.now().mono >= until:
                break
        return False

    def reap(self, now: Now) -> None:
        """After SIGCHLD, or what tells the end of one of ours."""
        if not self._over and self.child.reap():
            self.read_rest(now)
            self._finish(now)

    def _read(self, _events: int, now: Now) -> None:
        for _ in range(SLICES):
            if not self._take(now) or clocks.now().mono >= now.mono + ROUND:
                return

    def _take(self, now: Now) -> bool:
        """A slice of what it has told; False where there is none."""
        data = children.read(self.child.out, SLICE) if self.child.out >= 0 else None
        for line in self._lines.feed(data or b""):
            self._line(line, now)
        if data == b"":
            self._loop.remove(self.child.out)
            if self.child.reap():
                self._finish(now)
            else:
                self.child.kill(signal.SIGKILL)  # it ends just now, or lives on with nothing to say
        return bool(data)

    def _line(self, line: bytes, now: Now) -> None:
        if not line.strip():
            return
        try:
            message = readerline.parse(line)
        except BadLine as error:
            self._bad += 1
            self.fault = self.fault or str(error)
            self._trace(f"reader: {error}: {printable(line, 200)}")
            return
        if isinstance(message, Started):
            self.started = True
        elif isinstance(message, Held):
            self.holder = message.pid
        if message is not None:
            self._sink(self, message, now)

    def _listen(self, _events: int, _now: Now) -> None:
        data = children.read(self.child.err)
        if data == b"":
            self._loop.remove(self.child.err)
        elif data:
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        self._said += data
        del self._said[:-ERR_LIMIT]
        for line in printable_lines(data):
            self._trace("reader says: " + line)

    def _finish(self, now: Now) -> None:
        if self._over:
            return
        self._over = True
        if self.child.err >= 0:
            self._listen(0, now)
        if isinstance(self.child, Forked):
            self._hear(self.child.said)
        self._lines.finish()
        self._gone(self, now)


class AuditSource:
    """The events that terok-shield's bridge reader writes to the audit log while it holds the group.

    Who reads the log hands them on; here is only the end of that reader, told to `gone`.
    """

    kind = "audit-log"
    started = True

    def __init__(
        self, watched: Watched, loop: Loop, bridge: Bridge, gone: Callable[[AuditSource, Now], None]
    ) -> None:
        self.watched = watched
        self.bridge = bridge
        self.held_by = bridge.pid
        self._loop = loop
        self._gone = gone
        loop.add(bridge.gone, self._ended)

    @property
    def bad_lines(self) -> int:
        """Lines of the log that meant nothing."""
        return self.watched.log.bad_lines if self.watched.log is not None else 0

    @property
    def fault(self) -> str:
        """What was wrong with the first of them."""
        return self.watched.log.fault if self.watched.log is not None else ""

    def stop(self) -> None:
        """Nothing of it is ours to end."""

    def close(self) -> None:
        self._loop.remove(self.bridge.gone)
        self.bridge.close()

    def reap(self, now: Now) -> None:
        """It is no child of ours."""

    def _ended(self, _events: int, now: Now) -> None:
        self.close()
        self._gone(self, now)


class SharedSource:
    """The listener of `through`, whose network namespace this container is in, too: as those of a pod are.

    A packet doesn't tell whose it is: all of them are told as the one's that listens.
    """

    kind = "nflog"
    started = True
    held_by = 0

    def __init__(self, watched: Watched, through: Watched) -> None:
        self.watched = watched
        self.through = through

    def stop(self) -> None:
        """Nothing of it is this container's to end."""

    close = stop

    def reap(self, now: Now) -> None:
        """It has no process."""
