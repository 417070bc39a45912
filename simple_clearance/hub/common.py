"""The signs of a hub that all containers have in common: owners of names on the session bus, and its sockets.

Owns the connection to the session bus, one however many containers there are.
"""

from __future__ import annotations

import time

from ..base.text import printable
from ..formats import dbus
from . import bus, sockets
from .places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Mapping

    from .sockets import Finding


class Signs:
    """What one look has found of them: the names that have an owner, and what the sockets tell.

    `doubt` is why the bus can't be asked, "" where it can; `there`: see `Places.container_sockets`.
    """

    __slots__ = ("doubt", "owned", "sockets", "there")

    def __init__(self, owned: set[str], doubt: str, sockets: list[Finding]) -> None:
        self.owned = owned
        self.doubt = doubt
        self.sockets = sockets
        self.there: dict[str, bool] = {}


class Common:
    """Connected to the bus with the first question, and anew whenever that connection broke."""

    def __init__(self, environ: Mapping[str, str], uid: int, trace: bus.Trace = lambda text: None) -> None:
        self._places = Places("", None, environ, uid)
        self._trace = trace
        self._names: dict[str, int] = {}  # name on the bus -> for how many it is asked about
        self._bus: bus.Bus | None = None

    def watch(self, names: Iterable[str]) -> None:
        """Has the bus asked about these names, too."""
        for name in names:
            self._names[name] = self._names.get(name, 0) + 1
            if self._bus is not None and self._names[name] == 1:
                self._bus.watch(name)

    def forget(self, names: Iterable[str]) -> None:
        """One who watched them does so no more."""
        for name in names:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
                if self._bus is not None:
                    self._bus.forget(name)

    def owned(self, seconds: float) -> tuple[set[str], str]:
        """Those of the names that have an owner; and why the bus can't be asked, "" where it can."""
        try:
            return self._owned(time.monotonic() + seconds), ""
        except (OSError, dbus.ProtocolError) as error:
            reason = getattr(error, "strerror", None) or error
            return set(), "the session bus can't be asked: " + printable(reason)

    def sockets(self, firsts: Iterable[int]) -> list[Finding]:
        """What the sockets of a hub for all tell; see `sockets.probe`."""
        found = [sockets.probe(path, firsts, None) for path in self._places.common_sockets()]
        return [finding for finding in found if finding is not None]

    def poll_fds(self) -> list[int]:
        """What to poll for reading; `on_readable` when it is.  Changes with each question."""
        return [self._bus.fileno()] if self._bus else []

    def on_readable(self) -> bool:
        """Take what the bus sent; whether that is a reason to look again."""
        if self._bus is None:
            return False
        try:
            return self._bus.take_changes()
        except (OSError, dbus.ProtocolError):
            self.close()  # the next look connects anew, and tells what is wrong if anything is
            return True

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def _owned(self, deadline: float) -> set[str]:
        """Raises OSError or ProtocolError when there is a bus and it can't be asked."""
        if self._bus is not None:
            try:
                return self._bus.owned(deadline)
            except (OSError, dbus.ProtocolError):
                self.close()  # another may have taken its place since
                if time.monotonic() >= deadline:
                    raise
        connection = bus.connect(self._places.bus_addresses(), deadline)
        if connection is None:
            return set()
        self._bus = bus.Bus(connection, self._names, self._trace)
        try:
            return self._bus.owned(deadline)
        except (OSError, dbus.ProtocolError):
            self.close()
            raise
