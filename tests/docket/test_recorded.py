"""Verdicts that the shield has recorded: whose they are, and what is told of those of others."""

from __future__ import annotations

import pytest
from stage import Bench, Stage

from simple_clearance.base.happenings import Recorded

DEST = "203.0.113.10"


def recorded(bench, action="allow", dest=DEST, target="", container="c1"):
    """What is told once the shield's log has this verdict."""
    bench.docket.recorded_now(container, Recorded(action, dest, target or dest, "2026-01-31T17:32:05+00:00"))
    return [(one["container"], one["dest"], one["action"]) for one in bench.take("recorded")]


def test_somebody_elses_verdict_is_told_once_where_something_waits_and_decides_nothing():
    bench = Bench()
    assert recorded(bench) == [], "nothing waits there"
    bench.blocked()
    bench.blocked(port=80)
    assert recorded(bench, dest="203.0.113.11") == []
    assert recorded(bench, target="www.example.com") == [("c1", DEST, "allow")]
    assert recorded(bench) == []
    assert recorded(bench, "deny") == [("c1", DEST, "deny")], "it is another one"
    assert len(bench.ids()) == 2 and not bench.docket.jobs()


def test_what_is_asked_again_later_hears_of_it_again():
    bench = Bench()
    bench.blocked()
    assert recorded(bench)
    bench.answer("skip", *bench.ids())
    assert not recorded(bench)
    bench.mono += 100
    bench.blocked()
    assert recorded(bench)


@pytest.mark.parametrize("result", ["applied", "failed", "unknown"])
def test_a_verdict_of_this_session_is_its_own_while_it_runs_and_when_its_line_is_read_after_its_end(result):
    bench = Bench()
    bench.blocked()
    bench.blocked("203.0.113.11", names=["www.example.com"])
    bench.answer("allow", bench.ids()[-1], name="www.example.com")
    (job,) = bench.start()
    assert recorded(bench, target="www.example.com") == []
    bench.finish(job, result)
    assert recorded(bench, target="www.example.com") == []
    assert recorded(bench, "deny", target="www.example.com"), "that was not run here"
    assert recorded(bench, target=DEST), "nor was that"


def test_one_that_is_overdue_is_still_its_own():
    bench = Bench()
    bench.blocked()
    bench.answer("allow", *bench.ids())
    (job,) = bench.start()
    bench.docket.overdue(job, bench.now)
    assert bench.ids() and recorded(bench) == []


def test_nothing_of_it_is_kept_of_a_container_that_is_forgotten():
    bench = Bench()
    bench.blocked()
    bench.answer("allow", *bench.ids())
    bench.run()
    bench.docket.stop("c1", bench.now)
    bench.docket.forget("c1")
    bench.docket.add_container("c1", 18, {})
    bench.blocked()
    assert recorded(bench)


@pytest.mark.parametrize("width", [80, 40])
def test_it_is_told_below_the_question_which_stays_as_it_is(width):
    stage = Stage(width)
    stage.blocked()
    keys = stage.keys
    stage.docket.recorded_now("c1", Recorded("deny", DEST, DEST, ""))
    stage.refresh()
    told = " ".join(stage.text.split())
    assert f"c1 {DEST}: denied by somebody else at 17:32:05; it still waits here: s closes it" in told
    assert stage.keys == keys
    stage.key("s")
    assert not stage.ids()
