"""A hundred containers on one screen: what is the same for many is told once, in a few lines."""

from __future__ import annotations

import pytest
from stage import Stage

from simple_clearance.base.happenings import Watching
from simple_clearance.prompt.many import names_text
from simple_clearance.prompt.notices import greeting_lines

HUNDRED = ["c%d" % number for number in range(1, 101)]
LONG = ["terok-agent-%03d-of-a-project-with-a-rather-long-name-abcdef" % number for number in range(100)]


def told(stage):
    """All that is told in the next minute."""
    before = len(stage.text)
    stage.refresh()
    for _ in range(30):
        stage.wait(2.1)
    return stage.text[before:]


@pytest.fixture
def stage():
    return Stage(containers=HUNDRED)


@pytest.mark.parametrize(
    "names, text",
    [
        (["c1"], "c1"),
        (["c1", "c2", "c3"], "c1, c2, c3"),
        (["c1", "c2", "c3", "c4"], "c1, c2 and 2 more"),
        (HUNDRED, "c1, c2 and 98 more"),
    ],
)
def test_of_many_names_the_first_are_told(names, text):
    assert names_text(names) == text


def test_the_greeting_of_many_says_what_differs_the_worst_first():
    watched = [Watching(one, {"task": "t-7"}, "up") for one in HUNDRED]
    assert greeting_lines(watched, 79) == ["watching 100 containers: shields up", "  c1, c2 and 98 more"]
    for at, state in ((0, "down"), (1, "down"), (7, "quarantine"), (9, "odd")):
        watched[at].state = state
    watched[11].held_by = watched[12].held_by = 4711
    watched[13].taken_over = 4712
    watched[14].missed = 3
    watched[15].unseen = watched[16].unseen = ["its look-ups can't be read"]
    assert greeting_lines(watched, 79, "none but these is waited for") == [
        "watching 100 containers: 96 shields up",
        "  c1, c2 and 98 more",
        "! c8: the shield is in quarantine: everything is blocked, an allow fails",
        "! c1, c2: the shield is down: connections are let through, only the floor and",
        "  denies hold",
        "! c10: the shield is odd",
        "c16, c17: its look-ups can't be read",
        "terok-shield's readers hold the packet logs of c12, c13: questions come up to 1",
        "  s late, retries within 30 s and what an answer did are not seen",
        "  --take-over ends these readers and shows all of it",
        "terok-shield's readers of c14 were ended. Until the next start of these",
        "  containers their audit logs get no blocked lines, and a hub would take them",
        "  for stopped",
        "c15: some was blocked before this start: asked when it is tried again",
        "none but these is waited for",
    ]


def test_a_few_are_greeted_each_by_itself():
    watched = [Watching(one, {}, "up") for one in HUNDRED[:5]]
    assert greeting_lines(watched, 79) == ["watching %s: shield up" % one for one in HUNDRED[:5]]


@pytest.mark.parametrize("width, most", [(80, 24), (40, 50), (20, 100)])
def test_the_worst_greeting_is_no_longer_for_more_containers(width, most):
    """Each has a long name, and something of all that may be missing."""
    states = ["down", "up", "quarantine", "disengaged"]
    watched = [
        Watching(one, {}, states[at % 4], missed=at % 3, held_by=4711 * (at % 2), unseen=["something"])
        for at, one in enumerate(LONG)
    ]
    lines = greeting_lines(watched, width - 1)
    assert len(lines) <= most and all(len(line) < width for line in lines)
    assert abs(len(lines) - len(greeting_lines(watched[:24], width - 1))) <= 1


def test_many_that_stop_at_once_are_told_as_one(stage):
    for container in HUNDRED[:30]:
        stage.docket.stop(container, stage.now)
    assert told(stage).split("\n")[0].endswith("c1, c2 and 28 more: the container has stopped")
    assert stage.text.count("has stopped") == 1


def test_a_few_that_stop_are_told_each(stage):
    for container in HUNDRED[:3]:
        stage.docket.stop(container, stage.now)
    text = told(stage)
    assert all("%s: the container has stopped" % container in text for container in HUNDRED[:3])


def test_many_shields_that_go_down_are_told_as_one_and_not_with_those_that_are_disengaged(stage):
    for at, container in enumerate(HUNDRED[:20]):
        stage.docket.shields.state(container, "down" if at < 19 else "disengaged", stage.now)
    text = " ".join(told(stage).split())
    assert "! c1, c2 and 17 more: the shield is down: " in text
    assert "! c20: the shield is disengaged: " in text


def test_many_that_begin_to_be_watched_are_told_as_one(stage):
    for container in HUNDRED[:20]:
        stage.docket.started(Watching(container, {"task": "t-7"}, "up"))
    stage.docket.started(Watching("c50", {}, "up", missed=2))
    text = told(stage)
    assert "now watching c1, c2 and 18 more: shield up" in text
    assert "now watching c50" in text and text.count("now watching") == 2


def test_many_that_lose_at_once_are_told_as_one_loss(stage):
    for container in HUNDRED[:30]:
        stage.docket.lost(container, 7, "kernel")
    stage.docket.lost("c99", 5, "table")
    text = " ".join(told(stage).split())
    assert "! c1, c2 and 28 more: 210 packets were lost at " in text
    assert "! c99: 5 packets were lost at " in text and text.count("were lost") == 2


def test_of_a_few_each_says_what_it_has_lost(stage):
    for container in HUNDRED[:3]:
        stage.docket.lost(container, 7, "kernel")
    assert told(stage).count("7 packets were lost at ") == 3
