"""Addresses against the standard `ipaddress`, names against what a hostile log can hold."""

from __future__ import annotations

import ipaddress
import random

import pytest

from simple_clearance.base import addresses

MUTATIONS = ["", ":", "::", ".", "0", "f", "g", "%", "-", " ", "\0", "\u00e9"]


def standard(text):
    """What the standard library makes of `text`, with our two exceptions."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text or (address.version == 6 and address.ipv4_mapped):
        return None
    return str(address)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("198.51.100.7", "198.51.100.7"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("::", "::"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ],
)
def test_an_address_has_one_spelling(text, expected):
    assert addresses.canonical(text) == expected
    assert addresses.unpacked(addresses.packed(text)) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("198.51.100.0/24", id="a network"),
        pytest.param("198.51.100.7:443", id="a port"),
        pytest.param("[2001:db8::1]", id="brackets"),
        pytest.param("fe80::1%eth0", id="a scope"),
        pytest.param("::ffff:198.51.100.7", id="IPv4 as IPv6"),
        pytest.param("::ffff:c633:6407", id="IPv4 as IPv6 in hexadecimal"),
        pytest.param("198.051.100.7", id="a leading zero"),
        pytest.param("198.51.100.256", id="an octet too large"),
        pytest.param("198.51.100", id="three octets"),
        pytest.param("3325256711", id="one number"),
        pytest.param("0xc6.51.100.7", id="hexadecimal octets"),
        pytest.param(" 198.51.100.7", id="a blank before"),
        pytest.param("198.51.100.7\n", id="a newline after"),
        pytest.param("\u0661.51.100.7", id="another script's digit"),
        pytest.param("2001:db8::+1", id="a sign"),
        pytest.param("2001:db8::1_0", id="an underscore"),
        pytest.param("1::2::3", id="two gaps"),
        pytest.param("1:2:3:4:5:6:7:8:9", id="nine groups"),
        pytest.param("1:2:3:4:5:6:7:8::", id="a gap for nothing"),
        pytest.param("12345::", id="five digits"),
        pytest.param(":1", id="half a gap before"),
        pytest.param("1:", id="half a gap after"),
        pytest.param("::1.2.3.4.5", id="five octets at the end"),
        pytest.param("::1.2.3.4:5", id="IPv4 not at the end"),
        pytest.param("-h", id="an option"),
        pytest.param("1" * 100000, id="very long"),
        pytest.param("1" * 100000 + ".1.1.1", id="a very long octet, which int() refuses"),
        pytest.param(":" * 100000, id="very long colons"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
        pytest.param(b"198.51.100.7", id="bytes"),
        pytest.param(["198.51.100.7"], id="a list"),
    ],
)
def test_what_is_not_one_plain_address_is_none(value):
    assert addresses.canonical(value) is None
    assert addresses.packed(value) is None


def test_random_addresses_read_as_the_standard_library_reads_them(rounds):
    pick = random.Random(1)
    for _ in range(rounds(4000)):
        raw = bytes(pick.choice((0, 0, 0, 1, 0xFF, pick.randrange(256))) for _ in range(pick.choice((4, 16))))
        address = ipaddress.ip_address(raw)
        if standard(str(address)):
            assert addresses.unpacked(raw) == str(address)
        for text in (str(address), address.exploded, str(address).upper()):
            assert addresses.canonical(text) == standard(text)


def test_mutated_addresses_are_canonical_or_none_and_nothing_is_raised(rounds):
    """Invariant: canonical(x) is None or a text that the standard library writes the same way."""
    pick = random.Random(2)
    seeds = ["198.51.100.7", "2001:db8:5:1234:5678:9abc:def0:1234", "fe80::1", "::", "::1.2.3.4", "1::8"]
    for _ in range(rounds(30000)):
        text = list(pick.choice(seeds))
        for _ in range(pick.randrange(1, 4)):
            at = pick.randrange(len(text) + 1)
            text[at : at + pick.randrange(2)] = pick.choice(MUTATIONS)
        text = "".join(text)
        found = addresses.canonical(text)
        assert found == standard(text), text


@pytest.mark.parametrize(
    "text, expected",
    [
        ("10.0.0.0", True), ("10.255.255.255", True), ("11.0.0.0", False), ("9.255.255.255", False),
        ("172.16.0.0", True), ("172.31.255.255", True), ("172.15.255.255", False), ("172.32.0.0", False),
        ("192.168.0.1", True), ("192.169.0.0", False), ("192.167.255.255", False),
        ("169.254.1.2", True), ("169.253.255.255", False),
        ("fc00::", True), ("fdff::1", True), ("fe00::", False), ("fb00::", False),
        ("fe80::1", True), ("febf::1", True), ("fec0::1", False),
        # private to Python, not to the shield
        ("192.0.2.1", False), ("198.51.100.1", False), ("203.0.113.1", False), ("127.0.0.1", False),
        ("2001:db8::1", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("nonsense", False),
    ],
)  # fmt: skip
def test_the_floor_is_the_shields_own_six_ranges(text, expected):
    assert addresses.is_floor(text) is expected


FLOOR = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 fc00::/7 fe80::/10"


def test_no_other_address_lies_in_them_whatever_its_first_two_bytes():
    networks = [ipaddress.ip_network(one) for one in FLOOR.split()]
    for size in (4, 16):
        mine = [one for one in networks if one.max_prefixlen == 8 * size]
        ranges = [(int(one[0]), int(one[-1])) for one in mine]
        for first in range(256):
            for second in (0, 15, 16, 31, 32, 127, 128, 167, 168, 169, 191, 192, 253, 254, 255):
                raw = bytes((first, second)) + b"\1" * (size - 2)
                number = int.from_bytes(raw, "big")
                is_inside = any(low <= number <= high for low, high in ranges)
                assert addresses.is_floor(addresses.unpacked(raw)) is is_inside, raw


@pytest.mark.parametrize(
    "text, expected",
    [
        ("224.0.0.0", True), ("239.255.255.255", True), ("240.0.0.0", False), ("223.255.255.255", False),
        ("255.255.255.255", True), ("255.255.255.254", False), ("ff02::2", True), ("fe80::2", False),
        ("2001:db8::1", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_multicast_and_broadcast_are_nobodys_decision(text, expected):
    assert addresses.is_undecidable(text) is expected


def test_the_hosts_loopback_and_metadata_services_say_what_allowing_opens():
    for loopback in ("169.254.1.2", "10.0.2.2", "fd00::2"):
        assert "every service on 127.0.0.1" in addresses.special(loopback)
    for metadata in METADATA:
        assert "metadata" in addresses.special(metadata)
    assert addresses.special("198.51.100.1") is None


METADATA = ["169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]


@pytest.mark.parametrize(
    "text, inner, words",
    [
        ("64:ff9b::a9fe:a9fe", "169.254.169.254", "metadata"),
        ("64:ff9b::a83f:8110", "168.63.129.16", "metadata"),
        ("64:ff9b::a9fe:102", "169.254.1.2", "every service on 127.0.0.1"),
        ("64:ff9b::a01:203", "10.1.2.3", "a private address"),
        ("64:ff9b::c0a8:1", "192.168.0.1", "a private address"),
        ("64:ff9b::c633:6401", "198.51.100.1", ""),
        ("64:ff9b::808", "0.0.8.8", ""),
        ("64:ff9b:1::a01:203", None, ""),
        ("64:ff9b::1:a01:203", None, ""),
        ("2001:db8::a01:203", None, ""),
        ("10.1.2.3", None, ""),
    ],
)
def test_what_a_nat64_leads_to_is_known_by_the_address_behind_it(text, inner, words):
    assert addresses.canonical(text) == text
    assert addresses.behind_nat64(text) == inner
    found = addresses.special(text)
    assert (found is not None and words in found and inner in found) if words else found is None


def test_ports_and_protocols_have_their_usual_names():
    assert addresses.service(443, 6) == "https"
    assert addresses.service(5432, 6) == "postgresql"
    assert addresses.service(123, 17) == "ntp"
    assert addresses.service(123, 6) is None
    assert addresses.service(443, None) is None
    assert addresses.service(None, 6) is None
    assert addresses.proto_name(6) == "tcp"
    assert addresses.proto_name(99) == "proto 99"
    assert addresses.proto_number("udp") == 17
    assert addresses.proto_number("nonsense") is None


@pytest.mark.parametrize(
    "text",
    [
        "example.com", "www.example.com", "WWW.Example.COM", "xn--bcher-kva.example", "a.b.c.d.example",
        "router", "example.xn--p1ai", "example.c0m", "api.k8s",
        "db.lan1", "db.1lan", "a.0xyz", "3.example", "a--b.example", "%s.example" % ("a" * 63),
        "a." * 125 + "com",
    ],
)  # fmt: skip
def test_a_host_name_may_be_shown(text):
    assert addresses.is_name(text)
    assert addresses.is_target_name(text) is ("." in text)


@pytest.mark.parametrize("text", ["_https._tcp.example", "under_score.example", "_._.example"])
def test_an_underscore_may_be_shown_but_not_be_a_target(text):
    assert addresses.is_name(text)
    assert not addresses.is_target_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.0x7f", "a.0X7F", "0x7f", "a.0x", "1.2.3.0xff",
        "", ".", "example.com.", ".example.com", "a..example", "-h", "--help", "-a.example", "a-.example",
        "@1.example", "a b.example", "198.51.100.7", "198.51.100", "2001:db8::1", "example.1",
        "cached github.com", "a/b.example", "a%2e.example", "*.example.com", "a\x1b[2J.example",
        "a\n.example", "b\u00fccher.example", "\u0430.example", "%s.example" % ("a" * 64), "a." * 126 + "com",
        "xn--", "example.xn--a_b", "q\"uote's`$(id).odd.example", "<name unprintable>", "example.com:443",
        "http://example.com",
    ],
)  # fmt: skip
def test_what_could_be_taken_for_something_else_is_no_name(text):
    assert not addresses.is_name(text)
    assert not addresses.is_target_name(text)


@pytest.mark.parametrize("text", ["localhost", "LOCALHOST", "a.localhost", "a.LocalHost", "router"])
def test_this_machines_own_names_are_no_targets(text):
    assert addresses.is_name(text)
    assert not addresses.is_target_name(text)


def test_a_name_that_may_be_shown_holds_only_harmless_characters(rounds):
    """Invariant: is_name(x) implies printable ASCII without a blank, a slash, a quote or a colon."""
    pick = random.Random(3)
    harmless = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    for _ in range(rounds(30000)):
        text = list(pick.choice(["www.example.com", "xn--bcher-kva.example", "_https._tcp.example"]))
        for _ in range(pick.randrange(1, 4)):
            at = pick.randrange(len(text) + 1)
            code = pick.choice((pick.randrange(128), pick.randrange(0x300), 0x2E))
            text[at : at + pick.randrange(2)] = chr(code)
        text = "".join(text)
        if addresses.is_name(text):
            assert set(text) <= harmless
            assert text[0] not in "-." and text[-1] not in "-."
