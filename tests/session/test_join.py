"""`--join`: sessions elsewhere, as ours: whole programs at both ends, joined by pipes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys

import endtoend
import pytest
import scripting
from support import eventually

from simple_clearance.base import timestamps

script = scripting.script


class Elsewhere:
    """A machine to be joined: a session of its own, whose reader is a pipe of ours."""

    def __init__(self, folder, pyz, name, container):
        self.name, self.container = name, container
        self._feed = os.path.join(folder, name + ".feed")
        self._pids = os.path.join(folder, name + ".pids")
        os.mkfifo(self._feed)
        self._fd = os.open(self._feed, os.O_RDWR)
        self._sent = 0
        shield = os.path.join(folder, name + "-shield")
        self._verdicts = os.path.join(folder, name + ".verdicts")
        with open(shield, "w") as file:  # which machine ran it is to be seen
            file.write('#!/bin/sh\necho "$@" >>%s\nexec terok-shield "$@"\n' % shlex.quote(self._verdicts))
        os.chmod(shield, 0o755)
        reader = "sh -c 'cat %s & read -r end; kill $!'" % self._feed
        self.started()
        words = [sys.executable, "-S", pyz, "--json", "--reader", reader, "--shield", shield, container]
        inner = "echo $$ >>%s; exec %s" % (shlex.quote(self._pids), " ".join(map(shlex.quote, words)))
        self.words = ["--join", "%s=sh -c %s" % (name, shlex.quote(inner))]

    def started(self):
        """What its reader says first, each time it is started."""
        os.write(self._fd, b'{"type":"container_started"}\n')

    @property
    def pids(self):
        """Its sessions' processes, the last one started last."""
        with open(self._pids) as file:
            return [int(line) for line in file]

    def verdicts(self):
        if not os.path.exists(self._verdicts):
            return []
        with open(self._verdicts) as file:
            return file.read().splitlines()

    def block(self, *dests, port=443):
        for dest in dests:
            self._sent += 1
            line = {
                **{"type": "pending", "container": self.container, "id": "x:%d" % self._sent, "dest": dest},
                **{"port": port, "proto": 6, "domain": "", "dossier": {}, "ts": "", "class": "default"},
            }
            os.write(self._fd, json.dumps(line).encode() + b"\n")

    def close(self):
        os.close(self._fd)


@pytest.fixture
def elsewhere(script, host, pyz, tmp_path):
    """`elsewhere(name, container)`: a machine to be joined, with that container."""
    made = []

    def make(name, container="c1"):
        if container not in host.containers:
            host.container(container)
        made.append(Elsewhere(str(tmp_path), pyz, name, container))
        return made[-1]

    yield make
    for each in made:
        each.close()


def join(script, *machines, words=("--json",)):
    joined = [word for machine in machines for word in machine.words]
    return script(*words, *joined, names=(), reader=False)


def test_what_is_blocked_elsewhere_is_asked_here_and_decided_there(script, elsewhere):
    web, db = elsewhere("web"), elsewhere("db", "c2")
    it = join(script, web, db)
    session = it.until("session")
    assert [each["name"] for each in session["containers"]] == ["web/c1", "db/c2"]
    web.block("198.51.100.1")
    db.block("198.51.100.2")
    it.until("pending", 2)
    asked = {record["container"]: record["id"] for record in it.of("pending")}
    it.say("allow %s\ndeny %s\n" % (asked["web/c1"], asked["db/c2"]))
    it.until("closed", 2)
    summary = it.ends(0).records[-1]
    assert (summary["allowed"], summary["denied"]) == (1, 1)
    assert web.verdicts() == ["allow c1 198.51.100.1"]
    assert db.verdicts() == ["deny c2 198.51.100.2"]
    eventually(lambda: not any(map(runs, (*web.pids, *db.pids))), what="nothing of it is left")


@pytest.mark.parametrize("names", [(), ("c3",)], ids=["alone", "beside one here"])
def test_an_answer_is_kept_for_the_container_of_that_machine(script, host, lab, elsewhere, tmp_path, names):
    rules = tmp_path / "rules"
    rules.write_text("ask 198.51.100.9\n")
    web, db = elsewhere("web"), elsewhere("db", "c2")
    for name in names:
        host.container(name, lab)
    words = ("--json", "--policy", str(rules), "--save-policy", str(rules), *web.words, *db.words)
    it = script(*words, names=names, reader=False)
    it.until("session")
    web.block("198.51.100.1")
    it.say("mute %s\n" % it.until("pending")["id"])
    it.until("closed")
    eventually(lambda: b"skip 198.51.100.1   # " in rules.read_bytes(), what="it is kept")
    assert [line.partition("   #")[0] for line in rules.read_text().splitlines()] == [
        *("ask 198.51.100.9", "[web/c1]", "skip 198.51.100.1"),
    ]
    db.block("198.51.100.1")
    asked = it.until("pending", 2)
    assert asked["container"] == "db/c2", "of the other machine it is asked"
    it.say("skip %s\n" % asked["id"])
    it.ends(0)


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_undo_and_ask_go_there_and_back(script, elsewhere):
    web = elsewhere("web")
    it = join(script, web)
    web.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("allow r1\nskip r2\n")
    it.until("closed", 2)
    it.say("undo r1\nask r2\n")
    assert it.until("verdict", undo=True)["result"] == "applied"
    assert it.until("pending", 3)["dest"] == "198.51.100.2"
    it.say("deny r3\n")
    it.until("closed", id="r3")
    it.ends(0)
    assert web.verdicts() == [
        "allow c1 198.51.100.1",
        "deny c1 198.51.100.1",
        "deny c1 198.51.100.2",
    ]


def test_a_session_elsewhere_and_a_container_here_are_one(script, elsewhere, host, lab):
    web = elsewhere("web")
    host.container("c5", lab)
    it = script("--json", *web.words, names=("c5",), reader=False)
    it.until("session")
    web.block("198.51.100.1")
    lab.connect("198.51.100.2", 443)
    it.until("pending", 2)
    asked = {record["container"]: record["id"] for record in it.of("pending")}
    it.say("allow %s\nallow %s\n" % (asked["web/c1"], asked["c5"]))
    it.until("closed", 2)
    it.ends(0)
    assert web.verdicts() == ["allow c1 198.51.100.1"]
    assert ["allow", "c5", "198.51.100.2"] in [call.argv for call in host.verdicts()]


def test_a_link_that_is_lost_is_told_and_tried_again(script, elsewhere):
    web = elsewhere("web")
    it = join(script, web)
    web.block("198.51.100.1")
    it.ids(1)
    os.kill(web.pids[0], signal.SIGKILL)
    assert it.until("closed")["why"] == "stopped"
    assert (it.until("lost")["where"], it.until("container", state="lost")["host"]) == ("link", "web")
    eventually(lambda: len(web.pids) == 2, what="it is tried again")
    web.started()
    assert it.until("container", state="back")["host"] == "web"
    web.block("198.51.100.2")
    it.say("allow %s\n" % it.until("pending", 2)["id"])
    it.until("closed", 2)
    it.ends(5)
    assert web.verdicts() == ["allow c1 198.51.100.2"]


def test_a_verdict_whose_link_is_lost_has_no_outcome(script, elsewhere, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    web = elsewhere("web")
    it = join(script, web)
    web.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\n")
    eventually(web.verdicts, what="it runs")
    os.kill(web.pids[0], signal.SIGKILL)
    verdict = it.until("verdict")
    assert (verdict["result"], verdict["reason"]) == ("unknown", "ended")
    host.open(gate)
    it.ends(5)


def test_the_end_waits_for_a_verdict_elsewhere(script, elsewhere, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    web = elsewhere("web")
    it = join(script, web, words=("--json", "--verdict-timeout", "600"))
    web.block("198.51.100.1")
    it.ids(1)
    it.say("allow r1\n")
    eventually(web.verdicts, what="it runs")
    it.hang_up()
    host.open(gate)
    assert it.ends(0).records[-1]["allowed"] == 1


def test_what_was_blocked_elsewhere_before_the_end_is_told(script, elsewhere):
    web = elsewhere("web")
    it = join(script, web)
    it.until("session")
    os.kill(web.pids[0], signal.SIGSTOP)
    web.block("198.51.100.1")
    it.hang_up()
    assert it.silent(0.3)
    os.kill(web.pids[0], signal.SIGCONT)
    assert it.until("pending")["dest"] == "198.51.100.1"
    assert it.ends(5).of("lost") == []


def test_one_that_does_not_tell_its_end_in_time_leaves_a_gap(script, elsewhere):
    web = elsewhere("web")
    it = join(script, web)
    it.until("session")
    os.kill(web.pids[0], signal.SIGSTOP)
    it.ends(5)
    assert [(record["where"], record["count"]) for record in it.of("lost")] == [("link", 1)]
    assert it.records[-1]["gaps"] == 1
    eventually(lambda: not os.path.exists("/proc/%d" % web.pids[0]), what="it has been ended")


def test_what_can_not_be_joined_is_refused_in_its_own_words(script, elsewhere):
    it = script("--json", "--join", "web=sh -c 'echo nobody is here >&2; exit 3'", names=(), reader=False)
    told = "simple-clearance: web: nobody is here\nhint: run it by hand to see why: %s\n"
    it.ends(3, told % "sh -c 'echo nobody is here >&2; exit 3'")


def test_the_refusal_of_a_session_elsewhere_is_told_with_its_hint(script, elsewhere, pyz, host):
    inner = " ".join(map(shlex.quote, [sys.executable, "-S", pyz, "--json", "nosuch"]))
    it = script("--json", "--join", "web=" + inner, names=(), reader=False)
    it.child.stdin.close()
    said = it.child.stderr.read().decode()
    assert it.child.wait() == 3
    assert said.startswith("simple-clearance: web: ") and "nosuch" in said and "\nhint: " in said


def test_a_session_of_another_protocol_is_refused(script, elsewhere):
    other = """echo '{"type":"session","protocol":2}'; exec cat"""
    it = script("--json", "--join", "web=sh -c " + shlex.quote(other), names=(), reader=False)
    it.ends(
        3,
        "simple-clearance: web speaks version 2 of the protocol, this is 1\n"
        "hint: run the same version there\n",
    )


def test_a_session_that_can_not_be_read_is_refused_with_what_is_wrong(script, elsewhere):
    wrong = """echo '{"type":"session","protocol":1,"containers":[{"name":"../x"}]}'; exec cat"""
    it = script("--json", "--join", "web=sh -c " + shlex.quote(wrong), names=(), reader=False)
    it.ends(
        3,
        "simple-clearance: web: it does not speak the protocol: "
        "session: containers hold one whose name is not a container's name\n",
    )


def test_what_a_shell_says_before_the_session_is_passed_over(script, elsewhere):
    web = elsewhere("web")
    web.words[1] = web.words[1].replace("sh -c '", "sh -c 'echo Welcome; echo; ", 1)
    it = join(script, web)
    it.until("session")
    it.ends(0)


def test_one_that_never_stops_saying_nothing_is_refused(script, elsewhere):
    it = script("--json", "--join", "web=yes", names=(), reader=False)
    it.child.stdin.close()
    assert "does not speak the protocol" in it.child.stderr.read().decode()
    assert it.child.wait() == 3


def test_a_session_elsewhere_that_ends_as_asked_is_not_started_again(script, elsewhere):
    web = elsewhere("web")
    it = join(script, web)
    it.until("session")
    os.kill(web.pids[0], signal.SIGTERM)
    it.ends(0)
    assert len(web.pids) == 1


def test_a_log_of_another_machine_is_a_recording_too(script, elsewhere, tmp_path, host):
    web, log = elsewhere("web"), str(tmp_path / "log")
    it = join(script, web, words=("--json", "--log", log))
    web.block("198.51.100.1")
    it.ids(1)
    it.say("skip r1\n")
    it.until("closed")
    it.ends(0)
    again = script("--json", "--replay", log, names=(), reader=False)
    told = again.until("pending")
    assert (told["container"], told["dest"]) == ("web/c1", "198.51.100.1")


# --- others that are no session of ours


def other(tmp_path, code):
    """`--join evil=...`: a program that says it is a session, and then does this."""
    path = tmp_path / "other.py"
    path.write_text(
        "import json, os, sys, time\n"
        "def say(**record):\n"
        "    os.write(1, json.dumps(record).encode() + b'\\n')\n"
        "say(type='session', protocol=1, containers=[{'name': 'c1', 'shield': 18}])\n" + code
    )
    return ["--join", "evil=%s -S %s" % (sys.executable, path)]


ENDLESS = """
number = 0
while True:
    number += 1
    dest, port = "203.0.113.%d" % (number % 200), number % 60000
    say(type="pending", id="x%d" % number, container="c1", dest=dest, port=port, proto=6, count=1)
    say(type="error", message="nonsense")
    say(type="again", id="x1", count=number)
    os.write(1, b"\\x1b[2J nonsense\\n")
"""


def test_one_that_never_stops_talking_does_not_hold_up_another(script, elsewhere, tmp_path):
    web = elsewhere("web")
    it = script("--json", *web.words, *other(tmp_path, ENDLESS), names=(), reader=False)
    it.until("session")
    for number in range(1, 6):
        web.block("198.51.100.%d" % number)
        it.say("deny %s\n" % it.until("pending", container="web/c1", dest="198.51.100.%d" % number)["id"])
        it.until("closed", number, why="applied")
    it.say("")
    it.hang_up()
    it.ends(5)
    assert len(web.verdicts()) == 5


def test_what_it_does_not_tell_of_its_containers_is_null(script, tmp_path):
    it = script("--json", *other(tmp_path, "sys.stdin.readline()"), names=(), reader=False)
    assert it.until("session")["containers"] == [
        {"name": "evil/c1", "id": None, "source": None, "shield": 18, "dossier": {}}
    ]
    it.ends(0)


MANY = """
for number in range(60000):
    say(type="pending", id="x%d" % number, container="c1", dest="203.0.113.%d" % (number % 250),
        port=number // 250 + 1, proto=6, count=1)
say(type="pending", id="last", container="c1", dest="198.51.100.1", port=443, proto=6, count=1)
for line in sys.stdin:
    if "last" in line:
        say(type="error", message="all was told")
"""


def test_a_loss_that_goes_on_is_told_once_a_second(script, tmp_path):
    """No more than so many requests are held of one machine; it goes on all the same."""
    it = script("--json", *other(tmp_path, MANY), names=(), reader=False)
    it.until("error", message="evil: all was told")
    it.hang_up()
    it.ends(5)
    lost = it.of("lost")
    seconds = float(timestamps.seconds(it.records[-1]["ts"]) - timestamps.seconds(it.records[0]["ts"]))
    assert sum(record["count"] for record in lost) == it.records[-1]["lost"] == 40_001
    assert len(lost) <= seconds + 2


DEAF = """
for number in range(30000):
    say(type="pending", id="x" * 54 + "%010d" % number, container="c1", dest="203.0.113.%d" % (number % 200),
        port=number // 200 + 1, proto=6, count=1)
time.sleep(600)
"""


def test_one_that_reads_nothing_is_given_up(script, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("skip 203.0.113.0/24\n")
    words = ["--json", "--policy", str(rules), *other(tmp_path, DEAF)]
    it = script(*words, names=(), reader=False)
    assert it.until("container", state="lost")["host"] == "evil"
    it.ends(5)


LYING = """
say(type="pending", id="x1", container="c1", dest="203.0.113.1", port=443, proto=6, count=1)
for container in ("web/c1", "../web/c1", "c2"):
    say(type="pending", id="x2", container=container, dest="203.0.113.2", port=443, proto=6, count=1)
for container in ("c1", "web/c1"):
    say(type="verdict", id="r1", ids=["r1"], container=container, action="allow", target="198.51.100.1",
        by="operator", result="applied")
say(type="closed", id="r1", why="applied")
say(type="summary", untold=5, exit=3)
sys.stdin.readline()
"""


def test_one_that_lies_is_believed_nothing_about_another(script, elsewhere, tmp_path):
    web = elsewhere("web")
    it = script("--json", *web.words, *other(tmp_path, LYING), names=(), reader=False)
    web.block("198.51.100.1")
    asked = it.until("pending", container="web/c1")
    it.until("pending", container="evil/c1")
    it.until("error", 2)
    assert not it.of("closed") and not it.of("verdict")
    assert {record["container"] for record in it.of("pending")} == {"web/c1", "evil/c1"}
    it.say("allow %s\n" % asked["id"])
    it.until("closed", id=asked["id"])
    it.ends(5)
    assert web.verdicts() == ["allow c1 198.51.100.1"]


# --- on the terminal


@pytest.fixture
def desk(terminal, host, pyz):
    """`desk(machine, ...)`: the prompt for those."""

    def start(*machines):
        joined = [word for machine in machines for word in machine.words]
        t = terminal([sys.executable, "-S", "-W", "error", pyz, *joined], env=host.env())
        for machine in machines:
            t.expect("watching %s/%s" % (machine.name, machine.container))
        return t

    return start


def test_questions_of_two_machines_are_asked_on_one_terminal(desk, elsewhere):
    web, db = elsewhere("web"), elsewhere("db", "c2")
    t = desk(web, db)
    web.block("198.51.100.1")
    asked = t.expect(endtoend.KEYS)
    assert "web/c1" in t.text() and "198.51.100.1" in t.text()
    endtoend.wait_for_keys(t, asked)
    t.send("a")
    t.expect("done in")
    db.block("198.51.100.2")
    t.expect("db/c2")
    endtoend.wait_for_keys(t, t.expect(endtoend.KEYS))
    t.send("d")
    t.expect("done in")
    t.send("q")
    assert t.wait() == 0
    assert (web.verdicts(), db.verdicts()) == (["allow c1 198.51.100.1"], ["deny c2 198.51.100.2"])
    assert "the container has stopped" not in t.text()


def test_a_lost_link_is_told_on_the_terminal_and_the_other_machine_goes_on(desk, elsewhere):
    web, db = elsewhere("web"), elsewhere("db", "c2")
    t = desk(web, db)
    os.kill(web.pids[0], signal.SIGKILL)
    t.expect("web: the link was lost")
    db.block("198.51.100.2")
    endtoend.wait_for_keys(t, t.expect(endtoend.KEYS))
    t.send("a")
    t.expect("done in")
    eventually(lambda: len(web.pids) > 1, what="it is tried again")
    web.started()
    t.expect("web: the link is back")
    t.send("q")
    assert t.wait() == 5
