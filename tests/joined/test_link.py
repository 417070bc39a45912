"""A link that is lost: when it is tried again."""

from __future__ import annotations

import shlex

import pytest
from support import eventually

from simple_clearance.base.moment import Now
from simple_clearance.docket.docket import Docket
from simple_clearance.joined.link import FIRST_WAIT, LONGEST_WAIT, STOOD, Command, Link
from simple_clearance.system import clocks
from simple_clearance.system.loop import Loop

SESSION = '{"type":"session","protocol":1,"containers":[{"name":"c1","shield":18}]}'


class Way:
    """A link whose session begins, and ends when it is told to, at a moment that the test names."""

    def __init__(self, session=SESSION):
        self.loop = Loop()
        command = Command(["sh", "-c", "echo %s; read -r it; $it" % shlex.quote(session)])
        self.link = Link("web", command, self.loop, Docket(), 30.0, lambda text: None)
        self.link.start(clocks.now())

    def stands_for(self, seconds):
        """How long after its loss it is tried again, having stood for so long; then it is back."""
        eventually(self._reads, what="its session has begun")
        up = self.link._up_since
        self.link._say("exit 1")
        lost = Now(up + seconds, 0.0)
        eventually(lambda: self.link.reap(lost) or not self.link.up, what="it has ended")
        waits = self.link.deadline() - lost.mono
        self.link.tick(Now(self.link.deadline(), 0.0))
        return waits

    def _reads(self):
        if not self.link.up:
            self.loop.deadlines = [lambda: clocks.now().mono + 0.01]
            self.loop.wait()
        return self.link.up


@pytest.fixture
def way():
    it = Way()
    yield it
    it.link.close()


def test_one_that_is_lost_at_once_is_waited_for_twice_as_long_each_time(way):
    assert [way.stands_for(0.1) for _ in range(8)] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert (FIRST_WAIT, LONGEST_WAIT) == (1, 60)


def test_one_that_has_stood_is_tried_again_after_a_second_however_long_it_was_gone(way):
    for _ in range(8):
        way.stands_for(0.1)
    assert [way.stands_for(seconds) for seconds in (STOOD, 9, 0.1, 0.1)] == pytest.approx([1, 1, 2, 4])
