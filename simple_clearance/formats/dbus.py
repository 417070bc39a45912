"""A client's side of the D-Bus protocol, as much of it as asking a bus about names takes.

Bytes in, events out: this module owns no socket and no clock.  What goes to the bus is taken
with `data_to_send`, what came from it is given to `feed`.  The one error it raises is
`ProtocolError`; after it the connection is of no use.

The awkward fact: any program on the bus may send us any message, so only those whose sender
is the bus itself count.  The bus writes that field; a peer can't forge it.

Not here, on purpose: objects, properties, replies to calls, passing of file descriptors,
mechanisms other than EXTERNAL, transports other than unix sockets.
Sections named below are those of the D-Bus specification, version 0.43.
"""

from __future__ import annotations

from .dbuswire import (
    BUS,
    ERROR,
    ERROR_NAME,
    INTERFACE,
    LARGEST,
    MEMBER,
    METHOD_RETURN,
    REPLY_SERIAL,
    SENDER,
    SIGNAL,
    Message,
    ProtocolError,
    message_length,
    method_call,
)

__all__ = [
    "LARGEST", "Answer", "Connection", "Failed", "OwnerChanged", "ProtocolError", "parse_addresses",
]  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST_LINE = 1024  # bytes of an authentication line
# "Authentication state diagrams": (state, the server's command) -> (what to send, the next state)
_AUTH = {
    ("asked", b"DATA"): (b"DATA\r\n", "answered"),
    ("asked", b"OK"): (b"BEGIN\r\n", "open"),
    ("answered", b"OK"): (b"BEGIN\r\n", "open"),
}


class Answer:
    """The reply to the call `serial`; `values` are its arguments."""

    __slots__ = ("serial", "values")

    def __init__(self, serial: int, values: tuple[Any, ...]) -> None:
        self.serial = serial
        self.values = values

    def __repr__(self) -> str:
        return "Answer(%d, %r)" % (self.serial, self.values)


class Failed:
    """The call `serial` came back as the error `name` with the bus's own `text` (or an empty one)."""

    __slots__ = ("name", "serial", "text")

    def __init__(self, serial: int, name: str, text: str) -> None:
        self.serial = serial
        self.name = name
        self.text = text

    def __repr__(self) -> str:
        return "Failed(%d, %r, %r)" % (self.serial, self.name, self.text)


class OwnerChanged:
    """`name` passed from the connection `old` to `new`; an empty one means nobody."""

    __slots__ = ("name", "new", "old")

    def __init__(self, name: str, old: str, new: str) -> None:
        self.name = name
        self.old = old
        self.new = new

    def __repr__(self) -> str:
        return "OwnerChanged(%r, %r, %r)" % (self.name, self.old, self.new)


if TYPE_CHECKING:
    from typing import Union

    Event = Union[Answer, Failed, OwnerChanged]


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


class Connection:
    """A client's side of one connection to a message bus.

    Authentication and `Hello` happen by themselves; calls made before that are held back and
    sent behind it.  `unique_name` is ours on the bus once it is known, an empty text before.
    """

    def __init__(self) -> None:
        # An empty identity: the bus takes the one the kernel vouches for.  Naming a uid
        # would clash where the two sides are in different user namespaces.
        self._out = bytearray(b"\0AUTH EXTERNAL\r\n")
        self._held = bytearray()
        self._buffer = bytearray()
        self._state = "asked"
        self._serial = 0
        self.unique_name = ""
        self._hello = self.call("Hello")

    def __repr__(self) -> str:
        return "<dbus.Connection %s %s>" % (self._state, self.unique_name)

    def call(self, member: str, *arguments: str | int) -> int:
        """Call a method of the bus itself; the serial that its answer will carry.

        A str is sent as a STRING, an int as a UINT32: the bus's methods for names take no more.
        """
        self._serial += 1
        message = method_call(self._serial, member, *arguments)
        if self._state == "open":
            self._out += message
        else:
            self._held += message
        return self._serial

    def watch_owner(self, name: str) -> int:
        """Have the bus tell when the owner of exactly this name changes."""
        rule = "type='signal',sender='%s',interface='%s',member='NameOwnerChanged',arg0='%s'"
        return self.call("AddMatch", rule % (BUS, BUS, name))

    def data_to_send(self) -> bytes:
        """What is to go to the bus now; each byte is given once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the bus, cut anywhere; what they completed.  b"" is its end."""
        if self._state == "broken":
            raise ProtocolError("fed after an error")
        try:
            if not data:
                raise ProtocolError("the bus closed the connection")
            self._buffer += data
            while self._state != "open" and self._auth_line():
                pass
            return self._messages() if self._state == "open" else []
        except ProtocolError:
            self._state = "broken"
            raise

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

    def _messages(self) -> list[Event]:
        events = []
        while len(self._buffer) >= 16:
            length = message_length(self._buffer)
            if len(self._buffer) < length:
                break
            message = Message(bytes(self._buffer[:length]))
            del self._buffer[:length]
            event = self._event(message)
            if event is not None:
                events.append(event)
        return events

    def _event(self, message: Message) -> Event | None:
        """What the bus itself says; None for other senders, and for what nobody asked."""
        event = _event(message)
        if isinstance(event, Failed) and event.serial == self._hello:
            raise ProtocolError("the bus refused Hello: %s" % event.name)
        if isinstance(event, Answer) and event.serial == self._hello:
            if len(event.values) != 1 or not isinstance(event.values[0], str):
                raise ProtocolError("no name in the answer to Hello")
            self.unique_name = event.values[0]
            return None
        return event


def _event(message: Message) -> Event | None:
    fields = message.fields
    if fields.get(SENDER) != BUS:
        return None
    if message.kind == SIGNAL and (fields.get(INTERFACE), fields.get(MEMBER)) == (BUS, "NameOwnerChanged"):
        values = message.values()
        if [type(value) for value in values] != [str, str, str]:
            raise ProtocolError("NameOwnerChanged without its three names")
        return OwnerChanged(*values)
    if message.kind not in (METHOD_RETURN, ERROR):
        return None
    values = message.values()
    if REPLY_SERIAL not in fields or (message.kind == ERROR and ERROR_NAME not in fields):
        raise ProtocolError("a reply without its header fields")
    if message.kind == METHOD_RETURN:
        return Answer(fields[REPLY_SERIAL], values)
    text = values[0] if values and isinstance(values[0], str) else ""
    return Failed(fields[REPLY_SERIAL], fields[ERROR_NAME], text)
