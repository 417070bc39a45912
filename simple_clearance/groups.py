"""One question for one wish: requests that belong together are asked together.  Pure.

A name's many addresses and an address's many ports are one group on the screen.  Groups exist
there only; on every other way out a request stands alone.
"""

from __future__ import annotations

from . import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .docket import Docket
    from .requests import Request


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


def is_guarded(request: Request) -> bool:
    """Whether an allow of it wants a `y`: a private range, the host's loopback, a metadata service."""
    return request.private or addresses.special(request.dest) is not None


def key_of(docket: Docket, request: Request) -> tuple[str, str]:
    """Which group a request is in; one that wants a warning of its own stands by its address."""
    names = docket.names(request)
    return (request.container, names[0].name if names and not is_guarded(request) else request.dest)


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
    """The name that `A` would allow: the one looked up last that may be a target; "" for none."""
    return next((name.name for name in docket.names(request) if addresses.is_target_name(name.name)), "")
