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
from ..system import clocks
from ..system.follow import Follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.happenings import Name

TAIL = 256 * 1024
SLICE = 32 * 1024
"""Bytes of history parsed in one round: half a millisecond, 5 ms where every name is a new one."""

SLOW = 1.0
"""Seconds of reading the history, after which it is told that rules wait for it."""

LOOKED_AT = 64 * 1024
"""Bytes of its end that show how it is written."""

CHUNKS = 32
"""Reads in one round, of 64 KiB each: the keys get their turn however fast the log grows."""

LONGEST = 0.01
"""Seconds after which a round reads no further, where what is in the log takes long."""


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
    """The names of one container's addresses; `path` is its `dnsmasq.log`, `share` its part of the bounds."""

    def __init__(self, path: str, share: float = 1.0) -> None:
        self._share = share
        self._follower = Follower(path, tail=TAIL)
        self._log: DnsLog | None = None
        self._earlier: DnsLog | None = None
        self._history = -1
        self._left = 0
        self._renewals = 0
        self._more = False

    def look(self) -> set[str]:
        """Reads what is new; the addresses that have another name now."""
        changed: set[str] = set()
        until = clocks.now().mono + LONGEST
        for _ in range(CHUNKS):
            data = self._follower.read()
            self._more = bool(data)
            if not data:
                break
            if self._log is None:
                self._begin()
            assert self._log is not None
            if self._follower.renewals != self._renewals:
                self._renewals = self._follower.renewals
                self._log.begin_anew()
            changed |= self._log.feed(data)
            if clocks.now().mono >= until:
                break
        return changed

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names of an address, the one looked up last first; `look` before."""
        return tuple(self._log.names(dest)) if self._log is not None else ()

    @property
    def more(self) -> bool:
        """Whether `look` has left something for the next round."""
        return self._more

    @property
    def behind(self) -> bool:
        """Whether there is more to be read at once: history, or what `look` has left."""
        return self._left > 0 or self._more

    def catch_up(self) -> set[str]:
        """Reads some of it; the addresses that have another name now."""
        if self._more:
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
        self._more = False
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
