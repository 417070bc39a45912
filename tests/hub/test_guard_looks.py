"""When the guard looks, what it tells, and how long a doubt stands."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
from support import eventually

from simple_clearance.base.errors import CANNOT_START, HUB_ACTIVE, Refused
from simple_clearance.base.moment import Now
from simple_clearance.hub.hub import LOOK_AGAIN
from simple_clearance.system import clocks

SID, OTHER = "0123456789ab", "ba9876543210"
HUB = "terok/clearance/%s/hub.sock"


class Watch:
    """A guard over two containers, and what it has told."""

    def __init__(self, place):
        self.place = place
        self.told = []
        self.guard = place.guard({"c1": SID, "c2": OTHER}, self._appeared)
        self.loop = self.guard._loop

    def _appeared(self, container, refused):
        self.told.append((container, refused.code))

    def due(self):
        (deadline,) = [ask() for ask in self.loop.deadlines]
        return deadline

    def look(self):
        """All looks after a folder's notice; of whom what was told at them."""
        before = len(self.told)
        now = clocks.now()
        self.guard.noticed(now)
        self.guard.tick(Now(now.mono + max(LOOK_AGAIN), 0.0))
        return self.told[before:]


@pytest.fixture
def watch(place):
    return Watch(place)


def doubtful(place, sid=SID):
    """A socket of another kind: whether it is a hub's can't be told."""
    return place.listen(HUB % sid, kind=socket.SOCK_DGRAM)


def test_with_no_hub_anywhere_nothing_is_told(watch):
    watch.guard.check()
    assert watch.guard.objection("c1") is None and watch.look() == []
    assert watch.guard.objection("one that is not watched") is None


def test_a_hub_refuses_the_start_and_the_verdicts_of_its_container_and_no_others(watch, place):
    place.listen(HUB % SID)
    with pytest.raises(Refused) as caught:
        watch.guard.check()
    assert caught.value.code == HUB_ACTIVE
    assert watch.guard.objection("c1").code == HUB_ACTIVE
    assert watch.guard.objection("c2") is None


def test_a_hub_is_told_before_a_doubt_about_another_container(watch, place):
    doubtful(place)
    place.listen(HUB % OTHER)
    with pytest.raises(Refused) as caught:
        watch.guard.check()
    assert caught.value.code == HUB_ACTIVE
    assert watch.look() == [("c2", HUB_ACTIVE), ("c1", CANNOT_START)]


def test_a_doubt_is_told_once_as_long_as_it_lasts(watch, place):
    listener = doubtful(place)
    assert watch.look() == [("c1", CANNOT_START)]
    assert watch.look() == []
    doubtful(place, OTHER)
    assert watch.look() == [("c2", CANNOT_START)], "while the first one lasts"
    listener.close()
    assert watch.look() == []
    os.unlink(place.path + "/" + HUB % SID)
    doubtful(place)
    assert watch.look() == [("c1", CANNOT_START)]


def test_a_doubt_is_a_reason_not_to_run_a_verdict_and_ends_with_its_cause(watch, place):
    listener = doubtful(place)
    assert watch.guard.objection("c1").code != HUB_ACTIVE
    listener.close()
    eventually(lambda: watch.guard.objection("c1") is None, what="it is looked again")


def test_a_doubt_that_took_long_to_come_to_stands_a_while(watch, place):
    """A bus that takes the connection and says nothing."""
    bus = place.listen("bus")
    for container in ("c1", "c1", "c2"):
        assert watch.guard.objection(container).code == CANNOT_START
    assert asked(bus) == 1, "of all containers"
    place.listen(HUB % SID)
    assert watch.guard.objection("c1").code == HUB_ACTIVE, "its sockets are asked all the same"


def asked(bus):
    """How often somebody has connected to a bus that accepts nobody."""
    bus.setblocking(False)
    connections = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            bus.accept()[0].close()
            connections += 1
    return connections


def test_a_bus_that_hangs_is_waited_for_once_whatever_the_number_of_containers(place):
    """A prompt stands meanwhile: a twentieth of a second, and no more of it for the other containers."""
    bus = place.listen("bus", backlog=1000)
    told = []
    containers = {"c%d" % number: "%012x" % number for number in range(20)}
    guard = place.guard(containers, lambda container, refused: told.append((container, refused.code)))
    guard.noticed(clocks.now())
    guard.tick(clocks.now())
    assert told == [("", CANNOT_START)]
    assert asked(bus) == 1


def test_a_bus_that_hangs_and_is_to_be_ignored_does_not_make_each_verdict_wait(place):
    bus = place.listen("bus", backlog=1000)
    guard = place.guard({"c1": SID, "c2": OTHER}, ignore=True)
    for container in ("c1", "c2", "c1"):
        assert guard.objection(container) is None
    assert asked(bus) == 1


def test_it_looks_when_a_notice_is_due_and_wakes_nobody_else(watch, place):
    assert watch.due() is None
    now = clocks.now()
    watch.guard.noticed(now)
    for delay in LOOK_AGAIN:
        assert watch.due() == now.mono + delay
        hub = place.listen(HUB % SID)
        watch.guard.tick(Now(now.mono + delay - 0.001, 0.0))
        assert watch.told == []
        watch.guard.tick(Now(now.mono + delay, 0.0))
        assert watch.told.pop() == ("c1", HUB_ACTIVE)
        watch.guard.look()
        assert watch.told == [], "once, as long as it lasts"
        hub.close()
        os.unlink(place.path + "/" + HUB % SID)
        watch.guard.look()
        assert watch.told == []
    assert watch.due() is None
    place.listen(HUB % SID)
    watch.guard.tick(Now(now.mono + 1000, 0.0))
    assert watch.told == []
