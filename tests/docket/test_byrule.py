"""How many requests each rule has decided: what a replay with a policy ends by."""

from __future__ import annotations

import pytest
from stage import Bench

from simple_clearance.docket.byrule import ByRule
from simple_clearance.docket.policy import parse


class Counted(Bench):
    """Rules, and what they come to.  `rules` are their text."""

    def __init__(self, rules="", **options):
        super().__init__(**options)
        self.by_rule = ByRule(self.docket)
        if rules:
            self.set_rules(rules)

    def set_rules(self, rules):
        self.docket.set_policy(parse(rules.encode(), "rules"), self.now)

    def told(self):
        """At the end, of the rules that had any request: (rule, decided, left open); "" of none."""
        self.docket.close_all(self.now)
        return [each for each in self.by_rule.told() if each[1] or each[2]]


def test_without_rules_there_is_nothing_to_tell():
    bench = Counted(answer="skip")
    bench.blocked()
    assert bench.told() == [] and bench.by_rule.told() == []


def test_what_decides_has_its_requests_and_what_nothing_matches_is_of_no_rule():
    bench = Counted("skip * port 25\nallow 203.0.113.0/28\ndeny 203.0.113.0/24\nask 192.0.2.9")
    for dest, port in (("192.0.2.1", 25), ("203.0.113.1", 443), ("203.0.113.77", 443), ("192.0.2.2", 443)):
        bench.blocked(dest, port)
    assert len(bench.run("dry-run")) == 2
    bench.docket.close_all(bench.now)
    assert bench.by_rule.told() == [
        ("skip * port 25", 1, 0),
        ("allow 203.0.113.0/28", 1, 0),
        ("deny 203.0.113.0/24", 1, 0),
        ("ask 192.0.2.9", 0, 0),
        ("", 1, 0),
    ]


@pytest.mark.parametrize("action", ["allow", "deny", "skip", "mute", None])
def test_an_ask_decides_that_somebody_is_asked_whoever_answers(action):
    bench = Counted("ask 203.0.113.10\nskip *")
    bench.blocked()
    if action:
        assert bench.answer(action, "r1")
        bench.run()
    assert bench.told() == [("ask 203.0.113.10", 1, 0)]


@pytest.mark.parametrize("answer", ["skip", "deny"])
def test_an_ask_has_what_the_answer_decides_then(answer):
    bench = Counted("ask 203.0.113.10", answer=answer)
    bench.blocked()
    bench.blocked("203.0.113.11")
    bench.run("dry-run")
    assert bench.docket.open_count() == 0
    assert bench.told() == [("ask 203.0.113.10", 1, 0), ("", 1, 0)]


def test_what_the_floor_keeps_shut_is_of_no_rule_and_of_none_of_the_others():
    bench = Counted("allow 10.0.0.0/8\nask *")
    bench.blocked("10.1.2.3", private=True)
    (closed,) = bench.take("closed")
    assert closed["why"] == "floor"
    assert bench.told() == []


def test_a_section_s_rules_have_the_requests_of_their_containers():
    bench = Counted("[c1]\nask *\n[c2]\nask *")
    bench.docket.add_container("c2", 18, {})
    bench.docket.add_container("c3", 18, {})
    for container in ("c1", "c2", "c2", "c3"):
        bench.blocked("203.0.113.%d" % len(bench.ids()), container=container)
    assert bench.told() == [("[c1] ask *", 1, 0), ("[c2] ask *", 2, 0), ("", 1, 0)]


def test_a_deny_that_an_allow_of_the_address_bars_has_left_the_request_open():
    bench = Counted("allow 203.0.113.10 port 443\ndeny 203.0.113.0/24")
    bench.blocked(port=80)
    assert bench.run() == []
    assert bench.told() == [("deny 203.0.113.0/24", 0, 1)]


def test_what_an_allow_covers_on_another_port_it_has_decided_and_an_ask_has_left_open_till_then():
    bench = Counted("allow 203.0.113.10 port 443\nask * port 80")
    for port in (80, 81, 443):
        bench.blocked(port=port)
    bench.run("dry-run")
    assert bench.told() == [("allow 203.0.113.10 port 443", 3, 0), ("ask * port 80", 0, 1)]


def test_under_a_shield_that_is_not_up_the_rules_that_match_have_left_open():
    bench = Counted("skip 203.0.113.10\nask 203.0.113.11")
    bench.docket.add_container("c1", 18, {}, state="quarantine")
    for last in (10, 11, 12):
        bench.blocked("203.0.113.%d" % last)
    assert bench.told() == [("skip 203.0.113.10", 0, 1), ("ask 203.0.113.11", 1, 0), ("", 1, 0)]


def test_what_somebody_answered_before_the_rules_could_was_matched_all_the_same():
    bench = Counted("skip 203.0.113.10")
    bench.docket.set_painted(["r1", "r2"], bench.now)
    bench.blocked()
    bench.blocked("203.0.113.11")
    assert bench.ids() == ["r1", "r2"]
    bench.answer("skip", "r1", "r2")
    assert bench.told() == [("skip 203.0.113.10", 0, 1), ("", 1, 0)]


def test_what_is_muted_before_the_rules_could_decide_was_matched_all_the_same():
    bench = Counted("ask 203.0.113.10")
    bench.blocked()
    bench.answer("mute", "r1")
    bench.blocked(port=80)
    assert bench.ids() == []
    assert bench.told() == [("ask 203.0.113.10", 2, 0)]


def test_what_is_asked_again_by_hand_goes_by_no_rule_and_was_matched_all_the_same():
    bench = Counted("skip 203.0.113.10")
    bench.blocked()
    bench.blocked("203.0.113.11")
    bench.answer("skip", "r2")
    for request_id in ("r1", "r2"):
        assert bench.docket.ask_closed(bench.docket.closed(request_id), bench.now)
    assert bench.ids() == ["r3", "r4"]
    assert bench.told() == [("skip 203.0.113.10", 1, 1), ("", 2, 0)]


def test_a_name_learnt_later_gives_the_request_to_the_rule_that_matches_then():
    bench = Counted("ask 203.0.113.10\nskip *")
    bench.set_rules("skip www.example.com\nask 203.0.113.10")
    bench.blocked()
    assert bench.ids() == ["r1"]
    bench.learn("203.0.113.10", "www.example.com")
    bench.docket.tick(bench.now)
    assert bench.ids() == []
    assert bench.told() == [("skip www.example.com", 1, 0)]


def test_a_rule_by_name_keeps_the_request_that_it_held_when_the_address_has_another_name():
    """It was asked about by that rule; an address of many sites has another name every minute."""
    bench = Counted("ask a.example.com")
    bench.blocked(names=["a.example.com"])
    bench.learn("203.0.113.10", "b.example.com", "a.example.com")
    bench.docket.tick(bench.now)
    bench.blocked("203.0.113.11", names=["b.example.com"])
    assert bench.told() == [("ask a.example.com", 1, 0), ("", 1, 0)]


def test_what_had_another_name_when_the_rules_had_no_turn_goes_by_the_one_it_has():
    bench = Counted("skip a.example.com\nskip b.example.com")
    bench.docket.add_container("c1", 18, {}, state="quarantine")
    bench.blocked(names=["a.example.com"])
    bench.learn("203.0.113.10", "b.example.com", "a.example.com")
    assert bench.told() == [("skip b.example.com", 0, 1)]


def test_a_name_that_leads_elsewhere_and_what_comes_behind_it():
    bench = Counted("allow www.example.com\nask 203.0.113.10\nskip *")
    for last in (10, 11):
        bench.blocked("203.0.113.%d" % last, names=["www.example.com"])
    assert bench.run(opened=["198.51.100.1"]) == ["allow c1 www.example.com"]
    assert bench.told() == [("ask 203.0.113.10", 1, 0), ("skip *", 1, 0)]


def test_an_allow_that_failed_has_left_its_request_open():
    bench = Counted("allow 203.0.113.10")
    bench.blocked()
    assert bench.run("failed", reason="quarantine") == ["allow c1 203.0.113.10"]
    assert bench.told() == [("allow 203.0.113.10", 0, 1)]


def test_an_undecidable_packet_and_one_denied_before_are_no_requests():
    bench = Counted("ask *")
    bench.event("denied", "203.0.113.10")
    bench.blocked("224.0.0.1")
    assert bench.docket.counts["untold"] == 2
    assert bench.told() == []


def test_a_changed_file_counts_from_its_beginning_and_has_what_waits():
    """What the rules before it have decided says nothing of those that are in force."""
    bench = Counted("skip 203.0.113.10\nask 203.0.113.11")
    for last in (10, 11, 12):
        bench.blocked("203.0.113.%d" % last)
    bench.set_rules("ask 203.0.113.11\nskip 203.0.113.10")
    assert bench.told() == [("ask 203.0.113.11", 1, 0), ("", 1, 0)]


def test_a_verdict_that_ends_after_its_rule_is_gone_is_of_none_of_the_new_ones():
    bench = Counted("allow 203.0.113.10")
    bench.blocked()
    (job,) = bench.start()
    bench.set_rules("allow 203.0.113.10\nask *")
    bench.finish(job)
    assert bench.docket.open_count() == 0
    assert bench.told() == []


def test_a_request_that_waited_for_a_verdict_under_the_old_rules_goes_by_the_new_ones():
    bench = Counted("ask 203.0.113.10")
    bench.blocked()
    bench.answer("allow", "r1")
    bench.set_rules("skip *")
    bench.run()
    assert bench.told() == [("skip *", 0, 1)]
