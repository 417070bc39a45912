"""The verdicts of one answer about many addresses.  Pure."""

from __future__ import annotations

from .verdict import APPLIED, DRY_RUN, FAILED, NOT_STARTED, UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Batch:
    """The verdicts of one answer about many addresses, `number` of them, and what they have come to so far.

    `results` counts them by their result, and those that were not run as `not-started`; `waiting` of them
    left something that waits again.  `since` is when it was answered (monotonic), `undo` whether it takes
    another one back.
    """

    __slots__ = ("action", "id", "number", "results", "since", "undo", "waiting")

    def __init__(self, batch_id: str, action: str, number: int, since: float, undo: bool) -> None:
        self.id = batch_id
        self.action = action
        self.number = number
        self.since = since
        self.undo = undo
        self.waiting = 0
        self.results: dict[str, int] = {}

    @property
    def ended(self) -> int:
        """How many of them are over."""
        return sum(self.results.values())

    def count(self, result: str, waits: bool) -> None:
        """One more is over; `waits`: something waits for an answer again."""
        self.results[result] = self.results.get(result, 0) + 1
        self.waiting += waits

    def told(self) -> dict[str, Any]:
        """The fields of a record that say what they have come to."""
        kinds = (APPLIED, DRY_RUN, FAILED, UNKNOWN, NOT_STARTED)
        return {
            **{"id": self.id, "action": self.action, "undo": self.undo, "number": self.number},
            **{kind.replace("-", "_"): self.results.get(kind, 0) for kind in kinds},
            "waiting": self.waiting,
        }

    def __repr__(self) -> str:
        return f"Batch({self.id} {self.action} {self.ended} of {self.number})"
