"""One moment on both clocks, as the pure modules are given it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Clock(Protocol):
        """A clock that people read; `wall` is in seconds since the epoch."""

        def time(self, wall: float) -> str:
            """The local time of day, `17:32:05`."""

        def ago(self, then: float, wall: float) -> str:
            """`17:32:05` where `then` is on the same day as `wall`, else `18 Nov, 9 days ago`."""

        def since(self, stamp: str, wall: float) -> str:
            """The same of `Nov 18 23:05:50`, as a log without a year has it."""


class Now:
    """One moment: `mono` in seconds of the monotonic clock, `wall` in seconds since the epoch."""

    __slots__ = ("mono", "wall")

    def __init__(self, mono: float, wall: float) -> None:
        self.mono = mono
        self.wall = wall

    def __repr__(self) -> str:
        return f"Now({self.mono:.3f}, {self.wall:.3f})"
