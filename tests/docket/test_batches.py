"""Many verdicts of one answer: counted together, called off together, undone together."""

from __future__ import annotations

import pytest
from stage import Bench

from simple_clearance.docket.policy import parse

BATCH = {"type": "batch", "id": "b1", "action": "allow", "undo": False, "number": 4}
NOTHING = dict.fromkeys(("applied", "dry_run", "failed", "unknown", "not_started", "waiting"), 0)


@pytest.fixture
def bench():
    """Four addresses, of which one has two ports, all allowed at once."""
    bench = Bench()
    for last in range(1, 5):
        bench.blocked(f"203.0.113.{last}")
    bench.blocked("203.0.113.1", 80)
    bench.answer("allow", *bench.ids())
    bench.take()
    return bench


def finish(bench, *results):
    """The next verdicts, one after the other, come to that."""
    for result in results:
        (job,) = bench.start()
        bench.mono += 0.6
        bench.finish(job, result, error="Error: busy" if result == "failed" else "")


def call_off(bench):
    bench.docket.call_off(bench.docket.jobs(), bench.now)


def told(bench, kind="batch"):
    return [record for record in bench.take() if record["type"] == kind]


def test_what_all_came_to_is_told_with_the_last_of_them(bench):
    finish(bench, "applied", "failed", "unknown")
    assert told(bench) == []
    (batch,) = bench.docket.batches.values()
    assert (batch.ended, batch.number) == (3, 4)
    finish(bench, "applied")
    counts = {"applied": 2, "failed": 1, "unknown": 1, "waiting": 2}
    assert told(bench) == [{**BATCH, **NOTHING, **counts, "seconds": 2.4}]
    assert bench.docket.batches == {}


def test_each_verdict_says_which_batch_it_is_of(bench):
    finish(bench, "applied", "failed", "applied", "applied")
    bench.blocked("203.0.113.9")
    bench.answer("deny", bench.ids()[-1])
    bench.run()
    assert [record.get("batch") for record in told(bench, "verdict")] == ["b1"] * 4 + [None]


def test_what_is_called_off_waits_again_and_has_not_failed(bench):
    finish(bench, "applied")
    (runs,) = bench.start()
    call_off(bench)
    records = bench.take()
    assert [(r["ids"], r["result"], r["reason"], r["error"]) for r in records if r["type"] == "verdict"][
        1:
    ] == [
        (["r3"], "failed", "not-started", None),
        (["r4"], "failed", "not-started", None),
    ]
    assert bench.ids() == ["r3", "r4"] and bench.docket.jobs() == [runs]
    assert [bench.docket.request(one).failure for one in bench.ids()] == ["", ""]
    bench.finish(runs)
    assert told(bench) == [{**BATCH, **NOTHING, "applied": 2, "not_started": 2, "waiting": 2, "seconds": 0.6}]
    summary = bench.docket.summary()
    assert (summary["allowed"], summary["failed"], summary["open"]) == (2, 0, 2)
    assert [(answer.target, answer.result) for answer in bench.docket.history] == [
        ("203.0.113.1", "applied"),
        ("203.0.113.2", "applied"),
    ], "what was not run is no answer"


def test_rules_may_decide_at_once_what_was_called_off(bench):
    """It has not failed: no rule has to wait a minute for it."""
    bench.docket.set_policy(parse(b"skip 203.0.113.0/24", "rules"), bench.now)
    call_off(bench)
    bench.blocked("203.0.113.3")
    assert "r3" not in bench.ids()


def test_the_end_leaves_open_what_was_not_run_each_counted_once(bench):
    finish(bench, "applied", "failed")
    call_off(bench)
    bench.docket.close_all(bench.now)
    summary = bench.docket.summary()
    assert (summary["allowed"], summary["failed"], summary["open"]) == (1, 1, 3), (
        "that which failed is open, too"
    )


def test_a_batch_undoes_as_one_what_of_it_stands(bench):
    finish(bench, "applied", "failed", "applied", "applied")
    answers = bench.docket.given_with(bench.docket.last_verdict())
    assert [answer.target for answer in answers] == ["203.0.113.1", "203.0.113.3", "203.0.113.4"]
    bench.take()
    assert len(bench.docket.undo(answers, "operator", bench.now)) == 3
    finish(bench, "applied", "failed")
    call_off(bench)
    counts = {"applied": 1, "failed": 1, "not_started": 1}
    assert told(bench) == [
        {
            **BATCH,
            **NOTHING,
            **counts,
            "id": "b2",
            "action": "deny",
            "undo": True,
            "number": 3,
            "seconds": 1.2,
        }
    ]
    left = bench.docket.given_with(bench.docket.last_verdict())
    assert [answer.target for answer in left] == ["203.0.113.3", "203.0.113.4"], "can be undone still"


def test_an_undo_that_is_not_run_counts_as_failed_since_nothing_is_open_for_it(bench):
    finish(bench, *["applied"] * 4)
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    call_off(bench)
    assert bench.docket.summary()["failed"] == 1
    assert bench.docket.tally.last_word("c1", "203.0.113.4") == "allow", "no command has taken that back"
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    finish(bench, "applied")
    assert bench.docket.summary()["failed"] == 0, "made good"


def test_one_answer_alone_goes_before_the_rest_of_a_batch(bench):
    (runs,) = bench.start()
    bench.blocked("203.0.113.9")
    bench.answer("deny", bench.ids()[-1])
    bench.finish(runs)
    assert [job.target for job in bench.start()] == ["203.0.113.9"]


def test_one_address_is_no_batch():
    bench = Bench()
    for port in (443, 80):
        bench.blocked(port=port)
    bench.answer("allow", *bench.ids())
    bench.run()
    assert told(bench) == [] and bench.docket.summary()["allowed"] == 1


def test_a_late_outcome_counts_as_what_it_was_told_first(bench):
    (job,) = bench.start()
    bench.docket.overdue(job, bench.now)
    bench.finish(job)
    finish(bench, *["applied"] * 3)
    (batch,) = told(bench)
    assert (batch["applied"], batch["unknown"]) == (3, 1)


def test_the_end_of_a_container_ends_its_batch():
    bench = Bench()
    bench.docket.add_container("c2", 18, {})
    for container in ("c1", "c2"):
        for last in (1, 2):
            bench.blocked(f"203.0.113.{last}", container=container)
    bench.answer("allow", *bench.ids())
    bench.docket.stop("c1", bench.now)
    bench.run()
    (batch,) = told(bench)
    assert (batch["number"], batch["applied"], batch["not_started"], batch["waiting"]) == (4, 2, 2, 0)
