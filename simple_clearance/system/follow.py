"""A file that another process appends to, read on from where we were.

Owns one descriptor.  The file may be absent, truncated, renamed away and made anew; it is never
waited for, and nothing but a regular file is read: a name in a state directory may be a trap.

The awkward fact: a file that was truncated and has grown beyond our place again looks as if it
had only grown.  So the last bytes read are looked at again before going on from them.
"""

from __future__ import annotations

import os
import stat

CHUNK = 1 << 16
MARK = 64  # bytes before our place that have to be the same still
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Follower:
    """Reads `path` from its end, or from `tail` bytes before that.

    Only the first file is entered at its end: one that replaces it is new from its first byte.
    `started_at` is the offset at which reading of the first file began; `renewals` counts how
    often it was begun anew since, and half a line before that has no other half.
    """

    def __init__(self, path: str, tail: int = 0) -> None:
        self.path = path
        self.started_at = 0
        self.renewals = 0
        self._fd = -1
        self._identity = (0, 0)
        self._position = 0
        self._mark = b""
        self._fresh = True  # where there is nothing yet, whatever comes is new
        self._tail = tail

    def __repr__(self) -> str:
        return "Follower(%s, at %d)" % (self.path, self._position)

    def read(self, limit: int = CHUNK) -> bytes:
        """What has come since, at most `limit` bytes; b"" when there is nothing (yet)."""
        if self._fd < 0 and not self._open():
            return b""
        if self._is_overwritten():
            self._begin_anew()
        data = self._read_on(limit)
        if not data and self._is_replaced():
            data = self._read_on(limit)  # the last of the old one, before its name was taken away
            if not data:
                self.close()
                self.renewals += 1
                data = self._read_on(limit) if self._open() else b""
        return data

    def open_again(self) -> int:
        """Another descriptor of the file that is being read, at its start; -1 when it can't be had."""
        try:
            return os.open("/proc/self/fd/%d" % self._fd, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        fresh, self._fresh = self._fresh, False
        try:
            fd = os.open(self.path, _OPEN)
        except OSError:
            return False
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            return False
        self._fd = fd
        self._identity = (found.st_dev, found.st_ino)
        self._position, self._mark = 0, b""
        if fresh:
            self._position = self.started_at = max(0, found.st_size - self._tail)
            self._mark = os.pread(fd, MARK, max(0, self._position - MARK))[: self._position]
        return True

    def _read_on(self, limit: int) -> bytes:
        data = os.pread(self._fd, limit, self._position)
        self._position += len(data)
        self._mark = (self._mark + data[-MARK:])[-MARK:]
        return data

    def _is_overwritten(self) -> bool:
        """Whether what was before our place is no longer there."""
        return os.pread(self._fd, len(self._mark), self._position - len(self._mark)) != self._mark

    def _begin_anew(self) -> None:
        self._position, self._mark = 0, b""
        self.renewals += 1

    def _is_replaced(self) -> bool:
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False  # renamed away, and the new one has not come yet
        return (found.st_dev, found.st_ino) != self._identity


def problem(path: str) -> str:
    """`can't be read (...)`, `is not a file`; "" for one that can be followed, or is not there yet."""
    try:
        fd = os.open(path, _OPEN)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return "can't be read (%s)" % error.strerror
    try:
        return "" if stat.S_ISREG(os.fstat(fd).st_mode) else "is not a file"
    finally:
        os.close(fd)
