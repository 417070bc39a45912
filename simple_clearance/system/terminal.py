"""The operator's terminal: opened afresh, put into raw mode, and given back as it was.

Owns one descriptor, whose flags nobody shares, so that it may be non-blocking: a stalled ssh
or Ctrl-S never holds us up.  The awkward facts: draining output (TCSADRAIN, TCSAFLUSH) blocks
on a stopped terminal, so modes are set at once (TCSANOW); and after SIGSTOP and SIGCONT the
shell has put its own modes back.  And a terminal may have no name here, if it was opened in another mount
namespace, as that of a container is; /proc knows it all the same.
"""

from __future__ import annotations

import os
import select
import sys
import termios

from ..base.errors import USAGE, Refused
from ..base.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping

_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
LFLAG, CC = 3, 6  # indices in termios.tcgetattr()
LAST_WORDS = 1.0  # seconds that the last output may take on a slow line


class Terminal:
    """A context manager: as it was found until `raw`, and again on every way out.

    Ctrl-C, Ctrl-Z and Ctrl-\\ are signals, not bytes; but those of a terminal that is not the
    controlling one would reach nobody, or another session's job: there they are bytes.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._found: list[Any] = termios.tcgetattr(fd)
        self._pending = b""
        self._last = b""
        self._raw = False

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self.restore()
        finally:
            os.close(self.fd)

    def restore(self) -> None:
        """The end: what is still to be shown goes out, if that takes no longer than a second.

        A line that nobody ended, because of a fault, is ended: others write below it.  In the background
        the modes are those of whoever has the terminal now.
        """
        if self._raw:
            try:
                if self._last not in (b"", b"\r", b"\n"):
                    self.write(b"\r\n")
                self._flush()
            finally:
                if self.is_ours():
                    self.cooked()

    def is_ours(self) -> bool:
        """Whether we are its foreground job, or it is not the terminal of a session with jobs at all."""
        try:
            return os.tcgetpgrp(self.fd) == os.getpgrp()
        except OSError:
            return True

    def _is_controlling(self) -> bool:
        try:
            os.tcgetpgrp(self.fd)
        except OSError:
            return False
        return True

    def raw(self) -> None:
        """No echo, no line editing; drops what was typed before."""
        self._raw = True
        modes: list[Any] = [list(item) if isinstance(item, list) else item for item in self._found]
        modes[LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        if not self._is_controlling():
            modes[LFLAG] &= ~termios.ISIG
        modes[CC][termios.VMIN], modes[CC][termios.VTIME] = 1, 0
        self._set(modes)

    def cooked(self) -> None:
        """As it was found; drops what was typed for us and not read."""
        self._raw = False
        self._set(self._found)

    def _set(self, modes: list[Any]) -> None:
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)
            termios.tcflush(self.fd, termios.TCIFLUSH)
        except termios.error:
            pass  # it has hung up: there is nothing left to restore

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 by 24 for a line that doesn't say, such as a serial one."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            columns = rows = 0
        return columns or 80, rows or 24

    def read(self) -> bytes | None:
        """What was typed, b"" for nothing, None when the terminal is gone."""
        try:
            return os.read(self.fd, 4096) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None  # EIO: hung up, or we are an orphan in the background

    def write(self, data: bytes) -> bool:
        """Writes as much as goes now; whether all of it, and of earlier data, has gone out."""
        self._pending += data
        self._last = data[-1:] or self._last
        while self._pending:
            try:
                self._pending = self._pending[os.write(self.fd, self._pending) :]
            except BlockingIOError:
                return False
            except OSError:
                self._pending = b""  # gone: `read` says so
        return True

    @property
    def pending(self) -> bool:
        return bool(self._pending)

    def _flush(self) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        while self._pending and poll.poll(LAST_WORDS * 1000):
            if self.write(b"") or not self._pending:
                return


def find() -> Terminal:
    """The controlling terminal, or the one on stdin.  Refused (2) when there is none."""
    paths = ["/dev/tty", *(["/proc/self/fd/0"] if os.isatty(0) else [])]
    problem = ""
    for path in paths:
        try:
            return Terminal(os.open(path, _FLAGS))
        except OSError as error:
            problem = error.strerror or str(error)
        except termios.error as error:
            problem = str(error.args[-1])
    rest = (
        "ssh -t HOST simple-clearance.pyz CONTAINER, for one over ssh",
        "--json for a program that answers, --answer skip for none that does",
    )
    if len(paths) == 1:
        raise Refused(USAGE, "no terminal to prompt on", *rest)
    raise Refused(
        USAGE,
        "no terminal to prompt on: that on stdin (%s) can't be opened: %s" % (_name(0), problem),
        "su --pty -c 'simple-clearance.pyz CONTAINER' USER, where su left it with another user",
        *rest,
    )


def is_controlled() -> bool:
    """Whether this process belongs to the session of a terminal, which may hang up."""
    try:
        os.close(os.open("/dev/tty", _FLAGS))
    except OSError:
        return False
    return True


def _name(fd: int) -> str:
    """A terminal's; what its descriptor was opened as, where it has none in our mount namespace."""
    try:
        return printable(os.ttyname(fd), 80)
    except OSError:
        return printable(os.readlink("/proc/self/fd/%d" % fd), 80)


def diagnose(line: str) -> None:
    """A line on stderr, unless that has gone with the terminal, or takes nothing for a second."""
    if sys.stderr is None:
        return  # it was closed before we came, and its number may be another file's
    try:
        if select.select([], [2], [], LAST_WORDS)[1]:  # not by poll(2), which a reader may not call
            os.write(2, line.encode("ascii", "backslashreplace") + b"\n")
    except OSError:
        pass  # nobody is there to be told


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Whether nothing may be rewritten."""
    return environ.get("TERM", "dumb") in ("dumb", "")


def has_colour(environ: Mapping[str, str]) -> bool:
    """https://no-color.org: any non-empty NO_COLOR means none."""
    return not is_dumb(environ) and not environ.get("NO_COLOR")
