"""Which names are told of an address, how many, and how often."""

from __future__ import annotations

import pytest
from stage import Bench, name

from simple_clearance.docket.budget import Budget


@pytest.fixture
def bench():
    return Bench()


def numbered(number):
    return ["n%d.example.com" % n for n in range(number)]


@pytest.mark.parametrize("number, more", [(7, None), (8, None), (9, 1), (30, 22)])
def test_the_eight_looked_up_last_are_told_and_the_number_of_the_others(bench, number, more):
    bench.blocked()
    bench.learn("203.0.113.10", *numbered(number))
    bench.blocked("203.0.113.11", names=numbered(number))
    for record in bench.take("names")[-1:] + bench.take("pending")[-1:]:
        assert record["names"] == numbered(number)[:8]
        assert record.get("more_names") == more


@pytest.mark.parametrize("number", [1, 8, 64])
def test_where_older_names_may_be_forgotten_their_number_is_told_to_be_no_exact_one(bench, number):
    names = [name(text) for text in numbered(number)]
    names[-1].forgot = True
    bench.blocked("203.0.113.10")
    bench.learn("203.0.113.10", *names)
    bench.blocked("203.0.113.11", names=names)
    bench.blocked("203.0.113.12", names=numbered(number))
    told = [*bench.take("names", "pending")]
    assert [record.get("names_forgotten") for record in told] == [None, True, True, None]
    assert {record.get("more_names") for record in told[1:]} == {56 if number == 64 else None}


def test_a_hundred_requests_a_second_are_told_new_names_and_the_rest_asks_to_be_woken():
    bench = Bench(budget=Budget({"ports": 250}))
    for port in range(250):
        bench.blocked(port=port)
    bench.learn("203.0.113.10", "www.example.com")
    told = []
    for waited, number in ((0, 100), (0.015, 1), (1, 100), (1, 49)):
        bench.mono += waited
        bench.docket.tick(bench.now)
        found = bench.take("names")
        assert len(found) == number
        told += [record["id"] for record in found]
        if len(told) < 250:
            assert bench.mono < bench.docket.deadline() <= bench.mono + 0.01
    assert len(set(told)) == 250
    assert bench.docket.deadline() is None


@pytest.mark.parametrize(
    "names, shown",
    [
        ([], None),
        (["_odd.example.com"], "_odd.example.com"),
        (["_odd.example.com", "_old.example.com"], "_odd.example.com"),
        (["_odd.example.com", "www.example.com"], "www.example.com"),
        (["www.example.com", "api.example.com"], "www.example.com"),
    ],
)
def test_a_request_is_shown_under_the_name_looked_up_last_that_may_be_a_target(bench, names, shown):
    bench.blocked(names=names)
    name = bench.docket.shown_name(bench.docket.request("r1"))
    assert (name.name if name else None) == shown
