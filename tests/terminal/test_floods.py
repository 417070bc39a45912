"""A flood from inside: the screen stays calm, keys work, and every event is shown or counted."""

from __future__ import annotations

import re
import time

import endtoend
from support import eventually

desk = endtoend.desk

KEPT = 20_000  # requests remembered at most


def summary(text):
    """The numbers of the last line, by their words."""
    line = " ".join(text[text.rindex("stopped: ") :].split())
    return {
        word: int(number)
        for number, word in re.findall(r"(\d+) (allowed|skipped|left open|lost|not asked)", line)
    }


def test_more_destinations_than_are_remembered(desk):
    """25,000 in seconds: under 200 KB painted, a key decides in the midst of it, nothing vanishes."""
    count = 25_000
    t = desk.sit()
    asked = desk.block("203.0.113.10")
    desk.lab.flood(count)
    desk.wait_for_keys(asked)
    while not desk.host.verdicts():  # a key of which it can't be told when it was typed doesn't count
        assert time.monotonic() - asked.at < 5
        t.send("a")
        t.quiet(0.5)
    t.expect("a allow 203.0.113.10 ... done in")  # a notice beside the next question: within 2 s
    t.expect(endtoend.KEYS)
    t.quiet(0.5)
    t.send("l")
    t.expect("waiting for c1", timeout=2)
    t.expect("l back")
    assert len(t.raw) < 200_000
    t.send("l")
    desk.press("s", t.expect(endtoend.KEYS))
    t.expect("  s not now")
    t.send("q")
    asked = t.expect("any other key: no")
    desk.press("q", asked, own=True)
    text = desk.ends(5)
    told = summary(text)
    assert told["allowed"] == 1 and told["skipped"] == 1
    assert told["left open"] <= KEPT
    assert told["left open"] + told["skipped"] + told["lost"] == count, told
    assert "lost at" in text and "Exit code: 5" in text
    assert len(t.raw) < 200_000


def test_what_was_lost_is_asked_when_it_is_tried_again_and_there_is_room(desk):
    t = desk.sit()
    asked = desk.block("203.0.113.10")
    desk.lab.flood(KEPT + 100)
    t.expect("lost at", timeout=10)
    desk.press("s", asked)
    t.expect("  s not now")
    t.expect(endtoend.KEYS)
    desk.lab.connect("203.0.113.99", 443)
    t.quiet(0.3)
    t.send("l")
    t.expect(re.compile(r"(\d+) waiting"))
    t.send("\x03")
    told = summary(desk.ends(5))
    assert told["left open"] == KEPT, told


def test_one_destination_a_hundred_thousand_times(desk):
    count = 100_000
    t = desk.sit()
    asked = desk.block("203.0.113.10", 443, "udp")
    desk.lab.flood(count, same=True, first="203.0.113.10")
    desk.wait_for_keys(asked)
    all_is_read(desk)
    t.send("i")
    tries = int(t.expect(re.compile(r"tries +(\d+), first")).groups[0])
    t.expect(endtoend.KEYS)
    assert len(t.raw) < 5000
    t.send("\x03")
    told = summary(desk.ends(5))
    assert told["left open"] == 1
    assert tries + told.get("lost", 0) == count + 1


def test_private_addresses_under_the_floor_by_the_thousand(desk):
    """Told, not asked: in batches, the rest of them as a number."""
    t = desk.sit()
    asked = desk.block("203.0.113.10")
    desk.lab.flood(5000, first="10.0.0.1")
    desk.wait_for_keys(asked)
    t.quiet(2.3)
    assert len(t.raw) < 20_000
    assert "10.0.0.1" in t.text() and "more notices like these" in t.text()
    t.send("a")
    t.expect("a allow 203.0.113.10 ... done in")
    desk.quit(0)


def test_while_it_goes_on_a_question_does_not_move_under_the_finger(desk):
    """Seconds of new destinations and floor notices: the question stays whole, or waits anew."""
    t = desk.sit()
    desk.block("203.0.113.10")
    until = time.monotonic() + 2.5
    n = 0
    while time.monotonic() < until:
        desk.lab.flood(50, first="10.%d.0.1" % n)
        desk.lab.flood(50, first="198.18.%d.1" % n)
        n += 1
        lines = t.screen()
        shown = [line for line in lines if line.startswith("c1  203.0.113.10  tcp 443")]
        assert shown and len(lines) <= 24
        time.sleep(0.1)
    assert n > 10
    t.send("\x03")
    desk.ends(5)


def test_after_a_flood_it_is_idle_again(desk):
    t = desk.sit()
    desk.block("203.0.113.10")
    desk.lab.flood(5000)
    all_is_read(desk)
    before = wakeups(desk)
    time.sleep(1.0)
    assert wakeups(desk) == before
    t.send("\x03")
    desk.ends(5)


def wakeups(desk):
    """How often each process of ours has waited for something, so far."""
    counts = []
    for pid in desk.processes():
        with open("/proc/%d/status" % pid) as f:
            counts += [line for line in f if line.startswith("voluntary_ctxt_switches")]
    assert len(counts) == 2
    return counts


def all_is_read(desk):
    """Wait until neither process has anything left to do."""
    before = []

    def still():
        nonlocal before
        time.sleep(0.4)  # longer than the reader gathers repeats
        before, last = wakeups(desk), before
        return before == last

    eventually(still, timeout=20, what="all is read")


def test_a_flood_that_is_let_out_drowns_no_question(desk):
    """An allowed address without an answer is logged packet by packet."""
    t = desk.sit()
    desk.press("a", desk.block("203.0.113.10", 443, "udp"))
    t.expect("done in")
    desk.lab.flood(100_000, same=True, first="203.0.113.10")
    began = time.monotonic()
    desk.lab.connect("203.0.113.11", 443)
    assert t.expect("c1  203.0.113.11").at - began < 2
    asked = t.expect(endtoend.KEYS)
    desk.press("s", asked)
    t.expect("  s not now")
    eventually(lambda: "first packet let out" in t.text(), what="the flood is told in a line")
    assert len(t.raw) < 10_000
    t.send("q")
    assert desk.t.wait() in (0, 5)  # 5 when the kernel's buffer did not hold all of it
    desk.nothing_is_left()
