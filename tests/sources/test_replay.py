"""Recordings: our log, our JSON output, a reader's lines; what they say again, and what they don't."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import threading
import time

import pytest
import scripting
from support import PATIENCE, eventually

from simple_clearance.base import timestamps
from simple_clearance.base.errors import Refused
from simple_clearance.base.happenings import Event, Learnt, Watching
from simple_clearance.base.jsonlines import LINE_LIMIT, BadLine
from simple_clearance.base.moment import Now
from simple_clearance.docket.budget import Budget
from simple_clearance.docket.docket import Docket
from simple_clearance.docket.verdict import Outcome
from simple_clearance.formats.recording import Recording
from simple_clearance.fronts import protocol
from simple_clearance.prompt.questions import more_names
from simple_clearance.sources.replay import ReplayFile, ReplaySource
from simple_clearance.sources.watched import Watched
from simple_clearance.system import clocks
from simple_clearance.system.loop import Loop

script = scripting.script

SESSION = {
    **{"type": "session", "ts": "2026-01-31T17:32:05.000Z", "protocol": 1, "version": "0.1.0"},
    "containers": [{"name": "c1", "id": "ab" * 32, "source": "nflog", "shield": 18}],
}


def ours(number=1, **more):
    record = {
        **{"type": "pending", "ts": "2026-01-31T17:32:05.123Z", "id": "r%d" % number, "container": "c1"},
        **{"dest": "198.51.100.%d" % number, "port": 443, "proto": 6, "class": "default", "floor": False},
        **{"uid": 1000, "count": 1, "reader_id": "c1:1", "names": [], "dossier": {}},
    }
    record.update(more)
    return record


def theirs(number=1, **more):
    """A line of terok-shield's own reader."""
    record = {
        **{"type": "pending", "container": "c1", "id": "c1:%d" % number, "dest": "198.51.100.%d" % number},
        **{"port": 443, "proto": 6, "domain": "", "dossier": {}, "ts": "2026-01-31T17:32:05.123456+00:00"},
    }
    record.update(more)
    return record


def parsed(*records, container=""):
    """What a recording of these says, with the recording."""
    recording = Recording(container)
    found = [each for record in records for each in recording.parse(json.dumps(record).encode())]
    return [each.message for each in found], recording


def tries(messages):
    return [(each.kind, each.dest, each.count) for each in messages if isinstance(each, Event)]


def learnt(messages):
    return [(each.dest, [name.name for name in each.names]) for each in messages if isinstance(each, Learnt)]


def written(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


# --- what a line says


def test_a_line_of_a_reader_is_the_event_that_it_was():
    (event,), recording = parsed(theirs())
    assert (event.kind, event.dest, event.port, event.proto) == ("pending", "198.51.100.1", 443, 6)
    assert (event.count, event.reader_id) == (1, "c1:1")
    assert recording.container == "c1"


def test_a_repeat_of_a_reader_counts_from_its_last_line():
    messages, _ = parsed(theirs(), theirs(type="again", of="pending", count=5), theirs(type="again", count=2))
    assert tries(messages) == [("pending", "198.51.100.1", n) for n in (1, 5, 2)]


def test_a_repeat_of_ours_counts_from_the_beginning():
    messages, _ = parsed(
        SESSION,
        ours(count=3),
        {"type": "again", "id": "r1", "count": 7},
        {"type": "again", "id": "r1", "count": 9},
    )
    assert tries(messages) == [("pending", "198.51.100.1", n) for n in (3, 4, 2)]
    assert [event.port for event in messages] == [443] * 3


def test_a_request_that_is_closed_brings_the_tries_that_were_not_told_before():
    closed = {"type": "closed", "id": "r1", "why": "skipped"}
    messages, _ = parsed(SESSION, ours(count=3), {**closed, "count": 8}, {**closed, "count": 9})
    assert tries(messages) == [("pending", "198.51.100.1", n) for n in (3, 5)]


def test_a_request_that_is_asked_again_brings_only_its_new_tries():
    messages, _ = parsed(
        SESSION, ours(count=3), {"type": "closed", "id": "r1", "why": "skipped"}, ours(id="r2", count=8)
    )
    assert tries(messages) == [("pending", "198.51.100.1", n) for n in (3, 5)]


def test_after_its_end_a_request_says_nothing_more():
    messages, _ = parsed(
        SESSION,
        ours(),
        {"type": "closed", "id": "r1", "why": "skipped"},
        {"type": "again", "id": "r1", "count": 7},
    )
    assert len(messages) == 1


def test_a_count_that_does_not_grow_brings_nothing():
    messages, _ = parsed(SESSION, ours(count=3), {"type": "again", "id": "r1", "count": 3})
    assert len(messages) == 1


def test_a_second_session_in_a_log_has_ids_and_counts_of_its_own():
    again = {"type": "again", "id": "r1", "count": 2}
    messages, _ = parsed(SESSION, ours(count=5), SESSION, again, ours(2, id="r1"), again, ours(1, id="r2"))
    assert tries(messages) == [
        *(("pending", "198.51.100.1", 5), ("pending", "198.51.100.2", 1)),
        *(("pending", "198.51.100.2", 1), ("pending", "198.51.100.1", 1)),
    ]


def test_names_are_learnt_as_they_were():
    messages, _ = parsed(
        SESSION, ours(names=["a.example"]), {"type": "names", "id": "r1", "names": ["b.example", "a.example"]}
    )
    assert [type(message) for message in messages] == [Learnt, Event, Learnt], "before it is asked"
    assert learnt(messages) == [
        ("198.51.100.1", ["a.example"]),
        ("198.51.100.1", ["b.example", "a.example"]),
    ]


@pytest.mark.parametrize(
    "names", [["198.51.100.70"], ["-x.example"], [7, None, "a b"], "a.example", {"a": 1}]
)
def test_what_is_no_name_is_not_learnt(names):
    messages, _ = parsed(SESSION, ours(names=names))
    assert learnt(messages) == [] and len(messages) == 1


def test_the_domain_of_a_reader_is_not_a_name():
    """It comes from an unanchored match of the query log."""
    messages, _ = parsed(theirs(domain="github.com"))
    assert learnt(messages) == [] and len(messages) == 1


@pytest.mark.parametrize("where", ["kernel", "reader", "table", "stdout", "log", "watch", "link"])
def test_a_loss_is_a_loss_again(where):
    (lost,), _ = parsed({"type": "lost", "count": 3, "where": where}, container="c1")
    assert (lost.count, lost.where) == (3, where)


@pytest.mark.parametrize(
    "record",
    [
        {"type": "container_started", "container": "c1"},
        {"type": "container_exited", "container": "c1", "reason": "poststop"},
        {"type": "deciding", "id": "r1", "container": "c1", "action": "allow", "target": "198.51.100.1"},
        {"type": "verdict", "id": "r1", "container": "c1", "action": "allow", "result": "applied"},
        {
            "type": "passed",
            "container": "c1",
            "dest": "198.51.100.1",
            "port": 443,
            "proto": 6,
            "seconds": 1.0,
        },
        {"type": "still_blocked", "container": "c1", "dest": "198.51.100.1", "count": 3},
        {"type": "shield", "container": "c1", "state": "down"},
        {"type": "error", "message": "x"},
        {"type": "summary", "exit": 5},
        {"type": "of a version to come", "container": "c1", "dest": 7},
        {"type": "again", "id": "r7", "count": 3},
        {"type": "names", "id": "r7", "names": ["a.example"]},
    ],
    ids=lambda record: record["type"],
)
def test_what_was_decided_and_what_we_do_not_know_is_left_out(record):
    messages, _ = parsed(record, container="c1")
    assert messages == []


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b"[]",
        b'{"no":"type"}',
        b'{"type":7}',
        json.dumps(ours(dest="198.51.100.1; rm -rf /")).encode(),
        json.dumps(ours(dest="0.0.0.0/0")).encode(),
        json.dumps(ours(count=0)).encode(),
        json.dumps(ours(count=True)).encode(),
        json.dumps(ours(count="3")).encode(),
        json.dumps(ours(count=1 << 60)).encode(),
        json.dumps(ours(port=-1)).encode(),
        json.dumps(theirs(container=7)).encode(),
        json.dumps(theirs(container="--help")).encode(),
        json.dumps(theirs(container="a\x1bb")).encode(),
        b'{"type":"lost","count":"many"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_hostile_line_is_a_bad_line_and_nothing_else(line):
    with pytest.raises(BadLine):
        Recording().parse(line)


@pytest.mark.parametrize(
    "containers",
    [7, [7], [[]], [{}], [{"name": 7}], [{"name": "c1", "id": [], "shield": "18"}], [{"name": "c1"}] * 3],
)
def test_a_session_of_wrong_types_is_harmless(containers):
    recording = Recording("c1")
    recording.parse(json.dumps(dict(SESSION, containers=containers)).encode())
    assert (recording.version, recording.id) == (None, "")


def test_no_mutated_line_does_more_than_be_bad(rounds):
    """The invariant: parses, or raises our one error, never anything else."""
    chance = random.Random(7)
    whole = [
        json.dumps(record).encode()
        for record in (SESSION, ours(), theirs(), {"type": "again", "id": "r1", "count": 9})
    ]
    recording = Recording()
    for _ in range(rounds(10_000)):
        line = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(4)):
            start = chance.randrange(len(line) + 1)
            line[start : start + chance.randrange(8)] = bytes(
                chance.choices(b'"{}[]:,0-9aet\\\x00\xff', k=chance.randrange(6))
            )
        try:
            found = recording.parse(bytes(line))
        except BadLine:
            continue
        assert all(each.message.count > 0 for each in found if isinstance(each.message, Event))


# --- which container


def test_the_shield_version_comes_from_the_recorded_session():
    _, recording = parsed(SESSION)
    assert (recording.container, recording.id, recording.version) == ("c1", "ab" * 32, 18)


def test_an_id_names_the_recorded_container_too():
    messages, recording = parsed(SESSION, ours(), container="ab" * 6)
    assert len(messages) == 1 and recording.version == 18


def test_a_reader_may_have_called_it_by_its_short_id():
    messages, _ = parsed(SESSION, theirs(container="ab" * 6), container="c1")
    assert len(messages) == 1


def test_other_containers_are_left_out_and_counted():
    messages, recording = parsed(
        theirs(), theirs(2, container="c2"), theirs(3, container="c2"), container="c1"
    )
    assert tries(messages) == [("pending", "198.51.100.1", 1)]
    assert recording.others == {"c2": 2}


def test_the_names_of_other_containers_take_bounded_room():
    _, recording = parsed(*(theirs(container="x%d" % number) for number in range(50)), container="c1")
    assert len(recording.others) <= 8


def test_a_dossier_is_taken_from_the_first_request():
    _, recording = parsed(ours(dossier={"project": "demo", "n": 7}))
    assert recording.dossier == {"project": "demo"}


# --- the file


class Replayed:
    """Plays a file to its end with a real loop."""

    def __init__(self, path, container=""):
        self.file = ReplayFile(path, container)
        self.heard, self.gone, self.known = [], 0, 0
        self.loop = Loop()
        one = Watched(container)
        self.source = ReplaySource(one, self.file, self.loop, self._know, self._hear, self._end)
        try:
            while not self.source.started:
                self.loop.wait()
        except Refused:
            self.source.close()
            raise
        assert self.known == 1 and self.heard == []
        self.source.catch_up(clocks.now())

    def _know(self, file):
        self.known += 1

    def _hear(self, source, message, now):
        self.heard.append((message, now))

    def _end(self, source, now):
        self.gone += 1

    def play(self):
        while not self.gone:
            self.loop.wait()
        assert self.gone == 1
        self.source.close()
        return self.heard


def test_every_event_comes_once_in_order_with_the_time_it_had(tmp_path):
    path = written(
        tmp_path / "log",
        SESSION,
        ours(1, ts="1970-01-01T00:00:10.500Z"),
        ours(2, ts="1970-01-01T01:00:20+01:00"),
        ours(3, ts="1970-01-01T00:00:30.123456+00:00"),
        ours(4, ts="yesterday"),
        ours(5, ts=7),
        ours(6, ts="9999-99-99T00:00:00Z"),
        ours(7, ts="1970-01-01T00:00:40"),
    )
    began = time.monotonic()
    heard = Replayed(path).play()
    assert [event.dest for event, _ in heard] == ["198.51.100.%d" % n for n in range(1, 8)]
    assert [now.wall for _, now in heard] == pytest.approx(
        [10.5, 20, 30.123456, 30.123456, 30.123456, 30.123456, 40]
    )
    monotonic = [now.mono for _, now in heard]
    assert monotonic == sorted(monotonic) and began < monotonic[-1] < time.monotonic()


def test_without_any_time_it_is_now(tmp_path):
    began = time.time()
    heard = Replayed(written(tmp_path / "log", theirs(ts=""))).play()
    assert began < heard[0][1].wall < time.time()


def test_mixed_and_bad_lines_are_counted_and_told(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(
        b"\n\r\n"
        + json.dumps(theirs(1)).encode()
        + b"\r\nrubbish\n\0\0\n"
        + b"x" * 200_000
        + b"\n"
        + json.dumps(ours(2)).encode()
        + b"\n"
        + json.dumps(theirs(3, container="c2")).encode()
        + b'\n{"type":"pen'
    )
    replayed = Replayed(str(path))
    heard = replayed.play()
    assert [event.dest for event, _ in heard] == ["198.51.100.1", "198.51.100.2"]
    assert replayed.source.file.bad_lines == 4
    assert replayed.file.remarks() == [
        "%s: 4 lines were not understood" % path,
        "%s: left out what is recorded of c2" % path,
    ]


def test_ten_megabytes_in_one_line_are_one_bad_line(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(
        json.dumps(theirs(1)).encode()
        + b"\n"
        + b"{" * 10_000_000
        + b"\n"
        + json.dumps(theirs(2)).encode()
        + b"\n"
    )
    replayed = Replayed(str(path))
    assert len(replayed.play()) == 2 and replayed.source.file.bad_lines == 1


def test_a_large_recording_leaves_the_others_their_turn(tmp_path):
    path = written(tmp_path / "log", *(theirs(1 + number % 250) for number in range(5000)))
    replayed = Replayed(path)
    turns = 0
    while not replayed.gone:
        replayed.loop.wait()
        turns += 1
    assert len(replayed.heard) == 5000 and turns > 10
    replayed.source.close()


def test_a_replay_that_is_stopped_says_nothing_more(tmp_path):
    path = written(tmp_path / "log", *(theirs(1 + number % 250) for number in range(5000)))
    replayed = Replayed(path)
    heard = len(replayed.heard)
    replayed.source.stop()
    assert len(replayed.heard) == heard > 0
    replayed.source.close()
    assert replayed.gone == 0


def test_a_pipe_serves_as_a_recording(tmp_path):
    """`--replay <(zcat log.gz)`: it may come slowly, and stop in the middle of a line."""
    os.mkfifo(tmp_path / "log")
    text = "".join(json.dumps(record) + "\n" for record in (SESSION, ours(1), ours(2)))

    def feed():
        with open(tmp_path / "log", "w") as pipe:
            for piece in (text[:30], text[30:300], text[300:]):
                pipe.write(piece)
                pipe.flush()
                pace.wait(0.1)

    pace = threading.Event()
    holder = os.open(tmp_path / "log", os.O_RDWR)  # there is a writer from the start, as with <()
    feeder = threading.Thread(target=feed)
    feeder.start()
    replayed = Replayed(str(tmp_path / "log"))
    feeder.join()
    os.close(holder)
    assert replayed.file.recording.version == 18
    assert [event.dest for event, _ in replayed.play()] == ["198.51.100.1", "198.51.100.2"]


@pytest.mark.parametrize(
    "make, problem",
    [
        pytest.param(lambda path: None, "No such file or directory", id="none"),
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="a folder"),
        pytest.param(lambda path: path.write_text(""), "no recording", id="empty"),
        pytest.param(lambda path: path.write_text("hello\nworld\n"), "no recording", id="another text"),
        pytest.param(lambda path: path.write_text('{"a":1}\n[]\n'), "no recording", id="other JSON"),
        pytest.param(lambda path: path.write_bytes(b"\0" * 3_000_000), "no recording", id="a binary"),
        pytest.param(
            lambda path: path.write_text('{"type":"not ours"}\n'), "no recording", id="types of others"
        ),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, make, problem):
    path = tmp_path / "log"
    make(path)
    with pytest.raises(Refused) as refused:
        Replayed(str(path), "c1")
    assert refused.value.code == 3
    assert refused.value.message == "--replay %s: %s" % (path, problem)
    assert refused.value.hints


def test_a_quiet_session_is_a_recording(tmp_path):
    path = written(tmp_path / "log", SESSION, {"type": "summary", "exit": 0})
    replayed = Replayed(path)
    assert replayed.play() == [] and replayed.file.remarks() == []


def test_of_several_containers_one_has_to_be_named(tmp_path):
    two = dict(SESSION, containers=[{"name": "c1"}, {"name": "c2"}])
    path = written(tmp_path / "log", two, ours())
    with pytest.raises(Refused) as refused:
        Replayed(path)
    assert refused.value.code == 2
    assert len(Replayed(path, "c1").play()) == 1
    assert Replayed(path, "c2").play() == []


def test_nothing_is_left_open(tmp_path):
    path = written(tmp_path / "log", SESSION, ours())
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ReplayFile(path).close()
        with pytest.raises(Refused):
            Replayed(str(tmp_path), "c1")
    assert sorted(os.listdir("/proc/self/fd")) == before


# --- there and back


def test_what_a_session_logs_is_the_same_events_when_it_is_replayed(tmp_path, rounds):
    """Every try of a random session is in its replay: in the same order of requests, none twice."""
    chance = random.Random(3)
    docket = Docket(report_again=True)
    docket.add_container("c1", 18, {"project": "demo"})
    lines = [
        protocol.line(
            protocol.session("0.1.0", [Watching("c1", {}, "", container_id="ab" * 32, shield=18)]),
            timestamps.stamp(0),
        )
    ]
    sent = {}
    clock = 0.0

    def tell(now):
        for record in docket.take():
            lines.append(protocol.line(record, timestamps.stamp(now.wall)))

    for _ in range(rounds(3000)):
        clock += chance.choice((0.0, 0.3, 1.0, 20.0))
        now = Now(1000.0 + clock, 1e9 + clock)
        docket.tick(now)
        step = chance.random()
        if step < 0.7:
            key = (chance.choice(("198.51.100.1", "203.0.113.2", "10.1.2.3")), chance.choice((80, None)))
            count = chance.randrange(1, 9)
            sent[key] = sent.get(key, 0) + count
            private = key[0].startswith("10.")
            docket.handle("c1", Event("pending", *key, 6, private=private, count=count), now)
        elif step < 0.9:
            for request in docket.waiting():
                docket.answer(chance.choice(("skip", "skip", "allow")), [request.id], now, "script")
                break
        else:
            for job in docket.runnable():
                docket.begin(job, now)
                docket.finish(job, Outcome(chance.choice(("failed", "unknown")), "exit"), now)
        tell(now)
    docket.tick(Now(1e6, 2e9))
    tell(Now(1e6, 2e9))
    (tmp_path / "log").write_text("".join(lines))
    replayed = Replayed(str(tmp_path / "log"))
    heard = replayed.play()
    assert replayed.file.remarks() == []
    assert replayed.file.recording.dossier == {"project": "demo"}
    found = {}
    for event, _ in heard:
        found[event.dest, event.port] = found.get((event.dest, event.port), 0) + event.count
    # tries of a closed request are told with its next opening, so the last ones may be missing
    open_keys = {(request.dest, request.port) for request in docket.waiting()}
    for key, count in sent.items():
        assert found[key] == count if key in open_keys else 0 < found[key] <= count


def test_a_verdict_on_more_requests_than_a_line_of_a_reader_has_room_for_is_one_line_of_a_recording(tmp_path):
    docket = Docket(budget=Budget({"ports": 10_000}))
    docket.add_container("c1", 18, {})
    now = Now(1000.0, 1e9)
    for port in range(10_000):
        docket.handle("c1", Event("pending", "198.51.100.1", port, 6), now)
    docket.answer("allow", ["r1"], now, "script")
    (job,) = docket.runnable()
    docket.begin(job, now)
    docket.finish(job, Outcome("applied", opened=("198.51.100.1",)), now)
    lines = [protocol.line(record, timestamps.stamp(1e9)) for record in docket.take()]
    assert max(map(len, lines)) > LINE_LIMIT
    (tmp_path / "log").write_text("".join(lines))
    replayed = Replayed(str(tmp_path / "log"))
    assert len(replayed.play()) == 10_000 and replayed.file.remarks() == []


@pytest.mark.parametrize(
    "more, exact",
    [({}, True), ({"more_names": 3}, False), ({"names_forgotten": True}, False)],
    ids=["all are told", "more were known", "older ones were forgotten"],
)
def test_a_recording_that_has_not_all_names_does_not_tell_their_number_as_an_exact_one(more, exact):
    names = ["a.example", "b.example"]
    messages, _ = parsed(
        SESSION,
        ours(names=names, **more),
        {"type": "names", "id": "r1", "names": ["c.example", *names], **more},
    )
    for found in [message.names for message in messages if isinstance(message, Learnt)]:
        assert [name.forgot for name in found] == [False] * (len(found) - 1) + [not exact]
        count = len(found) - 1
        text = "%d more name%s" % (count, "s" if count > 1 else "")
        assert more_names(found, 1) == ("" if exact else "at least ") + text


def test_the_labels_of_a_recording_are_bounded_like_those_of_a_container():
    _, recording = parsed(ours(dossier={"label-%d" % number: "x" * 500 for number in range(100)}))
    assert [len(value) for value in recording.dossier.values()] == [128] * 16


# --- the whole program


def test_what_is_logged_of_a_container_with_a_thousand_labels_is_read_again(script, host, tool, tmp_path):
    """Its lines were longer than any reader of lines takes: nothing was blocked, said the replay, and 0."""
    c1 = host.containers["c1"]
    c1.annotations.update({"dossier.label-%03d" % n: "\U0001f600" * 300 for n in range(1000)})
    c1.save()
    log = str(tmp_path / "log")
    it = script("--json", "--log", log)
    it.block("198.51.100.1", "198.51.100.2")
    it.until("pending", 2)
    it.ends(5)
    with open(log, "rb") as file:
        assert max(len(line) for line in file) <= LINE_LIMIT, "whoever reads lines reads these"
    records = outcome(tool("--replay", log, "--json", "c1"))
    told = [record for record in records if record["type"] == "pending"]
    assert [record["dest"] for record in told] == ["198.51.100.1", "198.51.100.2"]
    assert told[0]["dossier"] == it.of("pending")[0]["dossier"] and len(told[0]["dossier"]) == 16
    assert (records[-1]["open"], records[-1]["exit"]) == (2, 5)


@pytest.fixture
def tool(host):
    def run(*words, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            host.tool(*words),
            env=host.env(PATH="/nonexistent"),
            capture_output=True,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )

    return run


def outcome(done):
    assert done.stderr == b"", done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_replay_needs_neither_podman_nor_terok_shield(tool, tmp_path):
    path = written(tmp_path / "log", SESSION, ours(1), ours(2))
    done = tool("--replay", path, "--json", "c1")
    records = outcome(done)
    (told,) = records[0]["containers"]
    assert told == {"name": "c1", "id": "ab" * 32, "source": "replay", "shield": 18, "dossier": {}}
    assert [record["dest"] for record in records if record["type"] == "pending"] == [
        "198.51.100.1",
        "198.51.100.2",
    ]
    assert [record["ts"] for record in records if record["type"] == "pending"] == [
        "2026-01-31T17:32:05.123Z"
    ] * 2
    assert (records[-1]["type"], records[-1]["open"], records[-1]["exit"], done.returncode) == (
        "summary",
        2,
        5,
        5,
    )


def test_a_replay_with_an_answer_tells_what_would_be_decided_and_decides_nothing(tool, tmp_path, host):
    path = written(tmp_path / "log", SESSION, ours(1), ours(2, **{"class": "private", "dest": "10.1.2.3"}))
    done = tool("--replay", path, "--answer", "deny", "--json", "c1")
    records = outcome(done)
    assert [(record["result"], record["target"]) for record in records if record["type"] == "verdict"] == [
        ("dry-run", "198.51.100.1")
    ]
    assert [record["why"] for record in records if record["type"] == "closed"] == ["dry-run", "floor"]
    assert done.returncode == 0 and host.calls() == []


def test_a_replay_with_a_policy_ends_with_how_many_requests_each_rule_decided(tool, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("skip *.example.net\nallow 198.51.100.0/29\ndeny 203.0.113.0/24\nask 198.51.100.9\n")
    path = written(
        *(tmp_path / "log", SESSION, ours(1), ours(2), ours(3, names=["www.example.net"])),
        *(ours(8), ours(9), ours(4, **{"class": "private", "dest": "10.1.2.3"})),
    )
    counts = [("skip *.example.net", 1), ("allow 198.51.100.0/29", 2), ("deny 203.0.113.0/24", 0)]
    counts += [("ask 198.51.100.9", 1), (None, 1)]  # of the floor nobody is asked
    records = outcome(tool("--replay", path, "--policy", str(rules), "--json", "c1"))
    assert [(one["rule"], one["requests"]) for one in records[-1]["rules"]] == counts
    done = tool("--replay", path, "--policy", str(rules), "--answer", "none", "c1")
    assert done.stdout.decode().splitlines()[-7:] == [
        "stopped: 2 verdicts not run (dry run), 1 skipped, 2 unanswered, 1 kept shut; exit code 5",
        "requests decided by each rule:",
        "     1  skip *.example.net",
        "     2  allow 198.51.100.0/29",
        "     1  ask 198.51.100.9",
        "     1  no rule",
        "1 rule decided nothing",
    ]


def test_an_ask_rule_has_its_requests_whoever_answers_them(tool, tmp_path):
    """It has kept the rules behind it from them, also where `--answer` has the last word."""
    rules = tmp_path / "rules"
    rules.write_text("ask www.example.net\n[c*]\nask 198.51.100.1 port 443\nallow 198.51.100.0/24\n")
    path = written(
        *(tmp_path / "log", SESSION, ours(1), ours(2, names=["www.example.net"]), ours(3)),
    )
    counts = [("ask www.example.net", 1), ("[c*] ask 198.51.100.1 port 443", 1)]
    counts += [("[c*] allow 198.51.100.0/24", 1), (None, 0)]
    for answer, why in (("none", "stopped"), ("skip", "skipped")):
        done = tool("--replay", path, "--policy", str(rules), "--answer", answer, "--json", "c1")
        records = outcome(done)
        closed = {it["id"]: (it["why"], it["rule"]) for it in records if it["type"] == "closed"}
        assert closed == {
            "r1": (why, None),
            "r2": (why, None),
            "r3": ("dry-run", "[c*] allow 198.51.100.0/24"),
        }
        assert [(one["rule"], one["requests"]) for one in records[-1]["rules"]] == counts


def test_what_a_rule_matched_and_did_not_decide_is_told_apart_from_what_none_matched(tool, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("allow 198.51.100.1 port 443\ndeny 198.51.100.0/30\nskip *.example\n")
    path = written(tmp_path / "log", SESSION, ours(1, port=80), ours(2), ours(4))
    done = tool("--replay", path, "--policy", str(rules), "--answer", "none", "c1")
    assert done.stdout.decode().splitlines()[-5:] == [
        "stopped: 1 verdict not run (dry run), 2 unanswered; exit code 5",
        "requests decided by each rule:",
        "     1  deny 198.51.100.0/30 (and left 1 open)",
        "     1  no rule",
        "2 rules decided nothing",
    ]
    told = outcome(tool("--replay", path, "--policy", str(rules), "--json", "c1"))[-1]["rules"]
    assert told == [
        {"rule": "allow 198.51.100.1 port 443", "requests": 0},
        {"rule": "deny 198.51.100.0/30", "requests": 1, "left_open": 1},
        {"rule": "skip *.example", "requests": 0},
        {"rule": None, "requests": 1},
    ]


def test_a_replay_without_a_policy_tells_of_no_rules(tool, tmp_path):
    done = tool("--replay", written(tmp_path / "log", SESSION, ours(1)), "--answer", "skip", "c1")
    assert done.stdout.decode().splitlines()[-1].startswith("stopped: 1 skipped")


def test_what_it_writes_can_be_replayed_again(tool, tmp_path):
    path = written(tmp_path / "log", theirs(1), theirs(2), theirs(1, type="again", of="pending", count=4))
    first = tool("--replay", path, "--json", "c1", "--log", str(tmp_path / "second"))
    (tmp_path / "third").write_bytes(first.stdout)
    for name in ("second", "third"):
        records = outcome(tool("--replay", str(tmp_path / name), "--json", "c1"))
        told = [record for record in records if record["type"] in ("pending", "again")]
        assert [(record["type"], record["id"]) for record in told[:2]] == [
            ("pending", "r1"),
            ("pending", "r2"),
        ]
        assert (records[-1]["open"], records[-1]["exit"]) == (2, 5)


def test_a_replay_ends_with_3_and_its_reason_when_there_is_nothing_to_replay(tool, tmp_path):
    (tmp_path / "log").write_text("nothing of the kind\n")
    done = tool("--replay", str(tmp_path / "log"), "--json", "c1")
    assert (done.returncode, done.stdout) == (3, b"")
    message, hint = done.stderr.decode().splitlines()
    assert message == "simple-clearance: --replay %s: no recording" % (tmp_path / "log")
    assert hint.startswith("hint: ")


def test_a_script_may_answer_what_is_replayed(tool, host, tmp_path):
    path = written(tmp_path / "log", SESSION, ours(1), ours(2))
    with subprocess.Popen(
        host.tool("--replay", path, "--json", "c1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=host.env(),
    ) as script:
        script.stdin.write(b"")
        seen = []
        for line in script.stdout:
            record = json.loads(line)
            seen.append(record["type"])
            if record["type"] == "pending":
                script.stdin.write(("deny %s\n" % record["id"]).encode())
                script.stdin.flush()
        assert script.wait(PATIENCE) == 0
    assert seen.count("verdict") == 2 and seen[-1] == "summary"


# --- a pipe that is slow, or that nobody ever writes to


@pytest.fixture
def fifo(host, tmp_path, terminal):
    """`fifo(*words)`: a replay, with `--json` or on a terminal, of a pipe without a writer yet."""
    path = str(tmp_path / "ff")
    os.mkfifo(path)
    started = []

    def start(*words, on_terminal=False):
        argv = host.tool("--replay", path, *words)
        if on_terminal:
            it = terminal(argv, env=host.env())
        else:
            it = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=host.env(),
                start_new_session=True,
                bufsize=0,
            )
            started.append(it)
        eventually(lambda: opened(it.pid, path), what="it has the pipe open")
        return it

    start.path = path
    yield start
    for it in started:
        if it.poll() is None:
            it.kill()
        it.communicate()


def opened(pid, path):
    try:
        return path in [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_pipe_that_nobody_writes_to_can_be_left(fifo, number):
    it = fifo("--json")
    it.send_signal(number)
    out, err = it.communicate(timeout=PATIENCE)
    assert (it.returncode, out) == (3, b""), "nobody said whose recording it is"
    assert err == b"simple-clearance: stopped before anything was watched\n"


def test_on_a_terminal_too(fifo):
    t = fifo(on_terminal=True)
    t.send("\x03")
    assert t.wait() == 3
    assert "Traceback" not in t.text() and "internal error" not in t.text()


def test_a_first_line_may_come_byte_by_byte():
    reading, writing = os.pipe()
    file = ReplayFile("/proc/self/fd/%d" % reading)
    try:
        for byte in json.dumps(theirs(1)).encode() + b"\n":
            file.read()  # nothing new
            assert not file.known
            os.write(writing, bytes([byte]))
            file.read()
        assert file.known and file.recording.container == "c1"
        assert len(file.take()) == 1 and file.take() == []
    finally:
        file.close()
        os.close(reading)
        os.close(writing)


def test_each_line_of_a_slow_writer_is_told_when_it_comes(fifo):
    it = fifo("--json", "--answer", "skip")
    told = []

    def tells(kind):
        while not told or told[-1]["type"] != kind:
            assert select.select([it.stdout], [], [], 10)[0], told
            told.append(json.loads(it.stdout.readline()))
        return told[-1]

    with open(fifo.path, "w") as pipe:
        text = json.dumps(theirs(1)) + "\n"
        pipe.write(text[:20])
        pipe.flush()
        assert not select.select([it.stdout], [], [], 0.3)[0], "half a line says nothing"
        pipe.write(text[20:])
        pipe.flush()
        assert tells("session")["containers"][0]["name"] == "c1"
        assert tells("pending")["dest"] == "198.51.100.1"
        pipe.write(json.dumps(theirs(2)) + "\n")
        pipe.flush()
        tells("closed")
        assert tells("pending")["dest"] == "198.51.100.2"
    assert tells("summary")["skipped"] == 2
    assert it.wait(PATIENCE) == 0
