"""The protocol for scripts: what an answer line may be, what a record becomes, what a slow reader loses.

The invariant of the walk: an answer decides the request that it cites, or nothing at all.
"""

from __future__ import annotations

import json
import random

import pytest

from simple_clearance.base.happenings import Event, Name, Watching
from simple_clearance.base.moment import Now
from simple_clearance.docket import policy
from simple_clearance.docket.docket import Docket
from simple_clearance.docket.states import DECIDING, OPEN
from simple_clearance.docket.verdict import APPLIED, DRY_RUN, FAILED, UNKNOWN, Outcome
from simple_clearance.fronts import protocol
from simple_clearance.fronts.journal import Journal
from simple_clearance.fronts.protocol import Answers, BadAnswer, Outbox, line, parse_answer, safe


def now(seconds=0.0):
    return Now(1000.0 + seconds, 1_770_000_000.0 + seconds)


def blocked(number=0, port=443, private=False):
    return Event("pending", "198.51.100.%d" % number, port, 6, private=private)


class Script:
    """A docket with some open requests, and the answers of a script to it."""

    def __init__(self, requests=1, names=()):
        self.docket = Docket(names=lambda container, dest: known)
        self.errors = []
        self.answers = Answers(self.docket, lambda message, line: self.errors.append((message, line)))
        known = tuple(Name(name, "", "") for name in names)
        for number in range(requests):
            self.docket.handle("c1", blocked(number), now())

    def say(self, text):
        self.answers.feed(text if isinstance(text, bytes) else text.encode(), now())

    @property
    def jobs(self):
        return [(job.action, job.target, job.by) for job in self.docket.jobs()]

    @property
    def open(self):
        return [request.id for request in self.docket.waiting()]


# --- a line


@pytest.mark.parametrize(
    "text, answer",
    [
        ("allow r1", ("allow", "r1", "")),
        ("allow r1 www.example.com", ("allow", "r1", "www.example.com")),
        ("deny r12", ("deny", "r12", "")),
        ("skip r1", ("skip", "r1", "")),
        ("mute r1", ("mute", "r1", "")),
        ("undo r1", ("undo", "r1", "")),
        ("ask r1", ("ask", "r1", "")),
        pytest.param("allow r1\r", ("allow", "r1", ""), id="a carriage return at the end"),
        pytest.param("  allow \t r1  ", ("allow", "r1", ""), id="blanks and tabs around the words"),
        pytest.param("allow " + "r" * 64, ("allow", "r" * 64, ""), id="the longest id"),
    ],
)
def test_an_answer_is_an_action_an_id_and_perhaps_a_name(text, answer):
    assert parse_answer(text.encode()) == answer


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"allow", id="no id"),
        pytest.param(b"r1", id="no action"),
        pytest.param(b"ALLOW r1", id="upper case"),
        pytest.param(b"allowr1", id="no blank"),
        pytest.param(b"yes r1", id="another word"),
        pytest.param(b"redo r1", id="no action of this protocol"),
        pytest.param(b"undo", id="nothing to undo"),
        pytest.param(b"undo r1 www.example.com", id="a name to undo"),
        pytest.param(b"ask r1 www.example.com", id="a name to ask"),
        pytest.param(b"deny r1 www.example.com", id="a name to deny"),
        pytest.param(b"skip r1 r2", id="two ids"),
        pytest.param(b"allow r1 www.example.com www.example.org", id="two names"),
        pytest.param(b"allow r1; deny r2", id="two answers"),
        pytest.param(b"allow r1\rdeny r2", id="a carriage return inside"),
        pytest.param(b"allow r1\0", id="a NUL"),
        pytest.param(b"allow\0r1", id="a NUL for the blank"),
        pytest.param(b"allow\xa0r1", id="a no-break space for the blank"),
        pytest.param(b"allow\x0br1", id="a vertical tab for the blank"),
        pytest.param("allow r\u0661".encode(), id="a digit of another script"),
        pytest.param(b"allow " + b"r" * 65, id="too long an id"),
        pytest.param(b"allow r1 " + b"a" * 254, id="too long a name"),
        pytest.param(b"\xef\xbb\xbfallow r1", id="a byte order mark"),
        pytest.param(b'{"allow":"r1"}', id="JSON"),
    ],
)
def test_anything_else_is_no_answer(text):
    with pytest.raises(BadAnswer):
        parse_answer(text)


def test_no_bytes_whatever_do_more_than_be_no_answer(rounds):
    """The invariant: parses, or raises our one error, never anything else."""
    chance = random.Random(7)
    for _ in range(rounds(20_000)):
        lines = (b"allow r1 www.example.com", b"deny r1", b"skip r2 ", b"undo r1", b"ask r3", b"")
        text = bytearray(chance.choice(lines))
        for _ in range(chance.randrange(1, 4)):
            text[chance.randrange(len(text) + 1) : chance.randrange(len(text) + 1)] = bytes(
                chance.choices((0, 9, 10, 13, 32, 97, 0x7F, 0x80, 0xFF), k=chance.randrange(3))
            )
        try:
            action, request_id, name = parse_answer(bytes(text))
        except BadAnswer:
            continue
        assert action in protocol.ACTIONS
        assert request_id.isprintable() and request_id.isascii() and " " not in request_id
        assert name.isprintable() and name.isascii() and " " not in name


# --- the stream


TALK = b"allow r1\n\r\n  \nrubbish\ndeny r2\r\nskip r3\nmute r4\nallow r9\n"


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7, 1000])
def test_answers_may_come_in_any_pieces(cut):
    script = Script(5)
    for start in range(0, len(TALK), cut):
        script.say(TALK[start : start + cut])
    assert script.jobs == [("allow", "198.51.100.0", "script"), ("deny", "198.51.100.1", "script")]
    assert script.open == ["r5"]
    assert [line for _, line in script.errors] == ["rubbish", "allow r9"]


def test_blank_lines_are_nothing():
    script = Script()
    script.say("\n\r\n \t \n")
    assert (script.errors, script.open) == ([], ["r1"])


def test_an_overlong_line_is_one_error_and_the_next_line_counts():
    script = Script()
    script.say(b"allow r1" + b" " * 10_000_000)
    assert script.open == ["r1"]
    script.say(b"\nskip r1\n")
    assert [line for _, line in script.errors] == [".."]
    assert script.open == []


def test_an_overlong_line_in_one_piece_is_one_error():
    script = Script()
    script.say(b"x" * 5000 + b"\nskip r1\n" + b"y" * 5000 + b"\n")
    assert len(script.errors) == 2 and "4096" in script.errors[0][0]
    assert script.open == []


def test_half_a_line_at_the_end_decides_nothing():
    """`allow r1` may be the beginning of `allow r12`."""
    script = Script(12)
    script.say("skip r2\nallow r1")
    script.answers.finish()
    assert script.jobs == [] and len(script.open) == 11
    assert len(script.errors) == 1


def test_the_end_after_a_whole_line_is_no_error():
    script = Script()
    script.say("skip r1\n")
    script.answers.finish()
    assert script.errors == []


def test_the_end_within_an_overlong_line_is_one_error():
    script = Script()
    script.say(b"x" * 5000)
    script.answers.finish()
    assert len(script.errors) == 1


def test_what_is_quoted_of_a_bad_line_is_printable_and_bounded():
    script = Script()
    script.say(b"\x1b[31mred\x07\xff " + b"z" * 4000 + b"\n")
    ((_, line),) = script.errors
    assert line.startswith("\\x1b[31mred\\x07\\xff z") and line.isprintable() and line.isascii()
    assert len(line) < 250 and line.endswith("..")


# --- what it decides


@pytest.mark.parametrize(
    "text, problem",
    [
        ("allow r2", "no request r2 is open"),
        ("allow c1:1", "no request c1:1 is open"),
        ("allow R1", "no request R1 is open"),
        ("allow r01", "no request r01 is open"),
        ("allow r1 evil.example", "evil.example is no name of request r1"),
        ("allow r1 198.51.100.0", "198.51.100.0 is no name of request r1"),
        ("allow r1 0.0.0.0/0", "0.0.0.0/0 is no name of request r1"),
        ("allow r1 --help", "--help is no name of request r1"),
        ("allow r1 WWW.example.com", "WWW.example.com is no name of request r1"),
        ("allow r1 bad_label.example", "bad_label.example can be shown, but not be allowed as a name"),
    ],
)
def test_an_answer_that_fits_nothing_is_told_and_changes_nothing(text, problem):
    script = Script(names=("www.example.com", "bad_label.example"))
    script.docket.take()
    script.say(text + "\n")
    assert len(script.errors) == 1
    message, quoted = script.errors[0]
    assert message.startswith(problem) and quoted == text
    assert (script.jobs, script.open, script.docket.take()) == ([], ["r1"], [])


def test_a_name_of_the_request_is_allowed_as_a_name():
    script = Script(names=("www.example.com",))
    script.say("allow r1 www.example.com\n")
    assert script.jobs == [("allow", "www.example.com", "script")]
    assert script.errors == []


@pytest.mark.parametrize("second", ["allow r1", "deny r1", "skip r1", "mute r1"])
def test_a_request_is_answered_once(second):
    script = Script()
    script.say("allow r1\n%s\n" % second)
    assert script.jobs == [("allow", "198.51.100.0", "script")]
    assert script.errors == [("request r1 is being decided already", second)]


def test_an_answer_that_comes_too_late_is_told():
    script = Script()
    script.say("skip r1\n")
    script.say("allow r1\n")
    assert script.jobs == []
    assert script.errors[0][0].startswith("no request r1 is open: it was never told, or is closed already")


def test_after_a_failure_the_same_id_may_be_answered_again():
    script = Script()
    script.say("allow r1\n")
    (job,) = script.docket.jobs()
    script.docket.begin(job, now())
    script.docket.finish(job, Outcome(FAILED, "exit", "no"), now(1))
    script.say("deny r1\n")
    assert script.jobs == [("deny", "198.51.100.0", "script")]
    assert script.errors == []


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_decides_the_request_it_cites_or_nothing(seed):
    chance = random.Random(seed)
    script = Script(0)
    told, answered = {}, {}
    clock = 0.0
    for _ in range(400):
        clock += chance.choice((0.0, 0.1, 30.0))
        for record in script.docket.take():
            if record["type"] == "pending":
                assert record["id"] not in told, "an id is used once"
                told[record["id"]] = record
        step = chance.random()
        if step < 0.35:
            script.docket.handle("c1", blocked(chance.randrange(12), chance.choice((80, 443))), now(clock))
        elif step < 0.75:
            request_id = chance.choice([*told, "r0", "r9999", "x"])
            action = chance.choice(("allow", "deny", "skip", "mute"))
            before = script.docket.request(request_id)
            state = before.state if before is not None else None
            waited = {request.id: request.dest for request in script.docket.waiting()}
            jobs, errors = len(script.docket.jobs()), len(script.errors)
            script.answers.feed(("%s %s\n" % (action, request_id)).encode(), now(clock))
            gone = {key: dest for key, dest in waited.items() if key not in script.open}
            if state != OPEN:
                assert (gone, len(script.docket.jobs()), len(script.errors)) == ({}, jobs, errors + 1)
                continue
            assert len(script.errors) == errors
            assert gone.pop(request_id) == told[request_id]["dest"]
            assert all(dest == told[request_id]["dest"] for dest in gone.values()), "its address, or nothing"
            assert not gone or action in ("allow", "deny", "mute")
            if action in ("allow", "deny"):
                answered.setdefault(told[request_id]["dest"], []).append(action)
        else:
            for job in script.docket.runnable():
                script.docket.begin(job, now(clock))
                assert job.action in answered[job.target], "no verdict that was not asked for"
                result = chance.choice((APPLIED, FAILED, UNKNOWN, DRY_RUN))
                script.docket.finish(job, Outcome(result, "" if result == APPLIED else "exit"), now(clock))
    for request in script.docket.all_requests():
        assert request.state != DECIDING or any(request.id in job.ids for job in script.docket.jobs())


# --- what was closed


class Closed(Script):
    """A docket whose verdicts run at once."""

    def __init__(self, requests=1, names=()):
        super().__init__(requests, names)
        self.records = []
        self.clock = 0.0

    def say(self, text):
        self.answers.feed(text.encode(), now(self.clock))

    def run(self, result=APPLIED, opened=()):
        """Runs what waits; the verdict records of that."""
        self.records = []
        for job in self.docket.runnable():
            self.docket.begin(job, now(self.clock))
            self.docket.finish(job, Outcome(result, opened=opened), now(self.clock))
        self.records = self.docket.take()
        return [record for record in self.records if record["type"] == "verdict"]

    def block(self, number=0, seconds=0.0, **more):
        self.clock += seconds
        self.docket.handle("c1", blocked(number, **more), now(self.clock))


@pytest.mark.parametrize("action, opposite", [("allow", "deny"), ("deny", "allow")])
def test_undo_runs_the_opposite_of_what_closed_a_request(action, opposite):
    script = Closed()
    script.say("%s r1\n" % action)
    (verdict,) = script.run()
    assert (verdict["undo"], "undoes" in verdict) == (False, False)
    script.say("undo r1\n")
    assert (script.jobs, script.errors) == ([(opposite, "198.51.100.0", "script")], [])
    (undo,) = script.run()
    assert (undo["action"], undo["undo"], undo["undoes"], undo["id"]) == (opposite, True, "r1", None)


def test_undo_takes_the_id_of_any_request_that_a_verdict_closed():
    script = Closed(0)
    script.block(port=443)
    script.block(port=80)
    script.say("allow r1\n")
    assert script.run()[0]["ids"] == ["r1", "r2"]
    script.say("undo r2\n")
    assert script.run()[0]["undoes"] == "r1"


def test_undo_of_a_name_denies_the_name_though_it_led_elsewhere():
    script = Closed(names=("www.example.com",))
    script.say("allow r1 www.example.com\n")
    assert script.run(opened=("203.0.113.9",))[0]["elsewhere"] == ["r1"]
    script.say("undo r1\n")
    assert (script.jobs, script.open) == ([("deny", "www.example.com", "script")], ["r1"])


def test_an_earlier_id_of_a_request_still_stands_for_the_verdict_that_closed_it():
    script = Closed()
    script.say("allow r1\n")
    script.run()
    script.block(seconds=61)
    assert script.open == ["r2"]
    script.say("undo r1\n")
    assert script.run()[0]["undoes"] == "r1"


def test_an_undo_that_failed_may_be_wanted_again():
    script = Closed()
    script.say("allow r1\n")
    script.run()
    script.say("undo r1\n")
    script.run(FAILED)
    script.say("undo r1\n")
    assert script.jobs == [("deny", "198.51.100.0", "script")]
    assert script.errors == []


@pytest.mark.parametrize("action, state", [("skip", "skipped"), ("mute", "muted")])
def test_ask_opens_what_was_set_aside_under_a_new_id(action, state):
    script = Closed()
    script.say("%s r1\nundo r1\n" % action)
    assert script.errors == [("request r1 was %s: there is no verdict to undo" % state, "undo r1")]
    script.docket.take()
    script.say("ask r1\n")
    assert (script.open, len(script.errors)) == (["r2"], 1)
    assert [record["type"] for record in script.docket.take()] == ["unmuted"] * (action == "mute") + [
        "pending"
    ]
    script.block()
    assert script.open == ["r2"], "it stays open"


def test_ask_opens_what_a_verdict_closed_and_its_undo_still_fits():
    script = Closed()
    script.say("allow r1\n")
    script.run()
    script.say("ask r1\nundo r1\n")
    assert (script.open, script.jobs) == ([], [("deny", "198.51.100.0", "script")])
    script.run()
    assert script.open == [], "the deny has answered it, too"


def test_what_is_asked_again_is_for_whoever_asked():
    """No rule decides it, or it would be closed before anyone could answer."""
    script = Closed()
    script.docket.set_policy(policy.parse(b"skip 198.51.100.0\n", "rules"), now())
    assert script.open == []
    script.say("ask r1\n")
    assert script.open == ["r2"]


UNKNOWN_ID = "request %s is not known: it was never told, is asked under another id by now, or is forgotten"


@pytest.mark.parametrize(
    "before, text, problem",
    [
        pytest.param("", "undo r9", UNKNOWN_ID % "r9", id="undo: never told"),
        pytest.param("", "ask r9", UNKNOWN_ID % "r9", id="ask: never told"),
        pytest.param("", "undo r1", "request r1 is open: no verdict was applied to it", id="undo: open"),
        pytest.param("", "ask r1", "request r1 is open already", id="ask: open"),
        pytest.param("skip r1\nask r1", "ask r1", UNKNOWN_ID % "r1", id="ask: asked again by now"),
        pytest.param("allow r1", "ask r1", "request r1 is open already", id="ask: being decided"),
        pytest.param(
            "allow r1\n!\nundo r1",
            "undo r1",
            "the verdict on request r1 is undone already",
            id="undo: on its way",
        ),
        pytest.param(
            "allow r1\n!\nundo r1\n!",
            "undo r1",
            "the verdict on request r1 is undone already",
            id="undo: undone",
        ),
        pytest.param(
            "allow r1\n!\nask r1\ndeny r2\n!",
            "undo r1",
            "the verdict on request r1 stands no longer: a later one on 198.51.100.0 took it back",
            id="undo: a later verdict",
        ),
        pytest.param(
            "-", "undo r1", "request r1 was closed without a verdict of this session", id="undo: stopped"
        ),
        pytest.param("-", "ask r1", "c1 has ended: nothing is asked for it", id="ask: stopped"),
        pytest.param(
            "allow r1\n!\n-",
            "undo r1",
            "c1 has ended: nothing is run for it",
            id="undo: applied, then stopped",
        ),
    ],
)
def test_what_fits_nothing_that_was_closed_is_told_and_changes_nothing(before, text, problem):
    script = Closed()
    for step in before.splitlines():
        if step == "!":
            script.run()
        elif step == "-":
            script.docket.stop("c1", now())
        else:
            script.say(step + "\n")
    assert script.errors == []
    script.docket.take()
    jobs, waiting = script.jobs, script.open
    script.say(text + "\n")
    assert script.errors == [(problem, text)]
    assert (script.jobs, script.open, script.docket.take()) == (jobs, waiting, [])


@pytest.mark.parametrize("text", ["undo r1", "ask r1"])
def test_what_the_floor_refuses_is_neither_undone_nor_asked(text):
    script = Closed(0)
    script.docket.add_container("c1", 18, {})
    script.block(private=True)
    script.docket.take()
    script.say(text + "\n")
    ((message, _),) = script.errors
    assert message in (
        "request r1 was closed without a verdict of this session",
        "request r1 is not asked: the shield's floor refuses it above every allow",
    )
    assert (script.jobs, script.open, script.docket.take()) == ([], [], [])


@pytest.mark.parametrize("seed", range(20))
def test_undo_and_ask_are_about_the_request_they_cite_or_nothing(seed):
    """Held against the records alone, as a script knows them."""
    chance = random.Random(seed)
    script = Closed(0)
    told, closed, applied = {}, {}, {}
    for _ in range(600):
        script.clock += chance.choice((0.0, 0.1, 30.0))
        for record in [*script.records, *script.docket.take()]:
            if record["type"] == "pending":
                told[record["id"]] = record
            elif record["type"] == "closed":
                closed[record["id"]] = record["why"]
            elif record["type"] == "verdict" and record["result"] == APPLIED and not record["undo"]:
                for request_id in record["ids"]:
                    applied[request_id] = record
        script.records = []
        step = chance.random()
        if step < 0.25:
            script.block(chance.randrange(8), port=chance.choice((80, 443)))
        elif step < 0.5 and script.open:
            script.say("%s %s\n" % (chance.choice(protocol.ACTIONS[:4]), chance.choice(script.open)))
        elif step < 0.8:
            action, request_id = chance.choice(protocol.ACTIONS[4:]), chance.choice([*told, "r0", "x"])
            errors, jobs, waiting = len(script.errors), script.docket.jobs(), script.open
            script.say("%s %s\n" % (action, request_id))
            new = [job for job in script.docket.jobs() if job not in jobs]
            opened = [key for key in script.open if key not in waiting]
            if len(script.errors) > errors:
                assert (new, opened, script.open) == ([], [], waiting)
            elif action == "undo":
                ((job,), verdict) = new, applied[request_id]
                assert (job.target, job.undoes.action) == (verdict["target"], verdict["action"])
                assert job.action != verdict["action"] and opened == []
            else:
                assert request_id in closed and new == [] and len(opened) <= 1
                again = script.docket.request("r%d" % (len(told) + 1))
                assert (again.dest, again.port) == (told[request_id]["dest"], told[request_id]["port"])
        else:
            script.run(chance.choice((APPLIED, APPLIED, FAILED)))


# --- a record as a line


def test_a_line_begins_with_its_type_and_its_time():
    text = line({"id": "r1", "type": "closed", "why": "skipped"}, "2026-01-31T17:32:05.123Z")
    assert text == '{"type":"closed","ts":"2026-01-31T17:32:05.123Z","id":"r1","why":"skipped"}\n'


HOSTILE = ("\x1b]0;title\x07", "\u202egnp.exe", "a\nb\r", "\x7f\x80\x9b", "\U0001f4a9", "\ud800", "\0")


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_in_a_line_is_safe_to_print_after_decoding_too(text):
    record = {"type": "x", "a": text, "b": [text, {text: text}], "c": (text,), "n": 1, "t": True, "z": None}
    written = line(record, "t")
    assert written.endswith("\n") and written[:-1].isprintable() and written.isascii()

    def check(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                check(key)
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)
        elif isinstance(value, str):
            assert value.isprintable() and value.isascii()

    decoded = json.loads(written)
    check(decoded)
    assert (decoded["n"], decoded["t"], decoded["z"]) == (1, True, None)


def test_a_text_is_bounded_and_keeps_its_end():
    shown = safe("a" * 100_000 + "end")
    assert len(shown) <= protocol.TEXT_LIMIT and shown.endswith("end")


def test_the_first_record_names_the_protocol_and_every_container():
    first = Watching("c1", {}, "", container_id="f" * 64, source="nflog", shield=18, missed=2)
    record = protocol.session("1.2.3", [first, Watching("c2", {"task": "t-7"}, "up", source="replay")])
    assert (record["type"], record["protocol"], record["version"]) == ("session", 1, "1.2.3")
    assert record["containers"] == [
        {"name": "c1", "id": "f" * 64, "source": "nflog", "shield": 18, "missed": 2, "dossier": {}},
        {
            **{"name": "c2", "id": None, "source": "replay", "shield": None},
            **{"shield_state": "up", "dossier": {"task": "t-7"}},
        },
    ]


def test_the_last_record_ends_with_the_exit_code():
    record = protocol.summary(Docket().summary(), 5)
    assert list(record) == [
        *(
            "type",
            "allowed",
            "denied",
            "skipped",
            "muted",
            "failed",
            "unknown",
            "open",
            "lost",
            "untold",
            "exit",
        )
    ]
    assert record["exit"] == 5


def test_deciding_tells_what_is_about_to_be_run():
    script = Script(names=("www.example.com",))
    script.say("allow r1 www.example.com\n")
    record = protocol.deciding(script.docket.jobs()[0])
    assert (record["type"], record["id"], record["action"], record["target"], record["by"]) == (
        *("deciding", "r1", "allow", "www.example.com", "script"),
    )


# --- a consumer that does not read


class Slow:
    """A consumer that takes `room` bytes and then none."""

    def __init__(self, room):
        self.docket = Docket(report_again=True)
        self.outbox = Outbox(self.docket, room)
        self.sent = []
        self.backlog = 0

    def pump(self):
        for record in self.docket.take():
            admitted = self.outbox.admit(record, self.backlog)
            if admitted is not None:
                self.sent.append(admitted)
                self.backlog += len(line(admitted, "t"))

    def block(self, number, at=0.0):
        self.docket.handle("c1", blocked(number), now(at))
        self.pump()

    def ids(self, kind):
        return [record["id"] for record in self.sent if record["type"] == kind]


def test_beyond_its_limit_events_are_lost_and_counted():
    slow = Slow(1000)
    for number in range(50):
        slow.block(number)
    told = slow.ids("pending")
    assert told == ["r%d" % number for number in range(1, len(told) + 1)] and 3 < len(told) < 10
    assert slow.outbox.lost == 50 - len(told)
    assert slow.backlog < 1000 + 400


def test_a_verdict_and_the_end_of_a_told_request_are_never_lost():
    slow = Slow(1000)
    for number in range(50):
        slow.block(number)
    slow.docket.answer("allow", ["r1"], now(), "script")
    (job,) = slow.docket.jobs()
    slow.docket.begin(job, now())
    slow.docket.finish(job, Outcome(APPLIED, opened=(job.target,)), now())
    slow.docket.answer("skip", ["r2"], now(), "script")
    slow.pump()
    assert [record["type"] for record in slow.sent[-3:]] == ["verdict", "closed", "closed"]
    assert slow.ids("closed") == ["r1", "r2"]


def test_who_was_not_told_of_a_request_hears_nothing_of_its_end_either():
    slow = Slow(1000)
    for number in range(50):
        slow.block(number)
    slow.docket.close_all(now())
    slow.pump()
    assert slow.ids("closed") == slow.ids("pending")


def test_a_request_that_was_not_told_is_told_when_it_is_tried_again():
    slow = Slow(1000)
    for number in range(50):
        slow.block(number)
    slow.backlog = 0  # it has read
    slow.block(40, 2.0)
    slow.block(40, 4.0)
    assert slow.ids("pending")[-1] == "r41"
    record = next(record for record in slow.sent if record.get("id") == "r41")
    assert (record["type"], record["dest"], record["count"]) == ("pending", "198.51.100.40", 2)
    assert list(record) == list(slow.sent[0]), "the same fields as any other"
    assert slow.ids("again") == ["r41"]


def test_losses_are_told_when_half_has_been_read():
    outbox = Outbox(Docket(), 1000)
    assert not outbox.has_room(500) and outbox.has_room(499)


# --- lines for a journal


def journal(*records):
    it = Journal()
    return [line for line in map(it.line, records) if line]


def pending(**more):
    request = Script().docket.take()[0]
    request.update(more)
    return request


def verdict(**more):
    record = {
        **{"type": "verdict", "id": "r1", "ids": ["r1"], "container": "c1", "action": "allow"},
        **{"target": "198.51.100.0", "by": "answer", "rule": None, "result": "applied", "reason": None},
        **{"error": None, "seconds": 0.31, "opened": ["198.51.100.0"], "undo": False},
    }
    record.update(more)
    return record


CLOSED = {"type": "closed", "id": "r1", "by": "operator", "rule": None, "why": "applied"}


@pytest.mark.parametrize(
    "records, lines",
    [
        ([pending()], []),
        (
            [pending(names=["www.example.com"]), verdict(), CLOSED],
            ["c1: allow 198.51.100.0 for tcp 443 https (answer): done in 0.3 s | www.example.com"],
        ),
        (
            [
                pending(names=["www.example.com"]),
                verdict(
                    target="www.example.com", by="policy", rule="allow *.example.com", opened=["203.0.113.1"]
                ),
            ],
            [
                "c1: allow www.example.com for 198.51.100.0 tcp 443 https (policy `allow *.example.com`):"
                " done in 0.3 s: opened 203.0.113.1 | www.example.com"
            ],
        ),
        (
            [pending(), verdict(result="failed", reason="quarantine", error="Error: No IPs\x1b")],
            [
                "c1: allow 198.51.100.0 for tcp 443 https (answer): FAILED after 0.3 s, still waiting;"
                " the shield is in quarantine: no allow works until it is up again | Error: No IPs\\x1b"
            ],
        ),
        (
            [pending(), verdict(result="unknown", reason="timeout", seconds=30.0)],
            [
                "c1: allow 198.51.100.0 for tcp 443 https (answer):"
                " no answer in 30 s: it may or may not be open"
            ],
        ),
        ([pending(), {**CLOSED, "why": "skipped"}], ["c1: 198.51.100.0 tcp 443 https: skipped"]),
        (
            [pending(), {**CLOSED, "why": "skipped", "by": "policy", "rule": "skip *.example.net"}],
            ["c1: 198.51.100.0 tcp 443 https: skipped by `skip *.example.net`"],
        ),
        (
            [pending(), {**CLOSED, "why": "skipped", "by": "answer"}],
            ["c1: 198.51.100.0 tcp 443 https: skipped by --answer"],
        ),
        (
            [
                pending(),
                {"type": "names", "id": "r1", "names": ["a.example", "b.example"], "more_names": 7},
                {**CLOSED, "why": "muted"},
            ],
            ["c1: 198.51.100.0 tcp 443 https: muted | a.example and 8 more"],
        ),
        *(
            (
                [pending(), {**names_told, "names_forgotten": True}, {**CLOSED, "why": "muted"}],
                ["c1: 198.51.100.0 tcp 443 https: muted | a.example and " + said],
            )
            for names_told, said in (
                ({"type": "names", "id": "r1", "names": ["a.example"]}, "maybe more"),
                (
                    {"type": "names", "id": "r1", "names": ["a.example"], "more_names": 7},
                    "at least 7 more",
                ),
            )
        ),
        ([pending(), {**CLOSED, "why": "stopped"}], ["c1: 198.51.100.0 tcp 443 https: unanswered"]),
        ([{**CLOSED, "why": "stopped"}], []),
        (
            [{"type": "lost", "count": 2, "where": "kernel"}],
            [
                "2 packets were lost (kernel buffer full). A destination tried only then is not shown;"
                " it will be when it is tried again. Exit code: 5"
            ],
        ),
        ([{"type": "error", "message": "a\nb"}], ["error: a\\x0ab"]),
        (
            [{"type": "passed", "container": "c1", "dest": "192.0.2.1", "seconds": 1.2}],
            ["c1: 192.0.2.1: first packet let out 1.2 s later"],
        ),
        (
            [
                {
                    "type": "still_blocked",
                    "container": "c1",
                    "dest": "192.0.2.1",
                    "count": 3,
                    "reason": "floor",
                }
            ],
            ["c1: 192.0.2.1: still blocked, 3 tries since the allow: the shield keeps private ranges shut"],
        ),
        ([{"type": "shield", "container": "c1", "state": "up"}], ["c1: the shield is up again"]),
        (
            [protocol.summary({**Docket().summary(), "allowed": 2, "open": 1}, 5)],
            ["stopped: 2 allowed, 1 unanswered; exit code 5"],
        ),
        ([protocol.summary(Docket().summary(), 0)], ["stopped: nothing blocked was seen; exit code 0"]),
        (
            [pending(), verdict(result="dry-run"), protocol.summary(Docket().summary(), 0, 1)],
            [
                "c1: allow 198.51.100.0 for tcp 443 https (answer): dry run: nothing was run",
                "stopped: 1 verdict not run (dry run); exit code 0",
            ],
        ),
    ],
)
def test_a_journal_has_one_line_for_each_outcome(records, lines):
    assert journal(*records) == lines
