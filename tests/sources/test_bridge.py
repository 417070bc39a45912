"""terok-shield's bridge reader holds the packet log: the archive goes by its audit log, or takes over.

The bridge reader is a stand-in with the real one's processes, arguments and manners, on real NFLOG.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import endtoend
import pytest
from endtoend import Desk
from host import Host
from lab import Lab, as_user, reachable_python
from needs import need
from scripting import Script
from support import PATIENCE, ROOT, comes_to_rest, eventually

from simple_clearance.sources import bridge

desk = endtoend.desk

READ_NOW = "c1: terok-shield's reader has ended: we read the packet log now"
HOLDER = """\
import socket, struct, sys, time
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.bind((0, 0))
body = struct.pack("=BB", 0, 0) + struct.pack(">H", 100) + struct.pack("=HHB3x", 5, 1, 1)
link.send(struct.pack("=IHHII", 16 + len(body), 4 << 8 | 1, 5, 0, 0) + body)
assert struct.unpack_from("=i", link.recv(4096), 16)[0] == 0
print("listening", flush=True)
time.sleep(600)
"""


def entry(dest, **fields):
    """A line of the audit log, as the reader writes it."""
    ts = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    line = {
        "ts": ts,
        "container": "0123456789ab",
        "action": "blocked",
        "dest": dest,
        "port": 443,
        "proto": "tcp",
    }
    return json.dumps({**line, **fields}) + "\n"


@pytest.fixture
def c1(host, lab):
    return host.container("c1", lab)


@pytest.fixture
def script(host, c1, pyz):
    """`script(*words)`: the archive with `--json` and its own reader."""
    started = []

    def start(*words):
        started.append(Script(host, pyz, "--json", *words, reader=False))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def followed(script, c1):
    """A session that goes by the audit log; the log is written by the test."""
    c1.head = c1.bridge_reader()
    return script()


@pytest.fixture
def hold(lab):
    """`hold()`: a program that has nothing to do with terok-shield takes the group; its process."""
    held = []

    def start():
        argv = [*lab.enter(), sys.executable, "-I", "-c", HOLDER]
        held.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        assert held[-1].stdout.readline() == b"listening\n"
        return held[-1]

    yield start
    for process in held:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(*pids):
    return [pid for pid in pids if state(pid) not in ("", "Z")]


def state(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def stopped(process):
    """SIGSTOP, and it has stopped."""
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: state(process.pid) == "T")


def no_more_questions(it, seconds=0.3):
    while not it.silent(seconds):
        it.read()
    return [record["dest"] for record in it.of("pending")]


# --- through its audit log


def test_what_is_blocked_is_asked_through_the_audit_log_and_an_answer_works(script, c1, lab, host):
    head = c1.bridge_reader()
    holder = lab.holder()
    c1.looks_up("www.example.com", "203.0.113.10")
    lab.listen(443)
    it = script()
    session = it.until("session")
    (told,) = session["containers"]
    assert (told["name"], told["id"], told["source"], told["shield"]) == ("c1", c1.id, "audit-log", 18)
    assert (told["shield_state"], told["held_by"]) == ("up", head)
    assert lab.connect("203.0.113.10", 443) == "EHOSTUNREACH"
    pending = it.until("pending")
    assert (pending["dest"], pending["port"], pending["proto"], pending["uid"]) == (
        "203.0.113.10",
        443,
        6,
        None,
    )
    assert (pending["class"], pending["names"]) == ("default", ["www.example.com"])
    it.say("allow %s\n" % pending["id"])
    assert it.until("verdict")["result"] == "applied"
    assert lab.connect("203.0.113.10", 443) == "connected"
    it.ends(0)
    assert host.targets() == ["allow 203.0.113.10"]
    assert it.of("still_blocked") == it.of("passed") == it.of("error") == []
    assert alive(head, holder) == [head, holder] and lab.holder() == holder  # nothing is ended


def test_the_start_says_once_what_is_missing_and_what_has_it_all(desk):
    head = desk.c1.bridge_reader()
    holder = desk.lab.holder()
    for _ in range(2):
        desk.c1.append("audit.jsonl", entry("203.0.113.66"))
    t = desk.sit()
    for words in ("blocked 2 times before this start", "(pid %d) holds the packet log" % head):
        t.expect(words)
    t.expect("--take-over ends that reader")
    said = " ".join(t.text().split())
    assert "through its audit log" in said and "come up to 1 s late, retries within 30 s and" in said
    desk.press("d", desk.block())
    t.expect("done in")
    t.quiet(0.2)
    t.send("q")
    assert t.wait() == 0
    text = t.text()
    assert text.count("--take-over") == text.count("late") == 1 and "203.0.113.66" not in text
    assert alive(head, holder) == [head, holder] and not desk.processes()


@pytest.mark.thorough
def test_on_a_narrow_terminal_it_says_the_same(desk):
    desk.c1.bridge_reader()
    t = desk.sit(size=(24, 40))
    t.expect("--take-over ends")
    t.quiet(0.2)
    assert all(len(line) < 40 for line in t.screen())
    t.send("q")
    assert t.wait() == 0


def test_nothing_from_before_the_start_is_asked_and_nothing_falls_between(desk):
    """Lines come all the time: some are counted as from before, the next is asked, and so are all others."""
    desk.c1.bridge_reader()
    addresses = ["198.18.%d.%d" % divmod(number, 250) for number in range(5000)]
    written, over = [], threading.Event()

    def write():
        while not over.is_set():
            desk.c1.append("audit.jsonl", entry(addresses[len(written)]))
            written.append(addresses[len(written)])
            over.wait(0.002)

    log = os.path.join(desk.host.folder, "log")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        t = desk.sit("--log", log)
        before = int(t.expect(re.compile(r"blocked (\d+) times before")).groups[0])
        eventually(lambda: len(written) > before + 50)
    finally:
        over.set()
        writer.join()
    t.quiet(0.3)
    t.kill(signal.SIGTERM)
    assert t.wait() == 5
    with open(log) as file:
        records = [json.loads(line) for line in file]
    asked = [record["dest"] for record in records if record["type"] == "pending"]
    assert asked == written[before:]


def test_its_log_is_followed_through_rotation_truncation_and_half_lines(followed, c1):
    it, path = followed, c1.path("audit.jsonl")
    it.until("session")
    c1.append("audit.jsonl", entry("198.51.100.1"))
    it.until("pending", dest="198.51.100.1")
    os.rename(path, path + ".1")
    c1.append("audit.jsonl.1", entry("198.51.100.2"))
    it.until("pending", dest="198.51.100.2")
    c1.append("audit.jsonl", entry("198.51.100.3"))
    it.until("pending", dest="198.51.100.3")
    shutil.copy(path, path + ".2")
    os.truncate(path, 0)
    c1.append("audit.jsonl", entry("198.51.100.4"))
    it.until("pending", dest="198.51.100.4")
    os.unlink(path)
    line = entry("198.51.100.5")
    c1.append("audit.jsonl", line[:50])
    assert it.silent(0.1)
    c1.append("audit.jsonl", line[50:])
    it.until("pending", dest="198.51.100.5")
    c1.append("audit.jsonl.new", entry("198.51.100.6"))
    os.rename(path + ".new", path)
    it.until("pending", dest="198.51.100.6")
    assert no_more_questions(it) == ["198.51.100.%d" % number for number in range(1, 7)]
    it.ends(5)


def test_hostile_lines_are_told_once_and_stop_nothing(followed, c1):
    it = followed
    it.until("session")
    bad = [
        "no JSON",
        "\0",
        "[" * 30_000,
        entry("$(reboot)").strip(),
        entry("198.51.100.0/24").strip(),
        "x" * 200_000,
    ]
    with open(c1.path("audit.jsonl"), "ab") as file:
        for number, text in enumerate(bad):
            file.write(text.encode() + b"\n\xff\xfe\n" + entry("198.51.100.%d" % number).encode())
    it.until("pending", number=len(bad))
    it.ends(5)
    assert [record["dest"] for record in it.of("pending")] == [
        "198.51.100.%d" % number for number in range(len(bad))
    ]
    first, count = (record["message"] for record in it.of("error"))
    assert first.startswith("c1: a line of the audit log means nothing: ")
    assert count == "c1: %d lines of the audit log meant nothing" % (2 * len(bad))


def test_verdicts_of_others_in_the_log_are_no_requests_and_a_shield_that_changes_is_told(followed, c1):
    it = followed
    it.until("session")
    for action in ("allowed", "denied", "setup"):
        c1.append("audit.jsonl", entry("198.51.100.1", action=action))
    c1.shield("quarantine")
    assert it.until("shield")["state"] == "quarantine"
    assert no_more_questions(it) == []
    it.ends(0)


def test_while_nothing_happens_nothing_wakes(followed):
    it = followed
    it.until("session")
    comes_to_rest([it.child.pid])
    it.ends(0)


def test_a_container_that_stops_ends_the_session(followed, c1):
    followed.until("session")
    c1.append("audit.jsonl", entry("198.51.100.1"))
    followed.until("pending")
    c1.stop()
    assert followed.child.wait(PATIENCE) == 5
    followed.ends(5)


# --- when it ends


def test_when_it_ends_we_read_the_packet_log_and_say_so(followed, c1, lab):
    it = followed
    it.until("session")
    os.killpg(c1.head, signal.SIGTERM)
    assert it.until("error")["message"] == READ_NOW
    assert [lab.holder()] == [pid for pid, argv in endtoend.processes(it.pyz) if "--as-reader" in argv]
    lab.listen(443)
    lab.connect("203.0.113.10", 443)
    pending = it.until("pending")
    assert pending["uid"] is not None  # the packet tells more than the log
    it.say("allow %s\n" % pending["id"])
    it.until("verdict")
    lab.connect("203.0.113.10", 443)
    it.until("passed")
    it.ends(0)
    eventually(lambda: lab.holder() == 0)


def test_what_it_left_half_written_is_lost(followed, c1):
    it = followed
    it.until("session")
    c1.append("audit.jsonl", entry("198.51.100.1") + entry("198.51.100.2")[:60])
    os.killpg(c1.head, signal.SIGTERM)
    assert it.until("error")["message"] == READ_NOW
    (lost,) = it.of("lost")
    assert (lost["container"], lost["count"], lost["where"]) == ("c1", 1, "watch")
    assert it.until("pending")["dest"] == "198.51.100.1"
    it.ends(5)


def test_when_only_its_head_ends_the_other_one_goes_on_writing(followed, c1, lab):
    it = followed
    it.until("session")
    holder = lab.holder()
    os.kill(c1.head, signal.SIGKILL)
    lab.connect("203.0.113.10", 443)
    it.until("pending")
    assert it.of("error") == [] and lab.holder() == holder
    os.kill(holder, signal.SIGKILL)
    assert it.until("error")["message"] == READ_NOW
    it.ends(5)


def test_a_start_after_its_head_was_ended_goes_by_the_log_all_the_same(script, c1, lab):
    os.kill(c1.bridge_reader(), signal.SIGKILL)
    it = script()
    assert it.until("session")["containers"][0]["source"] == "audit-log"
    lab.connect("203.0.113.10", 443)
    it.until("pending")
    it.ends(5)


def test_its_last_words_are_asked(followed, c1):
    it = followed
    it.until("session")
    stopped(it.child)
    c1.append("audit.jsonl", entry("198.51.100.1"))
    os.killpg(c1.head, signal.SIGKILL)
    it.child.send_signal(signal.SIGCONT)
    it.until("error", message=READ_NOW)
    assert no_more_questions(it) == ["198.51.100.1"]
    it.ends(5)


def test_another_one_that_takes_its_place_is_followed_too(followed, c1, lab):
    it = followed
    it.until("session")
    stopped(it.child)
    os.killpg(c1.head, signal.SIGKILL)
    eventually(lambda: lab.holder() == 0)
    c1.bridge_reader()
    it.child.send_signal(signal.SIGCONT)
    lab.connect("203.0.113.10", 443)
    it.until("pending")
    assert it.of("error") == []
    it.ends(5)


def test_where_a_stranger_takes_the_group_first_the_session_ends(followed, c1, lab, hold):
    it = followed
    it.until("session")
    stopped(it.child)
    os.killpg(c1.head, signal.SIGKILL)
    eventually(lambda: lab.holder() == 0)
    holder = hold()
    it.child.send_signal(signal.SIGCONT)
    assert it.child.wait(PATIENCE) == 4
    words = "simple-clearance: c1: NFLOG group 100 is held by pid %d (%s)\n" % (holder.pid, comm(holder.pid))
    remedy = "see what it is with ps -fp %d; one program at a time can read a container's packet log"
    it.ends(4, stderr=words + "hint: %s\n" % (remedy % holder.pid))
    assert holder.poll() is None


# --- taking over


@pytest.mark.parametrize(
    "stubborn, least",
    [("", 0), ("deaf", 0), pytest.param("careless", bridge.PATIENCE, marks=pytest.mark.thorough)],
)
def test_take_over_ends_both_of_them_and_says_what_the_container_loses(desk, stubborn, least):
    head = desk.c1.bridge_reader(stubborn)
    holder = desk.lab.holder()
    began = time.monotonic()
    t = desk.sit("--take-over")
    assert time.monotonic() - began > least, "it has its chance"
    t.expect("terok-shield's reader (pid %d) was ended" % head)
    t.expect("gets no blocked lines")
    assert not alive(head, holder)
    assert [desk.lab.holder()] == desk.processes("reader")
    desk.press("a", desk.block())
    t.expect("done in")
    t.quiet(0.2)
    text = desk.quit()
    assert "late" not in text and alive(desk.lab.pid)  # the container is unharmed


def test_one_that_can_not_hear_a_signal_is_not_waited_for(c1, lab):
    """As crun 1.8 starts its hooks: nothing but KILL ends it."""
    c1.bridge_reader("deaf")
    found = bridge.find(c1, lab.holder(), os.getuid())
    found.end(patience=10 * PATIENCE)
    assert found.ended()
    found.close()


def test_take_over_where_there_is_nothing_to_take_over_is_a_plain_start(script, lab):
    it = script("--take-over")
    assert it.until("session")["containers"][0]["source"] == "nflog"
    it.ends(0)


def test_take_over_ends_what_its_ended_head_left_behind(script, c1, lab):
    os.kill(c1.bridge_reader(), signal.SIGKILL)
    holder = lab.holder()
    it = script("--take-over")
    assert it.until("session")["containers"][0]["source"] == "nflog"
    assert not alive(holder)
    it.ends(0)


class Runtime:
    """A runtime directory with a short name, a hub's socket in it, and a start that looks there."""

    def __init__(self, c1, pyz):
        self.path = tempfile.mkdtemp(prefix="run")
        folder = os.path.join(self.path, "terok/clearance", c1.sid)
        os.makedirs(folder)
        self.hub = socket.socket(socket.AF_UNIX)
        self.hub.bind(folder + "/hub.sock")  # which refuses connections until it listens
        self._argv = [sys.executable, "-W", "error", pyz, "--json", "--take-over", "c1"]
        self._env = c1.host.env(XDG_RUNTIME_DIR=self.path)

    def start(self):
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(self._argv, env=self._env, stdin=subprocess.DEVNULL, **pipes)

    def close(self):
        self.hub.close()
        shutil.rmtree(self.path)


@pytest.fixture
def runtime(c1, pyz):
    it = Runtime(c1, pyz)
    yield it
    it.close()


def test_take_over_leaves_it_alone_while_a_hub_is_active(runtime, c1, lab):
    head = c1.bridge_reader()
    runtime.hub.listen(1)
    it = runtime.start()
    out, err = it.communicate(timeout=PATIENCE)
    assert (it.returncode, out) == (1, b"") and b"clearance hub is active" in err
    assert alive(head) and lab.holder()


def test_where_the_audit_log_is_off_the_reader_writes_it_all_the_same(desk):
    """Only verdicts and changes of the shield are not in it then, so its state is not known."""
    desk.c1.annotations["terok.shield.audit_enabled"] = "false"
    desk.c1.save()
    desk.c1.bridge_reader()
    t = desk.sit()
    t.expect("--take-over")
    desk.press("d", desk.block())
    t.expect("done in")
    t.quiet(0.2)
    t.send("q")
    assert t.wait() == 0 and "shield up" not in t.text()


# --- anybody else


def comm(pid):
    with open("/proc/%d/comm" % pid) as file:
        return file.read().strip()


def refused(script, *words):
    """A start that is refused: what it said."""
    it = script(*words)
    out, err = it.child.communicate(timeout=PATIENCE)
    assert (it.child.returncode, out) == (3, b"")
    it.child.stdin = it.child.stdout = it.child.stderr = None
    return err.decode().splitlines()


@pytest.mark.parametrize("words", [pytest.param((), marks=pytest.mark.thorough), ("--take-over",)])
def test_any_other_holder_is_named_and_left_alone(script, hold, words):
    holder = hold()
    said = refused(script, *words)
    assert said[0] == "simple-clearance: NFLOG group 100 is held by pid %d (%s)" % (
        holder.pid,
        comm(holder.pid),
    )
    assert said[1].startswith("hint: ") and "ps -fp %d" % holder.pid in said[1]
    assert holder.poll() is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"container_id": "f" * 64}, id="another container's"),
        pytest.param({"container_id": ""}, id="no container's"),
        pytest.param({"state_dir": "/tmp"}, id="another state directory's"),
        pytest.param({"emit": "json"}, id="one that emits to somebody"),
    ],
)
def test_a_reader_that_is_not_this_containers_is_none(c1, lab, other):
    c1.bridge_reader(**other)
    assert bridge.find(c1, lab.holder(), os.getuid()) is None


def test_one_that_is_none_is_left_alone(script, c1, lab):
    head = c1.bridge_reader(container_id="f" * 64)
    assert "held by pid %d" % lab.holder() in refused(script, "--take-over")[0]
    assert alive(head)


def test_a_session_of_ours_is_no_bridge_reader(script, c1):
    first = script()
    first.until("session")
    said, *hints = refused(script, "--take-over")
    assert "NFLOG group 100 is held by pid" in said and "another session of simple-clearance" in hints[1]
    c1.lab.connect("203.0.113.10", 443)
    first.until("pending")
    first.ends(5)


def test_two_sessions_never_answer_for_one_container(script, followed):
    """Both could listen, and terok-shield has no lock of its own."""
    followed.until("session")
    emits = shlex.join(["sh", "-c", "echo '%s'; cat" % '{"type":"container_started","container":"c1"}'])
    for words in ([], ["--take-over"], ["--reader", emits]):
        first, *hints = refused(script, *words)
        assert "another session answers for c1: pid %d (" % followed.child.pid in first, words
        assert "kill -TERM %d" % followed.child.pid in hints[0]
    checked = script("--check").child.communicate(timeout=PATIENCE)[0].decode()
    assert "another session answers for c1" in checked
    looks_on = script("--dry-run")
    looks_on.until("session")
    looks_on.ends(0)
    followed.child.kill()
    followed.child.wait()
    script().until("session")


@pytest.mark.parametrize("head_ends", [False, True], ids=["with its head", "without"])
def test_what_only_looks_like_one_and_is_another_users_is_left_alone(script, c1, lab, head_ends):
    """The same command lines, the group held, and somebody else's processes."""
    need("root")
    forged = forge(c1, lab)
    try:
        if head_ends:
            forged.kill()
            forged.wait()
        said = refused(script, "--take-over")
        assert "held by pid %d" % lab.holder() in said[0]
        assert alive(lab.holder())
    finally:
        os.killpg(forged.pid, signal.SIGKILL)
        forged.wait()
        forged.stdout.close()


def forge(c1, lab):
    """A head and a holder with the true one's arguments, another user's."""
    words = [c1.state_dir, c1.sid, "--emit=socket", "--annotations={}", "--container-id=" + c1.id]
    become = "import os; os.setgroups([]); os.setresgid(%d, %d, %d); os.setresuid(%d, %d, %d)\n" % (
        (65534,) * 6
    )
    inner = HOLDER.replace('print("listening"', become + 'print("listening"')
    outer = "import subprocess, sys\nchild = subprocess.Popen(%r + sys.argv[1:] + ['--hub-socket='])\n" % (
        [*lab.enter(), sys.executable, "-I", "-c", inner],
    )
    outer += become + "child.wait()\n"
    forged = subprocess.Popen(
        [sys.executable, "-I", "-c", outer, *words], stdout=subprocess.PIPE, start_new_session=True
    )
    assert forged.stdout.readline() == b"listening\n"
    eventually(lambda: owner(forged.pid) == 65534 == owner(lab.holder()))
    return forged


def owner(pid):
    return os.stat("/proc/%d" % pid).st_uid


# --- an ordinary user


@pytest.fixture
def ordinary(terminal, pyz):
    """A desk where an ordinary user sits, at a namespace of that user's own."""
    need("root")
    uid, folder = 1000, tempfile.mkdtemp(prefix="ordinary")
    try:
        with Host(folder + "/host") as host, Lab(user=uid) as lab:
            it = Desk(host, lab, terminal, shutil.copy(pyz, folder))
            it.python, it.prefix, it.user = reachable_python(uid), as_user(uid), uid
            for tool in ("podman", "terok-shield"):
                path = os.path.join(host.bin, tool)
                with open(path) as file:
                    text = file.read()
                with open(path, "w") as file:
                    file.write(text.replace(sys.executable, it.python))
            for where, folders, files in os.walk(folder):
                for name in [".", *folders, *files]:
                    os.chown(os.path.join(where, name), uid, uid)
            yield it
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_an_ordinary_users_reader_is_followed_and_taken_over_without_any_privilege(ordinary):
    head = ordinary.c1.bridge_reader(user=[*ordinary.prefix, "env", ordinary.python])
    holder = ordinary.lab.holder()
    assert owner(head) == ordinary.user
    t = ordinary.sit()
    t.expect("--take-over")
    ordinary.press("d", ordinary.block())
    t.expect("done in")
    t.quiet(0.2)
    t.send("q")
    assert t.wait() == 0 and alive(head, holder) == [head, holder]
    t = ordinary.sit("--take-over")
    t.expect("was ended")
    assert not alive(head, holder)
    t.quiet(0.2)
    ordinary.quit()


def test_roots_reader_is_not_an_ordinary_users(ordinary):
    head = ordinary.c1.bridge_reader()
    for words in ((), ("--take-over",)):
        it = ordinary.run("--json", *words, "c1")
        assert it.returncode == 3 and b"held by pid %d" % ordinary.lab.holder() in it.stderr
    assert alive(head)


# --- a pid that has passed to another


REUSED = r"""
import os, signal, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from simple_clearance.sources import bridge
from simple_clearance.sources.watched import Watched

ONE = Watched("c1")
ONE.state_dir, ONE.id = "/run/c1", "f" * 64
WORDS = [ONE.state_dir, "--emit=socket", "--container-id=" + ONE.id]

def start(pid, *words, **options):
    "A process with this pid."
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    it = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *words], **options)
    assert it.pid == pid
    return it

def running(process):
    return process.poll() is None

head = start(300, *WORDS, preexec_fn=os.setpgrp)
holder = start(310, *WORDS, preexec_fn=lambda: os.setpgid(0, 300))
found = bridge.find(ONE, 310, os.getuid())
assert (found.head, found.holder, found.pid) == (300, 310, 300)
for one in (head, holder):
    one.kill()
    one.wait()
other = start(300, start_new_session=True)
found.end()
time.sleep(0.1)
assert running(other), "whoever has its number now was ended"
assert bridge.find(ONE, 300, os.getuid()) is None
assert bridge.find(ONE, 310, os.getuid()) is None
found.close()
other.kill()
other.wait()

# its head has ended, and another's process has that number: of a group of its own, so no head
head = start(400, *WORDS, preexec_fn=os.setpgrp)
holder = start(410, *WORDS, preexec_fn=lambda: os.setpgid(0, 400))
head.kill()
head.wait()
found = bridge.find(ONE, 410, os.getuid())
assert (found.head, found.pid) == (400, 410)
found.end()
assert holder.wait(60) == -signal.SIGTERM
assert found.ended()
found.close()
print("held")
"""


def test_a_pid_that_has_passed_to_another_process_is_not_ended(tmp_path):
    need("root")
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-W", "error", "-c"]
    done = subprocess.run(
        [*argv, REUSED, ROOT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.stdout.decode().endswith("held\n"), done.stdout.decode()
