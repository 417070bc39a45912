"""NFLOG bytes: recorded, made up, broken; and the quick way against the clear one.

The invariant: whatever the bytes, `parse` returns a Batch; it raises nothing, reads nothing twice
and says exactly what the clear way says.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_clearance.formats import nflog
from simple_clearance.formats.ipheader import Malformed, destination

SAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "samples")
BLOCKED = b"TEROK_SHIELD_BLOCKED: "


def samples(name):
    with open(os.path.join(SAMPLES, name)) as file:
        return [bytes.fromhex(datagram) for datagram in json.load(file)["datagrams"]]


# --- making messages


def attribute(kind, value, length=None):
    length = 4 + len(value) if length is None else length
    return struct.pack("=HH", length, kind) + value + bytes(-len(value) % 4)


def message(payload, prefix=BLOCKED, uid=1000, number=0, extra=b"", length=None, kind=0x400, family=0):
    """One packet; `family` is that of its first byte unless it is said."""
    family = family or {4: socket.AF_INET, 6: socket.AF_INET6}.get(payload[0] >> 4 if payload else 4, 2)
    body = struct.pack(">BBH", family, 0, 100) + attribute(1, b"\x08\0\x03\0")
    if prefix is not None:
        body += attribute(10, prefix + b"\0")
    body += attribute(5, b"\0\0\0\x02")
    if uid is not None:
        body += attribute(11, struct.pack(">I", uid)) + attribute(14, struct.pack(">I", uid))
    if number is not None:
        body += attribute(12, struct.pack(">I", number & 0xFFFFFFFF))
    body += extra
    if payload is not None:
        body += attribute(9, payload)
    return struct.pack("=IHHII", 16 + len(body) if length is None else length, kind, 0, 0, 0) + body


DONE = struct.pack("=IHHII", 20, 3, 0, 0, 0) + bytes(4)


def transport(port, proto=17):
    return (
        struct.pack(">HHHH", 40000, port, 9, 0)
        if proto != 6
        else struct.pack(">HHIIBBHHH", 40000, port, 1, 0, 80, 2, 0, 0, 0)
    )


def ipv4(dest="198.51.100.7", port=443, proto=17, offset=0, options=b"", rest=None):
    rest = transport(port, proto) if rest is None else rest
    size = 20 + len(options)
    header = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(rest), 7, offset, 64, proto, 0)
    return header + socket.inet_aton("192.0.2.1") + socket.inet_aton(dest) + options + rest


def ipv6(dest="2001:db8::7", following=17, rest=None):
    rest = transport(443) if rest is None else rest
    header = struct.pack(">IHBB", 6 << 28, len(rest), following, 64)
    source = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    return header + source + socket.inet_pton(socket.AF_INET6, dest) + rest


def walked(data):
    """The clear way alone."""
    batch = nflog.Batch()
    assert nflog._walk(batch, data, 0, len(data)) <= len(data) + 3
    return batch


def told(payload):
    """Protocol and port that are shown for this packet."""
    ((_, proto, port, _),) = nflog.parse(message(payload)).groups
    return proto, port


# --- recorded ones


def test_recorded_datagrams_say_what_was_sent():
    expected = [
        ("blocked", 6, 443, "198.51.100.1"),
        ("blocked", 17, 53, "203.0.113.9"),
        ("blocked", 6, 8443, "2001:db8:5::5"),
        ("blocked", 17, 53, "2001:db8:5::6"),
        ("private", 6, 80, "10.1.2.3"),
        ("allowed", 6, 443, "203.0.113.77"),
        ("private", 6, 80, "fd00::99"),
        ("denied", 6, 22, "198.51.100.201"),
    ]
    for name in ("nflog-single.json", "nflog-batched.json"):
        seen = []
        for datagram in samples(name):
            batch = nflog.parse(datagram)
            assert batch.broken == 0
            for (kind, proto, port, uid), counts in batch.groups.items():
                assert uid == 0
                for dest, count in counts.items():
                    family = socket.AF_INET if len(dest) == 4 else socket.AF_INET6
                    seen += [(kind, proto, port, socket.inet_ntop(family, dest))] * count
        assert sorted(map(str, seen)) == sorted(map(str, expected))


def test_the_request_binds_the_group_with_all_settings_at_once():
    request = nflog.bind_request()
    length, kind, flags, sequence, port = struct.unpack_from("=IHHII", request)
    assert (length, kind, flags, sequence, port) == (len(request), 0x401, 5, 1, 0)
    assert request[16:20] == bytes((0, 0, 0, 100))
    found = {kind: request[start:end] for kind, (start, end) in nflog._attributes(request, 0, length).items()}
    assert found == {
        1: b"\x01",
        2: struct.pack(">IBB", 128, 2, 0),
        3: struct.pack(">I", 65536),
        4: bytes(4),
        5: struct.pack(">I", 100000),
        6: b"\0\x01",
    }


@pytest.mark.parametrize(
    "datagram, expected",
    [
        pytest.param(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, 0) + bytes(16), 0, id="acknowledged"),
        pytest.param(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -1) + bytes(16), 1, id="refused with EPERM"),
        pytest.param(struct.pack("=IHHII", 16, 2, 0, 1, 0), None, id="no room for an errno"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(message(ipv4()), None, id="a packet"),
    ],
)
def test_an_acknowledgement_is_told_from_everything_else(datagram, expected):
    assert nflog.acknowledged(datagram) == expected


# --- headers that the container chooses


def extension(following, size=8, second=0, fourth=0):
    return bytes((following, size // 8 - 1, second, fourth)) + bytes(size - 4)


FRAGMENT = struct.Struct(">BBHI")


@pytest.mark.parametrize(
    "payload, expected",
    [
        pytest.param(ipv4(), (17, 443), id="udp"),
        pytest.param(ipv4(proto=6), (6, 443), id="tcp"),
        pytest.param(ipv4(proto=132), (132, 443), id="sctp"),
        pytest.param(ipv4(proto=33), (33, 443), id="dccp"),
        pytest.param(ipv4(proto=136), (136, 443), id="udplite"),
        pytest.param(ipv4(port=0), (17, 0), id="port 0 is a port"),
        pytest.param(ipv4(proto=1), (1, None), id="icmp has no port"),
        pytest.param(ipv4(proto=47), (47, None), id="gre has no port"),
        pytest.param(ipv4(offset=0x4000), (17, 443), id="don't fragment"),
        pytest.param(ipv4(offset=0x2000), (17, 443), id="first fragment"),
        pytest.param(ipv4(offset=0x2001), (17, None), id="later fragment"),
        pytest.param(ipv4(rest=b"\x9c\x40\x01"), (17, None), id="half a port"),
        pytest.param(ipv4(rest=b""), (17, None), id="header alone"),
        pytest.param(ipv4(options=b"\x01" * 40), (17, 443), id="40 bytes of options"),
        pytest.param(ipv4(options=b"\x94\x04\0\0"), (17, 443), id="router alert"),
        pytest.param(ipv4(options=b"\x83\x07\x04\xcb\0\x71\x09\0"), (17, None), id="loose source route"),
        pytest.param(ipv4(options=b"\x01\x89\x07\x04\xcb\0\x71\x09"), (17, None), id="strict source route"),
        pytest.param(ipv4(options=b"\x94\x00\0\0"), (17, None), id="option of no length"),
        pytest.param(ipv6(), (17, 443), id="udp over ipv6"),
        pytest.param(ipv6(following=59, rest=b""), (59, None), id="no next header"),
        pytest.param(ipv6(following=50), (50, None), id="esp hides the rest"),
        pytest.param(ipv6(following=0, rest=extension(17) + transport(443)), (17, 443), id="hop by hop"),
        pytest.param(
            ipv6(following=0, rest=extension(60) + extension(17, 24) + transport(443)),
            (17, 443),
            id="hop by hop, destination options",
        ),
        pytest.param(
            ipv6(following=43, rest=extension(17, 24, second=2, fourth=0) + transport(443)),
            (17, 443),
            id="routing header, arrived",
        ),
        pytest.param(
            ipv6(following=43, rest=extension(17, 24, second=0, fourth=1) + transport(443)),
            (17, None),
            id="routing header, on its way elsewhere",
        ),
        pytest.param(
            ipv6(following=43, rest=extension(43, 24, 4, 1) + extension(17, 24, 4, 0) + transport(443)),
            (17, None),
            id="two routing headers, the first one on its way",
        ),
        pytest.param(
            ipv6(following=44, rest=FRAGMENT.pack(17, 0, 1, 9) + transport(443)),
            (17, 443),
            id="first fragment 6",
        ),
        pytest.param(
            ipv6(following=44, rest=FRAGMENT.pack(17, 0, 8, 9) + transport(443)),
            (17, None),
            id="later fragment 6",
        ),
        pytest.param(
            ipv6(following=44, rest=FRAGMENT.pack(60, 0, 8, 9) + transport(443)),
            (None, None),
            id="later fragment of who knows what",
        ),
        pytest.param(
            ipv6(following=51, rest=bytes((17, 4)) + bytes(22) + transport(443)), (17, 443), id="ah, 24 bytes"
        ),
        pytest.param(
            ipv6(following=0, rest=extension(17, 128)), (17, None), id="ports beyond what was copied"
        ),
        pytest.param(
            ipv6(following=0, rest=extension(60, 128)), (None, None), id="protocol beyond what was copied"
        ),
        pytest.param(
            ipv6(following=60, rest=extension(60) * 7 + extension(17) + transport(443)),
            (None, None),
            id="more extension headers than anyone needs",
        ),
        pytest.param(ipv6(following=0, rest=b"\x11"), (None, None), id="a byte of an extension header"),
    ],
)
def test_a_port_is_told_only_where_it_is_certain(payload, expected):
    assert told(payload) == expected


def test_the_address_is_the_one_that_the_rules_matched():
    inner = extension(17, 24, second=0, fourth=1)[:8] + socket.inet_pton(socket.AF_INET6, "2001:db8::bad")
    batch = nflog.parse(message(ipv6("2001:db8::7", 43, inner + transport(443))))
    assert [list(counts) for counts in batch.groups.values()] == [
        [socket.inet_pton(socket.AF_INET6, "2001:db8::7")]
    ]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(ipv4("224.0.0.251", 5353), id="multicast"),
        pytest.param(ipv4("239.255.255.250", 1900), id="organisation's multicast"),
        pytest.param(ipv4("255.255.255.255", 67), id="broadcast"),
        pytest.param(ipv6("ff02::fb"), id="ipv6 multicast"),
        pytest.param(ipv6("ff02::16", 0, extension(58) + b"\x8f" + bytes(7)), id="mld report"),
        pytest.param(ipv6("2001:db8::7", 58, b"\x87" + bytes(23)), id="unicast neighbour solicitation"),
        pytest.param(ipv6("::ffff:198.51.100.7"), id="ipv4 as ipv6"),
    ],
)
def test_what_nobody_can_decide_about_is_not_asked(payload):
    for prefix in (BLOCKED, b"TEROK_SHIELD_PRIVATE: "):
        ((kind, *_),) = nflog.parse(message(payload, prefix)).groups
        assert kind == "multicast"


@pytest.mark.parametrize(
    "payload", [ipv4("223.255.255.255"), ipv4("240.0.0.1"), ipv6("2001:db8::7", 58, b"\x80" + bytes(7))]
)
def test_everything_else_is_asked(payload):
    ((kind, *_),) = nflog.parse(message(payload)).groups
    assert kind == "blocked"


@pytest.mark.parametrize(
    "prefix, kind",
    [
        (b"TEROK_SHIELD_BLOCKED: ", "blocked"),
        (b"TEROK_SHIELD_PRIVATE: ", "private"),
        (b"TEROK_SHIELD_DENIED: ", "denied"),
        (b"TEROK_SHIELD_ALLOWED: ", "allowed"),
        (b"TEROK_SHIELD_BYPASS: ", "bypass"),
        (b"TEROK_SHIELD_BLOCKED:", None),
        (b"TEROK_SHIELD_BLOCKED: x", None),
        (b"xTEROK_SHIELD_BLOCKED: ", None),
        (b"something else", None),
        (b"", None),
        (None, None),
    ],
)
def test_only_the_shields_own_prefixes_count(prefix, kind):
    batch = nflog.parse(message(ipv4(), prefix))
    assert (batch.logged, batch.broken) == (1, 0)
    assert [key[0] for key in batch.groups] == ([kind] if kind else [])


# --- broken ones


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(message(ipv4(), length=15), id="message shorter than its header"),
        pytest.param(message(ipv4(), length=0), id="message of no length"),
        pytest.param(message(ipv4(), length=4096), id="message longer than the datagram"),
        pytest.param(message(ipv4(), length=0xFFFFFFFF), id="message longer than everything"),
        pytest.param(message(ipv4())[:18], id="cut in its second header"),
        pytest.param(struct.pack("=IHHII", 16, 0x400, 0, 0, 0), id="no second header"),
        pytest.param(message(ipv4(), extra=attribute(20, b"", 3)), id="attribute shorter than its header"),
        pytest.param(message(ipv4(), extra=attribute(20, b"", 0)), id="attribute of no length"),
        pytest.param(message(ipv4(), extra=attribute(20, b"", 4096)), id="attribute longer than the message"),
        pytest.param(message(None), id="no payload"),
        pytest.param(message(b""), id="empty payload"),
        pytest.param(message(b"\x45"), id="a byte of IPv4"),
        pytest.param(message(ipv4()[:19]), id="19 bytes of IPv4"),
        pytest.param(message(b"\x44" + ipv4()[1:]), id="IPv4 header of 16 bytes"),
        pytest.param(message(b"\x4f" + ipv4()[1:]), id="IPv4 header longer than the packet"),
        pytest.param(message(ipv6()[:39]), id="39 bytes of IPv6"),
        pytest.param(message(b"\x55" + ipv4()[1:]), id="IP version 5"),
        pytest.param(message(ipv4(), uid=None, extra=attribute(11, b"\0\0")), id="uid of 2 bytes"),
        pytest.param(message(ipv4(), number=None, extra=attribute(12, b"\0" * 8)), id="number of 8 bytes"),
    ],
)
def test_a_broken_message_is_counted(datagram):
    batch = nflog.parse(datagram)
    assert batch.broken == 1
    assert batch.groups == {}


def test_a_broken_message_does_not_hide_its_neighbours():
    good = message(ipv4(), number=1)
    batch = nflog.parse(good + message(b"\x45") + good + message(ipv4(), extra=attribute(20, b"", 2)) + good)
    assert (batch.logged, batch.broken) == (5, 2)
    assert list(batch.groups.values()) == [{socket.inet_aton("198.51.100.7"): 3}]


def test_a_flood_of_broken_messages_is_counted():
    odd = message(ipv4(), number=None, extra=attribute(12, bytes(8)))
    batch = nflog.parse(odd * 20)
    assert (batch.logged, batch.broken, batch.groups) == (20, 20, {})


def test_other_messages_are_passed_over():
    batch = nflog.parse(message(ipv4(), kind=0x401) + message(ipv4(), kind=1) + message(ipv4()) + DONE)
    assert (batch.logged, batch.broken) == (1, 0)


def test_a_uid_and_a_number_may_be_missing():
    batch = nflog.parse(message(ipv4(), uid=None, number=None))
    assert list(batch.groups) == [("blocked", 17, 443, None)]
    assert batch.last is None


@given(st.binary(max_size=200), st.sampled_from([socket.AF_INET, socket.AF_INET6, 0, 7]))
def test_any_bytes_are_a_header_or_malformed(data, family):
    try:
        dest, proto, port, _ = destination(data, 0, len(data), family)
    except Malformed:
        return
    assert len(dest) == {socket.AF_INET: 4, socket.AF_INET6: 16}[family]
    assert proto is None or 0 <= proto <= 255
    assert port is None or (proto is not None and 0 <= port <= 65535)


@pytest.mark.parametrize(
    "payload, family",
    [
        pytest.param(ipv4(), socket.AF_INET6, id="IPv4 in IPv6"),
        pytest.param(ipv6(), socket.AF_INET, id="IPv6 in IPv4"),
        pytest.param(b"\x00" + ipv4()[1:], socket.AF_INET, id="no version at all"),
        pytest.param(ipv4(), 7, id="a bridge's"),  # linux/socket.h: AF_BRIDGE
    ],
)
@pytest.mark.parametrize("prefix", nflog.KINDS)
@pytest.mark.parametrize("times", [1, 100])
def test_a_version_that_is_not_its_familys_is_never_believed(payload, family, prefix, times):
    batch = nflog.parse(message(payload, prefix, family=family) * times)
    assert (batch.logged, batch.broken, batch.groups) == (times, times, {})


def tcp(flags, cut=None):
    return struct.pack(">HHIIBBHHH", 40000, 443, 1, 0, 80, flags, 0, 0, 0)[:cut]


@pytest.mark.parametrize(
    "payload", [lambda rest: ipv4(proto=6, rest=rest), lambda rest: ipv6("2001:db8::7", 6, rest)]
)
@pytest.mark.parametrize(
    "rest, kind",
    [
        pytest.param(tcp(0x02), "blocked", id="SYN"),
        pytest.param(tcp(0xC2), "blocked", id="SYN with ECN"),
        pytest.param(tcp(0x10), nflog.MULTICAST, id="ACK"),
        pytest.param(tcp(0x11), nflog.MULTICAST, id="FIN"),
        pytest.param(tcp(0x04), nflog.MULTICAST, id="RST"),
        pytest.param(tcp(0x12), nflog.MULTICAST, id="an answer"),
        pytest.param(tcp(0x00), nflog.MULTICAST, id="nothing"),
        pytest.param(tcp(0x10, cut=13), "blocked", id="cut before the flags"),
        pytest.param(tcp(0x02, cut=14), "blocked", id="cut behind them"),
    ],
)
def test_what_begins_no_connection_is_not_asked(payload, rest, kind):
    data = message(payload(rest)) * 20
    assert [key[0] for key in nflog.parse(data).groups] == [kind]
    data = message(payload(tcp(0x02))) * 20 + data + message(payload(tcp(0x02))) * 20
    assert nflog.parse(data) == walked(data)


# --- numbers


def numbered(*numbers):
    return nflog.parse(b"".join(message(ipv4(), number=number) for number in numbers))


def test_a_gap_in_the_numbers_is_what_was_lost():
    sequence = nflog.Sequence()
    assert [sequence.missing(numbered(*numbers)) for numbers in ([0, 1], [2], [5, 6], [7, 9], [10])] == [
        0,
        0,
        2,
        1,
        0,
    ]


def test_what_was_lost_before_the_first_packet_is_counted():
    assert nflog.Sequence().missing(numbered(41)) == 41


def test_numbers_start_again_after_32_bits():
    sequence = nflog.Sequence()
    sequence.missing(numbered(0))
    sequence._next = 0xFFFFFFFE
    assert sequence.missing(numbered(0xFFFFFFFE, 0xFFFFFFFF, 0, 1)) == 0
    assert sequence.missing(numbered(3)) == 1


def test_without_numbers_nothing_is_known_to_be_lost():
    assert nflog.Sequence().missing(nflog.parse(message(ipv4(), number=None))) == 0


# --- the quick way says what the clear way says


def a_packet(random):
    """One of few packets, so that neighbours are often alike."""
    dest = random.choice(["198.51.100.7", "198.51.100.8", "224.0.0.1", "0.0.0.0", "203.0.113.9"])
    six = random.choice(["2001:db8::7", "2001:db8::8", "ff02::1", "::ffff:1.2.3.4"])
    port, proto = random.choice([443, 443, 443, 80]), random.choice([6, 17, 17, 1])
    payload = random.choice(
        [
            lambda: ipv4(dest, port, proto),
            lambda: ipv4(dest, port, proto),
            lambda: ipv4(dest, port, proto, offset=random.choice([0, 0x4000, 0x2001])),
            lambda: ipv4(dest, port, proto, options=random.choice([b"\x01" * 4, b"\x83\x03\x04\0"])),
            lambda: ipv6(six, 17),
            lambda: ipv6(six, random.choice([17, 58]), transport(port)),
            lambda: ipv6(six, 0, extension(17) + transport(port)),
        ]
    )()
    return {
        "payload": payload,
        "prefix": random.choice(
            [*list(nflog.KINDS)[:2], BLOCKED, BLOCKED, BLOCKED, b"TEROK_SHIELD_QUARREL:"]
        ),
        "uid": random.choice([0, 1000, 1000, 1000, None]),
    }


def a_datagram(random):
    packets = []
    for _ in range(random.randrange(1, 8)):
        packet = a_packet(random)
        varied = random.random() < 0.5
        for _ in range(random.choice([1, 2, 9, 60])):
            if varied:
                changed = bytearray(packet["payload"])
                changed[random.randrange(len(changed))] = random.randrange(256)
                packet = dict(packet, payload=bytes(changed))
            packets.append(packet)
    if random.random() < 0.3:
        random.shuffle(packets)
    data, number = b"", random.choice([0, 1, 0xFFFFFFF0])
    for packet in packets:
        number += random.choice([1, 1, 1, 2])
        data += message(number=number, **packet)
    return data + random.choice([b"", DONE])


def test_the_quick_way_says_what_the_clear_way_says(rounds):
    chance = random.Random(1)
    quick = 0
    for _ in range(rounds(1500)):
        datagram = a_datagram(chance)
        assert nflog.parse(datagram) == walked(datagram)
        quick += nflog._run(nflog.Batch(), datagram, 0) > 0
    assert quick >= rounds(100)  # else this would show nothing


def test_the_two_ways_agree_on_mutilated_datagrams(rounds):
    chance = random.Random(2)
    for _ in range(rounds(3000)):
        datagram = bytearray(a_datagram(chance))
        for _ in range(chance.choice([1, 1, 2, 20])):
            datagram[chance.randrange(len(datagram))] = chance.choice(
                [0, 1, 4, 16, 255, chance.randrange(256)]
            )
        cut = bytes(datagram[: chance.choice([len(datagram), chance.randrange(len(datagram))])])
        quick, clear = nflog.parse(cut), walked(cut)
        quick.last = clear.last = None  # a mutilated number is in no order
        assert quick == clear


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_are_a_batch(data, times):
    batch = nflog.parse(data * times)
    assert batch.broken <= batch.logged + 1


@pytest.mark.parametrize("count", [8, 9, 100, 500])
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(lambda i: ipv4(), id="one destination"),
        pytest.param(lambda i: ipv4("203.0.113.%d" % (i % 250)), id="many destinations"),
        pytest.param(lambda i: ipv6("2001:db8::%x" % i), id="many of ipv6"),
        pytest.param(lambda i: ipv4(port=443 if i % 20 else 80), id="another port now and then"),
        pytest.param(lambda i: ipv4(proto=6 if i % 3 else 17), id="two sizes in turn"),
        pytest.param(lambda i: ipv4("224.0.0.1" if i == 5 else "192.0.2.1"), id="multicast in between"),
        pytest.param(
            lambda i: ipv6("::ffff:1.2.3.4" if i == 5 else "2001:db8::1"), id="ipv4 as ipv6 in between"
        ),
    ],
)
def test_a_flood_is_counted_whole(payload, count):
    datagram = b"".join(message(payload(i), number=i) for i in range(count)) + DONE
    batch = nflog.parse(datagram)
    assert batch == walked(datagram)
    assert (batch.logged, batch.broken, batch.last) == (count, 0, count - 1)
    assert sum(sum(counts.values()) for counts in batch.groups.values()) == count
