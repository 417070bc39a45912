"""One question for one wish: requests that belong together are asked together, and in which order.  Pure.

A name's many addresses and an address's many ports are one group on the screen.  Groups exist
there only; on every other way out a request stands alone.
"""

from __future__ import annotations

from itertools import zip_longest

from ..base import addresses
from ..base.index import Index
from ..docket.states import OPEN
from .turns import Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import KeysView, Tuple

    from ..docket.docket import Docket
    from ..docket.requests import Request

    Key = Tuple[str, str]  # a container, and a name or an address


LONGEST_ADDRESS = 39


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
    """All that waits, in groups: those of a container in the order of the request that waits longest in each.

    Containers take turns.  There may be tens of thousands, and the next question may not wait for them to
    be counted: so the docket tells of each request that moves.
    """

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._keys: dict[str, dict[str, Key]] = {}  # by container and address, where something waits
        self._dests: Index = Index()  # the addresses of each group
        self._turns = Turns()
        docket.moved, docket.renamed, docket.forgotten = self._moved, self._renamed, self._turns.forget
        for request in docket.waiting():
            self._moved(request)

    def __len__(self) -> int:
        return len(self._dests)

    def number(self, container: str) -> int:
        """How many there are of one container."""
        return len(set(self._keys.get(container, {}).values()))

    @property
    def keys(self) -> KeysView[Key]:
        """Those of all groups, in no order."""
        return self._dests.keys

    def of(self, request_id: str) -> Group | None:
        """The group that a waiting request is in."""
        request = self._docket.awaiting(request_id)
        return None if request is None else self.group(self._key(request))

    def first(self) -> Group | None:
        """The group that is to be asked about next."""
        containers = self._docket.waiting_for
        if not containers:
            return None
        return self.group(self._key(self._docket.first_waiting(self._turns.next(containers))))

    def asked(self, group: Group) -> None:
        """A question about it stands."""
        self._turns.asked(group.lead)

    def in_order(self) -> list[Key]:
        """The keys of all groups, in the order in which they would be asked about."""
        docket = self._docket
        containers = self._turns.in_order(docket.waiting_for)
        waiting = [(self._keys[one], docket.waiting(one)) for one in containers]
        keys = [dict.fromkeys([of[request.dest] for request in requests]) for of, requests in waiting]
        return [key for turn in zip_longest(*keys) for key in turn if key is not None]

    def group(self, key: Key) -> Group:
        """The group of that key, as it is now."""
        requests: list[Request] = []
        for dest in self._dests.get(key):
            requests += self._waiting_at(key[0], dest)
        requests.sort(key=lambda request: request.changed)  # since when they wait
        return Group(key, requests)

    def longest(self, key: Key) -> int:
        """How long the addresses of that group are, in characters: the longest of them."""
        return max(map(len, self._dests.get(key)), default=LONGEST_ADDRESS)

    def _key(self, request: Request) -> Key:
        return self._keys[request.container][request.dest]

    def _waiting_at(self, container: str, dest: str) -> list[Request]:
        return [one for one in self._docket.requests_at(container, dest) if one.state == OPEN]

    def _moved(self, request: Request) -> None:
        """It begins or ceases to wait."""
        self._turns.moved(request)
        container, dest = request.container, request.dest
        if request.state == OPEN:
            if dest not in self._keys.get(container, ()):
                self._enter(request)
        elif not self._waiting_at(container, dest):
            self._dests.remove(self._keys[container].pop(dest), dest)
            if not self._keys[container]:
                del self._keys[container]

    def _renamed(self, container: str, dest: str) -> None:
        """The requests of an address are shown under another name."""
        key = self._keys.get(container, {}).get(dest)
        if key is not None:
            self._dests.remove(key, dest)
            self._enter(self._docket.requests_at(container, dest)[0])

    def _enter(self, request: Request) -> None:
        key = request.container, self._docket.label(request)
        self._keys.setdefault(request.container, {})[request.dest] = key
        self._dests.add(key, request.dest)


def target_name(docket: Docket, request: Request) -> str:
    """The name that `A` would allow: the one that is shown, if it may be a target; else ""."""
    name = docket.shown_name(request)
    return name.name if name is not None and addresses.is_target_name(name.name) else ""
