"""A standard output that nobody ever waits for.

Owns the descriptor that is written to, and the lines that it has not taken yet.  How much may
wait is its user's decision, and so is what to do then.

The awkward fact: a pipe or a terminal on our stdout is shared with other processes, and so is
every flag set on it.  It is opened anew, so that O_NONBLOCK is ours alone.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time

F_SETPIPE_SZ = 1031  # linux/fcntl.h: not in every Python
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO)  # nobody is left to read: a pipe, a socket, a terminal
BLOCK = 1 << 16  # bytes that a block holds at least, when another one follows


class Output:
    """Lines for `fd`: a pipe or a terminal is opened anew, a socket is told for each write not to
    block, and a file never makes anyone wait.

    `gone` is true once nothing more can be written, `failed` why, where it is more than that
    nobody reads any longer.  `fd` is what to poll.  `backlog` is how many bytes wait: in blocks,
    since one buffer of all is copied whole when it shrinks (4 MB that waited took 8 MB).
    OSError where `fd` is not open at all.
    """

    def __init__(self, fd: int = 1) -> None:
        kind = os.fstat(fd).st_mode
        self.fd = fd
        self.gone = False
        self.backlog = 0
        self.failed: OSError | None = None
        self._pipe = stat.S_ISFIFO(kind)
        self._socket = stat.S_ISSOCK(kind)
        self._small = False
        self._blocks: list[bytearray] = []
        if self._pipe or stat.S_ISCHR(kind):
            self._reopen()

    def __repr__(self) -> str:
        return "Output(%d, %d bytes wait%s)" % (self.fd, self.backlog, ", gone" if self.gone else "")

    def _reopen(self) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            self.fd = os.open("/proc/self/fd/%d" % self.fd, flags)
        except OSError as problem:
            self.gone = problem.errno == errno.ENXIO  # a pipe that nobody reads
            self._small = True  # another user's: a pipe that polls writable takes PIPE_BUF at once

    def widen(self, size: int) -> None:
        """Asks the kernel to keep `size` bytes in the pipe, if it is one."""
        if not self._pipe:
            return
        import fcntl

        try:
            fcntl.fcntl(self.fd, F_SETPIPE_SZ, size)
        except OSError:
            pass  # over the user's share (pipe-user-pages-soft): what waits here makes up for it

    def put(self, lines: str) -> None:
        """Takes lines of ASCII; `flush` writes them."""
        if self.gone:
            return
        data = lines.encode("ascii")
        self.backlog += len(data)
        if self._blocks and len(self._blocks[-1]) < BLOCK:
            self._blocks[-1] += data
        elif data:
            self._blocks.append(bytearray(data))

    def flush(self) -> None:
        """Writes what goes without waiting."""
        while self.backlog and not self.gone:
            block = self._blocks[0]
            try:
                written = self.write(block)
            except BlockingIOError:
                return
            except OSError as problem:
                self.gone = True
                if problem.errno not in GONE:
                    self.failed = problem
                return
            self.backlog -= written
            del block[:written]
            if not block:
                del self._blocks[0]

    def write(self, block: bytearray | memoryview) -> int:
        """At once, or BlockingIOError; how much of it was taken."""
        if self._socket:
            return self._send(block)
        if not self._small:
            return os.write(self.fd, block)
        if not self._takes(0.0):
            raise BlockingIOError
        return os.write(self.fd, block[: select.PIPE_BUF])

    def _send(self, block: bytearray | memoryview) -> int:
        borrowed = socket.socket(fileno=self.fd)
        try:
            return borrowed.send(block, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        finally:
            borrowed.detach()

    def linger(self, seconds: float) -> None:
        """For the last words: waits that long at most for what is left to be read."""
        until = time.monotonic() + seconds
        self.flush()
        while self.backlog and not self.gone and time.monotonic() < until:
            self._takes(max(0.0, until - time.monotonic()))
            self.flush()

    def _takes(self, seconds: float) -> bool:
        """Whether it takes something within that time; not by poll(2), which a reader may not call."""
        return bool(select.select([], [self.fd], [], seconds)[1])
