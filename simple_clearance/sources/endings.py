"""What is still told of a container that has ended, and the readers that are not needed any more.

An end, its own or the session's, is a barrier: what was blocked before it is taken first, until its source
has ended or for a second or so.  Of a flood only what comes at first is told one by one, the rest is counted.
"""

from __future__ import annotations

from .logs import REST
from .readers import ReaderSource, SharedSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..system.loop import Loop
    from .logs import Logs
    from .watched import Source, Watched

LAST = 1.0
"""Seconds that a container's last packets may take from the kernel to us."""
LAST_OF_LOG = 1.5
"""The same through the audit log: terok-shield's reader writes up to a second late, and ends later yet."""
ONE_BY_ONE = 0.5
"""Seconds of that in which each is told; of a flood the rest is only counted."""


class Endings:
    """The containers whose last words are being taken; `over(one, now)` is called when that was all.

    True while there are any.
    """

    def __init__(self, loop: Loop, docket: Docket, logs: Logs, over: Callable[[Watched, Now], None]) -> None:
        self._loop = loop
        self._docket = docket
        self._logs = logs
        self._over = over
        self._until: dict[Watched, float] = {}  # up to when the last words of each are taken
        self._counted: dict[Watched, int] = {}  # how many of those were only counted
        self._leaving: list[ReaderSource] = []  # told to end, and not ended yet
        loop.deadlines.append(lambda: min(self._until.values(), default=None))

    def __bool__(self) -> bool:
        return bool(self._until)

    def begin(self, one: Watched, source: Source, now: Now) -> None:
        """One that was watched has ended, or is to be watched no longer."""
        one.move("ended")
        one.close_namespace()  # or it would outlive the container
        self._loop.remove(one.pidfd)
        self._until[one] = now.mono + (LAST_OF_LOG if source.kind == "audit-log" else LAST)
        source.stop()
        if isinstance(source, SharedSource):
            self.had_all(one, now)

    def leave(self, one: Watched, source: Source, now: Now) -> None:
        """The session ends, and one that is watched does not: what was blocked by now is taken.

        Our reader tells when that was all; of another's what it has told by now has to do.
        """
        self.begin(one, source, now)
        waits = isinstance(source, ReaderSource) and source.tells_its_end
        if one in self._until and not waits:
            self.had_all(one, now, self._read_rest(one, now, now.mono + REST))

    def only_counts(self, one: Watched, now: Now) -> bool:
        """Whether what comes of it is not told one by one any more."""
        return one in self._until and self._until[one] - now.mono <= LAST - ONE_BY_ONE

    def count(self, one: Watched, number: int) -> None:
        """So many were blocked, of those that are only counted."""
        self._counted[one] = self._counted.get(one, 0) + number

    def had_all(self, one: Watched, now: Now, whole: bool = True) -> None:
        """Nothing more comes of it, if it has ended; `whole`: nor is there more."""
        if self._until.pop(one, None) is None:
            return
        for where, lost in (("reader", self._counted.pop(one, 0)), ("watch", int(not whole))):
            if lost:
                self._docket.lost(one.name, lost, where)
        self._over(one, now)

    def let_go(self, source: Source) -> None:
        """A source that nobody needs any more; it may be just reading."""
        if isinstance(source, ReaderSource):
            source.stop()
            self._leaving.append(source)
        else:
            source.close()

    def tick(self, now: Now) -> None:
        """Hurries those whose last words are only counted, and waits no longer for what has not come."""
        rest = now.mono + REST
        for one in [one for one in self._until if self.only_counts(one, now)]:
            over = self._until[one] <= now.mono
            if over or isinstance(one.source, ReaderSource):
                whole = self._read_rest(one, now, rest)
                if over:  # a reader that has not ended by now may have more to tell
                    self.had_all(one, now, whole and not isinstance(one.source, ReaderSource))
        for reader in [reader for reader in self._leaving if reader.child.status is not None]:
            self._leaving.remove(reader)
            reader.close()

    def _read_rest(self, one: Watched, now: Now, until: float) -> bool:
        """What its source has told, as far as there is time `until` then; whether that was all of it."""
        if isinstance(one.source, ReaderSource):
            return one.source.read_rest(now, until)
        return self._logs.read_rest(one, now, until)

    def reap(self) -> None:
        """After SIGCHLD."""
        for reader in self._leaving:
            reader.child.reap()

    def close(self) -> None:
        for reader in self._leaving:
            reader.close()
