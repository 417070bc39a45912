"""What was lost, told at a bounded rate.  Pure.

A loss that goes on, as in a flood, would be a line for each round of the loop.  So what was lost of a
container in one place is told at once, and what follows within a second as one sum after it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now

EVERY = 1.0
"""Seconds between two `lost` records of the same container and place."""


class Losses:
    """`tell(type, **fields)` takes what is told."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._untold: dict[tuple[str, str], int] = {}  # by container, "" for none, and where
        self._rests: dict[tuple[str, str], float | None] = {}  # until when; None until a moment is known
        self._ending = False

    def add(self, container: str, count: int, where: str) -> None:
        """Counts what was lost."""
        self._untold[container, where] = self._untold.get((container, where), 0) + count

    def tell_due(self) -> None:
        """Tells the sums that need not wait."""
        for key in [key for key in self._untold if key not in self._rests]:
            self._tell_of(key)

    def tell_all(self, container: str) -> None:
        """Tells those of a container that ends."""
        for key in [key for key in self._untold if key[0] == container]:
            self._tell_of(key)

    def forget(self, container: str) -> None:
        """Nothing more comes of that one."""
        self.tell_all(container)
        self._rests = {key: until for key, until in self._rests.items() if key[0] != container}

    def end(self) -> None:
        """From now on none has to wait."""
        self._ending = True
        self._rests.clear()

    def deadline(self) -> float | None:
        """When the next sum may be told (monotonic), or None."""
        return min([self._rests.get(key) or 0.0 for key in self._untold], default=None)

    def tick(self, now: Now) -> None:
        """Lets those whose second is over be told."""
        for key, until in list(self._rests.items()):
            if until is None:
                self._rests[key] = now.mono + EVERY
            elif until <= now.mono:
                del self._rests[key]

    def _tell_of(self, key: tuple[str, str]) -> None:
        container, where = key
        self._tell("lost", container=container or None, count=self._untold.pop(key), where=where)
        if not self._ending:
            self._rests[key] = None
