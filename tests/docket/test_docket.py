"""Requests, verdicts and what is told of them: each sentence of the interface."""

from __future__ import annotations

import pytest
from stage import Bench, name, tables
from support import grows_evenly

from simple_clearance.docket.budget import LIMITS, Budget
from simple_clearance.docket.later import PER_SECOND
from simple_clearance.docket.policy import parse
from simple_clearance.formats import auditline

FEW = 200
"""Where so many requests are remembered, what holds for the real number is seen sooner."""


@pytest.fixture
def bench():
    return Bench(report_again=True)


@pytest.fixture
def forgetful():
    return Bench(budget=Budget(dict.fromkeys(LIMITS, FEW)))


def rules(text):
    return parse(text.encode(), "rules")


def kinds(records):
    return [record["type"] for record in records]


# --- a request is one container, address, protocol and port


def test_a_blocked_connection_is_told_with_all_that_is_known(bench):
    bench.docket.add_container("c1", 18, {"project": "demo"})
    bench.blocked("203.0.113.10", names=["www.example.com", "example.com"], uid=1000, reader_id="c1:1")
    assert bench.take() == [
        {
            "type": "pending",
            "id": "r1",
            "container": "c1",
            "dest": "203.0.113.10",
            "port": 443,
            "proto": 6,
            "class": "default",
            "floor": False,
            "names": ["www.example.com", "example.com"],
            "uid": 1000,
            "count": 1,
            "dossier": {"project": "demo"},
            "reader_id": "c1:1",
        }
    ]


def test_another_port_protocol_address_or_container_is_another_request(bench):
    bench.docket.add_container("c2", 18, {})
    for _ in range(3):
        bench.blocked("203.0.113.10", 443)
        bench.blocked("203.0.113.10", 80)
        bench.blocked("203.0.113.10", 443, proto=17)
        bench.blocked("203.0.113.11", 443)
        bench.blocked("203.0.113.10", 443, container="c2")
        bench.blocked("203.0.113.10", None, proto=None)
    assert len(bench.ids()) == len(set(bench.ids())) == 6
    assert kinds(bench.take()) == ["pending"] * 6


def test_order_is_that_of_the_first_packet(bench):
    for last in (5, 3, 9, 3, 5, 1):
        bench.blocked(f"203.0.113.{last}")
    assert [request.dest for request in bench.docket.waiting()] == [f"203.0.113.{n}" for n in (5, 3, 9, 1)]


def test_ids_have_no_spaces_and_are_never_used_again(bench):
    seen = []
    for minute in range(5):
        bench.blocked("203.0.113.10")
        bench.blocked(f"203.0.113.{20 + minute}")
        seen += [record["id"] for record in bench.take("pending")]
        bench.answer("skip", *bench.ids())
        bench.mono += 61
    assert len(seen) == len(set(seen)) == 10
    assert all(one.isalnum() for one in seen)


# --- again


def test_retries_are_told_at_most_once_a_second(bench):
    bench.blocked()
    bench.take()
    told = []
    for step in range(100):
        bench.mono += 0.05
        bench.blocked()
        bench.docket.tick(bench.now)
        told += [(step, record["count"]) for record in bench.take("again")]
    assert 4 <= len(told) <= 5
    assert all(later[0] - earlier[0] >= 20 for earlier, later in zip(told, told[1:]))
    bench.mono += 2
    bench.docket.tick(bench.now)
    assert [record["count"] for record in bench.take("again")] == [101]


def test_a_retry_that_is_held_back_asks_to_be_woken(bench):
    bench.blocked()
    assert bench.docket.deadline() is None
    bench.mono += 0.2
    bench.blocked()
    due = bench.docket.deadline()
    assert bench.mono < due <= bench.mono + 1
    bench.mono = due
    bench.docket.tick(bench.now)
    assert [record["count"] for record in bench.take("again")] == [2]
    assert bench.docket.deadline() is None


def test_what_was_not_told_of_its_tries_is_told_when_it_is_closed(bench):
    bench.blocked()
    bench.blocked("198.51.100.1")
    bench.take()
    bench.blocked(count=6)
    bench.docket.close_all(bench.now)
    one, other = bench.take("closed")
    assert (one["id"], one["count"]) == ("r1", 7)
    assert "count" not in other, "nor what was"


def test_no_again_comes_after_closed(bench):
    bench.blocked()
    bench.mono += 0.2
    bench.blocked()
    bench.answer("mute", "r1")
    for _ in range(5):
        bench.mono += 1
        bench.blocked()
        bench.docket.tick(bench.now)
    records = bench.take()
    assert kinds(records)[-1] == "closed"
    assert bench.docket.deadline() is None


# --- names


def test_names_learnt_later_are_told_all_of_them(bench):
    bench.blocked()
    bench.take()
    bench.learn("203.0.113.10", name("www.example.com"))
    bench.learn("203.0.113.10", name("api.example.com"), name("www.example.com"))
    assert bench.take() == [
        {"type": "names", "id": "r1", "names": ["www.example.com"]},
        {"type": "names", "id": "r1", "names": ["api.example.com", "www.example.com"]},
    ]


def test_names_that_come_with_a_retry_are_told_too(bench):
    bench.blocked()
    bench.take()
    bench.blocked(names=["www.example.com"])
    assert bench.take("names") == [{"type": "names", "id": "r1", "names": ["www.example.com"]}]
    bench.learn("203.0.113.10", name("www.example.com"))
    assert bench.take() == []


def test_a_name_looked_up_again_is_not_told_again(bench):
    bench.blocked(names=["a.example.com", "b.example.com"])
    bench.take()
    for first, second in (("b", "a"), ("a", "b")) * 10:
        bench.learn("203.0.113.10", name(f"{first}.example.com"), name(f"{second}.example.com"))
    assert bench.take() == []
    assert [one.name for one in bench.docket.names(bench.docket.request("r1"))] == [
        "a.example.com",
        "b.example.com",
    ]


def test_nothing_is_told_of_names_of_an_address_that_nobody_asks_about(bench):
    bench.learn("203.0.113.10", name("www.example.com"))
    bench.blocked()
    bench.answer("skip", "r1")
    bench.take()
    bench.learn("203.0.113.10", name("www.example.com"))
    assert bench.take() == []


# --- skip and mute


def test_skip_covers_what_it_names_and_no_more(bench):
    bench.blocked(port=443)
    bench.blocked(port=80)
    assert bench.answer("skip", "r1")
    assert bench.take("closed") == [
        {"type": "closed", "id": "r1", "by": "operator", "rule": None, "why": "skipped"}
    ]
    assert bench.ids() == ["r2"]


def test_a_skipped_one_is_asked_again_when_it_is_tried_after_a_minute_and_its_count_kept(bench):
    bench.blocked(count=2)
    bench.answer("skip", "r1")
    bench.take()
    for seconds in (0.5, 20, 39):
        bench.mono += seconds
        bench.blocked()
        assert bench.take() == []
    bench.mono += 0.6
    assert bench.docket.waiting() == [], "only when it is tried"
    bench.blocked()
    (record,) = bench.take()
    assert (record["type"], record["id"], record["count"]) == ("pending", "r2", 6)


def test_a_muted_one_is_never_asked_again_but_still_counted(bench):
    bench.blocked()
    bench.answer("mute", "r1")
    bench.take()
    for _ in range(10):
        bench.mono += 3600
        bench.blocked(count=5)
    assert bench.take() == []
    assert sum(request.count for request in bench.docket.all_requests()) == 51


# --- verdicts


def test_a_verdict_acts_on_the_address_and_covers_its_requests_on_all_ports(bench):
    for port in (443, 80, 22):
        bench.blocked(port=port)
    bench.blocked("203.0.113.11")
    bench.answer("deny", "r2")
    assert bench.run() == ["deny c1 203.0.113.10"]
    (verdict,) = bench.take("verdict")
    assert (verdict["id"], sorted(verdict["ids"])) == ("r2", ["r1", "r2", "r3"])
    closed = {record["id"]: record["why"] for record in bench.records if record["type"] == "closed"}
    assert closed == dict.fromkeys(["r1", "r2", "r3"], "applied")
    assert bench.ids() == ["r4"]


def test_the_verdict_record_has_all_of_it(bench):
    bench.blocked()
    bench.answer("allow", "r1", by="script")
    bench.run()
    verdict, closed = bench.take()[1:]
    wanted = {
        "id": "r1",
        "ids": ["r1"],
        "container": "c1",
        "action": "allow",
        "target": "203.0.113.10",
        "by": "script",
        "rule": None,
        "result": "applied",
        "reason": None,
        "error": None,
        "seconds": 0.3,
    }
    assert {key: verdict[key] for key in wanted} == wanted
    assert closed == {"type": "closed", "id": "r1", "by": "script", "rule": None, "why": "applied"}


@pytest.mark.parametrize("result, reason", [("failed", "no-address"), ("unknown", "ended")])
def test_after_a_failed_or_unknown_verdict_the_request_stays_open_under_its_id(bench, result, reason):
    bench.blocked()
    bench.answer("allow", "r1")
    bench.run(result, reason=reason, error="Error: No IPs allowed for c1")
    assert kinds(bench.take()) == ["pending", "verdict"]
    assert bench.ids() == ["r1"]
    assert bench.answer("allow", "r1"), "and can be answered again"
    bench.run()
    assert [record["why"] for record in bench.take("closed")] == ["applied"]


def test_one_verdict_at_a_time_for_a_container_and_side_by_side_for_two(bench):
    bench.docket.add_container("c2", 18, {})
    for container in ("c1", "c2"):
        for last in (1, 2, 3):
            bench.blocked(f"203.0.113.{last}", container=container)
    bench.answer("allow", *bench.ids())
    first = bench.start()
    assert [(job.container, job.target) for job in first] == [("c1", "203.0.113.1"), ("c2", "203.0.113.1")]
    assert bench.start() == []
    bench.finish(first[0])
    assert [(job.container, job.target) for job in bench.start()] == [("c1", "203.0.113.2")]


def test_a_verdict_past_its_deadline_keeps_its_container_busy_until_it_ends(bench):
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.mono += 30
    bench.docket.overdue(job, bench.now)
    (verdict,) = bench.take("verdict")
    assert (verdict["result"], verdict["reason"], verdict["seconds"]) == ("unknown", "timeout", 30)
    assert bench.ids() == ["r2", "r1"]
    bench.answer("allow", "r2")
    assert bench.start() == []
    bench.mono += 5
    bench.finish(job)
    assert [record["result"] for record in bench.take("verdict")] == ["applied"]
    assert [job.target for job in bench.start()] == ["203.0.113.2"]


def test_an_outcome_after_the_deadline_makes_good_what_was_unknown(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.mono += 30
    bench.docket.overdue(job, bench.now)
    assert bench.docket.summary()["unknown"] == 1
    bench.finish(job)
    assert bench.docket.summary()["unknown"] == 0
    assert bench.take("closed") == [
        {"type": "closed", "id": "r1", "by": "operator", "rule": None, "why": "applied"}
    ]


def test_the_same_verdict_twice_is_run_once(bench):
    bench.blocked(port=443)
    bench.blocked(port=80)
    assert bench.answer("allow", "r1")
    assert not bench.answer("allow", "r2"), "the first covers it: it waits for that one's outcome"
    assert bench.run() == ["allow c1 203.0.113.10"]


def test_a_request_that_comes_while_its_address_is_decided_joins(bench):
    bench.blocked(port=443)
    bench.answer("allow", "r1")
    bench.blocked(port=80)
    bench.start()
    bench.blocked(port=22)
    assert bench.ids() == []
    (job,) = bench.docket.jobs()
    bench.finish(job)
    (verdict,) = bench.take("verdict")
    assert verdict["ids"] == ["r1", "r2", "r3"]
    assert bench.docket.open_count() == 0


def test_what_joined_a_verdict_that_fails_waits_again(bench):
    bench.blocked(port=443)
    bench.answer("deny", "r1")
    (job,) = bench.start()
    bench.blocked(port=80)
    bench.finish(job, "failed", reason="exit")
    assert bench.ids() == ["r1", "r2"]


def test_what_a_verdict_did_not_help_waits_for_the_next_one_on_its_address(bench):
    bench.blocked()
    bench.answer("deny", "r1")
    bench.run()
    (denied,) = bench.docket.history
    bench.mono += 61
    bench.blocked()
    bench.answer("allow", "r2")
    bench.docket.undo([denied], "operator", bench.now)
    bench.blocked(port=80)  # while both of them wait
    (job,) = bench.start()
    bench.finish(job, "failed", reason="exit")
    assert bench.ids() == []
    (undo,) = bench.start()
    bench.finish(undo, "failed", reason="exit")
    assert bench.ids() == ["r2", "r3"]


def test_an_answer_to_what_is_decided_closed_or_unknown_changes_nothing(bench):
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    bench.blocked("203.0.113.3")
    bench.answer("skip", "r1")
    bench.answer("allow", "r2")
    bench.take()
    for ids in (["r1"], ["r2"], ["r99"], ["r3", "r2"], ["r3", "r1"], [""], []):
        assert not bench.answer("allow", *ids)
        assert not bench.answer("mute", *ids)
    assert bench.take() == []
    assert bench.ids() == ["r3"]
    assert bench.run() == ["allow c1 203.0.113.2"]


def test_an_id_named_twice_is_answered_once(bench):
    bench.blocked()
    assert bench.answer("skip", "r1", "r1")
    assert bench.docket.summary()["skipped"] == 1
    assert len(bench.take("closed")) == 1


# --- by name


def test_a_verdict_by_name_closes_what_it_opened(bench):
    bench.blocked("203.0.113.10", names=["www.example.com"])
    bench.blocked("203.0.113.11", names=["www.example.com"])
    bench.blocked("203.0.113.12", names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    assert bench.run(opened=["203.0.113.10", "203.0.113.11"]) == ["allow c1 www.example.com"]
    assert [(record["id"], record["why"]) for record in bench.take("closed")] == [
        ("r1", "applied"),
        ("r2", "covered"),
    ]
    assert bench.ids() == ["r3"]


def test_a_name_that_leads_elsewhere_leaves_the_request_open(bench):
    bench.blocked("203.0.113.10", names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.run(opened=["203.0.113.77"])
    assert [record["result"] for record in bench.take("verdict")] == ["applied"]
    assert bench.ids() == ["r1"]
    assert bench.docket.request("r1").failure == "elsewhere"
    assert bench.docket.summary()["failed"] == 0


# --- closed: exactly one for each pending


def test_a_floor_request_is_told_and_closed_at_once(bench):
    bench.blocked("10.1.2.3", private=True)
    pending, closed = bench.take()
    assert pending["floor"] and pending["class"] == "private"
    assert closed == {"type": "closed", "id": "r1", "by": None, "rule": None, "why": "floor"}
    bench.mono += 3600
    bench.blocked("10.1.2.3", private=True)
    assert bench.take() == [] and bench.docket.open_count() == 0


@pytest.mark.parametrize("version", [14, None])
def test_a_private_address_without_a_floor_above_the_allow_is_asked(bench, version):
    bench.docket.add_container("c7", version, {})
    bench.blocked("10.1.2.3", private=True, container="c7")
    (pending,) = bench.take()
    assert (pending["class"], pending["floor"]) == ("private", False)


def test_a_floor_stands_for_what_the_shield_logged_not_for_the_range(bench):
    bench.blocked("10.1.2.3", private=False)
    assert not bench.take()[0]["floor"], "an override given at the launch opens one"


def test_what_was_asked_in_a_quarantine_is_closed_once_the_floor_refuses_it(bench):
    """A quarantine refuses everything alike, so what it has blocked says nothing of the floor."""
    bench.docket.shields.state("c1", "quarantine", bench.now)
    for port in (443, 80, 22):
        bench.blocked("10.1.2.3", port, names=["db.example.com"])
    bench.docket.set_painted(["r2"], bench.now)
    bench.docket.shields.state("c1", "up", bench.now)
    bench.mono += 1
    bench.take()
    bench.blocked("10.1.2.3", private=True)
    assert [(record["id"], record["why"]) for record in bench.take("closed")] == [
        ("r1", "floor"),
        ("r3", "floor"),
    ]
    assert bench.ids() == ["r2"], "it is being looked at"
    bench.docket.set_painted([], bench.now)
    assert bench.ids() == []


def test_what_a_quarantine_has_blocked_wants_a_second_thought_once_the_shield_calls_it_private():
    bench = Bench(answer="allow")
    bench.docket.add_container("old", 14, {}, state="quarantine")
    bench.blocked("10.1.2.3", names=["db.example.com"], container="old")
    bench.docket.shields.state("old", "up", bench.now)
    bench.mono += 61
    bench.blocked("10.1.2.3", private=True, container="old")
    (request,) = bench.docket.waiting()
    assert request.guarded and bench.docket.label(request) == "10.1.2.3"
    assert bench.docket.jobs() == [], "--answer allows nothing that is private"


def test_an_address_that_is_private_on_one_port_is_on_every_other(bench):
    bench.docket.add_container("old", 14, {})
    bench.blocked("10.1.2.3", private=True, container="old")
    bench.docket.shields.state("old", "quarantine", bench.now)
    bench.blocked("10.1.2.3", 80, names=["db.example.com"], container="old")
    assert [request.guarded for request in bench.docket.waiting()] == [True, True]
    assert bench.take("pending")[-1]["class"] == "private"


def test_multicast_is_never_asked_whatever_the_reader_calls_it(bench):
    for dest in ("224.0.0.251", "ff02::1", "255.255.255.255"):
        bench.blocked(dest)
    assert bench.take() == []
    assert bench.docket.summary()["untold"] == 3


def test_the_end_closes_what_is_open_and_counts_it(bench):
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    bench.answer("skip", "r2")
    bench.take()
    bench.docket.close_all(bench.now)
    assert bench.take() == [{"type": "closed", "id": "r1", "by": None, "rule": None, "why": "stopped"}]
    assert bench.docket.summary()["open"] == 1


def test_a_container_that_stops_takes_its_questions_along_and_no_others(bench):
    bench.docket.add_container("c2", 18, {})
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    bench.blocked("203.0.113.1", container="c2")
    bench.answer("allow", "r2")
    bench.take()
    bench.docket.stop("c1", bench.now)
    records = bench.take("verdict", "closed")
    assert [(r["result"], r["reason"]) for r in records if r["type"] == "verdict"] == [
        ("failed", "not-started")
    ]
    assert sorted((r["id"], r["why"]) for r in records if r["type"] == "closed") == [
        ("r1", "stopped"),
        ("r2", "stopped"),
    ]
    assert bench.ids() == ["r3"]
    assert bench.docket.runnable() == []
    assert bench.docket.summary()["open"] == 3
    bench.docket.close_all(bench.now)
    assert [record["id"] for record in bench.take("closed")] == ["r3"]


def test_the_last_words_of_a_stopped_containers_reader_ask_nothing(bench):
    bench.docket.stop("c1", bench.now)
    bench.take()
    bench.blocked(count=3)
    assert bench.take() == []
    assert bench.docket.summary()["untold"] == 3


def test_a_verdict_that_runs_when_its_container_stops_still_has_its_outcome(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.docket.stop("c1", bench.now)
    bench.finish(job, "failed", reason="not-running")
    assert [record["result"] for record in bench.take("verdict")] == ["failed"]
    assert [record["why"] for record in bench.records if record["type"] == "closed"] == ["stopped"]
    assert bench.docket.open_count() == 0


# --- proof: passed and still_blocked


def allowed(bench, dest="203.0.113.10"):
    bench.blocked(dest)
    bench.answer("allow", bench.ids()[0])
    bench.run()
    bench.take()


def test_the_first_packet_let_out_proves_an_allow_once(bench):
    allowed(bench)
    bench.mono += 1.2
    bench.event("allowed", "203.0.113.10", 443)
    bench.event("allowed", "203.0.113.10", 443)
    bench.event("allowed", "203.0.113.10", 80)
    assert bench.take() == [
        {"type": "passed", "container": "c1", "dest": "203.0.113.10", "port": 443, "proto": 6, "seconds": 1.2}
    ]


def test_a_packet_let_out_before_the_command_has_ended_is_proof_too(bench):
    bench.blocked()
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.mono += 0.2
    bench.event("allowed", "203.0.113.10")
    bench.mono += 0.1
    bench.finish(job)
    assert [record["seconds"] for record in bench.take("passed")] == [0.0]


def test_a_packet_let_out_before_the_verdict_began_is_no_proof(bench):
    bench.blocked("203.0.113.1")
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.event("allowed", "203.0.113.10")
    bench.blocked("203.0.113.10")
    bench.answer("allow", "r2")
    bench.finish(job)
    bench.mono += 1
    bench.run()
    assert bench.take("passed") == []


def test_one_containers_end_of_verdict_does_not_lose_anothers_proof(bench):
    bench.docket.add_container("c2", 18, {})
    bench.blocked(container="c1")
    bench.blocked(container="c2")
    bench.answer("allow", "r1", "r2")
    first, second = bench.start()
    bench.event("allowed", "203.0.113.10", container="c2")
    bench.finish(first)
    bench.finish(second)
    assert [record["container"] for record in bench.take("passed")] == ["c2"]


def test_blocked_again_after_an_allow_is_told_with_a_count(bench):
    allowed(bench)
    bench.mono += 1
    bench.blocked(count=2)
    bench.blocked(port=80)
    assert bench.take() == [
        {"type": "still_blocked", "container": "c1", "dest": "203.0.113.10", "count": 2, "reason": None}
    ]
    bench.mono += 11
    bench.blocked()
    assert [record["count"] for record in bench.take("still_blocked")] == [4]


def test_packets_gathered_before_the_verdict_are_not_held_against_it(bench):
    allowed(bench)
    bench.mono += 0.3
    bench.blocked(count=40)
    assert bench.take() == []


def test_what_the_audit_log_brings_late_is_not_held_against_what_was_seen_meanwhile(bench):
    """Its lines come up to a second late: neither a verdict nor the shield's state is denied by them."""
    allowed(bench)
    bench.docket.shields.state("c1", "down", bench.now)
    bench.mono += 1.2
    bench.blocked(late=auditline.LATE)
    assert bench.take("still_blocked", "shield") == [{"type": "shield", "container": "c1", "state": "down"}]
    bench.mono += 0.4
    bench.blocked(late=auditline.LATE)
    assert [record["type"] for record in bench.take("still_blocked", "shield")] == ["shield", "still_blocked"]


def test_a_denied_packet_after_an_allow_is_told_as_still_blocked(bench):
    allowed(bench)
    bench.mono += 1
    bench.event("denied", "203.0.113.10")
    assert [(record["count"], record["reason"]) for record in bench.take("still_blocked")] == [(1, "denied")]


def test_an_allowed_address_that_stays_blocked_is_asked_again_after_a_minute(bench):
    allowed(bench)
    bench.mono += 30
    bench.blocked()
    assert bench.ids() == []
    bench.mono += 31
    bench.blocked()
    assert bench.ids() == ["r2"]
    (pending,) = bench.take("pending")
    assert pending["count"] == 3, "what came after `closed` goes into the next pending's count"


def test_an_allow_that_has_expired_is_told_so(bench):
    allowed(bench)
    bench.mono += 1801
    bench.blocked()
    assert [record["reason"] for record in bench.take("still_blocked")] == ["expired"]
    assert bench.ids() == ["r2"]


def test_a_denied_address_that_is_let_out_is_told(bench):
    bench.blocked()
    bench.answer("deny", "r1")
    bench.run()
    bench.take()
    bench.mono += 1
    bench.event("allowed", "203.0.113.10")
    bench.event("allowed", "203.0.113.10")
    assert kinds(bench.take()) == ["error"]


def test_what_somebody_else_allowed_is_closed_even_while_it_is_looked_at(bench):
    bench.blocked("203.0.113.10")
    bench.blocked("203.0.113.11")
    bench.docket.set_painted(["r2"], bench.now)
    bench.mono += 1
    bench.event("allowed", "203.0.113.10")
    bench.event("allowed", "203.0.113.11")
    closed = [(record["id"], record["why"]) for record in bench.take("closed")]
    assert closed == [("r1", "covered"), ("r2", "covered")]
    assert bench.docket.summary()["let_out"] == 2
    assert bench.ids() == []


# --- undo and asking again


def test_undo_of_an_allow_is_a_deny_and_of_a_deny_an_allow(bench):
    for action, opposite in (("allow", "deny"), ("deny", "allow")):
        bench.mono += 100
        bench.blocked()
        bench.answer(action, bench.ids()[0])
        bench.run()
        bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
        assert bench.run() == [f"{opposite} c1 203.0.113.10"]
        assert bench.docket.last_verdict() is None
        bench.take()


def test_undo_goes_back_one_verdict_at_a_time(bench):
    for last in (1, 2, 3):
        allowed(bench, f"203.0.113.{last}")
    bench.blocked("203.0.113.4")
    bench.answer("allow", bench.ids()[0])
    bench.run("failed")
    bench.answer("skip", bench.ids()[0])
    for last in (3, 2, 1):
        bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
        assert bench.run() == [f"deny c1 203.0.113.{last}"]
    assert bench.docket.last_verdict() is None


def test_undo_of_an_allow_by_name_is_a_deny_of_the_name(bench):
    bench.blocked(names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.run(opened=["203.0.113.10"])
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    assert bench.run() == ["deny c1 www.example.com"]
    bench.take()
    bench.mono += 1
    bench.event("denied", "203.0.113.10")
    assert bench.take("still_blocked") == [], "that is what was wanted"


@pytest.mark.parametrize("result", ["failed", "unknown"])
def test_an_undo_that_failed_can_be_tried_again_and_made_good(bench, result):
    allowed(bench)
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    bench.run(result)
    assert bench.docket.summary()[result] == 1
    answer = bench.docket.last_verdict()
    assert answer is not None and not answer.undone
    bench.docket.undo([answer], "operator", bench.now)
    bench.run()
    assert bench.docket.summary()[result] == 0
    assert answer.undone


def test_an_undo_covers_requests_on_its_address(bench):
    allowed(bench)
    bench.mono += 61
    bench.blocked(port=80)
    bench.docket.undo([bench.docket.last_verdict()], "operator", bench.now)
    bench.run()
    assert [record["why"] for record in bench.take("closed")] == ["applied"]


def test_asking_again_opens_it_under_a_new_id_with_its_count(bench):
    bench.blocked(count=3)
    bench.answer("mute", "r1")
    bench.take()
    request = bench.docket.ask_again(bench.docket.history[-1], bench.now)
    assert (request.id, bench.ids()) == ("r2", ["r2"])
    assert [record["count"] for record in bench.take("pending")] == [3]
    assert bench.docket.ask_again(bench.docket.history[-1], bench.now).id == "r2", "it is open already"


def test_what_the_operator_asks_again_no_rule_decides(bench):
    bench.docket.set_policy(rules("skip * port 25"), bench.now)
    bench.blocked(port=25)
    assert bench.ids() == []
    bench.docket.ask_again(bench.docket.history[-1], bench.now)
    assert len(bench.ids()) == 1


# --- the summary adds up


def test_verdicts_are_counted_once_applied_and_failures_until_made_good(bench):
    for last in (1, 2, 3, 4):
        bench.blocked(f"203.0.113.{last}")
    bench.answer("allow", "r1")
    bench.run()
    bench.answer("deny", "r2")
    bench.run()
    bench.answer("allow", "r3")
    bench.run("failed")
    bench.answer("allow", "r4")
    bench.run("unknown")
    summary = bench.docket.summary()
    assert {key: summary[key] for key in ("allowed", "denied", "failed", "unknown", "open")} == {
        **{"allowed": 1, "denied": 1, "failed": 1, "unknown": 1, "open": 2}
    }
    bench.answer("deny", "r3", "r4")
    bench.run()
    summary = bench.docket.summary()
    assert (summary["failed"], summary["unknown"], summary["open"], summary["denied"]) == (0, 0, 0, 3)


def test_a_failure_on_one_port_is_made_good_on_another(bench):
    bench.blocked(port=443)
    bench.answer("allow", "r1")
    bench.run("failed")
    bench.answer("skip", "r1")
    assert bench.docket.summary()["failed"] == 1, "setting it aside does not make it good"
    bench.blocked(port=80)
    bench.answer("allow", "r2")
    bench.run()
    assert bench.docket.summary()["failed"] == 0


def test_a_failure_by_name_is_made_good_by_its_address(bench):
    bench.blocked(names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.run("failed")
    assert bench.docket.summary()["failed"] == 1
    bench.answer("allow", "r1")
    bench.run()
    assert bench.docket.summary()["failed"] == 0


def test_a_failed_verdict_on_many_ports_is_one_failure(bench):
    for port in range(1, 50):
        bench.blocked(port=port)
    bench.answer("allow", "r1")
    bench.run("failed")
    assert bench.docket.summary()["failed"] == 1


# --- limits


def numbered(number):
    return "198.%d.%d.%d" % (18 + (number >> 16), number >> 8 & 255, number & 255)


def test_the_table_has_an_end_and_what_goes_beyond_is_told_as_lost(forgetful):
    for number in range(FEW + 10):
        forgetful.blocked(numbered(number), count=2)
    records = forgetful.take()
    assert len([r for r in records if r["type"] == "pending"]) == FEW
    assert [r for r in records if r["type"] == "lost"] == [
        {"type": "lost", "container": "c1", "count": 20, "where": "table"}
    ]
    assert forgetful.docket.summary()["lost"] == 20
    forgetful.answer("skip", "r7")
    last = numbered(FEW + 9)
    forgetful.blocked(last)
    assert [r["dest"] for r in forgetful.take("pending")] == [last], "there is room again"
    assert forgetful.take("lost") == [], "told once"


def test_what_was_closed_first_is_forgotten_first_and_a_muted_one_before_that(forgetful):
    for last in (1, 2, 3):
        forgetful.blocked(f"203.0.113.{last}")
    for number in range(FEW - 3):
        forgetful.blocked(numbered(number))
    others = {numbered(number) for number in range(FEW - 3)}
    forgetful.answer("skip", "r3")
    forgetful.answer("skip", "r2")
    forgetful.answer("mute", "r1")
    for new, kept in ((4, (2, 3, 4)), (5, (2, 4, 5)), (1, (1, 4, 5))):
        forgetful.blocked(f"203.0.113.{new}")
        assert {request.dest for request in forgetful.docket.all_requests()} - others == {
            f"203.0.113.{n}" for n in kept
        }
    assert len(forgetful.ids()) == FEW - 1, "what is muted is so without being remembered itself"
    assert forgetful.ids()[-2:] == ["r%d" % (FEW + 1), "r%d" % (FEW + 2)]


def test_what_is_remembered():
    assert LIMITS == {
        "requests": 20_000,
        "answers": 2_000,
        "muted": 20_000,
        "ports": 64,
        "addresses": 4_096,
        "targets": 4_096,
        "failures": 4_096,
        "let out": 1_024,
        "automatic": 64,
        "warnings": 64,
    }


def flood(bench, number, **fields):
    for n in range(number):
        bench.blocked(numbered(n), names=["x%d.example.com" % n], **fields)


@pytest.mark.parametrize(
    "case", ["asked", "skipped by --answer", "skipped by a rule", "floor", "denied by --answer"]
)
def test_memory_has_a_bound_however_many_destinations_there_are(case):
    answer = {"skipped by --answer": "skip", "denied by --answer": "deny"}.get(case, "")
    bench = Bench(answer=answer, budget=Budget(dict.fromkeys(LIMITS, FEW)))
    if case == "skipped by a rule":
        bench.docket.set_policy(rules("skip *"), bench.now)
    flood(bench, 3 * FEW, private=case == "floor")
    bench.run()
    bench.take()
    assert max(map(len, tables(bench.docket))) == FEW


def test_of_names_only_what_is_shown_of_waiting_addresses_is_kept(forgetful):
    flood(forgetful, 2 * FEW)
    assert len(forgetful.docket._names._heard) == FEW
    forgetful.answer("skip", *forgetful.ids())
    assert not forgetful.docket._names._heard


def test_packets_let_out_while_a_verdict_runs_are_not_all_remembered(forgetful):
    forgetful.blocked()
    forgetful.answer("allow", "r1")
    forgetful.start()
    for n in range(2 * FEW):
        forgetful.event("allowed", numbered(n))
    assert max(map(len, tables(forgetful.docket))) == FEW


def an_address_with_many_ports(number):
    def work():
        bench = Bench(report_again=True, budget=Budget({"ports": number}))
        for port in range(number):
            bench.blocked(port=port, names=["www.example.com"])
        bench.docket.set_painted(bench.ids(), bench.now)
        bench.docket.set_painted(bench.ids(), bench.now)
        for port in range(number):
            bench.blocked(port=port, names=["www.example.com"])
        bench.answer("allow", "r1")
        bench.run("failed")
        bench.answer("allow", "r5")
        bench.run()
        assert bench.docket.open_count() == 0

    return work


def test_an_address_with_thousands_of_ports_costs_no_more_than_as_many_addresses():
    """Work that grows with their square would let whoever is inside freeze the prompt."""
    assert grows_evenly(an_address_with_many_ports, 200)


def test_loss_in_the_reader_is_told_where_it_was(bench):
    bench.docket.lost("c1", 7, "kernel")
    bench.docket.lost("c1", 2, "reader")
    assert [(r["count"], r["where"]) for r in bench.take("lost")] == [(7, "kernel"), (2, "reader")]
    assert bench.docket.summary()["lost"] == 9


def test_denied_and_multicast_are_counted_and_not_told(bench):
    bench.event("denied", "203.0.113.9", count=4)
    bench.event("multicast", "ff02::1", count=3)
    assert bench.take() == []
    assert bench.docket.summary()["untold"] == 7
    assert bench.docket.shields.unheard == {("c1", "denied"): 4, ("c1", "multicast"): 3}


def test_automatic_verdicts_have_a_limit_of_their_own():
    bench = Bench(answer="deny")
    for last in range(200):
        bench.blocked(f"203.0.113.{last}")
    assert len(bench.docket.jobs()) == 64
    assert len(bench.ids()) == 136
    assert kinds(bench.take("error")) == ["error"], "told once"


def test_a_flood_that_was_not_asked_pushes_out_nothing_that_was_answered(forgetful):
    for last in (1, 2):
        forgetful.blocked(f"203.0.113.{last}")
    forgetful.answer("skip", "r1")
    forgetful.answer("mute", "r2")
    for number in range(2 * FEW):
        forgetful.blocked("10.0.%d.%d" % divmod(number, 256), private=True)
    kept = {request.dest for request in forgetful.docket.all_requests()}
    assert kept >= {"203.0.113.1", "203.0.113.2"} and forgetful.take("lost") == []


def test_a_late_allow_leaves_what_was_denied_meanwhile_to_its_deny(bench):
    bench.blocked("203.0.113.1")
    bench.answer("allow", "r1")
    (job,) = bench.start()
    bench.docket.overdue(job, bench.now)
    assert bench.answer("deny", "r1")
    bench.take()
    bench.finish(job)
    assert [record["type"] for record in bench.take()] == ["verdict"]
    assert bench.run("failed") == ["deny c1 203.0.113.1"] and bench.ids() == ["r1"]


def test_containers_take_turns_in_being_told_of_names_and_tries():
    bench = Bench(report_again=True, budget=Budget({"ports": 1000}))
    bench.docket.add_container("c2", 18, {})
    for port in range(1, 1001):
        bench.blocked("203.0.113.1", port)
    bench.blocked("203.0.113.2", container="c2")
    bench.mono += 5
    bench.take()
    bench.learn("203.0.113.1", "evil.example")
    for port in range(1, 1001):
        bench.blocked("203.0.113.1", port)
    bench.learn("203.0.113.2", "www.example.com", container="c2")
    bench.blocked("203.0.113.2", container="c2")
    told = []
    for _ in range(4):
        bench.mono += 0.05
        bench.docket.tick(bench.now)
        told += bench.take("names", "again")
    assert {record["type"] for record in told if record["id"] == "r1001"} == {"names", "again"}
    assert len(told) <= 2 * 1.5 * PER_SECOND


@pytest.mark.parametrize(
    "dest, version, told",
    [
        ("10.0.2.2", 14, True),
        ("10.0.2.2", 18, False),  # under the floor, which stands above every allow
        ("192.168.1.1", 14, True),
        ("168.63.129.16", 18, True),
        ("203.0.113.9", 14, False),
    ],
)
def test_a_name_that_has_opened_what_nothing_allows_by_the_way_is_told(dest, version, told):
    bench = Bench()
    bench.docket.add_container("c1", version, {})
    bench.blocked("203.0.113.1", names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.run(opened=["203.0.113.1", dest])
    errors = [record["message"] for record in bench.take("error")]
    assert bool(errors) is told and all(dest in text and "www.example.com" in text for text in errors)
