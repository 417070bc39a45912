"""The register: every request that is remembered, and where to find it.  Pure.

It moves them from state to state, by the table of `states`, and keeps the indices together: by what a
request is, by its id while it is open, by its address while that has an open one.  Beyond its budget one
of a container's closed requests is forgotten, of those that matter least the one closed first.
"""

from __future__ import annotations

from ..base.index import Index
from .states import FORGOTTEN_FIRST, OPEN, REQUEST, STILL_OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from ..base.moment import Now
    from .budget import Budget
    from .requests import Key, Request


class Register:
    """All requests of a session.

    `open` maps the ids of those not closed yet to them, in the order in which they were opened;
    `waiting`, by container, those of them that wait for an answer: whichever has waited longest since it
    was opened, or since a verdict on it did not help, comes first.  A container with none is not in it.
    """

    def __init__(self, budget: Budget) -> None:
        self.open: dict[str, Request] = {}
        self.waiting: dict[str, dict[str, Request]] = {}
        self._budget = budget
        self._next = 1
        self._requests: dict[Key, Request] = {}
        self._number: dict[str, int] = {}  # of them, by container
        self._closed: dict[tuple[str, str], dict[str, Request]] = {}  # by container, state; in order, by id
        self._at: dict[str, Index] = {}  # by container: the open requests under each address

    def get(self, key: Key) -> Request | None:
        """The request of that container, address, protocol and port, open or closed."""
        return self._requests.get(key)

    def closed(self, request_id: str) -> Request | None:
        """A closed request that is remembered, by the last id it had."""
        return next((closed[request_id] for closed in self._closed.values() if request_id in closed), None)

    def all(self) -> Iterable[Request]:
        return self._requests.values()

    def at(self, container: str, dest: str) -> list[Request]:
        """All open requests of one address."""
        return self._at[container].get(dest) if container in self._at else []

    def first_at(self, container: str, dest: str) -> Request | None:
        """One of them, if there is any."""
        found: Request | None = self._at[container].first(dest) if container in self._at else None
        return found

    def any_at(self, container: str, dest: str) -> bool:
        """Whether any request of an address is open: there may be thousands, so without a list of them."""
        return dest in self._at.get(container, ())

    def crowded(self, container: str, dest: str) -> bool:
        """Whether so many requests of an address are open that one more stands for the rest of its ports."""
        return container in self._at and self._at[container].number(dest) >= self._budget.limit("ports")

    def add(self, request: Request) -> bool:
        """Remembers a new request; False when there is no room and every other is open."""
        container, limit = request.container, self._budget.limit("requests")
        while self._number.get(container, 0) >= limit:
            if not self._forget(container):
                return False
        self._requests[request.key] = request
        self._number[container] = self._number.get(container, 0) + 1
        return True

    def move(self, request: Request, cause: str, now: Now) -> None:
        """To the next state, by what happened to it; KeyError where that can't be (a fault of ours)."""
        before = request.state
        if before not in STILL_OPEN:
            self._closed.get((request.container, before), {}).pop(request.id, None)
        request.state = after = REQUEST[before][cause]
        request.changed = now.mono
        if before == OPEN:
            self._waits_no_longer(request)
        if after in STILL_OPEN and before not in STILL_OPEN:
            self._open(request)
        elif before in STILL_OPEN and after not in STILL_OPEN:
            self._close(request)
        if after == OPEN:
            self.waiting.setdefault(request.container, {})[request.id] = request

    def _waits_no_longer(self, request: Request) -> None:
        waiting = self.waiting[request.container]
        del waiting[request.id]
        if not waiting:
            del self.waiting[request.container]

    def drop(self, container: str) -> None:
        """Forgets a container's closed requests."""
        for key in [key for key in self._closed if key[0] == container]:
            for request in self._closed.pop(key).values():
                del self._requests[request.key]
                self._number[container] -= 1
        if not self._number.get(container):
            self._number.pop(container, None)
            self._at.pop(container, None)

    def _open(self, request: Request) -> None:
        """Under an id that was never used."""
        request.id = "r%d" % self._next
        self._next += 1
        self.open[request.id] = request
        self._at.setdefault(request.container, Index()).add(request.dest, request)

    def _close(self, request: Request) -> None:
        del self.open[request.id]
        if request.ports is not None:
            request.ports.forget()
        self._at[request.container].remove(request.dest, request)
        self._closed.setdefault((request.container, request.state), {})[request.id] = request

    def _forget(self, container: str) -> bool:
        """Makes room by forgetting one of this container's closed requests."""
        for state in FORGOTTEN_FIRST:
            closed = self._closed.get((container, state))
            if closed:
                request = closed.pop(next(iter(closed)))
                del self._requests[request.key]
                self._number[container] -= 1
                return True
        return False
