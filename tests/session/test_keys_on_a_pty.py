"""No key answers what was not read: attacks on the prompt through a real pty.

Each ends with a fresh single key, which decides: nothing that was dropped before makes it count less.
What hangs on milliseconds between two keys is shown on a simulated clock: test_prompt.py, test_keyboard.py.
"""

from __future__ import annotations

import random
import re
import time

import endtoend
import pytest
from support import eventually
from terminal_driver import PROMPT, state

from simple_clearance.prompt import details

desk = endtoend.desk

EARLY = "a came before one could read this: ignored, wait a moment, press it again"
CROWDED = "more than one key at once: ignored, press one alone"
SEQUENCE = "an arrow, function or Alt key: ignored, ? shows the keys"


def nothing_was_decided(desk):
    """Once nothing that was announced can run any more: no verdict, and the question stands."""
    desk.t.quiet(0.7)
    assert desk.host.verdicts() == []


def a_fresh_key_decides(desk, pause=0.6, key="a"):
    """After a pause without input, counted from when all of it has been read; after an ESC a longer one."""
    desk.t.send("x")
    desk.t.expect("x is no key here")
    desk.t.settled()
    time.sleep(pause)
    desk.t.send(key)
    desk.t.expect("  a allow 203.0.113.10 - any key takes it back")
    desk.t.expect("a allow 203.0.113.10 ... done in")
    assert desk.host.targets() == ["allow 203.0.113.10"]
    desk.quit()


def test_a_key_typed_ahead_is_dropped_and_told(desk):
    t = desk.sit()
    t.send("a")
    t.expect("nothing is asked")
    asked = desk.block()
    t.send("a")
    t.expect(EARLY)
    nothing_was_decided(desk)
    desk.wait_for_keys(asked)
    a_fresh_key_decides(desk)


def test_a_paste_decides_nothing(desk):
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    for paste in ("aa", "a\n", "yes\n", "a" * 5000, "just take me a sad sandwic\r", "\na", " a", "ad"):
        t.send(paste)
        nothing_was_decided(desk)
    assert CROWDED in t.text()
    a_fresh_key_decides(desk)


SEQUENCES = (
    b"\x1b[A",  # up
    b"\x1bOA",  # the same in application mode
    b"\x1b[1;2D",  # shift-left
    b"\x1ba",  # Alt-a
    b"\x1b[M !!",  # a click
    b"\x1b[200~a\x1b[201~",  # a bracketed paste
    b"\x1b[24;80R",  # an answer to a question that we never ask
)


def test_arrows_and_alt_keys_decide_nothing_whole_or_byte_by_byte_over_a_slow_line(desk):
    """`ESC O A` and Alt-a, each byte long after the one before: only the ESC tells what they are."""
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    for keys in SEQUENCES:
        t.send(keys)
        nothing_was_decided(desk)
    t.send("\x1b")
    time.sleep(0.2)
    t.send("a")  # too soon after that ESC
    nothing_was_decided(desk)
    for keys in (b"\x1bOA", b"\x1b[1;2D", b"\x1ba"):
        for n in range(len(keys)):
            t.send(keys[n : n + 1])
            time.sleep(0.16)
    nothing_was_decided(desk)
    assert SEQUENCE in t.text()
    a_fresh_key_decides(desk, 1.1)


@pytest.mark.parametrize("speed", [0.03, 0.15, 0.25, 0.3])
def test_a_text_meant_for_another_window_runs_no_verdict(desk, speed):
    """More of them, at every speed, on a simulated clock: tests/prompt/test_typed_elsewhere.py."""
    t = desk.sit()
    for address in ("203.0.113.10", "203.0.113.11"):
        desk.lab.connect(address, 443)
    endtoend.lists(t, 2)
    t.send("\x1b")
    desk.wait_for_keys(t.expect(endtoend.KEYS))
    for text in ("cat", "bash\r", "apt update", "docker ps -a\r", "id"):
        for letter in text:
            t.send(letter)
            time.sleep(speed)
        nothing_was_decided(desk)
        desk.wait_for_keys(desk_painted(t))
    t.send("\x03")
    assert desk.ends(5)


def desk_painted(t):
    """The question once more, whatever stands there now."""
    t.send("\x1b")
    time.sleep(0.2)  # alone
    t.send("\x0c")
    return t.expect(endtoend.KEYS)


@pytest.mark.parametrize("delay", [0.3, 0.7])
def test_a_key_that_is_held_down_runs_one_verdict_at_most(desk, delay):
    t = desk.sit()
    asked = desk.block()
    desk.lab.connect("203.0.113.11", 443)
    desk.wait_for_keys(asked)
    t.send("a")
    time.sleep(delay)
    for _ in range(40):
        t.send("a")
        time.sleep(0.04)
    desk.t.quiet(0.7)
    assert len(desk.host.verdicts()) == (delay > 0.5)
    if delay < 0.5:
        assert "  a allow 203.0.113.10: taken back" in t.text()
    t.send("\x03")
    desk.ends(5)


@pytest.mark.parametrize("key", ["\x1b[99;5u", "\x1b[27;5;99~"])
def test_ctrl_c_stops_where_the_terminal_makes_no_signal_of_it(desk, key):
    t = desk.sit()
    desk.block()
    t.send(key)
    desk.ends(5)


def test_ctrl_c_ctrl_z_and_ctrl_backslash_work_on_a_terminal_that_was_left_raw(desk, interactive_shell):
    desk.t = t = interactive_shell(env=desk.env)
    t.send("stty -isig\n")
    t.expect(PROMPT)
    for key in ("\x03", "\x1c"):
        t.send(" ".join(desk.argv("c1")) + "\n")
        t.expect("watching c1")
        t.send(key)
        t.expect(PROMPT)
    t.send(" ".join(desk.argv("c1")) + "\n")
    t.expect("watching c1")
    t.send("\x1a")
    t.expect(PROMPT)
    assert [state(pid) for pid in desk.processes("session")] == ["T"]
    t.send("kill %1; fg\n")
    t.expect(PROMPT)
    eventually(lambda: not desk.processes("session"), what="it has ended")


def test_a_session_that_stops_says_what_it_waits_for_and_asks_nothing(desk):
    desk.host.control("terok-shield", targets={"203.0.113.10": {"mode": "hang"}})
    t = desk.sit()
    asked = desk.block()
    desk.lab.connect("203.0.113.11", 443)
    desk.press("a", asked)
    t.expect("a allow 203.0.113.10 ...")
    t.expect(endtoend.KEYS)
    eventually(desk.host.verdicts, what="the verdict command runs")
    t.send("\x03")
    t.expect("stopping: waits for `allow 203.0.113.10` (Ctrl-C leaves it)")
    for key in "al?q\x1b":
        t.send(key)
    t.quiet(0.7)
    assert t.screen()[-1].startswith("stopping: waits for")
    t.send("\x03")
    text = desk.t.wait() and t.text()
    assert "still runs as pid" in text


def test_esc_is_a_no_and_the_way_back(desk):
    t = desk.sit()
    desk.c1.looks_up("www.example.com", "203.0.113.10")
    asked = desk.block()
    desk.press("A", asked)
    t.expect("any other key: no")
    t.send("\x1b")
    t.expect("  no")
    t.expect(endtoend.KEYS)
    for key in "lh":
        t.send(key)
        t.expect(key + " back" if key == "h" else "l back")
        t.send("\x1b")
        t.expect(endtoend.KEYS)
    t.send("\x03")
    desk.ends(5)


def test_a_letter_of_another_alphabet_is_told_as_what_it_is(desk):
    t = desk.sit()
    desk.block()
    t.send("\u0444".encode())
    t.expect("CYRILLIC SMALL LETTER EF is no key here")
    t.send("\x03")
    desk.ends(5)


def test_a_terminal_that_sends_whole_lines_can_answer(desk):
    t = desk.sit(env={"TERM": "dumb"})
    desk.wait_for_keys(desk.block())
    t.send("a\n")
    t.expect("a allow 203.0.113.10 - any key takes it back")
    t.expect("a allow 203.0.113.10 ... done in")
    t.send("q\n")
    desk.ends(0)


def test_a_wrong_key_says_so_and_what_is_no_key_is_not_echoed(desk):
    t = desk.sit()
    desk.wait_for_keys(desk.block())
    for key, name in (
        ("\r", "Enter"),
        (" ", "space"),
        ("\x04", "Ctrl-D"),
        ("\t", "Tab"),
        ("y", "y"),
    ):
        t.send(key)
        t.expect("%s is no key here" % name)
    for data in (b"\xff", b"\xc3\xa4", b"\x00", b"\x9bA", b"\x05"):
        t.send(data)
        nothing_was_decided(desk)
    assert t.raw.isascii()
    assert not any(byte < 32 and byte not in b"\r\n\x1b" for byte in t.raw)
    a_fresh_key_decides(desk)


def test_keys_that_look_work_at_any_time_and_bring_the_question_back(desk):
    t = desk.sit()
    desk.block()
    t.send("i")
    t.expect("a opens every port of this address")
    t.expect(endtoend.KEYS)
    t.send("?")
    t.expect("A key that decides counts only alone")
    t.expect(endtoend.KEYS)
    t.send("l")
    t.expect("1 waiting for c1")
    t.expect("l back")
    t.send("l")
    t.expect("c1  203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    t.send("\x0c")
    t.expect("c1  203.0.113.10")
    asked = t.expect(endtoend.KEYS)
    desk.press("a", asked, own=True)
    t.expect("done in")
    desk.quit()


def test_s_at_two_a_second_loses_none_with_a_hundred_waiting(desk):
    """As fast as the keys count: half a second after the one before, if the question stands by then."""
    t = desk.sit()
    for n in range(1, 101):
        desk.lab.connect("203.0.113.%d" % n, 443)
    endtoend.lists(t, 100)
    t.send("l")
    desk.wait_for_keys(t.expect(endtoend.KEYS), own=True)
    due = time.monotonic()
    for _ in range(24):
        time.sleep(max(0.0, due - time.monotonic()))
        sent = t.send("s")
        t.expect("  s not now\n")
        painted = t.expect(endtoend.KEYS)
        late = max(0.0, max(painted.at, t.settled()) - (sent + 0.15))
        due = sent + 0.5 + late
    assert "ignored" not in t.text()
    t.send("\x03")
    assert "24 skipped, 76 unanswered" in " ".join(desk.ends(5).split())


def test_keys_that_come_too_fast_are_told_once_a_second_with_what_to_do(desk):
    t = desk.sit()
    for n in range(1, 31):
        desk.lab.connect("203.0.113.%d" % n, 443)
    endtoend.lists(t, 30)
    t.send("l")
    desk.wait_for_keys(t.expect(endtoend.KEYS), own=True)
    began = time.monotonic()
    for _ in range(30):
        t.send("s")
        time.sleep(0.2)
    t.expect("s came right after another key: ignored, wait a moment, press it again")
    t.quiet(1.2)
    told = t.text().count("ignored, wait a moment")
    assert 2 <= told <= time.monotonic() - began + 1
    desk.wait_for_keys(desk_painted(t))
    t.send("s")
    t.expect("  s not now\n")
    t.send("\x03")
    desk.ends(5)


def test_the_list_answers_what_is_marked_after_the_number_is_typed(desk):
    t = desk.sit()
    desk.block("203.0.113.10")
    for n in (11, 12):
        desk.lab.connect("203.0.113.%d" % n, 443)
    endtoend.lists(t, 3)
    t.send("1")
    t.expect("1 marked")
    t.send("3")
    asked = t.expect("l back")
    t.expect("2 marked")
    asked = t.expect("l back")
    desk.press("a", asked, own=True)
    t.expect("type 2, then Enter")
    asked = t.expect("number:")
    t.send("2")
    t.expect("number: 2")
    desk.press("\r", asked, own=True)
    t.expect("a allow 2 addresses ... done in")
    asked = t.expect(endtoend.KEYS)  # of the one that was not marked
    assert sorted(desk.host.targets()) == ["allow 203.0.113.10", "allow 203.0.113.12"]
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit()


def many(desk, number, **more):
    """So many wait, and the list of them stands there."""
    t = desk.sit(**more)
    for last in range(number):
        desk.lab.connect("198.51.100.%d" % last, 443, "udp")
    endtoend.lists(t, number)
    return t


@pytest.mark.parametrize("term, size", [("linux", (24, 80)), ("vt100", (12, 40)), ("screen", (50, 132))])
def test_the_list_is_rewritten_in_its_place_on_every_terminal(desk, term, size):
    t = many(desk, 100, env={"TERM": term}, size=size)
    before = t.scrollback()
    for key, shown in (
        ("2", "1 marked"), (" ", "page 2 of"), ("\x7f", "page 1 of"), ("*", "100 marked"), ("*", "l back"),
        ("/", "ESC: no"), ("1", "/ 1"), ("0", "/ 10"), ("0", "/ 100"), (".", "/ 100."), ("9", "/ 100.9"),
        ("\r", "11 of 100"), ("*", "11 marked"), ("\x1b", "* all"), ("*", "100 marked"),
        ("*", "l back"),
    ):  # fmt: skip
        t.send(key)
        t.until(lambda lines, shown=shown: any(shown in line for line in lines))
    t.send("2")
    t.on_screen("1 marked")
    t.send("2")
    t.until(lambda lines: not any("marked" in line for line in lines))
    assert t.scrollback() == before, "not a line more, nor another"
    t.send("l")
    t.until(lambda lines: not any("l back" in line for line in lines))
    assert not any("100 waiting" in line or "marked" in line for line in t.scrollback())
    t.send("\x03")
    desk.ends(5)


def test_on_a_dumb_terminal_the_list_is_printed_anew(desk):
    t = many(desk, 12, env={"TERM": "dumb"})
    for key, shown in (
        ("2\n", "1 marked"),
        (" \n", "page 2 of 2"),
        ("/00.7\n", '1 of 12 waiting for c1 hold "00.7"'),
    ):
        t.send(key)
        t.expect(shown)
        t.expect("l back")
    assert b"\x1b" not in t.raw
    t.send("\x03")
    desk.ends(5)


def test_letters_of_a_word_decide_nothing_in_whatever_reads_they_come(desk):
    t = many(desk, 3)
    t.send("*")
    t.expect("3 marked")
    time.sleep(1)
    t.send("/asmhlqu\rs")  # the s is a key of the list then, but not alone
    t.expect('hold "asmhlqu"')
    t.expect("l back")
    t.send("/asm")
    t.expect("/ asm")
    for key in "sma":
        time.sleep(0.6)
        t.send(key)
    t.expect("/ asmsma")
    nothing_was_decided(desk)
    t.send("\x1b")
    t.expect("3 marked, 3 not shown")
    t.send("\x1b")
    t.until(lambda lines: any(line.startswith("3 waiting") for line in lines))
    time.sleep(1.1)  # after an ESC
    t.send("s")
    t.expect("s not now (3 requests)")
    assert desk.host.verdicts() == []
    desk.quit()


def test_a_notice_goes_above_the_list_and_a_smaller_window_has_it_anew(desk):
    t = many(desk, 20)
    t.send("4")
    t.expect("1 marked")
    standing = t.screen()[-12:]
    desk.lab.connect("10.1.2.3", 22)
    t.expect("not asked: the shield keeps private ranges shut")
    t.until(lambda lines: lines[-2:] == standing[-2:] and lines[-13:-3] == standing[:-2])
    assert "not asked: 1 destination under the shield's floor" in t.screen()[-3]
    t.resize(8, 40)
    t.until(lambda lines: lines[-1:] == ["1 marked: a s m  Enter asks  l back"])
    assert [line for line in t.screen() if line.startswith("x4 198.51.100.3")]
    t.send(" ")
    t.on_screen("page 2 of")
    assert t.screen()[-1] == "1 marked: a s m  Enter asks  l back"
    t.send("\x03")
    desk.ends(5)


@pytest.mark.parametrize("size", [(12, 40), (6, 20)])
def test_the_keys_are_read_page_by_page_in_a_small_window(desk, size):
    t = desk.sit(size=size)
    t.expect("q stop")
    t.send("?")
    told, pages = [], 1
    while len(told) < pages:
        number = len(told) + 1
        here = re.compile(r"(?:page )?%d(?: of |/)(\d+) +space" % number)
        lines = t.until(lambda lines, here=here: lines and here.match(lines[-1]))
        pages = int(here.match(lines[-1]).group(1))
        told.append(lines[-size[0] : -1])
        t.send(" ")
    t.until(lambda lines: lines and "space" not in lines[-1])
    text = " ".join(" ".join(line for page in told for line in page).split())
    for _, words in details.HELP:
        assert " ".join(words.split()) in text
    desk.quit()


def test_asking_again_what_is_muted_tells_that_it_is_so_no_longer(desk):
    t = desk.sit(size=(12, 40))
    desk.c1.looks_up("www.example.com", "203.0.113.10")
    desk.press("m", desk.block())
    t.expect("m not in this session")
    t.send("h")
    t.expect("1 asks that again")
    t.send("1")
    t.expect("  no longer muted | www.example.com")
    desk.press("s", t.expect(endtoend.KEYS), own=True)
    t.expect("s not now")
    desk.quit()


def test_a_monkey_at_the_keyboard_breaks_nothing(desk, rounds):
    """Any key at any time, while all kinds of things are blocked, commands fail and the window changes."""
    chance = random.Random(20261124)
    targets = {
        "203.0.113.%d" % n: {"mode": mode} for n, mode in enumerate(("fail", "hang", "killed", "silent"))
    }
    desk.host.control("terok-shield", names={"www.example.com": ["203.0.113.1"]}, targets=targets)
    t = desk.sit()
    for _ in range(rounds(300)):
        what = chance.random()
        if what < 0.25:
            address = chance.choice(["203.0.113.%d", "2001:db8::%d", "10.0.0.%d"]) % chance.randrange(9)
            if chance.random() < 0.5:
                desk.c1.looks_up(chance.choice(["www.example.com", "x" * 60 + ".example"]), address)
            desk.lab.connect(address, chance.choice([80, 443, 5]), "udp")
        elif what < 0.3:
            t.resize(chance.randrange(1, 40), chance.randrange(1, 120))
        else:
            t.send(chance.choice("aAsmdulhi?y123*  \r\n\x7f\x0cnx0459/\x1b"))
            time.sleep(chance.choice([0.01, 0.05, 0.2, 0.45]))
    t.quiet(0.2)
    t.send("\x03")
    t.quiet(0.2)
    if t.process.poll() is None:
        t.send("\x03")
    assert "internal error" not in t.text() and t.raw.isascii()
    assert desk.t.wait() in (0, 5)
    assert t.termios() == endtoend.as_opened()
    desk.nothing_is_left()
