"""The loop tells when input can have come at the earliest: what a key was meant for hangs on it."""

from __future__ import annotations

import os

import pytest

from simple_clearance.system import clocks
from simple_clearance.system.loop import Loop


@pytest.fixture
def loop():
    """A loop that watches nothing and wakes up after a moment."""
    loop = Loop()
    loop.deadlines.append(lambda: clocks.now().mono + 0.02)
    return loop


@pytest.fixture
def pipe(loop):
    """A pipe that it watches; the loop's `since` at each input, and the end to write to."""
    reading, writing = os.pipe()
    seen = []

    def ready(_events, _now):
        os.read(reading, 100)
        seen.append(loop.since)

    loop.add(reading, ready)
    yield seen, writing
    os.close(reading)
    os.close(writing)


def test_after_waiting_input_can_have_come_only_now(loop):
    now = loop.wait()
    assert loop.since == now.mono


def test_input_that_is_there_when_the_loop_comes_round_may_be_as_old_as_the_round_before(loop, pipe):
    seen, writing = pipe
    before = loop.wait().mono
    os.write(writing, b"a")
    now = loop.wait().mono
    assert seen == [before] and before < now
    os.write(writing, b"a")
    assert loop.wait().mono > now == seen[-1]
