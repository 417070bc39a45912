"""Logs as a host keeps them: rotated, compressed, sent down a pipe; recordings that come in by one."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess

import endtoend
import pytest
from support import PATIENCE, eventually

job = endtoend.job


@pytest.fixture
def desk(host, lab, terminal, pyz, some_python):
    desk = endtoend.Desk(host, lab, terminal, pyz)
    desk.python = some_python.path
    return desk


# without any terminal, as a unit or cron has it
AS_IT_IS = 'exec "$@"'


def skip(desk, child, address):
    desk.lab.connect(address, 443)
    assert b"skipped" in child.stdout.readline()


def dests(text):
    return [it["dest"] for it in map(json.loads, text.splitlines()) if it["type"] == "pending"]


def test_a_log_is_rotated_as_logrotate_does_it(desk, job, tmp_path):
    """Renamed, the daemon told by SIGHUP, compressed, and the old one removed."""
    log = tmp_path / "log"
    child = job(AS_IT_IS, "--log", str(log))
    skip(desk, child, "203.0.113.10")
    os.rename(log, tmp_path / "log.1")
    child.send_signal(signal.SIGHUP)
    with gzip.open(tmp_path / "log.1.gz", "wb") as packed:
        packed.write((tmp_path / "log.1").read_bytes())
    os.unlink(tmp_path / "log.1")
    skip(desk, child, "203.0.113.11")
    child.terminate()
    assert child.wait(PATIENCE) == 0
    with gzip.open(tmp_path / "log.1.gz") as packed:
        assert dests(packed.read().decode()) == ["203.0.113.10"]
    assert dests(log.read_text()) == ["203.0.113.11"]
    assert json.loads(log.read_text().splitlines()[-1])["skipped"] == 2, "the summary is of all"
    desk.nothing_is_left()


def test_copied_and_truncated_works_too(desk, job, tmp_path):
    log = tmp_path / "log"
    child = job(AS_IT_IS, "--log", str(log))
    skip(desk, child, "203.0.113.10")
    os.truncate(log, 0)
    skip(desk, child, "203.0.113.11")
    child.terminate()
    assert child.wait(PATIENCE) == 0
    assert dests(log.read_text()) == ["203.0.113.11"]


@pytest.mark.parametrize("why", ["no log", "a terminal"])
def test_a_hang_up_is_the_end_where_it_can_be_one(desk, job, tmp_path, why):
    if why == "no log":
        child = job(AS_IT_IS)
        child.send_signal(signal.SIGHUP)
        assert child.wait(PATIENCE) == 0
    else:
        with open(os.devnull, "wb") as nowhere:
            t = desk.start("--answer", "skip", "--log", str(tmp_path / "log"), "c1", stdout=nowhere)
            eventually(desk.lab.holder, what="it watches")
            eventually(lambda: '"session"' in (tmp_path / "log").read_text())
            t.settled()
            t.kill(signal.SIGHUP)
            assert t.wait() == 0
    desk.nothing_is_left()


def test_a_log_on_stdout_beside_the_prompts(desk, tmp_path):
    """`simple-clearance.pyz --log - c1 | ...`: the terminal is for the questions."""
    reading, writing = os.pipe()
    t = desk.sit("--log", "-", stdout=writing)
    os.close(writing)
    desk.press("s", desk.block())
    t.expect("s not now\n")
    desk.quit()
    with open(reading) as pipe:
        lines = [json.loads(line) for line in pipe]
    assert [line["type"] for line in lines] == ["session", "pending", "closed", "summary"]
    assert not re.search("watching|not now", json.dumps(lines))


@pytest.mark.parametrize("words", [("--json",), ("--answer", "skip")])
def test_a_log_on_stdout_wants_it_for_itself(desk, words):
    done = desk.run("--log", "-", *words, "c1")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"simple-clearance: --log -: other things go to stdout\nhint: ")
    assert desk.host.calls() == []


def test_a_log_on_a_stdout_that_is_closed_is_refused(desk):
    desk.prefix = ["sh", "-c", '"$@" >&-', "sh"]
    t = desk.start("--log", "-", "c1")
    assert t.wait() == 3
    assert "simple-clearance: --log -: it is closed\nhint: " in t.text()


RECORDING = (
    b'{"type":"container_started","container":"c1"}\n'
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"203.0.113.10","port":443,"proto":6,'
    b'"domain":"","dossier":{},"ts":"2026-01-31T17:32:05.123Z"}\n'
)


@pytest.mark.parametrize("words", [("--json",), ("--answer", "skip")])
@pytest.mark.parametrize("how", ["a pipe", "a file"])
def test_a_recording_comes_by_stdin(desk, tmp_path, words, how):
    (tmp_path / "recording").write_bytes(RECORDING)
    script = {"a pipe": 'cat "$0" | "$@"', "a file": '"$@" <"$0"'}[how]
    argv = ["sh", "-c", script, str(tmp_path / "recording"), *desk.argv("--replay", "-", *words)]
    done = subprocess.run(argv, env=desk.env, capture_output=True, start_new_session=True, check=False)
    assert done.stderr == b"" and done.returncode == (5 if words == ("--json",) else 0)
    assert b"203.0.113.10" in done.stdout


def test_a_recording_that_comes_by_stdin_is_asked_on_the_terminal(desk):
    reading, writing = os.pipe()
    os.write(writing, RECORDING)
    os.close(writing)
    t = desk.start("--replay", "-", stdin=reading)
    os.close(reading)
    t.expect("203.0.113.10")
    desk.press("s", t.expect(endtoend.KEYS))
    desk.ends(0)


@pytest.mark.parametrize(
    "words, said", [('"$@"', "it is a terminal"), ('"$@" <&-', "it is closed")], ids=["a terminal", "closed"]
)
def test_no_recording_comes_by_a_terminal(desk, words, said):
    desk.prefix = ["sh", "-c", words, "sh"]
    t = desk.start("--replay", "-")
    assert t.wait() == 3
    assert "simple-clearance: --replay -: %s\nhint: " % said in t.text()
