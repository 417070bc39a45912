"""The loop: when input can have come at the earliest, which tells what a key is meant for; who goes first."""

from __future__ import annotations

import os

import pytest

from simple_clearance.base.moment import Now
from simple_clearance.system import clocks
from simple_clearance.system.loop import ROUND, Loop


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


# --- who goes first


class Clock:
    """Time that passes only while somebody works."""

    def __init__(self):
        self.mono = 100.0

    def __call__(self):
        return Now(self.mono, 0.0)


@pytest.fixture
def crowd():
    """`join(name, seconds, urgent)`: somebody who always has something to do, and takes so long for it.

    `called` are the names of a round, once it is over.
    """
    clock, opened, called = Clock(), [], []
    loop = Loop(clock)

    def join(name, seconds, urgent=False):
        opened.extend(os.pipe())
        os.write(opened[-1], b"x")

        def ready(_events, _now):
            called.append(name)
            clock.mono += seconds

        loop.add(opened[-2], ready, urgent=urgent)
        return opened[-2]

    def a_round():
        called.clear()
        loop.wait()
        return "".join(called)

    join.round, join.loop = a_round, loop
    yield join
    for fd in opened:
        os.close(fd)


def test_keys_and_signals_go_before_all_that_was_there_first(crowd):
    for name in "abc":
        crowd(name, 0.0)
    crowd("K", 0.0, urgent=True)
    crowd("S", 0.0, urgent=True)
    assert crowd.round() == "KSabc"


def test_what_is_urgent_stays_so_when_it_is_watched_for_something_else(crowd):
    crowd("a", 0.0)
    fd = crowd("K", 0.0, urgent=True)
    crowd.loop.add(fd, lambda events, now: None)
    assert crowd.round() == "a"  # and was called before that
    crowd.loop.remove(fd)
    assert crowd.round() == "a"


def test_a_round_ends_when_its_time_is_over_and_everybody_gets_a_turn(crowd):
    crowd("K", 0.0, urgent=True)
    for name in "abcd":
        crowd(name, ROUND)
    assert [crowd.round() for _ in range(6)] == ["Ka", "Kb", "Kc", "Kd", "Ka", "Kb"]
    crowd("e", 0.0)  # whoever comes last has waited longest
    assert [crowd.round() for _ in range(3)] == ["Kec", "Kd", "Ka"]


def test_short_work_fills_a_round_and_a_long_key_keeps_nobody_out_for_good(crowd):
    for name in "abcd":
        crowd(name, ROUND * 0.6)
    assert [crowd.round() for _ in range(3)] == ["ab", "cd", "ab"]
    crowd("K", 9 * ROUND, urgent=True)
    assert [crowd.round() for _ in range(2)] == ["Kc", "Kd"]


def test_what_was_there_for_one_is_not_told_to_another_that_has_its_number_since(loop):
    """Whoever closes a descriptor may open another in the same round, which gets its number."""
    first, second = os.pipe(), os.pipe()
    told = []

    def replace(_events, _now):
        loop.remove(second[0])
        os.close(second[0])
        assert os.dup(first[1]) == second[0]
        loop.add(second[0], lambda _events, _now: told.append("the other"))

    loop.add(first[0], replace, urgent=True)
    loop.add(second[0], lambda _events, _now: told.append("it"))
    for _, writing in (first, second):
        os.write(writing, b"x")
    loop.wait()
    assert told == []
    loop.remove(second[0])
    for fd in (*first, *second):
        os.close(fd)
