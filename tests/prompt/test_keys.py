"""When a key counts: every sentence of the rule, and a random operator who never gets past it."""

from __future__ import annotations

import random

import pytest

from simple_clearance.prompt.keys import (
    AFTER_CHANGE,
    AFTER_ESCAPE,
    AFTER_OWN_KEY,
    ALONE,
    ALONE_REPEAT,
    QUIET,
    QUIET_IN_TEXT,
    Keyboard,
)

DECIDING = "aAdsmuy"
WORKING = "lhi?q\x0c"
SOON = 0.001


def keyboard(armed_at=None, own=False):
    board = Keyboard()
    board.deciding, board.working = DECIDING, WORKING
    if armed_at is not None:
        board.arm(armed_at, own)
    return board


def fates(board, data, mono):
    return [(press.key, press.fate) for press in board.feed(data, mono)]


def press(board, key, mono):
    """A key that comes alone: what became of it, at once or once nothing has followed it."""
    presses = board.feed(key.encode("latin-1"), mono)
    if presses:
        return presses[-1].fate
    decided = board.tick(board.deadline())
    return decided.fate if decided else "nothing"


def test_the_times_are_those_of_the_interface():
    assert (AFTER_OWN_KEY, AFTER_CHANGE, QUIET) == (0.4, 1.0, 0.15)
    assert (ALONE, ALONE_REPEAT, AFTER_ESCAPE) == (0.04, 0.12, 1.0)


# --- keys count from the moment the write has returned whole


@pytest.mark.parametrize("key", DECIDING)
def test_nothing_decides_before_the_question_has_gone_out(key):
    assert press(keyboard(), key, 1000.0) == "early"


@pytest.mark.parametrize("own, wait", [(True, 0.4), (False, 1.0)])
@pytest.mark.parametrize("key", DECIDING)
def test_a_key_counts_once_the_question_has_stood(key, own, wait):
    assert press(keyboard(10.0, own), key, 10.0 + wait - SOON) == "early"
    assert press(keyboard(10.0, own), key, 10.0 + wait + SOON) == "decides"


def test_painting_again_starts_the_wait_anew():
    board = keyboard(10.0)
    board.arm(15.0, False)
    assert press(board, "a", 15.9) == "early"
    assert press(board, "a", 16.2) == "decides"


def test_a_question_that_has_gone_takes_the_held_key_with_it():
    board = keyboard(0.0)
    assert board.feed(b"a", 10.0) == []
    board.disarm()
    assert board.deadline() is None
    assert board.tick(11.0) is None


# --- never before 0.15 s without input


@pytest.mark.parametrize("before", [b"l", b"x", b"a", b"lll", b"\xc3\xa9"])
def test_a_key_right_after_other_input_is_dropped(before):
    board = keyboard(0.0)
    board.feed(before, 10.0)
    assert press(board, "a", 10.0 + QUIET - SOON) == "early"


@pytest.mark.parametrize("before", [b"l", b"x", b"aa"])
def test_a_key_after_a_moment_without_input_counts(before):
    board = keyboard(0.0)
    board.feed(before, 10.0)
    assert press(board, "a", 10.0 + QUIET + SOON) == "decides"


@pytest.mark.parametrize("pace", [0.16, 0.2, 0.26, 0.29])
def test_a_text_that_is_typed_into_the_wrong_window_decides_nothing(pace):
    """The question comes up in the midst of it, and stands for as long as one likes."""
    board = keyboard(10.0)
    for number, letter in enumerate(b"some sad dad made us some yams and sat down as we do"):
        now = 10.0 + number * pace
        assert all(press.fate != "decides" for press in board.feed(bytes([letter]), now))
        assert board.deadline() is None, number
    assert press(board, "a", now + QUIET_IN_TEXT + SOON) == "decides"


def test_what_is_typed_without_a_pause_never_decides():
    board = keyboard(0.0)
    board.feed(b"z", 9.95)
    for step in range(200):
        assert all(press.fate != "decides" for press in board.feed(b"a", 10 + step * 0.1))
        assert board.tick(10 + step * 0.1 + 0.099) is None


# --- alone


@pytest.mark.parametrize("data", [b"aa", b"a\n", b"al", b"la", b"aaaaaaaaaaaaaaaa", b"d\r\n", b"a\xc3"])
def test_more_than_one_byte_in_a_read_decides_nothing(data):
    board = keyboard(0.0)
    assert [fate for _, fate in fates(board, data, 10.0)] == ["crowded"]
    assert board.deadline() is None


@pytest.mark.parametrize("second", [b"a", b"l", b"x", b"\n", b"\x1b", b"aa"])
def test_a_key_that_is_followed_by_another_decides_nothing(second):
    board = keyboard(0.0)
    assert board.feed(b"a", 10.0) == []
    assert fates(board, second, 10.0 + ALONE - SOON)[0] == ("a", "crowded")
    assert board.tick(20.0) is None


def test_a_key_waits_40_ms_for_what_may_follow_it():
    board = keyboard(0.0)
    assert board.feed(b"a", 10.0) == []
    assert board.deadline() == pytest.approx(10.04)
    assert board.tick(10.039) is None
    assert board.tick(10.041).fate == "decides"
    assert board.tick(10.2) is None, "once"


def test_what_arrives_late_but_before_anybody_looked_still_crowds_it():
    board = keyboard(0.0)
    board.feed(b"a", 10.0)
    assert fates(board, b"d", 10.5)[0] == ("a", "crowded")


def test_a_key_that_may_have_been_typed_while_we_were_busy_counts_as_typed_then():
    board = keyboard(0.0)
    assert [press.fate for press in board.feed(b"a", 1.3, since=0.9)] == ["early"]
    assert board.feed(b"a", 2.0, since=1.7) == []
    assert board.tick(2.2).fate == "decides"


def test_the_key_that_decided_before_waits_120_ms():
    board = keyboard(0.0)
    assert press(board, "a", 10.0) == "decides"
    board.arm(11.0, True)
    assert board.feed(b"a", 12.0) == []
    assert board.deadline() == pytest.approx(12.12)
    assert board.tick(12.119) is None
    assert board.tick(12.121).fate == "decides"


def test_another_key_than_the_one_that_decided_before_waits_40_ms():
    board = keyboard(0.0)
    assert press(board, "a", 10.0) == "decides"
    board.arm(11.0, True)
    board.feed(b"d", 12.0)
    assert board.deadline() == pytest.approx(12.04)


@pytest.mark.parametrize("gap", [0.03, 0.05, 0.09, 0.11])
@pytest.mark.parametrize("delay", [0.25, 0.5, 0.66])
def test_leaning_on_a_key_decides_one_question_at_most(gap, delay):
    """The terminal repeats a key after a delay, then every 30 to 100 ms; each decision brings up the next."""
    board, decided, at = keyboard(0.0), 0, 10.0
    times = [at] + [at + delay + gap * step for step in range(100)]
    for now, following in zip(times, times[1:] + [1e9]):
        decided += sum(press.fate == "decides" for press in board.feed(b"a", now))
        due = board.deadline()
        if due is not None and due < following and board.tick(due) is not None:
            decided += 1
            board.arm(due, True)
    assert decided == 1


# --- an ESC and what belongs to it

SEQUENCES = {
    "arrow": b"\x1b[A",
    "application arrow": b"\x1bOA",
    "F1 of the Linux console": b"\x1b[[A",
    "F1 of xterm": b"\x1bOP",
    "delete": b"\x1b[3~",
    "shift arrow": b"\x1b[1;2A",
    "an arrow with a BEL in it": b"\x1b[\x07A",
    "an arrow with a DEL in it": b"\x1b[\x7fA",
    "Alt-a": b"\x1ba",
    "Alt-[ and a letter": b"\x1b[a",
    "ESC ESC arrow": b"\x1b\x1b[A",
    "a mouse click": b"\x1b[<0;12;7M",
    "pasted between brackets": b"\x1b[200~a\x1b[201~",
    "a late answer to somebody's query": b"\x1b]11;rgb:aaaa/dddd/ssss\x07",
    "the same, ended by ST": b"\x1bP1$r0 q\x1b\\",
    "a title with a bracket, set by a query": b"\x1b]0;[maaaa\x07",
}


@pytest.mark.parametrize("data", SEQUENCES.values(), ids=SEQUENCES)
def test_nothing_in_a_sequence_decides_whole(data):
    board = keyboard(0.0)
    assert {fate for _, fate in fates(board, data, 10.0)} == {"sequence"}
    assert board.deadline() is None


@pytest.mark.parametrize("pause", [0.0, 0.03, 0.2, 0.5, 0.97])
@pytest.mark.parametrize("data", SEQUENCES.values(), ids=SEQUENCES)
def test_nothing_in_a_sequence_decides_byte_by_byte(data, pause):
    board, now = keyboard(0.0), 10.0
    for at in range(len(data)):
        assert {press.fate for press in board.feed(data[at : at + 1], now)} <= {
            "sequence",
            "early",
            "unknown",
        }
        assert board.deadline() is None
        now += pause


@pytest.mark.parametrize("pause", [1.5, 60.0])
@pytest.mark.parametrize(
    "data",
    [
        value
        for key, value in SEQUENCES.items()
        if "query" not in key and "ST" not in key and "paste" not in key
    ],
)
def test_a_key_sequence_is_one_however_long_its_bytes_take(data, pause):
    board, now = keyboard(0.0), 10.0
    for at in range(len(data)):
        assert [press.fate for press in board.feed(data[at : at + 1], now)] == ["sequence"]
        now += pause


@pytest.mark.parametrize("key", DECIDING)
@pytest.mark.parametrize("data", SEQUENCES.values(), ids=SEQUENCES)
def test_nothing_decides_for_a_second_after_a_sequence(data, key):
    for after, fate in ((0.2, "early"), (0.99, "early"), (1.01, "decides")):
        board = keyboard(0.0)
        board.feed(data, 10.0)
        assert press(board, key, 10.0 + after) == fate


def test_the_second_counts_from_the_last_byte_not_from_the_first():
    board = keyboard(0.0)
    for at, byte in enumerate([b"\x1b", b"[", b"1", b";", b"2", b"A"]):
        board.feed(byte, 10 + 0.8 * at)
    assert press(board, "a", 14.0 + 0.9) == "early"
    assert press(keyboard(0.0), "a", 14.0 + 1.1) == "decides"


def test_a_key_right_after_an_escape_was_alt_and_that_key():
    board = keyboard(0.0)
    board.feed(b"\x1b", 10.0)
    assert press(board, "a", 15.0) == "sequence"
    assert press(board, "a", 15.5) == "early"
    assert press(board, "a", 17.0) == "decides"


def test_alt_and_a_letter_that_begins_a_string_does_not_swallow_the_keyboard():
    board = keyboard(0.0)
    board.feed(b"\x1bX", 10.0)
    assert press(board, "q", 10.3) == "sequence"
    assert press(board, "q", 11.4) == "works"


# --- keys that decide nothing work at any time


@pytest.mark.parametrize("key", WORKING)
def test_a_working_key_works_before_anything_is_armed_and_without_a_pause(key):
    board = keyboard()
    board.feed(b"x", 10.0)
    assert fates(board, key.encode(), 10.01) == [(key, "works")]


@pytest.mark.parametrize("key", ["\r", "\n", " ", "z", "1", "\x04", "\x7f", "\x00", "\xe9"])
def test_a_key_that_is_none_here_is_unknown_at_any_time(key):
    assert fates(keyboard(), key.encode("latin-1"), 10.0) == [(key, "unknown")]
    assert fates(keyboard(0.0), key.encode("latin-1"), 10.0) == [(key, "unknown")]


def test_a_working_key_is_no_part_of_a_text():
    board = keyboard(0.0)
    assert [fates(board, one, mono)[0][1] for one, mono in ((b"x", 5.0), (b"z", 5.2))] == ["unknown"] * 2
    assert fates(board, b"l", 5.4) == [("l", "works")]
    assert press(board, "a", 5.6) == "decides"


def test_no_byte_is_no_key():
    assert keyboard(0.0).feed(b"", 5.0) == []


# --- a random operator

ALPHABET = [
    b"a",
    b"A",
    b"d",
    b"s",
    b"m",
    b"u",
    b"y",
    b"l",
    b"q",
    b"x",
    b"\r",
    b"\x1b",
    b"[",
    b"O",
    b"A",
    b"1",
    b"~",
]


class Journal:
    """What happened, as the rule sees it: kept apart from the keyboard, and held against it."""

    def __init__(self):
        self.counts_from = None
        self.last = -1e9
        self.escape = -1e9
        self.decided = ""
        self.candidate = None

    def read(self, data, now):
        quiet = now - self.last >= QUIET - 1e-9
        self.last = now
        if b"\x1b" in data:
            self.escape = now
        standing = self.counts_from is not None and now >= self.counts_from - 1e-9
        apart = now - self.escape >= AFTER_ESCAPE - 1e-9
        self.candidate = (data, now) if len(data) == 1 and quiet and standing and apart else None

    def check(self, key, now):
        assert self.candidate is not None, "a key decided that did not arrive alone"
        data, at = self.candidate
        wait = ALONE_REPEAT if key == self.decided else ALONE
        assert data == key.encode()
        assert at == self.last, "something followed it"
        assert now - at >= wait - 1e-9
        self.decided, self.candidate = key, None


def walk(seed, steps):
    """Returns how many keys decided; the journal's assertions are the invariant."""
    rng = random.Random(seed)
    board, journal, now, decided = keyboard(), Journal(), 100.0, 0

    def tick(until):
        nonlocal decided
        due = board.deadline()
        if due is not None and due <= until:
            late = due + rng.choice([0, 0, 0.003])
            found = board.tick(late)
            if found is not None:
                assert found.fate == "decides"
                journal.check(found.key, late)
                decided += 1

    for _ in range(steps):
        gap = rng.choice([0.0, 0.005, 0.03, 0.05, 0.1, 0.14, 0.16, 0.3, 0.7, 1.1, 3.0])
        tick(now + gap)
        now += gap
        action = rng.random()
        if action < 0.2:
            own = rng.random() < 0.5
            board.disarm()
            board.arm(now, own)
            journal.counts_from, journal.candidate = now + (0.4 if own else 1.0), None
        elif action < 0.25:
            board.disarm()
            journal.counts_from = journal.candidate = None
        else:
            data = b"".join(rng.choice(ALPHABET) for _ in range(rng.choice([1, 1, 1, 1, 1, 1, 2, 5])))
            journal.read(data, now)
            assert all(press.fate != "decides" for press in board.feed(data, now))
    return decided


@pytest.mark.parametrize("seed", range(12))
def test_no_key_of_a_random_operator_decides_against_the_rule(seed):
    assert walk(seed, 4000) > 20, "the walk must also get somewhere"
