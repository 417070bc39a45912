"""The requests that are open in a session that was joined: by its ids, by ours, by their addresses.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence, TypeVar

    from ..base.happenings import Event, Name
    from ..docket.requests import Request

    K = TypeVar("K")
    V = TypeVar("V")

REMEMBERED = 20_000
"""Closed requests whose last id, and destinations whose count, is known; verdicts that can be undone."""


class Held:
    """A request that is open there under `id`.  `request` is what stands for it here, None without room.

    `local` is the id that this has while it is open, `skipped` whether that session was told that nobody
    decides it now.
    """

    __slots__ = ("container", "event", "id", "local", "request", "skipped")

    def __init__(self, remote_id: str, container: str, event: Event) -> None:
        self.id = remote_id
        self.container = container
        self.event = event
        self.request: Request | None = None
        self.local = ""
        self.skipped = False


class Place:
    """An address of a container for which something is open there: its names, and what that is."""

    __slots__ = ("held", "names")

    def __init__(self) -> None:
        self.names: Sequence[Name] = ()
        self.held: dict[str, Held] = {}


class AllHeld:
    """All of one session."""

    def __init__(self) -> None:
        self._by_id: dict[str, Held] = {}
        self._by_local: dict[str, dict[str, Held]] = {}
        self._places: dict[tuple[str, str], Place] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, remote_id: str) -> Held | None:
        return self._by_id.get(remote_id)

    def add(self, held: Held) -> None:
        """It is open there."""
        self._by_id[held.id] = held
        self._places.setdefault((held.container, held.event.dest), Place()).held[held.id] = held

    def remove(self, held: Held) -> None:
        """It is open there no longer."""
        self.bind(held, "")
        del self._by_id[held.id]
        at = (held.container, held.event.dest)
        del self._places[at].held[held.id]
        if not self._places[at].held:
            del self._places[at]

    def bind(self, held: Held, local: str) -> None:
        """It stands for the request that has this id here; "" for none that is open."""
        before = self._by_local.get(held.local, {})
        before.pop(held.id, None)
        if not before:
            self._by_local.pop(held.local, None)
        held.local = local
        if local:
            self._by_local.setdefault(local, {})[held.id] = held

    def bound_to(self, local: str) -> list[Held]:
        """Those that stand for the request that has this id here."""
        return list(self._by_local.get(local, {}).values())

    def of(self, request: Request) -> list[Held]:
        """Those that it stands for here, whether it is open or not."""
        place = self._places.get((request.container, request.dest), Place())
        return [held for held in place.held.values() if held.request is request]

    def of_container(self, container: str) -> list[Held]:
        return [held for held in self._by_id.values() if held.container == container]

    def name(self, held: Held, names: Sequence[Name]) -> None:
        """Its address has these names, if any are known."""
        place = self._places[held.container, held.event.dest]
        place.names = names or place.names

    def names(self, container: str, dest: str) -> Sequence[Name]:
        """Those of an address, the one looked up last first."""
        return self._places.get((container, dest), Place()).names

    def clear(self) -> None:
        for kept in (self._by_id, self._by_local, self._places):
            kept.clear()


def remember(kept: dict[K, V], key: K, value: V) -> None:
    """As the latest one; what is beyond `REMEMBERED` goes, the oldest first."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]
