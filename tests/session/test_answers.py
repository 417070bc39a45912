"""Answers beyond the first key: undo, history, mute, bell, dry run, and a verdict that takes too long."""

from __future__ import annotations

import json
import os
import re
import shlex
import time

import endtoend
import pytest
from endtoend import KEYS
from stage import Stage
from support import eventually

desk = endtoend.desk

ADDRESS, OTHER = "203.0.113.10", "203.0.113.11"
NO = "any other key: no"


@pytest.fixture
def stage():
    return Stage()


def said(stage):
    """All that was painted, in one line."""
    return " ".join(stage.text.split())


def let_through(desk, address=ADDRESS):
    """Asked, allowed, told, and let out."""
    desk.press("a", desk.block(address))
    done = desk.t.expect("a allow %s ... done in" % address)
    assert desk.lab.connect(address, 443) == "connected"
    desk.t.expect("%s: first packet let out" % address)
    return done


# --- u


def undo(desk):
    """`u` where nothing is asked, as soon as it counts there; what it tells first."""
    desk.t.settled()
    time.sleep(endtoend.ARMED_OWN + endtoend.MARGIN)
    desk.t.send("u")
    return desk.t.expect(NO)


def test_undo_of_an_allow_is_a_deny_told_before_it_is_done(desk):
    desk.lab.listen(443)
    t = desk.sit()
    let_through(desk)
    asked = undo(desk)
    assert "u undoes `allow %s`" % ADDRESS in t.text()
    said = " ".join(t.text().split())
    assert (
        "there is no neutral un-allow, so the address is denied; connections that stand are not cut" in said
    )
    assert desk.host.targets() == ["allow " + ADDRESS], "nothing before the y"
    desk.press("y", asked, own=True)
    t.expect("u deny %s ... done in" % ADDRESS)
    assert desk.host.targets() == ["allow " + ADDRESS, "deny " + ADDRESS]
    assert desk.lab.connect(ADDRESS, 443) == "EHOSTUNREACH"
    t.send("h")
    t.expect("1 answered")
    t.expect(re.compile(r"allow %s +undone" % re.escape(ADDRESS)))
    t.expect("h back")
    assert "1 allowed, 1 denied" in desk.quit()


def test_undo_of_a_deny_is_an_allow_and_any_other_key_than_y_is_no(stage):
    stage.blocked()
    for key in "dun":
        stage.key(key)
    assert stage.text.split("\n")[-2:] == ["  no", ""]
    assert stage.commands == ["deny c1 " + ADDRESS]
    stage.key("u")
    assert "which opens what was merely blocked before" in said(stage)
    stage.key("y")
    assert stage.commands == ["deny c1 " + ADDRESS, "allow c1 " + ADDRESS]
    assert "u allow %s ... done in" % ADDRESS in stage.text
    stage.event("allowed", ADDRESS)
    stage.refresh()
    assert "%s: first packet let out" % ADDRESS in stage.text


def test_undo_of_an_allow_by_name_is_a_deny_of_the_name(stage):
    stage.blocked(names=["www.example.com"])
    stage.result = {"opened": [ADDRESS, OTHER]}
    for key in "Ayu":
        stage.key(key)
    assert "opened %s, %s" % (ADDRESS, OTHER) in stage.text
    assert "the host resolves now is denied, the name and subdomains are NXDOMAIN" in said(stage)
    assert "what opened live stays open until it expires" in said(stage)
    stage.key("y")
    assert stage.commands == ["allow c1 www.example.com", "deny c1 www.example.com"]
    assert "u deny www.example.com ... done in" in stage.text


def test_a_second_undo_is_about_the_verdict_before(stage):
    for address in (ADDRESS, OTHER):
        stage.blocked(address)
        stage.key("d")
    for address in (OTHER, ADDRESS):
        stage.key("u")
        assert stage.keys == "y allow %s   any other key: no" % address
        stage.key("y")
        assert stage.commands[-1] == "allow c1 " + address
    stage.key("u")
    assert "there is no verdict to undo" in stage.text


def test_while_a_question_stands_undo_is_about_the_verdict_before_it(stage):
    stage.blocked(ADDRESS)
    stage.key("d")
    stage.blocked(OTHER)
    stage.key("u")
    assert "u undoes `deny %s`" % ADDRESS in stage.text
    stage.key("y")
    assert stage.text.count("c1  " + OTHER) == 2, "it is asked again"
    stage.key("s")
    assert stage.commands == ["deny c1 " + ADDRESS, "allow c1 " + ADDRESS]


HUNDRED = ["203.0.113.%d" % last for last in range(1, 101)]


def allow_many(desk, number):
    """So many addresses wait; the list allows all of them."""
    for address in HUNDRED[:number]:
        desk.lab.connect(address, 443)
    endtoend.lists(desk.t, number)
    desk.t.send("*")
    desk.t.expect("%d marked" % number)
    desk.press("a", desk.t.expect("l back"), own=True)
    asked = desk.t.expect("number: ")
    for digit in str(number):
        desk.t.send(digit)
    desk.t.expect("number: %d" % number)
    desk.press("\r", asked, own=True)
    desk.t.expect("a allow 0 of %d ...   ESC ends the rest" % number)


def test_of_a_hundred_verdicts_esc_ends_the_rest_and_u_takes_back_what_was_done(desk):
    desk.host.control("terok-shield", delay=0.3, targets={HUNDRED[1]: {"mode": "fail"}})
    t = desk.sit(size=(40, 80))
    t.expect("? keys")
    allow_many(desk, 100)
    t.expect(re.compile(r"a allow (\d+) of 100 ... 1 failed   ESC ends the rest"))
    t.send("\x1b")
    done, not_run, waits = map(
        int,
        t.expect(
            re.compile(
                r"a allow 100 addresses ... (\d+) done, 1 FAILED \(h\), (\d+) not run: (\d+) wait\s+again"
            )
        ).groups,
    )
    assert done + 1 + not_run == 100 and waits == 1 + not_run and not_run > 50
    assert len(desk.host.verdicts()) == done + 1, "not one more"
    t.send("h")
    t.expect(re.compile("1  .* allow %s  failed" % re.escape(HUNDRED[1])))
    t.send("h")
    desk.host.control("terok-shield")
    asked = t.expect(KEYS)
    time.sleep(1.0)  # no key decides so soon after an ESC
    desk.press("u", asked, own=True)
    asked = t.expect(NO)
    assert "u undoes `allow` of these %d addresses" % done in t.text()
    desk.press("y", asked, own=True)
    t.expect("u deny %d addresses ... done in" % done)
    targets = desk.host.targets()
    assert targets[done + 1 :] == [
        "deny " + one.split()[1] for one in targets[: done + 1] if one.split()[1] != HUNDRED[1]
    ]
    t.send("\x03")
    text = " ".join(desk.ends(5).split())
    assert "%d allowed, %d denied, 1 failed, %d unanswered" % (done, done, waits) in text


def test_the_end_counts_what_it_leaves_in_the_queue_once_as_open(desk, tmp_path):
    desk.host.control("terok-shield", delay=1.0)
    log = tmp_path / "log.jsonl"
    t = desk.sit("--log", str(log), size=(40, 80))
    allow_many(desk, 30)
    eventually(desk.host.verdicts, what="the first one runs")
    t.send("q")
    asked = t.expect("any other key: no")
    assert "verdicts not run" in " ".join(t.text().split())
    desk.press("q", asked, own=True)
    text = " ".join(desk.ends(5).split())
    left = 30 - len(desk.host.verdicts())
    assert "! %d verdicts not run: what they were for is unanswered" % left in text
    assert "stopped: %d allowed, %d unanswered; exit code 5" % (30 - left, left) in text
    assert "FAILED" not in text and "| terok-shield" not in text
    records = [json.loads(line) for line in log.read_text().splitlines()]
    not_run = [record for record in records if record.get("reason") == "not-started"]
    assert len(not_run) == left and not any(record["error"] for record in not_run)
    stopped = {record["id"] for record in records if record.get("why") == "stopped"}
    assert stopped == {record["id"] for record in not_run}
    assert (records[-1]["failed"], records[-1]["open"], records[-1]["exit"]) == (0, left, 5)


def test_an_undo_that_fails_is_told_and_the_verdict_can_be_undone_still(stage):
    stage.blocked()
    stage.key("d")
    stage.result = {"result": "failed", "error": "Error: busy"}
    for key in "uy":
        stage.key(key)
    assert "u allow %s ... FAILED after" % ADDRESS in stage.text
    assert "| terok-shield: Error: busy" in stage.text
    stage.result = {}
    for key in "uy":
        stage.key(key)
    assert "u allow %s ... done in" % ADDRESS in stage.text


# --- m


def test_mute_is_about_the_address_on_every_port_which_is_counted_still(stage):
    stage.blocked(port=443)
    stage.key("m")
    assert "  m not in this session: %s" % ADDRESS in stage.text.split("\n")
    for port, proto in ((443, 6), (443, 6), (80, 6), (443, 17)):
        stage.blocked(port=port, proto=proto)
    assert stage.ids() == []
    stage.key("l")
    assert re.search(r"muted, .*:\n     m  %s +4 tries\n" % ADDRESS, stage.text)
    assert stage.text.count("tcp 443") == 1 and stage.commands == []
    assert stage.docket.summary()["muted"] == 3, "requests"


def test_one_mute_is_enough_for_a_name_and_history_takes_it_back(desk):
    t = desk.sit()
    for last in range(1, 4):
        desk.c1.looks_up("telemetry.example.net", "203.0.113.%d" % last)
    desk.press("m", desk.block("203.0.113.1"))
    t.expect("  m not in this session | telemetry.example.net\n")
    for last, port in ((2, 443), (3, 443), (1, 80)):
        desk.lab.connect("203.0.113.%d" % last, port)
    desk.settled()
    t.send("l")
    t.expect("0 waiting")
    t.expect(re.compile("m  telemetry.example.net +3 tries"))
    t.expect("l back")
    t.send("l")
    t.send("h")
    t.expect(re.compile("1  .*mute telemetry.example.net"))
    t.expect("h back")
    t.send("1")
    t.expect("c1  203.0.113.1  tcp 443 https")
    t.expect("| telemetry.example.net")
    desk.press("s", t.expect(KEYS), own=True)
    t.expect("s not now\n")
    desk.lab.connect("203.0.113.2", 443)
    desk.press("s", t.expect(KEYS))
    t.expect("s not now\n")
    text = " ".join(desk.quit().split())
    assert "2 skipped, 4 muted (tried 3 times since); exit code 0" in text
    assert desk.host.verdicts() == []


def test_mute_covers_every_address_of_the_painted_name_and_can_be_taken_back_out_of_the_history(stage):
    stage.blocked("198.51.100.7")  # they wait together behind it
    for address in (ADDRESS, OTHER):
        stage.blocked(address, names=["api.example.org"])
    stage.key("s")
    assert "1 more of its addresses waits too" in stage.text
    stage.key("m")
    assert "  m not in this session (2 requests) | api.example.org" in stage.text
    stage.key("h")
    assert "2 answered" in stage.text
    stage.key("1")
    assert stage.text.split("\n")[-3].startswith("c1  " + ADDRESS)
    assert stage.text.count("1 more of its addresses waits too") == 2, "asked again as it was"
    stage.key("d")
    assert stage.commands == ["deny c1 " + ADDRESS]
    stage.key("s")
    summary = stage.docket.summary()
    assert [summary[word] for word in ("denied", "skipped", "muted")] == [1, 2, 2]
    stage.key("h")
    assert re.search("mute api.example.org +undone", stage.text)


# --- --dry-run, --bell


def test_a_dry_run_decides_and_runs_nothing_and_needs_no_verdict_command(desk):
    t = desk.sit("--dry-run", "--shield", "/nowhere/terok-shield", "--bell")
    t.expect("dry run: what is answered is told, no verdict is run")
    desk.press("a", desk.block(ADDRESS))
    t.expect("a allow %s ... dry run: nothing was run" % ADDRESS)
    desk.press("d", desk.block(OTHER))
    t.expect("d deny %s ... dry run: nothing was run" % OTHER)
    assert desk.lab.connect(ADDRESS, 443) == "EHOSTUNREACH"
    desk.settled()
    text = desk.quit(0)
    assert desk.host.verdicts() == [] and text.count(KEYS) == 2
    assert "still blocked" not in text, "nothing was promised"
    assert "the same again" not in text
    assert "stopped: 2 verdicts not run (dry run)" in text
    assert t.raw.count(b"\a") == 2, "one for each question"


# --- --shield


def test_the_commands_to_repeat_can_be_pasted_whatever_the_verdict_command_is(desk, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "shield").symlink_to(desk.host.bin + "/terok-shield")
    words = ["env", "SOME=two words", str(folder / "shield")]
    t = desk.sit("--shield", shlex.join(words))
    desk.press("a", desk.block(ADDRESS))
    t.expect("done in")
    told, _, summary = desk.quit().partition("the same again:")[2].partition("stopped:")
    assert summary.splitlines() == [" 1 allowed; exit code 0"], "which stands last"
    pasted = " ".join(told.split("\n")).replace("  ", "")
    assert shlex.split(pasted)[-6:] == [*words, "allow", "c1", ADDRESS], pasted


# --- --verdict-timeout


def test_a_late_verdict_is_told_as_unknown_ended_at_the_second_deadline_and_holds_up_only_the_next(desk):
    desk.host.control("terok-shield", targets={ADDRESS: {"mode": "hang"}})
    t = desk.sit("--verdict-timeout", "1")
    desk.press("a", desk.block(ADDRESS))
    late = eventually(desk.host.verdicts, what="the verdict command runs")[0]
    desk.press("a", desk.block(OTHER))  # other questions go on; its verdict waits
    unknown = "a allow %s ... no answer in 1.0 s: it may or may not be open" % ADDRESS
    eventually(lambda: unknown in t.text(), what="it is told to be late")
    eventually(lambda: "a allow %s ... done in" % OTHER in t.text(), what="the other verdict is done")
    assert not os.path.exists("/proc/%d" % late.pid), "nothing runs beside it"
    desk.press("s", t.expect(KEYS))
    t.expect("s not now\n")
    text = desk.quit(5)
    assert "the last answer had no outcome in time: it may or may not be open" in " ".join(text.split())
    assert "1 allowed" in text and "1 unknown" in text


def test_a_late_success_is_told_and_answers_the_request(stage):
    (job,) = late(stage)
    stage.finish(job)
    stage.refresh()
    stage.wait(3)
    assert "a allow %s ... done in 33 s" % ADDRESS in stage.text
    summary = stage.docket.summary()
    assert (summary["allowed"], summary["unknown"], summary["open"]) == (1, 0, 0)


def test_a_late_failure_leaves_it_waiting(stage):
    (job,) = late(stage)
    stage.finish(job, "failed", error="Error: locked")
    stage.refresh()
    stage.wait(3)
    assert "a allow %s ... FAILED after" % ADDRESS in stage.text
    assert "| terok-shield: Error: locked" in stage.text
    stage.auto = True
    stage.key("a")
    assert "a allow %s ... done in 0.3 s" % ADDRESS in stage.text
    assert stage.docket.summary()["open"] == 0


def late(stage):
    """A verdict that has been told as unknown, and runs on; three seconds later."""
    stage.auto = False
    stage.blocked()
    stage.key("a")
    (job,) = stage.start()
    stage.mono = job.started + 30
    stage.docket.overdue(job, stage.now)
    stage.refresh()
    assert "a allow %s ... no answer in 30 s: it may or may not be open" % ADDRESS in stage.text
    stage.wait(3)
    return [job]
