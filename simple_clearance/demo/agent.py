"""The program inside the demonstration: what it tries, and when.

Owns the connections it makes.  It looks names up where dnsmasq would log that, tries what does
not work yet again, and goes on to the next thing at its time, or soon after an answer.
"""

from __future__ import annotations

import os
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

NAMES: dict[str, tuple[str, ...]] = {
    "registry.example.com": ("203.0.113.10",),
    "telemetry.example.net": ("198.51.100.7",),
    "broken.example": ("192.0.2.66",),
    "api.example.org": ("203.0.113.20", "203.0.113.21"),
}
VIA = {"registry.example.com": "edge.cdn.example"}

# Seconds after the start, a name or an address, its port, and how many addresses from there on.
SCENES = (
    (0.5, "registry.example.com", 443, 1),
    (4.0, "10.0.2.2", 22, 1),
    (6.5, "telemetry.example.net", 443, 1),
    (11.0, "broken.example", 443, 1),
    (16.0, "api.example.org", 443, 1),
    (22.0, "198.51.100.101", 443, 100),
)
AGAIN = 4.0
"""Seconds after which it tries again what has not worked yet, each time as long again."""
SOON = 1.0
"""Seconds after an answer to the next try; the next scene comes half a second after that."""


class Agent:
    """Plays SCENES from now on; `log` is the file that its look-ups are written to."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._start = time.monotonic()  # moved back when there is nothing to wait for
        self._scenes = list(SCENES)
        self._again: dict[tuple[str, int], tuple[float, float]] = {}  # (address, port): when, how long after
        self._open: dict[socket.socket, tuple[str, int]] = {}

    def sockets(self) -> list[socket.socket]:
        """The connections under way: call `ended` for those that can be written to."""
        return list(self._open)

    def deadline(self) -> float | None:
        """When `tick` wants to be called next (monotonic)."""
        times = [when for when, _ in self._again.values()]
        if self._scenes:
            times.append(self._start + self._scenes[0][0])
        return min(times, default=None)

    def tick(self) -> None:
        now = time.monotonic()
        for place, (when, gap) in list(self._again.items()):
            if when <= now:
                self._again[place] = (now + 2 * gap, 2 * gap)
                self._connect(*place)
        while self._scenes and self._start + self._scenes[0][0] <= now:
            self._play(*self._scenes.pop(0)[1:])

    def answered(self, addresses: Iterable[str]) -> None:
        """A verdict was run on these: they are tried soon, and the next scene needn't wait."""
        soon = time.monotonic() + SOON
        for place, (when, gap) in self._again.items():
            if place[0] in addresses:
                self._again[place] = (min(when, soon), gap)
        if self._scenes:
            self._start = min(self._start, soon + SOON / 2 - self._scenes[0][0])

    def ended(self, connection: socket.socket) -> None:
        place = self._open.pop(connection)
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            self._again.pop(place, None)  # it works
        connection.close()

    def _play(self, target: str, port: int, number: int) -> None:
        if target in NAMES:
            self._look_up(target)
        found = NAMES.get(target) or neighbours(target, number)
        for address in found:
            if number == 1:
                self._again[address, port] = (time.monotonic() + AGAIN, AGAIN)
            self._connect(address, port)

    def _connect(self, address: str, port: int) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.connect((address, port))
        except BlockingIOError:
            pass  # under way
        except OSError:
            connection.close()  # refused by the rules, at once
            return
        self._open[connection] = (address, port)

    def _look_up(self, name: str) -> None:
        """What dnsmasq would log for a query of this name."""
        head = "%s dnsmasq[%d]: " % (time.strftime("%b %e %H:%M:%S"), os.getpid())
        lines = [f"query[A] {name} from 127.0.0.1", f"forwarded {name} to 10.0.2.3"]
        owner = VIA.get(name, name)
        if owner != name:
            lines.append(f"reply {name} is <CNAME>")
        lines += [f"reply {owner} is {address}" for address in NAMES[name]]
        with open(self._log, "a") as log:
            log.write("".join(head + line + "\n" for line in lines))


def neighbours(first: str, number: int) -> tuple[str, ...]:
    """`number` addresses from `first` on."""
    base = struct.unpack("!I", socket.inet_aton(first))[0]
    return tuple(socket.inet_ntoa(struct.pack("!I", base + step)) for step in range(number))
