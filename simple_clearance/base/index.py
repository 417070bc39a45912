"""Things under keys, few or many of them.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Hashable, Iterator, KeysView


class Index:
    """For each key the things under it, in order.

    Most keys have one thing, and one that stands alone needs no table: 150 bytes less for each.
    """

    __slots__ = ("_things",)

    def __init__(self) -> None:
        self._things: dict[Any, Any] = {}  # a thing, or a table whose keys are things

    def __contains__(self, key: Hashable) -> bool:
        return key in self._things

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._things)

    @property
    def keys(self) -> KeysView[Any]:
        return self._things.keys()

    def get(self, key: Hashable) -> list[Any]:
        found = self._things.get(key)
        return list(found) if isinstance(found, dict) else [] if found is None else [found]

    def first(self, key: Hashable) -> Any:
        """The first thing under a key, None where there is none."""
        found = self._things.get(key)
        return next(iter(found)) if isinstance(found, dict) else found

    def number(self, key: Hashable) -> int:
        """How many there are under a key."""
        found = self._things.get(key)
        return len(found) if isinstance(found, dict) else int(found is not None)

    def add(self, key: Hashable, thing: Any) -> None:
        there = self._things.setdefault(key, thing)
        if isinstance(there, dict):
            there[thing] = None
        elif there is not thing:
            self._things[key] = {there: None, thing: None}

    def remove(self, key: Hashable, thing: Any) -> None:
        """It has to be there."""
        there = self._things[key]
        if isinstance(there, dict) and len(there) > 1:
            del there[thing]
        else:
            del self._things[key]
