"""The one place that waits: descriptors, and the moments at which somebody wants to be woken.

Idle, it has no timeout at all.
"""

from __future__ import annotations

import select

from . import clocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from ..base.moment import Now

    Ready = Callable[[int, Now], Optional[Now]]

READ, WRITE = select.POLLIN, select.POLLOUT
LONGEST = 86_400_000
"""Milliseconds of one wait: a day, since poll(2) takes no more than 24 of them."""


class Loop:
    """Calls back for descriptors that are ready.

    A callback gets the poll(2) event mask and the moment, read once for a round; one that took its
    time returns the moment at which the rest of the round happens.  `deadlines`
    are asked in each round for the next moment (monotonic) at which the round should end.
    `since` is when, at the earliest, the input of this round can have come: now, if we had to wait
    for it, else any time since the last round began, which may have taken long.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Ready] = {}
        self.deadlines: list[Callable[[], float | None]] = []
        self.since = 0.0
        self._last = 0.0

    def add(self, fd: int, ready: Ready, events: int = READ) -> None:
        """Watches `fd`; a second call changes what for."""
        self._poll.register(fd, events)
        self._ready[fd] = ready

    def remove(self, fd: int) -> None:
        """Call it before `fd` is closed."""
        if self._ready.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self) -> Now:
        """One round: waits, calls back, and returns its moment."""
        due = [deadline for ask in self.deadlines if (deadline := ask()) is not None]
        timeout = None
        if due:
            timeout = min(LONGEST, max(0.0, (min(due) - clocks.now().mono) * 1000))  # rounded up by Python
        found = self._poll.poll(0)
        waited = not found
        if waited:
            found = self._poll.poll(timeout)
        now = clocks.now()
        self.since = now.mono if waited else self._last
        self._last = now.mono
        for fd, events in found:
            ready = self._ready.get(fd)
            if ready is not None:  # else another callback of this round has removed it
                now = ready(events, now) or now
        return now
