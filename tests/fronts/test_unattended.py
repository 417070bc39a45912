"""A session that nobody attends: its answer, its bounds, and what it takes to be let go at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import endtoend
import pytest
import scripting
from support import PATIENCE, eventually

from simple_clearance import arguments
from simple_clearance.base.errors import Refused

desk = endtoend.desk
quiet = scripting.quiet
script = scripting.script


def blocked(number):
    return ["198.18.%d.%d" % divmod(n, 200) for n in range(number)]


# --- nobody is there


@pytest.mark.parametrize(
    "words",
    [
        ["--policy", "rules", "--log", "log", "--for", "1"],
        *(
            pytest.param(words, marks=pytest.mark.thorough)
            for words in (
                [],
                ["--policy", "rules"],
                ["--dry-run"],
                ["--log", "log"],
                ["--count", "1"],
                ["--bell"],
            )
        ),
    ],
    ids=" ".join,
)
def test_with_neither_a_terminal_nor_an_answer_it_does_not_start(desk, tmp_path, words):
    (tmp_path / "rules").write_text("skip *\n")
    done = desk.run(*words, "c1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "simple-clearance: no terminal to prompt on"
    assert any("--answer" in line for line in lines[1:]) and any("--json" in line for line in lines[1:])
    assert [call.argv[0] for call in desk.host.calls()] == ["inspect"], "whose hub might be active"
    assert not os.path.exists(tmp_path / "log")


def test_a_yes_in_a_pipe_is_no_terminal(desk):
    done = subprocess.run(
        desk.argv("c1"),
        check=False,
        input=b"y\na\n" * 100,
        env=desk.env,
        start_new_session=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2 and desk.host.verdicts() == []


@pytest.mark.parametrize(
    "more", [[], ["--json"], ["--dry-run"], ["--policy", "/dev/null"], ["--log", "/dev/null"]]
)
def test_to_allow_everything_there_has_to_be_a_bound(more):
    with pytest.raises(Refused) as caught:
        arguments.parse(["--answer", "allow", *more, "c1"])
    assert caught.value.code == 2
    assert caught.value.message == "--answer allow needs a bound"
    assert caught.value.hints == ("--for SECONDS or --count N",)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--answer", "mute"], "--answer"),
        (["--answer", "yes"], "--answer"),
        (["--answer", ""], "--answer"),
        (["--for", "0"], "--for"),
        (["--for", "-1"], "--for"),
        (["--for", "soon"], "--for"),
        (["--for", "nan"], "--for"),
        (["--for", "inf"], "--for"),
        (["--count", "0"], "--count"),
        (["--count", "-3"], "--count"),
        (["--count", "1.5"], "--count"),
        (["--count", "\u0663"], "--count"),
        (["--count", "9" * 40], "--count"),
    ],
)
def test_a_bound_that_is_none_is_a_mistake(words, message):
    with pytest.raises(Refused) as caught:
        arguments.parse([*words, "c1"])
    assert caught.value.code == 2 and message in caught.value.message and caught.value.hints


def test_such_a_mistake_is_told_and_nothing_is_asked(desk):
    done = desk.run("--count", "\u0663", "--answer", "allow", "c1", env=dict(desk.env, LC_ALL="C.UTF-8"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--count" in done.stderr and done.stderr.isascii()
    assert desk.host.calls() == []


# --- how it ends


def test_after_its_time_it_ends(quiet):
    began = time.monotonic()
    it = quiet("--answer", "deny", "--for", "0.8")
    assert it.lines()[-1] == "stopped: nothing blocked was seen; exit code 0"
    assert it.child.returncode == 0 and time.monotonic() - began > 0.8


def test_its_time_begins_when_it_watches(quiet, host):
    host.control("podman", delay=0.4)
    began = time.monotonic()
    it = quiet("--answer", "deny", "--for", "0.4")
    it.lines()
    assert time.monotonic() - began > 0.8


def test_a_verdict_in_progress_is_waited_for_when_the_time_is_over(quiet, host):
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    it = quiet("--answer", "deny", "--for", "0.5", "--verdict-timeout", "600")
    it.block("198.51.100.1")
    eventually(host.verdicts, what="the verdict command runs")
    time.sleep(0.7)
    host.open(gate)
    assert it.lines()[-1] == "stopped: 1 denied; exit code 0"
    assert [call.rc for call in host.verdicts()] == [0]


def test_the_count_is_a_limit_however_many_are_blocked(quiet, host):
    it = quiet("--answer", "allow", "--count", "2")
    it.block(*blocked(20))
    lines = it.lines()
    assert len(host.verdicts()) == 2
    assert lines[-1].startswith("stopped: 2 allowed, ") and it.child.returncode == 5, (
        "the others are left open"
    )


def test_in_a_dry_run_those_count_that_would_have_been_run(quiet, host):
    it = quiet("--answer", "allow", "--count", "2", "--dry-run")
    it.block(*blocked(20))
    assert it.lines()[-1].startswith("stopped: 2 verdicts not run (dry run), ")
    assert host.verdicts() == []


def test_the_count_is_a_limit_for_all_containers_together(host, pyz):
    for name in ("c1", "c2", "c3"):
        host.container(name)
    host.control("terok-shield", mode="silent", delay=0.3)
    reader = os.path.join(host.folder, "reader")
    line = '{"type":"pending","dest":"198.51.100.%d","port":443,"proto":6}'
    with open(reader, "w") as file:
        file.write("#!/bin/sh\nprintf '%s\\n' '{\"type\":\"container_started\"}'")
        file.write("".join(" '%s'" % (line % number) for number in range(5)))
        file.write("\nexec cat\n")
    os.chmod(reader, 0o755)
    # one reader for each container, by its state directory: `--reader` itself goes with one
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from simple_clearance import arguments, session\n"
        "options = arguments.parse(['--json', '--answer', 'allow', '--count', '4', 'c1', 'c2', 'c3'])\n"
        "options.reader = [%r]\n"
        "import os; sys.exit(session.Session(options, os.environ).run())" % reader
    )
    done = subprocess.run(
        [sys.executable, "-c", code, pyz],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=host.env(),
        timeout=PATIENCE,
    )
    assert done.returncode == 5, done.stderr
    assert len(host.verdicts()) == 4, done.stdout


def test_only_what_was_applied_counts(quiet, host):
    host.control("terok-shield", mode="silent", targets={"198.51.100.1": {"mode": "fail"}})
    it = quiet("--answer", "deny", "--count", "1")
    it.block("198.51.100.1", "198.51.100.2")
    lines = it.lines()
    assert host.targets() == ["deny 198.51.100.1", "deny 198.51.100.2"]
    assert lines[-1] == "stopped: 1 denied, 1 failed, 1 unanswered; exit code 5"


def test_the_count_bounds_a_script_too(script, host):
    it = script("--json", "--count", "1")
    it.block("198.51.100.1", "198.51.100.2")
    it.ids(2)
    it.say("deny r1\nallow r2\n")
    it.ends(5)
    assert host.targets() == ["deny 198.51.100.1"]
    assert it.of("verdict")[1]["reason"] == "not-started"


def test_the_count_bounds_a_policy_too(script, host, tmp_path):
    (tmp_path / "rules").write_text("deny 198.51.100.0/24\nskip *\n")
    it = script("--json", "--count", "1", "--policy", str(tmp_path / "rules"))
    it.block("203.0.113.1", "198.51.100.1", "198.51.100.2")
    it.ends(5)
    assert host.targets() == ["deny 198.51.100.1"]


def test_skips_do_not_count(quiet):
    it = quiet("--answer", "skip", "--count", "1")
    it.block("198.51.100.1", "198.51.100.2")
    for words in (b"watching c1", b"c1: 198.51.100.1 tcp 443 https: skipped", b"c1: 198.51.100.2"):
        assert it.child.stdout.readline().startswith(words)
    it.child.terminate()
    assert it.lines() == ["stopped: 2 skipped; exit code 0"]


def test_the_first_bound_that_is_reached_ends_it(quiet, host):
    it = quiet("--answer", "allow", "--for", "60", "--count", "1")
    it.block("198.51.100.1")
    assert it.lines()[-1] == "stopped: 1 allowed; exit code 0"


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGQUIT,  # the others are tried with every front in test_exit_codes
        *(
            pytest.param(number, marks=pytest.mark.thorough)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        ),
    ],
)
def test_a_signal_ends_it_as_asked(quiet, number):
    it = quiet("--answer", "skip")
    assert it.child.stdout.readline().startswith(b"watching c1")
    it.child.send_signal(number)
    assert it.lines() == ["stopped: nothing blocked was seen; exit code 0"]
    assert it.child.returncode == 0


def test_the_containers_stop_ends_it(quiet, host):
    it = quiet("--answer", "skip")
    assert it.child.stdout.readline().startswith(b"watching c1")
    host.containers["c1"].stop()
    assert it.lines()[-1] == "stopped: nothing blocked was seen; exit code 0"
    assert it.child.returncode == 0


def test_in_a_shells_background_it_does_its_work(quiet, host):
    """Without job control a shell gives it /dev/null and has it ignore Ctrl-C."""
    it = quiet("--answer", "deny", "--count", "1", prefix=["sh", "-c", '"$@" & wait $!', "sh"])
    it.block("198.51.100.1")
    assert it.lines()[-1] == "stopped: 1 denied; exit code 0"
    assert it.child.returncode == 0


def test_on_a_terminal_it_asks_nothing_and_reads_no_key(desk):
    t = desk.start("--answer", "deny", "--count", "1", "c1")
    t.expect("watching c1")
    t.send("a")
    desk.lab.connect("203.0.113.10", 443)
    assert t.wait() == 0
    assert desk.host.targets() == ["deny 203.0.113.10"]
    assert endtoend.KEYS not in t.text() and t.termios() == endtoend.as_opened()


# --- what it may open


def test_everything_is_allowed_for_a_time_on_real_packets(desk):
    desk.lab.listen(443)
    child = subprocess.Popen(
        desk.argv("--answer", "allow", "--for", "600", "c1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=desk.env,
    )
    assert child.stdout.readline().startswith(b"watching c1")
    desk.lab.connect("203.0.113.10", 443)
    eventually(lambda: desk.lab.connect("203.0.113.10", 443) == "connected", what="it is open")
    desk.lab.connect("10.1.2.3", 443)
    lines = [child.stdout.readline().decode()]
    while "10.1.2.3" not in lines[-1]:
        lines.append(child.stdout.readline().decode())
        assert lines[-1]
    child.terminate()
    with child:
        out = "".join(lines) + child.stdout.read().decode()
    assert child.returncode == 0
    assert desk.host.targets() == ["allow 203.0.113.10"]
    assert "203.0.113.10: first packet let out" in out and "10.1.2.3" in out


def test_the_end_tells_what_nobody_here_decided(quiet, host):
    """What the floor keeps shut, and what was denied before."""
    it = quiet("--answer", "none")
    it.feed(
        {"type": "denied", "container": "c1", "dest": "198.51.100.2", "port": 443, "proto": 6, "id": "c1:9"}
    )
    it.block("10.1.2.3", **{"class": "private"})
    while b"10.1.2.3" not in it.child.stdout.readline():
        assert it.child.poll() is None
    host.containers["c1"].stop()
    end = "stopped: 1 kept shut, 1 not asked (denied before, multicast); exit code 0"
    assert it.lines()[-1] == end


def old_shield(container):
    """One whose floor an allow opens."""
    container.annotations["terok.shield.version"] = "14"
    container.save()


def test_nothing_private_is_allowed_by_the_way(quiet, host):
    dests = ["10.0.2.2", "169.254.169.254", "10.1.2.3", "fd00::2"]
    old_shield(host.containers["c1"])
    it = quiet("--answer", "allow", "--count", "1", "--for", "600")
    it.block(*dests, **{"class": "private"})
    it.block("198.51.100.1")
    lines = it.lines()
    assert host.targets() == ["allow 198.51.100.1"]
    told = "error: c1: %s is not allowed by --answer: only a rule for that very network allows it"
    assert all(told % dest in lines for dest in dests) and it.child.returncode == 5


def test_deny_may_shut_what_is_private(quiet, host):
    old_shield(host.containers["c1"])
    it = quiet("--answer", "deny", "--count", "1")
    it.block("10.1.2.3", **{"class": "private"})
    it.lines()
    assert host.targets() == ["deny 10.1.2.3"] and it.child.returncode == 0


def test_a_flood_queues_64_verdicts_and_no_more(script, host):
    host.control("terok-shield", mode="hang")
    it = script("--json", "--answer", "deny", "--verdict-timeout", "600", stdin=subprocess.DEVNULL)
    it.until("session")
    it.block(*blocked(300))  # what is told at the end goes into a pipe that nobody reads meanwhile
    it.until("pending", 300)
    assert [record["message"] for record in it.of("error")] == [
        "64 verdicts wait for c1 already: more requests stay open"
    ]
    eventually(host.verdicts, what="the first one runs")
    it.signal(signal.SIGINT)
    it.signal(signal.SIGINT)  # without the second it would wait for the one that runs
    it.until("summary")
    assert it.child.wait(PATIENCE) == 5
    verdicts = it.of("verdict")
    assert len(verdicts) == 64 and len(host.verdicts()) == 1
    assert [record["reason"] for record in verdicts].count("not-started") == 63
    assert it.records[-1]["open"] == 300
    assert b"a verdict command still runs as pid" in it.child.stderr.read()


def test_what_a_flood_left_open_is_answered_when_it_is_tried_again(script, host):
    shield = os.path.join(host.folder, "shield")  # the stand-in's start takes ten times as long
    with open(shield, "w") as file:
        file.write("#!/bin/sh\necho $1 $3 >>%s.calls\n" % shield)
    os.chmod(shield, 0o755)
    it = script("--json", "--answer", "deny", "--shield", shield, stdin=subprocess.DEVNULL)
    dests = blocked(80)
    it.block(*dests)
    it.until("verdict", 64)
    it.block(*dests)
    it.until("verdict", 80)
    it.child.terminate()
    it.ends(0)
    with open(shield + ".calls") as file:
        assert sorted(file.read().splitlines()) == sorted("deny " + dest for dest in dests)


# --- the file it runs from


@pytest.mark.parametrize(
    "how",
    [
        "removed",
        pytest.param("overwritten", marks=pytest.mark.thorough),
        pytest.param("replaced by something else", marks=pytest.mark.thorough),
    ],
)
def test_a_reader_can_be_started_again_though_the_file_is_another_one(desk, tmp_path, how):
    """terok-shield's reader holds the packet log and ends; ours is to take its place."""
    mine = desk.pyz = shutil.copy(desk.pyz, str(tmp_path / "mine.pyz"))
    desk.c1.bridge_reader()
    t = desk.sit()
    if how == "removed":
        os.unlink(mine)
    elif how == "overwritten":
        with open(mine, "r+b") as file:
            file.write(b"\0" * os.path.getsize(mine))
    else:
        (tmp_path / "new").write_text("raise SystemExit(9)\n")
        os.rename(tmp_path / "new", mine)
    os.kill(desk.lab.holder(), signal.SIGKILL)
    t.expect("we read the packet log now")
    desk.block()
    t.kill(signal.SIGTERM)
    desk.ends(5)
