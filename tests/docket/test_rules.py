"""What is decided without asking, by a policy or by `--answer`, and what never is."""

from __future__ import annotations

import pytest
from stage import Bench, name

from simple_clearance.docket.byrule import ByRule
from simple_clearance.docket.policy import parse


def bench_with(text="", **options):
    bench = Bench(**options)
    if text:
        bench.docket.set_policy(parse(text.encode(), "rules"), bench.now)
    return bench


def set_rules(bench, text):
    bench.docket.set_policy(parse(text.encode(), "rules"), bench.now)


# --- a policy


def of_containers(bench, *containers):
    for container in containers:
        bench.docket.add_container(container, 18, {})
    return bench


def test_a_section_decides_for_its_containers_alone():
    bench = of_containers(bench_with("[agent-*]\nallow 203.0.113.0/24\n[web]\ndeny *"), "agent-1", "web")
    for container in ("c1", "agent-1", "web"):
        bench.blocked(container=container)
    assert sorted(bench.run()) == ["allow agent-1 203.0.113.10", "deny web 203.0.113.10"]
    told = {record["container"]: record["rule"] for record in bench.take("verdict")}
    assert told == {"agent-1": "[agent-*] allow 203.0.113.0/24", "web": "[web] deny *"}
    assert bench.ids() == ["r1"], "nothing is said of c1"


def test_behind_a_section_the_next_of_the_containers_rules_has_its_turn():
    bench = bench_with("[c*]\nallow *.example.com\n[c2]\ndeny *\n[c1]\nallow 203.0.113.0/24")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["198.51.100.1"]) == ["allow c1 www.example.com", "allow c1 203.0.113.10"]


def test_what_an_allow_has_matched_is_denied_by_no_section_and_not_by_the_answer():
    bench = bench_with("allow *.example.com\n[c1]\ndeny *", answer="deny")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["198.51.100.1"]) == ["allow c1 www.example.com"]
    assert bench.ids() == ["r1"]


def test_another_containers_allow_keeps_nothing_from_being_denied():
    bench = of_containers(bench_with("[c2]\nallow 203.0.113.0/24 port 80\n", answer="deny"), "c2")
    for container in ("c1", "c2"):
        bench.blocked(container=container)
    assert bench.run() == ["deny c1 203.0.113.10"]


def test_another_containers_rule_by_name_is_not_waited_for():
    bench = Bench(behind=lambda container: True)
    set_rules(of_containers(bench, "c2"), "[c2]\nallow *.example.com\n[*]\nskip 203.0.113.0/24")
    for container in ("c1", "c2"):
        bench.blocked(container=container)
    assert [record["id"] for record in bench.take("closed")] == ["r1"]


def test_the_very_port_of_another_containers_rule_is_part_of_the_rest():
    bench = of_containers(bench_with("[c2]\nskip * port 4000"), "c2")
    for container in ("c1", "c2"):
        for port in (*range(1, 66), 4000):
            bench.blocked(port=port, container=container)
    assert [record["id"] for record in bench.take("closed")] == ["r131"], "of c2"


def test_a_changed_file_may_move_a_rule_to_another_container():
    bench = of_containers(bench_with("[c1]\nskip *"), "c2")
    bench.blocked(container="c2")
    bench.blocked(container="c1")
    assert [record["id"] for record in bench.take("closed")] == ["r2"]
    set_rules(bench, "[c2]\nskip *")
    assert [record["rule"] for record in bench.take("closed")] == ["[c2] skip *"]
    bench.blocked("203.0.113.11", container="c1")
    assert bench.ids() == ["r3"]


def test_the_same_rule_of_two_sections_is_counted_for_each():
    bench = of_containers(bench_with("skip 203.0.113.1\n[c1]\nskip *\n[c2]\nskip *"), "c2")
    by_rule = ByRule(bench.docket)
    for container, number in (("c1", 3), ("c2", 2)):
        for last in range(number):
            bench.blocked("203.0.113.%d" % (last + 2), container=container)
    assert by_rule.told() == [
        ("skip 203.0.113.1", 0, 0), ("[c1] skip *", 3, 0), ("[c2] skip *", 2, 0), ("", 0, 0),
    ]  # fmt: skip


def test_a_rule_in_vain_is_told_for_the_containers_that_it_holds_for():
    bench = of_containers(bench_with("[c2]\nallow 10.0.0.0/8"), "c2")
    for container in ("c1", "c2"):
        bench.blocked("10.0.0.1", private=True, container=container)
    (told,) = bench.take("error")
    assert told["message"].startswith("c2: the rule `[c2] allow 10.0.0.0/8` has no effect on 10.0.0.1")


def test_a_rule_decides_and_its_words_stand_in_the_record():
    bench = bench_with("allow 203.0.113.0/24 port 443   # the mirror\n")
    bench.blocked("203.0.113.10")
    bench.blocked("198.51.100.1")
    assert bench.run() == ["allow c1 203.0.113.10"]
    (verdict,) = bench.take("verdict")
    assert (verdict["by"], verdict["rule"]) == ("policy", "allow 203.0.113.0/24 port 443")
    assert bench.ids() == ["r2"], "what nothing matches is asked"


def test_an_allow_by_network_covers_all_ports_of_the_address():
    bench = bench_with("allow 203.0.113.0/24 port 443")
    bench.blocked(port=80)
    bench.blocked(port=443)
    assert bench.run() == ["allow c1 203.0.113.10"]
    assert bench.ids() == []


def test_skip_by_a_rule_is_an_answer_of_its_own():
    bench = bench_with("skip * port 25-26 tcp")
    bench.blocked(port=25)
    bench.blocked(port=27)
    assert [(record["id"], record["why"]) for record in bench.take("closed")] == [("r1", "skipped")]
    assert bench.ids() == ["r2"]


def test_a_name_rule_runs_the_name_and_never_the_address():
    bench = bench_with("allow *.example.com")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]
    assert [record["why"] for record in bench.take("closed")] == ["applied"]


def test_when_the_name_leads_elsewhere_the_request_goes_on_to_the_next_rule():
    bench = bench_with("allow *.example.com\nallow 203.0.113.0/24")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["198.51.100.7"]) == ["allow c1 www.example.com", "allow c1 203.0.113.10"]


def test_where_an_allow_by_name_does_not_say_what_it_opened_packets_do():
    bench = bench_with("allow *.example.com\nskip *")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=[]) == ["allow c1 www.example.com"]
    (verdict,) = bench.take("verdict")
    assert (verdict["ids"], verdict["elsewhere"], verdict["opened"]) == (["r1"], [], [])
    bench.mono += 1
    bench.blocked(names=["www.example.com"])
    records = bench.take()
    assert [record["type"] for record in records] == ["still_blocked", "pending", "closed"]
    assert (bench.run(), records[-1]["why"]) == ([], "skipped")


@pytest.mark.parametrize("opened", [["198.51.100.7"], []])
@pytest.mark.parametrize(
    "text, answer", [("allow *.example.com", "deny"), ("allow *.example.com\ndeny *\ndeny 203.0.113.10", "")]
)
def test_what_an_allow_rule_has_matched_is_never_denied(text, answer, opened):
    bench = bench_with(text, answer=answer)
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=opened) == ["allow c1 www.example.com"]
    for age in (1, 61, 2000):
        bench.mono += age
        bench.blocked(names=["www.example.com"])
        bench.learn("203.0.113.10", name("other.example.org"), name("www.example.com"))
        assert "deny" not in " ".join(bench.run(opened=opened))
    bench.mono += 61
    bench.learn("203.0.113.10")  # as if it had been forgotten
    bench.blocked()
    assert bench.run() == []
    assert bench.docket.summary()["open"] == 1


@pytest.mark.parametrize("result", ["failed", "unknown"])
def test_an_allow_by_a_rule_that_came_to_nothing_is_followed_by_no_deny(result):
    bench = bench_with("allow *.example.com\ndeny 203.0.113.0/24", answer="deny")
    bench.blocked(names=["www.example.com"])
    commands = bench.run(result, reason="exit")
    for _ in range(4):
        bench.mono += 40
        bench.blocked(names=["www.example.com"])
        commands += bench.run(result, reason="exit")
    assert commands == ["allow c1 www.example.com"] * 3


def test_an_allow_that_came_late_and_led_elsewhere_is_followed_by_no_deny():
    bench = bench_with("allow *.example.com\nskip * port 80\ndeny *", answer="deny")
    bench.blocked(names=["www.example.com"])
    bench.blocked(port=80, names=["www.example.com"])
    (job,) = bench.start()
    bench.docket.overdue(job, bench.now)
    bench.finish(job, opened=["198.51.100.7"])
    assert bench.run() == [] and bench.ids() == ["r1"]


@pytest.mark.parametrize("text, answer", [("", "deny"), ("deny *", "")])
def test_an_allow_on_one_port_keeps_the_address_from_being_denied_for_another(text, answer):
    bench = bench_with("allow *.example.com port 443\nskip * port 25\n" + text, answer=answer)
    bench.blocked(port=80, names=["www.example.com"])
    bench.blocked(port=25, names=["www.example.com"])
    assert bench.run() == [] and bench.ids() == ["r1"]
    bench.blocked(port=443, names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]


def test_a_deny_that_stands_before_the_allow_is_given():
    bench = bench_with("deny 203.0.113.10\nallow *.example.com")
    bench.blocked(names=["www.example.com"])
    assert bench.run() == ["deny c1 203.0.113.10"]


@pytest.mark.parametrize("action", ["skip", "ask"])
def test_skip_and_ask_by_name_go_by_the_name_looked_up_last(action):
    bench = bench_with(action + " tracker.example.net\ndeny *")
    bench.blocked(names=["registry.example.org", "tracker.example.net"])
    assert bench.run() == ["deny c1 203.0.113.10"]
    bench.blocked("203.0.113.11", names=["tracker.example.net", "registry.example.org"])
    assert bench.run() == []


def test_another_latest_name_is_held_against_the_rules_though_nothing_new_is_told():
    bench = bench_with("skip tracker.example.net")
    bench.blocked(names=["registry.example.org", "tracker.example.net"])
    assert bench.ids() == ["r1"]
    bench.take()
    bench.learn("203.0.113.10", name("tracker.example.net"), name("registry.example.org"))
    assert [record["type"] for record in bench.take()] == ["closed"]


def test_when_the_name_leads_elsewhere_and_no_rule_is_left_it_is_asked():
    bench = bench_with("allow *.example.com")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["198.51.100.7"]) == ["allow c1 www.example.com"]
    assert bench.ids() == ["r1"]
    for _ in range(20):
        bench.mono += 1
        bench.blocked()
    assert bench.run() == [], "and not by the same rule over and over"


def test_blocked_again_after_an_allow_by_name_goes_on_to_the_next_rule():
    bench = bench_with("allow *.example.com\nskip *")
    bench.blocked(names=["www.example.com"])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]
    bench.take()
    bench.mono += 1
    bench.blocked(names=["www.example.com"])
    records = bench.take()
    assert [record["type"] for record in records] == ["still_blocked", "pending", "closed"]
    assert records[-1]["why"] == "skipped"
    assert bench.run() == []


@pytest.mark.parametrize("port", [443, 80])
def test_blocked_again_after_an_allow_by_name_is_asked_when_no_rule_is_left(port):
    bench = bench_with("allow *.example.com")
    bench.blocked(names=["www.example.com"])
    bench.run(opened=["203.0.113.10"])
    commands = []
    for _ in range(20):
        bench.mono += 1
        bench.blocked(port=port, names=["www.example.com"])
        commands += bench.run(opened=["203.0.113.10"])
    assert commands == [], "the rule has had its turn"
    assert len(bench.ids()) == 1


def test_what_was_skipped_stays_skipped_though_a_name_rule_opened_its_address():
    bench = bench_with("skip * port 25\nallow *.example.com")
    bench.blocked(port=25, names=["www.example.com"])
    bench.blocked(port=443, names=["www.example.com"])
    bench.run(opened=["203.0.113.10"])
    bench.take()
    bench.mono += 1
    bench.blocked(port=25, names=["www.example.com"])
    assert bench.take("pending") == []


def test_names_learnt_later_are_held_against_the_rules():
    bench = bench_with("allow *.example.com")
    bench.blocked()
    assert bench.run() == []
    bench.learn("203.0.113.10", name("www.example.com"))
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 www.example.com"]


def test_a_name_that_may_be_shown_but_not_handed_on_matches_no_allow():
    bench = bench_with("allow *.example.com")
    bench.blocked(names=["_under.example.com"])
    assert bench.run() == []
    assert bench.ids() == ["r1"]


def test_an_automatic_verdict_that_failed_is_not_tried_over_and_over():
    bench = bench_with("deny 203.0.113.0/24")
    bench.blocked()
    assert len(bench.run("failed", reason="exit")) == 1
    for step in range(50):
        bench.mono += 1
        bench.blocked()
        bench.learn("203.0.113.10", name("n%d.example.org" % step))
    assert bench.run("failed", took=0) == []
    assert bench.ids() == ["r1"]
    bench.mono += 20
    bench.blocked()
    assert len(bench.run()) == 1


def test_what_is_painted_no_rule_decides_until_it_is_let_go_of():
    bench = bench_with()
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    bench.docket.set_painted(["r1"], bench.now)
    set_rules(bench, "deny 203.0.113.0/24")
    bench.blocked("203.0.113.1")
    bench.learn("203.0.113.1", name("www.example.com"))
    assert bench.run() == ["deny c1 203.0.113.2"]
    bench.docket.set_painted((), bench.now)
    assert bench.run() == ["deny c1 203.0.113.1"]


def test_a_changed_file_decides_what_waits():
    bench = bench_with("ask *")
    bench.blocked("203.0.113.1")
    bench.blocked("203.0.113.2")
    assert bench.run() == []
    set_rules(bench, "skip 203.0.113.2\nallow 203.0.113.1")
    assert bench.run() == ["allow c1 203.0.113.1"]
    assert bench.ids() == []


def test_a_changed_file_starts_from_its_first_rule_for_what_an_old_rule_has_opened():
    bench = bench_with("allow good.example.com", answer="allow")
    bench.blocked("203.0.113.9", names=["good.example.com"])
    assert bench.run(opened=["203.0.113.9"]) == ["allow c1 good.example.com"]
    set_rules(bench, "deny 203.0.113.9")
    bench.mono += 1
    bench.blocked("203.0.113.9", names=["good.example.com"])
    assert bench.run() == ["deny c1 203.0.113.9"]


def test_a_file_that_changes_while_a_verdict_runs_starts_from_its_first_rule():
    bench = bench_with("allow good.example.com", answer="allow")
    bench.blocked("203.0.113.9", names=["good.example.com"])
    (job,) = bench.start()
    set_rules(bench, "skip 203.0.113.9")
    bench.finish(job, opened=["203.0.113.10"])
    assert bench.run() == []
    assert [record["why"] for record in bench.take("closed")] == ["skipped"]


def test_what_a_verdict_of_the_file_before_did_not_help_is_decided_by_the_new_one_at_once():
    bench = bench_with("allow 203.0.113.0/24")
    bench.blocked("203.0.113.1")
    (job,) = bench.start()
    set_rules(bench, "allow 203.0.113.0/24\nskip *")
    bench.finish(job, "failed", reason="exit")
    (again,) = bench.start()
    assert (again.action, again.target) == ("allow", "203.0.113.1")
    bench.finish(again, "failed", reason="exit")
    assert bench.start() == [] and bench.ids() == ["r1"], (
        "now its own has failed, and gets another chance later"
    )
    set_rules(bench, "skip *")
    assert bench.ids() == []


@pytest.mark.parametrize("result", ["failed", "unknown"])
def test_a_name_rule_that_came_to_nothing_is_tried_again_after_a_minute_and_no_other_before(result):
    bench = bench_with("allow good.example.com\nallow 203.0.113.9")
    bench.blocked("203.0.113.9", names=["good.example.com"])
    assert bench.run(result, opened=[]) == ["allow c1 good.example.com"]
    bench.mono += 1
    bench.blocked("203.0.113.9", names=["good.example.com"])
    assert bench.run() == [], "it may have been a hiccup"
    bench.mono += 61
    bench.blocked("203.0.113.9", names=["good.example.com"])
    assert bench.run(opened=["203.0.113.9"]) == ["allow c1 good.example.com"]
    assert bench.ids() == []


def test_what_the_operator_wants_to_be_asked_no_rule_decides_until_the_file_changes():
    bench = bench_with("allow 203.0.113.9")
    bench.blocked("203.0.113.9")
    assert bench.run() == ["allow c1 203.0.113.9"]
    again = bench.docket.ask_again(bench.docket.history[-1], bench.now)
    bench.blocked("203.0.113.9")
    assert bench.run() == [] and bench.ids() == [again.id]
    set_rules(bench, "deny 203.0.113.9")
    assert bench.run() == ["deny c1 203.0.113.9"]


def test_a_rule_that_the_floor_defeats_is_told_once():
    bench = bench_with("allow 10.0.0.0/8")
    for last in range(5):
        bench.blocked(f"10.0.0.{last}", private=True)
    records = bench.take()
    assert len([record for record in records if record["type"] == "error"]) == 1
    assert [record["why"] for record in records if record["type"] == "closed"] == ["floor"] * 5
    assert bench.run() == []


def test_at_most_64_verdicts_wait_and_more_stay_open():
    bench = bench_with("deny 198.51.100.0/24")
    for last in range(100):
        bench.blocked(f"198.51.100.{last}")
    assert len(bench.docket.jobs()) == 64
    assert len(bench.take("error")) == 1
    assert len(bench.ids()) == 36
    bench.run()
    assert len(bench.ids()) == 36
    for last in range(100):
        bench.blocked(f"198.51.100.{last}")
    assert len(bench.run()) == 36, "they are decided when they are tried again"


def test_the_limit_is_each_containers_own_and_not_the_operators():
    bench = bench_with("deny 198.51.100.0/24")
    for last in range(80):
        bench.blocked(f"198.51.100.{last}")
        bench.blocked(f"198.51.100.{last}", container="c2")
    assert len(bench.docket.jobs("c1")) == len(bench.docket.jobs("c2")) == 64
    bench.blocked("203.0.113.1")
    assert bench.answer("allow", bench.docket.waiting("c1")[-1].id)
    assert len(bench.docket.jobs("c1")) == 65


def test_while_the_limit_is_reached_it_is_not_told_for_each_packet():
    bench = bench_with("deny 198.51.100.0/24")
    for last in range(250):
        bench.blocked(f"198.51.100.{last}")
        if last % 3 == 0:
            for job in bench.start():
                bench.finish(job)
    assert len(bench.take("error")) == 1


# --- --answer


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_the_answer_is_given_to_whatever_the_policy_leaves_open(answer):
    bench = bench_with("skip * port 25\nask 203.0.113.9", answer=answer)
    for dest, port in (("203.0.113.10", 443), ("203.0.113.9", 443), ("203.0.113.11", 25)):
        bench.blocked(dest, port)
    assert bench.run() == [f"{answer} c1 203.0.113.10", f"{answer} c1 203.0.113.9"], "`ask` takes the answer"
    assert {record["by"] for record in bench.take("verdict")} == {"answer"}
    assert bench.docket.open_count() == 0


def test_skip_as_the_answer_closes_everything_and_runs_nothing():
    bench = bench_with(answer="skip")
    for last in range(10):
        bench.blocked(f"203.0.113.{last}")
    assert bench.run() == []
    assert [record["why"] for record in bench.take("closed")] == ["skipped"] * 10
    assert bench.docket.summary()["open"] == 0


@pytest.mark.parametrize(
    "dest",
    [
        *("10.1.2.3", "169.254.1.2", "169.254.169.254", "10.0.2.2", "fd00::2", "fd00:ec2::254"),
        *("168.63.129.16", "100.100.100.200", "192.0.0.192", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1"),
    ],
)
def test_the_answer_allows_no_private_address(dest):
    bench = bench_with(answer="allow")
    bench.docket.add_container("c7", 14, {})
    bench.blocked(dest, private=True, container="c7")
    assert bench.run() == []
    assert len(bench.take("error")) == 1
    assert bench.docket.summary()["open"] == 1


def test_a_flood_of_private_addresses_is_no_flood_of_messages():
    bench = bench_with(answer="allow")
    bench.docket.add_container("c7", 14, {})
    for n in range(1000):
        bench.blocked(f"10.0.{n >> 8}.{n & 255}", private=True, container="c7")
    assert len(bench.take("error")) <= 64


def test_the_answer_is_given_again_to_what_is_blocked_after_a_minute():
    bench = bench_with(answer="deny")
    bench.blocked()
    assert len(bench.run()) == 1
    bench.mono += 61
    bench.blocked()
    assert len(bench.run()) == 1


# --- a dry run


def test_a_dry_run_tells_what_it_would_do_and_closes_it():
    bench = bench_with("allow *.example.com\ndeny *", answer="")
    bench.blocked("203.0.113.10", names=["www.example.com"])
    bench.blocked("203.0.113.11")
    bench.run("dry-run", opened=())
    records = bench.take("verdict", "closed")
    assert [(r["action"], r["target"], r["result"]) for r in records if r["type"] == "verdict"] == [
        ("allow", "www.example.com", "dry-run"),
        ("deny", "203.0.113.11", "dry-run"),
    ]
    assert [r["why"] for r in records if r["type"] == "closed"] == ["dry-run"] * 2
    summary = bench.docket.summary()
    assert (summary["allowed"], summary["denied"], summary["open"]) == (0, 0, 0)


# --- what a limit or a warning is not about


def test_a_rule_without_effect_is_told_again_when_the_file_has_changed():
    bench = bench_with("allow 10.0.0.0/8")
    bench.blocked("10.0.0.1", private=True)
    set_rules(bench, "# the same\nallow 10.0.0.0/8")
    bench.blocked("10.0.0.2", private=True)
    assert len(bench.take("error")) == 2


def test_the_answer_denies_private_addresses_too():
    bench = bench_with(answer="deny")
    bench.docket.add_container("c7", 14, {})
    bench.blocked("10.1.2.3", private=True, container="c7")
    assert bench.run() == ["deny c7 10.1.2.3"]
    assert bench.take("error") == []


def test_what_the_operator_has_answered_takes_no_room_from_the_rules():
    bench = bench_with("ask 203.0.113.0/24\ndeny 198.51.100.0/24")
    for last in range(64):
        bench.blocked(f"203.0.113.{last}")
    assert bench.answer("allow", *bench.ids())
    bench.blocked("198.51.100.1")
    assert [job.by for job in bench.docket.jobs()][-1] == "policy"
    assert bench.take("error") == []


def test_what_a_verdict_that_waits_would_answer_needs_no_room():
    bench = bench_with("allow www.example.com\ndeny 198.51.100.0/24")
    bench.blocked("203.0.113.1", names=["www.example.com"])
    for last in range(63):
        bench.blocked(f"198.51.100.{last}")
    bench.blocked("203.0.113.2", names=["www.example.com"])
    assert bench.ids() == [] and bench.take("error") == []
    assert list(bench.docket.jobs()[0].ids) == ["r1", "r65"]


def test_the_limit_is_told_once_for_each_flood():
    bench = bench_with("deny 198.51.100.0/24")
    for last in range(65):
        bench.blocked(f"198.51.100.{last}")
    bench.run()
    for last in range(100, 165):
        bench.blocked(f"198.51.100.{last}")
    assert len(bench.take("error")) == 2


@pytest.mark.parametrize("action", ["deny", "skip", "ask"])
def test_the_floor_defeats_no_rule_but_an_allow(action):
    bench = bench_with(action + " 10.0.0.0/8")
    bench.blocked("10.0.0.1", private=True)
    assert bench.take("error") == []


@pytest.mark.parametrize("dest", ["169.254.1.2", "169.254.169.254"])
def test_the_answer_does_not_allow_what_is_special_though_the_shield_calls_it_an_ordinary_address(dest):
    bench = bench_with(answer="allow")
    bench.blocked(dest, private=False)
    assert bench.run() == []
    assert len(bench.take("error")) == 1


def test_an_operators_verdict_goes_before_those_of_a_rule():
    bench = bench_with("deny 198.51.100.0/24")
    for last in range(5):
        bench.blocked(f"198.51.100.{last}")
    bench.blocked("203.0.113.9")
    assert bench.answer("allow", "r6")
    assert bench.run() == ["allow c1 203.0.113.9", *(f"deny c1 198.51.100.{last}" for last in range(5))]


def test_what_a_rule_has_queued_is_run_first_and_once_when_the_operator_wants_it_too():
    bench = bench_with()
    bench.blocked("203.0.113.9", names=["www.example.com"])
    bench.docket.set_painted(["r1"], bench.now)
    set_rules(bench, "deny 198.51.100.0/24\nallow www.example.com")
    bench.blocked("198.51.100.1")
    bench.blocked("203.0.113.10", names=["www.example.com"])
    assert [job.target for job in bench.docket.jobs()] == ["198.51.100.1", "www.example.com"]
    assert bench.answer("allow", "r1", name="www.example.com")
    assert bench.run(opened=["203.0.113.9"]) == ["allow c1 www.example.com", "deny c1 198.51.100.1"]


@pytest.mark.parametrize(
    "dest, wider, inside",
    [
        ("168.63.129.16", "168.0.0.0/6", "168.63.129.16"),
        ("168.63.129.16", "168.63.129.16/31", "168.63.129.16/32"),
        ("100.100.100.200", "100.64.0.0/10", "100.100.100.200"),
        ("192.0.0.192", "192.0.0.0/24", "192.0.0.192"),
        ("169.254.169.254", "169.254.0.0/16", "169.254.169.254"),
        ("fd00:ec2::254", "fd00::/8", "fd00:ec2::254"),
        ("64:ff9b::a9fe:a9fe", "64:ff9b::/96", "64:ff9b::a9fe:a9fe"),
        ("64:ff9b::a01:203", "64:ff9b::/96", "64:ff9b::a00:0/104"),
        ("64:ff9b::c0a8:1", "64:ff9b::c000:0/104", "64:ff9b::c0a8:0/112"),
    ],
)
def test_a_guarded_address_is_allowed_only_by_a_rule_inside_its_range(dest, wider, inside):
    bench = bench_with("allow www.example.com\nallow " + wider, answer="allow")
    bench.blocked(dest, names=["www.example.com"])
    assert bench.run() == [] and bench.ids() == ["r1"]
    set_rules(bench, "allow " + inside)
    assert bench.run() == ["allow c1 " + dest]


def test_what_lies_behind_a_nat64_and_is_not_guarded_is_allowed_as_any_other():
    bench = bench_with("allow 64:ff9b::/96")
    bench.blocked("64:ff9b::c633:6401")
    assert bench.run() == ["allow c1 64:ff9b::c633:6401"]


def test_icmp_in_a_rule_is_icmpv6_too_and_nothing_else():
    bench = bench_with("skip * icmp")
    bench.blocked("203.0.113.1", None, proto=1)
    bench.blocked("2001:db8::1", None, proto=58)
    bench.blocked("203.0.113.1", 443, proto=6)
    bench.blocked("203.0.113.1", None, proto=None)
    assert bench.ids() == ["r3", "r4"]


@pytest.mark.parametrize("dest", ["api.k8s", "db.lan1"])
def test_a_rule_may_be_about_a_name_whose_last_label_has_digits(dest):
    bench = bench_with("allow " + dest)
    bench.blocked(names=[dest])
    assert bench.run(opened=["203.0.113.10"]) == ["allow c1 " + dest]


def test_who_and_which_rule_has_closed_a_request_stands_in_its_record_and_in_the_history():
    bench = bench_with("skip *.example.net\nallow 203.0.113.0/24 port 443\ndeny 203.0.113.9", answer="skip")
    bench.blocked("203.0.113.1", names=["www.example.net"])
    bench.blocked("203.0.113.2", 80)
    bench.blocked("203.0.113.2")
    bench.blocked("203.0.113.9", 80)
    bench.blocked("10.0.0.1", private=True)
    bench.run()
    closed = {record["id"]: (record["why"], record["by"], record["rule"]) for record in bench.take("closed")}
    allow = "allow 203.0.113.0/24 port 443"
    assert closed == {
        "r1": ("skipped", "policy", "skip *.example.net"),
        "r2": ("skipped", "answer", None),
        "r3": ("applied", "policy", allow),
        "r4": ("skipped", "answer", None),
        "r5": ("floor", None, None),
    }
    told = [(answer.action, answer.by, answer.rule and answer.rule.text) for answer in bench.docket.history]
    assert told == [
        ("skip", "policy", "skip *.example.net"),
        ("skip", "answer", None),
        ("skip", "answer", None),
        ("allow", "policy", allow),
    ]


def test_an_operators_answer_is_closed_by_the_operator():
    bench = bench_with()
    for last in range(3):
        bench.blocked(f"203.0.113.{last}")
    bench.answer("skip", "r1")
    bench.answer("mute", "r2", by="script")
    bench.answer("deny", "r3")
    bench.run()
    assert [(one["why"], one["by"]) for one in bench.take("closed")] == [
        ("skipped", "operator"),
        ("muted", "script"),
        ("applied", "operator"),
    ]


def test_none_as_the_answer_leaves_open_what_the_rules_do():
    bench = bench_with("deny 203.0.113.9", answer="none")
    bench.blocked("203.0.113.9")
    bench.blocked("203.0.113.10")
    assert bench.run() == ["deny c1 203.0.113.9"]
    assert bench.docket.summary()["open"] == 1
