"""What is muted: a name at whatever address, or an address, on every port, until it is asked again."""

from __future__ import annotations

import pytest
from stage import Bench
from support import grows_evenly

from simple_clearance.docket.budget import TOLD, Budget
from simple_clearance.docket.policy import parse

NAME, OTHER_NAME = "telemetry.example.net", "api.example.org"
ADDRESS, OTHER = "203.0.113.1", "203.0.113.2"


@pytest.fixture
def bench():
    return Bench()


def mute(bench, dest=ADDRESS, names=(NAME,), **fields):
    """Blocked, asked, muted; what was told of it is taken."""
    bench.blocked(dest, names=names, **fields)
    assert bench.answer("mute", bench.ids()[-1])
    bench.take()


def asked(bench, dest, port=443, **fields):
    """Whether a packet there is asked about."""
    before = bench.ids()
    bench.blocked(dest, port, **fields)
    return bench.ids() != before


def test_a_muted_name_is_asked_at_no_address_and_on_no_port(bench):
    mute(bench)
    for dest, port, proto in ((ADDRESS, 443, 6), (ADDRESS, 80, 6), (OTHER, 443, 17), ("2001:db8::1", 443, 6)):
        assert not asked(bench, dest, port, proto=proto, names=[NAME])
    assert asked(bench, "203.0.113.3", names=[OTHER_NAME]), "another name"


def test_a_muted_address_is_asked_on_no_port_and_under_no_name_it_gets(bench):
    mute(bench, names=())
    assert not asked(bench, ADDRESS, 80)
    assert not asked(bench, ADDRESS, 22, names=[NAME])
    assert asked(bench, OTHER)


def test_another_container_is_asked(bench):
    bench.docket.add_container("c2", 18, {})
    mute(bench)
    assert asked(bench, ADDRESS, container="c2", names=[NAME])


def test_all_that_waits_under_a_name_is_muted_with_it_and_told(bench):
    for dest in (ADDRESS, OTHER):
        bench.blocked(dest, names=[NAME])
    bench.blocked("203.0.113.3", names=[OTHER_NAME])
    bench.take()
    bench.answer("mute", "r1")
    closed = {"by": "operator", "rule": None, "why": "muted", "target": NAME, "type": "closed"}
    assert bench.take() == [{**closed, "id": "r1"}, {**closed, "id": "r2"}]
    assert bench.ids() == ["r3"]
    assert bench.docket.summary()["muted"] == 2


def test_what_is_tried_under_a_muted_name_for_the_first_time_is_told_and_closed_at_once(bench):
    mute(bench)
    bench.blocked(OTHER, names=[NAME])
    pending, closed = bench.take()
    assert (pending["type"], pending["dest"], pending["names"]) == ("pending", OTHER, [NAME])
    assert (closed["id"], closed["why"], closed["target"]) == (pending["id"], "muted", NAME)
    bench.blocked(OTHER)
    assert bench.take() == [], "counted from then on"


def test_tries_of_what_is_muted_are_counted_each_once(bench):
    mute(bench, count=7)
    bench.blocked(ADDRESS, count=2)
    bench.blocked(OTHER, names=[NAME], count=3)
    mute(bench, "203.0.113.9", names=())
    bench.blocked("203.0.113.9", 80, count=4)
    assert [(one.target, one.named, one.tries) for one in bench.docket.muted] == [
        (NAME, True, 5),
        ("203.0.113.9", False, 4),
    ]
    assert bench.docket.summary()["muted_tries"] == 9


def test_the_name_looked_up_last_decides(bench):
    """A forged look-up that puts a muted name on an address only silences that address."""
    mute(bench)
    assert asked(bench, ADDRESS, names=[OTHER_NAME, NAME]), "it is asked under its later name"
    bench.answer("skip", *bench.ids())
    bench.mono += 61
    assert not asked(bench, ADDRESS, names=[NAME, OTHER_NAME])
    assert bench.docket.jobs() == [], "no verdict"


def test_what_waits_and_turns_out_to_have_a_muted_name_waits_no_longer_unless_it_is_looked_at(bench):
    mute(bench)
    for dest in (OTHER, "203.0.113.3"):
        bench.blocked(dest)
    looked_at = bench.ids()[0]
    bench.docket.set_painted([looked_at], bench.now)
    for dest in (OTHER, "203.0.113.3"):
        bench.learn(dest, NAME)
    assert bench.ids() == [looked_at]
    bench.docket.set_painted([], bench.now)
    assert bench.ids() == []


def test_the_name_that_was_painted_is_muted_whatever_it_is_called_by_now(bench):
    bench.blocked(ADDRESS, names=[NAME])
    bench.learn(ADDRESS, OTHER_NAME, NAME)
    bench.answer("mute", "r1", name=NAME)
    assert bench.ids() == []
    assert asked(bench, ADDRESS), "under the name that it has now"
    assert not asked(bench, OTHER, names=[NAME])


def test_a_guarded_address_is_muted_by_its_address_alone(bench):
    bench.docket.add_container("old", 14, {})
    mute(bench, "169.254.1.2", container="old")
    assert [one.target for one in bench.docket.muted] == ["169.254.1.2"]
    mute(bench, container="old")
    assert asked(bench, "169.254.169.254", container="old", names=[NAME]), "no name keeps a warning quiet"


def test_history_asks_all_of_it_again_and_it_is_muted_no_longer(bench):
    for dest in (ADDRESS, OTHER):
        bench.blocked(dest, names=[NAME])
    bench.answer("mute", "r1")
    bench.blocked("203.0.113.3", names=[NAME], count=6)
    bench.take()
    answer = bench.docket.history[-1]
    assert (answer.action, answer.target, answer.tries) == ("mute", NAME, 6)
    assert bench.docket.ask_again(answer, bench.now).dest == ADDRESS
    assert [bench.docket.request(one).dest for one in bench.ids()] == [ADDRESS, OTHER]
    assert bench.take("unmuted") == [{"type": "unmuted", "container": "c1", "target": NAME, "tries": 6}]
    assert answer.undone and bench.docket.muted == []
    assert asked(bench, "203.0.113.3"), "the rest when it is tried again"
    assert asked(bench, "203.0.113.4", names=[NAME])


def test_one_that_is_asked_again_alone_stays_asked_while_its_name_is_muted(bench):
    bench.blocked(ADDRESS, names=[NAME])
    bench.answer("skip", "r1")
    skipped = bench.docket.history[-1]
    mute(bench, OTHER)
    request = bench.docket.ask_again(skipped, bench.now)
    bench.blocked(ADDRESS)
    assert bench.ids() == [request.id]
    bench.answer("skip", request.id)
    bench.mono += 61
    assert not asked(bench, ADDRESS), "the operator did not ask for it any more"


def test_what_is_muted_goes_before_what_rules_say(bench):
    bench.docket.set_policy(parse(b"allow *.example.net\nallow 203.0.113.0/24", "rules"), bench.now)
    bench.docket.shields.state("c1", "down", bench.now)
    mute(bench)
    bench.docket.shields.state("c1", "up", bench.now)
    assert not asked(bench, OTHER, names=[NAME]) and bench.docket.jobs() == []


def test_a_verdict_that_fails_leaves_nothing_waiting_under_what_was_muted_meanwhile(bench):
    bench.blocked(ADDRESS, names=[NAME])
    bench.answer("allow", "r1")
    (job,) = bench.start()
    mute(bench, OTHER)
    bench.finish(job, "failed")
    assert bench.ids() == []
    assert bench.take("closed")[0]["why"] == "muted"
    assert bench.docket.summary()["failed"] == 1


def test_more_than_can_be_muted_are_told_once_and_the_first_is_asked_again():
    bench = Bench(budget=Budget({"muted": 3}))
    for last in range(1, 6):
        bench.blocked(f"203.0.113.{last}")
        bench.answer("mute", bench.ids()[-1])
    assert [one["message"] for one in bench.take("error")] == ["c1: " + TOLD["muted"] % 3]
    assert [asked(bench, f"203.0.113.{last}") for last in range(1, 6)] == [True, True, False, False, False]


def test_a_muted_name_at_more_addresses_than_are_remembered_pushes_out_nothing_else():
    bench = Bench(budget=Budget({"requests": 10}))
    bench.blocked("198.51.100.1")
    bench.answer("skip", "r1")
    mute(bench)
    for last in range(2, 50):
        assert not asked(bench, f"203.0.113.{last}", names=[NAME])
    assert not asked(bench, ADDRESS), "forgotten, and muted all the same"
    assert not asked(bench, "198.51.100.1") and bench.docket.counts["lost"] == 0


def many_are_muted(number):
    """One by one, as a script or the list does it; each has a name of its own."""

    def work():
        bench = Bench()
        for n in range(number):
            bench.blocked("198.18.%d.%d" % divmod(n, 256), names=["x%d.example.com" % n])
        for request_id in bench.ids():
            bench.answer("mute", request_id)
        assert len(bench.docket.muted) == number

    return work


def test_muting_thousands_takes_as_long_for_each():
    assert grows_evenly(many_are_muted, 200)
