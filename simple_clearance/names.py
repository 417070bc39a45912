"""The names that a container looked up, from its dnsmasq's query log.

Owns the followed log.  Its end is read first, so that a name looked up a moment ago is known at
once; the history before it comes in slices, while there is nothing else to do, so that neither
the start nor a question waits for it.
"""

from __future__ import annotations

import os

from .follow import Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .dnslog import DnsLog, Name

TAIL = 256 * 1024
SLICE = 128 * 1024
"""Bytes of history parsed in one round: about half a millisecond."""


class NameBook:
    """The names of one container's addresses; `path` is its `dnsmasq.log`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._follower = Follower(path, tail=TAIL)
        self._log: DnsLog | None = None
        self._earlier: DnsLog | None = None
        self._history = -1
        self._left = 0

    def look(self) -> set[str]:
        """Reads what is new; the addresses that have another name now."""
        data = self._follower.read()
        if not data:
            return set()
        changed: set[str] = set()
        if self._log is None:
            self._begin()
        assert self._log is not None
        while data:
            changed |= self._log.feed(data)
            data = self._follower.read()
        return changed

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names of an address, the one looked up last first; `look` before."""
        return tuple(self._log.names(dest)) if self._log is not None else ()

    @property
    def behind(self) -> bool:
        """Whether there is history to be read."""
        return self._left > 0

    def catch_up(self) -> set[str]:
        """Reads one slice of the history; the addresses that have another name now."""
        data = os.read(self._history, min(SLICE, self._left))
        self._left = self._left - len(data) if data else 0
        assert self._earlier is not None
        changed = self._earlier.feed(data)
        if not self._left:
            os.close(self._history)
            self._history = -1
        return changed

    def close(self) -> None:
        self._follower.close()
        if self._history >= 0:
            os.close(self._history)
            self._history = -1
            self._left = 0

    def _begin(self) -> None:
        from .dnslog import DnsLog  # not before there is a log

        before = self._follower.started_at
        self._log = DnsLog(middle=before > 0)
        if before > 0:
            self._earlier = self._log.earlier()
            try:
                self._history = os.open(
                    self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                )
                self._left = before
            except OSError:
                self._left = 0  # renamed away since: the history is lost to us, nothing else
