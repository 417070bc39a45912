"""A port scan of one address: so many requests with a port of their own, and one for all the others."""

from __future__ import annotations

import pytest
from stage import Bench

from simple_clearance.docket.budget import LIMITS, Budget
from simple_clearance.docket.policy import parse
from simple_clearance.docket.ports import Ports

DEST = "203.0.113.9"
OWN = LIMITS["ports"]


@pytest.fixture
def bench():
    return Bench(report_again=True)


def scan(bench, ports, **fields):
    for port in ports:
        bench.blocked(DEST, port, **fields)


def rest_of(bench):
    """The request for the rest of its ports."""
    (found,) = [one for one in bench.docket.requests_at("c1", DEST) if one.ports is not None]
    return found


def test_of_all_ports_none_is_lost_and_all_but_some_are_one_request(bench):
    scan(bench, range(65536))
    assert len(bench.ids()) == OWN + 1 and bench.docket.counts["lost"] == 0
    rest = rest_of(bench)
    assert (rest.ports.number, rest.count) == (65536 - OWN, 65536 - OWN)
    pending = bench.take("pending")[-1]
    assert (pending["id"], pending["port"], pending["proto"], pending["ports"]) == (rest.id, None, None, 1)


def test_a_port_counts_once_and_each_of_its_tries_as_one(bench):
    scan(bench, range(1, OWN + 1))
    scan(bench, [1000, 1001, 1000, 1, 2], count=3)
    rest = rest_of(bench)
    assert (rest.ports.number, rest.count) == (2, 9)
    assert sum(request.count for request in bench.docket.all_requests()) == OWN + 15


def test_how_many_is_told_with_each_again(bench):
    scan(bench, range(1, OWN + 2))
    bench.mono += 2
    scan(bench, range(2000, 2100))
    bench.mono += 2
    bench.docket.tick(bench.now)
    told = [record for record in bench.take("again") if record["id"] == rest_of(bench).id]
    assert (told[-1]["count"], told[-1]["ports"]) == (101, 101)


def test_one_answer_on_the_address_covers_the_rest_and_closes_it_once(bench):
    scan(bench, range(1, 3000))
    bench.answer("deny", "r1")
    assert bench.run() == ["deny c1 " + DEST]
    closed = [record["id"] for record in bench.take("closed")]
    assert len(closed) == len(set(closed)) == OWN + 1 and bench.docket.open_count() == 0


def test_what_is_put_off_is_not_asked_by_another_port_before_its_minute_is_over(bench):
    scan(bench, range(1, 3000))
    bench.answer("skip", *bench.ids())
    scan(bench, range(3000, 4000))
    assert bench.ids() == []
    bench.mono += 61
    scan(bench, range(4000, 4010))
    assert [bench.docket.request(one).ports.number for one in bench.ids()] == [10], "counted anew"


def test_another_address_is_not_concerned(bench):
    scan(bench, range(1, 3000))
    bench.blocked("203.0.113.10", 80)
    assert bench.docket.request(bench.ids()[-1]).port == 80


def test_what_has_been_answered_makes_room_for_a_port_of_its_own(bench):
    scan(bench, range(1, OWN + 1))
    bench.answer("skip", "r1")
    bench.blocked(DEST, 443)
    assert bench.docket.request(bench.ids()[-1]).port == 443


def test_a_rule_about_a_port_is_about_that_port_in_a_scan_too(bench):
    bench.docket.set_policy(parse(b"allow 203.0.113.9 port 443\nskip * port 25-26 tcp", "rules"), bench.now)
    scan(bench, range(1000, 1000 + OWN + 5))
    scan(bench, [25, 26])
    assert [record["rule"] for record in bench.take("closed")] == ["skip * port 25-26 tcp"] * 2
    scan(bench, [443])
    assert bench.run() == ["allow c1 " + DEST]


def test_what_a_rule_asks_about_a_port_is_asked_by_itself(bench):
    bench.docket.set_policy(parse(b"ask 203.0.113.9 port 8443", "rules"), bench.now)
    scan(bench, range(1000, 1000 + OWN + 5))
    scan(bench, [8443])
    assert bench.docket.request(bench.ids()[-1]).port == 8443 and rest_of(bench).ports.number == 5


def test_a_rule_about_the_address_decides_the_rest_as_everything_else(bench):
    bench = Bench(answer="deny")
    scan(bench, range(1, 3000))
    assert bench.run() == ["deny c1 " + DEST]
    assert bench.docket.open_count() == 0 and bench.docket.counts["lost"] == 0


def test_packets_without_a_port_are_of_the_rest_too(bench):
    scan(bench, range(1, OWN + 1))
    bench.blocked(DEST, None, proto=47, count=4)
    assert (rest_of(bench).ports.number, rest_of(bench).count) == (0, 4)
    bench.blocked(DEST, None, proto=None)
    assert rest_of(bench).count == 5


def test_a_table_of_many_such_addresses_stays_bounded(bench):
    bench = Bench(budget=Budget({"requests": 1000}))
    for last in range(40):
        for port in range(200):
            bench.blocked("203.0.113.%d" % last, port)
    seen = [one.ports for one in bench.docket.all_requests() if one.ports is not None]
    assert len(seen) == 1000 // (OWN + 1)
    bench.answer("skip", *bench.ids())
    assert not any(ports._seen for ports in seen), "which they were is forgotten"


def test_several_containers_leave_an_address_its_ports():
    budget = Budget()
    budget.containers = 20
    assert budget.limit("ports") == OWN


def test_each_port_is_told_apart():
    ports = Ports()
    for port in (0, 7, 8, 65535, 0, 65535, None):
        ports.add(port)
    assert ports.number == 4
    ports.forget()
    assert ports.number == 4, "until there is another"
    ports.add(8)
    assert ports.number == 1
