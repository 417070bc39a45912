"""When a key counts: every sentence of the rule, and a random operator who never gets past it."""

from __future__ import annotations

import random

import pytest

from simple_clearance.prompt.keyboard import (
    AFTER_CHANGE,
    AFTER_DROPPED,
    AFTER_ESCAPE,
    AFTER_OWN_KEY,
    ALONE,
    ALONE_REPEAT,
    ESCAPE_ALONE,
    HELD_DOWN,
    QUIET,
    TAKE_BACK,
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
    return [(press.key, press.fate) for press in read(board, data, mono)]


def read(board, data, mono, since=None):
    return list(board.feed(data, mono, since))


def press(board, key, mono):
    """A key that comes alone: what became of it, at once or once nothing has followed it."""
    presses = read(board, key.encode("latin-1"), mono)
    if presses:
        return presses[-1].fate
    decided = board.tick(board.deadline())
    return decided.fate if decided else "nothing"


def test_the_times_are_those_of_the_interface():
    assert (AFTER_OWN_KEY, AFTER_CHANGE, QUIET) == (0.4, 1.0, 0.15)
    assert (ALONE, ALONE_REPEAT, AFTER_ESCAPE) == (0.04, 0.12, 1.0)
    assert (AFTER_DROPPED, TAKE_BACK, ESCAPE_ALONE) == (0.5, 0.5, 0.1)


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
    assert press(board, "a", 16.5) == "decides"


def test_a_question_that_has_gone_takes_the_held_key_with_it():
    board = keyboard(0.0)
    assert read(board, b"a", 10.0) == []
    board.disarm()
    assert board.deadline() is None
    assert board.tick(11.0) is None


# --- never before 0.15 s without input


@pytest.mark.parametrize("before", [b"l", b"x", b"a", b"lll", b"\xc3\xa9"])
def test_a_key_right_after_other_input_is_dropped(before):
    board = keyboard(0.0)
    read(board, before, 10.0)
    assert press(board, "a", 10.0 + QUIET - SOON) == "hurried"


@pytest.mark.parametrize("before, pause", [(b"l", QUIET), (b"x", AFTER_DROPPED), (b"aa", AFTER_DROPPED)])
def test_a_key_after_a_moment_without_input_counts_and_after_a_dropped_one_a_longer_one(before, pause):
    board = keyboard(0.0)
    read(board, before, 10.0)
    assert press(board, "a", 10.0 + pause + SOON) == "decides"
    board = keyboard(0.0)
    read(board, before, 10.0)
    assert press(board, "a", 10.0 + pause - SOON) == "hurried"


def test_what_is_typed_without_a_pause_never_decides():
    board = keyboard(0.0)
    read(board, b"z", 9.95)
    for step in range(200):
        assert all(press.fate != "decides" for press in read(board, b"a", 10 + step * 0.1))
        assert board.tick(10 + step * 0.1 + 0.099) is None


# --- alone


@pytest.mark.parametrize("data", [b"aa", b"a\n", b"al", b"la", b"aaaaaaaaaaaaaaaa", b"d\r\n", b"a\xc3"])
def test_more_than_one_byte_in_a_read_decides_nothing_and_what_decides_nothing_works(data):
    board = keyboard(0.0)
    found = fates(board, data, 10.0)
    assert {fate for key, fate in found if key in DECIDING} == {"crowded"}
    assert {fate for key, fate in found if key in WORKING} <= {"works"}
    assert not board._held and board.tick(20.0) is None or b"\xc3" in data


def test_what_a_key_changes_holds_for_those_in_the_same_read_after_it():
    board, found = keyboard(0.0), []
    for one in board.feed(b"l1x", 10.0):
        found.append((one.key, one.fate))
        board.working = "1"
    assert found == [("l", "works"), ("1", "works"), ("x", "unknown")]


@pytest.mark.parametrize("line", [b"a\n", b"a\r", b"a\r\n"])
def test_a_key_and_enter_together_are_that_key_where_a_terminal_sends_lines(line):
    board = keyboard(0.0)
    board._whole_lines = True
    assert fates(board, line, 10.0) == []
    assert board.tick(10.1).key == "a"
    assert fates(board, b"aa\n", 20.0)[0] == ("a", "crowded")


@pytest.mark.parametrize("second", [b"a", b"l", b"x", b"\n", b"\x1b", b"aa"])
def test_a_key_that_is_followed_by_another_decides_nothing(second):
    board = keyboard(0.0)
    assert read(board, b"a", 10.0) == []
    assert fates(board, second, 10.0 + ALONE - SOON)[0] == ("a", "crowded")
    later = board.tick(20.0)
    assert later is None or (later.key, later.fate) == ("\x1b", "unknown")


def test_a_key_waits_40_ms_for_what_may_follow_it():
    board = keyboard(0.0)
    assert read(board, b"a", 10.0) == []
    assert board.deadline() == pytest.approx(10.04)
    assert board.tick(10.039) is None
    assert board.tick(10.041).fate == "decides"
    assert board.tick(10.2) is None, "once"


def test_what_arrives_late_but_before_anybody_looked_still_crowds_it():
    board = keyboard(0.0)
    read(board, b"a", 10.0)
    assert fates(board, b"d", 10.5)[0] == ("a", "crowded")


def test_a_key_that_may_have_been_typed_while_we_were_busy_counts_as_typed_then():
    board = keyboard(0.0)
    assert [press.fate for press in read(board, b"a", 1.3, since=0.9)] == ["early"]
    assert [press.fate for press in read(board, b"a", 2.0, since=1.7)] == ["hurried"]
    board = keyboard(0.0)
    assert read(board, b"a", 2.0, since=1.7) == []
    assert board.tick(2.2).fate == "decides"


def test_the_key_that_decided_before_waits_120_ms():
    board = keyboard(0.0)
    assert press(board, "a", 10.0) == "decides"
    board.arm(11.0, True)
    assert read(board, b"a", 12.0) == []
    assert board.deadline() == pytest.approx(12.12)
    assert board.tick(12.119) is None
    assert board.tick(12.121).fate == "decides"


def test_another_key_than_the_one_that_decided_before_waits_40_ms():
    board = keyboard(0.0)
    assert press(board, "a", 10.0) == "decides"
    board.arm(11.0, True)
    read(board, b"d", 12.0)
    assert board.deadline() == pytest.approx(12.04)


@pytest.mark.parametrize("gap", [0.03, 0.05, 0.09, 0.11])
@pytest.mark.parametrize("delay", [0.25, 0.5, 0.66])
def test_leaning_on_a_key_decides_one_question_at_most(gap, delay):
    """The terminal repeats a key after a delay, then every 30 to 100 ms; each decision brings up the next."""
    board, decided, at = keyboard(0.0), 0, 10.0
    times = [at] + [at + delay + gap * step for step in range(100)]
    for now, following in zip(times, times[1:] + [1e9]):
        decided += sum(press.fate == "decides" for press in read(board, b"a", now))
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
    assert {fate for _, fate in fates(board, data, 10.0)} <= {"sequence", "crowded"}
    assert board.deadline() is None


@pytest.mark.parametrize("pause", [0.0, 0.03, 0.2, 0.5, 0.97])
@pytest.mark.parametrize("data", SEQUENCES.values(), ids=SEQUENCES)
def test_nothing_in_a_sequence_decides_byte_by_byte(data, pause):
    board, now = keyboard(0.0), 10.0
    for at in range(len(data)):
        found = read(board, data[at : at + 1], now)
        while board.deadline() is not None and board.deadline() <= now + pause:
            found.append(board.tick(board.deadline()))
        assert {press.fate for press in found} <= {"sequence", "escaped", "early", "hurried", "unknown"}
        now += pause


@pytest.mark.parametrize("key", DECIDING)
@pytest.mark.parametrize("data", SEQUENCES.values(), ids=SEQUENCES)
def test_nothing_decides_for_a_second_after_a_sequence(data, key):
    for after, fate in ((0.2, "escaped"), (0.99, "escaped"), (1.01, "decides")):
        board = keyboard(0.0)
        read(board, data, 10.0)
        assert press(board, key, 10.0 + after) == fate


def test_the_second_counts_from_the_last_byte_not_from_the_first():
    board = keyboard(0.0)
    for at, byte in enumerate([b"\x1b", b"[", b"1", b";", b"2", b"A"]):
        read(board, byte, 10 + 0.8 * at)
    assert press(board, "a", 14.0 + 0.9) == "escaped"
    assert press(keyboard(0.0), "a", 14.0 + 1.1) == "decides"


def test_an_escape_with_nothing_behind_it_is_a_key_and_swallows_no_other():
    board = keyboard(0.0)
    board.working += "\x1b"
    assert read(board, b"\x1b", 10.0) == []
    assert board.deadline() == pytest.approx(10.1)
    assert board.tick(10.09) is None
    found = board.tick(10.11)
    assert (found.key, found.fate) == ("\x1b", "works") and board.tick(10.2) is None
    assert fates(board, b"l", 10.3) == [("l", "works")]
    assert press(board, "a", 10.9) == "escaped"
    assert press(board, "a", 11.95) == "decides"


def test_what_follows_an_escape_at_once_makes_it_alt_and_that_key():
    board = keyboard(0.0)
    read(board, b"\x1b", 10.0)
    assert fates(board, b"a", 10.05) == [("", "sequence")]
    assert board.deadline() is None


@pytest.mark.parametrize(
    "data, key",
    [
        *((b"\x03", "\x03"), (b"\x1a", "\x1a"), (b"\x1c", "\x1c")),
        *((b"\x1b[99;5u", "\x03"), (b"\x1b[27;5;99~", "\x03"), (b"\x1b[1089::99;5u", "")),
        *((b"\x1b[122;5u", "\x1a"), (b"\x1b[27;5;92~", "\x1c"), (b"\x1b[99:67;5:1u", "\x03")),
        *((b"\x1b[97;5u", ""), (b"\x1b[99;6u", ""), (b"\x1b[27;5;9999999999~", "")),
    ],
)
def test_ctrl_c_and_its_like_work_however_a_terminal_sends_them(data, key):
    expected = [(key, "works")] if key else [("", "sequence")]
    assert fates(keyboard(), data, 10.0) == expected
    board, found = keyboard(), []
    for at in range(len(data)):
        found += fates(board, data[at : at + 1], 10.0 + 0.01 * at)
    assert [one for one in found if one[1] == "works"] == (expected if key else [])


@pytest.mark.parametrize("letter", ["\u0444", "\xe9", "\u20ac", "\U0001f600", "\u03b1"])
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_letter_of_another_alphabet_is_one_key(letter, pause):
    data = letter.encode()
    assert fates(keyboard(0.0), data, 10.0) == [(letter, "unknown")]
    board = keyboard(0.0)
    found = [one for at in range(len(data)) for one in fates(board, data[at : at + 1], 10.0 + pause * at)]
    assert found == [(letter, "unknown")] and board.deadline() is None


def test_a_letter_that_is_never_whole_is_told_as_its_first_byte():
    board = keyboard(0.0)
    assert fates(board, b"\xe9", 10.0) == []
    found = board.tick(board.deadline())
    assert (found.key, found.fate) == ("\xe9", "unknown")
    assert fates(board, b"\xd1", 20.0) == []
    assert fates(board, b"l", 20.05) == [("\xd1", "unknown"), ("l", "works")]


def test_alt_and_a_letter_that_begins_a_string_does_not_swallow_the_keyboard():
    board = keyboard(0.0)
    read(board, b"\x1bX", 10.0)
    assert press(board, "q", 10.3) == "sequence"
    assert press(board, "q", 11.4) == "works"


# --- keys that decide nothing work at any time


@pytest.mark.parametrize("key", WORKING)
def test_a_working_key_works_before_anything_is_armed_and_without_a_pause(key):
    board = keyboard()
    read(board, b"x", 10.0)
    assert fates(board, key.encode(), 10.01) == [(key, "works")]


@pytest.mark.parametrize("key", ["\r", "\n", " ", "z", "1", "\x04", "\x7f", "\x00", "\xff"])
def test_a_key_that_is_none_here_is_unknown_at_any_time(key):
    assert fates(keyboard(), key.encode("latin-1"), 10.0) == [(key, "unknown")]
    assert fates(keyboard(0.0), key.encode("latin-1"), 10.0) == [(key, "unknown")]


def test_a_working_key_is_no_dropped_one():
    board = keyboard(0.0)
    assert fates(board, b"z", 5.0) == [("z", "unknown")]
    assert fates(board, b"l", 5.4) == [("l", "works")]
    assert press(board, "a", 5.6) == "decides"


# --- a verdict is announced, and any key takes it back


def announced(at=10.0, key="a"):
    board = keyboard(0.0)
    assert press(board, key, at) == "decides"
    board.announce(key)
    board.told(at + ALONE)
    return board


def test_an_announced_key_runs_half_a_second_after_that_has_gone_out():
    board = announced()
    assert board.announced == "a" and board.deadline() == pytest.approx(10.54)
    assert board.tick(10.53) is None
    found = board.tick(10.55)
    assert (found.key, found.fate, board.announced) == ("a", "runs", "")
    board = keyboard(0.0)
    press(board, "a", 10.0)
    board.announce("a")
    assert board.deadline() is None and board.tick(99.0) is None, "it has not gone out"


@pytest.mark.parametrize(
    "other", [b"a", b"d", b"l", b"q", b"x", b"\n", b"\x1b", b"\x1b[A", b"\xc3\xa9", b"lll"]
)
def test_any_key_takes_it_back_and_is_dropped_itself(other):
    board = announced()
    assert fates(board, other, 10.5) == [("a", "taken back")]
    assert not board.announced and board.deadline() is None
    assert press(board, "d", 10.9) in ("hurried", "escaped", "sequence")
    assert press(board, "d", 12.0) == "decides"


def test_ctrl_c_takes_it_back_and_works():
    assert fates(announced(), b"\x03", 10.3) == [("a", "taken back"), ("\x03", "works")]


def test_what_arrives_when_it_is_due_takes_it_back_before_anybody_looked():
    assert fates(announced(), b"x", 12.0) == [("a", "taken back")]


def test_the_key_that_ran_counts_again_after_more_than_the_delay_of_a_keyboard():
    for pause, fate in ((1.0, "hurried"), (HELD_DOWN + SOON, "decides")):
        board = announced()
        board.tick(10.6)
        board.arm(10.55, True)
        assert press(board, "a", 10.0 + pause) == fate
    board = announced()
    board.tick(10.6)
    assert press(board, "d", 10.8) == "decides", "another key is none that is held down"


def test_the_same_harmless_key_loses_nothing_at_two_a_second():
    board, now = keyboard(0.0), 10.0
    for _ in range(20):
        read(board, b"s", now)
        due = board.deadline()
        assert due is not None and board.tick(due).fate == "decides"
        board.arm(due, True)
        now += 0.5


def test_no_byte_is_no_key():
    assert read(keyboard(0.0), b"", 5.0) == []


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
        self.dropped = -1e9
        self.candidate = None

    def read(self, data, now):
        quiet = now - self.last >= QUIET - 1e-9
        self.last = now
        if b"\x1b" in data:
            self.escape = now
        again = 0.08 if data == self.decided.encode() else 0.0
        standing = self.counts_from is not None and now + again >= self.counts_from - 1e-9
        quiet = quiet and now - self.dropped >= AFTER_DROPPED - 1e-9
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
            if found is not None and found.key == "\x1b":
                journal.dropped = journal.last
            elif found is not None:
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
            found = read(board, data, now)
            assert all(press.fate != "decides" for press in found)
            if any(press.fate != "works" for press in found):
                journal.dropped = now
    return decided


@pytest.mark.parametrize("seed", range(12))
def test_no_key_of_a_random_operator_decides_against_the_rule(seed):
    assert walk(seed, 4000) > 20, "the walk must also get somewhere"
