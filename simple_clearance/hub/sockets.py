"""What a hub's socket tells: whether somebody listens there, who that is, and how to end him.

Owns a socket for a moment at a time, to try another with.  Nothing is ever sent.

The awkward facts.  A hub's socket file stays behind when the hub ends, so only connecting tells; and an
image's sidecar and a volume may put what listens inside a container where a hub would be.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct

from ..base.errors import HUB_ACTIVE, Refused
from ..base.text import printable
from ..system import processes
from . import bus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Union

    Finding = Union["Active", str]
    Fed = Callable[[], Union[bool, None]]

CLIENT = "answer in the hub's own client: terok-clearance-hub clearance"
STOP_SERVICE = "or stop the hub: systemctl --user stop terok-clearance-hub"

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_BUSY = (errno.EAGAIN, errno.EINPROGRESS, errno.ETIMEDOUT)  # somebody is, with a full backlog


class Active:
    """A hub that is active: `what` shows it, `hints` are the remedies, `pid` its process or 0."""

    __slots__ = ("hints", "pid", "what")

    def __init__(self, what: str, hints: tuple[str, ...], pid: int = 0) -> None:
        self.what = what
        self.hints = hints
        self.pid = pid

    def __repr__(self) -> str:
        return "Active(%r, pid %d)" % (self.what, self.pid)

    def refused(self) -> Refused:
        """The error to end with."""
        return Refused(HUB_ACTIVE, "the clearance hub is active: " + self.what, *self.hints, by=self.pid)


def probe(path: str, firsts: Iterable[int], fed: Fed | None) -> Finding | None:
    """What connecting to a hub's socket tells: a hub, as text why that can't be told, or None.

    `firsts` are the first processes of containers: what listens in one of those is no hub.  `fed` tells
    whether the reader runs that feeds the hub of this one container; None for a hub of all.
    """
    try:
        code, pid = _connect(path)
    except (OSError, ValueError) as error:  # longer than sun_path, or a NUL in it; no descriptor left
        if os.path.lexists(path) or isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR:
            reason = getattr(error, "strerror", None) or error
            return "connect to %s: %s" % (printable(path), reason)
        return None
    if code in bus.ABSENT:
        return None
    if code and code not in _BUSY:
        return "connect to %s: %s" % (printable(path), os.strerror(code))
    if any(_is_inside(path, pid, first) for first in firsts):
        return None
    what = "its socket %s %s" % (printable(path), "is busy" if code else "answers")
    return _active(what, printable(path), pid, fed)


def _is_inside(path: str, pid: int, first: int) -> bool:
    """Whether what listens there is the container's own; `pid` called listen(2), 0 where that isn't told.

    He may have ended, and left the socket to another process; with a full backlog he is not told at
    all.  So then it counts where a socket of that name listens: in the container's network, not in ours.
    """
    if pid and processes.lives_inside(pid, first):
        return True
    if pid and processes.words(pid):  # neither gone nor a zombie
        return False
    inside, ours = processes.unix_listeners(str(first)), processes.unix_listeners("self")
    if inside is None or ours is None:
        return False
    name = os.path.basename(path)
    return name in map(os.path.basename, inside) and not any(
        os.path.basename(other) == name and _may_be_in(other, os.path.dirname(path)) for other in ours
    )


def _may_be_in(path: str, folder: str) -> bool:
    """Whether a socket that was bound by that path may lie in this folder; a relative one may anywhere."""
    if not path.startswith("/"):
        return True
    try:
        return os.path.samefile(os.path.dirname(path), folder)
    except OSError:
        return False


def _active(what: str, path: str, pid: int, fed: Fed | None) -> Active:
    if pid:
        what += " (pid %d)" % pid
    # Behind a socket that systemd opened the peer is systemd itself, which is not to be ended.
    if pid > 1 and processes.name(pid) != "systemd":
        end = "kill -%s %d" % ("KILL" if processes.is_deaf(pid, signal.SIGTERM) else "TERM", pid)
    else:
        end = "kill -TERM PID, with the pid that ss -xlp src %s tells" % path
    if fed is None:
        return Active(what, (CLIENT, STOP_SERVICE, "or, where it was started by hand: " + end), pid)
    if fed() is False:
        what += ", though no reader feeds it"
        return Active(what, ("end the hub of this container, which frees it: " + end,), pid)
    return Active(what, (CLIENT, "or end the hub of this container alone: " + end), pid)


def _connect(path: str) -> tuple[int, int]:
    """Error number, 0 or pid of who listens there.  ValueError or OSError for what is no path."""
    attempt = bus.unix_socket()
    try:
        code = attempt.connect_ex(path)
        return code, _peer_pid(attempt) if code == 0 else 0
    finally:
        attempt.close()


def _peer_pid(connection: socket.socket) -> int:
    """Who called listen(2), as seen from our pid namespace; 0 when not in it (unix(7), SO_PEERCRED)."""
    pid: int = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid
