"""A session that was joined: a process that speaks the `--json` protocol, started anew when it ends.

Owns the process.  What its lines mean is in `formats.sessionline`, what becomes of it in `remote`.  The
awkward fact: whoever is at the other end, and the way there, may be slow, silent or hostile.  So nobody waits
for it: what it writes is read in slices, and what it does not read is kept up to a bound, beyond which it is
as good as gone.
"""

from __future__ import annotations

import os
import signal

from ..base.errors import CANNOT_START, Refused
from ..base.jsonlines import BadLine, Lines
from ..base.text import printable, printable_lines
from ..formats import sessionline
from ..system import children, clocks
from ..system.loop import ROUND, WRITE
from .remote import Remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..system.children import Child
    from ..system.loop import Loop

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds until a link that was lost is tried again; twice as long each time, unless it stood meanwhile."""
STOOD = 5.0
"""Seconds that it must have been up for that: one that fails at its start again and again did not stand."""
SLICE, SLICES = 1 << 14, 16
"""Bytes read at a time, and how often in one round, where there is time for so many."""
LEFT = 1 << 20
"""Bytes read after its end, at most: a process that it left behind may go on."""
UNREAD = 1 << 20
"""Bytes of answers that may wait for the other end."""
SAID = 4096
"""Bytes of what it said on stderr that are remembered."""
NOISE = 64
"""Lines before its first record that are passed over: what a shell's start-up file prints."""
LAST_WORDS = 2.0
"""Seconds that it gets at the end, to end by itself and say what is left there."""
OVER = (0, 5)
"""What a session ends with that has ended as asked: it is not started again."""
PREFIX = "simple-clearance: "
"""How a session of ours begins what it says on stderr."""


class Command:
    """How a session is started: with `argv`, which reads `preamble` before the first answer.

    `asking` is the same where it may ask on our terminal, for a password say: tried for the first start,
    where it did not work without.  `hint` is for where nothing may be asked; `before`, what stands before any
    command to run it there.
    """

    __slots__ = ("argv", "asking", "before", "hint", "preamble")

    def __init__(
        self,
        argv: Sequence[str],
        preamble: bytes = b"",
        asking: Sequence[str] = (),
        hint: str = "",
        before: str = "",
    ) -> None:
        self.argv = argv
        self.preamble = preamble
        self.asking = asking
        self.hint = hint
        self.before = before


class Link:
    """One joined session.

    `over` is true once it has ended as asked; `refusal` is what kept it from beginning.
    """

    def __init__(
        self,
        name: str,
        command: Command,
        loop: Loop,
        docket: Docket,
        timeout: float,
        trace: Callable[[str], None],
    ) -> None:
        self.name = name
        self.remote = Remote(name, docket, self._say, timeout)
        self.over = False
        self.asks = False  # whether it may be asking on our terminal
        self.refusal: Refused | None = None
        self._command = command
        self._loop = loop
        self._docket = docket
        self._trace = trace
        self._child: Child | None = None
        self._lines = Lines(sessionline.LINE_LIMIT)
        self._unsent = bytearray()
        self._said = bytearray()
        self._noise = 0
        self._bad = 0
        self._stopping = False
        self._was_up = False
        self._known: set[str] = set()  # its containers, when it was lost
        self._up_since = 0.0
        self._wait = FIRST_WAIT
        self._due: float | None = None  # when it is tried again, or ended

    def __repr__(self) -> str:
        return "Link(%s, %r)" % (self.name, self._child)

    @property
    def up(self) -> bool:
        """Whether its session has begun and not ended."""
        return bool(self.remote.version)

    @property
    def settled(self) -> bool:
        """Whether it is known what became of its start."""
        return self._was_up or self.over or self.refusal is not None

    # Its process

    def start(self, now: Now) -> None:
        """Starts it."""
        self._start(self._command.argv, now)

    @property
    def may_ask(self) -> bool:
        """Whether it could not begin without asking, and may be tried with that."""
        return self.refusal is not None and not self._was_up and bool(self._command.asking)

    def start_asking(self, now: Now) -> None:
        """Starts it in our foreground job, for once."""
        argv, self._command.asking = self._command.asking, ()
        self.refusal, self.asks = None, True
        self._start(argv, now, apart=False)

    def _start(self, argv: Sequence[str], now: Now, apart: bool = True) -> None:
        self._trace("link %s: start: %s" % (self.name, " ".join(argv)))
        self._due = None
        self._lines, self._noise, self._bad = Lines(sessionline.LINE_LIMIT), 0, 0
        self._unsent, self._said = bytearray(self._command.preamble), bytearray()
        try:
            self._child = children.spawn(argv, stdin_pipe=True, apart=apart)
        except OSError as error:
            self._lost(now, "%s: %s" % (argv[0], error.strerror))
            return
        os.set_blocking(self._child.stdin, False)
        self._loop.add(self._child.out, self._read)
        self._loop.add(self._child.err, self._listen)
        self._flush()

    def _read(self, _events: int, now: Now) -> None:
        for _ in range(SLICES):
            data = children.read(self._child.out, SLICE) if self._child is not None else None
            if data is None:
                return
            if not data:
                assert self._child is not None
                self._loop.remove(self._child.out)
                self._child.kill(signal.SIGTERM)  # it has nothing to say any more
                if self._child.reap():
                    self._ended(now)
                return
            try:
                for line in self._lines.feed(data):
                    self._line(line, now)
            except Refused as refused:
                self._refuse(refused, now)
                return
            if clocks.now().mono >= now.mono + ROUND:
                return

    def _line(self, line: bytes, now: Now) -> None:
        if not line.strip():
            return
        try:
            record = sessionline.parse(line)
            if record is not None and self._child is not None:
                began = not self.up
                self.remote.take(record, now)
                if began:
                    self._up_since = now.mono
                    if self._was_up:
                        self._back()
                self._was_up, self.asks = True, False
        except BadLine as error:
            self._trace("link %s: %s: %s" % (self.name, error, printable(line, 200)))
            self._mind(str(error))

    def _mind(self, fault: str) -> None:
        """A line that meant nothing: the first is told, those before its session are the shell's there.

        A session that can't be read is no shell's, and no other one follows.
        """
        if not self.up:
            self._noise += 1
            if self._noise > NOISE or fault.startswith("session: "):
                raise Refused(CANNOT_START, "%s: it does not speak the protocol: %s" % (self.name, fault))
            return
        self._bad += 1
        if self._bad == 1:
            self._docket.warn("%s: a line of its session means nothing: %s" % (self.name, fault))

    def _back(self) -> None:
        self._docket.relay({"type": "container", "host": self.name, "state": "back"})
        for container in self.remote.watching:
            if container not in self._known:
                self._docket.started(self.remote.row(container))

    def _listen(self, _events: int, _now: Now) -> None:
        data = children.read(self._child.err) if self._child is not None else None
        if data == b"":
            assert self._child is not None
            self._loop.remove(self._child.err)
        elif data:
            self._said += data
            del self._said[:-SAID]
            for line in printable_lines(data):
                self._trace("link %s says: %s" % (self.name, line))

    def reap(self, now: Now) -> None:
        """After SIGCHLD."""
        if self._child is not None and self._child.reap():
            self._ended(now)

    def _ended(self, now: Now) -> None:
        """It has ended: what it said before that is read first."""
        child = self._child
        assert child is not None
        for _ in range(LEFT // SLICE):
            data = children.read(child.out, SLICE) if child.out >= 0 else None
            if not data:
                break
            try:
                for line in self._lines.feed(data):
                    self._line(line, now)
            except Refused as refused:
                self.refusal = self.refusal or refused
                break
        self._listen(0, now)
        if self._stopping and child.status != 0:
            self._end_missed()
        said = printable_lines(bytes(self._said))
        problem = said[-1] if said else "it ended with %s" % child.status
        self._let_go()
        self._lost(now, problem, said)

    def _let_go(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            for fd in (child.out, child.err, child.stdin):
                self._loop.remove(fd)
            child.close()

    def _refuse(self, refused: Refused, now: Now) -> None:
        """It is none that can be joined."""
        self.refusal = refused
        if self._child is not None:
            self._child.kill(signal.SIGTERM)
        self._let_go()
        self._lost(now, refused.message)

    def _lost(self, now: Now, problem: str, said: Sequence[str] = ()) -> None:
        """Its process is gone; it is tried again, unless it has ended as asked or never began."""
        was_up, exit_code = self.up, self.remote.exit
        if self._stopping:
            self.remote.sent.give_up(now, problem)
            return
        self.asks = False
        lost = was_up and exit_code not in OVER
        if lost:
            self._docket.relay({"type": "container", "host": self.name, "state": "lost", "reason": problem})
            self._docket.lost("", 1, "link")
            self._known = set(self.remote.watching)
        self.remote.hung_up(now, problem)
        if not self._was_up:
            self.refusal = self.refusal or self._why_not(problem, said)
        elif was_up and not lost:
            self.over = True
            self._docket.warn("%s: its session has ended" % self.name)
        else:
            if was_up and now.mono - self._up_since >= STOOD:
                self._wait = FIRST_WAIT
            self._due = now.mono + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT)

    def _why_not(self, problem: str, said: Sequence[str]) -> Refused:
        """In its own words, where it is a session of ours."""
        ours = [line[len(PREFIX) :] for line in said if line.startswith(PREFIX)]
        hints = [line[len("hint: ") :] for line in said if line.startswith("hint: ")]
        if not ours and self._command.hint:
            hints.append(self._command.hint)
        return Refused(CANNOT_START, "%s: %s" % (self.name, ours[0] if ours else problem), *hints)

    # What is sent

    def _say(self, line: str) -> None:
        self._trace("link %s: > %s" % (self.name, line))
        self._unsent += line.encode("ascii") + b"\n"
        self._flush()

    def _flush(self, _events: int = 0, _now: Now | None = None) -> None:
        child = self._child
        if child is None or child.stdin < 0:
            return
        try:
            while self._unsent:
                del self._unsent[: os.write(child.stdin, self._unsent[: 1 << 16])]
        except BlockingIOError:
            if len(self._unsent) > UNREAD + len(self._command.preamble):
                child.kill(signal.SIGTERM)  # nobody reads there
        except OSError:
            self._unsent.clear()  # it has ended, or is about to: its exit tells
        if self._unsent:
            self._loop.add(child.stdin, self._flush, WRITE)
            return
        self._loop.remove(child.stdin)
        if self._stopping:
            child.close_stdin()

    # Its time

    def deadline(self) -> float | None:
        due = [each for each in (self._due, self.remote.sent.deadline()) if each is not None]
        return min(due, default=None)

    def tick(self, now: Now) -> None:
        self.remote.sent.tick(now)
        if self._due is None or self._due > now.mono:
            return
        self._due = None
        if not self._stopping:
            self.start(now)
        elif self.remote.sent.jobs:
            self._due = now.mono + LAST_WORDS  # that is what it waits for
        else:
            self._end_missed()
            self._end_it()

    # The end

    def stop(self, now: Now) -> None:
        """The session ends: so does it, at the end of its input."""
        if not self._stopping:
            self._stopping = True
            self._due = now.mono + LAST_WORDS
            self._flush()

    @property
    def ending(self) -> bool:
        """Whether its last words are still waited for."""
        return self._stopping and self._child is not None

    def abandon(self, now: Now) -> None:
        """It is waited for no longer."""
        self.remote.sent.give_up(now, "the session has ended before it")
        if self.ending:
            self._end_missed()

    def _end_missed(self) -> None:
        """Nobody knows what it would have said at its end."""
        if self.up and self.remote.exit is None:
            self._docket.lost("", 1, "link")

    def _end_it(self) -> None:
        if self._child is not None:
            self._child.kill(signal.SIGTERM)
            self._child.kill(signal.SIGCONT)  # one that someone has stopped could not end
        self._let_go()

    def close(self) -> None:
        """Ends it for good."""
        self._stopping = True
        self._end_it()
