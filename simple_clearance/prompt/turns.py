"""Whose turn it is to be asked about, where something waits for several containers.  Pure.

The turn of a container ends when the question that was asked about it waits no longer, however that came;
until then it may be looked away from and come back to.  Next is the one whose last turn was over the
longest ago, so that whoever waits with a single wish is asked about after one question of each other
container at most, whatever these try.
"""

from __future__ import annotations

from ..docket.states import OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from ..docket.requests import Request


class Turns:
    """The turns that the containers have had."""

    def __init__(self) -> None:
        self._asked: Request | None = None  # what the last question is about, as long as that waits
        self._number = 0  # of turns that are over
        self._last: dict[str, int] = {}  # by container: which of them was its last one

    def asked(self, request: Request) -> None:
        """It is what the question that stands is about."""
        self._asked = request

    def moved(self, request: Request) -> None:
        """It begins or ceases to wait."""
        if request is self._asked and request.state != OPEN:
            self._asked = None
            self._number += 1
            self._last[request.container] = self._number

    def forget(self, container: str) -> None:
        self._last.pop(container, None)

    def next(self, containers: Iterable[str]) -> str:
        """Which of these, in the order in which something began to wait for them, has its turn now."""
        return min(containers, key=self._when)

    def in_order(self, containers: Iterable[str]) -> list[str]:
        """The same, and which of them comes after it, and so on."""
        return sorted(containers, key=self._when)

    def _when(self, container: str) -> int:
        return self._last.get(container, 0)
