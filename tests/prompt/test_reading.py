"""What i and ? tell, where the window has no room for it beside what stands there."""

from __future__ import annotations

import pytest
from stage import Stage

from simple_clearance.docket.policy import parse
from simple_clearance.prompt import details

SIZES = [(80, 24), (80, 12), (40, 12), (20, 6), (132, 8), (40, 3)]


@pytest.mark.parametrize("width, height", SIZES)
@pytest.mark.parametrize(
    "keys, kind", [("", details.HELP), ("l", details.LIST_HELP), ("h", details.HISTORY_HELP)]
)
def test_every_line_of_the_keys_is_on_the_screen_at_some_time(width, height, keys, kind):
    stage = Stage(width, height)
    stage.blocked("203.0.113.1")
    stage.key("s")
    for last in range(2, 14):
        stage.blocked(f"203.0.113.{last}")
    for key in keys:
        stage.key(key)
    stage.wait(2)
    stood = stage.keys
    stage.key("?")
    left = details.help_lines(kind, stage.prompt.painter.width - 1)
    for _ in range(len(left)):
        left = [line for line in left if line.rstrip() not in stage.shown]
        if not left:
            break
        stage.key(" ")
    assert not left
    stage.read()
    assert stage.keys == stood


def reading(width=40, height=12, key="?"):
    stage = Stage(width, height)
    stage.blocked(names=["www.example.com"])
    stage.key(key)
    return stage


def test_its_pages_are_turned_and_the_question_comes_back_after_the_last():
    stage = reading()
    assert stage.keys == "page 1 of 3   space: next   ESC: back"
    seen = []
    for key in " \x7f\r ":
        stage.key(key)
        seen.append(stage.keys[:11])
    assert seen == ["page 2 of 3", "page 1 of 3", "page 2 of 3", "page 3 of 3"]
    assert stage.keys == "page 3 of 3   space: back   ESC: back"
    stage.key(" ")
    assert stage.keys.endswith("i l ? q") and stage.shown[-6].startswith("c1  tcp 443")


def test_where_there_is_room_for_both_the_question_stands_below_it_at_once():
    for key in "?i":
        stage = reading(80, 24, key)
        assert stage.keys.endswith("i l ? q") and "page" not in stage.text


@pytest.mark.parametrize("key", ["?", "i"])
def test_no_key_decides_while_it_is_read_and_what_is_asked_is_left_to_the_operator(key):
    stage = reading(key=key)
    stage.docket.set_policy(parse(b"deny 203.0.113.0/24", "rules"), stage.now)
    for other in "asmdAu":
        stage.key(other)
    assert "  a is no key here: space turns the" in stage.text
    assert stage.commands == [] and stage.ids() == ["r1"]
    stage.key("\x1b")
    stage.key("s")
    assert stage.ids() == []


def test_what_begins_to_wait_meanwhile_is_counted_there():
    stage = Stage(80, 12)
    stage.key("?")
    assert stage.keys == "page 1 of 2   space: next   Backspace: before   ESC: back"
    stage.blocked()
    stage.wait(1.1)
    assert stage.keys.endswith("ESC: back   +1 wait")
    stage.key("\x1b")
    assert stage.keys.startswith("a allow 203.0.113.10 ")


def test_a_question_that_is_answered_meanwhile_does_not_come_back():
    stage = reading()
    stage.docket.stop("c1", stage.now)
    stage.refresh()
    assert "the container has stopped: no key needed" in " ".join(stage.text.split())
    assert not stage.keys


def test_in_a_window_of_another_size_it_begins_again_in_lines_of_that():
    stage = reading()
    stage.key(" ")
    stage.resize(30, 8)
    assert stage.keys.startswith("1/")
    assert "  a    allow the address" in stage.text.split("\n")
    stage.key("l")
    assert stage.keys.endswith("l back")


def test_the_keys_are_told_of_what_stands_below_it_again():
    stage = reading(key="i")
    stage.key(" ")
    stage.key("?")
    assert stage.keys.startswith("page 1 of 3")
    stage.key("i")
    assert stage.keys.startswith("page 1 of 2")
    stage.key("q")
    assert stage.keys.endswith("any other key: no")
