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
    Place = Tuple[str, str, bool]  # a container, an address, and whether it wants a warning of its own


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
        self._waiting: dict[Place, dict[str, Request]] = {}  # by address, then by id
        self._groups: dict[Key, dict[Place, None]] = {}
        self._key_of: dict[Place, Key] = {}
        docket.moved, docket.renamed = self._moved, self._renamed
        for request in docket.waiting():
            self._moved(request)

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, key: Key) -> bool:
        return key in self._groups

    def of(self, request_id: str) -> Group | None:
        """The group that a waiting request is in."""
        request = self._docket.awaiting(request_id)
        return None if request is None else self.group(self._key_of[place_of(request)])

    def in_order(self) -> list[Key]:
        """The keys of all groups, in order."""
        return list(dict.fromkeys(self._key_of[place_of(request)] for request in self._docket.waiting()))

    def group(self, key: Key) -> Group:
        """The group of that key, as it is now."""
        places = self._groups[key]
        requests = [request for place in places for request in self._waiting[place].values()]
        if len(places) > 1:
            requests.sort(key=lambda request: request.changed)  # since when they wait
        return Group(key, requests)

    def _moved(self, request: Request) -> None:
        """It begins or ceases to wait."""
        place = place_of(request)
        if request.state == OPEN:
            there = self._waiting.setdefault(place, {})
            there[request.id] = request
            if len(there) == 1:
                self._enter(place)
        else:
            there = self._waiting[place]
            del there[request.id]
            if not there:
                self._leave(place)
                del self._waiting[place]

    def _renamed(self, container: str, dest: str) -> None:
        """The requests of an address are shown under another name."""
        place = (container, dest, False)
        if place in self._waiting:
            self._leave(place)
            self._enter(place)

    def _enter(self, place: Place) -> None:
        request = next(iter(self._waiting[place].values()))
        key = self._key_of[place] = key_of(self._docket, request)
        self._groups.setdefault(key, {})[place] = None

    def _leave(self, place: Place) -> None:
        key = self._key_of.pop(place)
        places = self._groups[key]
        del places[place]
        if not places:
            del self._groups[key]


def place_of(request: Request) -> Place:
    """Where it stands with others that always stand together."""
    return (request.container, request.dest, request.guarded)


def key_of(docket: Docket, request: Request) -> Key:
    """Which group a request is in; one that wants a warning of its own stands by its address."""
    name = None if request.guarded else docket.shown_name(request)
    return (request.container, request.dest if name is None else name.name)


def target_name(docket: Docket, request: Request) -> str:
    """The name that `A` would allow: the one that is shown, if it may be a target; else ""."""
    name = docket.shown_name(request)
    return name.name if name is not None and addresses.is_target_name(name.name) else ""
