"""Readers of other make, ours in their place, and lines that nobody should write."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys

import endtoend
import pytest
import scripting
from support import PATIENCE, eventually

desk = endtoend.desk
script = scripting.script
quiet = scripting.quiet


@pytest.fixture
def program(tmp_path):
    """`program(code)`: the path of a shell script."""

    def make(code):
        path = tmp_path / "reader"
        path.write_text("#!/bin/sh\n" + code)
        path.chmod(0o755)
        return str(path)

    return make


def theirs(number, dest, port=443, proto=6, **fields):
    """A line as terok-shield's own reader writes it."""
    return {
        **{"type": "pending", "container": "c1", "id": "c1:%d" % number, "dest": dest, "port": port},
        **{"proto": proto, "domain": "", "dossier": {}, "ts": "2026-01-31T17:32:05.123456+00:00", **fields},
    }


STARTED = {"type": "container_started", "container": "c1"}


def say(*records):
    """The shell code that writes these lines."""
    return "".join("cat <<'END'\n%s\nEND\n" % json.dumps(record) for record in records)


# --- what a reader is


def test_a_reader_is_called_with_the_state_directory_and_the_name(script, host, program, tmp_path):
    calls = tmp_path / "calls"
    reader = program(
        'printf "%%s\\n" "$@" >%s\n' % calls + say(STARTED, theirs(1, "198.51.100.1")) + "exec cat\n"
    )
    it = script("--json", "--reader", reader + " --fast 'two words'", reader=False)
    assert it.until("pending")["dest"] == "198.51.100.1"
    assert it.records[0]["containers"][0]["source"] == "reader"
    it.say("deny r1\n")
    it.ends(0)
    assert calls.read_text().splitlines() == [
        *("--fast", "two words", host.containers["c1"].state_dir, "c1", "--emit=json"),
    ]


def test_a_reader_needs_neither_podman_nor_a_namespace(script, host, program):
    host.remove("podman")
    reader = program(say(STARTED, theirs(1, "198.51.100.1")) + "exec cat\n")
    it = script("--json", "--state-dir", host.containers["c1"].state_dir, "--reader", reader, reader=False)
    it.until("pending")
    it.say("skip r1\n")
    it.ends(0)


def test_the_lines_of_the_shields_own_reader_are_taken_as_they_are(script):
    it = script()
    it.feed(
        theirs(1, "198.51.100.1", domain="www.example.com", dossier={"task": "t-7"}),
        theirs(2, "10.1.2.3"),
        theirs(3, "2001:db8::1", 53, 17),
        theirs(4, "198.51.100.1"),
        {"type": "shield_state", "container": "c1", "state": "up"},
    )
    it.until("pending", 3)
    private = it.until("pending", dest="10.1.2.3")
    assert (private["class"], private["floor"]) == ("private", True), "it has no class of its own"
    first = it.of("pending")[0]
    assert (first["count"], first["reader_id"]) == (1, "c1:1")
    assert first["names"] == [], "its `domain` is not believed"
    assert first["dossier"] == {"project": "demo"}, "podman tells that"
    it.until("again", count=2)
    it.say("skip r1\nskip r3\n")
    it.until("closed", id="r3")
    it.feed({"type": "container_exited", "container": "c1", "reason": "poststop"})
    assert it.child.wait(PATIENCE) == 4, "the container runs"
    it.ends(4, "simple-clearance: c1: the reader ended unexpectedly: it takes the container for stopped\n")
    assert it.of("error") == []


def test_its_end_is_asked_for_by_the_end_of_its_stdin_and_by_a_signal(script, program, tmp_path):
    said = tmp_path / "said"
    reader = program(
        "exec 2>/dev/null\ntrap 'echo TERM >>%s; exit' TERM\n" % said
        + say(STARTED)
        + "cat >/dev/null\necho end >>%s\n" % said
    )
    it = script("--json", "--reader", reader, reader=False)
    it.until("session")
    it.ends(0)
    eventually(lambda: said.exists() and said.read_text(), what="it is told")


# --- its end


@pytest.mark.parametrize(
    "code, said",
    [
        ("exec >&-; sleep 600", "the reader ended before it listened (exit code -9)"),
        (
            "echo first >&2; echo 'no \033[2J luck' >&2; exit 1",
            "the reader ended before it listened: no \\x1b[2J luck",
        ),
        *(
            pytest.param(*row, marks=pytest.mark.thorough)
            for row in (
                ("exit 0", "the reader ended before it listened (exit code 0)"),
                ("exit 7", "the reader ended before it listened (exit code 7)"),
                ("kill -9 $$", "the reader ended before it listened (exit code -9)"),
                ("echo rubbish; exit 0", "the reader ended before it listened (exit code 0)"),
            )
        ),
    ],
)
def test_before_it_listens_its_end_is_3(script, program, code, said):
    it = script("--json", "--reader", program(code), reader=False)
    out, err = it.child.communicate(timeout=PATIENCE)
    assert (it.child.returncode, out) == (3, b"")
    assert err.decode().splitlines()[0] == "simple-clearance: " + said
    it.child.stdin = it.child.stdout = it.child.stderr = None


@pytest.mark.parametrize(
    "code, said",
    [
        ("echo 'no \033[2J luck' >&2; exit 7", "(exit code 7): no \\x1b[2J luck"),
        ("exec >&-; sleep 600", "(exit code -9)"),
        *(
            pytest.param(*row, marks=pytest.mark.thorough)
            for row in (
                ("exit 0", "(exit code 0)"),
                ("kill -9 $$", "(exit code -9)"),
                ('printf \'{"type":"pen\'; exit 0', "(exit code 0)"),
            )
        ),
    ],
)
def test_once_it_listens_its_end_is_4(script, program, code, said):
    it = script("--json", "--reader", program(say(STARTED, theirs(1, "198.51.100.1")) + code), reader=False)
    while it.read():
        pass
    assert it.child.wait(PATIENCE) == 4
    it.holds(4)
    assert it.records[-1]["open"] == 1, "what it told before counts"
    assert (
        it.child.stderr.read().decode() == "simple-clearance: c1: the reader ended unexpectedly %s\n" % said
    )


def test_a_whole_pipe_of_a_reader_that_has_ended_is_read(script, program, tmp_path):
    lines = [STARTED] + [theirs(n, "198.18.%d.%d" % divmod(n, 256)) for n in range(5000)]
    told = tmp_path / "told"
    told.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert 0.8 * (1 << 20) < told.stat().st_size < 1 << 20
    code = (
        "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 20)  # F_SETPIPE_SZ\n"
        "data = open(%r, 'rb').read(); assert os.write(1, data) == len(data)" % str(told)
    )
    it = script("--json", "--reader", program('exec %s -c "%s"\n' % (sys.executable, code)), reader=False)
    while it.read():
        pass
    assert it.child.wait(PATIENCE) == 4
    assert it.records[-1]["open"] == 5000
    it.child.stderr.read()


def test_a_reader_that_never_listens_can_be_given_up(script, program):
    it = script("--json", "--reader", program("echo waiting >&2; exec sleep 600"), reader=False)
    eventually(lambda: b"sleep" in commands_below(it.child.pid), what="it runs")
    it.child.send_signal(signal.SIGTERM)
    assert it.child.wait(PATIENCE) == 3, "nothing was watched"
    assert it.child.stdout.read() == b""


def commands_below(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        children = file.read().split()
    found = b""
    for child in children:
        with contextlib.suppress(OSError), open("/proc/%s/cmdline" % child, "rb") as file:
            found += file.read()  # unless it has ended since
    return found


# --- ours in its place


def accepted(line):
    """What a consumer of terok-shield's own reader finds in a line: None for what it ignores."""
    record = json.loads(line)
    assert isinstance(record, dict) and line.isascii()
    kind = record["type"]
    if kind not in ("container_started", "pending", "container_exited"):
        return None
    assert record["container"] == "c1"
    if kind == "container_exited":
        assert record["reason"] in ("poststop", "eof")
    if kind == "pending":
        for key, types in (("id", str), ("dest", str), ("domain", str), ("dossier", dict), ("ts", str)):
            assert isinstance(record[key], types)
        for key in ("port", "proto"):
            assert record[key] is None or type(record[key]) is int
        assert record["id"].startswith("c1:")
        assert all(isinstance(one, str) for pair in record["dossier"].items() for one in pair)
        assert datetime.datetime.fromisoformat(record["ts"]).utcoffset() == datetime.timedelta()
    return record


@pytest.fixture
def ours(desk):
    """All lines of `--as-reader` over real packets of every kind, to the container's end."""
    desk.c1.annotations["dossier.task"] = "t-7"
    desk.c1.save()
    argv = desk.argv("--as-reader", desk.c1.state_dir, "c1", "--emit=json")
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=desk.env)
    lines = [child.stdout.readline()]
    lab = desk.lab
    lab.listen(443)
    lab.add("allow", "203.0.113.1")
    lab.add("deny", "203.0.113.2")
    lab.add("bypass", "203.0.113.3")
    for address, port, proto in (
        ("203.0.113.10", 443, "tcp"),
        ("203.0.113.1", 443, "tcp"),
        ("203.0.113.2", 443, "tcp"),
        ("203.0.113.3", 443, "tcp"),
        ("10.1.2.3", 22, "tcp"),
        ("2001:db8:5::11", 53, "udp"),
        ("224.0.0.251", 5353, "udp"),
        ("203.0.113.10", 443, "tcp"),
        ("198.51.100.7", 123, "udp"),
    ):
        lab.connect(address, port, proto, timeout=0.1)
    while b"198.51.100.7" not in lines[-1]:
        lines.append(child.stdout.readline())
    desk.c1.stop()
    lines += child.stdout.read().splitlines(keepends=True)
    child.stdin.close()
    child.stdout.close()
    assert child.wait(PATIENCE) == 0
    return lines


def test_ours_writes_what_its_consumers_take_line_by_line(ours):
    found = [accepted(line) for line in ours]
    assert found[0] == STARTED
    assert found[-1] == {"type": "container_exited", "container": "c1", "reason": "poststop"}
    pending = [record for record in found if record and record["type"] == "pending"]
    assert [(record["dest"], record["port"], record["proto"]) for record in pending] == [
        *(
            ("203.0.113.10", 443, 6),
            ("10.1.2.3", 22, 6),
            ("2001:db8:5::11", 53, 17),
            ("198.51.100.7", 123, 17),
        ),
    ]
    assert len({record["id"] for record in pending}) == 4
    assert all(record["dossier"] == {"task": "t-7"} for record in pending)
    assert None in found, "and more, which they ignore"


def test_what_ours_writes_can_be_a_reader_by_any_other_name(host, pyz, ours, tmp_path):
    (tmp_path / "lines").write_bytes(b"".join(ours[:-1]))
    host.container("c2")
    reader = "sh -c 'cat %s; exec cat'" % (tmp_path / "lines")
    it = scripting.Script(host, pyz, "--json", "--reader", reader, reader=False, names=["c2"])
    try:
        it.until("pending", dest="198.51.100.7")
        it.say("skip r1\n")
        it.ends(5)
    finally:
        it.close()
    told = {record["dest"]: record["floor"] for record in it.of("pending")}
    assert told == {"203.0.113.10": False, "10.1.2.3": True, "2001:db8:5::11": False, "198.51.100.7": False}
    assert it.of("error") == [] and it.records[-1]["untold"] == 2


def test_ours_may_be_given_as_another(host, lab, pyz):
    host.container("c1", lab)
    reader = "%s %s --as-reader" % (sys.executable, pyz)
    it = scripting.Script(host, pyz, "--json", "--reader", reader, reader=False)
    try:
        it.until("session")
        lab.connect("203.0.113.10", 443)
        it.say("deny %s\n" % it.until("pending")["id"])
        it.until("closed", why="applied")
        assert lab.set_contains("deny", "203.0.113.10")
        it.ends(0)
        eventually(lambda: lab.holder() == 0, what="the NFLOG group is free")
    finally:
        it.close()


# --- lines that nobody should write


def pending(**fields):
    return json.dumps({**theirs(9, "198.51.100.9"), **fields}).encode()


HOSTILE = [
    b"rubbish",
    b"[]",
    b"null",
    b"7",
    b'"pending"',
    b"{}",
    b'{"type":7}',
    b'{"type":null}',
    b'{"type":["pending"]}',
    b'{"type":"pending"}',
    b'{"type":"pending","dest":',
    b"\xff\xfe\0",
    b"\0",
    b"\0" * 1000,
    b"\x1b[2J\x07",
    b'{"type":"pending","dest":"198.51.100.9"}'.replace(b"9", b"9\0"),
    b"[" * 10_000,
    b'{"a":' * 10_000,
    b"{" * 10_000_000,
    pending(dest="198.51.100.9; reboot"),
    pending(dest="198.51.100.9 --x"),
    pending(dest="-h"),
    pending(dest="--help"),
    pending(dest="198.51.100.9\n"),
    pending(dest=" 198.51.100.9"),
    pending(dest="198.51.100.9\0"),
    pending(dest="0.0.0.0/0"),
    pending(dest="::/0"),
    pending(dest="fe80::1%eth0"),
    pending(dest="198.51.100.009"),
    pending(dest="[2001:db8::1]"),
    pending(dest="evil.example"),
    pending(dest=""),
    pending(dest=None),
    pending(dest=["198.51.100.9"]),
    pending(dest={"198.51.100.9": 1}),
    pending(dest=3325256713),
    pending(dest="1" * 100_000),
    pending(port="443"),
    pending(port=443.0),
    pending(port=True),
    pending(port=-1),
    pending(port=65536),
    pending(port=10**4000),
    pending(proto=[6]),
    pending(proto=256),
    pending(uid=-1),
    pending(uid="root"),
    b'{"type":"pending","dest":"198.51.100.9","port":NaN,"proto":6}',
    b'{"type":"pending","dest":"198.51.100.9","port":1e3,"proto":6}',
    b'{"type":"again","of":"pending","dest":"198.51.100.9","port":443,"proto":6,"count":-1}',
    b'{"type":"again","of":"pending","dest":"198.51.100.9","port":443,"proto":6,"count":99999999999999999}',
    b'{"type":"lost","count":"many"}',
    b'{"type":"lost","count":0}',
]
IGNORED = [
    b"",
    b"   ",
    b"\t\r",
    b'{"type":"news"}',
    b'{"type":"again","of":"news"}',
    b'{"type":"summary","exit":0}',
]


def test_hostile_lines_do_nothing_but_be_counted(script, host, tmp_path):
    it = script("--json", "--log", str(tmp_path / "log"))
    it.until("session")
    for line in HOSTILE:
        it.write(line + b"\n")
    it.write(b"\n".join(IGNORED) + b"\n")
    it.block("198.51.100.1")
    it.ids(1)
    it.say("deny r1\n")
    it.until("closed")
    it.ends(0)
    assert [record["dest"] for record in it.of("pending")] == ["198.51.100.1"]
    assert host.targets() == ["deny 198.51.100.1"]
    assert [record["message"] for record in it.of("error")] == [
        "c1: a line of the reader means nothing: not JSON: Expecting value: line 1 column 1 (char 0)",
        "c1: %d lines of the reader meant nothing" % len(HOSTILE),
    ]
    summary = it.records[-1]
    assert (summary["lost"], summary["untold"], summary["exit"]) == (0, 0, 0)


def test_one_bad_line_is_told_once(script):
    it = script()
    it.write(pending(port="443") + b"\n")
    assert it.until("error")["message"] == (
        "c1: a line of the reader means nothing: port is not a number from 0 to 65535"
    )
    it.ends(0)
    assert len(it.of("error")) == 1


def test_an_endless_line_is_counted_when_it_is_too_long_and_not_kept(script):
    it = script()
    it.until("session")
    it.write(b"x" * 10_000_000)
    assert it.until("error")["message"].endswith("longer than 65536 bytes, or half a line")
    with open("/proc/%d/status" % it.child.pid) as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 60_000, "KiB"
    it.write(b"\n")
    it.block("198.51.100.1")
    it.ids(1)
    it.ends(5)


def test_a_flood_of_rubbish_is_no_flood_of_messages_and_holds_up_nobody(script):
    it = script()
    it.until("session")
    line = pending(dest="--help") + b"\n"
    it.write(line * 5_000)
    it.block("198.51.100.1")
    it.until("pending")
    it.say("skip r1\n")
    it.until("closed")
    it.ends(0)
    assert [record["message"] for record in it.of("error")][1:] == [
        "c1: 5000 lines of the reader meant nothing"
    ]


def test_what_is_believed_of_a_line_is_safe_to_print(script):
    """Its id and its labels are its own; its address is checked."""
    it = script()
    it.write(pending(id="\x1b]0;x\x07\u202e", domain="\x1b[2J", dossier={"\x1b": "\x1b"}, ts="\x1b") + b"\n")
    it.write(pending(dest="198.51.100.8", id=7, domain=7, dossier=7, ts=7, container=7) + b"\n")
    it.until("pending", 2)
    it.say("skip r1\nskip r2\n")
    it.ends(0)
    assert [record["reader_id"] for record in it.of("pending")] == ["\\x1b]0;x\\x07\\u202e", ""]


def test_on_the_terminal_hostile_lines_paint_nothing_of_theirs(terminal, host, pyz, program):
    host.container("c1")
    hostile = b"".join(line + b"\n" for line in HOSTILE if len(line) < 1000) + pending(id="\x1b[2J") + b"\n"
    lines = os.path.join(host.folder, "lines")
    with open(lines, "wb") as file:
        file.write(json.dumps(STARTED).encode() + b"\n" + hostile)
    reader = program("cat %s\nexec cat\n" % lines)
    t = terminal([sys.executable, pyz, "--reader", reader, "c1"], env=host.env())
    t.expect("a line of the reader means nothing")
    t.expect("198.51.100.9")
    t.kill()
    assert t.wait() == 5
    assert b"\x1b[2J" not in bytes(t.raw) and b"reboot" not in bytes(t.raw) and b"rubbish" not in bytes(t.raw)


def test_a_reader_that_talks_only_to_stderr_disturbs_nobody(script, program):
    code = say(STARTED, theirs(1, "198.51.100.1"))
    reader = program(
        code + "(yes '\033[2J noise' | head -n 100000) >&2\n" + say(theirs(2, "198.51.100.2")) + "exec cat\n"
    )
    it = script("--json", "--reader", reader, reader=False)
    it.until("pending", 2)
    it.say("skip r1\nskip r2\n")
    it.ends(0)


def test_with_debug_each_bad_line_is_shown_and_safe(script):
    it = script("--json", "--debug")
    it.write(b"\x1b[2J rubbish\n")
    it.until("error")
    it.hang_up()
    assert it.child.wait(PATIENCE) == 0
    said = it.child.stderr.read()
    assert b"reader: not JSON" in said and b"\\x1b[2J rubbish" in said and b"\x1b" not in said
