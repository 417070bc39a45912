"""The D-Bus protocol as bytes: what a real bus said, at every cut, and what nobody should say.

The invariant of the fuzzing: whatever comes, `feed` returns events or raises ProtocolError.
"""

from __future__ import annotations

import random
import struct

import pytest
from busmade import field, message, strings

from simple_clearance.formats import dbus
from simple_clearance.formats.dbus import BUS

# What dbus-daemon 1.14 sent, recorded, to a client that asked about two names.
AUTH = b"DATA\r\nOK 750e5ffb42a3ec6e160d10ac6b062014\r\n"
HELLO = (
    b"l\x02\x01\x01\t\0\0\0\x01\0\0\0=\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x05\x01u\0\x01\0\0\0"
    b"\x08\x01g\0\x01s\0\0\x07\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x04\0\0\0:1.0\0"
)
NAME_ACQUIRED = (
    b"l\x04\x01\x01\t\0\0\0\x02\0\0\0\x8d\0\0\0\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0"
    b"\x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x03\x01s\0\x0c\0\0\0NameAcquired\0\0\0\0"
    b"\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x08\x01g\0\x01s\0\0\x07\x01s\0\x14\0\0\0org.freedesktop.DBus"
    b"\0\0\0\0\x04\0\0\0:1.0\0"
)
MATCH_ADDED = (
    b"l\x02\x01\x01\0\0\0\0\x03\0\0\x005\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x05\x01u\0\x02\0\0\0"
    b"\x07\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0"
)
NO_OWNER = (
    b"l\x02\x01\x01\x04\0\0\0\x05\0\0\0=\0\0\0\x06\x01s\0\x04\0\0\0:1.0\0\0\0\0\x05\x01u\0\x04\0\0\0"
    b"\x08\x01g\0\x01b\0\0\x07\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\0\0\0\0"
)
RECORDED = AUTH + HELLO + NAME_ACQUIRED + MATCH_ADDED + NO_OWNER


def answer(serial, signature="", body=b"", order="<", sender=BUS):
    fields = [(5, "u", serial), (7, "s", sender)] + [(8, "g", signature)] * bool(signature)
    return message(2, fields, body, order)


def owner_changed(*names, order="<", sender=BUS):
    fields = [(1, "s", "/"), (2, "s", BUS), (3, "s", "NameOwnerChanged"), (7, "s", sender)]
    return message(4, [*fields, (8, "g", "s" * len(names))], strings(*names, order=order), order)


def opened():
    """A connection that is past Hello."""
    connection = dbus.Connection()
    assert connection.feed(AUTH + HELLO) == [WELCOME]
    connection.data_to_send()
    return connection


WELCOME = dbus.Answer(1, [":1.0"], "")


# --- the conversation


def test_authentication_names_no_uid_and_goes_step_by_step():
    connection = dbus.Connection()
    assert connection.data_to_send() == b"\0AUTH EXTERNAL\r\n"
    assert connection.data_to_send() == b""
    connection.feed(b"DATA\r\n")
    assert connection.data_to_send() == b"DATA\r\n"
    connection.feed(b"OK 750e5ffb42a3ec6e160d10ac6b062014\r\n")
    assert connection.data_to_send().startswith(b"BEGIN\r\nl\x01\0\x01")


def test_calls_made_before_the_bus_has_answered_are_sent_after_hello():
    connection = dbus.Connection()
    serial = connection.call("NameHasOwner", "org.example.One")
    assert b"NameHasOwner" not in connection.data_to_send()
    connection.feed(AUTH)
    sent = connection.data_to_send()
    assert 0 < sent.index(b"Hello") < sent.index(b"NameHasOwner") < sent.index(b"org.example.One")
    assert connection.feed(HELLO) == [WELCOME]
    assert serial == 2


def test_what_a_real_bus_said_is_understood():
    connection = dbus.Connection()
    assert connection.watch_owner("org.example.One") == 2
    assert connection.feed(RECORDED) == [WELCOME, dbus.Answer(2, [], ""), dbus.Answer(4, [False], "")]


def test_a_match_rule_names_the_bus_as_sender_and_exactly_one_name():
    connection = opened()
    connection.watch_owner("org.example.One")
    sent = connection.data_to_send()
    assert b"sender='org.freedesktop.DBus'" in sent
    assert b"arg0='org.example.One'" in sent


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_both_byte_orders_are_read(order):
    connection = opened()
    data = answer(3, "b", struct.pack(order + "I", 1), order)
    data += owner_changed("org.example.One", "", ":1.7", order=order)
    data += message(3, [(4, "s", "org.example.Error.No"), (5, "u", 4), (7, "s", BUS), (8, "g", "s")],
                    strings("not so", order=order), order)  # fmt: skip
    assert connection.feed(data) == [
        dbus.Answer(3, [True], ""),
        dbus.OwnerChanged("org.example.One", ":1.7"),
        dbus.Answer(4, ["not so"], "org.example.Error.No not so"),
    ]


def test_the_conversation_can_be_cut_anywhere():
    whole = dbus.Connection().feed(RECORDED)
    for cut in range(1, len(RECORDED)):
        connection = dbus.Connection()
        assert connection.feed(RECORDED[:cut]) + connection.feed(RECORDED[cut:]) == whole


def test_the_conversation_can_come_byte_by_byte_and_in_random_pieces():
    whole = dbus.Connection().feed(RECORDED)
    source = random.Random(1)
    for largest in [1] + [60] * 100:
        connection, events, at = dbus.Connection(), [], 0
        while at < len(RECORDED):
            size = source.randint(1, largest)
            events += connection.feed(RECORDED[at : at + size])
            at += size
        assert events == whole


# --- who is believed


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(3, "b", struct.pack("<I", 1), sender=":1.66"), id="a reply"),
        pytest.param(owner_changed("org.example.One", ":1.7", "", sender=":1.66"), id="a signal"),
        pytest.param(answer(3, "b", b"\xff" * 5, sender=":1.66"), id="a reply whose body is nonsense"),
        pytest.param(message(2, [(5, "u", 3)]), id="a reply without a sender"),
        pytest.param(message(1, [(7, "s", ":1.66")]), id="a call"),
        pytest.param(message(77, [(7, "s", BUS)]), id="a type of message to come"),
        pytest.param(message(4, [(7, "s", BUS), (2, "s", BUS), (3, "s", "Else")]), id="another signal"),
    ],
)
def test_other_programs_on_the_bus_are_not_heard(data):
    connection = opened()
    assert connection.feed(data + answer(3)) == [dbus.Answer(3, [], "")]


def test_a_header_field_that_is_not_known_is_passed_over():
    data = message(2, [(5, "u", 3), (99, "s", "new"), (98, "u", 7), (7, "s", BUS)])
    assert opened().feed(data) == [dbus.Answer(3, [], "")]


def test_a_message_with_a_header_field_of_a_type_that_is_not_read_is_not_heard():
    """Any program may send one.  Field 99: an array of structs of a byte and a dictionary."""
    packed = field(5, "u", 3) + field(7, "s", BUS, at=8)
    packed += b"\0" * (-len(packed) % 8)
    packed += b"\x63\x09a(ya{sv})\0"
    packed += b"\0" * (-len(packed) % 4) + struct.pack("<I", 0)
    packed += b"\0" * (-len(packed) % 8)
    data = b"l" + struct.pack("<BBBIII", 2, 0, 1, 0, 9, len(packed)) + packed
    assert opened().feed(data + answer(4)) == [dbus.Answer(4, [], "")]


@pytest.mark.parametrize("name", ["org.example.Error.No", ""])
@pytest.mark.parametrize("body", [("", b""), ("u", struct.pack("<I", 0)), ("s", strings(""))])
def test_an_error_is_never_taken_for_an_answer_whatever_it_says(name, body):
    fields = [(4, "s", name), (5, "u", 3), (7, "s", BUS), (8, "g", body[0])]
    (event,) = opened().feed(message(3, fields, body[1]))
    assert event.serial == 3 and event.error.startswith(name + " ")


# --- what is no D-Bus


NOT_DBUS = [
    pytest.param(b"X" + HELLO[1:], id="an unknown byte order"),
    pytest.param(message(2, [], version=2), id="another version of the protocol"),
    pytest.param(message(0, []), id="the invalid type 0"),
    pytest.param(message(2, [], serial=0), id="no serial"),
    pytest.param(answer(3, "s", strings("x"))[:4] + b"\xff\xff\xff\x7f" + b"\0" * 60, id="a body of 2 GiB"),
    pytest.param(b"l\2\0\1\0\0\0\0\1\0\0\0\xff\xff\xff\xff" + b"\0" * 60, id="header fields of 4 GiB"),
    pytest.param(b"l\2\0\1\0\0\1\0\1\0\0\0\0\0\0\0", id="a body over the cap"),
    pytest.param(answer(3, "b", struct.pack("<I", 2)), id="a boolean that is neither"),
    pytest.param(answer(3, "b", struct.pack("<I", 1) * 2), id="a body longer than its signature"),
    pytest.param(answer(3, "", b"\1"), id="a body without signature"),
    pytest.param(answer(3, "b", b"\1\0"), id="a body shorter than its signature"),
    pytest.param(answer(3, "s", b"\x05\0\0\0ab\0"), id="a string beyond the end"),
    pytest.param(answer(3, "s", b"\xff\xff\xff\xffab\0"), id="a string of 4 GiB"),
    pytest.param(answer(3, "s", b"\2\0\0\0abc"), id="a string without its NUL"),
    pytest.param(answer(3, "s", b"\3\0\0\0a\0b\0"), id="a string with a NUL inside"),
    pytest.param(answer(3, "s", b"\2\0\0\0\xc3(\0"), id="a string that is not UTF-8"),
    pytest.param(answer(3, "Q", b"\0" * 8), id="an unknown type"),
    pytest.param(answer(3, "a", b"\0" * 4), id="an array of nothing"),
    pytest.param(answer(3, "v", b"\1y\0\7"), id="a variant, which the bus sends us nowhere"),
    pytest.param(answer(3, "(" * 100 + "y" + ")" * 100, b"\0" * 4), id="structs nested 100 deep"),
    pytest.param(
        b"l\2\0\1\0\0\0\0\1\0\0\0\6\0\0\0\5\1u\0\0\0\0\0", id="header fields that end inside a field"
    ),
    pytest.param(message(2, [(7, "s", BUS)]), id="a reply to nothing"),
    pytest.param(message(3, [(7, "s", BUS), (5, "u", 3)]), id="an error without a name"),
    pytest.param(message(2, [(7, "u", 5), (5, "u", 3)]), id="a number as sender"),
    pytest.param(message(2, [(7, "s", BUS), (5, "s", "3")]), id="a text as reply serial"),
    pytest.param(owner_changed("org.example.One", ""), id="a change of owner with two names"),
]


@pytest.mark.parametrize("data", NOT_DBUS)
def test_what_is_not_dbus_is_a_protocol_error(data):
    with pytest.raises(dbus.ProtocolError):
        opened().feed(data)


@pytest.mark.parametrize("data", NOT_DBUS)
def test_it_is_one_byte_by_byte_too(data):
    connection = opened()
    with pytest.raises(dbus.ProtocolError):
        for at in range(len(data)):
            connection.feed(data[at : at + 1])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"REJECTED EXTERNAL DBUS_COOKIE_SHA1\r\n", id="refused"),
        pytest.param(b"ERROR\r\n", id="an error"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="something else"),
        pytest.param(b"DATA\r\nDATA\r\n", id="asked twice"),
        pytest.param(b"OK" + b"x" * 2000, id="a line without end"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"", id="the end"),
    ],
)
def test_a_bus_that_does_not_let_us_in_is_a_protocol_error(data):
    with pytest.raises(dbus.ProtocolError):
        dbus.Connection().feed(data)


def test_whatever_comes_is_events_or_a_protocol_error(rounds):
    source = random.Random(20261124)
    pieces = [HELLO, NAME_ACQUIRED, MATCH_ADDED, NO_OWNER, owner_changed("a.b", ":1.1", "")]
    pieces += [parameter.values[0] for parameter in NOT_DBUS]
    for _ in range(rounds(6000)):
        data = bytearray(b"".join(source.choices(pieces, k=3)))
        for _ in range(source.randint(1, 6)):
            at = source.randrange(len(data))
            if source.random() < 0.3:
                del data[at : at + source.randint(1, 9)]
            else:
                data[at] = source.choice((0, 1, 2, 0x7F, 0x80, 0xFF, source.randrange(256)))
        connection = opened() if source.random() < 0.8 else dbus.Connection()
        try:
            for event in connection.feed(bytes(data) or b"\0"):
                assert isinstance(event, (dbus.Answer, dbus.OwnerChanged))
        except dbus.ProtocolError:
            pass


def test_what_is_kept_of_an_unfinished_message_is_bounded():
    connection = opened()
    connection.feed(b"l\2\0\1\0\xf0\0\0\1\0\0\0\0\0\0\0")
    with pytest.raises(dbus.ProtocolError):
        for _ in range(100):
            connection.feed(b"\0" * 1024)


# --- addresses


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        pytest.param("unix:path=/run/user/1000/bus", [b"/run/user/1000/bus"], id="a path"),
        pytest.param("unix:abstract=/tmp/dbus-x,guid=00ff", [b"\0/tmp/dbus-x"], id="an abstract name"),
        pytest.param("unix:guid=00ff,path=/a", [b"/a"], id="keys in any order"),
        pytest.param("unix:path=/a;unix:path=/b;", [b"/a", b"/b"], id="a list"),
        pytest.param("unix:path=/with%20space%2c%3B%c3%a4", [b"/with space,;\xc3\xa4"], id="escapes"),
        pytest.param("unix:path=/\udcff\u00e4", [b"/\xff\xc3\xa4"], id="bytes as the environment gives them"),
        pytest.param("tcp:host=192.0.2.1,port=1;unix:path=/a", ["tcp", b"/a"], id="another transport first"),
        pytest.param("unix:tmpdir=/tmp", ["unix"], id="an address to listen on"),
        pytest.param("autolaunch:", ["autolaunch"], id="no keys"),
    ],
)
def test_addresses_are_read_as_the_specification_has_them(text, addresses):
    assert dbus.parse_addresses(text) == addresses


@pytest.mark.parametrize(
    "text",
    ["", ";", "/run/bus", ":path=/a", "unix:path", "unix:path=", "unix:path=/a,path=/b", "unix:path=/a,,",
     "unix:=x", "unix:path=/a%", "unix:path=/a%2", "unix:path=/%zz", "unix:path=/%+1", "unix:path=/a%00b",
     "unix:path=/a,abstract=b"],
)  # fmt: skip
def test_a_text_that_is_no_address_is_a_protocol_error(text):
    with pytest.raises(dbus.ProtocolError):
        dbus.parse_addresses(text)


def test_any_text_is_addresses_or_a_protocol_error(rounds):
    source = random.Random(7)
    pieces = ["unix:", "path=", "abstract=", "%", "2f", ",", ";", "=", ":", "/a", "\udc80", "x"]
    for _ in range(rounds(3000)):
        text = "".join(source.choices(pieces, k=9))
        try:
            assert all(isinstance(address, (bytes, str)) for address in dbus.parse_addresses(text))
        except dbus.ProtocolError:
            pass
