"""One question for one wish: requests that belong together are asked together.  Pure.

A name's many addresses and an address's many ports are one group on the screen.  Groups exist
there only; on every other way out a request stands alone.
"""

from __future__ import annotations

from ..base import addresses
from ..docket.states import OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    from ..docket.docket import Docket
    from ..docket.requests import Request

    Key = Tuple[str, str]  # a container, and a name or an address


class Group:
    """Waiting requests of one container and one name, or of one address, as they were at one moment."""

    __slots__ = ("key", "requests")

    def __init__(self, key: Key, requests: list[Request]) -> None:
        self.key = key
        self.requests = requests

    @property
    def lead(self) -> Request:
        """The request that is asked: the one that has waited longest."""
        return self.requests[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(request.id for request in self.requests)

    @property
    def dests(self) -> list[str]:
        """Its addresses, each once, in order."""
        return list(dict.fromkeys(request.dest for request in self.requests))

    @property
    def tries(self) -> int:
        return sum(request.count for request in self.requests)


class Groups:
    """All that waits, in groups, in the order of the request that has waited longest in each.

    There may be tens of thousands, and the next question may not wait for them to be counted: so the
    docket tells of each request that moves.
    """

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._groups: dict[Key, dict[str, Request]] = {}
        self._key_of: dict[str, Key] = {}  # by a request's id: the group it is in
        docket.moved = self._moved
        for request in docket.waiting():
            self._moved(request)

    def __len__(self) -> int:
        return len(self._groups)

    def of(self, request_id: str) -> Group | None:
        """The group that a waiting request is in."""
        key = self._key_of.get(request_id)
        return None if key is None else Group(key, list(self._groups[key].values()))

    def all(self) -> list[Group]:
        return [Group(key, list(self._groups[key].values())) for key in self._in_order()]

    def place(self, group: Group) -> int:
        """Which one it is, counted from 1."""
        return next(place for place, key in enumerate(self._in_order(), 1) if key == group.key)

    def _in_order(self) -> dict[Key, None]:
        return dict.fromkeys(self._key_of[request.id] for request in self._docket.waiting())

    def _moved(self, request: Request) -> None:
        """It begins or ceases to wait, or is shown under another name."""
        before = self._key_of.pop(request.id, None)
        if before is not None:
            group = self._groups[before]
            del group[request.id]
            if not group:
                del self._groups[before]
        if request.state == OPEN:
            key = self._key_of[request.id] = key_of(self._docket, request)
            self._groups.setdefault(key, {})[request.id] = request


def key_of(docket: Docket, request: Request) -> Key:
    """Which group a request is in; one that wants a warning of its own stands by its address."""
    name = None if request.guarded else docket.shown_name(request)
    return (request.container, request.dest if name is None else name.name)


def target_name(docket: Docket, request: Request) -> str:
    """The name that `A` would allow: the one that is shown, if it may be a target; else ""."""
    name = docket.shown_name(request)
    return name.name if name is not None and addresses.is_target_name(name.name) else ""
