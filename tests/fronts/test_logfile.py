"""The log and the profile: whole lines or nothing, told once when it can't be, never in anyone's way."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys

import pytest
from needs import need
from support import ROOT

from simple_clearance.base.errors import Refused
from simple_clearance.base.moment import Now
from simple_clearance.fronts.logfile import HEADER, Log, Profile

NOW = Now(1000.0, 1_770_000_000.0)
STAMP = "2026-02-02T02:40:00.000Z"


class Told(list):
    """What was reported; call it to report."""

    def __call__(self, message):
        self.append(message)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def opened():
    """`opened(Log, path, told)`: closed with the test."""
    found = []

    def make(kind, path, told, *more):
        found.append(kind(str(path), told, *more))
        return found[-1]

    yield make
    for each in found:
        each.close()


def read(path):
    with open(path) as file:
        return file.read()


def records(path):
    return [json.loads(line) for line in read(path).splitlines()]


def closed(number):
    return {"type": "closed", "id": "r%d" % number, "why": "skipped"}


# --- the log


def test_each_record_is_a_line_at_once(tmp_path, opened, told):
    log = opened(Log, tmp_path / "log", told)
    log.record(closed(1), NOW)
    assert read(tmp_path / "log") == '{"type":"closed","ts":"%s","id":"r1","why":"skipped"}\n' % STAMP
    log.record(closed(2), NOW)
    assert [record["id"] for record in records(tmp_path / "log")] == ["r1", "r2"]
    assert (log.failed, told) == ("", [])


def test_a_new_log_is_for_its_owner_alone(tmp_path, opened, told):
    before = os.umask(0)
    try:
        opened(Log, tmp_path / "log", told)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "log").st_mode) == 0o600


def test_a_log_that_is_there_is_added_to(tmp_path, opened, told):
    (tmp_path / "log").write_text('{"old":1}\n')
    opened(Log, tmp_path / "log", told).record(closed(1), NOW)
    assert read(tmp_path / "log").startswith('{"old":1}\n{"type":"closed"')


def test_half_a_line_from_before_does_not_spoil_the_next(tmp_path, opened, told):
    (tmp_path / "log").write_text('{"old":1}\n{"ol')
    opened(Log, tmp_path / "log", told).record(closed(1), NOW)
    lines = read(tmp_path / "log").splitlines()
    assert lines[:2] == ['{"old":1}', '{"ol'] and json.loads(lines[2])["id"] == "r1"


def test_two_sessions_may_share_a_log(tmp_path, opened, told):
    first, second = (opened(Log, tmp_path / "log", told) for _ in range(2))
    for number in range(0, 100, 2):
        first.record(closed(number), NOW)
        second.record(closed(number + 1), NOW)
    assert [record["id"] for record in records(tmp_path / "log")] == ["r%d" % n for n in range(100)]


@pytest.mark.parametrize(
    "make, problem",
    [
        pytest.param(lambda path: None, "No such file or directory", id="no such folder"),
        pytest.param(lambda path: path.mkdir(parents=True), "Is a directory", id="a folder"),
        pytest.param(
            lambda path: (path.parent.mkdir(), os.mkfifo(path)),
            "nobody reads it",
            id="a pipe without a reader",
        ),
        pytest.param(
            lambda path: (path.parent.mkdir(), path.symlink_to(path)),
            "Too many levels of symbolic links",
            id="a link to itself",
        ),
        pytest.param(
            lambda path: path.parent.write_text(""), "Not a directory", id="a folder that is a file"
        ),
    ],
)
@pytest.mark.parametrize("kind, option", [(Log, "--log"), (Profile, "--save-profile")])
def test_what_cannot_be_opened_is_refused_with_its_reason(tmp_path, told, make, problem, kind, option):
    path = tmp_path / "folder" / "file"
    make(path)
    with pytest.raises(Refused) as refused:
        kind(str(path), told, *([{}] if kind is Profile else []))
    assert refused.value.code == 3
    assert refused.value.message == "%s %s: %s" % (option, path, problem)
    assert refused.value.hints and told == []


def test_a_path_with_a_nul_is_refused(told):
    with pytest.raises(Refused):
        Log("a\0b", told)


def test_without_permission_it_is_refused(tmp_path, told):
    need("root")  # to become someone without
    path = tmp_path / "log"
    path.write_text("")
    os.chmod(path, 0o444)
    code = (
        "import os, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.base import errors; from simple_clearance.fronts import logfile\n"
        "os.setuid(65534)\n"
        "try: logfile.Log(%r, print)\n"
        "except errors.Refused as error: print(error.code, error.message)"
    )
    os.chmod(tmp_path, 0o755)
    shown = subprocess.run(
        [sys.executable, "-c", code % (ROOT, str(path))], stdout=subprocess.PIPE, check=True, cwd="/"
    ).stdout.decode()
    # its folder may be closed to others as well, which is the same answer
    assert shown == "3 --log %s: Permission denied\n" % path


def test_a_full_disk_is_told_once_and_nothing_is_raised(opened, told):
    log = opened(Log, "/dev/full", told)
    for number in range(3):
        log.record(closed(number), NOW)
    assert told == ["--log /dev/full: No space left on device: not everything is recorded"]
    assert log.failed == told[0]


def limited(code, size, path):
    """Runs `code` with `log` open at `path` in a process whose files may not grow beyond `size`."""
    head = (
        "import resource, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.fronts.logfile import Log; from simple_clearance.base.moment import Now\n"
        "told = []; log = Log(%r, told.append); now = Now(0, 0)\n"
        "def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, %d))\n"
        "limit(%d)\n"
    )
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    done = subprocess.run(
        [sys.executable, "-c", head % (ROOT, str(path), hard, size) + code],
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode()


def test_a_half_written_line_does_not_spoil_what_comes_after_and_the_gap_is_told(tmp_path):
    path = tmp_path / "log"
    shown = limited(
        "for n in range(5): log.record({'type': 'closed', 'id': 'r%d' % n}, now)\n"
        "limit(100000)\n"
        "for n in range(5, 7): log.record({'type': 'closed', 'id': 'r%d' % n}, now)\n"
        "print(len(told), told[0])",
        150,  # two lines of 58 bytes and half of a third
        path,
    )
    assert shown == "1 --log %s: File too large: not everything is recorded\n" % path
    lines = read(path).splitlines()
    assert [json.loads(line).get("id") for line in lines[:2]] == ["r0", "r1"]
    assert (
        '{"type":"closed","ts":"1970-01-01T00:00:00.000Z"'.startswith(lines[2][:40]) and lines[2][-1] != "}"
    )
    rest = [json.loads(line) for line in lines[3:]]
    assert (rest[0]["type"], rest[0]["count"], rest[0]["where"]) == ("lost", 3, "log")
    assert [record["id"] for record in rest[1:]] == ["r5", "r6"]


def test_a_folder_that_vanishes_is_told_at_the_next_record(tmp_path, opened, told):
    (tmp_path / "folder").mkdir()
    log = opened(Log, tmp_path / "folder" / "log", told)
    log.record(closed(1), NOW)
    shutil.rmtree(tmp_path / "folder")
    log.record(closed(2), NOW)
    log.record(closed(3), NOW)
    assert told == ["--log %s: it was removed: not everything is recorded" % (tmp_path / "folder" / "log")]


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_log_that_was_moved_aside_is_begun_anew(tmp_path, opened, told, how):
    """As logrotate does it, with `create` or without, and whatever becomes of the old file then."""
    log = opened(Log, tmp_path / "log", told)
    log.record(closed(1), NOW)
    if how == "removed":
        os.unlink(tmp_path / "log")
    else:
        os.rename(tmp_path / "log", tmp_path / "log.1")
    if how == "replaced":
        (tmp_path / "log").touch()
    log.record(closed(2), NOW)
    log.record(closed(3), NOW)
    assert told == [] and [record["id"] for record in records(tmp_path / "log")] == ["r2", "r3"]
    if how != "removed":
        assert [record["id"] for record in records(tmp_path / "log.1")] == ["r1"]
    if how != "replaced":
        assert stat.S_IMODE(os.stat(tmp_path / "log").st_mode) == 0o600


def test_a_log_whose_name_can_not_be_had_goes_on_in_the_old_file(tmp_path, opened, told):
    """In a folder of somebody else's a moment passes between the old file's rename and the new one."""
    (tmp_path / "folder").mkdir()
    log = opened(Log, tmp_path / "folder" / "log", told)
    os.rename(tmp_path / "folder", tmp_path / "moved")
    log.record(closed(1), NOW)
    (tmp_path / "folder").mkdir()
    log.record(closed(2), NOW)
    assert told == []
    assert [record["id"] for record in records(tmp_path / "moved" / "log")] == ["r1"]
    assert [record["id"] for record in records(tmp_path / "folder" / "log")] == ["r2"]


def test_a_log_that_was_truncated_is_written_from_its_beginning(tmp_path, opened, told):
    log = opened(Log, tmp_path / "log", told)
    log.record(closed(1), NOW)
    os.truncate(tmp_path / "log", 0)
    log.record(closed(2), NOW)
    assert told == [] and [record["id"] for record in records(tmp_path / "log")] == ["r2"]


def test_a_pipe_that_is_read_serves_as_a_log(tmp_path, opened, told):
    os.mkfifo(tmp_path / "log")
    reading = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        opened(Log, tmp_path / "log", told).record(closed(1), NOW)
        assert json.loads(os.read(reading, 1000))["id"] == "r1"
    finally:
        os.close(reading)
    assert told == []


def test_a_pipe_that_is_no_longer_read_holds_nobody_up(tmp_path, opened, told):
    os.mkfifo(tmp_path / "log")
    reading = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    log = opened(Log, tmp_path / "log", told)
    for number in range(5000):
        log.record(closed(number), NOW)
    assert told == [
        "--log %s: Resource temporarily unavailable: not everything is recorded" % (tmp_path / "log")
    ]
    first = b""
    while b"\n" not in first[-1:] or len(first) < 60_000:
        first += os.read(reading, 1 << 20)
    log.record(closed(6000), NOW)
    rest = os.read(reading, 1 << 20).splitlines()
    os.close(reading)
    assert json.loads(rest[-2])["where"] == "log" and json.loads(rest[-1])["id"] == "r6000"
    log.record(closed(6001), NOW)  # SIGPIPE would end us here
    assert len(told) == 1


def test_stdout_serves_as_a_log_without_a_flag_of_it_being_changed(tmp_path):
    code = (
        "import sys, os, fcntl; sys.path.insert(0, %r)\n"
        "from simple_clearance.fronts.logfile import Log; from simple_clearance.base.moment import Now\n"
        "Log('/dev/stdout', print).record({'type': 'closed'}, Now(0, 0))\n"
        "sys.exit(bool(fcntl.fcntl(1, fcntl.F_GETFL) & os.O_NONBLOCK))"
    )
    done = subprocess.run([sys.executable, "-c", code % ROOT], stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["type"] == "closed"


# --- the profile


def verdict(action, target, result="applied"):
    return {"type": "verdict", "container": "c1", "action": action, "target": target, "result": result}


def body(path):
    text = read(path)
    assert text.startswith(HEADER)
    return text[len(HEADER) :].splitlines()


def test_what_was_allowed_is_a_line_each_once(tmp_path, opened, told):
    profile = opened(Profile, tmp_path / "p.txt", told, {"c1": 18})
    for target in ("198.51.100.1", "www.example.com", "198.51.100.1", "2001:db8::1"):
        profile.record(verdict("allow", target), NOW)
    assert body(tmp_path / "p.txt") == ["+198.51.100.1", "+www.example.com", "+2001:db8::1"]


@pytest.mark.parametrize(
    "version, line",
    [(18, "+192.0.2.1"), (15, "+192.0.2.1"), (14, "192.0.2.1"), (None, "192.0.2.1")],
)
def test_a_line_has_its_plus_from_version_15_on(tmp_path, opened, told, version, line):
    opened(Profile, tmp_path / "p.txt", told, {"c1": version}).record(verdict("allow", "192.0.2.1"), NOW)
    assert body(tmp_path / "p.txt") == [line]


@pytest.mark.parametrize(
    "record",
    [
        verdict("allow", "192.0.2.1", "failed"),
        verdict("allow", "192.0.2.1", "unknown"),
        verdict("allow", "192.0.2.1", "dry-run"),
        verdict("deny", "192.0.2.1"),
        {"type": "closed", "id": "r1", "why": "applied"},
    ],
)
def test_only_an_applied_allow_is_saved(tmp_path, opened, told, record):
    opened(Profile, tmp_path / "p.txt", told, {"c1": 18}).record(record, NOW)
    assert read(tmp_path / "p.txt") == ""


def test_a_profile_that_is_there_is_added_to_and_nothing_is_in_it_twice(tmp_path, opened, told):
    (tmp_path / "p.txt").write_text("# mine\n+192.0.2.1\n+192.0.2.2")
    profile = opened(Profile, tmp_path / "p.txt", told, {"c1": 18})
    for target in ("192.0.2.1", "192.0.2.3"):
        profile.record(verdict("allow", target), NOW)
    assert read(tmp_path / "p.txt") == "# mine\n+192.0.2.1\n+192.0.2.2\n+192.0.2.3\n"


@pytest.mark.parametrize("version, comment", [(18, "#192.0.2.1"), (14, "#        ")])
def test_what_is_taken_back_becomes_a_comment(tmp_path, opened, told, version, comment):
    profile = opened(Profile, tmp_path / "p.txt", told, {"c1": version})
    for target in ("192.0.2.1", "www.example.com"):
        profile.record(verdict("allow", target), NOW)
    profile.record(verdict("deny", "192.0.2.1"), NOW)
    plus = "+" if version == 18 else ""
    assert body(tmp_path / "p.txt") == [comment, plus + "www.example.com"]
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    assert body(tmp_path / "p.txt") == [comment, plus + "www.example.com", plus + "192.0.2.1"]
    assert told == []


def test_a_line_of_the_owners_is_not_taken_back(tmp_path, opened, told):
    (tmp_path / "p.txt").write_text("+192.0.2.1\n")
    profile = opened(Profile, tmp_path / "p.txt", told, {"c1": 18})
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    profile.record(verdict("deny", "192.0.2.1"), NOW)
    assert read(tmp_path / "p.txt") == "+192.0.2.1\n"


def test_what_others_add_meanwhile_stays(tmp_path, opened, told):
    profile = opened(Profile, tmp_path / "p.txt", told, {"c1": 18})
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    with open(tmp_path / "p.txt", "a") as file:
        file.write("+mine.example\n")
    profile.record(verdict("allow", "192.0.2.2"), NOW)
    profile.record(verdict("deny", "192.0.2.2"), NOW)
    profile.record(verdict("deny", "192.0.2.1"), NOW)
    assert body(tmp_path / "p.txt") == ["#192.0.2.1", "+mine.example", "#192.0.2.2"]


def test_a_profile_that_was_changed_meanwhile_is_left_alone_and_that_is_told(tmp_path, opened, told):
    path = tmp_path / "p.txt"
    profile = opened(Profile, path, told, {"c1": 18})
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    path.write_text("+198.51.100.7\n" * 20)
    profile.record(verdict("deny", "192.0.2.1"), NOW)
    assert read(path) == "+198.51.100.7\n" * 20
    assert len(told) == 1 and "it was changed: take out +192.0.2.1 yourself" in told[0]


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_profile_that_was_moved_aside_is_begun_anew(tmp_path, opened, told, how):
    """Whatever was allowed before is not in it: it may be again."""
    path = tmp_path / "p.txt"
    profile = opened(Profile, path, told, {"c1": 18})
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    if how == "removed":
        os.unlink(path)
    else:
        os.rename(path, tmp_path / "old.txt")
    if how == "replaced":
        path.touch()
    for target in ("192.0.2.2", "192.0.2.1"):
        profile.record(verdict("allow", target), NOW)
    assert body(path) == ["+192.0.2.2", "+192.0.2.1"] and told == []
    if how != "removed":
        assert body(tmp_path / "old.txt") == ["+192.0.2.1"]


def test_an_editor_may_replace_a_profile_by_one_that_holds_the_same_and_more(tmp_path, opened, told):
    path = tmp_path / "p.txt"
    profile = opened(Profile, path, told, {"c1": 18})
    for target in ("192.0.2.1", "192.0.2.2"):
        profile.record(verdict("allow", target), NOW)
    (tmp_path / "new").write_text("+mine.example\n" + read(path))
    os.replace(tmp_path / "new", path)
    profile.record(verdict("deny", "192.0.2.2"), NOW)
    profile.record(verdict("allow", "192.0.2.1"), NOW)
    assert read(path) == "+mine.example\n" + HEADER + "+192.0.2.1\n#192.0.2.2\n", "wherever it stands by now"
    assert told == []


@pytest.mark.parametrize(
    "path, problem", [("/dev/null", "it is not a file"), ("/dev/full", "it is not a file")]
)
def test_a_profile_is_an_ordinary_file(told, path, problem):
    with pytest.raises(Refused) as refused:
        Profile(path, told, {})
    assert refused.value.message.endswith(problem)


def test_a_file_too_large_for_a_profile_is_refused(tmp_path, told):
    with open(tmp_path / "p.txt", "wb") as file:
        file.truncate(2 << 20)
    with pytest.raises(Refused) as refused:
        Profile(str(tmp_path / "p.txt"), told, {})
    assert refused.value.message.endswith("it is larger than a profile")


def test_nothing_is_left_open(tmp_path, told):
    before = sorted(os.listdir("/proc/self/fd"))
    log, profile = Log(str(tmp_path / "log"), told), Profile(str(tmp_path / "p.txt"), told, {"c1": 18})
    log.record(closed(1), NOW)
    for action in ("allow", "deny"):
        profile.record(verdict(action, "192.0.2.1"), NOW)
    log.close()
    profile.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
