"""The pty harness shows what a person would see, so that tests on it can be believed."""

from __future__ import annotations

import os
import signal
import sys
import termios
import time
from typing import Any, Callable

import pytest
from support import eventually
from terminal_driver import PROMPT, Session, Timeout

ENV = {"TERM": "xterm", "PATH": os.defpath, "LANG": "C.UTF-8"}
Terminal = Callable[..., Session]


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-u", "-c", code]


def test_the_program_has_the_terminal_as_its_controlling_one(terminal: Terminal) -> None:
    t = terminal(
        python(
            "import os; fd = os.open('/dev/tty', os.O_RDWR); os.write(fd, b'there\\n');"
            "print(os.getsid(0) == os.getpid() == os.tcgetpgrp(fd), os.get_terminal_size(fd))"
        ),
        env=ENV,
        size=(30, 100),
    )
    t.expect("there")
    t.expect("True os.terminal_size(columns=100, lines=30)")
    assert t.wait() == 0


def test_the_environment_is_the_given_one_alone(terminal: Terminal) -> None:
    t = terminal(["env"], env={"PATH": os.defpath, "ONLY": "1"})
    assert t.wait() == 0
    assert sorted(t.text().split()) == ["ONLY=1", "PATH=" + os.defpath]


def test_the_screen_is_what_an_eye_sees_and_the_text_is_all_that_came(terminal: Terminal) -> None:
    t = terminal(python("print('abc\\r\\x1b[1mX\\x1b[0m\\x1b[K\\nsecond')"), env=ENV)
    assert t.wait() == 0
    assert t.screen() == ["X", "second"]
    assert t.text() == "abcX\nsecond\n"
    assert t.cursor == (2, 0)


def test_keys_arrive_and_what_is_found_has_a_time(terminal: Terminal) -> None:
    t = terminal(python("import sys; print('ready'); print('got', sys.stdin.readline())"), env=ENV)
    t.expect("ready")
    before = time.monotonic()
    t.send("hello\n")
    assert before < t.expect("got hello").at < time.monotonic()


def test_what_does_not_come_is_told_with_the_screen(terminal: Terminal) -> None:
    t = terminal(python("print('something else'); input()"), env=ENV)
    t.expect("something")
    with pytest.raises(Timeout, match="something else"):
        t.expect("never", timeout=0.05)


def test_redirected_output_does_not_reach_the_terminal(terminal: Terminal, tmp_path: Any) -> None:
    with open(tmp_path / "out", "wb") as out:
        t = terminal(python("import sys; print('data'); print('told', file=sys.stderr)"), env=ENV, stdout=out)
        assert t.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"data\n"
    assert t.text() == "told\n"


def test_changed_settings_of_the_terminal_are_seen_and_survive_the_program(terminal: Terminal) -> None:
    t = terminal(python("import tty; input(); tty.setcbreak(0)"), env=ENV)
    before = t.termios()
    t.send("\n")
    assert t.wait() == 0
    after = t.termios()
    assert before != after
    assert not after[3] & termios.ICANON  # type: ignore[operator]


def test_a_flag_set_on_the_shared_description_is_seen(terminal: Terminal) -> None:
    t = terminal(python("import os; os.set_blocking(0, False)"), env=ENV)
    before = t.flags
    assert t.wait() == 0
    assert t.flags == before | os.O_NONBLOCK


def test_resizing_tells_the_program(terminal: Terminal) -> None:
    t = terminal(
        python(
            "import os, signal; signal.signal(28, lambda *a: print(os.get_terminal_size(0).columns));"
            "print('ready'); [signal.pause() for _ in range(9)]"
        ),
        env=ENV,
    )
    t.expect("ready")
    t.resize(20, 40)
    t.expect("40\n")


def test_a_stalled_terminal_blocks_a_writer_until_it_resumes(terminal: Terminal, tmp_path: Any) -> None:
    done = tmp_path / "done"
    code = "import sys; print('ready'); input(); print('x' * 200000, end=''); open(sys.argv[1], 'w')"
    t = terminal([*python(code), str(done)], env=ENV)
    t.expect("ready")
    t.stall()
    t.send("\n")
    with pytest.raises(Timeout):
        t.wait(0.3)
    assert not done.exists()
    t.resume()
    assert t.wait() == 0
    assert done.exists()
    eventually(lambda: t.raw.count(b"x") == 200000)


def test_all_that_a_program_wrote_is_there_once_it_has_ended(terminal: Terminal) -> None:
    t = terminal(python("print('x' * 50000, end='')"), env=ENV)
    assert t.wait() == 0
    assert t.text() == "x" * 50000


def test_a_terminal_whose_output_is_stopped_is_seen_and_what_was_typed_and_not_read(
    terminal: Terminal,
) -> None:
    t = terminal(python("import signal, tty; tty.setcbreak(0); print('ready'); signal.pause()"), env=ENV)
    t.expect("ready")
    assert not t.stopped and t.unread == 0
    t.send("ab\x13")
    eventually(lambda: t.stopped)
    assert t.unread == 2
    t.send("\x11")
    eventually(lambda: not t.stopped)


def test_a_program_that_sleeps_again_has_minded_a_signal(terminal: Terminal) -> None:
    code = (
        "import os, signal, sys\n"
        "def work(*_): sum(range(10**6)); os.write(1, b'minded')\n"
        "signal.signal(signal.SIGUSR1, work)\n"
        "print('ready')\n"
        "while True: signal.pause()"
    )
    t = terminal(python(code), env=ENV)
    t.expect("ready")
    t.settled()
    t.kill(signal.SIGUSR1)
    t.settled()
    t.kill(signal.SIGKILL)
    t.wait()
    assert t.text().count("minded") == 1


def test_a_hangup_ends_a_program_that_does_not_mind_it(terminal: Terminal) -> None:
    t = terminal(python("print('ready'); import signal; signal.pause()"), env=ENV)
    t.expect("ready")
    t.hangup()
    assert t.wait() == -signal.SIGHUP


def comm(pid: int) -> str:
    with open("/proc/%d/comm" % pid) as file:
        return file.read().strip()


def test_a_shell_stops_and_continues_its_jobs(interactive_shell: Terminal) -> None:
    t = interactive_shell(env=ENV)
    shell_pgid = t.foreground_pgid
    t.send("sleep 100\n")
    eventually(lambda: comm(t.foreground_pgid) == "sleep")  # before that bash's child still ignores it
    t.send("\x1a")
    t.expect("Stopped")
    t.expect(PROMPT)
    assert t.foreground_pgid == shell_pgid
    t.send("fg\n")
    eventually(lambda: t.foreground_pgid != shell_pgid)
    t.send("\x03")
    t.expect(PROMPT)
    t.send("exit 7\n")
    assert t.wait() == 7
