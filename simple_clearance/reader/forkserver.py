"""What forks the readers: a process that has imported all that a reader needs, and waits for requests.

So a reader costs a few milliseconds and less than 1 MB, not an interpreter of its own.  The session
can't fork it by itself: it would have the session's memory, in which everything about every container is.

Owns its stdin, the socket to the session, whose hang-up ends it; and, of each reader that runs, the pipe
that is its stderr.  What goes over that socket is in `formats.forking`.

A reader begins with its own socket as stdin and stdout, its stderr and the namespace, and nothing else is
open; what was asked for its siblings is wiped out of the memory that it has from here.

The awkward facts: whatever this process opens, or keeps of a request, all readers that are forked later
have.  And each page of memory that a reader writes to is its own from then on, which looking at an object
is enough for; so what can be done here is done here, once.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import select
import signal
import socket
import sys
from struct import Struct

from ..base.errors import CANNOT_START, MORE_FILES, OK, Refused, starved
from ..formats import forking
from ..system import terminal
from ..system.limits import ManyFiles
from ..system.pidfd import libc_call
from . import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, NoReturn

NETNS = 3
"""The namespace's number in the reader."""
SLICE = 1 << 12
"""Bytes of its stderr that are read at a time: it says a line and some hints."""
MORE_PROCESSES = "allow this user more processes: ulimit -u, TasksMax= in a unit"


def serve(role: Callable[[str, str, int], int]) -> NoReturn:
    """Forks what runs `role(container, path of its namespace, pid of this process)`, as often as it is asked.

    Until the session has gone, or SIGTERM.  Ends the process, and so does what is forked, with the exit
    code of `role`: an interpreter's own end would write to all the memory that is shared.
    """
    _prepare()
    begin, end = _own_words()
    own = os.getpid()
    server = _Server()
    code = OK
    try:
        with ManyFiles():
            forked = server.run()
            if forked is not None:
                forked.have_nothing_else()
        if forked is not None:
            _show(forked.container, begin, end)
            code = role(forked.container, "/proc/self/fd/%d" % NETNS, own)
    except reader.Terminated:
        server.leave()
    sys.stderr.flush()
    os._exit(code)


def _prepare() -> None:
    """What a reader would do first, or import when it first needs it: once it is confined it could not."""
    assert fcntl and resource and terminal
    reader.catch_sigterm()
    try:
        libc_call("getpid")
    except Refused:
        pass  # there is no ctypes, for which a reader has words
    gc.freeze()  # else the first collection in each reader would write to all of its memory


class _Forked:
    """A reader that has just been forked, in there."""

    def __init__(self, container: str, channel: int, netns: int, said: int) -> None:
        self.container = container
        self._channel, self._netns, self._said = channel, netns, said

    def have_nothing_else(self) -> None:
        """A session of its own, and no descriptor but its own."""
        os.setsid()
        os.dup2(self._channel, 0)
        os.dup2(self._channel, 1)
        os.dup2(self._said, 2)
        os.dup2(self._netns, NETNS, inheritable=False)
        os.closerange(NETNS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class _Reader:
    """One that runs: the session's number for it, its pid, and what it has said last."""

    __slots__ = ("number", "pid", "words")

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.words = b""


class _Server:
    """Takes requests, forks, and tells ends.

    What the session does not take just now is kept: it may be suspended.
    """

    def __init__(self) -> None:
        self._session = socket.socket(fileno=0)
        self._poll = select.poll()
        self._request = bytearray(forking.REQUEST_SIZE)
        self._readers: dict[int, _Reader] = {}  # by our end of its stderr
        self._untold: list[bytes] = []

    def run(self) -> _Forked | None:
        """None once the session has gone; in a process that has been forked, what that is."""
        while True:
            self._poll.register(0, select.POLLIN | (select.POLLOUT if self._untold else 0))
            for fd, events in self._poll.poll():
                if fd in self._readers:
                    self._listen(fd)
                elif fd == 0 and events & ~select.POLLOUT:
                    size, passed, whole = self._receive()
                    if not size:
                        self.leave()
                        return None
                    forked = self._do(size, passed, whole)
                    if forked is not None:
                        self._session.detach()
                        return forked
            self._tell()

    def _receive(self) -> tuple[int, list[int], bool]:
        """The next request's bytes, 0 where no more come; its descriptors; whether all of it is there."""
        try:
            size, passed, flags, _ = self._session.recvmsg_into(
                [self._request], socket.CMSG_SPACE(4 * forking.PASSED), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # it left something unread
            return 0, [], True
        descriptors = [
            fd
            for level, kind, data in passed
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (fd,) in Struct("=i").iter_unpack(data)
        ]
        return size, descriptors, not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)

    def _do(self, size: int, passed: list[int], whole: bool) -> _Forked | None:
        """What is asked for; in a process that has been forked, what that is."""
        number, what = forking.parse_request(self._request)
        try:
            if what != forking.START:
                self._signal(number, what)
            elif not whole:
                self._not_started(number, "part of its request did not arrive", MORE_FILES)
            else:
                forked = self._fork(number, size, *passed)
                if forked is not None:
                    return forked
        except OSError as problem:
            hint = MORE_FILES if starved(problem) else MORE_PROCESSES
            self._not_started(number, problem.strerror or str(problem), hint)
        for fd in passed:
            os.close(fd)
        self._request[:size] = bytes(size)
        return None

    def _fork(self, number: int, size: int, channel: int, netns: int) -> _Forked | None:
        said, saying = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
            if not pid:
                container = os.fsdecode(bytes(self._request[forking.NAME_AT : size]))
                return _Forked(container, channel, netns, saying)
        except OSError:
            os.close(said)
            os.close(saying)
            raise
        os.close(saying)
        self._readers[said] = _Reader(number, pid)
        self._poll.register(said, select.POLLIN)
        return None

    def _signal(self, number: int, what: int) -> None:
        for one in self._readers.values():
            if one.number == number:
                os.kill(one.pid, what)  # it has not been reaped, so this pid is nobody else's

    def _not_started(self, number: int, why: str, hint: str) -> None:
        said = "simple-clearance: fork a reader: %s\nhint: %s\n" % (why, hint)
        self._untold.append(forking.ended(number, CANNOT_START, said.encode()))

    def _listen(self, fd: int) -> None:
        """What a reader says on its stderr, the end of which is its own."""
        one = self._readers[fd]
        data = os.read(fd, SLICE)
        one.words = (one.words + data)[-forking.MOST_SAID :]
        if data:
            return
        os.kill(one.pid, signal.SIGKILL)  # it ends just now, or lives on with nothing to say
        _, status = os.waitpid(one.pid, 0)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        self._untold.append(forking.ended(one.number, code, one.words))
        self._poll.unregister(fd)
        os.close(fd)
        del self._readers[fd]

    def _tell(self) -> None:
        while self._untold:
            try:
                self._session.send(self._untold[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                pass  # it has gone: what is received next says so
            del self._untold[0]

    def leave(self) -> None:
        """Readers end with their sockets and with us; one that somebody has stopped could not."""
        for one in self._readers.values():
            os.kill(one.pid, signal.SIGCONT)


def _own_words() -> tuple[int, int]:
    """Where our command line stands in memory: arg_start and arg_end, the 48th and 49th of proc(5), stat."""
    with open("/proc/self/stat", "rb", 0) as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])


def _show(container: str, begin: int, end: int) -> None:
    """Has ps(1) show whose reader this is, as far as there is room where our command line stood."""
    program = sys.argv[0] if sys.argv[0] != "-c" else "simple-clearance"
    words = os.fsencode(program + "\0--as-reader\0" + container)
    try:
        with open("/proc/self/mem", "r+b", 0) as memory:
            memory.seek(begin)
            memory.write(words[: end - begin - 1].ljust(end - begin, b"\0"))
    except OSError:
        pass  # then it is called what it was forked from
