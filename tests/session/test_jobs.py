"""A job among others: stopped, continued, ended while it is stopped, left behind by its shell."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

import endtoend
import pytest
from support import eventually
from terminal_driver import PROMPT, state

from simple_clearance.base import timestamps

job = endtoend.job


@pytest.fixture
def desk(host, lab, terminal, pyz, some_python):
    desk = endtoend.Desk(host, lab, terminal, pyz)
    desk.python = some_python.path
    return desk


@pytest.fixture
def shell(desk, interactive_shell):
    """A shell with job control; `shell.run(words)` starts the session there, in the foreground."""
    desk.t = t = interactive_shell(env=desk.env)
    t.run = lambda *words: t.send(" ".join(desk.argv(*words)) + "\n")
    return t


def stopped(desk):
    return [state(pid) for pid in desk.processes("session")] == ["T"]


def kill(desk, t, code):
    """`kill %1` ends it with this code, without any other signal; bash itself sends SIGCONT along."""
    t.send("kill %1\n")
    desk.nothing_is_left()
    t.send("wait %1; echo code $?\n")
    t.expect("code %d" % code)
    t.expect(PROMPT)


def suspend(desk, t):
    t.send("\x1a")
    t.expect("Stopped")
    t.expect(PROMPT)
    assert stopped(desk)


# --- stopped, and ended there


@pytest.mark.parametrize("tostop", ["", "stty tostop; "], ids=["", "tostop"])
def test_one_that_is_stopped_ends_when_it_is_told_to_and_leaves_the_terminal_alone(desk, shell, tostop):
    if tostop:
        shell.send(tostop + "\n")
        shell.expect(PROMPT)
    before = shell.termios()
    shell.run("c1")
    shell.expect("watching c1")
    desk.block()
    suspend(desk, shell)
    kill(desk, shell, 5)
    assert "1 unanswered" in shell.text()
    assert shell.termios() == before


def test_one_that_was_stopped_from_outside_ends_without_touching_the_modes_of_the_shell(desk, shell):
    before = shell.termios()
    shell.run("c1")
    shell.expect("watching c1")
    (pid,) = desk.processes("session")
    os.kill(pid, signal.SIGSTOP)
    shell.expect("Stopped")
    shell.expect(PROMPT)
    assert shell.termios() == before, "the shell's own"
    shell.send("stty -echo\n")
    shell.expect(PROMPT)
    before = shell.termios()
    kill(desk, shell, 0)
    assert shell.termios() == before


def test_with_an_end_pending_it_does_not_take_the_terminal_back(desk, shell):
    """It waits for a verdict in the background, while the shell reads what is typed."""
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    before = shell.termios()
    shell.run("c1")
    shell.expect("watching c1")
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    suspend(desk, shell)
    shell.send("kill %1; sleep 0.3; echo back $((6 * 7))\n")
    shell.expect("back 42")
    assert not stopped(desk), "it waits for its verdict"
    assert shell.termios() == before
    desk.host.open(gate)
    shell.expect("1 allowed")
    desk.nothing_is_left()
    assert shell.termios() == before
    assert desk.host.verdicts()[0].rc == 0


@pytest.mark.parametrize("start", ["at the start", "later"])
def test_in_the_background_it_waits_to_be_called_and_ends_when_it_is_told_to(desk, shell, start):
    before = shell.termios()
    if start == "later":
        shell.run("c1")
        shell.expect("watching c1")
        suspend(desk, shell)
        shell.send("bg; wait -n 2>/dev/null; jobs\n")
    else:
        shell.run("c1", "&")
    shell.expect(PROMPT)
    eventually(lambda: stopped(desk), what="it waits")
    kill(desk, shell, 0)
    assert shell.termios() == before


# --- what happens meanwhile


def test_a_verdict_that_ends_while_it_is_stopped_is_told_with_the_time_of_going_on(desk, shell, tmp_path):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    shell.run("--log", str(tmp_path / "log"), "c1")
    shell.expect("watching c1")
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    suspend(desk, shell)
    desk.host.open(gate)
    eventually(lambda: desk.host.verdicts()[0].rc == 0, what="it has ended")
    time.sleep(1.0)
    went_on = time.time()
    shell.send("fg\n")
    took = float(shell.expect(re.compile(r"done in ([0-9.]+) s")).groups[0])
    assert took >= 1.0
    shell.settled()
    shell.send("q")
    shell.expect(PROMPT)
    (ts,) = re.findall(r'"type":"verdict","ts":"([^"]*)"', (tmp_path / "log").read_text())
    assert timestamps.seconds(ts) > went_on - 0.01, "not the moment of Ctrl-Z"


def test_ctrl_z_before_the_first_screen_stops_it(desk, shell):
    before = shell.termios()
    shell.run("--reader", "'sh -c \"sleep 600; true\"'", "c1")
    shell.expect("the reader does not listen yet")
    shell.send("\x1a")
    shell.expect("Stopped")
    shell.expect(PROMPT)
    assert stopped(desk) and shell.termios() == before
    shell.send("fg\n")
    (pid,) = desk.processes("session")
    eventually(lambda: shell.foreground_pgid == pid and state(pid) != "T", what="it is back")
    shell.send("\x03")
    shell.expect(PROMPT)
    desk.nothing_is_left()


def test_before_the_first_screen_too(desk):
    t = desk.start("--reader", "sh -c 'sleep 600; true'", "c1")
    t.expect("the reader does not listen yet")
    t.send("\x1a")
    t.expect("can't be suspended here")
    t.send("\x03")
    t.wait()
    desk.nothing_is_left()


def test_where_no_shell_would_bring_it_back_ctrl_z_says_so(desk):
    """A program that a terminal was opened for, as `ssh -t` does: its process group is an orphan."""
    t = desk.sit()
    desk.block()
    t.send("\x1a")
    t.expect("can't be suspended here")
    asked = t.expect(endtoend.KEYS)
    assert state(t.pid) != "T"
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit()


# --- left behind


LOGGED = ("--answer", "skip", "--log")


@pytest.mark.parametrize(
    "script, number",
    [
        pytest.param('exec nohup "$@" 2>/dev/null', signal.SIGHUP, id="nohup"),
        pytest.param('"$@" & exec cat', signal.SIGINT, id="in the background"),
        pytest.param('"$@" & exec cat', signal.SIGQUIT, id="in the background, quit"),
    ],
)
def test_what_was_ignored_at_the_start_stays_ignored(desk, job, script, number):
    child = job(script)
    (pid,) = eventually(lambda: desk.processes("session"))
    os.kill(pid, number)
    desk.lab.connect("203.0.113.10", 443)
    assert b"skipped" in child.stdout.readline(), "it goes on"
    os.kill(pid, signal.SIGTERM)
    assert b"stopped: 1 skipped" in child.stdout.readline()
    desk.nothing_is_left()


@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_the_ends_of_children_are_heard_of_however_it_was_started(desk, how):
    """A parent that ignores SIGCHLD, or that has blocked every signal, as OCI runtimes start their hooks."""
    code = {
        "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))",
    }[how]
    launcher = "import os, signal, sys; %s; os.execv(sys.argv[1], sys.argv[1:])" % code
    desk.prefix = [sys.executable, "-I", "-S", "-c", launcher]
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("done in")
    t.kill(signal.SIGTERM)
    desk.ends(0)
