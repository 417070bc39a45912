"""A followed file: whatever its writer and its rotation do, each new line comes once, whole or not at all."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest

from simple_clearance.sources.auditlog import TAIL, ShieldLog
from simple_clearance.system.follow import CHUNK, MARK, Follower


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "audit.jsonl")


@pytest.fixture
def follow(path):
    """`follow(text, **options)`: a follower of the file that has this in it, None for no file."""
    opened = []

    def start(text="", **options):
        if text is not None:
            write(path, text)
        opened.append(Follower(path, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def write(path, text, how="w"):
    with open(path, how) as file:
        file.write(text)


def append(path, text):
    write(path, text, "a")


def everything(follower):
    found = b""
    while True:
        data = follower.read()
        if not data:
            return found.decode()
        found += data


# --- where it begins


def test_it_begins_at_the_end(path, follow):
    it = follow("old\n")
    assert everything(it) == ""
    append(path, "new\n")
    assert everything(it) == "new\n"


@pytest.mark.parametrize("size, tail, at", [(100, 30, 70), (100, 100, 0), (100, 500, 0), (0, 30, 0)])
def test_it_begins_so_many_bytes_before_the_end(follow, size, tail, at):
    it = follow("".join(map(str, range(size)))[:size], tail=tail)
    assert len(everything(it)) == size - at
    assert it.started_at == at


@pytest.mark.parametrize("tail", [0, 30])
def test_a_file_that_comes_later_is_all_new(path, follow, tail):
    it = follow(None, tail=tail)
    assert everything(it) == ""
    write(path, "first of all\n" * 10)
    assert everything(it) == "first of all\n" * 10


def test_what_was_a_trap_at_first_is_all_new_too(path, follow):
    os.mkfifo(path)
    it = follow(None)
    assert everything(it) == ""
    os.unlink(path)
    write(path, "new\n")
    assert everything(it) == "new\n"


def test_it_reads_no_more_at_once_than_it_is_told(path, follow):
    it = follow()
    everything(it)
    append(path, "x" * 3 * CHUNK)
    assert [len(it.read()), len(it.read(10)), len(it.read())] == [CHUNK, 10, CHUNK]


# --- what happens to the file


def test_a_file_that_was_renamed_away_is_read_to_its_end_and_then_the_new_one(path, follow):
    it = follow("old\n")
    everything(it)
    append(path, "one\n")
    os.rename(path, path + ".1")
    append(path + ".1", "two\n")
    write(path, "three\n")
    assert everything(it) == "one\ntwo\nthree\n"
    assert it.renewals == 1


def test_between_rename_and_new_file_it_stays_with_the_old_one(path, follow):
    it = follow()
    everything(it)
    os.rename(path, path + ".1")
    append(path + ".1", "one\n")
    assert everything(it) == "one\n"
    write(path, "two\n")
    assert everything(it) == "two\n"


def test_a_file_that_was_deleted_and_made_anew_is_read_from_its_beginning(path, follow):
    it = follow("a long line that was there before\n")
    everything(it)
    os.unlink(path)
    write(path, "new\n")
    assert everything(it) == "new\n"


@pytest.mark.parametrize("old", ["short\n", "a line that is longer than what comes after it\n" * 9])
@pytest.mark.parametrize("new", ["new\n", "news that is longer than what was there before it\n" * 30])
def test_a_file_that_was_truncated_is_read_from_its_beginning_however_long_it_is_by_now(
    path, follow, old, new
):
    """As after an hour in the background: it has grown beyond our place again."""
    it = follow()
    everything(it)
    append(path, old)
    assert everything(it) == old
    write(path, new)
    assert everything(it) == new
    assert it.renewals == 1


def test_that_goes_for_a_file_that_was_entered_in_its_middle_too(path, follow):
    it = follow("something that was there before us, and a good deal of it\n" * 3)
    assert it.read() == b""
    write(path, "what came instead\n" * 40)
    assert everything(it) == "what came instead\n" * 40


def test_copying_and_truncating_loses_nothing_that_was_there_to_be_read(path, follow):
    it = follow()
    everything(it)
    append(path, "one\n")
    assert everything(it) == "one\n"
    shutil.copy(path, path + ".1")
    os.truncate(path, 0)
    assert everything(it) == ""
    append(path, "two\n")
    assert everything(it) == "two\n"


def test_what_only_grows_is_never_taken_for_another(path, follow):
    it = follow("x" * 1000)
    everything(it)
    for number in range(200):
        append(path, "a" * (number % 7))
        assert everything(it) == "a" * (number % 7)
    assert it.renewals == 0


@pytest.mark.parametrize("replace", ["fifo", "link", "folder", "nothing"])
def test_what_is_no_file_any_more_is_waited_for_and_nothing_of_it_is_read(path, follow, replace):
    it = follow("old\n")
    everything(it)
    os.unlink(path)
    if replace == "fifo":
        os.mkfifo(path)
    elif replace == "link":
        write(path + ".secret", "secret\n")
        os.symlink(path + ".secret", path)
    elif replace == "folder":
        os.mkdir(path)
    for _ in range(3):
        assert everything(it) == ""
    os.rmdir(path) if replace == "folder" else replace == "nothing" or os.unlink(path)
    write(path, "new\n")
    assert everything(it) == "new\n"


def test_one_that_may_not_be_read_is_waited_for(path, follow):
    it = follow(None)
    assert everything(it) == ""
    write(path, "new\n")
    os.chmod(path, 0)
    if os.getuid() != 0:  # root reads it all the same
        assert everything(it) == ""
        os.chmod(path, 0o600)
    assert everything(it) == "new\n"


def test_it_holds_one_descriptor_whatever_happens_and_none_at_the_end(path, follow):
    before = len(os.listdir("/proc/self/fd"))
    it = follow("old\n")
    for number in range(20):
        everything(it)
        if number % 2:
            os.rename(path, path + ".1")
        write(path, "%d\n" % number)
        everything(it)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    it.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_writer_and_the_rotation_do_in_turn_every_line_comes_once_and_in_order(
    path, follow, seed
):
    """Lines are read before they are truncated away, as a notice of each change brings about."""
    chance = random.Random(seed)
    it = follow("history\n" * chance.randrange(30))
    everything(it)
    written = read = ""
    for number in range(60):
        for _ in range(chance.randrange(3)):
            text = "%d %s\n" % (number, "x" * chance.choice((0, 1, MARK, 200)))
            append(path, text)
            written += text
        read += everything(it) if chance.random() < 0.9 else ""
        what = chance.random() if os.path.exists(path) else 1.0
        if what < 0.1:
            read += everything(it)
            os.truncate(path, 0)
            read += everything(it)
        elif what < 0.2:
            read += everything(it)
            os.rename(path, path + ".1")
            if chance.random() < 0.5:
                append(path + ".1", "late\n")
                written += "late\n"
            append(path, "")
        elif what < 0.25:
            read += everything(it)
            os.unlink(path)
    assert read + everything(it) == written


# --- the audit log on top of it


def entry(action="blocked", ts="2026-11-24T20:00:00+00:00", **fields):
    if action == "blocked":
        fields = {"dest": "198.51.100.1", "port": 443, "proto": "tcp", **fields}
    return json.dumps({"ts": ts, "container": "0123456789ab", "action": action, **fields}) + "\n"


@pytest.fixture
def log(path):
    """`log(text, started_at)`: the shield's log over a file that has this in it, and its history."""
    opened = []

    def start(text, started_at=""):
        if text is not None:
            write(path, text)
        opened.append(ShieldLog(path, started_at))
        return opened[-1], opened[-1].history()

    yield start
    for each in opened:
        each.close()


def told(log):
    """All that has come since."""
    found = []
    log.more = True
    while log.more:
        found += [getattr(message, "dest", None) or message.state for message in log.read()]
    return found


def test_what_was_blocked_before_is_counted_and_not_told(path, log):
    it, history = log(entry() * 3)
    assert history == ("up", 3)
    assert told(it) == []
    append(path, entry(dest="198.51.100.2"))
    assert told(it) == ["198.51.100.2"]


def test_the_last_state_before_counts(log):
    _, history = log(
        entry("shield_quarantine") + entry("shield_up") + entry("shield_down", detail="disengaged=True")
    )
    assert history == ("disengaged", 0)


@pytest.mark.parametrize(
    "started_at",
    ["2026-11-24T20:30:00Z", "2026-11-24T21:30:00.123456789+01:00", "2026-11-24T15:30:00-05:00"],
)
def test_what_was_before_the_containers_start_counts_for_nothing(log, started_at):
    later = "2026-11-24T20:31:00+00:00"
    _, history = log(entry("shield_down") + entry() + entry(ts=later), started_at)
    assert history == ("up", 1)
    _, history = log(entry() + entry("shield_down", ts=later), started_at)
    assert history == ("down", 0)


def test_without_a_log_the_state_is_not_known(path, log):
    it, history = log(None)
    assert history == ("", 0)
    write(path, entry("shield_down") + entry())
    assert told(it) == ["down", "198.51.100.1"]


def test_of_a_long_log_only_the_end_is_read(path, log):
    old = entry("shield_down") + "".join(
        entry(dest="198.51.100.%d" % (number % 250)) for number in range(2000)
    )
    it, (state, blocked) = log(old)
    assert state == "up" and 0 < blocked <= TAIL // len(entry()) + 1
    assert it.bad_lines == 0  # the line that the cut went through is nobody's fault
    append(path, entry(dest="198.51.100.251"))
    assert told(it) == ["198.51.100.251"]


def test_a_line_that_comes_in_pieces_is_told_once_it_is_whole(path, log):
    it, _ = log("")
    line = entry()
    for piece in (line[:1], line[1:40], line[40:-1]):
        append(path, piece)
        assert told(it) == []
    append(path, line[-1])
    assert told(it) == ["198.51.100.1"]


def test_half_a_line_at_the_start_is_told_when_it_is_whole(path, log):
    it, history = log(entry()[:30])
    assert history == ("up", 0)
    append(path, entry()[30:])
    assert told(it) == ["198.51.100.1"]


@pytest.mark.parametrize("rotate", [os.unlink, lambda path: os.truncate(path, 0)])
def test_half_a_line_is_not_put_before_the_first_line_of_the_next_file(path, log, rotate):
    it, _ = log(entry())
    append(path, entry(dest="192.0.2.9")[:50])
    assert told(it) == []
    rotate(path)
    ts = "2026-11-24T20:00:01+00:00"
    append(path, entry(dest="198.51.100.2", ts=ts) + entry(dest="198.51.100.3", ts=ts))
    assert told(it) == ["198.51.100.2", "198.51.100.3"]
    assert it.bad_lines == 0


def test_hostile_lines_are_counted_and_the_others_told(path, log):
    it, _ = log("no JSON\n")
    assert (it.bad_lines, it.fault) == (0, "")  # from before the start
    bad = ["", "{", "\0" * 10, "[" * 5000, entry(dest="$(reboot)").strip(), "\ud800"]
    with open(path, "ab") as file:
        for text in bad:
            file.write(text.encode("utf-8", "surrogatepass") + b"\n" + entry().encode())
        file.write(b"\xff\xfe" * 50_000 + b"\n" + entry(dest="198.51.100.9").encode())
    assert told(it) == ["198.51.100.1"] * len(bad) + ["198.51.100.9"]
    assert it.bad_lines == len(bad)  # an empty line is none; the endless one is
    assert it.fault.startswith("not JSON")


@pytest.mark.parametrize("seed", range(5))
def test_at_every_split_the_same_comes(path, log, seed):
    chance = random.Random(seed)
    it, _ = log("")
    text = "".join(
        entry(dest="198.51.100.%d" % number) + chance.choice(("", "x\n", "\n")) for number in range(40)
    )
    found, data = [], text.encode()
    while data:
        size = chance.choice((1, 2, 10, 200, 1000))
        with open(path, "ab") as file:
            file.write(data[:size])
        data = data[size:]
        found += told(it)
    assert found == ["198.51.100.%d" % number for number in range(40)]
