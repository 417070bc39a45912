"""What stops a start: each with its own text, its remedy and its exit code, before anything is asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import endtoend
import pytest
from lab import as_user, reachable_python
from needs import need
from support import PATIENCE, PYTHONS, eventually

from simple_clearance import arguments
from simple_clearance.base.errors import Refused

desk = endtoend.desk


class Told:
    """How a start ended: `code`, stderr as `message` and `hints`."""

    def __init__(self, code, out, err):
        lines = err.splitlines()
        assert lines and all(line.startswith("hint: ") for line in lines[1:]), err
        assert lines[0].startswith("simple-clearance: "), err
        assert out == "", "stdout stays empty"
        assert err.isascii() and all(line.isprintable() for line in lines)
        self.code = code
        self.message = lines[0][len("simple-clearance: ") :]
        self.hints = [line[len("hint: ") :] for line in lines[1:]]
        assert self.message[:1] not in "ABCDEFGHIJKLMOPQRSTUVWXYZ" and not self.message.endswith(".")


@pytest.fixture
def told(desk, tmp_path):
    """`told(*words)`: how a start with these words ends that must not succeed."""

    def start(*words, **options):
        paths = [str(tmp_path / "out"), str(tmp_path / "err")]
        with open(paths[0], "wb") as out, open(paths[1], "wb") as err:
            t = desk.start(*words, stdout=out, stderr=err, **options)
            code = t.wait()
        assert bytes(t.raw) == b"", "nothing is painted"
        assert t.termios() == endtoend.as_opened()
        assert [pid for pid in desk.processes() if os.getpgid(pid) == t.pid] == []
        texts = []
        for path in paths:
            with open(path) as f:
                texts.append(f.read())
        return Told(code, *texts)

    return start


def check(told, code, message, *hints):
    assert (told.code, told.message) == (code, message)
    assert len(told.hints) == len(hints), told.hints
    for hint, wanted in zip(told.hints, hints):
        assert wanted in hint


# --- the container


def test_a_container_that_does_not_exist(told):
    check(told("c9"), 3, "no such container: c9", "podman ps -a")


def test_a_container_that_is_stopped(desk, told):
    desk.c1.stop()
    check(told("c1"), 3, "c1 is not running", "podman start c1")


def test_a_container_that_ended_while_podman_was_asked(desk, told):
    desk.c1.stop(told=False)
    got = told("c1")
    assert got.code == 3 and got.message.startswith("c1 has stopped: pid %d " % desk.c1.pid)
    assert got.hints == ["podman start c1"]


def test_a_pid_that_passed_to_another_process(desk, told):
    desk.c1.inspected["State"]["ConmonPid"] = 1 << 22
    desk.c1.save()
    assert "is no longer its process" in told("c1").message


@pytest.mark.parametrize(
    "words",
    [[], ["--json"], ["--answer", "deny"], ["--answer", "skip", "--policy", "/dev/null"]],
    ids=["asked", "json", "deny", "policy"],
)
def test_no_verdict_is_run_for_a_container_of_roots_own(desk, told, words):
    """terok-shield would say that it denies, and do nothing."""
    need("root")
    desk.c1.becomes_roots_own()
    got = told(*words, "c1")
    assert got.code == 3 and got.message.startswith("c1 is root's own: terok-shield works for rootless")
    assert got.hints == ["run it rootless, as an ordinary user; --dry-run or --answer skip may watch"]


@pytest.mark.parametrize("words", [["--dry-run"], ["--answer", "skip"]], ids=lambda words: words[0])
def test_a_container_of_roots_own_may_be_watched(desk, words):
    need("root")
    desk.c1.becomes_roots_own()
    t = desk.start(*words, "c1")
    t.expect("watching c1")
    t.send("\x03")
    desk.ends(0)


def test_a_container_that_is_not_shielded(desk, told):
    del desk.c1.annotations["terok.shield.state_dir"]
    desk.c1.save()
    got = told("c1")
    check(got, 3, "c1 is not shielded: it has no terok.shield.state_dir annotation", "--state-dir DIR")


@pytest.mark.parametrize(
    "name", ["--all", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("-x", "-"))]
)
def test_a_name_that_podman_would_take_for_an_option(desk, told, name):
    got = told("--", name)
    assert got.code in (2, 3) and got.hints
    assert repr(name) in got.message or "container" in got.message
    assert desk.host.calls() == []


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[2Jc1",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("a b", "c1\n", "../c1", "c1;id", "\xe9")
        ),
    ],
)
def test_a_name_that_is_none(desk, told, name):
    """What else is none is tried on the function that tells."""
    got = told(name)
    assert got.code == 3 and got.message.endswith("is not a container's name") and got.hints
    assert desk.host.calls() == []


def test_no_container_at_all_lists_the_shielded_ones_that_run(desk, told):
    desk.host.container("plain")
    del desk.host.containers["plain"].annotations["terok.shield.state_dir"]
    desk.host.containers["plain"].save()
    check(told(), 2, "no container given", "shielded containers that run: c1")


def test_no_container_and_no_podman(desk, told):
    without_podman(desk)
    check(told(), 2, "no container given", "CONTAINER")


# --- its state directory


def forged(desk, path, mode=0o700, container_id=""):
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)
    with open(os.path.join(path, "container.id"), "w") as f:
        f.write((container_id or desk.c1.sid) + "\n")
    return path


FORGERIES = {
    "others may write to it": lambda desk, tmp: forged(desk, str(tmp / "shared"), 0o777),
    "its container.id is that of 0123456789ab": lambda desk, tmp: forged(
        desk, str(tmp / "other"), container_id="0123456789ab"
    ),
    "no absolute path": lambda desk, tmp: "state",
    "No such file or directory": lambda desk, tmp: str(tmp / "nowhere"),
    "no usable container.id in it": lambda desk, tmp: str(tmp),
}


@pytest.mark.parametrize(
    "reason",
    [
        reason if reason == "others may write to it" else pytest.param(reason, marks=pytest.mark.thorough)
        for reason in FORGERIES
    ],
)
def test_an_annotated_state_directory_that_can_not_be_believed(desk, told, tmp_path, reason):
    os.chmod(tmp_path, 0o700)
    path = FORGERIES[reason](desk, tmp_path)
    desk.c1.annotations["terok.shield.state_dir"] = path
    desk.c1.save()
    got = told("c1")
    assert got.code == 3 and "state directory '%s' is not believed: %s" % (path, reason) in got.message
    assert "--state-dir DIR" in got.hints[0]


def test_an_annotated_state_directory_behind_a_symbolic_link(desk, told, tmp_path):
    os.symlink(desk.c1.state_dir, tmp_path / "link")
    desk.c1.annotations["terok.shield.state_dir"] = str(tmp_path / "link")
    desk.c1.save()
    assert "is not believed" in told("c1").message


def test_an_annotated_state_directory_of_someone_else(desk, told, tmp_path, need):
    need("root")
    path = forged(desk, str(tmp_path / "theirs"))
    os.chown(path, 1000, 1000)
    desk.c1.annotations["terok.shield.state_dir"] = path
    desk.c1.save()
    assert told("c1").message.endswith("is not believed: it belongs to uid 1000")


def test_the_root_of_all_state_is_not_a_state_directory_and_the_hint_names_the_right_one(desk, told):
    got = told("--state-dir", desk.host.state_root, "c1")
    check(
        got,
        3,
        "'%s' is the root of all containers' state" % desk.host.state_root,
        "--state-dir " + desk.c1.state_dir,
    )


def test_a_given_state_directory_that_is_another_containers(desk, told):
    other = desk.host.container("c2")
    got = told("--state-dir", other.state_dir, "c1")
    assert got.code == 3 and got.message.endswith("is that of container " + other.sid)


def test_a_given_state_directory_that_does_not_exist(told, tmp_path):
    got = told("--state-dir", str(tmp_path / "no"), "c1")
    check(got, 3, "state directory '%s': No such file or directory" % (tmp_path / "no"), "podman inspect c1")


# --- the neighbours


def without_podman(desk):
    """Not on PATH, wherever this machine has one of its own."""
    desk.host.remove("podman")
    desk.env["PATH"] = desk.host.bin


def test_no_podman(desk, told):
    without_podman(desk)
    check(told("c1"), 3, "podman: No such file or directory", "--netns PATH with --state-dir DIR")


@pytest.mark.parametrize(
    "mode, text",
    [
        ("fail", "permission denied"),
        pytest.param("garbage", "not understood", marks=pytest.mark.thorough),
        pytest.param("huge", "of output", marks=pytest.mark.thorough),
    ],
)
def test_a_podman_that_answers_with_something_else(desk, told, mode, text):
    desk.host.control("podman", mode=mode)
    got = told("c1")
    assert got.code == 3 and text in got.message and got.hints


def test_no_terok_shield(desk, told):
    desk.host.remove("terok-shield")
    check(told("c1"), 3, "terok-shield: no such command", "--shield 'CMD ARG...'")


def test_a_named_verdict_command_that_does_not_exist(told):
    check(told("--shield", "ssh-shield -q host", "c1"), 3, "ssh-shield: no such command", "--shield")


def test_without_verdicts_no_terok_shield_is_needed(desk):
    desk.host.remove("terok-shield")
    desk.sit("--dry-run")
    desk.quit()
    done = desk.run("--answer", "skip", "--for", "0.1", "c1")
    assert (done.returncode, done.stderr) == (0, b""), "a record of what is tried, for a unit"
    done = desk.run("--answer", "deny", "--for", "0.1", "c1")
    assert done.returncode == 3 and b"terok-shield: no such command" in done.stderr


def test_a_group_that_another_session_holds_names_its_reader(desk, told):
    desk.sit()
    first = desk.t
    holder = desk.lab.holder()
    assert holder == desk.reader()
    got = told("c1")
    assert got.code == 3
    assert re.fullmatch(r"NFLOG group 100 is held by pid %d \(\S+\)" % holder, got.message), got.message
    assert "ps -fp %d" % holder in got.hints[0]
    desk.t = first
    assert desk.lab.holder() == holder
    desk.quit()


def test_someone_elses_container_says_who_may(desk, pyz, need):
    """An ordinary user at a namespace of root's."""
    need("root")
    words = ["--as-reader", "/", "c1", "--emit=json", "--netns", desk.lab.netns]
    with open(pyz, "rb") as archive:
        done = subprocess.run(
            [*as_user(), "env", reachable_python(), "/proc/self/fd/%d" % archive.fileno(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[archive.fileno()],
            timeout=PATIENCE,
            check=False,
            env=desk.env,
        )
    got = Told(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert got.code == 3 and "Permission denied" in got.message
    assert got.hints


# --- the terminal


def test_no_terminal(desk):
    done = desk.run("c1")
    got = Told(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert (got.code, got.message) == (2, "no terminal to prompt on")
    assert "ssh -t" in got.hints[0] and any("--json" in hint for hint in got.hints)
    assert [call.argv[0] for call in desk.host.calls()] == ["inspect"], "whose hub might be active"


@pytest.mark.parametrize("controlling", [True, False], ids=["controlling", "on stdin alone"])
def test_a_terminal_of_another_mount_namespace_is_asked_on_all_the_same(desk, need, some_python, controlling):
    """As one that is handed into a container: it has no name there."""
    need("root")
    desk.python = some_python.path
    script = 'mount -t devpts -o newinstance,ptmxmode=0666 none /dev/pts && ! tty && exec "$@"'
    desk.prefix = ["unshare", "-m", *([] if controlling else ["setsid", "-w"]), "sh", "-c", script, "sh"]
    t = desk.sit()
    desk.press("s", desk.block())
    t.expect("s not now\n")
    t.send("q")
    t.expect("stopped")
    desk.nothing_is_left()


def test_a_terminal_that_su_left_with_another_user_is_named_and_so_is_the_way(desk, told, need, some_python):
    """`su -c` starts it in a session without a terminal, on one that its user may not open."""
    need("root")
    desk.python = some_python.path
    master, slave = os.openpty()
    try:
        os.chown(slave, 1000, 1000)
        os.chmod(os.ttyname(slave), 0o600)
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--", *desk.argv("c1")],
            stdin=slave,
            env=desk.env,
            start_new_session=True,
            capture_output=True,
            check=False,
        )
        name = os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)
    got = Told(done.returncode, done.stdout.decode(), done.stderr.decode())
    words = "no terminal to prompt on: that on stdin (%s) can't be opened: Permission denied" % name
    check(got, 2, words, "su --pty -c", "ssh -t", "--json")


def test_keys_are_not_read_from_a_pipe(desk):
    done = subprocess.run(
        desk.argv("c1"),
        input=b"a" * 9,
        env=desk.env,
        start_new_session=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"no terminal" in done.stderr


# --- the command line


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nosuch", "c1"], "unrecognized arguments: --nosuch"),
        (["--stat", "/", "c1"], "unrecognized arguments: --stat"),
        (["--netns", "/proc/self/ns/net", "c1"], "--netns needs --state-dir"),
        (["--state-dir", "/x", "c1", "c2"], "--state-dir goes with one container"),
        (["--reader", "true", "c1", "c2"], "--reader goes with one container"),
        (["--verdict-timeout", "0", "c1"], "--verdict-timeout"),
        (["--verdict-timeout", "nan", "c1"], "--verdict-timeout"),
        (["--shield", "it's", "c1"], "--shield"),
        (["--shield", " ", "c1"], "--shield"),
        (["--state-dir"], "expected one argument"),
        (["--bell=yes", "c1"], "--bell"),
        (["--take-over", "--reader", "true", "c1"], "--take-over has no use with --reader"),
        (["--take-over", "--replay", "/dev/null"], "--take-over has no use with --replay"),
        (["c1", "c1"], "twice"),
        (["--all", "c1"], "--all goes without names"),
        (["--all", "--netns", "/x", "--state-dir", "/"], "--state-dir goes with one container"),
        (["--host", "web", "--reader", "true"], "--reader goes without --host and --join"),
        (["--join", "a=true", "--replay", "/x"], "--replay goes without --host and --join"),
        (["--follow", "--netns", "/x", "--state-dir", "/", "c1"], "--follow has no use with --netns"),
        (["--follow", "--replay", "/x"], "--follow has no use with --replay"),
        (["--replay", "/x", "--reader", "true"], "--replay has no use with --reader"),
        (["--replay", "/x", "--state-dir", "/", "c1"], "--replay has no use with --state-dir"),
        (["--check", "--replay", "/x"], "--check goes without --replay"),
        (["--check", "--join", "a=true"], "--check goes without --join"),
        (["--check", "--demo"], "argument --demo: not allowed with argument --check"),
        (["--demo", "c1"], "--demo goes without containers"),
        (["--demo", "--host", "web"], "--demo goes without --host"),
        (["--demo", "--save-policy", "/x"], "--demo goes without --save-policy"),
        (["--demo", "--answer", "allow"], "--answer allow needs a bound"),
        (["--save-policy", "/x", "--log", "/x", "c1"], "--save-policy and --log name one file"),
        (["--policy", "/x/../y", "--save-profile", "/y", "c1"], "--policy and --save-profile name one file"),
        (["--replay", "/x", "--log", "/x"], "--log and --replay name one file"),
        (["--policy", "-", "c1"], "'-' is no file here"),
        (["--save-profile", "-", "c1"], "'-' is no file here"),
    ],
)
def test_a_command_line_that_can_not_be_understood(words, message):
    with pytest.raises(Refused) as caught:
        arguments.parse(words)
    assert caught.value.code == 2 and message in caught.value.message and caught.value.hints


@pytest.mark.parametrize(
    "words",
    [
        ["--policy", "/x", "--save-policy", "/x", "c1"],
        ["--policy", "/dev/null", "--log", "/dev/null", "c1"],
        ["--replay", "-", "--log", "-"],
    ],
    ids=["rules", "device", "streams"],
)
def test_what_may_be_named_twice(words):
    assert arguments.parse(words).log == (words[3] if "--log" in words else None)


@pytest.mark.parametrize(
    "option", ["--replay", "--log", "--policy", "--save-profile", "--state-dir", "--netns"]
)
def test_an_empty_name_is_not_taken_for_an_option_that_was_not_given(option):
    """As a script's unset variable makes it: without its recording, it would run verdicts."""
    with pytest.raises(Refused) as caught:
        arguments.parse([option + "=", "c1"])
    assert caught.value.code == 2 and caught.value.message == f"argument {option}: an empty name"


@pytest.mark.parametrize(
    ("option", "hint", "values"),
    [
        ("--count", "--count N: end after N applied verdicts", ["0", "-1", "1.5", "x", "1000000", "\u0663"]),
        ("--for", "--for SECONDS: end after that time", ["0", "-1", "x", "inf", "nan", "1e8"]),
        ("--answer", "--answer allow|deny|skip|none: the answer to ", ["maybe", "", "ALLOW"]),
    ],
)
def test_a_value_out_of_range_is_told_with_what_the_option_takes(option, hint, values):
    for value in values:
        with pytest.raises(Refused) as caught:
            arguments.parse([f"{option}={value}", "c1"])
        assert caught.value.code == 2 and caught.value.message.startswith(f"argument {option}: ")
        assert caught.value.hints[0].startswith(hint) and len(caught.value.hints) == 1
    assert arguments.parse(["--count", "999999", "--for", "1e7", "c1"]).count == 999999


@pytest.mark.parametrize("words", [["--netns"], ["--netns="], ["--netnsx=/x"], ["--emit=text"], ["c2"]])
def test_a_reader_is_called_in_one_way_only(desk, words):
    done = desk.run("--as-reader", desk.c1.state_dir, "c1", "--emit=json", *words)
    got = Told(done.returncode, done.stdout.decode(), done.stderr.decode())
    check(got, 2, "not how a reader is called", "--as-reader STATE_DIR CONTAINER --emit=json [--netns PATH]")
    assert desk.host.calls() == []


def test_what_can_not_be_understood_is_told_before_anything_is_asked(desk, told):
    got = told("--nosuch", "c1")
    assert got.code == 2 and "unrecognized arguments: --nosuch" in got.message and got.hints
    assert desk.host.calls() == []


def test_a_namespace_that_does_not_exist(desk, told):
    got = told("--netns", "/run/netns/nosuch", "--state-dir", desk.c1.state_dir, "c1")
    check(got, 3, "network namespace /run/netns/nosuch: No such file or directory", "/run/netns")


@pytest.mark.parametrize("make", [lambda path: open(path, "w").close(), os.mkfifo], ids=["file", "fifo"])
def test_a_namespace_that_is_none(desk, told, tmp_path, make):
    make(tmp_path / "file")
    got = told("--netns", str(tmp_path / "file"), "--state-dir", desk.c1.state_dir, "c1")
    assert got.code == 3 and "network namespace" in got.message and got.hints


# --- the reader


def test_a_reader_that_does_not_exist(told):
    check(
        told("--reader", "/nonexistent/reader", "c1"),
        3,
        "reader /nonexistent/reader: No such file or directory",
        "--reader",
    )


def test_a_reader_that_ends_before_it_listens_is_quoted(told):
    got = told("--reader", "sh -c 'echo no such device >&2; exit 7'", "c1")
    assert got.code == 3 and "no such device" in got.message and got.hints


def test_a_reader_that_ends_in_silence(told):
    got = told("--reader", "true", "c1")
    assert got.code == 3 and "ended before it listened" in got.message and got.hints


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_a_reader_that_never_listens_can_be_stopped(desk, number):
    script = os.path.join(desk.host.folder, "reader")
    with open(script, "w") as f:
        f.write("#!/bin/sh\nsleep 600 &\nwait\n")
    os.chmod(script, 0o755)
    t = desk.start("--reader", script, "c1")
    reader = eventually(lambda: [pid for pid, argv in endtoend.processes(script) if "--reader" not in argv])
    t.kill(number)
    assert t.wait() == 3
    assert t.text() == "simple-clearance: stopped before anything was watched\n"
    assert t.termios() == endtoend.as_opened()
    eventually(lambda: not os.path.exists("/proc/%d" % reader[0]), what="the reader is gone")


# --- any Python


@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]], ids=lambda python: python.name)
def test_errors_look_the_same_on_the_oldest_and_the_newest_python(desk, told, python):
    desk.python = python.path
    check(told("c9"), 3, "no such container: c9", "podman ps -a")
    assert told("--nosuch", "c1").message == "unrecognized arguments: --nosuch"


def test_a_terminal_that_can_not_show_more_than_ascii_gets_ascii(desk, told):
    got = told("c\u00e9\u4e2d", env={"LANG": "C", "LC_ALL": "C"})
    assert got.code == 3 and got.message.isascii()


def test_the_archive_needs_nothing_of_the_folder_it_lies_in(desk, tmp_path):
    """A `socket.py` in the current folder is not ours."""
    (tmp_path / "socket.py").write_text("raise SystemExit(99)")
    done = desk.run("c1", cwd=str(tmp_path))
    assert done.returncode == 2, (done, sys.executable)


def test_help_stands_in_columns(desk):
    text = desk.run("--help").stdout.decode()
    examples = text.partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    gaps = [re.search(r"\S(  +)\S", line.strip()) for line in examples]
    assert len(examples) > 4 and len({gap.end() for gap in gaps}) == 1
    assert max(map(len, text.splitlines())) < 80
