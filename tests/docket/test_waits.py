"""When nothing is decided by itself: under a shield that is not up, and while names may be missing."""

from __future__ import annotations

import random

import pytest
from stage import Bench
from support import thorough

from simple_clearance.docket.policy import parse

RULES = "allow 203.0.113.0/29\nallow www.example.com\ndeny 203.0.113.0/24\nskip *"
NOT_UP = ["down", "disengaged", "quarantine"]


def bench_with(text="", **options):
    bench = Bench(**options)
    if text:
        bench.docket.set_policy(parse(text.encode(), "rules"), bench.now)
    return bench


def state(bench, word):
    bench.mono += 10
    bench.docket.shields.state("c1", word, bench.now)


# --- the shield


@pytest.mark.parametrize("word", NOT_UP)
@pytest.mark.parametrize("text, answer", [("deny *", ""), ("skip *", ""), ("", "deny"), ("", "skip")])
def test_what_is_blocked_while_the_shield_is_not_up_is_told_and_stays_open(word, text, answer):
    bench = bench_with(text, answer=answer)
    bench.docket.add_container("c1", 14, {})
    state(bench, word)
    bench.blocked("10.1.2.3", private=True)  # the floor holds in each of them
    assert bench.run() == [] and bench.ids() == ["r1"] and not bench.take("closed")


@pytest.mark.parametrize("text, answer", [("deny *", ""), ("skip *", ""), ("", "deny"), ("", "skip")])
def test_what_a_quarantine_blocked_is_decided_only_when_it_is_blocked_after_it(text, answer):
    bench = bench_with(text, answer=answer)
    state(bench, "quarantine")
    bench.blocked()
    bench.mono += 61
    bench.blocked()
    state(bench, "up")
    bench.blocked()  # it may be told late
    bench.docket.set_policy(parse(text.encode(), "rules"), bench.now)
    assert bench.run() == [] and bench.ids() == ["r1"] and not bench.take("closed")
    bench.mono += 1
    bench.blocked()
    bench.run()
    assert bench.ids() == []


def test_what_was_in_use_before_a_quarantine_is_covered_when_it_is_let_out_again():
    bench = bench_with("", answer="deny")
    state(bench, "quarantine")
    bench.blocked()
    state(bench, "up")
    bench.mono += 1
    bench.event("allowed", "203.0.113.10")
    assert [record["why"] for record in bench.take("closed")] == ["covered"]
    assert bench.run() == [] and bench.docket.summary()["open"] == 0


def test_a_quarantine_does_not_make_an_allow_by_a_rule_one_in_vain():
    bench = bench_with("allow www.example.com\nskip *")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]
    state(bench, "quarantine")
    bench.blocked(names=["www.example.com"])
    bench.mono += 61
    bench.blocked(names=["www.example.com"])
    state(bench, "up")
    bench.mono += 1
    assert bench.ids() == ["r2"]
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]


@pytest.mark.parametrize("word", NOT_UP)
def test_verdicts_that_wait_when_the_shield_goes_are_taken_back_and_decided_when_it_is_up(word):
    bench = bench_with("deny *")
    for last in range(3):
        bench.blocked(f"203.0.113.{last}")
    (job,) = bench.start()
    state(bench, word)
    bench.finish(job)
    assert bench.run() == [] and bench.ids() == ["r2", "r3"]
    state(bench, "up")
    assert bench.run() == ["deny c1 203.0.113.1", "deny c1 203.0.113.2"]


def test_the_operators_verdict_runs_in_any_state_though_a_rule_wanted_it_first():
    bench = bench_with()
    bench.blocked("203.0.113.9", names=["www.example.com"])
    bench.docket.set_painted(["r1"], bench.now)
    bench.docket.set_policy(parse(b"allow www.example.com", "rules"), bench.now)
    bench.blocked("203.0.113.10", names=["www.example.com"])
    assert bench.answer("allow", "r1", name="www.example.com")
    state(bench, "quarantine")
    assert bench.run(opened=["203.0.113.9"]) == ["allow c1 www.example.com"]
    assert [verdict["by"] for verdict in bench.take("verdict")] == ["operator"]


def test_a_state_of_one_container_is_its_own():
    bench = bench_with("deny *")
    bench.docket.add_container("c2", 18, {})
    state(bench, "quarantine")
    bench.blocked(container="c2")
    assert bench.run() == ["deny c2 203.0.113.10"]


def test_a_changed_file_takes_back_what_an_old_rule_has_queued():
    bench = bench_with("deny *")
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    (job,) = bench.start()
    bench.docket.set_policy(parse(b"allow 203.0.113.0/24", "rules"), bench.now)
    bench.finish(job)
    assert bench.run() == ["allow c1 203.0.113.2"]


# --- names


@pytest.mark.parametrize(
    "text, answer",
    [
        (RULES, ""),
        ("allow www.example.com", "deny"),
        ("allow www.example.com port 80\ndeny *", ""),
        ("skip www.example.com\nallow 203.0.113.0/24", ""),
        ("", "deny"),
        ("", "skip"),
        ("", "allow"),
    ],
)
def test_while_names_may_be_missing_no_rule_by_name_is_passed_over_and_no_answer_given(text, answer):
    behind = {"c1"}
    bench = bench_with(text, answer=answer, behind=behind.__contains__)
    bench.blocked("203.0.113.10")
    bench.mono += 61
    bench.blocked("203.0.113.10")
    assert bench.run() == [] and bench.ids() == ["r1"] and bench.take("closed") == []


@pytest.mark.parametrize("late", [True, False])
def test_what_waits_for_names_is_decided_when_they_are_known_as_if_they_had_been(late):
    behind = {"c1"} if late else set()
    bench = bench_with(RULES, answer="deny", behind=behind.__contains__)
    names = {"203.0.113.10": ["www.example.com"], "203.0.113.11": ["a.example.org", "www.example.com"]}
    for last in range(1, 14):
        dest = f"203.0.113.{last}"
        bench.blocked(dest, names=() if late else names.get(dest, ()))
    bench.run(opened=["203.0.113.10", "203.0.113.11"])
    for dest, found in names.items():
        bench.learn(dest, *found)
    behind.clear()
    bench.docket.names_known("c1", bench.now)
    bench.run(opened=["203.0.113.10", "203.0.113.11"])
    bench.take()
    decided = {
        (record["action"], record["target"]) for record in bench.records if record["type"] == "verdict"
    }
    assert decided == {
        *(("allow", f"203.0.113.{last}") for last in range(1, 8)),
        ("allow", "www.example.com"),
        *(("deny", f"203.0.113.{last}") for last in (8, 9, 12, 13)),
    }


def test_a_rule_that_stands_before_all_by_name_decides_at_once():
    bench = bench_with(RULES, behind=lambda container: True)
    bench.blocked("203.0.113.1")
    assert bench.run() == ["allow c1 203.0.113.1"]


def test_a_name_that_is_known_already_is_enough_for_the_first_rule_by_name():
    bench = bench_with(RULES, behind=lambda container: True)
    bench.blocked("203.0.113.10", names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]


def a_days_rules(rng):
    """200 of them; by name without a port, so that what a name is allowed by is one rule."""
    rules = []
    for number in range(200):
        action = rng.choice(["allow", "allow", "deny", "skip", "ask"])
        target = rng.choice(
            [f"n{rng.randrange(400)}.example.com", f"*.z{rng.randrange(60)}.example", f"198.18.{number}.0/24"]
        )
        port = "" if action == "deny" or rng.random() < 0.7 else f" port {rng.choice([80, 443])}"
        if not target.startswith("198"):
            action, port = rng.choice(["allow", "skip"]) if action == "deny" else action, ""
        rules.append(f"{action} {target}{port}")
    return "\n".join(rules)


def a_days_traffic(rng):
    """(address, port, names) of 100,000 packets to 5,000 addresses."""
    requests = []
    for number in range(5000):
        names = [f"n{rng.randrange(800)}.example.com" for _ in range(rng.randrange(3))]
        names += [f"h.z{rng.randrange(100)}.example" for _ in range(rng.randrange(2))]
        dest = f"198.18.{number // 25}.{number % 25 + 1}"
        requests.append((dest, rng.choice([80, 443]), list(dict.fromkeys(names))))
    return requests + rng.choices(requests, k=95_000)


def what_was_decided(rules, traffic, answer, late):
    """What became of each address's request: why it was closed, by whom, by which rule."""
    behind = {"c1"} if late else set()
    bench = bench_with(rules, answer=answer, behind=behind.__contains__)

    def pass_on(packets):
        for dest, port, names in packets:
            known = bench.known.get(("c1", dest), ())
            bench.blocked(dest, port, names=() if behind or known else names)
            bench.run("dry-run", took=0)

    pass_on(traffic[:5000])
    if late:
        assert len(bench.ids()) > 4000, "most have waited"
        for dest, _, names in traffic[:5000]:
            if names:
                bench.learn(dest, *names)
        behind.clear()
        bench.docket.names_known("c1", bench.now)
        bench.run("dry-run", took=0)
    pass_on(traffic[5000:])
    bench.take()
    dests = {one["id"]: one["dest"] for one in bench.records if one["type"] == "pending"}
    closed = {dests[one["id"]]: one for one in bench.records if one["type"] == "closed"}
    assert len(dests) == 5000
    return {dest: (one["why"], one["by"], one["rule"]) for dest, one in closed.items()}


@pytest.mark.parametrize("answer", thorough("deny", "skip", "none"))
def test_a_days_traffic_is_decided_the_same_whether_its_names_are_known_at_once_or_late(answer):
    rng = random.Random(answer)
    rules, traffic = a_days_rules(rng), a_days_traffic(rng)
    at_once = what_was_decided(rules, traffic, answer, late=False)
    assert len({rule for _, _, rule in at_once.values()}) > 50
    assert what_was_decided(rules, traffic, answer, late=True) == at_once
