"""What packets tell of a verdict, and what they do not: each condition of `proof`, from both sides."""

from __future__ import annotations

import pytest
from stage import Bench

from simple_clearance.docket.policy import parse


@pytest.fixture
def bench():
    return Bench()


def decided(bench, action="allow"):
    bench.blocked()
    bench.answer(action, bench.ids()[0])
    bench.run()
    bench.take()


def others_let_out(bench, number=1024):
    for n in range(number):
        bench.event("allowed", f"198.51.{n >> 8}.{n & 255}")


def test_a_packet_that_is_let_out_while_a_deny_runs_proves_nothing(bench):
    bench.blocked()
    bench.answer("deny", "r1")
    (job,) = bench.start()
    bench.event("allowed", "203.0.113.10")
    bench.finish(job)
    assert bench.take("passed") == []


@pytest.mark.parametrize("before", ["before any verdict", "while another verdict ran"])
def test_what_was_let_out_earlier_leaves_room_to_prove_a_verdict_that_runs(bench, before):
    if before == "while another verdict ran":
        bench.blocked("203.0.113.20")
        bench.answer("allow", "r1")
        (job,) = bench.start()
        others_let_out(bench)
        bench.finish(job)
    else:
        others_let_out(bench)
    bench.mono += 1
    bench.blocked()
    bench.answer("allow", *bench.ids())
    (job,) = bench.start()
    bench.event("allowed", "203.0.113.10")
    bench.finish(job)
    assert [record["dest"] for record in bench.take("passed")] == ["203.0.113.10"]


def test_an_address_let_out_before_its_verdict_began_proves_it_when_it_is_let_out_again(bench):
    bench.blocked("203.0.113.20")
    bench.blocked("203.0.113.10")
    bench.answer("allow", "r1", "r2")
    (first,) = bench.start()
    bench.event("allowed", "203.0.113.10")
    others_let_out(bench)
    bench.mono += 1
    bench.finish(first)
    (second,) = bench.start()
    bench.event("allowed", "203.0.113.10")
    bench.finish(second)
    assert [record["dest"] for record in bench.take("passed")] == ["203.0.113.10"]


def test_packets_gathered_before_a_deny_do_not_contradict_it(bench):
    decided(bench, "deny")
    bench.mono += 0.4
    bench.event("allowed", "203.0.113.10")
    assert bench.take() == []
    bench.mono += 0.1
    bench.event("allowed", "203.0.113.10")
    assert [record["type"] for record in bench.take()] == ["error"]


def test_packets_denied_before_an_allow_are_not_held_against_it(bench):
    decided(bench)
    bench.mono += 0.3
    bench.event("denied", "203.0.113.10", count=40)
    assert bench.take() == []
    bench.mono += 0.2
    bench.event("denied", "203.0.113.10")
    assert [record["count"] for record in bench.take("still_blocked")] == [1]


def test_a_denied_address_that_stays_blocked_is_as_it_should_be(bench):
    decided(bench, "deny")
    bench.mono += 1
    bench.blocked()
    assert bench.take("still_blocked") == []


def test_an_allowed_address_that_the_floor_refuses_is_told_so(bench):
    decided(bench)
    bench.mono += 1
    bench.blocked(private=True)
    assert [record["reason"] for record in bench.take("still_blocked")] == ["floor"]


def test_blocked_again_after_an_allow_by_network_it_waits_and_is_not_denied(bench):
    bench.docket.set_policy(parse(b"allow 203.0.113.0/24\ndeny 203.0.113.10", "rules"), bench.now)
    bench.blocked()
    assert bench.run() == ["allow c1 203.0.113.10"]
    bench.mono += 1
    bench.blocked()
    assert bench.run() == [] and bench.ids() == ["r2"]


def test_an_allow_by_a_rule_that_has_expired_is_given_again(bench):
    bench.docket.set_policy(parse(b"allow 203.0.113.0/24", "rules"), bench.now)
    bench.blocked()
    assert bench.run() == ["allow c1 203.0.113.10"]
    bench.mono += 1800
    bench.blocked()
    assert bench.run() == ["allow c1 203.0.113.10"] and bench.ids() == []


def test_blocked_again_after_the_operator_allowed_a_name_it_is_not_asked_for_a_minute(bench):
    bench.blocked(names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.run(opened=["203.0.113.10"])
    bench.mono += 1
    bench.blocked(names=["www.example.com"])
    assert bench.ids() == []
    bench.mono += 60
    bench.blocked(names=["www.example.com"])
    assert bench.ids() == ["r2"]
