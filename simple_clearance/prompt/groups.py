"""One question for one wish: requests that belong together are asked together.  Pure.

A name's many addresses and an address's many ports are one group on the screen.  Groups exist
there only; on every other way out a request stands alone.
"""

from __future__ import annotations

from ..base import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..docket.docket import Docket
    from ..docket.requests import Request


class Group:
    """Waiting requests of one container and one name, or of one address."""

    __slots__ = ("key", "requests")

    def __init__(self, key: tuple[str, str], requests: list[Request]) -> None:
        self.key = key
        self.requests = requests

    @property
    def lead(self) -> Request:
        """The request that is asked: the first that came."""
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


def key_of(docket: Docket, request: Request) -> tuple[str, str]:
    """Which group a request is in; one that wants a warning of its own stands by its address."""
    name = None if request.guarded else docket.shown_name(request)
    return (request.container, request.dest if name is None else name.name)


def groups(docket: Docket) -> list[Group]:
    """All that waits, in the order of each group's first request."""
    found: dict[tuple[str, str], Group] = {}
    for request in docket.waiting():
        key = key_of(docket, request)
        group = found.get(key)
        if group is None:
            found[key] = Group(key, [request])
        else:
            group.requests.append(request)
    return list(found.values())


def target_name(docket: Docket, request: Request) -> str:
    """The name that `A` would allow: the one that is shown, if it may be a target; else ""."""
    name = docket.shown_name(request)
    return name.name if name is not None and addresses.is_target_name(name.name) else ""
