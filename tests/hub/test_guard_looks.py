"""When the guard looks, what it tells, and how long a doubt stands."""

from __future__ import annotations

import socket

import pytest
from support import eventually

from simple_clearance.base.errors import CANNOT_START, HUB_ACTIVE, Refused
from simple_clearance.base.moment import Now
from simple_clearance.hub.guard import AT_ONCE, DOUBT, Guard
from simple_clearance.hub.hub import LOOK_AGAIN
from simple_clearance.system import clocks
from simple_clearance.system.loop import Loop

SID, OTHER = "0123456789ab", "ba9876543210"
HUB = "terok/clearance/%s/hub.sock"


class Watch:
    """A guard over two containers, and what it has told."""

    def __init__(self, place):
        self.place = place
        self.loop = Loop()
        self.told = []
        hubs = {"c1": place.hub(), "c2": place.hub(container_id=OTHER)}
        self.guard = Guard(self.loop, hubs, self.told.append)

    def due(self):
        (deadline,) = [ask() for ask in self.loop.deadlines]
        return deadline

    def look(self):
        """All looks after a folder's notice; what was told at them."""
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


def test_a_hub_is_told_before_a_doubt_and_alone(watch, place):
    doubtful(place)
    place.listen(HUB % OTHER)
    with pytest.raises(Refused) as caught:
        watch.guard.check()
    assert caught.value.code == HUB_ACTIVE
    assert [one.code for one in watch.look()] == [HUB_ACTIVE]


def test_a_doubt_is_told_once_as_long_as_it_lasts(watch, place):
    listener = doubtful(place)
    (told,) = watch.look()
    assert told.code != HUB_ACTIVE
    assert watch.look() == []
    listener.close()
    assert watch.look() == []
    doubtful(place, OTHER)
    assert len(watch.look()) == 1


def test_a_doubt_is_a_reason_not_to_run_a_verdict_and_ends_with_its_cause(watch, place):
    listener = doubtful(place)
    assert watch.guard.objection("c1").code != HUB_ACTIVE
    listener.close()
    eventually(lambda: watch.guard.objection("c1") is None, what="it is looked again")


def test_a_doubt_that_took_long_to_come_to_stands_a_while(watch, place):
    """A bus that takes the connection and says nothing."""
    place.listen("bus")
    doubt = watch.guard.objection("c1")
    assert doubt.code != HUB_ACTIVE
    assert watch.guard.objection("c1") is doubt, "it was not looked again"


def test_a_bus_that_hangs_is_waited_for_once_whatever_the_number_of_containers(place):
    """A prompt stands meanwhile: a twentieth of a second, and no more of it for the other containers."""
    place.listen("bus", backlog=1000)
    hubs = {"c%d" % number: place.hub(container_id="%012x" % number) for number in range(20)}
    told = []
    guard = Guard(Loop(), hubs, told.append)
    guard.noticed(clocks.now())
    guard.tick(clocks.now())
    assert [one.code for one in told] == [CANNOT_START]
    (until, doubt), *others = guard._doubt.values()
    assert doubt is told[0] and until - clocks.now().mono < 10 * DOUBT * AT_ONCE
    assert others, "who came to no doubt of its own had waited for the bus, too"


def test_it_looks_when_a_notice_is_due_and_wakes_nobody_else(watch, place):
    assert watch.due() is None
    place.listen(HUB % SID)
    now = clocks.now()
    watch.guard.noticed(now)
    for delay in LOOK_AGAIN:
        assert watch.due() == now.mono + delay
        before = len(watch.told)
        watch.guard.tick(Now(now.mono + delay - 0.001, 0.0))
        assert len(watch.told) == before
        watch.guard.tick(Now(now.mono + delay, 0.0))
        assert len(watch.told) == before + 1
    assert watch.due() is None
    watch.guard.tick(Now(now.mono + 1000, 0.0))
    assert len(watch.told) == len(LOOK_AGAIN)


def test_every_place_of_every_container_is_watched(watch, place):
    class Noted(list):
        watch = list.append

    folders = Noted()
    watch.guard.watch(folders)
    for sid in (SID, OTHER):
        assert place.root + "/clearance/" + sid in folders
