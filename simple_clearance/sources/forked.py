"""Our own readers as the session has them: forked on request, by a process that is there for that alone.

Owns that process (reader/forkserver.py) and the socket to it.  It is started with the first reader, and by
exec: so it has nothing of the session, neither memory nor descriptors, and of the environment only what an
interpreter needs.  Here a reader is one descriptor: a socket, on which it tells its events and which ends it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from struct import Struct

from ..base.errors import CANNOT_START, Refused
from ..formats import forking
from ..system import children
from ..system.archived import own_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..system.loop import Loop

PATIENCE = 3.0
"""Seconds for a request to be taken: where somebody has stopped who takes them, some hundred wait."""
NEEDED = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH")
"""Of the environment, what an interpreter may need to run at all, and to spell names as we do."""


class Forked:
    """A reader of ours, with what `children.Child` has: `out` is our end of its socket, -1 once closed.

    `said` is the end of what it said on its stderr, which is known once it has ended.
    """

    err = -1

    def __init__(
        self, server: _Server, number: int, channel: socket.socket, ended: Callable[[Now], None]
    ) -> None:
        self.status: int | None = None
        self.said = b""
        self.ended = ended
        self._server = server
        self._number = number
        self._channel = channel

    def __repr__(self) -> str:
        return "Forked(%d, status %s)" % (self._number, self.status)

    @property
    def out(self) -> int:
        return self._channel.fileno()

    def reap(self) -> bool:
        """Whether it has ended; without its forkserver that is when it has closed its socket."""
        if self.status is None and self._server.status is not None and self._has_hung_up():
            self.status, self.said = self._server.status, self._server.said
        return self.status is not None

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._channel, 0)
        return bool(poll.poll(0))

    def kill(self, number: int) -> None:
        """Has a signal sent to it, unless it has ended."""
        try:
            if self.status is None:
                self._server.ask(self._number, number)
        except Refused:
            pass  # who would send it has been stopped, which is told to whoever starts the next one

    def close_stdin(self) -> None:
        """Tells it to end, once it has told what it has."""
        try:
            self._channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has ended, or the socket is closed

    def close(self) -> None:
        self._channel.close()
        self._server.forget(self._number)


class Forkserver:
    """Starts our readers, and before the first one what forks them; that anew, where it has ended."""

    def __init__(self, loop: Loop, trace: Callable[[str], None]) -> None:
        self._loop = loop
        self._trace = trace
        self._server: _Server | None = None

    def start(self, container: str, namespace: int, ended: Callable[[Now], None]) -> Forked:
        """A reader for `container` in the network namespace of that descriptor; OSError, Refused.

        `ended` is called once its status is known.
        """
        if self._server is None or self._server.status is not None:
            self._server = _Server(self._loop, self._trace)
        self._trace("fork a reader for " + container)
        return self._server.start(container, namespace, ended)

    def close(self) -> None:
        """It ends, and what it has forked."""
        if self._server is not None:
            self._server.close()


class _Server:
    """One process that forks; `status` is what it ended with, None while it runs, `said` its own words."""

    def __init__(self, loop: Loop, trace: Callable[[str], None]) -> None:
        self.status: int | None = None
        self.said = b""
        self._loop = loop
        self._number = 0
        self._readers: dict[int, Forked] = {}
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [*own_command(), forking.ROLE]
        trace("start: " + " ".join(argv))
        environ = {name: value for name, value in os.environ.items() if name in NEEDED}
        try:
            self._child = children.spawn(argv, stdin=theirs.fileno(), environ=environ)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._child.close_out()
        self._socket.settimeout(PATIENCE)
        loop.add(self._socket.fileno(), self._told)

    def start(self, container: str, namespace: int, ended: Callable[[Now], None]) -> Forked:
        self._number += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader = self._readers[self._number] = Forked(self, self._number, ours, ended)
        try:
            self.ask(self._number, forking.START, os.fsencode(container), theirs.fileno(), namespace)
        except BaseException:
            reader.close()
            raise
        finally:
            theirs.close()
        return reader

    def ask(self, number: int, what: int, name: bytes = b"", *passed: int) -> None:
        """A request; Refused where nobody takes it.  That it has ended is told by the hang-up."""
        if self.status is not None:
            return
        rights = Struct("=%di" % len(passed)).pack(*passed)
        try:
            self._socket.sendmsg(
                [forking.request(number, what, name)],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if passed else [],
            )
        except ConnectionError:
            pass
        except socket.timeout:
            pid = self._child.pid
            text, hint = "pid %d forks no reader: it takes no requests" % pid, "kill -CONT %d" % pid
            raise Refused(CANNOT_START, text, hint) from None

    def forget(self, number: int) -> None:
        """Its end is of no interest any more."""
        self._readers.pop(number, None)

    def _told(self, _events: int, now: Now) -> None:
        while True:
            try:
                data = children.read(self._socket.fileno(), forking.ENDED_SIZE)
            except ConnectionResetError:
                data = b""  # it has left a request unread
            if data is None:
                return
            if not data:
                self._over(now)
                return
            number, status, said = forking.parse_ended(data)
            reader = self._readers.pop(number, None)
            if reader is not None:
                reader.status, reader.said = status, said
                reader.ended(now)

    def _over(self, now: Now) -> None:
        """It has closed its socket, which it does when it ends."""
        self._loop.remove(self._socket.fileno())
        self._child.kill(signal.SIGKILL)
        self._child.reap(wait=True)
        self.said = (children.read(self._child.err) or b"")[-forking.MOST_SAID :]
        self.status = self._child.status
        self.close()
        for reader in list(self._readers.values()):
            reader.ended(now)  # unless it has something left to tell

    def close(self) -> None:
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._child.kill(signal.SIGCONT)  # one that somebody has stopped would stay, and what it has forked
        self._child.close()
