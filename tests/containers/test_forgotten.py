"""Counting recorded verdicts that a restart has left out of force: whatever the shield's files hold."""

from __future__ import annotations

import json
import os

import pytest

from simple_clearance.containers.forgotten import forgotten, remedy

START = "2026-01-31T12:00:00.123456789+01:00"  # podman's form: 11:00 UTC
EARLIER, LATER = "2026-01-31T10:59:59+00:00", "2026-01-31T11:00:01+00:00"
EPOCH = 1769857200  # START


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policy").mkdir()
    return tmp_path


def record(folder, *lines, file="policy/live", at=EPOCH - 60):
    path = folder / file
    path.write_text("".join(line + "\n" for line in lines))
    os.utime(path, (at, at))


def audit(folder, *lines):
    (folder / "audit.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def given(action, dest, ts):
    return {"ts": ts, "container": "c1", "action": action, "dest": dest, "detail": "target=" + dest}


def test_verdicts_on_addresses_and_networks_count_and_names_do_not(folder):
    record(folder, "+198.51.100.1", "-2001:db8::1", "+203.0.113.0/24", "+www.example.com", "# a word", "")
    assert forgotten(str(folder), START) == 3


def test_nothing_recorded_is_nothing_forgotten(tmp_path):
    assert forgotten(str(tmp_path), START) == 0
    assert forgotten(str(tmp_path / "nowhere"), START) == 0


def test_an_older_shield_keeps_them_in_two_files(tmp_path):
    record(tmp_path, "198.51.100.1", file="live.allowed")
    record(tmp_path, "198.51.100.2", "198.51.100.3", file="deny.list")
    assert forgotten(str(tmp_path), START) == 3


def test_what_a_start_loads_is_not_forgotten_but_its_opposite_is(folder):
    record(folder, "+198.51.100.1", "-198.51.100.2", "-198.51.100.3", "+198.51.100.4")
    (folder / "ruleset.nft").write_text(
        "table inet terok_shield { … }\n"
        "add element inet terok_shield t40_project_allow_v4 { 198.51.100.1 timeout 0s, 198.51.100.3 }\n"
        "add element inet terok_shield t20_security_deny_v4 { 198.51.100.2 }\n"
    )
    assert forgotten(str(folder), START) == 2


def test_what_was_given_since_is_in_force(folder):
    record(folder, "+198.51.100.1", "+198.51.100.2", "-198.51.100.3", at=EPOCH + 60)
    audit(
        folder,
        given("allowed", "198.51.100.1", EARLIER),
        given("allowed", "198.51.100.2", LATER),
        given("allowed", "198.51.100.3", LATER),  # and denied before: that is gone
        {"ts": EARLIER, "container": "c1", "action": "shield_up"},
    )
    assert forgotten(str(folder), START) == 2


def test_the_command_that_puts_them_back_does(folder):
    record(folder, "+198.51.100.1", "-198.51.100.2")
    audit(folder, {"ts": LATER, "container": "c1", "action": "shield_up"})
    assert forgotten(str(folder), START) == 0


def test_where_some_are_newer_and_no_log_tells_which_nothing_is_claimed(folder):
    record(folder, "+198.51.100.1", "+198.51.100.2", at=EPOCH + 60)
    assert forgotten(str(folder), START) == 0


def test_an_unknown_start_claims_nothing(folder):
    record(folder, "+198.51.100.1")
    assert forgotten(str(folder), "") == 0
    assert forgotten(str(folder), "yesterday") == 0


def test_a_log_that_holds_anything_does_no_harm(folder):
    record(folder, "+198.51.100.1")
    lines = [
        b'{"ts":"2026-01-31T11',
        b"[]",
        b'{"ts":5,"action":"shield_up"}',
        b'{"ts":"x","action":[]}',
        b"\xff\0",
    ]
    (folder / "audit.jsonl").write_bytes(b"\n".join(lines) + b"\n" + b"[" * 100000)
    assert forgotten(str(folder), START) == 1


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_plain_file_is_not_read(kind, folder, tmp_path):
    path = folder / "policy/live"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        record(folder, "+198.51.100.1", file="elsewhere")
        path.symlink_to(folder / "elsewhere")
    else:
        path.mkdir()
    assert forgotten(str(folder), START) == 0


def test_the_remedy_names_the_whole_id():
    assert remedy("c1", "ab" * 32, "terok-shield") == "terok-shield up --container-id %s c1" % ("ab" * 32)
