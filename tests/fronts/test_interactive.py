"""A front on a real terminal, round by round: when a key counts as typed."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time

import pytest
from endtoend import ARMED, MARGIN
from stage import Bench
from support import eventually

from simple_clearance.fronts.interactive import TerminalFront
from simple_clearance.jobcontrol import NO_SHELL
from simple_clearance.system.loop import Loop
from simple_clearance.system.terminal import Terminal


@pytest.fixture
def pty():
    master, slave = os.openpty()
    with Terminal(os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)) as term:
        term.raw()
        yield master, term
    os.close(master)
    os.close(slave)


def test_what_the_session_says_is_folded_to_the_window(pty):
    master, term = pty
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
    front = TerminalFront(term, Loop(), Bench().docket, {"TERM": "dumb"}, shield="terok-shield", bell=False)
    front.tell([NO_SHELL])
    lines = os.read(master, 10000).decode("ascii").splitlines()
    assert max(map(len, lines)) < 60 and " ".join(lines).split() == NO_SHELL.split()


@pytest.mark.parametrize("busy", [True, False])
def test_a_key_read_after_a_long_round_counts_as_typed_when_that_began(pty, busy):
    """What was asked then is what it may have been meant for."""
    master, term = pty
    bench, loop = Bench(), Loop()
    front = TerminalFront(term, loop, bench.docket, {"TERM": "xterm"}, shield="terok-shield", bell=False)
    bench.blocked()
    soonest = [0.0]
    loop.deadlines.append(lambda: soonest[0])

    def a_round():
        front.refresh(loop.wait())

    a_round()
    assert b"203.0.113.10" in os.read(master, 10000)
    time.sleep(ARMED + MARGIN)
    if not busy:
        a_round()
    os.write(master, b"a")
    eventually(lambda: select.select([term.fd], [], [], 0)[0], what="the key has arrived")
    a_round()
    soonest[0] = float("inf")
    while front.prompt.deadline() is not None:  # a key that counts is held back for what may follow it
        a_round()
    assert len(bench.docket.jobs()) == (not busy)
