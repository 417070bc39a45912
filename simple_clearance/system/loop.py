"""The one place that waits: descriptors, and the moments at which somebody wants to be woken.

Idle, it has no timeout at all.  Whoever is inside a container decides how much there is to be read of it:
so keys and signals go first in each round, and the others only for so long; who is left out then goes
before those who were not in the next one.
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
ROUND = 0.01
"""Seconds after which a round begins nothing more of what can wait for the next one."""
LONGEST = 86_400_000
"""Milliseconds of one wait: a day, since poll(2) takes no more than 24 of them."""


class Loop:
    """Calls back for descriptors that are ready.

    A callback gets the poll(2) event mask and the moment, read once for a round; one that took its
    time returns the moment at which the rest of the round happens.  `deadlines` are asked in each
    round for the next moment (monotonic) at which somebody wants to be woken.
    `since` is when, at the earliest, the input of this round can have come: now, if we had to wait
    for it, else any time since the last round began, which may have taken long.
    """

    def __init__(self, clock: Callable[[], Now] = clocks.now) -> None:
        self._clock = clock
        self._poll = select.poll()
        self._ready: dict[int, Ready] = {}
        self._urgent: set[int] = set()
        self._called: dict[int, int] = {}  # in which round last
        self._round = 0
        self.deadlines: list[Callable[[], float | None]] = []
        self.since = 0.0
        self._last = 0.0

    def add(self, fd: int, ready: Ready, events: int = READ, *, urgent: bool = False) -> None:
        """Watches `fd`; a second call changes what for.  `urgent` ones go before all others."""
        self._poll.register(fd, events)
        self._ready[fd] = ready
        if urgent:
            self._urgent.add(fd)

    def remove(self, fd: int) -> None:
        """Call it before `fd` is closed."""
        if self._ready.pop(fd, None) is not None:
            self._poll.unregister(fd)
            self._urgent.discard(fd)
            self._called.pop(fd, None)

    def wait(self) -> Now:
        """One round: waits, calls back, and returns its moment."""
        due = [deadline for ask in self.deadlines if (deadline := ask()) is not None]
        timeout = None
        if due:
            timeout = min(LONGEST, max(0.0, (min(due) - self._clock().mono) * 1000))  # rounded up by Python
        found = self._poll.poll(0)
        waited = not found
        if waited:
            found = self._poll.poll(timeout)
        now = self._clock()
        self.since = now.mono if waited else self._last
        self._last = now.mono
        self._round += 1
        turns = [(fd, events, self._ready[fd]) for fd, events in sorted(found, key=self._turn)]
        for fd, events, ready in turns:
            if self._ready.get(fd) is not ready:
                continue  # another callback of this round has removed it; the number may be another's by now
            self._called[fd] = self._round
            now = ready(events, now) or now
            if fd not in self._urgent and self._clock().mono >= now.mono + ROUND:
                break
        return now

    def _turn(self, ready: tuple[int, int]) -> int:
        """Where in a round a descriptor has its turn: whoever has waited longest for it comes first."""
        return -1 if ready[0] in self._urgent else self._called.get(ready[0], 0)
