"""`--json` and `--answer` through real pipes: the whole program, a reader that is a pipe of ours, stand-ins.

What must hold, whatever the other side does: an answer decides the request it cites or nothing;
each `pending` has one `closed`; no verdict is lost or cut short; nobody is waited for; the first
line is `session`, the last `summary`; the exit code is the one that `summary` told.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import socket
import sys
import time

import pytest
import scripting
from needs import need
from support import PATIENCE, eventually

script = scripting.script
quiet = scripting.quiet


def targets(host):
    """What the verdict command was run for: `allow 198.51.100.1`."""
    return ["%s %s" % (call.argv[0], call.argv[-1]) for call in host.verdicts()]


# --- the conversation


def test_a_request_is_told_answered_and_closed(script, host):
    it = script()
    session = it.until("session")
    assert (session["protocol"], session["containers"][0]["name"]) == (1, "c1")
    assert (session["containers"][0]["source"], session["containers"][0]["shield"]) == ("reader", 18)
    it.block("198.51.100.1")
    pending = it.until("pending")
    assert (pending["dest"], pending["port"], pending["proto"], pending["class"]) == (
        *("198.51.100.1", 443, 6, "default"),
    )
    assert (pending["floor"], pending["names"], pending["count"], pending["reader_id"]) == (
        False,
        [],
        1,
        "c1:1",
    )
    it.say("allow %s\n" % pending["id"])
    verdict = it.until("verdict")
    assert (verdict["id"], verdict["ids"], verdict["action"], verdict["target"]) == (
        *(pending["id"], [pending["id"]], "allow", "198.51.100.1"),
    )
    assert (verdict["by"], verdict["result"], verdict["reason"]) == ("script", "applied", None)
    assert it.until("closed")["why"] == "applied"
    assert it.ends(0).records[-1]["allowed"] == 1
    assert targets(host) == ["allow 198.51.100.1"]


def test_each_line_begins_with_its_type_and_a_time(script):
    it = script()
    it.block("198.51.100.1")
    it.until("pending")
    it.ends(5)
    for record in it.records:
        assert list(record)[:2] == ["type", "ts"]
        assert time.strptime(record["ts"][:19], "%Y-%m-%dT%H:%M:%S") and record["ts"][19] == "."
        assert record["ts"].endswith("Z") and len(record["ts"]) == 24


def test_every_action_ends_a_request(script, host):
    it = script()
    it.block("198.51.100.1", "198.51.100.2", "198.51.100.3")
    it.ids(3)
    it.say("deny r1\nskip r2\nmute r3\n")
    it.until("closed", 3)
    summary = it.ends(0).records[-1]
    assert {record["id"]: record["why"] for record in it.of("closed")} == {
        **{"r1": "applied", "r2": "skipped", "r3": "muted"},
    }
    assert (summary["denied"], summary["skipped"], summary["muted"]) == (1, 1, 1)
    assert targets(host) == ["deny 198.51.100.1"]


def test_a_name_is_allowed_where_the_request_has_it(script, host):
    host.control("terok-shield", mode="silent", names={"www.example.com": ["198.51.100.1"]})
    host.containers["c1"].looks_up("www.example.com", "198.51.100.1")
    it = script()
    it.block("198.51.100.1")
    assert it.until("pending")["names"] == ["www.example.com"]
    it.say("allow r1 evil.example\nallow r1 www.example.com\n")
    assert it.until("error")["line"] == "allow r1 evil.example"
    assert it.until("verdict")["target"] == "www.example.com"
    it.ends(0)
    assert targets(host) == ["allow www.example.com"]


def test_what_is_not_understood_is_one_error_each_and_changes_nothing(script, host):
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    bad = ["allow", "ALLOW r1", "allow r2", "deny r1 r1", "\x1b[2J", "allow r1\0", "{}", "x" * 5000, "quit"]
    it.say("".join(line + "\n" for line in bad) + "\r\n\n")
    it.until("error", len(bad))
    it.say("skip r1\r\n")
    it.until("closed")
    it.ends(0)
    assert len(it.of("error")) == len(bad)
    quoted = {record["line"] for record in it.of("error")}
    assert quoted == {*(bad[:4]), "\\x1b[2J", "allow r1\\x00", "{}", "..", "quit"}
    assert targets(host) == []


def test_a_request_that_is_decided_is_not_decided_again(script, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    it = script("--json", "--verdict-timeout", "600")
    it.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\ndeny r1\n")
    assert it.until("error")["message"] == "request r1 is being decided already"
    host.open(gate)
    it.until("closed")
    it.say("deny r1\n")
    it.until("error", 2)
    it.ends(0)
    assert targets(host) == ["allow 198.51.100.1"]


def test_what_was_closed_is_undone_and_asked_again(script, host):
    it = script()
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("allow r1\nskip r2\n")
    it.until("closed", 2)
    it.say("undo r1\n")
    assert it.until("verdict", undo=True)["undoes"] == "r1"
    it.say("ask r2\nundo r1\nask r9\n")
    again = it.until("pending", 3)
    assert (again["id"], again["dest"]) == ("r3", "198.51.100.2")
    assert [record["line"] for record in (it.until("error", 1), it.until("error", 2))] == [
        "undo r1",
        "ask r9",
    ]
    it.say("deny r3\n")
    it.until("closed", id="r3")
    summary = it.ends(0).records[-1]
    assert (summary["allowed"], summary["denied"], summary["skipped"]) == (1, 2, 1)
    assert targets(host) == ["allow 198.51.100.1", "deny 198.51.100.1", "deny 198.51.100.2"]


def test_the_end_of_input_waits_for_an_undo(script, host):
    gate = host.gate()
    it = script("--json", "--verdict-timeout", "600")
    it.block("198.51.100.1")
    it.ids(1)
    it.say("deny r1\n")
    it.until("closed")
    host.control("terok-shield", mode="silent", gate=gate)
    it.say("undo r1\n")
    it.hang_up()
    eventually(lambda: len(targets(host)) == 2, what="the undo runs")
    host.open(gate)
    it.ends(0)
    assert targets(host) == ["deny 198.51.100.1", "allow 198.51.100.1"]


def test_a_failed_verdict_leaves_the_request_open_under_its_id(script, host):
    host.control("terok-shield", mode="fail", error="Error: No IPs allowed for c1")
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\n")
    verdict = it.until("verdict")
    assert (verdict["result"], verdict["reason"], verdict["error"]) == (
        *("failed", "exit", "Error: No IPs allowed for c1"),
    )
    host.control("terok-shield", mode="silent")
    it.say("allow r1\n")
    assert it.until("verdict", 2)["result"] == "applied"
    it.ends(0)


def test_repeats_are_told_with_their_count_once_a_second_at_most(script):
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    began = time.monotonic()
    for _ in range(20):
        it.block("198.51.100.1")
    assert it.until("again", count=21)["id"] == "r1"
    it.ends(5)
    assert len(it.of("again")) <= 2 + (time.monotonic() - began)


def test_hundreds_of_requests_answered_in_any_order_twice_and_too_late(script, host):
    """Only a few of the answers are verdicts: each of those is a process."""
    chance = random.Random(11)
    it = script()
    dests = ["203.0.113.%d" % number for number in range(250)]
    it.block(*dests[:125])
    it.block(*dests[125:])
    ids = it.ids(250)
    dest_of = {record["id"]: record["dest"] for record in it.of("pending")}
    first = {}
    lines = []
    for request_id in chance.sample(ids, 200):
        first[request_id] = chance.choice(("allow", "deny")) if len(first) % 10 == 0 else "skip"
        lines.append("%s %s\n" % (first[request_id], request_id))
    again = ["%s %s\n" % (chance.choice(("allow", "deny", "mute")), line.split()[1]) for line in lines]
    text = "".join(lines + chance.sample(again, len(again)))
    for start in range(0, len(text), 700):
        it.say(text[start : start + 700])
    it.until("closed", 200)
    it.until("error", 200)
    it.ends(5)
    wanted = sorted("%s %s" % (what, dest_of[key]) for key, what in first.items() if what != "skip")
    assert sorted(targets(host)) == wanted
    summary = it.records[-1]
    assert (summary["allowed"] + summary["denied"], summary["skipped"], summary["open"]) == (20, 180, 50)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_an_answer_decides_the_request_it_cites_or_nothing(script, host, seed):
    """A random walk of both sides at once."""
    chance = random.Random(seed)
    it = script()
    it.until("session")
    said = {}
    for _ in range(120):
        if chance.random() < 0.3:
            it.block("198.51.100.%d" % chance.randrange(20), port=chance.choice((80, 443)))
        told = [record["id"] for record in it.of("pending")]
        request_id = chance.choice([*told, "r%d" % chance.randrange(1, 99), "c1:1", "-", "r1;"])
        action = chance.choice(("allow", "deny", "skip", "skip", "mute", "Allow", "allow deny"))
        said.setdefault(request_id, set()).add(action)
        it.say("%s %s%s" % (action, request_id, chance.choice(("\n", "\r\n", "\n\n", " x\n"))))
        if select.select([it.child.stdout], [], [], 0)[0]:
            it.read()
    it.hang_up()
    it.child.wait(PATIENCE)
    code = it.child.returncode
    it.ends(code)
    dest_of = {record["id"]: record["dest"] for record in it.of("pending")}
    for verdict in it.of("verdict"):
        assert verdict["target"] == dest_of[verdict["id"]] and verdict["action"] in said[verdict["id"]]
        assert {dest_of[request_id] for request_id in verdict["ids"]} == {verdict["target"]}
    applied = ["%s %s" % (record["action"], record["target"]) for record in it.of("verdict")]
    assert targets(host) == applied
    assert code == (5 if it.records[-1]["open"] else 0)


# --- the end of input


def test_at_the_end_of_input_with_a_request_open_it_ends_with_5(script):
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    it.ends(5)
    assert it.of("closed")[0]["why"] == "stopped"


def test_at_the_end_of_input_every_answer_given_before_is_carried_out(script, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    it = script("--json", "--verdict-timeout", "600")
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("allow r1\ndeny r2\n")
    it.hang_up()
    eventually(host.verdicts, what="the first one runs")
    host.open(gate)
    it.ends(0)
    assert targets(host) == ["allow 198.51.100.1", "deny 198.51.100.2"]
    assert all(call.rc == 0 for call in host.verdicts())


def test_half_a_line_at_the_end_decides_nothing(script, host):
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1")
    it.ends(5)
    assert [(record["message"], record["line"]) for record in it.of("error")] == [
        ("the input ends within a line: it is not followed", "allow r1")
    ]
    assert targets(host) == []


def shell(code):
    return ["sh", "-c", code + ' exec "$@"', "sh"]


@pytest.mark.parametrize(
    "before", ["exec <&-;", pytest.param("exec </dev/null;", marks=pytest.mark.thorough)]
)
def test_without_input_it_ends_at_once(script, before):
    it = script(prefix=shell(before))
    it.ends(0)
    assert [record["type"] for record in it.records] == ["session", "summary"]


def test_a_file_serves_as_input(script, tmp_path):
    (tmp_path / "answers").write_text("allow r1\n")
    with open(tmp_path / "answers") as file:
        it = script(stdin=file)
        it.ends(0)
    assert it.of("error")[0]["message"].startswith("no request r1 is open")


def test_a_socket_serves_for_both_ways(script):
    """As sshd and inetd give it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        it = script(stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()
        it.block("198.51.100.1")
        stream = ours.makefile("rb")
        kinds = [json.loads(stream.readline())["type"] for _ in range(2)]
        assert kinds == ["session", "pending"]
        ours.sendall(b"skip r1\n")
        assert json.loads(stream.readline())["why"] == "skipped"
        ours.shutdown(socket.SHUT_WR)
        assert json.loads(stream.readline())["type"] == "summary"
        assert stream.readline() == b""
        stream.close()
        assert it.child.wait(PATIENCE) == 0


def test_answers_may_come_a_byte_at_a_time_and_ten_megabytes_in_one_line(script):
    it = script()
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    for byte in b"skip r1\r\n":
        it.say(bytes((byte,)))
    it.until("closed", id="r1")
    it.say(b"skip r2" + b" " * 10_000_000 + b"\nskip r2\n")
    it.until("closed", id="r2")
    it.ends(0)
    assert len(it.of("error")) == 1


def test_with_an_answer_stdin_is_not_read_at_all(script):
    reading, writing = os.pipe()
    os.write(writing, b"allow r1\n")
    os.close(writing)
    it = script("--json", "--answer", "skip", stdin=reading)
    it.block("198.51.100.1")
    assert it.until("closed")["why"] == "skipped"
    it.child.send_signal(signal.SIGTERM)
    it.ends(0)
    assert os.read(reading, 100) == b"allow r1\n"
    os.close(reading)


# --- stdout: closed, slow, full


def test_a_stdout_that_goes_away_ends_it_and_costs_no_verdict(script, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    it = script("--json", "--verdict-timeout", "600")
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("allow r1\n")
    eventually(host.verdicts, what="the verdict command runs")
    it.child.stdout.close()
    it.child.stdout = None
    host.open(gate)
    assert it.child.wait(PATIENCE) == 5
    assert it.child.stderr.read() == b""
    (call,) = host.verdicts()
    assert call.rc == 0


def test_a_stdout_that_goes_away_is_noticed_without_an_event(script):
    it = script()
    it.until("session")
    it.child.stdout.close()
    it.child.stdout = None
    assert it.child.wait(PATIENCE) == 0
    assert it.child.stderr.read() == b""


def test_in_a_pipeline_it_ends_when_the_next_one_does(script):
    """`… | head -1`: no signal, no message."""
    need("bash")
    pipeline = ["bash", "-c", '"$@" | head -n 1; exit ${PIPESTATUS[0]}', "bash"]
    it = script(prefix=pipeline)
    assert it.until("session")
    it.child.wait(PATIENCE)
    assert (it.child.returncode, it.child.stderr.read(), it.child.stdout.read()) == (0, b"", b"")


def test_a_full_disk_behind_stdout_ends_it_with_5_and_says_so(script):
    with open("/dev/full", "wb") as full:
        it = script(stdout=full)
        assert it.child.wait(PATIENCE) == 5
    assert it.child.stderr.read() == b"simple-clearance: stdout: No space left on device\n"


def test_without_a_stdout_it_does_not_start(script):
    it = script(prefix=shell("exec >&-;"))
    assert it.child.wait(PATIENCE) == 2
    assert it.child.stderr.read().startswith(b"simple-clearance: stdout is closed\nhint: ")


@pytest.fixture
def talkative(host, script):
    """So many labels, each as long as it may be, that 4 MiB are 1,900 requests."""
    c1 = host.containers["c1"]
    c1.annotations.update({"dossier.%02d" % number: "x" * 128 for number in range(16)})
    c1.save()


def test_a_slow_reader_loses_events_only_as_counted_and_no_verdict(script, host, tmp_path, talkative):
    it = script("--json", "--log", str(tmp_path / "log"))
    it.until("session")
    total = 4_000
    for start in range(0, total, 400):
        it.block(*("198.18.%d.%d" % divmod(number, 200) for number in range(start, start + 400)))
        if start in (400, 3_200):  # the second time far beyond what is kept
            seen = b'"id":"r%d"' % (start - 9)
            eventually(lambda seen=seen: seen in end_of(tmp_path / "log"), what="they are told")
            it.say("deny r7\nskip r8\n" if start == 400 else "deny r9\n")
    eventually(lambda: b'"id":"r4000"' in end_of(tmp_path / "log"), what="all of it has been taken")
    eventually(lambda: len(host.verdicts()) == 2 and host.verdicts()[1].ended, what="both verdicts")
    assert len(it.records) == 1
    lost = it.until("lost", where="stdout")
    assert lost["count"] > 0
    it.until("verdict", id="r9")
    told = len(it.of("pending"))
    assert 1_500 < told < 2_500, "4 MiB of them"
    assert [record["id"] for record in it.of("verdict")] == ["r7", "r9"]
    assert {record["id"] for record in it.of("closed")} == {"r7", "r8", "r9"}
    # one that was not told is told when it is tried again, and may be answered then
    it.block("198.18.17.99")
    late = it.until("pending", dest="198.18.17.99")
    assert late["id"] == "r3500" and late["count"] == 2
    it.say("skip r3500\n")
    it.until("closed", id="r3500")
    it.ends(5)
    summary = it.records[-1]
    table = sum(record["count"] for record in it.of("lost") if record["where"] == "table")
    stdout = sum(record["count"] for record in it.of("lost") if record["where"] == "stdout")
    assert summary["lost"] == table + stdout
    assert told + stdout + table >= total, "told, or counted as lost"
    assert (summary["denied"], summary["skipped"], summary["open"]) == (2, 2, total - table - 4)


def test_what_a_slow_reader_lost_is_in_the_summary_even_when_it_reads_only_at_the_end(
    script, tmp_path, talkative
):
    it = script("--json", "--answer", "skip", "--log", str(tmp_path / "log"))
    it.until("session")
    total = 4_000
    for start in range(0, total, 400):
        it.block(*("198.18.%d.%d" % divmod(number, 200) for number in range(start, start + 400)))
    last = b'"dest":"198.18.%d.%d"' % divmod(total - 1, 200)
    eventually(lambda: last in end_of(tmp_path / "log"), what="all of it was taken")
    it.child.send_signal(signal.SIGTERM)
    it.ends(5)
    lost = it.of("lost")
    assert {record["where"] for record in lost} == {"stdout"}
    with open(tmp_path / "log") as file:  # the log has all; that not all answers are kept is an error there
        more = sum('"type":"error"' in line for line in file)
    assert len(it.of("pending")) + sum(record["count"] for record in lost) == total + more
    assert it.records[-1]["lost"] == sum(record["count"] for record in lost)
    assert (it.records[-1]["skipped"], it.records[-1]["open"]) == (total, 0)


def test_who_never_reads_does_not_hold_up_the_end_for_long(script):
    it = script()
    it.until("session")
    it.block(*("198.18.%d.%d" % divmod(number, 200) for number in range(2000)))  # more than a pipe holds
    eventually(lambda: pipe_full(it.child.stdout.fileno()), what="nothing more goes into the pipe")
    began = time.monotonic()
    it.child.send_signal(signal.SIGTERM)
    assert it.child.wait(PATIENCE) == 5
    assert time.monotonic() - began > 3, "it has its chance to read"
    assert it.child.stderr.read() == b"simple-clearance: stdout was not read to its end\n"


def test_a_second_ctrl_c_does_not_wait_for_a_reader(script):
    it = script()
    it.until("session")
    it.block(*("198.18.%d.%d" % divmod(number, 200) for number in range(2000)))
    eventually(lambda: pipe_full(it.child.stdout.fileno()), what="nothing more goes into the pipe")
    it.signal(signal.SIGINT)
    it.signal(signal.SIGINT)
    assert it.child.wait(PATIENCE) == 5


def test_a_reader_that_is_only_slow_gets_all_of_the_end(script, tmp_path):
    it = script("--json", "--log", str(tmp_path / "log"))
    it.until("session")
    it.block(*("198.18.%d.%d" % divmod(number, 200) for number in range(2000)))
    eventually(lambda: b"198.18.9.199" in end_of(tmp_path / "log"), what="all of it was taken")
    eventually(lambda: pipe_full(it.child.stdout.fileno()), what="nothing more goes into the pipe")
    it.hang_up()
    it.ends(5)
    assert len(it.of("pending")) == 2000 == it.records[-1]["open"]


def end_of(path):
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 1_000_000))
        return file.read()


def pipe_full(fd):
    waiting = fcntl.ioctl(fd, 0x541B, b"\0" * 4)  # FIONREAD, asm-generic/ioctls.h
    return int.from_bytes(waiting, sys.byteorder) > 60_000


def test_no_flag_of_a_shared_descriptor_is_changed(script):
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    it = script(stdin=in_read, stdout=out_write)
    it.block("198.51.100.1")
    stream = os.fdopen(out_read, "rb")
    for _ in range(2):
        stream.readline()
    for fd in (in_read, in_write, out_write):
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    for fd in (in_read, in_write, out_write):
        os.close(fd)
    assert it.child.wait(PATIENCE) == 5
    stream.close()


# --- other ends


def test_it_can_be_stopped_and_continued(script):
    # in a group of its own: one that nobody in its session could continue is never stopped
    it = script("--json", preexec_fn=os.setpgrp)
    it.until("session")
    it.child.send_signal(signal.SIGTSTP)
    eventually(lambda: stopped(it.child.pid), what="it stops, as anything in a terminal would")
    it.child.send_signal(signal.SIGCONT)
    it.block("198.51.100.1")
    it.ids(1)
    it.ends(5)


def stopped(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_a_reader_that_dies_is_4_with_everything_told(script):
    it = script()
    it.block("198.51.100.1")
    it.ids(1)
    it.reader_ends()
    while it.read():
        pass
    assert it.child.wait(PATIENCE) == 4
    assert it.records[-1]["exit"] == 4 and it.of("closed")[0]["why"] == "stopped"
    assert b"the reader ended unexpectedly" in it.child.stderr.read()


def test_when_it_cannot_start_stdout_stays_empty(script, host):
    host.containers["c1"].stop()
    it = script()
    out, err = it.child.communicate(timeout=PATIENCE)
    assert (it.child.returncode, out) == (3, b"")
    assert err.startswith(b"simple-clearance: c1 is not running\nhint: ")
    it.child.stdin = it.child.stdout = it.child.stderr = None


@pytest.mark.thorough
def test_a_log_that_cannot_be_opened_is_3_before_anything_starts(script, host):
    it = script("--json", "--log", "/nonexistent/log")
    out, err = it.child.communicate(timeout=PATIENCE)
    assert (it.child.returncode, out) == (3, b"")
    assert err.startswith(b"simple-clearance: --log /nonexistent/log: No such file or directory\nhint: ")
    it.child.stdin = it.child.stdout = it.child.stderr = None


HOSTILE = [
    b"rubbish",
    b"[]",
    b'{"type":7}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"198.51.100.9; reboot","port":443,"proto":6}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"0.0.0.0/0","port":443,"proto":6}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"--help","port":443,"proto":6}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"evil.example","port":443,"proto":6}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"198.51.100.9","port":"443","proto":6}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"198.51.100.9","port":443,"proto":[6]}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":["198.51.100.9"]}',
    b'{"type":"again","of":"pending","dest":"198.51.100.9","port":443,"proto":6,"count":-1}',
    b'{"type":"lost","count":"many"}',
    b"{" * 10_000_000,
    b"\xff\xfe\0",
]


def test_hostile_lines_of_a_reader_do_nothing(script, host):
    it = script()
    it.until("session")
    it.write(b"\n".join(HOSTILE) + b"\n")
    it.block("198.51.100.1")
    it.ids(1)
    it.write(b'{"type":"pending","container":"c1","id":"c1:2","dest":"198.51.100.9","po')
    it.say("deny r1\n")
    it.until("closed")
    it.ends(0)
    assert [record["dest"] for record in it.of("pending")] == ["198.51.100.1"]
    assert targets(host) == ["deny 198.51.100.1"]


# --- records beside it


def test_a_log_has_the_same_records_and_what_is_about_to_be_run(script, host, tmp_path):
    it = script("--json", "--log", str(tmp_path / "log"), "--save-profile", str(tmp_path / "p.txt"))
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("allow r1\nskip r2\n")
    it.until("verdict")
    it.ends(0)
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    kinds = [record["type"] for record in logged]
    assert kinds.index("deciding") < kinds.index("verdict")
    deciding = logged.pop(kinds.index("deciding"))
    assert (deciding["id"], deciding["action"], deciding["target"], deciding["by"]) == (
        *("r1", "allow", "198.51.100.1", "script"),
    )
    assert logged.pop()["type"] == it.records[-1]["type"] == "summary"  # it may be told some ms later
    assert logged == it.records[:-1]
    assert (tmp_path / "p.txt").read_text().splitlines()[1:] == ["+198.51.100.1"]


def test_a_profile_has_what_an_undo_opens_and_no_more_what_it_shuts(script, host, tmp_path):
    """As the shield has it by then: to undo a deny is to allow, which opens what was merely blocked."""
    it = script("--json", "--save-profile", str(tmp_path / "p.txt"))
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("deny r1\nallow r2\n")
    it.until("verdict", 2)
    assert (tmp_path / "p.txt").read_text().splitlines()[1:] == ["+198.51.100.2"]
    it.say("undo r1\nundo r2\n")
    it.until("verdict", 2, undo=True)
    it.ends(0)
    assert targets(host)[2:] == ["allow 198.51.100.1", "deny 198.51.100.2"]
    assert (tmp_path / "p.txt").read_text().splitlines()[1:] == ["#198.51.100.2", "+198.51.100.1"]


def test_deciding_is_in_the_log_before_the_command_starts(script, host, tmp_path):
    host.control("terok-shield", mode="hang")
    it = script("--json", "--log", str(tmp_path / "log"))
    it.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\n")
    eventually(host.verdicts, what="the command runs")
    assert '"type":"deciding"' in (tmp_path / "log").read_text()
    it.child.kill()


def test_a_log_that_fails_is_told_at_once_and_is_5_while_the_session_goes_on(script, host):
    it = script("--json", "--log", "/dev/full")
    message = it.until("error")["message"]
    assert message == "--log /dev/full: No space left on device: not everything is recorded"
    it.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\n")
    it.until("closed")
    it.ends(5)
    assert len(it.of("error")) == 1
    assert targets(host) == ["allow 198.51.100.1"]


def test_a_log_whose_folder_vanishes_is_told_and_is_5(script, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    it = script("--json", "--log", str(folder / "log"))
    it.until("session")
    os.unlink(folder / "log")
    os.rmdir(folder)
    it.block("198.51.100.1")
    it.ids(1)
    it.say("skip r1\n")
    it.until("closed")
    it.ends(5)
    assert "it was removed" in it.of("error")[0]["message"]


def test_a_log_that_fails_at_its_last_line_is_5(script, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    it = script("--json", "--log", str(folder / "log"))
    it.until("session")
    os.unlink(folder / "log")
    os.mkdir(folder / "log")  # else it would be begun anew
    it.ends(5)


# --- nobody attends


def test_an_unattended_session_writes_a_line_for_each_outcome(quiet, host):
    host.containers["c1"].looks_up("www.example.com", "198.51.100.1")
    it = quiet("--answer", "deny", "--count", "2")
    it.block("198.51.100.1", "198.51.100.2")
    lines = it.lines()
    assert lines[0].startswith("watching c1")
    assert lines[1].startswith("c1: deny 198.51.100.1 for tcp 443 https (answer): done in ")
    assert lines[1].endswith(" | www.example.com")
    assert lines[2].startswith("c1: deny 198.51.100.2 for tcp 443 https (answer): done in ")
    assert lines[3:] == ["stopped: 2 denied; exit code 0"]
    assert it.child.returncode == 0
    assert targets(host) == ["deny 198.51.100.1", "deny 198.51.100.2"]


def test_an_unattended_session_that_skips_ends_with_0(quiet, host):
    it = quiet("--answer", "skip")
    it.block("198.51.100.1")
    eventually(lambda: select.select([it.child.stdout], [], [], 0)[0], what="a line")
    line = b""
    while b"skipped" not in line:
        line += os.read(it.child.stdout.fileno(), 1000)
    assert b"c1: 198.51.100.1 tcp 443 https: skipped by --answer\n" in line
    it.child.send_signal(signal.SIGTERM)
    assert it.lines() == ["stopped: 1 skipped; exit code 0"]
    assert it.child.returncode == 0 and targets(host) == []


def test_an_unattended_session_needs_no_terminal_and_reads_no_input(quiet, host):
    reading, writing = os.pipe()
    os.write(writing, b"a")
    it = quiet("--answer", "deny", "--count", "1", stdin=reading, start_new_session=True)
    it.block("198.51.100.1")
    it.lines()
    assert it.child.returncode == 0
    assert os.read(reading, 10) == b"a"
    os.close(reading)
    os.close(writing)


def test_an_unattended_failure_is_told_and_is_5(quiet, host):
    host.control("terok-shield", mode="fail", error="Error: No IPs allowed for c1")
    it = quiet("--answer", "deny")
    it.block("198.51.100.1")
    eventually(lambda: [call.ended for call in host.verdicts()] not in ([], [None]), what="it fails")
    it.signal(signal.SIGTERM)
    lines = it.lines()
    assert lines[1].startswith("c1: deny 198.51.100.1 for tcp 443 https (answer): FAILED after ")
    assert lines[1].endswith(" | Error: No IPs allowed for c1")
    assert lines[-2:] == [
        "c1: 198.51.100.1 tcp 443 https: unanswered",
        "stopped: 1 failed, 1 unanswered; exit code 5",
    ]
    assert it.child.returncode == 5


@pytest.mark.thorough
def test_an_unattended_session_ends_when_its_stdout_goes_away(quiet):
    it = quiet("--answer", "skip")
    os.read(it.child.stdout.fileno(), 1000)
    it.child.stdout.close()
    it.child.stdout = None
    assert it.child.wait(PATIENCE) == 0
    assert it.child.stderr.read() == b""
