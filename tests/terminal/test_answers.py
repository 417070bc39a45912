"""Answers beyond the first key: undo, history, mute, bell, dry run, and a verdict that takes too long."""

from __future__ import annotations

import os
import re
import shlex
import time

import endtoend
import pytest
from endtoend import KEYS
from support import eventually, with_a_fault

desk = endtoend.desk

ADDRESS, OTHER = "203.0.113.10", "203.0.113.11"
NO = "any other key: no"


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
    desk.t.quiet(endtoend.ARMED_OWN + endtoend.MARGIN)
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


def test_undo_of_a_deny_is_an_allow_and_any_other_key_than_y_is_no(desk):
    desk.lab.listen(443)
    t = desk.sit()
    desk.press("d", desk.block())
    t.expect("d deny %s ... done in" % ADDRESS)
    desk.press("n", undo(desk), own=True)
    t.expect("  no")
    assert len(desk.host.verdicts()) == 1
    asked = undo(desk)
    assert "which opens what was merely blocked before" in " ".join(t.text().split())
    desk.press("y", asked, own=True)
    t.expect("u allow %s ... done in" % ADDRESS)
    assert desk.lab.connect(ADDRESS, 443) == "connected"
    t.expect("%s: first packet let out" % ADDRESS)
    desk.quit()


def test_undo_of_an_allow_by_name_is_a_deny_of_the_name(desk):
    desk.host.control("terok-shield", names={"www.example.com": [ADDRESS, OTHER]})
    t = desk.sit()
    desk.c1.looks_up("www.example.com", ADDRESS)
    asked = desk.block()
    desk.press("A", asked)
    desk.press("y", t.expect(NO), own=True)
    t.expect("A allow www.example.com ... done in")
    t.expect("opened %s, %s" % (ADDRESS, OTHER))
    asked = undo(desk)
    said = " ".join(t.text().split())
    assert "every address the host resolves now is denied and the name answers NXDOMAIN" in said
    assert "what opened live since then stays open until it expires" in said
    desk.press("y", asked, own=True)
    t.expect("u deny www.example.com ... done in")
    assert desk.host.targets() == ["allow www.example.com", "deny www.example.com"]
    desk.quit()


def test_a_second_undo_is_about_the_verdict_before(desk):
    t = desk.sit()
    desk.press("d", desk.block(ADDRESS))
    t.expect("done in")
    desk.press("d", desk.block(OTHER))
    t.expect("done in")
    for address in (OTHER, ADDRESS):
        asked = undo(desk)
        assert "u undoes `deny %s`" % address in t.text()
        desk.press("y", asked, own=True)
        t.expect("u allow %s ... done in" % address)
    t.quiet(endtoend.ARMED_OWN + endtoend.MARGIN)
    t.send("u")
    t.expect("there is no verdict to undo")
    desk.quit()


def test_while_a_question_stands_undo_is_about_the_verdict_before_it(desk):
    t = desk.sit()
    desk.press("d", desk.block(ADDRESS))
    t.expect("done in")
    desk.press("u", desk.block(OTHER))
    t.expect("u undoes `deny %s`" % ADDRESS)
    desk.press("y", t.expect(NO), own=True)
    t.expect("u allow %s ..." % ADDRESS)
    t.expect(OTHER)
    desk.press("s", t.expect(KEYS), own=True)
    t.expect("  s not now")
    desk.quit()
    assert desk.host.targets() == ["deny " + ADDRESS, "allow " + ADDRESS]


def test_an_undo_that_fails_is_told_and_the_verdict_can_be_undone_still(desk):
    t = desk.sit()
    desk.press("d", desk.block())
    t.expect("done in")
    desk.host.control("terok-shield", mode="fail", error="Error: busy")
    desk.press("y", undo(desk), own=True)
    t.expect("u allow %s ... FAILED after" % ADDRESS)
    t.expect("| terok-shield: Error: busy")
    desk.host.control("terok-shield")
    desk.press("y", undo(desk), own=True)
    t.expect("u allow %s ... done in" % ADDRESS)
    desk.quit()


# --- h


def test_the_history_is_newest_first_and_a_digit_asks_that_one_again(desk):
    t = desk.sit()
    desk.press("s", desk.block(ADDRESS))
    t.expect("  s not now")
    desk.press("d", desk.block(OTHER))
    t.expect("done in")
    t.send("h")
    t.expect("2 answered")
    t.expect(re.compile(r"1  \d\d:\d\d:\d\d  c1  deny 203\.0\.113\.11  applied"))
    t.expect(re.compile(r"2  \d\d:\d\d:\d\d  c1  skip 203\.0\.113\.10"))
    t.expect("h back")
    t.send("2")
    t.expect("c1  " + ADDRESS)
    desk.press("a", t.expect(KEYS), own=True)
    t.expect("a allow %s ... done in" % ADDRESS)
    desk.quit()
    assert desk.host.targets() == ["deny " + OTHER, "allow " + ADDRESS]


# --- m


def test_mute_is_about_the_address_with_its_port_and_protocol_which_are_counted_still(desk):
    t = desk.sit()
    desk.press("m", desk.block(ADDRESS, 443))
    t.expect("  m not in this session")
    for _ in range(3):
        desk.lab.connect(ADDRESS, 443)
    asked = desk.block(ADDRESS, 80)
    assert "tcp 80" in t.text()
    desk.press("m", asked)
    t.expect("  m not in this session")
    assert desk.lab.connect(ADDRESS, 443, "udp") == "EPERM"
    t.expect("udp 443")
    desk.press("s", t.expect(KEYS))
    t.expect("  s not now")
    t.quiet(0.3)
    t.send("l")
    t.expect("not asked: 2 muted")
    t.expect("l back")
    text = desk.quit()
    assert text.count("tcp 443") == 1 and "1 skipped, 2 muted" in text
    assert desk.host.verdicts() == []


def test_mute_covers_every_address_of_the_painted_name_and_can_be_taken_back_out_of_the_history(desk):
    t = desk.sit()
    desk.c1.looks_up("api.example.org", ADDRESS, OTHER)
    asked = desk.block("198.51.100.7")  # they wait together behind it
    desk.lab.connect(ADDRESS, 443)
    desk.lab.connect(OTHER, 443)
    t.quiet(0.1)
    desk.press("s", asked)
    t.expect("1 more of its addresses waits too")
    desk.press("m", t.expect(KEYS), own=True)
    t.expect("  m not in this session (2 requests)")
    t.quiet(0.2)
    t.send("h")
    t.expect("2 answered")
    t.expect("h back")
    t.send("1")
    t.expect("c1  " + ADDRESS)
    desk.press("d", t.expect(KEYS), own=True)
    t.expect("d deny %s ... done in" % ADDRESS)
    assert "1 denied, 1 skipped, 2 muted" in desk.quit()


# --- --bell


def test_the_bell_rings_once_for_each_question_that_comes_by_itself(desk):
    t = desk.sit("--bell")
    asked = desk.block(ADDRESS)
    desk.lab.connect("203.0.113.12", 443)  # waits behind it: the operator's own key brings it up
    t.quiet(0.1)
    desk.press("s", asked)
    t.expect("203.0.113.12")
    desk.press("s", t.expect(KEYS), own=True)
    t.expect("  s not now")
    assert t.raw.count(b"\a") == 1
    desk.press("s", desk.block(OTHER))
    t.expect("  s not now")
    desk.quit()
    assert t.raw.count(b"\a") == 2


# --- --dry-run


def test_a_dry_run_decides_and_runs_nothing_and_needs_no_verdict_command(desk):
    t = desk.sit("--dry-run", "--shield", "/nowhere/terok-shield")
    desk.press("a", desk.block(ADDRESS))
    t.expect("a allow %s ... dry run: nothing was run" % ADDRESS)
    desk.press("d", desk.block(OTHER))
    t.expect("d deny %s ... dry run: nothing was run" % OTHER)
    assert desk.lab.connect(ADDRESS, 443) == "EHOSTUNREACH"
    t.quiet(0.4)
    text = desk.quit(0)
    assert desk.host.verdicts() == [] and text.count(KEYS) == 2
    assert "still blocked" not in text, "nothing was promised"
    assert "the same again" not in text
    assert "stopped: 2 decided in a dry run" in text
    assert b"\a" not in t.raw, "there was no --bell"


# --- --shield


def test_the_commands_to_repeat_can_be_pasted_whatever_the_verdict_command_is(desk, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "shield").symlink_to(desk.host.bin + "/terok-shield")
    words = ["env", "SOME=two words", str(folder / "shield")]
    t = desk.sit("--shield", shlex.join(words))
    desk.press("a", desk.block(ADDRESS))
    t.expect("done in")
    pasted = " ".join(desk.quit().partition("the same again:")[2].split("\n")).replace("  ", "")
    assert shlex.split(pasted)[-6:] == [*words, "allow", "c1", ADDRESS], pasted


@pytest.mark.parametrize(
    "trouble, told",
    [
        ({"mode": "fail"}, "u deny %s ... FAILED" % ADDRESS),
        ({"mode": "hang"}, "u deny %s ... no answer" % ADDRESS),
    ],
    ids=["failed", "without an outcome"],
)
def test_an_allow_that_was_to_be_undone_is_not_among_the_commands_to_repeat(desk, trouble, told):
    t = desk.sit("--verdict-timeout", "0.5")
    for address in (ADDRESS, OTHER):
        desk.press("a", desk.block(address))
        t.expect("a allow %s ... done in" % address)
    desk.press("y", undo(desk), own=True)
    t.expect("u deny %s ... done in" % OTHER)
    desk.host.control("terok-shield", **trouble)
    desk.press("y", undo(desk), own=True)
    t.expect(told)
    t.send("\x03")
    again = desk.ends(5).partition("the same again:")[2]
    assert re.findall("terok-shield .*", again) == ["terok-shield deny c1 %s" % OTHER]


def test_nor_is_one_that_was_to_be_denied_later(desk):
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("a allow %s ... done in" % ADDRESS)
    t.quiet(0.1)
    t.send("h")
    t.expect("h back")
    t.send("1")
    asked = t.expect(KEYS)
    desk.host.control("terok-shield", mode="fail")
    desk.press("d", asked, own=True)
    t.expect("d deny %s ... FAILED" % ADDRESS)
    t.send("\x03")
    assert "the same again" not in desk.ends(5)


# --- a fault of ours

FAULT = """

plain = Docket.handle

def handle(docket, *args):
    if docket.open_count():
        raise KeyError("a bug")
    plain(docket, *args)

Docket.handle = handle
"""


def test_what_went_wrong_is_told_below_the_line_of_keys(desk, tmp_path):
    desk.pyz = with_a_fault(desk.pyz, str(tmp_path / "broken.pyz"), "docket", FAULT)
    t = desk.sit()
    desk.block(ADDRESS)
    desk.lab.connect(OTHER, 443)
    t.expect("hint: run it with --debug", timeout=10)
    assert t.wait() == 70
    assert [line.partition(":")[0] for line in t.screen() if "internal error" in line] == ["simple-clearance"]
    assert [line for line in t.screen() if line.rstrip().endswith(KEYS)], "which stays as it was"


# --- --verdict-timeout


class Deadlines:
    """A stand-in for a verdict that hangs: when it was told of, when it ended, and by what."""

    def __init__(self, desk):
        self.desk = desk
        self.call = eventually(desk.host.verdicts, what="the verdict command runs")[0]

    def gone(self, timeout=5.0):
        """The seconds from its start to its end."""
        eventually(lambda: not os.path.exists("/proc/%d" % self.call.pid), timeout, "the command is ended")
        return time.monotonic() - self.call.began


def test_a_late_verdict_is_told_as_unknown_ended_at_the_second_deadline_and_blocks_only_its_container(desk):
    desk.host.control("terok-shield", targets={ADDRESS: {"mode": "hang"}})
    t = desk.sit("--verdict-timeout", "1.5")
    desk.press("a", desk.block(ADDRESS))
    late = Deadlines(desk)
    desk.press("a", desk.block(OTHER))  # other questions go on; its verdict waits
    told = t.expect("a allow %s ... no answer in 1.5 s: it may or may not be open" % ADDRESS)
    assert 1.4 < told.at - late.call.began < 2.0
    assert len(desk.host.verdicts()) == 1, "nothing runs beside it"
    assert 2.9 < late.gone() < 3.8, "TERM at the second deadline"
    eventually(lambda: "a allow %s ... done in" % OTHER in t.text(), what="the other verdict is done")
    assert desk.host.verdicts()[1].began - late.call.began > 2.9
    assert "the last answer had no outcome in time: it may or may not be open" in " ".join(t.text().split())
    t.quiet(0.2)
    desk.press("s", t.expect(KEYS))
    t.expect("  s not now")
    text = desk.quit(5)
    assert "1 allowed" in text and "1 unknown" in text


def test_one_that_minds_no_term_is_killed_two_seconds_later(desk):
    desk.host.control("terok-shield", mode="stubborn")
    t = desk.sit("--verdict-timeout", "0.5")
    desk.press("a", desk.block())
    stubborn = Deadlines(desk)
    t.expect("no answer in 0.5 s")
    assert 2.9 < stubborn.gone() < 3.8
    t.send("\x03")
    desk.ends(5)


def test_a_late_success_is_told_and_answers_the_request(desk):
    desk.host.control("terok-shield", delay=1.0)
    t = desk.sit("--verdict-timeout", "0.7")
    desk.press("a", desk.block())
    t.expect("no answer in 0.7 s: it may or may not be open")
    t.expect("a allow %s ... done in 1." % ADDRESS)
    assert desk.lab.set_contains("allow", ADDRESS)
    t.quiet(0.3)
    text = desk.quit(0)
    assert "1 allowed" in text and "unknown" not in text.rpartition("stopped:")[2]


def test_a_late_failure_leaves_it_waiting(desk):
    desk.host.control("terok-shield", delay=0.9, mode="fail", error="Error: locked")
    t = desk.sit("--verdict-timeout", "0.6")
    desk.press("a", desk.block())
    t.expect("no answer in 0.6 s")
    t.expect("a allow %s ... FAILED after" % ADDRESS)
    t.expect("| terok-shield: Error: locked")
    desk.host.control("terok-shield")
    desk.press("a", t.expect(KEYS))
    t.expect("done in")
    desk.quit(0)
