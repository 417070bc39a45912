"""A flood from inside: the screen stays calm, keys work, and every event is shown or counted."""

from __future__ import annotations

import re
import time

import endtoend
from support import comes_to_rest, eventually

desk = endtoend.desk

KEPT = 20_000  # requests remembered at most


def summary(text):
    """The numbers of the last line, by their words."""
    line = " ".join(text[text.rindex("stopped: ") :].split())
    return {
        word: int(number)
        for number, word in re.findall(r"(\d+) (allowed|skipped|unanswered|lost|not asked)", line)
    }


def test_a_flood_of_destinations_is_asked_or_lost_and_asked_when_there_is_room(desk, rounds):
    """Nothing vanishes, little is painted, a key decides in front of all of it."""
    count = rounds(KEPT + 100)
    kept = min(count, KEPT)
    t = desk.sit()
    asked = desk.block("203.0.113.10")
    desk.lab.flood(count)
    desk.settled()
    desk.press("a", asked)
    eventually(lambda: "a allow 203.0.113.10 ... done in" in t.text(), what="the verdict is told")
    t.expect(endtoend.KEYS)
    endtoend.lists(t, kept - 1 if count > kept else kept)
    t.send("l")
    desk.press("s", t.expect(endtoend.KEYS))
    t.expect("s not now\n")
    desk.lab.connect("203.0.113.99", 443)
    endtoend.lists(t, kept - 1 if count > kept else kept)
    t.send("\x03")
    text = desk.ends(5)
    told = summary(text)
    assert told["allowed"] == 1 and told["skipped"] == 1
    assert told["unanswered"] + told["skipped"] + told.get("lost", 0) == count + 1, told
    assert ("lost at" in text) == ("Exit code: 5" in text) == (count > kept)
    assert len(t.raw) < 200_000


SCAN = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for port in range(1, %d):
        try:
            s.sendto(b"?", ("203.0.113.10", port))
        except OSError:
            pass
"""


def test_a_scan_of_all_ports_of_an_address_is_one_question_with_its_number(desk, rounds):
    count = rounds(65535)
    t = desk.sit()
    desk.lab.python(SCAN % (count + 1))
    t.expect("c1  203.0.113.10")
    t.expect(endtoend.KEYS)
    comes_to_rest(desk.processes())
    t.send("l")
    t.expect("1 waiting")
    t.expect(re.compile(r"203\.0\.113\.10 +\d+k ports"))
    t.expect("l back")
    t.send("l")
    t.expect(endtoend.KEYS)
    t.send("i")
    more = int(t.expect(re.compile(r"also on this address: udp \d+.* and (\d+) more", re.DOTALL)).groups[0])
    t.expect(endtoend.KEYS)
    t.send("\x03")
    told = summary(desk.ends(5))
    assert told["unanswered"] == 65
    assert 4 + more + told.get("lost", 0) == count, "each port was told, or lost in the kernel"


def test_one_destination_a_hundred_thousand_times(desk, rounds):
    count = rounds(100_000)
    t = desk.sit()
    asked = desk.block("203.0.113.10", 443, "udp")
    desk.lab.flood(count, same=True, first="203.0.113.10")
    desk.wait_for_keys(asked)
    comes_to_rest(desk.processes())
    t.send("i")
    tries = int(t.expect(re.compile(r"tries +(\d+), first")).groups[0])
    t.expect(endtoend.KEYS)
    assert len(t.raw) < 5000
    t.send("\x03")
    told = summary(desk.ends(5))
    assert told["unanswered"] == 1
    assert tries + told.get("lost", 0) == count + 1


def test_private_addresses_under_the_floor_by_the_thousand(desk):
    """Told, not asked: in batches, the rest of them as a number."""
    t = desk.sit()
    desk.block("203.0.113.10")
    desk.lab.flood(5000, first="10.0.0.1")

    def told():
        more = re.findall(r"and ([0-9]+) more notices like these", t.text())
        return t.text().count("! not asked") + sum(map(int, more)) == 5000

    eventually(told, what="each of them is told, most of them as a number")
    assert len(t.raw) < 20_000 and "10.0.0.1" in t.text()
    desk.settled()
    t.quiet(1.5)  # the question stands below the last batch
    t.send("a")
    t.expect("a allow 203.0.113.10 ... done in")
    desk.quit(0)


def test_while_it_goes_on_a_question_does_not_move_under_the_finger(desk):
    """Seconds of new destinations and floor notices: the question stays whole, or waits anew."""
    t = desk.sit()
    desk.block("203.0.113.10")
    for n in range(25):
        desk.lab.flood(50, first="10.%d.0.1" % n)
        desk.lab.flood(50, first="198.18.%d.1" % n)
        lines = t.on_screen("c1  203.0.113.10  tcp 443")
        assert len(lines) <= 24
        time.sleep(0.1)
    assert "more notices like these" in t.text()
    t.send("\x03")
    desk.ends(5)


def test_after_a_flood_it_is_idle_again(desk):
    t = desk.sit()
    desk.block("203.0.113.10")
    desk.lab.flood(1000)
    assert len(desk.processes()) == 3, "the session, the reader and what has forked it"
    comes_to_rest(desk.processes())
    t.send("\x03")
    desk.ends(5)


def test_a_flood_that_is_let_out_drowns_no_question(desk, rounds):
    """An allowed address without an answer is logged packet by packet."""
    t = desk.sit()
    desk.press("a", desk.block("203.0.113.10", 443, "udp"))
    t.expect("done in")
    desk.lab.flood(rounds(100_000), same=True, first="203.0.113.10")
    desk.lab.connect("203.0.113.11", 443)
    t.expect("c1  203.0.113.11")
    asked = t.expect(endtoend.KEYS)
    desk.press("s", asked)
    t.expect("s not now\n")
    eventually(lambda: "first packet let out" in t.text(), what="the flood is told in a line")
    assert len(t.raw) < 10_000
    t.send("q")
    assert desk.t.wait() in (0, 5)  # 5 when the kernel's buffer did not hold all of it
    desk.nothing_is_left()
