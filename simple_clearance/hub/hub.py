"""Whether a clearance hub is active: the one other program that runs verdicts for our container.

Owns the connection to the session bus, and for a moment at a time a socket to try another with.

The awkward facts.  A hub's socket file stays behind when the hub ends, so only connecting
tells; a hub today has no name on any bus, and one of the first versions has nothing else; and
it comes and goes while we run, without any lock between it and us.  So: look at the start,
whenever `folders` or the bus give notice, and right before every verdict.  What can't be
asked is not the same as "no hub".  Nothing is ever sent to a hub.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import time

from ..base.errors import CANNOT_START, HUB_ACTIVE, Refused
from ..base.ids import SHORT_ID, is_hex
from ..base.text import printable
from ..formats import dbus
from ..system import processes
from . import bus
from .places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping

NAME = "org.terok.Shield1"
# A folder's notice comes at bind(), before connecting succeeds, and none comes at listen().
LOOK_AGAIN = (0.0, 0.1, 0.5, 1.0, 2.0)  # seconds after a notice

CLIENT = "answer in the hub's own client: terok-clearance-hub clearance"
STOP_SERVICE = "or stop the hub: systemctl --user stop terok-clearance-hub"
IGNORE = "--ignore-hub, if you know that no hub runs for this container"

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
        return Refused(HUB_ACTIVE, "the clearance hub is active: " + self.what, *self.hints)


class Hub:
    """Looks for a hub that answers for one container.

    `container_id` are the 12 or 64 hex digits of the container's id, or None where only hubs
    for all containers can be looked for; `sidecar` is the annotation `terok.sandbox.sidecar`;
    `first` is the pid of the container's first process, 0 where it is not known: what listens in there
    is no hub, though an image's sidecar and a volume may put it where one would be.  `ignore` takes
    what can't be asked for "no hub", never a hub that is active.
    """

    def __init__(
        self,
        container_id: str | None,
        sidecar: str | None,
        environ: Mapping[str, str],
        uid: int,
        ignore: bool = False,
        first: int = 0,
        trace: bus.Trace = lambda text: None,
    ) -> None:
        if container_id is not None and not (is_hex(container_id) and len(container_id) >= SHORT_ID):
            raise ValueError("not a container's id: %r" % container_id)
        sid = container_id[:SHORT_ID] if container_id else ""
        self._places = Places(sid, sidecar, environ, uid)
        self._ignore = ignore
        self._first = first
        self._trace = trace
        self._names = [NAME] + ["%s.Container_%s" % (NAME, sid)] * bool(sid)
        self._bus: bus.Bus | None = None

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *failure: object) -> None:
        self._drop_bus()

    def look(self, has_reader: bool | None = None, seconds: float = bus.DEADLINE) -> Active | None:
        """The hub that is active now, or None.  Takes 1 ms, or `seconds` with a bus that hangs.

        Refused (3) when a socket or the bus can't be asked, unless that is to be ignored.
        `has_reader`: whether the bridge reader that feeds a hub runs, where that is known.
        """
        doubts = []
        for finding in self._findings(has_reader, seconds):
            if isinstance(finding, Active):
                return finding
            doubts.append(finding)
        if doubts and not self._ignore:
            raise Refused(CANNOT_START, "can't tell whether a clearance hub is active: " + doubts[0], IGNORE)
        return None

    def poll_fds(self) -> list[int]:
        """What to poll for reading; `on_readable` when one of them is.  Changes with each look."""
        return [self._bus.fileno()] if self._bus else []

    def on_readable(self) -> bool:
        """Take what the bus sent; whether that is a reason to look again."""
        if self._bus is None:
            return False
        try:
            return self._bus.take_changes()
        except (OSError, dbus.ProtocolError):
            self._drop_bus()  # the next look connects anew, and tells what is wrong if anything is
            return True

    def folders(self) -> list[str]:
        """Where a hub, or the bus, would appear; some may not exist (yet)."""
        return self._places.folders()

    def _findings(self, has_reader: bool | None, seconds: float) -> Iterator[Active | str]:
        """Each hub found, and as text each place that can't be asked.

        A verdict may be begun right after it: so what is quick to ask, and where a hub is likeliest
        to be, is asked last, though it is told first.
        """
        on_bus = list(self._on_bus(time.monotonic() + seconds))
        for path in self._places.container_sockets():
            yield from self._probe(path, True, has_reader)
        for path in self._places.common_sockets():
            yield from self._probe(path, False, has_reader)
        yield from on_bus

    # -- sockets ---------------------------------------------------------------------------------

    def _probe(self, path: str, own: bool, has_reader: bool | None) -> Iterator[Active | str]:
        """What connecting to a hub's socket tells; `own` when it is of a hub for this container alone."""
        try:
            code, pid = _connect(path)
        except (OSError, ValueError) as error:  # longer than sun_path, or a NUL in it; no descriptor left
            if os.path.lexists(path) or isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR:
                reason = getattr(error, "strerror", None) or error
                yield "connect to %s: %s" % (printable(path), reason)
            return
        if code in bus.ABSENT:
            return
        if code and code not in _BUSY:
            yield "connect to %s: %s" % (printable(path), os.strerror(code))
            return
        if self._first and self._is_the_containers(path, pid):
            return
        what = "its socket %s %s" % (printable(path), "is busy" if code else "answers")
        yield _active_socket(what, printable(path), pid, own, has_reader)

    def _is_the_containers(self, path: str, pid: int) -> bool:
        """Whether what listens there is the container's own; `pid` called listen(2), 0 where that isn't told.

        He may have ended, and left the socket to another process; with a full backlog he is not told at
        all.  So then it counts where a socket of that name listens: in the container's network, not in ours.
        """
        if pid and processes.lives_inside(pid, self._first):
            return True
        if pid and processes.words(pid):  # neither gone nor a zombie
            return False
        inside, ours = processes.unix_listeners(str(self._first)), processes.unix_listeners("self")
        if inside is None or ours is None:
            return False
        name = os.path.basename(path)
        return name in map(os.path.basename, inside) and not any(
            os.path.basename(other) == name and _may_be_in(other, os.path.dirname(path)) for other in ours
        )

    # -- the bus ---------------------------------------------------------------------------------

    def _on_bus(self, deadline: float) -> Iterator[Active | str]:
        try:
            owned = self._owned_name(deadline)
        except (OSError, dbus.ProtocolError) as error:
            yield "the session bus can't be asked: " + printable(getattr(error, "strerror", None) or error)
        else:
            if owned:
                yield Active("%s has an owner on the session bus" % owned, (CLIENT, STOP_SERVICE))

    def _owned_name(self, deadline: float) -> str:
        """The hub's name that has an owner on the bus, or an empty text.

        Raises OSError or ProtocolError when there is a bus and it can't be asked.
        """
        if self._bus is not None:
            try:
                return self._bus.owned(deadline)
            except (OSError, dbus.ProtocolError):
                self._drop_bus()  # another may have taken its place since
                if time.monotonic() >= deadline:
                    raise
        connection = bus.connect(self._places.bus_addresses(), deadline)
        if connection is None:
            return ""
        self._bus = bus.Bus(connection, self._names, self._trace)
        try:
            return self._bus.owned(deadline)
        except (OSError, dbus.ProtocolError):
            self._drop_bus()
            raise

    def _drop_bus(self) -> None:
        if self._bus is not None:
            self._bus.close()
            self._bus = None


def _may_be_in(path: str, folder: str) -> bool:
    """Whether a socket that was bound by that path may lie in this folder; a relative one may anywhere."""
    if not path.startswith("/"):
        return True
    try:
        return os.path.samefile(os.path.dirname(path), folder)
    except OSError:
        return False


def _active_socket(what: str, path: str, pid: int, own: bool, has_reader: bool | None) -> Active:
    if pid:
        what += " (pid %d)" % pid
    # Behind a socket that systemd opened the peer is systemd itself, which is not to be ended.
    if pid > 1 and processes.name(pid) != "systemd":
        end = "kill -%s %d" % ("KILL" if processes.is_deaf(pid, signal.SIGTERM) else "TERM", pid)
    else:
        end = "kill -TERM PID, with the pid that ss -xlp src %s tells" % path
    if not own:
        return Active(what, (CLIENT, STOP_SERVICE, "or, where it was started by hand: " + end), pid)
    if has_reader is False:
        what += ", though no reader feeds it"
        return Active(what, ("end the hub of this container, which frees it: " + end,), pid)
    return Active(what, (CLIENT, "or end the hub of this container alone: " + end), pid)


def _connect(path: str) -> tuple[int, int]:
    """Error number, 0 or pid of who listens there.  ValueError or OSError for what is no path."""
    probe = bus.unix_socket()
    try:
        code = probe.connect_ex(path)
        return code, _peer_pid(probe) if code == 0 else 0
    finally:
        probe.close()


def _peer_pid(connection: socket.socket) -> int:
    """Who called listen(2), as seen from our pid namespace; 0 when not in it (unix(7), SO_PEERCRED)."""
    pid: int = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid
