"""D-Bus messages as bytes: calls of the bus's own methods out, replies and signals in.

Pure.  Reads every type there is, since a header may hold fields that are not known yet;
writes strings and numbers only.  Every length is checked before it is used, the whole message
capped.  Whatever can't be read is a `ProtocolError`.
Sections named below are those of the D-Bus specification, version 0.43.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUS = "org.freedesktop.DBus"  # its name and its interface
LARGEST = 65536  # bytes of a message; the specification allows 128 MiB, nothing asked for comes near
DEEPEST = 32  # containers in containers

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4  # "Message Format"
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = 1, 2, 3, 4, 5, 6, 7, 8
_FIELD_TYPES = {
    PATH: str,
    INTERFACE: str,
    MEMBER: str,
    ERROR_NAME: str,
    REPLY_SERIAL: int,
    DESTINATION: str,
    SENDER: str,
    SIGNATURE: str,
}
_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I"}
_SIZES = {code: struct.calcsize("<" + letter) for code, letter in _FIXED.items()}
_ALIGNMENT = dict(_SIZES, s=4, o=4, g=1, v=1, a=4)
_ALIGNMENT.update({"(": 8, "{": 8})


class ProtocolError(Exception):
    """What came is not D-Bus, or not what was asked for; the text says which."""


# -- writing ------------------------------------------------------------------------------------


def method_call(serial: int, member: str, *arguments: str | int) -> bytes:
    """A call of the bus's own method, little-endian ("Message Format", "Marshaling")."""
    signature = "".join("s" if isinstance(argument, str) else "u" for argument in arguments)
    body = bytearray()
    for argument in arguments:
        body += _padding(body, 4)
        body += _string(argument) if isinstance(argument, str) else struct.pack("<I", argument)
    fields = bytearray()
    for code, kind, text in (
        (PATH, b"o", "/org/freedesktop/DBus"),
        (INTERFACE, b"s", BUS),
        (MEMBER, b"s", member),
        (DESTINATION, b"s", BUS),
    ):
        fields += _padding(fields, 8)
        fields += struct.pack("<BB2s", code, 1, kind) + _string(text)
    if signature:
        fields += _padding(fields, 8)
        fields += struct.pack("<BB2sB", SIGNATURE, 1, b"g", len(signature)) + signature.encode() + b"\0"
    head = struct.pack("<cBBBIII", b"l", METHOD_CALL, 0, 1, len(body), serial, len(fields))
    return head + bytes(fields) + _padding(fields, 8) + bytes(body)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def _padding(data: bytes | bytearray, alignment: int) -> bytes:
    return b"\0" * (-len(data) % alignment)


# -- reading ------------------------------------------------------------------------------------


def _order(message: bytes | bytearray) -> str:
    if message[0] not in b"lB":
        raise ProtocolError("byte order 0x%02x" % message[0])
    return "<" if message[0] == ord("l") else ">"


def message_length(head: bytes | bytearray) -> int:
    """How long the message is that starts with these 16 bytes."""
    version, body, serial, fields = struct.unpack_from(_order(head) + "xxxBIII", head)
    if version != 1:
        raise ProtocolError("protocol version %d" % version)
    if serial == 0:
        raise ProtocolError("a message without serial")
    length: int = 16 + fields + -fields % 8 + body
    if length > LARGEST:
        raise ProtocolError("a message of %d bytes" % length)
    return length


class Message:
    """A whole message: its `kind`, header `fields` by code, and the body's `values()`."""

    __slots__ = ("_reader", "fields", "kind")

    def __init__(self, data: bytes) -> None:
        """`data` is as long as `message_length` says of it."""
        self.kind = data[1]
        if self.kind == 0:
            raise ProtocolError("a message of type 0")
        self.fields: dict[int, Any] = {}
        self._reader = _Reader(data, 12)
        for code, value in self._reader.value("a(yv)"):
            if code in _FIELD_TYPES:
                if type(value) is not _FIELD_TYPES[code]:
                    raise ProtocolError("header field %d of a wrong type" % code)
                self.fields[code] = value
        self._reader.align(8)

    def __repr__(self) -> str:
        return "Message(%d, %r)" % (self.kind, self.fields)

    def values(self) -> tuple[Any, ...]:
        """The body; to be read once."""
        return self._reader.values(self.fields.get(SIGNATURE, ""))


class _Reader:
    """Reads values off one whole message; every length is checked before it is used."""

    __slots__ = ("_at", "_data", "_order")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._order = _order(data)

    def values(self, signature: str) -> tuple[Any, ...]:
        """All that is left, as values of these types."""
        found = tuple(self.value(kind) for kind in _complete_types(signature))
        if self._at != len(self._data):
            raise ProtocolError("a body longer than its signature")
        return found

    def value(self, kind: str, depth: int = 0) -> Any:
        """The value of one complete type at the cursor, which moves behind it."""
        if depth > DEEPEST:
            raise ProtocolError("values nested too deep")
        code = kind[0]
        self.align(_ALIGNMENT[code])
        if code in _FIXED:
            return self._fixed(code)
        if code in "so":
            return self._text(self._fixed("u"))
        if code == "g":
            return self._text(self._fixed("y"))
        if code == "v":
            inner = _complete_types(self._text(self._fixed("y")))
            if len(inner) != 1:
                raise ProtocolError("a variant of %d types" % len(inner))
            return self.value(inner[0], depth + 1)
        if code == "a":
            return self._array(kind[1:], depth + 1)
        return tuple(self.value(member, depth + 1) for member in _complete_types(kind[1:-1]))

    def align(self, alignment: int) -> None:
        self._take(-self._at % alignment)

    def _take(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ProtocolError("a length beyond the end of the message")
        return self._data[start : self._at]

    def _fixed(self, code: str) -> Any:
        (number,) = struct.unpack(self._order + _FIXED[code], self._take(_SIZES[code]))
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

    def _array(self, kind: str, depth: int) -> list[Any]:
        length = self._fixed("u")
        self.align(_ALIGNMENT[kind[0]])
        end = self._at + length
        if end > len(self._data):
            raise ProtocolError("an array beyond the end of the message")
        values = []
        while self._at < end:  # no type is empty, so each turn moves the cursor
            values.append(self.value(kind, depth))
        if self._at != end:
            raise ProtocolError("an array that doesn't end where it says")
        return values


def _complete_types(signature: str) -> list[str]:
    """`signature` cut into single complete types ("Summary of types")."""
    types, at = [], 0
    while at < len(signature):
        end = _type_end(signature, at, 0)
        types.append(signature[at:end])
        at = end
    return types


def _type_end(signature: str, at: int, depth: int) -> int:
    code = signature[at : at + 1]
    if depth > DEEPEST or not code or code not in _ALIGNMENT:
        raise ProtocolError("no type at %d in the signature %r" % (at, signature))
    at += 1
    if code == "a":
        return _type_end(signature, at, depth + 1)
    if code not in "({":
        return at
    close, members = ")" if code == "(" else "}", 0
    while signature[at : at + 1] != close:
        at = _type_end(signature, at, depth + 1)
        members += 1
    if members == 0 or (code == "{" and members != 2):
        raise ProtocolError("a container of %d types in the signature %r" % (members, signature))
    return at + 1
