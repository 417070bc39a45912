"""Lines of another session: what is believed of them, and what is not.

The invariant of the fuzzing: a record with all its fields, each as it may be, or nothing, or our one error.
"""

from __future__ import annotations

import json
import random

import pytest

from simple_clearance.base.happenings import Event
from simple_clearance.base.jsonlines import BadLine
from simple_clearance.formats import sessionline
from simple_clearance.formats.sessionline import FIELDS, parse

PENDING = {
    **{"type": "pending", "id": "r1", "container": "c1", "dest": "198.51.100.1", "port": 443, "proto": 6},
    **{"class": "default", "floor": False, "names": ["www.example.com"], "uid": 1000, "count": 3},
    **{"dossier": {"project": "demo"}, "reader_id": "c1:1"},
}
SAMPLES = [
    {"type": "session", "protocol": 1, "version": "1.0", "containers": [{"name": "c1", "shield": 18}]},
    {"type": "container", "container": "c1", "state": "started", "shield": 18, "dossier": {}},
    PENDING,
    {"type": "names", "id": "r1", "names": ["www.example.com"]},
    {"type": "again", "id": "r1", "count": 7},
    {
        **{"type": "verdict", "id": "r1", "ids": ["r1"], "container": "c1", "action": "allow"},
        **{"target": "198.51.100.1", "result": "applied", "opened": ["198.51.100.1"], "seconds": 0.4},
    },
    {"type": "closed", "id": "r1", "why": "applied"},
    {"type": "passed", "container": "c1", "dest": "198.51.100.1", "port": 443, "proto": 6, "seconds": 1.5},
    {"type": "still_blocked", "container": "c1", "dest": "198.51.100.1", "count": 2, "reason": None},
    {"type": "shield", "container": "c1", "state": "down"},
    {"type": "lost", "container": None, "count": 2, "where": "kernel"},
    {"type": "error", "message": "no", "line": "allow r1"},
    {"type": "summary", "untold": 3, "exit": 5},
    {"type": "names_read", "container": "c1"},
    {"type": "check", "container": None, "name": "python", "ok": True, "message": "3.11", "hint": None},
    {"type": "recorded", "container": "c1", "dest": "198.51.100.1", "action": "deny"},
]


def encoded(record):
    return json.dumps(record).encode()


def test_there_is_a_sample_of_each_type():
    assert {record["type"] for record in SAMPLES} == set(FIELDS)


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: record["type"])
def test_a_record_has_all_fields_that_we_know_and_no_others(record):
    found = parse(encoded({**record, "news": "of a later version"}))
    assert set(found) - {"event"} == {"type", *FIELDS[record["type"]]}
    for key, value in record.items():
        if key in found and not isinstance(value, (list, dict, type(None))):
            assert found[key] == value


def test_a_request_is_an_event_that_is_not_late():
    event = parse(encoded(PENDING))["event"]
    assert isinstance(event, Event)
    assert (event.dest, event.port, event.proto, event.uid, event.count, event.late) == (
        *("198.51.100.1", 443, 6, 1000, 3, 0.0),
    )


def test_a_type_that_we_do_not_know_is_nothing():
    assert parse(b'{"type":"weather","container":7}') is None


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Welcome to web", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"{}", id="no type"),
        pytest.param(b'{"type":7}', id="a type that is no text"),
        pytest.param(encoded({**PENDING, "id": "a b"}), id="an id with a blank"),
        pytest.param(encoded({**PENDING, "id": "x" * 65}), id="an id too long"),
        pytest.param(encoded({**PENDING, "id": None}), id="no id"),
        pytest.param(encoded({**PENDING, "container": "../c1"}), id="a container that is a path"),
        pytest.param(encoded({**PENDING, "container": "-c1"}), id="a container that is an option"),
        pytest.param(encoded({**PENDING, "container": "c1\n"}), id="a container of two lines"),
        pytest.param(encoded({**PENDING, "container": "x" * 256}), id="a container too long"),
        pytest.param(encoded({**PENDING, "dest": "198.51.100.0/24"}), id="a network"),
        pytest.param(encoded({**PENDING, "dest": "224.0.0.1%eth0"}), id="more than an address"),
        pytest.param(encoded({**PENDING, "count": 0}), id="no tries"),
        pytest.param(encoded({**PENDING, "count": True}), id="a count that is a bool"),
        pytest.param(encoded({**PENDING, "port": 65536}), id="a port too high"),
        pytest.param(encoded({**PENDING, "floor": "yes"}), id="a flag that is a text"),
        pytest.param(encoded({**SAMPLES[5], "target": "0.0.0.0/0"}), id="a verdict on a network"),
        pytest.param(encoded({**SAMPLES[5], "result": "great"}), id="a result of its own"),
        pytest.param(encoded({**SAMPLES[5], "seconds": float("inf")}), id="an endless verdict"),
        pytest.param(encoded({**SAMPLES[6], "why": "because"}), id="a reason of its own"),
        pytest.param(encoded({**SAMPLES[9], "state": "\x1b[2J"}), id="a state that paints"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_one_error(line):
    with pytest.raises(BadLine):
        parse(line)


def test_texts_come_out_printable_and_bounded():
    found = parse(encoded({"type": "error", "message": "\x1b[31m" + "x" * 10_000}))
    assert found["message"].startswith("\\x1b[31mx") and len(found["message"]) == 500
    labels = parse(encoded({**PENDING, "dossier": {"k%d" % n: "\x07" * 500 for n in range(100)}}))["dossier"]
    assert len(labels) == 16 and all(value.isprintable() and len(value) <= 128 for value in labels.values())


def test_lists_are_bounded_and_what_is_no_name_is_left_out():
    names = ["a%d.example.com" % number for number in range(1000)]
    found = parse(encoded({**PENDING, "names": ["-rf", "\x1b", 7, *names]}))["names"]
    assert len(found) == sessionline.NAMES - 3 and found[0].name == "a0.example.com"
    session = {"type": "session", "protocol": 1, "containers": [{"name": "c%d" % n} for n in range(1000)]}
    assert len(parse(encoded(session))["containers"]) == sessionline.CONTAINERS


def test_no_bytes_whatever_do_more_than_be_no_record(rounds):
    chance = random.Random(3)
    odd = [None, True, -1, 0, 1 << 70, 1.5, "", "x" * 3000, "\x00", [], [[]], {}, {"a": {}}, ["r1"] * 3]
    for _ in range(rounds(20_000)):
        record = dict(chance.choice(SAMPLES))
        for _ in range(chance.randrange(3)):
            record[chance.choice(list(record))] = chance.choice(odd)
        line = bytearray(encoded(record))
        for _ in range(chance.randrange(3)):
            line[chance.randrange(len(line))] = chance.randrange(256)
        try:
            found = parse(bytes(line))
        except BadLine:
            continue
        if found is not None:
            assert set(found) - {"event"} == {"type", *FIELDS[found["type"]]}
            assert _printable(found)


def _printable(value):
    if isinstance(value, dict):
        return all(_printable(each) for each in (*value, *value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_printable, value))
    return not isinstance(value, str) or (value.isascii() and value.isprintable()) or not value
