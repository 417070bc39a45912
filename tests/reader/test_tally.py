"""The reader's lines: what is new at once, what is not as counts, and bounded whatever comes."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simple_clearance.base.happenings import Event
from simple_clearance.formats import nflog, readerline
from simple_clearance.reader import tally
from simple_clearance.reader.tally import GENERATION, PIECE, REPEATS, Tally

STAMP = "2026-01-31T17:32:05.123+00:00"


def spelled(dest):
    return socket.inet_ntop(socket.AF_INET if len(dest) == 4 else socket.AF_INET6, dest)


def new_tally(container="c1", dossier=None):
    return Tally(container, dossier or {}, spelled, lambda wall: STAMP)


def batch(*groups):
    """(kind, proto, port, uid, {address: count}), …"""
    made = nflog.Batch()
    for kind, proto, port, uid, counts in groups:
        packed = {
            socket.inet_pton(socket.AF_INET6 if ":" in dest else socket.AF_INET, dest): count
            for dest, count in counts.items()
        }
        made.add((kind, proto, port, uid), packed)
        made.logged += sum(counts.values())
    return made


def taken(counter, made, room=True, ample=True):
    return [json.loads(line) for line in counter.take(made, 0.0, room, ample).splitlines()]


def repeated(counter):
    return [json.loads(line) for piece in counter.repeats(0.0) for line in piece.splitlines()]


def test_the_first_packet_is_told_with_all_that_is_known():
    counter = new_tally(dossier={"project": "demo"})
    assert taken(counter, batch(("blocked", 6, 443, 1000, {"198.51.100.0": 1}))) == [
        {
            "type": "pending",
            "container": "c1",
            "id": "c1:1",
            "dest": "198.51.100.0",
            "port": 443,
            "proto": 6,
            "domain": "",
            "dossier": {"project": "demo"},
            "ts": STAMP,
            "class": "default",
            "uid": 1000,
        }
    ]
    assert not counter.repeated
    assert list(counter.repeats(0.0)) == []


@pytest.mark.parametrize(
    "kind, expected, shield_class",
    [
        ("blocked", "pending", "default"),
        ("private", "pending", "private"),
        ("denied", "denied", None),
        ("allowed", "allowed", None),
        ("bypass", "bypass", None),
        ("multicast", "multicast", None),
    ],
)
def test_every_kind_has_its_line_and_its_repeats(kind, expected, shield_class):
    counter = new_tally(dossier={"project": "demo"})
    (line,) = taken(counter, batch((kind, None, None, None, {"2001:db8::1": 3})))
    assert ("dossier" in line) == (expected == "pending")
    assert (line["type"], line["port"], line["proto"], line["uid"]) == (expected, None, None, None)
    assert line.get("class") == shield_class
    (again,) = repeated(counter)
    assert again == {
        "type": "again",
        "of": expected,
        **({"class": shield_class} if shield_class else {}),
        "container": "c1",
        "id": line["id"],
        "dest": "2001:db8::1",
        "port": None,
        "proto": None,
        "count": 2,
        "ts": STAMP,
    }


def test_every_line_is_what_the_session_understands():
    counter = new_tally('we"ird\\\x7f\u00e9', {"task": 'a "b"\n\x1b[31m'})
    text = (
        counter.held(4242)
        + counter.started()
        + counter.lost(3, "kernel")
        + counter.lost(4, "reader")
        + counter.exited("poststop")
    )
    for kind in tally.OF:
        text += counter.take(batch((kind, 17, 53, 7, {"192.0.2.1": 2, "2001:db8::1": 1})), 0.0, True, True)
    text += "".join(counter.repeats(0.0))
    assert text.isascii() and text.replace("\n", "").isprintable()
    messages = [readerline.parse(line.encode()) for line in text.splitlines()]
    assert None not in messages
    assert sum(isinstance(message, Event) for message in messages) == 3 * len(tally.OF)


def test_ports_protocols_and_kinds_are_told_apart():
    counter = new_tally()
    for kind in ("blocked", "allowed"):
        for proto in (6, 17, None):
            for port in (443, 80, None):
                made = batch((kind, proto, port, 0, {"192.0.2.1": 1}))
                assert len(taken(counter, made)) == 1
                assert len(taken(counter, made)) == 0
    assert len(repeated(counter)) == 18


def test_another_uid_is_the_same_destination():
    counter = new_tally()
    taken(counter, batch(("blocked", 6, 443, 0, {"192.0.2.1": 1})))
    assert taken(counter, batch(("blocked", 6, 443, 1000, {"192.0.2.1": 1}))) == []
    assert [line["count"] for line in repeated(counter)] == [1]


def test_repeats_are_told_once():
    counter = new_tally()
    for _ in range(5):
        taken(counter, batch(("blocked", 6, 443, 0, {"192.0.2.1": 10})))
    assert counter.repeated
    assert [line["count"] for line in repeated(counter)] == [49]
    assert repeated(counter) == []


def addresses(first, count):
    return {spelled((0xC6120000 + first + i).to_bytes(4, "big")): 1 for i in range(count)}


def test_a_flood_of_destinations_is_told_whole_and_remembered_in_part():
    counter = new_tally()
    told = 0
    for first in range(0, 60000, 500):
        told += len(taken(counter, batch(("blocked", 17, 443, 0, addresses(first, 500)))))
    assert told == 60000
    kind = counter._kinds["blocked"]
    assert len(kind.young) + len(kind.old) <= 2 * GENERATION + 1000
    assert taken(counter, batch(("blocked", 17, 443, 0, addresses(59500, 500)))) == []
    assert len(taken(counter, batch(("blocked", 17, 443, 0, addresses(0, 500))))) == 500


def test_a_destination_that_goes_on_being_tried_is_not_forgotten():
    counter = new_tally()
    taken(counter, batch(("blocked", 17, 443, 0, {"192.0.2.1": 1})))
    for first in range(0, 60000, 1000):
        taken(counter, batch(("blocked", 17, 443, 0, addresses(first, 1000))))
        assert taken(counter, batch(("blocked", 17, 443, 0, {"192.0.2.1": 1}))) == []
    assert [line["count"] for line in repeated(counter)] == [60]


def test_a_flood_of_allowed_packets_pushes_out_nothing_that_is_blocked():
    counter = new_tally()
    taken(counter, batch(("blocked", 6, 443, 0, {"192.0.2.1": 1})))
    for first in range(0, 40000, 1000):
        taken(counter, batch(("allowed", 6, 443, 0, addresses(first, 1000))))
    assert taken(counter, batch(("blocked", 6, 443, 0, {"192.0.2.1": 1}))) == []


def test_the_counts_of_repeats_are_bounded_and_what_exceeds_them_is_counted():
    counter = new_tally()
    for first in range(0, 2 * REPEATS, 1024):
        for _ in range(2):
            taken(counter, batch(("blocked", 17, 443, 0, addresses(first, 1024))))
    assert len(counter._kinds["blocked"].again) == REPEATS
    assert counter.untold + sum(line["count"] for line in repeated(counter)) == 2 * REPEATS


def test_repeats_come_in_pieces_and_those_not_asked_for_stay_counted():
    counter = new_tally()
    made = batch(("blocked", 17, 443, 0, addresses(0, 3 * PIECE)))
    assert len(taken(counter, made)) == 3 * PIECE
    assert taken(counter, made) == []
    first = next(counter.repeats(0.0)).splitlines()
    taken(counter, made)
    rest = repeated(counter)
    assert len(first) == PIECE
    assert sorted(line["count"] for line in rest) == [1] * PIECE + [2] * (2 * PIECE)


def test_without_room_packets_are_counted_and_new_the_next_time():
    counter = new_tally()
    made = batch(("blocked", 6, 443, 0, {"192.0.2.1": 3}), ("allowed", 6, 443, 0, {"192.0.2.2": 2}))
    assert taken(counter, made, room=False, ample=False) == []
    assert counter.untold == 5
    assert [line["type"] for line in taken(counter, made, room=True, ample=False)] == ["pending"]
    assert counter.untold == 7
    assert [line["type"] for line in taken(counter, made)] == ["allowed"]


@given(st.text(max_size=40))
@example("a\x1b[31m")
@example('a "b"')
@example("a\\b")
def test_any_text_is_quoted_as_printable_ascii(text):
    quoted = tally.quoted(text)
    assert quoted.isascii() and quoted.isprintable()
    assert json.loads(quoted) == text
