"""A verdict command and its deadlines: a real process, on a clock that the test moves."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest
from stage import Bench
from support import eventually
from terminal_driver import state

from simple_clearance.runner import Runner
from simple_clearance.system import clocks
from simple_clearance.system.loop import Loop

TIMEOUT = 30.0

# Says what happens to it in $0.said; minds TERM or doesn't; goes on once $0.go is there.
SCRIPT = """#!/bin/sh
trap 'echo term >>"$0.said"; [ %s = stubborn ] || exit 9' TERM
echo ready >>"$0.said"
until [ -e "$0.go" ]; do sleep 0.02; done
"""


class Case:
    """A runner with one verdict under way."""

    def __init__(self, folder, kind):
        self.path = str(folder / "shield")
        with open(self.path, "w") as file:
            file.write(SCRIPT % kind)
        os.chmod(self.path, 0o755)
        self.bench = Bench()
        self.bench.blocked()
        self.bench.answer("allow", "r1")
        (self.job,) = self.bench.start()
        self.bench.take()
        self.loop = Loop()
        self.runner = Runner(self.loop, self.bench.docket, [self.path], TIMEOUT, print)
        self.runner.start(self.job, self.bench.now)
        self.pid = self.runner._running[0].child.pid
        eventually(lambda: self.said() == ["ready"], what="it runs")

    def said(self):
        try:
            with open(self.path + ".said") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def at(self, seconds):
        """So long after its start, a round of the session; the records of it."""
        self.bench.mono = self.job.started + seconds
        self.runner.tick(self.bench.now)
        self.runner.reap(self.bench.now)
        return self.bench.take("verdict")

    def end(self):
        """Wait for the command's end; the record of that."""
        return eventually(lambda: self.at(self.bench.mono - self.job.started), what="it has ended")[0]

    def due(self):
        """When the session's loop is to wake, counted from the start."""
        (deadline,) = [ask() for ask in self.loop.deadlines]
        return None if deadline is None else deadline - self.job.started


@pytest.fixture
def case(tmp_path):
    cases = []

    def start(kind="stubborn"):
        cases.append(Case(tmp_path, kind))
        return cases[-1]

    yield start
    for it in cases:
        with open(it.path + ".go", "w"):
            pass
        eventually(lambda it=it: it.runner.reap(it.bench.now) or not it.runner.running)


def test_it_is_told_at_its_deadline_ended_at_the_second_and_killed_two_seconds_later(case):
    it = case()
    assert it.due() == TIMEOUT
    assert it.at(TIMEOUT - 0.001) == []
    (told,) = it.at(TIMEOUT)
    assert (told["result"], told["reason"], told["seconds"]) == ("unknown", "timeout", TIMEOUT)
    assert it.due() == 2 * TIMEOUT
    it.at(2 * TIMEOUT - 0.001)
    assert it.said() == ["ready"] and it.due() == 2 * TIMEOUT
    it.at(2 * TIMEOUT)
    eventually(lambda: it.said() == ["ready", "term"], what="it got TERM")
    assert it.due() == 2 * TIMEOUT + 2.0
    it.at(2 * TIMEOUT + 2.0 - 0.001)
    assert it.due() == 2 * TIMEOUT + 2.0
    it.at(2 * TIMEOUT + 2.0)
    assert it.due() is None
    eventually(lambda: it.at(100) is not None and not it.runner.running, what="it is killed")
    assert not os.path.exists("/proc/%d" % it.pid)


def test_one_that_minds_term_is_not_killed(case):
    it = case("obedient")
    it.at(TIMEOUT)
    it.at(2 * TIMEOUT)
    eventually(lambda: it.at(2 * TIMEOUT) is not None and not it.runner.running, what="it has ended")
    assert it.said() == ["ready", "term"] and it.due() is None


@pytest.mark.parametrize("late", [False, True])
def test_what_it_says_in_the_end_is_the_outcome_late_or_not(case, late):
    it = case()
    assert len(it.at(TIMEOUT if late else 5)) == late
    with open(it.path + ".go", "w"):
        pass
    record = it.end()
    assert record["result"] == "applied" and it.bench.docket.open_count() == 0
    assert it.bench.docket.summary()["unknown"] == 0


def test_one_that_is_killed_by_somebody_else_has_no_outcome(case):
    it = case()
    os.kill(it.pid, signal.SIGKILL)
    record = it.end()
    assert (record["result"], record["reason"]) == ("unknown", "ended")


def test_what_still_runs_at_the_end_is_unknown_and_goes_on_by_itself(case):
    it = case()
    (pid,) = it.runner.abandon(it.bench.now)
    assert it.bench.take("verdict")[0]["result"] == "unknown"
    with open(it.path + ".go", "w"):
        pass
    assert os.waitpid(pid, 0)[1] == 0


def test_one_that_can_not_be_started_has_failed(case, tmp_path):
    it = case()
    nowhere = str(tmp_path / "nowhere")
    runner = Runner(Loop(), it.bench.docket, [nowhere], TIMEOUT, print)
    it.bench.docket.add_container("c2", 18, {})
    it.bench.blocked(container="c2")
    it.bench.answer("deny", "r2")
    (job,) = it.bench.start()
    runner.start(job, it.bench.now)
    (record,) = it.bench.take("verdict")
    assert (record["result"], record["reason"]) == ("failed", "not-started")
    assert record["error"] == nowhere + ": No such file or directory"


def test_after_the_kill_it_wants_to_be_woken_no_more(case):
    it = case()
    for seconds in (TIMEOUT, 2 * TIMEOUT):
        it.at(seconds)
    it.bench.mono = it.job.started + 2 * TIMEOUT + 2.0
    it.runner.tick(it.bench.now)
    assert it.runner.running and it.due() is None


def test_what_is_late_already_is_told_no_second_time_at_the_end(case):
    it = case()
    assert len(it.at(TIMEOUT)) == 1
    assert it.runner.abandon(it.bench.now) == [it.pid]
    assert it.bench.take("verdict") == []
    with open(it.path + ".go", "w"):
        pass
    os.waitpid(it.pid, 0)


# --- what a command says

ALLOWED = "Allowed www.example.com -> 203.0.113.10, 203.0.113.11 for c1"


def said(tmp_path, script, looping=True):
    """The record of a verdict by name whose command is `script`; how it was told to be run."""
    path, traced, loop, bench = tmp_path / "shield", [], Loop(), Bench()
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    bench.blocked(names=["www.example.com"])
    bench.answer("allow", "r1", name="www.example.com")
    bench.take()
    runner = Runner(loop, bench.docket, [str(path), "-v"], TIMEOUT, traced.append)
    loop.deadlines.append(lambda: 0.0)  # a round takes no time
    (job,) = bench.start()
    runner.start(job, bench.now)

    def ended():
        if looping:
            loop.wait()
        runner.reap(bench.now)
        return not runner.running

    eventually(ended)
    (record,) = bench.take("verdict")
    assert traced == ["run: %s -v allow c1 www.example.com" % path]
    return record


@pytest.mark.parametrize("looping", [True, False])
def test_what_it_says_right_before_its_end_is_read(tmp_path, looping):
    record = said(tmp_path, "echo '%s'\n" % ALLOWED, looping)
    assert (record["result"], record["opened"]) == ("applied", ["203.0.113.10", "203.0.113.11"])
    record = said(tmp_path, "echo broken >&2; exit 1\n", looping)
    assert (record["result"], record["error"]) == ("failed", "broken")


def test_of_much_the_beginning_of_its_output_and_the_end_of_its_errors_count(tmp_path):
    much = "head -c 300000 /dev/zero | tr '\\0' '\\n'; "
    record = said(tmp_path, "echo '%s'; %s echo '%s'\n" % (ALLOWED, much, ALLOWED.replace("113", "112")))
    assert record["opened"] == ["203.0.113.10", "203.0.113.11"]
    record = said(tmp_path, "exec >&2; echo first; %s echo last; exit 1\n" % much)
    assert record["error"] == "last"


# --- its pipes


def under_way(tmp_path, script):
    """A runner with one verdict, the command `script`, under way, in a loop; its path, and their docket."""
    path, loop, bench = tmp_path / "shield", Loop(), Bench()
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    bench.blocked()
    bench.answer("allow", "r1")
    runner = Runner(loop, bench.docket, [str(path)], TIMEOUT, print)
    (job,) = bench.start()
    runner.start(job, bench.now)
    return runner, loop, bench, path


def rounds(loop):
    """How many rounds of the loop there are in a moment."""
    until = clocks.now().mono + 0.2
    loop.deadlines[:] = [lambda: until]
    number = 0
    while clocks.now().mono < until:
        loop.wait()
        number += 1
    return number


def test_one_that_says_no_more_and_goes_on_wakes_nobody(tmp_path):
    script = 'exec >&- 2>&-; : >"$0.closed"; until [ -e "$0.go" ]; do sleep 0.02; done\n'
    runner, loop, bench, path = under_way(tmp_path, script)
    eventually(pathlib.Path(str(path) + ".closed").exists, what="it has closed them")
    assert rounds(loop) <= 2 + 2, "two ends, and a wait or two"
    pathlib.Path(str(path) + ".go").touch()
    eventually(lambda: runner.reap(bench.now) or not runner.running, what="it has ended")


def test_nothing_is_read_or_kept_open_once_it_has_ended_though_it_left_a_process_with_its_pipes(tmp_path):
    script = 'sleep 600 & echo $! >"$0.pid"\n'
    runner, loop, bench, path = under_way(tmp_path, script)
    inside = len(os.listdir("/proc/self/fd"))
    eventually(lambda: runner.reap(bench.now) or not runner.running, what="it has ended")
    try:
        assert len(os.listdir("/proc/self/fd")) == inside - 2
        assert rounds(loop) <= 2
    finally:
        os.kill(int(pathlib.Path(str(path) + ".pid").read_text()), signal.SIGKILL)


def test_somebody_elses_that_is_on_its_way_to_its_end_is_not_waited_for(case):
    """What it was started with is gone by then, so that nobody can tell whose it is."""
    it = case()
    code = "import ctypes, sys, threading; sys.stdin.readline();"
    code += "threading.Thread(target=sys.stdin.read).start();"
    number = {"x86_64": 60}.get(os.uname().machine, 93)  # exit(2), of one thread: the other goes on
    argv = [sys.executable, "-c", code + "ctypes.CDLL(None).syscall(%d, 0)" % number]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as other:
        eventually(lambda: state(other.pid) == "S", what="it waits")
        assert it.runner._wait_for(other.pid, "c2", it.bench.now)
        other.stdin.write(b"\n")
        other.stdin.flush()
        eventually(lambda: state(other.pid) == "Z", what="its main thread has ended")
        assert len(os.listdir("/proc/%d/task" % other.pid)) == 2, "which is not its end"
        assert not it.runner._wait_for(other.pid, "c1", it.bench.now)
        other.stdin.close()
