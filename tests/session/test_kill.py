"""SIGKILL at any moment: of the session, of its reader, of a verdict command, and of two at once.

Nothing of ours is left, the NFLOG group is free, and the terminal is as it was, unless it was the
session itself that was killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import termios
import time

import endtoend
import pytest
from endtoend import Desk
from lab import Lab
from support import PATIENCE, eventually

desk = endtoend.desk

SEED = 20261124
ROUNDS = [  # each kind of moment once in the usual run
    0,
    1,
    *(pytest.param(round_, marks=pytest.mark.thorough) for round_ in range(2, 10)),
]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@pytest.mark.parametrize("round_", ROUNDS)
def test_after_a_sigkill_of_the_session_nothing_is_left(desk, round_):
    """From before it has an argument list until long after a question is painted."""
    moment = random.Random(SEED + round_).uniform(0.0, 0.25)
    t = desk.start("c1")
    born = time.monotonic()
    while time.monotonic() - born < moment:
        if desk.lab.holder() and round_ % 2:
            desk.lab.connect("203.0.113.10", 443)
        time.sleep(0.005)
    t.kill(signal.SIGKILL)
    assert t.process.wait(PATIENCE) == -signal.SIGKILL
    desk.nothing_is_left()


def test_stty_sane_mends_the_terminal_of_a_killed_session(desk):
    t = desk.sit()
    t.kill(signal.SIGKILL)
    assert t.process.wait(PATIENCE) == -signal.SIGKILL
    subprocess.run(["stty", "sane"], stdin=t.slave, check=True)
    assert flags(t.termios()) == flags(endtoend.as_opened())
    desk.nothing_is_left()


def flags(modes):
    """The flags that a shell lives by; `sane` sets others than a fresh pty has."""
    local = termios.ICANON | termios.ECHO | termios.IEXTEN | termios.ISIG
    return modes[3] & local, modes[0] & termios.ICRNL, modes[1] & termios.OPOST


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_what_forks_the_readers_ends_all_of_them_do_and_it_is_told(host, terminal, pyz, number):
    with Lab() as first, Lab() as second:
        desk = Desk(host, first, terminal, pyz)
        host.container("c2", second)
        t = desk.start("c1", "c2")
        t.expect("watching c2")
        (forkserver,) = desk.processes("forkserver")
        os.kill(forkserver, number)
        text = " ".join(desk.ends(4).split())
        status = 0 if number == signal.SIGTERM else -number
        assert "the reader ended unexpectedly (exit code %d)" % status in text
        assert second.holder() == 0


def test_when_it_is_killed_before_its_readers_listen_that_is_told(desk):
    t = desk.start("c1")
    kill(eventually(lambda: desk.processes("forkserver"), what="it runs")[0])
    assert t.wait() in (3, 4)
    assert "Traceback" not in t.text()
    desk.nothing_is_left()


@pytest.mark.parametrize("round_", ROUNDS)
def test_after_a_sigkill_of_the_reader_the_session_ends_and_says_so(desk, round_):
    chance = random.Random(SEED + round_)
    t = desk.start("c1")
    if round_ % 2:  # before it listens
        eventually(lambda: desk.processes("reader"), what="there is a reader")
        time.sleep(chance.uniform(0.0, 0.03))
        kill(desk.processes("reader")[0])
        assert t.wait() in (3, 4)
    else:
        t.expect("watching c1")
        if chance.random() < 0.5:
            desk.lab.connect("203.0.113.10", 443)
        time.sleep(chance.uniform(0.0, 0.05))
        kill(desk.reader())
        assert t.wait() == 4
        assert "the reader ended unexpectedly" in t.text()
    assert t.termios() == endtoend.as_opened()
    assert "Traceback" not in t.text()
    desk.nothing_is_left()


def test_a_verdict_command_that_is_killed_is_unknown_and_asked_again(desk):
    desk.host.control("terok-shield", mode="hang")
    t = desk.sit()
    asked = desk.block()
    for _ in range(2):
        desk.press("a", asked)
        eventually(lambda: [call for call in desk.host.verdicts() if alive(call.pid)], what="it runs")
        kill(desk.host.verdicts()[-1].pid)
        t.expect("it may or may not be open")
        asked = t.expect(endtoend.KEYS)
    desk.host.control("terok-shield")
    desk.press("a", asked)
    t.expect("done in")
    desk.quit()


def alive(pid):
    return os.path.exists("/proc/%d" % pid)


def test_a_verdict_under_way_when_the_session_is_killed_finishes_by_itself(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit()
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.kill(signal.SIGKILL)
    assert t.process.wait(PATIENCE) == -signal.SIGKILL
    desk.nothing_is_left()
    desk.host.open(gate)
    eventually(lambda: desk.host.verdicts()[0].ended, what="the verdict has finished")
    assert desk.lab.set_contains("allow", "203.0.113.10")


@pytest.mark.parametrize("mode", ["stopped", "flooded"])
def test_a_reader_ends_even_while_it_can_not_write(desk, mode):
    """The session stopped or busy, its pipe full: its death still ends the reader."""
    t = desk.sit()
    t.kill(signal.SIGSTOP)
    if mode == "flooded":
        desk.lab.flood(10_000)  # lines for 1.5 MB, and the pipe holds 1 MiB
    t.kill(signal.SIGKILL)
    assert t.process.wait(PATIENCE) == -signal.SIGKILL
    desk.nothing_is_left()


def test_a_reader_that_is_stopped_holds_up_no_end(desk):
    """SIGSTOP: it can't mind the end of its stdin; the session must not wait for it for ever."""
    t = desk.sit()
    reader = desk.reader()
    os.kill(reader, signal.SIGSTOP)
    try:
        t.send("q")
        assert t.wait() == 0
        assert t.termios() == endtoend.as_opened()
    finally:
        try:
            os.kill(reader, signal.SIGCONT)
        except ProcessLookupError:
            pass
    desk.nothing_is_left()


def test_many_readers_die_with_one_session(host, terminal, pyz):
    with Lab() as first, Lab() as second:
        desk = Desk(host, first, terminal, pyz)
        host.container("c2", second)
        t = desk.start("c1", "c2")
        t.expect("watching c2")
        assert len(desk.processes("reader")) == 2
        t.kill(signal.SIGKILL)
        assert t.process.wait(PATIENCE) == -signal.SIGKILL
        desk.nothing_is_left()
        assert second.holder() == 0
