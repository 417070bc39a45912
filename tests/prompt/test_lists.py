"""The list and the history on a terminal: rewritten in their place, and nothing decided that is not shown."""

from __future__ import annotations

import os
import random
import re

import pyte
import pytest
from stage import MOVES, SGR, Stage, inspect
from support import ROOT, thorough

from simple_clearance.prompt.keyboard import AFTER_OWN_KEY
from simple_clearance.prompt.painter import UP, Painter

SIZES = [(80, 24), (40, 12), (132, 50), (100, 16)]


def several(stage, number=12, first=1):
    for last in range(first, first + number):
        stage.blocked(f"198.51.100.{last}")


def listed(stage):
    """The list as it stands there: all below the last of the lines that say how many wait."""
    shown = stage.shown
    return shown[max(at for at, line in enumerate(shown) if re.match(r"\d+ (waiting|of|hold)", line)) :]


def keys(stage):
    """The two lines of keys of the list."""
    return listed(stage)[-2:]


# --- in its place


@pytest.mark.parametrize("width, height", SIZES)
def test_whatever_is_marked_or_paged_or_looked_for_the_list_takes_the_same_lines(width, height):
    stage = Stage(width, height)
    several(stage, 40)
    stage.key("l")
    above = stage.text.split("\n").index(listed(stage)[0].rstrip())
    for key in "13*  2\x7f\x7f \x7f*/0.1\r2* \x1b1/zz\x1b":
        stage.key(key)
        lines = stage.text.split("\n")
        assert lines[above].startswith(("40 waiting", "11 of 40")), lines[above]
        assert lines[above:] == [*lines[above : above + len(listed(stage))]], "nothing but it"
    stage.key("l")
    assert "waiting" not in stage.text, "and gone when it is left"


def test_a_mark_rewrites_its_row_and_the_keys():
    stage = Stage()
    several(stage, 9)
    stage.key("l")
    whole = len(stage.written)
    stage.key("4")
    painted = SGR.sub(b"", stage.written[whole:]).decode()
    rows = [part for part in MOVES.split(painted) if part.strip() and not MOVES.fullmatch(part)]
    assert [row.split("  ")[1].strip() for row in rows[:1]] == ["x"] and "198.51.100.4 " in rows[0]
    assert rows[1:] == ["1 marked: a allow  s not now  m this session    Enter asks it   l back"]
    stage.key("5")
    before = len(stage.written)
    stage.key("5")
    assert len(stage.written) - before < 300


def test_on_a_dumb_terminal_it_is_printed_anew_and_a_notice_prints_its_keys_only():
    stage = Stage(dumb=True)
    several(stage, 3)
    for key in "l12":
        stage.key(key)
    assert stage.text.count("3 waiting") == 3 and UP not in stage.written
    stage.key("x")
    assert stage.text.count("3 waiting") == 3 and stage.text.count("2 marked") == 2
    stage.key("s")
    assert "  s not now (2 requests)" in stage.text


class Terminal:
    """A terminal of a real size, and all that has left it at its top."""

    def __init__(self, width, height):
        self.screen = pyte.HistoryScreen(width, height, history=100_000)
        self.stream = pyte.ByteStream(self.screen)

    @property
    def lines(self):
        width = self.screen.columns
        gone = ["".join(line[x].data for x in range(width)) for line in self.screen.history.top]
        lines = [line.rstrip() for line in [*gone, *self.screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines


@pytest.mark.parametrize("height", [2, 3, 4, 5, 6, 7, 9, 12, 24, *thorough(1, 8, 10, 11, 13, 50)])
@pytest.mark.parametrize("width", [20, 38, 80, *thorough(24, 40, 59, 60, 132)])
def test_nothing_is_rewritten_that_is_not_on_the_screen(width, height):
    """On a terminal of that size it looks as on one without an end: no line above the list is lost."""
    stage, chance = Stage(width, height, emulate=False), random.Random(width * 100 + height)
    for last in range(30):
        name = ["%s.example.com" % ("n" * last)] if last % 3 else []
        stage.blocked(f"198.51.100.{last}", names=name)
    terminal = Terminal(width, height)
    fed = 0
    for _ in range(60):
        if chance.random() < 0.15:
            stage.event("pending", f"10.0.0.{chance.randrange(250)}", 22, private=True)
            stage.refresh()
            stage.wait(3)
        elif chance.random() < 0.1:
            stage.blocked(f"203.0.113.{chance.randrange(250)}", chance.randrange(9))
        else:
            stage.key(chance.choice("l1234*  \x7f/n\r\x1bhx?\x0csm"))
        terminal.stream.feed(stage.written[fed:])
        fed = len(stage.written)
        if height > 2 or "wait" not in stage.keys:
            there, ideal = terminal.lines, [line for line in stage.text.rstrip("\n").split("\n")]
            assert [line for line in there if line] == [line for line in ideal if line]


def test_rows_that_have_become_more_or_fewer_or_longer_are_those_that_stand_there():
    chance = random.Random(7)
    for width, height in ((20, 6), (30, 12)):
        painter, terminal = Painter(width, height), Terminal(width, height)
        painter.lines(["above %d" % number for number in range(9)])
        for _ in range(300):
            rows = ["r" * chance.randrange(width + 5) for _ in range(chance.randrange(height - 1))]
            last = ["k" * chance.randrange(1, width) for _ in range(chance.randrange(1, 3))]
            painter.keys(last, rows)
            data = painter.take()
            inspect(data, width)
            terminal.stream.feed(data)
            standing = [line[: width - 1] for line in (*rows, *last)]
            shown = [line.rstrip() for line in terminal.screen.display]
            end = terminal.screen.cursor.y + 1
            cut = [line if len(line) < width else line[: width - 3] + ".." for line in (*rows, *last)]
            assert shown[end - len(standing) : end] == cut and not any(shown[end:])
            assert [line for line in terminal.lines if line.startswith("above")] == [
                "above %d" % number for number in range(9)
            ]


def test_in_a_window_that_has_just_become_smaller_nothing_above_the_list_is_lost():
    """The key comes before the session has heard of the new size."""
    for width, height in ((80, 6), (50, 24), (40, 8)):
        stage = Stage(80, 24)
        several(stage, 9)
        stage.key("l")
        terminal = Terminal(80, 24)
        terminal.stream.feed(stage.written)
        fed = len(stage.written)
        if height < 24:  # what does not fit leaves at the top, as terminals do it
            terminal.screen.cursor_position(24, 1)
            for _ in range(24 - height - (24 - len(stage.shown))):
                terminal.screen.index()
            terminal.screen.resize(height, width)
            terminal.screen.cursor_position(height, 1)
        else:
            terminal.screen.resize(height, width)
        stage.type("3")
        stage.prompt.resize(width, height, stage.now)
        stage.refresh()
        stage.wait(1)
        terminal.stream.feed(stage.written[fed:])
        assert terminal.lines[0].startswith("c1  198.51.100.1  tcp 443 https")
        assert any(re.match("(  )?x( ) ?3|x3", line) for line in terminal.lines[-14:])


# --- what comes meanwhile


def test_a_notice_goes_above_the_list_which_stays_whole_and_as_it_was():
    stage = Stage(80, 14)
    several(stage, 20)
    for key in "l14":
        stage.key(key)
    stage.wait(1)
    before = listed(stage)[:10] + keys(stage)
    for number in range(30):
        stage.event("pending", f"10.0.0.{number}", 22, private=True)
        stage.refresh()
        stage.wait(1)
        assert listed(stage)[:10] + keys(stage) == before
    stage.wait(1.1)
    stage.type("s")
    stage.wait(0.2)
    assert "  s not now (2 requests)" in stage.text, "and its keys count on"
    assert sorted(stage.ids()) == sorted(f"r{number}" for number in range(1, 21) if number not in (1, 4))


def test_what_comes_is_counted_at_once_and_gets_a_row_at_the_next_key():
    stage = Stage()
    several(stage, 4)
    stage.key("l")
    rows = listed(stage)[1:5]
    several(stage, 3, 10)
    stage.wait(2)
    assert listed(stage)[0] == "7 waiting for c1, 3 new (space)"
    assert listed(stage)[1:5] == rows and keys(stage)[0].startswith("1-4 mark ")
    stage.type("5")
    assert "marked" not in keys(stage)[1], "what has no digit yet is not marked"
    assert listed(stage)[0] == "7 waiting for c1"
    assert keys(stage)[0].startswith("1-7 mark ")
    stage.key("5")
    assert listed(stage)[5].startswith("  x  5  198.51.100.10 ")


def test_the_list_shows_by_itself_what_is_answered_meanwhile():
    stage = Stage()
    several(stage, 4)
    for key in "l13":
        stage.key(key)
    stage.answer("skip", "r1", by="script")
    stage.refresh()
    stage.wait(1.1)
    assert listed(stage) == [
        "3 waiting for c1",
        "     -  198.51.100.1                                         answered meanwhile",
        "     2  198.51.100.2                                       tcp 443        1 try",
        "  x  3  198.51.100.3                                       tcp 443        1 try",
        "     4  198.51.100.4                                       tcp 443        1 try",
        "2-4 mark   * all   / word",
        "1 marked: a allow  s not now  m this session    Enter asks it   l back",
    ]


def test_no_row_is_as_high_as_to_push_another_off_its_page_however_often_it_is_tried():
    chance = random.Random(3)
    for width, height in [*SIZES, (60, 9), (24, 14)]:
        stage = Stage(width, height, emulate=False)
        for container in ("c1", "a-container-with-a-rather-long-name"):
            stage.docket.add_container(container, 18, {})
            for last in range(1, 20):
                name = "%s.example.com" % ("n" * chance.randrange(1, 60))
                for more in range(chance.choice([1, 1, 3])):
                    dest = chance.choice(
                        [f"203.0.{last}.{more}", f"2001:db8:1111:2222:3333:4444:{last}:{more}"]
                    )
                    stage.blocked(dest, container=container, names=[name] if last % 2 else [])
        stage.key("l")
        for _ in range(40):
            for request in stage.docket.waiting():
                request.count = chance.choice([1, 99, 1234567])
            stage.key(" ")
            view = stage.prompt._view
            assert len([*view.rows(), *view.key_lines()]) < height or len(view._digits) == 1


# --- digits and pages


@pytest.mark.parametrize("width, height", SIZES)
@pytest.mark.parametrize("number", [1, 2, 3, 9, 10, 12])
def test_only_digits_that_stand_there_are_offered(width, height, number):
    stage = Stage(width, height)
    several(stage, number)
    stage.key("l")
    for _ in range(4):
        offered = re.match(r"(?:(\d)-)?(\d) mark", keys(stage)[0])
        there = [row.split()[0] for row in listed(stage)[1:-2]]
        assert there == [str(digit) for digit in range(1, int(offered.group(2)) + 1)]
        assert offered.group(1) == (None if len(there) == 1 else "1")
        stage.key(" ")


@pytest.mark.parametrize("width, height", SIZES)
def test_a_hundred_can_be_paged_there_and_back(width, height):
    stage = Stage(width, height)
    several(stage, 100)
    stage.key("l")
    assert "space" in keys(stage)[0] and "page 1 of " in listed(stage)[0]
    pages = int(listed(stage)[0].rpartition(" ")[2])
    seen = []
    for page in range(1, pages + 1):
        assert listed(stage)[0].endswith(f"page {page} of {pages}")
        seen += [row.split()[1] for row in listed(stage)[1:-2]]
        stage.key(" ")
    assert seen == [f"198.51.100.{last}" for last in range(1, 101)]
    assert listed(stage)[0].endswith(f"page 1 of {pages}")
    stage.key("\x7f")
    assert listed(stage)[0].endswith(f"page {pages} of {pages}")
    stage.key("\x7f")
    assert listed(stage)[0].endswith(f"page {pages - 1} of {pages}")


def test_a_key_that_changes_nothing_says_so():
    stage = Stage()
    several(stage, 3)
    stage.key("l")
    for key, told in (
        ("4", "no row has a 4"),
        (" ", "there is one page only"),
        ("\x7f", "there is one page only"),
        ("i", "i tells of what is asked: Enter asks one of these"),
        ("u", "u is no key here"),
    ):
        before = stage.text.count(told)
        stage.key(key)
        assert stage.text.count(told) == before + 1
    several(stage, 1, 50)
    stage.key(" ")
    assert stage.text.count("there is one page only") == 2, "but for what was new"
    assert listed(stage)[4].startswith("     4  198.51.100.50 ")
    while stage.ids():
        stage.answer("skip", stage.ids()[0], by="script")
    stage.key("*")
    assert "nothing that is shown waits" in stage.text
    stage.key("2")
    assert "no row has a 2" in stage.text
    stage.key("h")
    for key, told in (("9", "no row has a 9"), (" ", "there is one page only")):
        before = stage.text.count(told)
        stage.key(key)
        assert stage.text.count(told) == before + 1


def test_enter_asks_the_first_that_is_shown():
    stage = Stage()
    several(stage, 20)
    for key in "l \r":
        stage.key(key)
    assert stage.shown[-3].startswith("c1  198.51.100.10 ")


# --- a word


def named(stage):
    for last, one in enumerate(("www.example.com", "Telemetry.example.net", "tele.example.org"), 1):
        stage.blocked(f"203.0.113.{last}", names=[one])
    several(stage, 9)


def test_a_word_leaves_what_holds_it_and_star_marks_only_that():
    stage = Stage()
    named(stage)
    for key in "l/TELE":
        stage.key(key)
    assert keys(stage) == ["Enter shows what holds it   ESC: no", "/ TELE"]
    stage.key("\r")
    assert listed(stage) == [
        '2 of 12 waiting for c1 hold "tele"; 10 hidden',
        "     1  Telemetry.example.net                              tcp 443        1 try",
        "     2  tele.example.org                                   tcp 443        1 try",
        "1-2 mark   * these 2   / word   ESC: all again",
        "Enter asks the first   ? keys   l back",
    ]
    stage.key("*")
    assert keys(stage)[1].startswith("2 marked: ")
    for key in "/www\r":
        stage.key(key)
    assert keys(stage)[1].startswith("2 marked, 2 not shown: ")
    stage.key("1")
    assert keys(stage)[1].startswith("3 marked, 2 not shown: ")
    stage.key("\x1b")
    stage.wait(1.2)
    assert listed(stage)[0].startswith("12 waiting for c1 ") and keys(stage)[1].startswith("3 marked: ")
    stage.key("m")
    assert [one.target for one in stage.docket.muted] == [
        "www.example.com",
        "Telemetry.example.net",
        "tele.example.org",
    ]


def test_esc_leaves_the_typing_then_the_word_then_the_list():
    stage = Stage()
    named(stage)
    for key in "l/tele\r/ww":
        stage.key(key)
    stage.key("\x1b")
    assert listed(stage)[0].startswith("2 of 12 ")
    stage.key("\x1b")
    assert listed(stage)[0].startswith("12 waiting")
    stage.key("\x1b")
    assert stage.keys.startswith("a allow 203.0.113.1 ")


def test_letters_typed_for_a_word_decide_nothing_whatever_they_are():
    stage = Stage()
    named(stage)
    stage.key("l")
    stage.key("*")
    for data in ("/", "asm", "a", "s", "m", "h", "l", "q", "u", "?", "*", "1", "/", "d", "y", "\x7f", "A"):
        stage.type(data)
        stage.wait(1.5)
    assert keys(stage)[1] == "/ asmasmhlqu?*1/dA"
    stage.type("\r")
    stage.wait(0.2)
    assert listed(stage)[0].startswith('0 of 12 waiting for c1 hold "asmasmhlqu?*1/da"; 12 hidden')
    assert stage.docket.history == [] and stage.commands == [] and not stage.prompt.quit
    assert keys(stage)[0] == "/ word   ESC: all again"
    stage.type("/tele\rs")
    stage.wait(1)
    assert stage.docket.history == [], "nothing that shares a read with others decides"
    assert listed(stage)[0].startswith("2 of 12 ")


def test_a_key_that_is_in_no_name_is_told_and_the_word_can_be_mended():
    stage = Stage()
    named(stage)
    for key in "l/texx\x7f\x7f \t":
        stage.key(key)
    assert "space is in no name: Enter shows what holds the word, ESC leaves it" in stage.text
    assert keys(stage)[1] == "/ te"
    stage.key("\x0c")
    assert keys(stage)[1] == "/ te"
    stage.key("\r")
    assert listed(stage)[0].startswith("2 of 12 ")
    for key in "/\r":
        stage.key(key)
    assert listed(stage)[0].startswith("12 waiting"), "no word is none"


def test_of_several_containers_a_word_may_be_that_of_one():
    stage = Stage()
    for container in ("c1", "web-7"):
        stage.docket.add_container(container, 18, {})
        for last in (1, 2):
            stage.blocked(f"203.0.113.{last}", container=container)
    for key in "l/web\r":
        stage.key(key)
    assert listed(stage)[0] == '2 of 4 waiting for 2 containers hold "web"; 2 hidden'


def test_what_is_marked_and_not_shown_is_shown_before_it_is_allowed():
    stage = Stage()
    named(stage)
    for key in "l1/tele\r*a":
        stage.key(key)
    assert "allowing 3 addresses, every port of each:" in stage.text
    assert all(f"  203.0.113.{last}  " in stage.text.split("allowing")[1] for last in (1, 2, 3))


def test_on_a_dumb_terminal_that_sends_lines_a_word_is_a_line():
    stage = Stage(dumb=True)
    named(stage)
    stage.key("l")
    stage.key("/tele\n")
    assert (
        '2 of 12 waiting for c1 hold "tele"; 10 hidden'
        in stage.text.rsplit("12 waiting for", 2)[1] + stage.text
    )


# --- rows


SAME_END = ["%s.telemetry.example.net" % (letter * 60) for letter in "ab"]


@pytest.mark.parametrize("width", [40, 80, *thorough(20, 30, 59, 60, 132)])
@pytest.mark.parametrize(
    "containers", [["c1"], ["c1", "web"], ["terok-dev-1234-abcd", "terok-dev-1234-abce"]]
)
def test_no_two_rows_look_alike(width, containers):
    """Containers, networks, and names that differ at the end which has no room."""
    stage = Stage(width, 60)
    for container in containers:
        stage.docket.add_container(container, 18, {})
        for last, one in enumerate(SAME_END):
            stage.blocked(f"203.0.113.{last}", names=[one], container=container)
        for net in ("1", "1111", "1112"):
            stage.blocked(f"2001:db8:{net}:2222:3333:4444:5555:6666", container=container)
        stage.blocked("198.51.100.7", 80, container=container)
    stage.key("l")
    rows = []
    for _ in range(3):
        for line in listed(stage)[1:-2]:
            begins = re.match(r"  [ x]  \d  (?=\S)|[ x]\d (?=\S)", line)
            rows += [""] if begins else []
            rows[-1] += " " + line[begins.end() if begins else 0 :].strip()
        stage.key(" ")
    rows = list(dict.fromkeys(rows))
    assert len(rows) == 6 * len(containers)
    for container in containers if len(containers) > 1 else ():
        assert sum(container in "".join(row.split()) for row in rows) == 6, "no container is cut"


def test_the_columns_of_a_list_stand_below_each_other():
    stage = Stage()
    stage.docket.add_container("web", 18, {})
    for last, container in enumerate(("c1", "c1", "web", "web"), 1):
        stage.blocked(f"203.0.113.{last}", container=container, names=["www.example.com"] if last < 3 else [])
    stage.blocked("203.0.113.4", 80, container="web")
    stage.key("l")
    assert listed(stage)[1:-2] == [
        "     1  www.example.com           2 addresses  c1          tcp 443      2 tries",
        "     2  203.0.113.3                            web         tcp 443        1 try",
        "     3  203.0.113.4                            web         2 ports      2 tries",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_numbers_that_are_too_long_are_rounded_down_not_cut(width):
    stage = Stage(width, 40)
    stage.blocked("203.0.113.1", 65535, proto=136, count=1234567)
    for port in range(1, 2345):
        stage.event("pending", "203.0.113.2", port)
    stage.blocked("203.0.113.3", 443, count=12345)
    stage.key("l")
    told = [row.split()[2:] for row in listed(stage)[1:-2]]
    assert told == [
        ["136", "65535", "1M", "tries"],
        ["2k", "ports", "2344", "tries"],
        ["tcp", "443", "12k", "tries"],
    ]


# --- what is muted


def test_what_is_muted_stands_behind_the_others_and_has_no_digit():
    stage = Stage()
    stage.blocked("203.0.113.1", names=["ads.example.net"])
    stage.key("m")
    for last in (1, 2, 3):
        stage.blocked(f"203.0.113.{last}", 80 + last, names=["ads.example.net"])
    several(stage, 2)
    stage.key("l")
    assert listed(stage)[1:-1] == [
        "     1  198.51.100.1                                       tcp 443        1 try",
        "     2  198.51.100.2                                       tcp 443        1 try",
        "  muted, with the tries since; h asks it again:",
        "     m  ads.example.net                                                 3 tries",
        "1-2 mark   * all   / word",
    ]
    stage.key("*")
    assert keys(stage)[1].startswith("2 marked: ")
    stage.key("3")
    assert keys(stage)[1].startswith("2 marked: ")
    for key in "/ads\r":
        stage.key(key)
    assert listed(stage)[0] == '0 of 2 waiting for c1 hold "ads"; 2 hidden'
    assert "     m  ads.example.net" in listed(stage)[2] and "mark " not in keys(stage)[0]
    stage.key("h")
    stage.key("1")
    assert stage.ids() and stage.docket.muted == []
    assert stage.shown[-4] == "  no longer muted | ads.example.net"
    assert stage.shown[-3].startswith("c1  203.0.113.1  tcp 443 https ")


@pytest.mark.parametrize("width", [80, 40, 20])
def test_asking_again_tells_of_a_mute_only_where_it_has_ended_one(width):
    stage = Stage(width, 24)
    stage.blocked("203.0.113.1")
    stage.key("m")
    stage.key("h")
    stage.key("1")
    assert ("  no longer muted: 203.0.113.1" if width > 30 else "  no longer muted") in stage.shown
    stage.key("s")
    stage.key("h")
    stage.key("1")
    assert stage.text.count("no longer muted") == 1, "what was skipped never was"


@pytest.mark.parametrize("width, height", [(80, 12), (40, 12)])
def test_many_that_are_muted_have_pages_too(width, height):
    stage = Stage(width, height)
    several(stage, 30)
    for key in "l*m":
        stage.key(key)
    several(stage, 3, 100)
    stage.key("l")
    seen = []
    for _ in range(int(listed(stage)[0].rpartition(" ")[2])):
        assert len(stage.shown) <= height
        seen += [row.split()[1] for row in listed(stage)[1:-2] if row.strip().startswith("m ")]
        stage.key(" ")
    assert seen == [f"198.51.100.{last}" for last in range(1, 31)]


# --- the history


def test_the_history_is_rewritten_in_its_place_and_pages_back():
    stage = Stage(80, 12)
    several(stage, 20)
    for _ in range(20):
        stage.key("s")
    stage.key("h")
    lines = stage.text.count("\n")
    assert stage.shown[-10] == "20 answered, newest first" + "page 1 of 3".rjust(54)
    assert stage.keys == "1-8 asks that again   space: older   Backspace: newer   h back"
    stage.key(" ")
    assert " 198.51.100.12" in stage.shown[-9] and "page 2 of 3" in stage.shown[-10]
    stage.key("\x7f")
    stage.key("\x7f")
    assert "page 3 of 3" in stage.shown[-6] and stage.keys.startswith("1-4 asks that again ")
    assert stage.text.count("\n") <= lines
    stage.key("4")
    assert stage.keys.startswith("a allow 198.51.100.1 ")


# --- README, and the keys


def test_the_list_in_the_readme_is_a_real_one():
    stage = Stage()
    for last, count in zip(range(20, 24), (3, 2, 2, 2)):
        stage.blocked(f"203.0.113.{last}", count=count, names=["registry.example.com"])
    stage.blocked("203.0.113.90", count=2, names=["telemetry.example.net"])
    several(stage, 110)
    for key in "l2":
        stage.key(key)
    with open(os.path.join(ROOT, "README.md")) as file:
        shown = file.read().partition("<!-- the list -->\n```\n")[2].partition("\n```")[0]
    assert listed(stage) == shown.split("\n")


@pytest.mark.parametrize("width", [40, 80])
def test_help_in_the_list_tells_its_keys(width):
    stage = Stage(width, 40)
    several(stage, 12)
    stage.key("l")
    stage.key("?")
    stage.read()
    told = " ".join(stage.text.split())
    for words in ("marks all, those of the other pages too", "the next page; Backspace: the one before"):
        assert words in told
    stage.wait(AFTER_OWN_KEY)
    assert listed(stage)[0].startswith("12 waiting")


def test_containers_stand_below_each_other_where_the_names_leave_room():
    several = ["terok-dev-of-a-task", "agent-one", "c3"]
    stage = Stage(containers=several)
    for last, container in enumerate(several):
        stage.blocked(f"203.0.113.{last}", container=container)
    stage.blocked("203.0.113.9", names=["registry-of-images.example.com"], container="c3")
    stage.key("l")
    rows = stage.shown[-6:-2]
    starts = [row.index(f"  {container}  ") for container, row in zip(several, rows)]
    assert starts == [starts[0]] * 3
    assert re.fullmatch(r"     4  registry-of-images\.example\.com +c3 +tcp 443 +1 try", rows[3])
