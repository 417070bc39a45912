"""The names that a container looked up, from its dnsmasq's query log.

Owns the followed log.  Its end is read first, so that a name looked up a moment ago is known at
once; the history before it comes in slices, while there is nothing else to do, so that neither
the start nor a question waits for it.
"""

from __future__ import annotations

import os
import stat

from ..formats import dnsmasq
from ..formats.dnsmasq import DnsLog
from ..system.follow import Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.happenings import Name

TAIL = 256 * 1024
SLICE = 32 * 1024
"""Bytes parsed at a time: half a millisecond, 5 ms where every name is a new one."""

SLOW = 1.0
"""Seconds of reading the history, after which it is told that rules wait for it."""

LOOKED_AT = 64 * 1024
"""Bytes of its end that show how it is written."""


def fault(path: str) -> str:
    """Why the query log tells no names, in words; "" when all is well, or it is not there yet."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return "no names are known: the query log is not a file"
            if file.seek(max(0, os.fstat(file.fileno()).st_size - LOOKED_AT)):
                file.readline()
            foreign = dnsmasq.is_foreign(file.read(LOOKED_AT))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return "no names are known: the query log can't be read (%s)" % error.strerror
    return "no names are known: the query log is in another form (log-queries=extra)" if foreign else ""


class NameBook:
    """The names of one container's addresses; `path` is its `dnsmasq.log`, `share` its part of the bounds.

    `noticed` is set by whoever hears that the log has changed, until it is looked at; `more` says that `look`
    may have left something.
    """

    def __init__(self, path: str, share: float = 1.0) -> None:
        self._share = share
        self._follower = Follower(path, tail=TAIL)
        self._log: DnsLog | None = None
        self._earlier: DnsLog | None = None
        self._history = -1
        self._left = 0
        self._renewals = 0
        self.more = self.noticed = False

    def look(self) -> set[str]:
        """Reads a slice of what is new; the addresses that have another name now."""
        self.noticed = False
        data = self._follower.read(SLICE)
        self.more = bool(data)
        if not data:
            return set()
        if self._log is None:
            self._begin()
        assert self._log is not None
        if self._follower.renewals != self._renewals:
            self._renewals = self._follower.renewals
            self._log.begin_anew()
        return self._log.feed(data)

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names of an address, the one looked up last first; `look` before."""
        return tuple(self._log.names(dest)) if self._log is not None else ()

    @property
    def behind(self) -> bool:
        """Whether there is more to be read at once: history, or what `look` has left."""
        return self._left > 0 or self.more

    @property
    def has_history(self) -> bool:
        return self._left > 0

    def catch_up(self) -> set[str]:
        """Reads a slice of the history, or else of what is new; the addresses that have another name now."""
        if not self._left:
            return self.look()
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
        self.more = False
        if self._history >= 0:
            os.close(self._history)
            self._history = -1
            self._left = 0

    def _begin(self) -> None:
        before = self._follower.started_at
        self._log = DnsLog(middle=before > 0, share=self._share)
        if before > 0:
            self._earlier = self._log.earlier()
            self._history = self._follower.open_again()
            self._left = before if self._history >= 0 else 0
