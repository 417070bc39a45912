"""The state of a container's shield, as it is told and as packets show it."""

from __future__ import annotations

import pytest
from stage import Bench

LONG = 10.0
"""Seconds after which no reader tells a packet that late."""


@pytest.fixture
def bench():
    return Bench()


def seen(bench, state):
    bench.docket.shields.state("c1", state, bench.now)
    bench.mono += LONG


def told(bench):
    return [record["state"] for record in bench.take("shield")]


def test_a_state_is_told_when_it_changes(bench):
    for state in ("up", "down", "down", "up", "up", "quarantine"):
        seen(bench, state)
    assert told(bench) == ["down", "up", "quarantine"]


@pytest.mark.parametrize(
    "state, packet, then",
    [
        ("up", "bypass", ["down"]),
        ("quarantine", "bypass", ["down"]),
        ("down", "bypass", []),
        ("disengaged", "bypass", []),
        ("up", "denied", []),
        ("up", "pending", []),
        ("quarantine", "pending", []),
        ("down", "pending", ["up"]),
        ("disengaged", "pending", ["up"]),
        ("down", "denied", []),
    ],
)
def test_what_happens_to_packets_shows_the_state(bench, state, packet, then):
    seen(bench, state)
    bench.take()
    bench.event(packet, "203.0.113.10")
    assert told(bench) == then


def test_what_the_floor_refuses_shows_nothing(bench):
    """It is above the rules that a shield that is down leaves out."""
    seen(bench, "down")
    bench.take()
    bench.blocked("10.1.2.3", private=True)
    assert told(bench) == []


@pytest.mark.parametrize("state, packet", [("up", "bypass"), ("down", "pending")])
def test_a_packet_from_before_the_last_change_shows_nothing(bench, state, packet):
    seen(bench, "disengaged" if state == "down" else "down")
    bench.docket.shields.state("c1", state, bench.now)
    bench.take()
    bench.mono += 0.3
    bench.event(packet, "203.0.113.10")
    assert told(bench) == []


@pytest.mark.parametrize(
    "state, reason, then",
    [
        ("quarantine", "exit", "quarantine"),
        ("quarantine", "not-running", "not-running"),
        ("down", "exit", "exit"),
        ("up", "exit", "exit"),
    ],
)
def test_an_allow_without_a_reason_has_failed_for_the_quarantine(bench, state, reason, then):
    seen(bench, state)
    bench.blocked()
    bench.answer("allow", "r1")
    bench.run("failed", reason=reason)
    assert [record["reason"] for record in bench.take("verdict")] == [then]


def test_what_is_not_asked_is_counted_by_its_kind(bench):
    for kind in ("denied", "denied", "multicast", "bypass"):
        bench.event(kind, "203.0.113.10", count=2)
    assert bench.docket.shields.unheard == {
        ("c1", "denied"): 4, ("c1", "multicast"): 2, ("c1", "bypass"): 2,
    }  # fmt: skip
