"""Every way out, and what must hold after each: the terminal as it was, nothing of ours left."""

from __future__ import annotations

import os
import signal
import termios
import time

import endtoend
import pytest
from support import eventually, thorough, with_a_fault
from terminal_driver import PROMPT, state

desk = endtoend.desk


def test_q_ends_it_when_nothing_is_open(desk):
    desk.sit()
    assert "nothing blocked was seen" in desk.quit()


def test_q_with_a_request_open_wants_a_second_one_and_any_other_key_goes_back_to_the_question(desk):
    t = desk.sit()
    desk.block()
    t.send("q")
    t.expect("1 request is open")
    desk.press("n", t.expect("any other key: no"), own=True)
    t.expect("203.0.113.10")
    t.expect(endtoend.KEYS)
    t.send("q")
    desk.press("q", t.expect("any other key: no"), own=True)
    assert "1 unanswered" in desk.ends(5)
    assert desk.host.verdicts() == []


STRAY = "USR1 USR2 ALRM VTALRM PROF ABRT XCPU TRAP SYS PWR RTMIN RTMAX"
"""Meant for nobody here, and by default the end of a process as it is."""


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", *STRAY.split()])
def test_a_signal_ends_it(desk, name):
    number = getattr(signal, "SIG" + name)
    t = desk.sit()
    desk.block()
    t.kill(number)
    assert "1 unanswered" in desk.ends(5)


def test_a_signal_ends_it_well_when_nothing_is_open(desk):
    desk.sit().kill(signal.SIGTERM)
    assert "unanswered" not in desk.ends(0)


def test_ctrl_c_is_a_key_on_the_terminal(desk):
    t = desk.sit()
    desk.block()
    t.send("\x03")
    desk.ends(5)


def test_ctrl_c_waits_for_a_verdict_in_progress(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit()
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.kill(signal.SIGINT)
    t.settled()
    assert t.process.poll() is None
    desk.host.open(gate)
    text = desk.ends(0)
    assert "1 allowed" in text and desk.host.verdicts()[0].rc == 0


def test_a_second_ctrl_c_leaves_at_once_and_says_what_still_runs(desk):
    desk.host.control("terok-shield", mode="hang")
    t = desk.sit()
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.kill(signal.SIGINT)
    t.settled()
    assert t.process.poll() is None
    t.send("\x03")
    text = desk.ends(5)
    assert "still runs as pid %d" % desk.host.verdicts()[0].pid in text
    assert "it may or may not be open" in text
    assert "1 unknown" in text


def test_the_end_of_a_command_is_its_exit_and_not_that_of_its_pipes(desk):
    desk.host.control("terok-shield", mode="grandchild")
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("done in")
    desk.quit()


def test_the_containers_end_ends_it(desk):
    t = desk.sit()
    desk.c1.stop()
    t.expect("c1: the container has stopped")
    assert t.wait() == 0
    assert t.termios() == endtoend.as_opened()
    eventually(lambda: not desk.processes(), what="no process of ours is left")


def test_the_containers_end_with_a_question_open_is_incomplete(desk):
    t = desk.sit()
    desk.block()
    desk.c1.stop()
    t.expect("c1: the container has stopped")
    assert t.wait() == 5
    assert "1 unanswered" in t.text()
    assert t.termios() == endtoend.as_opened()


@pytest.mark.parametrize("number", [signal.SIGKILL, *thorough(signal.SIGTERM)])
def test_the_readers_end_is_said_and_gives_4(desk, number):
    desk.sit()
    desk.block()
    os.kill(desk.reader(), number)
    text = desk.ends(4)
    assert "c1: the reader ended unexpectedly" in text
    assert "1 unanswered" in text


def test_another_readers_end_after_it_listened_gives_4_with_its_words(desk):
    gate = desk.host.gate()
    script = (
        """sh -c 'echo "{\\"type\\":\\"container_started\\",\\"container\\":\\"c1\\"}"; """
        """until [ -e %s ]; do sleep 0.02; done; echo no more >&2; exit 3'""" % gate
    )
    desk.start("--reader", script, "c1").expect("watching c1")
    desk.host.open(gate)
    text = desk.ends(4)
    assert "no more" in text and "exit code 3" in text


@pytest.mark.parametrize("number", [signal.SIGINT, *thorough(signal.SIGTERM, signal.SIGHUP)])
def test_a_signal_while_podman_is_being_asked_leaves_the_terminal_alone(desk, number):
    """Nothing was watched yet, so it is no end as asked: Ctrl-C is 3, others end it as any program."""
    desk.host.control("podman", mode="hang")
    t = desk.start("c1")
    eventually(desk.host.calls, what="podman is asked")
    t.kill(number)
    assert t.wait() == (3 if number == signal.SIGINT else -number)
    told = "simple-clearance: stopped before anything was watched\n"
    assert t.text() == (told if number == signal.SIGINT else "")
    assert t.termios() == endtoend.as_opened()
    desk.nothing_is_left()


def stop_output(t):
    t.send("\x13")
    eventually(lambda: t.stopped, what="output is stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, *thorough(signal.SIGTERM)])
def test_a_second_signal_on_a_terminal_that_is_stopped_does_not_leave_it_raw(desk, number):
    """The first ends it; its last words wait a second for a terminal that takes nothing."""
    t = desk.sit()
    desk.block()
    stop_output(t)
    for _ in range(3):
        t.kill(number)
        t.settled()
    assert t.wait() == 5
    assert t.termios() == endtoend.as_opened()
    desk.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, *thorough(signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)])
def test_signals_up_to_the_last_moment_change_no_exit_code(desk, number):
    """Also once it has said everything, while the interpreter takes itself down."""
    t = desk.sit()
    desk.block()
    t.kill(number)
    while t.process.poll() is None:
        t.kill(number)
    desk.ends(5)


def test_a_terminal_that_is_stopped_does_not_keep_it_from_ending_with_words(desk):
    """stderr is that terminal, and what it says of the reader's end finds no room there."""
    t = desk.sit()
    desk.block()
    stop_output(t)
    os.kill(desk.reader(), signal.SIGKILL)
    assert t.wait() == 4
    assert t.termios() == endtoend.as_opened()
    desk.nothing_is_left()


# --- the terminal goes


def test_a_hang_up_takes_everything_along(desk):
    t = desk.sit()
    desk.block()
    t.hangup()
    assert t.wait() in (5, -signal.SIGHUP)
    desk.nothing_is_left()


def test_a_hang_up_does_not_hurt_a_verdict_in_progress(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit()
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.hangup()
    t.settled()
    assert t.process.poll() is None
    desk.host.open(gate)
    assert t.wait() == 0
    desk.nothing_is_left()
    assert desk.host.verdicts()[0].rc == 0
    assert desk.lab.set_contains("allow", "203.0.113.10")


def test_after_a_hang_up_the_last_words_have_nowhere_to_go_and_that_is_no_fault(desk):
    desk.host.control("terok-shield", mode="hang")
    t = desk.sit("--verdict-timeout", "0.3")
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.hangup()
    assert t.wait() == 5
    desk.nothing_is_left()


# --- job control


def is_back(desk, t):
    """The session is in the foreground again, and runs."""
    (session,) = desk.processes("session")
    eventually(lambda: t.foreground_pgid == session and state(session) != "T", what="it is back")


def test_ctrl_z_while_podman_is_being_asked_stops_it_as_any_program(desk, interactive_shell):
    gate = desk.host.gate()
    desk.host.control("podman", gate=gate)
    t = interactive_shell(env=desk.env)
    before = t.termios()
    t.send(" ".join(desk.argv("c1")) + "\n")
    eventually(desk.host.calls, what="podman is asked")
    t.send("\x1a")
    t.expect(PROMPT)
    assert t.termios() == before
    t.send("fg\n")
    is_back(desk, t)
    desk.host.open(gate)
    t.expect("watching c1")
    t.settled()  # before that it takes the terminal once more, and drops what was typed
    t.send("q")
    t.expect(PROMPT)
    assert t.termios() == before


def test_started_in_the_background_it_waits_to_be_called(desk, interactive_shell):
    t = interactive_shell(env=desk.env)
    before = t.termios()
    t.send(" ".join(desk.argv("c1")) + " &\n")
    t.expect(PROMPT)
    eventually(lambda: [state(pid) for pid in desk.processes("session")] == ["T"], what="it is stopped")
    t.send("fg\n")
    t.expect("watching c1")
    t.settled()  # being continued, it takes the terminal anew, and drops what was typed until then
    t.send("q")
    t.expect(PROMPT)
    assert t.termios() == before


def test_ctrl_z_gives_the_terminal_back_and_fg_asks_again(desk, interactive_shell):
    desk.t = t = interactive_shell(env=desk.env)
    before = t.termios()
    t.send(" ".join(desk.argv("c1")) + "\n")
    t.expect("watching c1")
    desk.block()
    assert t.termios() != before
    t.send("\x1a")
    t.expect("Stopped")
    t.expect(PROMPT)
    assert t.termios() == before
    t.send("stty -a; echo still $((6 * 7))\n")
    t.expect("still 42")
    t.expect(PROMPT)
    desk.lab.connect("203.0.113.10", 443)  # what happens meanwhile is not lost
    t.send("fg\n")
    t.expect("c1  203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    desk.press("a", asked)
    t.expect("done in")
    assert t.text().count(endtoend.KEYS) == 2, "it is painted once"
    t.send("q")
    t.expect(PROMPT)
    t.send("echo code $?\n")
    t.expect("code 0")
    t.expect(PROMPT)
    assert t.termios() == before
    desk.nothing_is_left()
    assert desk.host.targets() == ["allow 203.0.113.10"]


def test_modes_that_the_shell_had_changed_come_back_too(desk, interactive_shell):
    t = interactive_shell(env=desk.env)
    t.send("stty -ixon -echoctl erase ^H\n")
    t.expect(PROMPT)
    before = t.termios()
    assert before != endtoend.as_opened()
    t.send(" ".join(desk.argv("c1")) + "\n")
    t.expect("watching c1")
    t.send("q")
    t.expect(PROMPT)
    assert t.termios() == before


def test_a_stop_from_outside_and_going_on_asks_again(desk):
    t = desk.sit()
    desk.block()
    raw = t.termios()
    t.kill(signal.SIGSTOP)
    eventually(lambda: state(t.pid) == "T", what="it is stopped")
    termios.tcsetattr(t.slave, termios.TCSANOW, endtoend.as_opened())  # as a shell does
    t.kill(signal.SIGCONT)
    t.expect("c1  203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    assert t.termios() == raw
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit()


def test_in_the_background_it_waits_until_it_is_called_back(desk, interactive_shell):
    t = interactive_shell(env=desk.env)
    before = t.termios()
    t.send(" ".join(desk.argv("c1")) + "\n")
    t.expect("watching c1")
    t.send("\x1a")
    t.expect(PROMPT)
    t.send("bg; wait -n 2>/dev/null; jobs\n")
    t.expect("Stopped")
    t.expect(PROMPT)
    assert t.termios() == before
    t.send("fg\n")
    is_back(desk, t)
    eventually(lambda: t.termios() != before, what="the terminal is its own again")
    t.settled()
    t.send("q")
    t.expect(PROMPT)
    assert t.termios() == before
    desk.nothing_is_left()


# --- a fault of ours


FAULT = """

plain = Docket.handle

def handle(docket, *args):
    if docket.open_count():
        raise KeyError('\\x1b[2J')
    plain(docket, *args)

Docket.handle = handle
"""


def test_a_fault_of_ours_is_one_line_below_the_line_of_keys_and_gives_the_terminal_back(desk, tmp_path):
    """Provoked by an archive that breaks at the second request."""
    desk.pyz = with_a_fault(desk.pyz, str(tmp_path / "broken.pyz"), "docket/docket", FAULT)
    t = desk.sit()
    desk.block("203.0.113.10")
    desk.lab.connect("203.0.113.11", 443)
    assert t.wait() == 70
    assert t.termios() == endtoend.as_opened()
    desk.nothing_is_left()
    (said,) = [line for line in t.text().splitlines() if line.startswith("simple-clearance: ")]
    assert "internal error: KeyError" in said and "docket.py" in said
    assert "hint: run it with --debug" in t.text() and "Traceback" not in t.text()
    assert b"\x1b[2J" not in bytes(t.raw)
    below = [line.partition(":")[0] for line in t.screen()].index("simple-clearance")
    assert t.screen()[below - 1].endswith(endtoend.KEYS), "which stays as it was"


# --- before anything listens


@pytest.mark.parametrize(
    "number, words",
    [(signal.SIGINT, ()), (signal.SIGTERM, ("--answer", "skip")), (signal.SIGINT, ("--json",))],
    ids=["asked", "answered", "json"],
)
def test_one_that_is_ended_before_its_reader_listens_says_nothing_of_watching(desk, number, words):
    started = os.path.join(desk.host.folder, "started")
    t = desk.start("--reader", "sh -c 'touch %s; sleep 600; true'" % started, *words, "c1")
    if words:
        eventually(lambda: os.path.exists(started), what="the reader runs")
        t.settled()
    else:
        t.expect("the reader does not listen yet")  # which takes three seconds
    t.kill(number)
    text = desk.ends(3)
    assert "watching c1" not in text and "nothing blocked was seen" not in text and "{" not in text
    assert "simple-clearance: stopped before anything was watched\n" in text


def test_ctrl_c_at_any_moment_of_the_start_leaves_no_trace(desk, some_python):
    """3 once it is ours to say so; while the interpreter itself begins, it ends as any program of Python."""
    desk.python = some_python.path
    desk.host.control("podman", gate=desk.host.gate())
    for milliseconds in (0, 20, 40, 60, 90):
        t = desk.start("c1")
        time.sleep(milliseconds / 1000)
        t.kill(signal.SIGINT)
        if t.wait() != 3:
            assert "simple_clearance" not in t.text() and ".pyz/" not in t.text(), t.text()
        assert t.termios() == endtoend.as_opened()
