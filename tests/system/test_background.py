"""A command in the background: its answer comes by way of the loop, and its end in the middle is no fault."""

from __future__ import annotations

import os
import signal

import pytest
from support import eventually

from simple_clearance.system import clocks
from simple_clearance.system.background import LIMIT, Question
from simple_clearance.system.loop import Loop


@pytest.fixture
def ask():
    """`ask(script)`: a question, and what came of it."""
    loop, asked, answers = Loop(), [], []
    loop.deadlines.append(lambda: clocks.now().mono + 0.02)

    def question(script):
        def answered(status, out, err, _now):
            answers.append((status, out, err))

        asked.append(Question(loop, ["sh", "-c", script], answered))
        return asked[-1], answers

    def reaped():
        loop.wait()
        return any(one.reap(clocks.now()) for one in asked)

    question.done = lambda: eventually(reaped, what="it has ended")
    question.loop = loop
    yield question


def test_it_is_answered_with_all_that_it_said(ask):
    _, answers = ask("echo out; echo err >&2; exit 3")
    ask.done()
    assert answers == [(3, b"out\n", b"err\n")]


def test_of_a_flood_the_beginning_is_kept(ask):
    _, answers = ask("head -c %d /dev/zero | tr '\\0' x; echo y" % (LIMIT + 1000))
    ask.done()
    assert answers == [(0, b"x" * LIMIT, b"")]


def test_its_end_is_its_exit_whoever_has_its_pipes_still(ask):
    _, answers = ask("sleep 600 & echo $!")
    ask.done()
    os.kill(int(answers[0][1]), signal.SIGKILL)


def test_one_that_is_not_wanted_any_more_is_ended_and_leaves_nothing(ask):
    before = set(os.listdir("/proc/self/fd"))
    question, answers = ask("echo begun; sleep 600")
    eventually(lambda: ask.loop.wait() and question, what="a round")
    question.close()
    assert answers == [] and set(os.listdir("/proc/self/fd")) == before


def test_what_can_not_be_run_is_an_error(ask):
    with pytest.raises(FileNotFoundError):
        Question(ask.loop, ["/nonexistent/podman"], lambda *_: None)
