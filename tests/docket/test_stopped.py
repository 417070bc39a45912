"""What happens to the requests and verdicts of a container that has ended, and to nobody else's."""

from __future__ import annotations

import pytest
from stage import Bench, tables

from simple_clearance.docket.policy import parse


@pytest.fixture
def bench():
    bench = Bench()
    bench.docket.add_container("c2", 18, {})
    return bench


def stop(bench):
    bench.docket.stop("c1", bench.now)


def closed(bench):
    return [(record["id"], record["why"]) for record in bench.take("closed")]


def test_a_verdict_that_outlives_its_container_and_its_deadline_asks_nothing_anew(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    (job,) = bench.start()
    stop(bench)
    bench.docket.overdue(job, bench.now)
    assert bench.ids() == []
    assert closed(bench) == [("r1", "stopped")]
    bench.finish(job)
    assert closed(bench) == []
    assert bench.docket.summary()["open"] == 1


def test_nothing_that_was_applied_to_it_is_undone_or_asked_again(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    bench.run()
    verdict = bench.docket.last_verdict()
    stop(bench)
    assert bench.docket.last_verdict() is None
    assert not bench.docket.undo([verdict], "operator", bench.now) and bench.run() == []
    assert bench.docket.ask_again(verdict, bench.now) is None


def test_packets_that_its_reader_tells_late_prove_a_verdict_and_ask_nothing(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    bench.run()
    stop(bench)
    bench.take()
    bench.event("allowed", "203.0.113.10")
    bench.event("denied", "203.0.113.11")
    bench.blocked("203.0.113.12")
    assert [record["type"] for record in bench.take()] == ["passed"]
    assert bench.docket.summary()["untold"] == 2


def test_what_was_skipped_with_one_of_another_container_is_asked_again_without_it(bench):
    bench.blocked()
    bench.blocked("203.0.113.11", container="c2")
    bench.answer("skip", "r1", "r2")
    mine, others = bench.docket.history
    stop(bench)
    assert bench.docket.ask_again(others, bench.now).container == "c2"
    assert bench.docket.ask_again(mine, bench.now) is None
    assert [request.container for request in bench.docket.waiting()] == ["c2"]


def test_nothing_is_left_of_a_container_that_is_forgotten(bench):
    docket = bench.docket
    docket.report_again = True
    docket.set_policy(parse(b"allow 10.0.0.0/8\nallow *.example.com\nskip 203.0.113.99", "rules"), bench.now)
    docket.add_container("c3", 18, {"task": "tests"}, ipv6=False, in_pod=True)
    bench.blocked("10.0.0.1", private=True, container="c3")
    for last in range(1, 9):
        bench.blocked("203.0.113.%d" % last, names=["www%d.example.net" % last], container="c3")
    bench.blocked("203.0.113.9", names=["www.example.com"], container="c3")
    bench.blocked("203.0.113.99", container="c3")
    bench.run("failed")
    bench.answer("mute", "r2")
    bench.answer("skip", "r3")
    bench.answer("allow", "r4", "r5")
    bench.run()
    bench.answer("deny", "r6")
    bench.run("unknown")
    docket.undo([docket.last_verdict()], "operator", bench.now)
    bench.run()
    for kind in ("allowed", "denied", "multicast", "bypass"):
        bench.event(kind, "203.0.113.4", container="c3")
    docket.shields.state("c3", "up", bench.now)
    bench.blocked("203.0.113.7", container="c3")
    bench.learn("203.0.113.7", "other.example.net", container="c3")
    docket.lost("c3", 5, "kernel")
    bench.take()
    docket.lost("c3", 2, "kernel")
    docket.stop("c3", bench.now)
    bench.take()
    assert docket.forget("c3")
    docket.set_policy(parse(b"", "rules"), bench.now)  # one remembers what holds for whom, so many at most
    gone = [one for one in tables(docket) if any(part == "c3" for key in one for part in parts(key))]
    assert gone == []


def parts(key):
    return key if isinstance(key, tuple) else (key,)
