"""What is blocked in a container's last moment is told, counted or lost; with real packets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
import scripting
from lab import Lab
from support import eventually, with_a_fault
from terminal_driver import state

script = scripting.script

LAST_ACT = """
import os, signal, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(%d):
    try: s.sendto(b"?", ("198.18.%%d.%%d" %% (i >> 8, i & 255), 443))
    except OSError: pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def last_act(lab, packets):
    """The container's first process sends these and is gone in the same moment."""
    with pytest.raises(RuntimeError, match="ended"):
        lab.python(LAST_ACT % packets)


def accounted(it):
    """How many packets the session has told, counted or lost, by its records."""
    told = sum(record["count"] for record in it.of("pending"))
    return told + sum(record["count"] for record in it.of("lost"))


@contextlib.contextmanager
def held_up(it, number):
    """What happens in here the session sees all at once, and with it that signal."""
    it.child.send_signal(signal.SIGSTOP)
    eventually(lambda: state(it.child.pid) == "T", what="it is stopped")
    yield
    it.child.send_signal(number)
    it.child.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("turn", range(4))
def test_a_lone_attempt_in_the_last_moment_is_told(script, host, turn):
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", reader=False, names=("c2",))
        it.until("session")
        last_act(lab, 1)
        record = it.until("pending")
        assert record["dest"] == "198.18.0.0"
        assert it.until("closed", id=record["id"])["why"] == "stopped"
        it.ends(5)


@pytest.mark.parametrize("packets", [500, 20_000])
def test_a_burst_just_before_the_exit_is_accounted_for(script, host, packets):
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", reader=False, names=("c2",))
        it.until("session")
        last_act(lab, packets)
        it.until("container", state="stopped")
        it.until("summary")
        if packets == 500 and os.getuid() == 0:  # with room for all of them in the socket and in the pipe
            assert accounted(it) == packets
        assert accounted(it) == packets or (accounted(it) < packets and it.of("lost"))
        it.ends(5)


def test_told_to_end_in_that_moment_it_takes_the_last_words_first(script, host):
    with Lab() as stays, Lab() as goes:
        host.container("c2", goes)
        host.container("c3", stays)
        it = script("--json", reader=False, names=("c2", "c3"))
        it.until("session")
        with held_up(it, signal.SIGTERM):
            last_act(goes, 5000)
        it.until("summary")
        assert accounted(it) == 5000 or it.of("lost")
        it.ends(5)


STUBBORN = """sh -c 'trap "" TERM; echo "{\\"type\\":\\"container_started\\"}"; exec sleep 5'"""


def test_what_does_not_come_within_a_second_is_lost(script, host):
    """A reader that will not end is not waited for any longer."""
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", "--reader", STUBBORN, reader=False, names=("c2",))
        it.until("session")
        began = time.monotonic()
        last_act(lab, 0)
        it.until("container", state="stopped")
        assert time.monotonic() - began >= 1.0
        assert [(record["container"], record["count"]) for record in it.of("lost")] == [("c2", 1)]
        it.ends(5)


# --- through the audit log


BLOCKED = '{"ts":"2099-11-24T20:31:00+00:00","container":"c2","action":"blocked","dest":"%s","port":443}'


def followed(script, host, lab, **options):
    """A session that goes by the audit log of the lab's container, which the stand-in reader writes."""
    host.container("c2", lab).bridge_reader()
    it = script("--json", reader=False, names=("c2",), **options)
    assert it.until("session")["containers"][0]["source"] == "audit-log"
    return it


def test_what_the_other_reader_writes_late_is_told(script, host):
    """Its lines come up to a second after the packet: in the last moment, after the container's end."""
    with Lab() as lab:
        it = followed(script, host, lab)
        last_act(lab, 3)
        assert [it.until("pending", number)["dest"][:9] for number in (1, 2, 3)] == ["198.18.0."] * 3
        it.until("container", state="stopped")
        assert it.of("lost") == []
        it.ends(5)


def test_half_a_line_at_the_end_is_lost(script, host):
    with Lab() as lab:
        it = followed(script, host, lab)
        host.containers["c2"].append("audit.jsonl", BLOCKED % "203.0.113.1" + "\n" + BLOCKED[:40])
        last_act(lab, 0)
        it.until("container", state="stopped")
        assert [record["dest"] for record in it.of("pending")] == ["203.0.113.1"]
        assert [(record["container"], record["count"]) for record in it.of("lost")] == [("c2", 1)]
        it.ends(5)


def test_what_of_the_log_can_not_be_read_in_time_is_lost(script, host, pyz, tmp_path):
    slow = "\nimport time\n_parse = ShieldLog._parse\n"
    slow += "ShieldLog._parse = lambda *words: time.sleep(0.05) or _parse(*words)\n"
    archive = with_a_fault(pyz, str(tmp_path / "slow.pyz"), "sources/auditlog", slow)
    with Lab() as lab:
        it = followed(script, host, lab, pyz=archive)
        lines = [BLOCKED % ("198.18.%d.%d" % divmod(number, 250)) for number in range(10_000)]
        host.containers["c2"].append("audit.jsonl", "\n".join(lines) + "\n")
        last_act(lab, 0)
        it.until("container", state="stopped")
        assert 0 < len(it.of("pending")) < 10_000
        assert [(record["container"], record["where"]) for record in it.of("lost")] == [("c2", "watch")]
        it.ends(5)


def test_no_verdict_begins_for_a_container_that_has_ended(script, host):
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", "--answer", "allow", "--count", "9", reader=False, names=("c2",))
        it.until("session")
        os.kill(lab.holder(), signal.SIGSTOP)  # so that the end is seen first, which lets it go on
        last_act(lab, 1)
        it.until("summary")
        assert [record["dest"] for record in it.of("pending")] == ["198.18.0.0"]
        assert host.verdicts() == []
        it.ends(5)


# --- when the session ends, and the containers do not


def until_the_end(it):
    """The requests that it has told by then."""
    it.until("summary")
    return [record["dest"] for record in it.of("pending")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_blocked_before_it_is_told_to_end_is_told_all_the_same(script, host, number):
    with Lab() as lab, Lab() as other:
        host.container("c2", lab)
        host.container("c3", other)
        it = script("--json", reader=False, names=("c2", "c3"))
        it.until("session")
        with held_up(it, number):
            lab.flood(2000)
            other.connect("203.0.113.9", 443)
        assert "203.0.113.9" in until_the_end(it)
        assert accounted(it) == 2001 or (accounted(it) < 2001 and it.of("lost"))
        assert it.of("container") == [], "they go on"
        it.ends(5)


def test_a_second_signal_leaves_the_verdict_alone_and_what_was_blocked_is_told(script, host):
    with Lab() as lab:
        host.container("c2", lab)
        host.control("terok-shield", mode="hang")
        it = script("--json", reader=False, names=("c2",))
        it.until("session")
        lab.connect("203.0.113.1", 443)
        it.say("deny %s\n" % it.until("pending")["id"])
        eventually(host.verdicts, what="the verdict runs")
        it.signal(signal.SIGINT)
        with held_up(it, signal.SIGINT):
            lab.connect("203.0.113.9", 443)
        assert until_the_end(it) == ["203.0.113.1", "203.0.113.9"]
        it.ends(5, "simple-clearance: a verdict command still runs as pid %d\n" % host.verdicts()[0].pid)


def test_what_a_reader_of_somebody_elses_has_told_by_then_is_told(script, host, tmp_path):
    line = '{"type":"pending","container":"c2","id":"c2:1","dest":"203.0.113.9","port":443,"proto":6}'
    reader = tmp_path / "reader"
    reader.write_text(
        "#!/bin/sh\ntrap '' TERM\necho '{\"type\":\"container_started\"}'\n"
        "while ! [ -e %s/go ]; do sleep 0.05; done\necho '%s'; : >%s/told; exec sleep 60\n"
        % (tmp_path, line, tmp_path)
    )
    reader.chmod(0o755)
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", "--reader", str(reader), reader=False, names=("c2",))
        it.until("session")
        with held_up(it, signal.SIGTERM):
            (tmp_path / "go").touch()
            eventually((tmp_path / "told").exists, what="it has told it")
        assert until_the_end(it) == ["203.0.113.9"]
        assert it.of("lost") == [], "it goes on for as long as it likes"
        it.ends(5)


def test_what_the_other_reader_has_written_by_then_is_told(script, host):
    with Lab() as lab:
        it = followed(script, host, lab)
        with held_up(it, signal.SIGTERM):
            lines = [BLOCKED % ("198.18.%d.%d" % divmod(number, 250)) for number in range(2000)]
            host.containers["c2"].append("audit.jsonl", "\n".join(lines) + "\n")
        assert until_the_end(it) == [json.loads(line)["dest"] for line in lines] or it.of("lost")
        it.ends(5)


def test_a_reader_that_has_ended_is_not_waited_for(script, host):
    with Lab() as lab, Lab() as other:
        host.container("c2", lab)
        host.container("c3", other)
        it = script("--json", reader=False, names=("c2", "c3"))
        it.until("session")
        other.connect("203.0.113.9", 443)
        os.kill(lab.holder(), signal.SIGKILL)
        told = "c2: the reader ended unexpectedly (exit code -9)"
        assert it.until("summary")["reason"] == told
        assert [record["dest"] for record in it.of("pending")] == ["203.0.113.9"]
        assert it.of("lost") == []
        it.ends(4, "simple-clearance: %s\n" % told)


def test_a_second_signal_gives_stdout_a_last_chance_whenever_it_comes(script, host, pyz, tmp_path):
    """Whoever reads it may have stalled for longer than that before."""
    archive = with_a_fault(pyz, str(tmp_path / "patient.pyz"), "session", "\nLAST_WORDS = 3.0\n")
    it = script("--json", pyz=archive)
    it.until("session")
    it.block(*("198.18.%d.%d" % divmod(number, 250) for number in range(2000)))
    it.signal(signal.SIGTERM)
    time.sleep(3.5)
    it.child.send_signal(signal.SIGINT)
    it.ends(5)
