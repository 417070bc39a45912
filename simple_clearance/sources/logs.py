"""The logs that the shield keeps of each container, followed: by turns, and never for long.

Whoever is inside decides how much is written there.  So each is read a slice at a time, whoever has waited
longest first, until the round's time is over.
"""

from __future__ import annotations

from ..system import clocks
from ..system.loop import ROUND
from . import lookups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Event, Recorded
    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..formats.auditline import ShieldState
    from ..system.loop import Loop
    from .watched import Watched

    Reading = Callable[[Watched, Now], bool]
    Sink = Callable[[Watched, "Event | ShieldState | Recorded", Now], None]

REST = 0.2
"""Seconds for the rest of what a source has told, once nothing more of it is waited for."""


class Logs:
    """The query log and the audit log of each container; what the second tells goes to `sink`."""

    def __init__(self, loop: Loop, docket: Docket, sink: Sink) -> None:
        self._docket = docket
        self._sink = sink
        self._followed: dict[Watched, None] = {}
        self._turns: list[tuple[Watched, Reading]] = []  # who of those that read a log is next
        loop.deadlines.append(self._next_slice)

    def add(self, one: Watched) -> None:
        """Follows the logs of `one`, which have been opened."""
        self._followed[one] = None
        self._turns += [(one, read) for read in (self._read_names, self._read_log, self._read_history)]

    def remove(self, one: Watched) -> None:
        self._followed.pop(one, None)
        self._turns = [turn for turn in self._turns if turn[0] is not one]

    def close(self) -> None:
        """None of them is read any more."""
        self._followed.clear()
        self._turns.clear()

    def changed(self) -> None:
        """Something in a state directory has: which one it was is not told."""
        for one in self._followed:
            if one.book is not None and one.log is not None:
                one.book.noticed = one.log.noticed = True

    def read(self, now: Now) -> None:
        """Slices of what has not been read yet, by turns, until this round's time is over."""
        for turn in list(self._turns):
            one, read = turn
            if read(one, now):
                self._turns.remove(turn)
                self._turns.append(turn)
                if _is_over(now):
                    return

    def read_on(self, one: Watched, now: Now) -> None:
        """All that is there of it, for as long as the round's time is not over."""
        if one.book is None or not one.book.more:  # else each packet would take a slice's time
            self.read_names_on(one, now)
        if one.log is not None and not one.log.more:
            one.log.noticed = True
            while self._read_log(one, now) and not _is_over(now):
                pass

    def read_names_on(self, one: Watched, now: Now) -> None:
        """The same of its names alone."""
        if one.book is not None:
            one.book.noticed = True
            while self._read_names(one, now) and not _is_over(now):
                pass

    def read_rest(self, one: Watched, now: Now, until: float | None = None) -> bool:
        """What is left of its audit log, as far as there is time `until` then; whether that was all of it."""
        if one.log is None:
            return True
        until = clocks.now().mono + REST if until is None else until
        one.log.noticed = True
        while self._read_log(one, now):
            if clocks.now().mono >= until:
                return False
        return not one.log.half

    def _read_log(self, one: Watched, now: Now) -> bool:
        """A slice of the audit log; False where there is nothing to be read."""
        if one.log is None or not (one.log.more or one.log.noticed):
            return False
        for message in one.log.read():
            self._sink(one, message, now)
        return True

    def _read_names(self, one: Watched, now: Now) -> bool:
        """A slice of what is new in the query log; what changes for waiting requests is told."""
        if one.book is None or not (one.book.more or one.book.noticed):
            return False
        for dest in one.book.look():
            self._docket.learn(one.name, dest, now)
        self._names_read(one, one.book.behind, now)
        return True

    def _read_history(self, one: Watched, now: Now) -> bool:
        """A slice of what the query log held before the start."""
        if one.book is None or not one.book.has_history:
            return False
        for dest in one.book.catch_up():
            self._docket.learn(one.name, dest, now)
        self._names_read(one, one.book.behind, now)
        return True

    def _names_read(self, one: Watched, behind: bool, now: Now) -> None:
        """Some of the query log was read; rules wait while it is `behind`, which is told where it is slow."""
        if behind:
            since = one.behind_since = now.mono if one.behind_since is None else one.behind_since
            if now.mono - since > lookups.SLOW and self._docket.rules.active:
                one.behind_since = float("inf")  # told once
                text = (
                    "the names looked up before this start are still being read: rules by name wait for them"
                )
                self._docket.warn(f"{one.name}: {text}, and so does --answer")
        elif one.behind_since is not None:
            one.behind_since = None
            self._docket.names_known(one.name, now)

    def _next_slice(self) -> float | None:
        """At once, while there is more of a log to be read."""
        return 0.0 if any(map(_is_unread, self._followed)) else None


def _is_unread(one: Watched) -> bool:
    if one.book is None or one.log is None:
        return False
    return one.book.behind or one.book.noticed or one.log.more or one.log.noticed


def _is_over(now: Now) -> bool:
    """Whether that round's time is."""
    return clocks.now().mono >= now.mono + ROUND
