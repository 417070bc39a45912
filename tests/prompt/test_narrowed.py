"""The list and the history, narrowed to one container: nothing of another one is shown, or answered."""

from __future__ import annotations

import re

import pytest
from stage import Stage, name

ALL = ["c1", "c2", "c3"]


@pytest.fixture
def stage():
    stage = Stage(containers=ALL)
    stage.flood("c1", 12)
    stage.flood("c2", 2, 101)
    stage.flood("c3", 1, 201)
    return stage


def press(stage, keys):
    for key in keys:
        stage.key(key)


def listed(stage):
    shown = stage.shown
    return shown[max(at for at, line in enumerate(shown) if re.match(r"\d+ (waiting|of|answered)", line)) :]


def dests(stage):
    return [int(last) for last in re.findall(r"  203\.0\.113\.(\d+)", "\n".join(listed(stage)))]


def test_the_list_says_for_how_many_containers_what_waits_is(stage):
    stage.key("l")
    assert listed(stage)[0].startswith("15 waiting for 3 containers ")
    assert dests(stage) == [1, 101, 201, 2, 102, 3, 4, 5, 6]
    assert listed(stage)[-2] == "1-9 mark  * all  / word  c one container  space, Backspace: pages"


def test_narrowed_it_has_one_container_then_the_next_then_all(stage):
    press(stage, "lc")
    assert listed(stage)[0].startswith("12 waiting for c1, 3 for 2 others "), listed(stage)
    assert dests(stage) == [1, 2, 3, 4, 5, 6, 7, 8, 9] and "c1" not in "".join(listed(stage)[1:])
    assert listed(stage)[-2] == "1-9 mark  * these 12  / word  c next  space: page  ESC: all"
    stage.key(" ")
    assert dests(stage) == [10, 11, 12]
    stage.key("c")
    assert listed(stage)[0] == "2 waiting for c2, 13 for 2 others"
    assert dests(stage) == [101, 102]
    assert listed(stage)[-2] == "1-2 mark   * these 2   / word   c next container   ESC: all again"
    stage.key("c")
    assert listed(stage)[0] == "1 waiting for c3, 14 for 2 others" and dests(stage) == [201]
    stage.key("c")
    assert listed(stage)[0].startswith("15 waiting for 3 containers ") and len(dests(stage)) == 9


def test_esc_shows_all_again_and_then_leaves(stage):
    press(stage, "lcc\x1b")
    assert listed(stage)[0].startswith("15 waiting for 3 containers ")
    stage.key("\x1b")
    assert stage.keys.endswith("i l ? q")


def test_it_begins_with_the_container_of_a_mark_or_else_with_that_of_the_first_row(stage):
    press(stage, "l3c")
    assert listed(stage)[0].startswith("1 waiting for c3,")
    assert listed(stage)[-1].startswith("1 marked: ")
    press(stage, "\x1b3 c")
    assert listed(stage)[0].startswith("12 waiting for c1,"), "the second page begins with one of c1"
    press(stage, "\x1b2c")
    order = []
    for _ in range(3):
        order.append(listed(stage)[0].partition(",")[0].rpartition(" ")[2])
        stage.key("c")
    assert order == ["c2", "c3", "c1"]
    assert listed(stage)[0].startswith("15 waiting for 3 containers ")


@pytest.mark.parametrize("key, wanted", [("s", "skip"), ("m", "mute")])
def test_no_mark_is_left_on_what_is_not_shown(stage, key, wanted):
    press(stage, "l1245c")
    assert listed(stage)[-1].startswith("2 marked: "), "those of c1"
    stage.key("c")
    assert "marked" not in listed(stage)[-1]
    press(stage, "*" + key)
    answered = {(one.container, one.action) for one in stage.docket.history}
    assert answered == {("c2", wanted)}
    assert len(stage.docket.waiting("c1")) == 12 and not stage.docket.waiting("c2")


def test_what_is_allowed_at_once_is_what_is_shown(stage):
    press(stage, "l*cccc*")
    assert "* all" in listed(stage)[-2]
    press(stage, "*cc*")
    assert listed(stage)[0].startswith("2 waiting for c2,") and "* these 2" in listed(stage)[-2]
    press(stage, "a2\r")
    stage.wait(2)
    assert stage.commands == ["allow c2 203.0.113.101", "allow c2 203.0.113.102"]


def test_after_a_no_it_is_narrowed_as_it_was(stage):
    press(stage, "lcc*a\x1b")
    assert listed(stage)[0] == "2 waiting for c2, 13 for 2 others"
    assert listed(stage)[-1].startswith("2 marked: ")


def test_enter_asks_the_first_of_that_container(stage):
    press(stage, "lcc\r")
    assert "2 of 15" in stage.text and stage.keys.startswith("a allow 203.0.113.101 ")


def test_a_digit_is_of_that_container(stage):
    press(stage, "lcc2s")
    (answer,) = stage.docket.history
    assert (answer.container, answer.target) == ("c2", "203.0.113.102")


def test_a_word_and_one_container_go_together(stage):
    press(stage, "l/13.1\rc")
    assert listed(stage)[0] == '4 of 12 waiting for c1 hold "13.1"; 8 hidden, 3 for 2 others'
    stage.key("c")
    assert listed(stage)[0] == '2 of 2 waiting for c2 hold "13.1"; 0 hidden, 13 for 2 others'
    stage.key("\x1b")
    assert listed(stage)[0].startswith("15 waiting for 3 containers ")


def test_a_word_that_is_a_containers_name_holds_it_narrowed_too():
    stage = Stage(containers=["c1", "web-6", "web-7"])
    for at, container in enumerate(("c1", "web-6", "web-7")):
        stage.flood(container, 2, 1 + 100 * at)
    press(stage, "l/web\r")
    assert dests(stage) == [101, 201, 102, 202]
    stage.key("c")
    assert dests(stage) == [101, 102]
    assert listed(stage)[0] == '2 of 2 waiting for web-6 hold "web"; 0 hidden, 4 for 2 others'
    press(stage, "cc")
    assert dests(stage) == [101, 201, 102, 202], "c1 has nothing that holds it"


def test_one_container_is_all_there_is():
    stage = Stage()
    stage.flood("c1", 3)
    press(stage, "lc")
    assert "all of these are of one container" in stage.text
    assert " c " not in listed(stage)[-2] and "container" not in listed(stage)[-2]


def test_what_comes_meanwhile_is_counted_where_it_belongs(stage):
    press(stage, "lcc")
    stage.flood("c2", 1, 103)
    stage.flood("c3", 3, 202)
    stage.wait(2)
    assert listed(stage)[0] == "3 waiting for c2, 16 for 2 others, 1 new (space)"
    stage.key(" ")
    assert listed(stage)[0] == "3 waiting for c2, 16 for 2 others" and dests(stage) == [101, 102, 103]


@pytest.mark.parametrize("ends", ["stops", "is answered"])
def test_when_nothing_waits_any_more_for_that_container_all_is_shown_again(stage, ends):
    press(stage, "lcc1")
    if ends == "stops":
        stage.docket.stop("c2", stage.now)
    else:
        stage.answer("deny", *[one.id for one in stage.docket.waiting("c2")])
    stage.refresh()
    stage.wait(0.3)
    assert listed(stage)[0].startswith("13 waiting for 2 containers ")
    assert dests(stage) == [1, 101, 201, 2, 102, 3, 4, 5, 6], "each in its place"
    assert "\n".join(listed(stage)).count("answered meanwhile") == 2
    stage.type("1")  # what was meant for the row of another one marks, and answers nothing at once
    stage.wait(0.2)
    stage.type("s")
    stage.wait(0.2)
    assert "s came before one could read this" in stage.text
    assert all(one.container == "c2" for one in stage.docket.history)


def test_it_stops_while_a_word_is_typed_or_addresses_are_counted(stage):
    press(stage, "lcc/1")
    stage.docket.stop("c2", stage.now)
    stage.refresh()
    assert listed(stage)[-1] == "/ 1"
    stage.key("\r")
    assert listed(stage)[0].startswith("13 of 13 waiting for 2 containers hold ")
    press(stage, "\x1b/13.2\rc*a")
    assert "allowing 1 address" in stage.text
    stage.docket.stop("c3", stage.now)
    stage.refresh()
    stage.key("\x1b")
    assert listed(stage)[0].startswith("1 of 12 waiting for c1 hold ")


def test_on_a_dumb_terminal_it_is_printed_anew():
    stage = Stage(dumb=True, containers=ALL)
    stage.flood("c1", 2)
    stage.flood("c2", 1, 101)
    press(stage, "lcc")
    assert "2 waiting for c1, 1 for 1 other" in stage.text and "1 waiting for c2, 2 for 1 other" in stage.text
    before = len(stage.written)
    stage.docket.stop("c2", stage.now)
    stage.refresh()
    assert b"2 waiting for c1" in stage.written[before:]


LONG = "terok-agent-of-a-project-with-a-rather-long-name-%02d-abcdefgh"


@pytest.mark.parametrize("width, height", [(80, 24), (40, 12), (20, 12)])
@pytest.mark.parametrize("names", [ALL, [LONG % 1, LONG % 2]], ids=["short", "long"])
def test_whose_rows_these_are_is_never_cut(width, height, names):
    """Where the header has no room for the whole name, it stands on each row, as in the list of all."""
    stage = Stage(width, height, containers=names)
    for last, container in enumerate(names):
        stage.flood(container, 3, 10 * last)
    stage.key("l")
    for container in names:
        stage.key("c")
        text = "".join("".join(listed(stage)).split())
        assert container in text
        assert not any(other in text for other in names if other != container)
    assert stage.prompt._view.is_readable()


@pytest.mark.parametrize("width", [20, 38, 40, 60, 80, 100])
def test_the_line_of_keys_names_it_wherever_there_are_several(width):
    stage = Stage(width, 12, containers=ALL)
    for number in range(1, 4):
        stage.flood("c%d" % number, 9, 20 * number)
    for key in "lc ":
        stage.key(key)
        assert re.search(r"(^| )c( |$)", listed(stage)[-2]), listed(stage)[-2]


def test_what_is_muted_and_what_is_not_asked_is_told_of_that_container():
    stage = Stage(containers=["c1", "c2"])
    stage.flood("c1", 3)
    stage.flood("c2", 2, 101)
    stage.event("denied", "198.51.100.1", container="c1", count=5)
    stage.event("denied", "198.51.100.2", container="c2", count=70)
    stage.key("m")
    press(stage, "lc")
    assert listed(stage)[0] == "2 waiting for c2, 2 for 1 other"
    assert "not asked: 70 denied before" in "\n".join(listed(stage))
    stage.key("c")
    assert listed(stage)[0] == "2 waiting for c1, 2 for 1 other, 1 muted"
    assert "not asked: 5 denied before" in "\n".join(listed(stage))
    assert "  203.0.113.1  " in "\n".join(listed(stage))


# --- the history


@pytest.fixture
def answered():
    stage = Stage(containers=["c1", "c2"])
    stage.flood("c1", 12)
    stage.flood("c2", 2, 101)
    stage.known["c2", "203.0.113.102"] = [name("www.example.com")]
    for one in stage.docket.waiting("c2") + stage.docket.waiting("c1"):
        stage.answer("skip", one.id)
    stage.refresh()
    return stage


def test_the_history_of_one_container(answered):
    press(answered, "h")
    assert listed(answered)[0].startswith("14 answered, newest first ")
    assert "c one container" in answered.keys
    answered.key("c")
    assert listed(answered)[0].startswith("12 answered for c1, 2 for others, newest first ")
    answered.key("c")
    assert listed(answered)[0] == "2 answered for c2, 12 for others, newest first"
    assert answered.keys == "1-2 asks that again   c next container   ESC: all   h back"
    answered.key("2")
    assert [one.container for one in answered.docket.waiting()] == ["c2"]


def test_the_history_of_all_again(answered):
    press(answered, "hcc\x1b")
    assert listed(answered)[0].startswith("14 answered, newest first ")
    press(answered, "ccc")
    assert listed(answered)[0].startswith("14 answered, newest first ")
    answered.key("\x1b")
    assert "answered" not in answered.keys and "h back" not in answered.keys


@pytest.mark.parametrize("number", [0, 3])
def test_the_history_of_one_container_only(number):
    stage = Stage()
    for last in range(number):
        stage.blocked(f"203.0.113.{last}")
        stage.key("s")
    press(stage, "hc")
    assert "all of these are of one container" in stage.text
    assert " c " not in stage.keys
