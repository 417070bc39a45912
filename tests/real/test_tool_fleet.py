"""Containers that come and go under one session: every event of every one is told."""

from __future__ import annotations

import random

import pytest
from real.rig import IMAGE
from support import eventually

LEAVES_LATER = """\
import ctypes, os, time
if os.path.exists("/tmp/again"):
    print(ctypes.CDLL(None).unshare(0x50000000), flush=True)  # CLONE_NEWUSER | CLONE_NEWNET
open("/tmp/again", "w").close()
time.sleep(9999)
"""


class Fleet:
    """Some containers under `--all`, and what was tried in them."""

    def __init__(self, rig, desk, seed):
        self.rig = rig
        self.script = desk.script("--all")
        self.random = random.Random(seed)
        self.names = ["churn%d-%d" % (seed, number) for number in range(6)]
        self.running: list[str] = []
        self.there: list[str] = []
        self.tried: list[tuple[str, str]] = []

    def podman(self, *words):
        self.rig.as_op(["podman", *words], check=True)

    def watched(self, *names):
        for name in names:
            self.script.until("container", container=name, state="started")

    def gone(self, *names):
        for name in names:
            self.script.until("container", container=name, state="stopped")

    def start_new(self):
        new = [name for name in self.names if name not in self.there][: self.random.randrange(1, 4)]
        for name in new:
            self.rig.shielded(name)
        self.there += new
        self.running += new
        self.watched(*new)

    def start_again(self):
        idle = [name for name in self.there if name not in self.running]
        if idle:
            self.podman("start", *idle)
            self.running += idle
            self.watched(*idle)

    def stop(self):
        name = self.random.choice(self.running)
        self.podman("stop", "-t", "0", name)
        self.running.remove(name)
        self.gone(name)

    def restart(self):
        name = self.random.choice(self.running)
        self.podman("restart", "-t", "0", name)
        self.gone(name)
        self.watched(name)

    def remove(self):
        name = self.random.choice(self.running)
        self.podman("rm", "-f", "-t", "0", name)
        self.running.remove(name)
        self.there.remove(name)
        self.gone(name)

    def attempt(self):
        for name in self.running:
            dest = "192.0.2.%d" % self.random.randrange(1, 250)
            if (name, dest) not in self.tried:
                self.tried.append((name, dest))
                self.rig.conn(name, dest)


@pytest.mark.newest
def test_whatever_comes_and_goes_each_attempt_is_told(rig, desk, rounds):
    fleet = Fleet(rig, desk, 1)
    for turn in range(rounds(20)):
        if not fleet.running or turn == 0:
            fleet.start_new()
        else:
            step = fleet.random.choice(
                [fleet.start_new, fleet.start_again, fleet.stop, fleet.restart, fleet.remove]
            )
            step()
        fleet.attempt()
    for name, dest in fleet.tried:
        fleet.script.until("pending", container=name, dest=dest)
    fleet.podman("rm", "-f", "-t", "0", *fleet.there)
    fleet.gone(*fleet.running)
    code, said = fleet.script.finish()
    pending = {record["id"] for record in fleet.script.of("pending")}
    closed = [record["id"] for record in fleet.script.of("closed")]
    assert sorted(closed) == sorted(pending), "one end for each"
    assert (code, said) == (5, "") and not fleet.script.of("lost")


@pytest.mark.newest
def test_many_at_once(rig, desk):
    script = desk.script("--all")
    names = ["at-once-%d" % number for number in range(8)]
    for name in names:
        argv = ["podman", "create", "-v", "/usr:/usr:ro", *rig.prepared(name), IMAGE, "sleep", "infinity"]
        rig.as_op(argv, check=True)
    rig.as_op(["podman", "start", *names], check=True)
    for name in names:
        script.until("container", container=name, state="started")
        rig.conn(name, "192.0.2.77")
        script.until("pending", container=name, dest="192.0.2.77")
    rig.as_op(["podman", "rm", "-f", "-t", "0", *names], check=True)
    for name in names:
        script.until("container", container=name, state="stopped")
    assert script.finish()[0] == 5


def test_verdicts_that_a_restart_has_left_out_of_force_are_told_and_asked_anew(rig, desk, fresh):
    script = desk.script("--follow", fresh)
    rig.conn(fresh, "192.0.2.91")
    script.say("allow " + script.until("pending", dest="192.0.2.91")["id"])
    script.until("verdict", result="applied")
    rig.as_op(["podman", "restart", "-t", "0", fresh], check=True)
    script.until("container", state="stopped")
    script.until("container", state="started")
    told = script.until("error")
    assert "not in force" in told["message"] and " up --container-id " in told["hint"]
    rig.conn(fresh, "192.0.2.91")
    script.until("pending", dest="192.0.2.91")
    assert script.finish()[0] == 5


@pytest.mark.newest
def test_one_that_has_left_its_network_after_a_restart_is_not_watched_again(rig, desk):
    name = rig.shielded("leaves-later", runs=("python3", "-c", LEAVES_LATER))
    script = desk.script("--follow", name)
    eventually(lambda: "again" in rig.inside(name, ["ls", "/tmp"]), what="it has begun")
    rig.as_op(["podman", "restart", "-t", "0", name], check=True)
    script.until("container", state="stopped")
    told = script.until("error")["message"]
    assert "not watched" in told and "network namespace that podman did not make" in told
    rig.as_op(["podman", "rm", "-f", "-t", "0", name], check=True)
    assert script.finish()[0] == 0
