"""Containers that come and go while a session runs: `--all` and `--follow`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import endtoend
import pytest
import scripting
from endtoend import processes, role_of
from lab import Lab
from support import eventually

bare = scripting.bare
desk = endtoend.desk


LOCK = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("locked")
sys.stdin.read()
"""


def watching(bare, *words, **more):
    """A session that has said which containers it watches."""
    it = bare("--json", *words, reader=False, **{"names": (), **more})
    it.session = it.until("session")
    return it


def started(it, name, number=1):
    return it.until("container", number, container=name, state="started")


def stopped(it, name, number=1):
    return it.until("container", number, container=name, state="stopped")


def blocked(it, lab, name, dest, number=1):
    """What is tried there is asked."""
    lab.connect(dest, 443, timeout=5)
    return it.until("pending", number, container=name, dest=dest)


def test_one_that_starts_later_is_watched(bare, host, lab):
    it = watching(bare, "--all")
    assert it.session["containers"] == []
    c2 = host.container("c2", lab, dossier__project="demo")
    told = started(it, "c2")
    assert (told["id"], told["source"], told["shield"]) == (c2.id, "nflog", 18)
    assert told["dossier"] == {"project": "demo"} and told["shield_state"] == "up"
    asked = blocked(it, lab, "c2", "198.51.100.7")
    it.say("allow %s\n" % asked["id"])
    assert it.until("verdict")["result"] == "applied"
    it.signal(signal.SIGTERM)
    it.ends(0)


def test_all_that_run_are_watched_from_the_start_and_what_has_no_shield_is_not(bare, host, lab):
    with Lab() as other:
        host.container("c2", lab)
        host.container("c3", other)
        plain = host.container("plain")
        del plain.annotations["terok.shield.state_dir"]
        plain.save()
        it = watching(bare, "--all")
        assert [one["name"] for one in it.session["containers"]] == ["c2", "c3"]
        blocked(it, other, "c3", "198.51.100.7")
        it.signal(signal.SIGTERM)
        it.ends(5)
        assert not it.of("error")
        inspects = [call for call in host.calls("podman") if call.argv[0] == "inspect"]
        assert len(inspects) == 1, "one question serves all of them"


def test_one_that_stops_closes_its_requests_and_the_session_goes_on(bare, host, lab):
    c2 = host.container("c2", lab)
    it = watching(bare, "--all")
    asked = blocked(it, lab, "c2", "198.51.100.7")
    c2.stop()
    assert it.until("closed", id=asked["id"])["why"] == "stopped"
    assert stopped(it, "c2")["reason"] is None
    assert it.silent(1)
    it.signal(signal.SIGTERM)
    it.ends(5)


@pytest.mark.parametrize("new", [False, True], ids=["restarted", "made-anew"])
@pytest.mark.parametrize("words", [("--all",), ("--follow", "c2")], ids=["all", "follow"])
def test_one_that_runs_again_is_taken_up_under_its_name(bare, host, words, new):
    with Lab() as before, Lab() as after:
        c2 = host.container("c2", before)
        it = watching(bare, *words)
        quiet = blocked(it, before, "c2", "198.51.100.8")
        it.say("mute %s\n" % quiet["id"])
        it.until("closed", id=quiet["id"])
        asked = blocked(it, before, "c2", "198.51.100.7")
        it.say("allow %s\n" % asked["id"])
        it.until("verdict")
        c2.stop()
        stopped(it, "c2")
        c2.start(after, new=new)
        assert started(it, "c2")["id"] == c2.id
        again = blocked(it, after, "c2", "198.51.100.7", 2)
        assert again["id"] != asked["id"], "what was allowed there is not open here"
        again = blocked(it, after, "c2", "198.51.100.8", 2)
        assert it.until("closed", id=again["id"])["why"] == "muted", "and what was muted stays so"
        it.signal(signal.SIGTERM)
        it.ends(5)


def test_one_that_does_not_run_yet_is_waited_for(bare, host, lab):
    c2 = host.container("c2")
    c2.stop()
    it = watching(bare, "--follow", "c2")
    assert it.session["containers"] == []
    c2.start(lab)
    started(it, "c2")
    it.signal(signal.SIGTERM)
    it.ends(0)


def test_one_that_is_not_there_is_a_mistake(bare, host):
    it = bare("--json", "--follow", "nosuch", reader=False, names=())
    assert it.child.wait() == 3 and b"no such container: nosuch" in it.child.stderr.read()


def test_what_an_ended_one_held_is_given_back(bare, host):
    """Neither its lock nor a descriptor stays, however often it runs again."""
    c2 = host.container("c2")
    c2.stop()
    it = watching(bare, "--all")
    fds = "/proc/%d/fd" % it.child.pid
    counts = []
    for turn in range(1, 4):
        with Lab() as lab:
            c2.start(lab)
            started(it, "c2", turn)
            c2.stop()
            stopped(it, "c2", turn)
            eventually(lambda: not open_files(it.child.pid, c2.state_dir), what="nothing of it is open")
        counts.append(len(os.listdir(fds)))
    assert counts[1] == counts[2]
    it.signal(signal.SIGTERM)
    it.ends(0)


def open_files(pid, folder):
    """Those below a folder, but for the folder itself, which is watched for the next start."""
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            path = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except FileNotFoundError:
            continue
        if path.startswith(folder + "/"):
            found.append(path)
    return found


def test_one_that_another_session_answers_for_is_told_once_and_taken_up_when_it_is_free(bare, host, lab):
    host.container("c2", lab)
    argv = [sys.executable, "-u", "-c", LOCK, host.containers["c2"].state_dir]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other, Lab() as second:
        other.stdout.readline()
        it = watching(bare, "--all")
        assert it.session["containers"] == []
        assert "another session answers for c2" in it.until("error")["message"]
        host.container("c3", second)
        started(it, "c3")
        assert len(it.of("error")) == 1
        assert it.silent(2)  # nobody is asked any more who else has started
        other.stdin.close()
        started(it, "c2")
        assert len(it.of("error")) == 1
        it.signal(signal.SIGTERM)
        it.ends(0)


@pytest.fixture
def runtime():
    """A folder short enough for a socket's path."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@contextlib.contextmanager
def hub_of(container, runtime):
    path = "%s/terok/clearance/%s/hub.sock" % (runtime, container.sid)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with socket.socket(socket.AF_UNIX) as hub:
        hub.bind(path)
        hub.listen()
        yield
    os.unlink(path)


def test_a_hub_ends_the_watch_of_its_container_alone(bare, host, lab, runtime):
    c2 = host.container("c2", lab)
    with Lab() as other:
        host.container("c3", other)
        it = watching(bare, "--all", env=host.env(XDG_RUNTIME_DIR=runtime))
        asked = blocked(it, lab, "c2", "198.51.100.7")
        with hub_of(c2, runtime):
            assert "hub is active" in stopped(it, "c2")["reason"]
            assert it.until("closed", id=asked["id"])["why"] == "stopped"
            blocked(it, other, "c3", "198.51.100.7")
        started(it, "c2")
        it.signal(signal.SIGTERM)
        it.ends(5)


@pytest.mark.parametrize("last", ["stops", "has a hub, too"])
def test_of_those_that_are_only_named_too_and_with_the_last_the_session_ends_with_1(
    bare, host, lab, runtime, last
):
    c2 = host.container("c2", lab)
    with Lab() as other, contextlib.ExitStack() as hubs:
        c3 = host.container("c3", other)
        it = watching(bare, "c2", "c3", env=host.env(XDG_RUNTIME_DIR=runtime))
        hubs.enter_context(hub_of(c2, runtime))
        assert "hub is active" in stopped(it, "c2")["reason"]
        asked = blocked(it, other, "c3", "198.51.100.7")
        it.say("allow %s\n" % asked["id"])
        assert it.until("verdict")["result"] == "applied"
        if last == "stops":
            c3.stop()
        else:
            hubs.enter_context(hub_of(c3, runtime))
        stopped(it, "c3")
        ended = it.child.stderr.readline().decode()
        assert ended.startswith("simple-clearance: c2: the clearance hub is active: ")
        assert it.until("summary")["reason"] in ended
        hints = it.child.stderr.read().decode().splitlines()
        assert hints and all(hint.startswith("hint: ") for hint in hints)
        it.ends(1)


def readers(it):
    """The processes of the session's readers."""
    return [pid for pid, words in processes(it.pyz) if role_of(words) == "reader"]


def test_a_reader_that_is_killed_ends_that_watch_and_is_not_started_again_and_again(bare, host, lab):
    """One that had listened for long is; this one waits for a change."""
    host.container("c2", lab)
    with Lab() as other:
        it = watching(bare, "--all")
        c3 = host.container("c3", other)
        started(it, "c3")
        assert it.silent(2)  # nobody is asked any more who else has started
        (first, *_) = readers(it)
        os.kill(first, signal.SIGKILL)
        assert "the reader ended unexpectedly" in stopped(it, "c2")["reason"]
        assert [(record["count"], record["where"]) for record in it.of("lost")] == [(1, "watch")]
        before = len(host.calls("podman"))
        assert it.silent(2) and len(host.calls("podman")) == before
        blocked(it, other, "c3", "198.51.100.7")
        c3.stop()
        stopped(it, "c3")
        started(it, "c2")
        it.signal(signal.SIGTERM)
        it.ends(5)
        (summary,) = it.of("summary")
        assert (summary["lost"], summary["gaps"]) == (1, 1)


def test_what_was_blocked_between_its_start_and_our_listening_is_told(bare, host, lab):
    """By its audit log, which terok-shield's reader writes from its first moment on."""
    c2 = host.container("c2")
    c2.stop()
    it = watching(bare, "--all")
    soon = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 2))
    for dest in ("198.51.100.1", "198.51.100.2"):
        line = {"ts": soon, "container": "c2", "action": "blocked", "dest": dest, "port": 443, "proto": "tcp"}
        c2.append("audit.jsonl", json.dumps(line) + "\n")
    c2.start(lab)
    assert started(it, "c2")["missed"] == 2
    it.signal(signal.SIGTERM)
    it.ends(0)


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"type":"container_started","container":"c2"}', flush=True)
time.sleep(6)
"""


def test_a_reader_that_does_not_end_with_its_container_is_one_loss_and_holds_nothing(bare, host, tmp_path):
    c2 = host.container("c2")
    (tmp_path / "deaf.py").write_text(DEAF)
    reader = "%s -I -S %s" % (sys.executable, tmp_path / "deaf.py")
    it = watching(bare, "--follow", "--reader", reader, "c2")
    c2.stop()
    stopped(it, "c2")
    assert [record["count"] for record in it.of("lost")] == [1]
    assert open_files(it.child.pid, c2.state_dir) == []
    it.signal(signal.SIGTERM)
    it.ends(5)


def test_while_nothing_starts_nothing_wakes_up(bare, host, lab):
    host.container("c2", lab)
    it = watching(bare, "--all")
    assert it.silent(2)  # the last questions to podman, too, have been answered
    before = [switches(pid) for pid, _ in processes(it.pyz)]
    assert it.silent(2) and [switches(pid) for pid, _ in processes(it.pyz)] == before
    assert len(before) == 3, "the session, what forks its readers, and a reader"
    it.signal(signal.SIGTERM)
    it.ends(0)


def test_what_podman_itself_leaves_beside_those_folders_is_no_reason_to_ask_it_again(bare, host, lab):
    """It makes and removes files in the runtime directory, watched where a folder in it is missing."""
    path = host.bin + "/podman"
    with open(path) as file:
        first, rest = file.read().split("\n", 1)
    with open(path, "w") as file:
        file.write(first + '\ntouch "$XDG_RUNTIME_DIR/$$"; rm "$XDG_RUNTIME_DIR/$$"\n' + rest)
    it = watching(bare, "--all")
    c2 = host.container("c2", lab)
    started(it, "c2")
    c2.stop()
    stopped(it, "c2")
    eventually(lambda: calm(host), what="podman is not asked any more")
    it.signal(signal.SIGTERM)
    it.ends(0)


def calm(host):
    """Whether nobody has asked podman for a while."""
    before = len(host.calls("podman"))
    time.sleep(1.5)
    return len(host.calls("podman")) == before


def switches(pid):
    """How often it has gone to sleep."""
    with open("/proc/%d/status" % pid) as status:
        return next(line for line in status if line.startswith("voluntary"))


def test_one_that_ends_before_its_reader_listens_was_never_watched(bare, host, lab, tmp_path):
    c2 = host.container("c2")
    c2.stop()
    began = tmp_path / "began"
    it = watching(bare, "--follow", "--reader", "sh -c 'touch %s; exec cat'" % began, "c2")
    c2.start(lab)
    eventually(began.exists, what="its reader has been started")
    c2.stop()
    assert "not watched: c2 " in it.until("error")["message"]
    eventually(lambda: open_files(it.child.pid, c2.state_dir) == [], what="nothing of it is open")
    it.signal(signal.SIGTERM)
    it.ends(0)
    assert it.of("container") == []


def test_one_that_starts_while_the_session_ends_is_not_waited_for_by_looking(bare, host, lab):
    gate = host.gate()
    host.control("terok-shield", gate=gate)
    with Lab() as other:
        host.container("c2", lab)
        it = watching(bare, "--all")
        asked = blocked(it, lab, "c2", "198.51.100.7")
        it.say("allow %s\n" % asked["id"])
        eventually(host.verdicts, what="the verdict command runs")
        host.container("c3", other)
        it.signal(signal.SIGTERM)
        assert it.silent(1)
        before = it.ticks()
        assert it.silent(2) and it.ticks() - before < 20
    host.open(gate)
    it.ends(0)


def test_what_changes_while_a_reader_does_not_listen_yet_is_looked_at_and_waited_on(bare, host):
    host.container("c1")
    it = bare("--json", "--reader", "sh -c 'exec cat'", reader=False)
    assert b"the reader does not listen yet" in it.child.stderr.readline()
    os.mkdir(host.runtime + "/terok")  # where a hub would appear
    assert it.silent(3)  # the last look for it is 2 s later
    before = it.ticks()
    assert it.silent(2) and it.ticks() - before < 20
    it.signal(signal.SIGTERM)
    assert it.child.wait() == 3


def test_one_that_runs_and_that_another_session_has_is_not_said_to_be_about_to_start(desk):
    desk.sit()
    done = desk.run("--follow", "c1", "--answer", "none", "--for", "1")
    told = done.stdout.decode()
    assert told.startswith("waiting until c1 can be watched\n") and "waiting for the start" not in told
    desk.quit()
    desk.c1.stop()
    told = desk.run("--follow", "c1", "--answer", "none", "--for", "1").stdout.decode()
    assert told.startswith("waiting for the start of c1\n")


def test_that_none_runs_is_not_said_where_one_runs_that_another_session_has(desk):
    desk.sit()
    done = desk.run("--all", "--answer", "none", "--for", "1")
    told = done.stdout.decode()
    assert "each other shielded container of this user is watched" in told and "none runs yet" not in told
    assert "not watched: c1: another session answers for c1" in told and done.returncode == 0
    assert "stopped: nothing blocked was seen; exit code 0" in told
    desk.quit()
    desk.c1.stop()
    told = desk.run("--all", "--answer", "none", "--for", "1").stdout.decode()
    assert told.startswith(
        "each shielded container of this user is watched, also those that start later: none"
    )
