"""The states of the shield: down, disengaged, quarantine, up again; and packets that a deny refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess

import endtoend
import pytest
from endtoend import KEYS

desk = endtoend.desk

ADDRESS, OTHER = "203.0.113.10", "203.0.113.11"
EVERYTHING = "0.0.0.0-255.255.255.255"

# What the packet filter holds while the shield is in quarantine: no set, and nothing gets out.
QUARANTINE = """
flush ruleset
table inet terok_shield {
 chain output {
  type filter hook output priority filter; policy drop;
  log prefix "TEROK_SHIELD_BLOCKED: " group 100 counter drop
 }
}
"""


def down(desk):
    """Everything passes and is logged as BYPASS, as while the shield is down."""
    desk.lab.add("bypass", EVERYTHING)


def watching(desk):
    """A session that has watched for a while: packets from before a change may come 0.4 s after it."""
    t = desk.sit()
    t.quiet(0.45)
    return t


def up(desk):
    desk.lab.remove("bypass", EVERYTHING)


def told(t, text):
    return t.expect(re.compile(r"! c1: %s" % text))


# --- told by packets


def test_packets_that_pass_because_the_shield_is_down_are_told_once_and_when_it_is_up_again(desk):
    desk.lab.listen(443)
    t = watching(desk)
    down(desk)
    for address in (ADDRESS, OTHER, ADDRESS):
        assert desk.lab.connect(address, 443) == "connected"
    told(t, "the shield is down: connections are let through")
    t.quiet(0.6)
    t.send("l")
    t.expect(re.compile(r"not asked: \d+ let through while the shield was down"))
    t.expect("l back")
    t.send("l")
    t.quiet(0.45)
    text = t.text()
    assert text.count("the shield is down") == 1 and KEYS not in text
    up(desk)
    desk.lab.connect(OTHER, 443)
    t.expect("c1  " + OTHER)
    asked = t.expect(KEYS)
    told(t, "the shield is up again")
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit(0)


def test_a_change_is_told_below_a_question_that_stands(desk):
    desk.lab.listen(443)
    t = watching(desk)
    asked = desk.block(OTHER)
    down(desk)
    desk.lab.connect(ADDRESS, 443)
    told(t, "the shield is down")
    t.expect(KEYS)
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit(0)


# --- told by the audit log


def test_each_change_in_the_audit_log_is_told_once(desk):
    t = desk.sit()
    desk.c1.shield("down")
    told(t, "the shield is down: ")
    for state in ("disengaged", "quarantine", "up"):
        desk.c1.shield(state)
    told(t, "the shield is disengaged: everything is let through")
    told(t, "the shield is in quarantine: everything is blocked, an allow fails")
    told(t, "the shield is up again")
    desk.c1.shield("up")
    desk.c1.append("audit.jsonl", 'no line of it\n{"action":"setup"}\n')
    t.quiet(0.3)
    assert t.text().count("! c1: ") == 4
    desk.quit(0)


def test_the_log_and_the_packets_do_not_tell_the_same_twice(desk):
    desk.lab.listen(443)
    t = desk.sit()
    down(desk)
    desk.c1.shield("disengaged")
    told(t, "the shield is disengaged")
    t.quiet(0.5)
    for _ in range(3):
        desk.lab.connect(ADDRESS, 443)
    t.quiet(0.5)
    up(desk)
    desk.c1.shield("up")
    told(t, "the shield is up again")
    t.quiet(0.5)
    desk.press("s", desk.block(OTHER))
    t.expect("s not now\n")
    assert desk.quit(0).count("! c1: ") == 2


@pytest.mark.parametrize(
    "state, text",
    [
        pytest.param("down", "the shield is down", marks=pytest.mark.thorough),
        pytest.param("disengaged", "the shield is disengaged", marks=pytest.mark.thorough),
        ("quarantine", "the shield is in quarantine"),
    ],
)
def test_the_start_says_which_state_the_shield_is_in(desk, state, text):
    desk.c1.append("audit.jsonl", line("2026-01-31T17:32:05+00:00", "shield_up"))
    desk.c1.shield(state)
    t = desk.start("c1")
    t.expect("watching c1: shield " + state)
    t.expect("! c1: " + text)
    desk.quit(0)


def line(ts, action, **more):
    return (
        json.dumps(dict({"ts": ts, "container": "c1", "action": action}, **more), separators=(",", ":"))
        + "\n"
    )


@pytest.mark.thorough
def test_a_state_from_before_the_containers_start_counts_for_nothing(desk):
    """A start puts the shield up again, and writes no line of that."""
    desk.c1.append("audit.jsonl", line("2001-01-31T17:32:05+00:00", "shield_down"))
    t = desk.start("c1")
    t.expect("watching c1: shield up")
    assert "the shield is" not in desk.quit(0)


@pytest.mark.thorough
def test_the_older_word_for_disengaged_is_understood(desk):
    t = desk.sit()
    desk.c1.append("audit.jsonl", line("2099-01-31T17:32:05+00:00", "shield_down", detail="allow_all=True"))
    told(t, "the shield is disengaged")
    desk.quit(0)


def test_a_script_is_told_of_each_change(desk):
    child = subprocess.Popen(
        desk.argv("--json", "c1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=desk.env,
        start_new_session=True,
    )
    with child:
        assert json.loads(child.stdout.readline())["type"] == "session"
        for state in ("quarantine", "up"):
            desk.c1.shield(state)
            event = json.loads(child.stdout.readline())
            assert (event["type"], event["container"], event["state"]) == ("shield", "c1", state)
        child.stdin.close()
        assert json.loads(child.stdout.read())["type"] == "summary"
    assert child.returncode == 0


# --- quarantine


def test_in_quarantine_an_allow_fails_and_that_is_why(desk):
    t = desk.sit()
    desk.lab.run(["nft", "-f", "-"], QUARANTINE)
    desk.c1.shield("quarantine")
    told(t, "the shield is in quarantine")
    t.quiet(0.3)
    assert desk.lab.connect(ADDRESS, 443, timeout=0.1) == "timeout"
    t.expect("c1  " + ADDRESS)
    desk.press("a", t.expect(KEYS))
    t.expect("a allow %s ... FAILED after" % ADDRESS)
    t.expect("! the shield is in quarantine: no allow works until it is up again")
    t.expect("! the last answer failed: the shield is in quarantine")
    desk.press("d", t.expect(KEYS))
    t.expect("d deny %s ... done in" % ADDRESS)
    assert [(call.argv[0], call.rc) for call in desk.host.verdicts()] == [("allow", 1), ("deny", 0)]
    desk.quit(0)


def test_where_the_reason_went_to_the_journal_the_state_tells_it(desk):
    """Then `No IPs allowed` is all that is left of it."""
    desk.host.control("terok-shield", mode="fail", error="Error: No IPs allowed for c1")
    t = desk.sit()
    desk.c1.append("audit.jsonl", line("2099-01-31T17:32:05+00:00", "shield_quarantine"))
    told(t, "the shield is in quarantine")
    t.quiet(0.3)
    desk.press("a", desk.block())
    t.expect("a allow %s ... FAILED after" % ADDRESS)
    t.expect("! the shield is in quarantine: no allow works until it is up again")
    t.expect(KEYS)
    t.send("\x03")
    desk.ends(5)


def test_what_a_hub_decided_before_is_told_among_all_that_is_known(desk):
    verdict = {"dest": ADDRESS, "detail": "target=www.example.com"}
    desk.c1.append("audit.jsonl", line("2001-01-31T17:32:05+00:00", "denied", **verdict))
    t = desk.sit()
    desk.c1.append("audit.jsonl", line("2002-01-31T17:32:05+00:00", "allowed", dest=OTHER))
    desk.block(ADDRESS)
    t.send("i")
    t.expect(re.compile(r"recorded by the shield: deny 31 Jan, \d+ days ago, as\s+www.example.com"))
    desk.press("s", t.expect(KEYS))
    desk.block(OTHER)
    t.send("i")
    t.expect("recorded by the shield: allow 31 Jan, ")


@pytest.mark.parametrize("action, done", [("allow", "allowed"), ("deny", "denied")])
def test_what_somebody_else_decides_while_the_question_stands_is_told_once_and_decides_nothing(
    desk, action, done
):
    t = desk.sit()
    desk.block(ADDRESS)
    by_hand = [os.path.join(desk.host.folder, "bin/terok-shield"), action, "c1", ADDRESS]
    for _ in range(2):
        subprocess.run(by_hand, env=desk.env, check=True, stdout=subprocess.DEVNULL)
    assert desk.host.targets() == [f"{action} {ADDRESS}"] * 2
    t.expect(re.compile(r"c1  %s: %s by somebody else at \d\d:\d\d:\d\d;" % (ADDRESS, done)))
    desk.press("s", t.expect(KEYS))
    t.expect("s not now\n")
    t.quiet(2.2)  # nothing more is told
    assert t.text().count("by somebody else") == 1
    desk.quit()


def test_what_a_session_decides_itself_was_nobody_else(desk):
    desk.host.control("terok-shield", names={"www.example.com": [OTHER]})
    desk.c1.looks_up("www.example.com", ADDRESS)
    t = desk.sit()
    desk.press("A", desk.block(ADDRESS))
    desk.press("y", t.expect("any other key: no"), own=True)
    t.expect("opened " + OTHER)
    desk.press("d", t.expect(KEYS))
    t.expect("d deny %s ... done" % ADDRESS)
    t.quiet(2.2)
    assert "somebody else" not in t.text()
    desk.quit()


def test_after_quarantine_the_same_allow_works(desk):
    desk.lab.listen(443)
    desk.c1.shield("quarantine")
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("FAILED after")
    asked = t.expect(KEYS)
    desk.c1.shield("up")
    told(t, "the shield is up again")
    desk.press("a", asked)
    t.expect("a allow %s ... done in" % ADDRESS)
    assert desk.lab.connect(ADDRESS, 443) == "connected"
    t.expect("%s: first packet let out" % ADDRESS)
    desk.quit(0)


# --- denied


def test_what_a_deny_refuses_is_counted_and_listed_and_not_asked(desk):
    desk.lab.add("deny", ADDRESS)
    t = desk.sit()
    for _ in range(3):
        assert desk.lab.connect(ADDRESS, 443) == "EHOSTUNREACH"
    t.quiet(0.5)
    t.send("l")
    t.expect("0 waiting")
    t.expect("not asked: 3 denied before")
    t.expect("l back")
    text = desk.quit(0)
    assert KEYS not in text and ADDRESS not in text
    assert "stopped: 3 not asked" in text


def test_an_allow_below_a_deny_is_told_as_still_blocked(desk):
    t = desk.sit()
    asked = desk.block()
    desk.host.control("terok-shield", mode="silent")  # "Allowed", as inside a denied network
    desk.lab.add("deny", "203.0.113.0/24")
    desk.press("a", asked)
    t.expect("a allow %s ... done in" % ADDRESS)
    t.quiet(0.6)
    desk.lab.connect(ADDRESS, 443)
    t.expect("! c1  %s: still blocked, 1 try since the allow: a deny stands above" % ADDRESS)
    desk.quit(0)


def test_multicast_is_listed_and_not_asked(desk):
    t = desk.sit()
    desk.lab.python(
        "import socket\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        "    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('127.0.0.1'))\n"
        "    try:\n"
        "        s.sendto(b'?', ('224.0.0.251', 5353))\n"
        "    except OSError:\n"
        "        pass\n"
    )
    t.quiet(0.4)
    t.send("l")
    t.expect("not asked: 1 multicast and the like")
    t.expect("l back")
    assert KEYS not in desk.quit(0)
