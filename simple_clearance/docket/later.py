"""What is told of an open request, but not at once: that it was tried again, and names learnt since.  Pure.

Whoever is inside tries and looks up as often as it likes; so a request's count is told once a second,
and of all names together so many a second.
"""

from __future__ import annotations

from .names import names_told
from .states import STILL_OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Tuple

    from ..base.moment import Now
    from .names import Names
    from .register import Register
    from .requests import Request

    Place = Tuple[str, str]  # a container and an address

AGAIN_EVERY = 1.0

NAMES_PER_SECOND = 100
"""`names` records: an address may have thousands of requests."""


class Later:
    """`tell(type, **fields)` takes what is told."""

    def __init__(self, tell: Callable[..., None], names: Names, register: Register) -> None:
        self._tell = tell
        self._names = names
        self._register = register
        self._tried: dict[str, Request] = {}
        self._named: dict[Place, bool] = {}  # addresses with other names, and whether any was not told
        self._telling: list[Request] = []  # those of one address; the next one last
        self._new = False  # whether any of its names was not told
        self._names_left, self._names_at = float(NAMES_PER_SECOND), 0.0

    def deadline(self) -> float | None:
        """When something falls due (monotonic), or None."""
        first = next(iter(self._tried.values()), None)
        times = [first.told_at + AGAIN_EVERY] if first else []
        if self._named or self._telling:
            times.append(self._names_at + (1 - self._names_left) / NAMES_PER_SECOND)
        return min(times, default=None)

    def tried(self, request: Request, now: Now) -> None:
        """It was tried again."""
        self._tried.setdefault(request.id, request)
        if request.told_at + AGAIN_EVERY <= now.mono:
            self._tell_tried(request, now)

    def named(self, container: str, dest: str, new: bool) -> None:
        """This address has other names: `new` ones, which were not told, or another one looked up last."""
        self._named[container, dest] = new or self._named.get((container, dest), False)

    def closed(self, request: Request) -> None:
        """Nothing more is told of it."""
        self._tried.pop(request.id, None)

    def tell_tried(self, now: Now) -> None:
        """Tells the counts that have waited for their second."""
        for request in list(self._tried.values()):
            if request.told_at + AGAIN_EVERY <= now.mono:
                self._tell_tried(request, now)

    def tell_named(self, now: Now) -> list[Request]:
        """Tells as many of the names as this moment may; the requests that have other ones now."""
        gained = (now.mono - self._names_at) * NAMES_PER_SECOND
        self._names_left, self._names_at = min(NAMES_PER_SECOND, self._names_left + gained), now.mono
        told = []
        while self._names_left >= 1 and (self._telling or self._named):
            if not self._telling:
                place = next(iter(self._named))
                self._new = self._named.pop(
                    place
                )  # what is learnt from now on is told once more, after the others
                self._telling = self._register.at(*place)[::-1]
                continue
            request = self._telling.pop()
            if request.state in STILL_OPEN:
                self._names_left -= 1
                if self._new:
                    names = self._names.lookup(request.container, request.dest)
                    self._tell("names", id=request.id, **names_told(names))
                told.append(request)
        return told

    def _tell_tried(self, request: Request, now: Now) -> None:
        del self._tried[request.id]
        if request.count > request.told:
            request.told, request.told_at = request.count, now.mono
            self._tell("again", id=request.id, count=request.count)
