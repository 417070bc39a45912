"""D-Bus messages made by hand, as a bus or another program would send them, and a program that owns names."""

from __future__ import annotations

import socket
import struct

from support import PATIENCE

from simple_clearance.formats import dbus


def field(code, kind, value, order="<", at=0):
    """A header field of the type `kind`, s, o, g or u, aligned for the offset `at`."""
    data = struct.pack("%sBB2s" % order, code, 1, kind.encode())
    if kind == "u":
        data += struct.pack(order + "I", value)
    elif kind == "g":
        data = data + struct.pack("B", len(value)) + value.encode() + b"\0"
    else:
        data += struct.pack(order + "I", len(value)) + value.encode() + b"\0"
    return b"\0" * (-at % 8) + data


def message(kind, fields, body=b"", order="<", serial=9, version=1):
    packed = b""
    for code, letter, value in fields:
        packed += field(code, letter, value, order, len(packed))
    first = b"l" if order == "<" else b"B"
    head = first + struct.pack(order + "BBBIII", kind, 0, version, len(body), serial, len(packed))
    return head + packed + b"\0" * (-len(packed) % 8) + body


def strings(*texts, order="<"):
    body = b""
    for text in texts:
        body += b"\0" * (-len(body) % 4) + struct.pack(order + "I", len(text)) + text.encode() + b"\0"
    return body


class Owner:
    """Another program on the bus at `path`: one that can own names."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(path)
        self._protocol = dbus.Connection()
        self._serial = 100
        while True:
            self._socket.sendall(self._protocol.data_to_send())
            if self._protocol.feed(self._socket.recv(65536)):
                break  # the answer to Hello: we are in

    def close(self):
        self._socket.close()

    def own(self, name):
        """RequestName, with no flags; it becomes its primary owner (1)."""
        body = strings(name)
        self._call("RequestName", "su", body + b"\0" * (-len(body) % 4 + 4), 1)

    def release(self, name):
        self._call("ReleaseName", "s", strings(name), 1)

    def _call(self, member, signature, body, expected):
        self._serial += 1
        fields = [(1, "o", "/org/freedesktop/DBus"), (2, "s", dbus.BUS), (3, "s", member), (6, "s", dbus.BUS)]
        self._socket.sendall(message(1, [*fields, (8, "g", signature)], body, serial=self._serial))
        while True:
            for event in self._protocol.feed(self._socket.recv(65536)):
                if getattr(event, "serial", 0) == self._serial:
                    assert event.values == [expected], event
                    return
