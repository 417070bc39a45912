"""The hub and the bridge reader, the real ones: terok-clearance under terok-sandbox, terok-shield's hook."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from host import write
from needs import lacks
from real.conftest import PYTHON, entered
from real.desk import Desk
from real.sandbox import Client, Sandbox, readers, shielded
from soak import Verdict
from support import PATIENCE, eventually


@pytest.fixture(scope="module")
def sandbox(tools):
    with entered(Sandbox(*PYTHON, tools=tools), "terok-sandbox") as it:
        yield it


@pytest.fixture
def hubdesk(sandbox, pyz, terminal):
    with Desk(sandbox, pyz, terminal) as it:
        yield it


@pytest.fixture(scope="module")
def c1(sandbox):
    """A container that most tests share, each with addresses of its own; no hub is active between them."""
    sandbox.launched("c1")
    return "c1"


def supervised(sandbox, name, **options):
    try:
        return sandbox.supervised(name, **options)
    except AssertionError as error:  # the kernel's keyring may be forbidden
        lacks("terok-sandbox setup", str(error))


@pytest.fixture(scope="module")
def neighbour(sandbox):
    """A container whose hub is up all the time."""
    supervised(sandbox, "s2")
    return "s2"


def refused(desk, name, *words, code=1):
    """A start that is refused: the first line, and the hints."""
    done = desk.run("--json", *words, name)
    assert (done.returncode, done.stdout) == (code, ""), done
    first, *hints = done.stderr.splitlines()
    assert all(hint.startswith("hint: ") for hint in hints)
    return first, "\n".join(hints)


def remedy(hints):
    """The command that is named."""
    return re.search(r"kill -(TERM|KILL) (\d+)", hints).group().split()


def asked_and_answered(desk, name, address, *words):
    """A session that starts, is asked, allows, and ends."""
    it = desk.script(*words, name)
    desk.rig.conn(name, address)
    it.say("allow %s" % it.until("pending", dest=address)["id"])
    assert it.until("verdict")["result"] == "applied"
    assert desk.rig.conn(name, address) == address + " connected"
    assert it.finish()[0] == 0
    return it


# --- the hub, at the start


@pytest.mark.parametrize("deaf", [False, True], ids=["minds TERM", "as under crun 1.8"])
def test_the_remedy_that_is_named_ends_this_containers_hub_alone(sandbox, hubdesk, neighbour, deaf):
    name = "s%d" % deaf
    supervised(sandbox, name, deaf=deaf)
    beside = "supervise-child %s " + sandbox.ids[name]
    first, hints = refused(hubdesk, name)
    (pid,) = sandbox.hubs(name)
    assert (
        "the clearance hub is active" in first
        and "%s answers (pid %d)" % (sandbox.socket(name), pid) in first
    )
    assert "terok-clearance-hub clearance" in hints and "supervisor" not in hints
    assert remedy(hints) == ["kill", "-KILL" if deaf else "-TERM", str(pid)]
    sandbox.as_op(remedy(hints), check=True)
    eventually(lambda: not sandbox.hubs(name))
    for service in ("verdict", "signer"):
        assert sandbox.processes(beside % service)
    assert sandbox.processes("terok-sandbox supervisor " + sandbox.ids[name])
    assert sandbox.hubs(neighbour) and "pid %d" % pid not in refused(hubdesk, neighbour)[0]
    it = asked_and_answered(hubdesk, name, "198.51.100.1")
    assert it.of("session")[0]["containers"][0]["source"] == "audit-log"


def test_a_hub_that_no_reader_feeds_is_said_to_be_that_and_ending_it_frees_the_container(sandbox, hubdesk):
    supervised(sandbox, "s5", bus=False)
    first, hints = refused(hubdesk, "s5")
    assert "though no reader feeds it" in first
    assert (
        hints == "hint: end the hub of this container, which frees it: kill -TERM %d" % sandbox.hubs("s5")[0]
    )
    done = hubdesk.run("--check", "s5")
    assert done.returncode == 1 and "though no reader feeds it" in done.stdout
    sandbox.as_op(remedy(hints), check=True)
    eventually(lambda: not sandbox.hubs("s5"))
    it = asked_and_answered(hubdesk, "s5", "198.51.100.1")
    assert it.of("session")[0]["containers"][0]["source"] == "nflog"


def test_one_that_a_reader_feeds_is_not(sandbox, hubdesk, c1):
    one = sandbox.hub(c1)
    one.online()
    assert "no reader" not in refused(hubdesk, c1)[0]
    one.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_sockets_that_it_leaves_behind_hinder_nobody(sandbox, hubdesk, c1, number):
    one = sandbox.hub(c1)
    one.online()
    one.end(number)
    assert sandbox.as_op(["test", "-S", sandbox.socket(c1)]).returncode == 0
    asked_and_answered(hubdesk, c1, "198.51.100.%d" % (10 + number))


def test_one_that_is_too_busy_to_answer_is_active(sandbox, hubdesk, c1):
    one = sandbox.hub(c1)
    one.online()
    (pid,) = sandbox.hubs(c1)
    sandbox.as_op(["kill", "-STOP", str(pid)], check=True)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex("/proc/%d/root%s" % (sandbox._pid, sandbox.socket(c1)))
        first, hints = refused(hubdesk, c1)
        assert "%s is busy" % sandbox.socket(c1) in first
        assert "the pid that ss -xlp src %s tells" % sandbox.socket(c1) in hints
    finally:
        sandbox.as_op(["kill", "-CONT", str(pid)])
        one.process.send_signal(signal.SIGCONT)  # nsenter, which stops with its child
        for client in clients:
            client.close()
    one.end()


def test_of_two_the_one_that_took_the_sockets_over_counts(sandbox, hubdesk, c1):
    first = sandbox.hub(c1)
    first.online()
    (elder,) = sandbox.hubs(c1)
    second = sandbox.hub(c1)
    eventually(lambda: "pid %d" % elder not in refused(hubdesk, c1)[0])
    younger = sandbox.hubs(c1)[1]
    said, hints = refused(hubdesk, c1)
    assert "answers (pid %d)" % younger in said
    sandbox.as_op(remedy(hints), check=True)
    second.process.wait(PATIENCE)
    asked_and_answered(hubdesk, c1, "198.51.100.30")  # nothing answers for the other one
    sandbox.as_op(["kill", "-TERM", str(elder)], check=True)
    first.process.wait(PATIENCE)


# --- a container that terok-sandbox has made


def test_its_state_lies_where_the_annotation_leads_and_all_works_there(sandbox, hubdesk):
    supervised(sandbox, "s6")
    for pid in sandbox.hubs("s6"):
        sandbox.as_op(["kill", "-TERM", str(pid)], check=True)
    eventually(lambda: not sandbox.hubs("s6"), what="its hub has ended")
    path = sandbox.inspected("s6")["Config"]["Annotations"]["terok.shield.state_dir"]
    assert path == sandbox.home + "/.local/share/terok/sandbox/sandbox/runs/s6/shield"
    assert not os.path.exists(sandbox.state("s6"))
    done = hubdesk.run("--check", "s6")
    assert done.returncode == 0 and re.search("^ok +state dir +%s$" % path, done.stdout, re.M), done.stdout
    t = hubdesk.sit("s6", "--take-over")
    hubdesk.press("A", hubdesk.block("s6", "byname.example", shown="192.0.2.2"))  # from its query log
    hubdesk.press("y", t.expect("y allow byname.example"), own=True)
    t.expect("A allow byname.example ... done in")
    assert sandbox.conn("s6", "byname.example") == "192.0.2.2 connected"
    t.expect("s6  192.0.2.2: first packet let out")
    command = ["terok-shield", "down", "--container-id", sandbox.ids["s6"], "s6"]
    sandbox.as_op(command, check=True)  # from its audit log
    t.expect("s6: the shield is down")
    hubdesk.quit()
    with open(path + "/audit.jsonl") as file:
        verdicts = [line for line in map(json.loads, file) if line["action"] == "allowed"]
    assert [line["dest"] for line in verdicts] == ["192.0.2.2"]


def test_a_supervisor_that_is_started_again_ends_the_session_that_took_its_hubs_place(sandbox, hubdesk):
    """As systemd does it: all of it is gone for six seconds, and then all of it is back."""
    supervised(sandbox, "s7")
    words = "terok-sandbox supervisor " + sandbox.ids["s7"]
    ((pid, _, args),) = sandbox.processes(words)
    refused(hubdesk, "s7")
    sandbox.as_op(["kill", "-TERM", str(pid)], check=True)
    eventually(lambda: not (sandbox.processes(words) or sandbox.hubs("s7")), what="all of it has ended")
    t = hubdesk.sit("s7")
    hubdesk.block("s7", "198.51.100.51")
    threading.Timer(6, lambda: sandbox.begin(args.split(), stderr=subprocess.DEVNULL)).start()
    text = hubdesk.ends(1)
    assert "the clearance hub is active" in text and "1 unanswered" in text, text
    assert sandbox.processes(words)
    assert "pid %d" % sandbox.hubs("s7")[0] in refused(hubdesk, "s7")[0]
    assert sandbox.conn("s7", "198.51.100.51").endswith("EHOSTUNREACH")
    assert t.wait() == 1


def test_a_hub_for_all_containers_that_was_started_by_hand_is_active_for_each(sandbox, hubdesk, c1):
    process = sandbox.begin(["terok-clearance-hub", "serve"], stderr=subprocess.DEVNULL)
    path = sandbox.runtime + "/terok-clearance.sock"
    eventually(
        lambda: os.path.exists("/proc/%d/root%s" % (sandbox._pid, path)) and sandbox.answers(path=path)
    )
    said, hints = refused(hubdesk, c1)
    assert path in said and "systemctl --user stop terok-clearance-hub" in hints
    sandbox.as_op(remedy(hints), check=True)
    assert process.wait(PATIENCE) == 0
    asked_and_answered(hubdesk, c1, "198.51.100.31")


# --- the hub, later


def test_one_that_comes_up_while_a_question_waits_stops_the_session(sandbox, hubdesk, c1):
    hubdesk.sit(c1)
    hubdesk.block(c1, "198.51.100.40")
    one = sandbox.hub(c1)
    one.online()
    text = hubdesk.ends(1)
    assert "the clearance hub is active" in text and "1 unanswered" in text
    (pid,) = sandbox.hubs(c1)
    assert "kill -TERM %d" % pid in text
    one.end()
    assert not [
        line
        for line in sandbox.audit(c1)
        if line.get("dest") == "198.51.100.40" and line["action"] == "allowed"
    ]


VERDICT = """\
#!/bin/sh
read -r stat </proc/$$/stat
echo "$stat" >>%s/verdicts
sleep %g
exec terok-shield "$@"
"""


def slow(sandbox, seconds=0.0):
    """A verdict command that first takes its time, and writes down when it was begun; the words for it."""
    path = sandbox.home + "/verdict"
    write(path, VERDICT % (sandbox.home, seconds))
    os.chmod(path, 0o755)
    return "--shield", path


def test_a_verdict_that_runs_when_it_comes_up_is_waited_for_and_told(sandbox, hubdesk, c1):
    it = hubdesk.script(*slow(sandbox, 2.5), c1)
    sandbox.conn(c1, "198.51.100.41")
    it.say("allow %s" % it.until("pending")["id"])
    one = sandbox.hub(c1)
    one.online()
    verdict = it.until("verdict")
    assert (verdict["target"], verdict["result"]) == ("198.51.100.41", "applied")
    code, said = it.finish()
    assert code == 1 and "the clearance hub is active" in said
    assert sandbox.conn(c1, "198.51.100.41") == "198.51.100.41 connected"
    one.end()


def test_one_that_came_up_while_the_session_was_stopped_is_seen_before_anything_else(sandbox, hubdesk, c1):
    """The answer has been typed already when it goes on."""
    it = hubdesk.script(c1)
    sandbox.conn(c1, "198.51.100.42")
    request = it.until("pending")["id"]
    (session,) = hubdesk.processes("session")
    os.kill(session, signal.SIGSTOP)
    one = sandbox.hub(c1)
    one.online()
    it.say("allow %s" % request)
    os.kill(session, signal.SIGCONT)
    it._child.send_signal(signal.SIGCONT)  # nsenter, which stops with its child
    code, said = it.finish()
    assert code == 1 and "the clearance hub is active" in said
    assert [verdict["reason"] for verdict in it.of("verdict")] in ([], ["not-started"])
    assert sandbox.conn(c1, "198.51.100.42").endswith("EHOSTUNREACH")
    one.end()


# --- both, one after the other


def asked_of(client, sandbox, name, first):
    """An address that the client asks about, and its number there; what comes first may be lost."""
    for end in range(first, first + 15):
        sandbox.conn(name, "198.51.100.%d" % end)
        try:
            words = client.until(r"(\[\d+\] BLOCKED +Blocked: 198\.51\.100\.\d+:443)", 4)
        except AssertionError:
            continue
        number, address = re.findall(r"\[(\d+)\].*: (.*):443", words)[0]
        return address, number
    raise AssertionError("the hub's client is told of nothing")


def test_the_hubs_clients_verdict_and_ours_for_one_address_follow_each_other(sandbox, hubdesk, c1):
    """First theirs, then ours; then ours, and theirs that comes while ours runs."""
    sandbox.verdict_helper(c1)
    one = sandbox.hub(c1)
    one.online()
    client = Client(sandbox)
    address, number = asked_of(client, sandbox, c1, 150)
    refused(hubdesk, c1)
    client.say("a " + number)
    client.until("Allowed: " + address)
    assert sandbox.conn(c1, address) == address + " connected"
    client.quit()
    one.end()
    it = hubdesk.script(*slow(sandbox, 3.0), c1)
    sandbox.conn(c1, "198.51.100.61")
    it.say("deny %s" % it.until("pending", dest="198.51.100.61")["id"])
    one = sandbox.hub(c1)
    one.online()
    client = Client(sandbox)
    assert it.until("verdict")["result"] == "applied"  # ours was begun before it came, and is told
    code, said = it.finish()
    assert code == 1 and "the clearance hub is active" in said
    address, number = asked_of(client, sandbox, c1, 170)
    client.say("a " + number)
    client.until("Allowed: " + address)
    client.quit()
    one.end()
    verdicts = [
        (line["action"], line["dest"])
        for line in sandbox.audit(c1)
        if line["action"] in ("allowed", "denied")
    ]
    assert verdicts[-2:] == [("denied", "198.51.100.61"), ("allowed", address)]


def attempt(desk, *words):
    """A session, or None where a hub was there already."""
    try:
        return desk.script(*words)
    except AssertionError:
        return None


def finish(it):
    try:
        return it.finish()[0]
    except BrokenPipeError:  # with an answer that came too late for it
        return it._child.wait(PATIENCE)


def test_no_verdict_of_ours_is_begun_while_it_is_active_however_often_it_comes(sandbox, hubdesk):
    """The real one takes half a second to come, so there are few; the hundreds are a stand-in's."""
    sandbox.launched("c2", bus=False)
    chance = random.Random(9)
    words = slow(sandbox)
    write(sandbox.home + "/verdicts", "")
    os.chown(sandbox.home + "/verdicts", sandbox.uid, sandbox.uid)
    active, over = [], threading.Event()

    def come_and_go():
        while not over.is_set():
            over.wait(chance.uniform(0.0, 1.0))
            one = sandbox.hub("c2")
            since = one.online()
            over.wait(chance.choice((0.05, 0.5, 2.0)))
            active.append((since, time.monotonic()))
            one.end(chance.choice((signal.SIGTERM, signal.SIGKILL)))

    thread = threading.Thread(target=come_and_go)
    thread.start()
    ends, number, began = [], 0, time.monotonic()

    def enough():
        with open(sandbox.home + "/verdicts") as file:
            done = len(active) > 5 and len(list(file)) > 5 and 1 in ends
        return done or time.monotonic() > began + 3 * PATIENCE

    while not enough():
        it = attempt(hubdesk, *words, "c2")
        while it is not None and not enough():
            number += 1
            address = "192.0.2.%d" % (number % 250 + 1)
            sandbox.conn("c2", address)
            try:
                it.say("%s %s" % (chance.choice(("allow", "deny")), it.until("pending")["id"]))
            except (AssertionError, BrokenPipeError):
                break  # the hub has ended it
        if it is not None:
            ends.append(finish(it))
    over.set()
    thread.join()
    with open(sandbox.home + "/verdicts") as file:
        verdicts = [Verdict(line) for line in file]
    late = [
        round(v.born - since, 3)
        for v in verdicts
        for since, until in active
        if v.was_begun_during(since, until)
    ]
    assert late == []
    assert len(active) > 3 and len(verdicts) > 3 and 1 in ends
    assert set(ends) <= {0, 1, 5}


# --- the bridge reader, with each terok-shield


@pytest.fixture(scope="session")
def followed(rig):
    """A container with a bridge reader, started by the real hook."""
    return "followed", shielded(rig, "followed")


def test_with_a_bridge_reader_questions_come_through_its_audit_log_and_it_is_left_alone(rig, desk, followed):
    name, container_id = followed
    before = readers(rig, container_id)
    rig.conn(name, "198.51.100.110")
    eventually(lambda: "198.51.100.110" in rig.read(name, "audit.jsonl"))
    t = desk.sit(name)
    t.expect("blocked once before this start")
    t.expect("(pid %d) holds the packet log" % before[0])
    t.expect("--take-over ends that reader")
    desk.press("a", desk.block(name, "198.51.100.111"))
    t.expect("a allow 198.51.100.111 ... done in")
    assert rig.conn(name, "198.51.100.111") == "198.51.100.111 connected"
    desk.press("d", desk.block(name, "two.example", shown="198.51.100.7"))
    t.expect("done in")
    text = desk.quit()
    assert "198.51.100.110" not in text and "| two.example" in text
    assert readers(rig, container_id) == before
    done = desk.run("--check", name)
    assert "through its audit log (pid %d holds it); --take-over has it all" % before[0] in done.stdout


def test_when_it_ends_the_session_reads_the_packet_log_itself(rig, desk):
    container_id = shielded(rig, "ends")
    it = desk.script("ends")
    assert it.of("session")[0]["containers"][0]["source"] == "audit-log"
    head = readers(rig, container_id)[0]
    rig.as_op(["kill", "-TERM", "--", "-%d" % head], check=True)
    assert it.until("error")["message"].startswith("ends: terok-shield's reader has ended")
    rig.conn("ends", "198.51.100.112")
    pending = it.until("pending")
    assert pending["dest"] == "198.51.100.112" and pending["uid"] is not None
    it.say("allow %s" % pending["id"])
    it.until("verdict", result="applied")
    rig.conn("ends", "198.51.100.112")
    it.until("passed")
    assert it.finish() == (0, "")


@pytest.mark.parametrize("deaf", [False, True], ids=["minds TERM", "as under crun 1.8"])
def test_take_over_ends_it_and_hurts_nobody(rig, desk, deaf):
    name = "taken%d" % deaf
    container_id = shielded(rig, name, deaf=deaf)
    t = desk.sit(name, "--take-over")
    t.expect("was ended")
    assert readers(rig, container_id) == []
    asked = desk.block(name, "198.51.100.113")
    assert "uid" in t.text()
    desk.press("a", asked)
    t.expect("done in")
    assert rig.conn(name, "198.51.100.113") == "198.51.100.113 connected"
    t.expect("first packet let out")
    desk.quit()
    assert rig.status(name) == "up" and rig.inspected(name)["State"]["Running"]


@pytest.mark.newest
def test_an_audit_log_that_is_off_is_written_by_it_all_the_same(rig, desk):
    path = rig.home + "/.config/terok/shield/config.yml"
    write(path, "audit:\n  enabled: false\n")
    try:
        shielded(rig, "unaudited")
        it = desk.script("unaudited")
        rig.conn("unaudited", "198.51.100.114")
        it.say("allow %s" % it.until("pending")["id"])
        it.until("verdict", result="applied")
        assert it.finish()[0] == 0
        assert {line["action"] for line in rig.audit("unaudited")} == {"blocked"}
    finally:
        os.unlink(path)


# --- terok-shield's own reader, as ours


def own_reader(rig):
    return "--reader", "%s/bin/python3 -I %s/.local/share/terok/shield/nflog-reader.py" % (rig.venv, rig.home)


def test_terok_shields_own_reader_serves_as_a_source_of_events(rig, desk):
    shielded(rig, "own", bus=False)
    it = desk.script(*own_reader(rig), "own")
    assert it.of("session")[0]["containers"][0]["source"] == "reader"
    rig.conn("own", "two.example")
    pending = it.until("pending")
    assert (pending["dest"], pending["port"], pending["proto"], pending["uid"]) == (
        "198.51.100.7",
        443,
        6,
        None,
    )
    assert pending["names"] == ["two.example"] and pending["reader_id"]
    it.say("allow %s" % pending["id"])
    it.until("verdict", result="applied")
    assert rig.conn("own", "198.51.100.7") == "198.51.100.7 connected"
    rig.as_op(["podman", "stop", "-t", "0", "own"], check=True)
    code, said = it.finish()
    assert code in (0, 5) and said == ""
    eventually(lambda: not rig.processes("nflog-reader.py", "/own ", "--emit=json"))


def test_it_ends_with_the_session(rig, desk):
    shielded(rig, "own2", bus=False)
    it = desk.script(*own_reader(rig), "own2")
    assert rig.processes("nflog-reader.py", "/own2 ", "--emit=json")
    assert it.finish() == (0, "")
    eventually(lambda: not rig.processes("nflog-reader.py", "/own2 ", "--emit=json"))
    with rig.tap("own2") as tap:
        assert tap.first.startswith("listening")


def test_where_the_bridge_reader_holds_the_group_it_ends_and_so_does_the_start(rig, desk, followed):
    first, hints = refused(desk, followed[0], *own_reader(rig), code=3)
    assert "the reader ended before it listened" in first and "--debug" in hints


def test_of_all_containers_a_hub_ends_the_watch_of_its_own_until_it_has_ended(sandbox, hubdesk, c1):
    sandbox.launched("c7")
    it = hubdesk.script("--all")
    assert {"c1", "c7"} <= {one["name"] for one in it.records[0]["containers"]}
    hubdesk.rig.conn(c1, "198.51.100.201")
    asked = it.until("pending", container=c1, dest="198.51.100.201")
    hub = sandbox.hub(c1)
    hub.online()
    assert "the clearance hub is active" in it.until("container", container=c1, state="stopped")["reason"]
    assert it.until("closed", id=asked["id"])["why"] == "stopped"
    hubdesk.rig.conn("c7", "198.51.100.202")
    it.until("pending", container="c7", dest="198.51.100.202")
    hub.end()
    assert it.until("container", container=c1, state="started")["source"] == "audit-log"
    hubdesk.rig.conn(c1, "198.51.100.203")
    it.until("pending", container=c1, dest="198.51.100.203")
    assert it.finish()[0] == 5
