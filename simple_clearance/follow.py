"""A file that another process appends to, read on from where we were.

Owns one descriptor.  The file may be absent, truncated, renamed away and made anew; it is never
waited for, and nothing but a regular file is read: a name in a state directory may be a trap.
"""

from __future__ import annotations

import os
import stat

CHUNK = 1 << 16
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Follower:
    """Reads `path` from its end, or from the beginning; `tail` bytes before the end where given.

    Only the first file is entered at its end: one that replaces it is new from its first byte.
    """

    def __init__(self, path: str, *, from_start: bool = False, tail: int = 0) -> None:
        self.path = path
        self.started_at = 0
        """The offset at which reading of the first file began."""
        self._fd = -1
        self._identity = (0, 0)
        self._position = 0
        self._first = True
        self._from_start = from_start
        self._tail = tail

    def __repr__(self) -> str:
        return "Follower(%s, at %d)" % (self.path, self._position)

    def read(self, limit: int = CHUNK) -> bytes:
        """What has come since, at most `limit` bytes; b"" when there is nothing (yet)."""
        if self._fd < 0 and not self._open():
            return b""
        data = os.read(self._fd, limit)
        if not data and self._moved():
            data = os.read(self._fd, limit)
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            fd = os.open(self.path, _OPEN)
        except OSError:
            self._first = False  # it is not there: whatever comes is new
            return False
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            return False
        self._fd = fd
        self._identity = (found.st_dev, found.st_ino)
        self._position = 0
        if self._first and not self._from_start:
            self._position = self.started_at = max(0, found.st_size - self._tail)
            os.lseek(fd, self._position, os.SEEK_SET)
        self._first = False
        return True

    def _moved(self) -> bool:
        """At the end: whether there is another file, or this one was truncated; ready to read on then."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False  # renamed away, and the new one has not come yet
        if (found.st_dev, found.st_ino) != self._identity:
            self.close()
            return self._open()
        if found.st_size < self._position:
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._position = 0
            return True
        return False
