"""Whether a container can be listened to: its reader is started until it listens, and ended again."""

from __future__ import annotations

import signal

from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..system import clocks
from ..system.signals import Wakeups
from .readers import ReaderSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Message
    from ..base.moment import Now
    from ..system.loop import Loop
    from .forked import Forkserver
    from .watched import Watched

TO_LISTEN, TO_STOP = 10.0, 2.0
"""Seconds that a reader may take for it; one that takes longer to stop is killed."""
RUN_IT = "run it by hand, as this user, to see why"


def tried(
    watched: Watched, readers: Forkserver | list[str], loop: Loop, trace: Callable[[str], None]
) -> ReaderSource:
    """A reader that has ended again: it was `started`, or can tell why not.  Refused when it does neither.

    `readers` starts ours, or is the command line that another program begins with.
    """
    ended: list[ReaderSource] = []
    until: float | None = clocks.now().mono + TO_LISTEN

    def ignore(_source: ReaderSource, _message: Message, _now: Now) -> None:
        pass

    def gone(source: ReaderSource, _now: Now) -> None:
        ended.append(source)

    def child_ended(_events: int, now: Now) -> None:
        wakeups.take()
        reader.reap(now)

    def due() -> float | None:
        return until

    with Wakeups(signal.SIGCHLD) as wakeups:
        reader = ReaderSource(watched, loop, ignore, gone, readers, trace)
        loop.add(wakeups.fd, child_ended)
        loop.deadlines.append(due)
        try:
            while not (reader.started or ended or _is_past(until)):
                loop.wait()
            late = not (reader.started or ended)
            reader.stop()
            until = clocks.now().mono + TO_STOP
            while not reader.child.reap():
                if _is_past(until):
                    reader.child.kill(signal.SIGKILL)
                    until = None  # what is killed ends
                loop.wait()
        finally:
            reader.close()
            loop.remove(wakeups.fd)
            loop.deadlines.remove(due)
    if late:
        shown = printable(" ".join(readers), 100) if isinstance(readers, list) else "the reader"
        raise Refused(CANNOT_START, f"{shown}: it did not listen within {TO_LISTEN:g} s", RUN_IT)
    return reader


def _is_past(moment: float | None) -> bool:
    return moment is not None and clocks.now().mono >= moment
