"""How many ports of one address a request stands for.  Pure.

Whoever is inside may try all 65,536 of them.  So an address has so many open requests with a port of their
own (`budget`); what is tried beyond those is one more request, which counts each port once.
"""

from __future__ import annotations

REST = -1
"""In the place of the protocol, in the key of a request for the rest of an address's ports."""


class Ports:
    """`number` of them were tried since it was opened; those of all protocols are the same."""

    __slots__ = ("_seen", "number")

    def __init__(self) -> None:
        self.number = 0
        self._seen: bytearray | None = None  # a bit for each port

    def add(self, port: int | None) -> None:
        if port is None:
            return
        if self._seen is None:
            self._seen, self.number = bytearray(1 << 13), 0
        at, bit = port >> 3, 1 << (port & 7)
        if not self._seen[at] & bit:
            self._seen[at] |= bit
            self.number += 1

    def forget(self) -> None:
        """Which they were; they are counted anew from the next one on."""
        self._seen = None
