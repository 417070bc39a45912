"""Odd places to sit: poor terminals, small ones, slow ones, a stdin that is something else."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import termios
import time

import endtoend
import pytest
import scripting
from lab import Lab
from support import PATIENCE, eventually, thorough

from simple_clearance.system import terminal

script = scripting.script

desk = endtoend.desk


def do_the_job(desk, t):
    """A question, a wrong key, an answer, a notice: everything that is ever painted as a rule."""
    desk.c1.looks_up("www.example.com", "203.0.113.10")
    asked = desk.block()
    t.send("x")
    t.expect("no key here")
    desk.press("a", asked)
    t.expect("done in")
    desk.lab.listen(443)
    desk.lab.connect("203.0.113.10", 443)
    t.expect("first packet")
    return desk.quit()


ESCAPE = b"\x1b"


POOR = {"TERM": "no-such-terminal", "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


def test_the_job_is_done_in_a_poor_environment_too(desk):
    t = desk.sit(env=POOR)
    do_the_job(desk, t)
    assert t.raw.isascii()
    assert ESCAPE in t.raw
    assert ESCAPE not in re.sub(rb"\x1b\[[0-9;]*m", b"", bytes(t.raw)), "colours and nothing else"


@pytest.mark.parametrize(
    "env, dumb, colour",
    [
        ({"TERM": "xterm"}, False, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, False, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": ""}, True, False),
        ({}, True, False),
    ],
)
def test_colour_is_for_terminals_and_for_those_who_want_it(env, dumb, colour):
    assert (terminal.is_dumb(env), terminal.has_colour(env)) == (dumb, colour)


def test_on_a_dumb_terminal_nothing_is_rewritten(desk):
    t = desk.sit(env={"TERM": "dumb"})
    text = do_the_job(desk, t)
    assert not re.search(rb"\r(?!\r*\n)", bytes(t.raw)) and ESCAPE not in t.raw and b"\b" not in t.raw
    assert max(map(len, text.splitlines())) < 80
    assert text.count(endtoend.KEYS) >= 2, "the line of keys stands below what was told"


def test_without_colour_nothing_but_the_line_of_keys_is_rewritten(desk):
    t = desk.sit(env={"NO_COLOR": "1"})
    do_the_job(desk, t)
    assert ESCAPE not in t.raw


@pytest.mark.parametrize("size", [(5, 20), *thorough((24, 20), (5, 80), (12, 40), (24, 132))])
def test_on_a_small_screen_the_job_is_done_too(desk, size):
    address = "2001:db8:5:1234:5678:9abc:def0:1234"
    t = desk.sit(size=size)
    desk.lab.connect(address, 443)
    asked = t.expect(endtoend.KEYS)
    lines = t.screen()
    assert len(lines) <= size[0] and max(map(len, lines)) < size[1]
    assert address in "".join(line.strip() for line in lines), lines
    desk.press("a", asked)
    eventually(desk.host.verdicts, what="the key counts")
    assert desk.host.targets() == ["allow " + address]
    t.until(lambda lines: " done in " in " ".join(line.strip() for line in lines))
    desk.quit()


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_on_screens_too_small_for_any_question_nothing_breaks(desk, kind):
    desk.c1.looks_up("a.b.example.org", "203.0.113.10", via=("edge.cdn.example",))
    t = desk.start("c1", size=(1, 1), env={"TERM": kind})
    eventually(desk.lab.holder, what="it listens")
    desk.lab.connect("203.0.113.10", 443)
    desk.lab.connect("10.0.0.1", 443)
    desk.settled()
    for columns in (1, 4, 8, 12, 15, 16, 19):
        t.resize(1 + columns // 4, columns)
        for key in "lih?q":
            t.send(key)
            t.quiet(0.02)
    t.send("\x03")
    desk.ends(5)


def test_a_resize_paints_the_question_anew_and_it_waits_again(desk):
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    t.resize(12, 40)
    t.expect("203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    t.send("a")
    t.expect("ignored")
    t.quiet(0.2)
    assert desk.host.verdicts() == []
    lines = t.screen()
    assert any("203.0.113.10" in line for line in lines) and max(map(len, lines[-3:])) < 40
    desk.press("a", asked)
    t.expect("done in")
    desk.quit()


def test_a_window_that_was_smaller_for_a_moment_is_painted_anew(desk):
    """Two changes may be one signal, and the size the one before: what stood there may be gone."""
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    t.kill(signal.SIGWINCH)
    t.expect("203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    t.send("a")
    t.expect("ignored")
    desk.press("a", asked)
    t.expect("done in")
    desk.quit()


def test_many_resizes_in_the_middle_of_everything_break_nothing(desk):
    t = desk.sit()
    for n in range(40):
        t.resize(5 + n % 20, 20 + 7 * n % 80)
        if n % 4 == 0:
            desk.lab.connect("203.0.113.%d" % (10 + n // 4), 443)
    t.resize(24, 80)
    endtoend.lists(t, 10)
    t.send("\x03")
    desk.ends(5)


# --- times


def test_a_month_is_a_time_like_any_other(desk, some_python):
    """poll(2) takes 24 days at most."""
    desk.python = some_python.path
    month = str(30 * 86400)
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    t = desk.sit("--for", month, "--verdict-timeout", month)
    desk.press("a", desk.block())
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.settled()
    desk.host.open(gate)
    t.expect("done in")
    desk.quit()


# --- descriptors


def test_with_something_else_on_every_standard_descriptor_the_terminal_is_asked_all_the_same(desk, tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"aaaaaaaay\n")
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        t = desk.sit(stdin=reading, stdout=out, stderr=err)
        asked = desk.block()
        desk.wait_for_keys(asked)
        assert desk.host.verdicts() == []
        desk.press("a", asked)
        t.expect("done in")
        desk.quit()
    assert os.read(reading, 100) == b"aaaaaaaay\n", "it is not ours to read"
    os.close(reading)
    os.close(writing)
    assert (tmp_path / "out").read_bytes() == b"" == (tmp_path / "err").read_bytes()


@pytest.mark.parametrize("closed", ["012", *thorough("0", "1", "2")])
def test_with_standard_descriptors_closed_the_job_is_done_too(desk, closed):
    """Nothing else may take their numbers: a child's stdin, stdout and stderr have them."""
    redirections = " ".join("%s%s&-" % (fd, "<" if fd == "0" else ">") for fd in closed)
    argv = ["sh", "-c", 'exec "$@" ' + redirections, "sh", *desk.argv("c1")]
    desk.t = t = desk.terminal(argv, env=desk.env)
    t.expect("watching c1")
    desk.press("a", desk.block())
    t.expect("done in")
    desk.quit()


def test_with_few_descriptors_it_works_or_says_so(desk, rounds):
    for limit in range(8, 28, 20 // rounds(20)):
        argv = ["sh", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh", *desk.argv("c1")]
        desk.t = t = desk.terminal(argv, env=desk.env)
        if t.expect(re.compile("watching c1|simple-clearance: ")).text == "watching c1":
            t.send("q")
        assert t.wait() in (0, 3)
        assert t.termios() == endtoend.as_opened() and "Traceback" not in t.text()
        desk.nothing_is_left()


def test_with_few_descriptors_that_is_what_is_named(desk, some_python):
    """Not that podman is to be installed, nor that the file is damaged."""
    desk.python = some_python.path
    for limit in (*range(4, 12), 24, 28, 32):
        done = desk.run(
            "--answer",
            "skip",
            "--for",
            "0.2",
            "c1",
            prefix=["sh", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh"],
        )
        said = done.stderr.decode()
        if done.returncode:
            assert done.returncode in (1, 3) and done.stdout == b"", (limit, done)
            if "simple-clearance: " in said:
                assert "damaged" not in said
                assert said.endswith(
                    "hint: allow it more open files: ulimit -n 1024, LimitNOFILE=1024 in a unit\n"
                )
        desk.nothing_is_left()


@pytest.mark.parametrize("how", ["a verdict", "a reader"])
def test_the_limit_of_descriptors_reached_in_the_middle_ends_it_with_a_summary(desk, some_python, how):
    desk.python = some_python.path
    if how == "a reader":
        bridge = desk.c1.bridge_reader()
    t = desk.start("c1")
    t.expect("watching c1")
    if how == "a verdict":
        asked = desk.block()
        desk.wait_for_keys(asked)
    (pid,) = desk.processes("session")
    most = len(os.listdir("/proc/%d/fd" % pid)) - 2  # what a reader takes, or some of what a verdict does
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
    if how == "a verdict":
        t.send("a")
    else:
        os.killpg(bridge, signal.SIGKILL)
    text = desk.ends(4)
    assert "oo many open files" in text and "hint: allow it more open files" in text
    nothing = "stopped: nothing blocked was seen; exit code 4"
    assert ("1 unanswered" if how == "a verdict" else nothing) in text
    assert desk.host.verdicts() == []


def test_what_it_was_started_with_is_passed_on_to_nobody(script, host, tmp_path):
    """As the lock of a script, which a verdict that goes on would hold."""
    with Lab() as lab, open(tmp_path / "lock", "w") as lock:
        host.container("c2", lab)
        shield = "sh -c 'ls -l /proc/self/fd >%s'" % (tmp_path / "seen")
        words = ("--json", "--shield", shield)
        it = script(*words, reader=False, names=("c2",), pass_fds=[lock.fileno()])
        it.until("session")
        lab.connect("203.0.113.10", 443)
        it.until("pending")
        it.say("allow r1\n")
        assert it.until("verdict")["result"] == "applied"
        seen = (tmp_path / "seen").read_text()
        assert " 0 -> /dev/null" in seen and lock.name not in seen
        held = {endtoend.role_of(argv): descriptors(pid) for pid, argv in endtoend.processes(it.pyz)}
        assert sorted(held) == ["forkserver", "reader", "session"]
        assert [role for role, links in held.items() if lock.name in links] == ["session"]
        it.signal(signal.SIGTERM)
        it.ends(0)


def descriptors(pid):
    """What the descriptors of a process are."""
    folder = "/proc/%d/fd" % pid
    return [os.readlink(os.path.join(folder, number)) for number in os.listdir(folder)]


@pytest.mark.parametrize("key", [b"q", b"\x03", b"\x1c"], ids=["q", "Ctrl-C", "Ctrl-backslash"])
def test_without_a_controlling_terminal_the_one_on_stdin_is_opened(desk, key):
    """As `setsid program <>/dev/pts/3` does.  No key of it is a signal for us."""
    master, slave = os.openpty()
    try:
        found = termios.tcgetattr(slave)
        child = subprocess.Popen(
            desk.argv("c1"), stdin=slave, stdout=slave, stderr=slave, env=desk.env, start_new_session=True
        )
        data = b""
        while b"\n" not in data:
            data += os.read(master, 1000)
        os.write(master, key)
        assert child.wait(PATIENCE) == 0
        assert termios.tcgetattr(slave) == found
        assert len(re.sub(rb"\x1b\[\d*m", b"", data).split(b"\r")[0]) == 79, "0 by 0 is taken as 80 by 24"
        desk.nothing_is_left()
    finally:
        os.close(master)
        os.close(slave)


# --- slowness


def test_output_that_stalls_loses_nothing_and_freezes_nobody(desk):
    """A stalled ssh: thousands of events come, the reader never waits, and all of it is there afterwards."""
    t = desk.sit()
    desk.block()
    t.stall()
    before = len(t.raw)
    eventually(lambda: t.send("?") and t.stopped, what="more help than the kernel keeps for a terminal")
    desk.lab.flood(3000)
    desk.settled()
    t.resume()
    eventually(lambda: len(t.raw) - before > capacity(), what="what had no room comes after all")
    endtoend.lists(t, 3001)
    t.send("\x03")
    text = desk.ends(5)
    assert "lost" not in text and "3001 unanswered" in text


def capacity():
    """Bytes that the kernel takes for a terminal that nobody reads."""
    master, slave = os.openpty()
    os.set_blocking(slave, False)
    taken = 0
    try:
        while True:
            taken += os.write(slave, b"." * 1000)
    except BlockingIOError:
        return taken
    finally:
        os.close(master)
        os.close(slave)


def test_a_key_does_not_count_before_the_question_has_gone_out_whole(desk):
    """Output is stopped (Ctrl-S) while the question is painted: what nobody saw nobody answers."""
    t = desk.sit()
    t.send("\x13")
    eventually(lambda: t.stopped, what="output is stopped")
    desk.lab.connect("203.0.113.10", 443)
    desk.settled()
    time.sleep(endtoend.ARMED + endtoend.MARGIN)
    assert "203.0.113.10" not in t.text()
    t.send("a")  # which lets the output go on where IXANY is set, and is early in any case
    t.quiet(0.3)
    t.send("\x11")
    t.expect("203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    t.quiet(0.3)
    assert desk.host.verdicts() == []
    desk.press("a", asked)
    t.expect("done in")
    desk.quit()


def test_a_question_in_script_1_and_a_second_pty(desk, need):
    need("script")
    argv = ["script", "-qec", " ".join(desk.argv("c1")), "/dev/null"]
    desk.t = t = desk.terminal(argv, env=desk.env)
    t.expect("watching c1")
    desk.press("a", desk.block())
    t.expect("done in")
    t.send("q")
    assert t.wait() == 0
    desk.nothing_is_left()


# --- what comes from inside


def test_nothing_from_inside_or_from_the_command_paints_anything_of_its_own(desk):
    desk.c1.annotations["dossier.project"] = "\x1b[2J\r\nc1  192.0.2.1" + "x" * 200
    desk.c1.annotations["dossier.\x1b[31m"] = "y\u202e"
    desk.c1.save()
    desk.host.control(
        "terok-shield", mode="fail", error="\x1b]0;owned\x07\x1b[2J\rallow: a\r\n" + "\u202eevil" * 99
    )
    t = desk.sit()
    for name in (
        b"\x1b[2Jwww.example.com",
        b"a" * 300 + b".example",
        b"c1  192.0.2.2  tcp 443",
        b"www.ex\xffample.com",
    ):
        head = b"Nov 23 23:05:50 dnsmasq[17816]: "
        desk.c1.append("dnsmasq.log", head + b"query[A] " + name + b" from 127.0.0.1\n")
        desk.c1.append("dnsmasq.log", head + b"reply " + name + b" is 203.0.113.10\n")
    desk.block()
    t.send("i")
    t.expect("uid inside")
    desk.press("a", t.expect(endtoend.KEYS))
    t.expect("FAILED")
    t.expect("evil")
    t.expect(endtoend.KEYS)
    assert t.raw.isascii() and b"\x07" not in t.raw and "192.0.2.2" not in t.text()
    assert not any(line.startswith("c1  192.0.2.1") for line in t.text().splitlines())
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", bytes(t.raw)).count(b"\x1b") == 0
    t.send("\x03")
    desk.ends(5)


# --- the file itself


@pytest.mark.parametrize("how", ["overwritten", *thorough("removed")])
def test_every_view_works_without_the_archive(desk, tmp_path, how):
    """An upgrade overwrites the file under a running session: what is needed later has been read before."""
    desk.pyz = shutil.copy(desk.pyz, str(tmp_path / "mine.pyz"))
    t = desk.sit("--log", str(tmp_path / "log"), "--save-profile", str(tmp_path / "profile"))
    if how == "removed":
        os.unlink(desk.pyz)
    else:
        with open(desk.pyz, "r+b") as file:
            file.write(b"\0" * os.path.getsize(desk.pyz))
    desk.c1.looks_up("www.example.com", "203.0.113.10", via=("edge.example.net",))
    asked = desk.block("203.0.113.10")
    desk.wait_for_keys(asked)
    for key, shown in (
        *(("?", "Ctrl-L"), ("i", "uid inside"), ("l", "1 waiting"), ("l", "a allow ")),
        *(("h", "nothing was answered"), ("h", endtoend.KEYS)),
    ):
        t.send(key)
        t.expect(shown)
        t.settled()
    desk.host.control("terok-shield", mode="fail")
    t.send("\x0c")
    desk.press("a", t.expect(endtoend.KEYS))
    t.expect("FAILED")
    asked = t.expect(endtoend.KEYS)
    desk.host.control("terok-shield")
    desk.press("d", asked)
    desk.press("u", t.expect("done in"))
    desk.press("y", t.expect("y allow"))
    t.expect("u allow 203.0.113.10 ... done in")
    desk.lab.connect("10.0.0.3", 443)
    t.expect("not asked")
    t.resize(12, 40)
    t.settled()
    desk.quit()
