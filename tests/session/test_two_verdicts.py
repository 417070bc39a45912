"""No two verdict commands run for one container at once, whoever started the other one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from subprocess import PIPE

import endtoend
import pytest
import scripting
from needs import need
from support import eventually

from simple_clearance.system import processes

desk = endtoend.desk
script = scripting.script
FIRST, SECOND = "203.0.113.61", "203.0.113.62"


def by_hand(host, *words, **options):
    """The verdict command as somebody else runs it: the stand-in, held up by its gate."""
    child = subprocess.Popen([os.path.join(host.bin, "terok-shield"), *words], env=host.env(), **options)
    host.children.append(child)
    return child


@pytest.mark.parametrize("spelling", ["c1", "12 digits", "64 digits"])
def test_one_that_was_started_by_hand_is_waited_for_and_told(script, host, spelling):
    it = script("--json")
    one = host.containers["c1"]
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    called = {"c1": "c1", "12 digits": one.sid, "64 digits": one.id}[spelling]
    other = by_hand(host, "deny", called, FIRST, start_new_session=True)
    eventually(host.verdicts, what="it runs")
    it.block(SECOND)
    it.say("allow %s\n" % it.until("pending")["id"])
    said = it.until("error")["message"]
    assert said.startswith("c1: waiting for the verdict of pid %d: " % other.pid)
    assert said.endswith("deny %s %s" % (called, FIRST))
    assert len(host.verdicts()) == 1
    host.open(gate)
    assert it.until("verdict")["result"] == "applied"
    first, second = host.verdicts()
    assert first.ended is not None and first.ended <= second.began
    it.ends(0)


def test_one_that_does_not_end_is_not_waited_for_longer_than_for_ours(script, host):
    it = script("--json", "--verdict-timeout", "1")
    gate = host.gate()
    host.control("terok-shield", gate=gate)
    other = by_hand(host, "deny", "c1", FIRST, start_new_session=True)
    eventually(host.verdicts, what="it runs")
    it.block(SECOND)
    it.say("allow %s\n" % it.until("pending")["id"])
    record = it.until("verdict")
    assert (record["result"], record["reason"]) == ("failed", "not-started")
    assert record["error"] == "pid %d still runs a verdict for c1" % other.pid
    assert len(host.verdicts()) == 1
    host.open(gate)
    it.ends(5)


def test_that_of_a_session_that_was_killed_is_waited_for_by_the_next(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit()
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.kill(signal.SIGKILL)
    t.process.wait()
    desk.nothing_is_left()
    t = desk.sit()
    desk.press("d", desk.block("203.0.113.63"))
    t.expect("waiting for the verdict of pid %d" % desk.host.verdicts()[0].pid)
    assert len(desk.host.verdicts()) == 1
    desk.host.open(gate)
    t.expect("done in")
    first, second = desk.host.verdicts()
    assert first.ended is not None and first.ended <= second.began
    desk.quit()


@pytest.mark.parametrize(
    "words",
    [("deny", "c2", FIRST), ("status", "c1"), ("deny", "c1"), ("allow", "c11", FIRST)],
    ids=["of another container", "another command", "no target", "of one with a longer name"],
)
def test_what_is_no_verdict_for_it_is_not_waited_for(script, host, words):
    it = script("--json")
    sleeping = [
        sys.executable,
        "-c",
        "import sys; print(flush=True); sys.stdin.read()",
        "terok-shield",
        *words,
    ]
    with subprocess.Popen(sleeping, stdin=PIPE, stdout=PIPE, env=host.env()) as other:
        other.stdout.readline()
        it.block(SECOND)
        it.say("allow %s\n" % it.until("pending")["id"])
        assert it.until("verdict")["result"] == "applied"
        other.stdin.close()
    it.ends(0)


def test_one_with_another_home_is_about_another_container(script, host, tmp_path):
    it = script("--json")
    code = "import sys; print(flush=True); sys.stdin.read()"
    lying = [sys.executable, "-c", code, "terok-shield", "deny", "c1", FIRST]
    with subprocess.Popen(lying, stdin=PIPE, stdout=PIPE, env=host.env(HOME=str(tmp_path))) as other:
        other.stdout.readline()
        it.block(SECOND)
        it.say("allow %s\n" % it.until("pending")["id"])
        assert it.until("verdict")["result"] == "applied"
        other.stdin.close()
    it.ends(0)


def test_a_containers_own_process_can_hold_up_no_verdict(script, host):
    """Inside it has our uid, and may call itself anything."""
    need("userns")
    it = script("--json")
    inside = (
        "import ctypes, sys; assert not ctypes.CDLL(None).unshare(0x10000000)\n"
        "print(flush=True); sys.stdin.read()"
    )
    lying = [sys.executable, "-c", inside, "terok-shield", "deny", "c1", FIRST]
    with subprocess.Popen(lying, stdin=PIPE, stdout=PIPE, env=host.env()) as other:
        other.stdout.readline()
        it.block(SECOND)
        it.say("allow %s\n" % it.until("pending")["id"])
        assert it.until("verdict")["result"] == "applied"
        assert not it.of("error")
        assert other.pid not in dict(processes.ours()), (
            "its memory is not read: that may be much, and take long"
        )
        other.stdin.close()
    it.ends(0)


def test_of_a_command_line_of_megabytes_only_the_beginning_is_read():
    sleeping = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen([*sleeping, *["x" * 100_000] * 10], stdin=PIPE, stdout=PIPE) as long:
        long.stdout.readline()
        read = [len(b" ".join(words)) for pid, words in processes.ours() if pid == long.pid]
        assert read and read[0] <= processes.LOOKED_AT
        long.stdin.close()
