"""The guard's place in the loop: which descriptors it has polled."""

from __future__ import annotations

import os

import pytest

from simple_clearance.base.moment import Now
from simple_clearance.system import clocks

SID = "0123456789ab"


def guarding(place, appeared=lambda *what: None):
    guard = place.guard({"c1": SID}, appeared)
    guard.check()
    return guard._loop, guard


def test_a_bus_that_went_away_is_not_polled_under_the_number_of_another_descriptor(place, bus):
    loop, guard = guarding(place)
    bus.terminate()
    bus.wait()
    assert guard.objection("c1") is None, "no bus is no hub"
    reading, writing = os.pipe()  # a reader's, say: it gets the number that the bus had
    heard = []
    loop.add(reading, lambda events, now: heard.append(os.read(reading, 10)))
    guard.noticed(clocks.now())
    guard.tick(Now(clocks.now().mono + 1.0, 0.0))
    os.write(writing, b"line")
    loop.wait()
    assert heard == [b"line"]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("noticed_by", ["a look", "the loop"])
def test_a_bus_that_went_away_wakes_nobody(place, bus, noticed_by):
    loop, guard = guarding(place)
    bus.terminate()
    bus.wait()
    if noticed_by == "a look":
        assert guard.objection("c1") is None
    until = clocks.now().mono + 0.2
    loop.deadlines[:] = [lambda: until]
    rounds = 0
    while clocks.now().mono < until:
        loop.wait()
        rounds += 1
    assert rounds <= 1 + 2, "its end, and a wait or two"


def test_the_bus_that_comes_back_is_polled(place, bus):
    appeared = []
    loop, guard = guarding(place, lambda *what: appeared.append(what))
    bus.terminate()
    bus.wait()
    assert guard.objection("c1") is None
    place.bus()
    assert guard.objection("c1") is None
    client = place.client()
    client.own("org.terok.Shield1")
    while not appeared:
        loop.wait()
