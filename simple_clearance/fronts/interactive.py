"""What a session talks to: a terminal with a person, or nobody.

A front gets every record of the docket, is refreshed once in each round, and answers through
the docket.  `ended` says that it wants the session to stop.
"""

from __future__ import annotations

import signal

from ..base.text import printable
from ..prompt import layout, notices
from ..prompt.painter import Painter
from ..prompt.prompt import Prompt
from ..prompt.sentences import SENTENCES
from ..system import clocks, terminal
from ..system.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Protocol, Sequence

    from ..base.happenings import Watching
    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..docket.jobs import Job
    from ..system.loop import Loop

    class Front(Protocol):
        """What every front does."""

        failed: str

        @property
        def ended(self) -> str: ...
        @property
        def asks(self) -> bool: ...
        @property
        def busy(self) -> bool: ...
        def greet(self, watched: Sequence[Watching], *more: str) -> None: ...
        def tell(self, lines: list[str]) -> None: ...
        def record(self, record: dict[str, Any], now: Now) -> None: ...
        def refresh(self, now: Now) -> None: ...
        def stop(self, waits_for: Sequence[Job]) -> None: ...
        def resize(self) -> None: ...
        def suspend(self) -> None: ...
        def resume(self) -> None: ...
        def part(self) -> None: ...
        def close(self) -> None: ...
        def summary(self, summary: dict[str, Any], commands: list[str]) -> None: ...


SIGNALS = {"\x03": signal.SIGINT, "\x1a": signal.SIGTSTP, "\x1c": signal.SIGQUIT}
"""What a terminal makes of these keys, unless it was left raw or is not the controlling one."""


class TerminalFront:
    """The prompt on a terminal.  `ended` becomes `quit` or `hangup`."""

    def __init__(
        self,
        term: terminal.Terminal,
        loop: Loop,
        docket: Docket,
        environ: Mapping[str, str],
        *,
        shield: str,
        bell: bool,
    ) -> None:
        self.ended = ""
        self.failed = ""
        self.busy = False
        self.asks = True
        self._term = term
        self._away = False  # the terminal is somebody else's: nothing that is typed there is ours to read
        self._loop = loop
        width, height = term.size()
        painter = Painter(width, height, dumb=terminal.is_dumb(environ), colour=terminal.has_colour(environ))
        self.prompt = Prompt(docket, painter, clocks.LocalClock(), shield=shield, bell=bell)
        loop.add(term.fd, self._ready, urgent=True)
        loop.deadlines.append(self.prompt.deadline)

    def greet(self, watched: Sequence[Watching], *more: str) -> None:
        """Says what is watched, what was missed before, and what `more` there is, where that is not ""."""
        width = self.prompt.painter.width - 1
        lines = notices.greeting_lines(watched, width, *more)
        hint = "? keys   q stop"
        first = layout.columns(lines[0], hint, width)
        self._say([first, *lines[1:], *([] if first.endswith(hint) else ["  " + hint])])

    def record(self, record: dict[str, Any], now: Now) -> None:
        self.prompt.record(record, now)

    def refresh(self, now: Now) -> None:
        """Paints what there is to paint, and lets the keys count once it has gone out."""
        self.prompt.tick(now)
        self.prompt.refresh(now)
        if self.prompt.quit:
            self.ended = "quit"
        self._write()

    def tell(self, lines: list[str]) -> None:
        """Says sentences of ours, which know nothing of how wide it is."""
        self._say(layout.refit(lines, self.prompt.painter.width - 1))

    def _say(self, lines: list[str]) -> None:
        self.prompt.say(lines)
        self._write()

    def stop(self, waits_for: Sequence[Job]) -> None:
        """Asks nothing more, and says which verdicts are waited for."""
        self.prompt.stop([f"{job.action} {printable(job.target, 60)}" for job in waits_for])
        self._write()

    def resize(self) -> None:
        self.prompt.resize(*self._term.size(), clocks.now())

    def suspend(self) -> None:
        """Gives the terminal back as it was."""
        self.prompt.leave_line()
        self._write()
        self._term.cooked()
        self.part()

    def resume(self) -> None:
        """Takes it again, and asks again."""
        self._away = False
        self._watch()
        unread = self._term.read()  # before it is dropped
        self._term.raw()
        self.prompt.painter.resize(*self._term.size())
        self.prompt.repaint(unread=bool(unread))

    def part(self) -> None:
        """Reads nothing more of it; what is still to be told is told."""
        self._away = True
        self._watch()

    def close(self) -> None:
        """The end of the conversation; the terminal itself is closed by its owner."""
        if self.ended == "hangup":
            return
        self.prompt.end()
        self._write()
        self._loop.remove(self._term.fd)

    def summary(self, summary: dict[str, Any], commands: list[str]) -> None:
        if self.ended == "hangup":
            return
        lines = ["the same again:", *("  " + command for command in commands)] if commands else []
        self._say(lines + notices.laid_out(SENTENCES["summary"](summary), self.prompt.painter.width - 1))

    def _ready(self, events: int, now: Now) -> None:
        if events & ~WRITE:
            data = self._term.read()
            if data is None:
                self.ended = "hangup"
                self._loop.remove(self._term.fd)
                return
            if data:
                # not the round's moment: others of this round may have taken long, and a key is to
                # stand alone from when it was read
                self.prompt.input(data, clocks.now(), self._loop.since)
                interrupts, self.prompt.interrupts = self.prompt.interrupts, ""
                for key in interrupts:
                    signal.raise_signal(SIGNALS[key])
        self._write()

    def _write(self) -> None:
        data = self.prompt.output()
        was_pending = self._term.pending
        if not data and not was_pending:
            return
        if self._term.write(data):
            self.prompt.written(clocks.now())
        if self._term.pending != was_pending:
            self._watch()

    def _watch(self) -> None:
        if self.ended != "hangup":
            events = (0 if self._away else READ) | (WRITE if self._term.pending else 0)
            self._loop.add(self._term.fd, self._ready, events, urgent=True)
