"""What the shield does with our verdicts, and what we tell of it: floor, states, proof, undo, profiles."""

from __future__ import annotations

import os

import pytest
from real.desk import NOT_OPEN
from real.neighbours import LOOPBACK
from support import eventually


def old(rig):
    """0.7: an allow opens private addresses, too."""
    return rig.version.startswith("0.7.")


# --- the floor


@pytest.mark.parametrize("what", ["a private address", "this machine's own loopback"])
def test_a_private_address_is_asked_with_a_warning_where_an_allow_opens_it(what, rig, desk, near):
    address = "10.99.0.21" if what == "a private address" else rig.fact(LOOPBACK)
    t = desk.sit(near)
    if not old(rig):
        rig.conn(near, address)
        t.expect("%s  %s  tcp 443" % (near, address))
        t.expect("! not asked: the shield keeps private ranges shut, whatever is allowed")
        desk.quit()
        return
    asked = desk.block(near, address)
    assert "! %s: " % what in t.text()
    desk.press("a", asked)
    desk.press("y", t.expect("y allow " + address), own=True)
    t.expect("a allow %s ... done in" % address)
    assert rig.conn(near, address) == address + " connected"
    t.expect("%s  %s: first packet let out" % (near, address))
    desk.quit()


@pytest.fixture(scope="module")
def near(rig):
    """A container that nothing private was allowed for yet."""
    return rig.shielded("near")


# --- its states


def test_what_becomes_of_the_shield_is_a_line_of_the_audit_log_and_told_while_it_happens(rig, desk, fresh):
    script, seen = desk.script(fresh), []
    wide = "--all" if old(rig) else "--disengage"
    for command in (["down"], ["down", wide], ["quarantine"], ["up"]):
        rig.posture(fresh, *command)
        last = rig.audit(fresh)[-1]
        seen.append((rig.status(fresh), last["action"], last.get("detail")))
    assert seen == [
        ("down", "shield_down", None),
        ("disengaged", "shield_down", "allow_all=True" if old(rig) else "disengaged=True"),
        ("quarantine", "shield_quarantine", None),
        ("up", "shield_up", None),
    ]
    told = [script.until("shield", container=fresh)["state"] for _ in range(4)]
    assert told == [status for status, _, _ in seen]
    assert script.finish()[0] == 0


def test_in_quarantine_the_start_says_so_and_a_failed_allow_tells_why(desk, quarantined):
    t = desk.sit(quarantined)
    t.expect("shield quarantine")
    asked = desk.block_in_quarantine(quarantined, "192.0.2.31")
    desk.press("a", asked)
    t.expect("a allow 192.0.2.31 ... FAILED after")
    t.expect("! the shield is in quarantine: no allow works until it is up again")
    t.expect("| terok-shield: ")
    t.send("\x03")
    t.wait()


@pytest.mark.newest
def test_the_reason_of_a_failed_allow_is_told_although_a_journal_swallows_it(rig, desk, quarantined):
    with rig.journal():
        script = desk.script(quarantined)
        assert rig.conn(quarantined, "192.0.2.39", patience=1) == "192.0.2.39 timeout"
        asked = script.until("pending", dest="192.0.2.39")
        script.say("allow " + asked["id"])
        verdict = script.until("verdict", id=asked["id"])
    assert (verdict["result"], verdict["reason"]) == ("failed", "quarantine")
    assert verdict["error"] == "Error: No IPs allowed for " + quarantined
    assert script.finish()[0] == 5


def test_a_lowered_shield_is_told_at_the_start_and_nothing_is_asked(rig, desk, fresh):
    rig.posture(fresh, "down")
    t = desk.sit(fresh)
    t.expect("shield down")
    assert rig.conn(fresh, "192.0.2.32") == "192.0.2.32 connected"
    rig.posture(fresh, "up")
    desk.press("s", desk.block(fresh, "192.0.2.33"))
    assert "192.0.2.32" not in desk.quit()


# --- proof of effect


def test_a_deny_of_somebody_else_above_our_allow_is_told(rig, desk, c):
    script = desk.script(c)
    rig.conn(c, "192.0.2.34")
    asked = script.until("pending", dest="192.0.2.34")
    script.say("allow " + asked["id"])
    script.until("verdict", id=asked["id"], result="applied")
    rig.conn(c, "192.0.2.34")
    script.until("passed", dest="192.0.2.34", port=443, proto=6)
    rig.shield("deny", c, "192.0.2.34")

    def told():
        rig.conn(c, "192.0.2.34")
        return script.seen("still_blocked", dest="192.0.2.34")

    assert eventually(told)[0]["reason"] == "denied"
    assert script.finish()[0] == 0


def test_an_address_that_a_network_has_open_already_is_no_failure(rig, desk, c):
    script = desk.script(c)
    rig.conn(c, "192.0.2.65")
    asked = script.until("pending", dest="192.0.2.65")
    assert rig.shield("allow", c, "192.0.2.64/28").returncode == 0
    script.say("allow " + asked["id"])
    verdict = script.until("verdict", id=asked["id"])
    assert (verdict["result"], verdict["reason"]) == ("applied", "already-open")
    assert script.finish()[0] == 0


# --- undo


def test_undoing_an_allow_denies_the_address(rig, desk, c):
    t = desk.sit(c)
    desk.press("a", desk.block(c, "192.0.2.35"))
    t.expect("done in")
    desk.press("u", t.expect("\n"))
    desk.press("y", t.expect("y deny 192.0.2.35"), own=True)
    t.expect("u deny 192.0.2.35 ... done in")
    assert rig.conn(c, "192.0.2.35").split()[1] in NOT_OPEN
    desk.quit()


def test_undoing_an_allow_by_name_denies_the_name(rig, desk, c):
    t = desk.sit(c)
    desk.press("A", desk.block(c, "undone.example", shown="192.0.2.42"))
    desk.press("y", t.expect("y allow undone.example"), own=True)
    t.expect("A allow undone.example ... done in")
    desk.press("u", t.expect("\n"))
    desk.press("y", t.expect("y deny undone.example"), own=True)
    t.expect("u deny undone.example ... done in")
    assert rig.conn(c, "192.0.2.42").split()[1] in NOT_OPEN
    if not old(rig):
        assert rig.conn(c, "undone.example").startswith("no address")
    desk.quit()


# --- profiles


def test_a_saved_profile_opens_the_same_in_a_new_container(rig, desk, c):
    path = rig.home + "/.config/terok/shield/profiles/saved.txt"
    script = desk.script("--save-profile", path, c)
    for host, dest, word in (
        ("192.0.2.36", "192.0.2.36", ""),
        ("saved.example", "192.0.2.37", " saved.example"),
    ):
        rig.conn(c, host)
        asked = script.until("pending", dest=dest)
        script.say("allow %s%s" % (asked["id"], word))
        script.until("verdict", id=asked["id"], result="applied")
    assert script.finish()[0] == 0
    plus = "" if old(rig) else "+"
    with open(path) as file:
        lines = [line for line in file.read().splitlines() if not line.startswith("#")]
    assert lines == [plus + "192.0.2.36", plus + "saved.example"]
    rig.shielded("again", profile="saved")
    assert rig.conn("again", "192.0.2.36") == "192.0.2.36 connected"
    assert rig.conn("again", "saved.example") == "192.0.2.37 connected"
    assert rig.conn("again", "192.0.2.38").split()[1] in NOT_OPEN
    os.unlink(path)
