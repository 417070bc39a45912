"""What a container can multiply has a bound: reached, told once, and no other container's."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest
from stage import Bench

from simple_clearance.docket.budget import KEYS, LIMITS, SHARED_BY, TOLD, Budget, Kept
from simple_clearance.docket.byrule import ByRule
from simple_clearance.docket.policy import parse
from simple_clearance.docket.ruleset import Policy


def address(number):
    return "198.%d.%d.%d" % (18 + (number >> 16), number >> 8 & 255, number & 255)


def decide(bench, number, action="allow", result="applied"):
    bench.mono += 100
    bench.blocked(address(number))
    bench.answer(action, bench.ids()[-1])
    bench.run(result)


def told(bench):
    return [record["message"] for record in bench.take("error")]


def test_containers_share_a_bound_up_to_so_many():
    budget = Budget()
    for containers in (0, 1, 2, 10, SHARED_BY, 100):
        budget.containers = containers
        assert budget.limit("requests") == LIMITS["requests"] // max(1, min(containers, SHARED_BY))


def test_the_oldest_goes_and_what_is_put_again_is_the_latest():
    kept = Kept("targets", Budget({"targets": 2}), lambda *_, **__: None)
    assert kept.put("c1", "a", 1) == kept.put("c1", "b", 2) == kept.put("c2", "a", 9) == []
    assert kept.put("c1", "a", 3) == []
    assert kept.put("c1", "c", 4) == [2]
    assert kept.items() == [("c1", "a", 3), ("c1", "c", 4), ("c2", "a", 9)]
    assert kept.pop("c1", "b") is None and kept.pop("c1", "a") == 3 and kept.get("c1", "c") == 4


@pytest.mark.parametrize("kind", ["addresses", "targets", "answers"])
def test_more_than_is_kept_is_told_once(kind):
    bench = Bench(budget=Budget({kind: 10}))
    for number in range(10):
        decide(bench, number)
    assert told(bench) == []
    for number in range(10, 40):
        decide(bench, number)
    assert told(bench) == ["c1: " + TOLD[kind] % 10]


def test_an_address_that_is_under_watch_no_longer_is_asked_again_at_once():
    bench = Bench(budget=Budget({"addresses": 10}))
    for number in range(12):
        decide(bench, number)
    bench.mono += 1
    bench.blocked(address(11))
    assert bench.ids() == []
    bench.mono += 60
    bench.blocked(address(0))
    assert len(bench.ids()) == 1


def test_failures_that_are_kept_no_longer_still_count():
    bench = Bench(budget=Budget({"failures": 10}))
    for number in range(25):
        decide(bench, number, result="failed" if number % 2 else "unknown")
        bench.answer("skip", bench.ids()[-1])
    assert (bench.docket.summary()["failed"], bench.docket.summary()["unknown"]) == (12, 13)
    assert told(bench) == ["c1: " + TOLD["failures"] % 10]


def test_the_history_keeps_the_latest_of_each_container():
    bench = Bench(budget=Budget({"answers": 20}))
    bench.docket.add_container("c2", 18, {})
    bench.blocked("203.0.113.1", container="c2")
    bench.answer("skip", bench.ids()[-1])
    for number in range(100):
        decide(bench, number)
    assert [answer.target for answer in bench.docket.history if answer.container == "c2"] == ["203.0.113.1"]
    mine = [answer.target for answer in bench.docket.history if answer.container == "c1"]
    assert 5 <= len(mine) <= 10 and mine == [address(number) for number in range(100 - len(mine), 100)]


def test_one_containers_flood_leaves_the_others_their_room():
    bench = Bench(budget=Budget({"requests": 20}))
    bench.docket.add_container("c2", 18, {})
    for number in range(50):
        bench.blocked(address(number))
    for number in range(10):
        bench.blocked(address(number), container="c2")
    containers = [request.container for request in bench.docket.waiting()]
    assert (containers.count("c1"), containers.count("c2")) == (10, 10)
    assert bench.docket.counts["lost"] == 40


def test_one_containers_queue_of_verdicts_is_its_own():
    """What rules decide for one waits for nobody else's, and leaves the others their number."""
    bench = Bench(answer="deny", budget=Budget({"automatic": 20}))
    bench.docket.add_container("c2", 18, {})
    for number in range(50):
        bench.blocked(address(number))
    for number in range(5):
        bench.blocked(address(number), container="c2")
    assert (len(bench.docket.jobs("c1")), len(bench.docket.jobs("c2"))) == (10, 5)
    assert sorted(job.container for job in bench.start()) == ["c1", "c2"]  # side by side
    assert told(bench) == ["10 verdicts wait for c1 already: more requests stay open"]


def test_one_containers_warnings_leave_the_others_theirs():
    bench = Bench(answer="allow", budget=Budget({"warnings": 20}))
    bench.docket.add_container("c2", 14, {})
    bench.docket.shields.versions["c1"] = 14  # no floor
    for number in range(50):
        bench.blocked("10.0.0.%d" % number, private=True)
    bench.blocked("10.0.0.1", private=True, container="c2")
    warned = told(bench)
    assert len(warned) == 11 and warned[-1].startswith("c2: 10.0.0.1 is not allowed by --answer")


def test_memory_stands_still_however_many_verdicts_are_decided_by_themselves():
    """Held against the memory after the first of them have filled the tables."""
    limits = {"requests": 50, "answers": 50, "addresses": 50, "targets": 50, "failures": 50}
    bench = Bench(answer="deny", budget=Budget(limits))
    bench.docket.set_policy(parse(b"allow 198.18.0.0/16", "rules"), bench.now)

    def decided(numbers):
        for number in numbers:
            bench.mono += 100
            bench.blocked(address(number))
            bench.run("failed" if number % 7 == 0 else "applied")
            bench.docket.take()
            bench.records.clear()

    decided(range(300))
    tracemalloc.start()
    try:
        decided(range(300, 600))
        before = tracemalloc.get_traced_memory()[0]
        decided(range(600, 3000))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100 * 50 * sys.getsizeof(0), "some 50 bytes for a verdict that were 700"


def test_an_answer_remembers_a_few_of_its_requests_to_ask_one_of_them_again():
    bench = Bench()
    for port in range(1, 200):
        bench.blocked("203.0.113.1", port)
    bench.answer("skip", *bench.ids())
    assert len(bench.docket.history[-1].keys) == KEYS < 100


def test_no_policy_is_kept_once_another_one_is_in_force():
    """A file may have tens of thousands of rules, and change after each answer."""

    def policies():
        gc.collect()
        return sum(isinstance(one, Policy) for one in gc.get_objects())

    bench, before = Bench(), policies()
    by_rule = ByRule(bench.docket)
    for number in range(1, 9):
        bench.docket.set_policy(parse(b"ask *\nallow 198.18.0.0/16", "rules"), bench.now)
        bench.blocked("203.0.113.%d" % number)
        bench.answer("skip", *bench.ids())
        bench.docket.set_policy(parse(b"allow 198.18.0.0/16\nskip 203.0.113.0/24", "rules"), bench.now)
        bench.blocked(address(number))
        bench.run()
    assert policies() == before + 1
    assert by_rule.told() == [("allow 198.18.0.0/16", 1, 0), ("skip 203.0.113.0/24", 0, 0), ("", 0, 0)]


def test_what_one_container_has_too_much_of_goes_once_others_share_the_bounds():
    kinds = ("requests", "answers", "muted", "addresses", "targets", "failures")
    bench = Bench(budget=Budget(dict.fromkeys(kinds, 40)))

    def decided(numbers):
        for number in numbers:
            decide(
                bench,
                number,
                ("mute", "deny", "allow", "allow")[number % 4],
                "applied" if number % 2 else "failed",
            )
            bench.answer("skip", *bench.ids())

    decided(range(40))
    for number in range(2, 5):
        bench.docket.add_container("c%d" % number, 18, {})
    decided(range(40, 44))
    docket = bench.docket
    kept = docket._aside._mutes, docket._proof._effects, docket.tally._last_word, docket.tally._bad
    assert max(len(list(one.items())) for one in kept) <= 10
    assert len(list(docket.all_requests())) <= 10 and len(docket.history) <= 10
    assert docket.summary()["failed"] == 11, "those that are kept no longer still count"
