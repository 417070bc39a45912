"""What is told of an open request, but not at once: that it was tried again, and names learnt since.  Pure.

Whoever is inside tries and looks up as often as it likes; so a request's count is told once a second,
and of all counts and of all names together so many a second, for which the containers take turns.
"""

from __future__ import annotations

from .names import names_told
from .states import STILL_OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from .names import Names
    from .register import Register
    from .requests import Request

AGAIN_EVERY = 1.0
"""Seconds between two `again` records of one request."""

PER_SECOND = 100
"""`again` records of all requests, and `names` records: there may be thousands of requests."""


class Allowance:
    """So many a second, and as many at once after a second without any."""

    def __init__(self) -> None:
        self._left = float(PER_SECOND)
        self._at = 0.0

    def allows(self, now: Now) -> bool:
        """Whether this moment may have one more."""
        self._left = min(PER_SECOND, self._left + (now.mono - self._at) * PER_SECOND)
        self._at = now.mono
        return self._left >= 1

    def spend(self) -> None:
        self._left -= 1

    def due(self) -> float:
        """When there will be one (monotonic)."""
        return self._at + max(0.0, 1 - self._left) / PER_SECOND


class Renamed:
    """The addresses of one container that have other names now, and of whose requests it is to be told."""

    __slots__ = ("_at", "_dests", "_new", "_requests")

    def __init__(self, at: Callable[[str], list[Request]]) -> None:
        """`at` gives the open requests of an address."""
        self._at = at
        self._dests: dict[str, bool] = {}  # whether any of its names was not told
        self._requests: list[Request] = []  # those of the address in hand, the next one last
        self._new = False

    def add(self, dest: str, new: bool) -> None:
        self._dests[dest] = new or self._dests.get(dest, False)

    def next(self) -> tuple[Request, bool] | None:
        """The next request, and whether it is to be told."""
        while True:
            while self._requests:
                request = self._requests.pop()
                if request.state in STILL_OPEN:
                    return request, self._new
            if not self._dests:
                return None
            dest = next(iter(self._dests))
            self._new = self._dests.pop(dest)  # what is learnt from now on is told after the others
            self._requests = self._at(dest)[::-1]


class Later:
    """`tell(type, **fields)` takes what is told."""

    def __init__(self, tell: Callable[..., None], names: Names, register: Register) -> None:
        self._tell = tell
        self._names = names
        self._register = register
        self._tried: dict[
            str, dict[str, Request]
        ] = {}  # by container and id, the one that waits longest first
        self._counts = Allowance()
        self._renamed: dict[str, Renamed] = {}  # by container; whose turn it is comes first
        self._records = Allowance()

    def deadline(self) -> float | None:
        """When something falls due (monotonic), or None."""
        times = [next(iter(tried.values())).told_at + AGAIN_EVERY for tried in self._tried.values()]
        times = [max(min(times), self._counts.due())] if times else []
        if self._renamed:
            times.append(self._records.due())
        return min(times, default=None)

    def tried(self, request: Request, now: Now) -> None:
        """It was tried again."""
        self._tried.setdefault(request.container, {}).setdefault(request.id, request)
        self._tell_tried(request, now)

    def renamed(self, container: str, dest: str, new: bool) -> None:
        """This address has other names: `new` ones, which were not told, or another one looked up last."""
        if container not in self._renamed:
            self._renamed[container] = Renamed(lambda dest: self._register.at(container, dest))
        self._renamed[container].add(dest, new)

    def closed(self, request: Request) -> None:
        """Nothing more is told of it; its last count goes with the word that it was closed."""
        tried = self._tried.get(request.container, {})
        if tried.pop(request.id, None) is not None and not tried:
            del self._tried[request.container]

    def tell_tried(self, now: Now) -> None:
        """Tells the counts that have waited for their second, by turns."""
        told = True
        while told:
            first = [next(iter(tried.values())) for tried in self._tried.values()]
            told = any([self._tell_tried(request, now) for request in first])  # all of them

    def tell_renamed(self, now: Now) -> list[Request]:
        """Tells as many of the names as this moment may; the requests that have other ones now."""
        found = []
        while self._renamed and self._records.allows(now):
            container = next(iter(self._renamed))
            renamed = self._renamed.pop(container)
            one = renamed.next()
            if one is None:
                continue
            self._renamed[container] = renamed  # its next turn is after those of the others
            request, new = one
            self._records.spend()
            if new:
                names = self._names.lookup(container, request.dest)
                self._tell("names", id=request.id, **names_told(names))
            found.append(request)
        return found

    def _tell_tried(self, request: Request, now: Now) -> bool:
        """Whether it was its turn."""
        if request.told_at + AGAIN_EVERY > now.mono or not self._counts.allows(now):
            return False
        self.closed(request)
        if request.count > request.told:
            request.told, request.told_at = request.count, now.mono
            self._counts.spend()
            self._tell("again", id=request.id, **request.tries())
        return True
