"""Containers whose names are long and alike: whose a question, a row or an answer is, is never cut."""

from __future__ import annotations

import re

import pytest
from stage import Stage

ALIKE = ["terok-agent-%s-of-a-project-with-a-rather-long-name-abcdef" % part for part in ("01", "02")]
SIZES = [(80, 24), (40, 12)]


def squeezed(lines):
    return "".join("".join(lines).split())


@pytest.mark.parametrize("width, height", SIZES)
def test_a_question_says_whose_it_is(width, height):
    stage = Stage(width, height, containers=ALIKE)
    for container in ALIKE:
        stage.blocked(container=container)
    for container in ALIKE:
        assert squeezed(stage.text[-height * width :].split("\n")).count(container) == 1
        assert stage.prompt._view.is_readable()
        stage.key("s")


def test_on_a_wide_screen_it_takes_no_line_more():
    stage = Stage(containers=ALIKE)
    stage.blocked(container=ALIKE[0])
    assert stage.shown[:2] == [
        ALIKE[0],
        "  203.0.113.10  tcp 443 https                        17:32:05   1 try, uid 1000",
    ]


def test_a_window_that_is_too_small_to_say_whose_it_is_takes_no_answer():
    stage = Stage(20, 6, containers=ALIKE)
    stage.blocked(container=ALIKE[0])
    stage.key("a")
    assert "too small" in " ".join(stage.text.split()) and stage.commands == []


@pytest.mark.parametrize("width, height", [*SIZES, (20, 12)])
def test_no_line_about_an_answer_is_too_wide(width, height):
    stage = Stage(width, height, containers=["c1", *(one[:34] for one in ALIKE)])
    stage.blocked(container=ALIKE[0][:34])
    for key in "auyh":  # the stage looks at what is painted
        stage.key(key)
    if height > 12:
        assert [command.split()[0] for command in stage.commands] == ["allow", "deny"]


def test_the_line_of_an_answer_tells_those_apart_that_are_alike():
    stage = Stage(containers=ALIKE)
    for container in ALIKE:
        stage.blocked(container=container)
    for key in "aa":
        stage.key(key)
    assert "terok-agent-01-of-a..er-long-name-abcdef  a allow 203.0.113.10 ... done" in stage.text
    assert "terok-agent-02-of-a..er-long-name-abcdef  a allow 203.0.113.10 ... done" in stage.text


def test_an_undo_says_for_whom():
    stage = Stage(containers=ALIKE)
    stage.blocked(container=ALIKE[1])
    stage.key("a")
    stage.key("u")
    assert ALIKE[1] in " ".join(stage.text.rpartition("u undoes")[2].split())


def test_counts_stand_below_each_other_whatever_the_containers_are_called():
    stage = Stage(containers=["c1", *ALIKE])
    for container in ("c1", *ALIKE):
        stage.blocked(container=container)
    stage.key("l")
    rows = [line for line in stage.shown if re.match(r"     \d  ", line)]
    assert len(rows) == 3 and all(row.endswith("  tcp 443        1 try") for row in rows)
    below = [line.strip() for line in stage.shown if line.startswith("        terok")]
    assert below == ALIKE
