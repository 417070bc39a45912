"""Keys, answers and signals go before what is to be read of a container, however much: counted, not timed.

The archive has a few lines more: each slice that is read takes 50 ms, five times what a round may, and leaves
a mark, as does each key or answer that is seen; the test leaves one once it has sent it.  Their order counts.
"""

from __future__ import annotations

import signal

import endtoend
import pytest
import scripting
from support import eventually, with_a_fault

desk = endtoend.desk
script = scripting.script

SLOW = """
import os, time

def _slow(work, marks=os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND)):
    def slow(*words):
        os.write(marks, b"slice\\n")
        time.sleep(0.05)
        return work(*words)
    return slow

{0} = _slow({0})
"""
SEEN = """
import os

def _seen(work, marks=os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND)):
    def seen(*words):
        os.write(marks, b"seen\\n")
        return work(*words)
    return seen

{0} = _seen({0})
"""
SLICES = {
    "look-ups": ("sources/lookups", "DnsLog.feed"),
    "audit log": ("sources/auditlog", "ShieldLog._parse"),
    "reader": ("sources/readers", "ReaderSource._take"),
}
LAST = 50
"""Slices of some 150 that an end may take: it waits a second, and a little, for what was blocked before."""
LEFT = 10
"""Slices that are left when the last key has been seen, at least: else nothing would be shown."""


class Marks:
    def __init__(self, path, pyz, what, front):
        self.path = str(path / "marks")
        self.env = {"MARKS": self.path}
        with open(self.path, "w"):
            pass
        self.pyz = pyz
        for number, (code, (module, name)) in enumerate(((SLOW, SLICES[what]), (SEEN, front))):
            self.pyz = with_a_fault(self.pyz, str(path / ("%d.pyz" % number)), module, code.format(name))

    def sent(self):
        with open(self.path, "a") as file:
            file.write("sent\n")

    def read(self):
        with open(self.path) as file:
            return file.read().split()

    def slices(self):
        return self.read().count("slice")

    def late(self):
        """For each that was sent, how many slices were begun before it was seen, or the end came."""
        marks = self.read()
        places = {kind: [at for at, mark in enumerate(marks) if mark == kind] for kind in ("sent", "seen")}
        ends = [*places["seen"], len(marks)]
        return [max(0, marks[sent:end].count("slice")) for sent, end in zip(places["sent"], ends)]


def fill(what, c1, lab):
    """So much that it takes seconds to read."""
    if what == "look-ups":
        line = "Nov 23 23:05:50 dnsmasq[17816]: reply www.example.com is 203.0.113.99\n"
        c1.append("dnsmasq.log", (line * 60_000).encode())
    elif what == "audit log":
        line = (
            '{"ts":"2026-11-24T20:00:01+00:00","container":"c1","action":"allowed","dest":"198.51.100.1"}\n'
        )
        c1.append("audit.jsonl", (line * 20_000).encode())
    else:
        lab.flood(12_000)


@pytest.mark.parametrize("what", SLICES)
def test_a_key_is_seen_before_the_next_slice(desk, tmp_path, what):
    marks = Marks(tmp_path, desk.pyz, what, ("prompt/keyboard", "Keyboard.feed"))
    desk.pyz = marks.pyz
    t = desk.sit(env=marks.env)
    desk.block()
    fill(what, desk.c1, desk.lab)
    for key, told in ("i", "uid inside"), ("?", "these keys"), ("i", "uid inside"):
        t.send(key)
        marks.sent()
        t.expect(told)
    there = marks.slices()
    eventually(lambda: marks.slices() >= there + LEFT, what="there is as much to be read still")
    assert len(marks.late()) == 3 and max(marks.late()) <= 1
    t.kill(signal.SIGTERM)
    marks.sent()
    assert t.wait() == 5
    assert marks.late()[-1] <= LAST


def test_an_answer_is_seen_before_the_next_slice(script, host, lab, pyz, tmp_path):
    host.container("c2", lab)
    marks = Marks(tmp_path, pyz, "reader", ("fronts/protocol", "Answers.feed"))
    it = script("--json", names=("c2",), reader=False, env=host.env(**marks.env), pyz=marks.pyz)
    it.until("session")
    lab.flood(12_000)
    for number in range(1, 4):
        it.say("skip r%d\n" % number)
        marks.sent()
        it.until("closed", number)
    there = marks.slices()
    eventually(lambda: it.read() and marks.slices() >= there + LEFT, what="there is as much to be read still")
    assert len(marks.late()) >= 3 and max(marks.late()[:3]) <= 1
    it.ends(5)
