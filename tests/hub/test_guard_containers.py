"""Containers that come and go while the guard keeps watch, with one connection to the bus for all of them."""

from __future__ import annotations

import os
import signal

import pytest
from support import PATIENCE, eventually

from simple_clearance.base.errors import CANNOT_START, HUB_ACTIVE
from simple_clearance.hub.hub import NAME
from simple_clearance.system import clocks
from simple_clearance.system.folders import Folders
from simple_clearance.system.signals import Wakeups

SIDS = {"c1": "0123456789ab", "c2": "ba9876543210", "c3": "00000000000c"}
OF_ONE, SOCKET = NAME + ".Container_%s", "terok/clearance/%s/hub.sock"


class Session:
    """What a session does with its guard, in small."""

    def __init__(self, place, containers):
        self.place = place
        self.told = []
        self.guard = place.guard({name: SIDS[name] for name in containers}, self._appeared)
        self.loop = self.guard._loop
        self.rounds = 0
        self._wakeups = Wakeups(signal.SIGURG)
        self.folders = Folders(signal.SIGURG)

    def _appeared(self, container, refused):
        if not container or "no answer in time" not in refused.message:  # as on a busy machine
            self.told.append((container, refused.code))

    def __enter__(self):
        self._wakeups.__enter__()
        self.loop.add(self._wakeups.fd, self._woken)
        self.guard.check()
        self.guard.watch(self.folders)
        return self

    def __exit__(self, *failure):
        self.folders.close()
        self._wakeups.__exit__()

    def _woken(self, _events, now):
        self._wakeups.take()
        self.folders.refresh()
        self.guard.noticed(now)

    def add(self, name):
        self.guard.add(name, self.place.hub(container_id=SIDS[name]))
        self.guard.look()

    def runs(self, until=lambda: False, seconds=PATIENCE):
        """Runs until that is so, or for that time."""
        end = clocks.now().mono + seconds
        self.loop.deadlines.append(lambda: end)
        while not until() and clocks.now().mono < end:
            self.rounds += 1
            self.guard.tick(self.loop.wait())
        self.loop.deadlines.pop()

    def hears(self, *told):
        """What is told from now on, which is all that is told."""
        self.runs(lambda: len(self.told) >= len(told))
        assert sorted(self.told) == sorted(told)
        self.told.clear()


@pytest.fixture
def session(place):
    with Session(place, ["c1", "c2"]) as session:
        yield session


def test_a_hub_that_appears_for_one_of_several_is_told_of_that_one_alone(session, place, bus):
    place.listen(SOCKET % SIDS["c2"])
    session.hears(("c2", HUB_ACTIVE))
    place.client().own(OF_ONE % SIDS["c1"])
    session.hears(("c1", HUB_ACTIVE))


@pytest.mark.parametrize("by", ["its name", "its socket"])
def test_a_hub_of_all_is_told_of_each(session, place, bus, by):
    if by == "its name":
        place.client().own(NAME)
    else:
        place.listen("terok-clearance.sock")
    session.hears(("c1", HUB_ACTIVE), ("c2", HUB_ACTIVE))


def test_one_that_is_told_may_be_removed_by_who_is_told_it(place, bus):
    told = []

    def appeared(container, refused):
        told.append(container)
        guard.remove("c1")
        guard.remove("c2")

    guard = place.guard(SIDS, appeared)
    place.client().own(NAME)
    guard.look()
    assert told == ["c1", "c3"]


def test_one_that_came_later_is_watched_like_the_others(session, place, bus):
    session.add("c3")
    client = place.client()
    client.own(OF_ONE % SIDS["c3"])
    session.hears(("c3", HUB_ACTIVE))
    client.release(OF_ONE % SIDS["c3"])
    session.runs(lambda: session.guard.objection("c3") is None)
    session.guard.look()
    place.listen(SOCKET % SIDS["c3"])
    session.hears(("c3", HUB_ACTIVE))


def test_one_that_comes_with_its_hub_is_told_at_once(session, place, bus):
    place.client().own(OF_ONE % SIDS["c3"])
    session.add("c3")
    assert session.told == [("c3", HUB_ACTIVE)]


def test_one_that_is_gone_is_told_of_no_more_and_objected_to_no_more(session, place, bus):
    client = place.client()
    client.own(OF_ONE % SIDS["c1"])
    session.hears(("c1", HUB_ACTIVE))
    session.guard.remove("c1")
    assert session.guard.objection("c1") is None
    client.release(OF_ONE % SIDS["c1"])
    client.own(OF_ONE % SIDS["c1"])
    place.listen(SOCKET % SIDS["c1"])
    client.own(OF_ONE % SIDS["c2"])
    session.hears(("c2", HUB_ACTIVE))
    session.add("c1")  # another one by the same name
    session.hears(("c1", HUB_ACTIVE))


def test_what_was_left_of_one_that_is_gone_wakes_nobody(session, place, bus):
    session.guard.remove("c1")
    session.folders.refresh()
    assert session.guard.objection("c2") is None
    os.makedirs(place.root + "/clearance/" + SIDS["c1"])
    os.makedirs(place.root + "/clearance/" + SIDS["c2"])
    session.runs(seconds=2.2)  # what the two looked like for those that are left, and as often as it does
    before = session.rounds
    client = place.client()
    client.own(OF_ONE % SIDS["c1"])
    client.release(OF_ONE % SIDS["c1"])
    place.listen(SOCKET % SIDS["c1"])
    session.runs(seconds=0.3)
    assert session.rounds == before + 1


def test_descriptors_and_watches_are_given_back(place, bus, descriptors):
    for sid in SIDS.values():
        os.makedirs(place.root + "/clearance/" + sid)
    with Session(place, ["c1"]) as session:
        assert session.guard.objection("c1") is None
        before, watched = descriptors(), repr(session.folders)
        for _ in range(3):
            for name in ("c2", "c3"):
                session.add(name)
            assert descriptors() == before + 2, "the folder of each"
            for name in ("c2", "c3"):
                session.guard.remove(name)
            session.folders.refresh()
            assert descriptors() == before and repr(session.folders) == watched
        session.guard.remove("c1")
        session.folders.refresh()
        assert repr(session.folders) == "<Folders: 0 wanted, 0 armed>"
        session.guard.noticed(clocks.now())
        assert [ask() for ask in session.loop.deadlines] == [None]


def test_a_hundred_containers_take_one_connection_and_no_more_folders_than_one(place, bus, descriptors):
    before = descriptors()
    guard = place.guard({"c%d" % number: "%012x" % number for number in range(100)})
    guard.check()

    def none_objects():
        guard.look()  # which waits for the bus no longer than a prompt may
        return guard.objection("c7") is None

    eventually(none_objects, what="the bus has answered")
    assert descriptors() == before + 1
    with Folders(signal.SIGURG) as folders:
        guard.watch(folders)
        many = descriptors() - before
    alone = place.guard({"c1": SIDS["c1"]})
    with Folders(signal.SIGURG) as folders:
        guard.close()
        alone.check()
        alone.watch(folders)
        assert descriptors() - before == many


def test_a_look_over_a_hundred_containers_asks_the_bus_one_question(place, bus):
    seen = []
    guard = place.guard({"c%d" % number: "%012x" % number for number in range(100)})
    guard._common._trace = seen.append
    guard.check()
    assert sum(one.count("NameHasOwner") for one in seen) == 101
    for ask in (guard.look, lambda: guard.objection("c7")):
        del seen[:]
        ask()
        assert sum(one.count("NameHasOwner") for one in seen) == 1
    place.client().own(OF_ONE % ("%012x" % 7))
    assert guard.objection("c7").code == HUB_ACTIVE, "what the bus said meanwhile counts"
    assert guard.objection("c8") is None


def test_a_bus_that_dies_and_comes_back_is_listened_to_for_all(session, place, bus):
    session.add("c3")
    bus.terminate()
    bus.wait()
    session.runs(seconds=0.3)
    assert session.told == []
    place.bus()
    client = place.client()
    client.own(OF_ONE % SIDS["c3"])
    session.hears(("c3", HUB_ACTIVE))
    client.own(OF_ONE % SIDS["c1"])
    session.hears(("c1", HUB_ACTIVE))
    session.guard.remove("c1")
    assert session.guard.objection("c2") is None


def test_containers_that_come_and_go_while_there_is_no_bus_are_known_to_the_one_that_comes(
    session, place, need
):
    need("dbus-daemon")
    session.add("c3")
    session.guard.remove("c1")
    place.bus()
    client = place.client()
    client.own(OF_ONE % SIDS["c1"])
    client.own(OF_ONE % SIDS["c3"])
    session.hears(("c3", HUB_ACTIVE))


def test_a_doubt_about_what_all_share_is_told_once_of_nobody(session, place):
    listener = place.listen("bus")
    session.hears(("", CANNOT_START))
    session.add("c3")
    assert session.told == [], "the same one"
    listener.close()
    session.guard.look()
    session.guard.remove("c1")
    session.guard.remove("c2")
    place.listen(SOCKET % SIDS["c3"])
    session.guard.look()
    assert session.told == [("c3", HUB_ACTIVE)]


def test_with_nobody_left_nothing_is_looked_for(place, bus):
    place.client().own(NAME)
    guard = place.guard({"c1": SIDS["c1"]}, lambda *what: pytest.fail("told"))
    guard.remove("c1")
    guard.remove("c1")
    guard.check()
    guard.look()
    assert guard.objection("c1") is None


def test_one_of_the_same_name_takes_the_place_of_the_one_before(session, place, bus):
    client = place.client()
    client.own(OF_ONE % SIDS["c1"])
    session.hears(("c1", HUB_ACTIVE))
    session.guard.add("c1", place.hub(container_id=SIDS["c3"]))
    session.guard.look()
    assert session.told == [], "it was the hub of the one before"
    client.own(OF_ONE % SIDS["c3"])
    session.hears(("c1", HUB_ACTIVE))
    session.guard.remove("c1")
    session.guard.remove("c2")
    session.folders.refresh()
    assert repr(session.folders) == "<Folders: 0 wanted, 0 armed>"


def test_one_alone_is_asked_about_before_it_is_watched(place, bus):
    guard = place.guard({"c1": SIDS["c1"]}, lambda *what: pytest.fail("told"))
    hub = place.listen(SOCKET % SIDS["c1"])
    assert guard.ask("c1", PATIENCE).pid == os.getpid()
    hub.close()
    assert guard.ask("c1", PATIENCE) is None
