"""One moment on both clocks, as the pure modules are given it."""

from __future__ import annotations


class Now:
    """One moment: `mono` in seconds of the monotonic clock, `wall` in seconds since the epoch."""

    __slots__ = ("mono", "wall")

    def __init__(self, mono: float, wall: float) -> None:
        self.mono = mono
        self.wall = wall

    def __repr__(self) -> str:
        return f"Now({self.mono:.3f}, {self.wall:.3f})"
