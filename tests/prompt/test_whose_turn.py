"""Where something waits for several containers, they take turns: no flood of one hides what another wants."""

from __future__ import annotations

import re

import pytest
from stage import Bench, Stage, tables
from support import lines_run

from simple_clearance.prompt.groups import Groups

HEAD = re.compile(r"^(\S+)  (203\.0\.113\.\d+)  tcp", re.M)


class Asked(Stage):
    @property
    def asked(self):
        """The container and the address of the question that was painted last."""
        return HEAD.findall(self.text)[-1]

    def wants(self, container, last):
        self.blocked("203.0.113.%d" % last, container=container)


@pytest.fixture
def stage():
    return Asked(containers=["c1", "c2", "c3"])


@pytest.mark.parametrize("key", ["a", "d", "s", "m"])
def test_after_an_answer_the_next_question_is_of_the_container_that_was_asked_about_longest_ago(stage, key):
    stage.flood("c1", 3)
    stage.flood("c2", 2, 11)
    stage.flood("c3", 1, 21)
    asked = []
    for _ in range(6):
        asked.append(stage.asked)
        stage.key(key)
    assert [container for container, _ in asked] == ["c1", "c2", "c3", "c1", "c2", "c1"]
    assert [dest for container, dest in asked if container == "c1"] == [
        "203.0.113.1",
        "203.0.113.2",
        "203.0.113.3",
    ]


def test_of_one_container_they_come_as_they_came():
    stage = Asked()
    stage.flood("c1", 4)
    asked = []
    for key in "sads":
        asked.append(stage.asked[1])
        stage.key(key)
    assert asked == ["203.0.113.%d" % last for last in (1, 2, 3, 4)]


def test_who_was_never_asked_about_comes_before_who_was_and_of_those_who_waits_longest(stage):
    stage.flood("c1", 9)
    stage.key("s")
    stage.wants("c3", 31)
    stage.wants("c2", 21)
    stage.key("s")
    assert stage.asked == ("c3", "203.0.113.31")
    stage.key("s")
    assert stage.asked == ("c2", "203.0.113.21")
    stage.wants("c3", 32)
    stage.key("s")
    assert stage.asked == ("c1", "203.0.113.3"), "c3 has just been asked about"
    stage.key("s")
    assert stage.asked == ("c3", "203.0.113.32")


def test_one_that_wants_something_again_each_time_it_is_answered_does_not_go_before_the_others(stage):
    stage.flood("c2", 20, 101)
    asked = []
    for turn in range(8):
        stage.wants("c1", 1 + turn)
        asked.append(stage.asked[0])
        stage.key("s")
    assert asked == ["c2", "c1"] * 4


@pytest.mark.parametrize("keys", ["ll", "hh", "l\x1b", "l12\x1b", "?", "i", "\x0c", "An", "qn", "x"])
def test_what_only_looks_away_ends_no_turn(stage, keys):
    Bench.blocked(stage, "203.0.113.1", names=["www.example.com"])
    stage.flood("c1", 3, 2)
    stage.flood("c2", 2, 11)
    for key in keys:
        stage.key(key)
    assert stage.asked == ("c1", "203.0.113.1")
    stage.key("s")
    assert stage.asked == ("c2", "203.0.113.11")


def test_an_undo_leaves_the_question_that_stands(stage):
    stage.flood("c1", 3)
    stage.flood("c2", 3, 11)
    stage.key("d")
    assert stage.asked == ("c2", "203.0.113.11")
    stage.key("u")
    stage.key("y")
    assert stage.commands == ["deny c1 203.0.113.1", "allow c1 203.0.113.1"]
    assert stage.asked == ("c2", "203.0.113.11")
    stage.key("s")
    assert stage.asked == ("c1", "203.0.113.2")


def test_one_that_failed_goes_behind_those_of_its_container_and_costs_a_turn(stage):
    stage.result = {"result": "failed"}
    stage.flood("c1", 2)
    stage.flood("c2", 1, 11)
    asked = []
    for _ in range(4):
        asked.append(stage.asked)
        stage.key("a")
    assert asked == [
        ("c1", "203.0.113.1"),
        ("c2", "203.0.113.11"),
        ("c1", "203.0.113.2"),
        ("c2", "203.0.113.11"),
    ]
    assert stage.asked == ("c1", "203.0.113.1")


def test_one_that_vanishes_has_had_its_turn(stage):
    stage.flood("c1", 3)
    stage.flood("c2", 3, 11)
    stage.answer("skip", "r1")
    stage.refresh()
    stage.wait(1)
    assert "answered meanwhile" in stage.text and stage.asked == ("c2", "203.0.113.11")
    stage.docket.stop("c2", stage.now)
    stage.refresh()
    stage.wait(1)
    assert "the container has stopped" in stage.text and stage.asked == ("c1", "203.0.113.2")


def test_one_that_the_operator_chose_counts_as_its_containers_turn(stage):
    stage.flood("c1", 3)
    stage.flood("c2", 3, 11)
    stage.flood("c3", 1, 21)
    stage.key("l")
    stage.key("5")  # c2's second one
    stage.key("\r")
    assert stage.asked == ("c2", "203.0.113.12") and "5 of 7" in stage.text
    stage.key("s")
    assert stage.asked == ("c1", "203.0.113.1"), "it was not answered when the list was opened"
    stage.key("s")
    assert stage.asked == ("c3", "203.0.113.21")


def test_how_many_wait_are_all_that_wait(stage):
    stage.flood("c1", 3)
    stage.flood("c2", 2, 11)
    stage.wait(2)
    stage.key("s")
    assert stage.asked[0] == "c2" and "1 of 4" in stage.text and "+3 wait" in stage.keys


def test_the_list_has_the_order_in_which_they_would_be_asked_about(stage):
    stage.flood("c1", 12)
    stage.flood("c2", 1, 101)
    stage.flood("c3", 2, 201)
    order = [(key[0], key[1]) for key in stage.prompt.groups.in_order()]
    assert [container for container, _ in order] == ["c1", "c2", "c3", "c1", "c3", *["c1"] * 10]
    asked = []
    for _ in order:
        asked.append(stage.asked)
        stage.key("s")
    assert asked == order


def next_of_a_flood(number, containers):
    """The work for ten questions, each answered, beside so many requests of one container."""
    bench = Bench()
    for at in range(1, containers + 1):
        bench.docket.add_container("c%d" % at, 18, {})
    groups = Groups(bench.docket)
    for at in range(number):
        bench.blocked("10.%d.%d.%d" % (at >> 16, at >> 8 & 255, at & 255), 443)
    for at in range(2, containers + 1):
        bench.blocked("203.0.113.1", container="c%d" % at)

    def work():
        for _ in range(10):
            group = groups.first()
            groups.asked(group)
            assert bench.answer("skip", *group.ids)

    return work


def test_the_next_question_costs_the_same_however_many_wait():
    few, many = (lines_run(next_of_a_flood(number, 100)) for number in (200, 4000))
    assert many < 1.1 * few


def test_nothing_is_left_of_a_container_that_is_forgotten(stage):
    """They may come under ever new names."""
    stage.wants("c3", 1)
    stage.wants("c2", 2)
    for key in "sll":
        stage.key(key)
    assert stage.asked == ("c2", "203.0.113.2")
    assert mentions(stage.prompt, "c3")
    stage.docket.stop("c3", stage.now)
    stage.wait(5)
    assert stage.docket.forget("c3")
    assert not mentions(stage.prompt, "c3")


def mentions(thing, container):
    """The tables that hang on it and have this container among their keys."""
    return [table for table in tables(thing) if isinstance(table, dict) and container in table]
