"""A client's side of the D-Bus protocol, as much of it as asking a bus about names takes.  Pure.

What goes to the bus is taken with `data_to_send`, what came from it is given to `feed`.  The one
error is `ProtocolError`; after it the connection is of no use.  Every length is checked before it
is used, and a whole message is capped.

The awkward fact: any program on the bus may send us any message, so only those whose sender is the
bus itself count.  The bus writes that field; a peer can't forge it.

Not here, on purpose: objects, properties, replies to calls, arrays and structs, passing of file
descriptors, mechanisms other than EXTERNAL, transports other than unix sockets.
Sections named below are those of the D-Bus specification, version 0.43.
"""

from __future__ import annotations

import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Event = Union["Answer", "OwnerChanged"]

BUS = "org.freedesktop.DBus"  # its name and its interface
LARGEST = 65536  # bytes of a message; the specification allows 128 MiB, nothing asked for comes near
LONGEST_LINE = 1024  # bytes of an authentication line

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4  # "Message Format"
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 1, 2, 3, 4, 5, 6, 7, 8

# "Authentication state diagrams": (state, the server's command) -> (what to send, the next state)
_AUTH = {
    ("asked", b"DATA"): (b"DATA\r\n", "answered"),
    ("asked", b"OK"): (b"BEGIN\r\n", "open"),
    ("answered", b"OK"): (b"BEGIN\r\n", "open"),
}
_OWNER_OF = "type='signal',sender='%s',interface='%s',member='NameOwnerChanged',arg0='%%s'" % (BUS, BUS)
_NUMBERS = {"y": "B", "b": "I", "u": "I"}  # "Summary of types": those that are read here
_TEXTS = ("s", "o", "g")

# The reply to the call `serial`: its arguments, or the name and text of an error, else an empty text.
Answer = namedtuple("Answer", ("serial", "values", "error"))
# `name` belongs to the connection `owner` now; an empty one means nobody.
OwnerChanged = namedtuple("OwnerChanged", ("name", "owner"))


class ProtocolError(Exception):
    """What came is not D-Bus, or not what was asked for; the text says which."""


class Connection:
    """A client's side of one connection to a message bus.

    Authentication and `Hello`, the call 1, happen by themselves; what is called before the bus has let
    us in is held back and sent behind them.
    """

    def __init__(self) -> None:
        # An empty identity: the bus takes the one the kernel vouches for.  Naming a uid
        # would clash where the two sides are in different user namespaces.
        self._out = bytearray(b"\0AUTH EXTERNAL\r\n")
        self._held = bytearray()
        self._buffer = bytearray()
        self._state = "asked"
        self._serial = 0
        self.call("Hello")

    def __repr__(self) -> str:
        return "<dbus.Connection %s>" % self._state

    def call(self, member: str, text: str = "") -> int:
        """Call a method of the bus itself; the serial that its answer will carry."""
        self._serial += 1
        message = method_call(self._serial, member, text)
        if self._state == "open":
            self._out += message
        else:
            self._held += message
        return self._serial

    def watch_owner(self, name: str) -> int:
        """Have the bus tell when the owner of exactly this name changes."""
        return self.call("AddMatch", _OWNER_OF % name)

    def unwatch_owner(self, name: str) -> int:
        """Have it told no more; only for a name that is watched."""
        return self.call("RemoveMatch", _OWNER_OF % name)

    def data_to_send(self) -> bytes:
        """What is to go to the bus now; each byte is given once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the bus, cut anywhere; what they completed.  b"" is its end."""
        if not data:
            raise ProtocolError("the bus closed the connection")
        self._buffer += data
        while self._state != "open" and self._auth_line():
            pass
        events = []
        while self._state == "open" and len(self._buffer) >= 16:
            length = _message_length(self._buffer)
            if len(self._buffer) < length:
                break
            event = _event(bytes(self._buffer[:length]))
            del self._buffer[:length]
            if event is not None:
                events.append(event)
        return events

    def _auth_line(self) -> bool:
        end = self._buffer.find(b"\r\n", 0, LONGEST_LINE)
        if end < 0:
            if len(self._buffer) >= LONGEST_LINE:
                raise ProtocolError("an authentication line without end")
            return False
        command = bytes(self._buffer[:end]).split(b" ")[0]
        del self._buffer[: end + 2]
        if (self._state, command) not in _AUTH:
            raise ProtocolError("the bus answered AUTH with %r" % command[:40].decode("latin-1"))
        reply, self._state = _AUTH[self._state, command]
        self._out += reply
        if self._state == "open":
            self._out += self._held
            self._held.clear()
        return True


def method_call(serial: int, member: str, text: str = "") -> bytes:
    """A call of the bus's own method, little-endian ("Message Format", "Marshaling")."""
    header = [(PATH, "o", "/org/freedesktop/DBus"), (INTERFACE, "s", BUS), (MEMBER, "s", member)]
    fields = bytearray()
    for code, kind, value in [*header, (DESTINATION, "s", BUS)]:
        fields += _padding(fields) + struct.pack("<BB2s", code, 1, kind.encode()) + _string(value)
    body = _string(text) if text else b""
    if body:
        fields += _padding(fields) + struct.pack("<BB2sB2s", SIGNATURE, 1, b"g", 1, b"s")
    head = struct.pack("<cBBBIII", b"l", METHOD_CALL, 0, 1, len(body), serial, len(fields))
    return head + bytes(fields) + _padding(fields) + body


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _padding(fields: bytearray) -> bytes:
    return b"\0" * (-len(fields) % 8)


def _message_length(head: bytes | bytearray) -> int:
    """How long the message is that starts with these 16 bytes."""
    if head[0] not in b"lB":
        raise ProtocolError("byte order 0x%02x" % head[0])
    kind, version, body, serial, fields = struct.unpack_from(_order(head) + "xBxBIII", head)
    if version != 1 or kind == 0 or serial == 0:
        raise ProtocolError("version %d, type %d, serial %d" % (version, kind, serial))
    length: int = 16 + fields + -fields % 8 + body
    if length > LARGEST:
        raise ProtocolError("a message of %d bytes" % length)
    return length


def _order(message: bytes | bytearray) -> str:
    return "<" if message[0] == ord("l") else ">"


def _event(message: bytes) -> Event | None:
    """What the bus itself says in this whole message; None for other senders, and for what nobody asked."""
    reader = _Reader(message)
    fields = reader.fields()
    if fields.get(SENDER) != BUS:
        return None
    kind, about = message[1], (fields.get(INTERFACE), fields.get(MEMBER))
    if kind == SIGNAL and about == (BUS, "NameOwnerChanged"):
        names = reader.body(fields.get(SIGNATURE, ""))
        if [type(name) for name in names] != [str, str, str]:
            raise ProtocolError("NameOwnerChanged without its three names")
        return OwnerChanged(names[0], names[2])
    if kind not in (METHOD_RETURN, ERROR):
        return None
    values = reader.body(fields.get(SIGNATURE, ""))
    if REPLY_SERIAL not in fields or (kind == ERROR and ERROR_NAME not in fields):
        raise ProtocolError("a reply without its header fields")
    error = "%s %s" % (fields[ERROR_NAME], values[0] if values else "") if kind == ERROR else ""
    return Answer(fields[REPLY_SERIAL], values, error)


class _Reader:
    """Reads values off one whole message."""

    __slots__ = ("_at", "_data", "_order")

    def __init__(self, message: bytes) -> None:
        self._data = message
        self._at = 12
        self._order = _order(message)

    def fields(self) -> dict[int, Any]:
        """The header's fields by code.  None of all where one is of a type that isn't read here.

        Any program may send such a message; in the bus's own there is none.
        """
        found: dict[int, Any] = {}
        length = self._value("u")
        end = self._at + length
        while self._at < end:
            self._align(8)
            code, kind = self._value("y"), self._value("g")
            if kind not in _TEXTS and kind not in _NUMBERS:
                return {}
            found[code] = self._value(kind)
            if code <= SIGNATURE and type(found[code]) is not (int if code == REPLY_SERIAL else str):
                raise ProtocolError("header field %d of the type %s" % (code, kind))
        if self._at != end:
            raise ProtocolError("header fields that don't end where they say")
        self._align(8)
        return found

    def body(self, signature: str) -> list[Any]:
        """All that is left, as values of these types."""
        values = [self._value(code) for code in signature]
        if self._at != len(self._data):
            raise ProtocolError("a body longer than its signature")
        return values

    def _value(self, code: str) -> Any:
        """The value of one basic type at the cursor, which moves behind it."""
        if code in _TEXTS:
            return self._text(self._value("y" if code == "g" else "u"))
        if code not in _NUMBERS:
            raise ProtocolError("a value of the type %r" % code)
        size = 1 if code == "y" else 4
        self._align(size)
        (number,) = struct.unpack(self._order + _NUMBERS[code], self._take(size))
        if code == "b":
            if number > 1:
                raise ProtocolError("a boolean of %d" % number)
            return number == 1
        return number

    def _text(self, length: int) -> str:
        data = self._take(length + 1)
        if 0 in data[:-1] or data[-1]:
            raise ProtocolError("a string that doesn't end where it says")
        try:
            return data[:-1].decode()
        except UnicodeDecodeError:
            raise ProtocolError("a string that is not UTF-8") from None

    def _align(self, alignment: int) -> None:
        self._take(-self._at % alignment)

    def _take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ProtocolError("a length beyond the end of the message")
        return self._data[start : self._at]


def parse_addresses(text: str) -> list[bytes | str]:
    """The bus addresses in `text`, in order ("Server Addresses").

    Bytes are the address of a unix socket, ready for connect(2): a path, or an abstract name
    behind a NUL.  A str is the name of a transport that isn't spoken here.  Raises
    ProtocolError for a text that is no list of addresses.
    """
    addresses = [_parse_address(entry) for entry in text.split(";") if entry]
    if not addresses:
        raise ProtocolError("no address given")
    return addresses


def _parse_address(entry: str) -> bytes | str:
    transport, colon, rest = entry.partition(":")
    if not colon or not transport:
        raise ProtocolError("no transport in the address %r" % entry)
    keys: dict[str, bytes] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not equals or not key or key in keys:
            raise ProtocolError("no key=value list in the address %r" % entry)
        keys[key] = _unescape(value)
    if transport != "unix" or not ("path" in keys or "abstract" in keys):
        return transport  # unix:dir=, tmpdir= and runtime= are for listening, not for connecting
    if "path" in keys and "abstract" in keys:
        raise ProtocolError("both a path and an abstract name in the address %r" % entry)
    name = keys["path"] if "path" in keys else keys["abstract"]
    if not name or 0 in name:
        raise ProtocolError("no usable name in the address %r" % entry)
    return name if "path" in keys else b"\0" + name


def _unescape(value: str) -> bytes:
    first, *rest = value.encode("utf-8", "surrogateescape").split(b"%")
    unescaped = bytearray(first)
    for part in rest:
        digits = part[:2]
        if len(digits) != 2 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            raise ProtocolError("a %% without two hex digits in the value %r" % value)
        unescaped.append(int(digits, 16))
        unescaped += part[2:]
    return bytes(unescaped)
