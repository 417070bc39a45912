"""A short command whose answer is waited for in the loop, while all else goes on.

Owns its pipes' places in the loop; its end is its exit, told by SIGCHLD.
"""

from __future__ import annotations

from . import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from ..base.moment import Now
    from .loop import Loop

    Answered = Callable[[int, bytes, bytes, Now], None]

LIMIT = 16 << 20
"""Bytes of one answer; podman tells 20 kB of a container with every option."""


class Question:
    """Runs `argv`; at its end `answered(status, stdout, stderr, now)` is called.  OSError if it can't be."""

    def __init__(self, loop: Loop, argv: Sequence[str], answered: Answered) -> None:
        self._child = children.spawn(argv)
        self._answered = answered
        self._loop = loop
        self._said = {self._child.out: bytearray(), self._child.err: bytearray()}
        for fd in self._said:
            loop.add(fd, self._reading(fd))

    def reap(self, now: Now) -> bool:
        """After SIGCHLD: whether it has ended; then it has been answered."""
        if not self._child.reap():
            return False
        (out, err), status = self._said, self._child.status or 0
        for fd in self._said:
            self._read(fd)
        self.close()
        self._answered(status, bytes(self._said[out]), bytes(self._said[err]), now)
        return True

    def close(self) -> None:
        """Forgets it; one that still runs is ended."""
        for fd in self._said:
            self._loop.remove(fd)
        if self._child.reap():
            self._child.close()
        else:
            children.end(self._child)

    def _reading(self, fd: int) -> Callable[[int, Now], None]:
        return lambda _events, _now: self._read(fd)

    def _read(self, fd: int) -> None:
        """All that is there; of a flood only the beginning is kept."""
        data = children.read(fd)
        while data:
            self._said[fd] += data
            del self._said[fd][LIMIT:]
            data = children.read(fd)
        if data == b"":
            self._loop.remove(fd)
