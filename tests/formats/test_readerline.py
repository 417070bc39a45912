"""A reader's lines: whole at every split, and values or one error out of whatever they hold."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_clearance.base.happenings import KINDS, Event, Exited, Held, Lost, Started
from simple_clearance.base.jsonlines import LINE_LIMIT, BadLine, Lines, encode, parse_object
from simple_clearance.formats.readerline import COUNT_LIMIT, LOST_WHERE, PID_LIMIT, parse

PENDING = {
    "type": "pending",
    "container": "c1",
    "id": "c1:1",
    "dest": "198.51.100.0",
    "port": 443,
    "proto": 6,
    "domain": "",
    "dossier": {},
    "ts": "2026-11-24T22:19:16.123+00:00",
}  # as terok-shield's own reader writes it
OURS = {**PENDING, "class": "default", "uid": 1000}
REAL = [
    {"type": "container_started", "container": "c1"},
    {"type": "held", "container": "c1", "pid": 4242},
    PENDING,
    OURS,
    {**OURS, "dest": "2001:db8::1", "port": None, "proto": 58, "uid": None, "class": "private"},
    {
        "type": "again",
        "of": "pending",
        "class": "default",
        "container": "c1",
        "id": "c1:1",
        "dest": "198.51.100.0",
        "port": 443,
        "proto": 6,
        "count": 7,
        "ts": "2026-11-24T22:19:17.123+00:00",
    },
    {
        "type": "denied",
        "container": "c1",
        "id": "c1:2",
        "dest": "192.0.2.9",
        "port": 53,
        "proto": 17,
        "uid": 0,
        "ts": "",
    },
    {"type": "lost", "container": "c1", "count": 12, "where": "kernel"},
    {"type": "container_exited", "container": "c1", "reason": "poststop"},
]


def line(**changes):
    return json.dumps({**OURS, **changes}).encode()


# --- lines


def cut(data, rng):
    """`data` in random pieces."""
    at = 0
    while at < len(data):
        size = rng.choice([1, 1, 2, 3, 5, 8, 40, 200])
        yield data[at : at + size]
        at += size


def test_lines_come_out_the_same_at_every_split():
    data = b"".join(json.dumps(one).encode() + b"\n" for one in REAL[:4]) + b"half"
    whole = data.split(b"\n")[:-1]
    for at in range(len(data) + 1):
        lines = Lines()
        assert lines.feed(data[:at]) + lines.feed(data[at:]) == whole
        assert (lines.finish(), lines.dropped) == (True, 1)


def test_lines_come_out_the_same_byte_by_byte():
    data = b"one\n\ntwo\r\n\nthree\n"
    lines = Lines()
    assert [found for at in range(len(data)) for found in lines.feed(data[at : at + 1])] == data.split(b"\n")[
        :-1
    ]
    assert (lines.finish(), lines.dropped) == (False, 0)


@pytest.mark.parametrize(
    "length, kept", [(15, True), (16, True), (17, False), (18, False), (31, False), (33, False)]
)
def test_a_line_that_is_too_long_is_dropped_wherever_it_is_cut(length, kept):
    data = b"a\n" + b"x" * length + b"\nb\nc"
    expected = [b"a", *([b"x" * length] if kept else []), b"b"]
    for first in range(len(data) + 1):
        for second in (first, first + 1, first + 7, len(data)):
            lines = Lines(16)
            found = lines.feed(data[:first]) + lines.feed(data[first:second]) + lines.feed(data[second:])
            assert found == expected
            assert lines.dropped == (not kept)


@pytest.mark.parametrize("proto, port", [(1, None), (58, None), (6, 0), (17, 0)])
def test_port_0_is_none_where_the_protocol_has_no_ports(proto, port):
    event = parse(line(port=0, proto=proto))
    assert (event.port, event.proto) == (port, proto)


@pytest.mark.parametrize("seed", range(20))
def test_random_streams_in_random_pieces_lose_only_what_is_too_long(seed):
    rng = random.Random(seed)
    whole = [
        bytes(rng.choices(b"ab\r {", k=rng.choice([0, 1, 5, 63, 64, 65, 66, 130, 1000]))) for _ in range(60)
    ]
    lines = Lines(64)
    data = b"\n".join(whole) + b"\n"
    assert [found for piece in cut(data, rng) for found in lines.feed(piece)] == [
        one for one in whole if len(one) <= 64
    ]
    assert lines.dropped == sum(len(one) > 64 for one in whole)
    assert not lines.finish()


def test_a_stream_without_newlines_keeps_no_more_than_a_line():
    lines = Lines(1000)
    for _ in range(100):
        assert lines.feed(b"x" * 999) == []
        assert len(lines._tail) <= 1000
    assert lines.feed(b"\nok\n") == [b"ok"]
    assert lines.dropped == 1


def test_half_a_line_at_the_end_is_told_and_counted():
    lines = Lines()
    lines.feed(b'{"type":')
    assert lines.finish() and lines.dropped == 1
    assert not lines.finish()


# --- values


@pytest.mark.parametrize("fields", REAL)
def test_the_lines_of_real_readers_are_understood(fields):
    message = parse(json.dumps(fields).encode())
    others = {"container_started": Started, "held": Held, "container_exited": Exited, "lost": Lost}
    assert type(message) is others.get(fields["type"], Event)


def test_a_pending_line_has_all_of_it():
    event = parse(line())
    assert (event.kind, event.dest, event.port, event.proto) == ("pending", "198.51.100.0", 443, 6)
    assert (event.private, event.uid, event.count, event.reader_id) == (False, 1000, 1, "c1:1")
    assert event.ts == "2026-11-24T22:19:16.123+00:00"


@pytest.mark.parametrize("kind", KINDS)
def test_again_stands_for_so_many_packets_of_its_kind(kind):
    event = parse(json.dumps({**OURS, "type": "again", "of": kind, "count": 7}).encode())
    assert (event.kind, event.count) == (kind, 7)


def test_without_a_class_the_range_tells_what_is_private():
    assert parse(json.dumps({**PENDING, "dest": "10.1.2.3"}).encode()).private
    assert not parse(json.dumps({**PENDING, "dest": "192.0.2.1"}).encode()).private
    assert not parse(line(dest="10.1.2.3")).private, "what the shield logged is what counts"
    assert parse(line(**{"class": "private"})).private


@pytest.mark.parametrize("kind", ["pending", "allowed", "denied", "bypass", "multicast"])
@pytest.mark.parametrize("dest", ["::ffff:1.2.3.4", "::FFFF:102:304"])
def test_an_ipv4_address_written_as_ipv6_is_counted_like_multicast(kind, dest):
    event = parse(line(type=kind, dest=dest))
    assert (event.kind, event.dest, event.count) == ("multicast", "::ffff:102:304", 1)


def test_an_address_is_spelled_in_one_way_whatever_the_reader_wrote():
    assert parse(line(dest="2001:DB8:0:0:0:0:0:1")).dest == "2001:db8::1"


@pytest.mark.parametrize(
    "dest",
    [
        "",
        "0.0.0.0/0",
        "198.51.100.0/24",
        "::/0",
        "-h",
        "evil.example",
        "1.2.3.4 5.6.7.8",
        "198.51.100.0\n",
        "fe80::1%eth0",
        "1" * 100_000,
        None,
        3,
        True,
        ["198.51.100.0"],
        {"a": 1},
    ],
)
def test_what_is_not_one_plain_address_is_no_event(dest):
    with pytest.raises(BadLine):
        parse(line(dest=dest))


@pytest.mark.parametrize("name, most", [("port", 65535), ("proto", 255), ("uid", 0xFFFFFFFF)])
def test_numbers_are_whole_and_in_their_range_or_null(name, most):
    assert getattr(parse(line(**{name: 0})), name) == 0
    assert getattr(parse(line(**{name: most})), name) == most
    assert getattr(parse(line(**{name: None})), name) is None
    for bad in (-1, most + 1, 1.0, "443", True, [], {}, 10**400, float("inf"), float("nan")):
        with pytest.raises(BadLine):
            parse(line(**{name: bad}))


@pytest.mark.parametrize("pid", [0, -5, 1.5, None, "7", True, PID_LIMIT + 1])
def test_who_holds_the_packet_log_is_a_process(pid):
    with pytest.raises(BadLine):
        parse(json.dumps({"type": "held", "container": "c1", "pid": pid}).encode())


@pytest.mark.parametrize("count", [0, -5, 1.5, None, "7", True, COUNT_LIMIT + 1, 10**300])
def test_a_count_is_a_sensible_number(count):
    for kind in ("again", "lost"):
        with pytest.raises(BadLine):
            parse(json.dumps({**OURS, "type": kind, "count": count}).encode())


def test_loss_is_of_the_kernel_unless_the_line_knows_better():
    for where in LOST_WHERE:
        assert parse(b'{"type":"lost","count":3,"where":"%s"}' % where.encode()).where == where
    for where in ('"kernel"', '"elsewhere"', "null", "7"):
        lost = parse(b'{"type":"lost","count":3,"where":%s}' % where.encode())
        assert (lost.where, lost.count) == ("kernel", 3)


def test_types_from_the_future_are_ignored():
    assert parse(b'{"type":"weather","dest":7}') is None
    assert parse(b'{"type":"again","of":"weather","dest":7}') is None


def test_fields_from_the_future_are_ignored():
    assert parse(line(mood="fine", dossier={"x": ["y"]})).dest == "198.51.100.0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"null",
        b"7",
        b"[]",
        b'"pending"',
        b"{}",
        b'{"type":7}',
        b'{"type":null}',
        b'{"type":["pending"]}',
        b'{"type":{}}',
        b'{"type":"again","of":["pending"]}',
        b'{"type":"again","of":{}}',
        b"{",
        b"\xff\xfe",
        b"\x00" * 8,
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"1" * 60_000,
        b'{"type":"pending"}',
        b"Traceback (most recent call last):",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_nonsense_is_a_bad_line_or_nothing(data):
    try:
        assert parse(data) is None
    except BadLine:
        pass


def test_long_texts_are_not_kept():
    event = parse(line(id="x" * 1000, ts="y" * 1000))
    assert (event.reader_id, event.ts) == ("", "")
    assert parse(line(id=7, ts=7)).reader_id == ""
    assert parse(json.dumps({"type": "container_exited", "reason": {}}).encode()).reason == ""


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        kind = rng.randrange(4)
        at = rng.randrange(len(data) + 1)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(
                [b'"', b"{", b"}", b",", b"\\u0000", b"9" * 30, b"[", b"null", b"1e999", b"\xff"]
            )
        elif kind == 2:
            del data[at : at + rng.randrange(1, 9)]
        else:
            data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.randrange(20)]
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_lines_are_values_or_bad_lines_and_nothing_else(seed):
    """The invariant: a value whose address is plain and whose numbers are in range, None, or BadLine."""
    rng = random.Random(seed)
    sources = [json.dumps(one, separators=(",", ":")).encode() for one in REAL]
    for _ in range(3000):
        try:
            message = parse(mutated(rng.choice(sources), rng))
        except BadLine:
            continue
        check(message)


def check(message):
    if isinstance(message, Event):
        assert message.kind in KINDS
        assert set(message.dest) <= set("0123456789abcdef:.")
        assert message.port is None or 0 <= message.port <= 65535
        assert message.proto is None or 0 <= message.proto <= 255
        assert message.uid is None or 0 <= message.uid <= 0xFFFFFFFF
        assert 1 <= message.count <= COUNT_LIMIT
        assert isinstance(message.private, bool)
    elif isinstance(message, Lost):
        assert 1 <= message.count <= COUNT_LIMIT and message.where in LOST_WHERE
    elif isinstance(message, Exited):
        assert isinstance(message.reason, str)
    elif isinstance(message, Held):
        assert 1 <= message.pid <= PID_LIMIT
    else:
        assert message is None or isinstance(message, Started)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([*KINDS, "again", "lost", "held", "container_exited"]),
    st.dictionaries(
        st.sampled_from(
            ["of", "dest", "port", "proto", "uid", "count", "where", "class", "id", "ts", "reason", "pid"]
        ),
        JSON,
    ),
)
def test_any_values_in_known_fields_are_values_or_bad_lines(kind, fields):
    try:
        check(parse(json.dumps({**OURS, **fields, "type": kind}).encode()))
    except BadLine:
        pass


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_bad_line(data):
    try:
        assert isinstance(parse_object(data), dict)
    except BadLine:
        pass


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_what_is_written_is_one_line_of_printable_ascii_and_reads_back(fields):
    data = encode(fields)
    assert data.endswith(b"\n") and data.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    assert json.dumps(json.loads(data)) == json.dumps(fields)


def test_a_line_of_the_greatest_length_is_still_taken():
    padded = json.dumps({**OURS, "pad": ""})
    data = json.dumps({**OURS, "pad": "x" * (LINE_LIMIT - len(padded))}).encode()
    assert len(data) == LINE_LIMIT
    assert parse(Lines().feed(data + b"\n")[0]).dest == "198.51.100.0"
