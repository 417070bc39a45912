"""The register: every request that is remembered, and where to find it.  Pure.

It keeps the indices together: by what a request is, by its id while it is open, by its address
while that waits.  Memory is bounded: beyond a limit the request closed first is forgotten.
"""

from __future__ import annotations

from .requests import MUTED, OPEN, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from .moment import Now
    from .requests import Key

REMEMBERED = 20_000
"""Requests kept at most; what goes beyond is counted as lost and asked when it is tried again."""


class Register:
    """All requests of a session.  `open` maps the ids of those not closed yet to them, in order."""

    def __init__(self) -> None:
        self.open: dict[str, Request] = {}
        self._next = 1
        self._requests: dict[Key, Request] = {}
        self._closed: dict[Key, None] = {}
        # By container and address; a list only where there are several: 80 bytes less for each of the others
        self._at: dict[str, dict[str, Request | list[Request]]] = {}

    def get(self, key: Key) -> Request | None:
        """The request of that container, address, protocol and port, open or closed."""
        return self._requests.get(key)

    def all(self) -> Iterable[Request]:
        return self._requests.values()

    def waiting(self) -> list[Request]:
        """The requests that wait for an answer, in order."""
        return [request for request in self.open.values() if request.state == OPEN]

    def first_waiting(self) -> Request | None:
        return next((request for request in self.open.values() if request.state == OPEN), None)

    def at(self, container: str, dest: str) -> list[Request]:
        """All open requests of one address."""
        found = self._at.get(container, {}).get(dest, [])
        return found[:] if isinstance(found, list) else [found]

    def any_at(self, container: str, dest: str) -> bool:
        """Whether any request of an address is open: there may be thousands, so without a list of them."""
        return dest in self._at.get(container, ())

    def add(self, request: Request) -> bool:
        """Remembers a new request; False when every one that is remembered is open or muted."""
        if len(self._requests) >= REMEMBERED and not self._forget():
            return False
        self._requests[request.key] = request
        return True

    def enter(self, request: Request, now: Now) -> None:
        """Opens a request, under an id that was never used."""
        request.id = "r%d" % self._next
        self._next += 1
        request.state, request.changed = OPEN, now.mono
        self._closed.pop(request.key, None)
        self.open[request.id] = request
        at = self._at.setdefault(request.container, {})
        there = at.setdefault(request.dest, request)
        if isinstance(there, list):
            there.append(request)
        elif there is not request:
            at[request.dest] = [there, request]

    def close(self, request: Request, state: str, now: Now) -> bool:
        """Closes a request into `state`; False when it was closed already."""
        if self.open.pop(request.id, None) is None:
            return False
        at = self._at[request.container]
        there = at[request.dest]
        if isinstance(there, list) and len(there) > 1:
            there.remove(request)
        else:
            del at[request.dest]
        request.state, request.changed = state, now.mono
        if state != MUTED:
            self._closed[request.key] = None
        return True

    def _forget(self) -> bool:
        """Makes room by forgetting the request that was closed first."""
        key = next(iter(self._closed), None)
        if key is None:
            return False
        del self._closed[key]
        del self._requests[key]
        return True
