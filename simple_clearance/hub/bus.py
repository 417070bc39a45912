"""The socket under `dbus`: one connection to a message bus, asked who owns a few names.

Owns that socket.  `owned` asks and waits, 0.2 ms as a rule; between the questions the socket
polls readable only when one of the names changes hands.  Deadlines are monotonic seconds.

The awkward fact: a bus that is gone and a bus that doesn't answer look alike to most programs.
Here the first is "no bus", the second an error.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time

from ..base.text import printable
from ..formats import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable

    Trace = Callable[[str], None]

DEADLINE = 0.5  # seconds for a question, connecting included, while nothing is asked yet
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED)  # no socket, or nobody behind it


class Bus:
    """A connection to a message bus that tells which of `names` have an owner.

    What names are to be told of may change at any time: the bus hears of that with the next question.
    `owned` and `take_changes` may raise OSError or dbus.ProtocolError; then it is to be closed.
    """

    def __init__(self, connection: socket.socket, names: Iterable[str], trace: Trace) -> None:
        self._socket = connection
        self._trace = trace
        self._protocol = dbus.Connection()
        self._owned: dict[str, bool] = {}
        self._pending: dict[int, str] = {}  # serial -> the name asked about, empty for a match rule
        for name in names:
            self.watch(name)

    def __repr__(self) -> str:
        return "<Bus %d: %r>" % (self.fileno(), self._owned)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def watch(self, name: str) -> None:
        """One name more."""
        self._owned[name] = False
        self._pending[self._protocol.watch_owner(name)] = ""
        self._ask(name)

    def forget(self, name: str) -> None:
        del self._owned[name]
        self._pending[self._protocol.unwatch_owner(name)] = ""

    def owned(self, deadline: float) -> set[str]:
        """Those of the names that have an owner, asked now.

        One question is enough for all of them: what changed before the bus had it comes before its answer.
        """
        if not self._pending:
            self._ask(next(iter(self._owned), dbus.BUS))
        while self._pending:
            self._send(deadline)
            self._wait(select.POLLIN, deadline)
            self._receive()
        return {name for name, has_owner in self._owned.items() if has_owner}

    def _ask(self, name: str) -> None:
        self._pending[self._protocol.call("NameHasOwner", name)] = name

    def take_changes(self) -> bool:
        """Read what is there, without waiting; whether a name changed hands."""
        return self._receive()

    def _send(self, deadline: float) -> None:
        data = self._protocol.data_to_send()
        if data:
            self._trace("bus > %r" % data)
        while data:
            try:
                data = data[self._socket.send(data, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)

    def _receive(self) -> bool:
        """Answers and signals count in the order in which the bus sent them."""
        try:
            data = self._socket.recv(dbus.LARGEST)
        except BlockingIOError:
            return False
        self._trace("bus < %r" % data)
        changed = False
        for event in self._protocol.feed(data):
            if isinstance(event, dbus.OwnerChanged):
                if event.name in self._owned:
                    self._owned[event.name] = bool(event.owner)
                    changed = True
            elif event.error:
                raise dbus.ProtocolError("the bus answered " + event.error)
            else:
                name = self._pending.pop(event.serial, "")
                if name in self._owned:
                    self._owned[name] = event.values == [True]
        return changed

    def _wait(self, what: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, what)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise OSError(errno.ETIMEDOUT, "no answer in time")


def connect(addresses: list[bytes | str], deadline: float) -> socket.socket | None:
    """A connection, not blocking, to the first of `addresses` (see dbus.parse_addresses) that takes it.

    None when there is no bus at any of them; OSError, or ProtocolError for a transport that
    isn't spoken here, when there may be one all the same.
    """
    doubt: OSError | dbus.ProtocolError | None = None
    for address in addresses:
        if isinstance(address, str):
            doubt = doubt or dbus.ProtocolError("an address of the kind %s" % address)
            continue
        connection = unix_socket()
        try:
            # Waits for a place in a full backlog, which connecting without blocking wouldn't.
            connection.setblocking(True)
            left = deadline - time.monotonic()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(left))
            connection.connect(address)
            connection.setblocking(False)
            return connection
        except OSError as error:
            connection.close()
            if error.errno not in ABSENT:
                shown = printable(address if address[0] else b"@" + address[1:])
                doubt = doubt or OSError(error.errno, "connect to %s: %s" % (shown, error.strerror or error))
    if doubt is not None:
        raise doubt
    return None


def unix_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _timeval(seconds: float) -> bytes:
    microseconds = max(1, int(seconds * 1000000))  # 0 would be "for ever"
    return struct.pack("ll", microseconds // 1000000, microseconds % 1000000)
