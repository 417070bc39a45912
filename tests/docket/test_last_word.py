"""The last word on a target: what was applied to it last, which undoing and repeating go by."""

from __future__ import annotations

import pytest
from stage import Bench, Stage

from simple_clearance.docket.budget import Budget
from simple_clearance.docket.policy import parse

DEST = "203.0.113.10"


def applied(bench, action, dest=DEST, name=""):
    bench.mono += 100
    bench.blocked(dest, names=[name] if name else [])
    bench.answer(action, bench.ids()[-1], name=name)
    return bench.run(opened=[dest] if name else None)


def undone(bench, **outcome):
    assert bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    return bench.run(**outcome)


def words(bench):
    return [f"{action} {target}" for _, target, action in bench.docket.tally.last_words()]


def test_it_is_what_was_run_last_however_often_it_was_undone():
    bench = Bench()
    run = applied(bench, "allow")
    bench.docket.ask_again(bench.docket.history[-1], bench.now)
    bench.answer("deny", bench.ids()[-1])
    run += bench.run() + undone(bench) + undone(bench)
    assert run == [f"{action} c1 {DEST}" for action in ("allow", "deny", "allow", "deny")]
    assert words(bench) == [f"deny {DEST}"]
    assert bench.docket.last_verdict() is None


def test_what_was_undone_by_another_verdict_is_not_undone_again():
    bench = Bench()
    applied(bench, "allow")
    applied(bench, "allow")
    assert undone(bench) == [f"deny c1 {DEST}"]
    assert bench.docket.last_verdict() is None, "both are denied now"


def test_they_stand_in_the_order_in_which_they_were_applied():
    bench = Bench()
    applied(bench, "allow", "203.0.113.1")
    applied(bench, "deny", "203.0.113.2")
    applied(bench, "allow", "203.0.113.1")
    applied(bench, "allow", "203.0.113.3", "www.example.com")
    assert words(bench) == ["deny 203.0.113.2", "allow 203.0.113.1", "allow www.example.com"]


@pytest.mark.parametrize("result", ["failed", "unknown"])
def test_where_the_opposite_was_tried_in_vain_there_is_none_and_it_can_be_tried_again(result):
    bench = Bench()
    applied(bench, "allow")
    undone(bench, result=result)
    assert words(bench) == []
    assert undone(bench) == [f"deny c1 {DEST}"]
    assert words(bench) == [f"deny {DEST}"]


def test_the_same_once_more_in_vain_leaves_it():
    bench = Bench()
    applied(bench, "allow")
    bench.mono += 100
    bench.blocked()
    bench.answer("allow", bench.ids()[-1])
    bench.run("failed")
    assert words(bench) == [f"allow {DEST}"]


def test_nothing_is_undone_for_a_container_that_has_ended():
    stage = Stage()
    stage.docket.add_container("c2", 18, {})
    stage.blocked(container="c2")
    stage.key("a")
    stage.key("u")
    answer = stage.docket.last_verdict()
    stage.docket.stop("c2", stage.now)
    stage.key("y")
    assert stage.commands == [f"allow c2 {DEST}"]
    assert not answer.undone and not stage.docket.jobs()
    assert "not undone: c2 has ended" in stage.text


def test_u_is_about_ones_own_last_verdict_whatever_rules_have_decided_since():
    bench = Bench()
    bench.blocked("203.0.113.1")
    bench.answer("allow", "r1")
    bench.run()
    bench.docket.set_policy(parse(b"allow 198.51.100.0/24", "rules"), bench.now)
    bench.blocked("198.51.100.1")
    assert bench.run() == ["allow c1 198.51.100.1"]
    assert bench.docket.last_verdict().target == "203.0.113.1"
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    bench.run()
    assert bench.docket.last_verdict().target == "198.51.100.1", "only a rule's are left"


def test_no_flood_that_rules_decide_pushes_out_what_a_person_has_answered():
    bench = Bench(budget=Budget({"answers": 10}))
    bench.blocked("203.0.113.1")
    bench.answer("allow", "r1")
    bench.run()
    bench.docket.set_policy(parse(b"skip *", "rules"), bench.now)
    for last in range(100):
        bench.blocked(f"198.51.100.{last}")
    assert [answer.target for answer in bench.docket.history if answer.by == "operator"] == ["203.0.113.1"]
    assert len(bench.docket.history) <= 11
    assert bench.docket.last_verdict().target == "203.0.113.1"
