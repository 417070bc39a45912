"""The shield's audit log, line by line: what was blocked, what state it is in, or one error."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from simple_clearance.base.happenings import Event
from simple_clearance.base.jsonlines import BadLine
from simple_clearance.formats.auditline import ShieldState, parse

BLOCKED = {
    "ts": "2026-11-23T23:14:53+00:00",
    "container": "0123456789ab",
    "action": "blocked",
    "dest": "198.51.100.2",
    "port": 443,
    "proto": "tcp",
    "domain": "edge.cdn.example",
}


def line(**changes):
    return json.dumps({**BLOCKED, **changes}).encode()


def test_a_blocked_line_is_a_request_with_its_port_and_protocol_and_nobodys_uid():
    event = parse(line())
    assert (event.kind, event.dest, event.port, event.proto) == ("pending", "198.51.100.2", 443, 6)
    assert (event.uid, event.count, event.private, event.ts) == (None, 1, False, BLOCKED["ts"])


@pytest.mark.parametrize("action, told", [("allowed", "allow"), ("denied", "deny")])
def test_a_verdict_is_told_whoever_asked_for_it(action, told):
    by_name = parse(line(action=action, detail="target=www.example.com"))
    assert (by_name.action, by_name.dest, by_name.target, by_name.ts) == (
        told, "198.51.100.2", "www.example.com", BLOCKED["ts"],
    )  # fmt: skip
    assert parse(line(action=action)).target == ""
    assert parse(line(action=action, dest="www.example.com")) is None
    assert parse(line(action=action, dest=["198.51.100.2"], ts=7)) is None


def test_the_name_in_it_is_not_believed():
    """It comes from an unanchored match: the query log itself tells better."""
    assert "edge" not in repr(parse(line())) and not hasattr(parse(line()), "domain")


@pytest.mark.parametrize(
    "proto, number",
    [
        ("tcp", 6),
        ("udp", 17),
        ("icmp", 1),
        ("132", 132),
        ("256", None),
        ("\u0666", None),
        ("what", None),
        (6, None),
        (None, None),
    ],
)
def test_a_protocol_is_known_by_its_name(proto, number):
    assert parse(line(proto=proto)).proto == number


def test_an_address_is_spelled_as_everywhere():
    assert parse(line(dest="2001:DB8:0:0::5")).dest == "2001:db8::5"


def test_without_a_port_there_is_none():
    for port in (None, 0, 0xFFFF):
        assert parse(line(port=port)).port == port


@pytest.mark.parametrize(
    "action, detail, state",
    [
        pytest.param("shield_up", None, "up", id="up"),
        pytest.param("shield_down", None, "down", id="down"),
        pytest.param("shield_down", "disengaged=True", "disengaged", id="disengaged"),
        pytest.param("shield_down", "allow_all=True", "disengaged", id="what 0.7 calls all traffic"),
        pytest.param("shield_quarantine", None, "quarantine", id="quarantine"),
    ],
)
def test_a_change_of_the_shields_state_is_told(action, detail, state):
    fields = {"ts": "2026-11-24T23:36:28+00:00", "container": "c1", "action": action}
    if detail is not None:
        fields["detail"] = detail
    found = parse(json.dumps(fields).encode())
    assert isinstance(found, ShieldState) and (found.state, found.ts) == (state, fields["ts"])


def test_other_lines_mean_nothing_to_us():
    for action in ("setup", "shield_sideways", "", None, 7, ["blocked"], {"a": 1}):
        assert parse(line(action=action)) is None


def test_the_real_ones_are_understood():
    with open(os.path.join(ROOT, "tests", "samples", "audit.jsonl"), "rb") as file:
        found = [parse(each) for each in file]
    assert [event.dest for event in found if isinstance(event, Event)] == [
        *("198.51.100.130", "198.51.100.2", "2001:db8:5::9"),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"dest": "198.51.100.0/24"}, id="a network"),
        pytest.param({"dest": "www.example.com"}, id="a name"),
        pytest.param({"dest": "-h"}, id="an option"),
        pytest.param({"dest": "198.51.100.2\n"}, id="an address with a newline"),
        pytest.param({"dest": "::ffff:198.51.100.2"}, id="an address in another's clothes"),
        pytest.param({"dest": "1" * 70}, id="a long one"),
        pytest.param({"dest": 3325256706}, id="a number"),
        pytest.param({"dest": None}, id="none"),
        pytest.param({"port": "443"}, id="a port as text"),
        pytest.param({"port": 443.0}, id="a port with a point"),
        pytest.param({"port": True}, id="a true port"),
        pytest.param({"port": 65536}, id="a port too high"),
        pytest.param({"port": -1}, id="a port too low"),
    ],
)
def test_a_blocked_line_that_is_not_what_it_seems_is_an_error(changes):
    with pytest.raises(BadLine):
        parse(line(**changes))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"null", b"[]", b'"blocked"', b"\0", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 20_000),
        *(line()[:-1], line() + line(), line() + b"x", b"NaN", b"9" * 5000),
    ],
)
def test_what_is_no_object_is_an_error(data):
    with pytest.raises(BadLine):
        parse(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(
    st.dictionaries(st.sampled_from(sorted(BLOCKED)), JSON), st.sampled_from(["blocked", "shield_down", "x"])
)
def test_whatever_stands_in_the_fields_one_of_four_things_comes(fields, action):
    holds(json.dumps({**BLOCKED, **fields, "action": action}).encode())


@given(st.data())
def test_a_line_that_was_tampered_with_never_does_more_than_fail(data):
    whole = bytearray(line())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    holds(bytes(whole))


def holds(data):
    """The one invariant: an event of one plain address, a state, nothing, or `BadLine`."""
    try:
        found = parse(data)
    except BadLine:
        return
    if isinstance(found, Event):
        assert found.kind == "pending" and set(found.dest) <= set("0123456789abcdef.:") and found.count == 1
        assert found.port is None or 0 <= found.port <= 0xFFFF
    elif found is not None:
        assert isinstance(found, ShieldState)
        assert found.state in ("up", "down", "disengaged", "quarantine")


@pytest.mark.parametrize("dest, private", [("10.1.2.3", True), ("fe80::1", True), ("203.0.113.9", False)])
def test_an_address_that_the_floor_refuses_is_private_whoever_logged_it(dest, private):
    assert parse(line(dest=dest)).private is private
