"""What a session leaves behind: the log of everything, the profile of what was allowed.

Each owns one file that it only appends to.  A record that can't be written is told once and
ends the session with 5, but never the session itself: the log serves the work, not the other
way round.

The awkward facts: a full disk takes half a line, so the next one starts with a newline; and a
file whose folder was removed takes everything and keeps nothing, which only its link count shows.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from ..base import timestamps
from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..docket.verdict import APPLIED
from ..system.output import Output
from . import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping

    from ..base.moment import Now
    from ..docket.docket import Record

PLUS_SINCE = 15
"""Bundle version of the first shield whose profiles mark each line with `+` or `-`."""

PROFILE_LIMIT = 1 << 20
"""Bytes of a profile that is added to; the largest real ones have a few thousand."""

HEADER = "# allowed in sessions of simple-clearance; for use as ~/.config/terok/shield/profiles/NAME.txt\n"


class Appender:
    """A file that is added to, a whole line or nothing as far as its next reader can tell.

    One that has been renamed or removed is begun anew by its name: a log is rotated like that, and the old
    one may be compressed and gone a moment later; an editor replaces what it saves.
    `failed` says what went wrong first, and `report` has been called with it; "" while all is
    well.  Refused (3) when it can't be opened, `option` being what it was asked for with.
    """

    def __init__(self, path: str, option: str, mode: int, report: Callable[[str], None]) -> None:
        self.failed = ""
        self._path = path
        self._name = printable(path, 200)
        self._option = option
        self._mode = mode
        self._report = report
        self._removed = False
        self.fd = -1
        try:
            self._take(self._open())
        except (OSError, ValueError) as error:  # a path may hold a NUL
            raise self._refused(_text(error)) from None

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(self._path, flags, self._mode)

    def _take(self, fd: int) -> None:
        """From now on that is the file."""
        self.close()
        self.fd = fd
        found = os.fstat(fd)
        self.regular = stat.S_ISREG(found.st_mode)
        self.size = found.st_size if self.regular else 0
        self._torn = bool(self.size) and self._tail() not in (b"\n", b"")

    def __repr__(self) -> str:
        return "%s(%s%s)" % (type(self).__name__, self._name, ", " + self.failed if self.failed else "")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def append(self, text: str) -> bool:
        """Adds whole lines; whether they are in the file now."""
        self._follow()
        if self._removed:
            return False
        data = memoryview((("\n" if self._torn else "") + text).encode("ascii"))
        try:
            while data:
                written = self._write(data)
                self._torn = data[written - 1] != 0x0A
                data = data[written:]
            if self.regular and not os.fstat(self.fd).st_nlink:
                self._removed = True
                raise OSError(errno.ENOENT, "it was removed")
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _follow(self) -> None:
        """Begins it anew by its name, where that is another file's by now, or none's."""
        if not self.regular or self._is_there():
            return
        try:
            self._take(self._open())
        except OSError:
            return  # the old one takes it, as long as that has a name: a new one may be on its way
        self._removed = False

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self.fd))
        except OSError:
            return False

    def _write(self, data: memoryview) -> int:
        return os.write(self.fd, data)

    def _tail(self) -> bytes:
        """Its last byte, b"" where we may not read it."""
        try:
            fd = os.open("/proc/self/fd/%d" % self.fd, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(fd, 1, self.size - 1)
        finally:
            os.close(fd)

    def _fail(self, error: OSError) -> None:
        if not self.failed:
            self.failed = "%s %s: %s: not everything is recorded" % (self._option, self._name, _text(error))
            self._report(self.failed)

    def _refused(self, problem: str) -> Refused:
        return Refused(
            CANNOT_START,
            "%s %s: %s" % (self._option, self._name, problem),
            "name a file that this user can write to, in a folder that exists",
        )


def _text(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno in (errno.ENXIO, errno.EPIPE):
        return "nobody reads it"
    return error.strerror or str(error)


class Log(Appender):
    """`--log FILE`: every record of the session as a line of JSON, readable by its owner alone.

    `-` is stdout.
    """

    def __init__(self, path: str, report: Callable[[str], None]) -> None:
        self._missed = 0
        self._stdout = Output() if path == "-" else None
        super().__init__(path, "--log", 0o600, report)

    def _is_there(self) -> bool:
        return self._stdout is not None or super()._is_there()

    def _open(self) -> int:
        if self._stdout is None:
            return super()._open()
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        return os.dup(self._stdout.fd)

    def _write(self, data: memoryview) -> int:
        return super()._write(data) if self._stdout is None else self._stdout.write(data)

    def record(self, record: Record, now: Now) -> None:
        """Adds one record; after some that could not be added, how many those were."""
        ts = timestamps.stamp(now.wall)
        text = protocol.line(record, ts)
        if self._missed:
            text = protocol.line({"type": "lost", "count": self._missed, "where": "log"}, ts) + text
        self._missed = 0 if self.append(text) else self._missed + 1


class Profile(Appender):
    """`--save-profile FILE`: what was allowed and not taken back, a target a line, each once.

    A line that an undo or a deny of this session takes back becomes a comment wherever it stands by now,
    by changing bytes of that line alone: others may have added to the file since.
    `versions` has that of each container's shield.
    """

    def __init__(self, path: str, report: Callable[[str], None], versions: Mapping[str, int | None]) -> None:
        self._versions = versions
        self._ours: set[str] = set()  # lines that were added
        super().__init__(path, "--save-profile", 0o644, report)
        if not self.regular or self.size > PROFILE_LIMIT:
            self.close()
            raise self._refused("it is larger than a profile" if self.regular else "it is not a file")

    def _take(self, fd: int) -> None:
        super()._take(fd)
        try:
            there = self._read() if self.regular else b""
        except OSError:
            there = b""  # then a target may be in it twice, which harms nobody
        self._lines = set(there.decode("latin-1").splitlines())

    def record(self, record: Record, _now: Now) -> None:
        """Takes note of any record of the session."""
        if record["type"] != "verdict" or record["result"] != APPLIED:
            return
        version = self._versions.get(record["container"]) or 0
        line = ("+" if version >= PLUS_SINCE else "") + record["target"]
        if record["action"] == "allow":
            self._add(line)
        else:
            self._take_back(line)

    def _add(self, line: str) -> None:
        self._follow()
        if line in self._lines:
            return
        text = line + "\n"
        if not os.fstat(self.fd).st_size:
            text = HEADER + text
        if self.append(text):
            self._lines.add(line)
            self._ours.add(line)

    def _take_back(self, line: str) -> None:
        if line not in self._ours:
            return
        self._ours.remove(line)
        self._lines.discard(line)
        was = (line + "\n").encode("ascii")
        comment = b"#" + (was[1:] if line.startswith("+") else b" " * (len(was) - 2) + b"\n")
        try:
            self._follow()
            at = (b"\n" + self._read()).find(b"\n" + was)
            if at < 0:
                raise OSError(errno.ESTALE, "it was changed: take out %s yourself" % line)
            fd = os.open("/proc/self/fd/%d" % self.fd, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(fd, comment, at)  # not on ours: O_APPEND moves it to the end
            finally:
                os.close(fd)
        except OSError as error:
            self._fail(error)

    def _read(self) -> bytes:
        with open("/proc/self/fd/%d" % self.fd, "rb") as file:
            return file.read(2 * PROFILE_LIMIT)
