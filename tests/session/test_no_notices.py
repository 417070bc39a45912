"""Where nothing tells that a file has changed: that is said, and the files are looked at once a second.

The archive asks the kernel for notices by a number that it does not know, as on one that has none.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile

import endtoend
import pytest
import scripting
from support import comes_to_rest, with_a_fault

desk = endtoend.desk
script = scripting.script

WORDS = "there are no notices of what changes in "


@pytest.fixture(name="deaf")
def _deaf(pyz, tmp_path):
    return with_a_fault(pyz, str(tmp_path / "deaf.pyz"), "system/folders", "\nfcntl.F_NOTIFY = 9999\n")


def blocked(dest):
    fields = {"ts": "2026-11-24T20:31:00+00:00", "container": "c1", "action": "blocked"}
    return json.dumps({**fields, "dest": dest, "port": 443, "proto": "tcp"}) + "\n"


def test_through_the_audit_log_it_is_said_and_what_is_blocked_is_asked(desk, deaf):
    desk.pyz = deaf
    desk.c1.bridge_reader()
    t = desk.sit()
    t.expect("no notices of")
    for number in range(3):
        desk.c1.append("audit.jsonl", blocked("203.0.113.%d" % number))
        if number == 0:
            t.expect("203.0.113.0")
            t.expect(endtoend.KEYS)
    endtoend.lists(t, 3)
    t.send("\x03")
    assert t.wait() == 5


def test_a_name_looked_up_later_and_the_shields_state_are_told(script, host, lab, deaf):
    c2 = host.container("c2", lab)
    it = script("--json", names=("c2",), reader=False, pyz=deaf)
    it.until("session")
    lab.connect("203.0.113.10", 443, "udp")
    one = it.until("pending")
    c2.looks_up("www.example.com", "203.0.113.10")
    assert it.until("names", id=one["id"])["names"] == ["www.example.com"]
    c2.append("audit.jsonl", '{"ts":"2099-11-24T20:31:00+00:00","container":"c2","action":"shield_down"}\n')
    assert it.until("shield")["state"] == "down"
    it.ends(5)


def test_a_policy_file_is_read_again(script, host, lab, deaf, tmp_path):
    host.container("c2", lab)
    path = tmp_path / "rules"
    path.write_text("ask 203.0.113.10\n")
    it = script("--json", "--policy", str(path), names=("c2",), reader=False, pyz=deaf)
    it.until("session")
    assert it.until("error")["message"] == WORDS + "%s: looked at once a second" % path
    lab.connect("203.0.113.10", 443, "udp")
    one = it.until("pending")
    path.write_text("skip 203.0.113.10\n")
    assert it.until("closed", id=one["id"])["by"] == "policy"
    it.ends(0)


def test_a_hub_that_appears_is_found(script, host, lab, deaf):
    c2 = host.container("c2", lab)
    with tempfile.TemporaryDirectory() as runtime, socket.socket(socket.AF_UNIX) as hub:  # a short path
        it = script("--json", names=("c2",), reader=False, pyz=deaf, env=host.env(XDG_RUNTIME_DIR=runtime))
        it.until("session")
        folder = "%s/terok/clearance/%s" % (runtime, c2.sid)
        os.makedirs(folder)
        hub.bind(folder + "/hub.sock")
        hub.listen()
        assert it.until("summary")["exit"] == 1
        assert it.child.wait() == 1


def test_the_check_says_so(desk, deaf):
    desk.pyz = deaf
    done = desk.run("--check", "c1")
    line = WORDS + desk.c1.state_dir
    assert any(
        row.split() == ["ok", "notices", *(line + ": looked at once a second").split()]
        for row in done.stdout.decode().splitlines()
    ), done.stdout


def test_where_there_are_notices_nothing_looks(desk):
    t = desk.sit()
    comes_to_rest(desk.processes())
    assert "notices" not in t.text()
    desk.quit()
