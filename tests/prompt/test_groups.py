"""What is asked together, kept up with each change."""

from __future__ import annotations

import pytest
from stage import Bench, name

from simple_clearance.prompt.groups import Groups, target_name


@pytest.fixture
def bench():
    return Bench()


def test_what_waited_before_is_there_too(bench):
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    groups = Groups(bench.docket)
    assert len(groups) == 2 and groups.in_order() == [("c1", "203.0.113.1"), ("c1", "203.0.113.2")]


def test_what_waits_no_longer_is_in_no_group(bench):
    groups = Groups(bench.docket)
    bench.blocked("203.0.113.1")
    assert set(groups.keys) == {("c1", "203.0.113.1")}
    bench.answer("skip", "r1")
    assert not groups.keys and len(groups) == 0
    assert groups.of("r1") is None and groups.in_order() == []


def test_a_private_address_stands_by_itself_whatever_name_is_on_it(bench):
    bench.docket.add_container("c1", 14, {})
    groups = Groups(bench.docket)
    bench.blocked("203.0.113.1", names=["www.example.com"])
    bench.blocked("10.0.0.1", private=True, names=["www.example.com"])
    bench.blocked("169.254.169.254", names=["www.example.com"])
    assert groups.of("r1").ids == ("r1",)
    assert groups.of("r2").key == ("c1", "10.0.0.1")
    assert groups.of("r3").key == ("c1", "169.254.169.254")


def test_in_a_group_whichever_has_waited_longest_leads(bench):
    groups = Groups(bench.docket)
    bench.blocked("203.0.113.1", names=["www.example.com"])
    bench.mono += 1
    bench.blocked("203.0.113.2", names=["www.example.com"])
    bench.mono += 1
    bench.blocked("203.0.113.1", 80)
    assert groups.of("r1").ids == ("r1", "r2", "r3")
    bench.answer("allow", "r1")
    bench.mono += 1
    bench.run("failed")
    assert groups.of("r2").lead.id == "r2"


def test_another_name_takes_all_ports_of_an_address_to_another_group(bench):
    groups = Groups(bench.docket)
    bench.blocked("203.0.113.1", 443)
    bench.blocked("203.0.113.1", 80)
    bench.blocked("203.0.113.2", names=["www.example.com"])
    bench.learn("203.0.113.1", "www.example.com")
    assert groups.in_order() == [("c1", "www.example.com")]
    assert set(groups.of("r1").ids) == {"r1", "r2", "r3"}
    bench.answer("skip", "r2")
    assert set(groups.of("r1").ids) == {"r1", "r3"}


@pytest.mark.parametrize(
    "names, target",
    [
        (["www.example.com"], "www.example.com"),
        (["_odd.example.com"], ""),
        (["_odd.example.com", "www.example.com"], "www.example.com"),
        ([], ""),
    ],
)
def test_only_a_name_that_may_be_handed_on_is_a_target(bench, names, target):
    bench.blocked("203.0.113.1", names=[name(one) for one in names])
    (request,) = bench.docket.waiting()
    assert target_name(bench.docket, request) == target
