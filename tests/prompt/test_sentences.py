"""One table of sentences, two layouts: a terminal and a journal say the same in the same words."""

from __future__ import annotations

import shlex

import pytest

from simple_clearance.base.errors import Command
from simple_clearance.base.happenings import Watching
from simple_clearance.fronts.journal import Journal, plain
from simple_clearance.prompt.notices import Gathered, greeting_lines, notice_lines, verdict_lines
from simple_clearance.prompt.sentences import (
    ALREADY,
    LOST,
    REASONS,
    SENTENCES,
    SHIELD_STATES,
    STILL_REASONS,
    UNKNOWN,
    greetings,
    repeat_commands,
)

VERDICT = {
    **{"type": "verdict", "id": "r1", "ids": ["r1"], "container": "c1", "action": "allow"},
    **{"target": "203.0.113.10", "by": "operator", "rule": None, "result": "applied", "reason": None},
    **{"error": None, "seconds": 0.31, "opened": [], "undo": False},
}


def words(text):
    """Without what a layout adds: marks, breaks, and what joins the parts of a line."""
    for mark in ("!", "|", ";", ":", "(hint", ")"):
        text = text.replace(mark, " ")
    return [word for word in text.split() if word not in ("hint", "error")]


def record(kind, **fields):
    return {"type": kind, "container": "c1", "dest": "203.0.113.10", **fields}


@pytest.mark.parametrize(
    "told",
    [
        record("passed", seconds=1.2),
        *(record("still_blocked", count=3, reason=reason) for reason in (None, *STILL_REASONS)),
        record("container", state="stopped", reason=None),
        record("container", state="stopped", reason="the hub is active", hint="ask there"),
        record("container", state="started", dossier={"project": "demo"}, shield_state="down", missed=2),
        record("container", state="started", dossier={}, held_by=4711, unseen=["something"]),
        *(record("shield", state=state) for state in (*SHIELD_STATES, "of a version to come")),
        *(record("lost", count=n, where=where) for where in (*LOST, *UNKNOWN, "attic") for n in (1, 7)),
        record("error", message="c1: something is wrong"),
        record("error", message="c1: too many", hint="sysctl -w a.b=1"),
        record("summary", allowed=3, open=2, exit=5),
        record("summary", dry_run=3, exit=0),
        record("summary", lost=3, gaps=2, exit=5),
        record("note", message="all is well"),
    ],
    ids=lambda told: "%s %s" % (told["type"], told.get("state") or told.get("reason") or ""),
)
@pytest.mark.parametrize("width", [30, 79, 300])
def test_a_terminal_and_a_journal_say_the_same(told, width):
    line = Journal().line(told)
    assert line and "\n" not in line
    assert words(" ".join(notice_lines(told, width, "17:32:05"))) == words(line)


@pytest.mark.parametrize(
    "more",
    [
        *({"reason": reason} for reason in (None, *ALREADY)),
        {"target": "www.example.com", "opened": ["203.0.113.%d" % n for n in range(7)]},
        {"target": "www.example.com"},
        *({"result": "failed", "reason": reason, "error": "Error: no / because"} for reason in REASONS),
        *({"result": "failed", "reason": reason, "error": "no"} for reason in ("exit", "not-started")),
        {"result": "failed", "reason": "exit", "undo": True},
        *({"result": "unknown", "reason": reason} for reason in ("timeout", "ended")),
        {"result": "unknown", "reason": "ended", "error": "Error: so far"},
        {"result": "dry-run"},
    ],
    ids=lambda more: " ".join(str(value) for value in more.values())[:40],
)
def test_a_terminal_and_a_journal_tell_the_same_of_a_verdict(more):
    told = {**VERDICT, **more}
    lines = verdict_lines(told, [], 300, ".com" in told["target"], "shield", "")
    _, outcome = " ".join(line.strip() for line in lines).split(" ... ")
    start = "c1: allow %s (operator): " % told["target"]
    line = Journal().line(told)
    assert line.startswith(start)
    assert words(outcome.replace("| shield: ", "")) == words(line[len(start) :])


@pytest.mark.parametrize(
    "more, lines",
    [
        ({}, ["watching c1 (demo): shield up"]),
        ({"state": ""}, ["watching c1 (demo)"]),
        (
            {"state": "quarantine"},
            [
                "watching c1 (demo): shield quarantine",
                "c1: the shield is in quarantine: everything is blocked, an allow fails",
            ],
        ),
        (
            {"missed": 1},
            ["watching c1 (demo): shield up; blocked once before this start: asked when it is tried again"],
        ),
        (
            {"missed": 2, "held_by": 4711},
            [
                "watching c1 (demo): shield up, through its audit log;"
                " blocked 2 times before this start: asked when it is tried again;"
                " terok-shield's reader (pid 4711) holds the packet log: questions come up to 1 s late,"
                " retries within 30 s and what an answer did are not seen;"
                " --take-over ends that reader and shows all of it"
            ],
        ),
        (
            {"taken_over": 4711},
            [
                "watching c1 (demo): shield up; terok-shield's reader (pid 4711) was ended."
                " Until the container's next start its audit log gets no blocked lines,"
                " and a hub would take it for stopped"
            ],
        ),
        ({"source": "replay"}, ["replaying a recording of c1: no verdict is run"]),
    ],
)
def test_the_start_says_what_is_watched_and_what_is_missing(more, lines):
    fields = {"state": "up", **more}
    watching = [Watching("c1", {"project": "demo"}, **fields)]
    told = [plain(sentence) for sentence in greetings(watching, 200)]
    assert told == lines
    assert words(" ".join(greeting_lines(watching, 79))) == words(" ".join(lines))


def test_what_waits_behind_a_name_is_told_only_on_the_screen():
    told = {**VERDICT, "target": "www.example.com", "opened": ["203.0.113.11"]}
    elsewhere = ["203.0.113.10", "203.0.113.12"]
    assert verdict_lines(told, elsewhere, 79, True, "terok-shield", "  ") == [
        "  A allow www.example.com ... done in 0.3 s: opened 203.0.113.11",
        "  ! not 203.0.113.10 and 1 more, which were blocked: this host resolves the",
        "    name elsewhere",
        "    each is asked again, as an address",
    ]


@pytest.mark.parametrize("action, done", [("allow", "allowed"), ("deny", "denied")])
def test_what_closes_a_request_that_somebody_else_decided_is_told_only_on_the_screen(action, done):
    told = {"type": "recorded", "container": "c1", "dest": "203.0.113.10", "action": action}
    assert Journal().line(told) == f"c1: 203.0.113.10: {done} by somebody else"
    assert notice_lines(told, 100, "17:32:05") == [
        f"c1  203.0.113.10: {done} by somebody else at 17:32:05; it still waits here: s closes it"
    ]


def test_every_sentence_of_the_table_is_one_of_these():
    """Whoever adds one adds it to the tests above."""
    assert set(SENTENCES) == {
        *("verdict", "passed", "still_blocked", "container", "recorded"),
        *("shield", "lost", "error", "note", "summary"),
    }


@pytest.mark.parametrize("width", [30, 60])
def test_a_hint_in_words_is_folded_as_words_are(width):
    hint = "see what it is with ps -fp 4711; one program at a time can read a container's packet log"
    told = notice_lines(record("error", message="c1: held", hint=hint), width, "")
    assert " ".join(map(str.strip, told[1:])) == "hint: " + hint
    assert all(line.startswith("  ") and len(line) <= width for line in told[1:])


@pytest.mark.parametrize(
    "numbers, told",
    [
        ({"lost": 3}, "3 lost"),
        ({"lost": 3, "gaps": 1}, "2 lost, 1 gap in what was seen"),
        ({"lost": 2, "gaps": 2}, "2 gaps in what was seen"),
    ],
)
def test_of_a_time_in_which_nobody_watched_no_number_of_events_is_made_up(numbers, told):
    assert Journal().line(record("summary", exit=5, **numbers)) == "stopped: %s; exit code 5" % told
    for where in UNKNOWN:
        text = Journal().line(record("lost", count=numbers["lost"], where=where))
        assert text.startswith("c1: something may have been lost (")


@pytest.mark.parametrize("later", [39, 60, 79])
def test_a_quoted_word_longer_than_a_line_stays_one_word(later):
    """A command is copied: a break inside of its quotes would be part of it."""
    word = "'/srv/%s/a folder'" % ("two words " * 5)
    hint = Command(f"chmod u+r {word} and more")
    gathered = Gathered()
    gathered.notice("c1", notice_lines(record("error", message="c1: something", hint=hint), 79, ""))
    pasted = "\n".join(gathered.batch(later, "17:32:05")[1:]).replace("\\\n", "")
    assert shlex.split(pasted) == ["hint:", *shlex.split(hint)]


HOSTILE = "\x1b[2J" + "x" * 10_000 + "\r\n\u202eend"


@pytest.mark.parametrize(
    "told",
    [
        record("shield", state=HOSTILE),
        record("lost", count=1, where=HOSTILE),
        record("error", message=HOSTILE),
        record("error", message="c1: something is wrong", hint=HOSTILE),
    ],
    ids=["a state", "where something was lost", "a message", "a hint"],
)
def test_what_comes_from_outside_is_escaped_and_bounded(told):
    for text in (*notice_lines(told, 1_000_000, "17:32:05"), Journal().line(told)):
        assert text.isascii() and text.isprintable() and len(text) < 600
    assert r"\u202eend" in Journal().line(told), "its end is kept"


@pytest.mark.parametrize("number, told, more", [(1, 1, 0), (8, 8, 0), (9, 7, 2), (103, 7, 96)])
def test_commands_to_repeat_stay_under_ten_lines(number, told, more):
    words = [("c1", f"203.0.113.{last}", "allow") for last in range(number)]
    assert repeat_commands(words, "terok-shield") == [
        *(f"terok-shield allow c1 203.0.113.{last}" for last in range(told)),
        *(["and %d more, which --log keeps" % more] if more else []),
    ]
