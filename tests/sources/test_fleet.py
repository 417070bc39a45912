"""Several containers in one session: real namespaces, one queue, one reader each."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import tempfile

import pytest
from endtoend import KEYS, Desk
from lab import Lab
from support import eventually

ASKED = re.compile(r"^(\w+)  (203\.0\.113\.\d+)  tcp 443 https", re.MULTILINE)


@pytest.fixture(scope="module")
def labs():
    """Three namespaces for the whole module; a test that ends one asks for its own."""
    made = [Lab() for _ in range(3)]
    yield made
    for lab in made:
        lab.close()


@pytest.fixture
def three(labs, host, terminal, pyz):
    """`c1`, `c2`, `c3` on one host; nothing allowed in any of them."""
    for lab in labs:
        lab.nft("flush", "set", "inet", "terok_shield", lab.set_name("allow"))
        lab.nft("flush", "set", "inet", "terok_shield", lab.set_name("deny"))
    return together(host, terminal, pyz, labs)


def together(host, terminal, pyz, labs):
    desk = Desk(host, labs[0], terminal, pyz)
    desk.log = os.path.join(host.folder, "log")
    desk.labs = {"c1": labs[0]}
    for number, lab in enumerate(labs[1:], 2):
        desk.labs["c%d" % number] = lab
        host.container("c%d" % number, lab)
    return desk


def watch(desk, *words):
    t = desk.start("--log", desk.log, *words, *desk.labs)
    for name in desk.labs:
        t.expect("watching " + name)
    return t


def block(desk, name, address):
    assert desk.labs[name].connect(address, 443) != "connected"


def is_told(desk, address):
    """What was blocked has come as far as the session."""

    def logged():
        with open(desk.log) as file:
            return '"dest":"%s"' % address in file.read()

    eventually(logged, what="%s is told" % address)


def groups_are_free(desk):
    for name, lab in desk.labs.items():
        if os.path.exists("/proc/%d/net" % lab.pid):
            eventually(lambda lab=lab: lab.holder() == 0, what="the NFLOG group of %s is free" % name)


def test_there_is_one_queue_in_order_and_the_container_stands_first_on_every_line(three):
    t = watch(three)
    order = [("c2", "203.0.113.12"), ("c1", "203.0.113.11"), ("c3", "203.0.113.13"), ("c2", "203.0.113.14")]
    for name, address in order:
        block(three, name, address)
        is_told(three, address)
    asked = []
    for name, address in order:
        assert t.expect(ASKED).groups == (name, address)
        asked.append((name, address))
        three.press("d", t.expect(KEYS), own=len(asked) > 1)
        t.expect(f"{name}  d deny {address} ...")
    t.expect("d deny 203.0.113.14 ... done in")
    text = three.quit()
    assert "stopped: 4 denied" in text
    for painted in text.splitlines():
        line = painted.rpartition(KEYS)[2].strip()  # what a line of keys gave its place to
        if "203.0.113." in line and "terok-shield" not in line:
            assert re.match(r"c[123]  ", line), line
    groups_are_free(three)


def test_the_list_and_the_history_name_the_container(three):
    t = watch(three)
    block(three, "c1", "203.0.113.11")
    t.expect(KEYS)
    block(three, "c3", "203.0.113.13")
    is_told(three, "203.0.113.13")
    t.send("l")
    t.expect("2 waiting")
    t.expect(re.compile(r"1  203\.0\.113\.11 +c1 "))
    t.expect(re.compile(r"2  203\.0\.113\.13 +c3 "))
    t.send("*")
    three.press("s", t.expect("2 marked:"), own=True)
    t.expect("(2 requests)")
    t.send("h")
    t.expect(re.compile(r"1  \S+  skip 203\.0\.113\.13 +c3"))
    t.expect(re.compile(r"2  \S+  skip 203\.0\.113\.11 +c1"))
    three.quit()


def test_each_has_a_reader_of_its_own(three):
    t = watch(three)
    readers = three.processes("reader")
    assert len(readers) == 3
    held = {name: lab.holder() for name, lab in three.labs.items()}
    assert sorted(held.values()) == sorted(readers)
    t.send("q")
    three.ends(0)
    groups_are_free(three)


def test_verdicts_run_side_by_side_for_two_containers_and_in_order_for_one(three):
    gate = three.host.gate()
    three.host.control("terok-shield", targets={"203.0.113.11": {"gate": gate}})
    t = watch(three, "--verdict-timeout", "600")
    order = [("c1", "203.0.113.11"), ("c1", "203.0.113.12"), ("c2", "203.0.113.13")]
    for name, address in order:
        block(three, name, address)
        assert t.expect(ASKED).groups == (name, address)
        three.press("a", t.expect(KEYS))
    t.expect("c2  a allow 203.0.113.13 ... done in")
    assert [call.argv[1:] for call in three.host.verdicts()] == [[*order[0]], [*order[2]]]
    three.host.open(gate)
    t.expect("c1  a allow 203.0.113.12 ... done in")
    first, _, second = three.host.verdicts()
    assert first.ended <= second.began
    assert three.labs["c2"].set_contains("allow", "203.0.113.13")
    assert not three.labs["c2"].set_contains("allow", "203.0.113.12")
    assert not three.labs["c3"].set_contains("allow", "203.0.113.11")
    three.quit()


def test_what_passes_is_told_of_the_container_that_was_asked_about(three):
    for lab in three.labs.values():
        lab.listen(443)
    t = watch(three)
    block(three, "c1", "203.0.113.11")
    asked = t.expect(KEYS)
    block(three, "c3", "203.0.113.11")
    three.press("s", asked)
    assert t.expect(ASKED).groups == ("c3", "203.0.113.11")
    three.press("a", t.expect(KEYS), own=True)
    t.expect("done in")
    assert three.labs["c1"].connect("203.0.113.11", 443) == "EHOSTUNREACH"
    assert three.labs["c3"].connect("203.0.113.11", 443) == "connected"
    t.expect("c3  203.0.113.11: first packet let out")
    assert "c1  203.0.113.11: " not in three.quit()


@pytest.fixture
def mortal(host, terminal, pyz):
    """Two containers that may end."""
    with Lab() as one, Lab() as other:
        yield together(host, terminal, pyz, [one, other])


def test_one_that_stops_is_told_and_the_session_ends_with_the_last(mortal):
    t = watch(mortal)
    mortal.host.containers["c1"].stop()
    t.expect("c1: the container has stopped")
    eventually(lambda: len(mortal.processes("reader")) == 1, what="its reader is gone, the other one stays")
    block(mortal, "c2", "203.0.113.12")
    assert t.expect(ASKED).groups == ("c2", "203.0.113.12")
    mortal.press("d", t.expect(KEYS))
    t.expect("c2  d deny 203.0.113.12 ... done in")
    mortal.host.containers["c2"].stop()
    t.expect("c2: the container has stopped")
    assert "stopped: 1 denied" in mortal.ends(0)


def test_they_take_turns_and_the_list_can_be_narrowed_to_one(mortal):
    t = watch(mortal)
    for last in range(11, 17):
        block(mortal, "c1", "203.0.113.%d" % last)
        is_told(mortal, "203.0.113.%d" % last)
    assert t.expect(ASKED).groups == ("c1", "203.0.113.11")
    block(mortal, "c2", "203.0.113.22")
    is_told(mortal, "203.0.113.22")
    t.send("l")
    t.on_screen("7 waiting for 2 containers")
    t.expect(re.compile(r"2  203\.0\.113\.22 +c2 "))
    t.send("c")
    t.on_screen("6 waiting for c1, 1 for 1 other")
    t.send("c")
    lines = t.on_screen("1 waiting for c2, 6 for 1 other")
    assert not any(re.match(r" +\d  203\.0\.113\.1\d ", line) for line in lines)
    mortal.host.containers["c2"].stop()
    t.on_screen("c2: the container has stopped")
    t.on_screen("6 waiting for c1")
    t.send("l")
    t.on_screen("+5 wait")
    t.send("q")
    mortal.press("q", t.expect("any other key: no"), own=True)
    mortal.ends(5)


def test_the_question_of_one_that_stops_is_taken_back_and_the_next_is_asked(mortal):
    t = watch(mortal)
    block(mortal, "c1", "203.0.113.11")
    assert t.expect(ASKED).groups[0] == "c1"
    t.expect(KEYS)
    block(mortal, "c2", "203.0.113.12")
    mortal.host.containers["c1"].stop()
    t.expect("c1: the container has stopped")
    assert t.expect(ASKED).groups[0] == "c2"
    mortal.press("s", t.expect(KEYS))
    t.expect("s not now")
    text = mortal.quit(5)
    assert "answered meanwhile" not in text, "nobody has answered it"
    assert "1 unanswered" in text, "it was never answered"
    assert mortal.host.verdicts() == []


def test_a_verdict_under_way_for_one_that_stops_is_told_with_its_outcome(mortal):
    gate = mortal.host.gate()
    mortal.host.control("terok-shield", gate=gate)
    t = watch(mortal)
    block(mortal, "c1", "203.0.113.11")
    mortal.press("a", t.expect(KEYS))
    eventually(mortal.host.verdicts, what="the verdict command runs")
    mortal.host.containers["c1"].stop()
    t.expect("c1: the container has stopped")
    mortal.host.open(gate)
    t.expect("c1  a allow 203.0.113.11 ... FAILED after")
    t.expect("the container does not run")
    t.send("q")
    mortal.ends(5)


def test_when_one_reader_is_killed_the_session_says_whose_and_ends_all(three):
    t = watch(three)
    victim = three.labs["c2"].holder()
    os.kill(victim, signal.SIGKILL)
    text = three.ends(4)
    assert "c2: the reader ended unexpectedly" in text
    assert t.text().count("unexpectedly") == 1
    groups_are_free(three)


def test_one_that_can_not_be_watched_stops_the_start_of_all(three):
    three.host.container("c4").stop()
    with tempfile.TemporaryFile() as err:
        t = three.start("c1", "c4", "c2", stderr=err)
        assert t.wait() == 3
        err.seek(0)
        assert err.read() == b"simple-clearance: c4 is not running\nhint: podman start c4\n"
    assert bytes(t.raw) == b""
    three.nothing_is_left()
    groups_are_free(three)


def test_a_hub_of_one_of_them_stops_the_start_of_all(three):
    with tempfile.TemporaryDirectory(prefix="run") as runtime, socket.socket(socket.AF_UNIX) as hub:
        three.env["XDG_RUNTIME_DIR"] = runtime
        folder = "%s/terok/clearance/%s" % (runtime, three.host.containers["c2"].sid)
        os.makedirs(folder)
        hub.bind(folder + "/hub.sock")
        hub.listen(8)
        t = three.start(*three.labs)
        assert t.wait() == 1
    assert three.host.containers["c2"].sid in t.text()
    groups_are_free(three)


def test_a_name_given_twice_is_refused(three):
    done = three.run("c1", "c2", "c1")
    assert (done.returncode, done.stdout) == (2, b"") and b"a container is named twice" in done.stderr


@pytest.mark.parametrize("option", ["--state-dir", "--netns", "--reader", "--replay"])
def test_what_goes_with_one_container_is_refused_with_several(three, option):
    done = three.run(option, "/x", "c1", "c2")
    assert done.returncode == 2 and b"%s goes with one container" % option.encode() in done.stderr


def test_the_stream_for_scripts_names_all_of_them_and_answers_reach_the_right_one(three):
    child = subprocess.Popen(
        three.argv("--json", *three.labs),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=three.env,
        start_new_session=True,
    )
    with child:
        first = json.loads(child.stdout.readline())
        assert [(it["name"], it["source"], it["shield"]) for it in first["containers"]] == [
            (name, "nflog", 18) for name in three.labs
        ]
        for name in ("c3", "c1"):
            block(three, name, "203.0.113.11")
        pending = {}
        while len(pending) < 2:
            event = json.loads(child.stdout.readline())
            assert event["type"] == "pending"
            pending[event["container"]] = event["id"]
        child.stdin.write(b"deny %s\nskip %s\n" % (pending["c1"].encode(), pending["c3"].encode()))
        child.stdin.close()
        events = [json.loads(line) for line in child.stdout]
    assert child.returncode == 0
    assert {it["id"]: it["why"] for it in events if it["type"] == "closed"} == {
        pending["c1"]: "applied",
        pending["c3"]: "skipped",
    }
    assert [call.argv for call in three.host.verdicts()] == [["deny", "c1", "203.0.113.11"]]
    groups_are_free(three)


def test_a_container_that_has_ended_is_free_for_another_session(host, terminal, pyz):
    """It is started again, and this session, which goes on with the other, does not take it up."""
    with Lab() as first, Lab() as second, Lab() as again:
        desk = together(host, terminal, pyz, [first, second])
        t = watch(desk)
        host.containers["c1"].stop()
        t.expect("c1: the container has stopped")
        host.container("c1", again)
        other = terminal(desk.argv("c1"), env=desk.env)
        other.expect("watching c1")
        other.send("q")
        assert other.wait() == 0
        t.send("q")
        assert t.wait() == 0
