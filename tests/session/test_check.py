"""`--check`: each precondition broken in turn, the right remedy for it, and the exit code of a session."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile

import endtoend
import pytest
from host import write
from lab import Lab
from needs import need
from support import PATIENCE, TOOLS

from simple_clearance.base.errors import FORBIDDEN as DENIED

desk = endtoend.desk

LINES = [
    "python",
    "podman",
    "container",
    "shielded",
    "state dir",
    "namespace",
    "packet log",
    "terok-shield",
    "hub",
    "terminal",
]
RUN_IT = "run it by hand, as this user, to see why"
JSON_FIELDS = ["type", "ts", "container", "name", "ok", "message", "hint"]
STATES = {
    "shield_down": "the shield is down: connections are let through, only the floor and denies hold",
    "shield_quarantine": "the shield is in quarantine: everything is blocked, an allow fails",
}
OF_THE_HOST = ("python", "podman", "terok-shield", "policy", "terminal")


class Told:
    """What a check said: for each line its mark (`ok`, `WRONG`, `-`), message and hints; and its code."""

    def __init__(self, code, out):
        assert out.isascii()
        self.code, self.lines, name = code, {}, ""
        for line in out.splitlines():
            if line.startswith(" "):
                self.lines[name][2].append(line.strip()[len("hint: ") :])
            else:
                name = line[6:19].strip()
                self.lines[name] = (line[:6].strip(), line[20:], [])
                assert line[19] == " "

    def wrong(self):
        return [name for name, line in self.lines.items() if line[0] == "WRONG"]

    def untried(self):
        return [name for name, line in self.lines.items() if line[0] == "-"]


@pytest.fixture
def check(desk):
    """`check(*words)`: what it says, as text."""

    def run(*words, container="c1", **options):
        done = desk.run("--check", *words, container, **options)
        assert done.stderr == b""
        return Told(done.returncode, done.stdout.decode())

    return run


@pytest.fixture
def broken(desk, check, pytestconfig):
    """`broken(line, message, hint, *words)`: that line is wrong; with --everything JSON and a session say
    the same, as they do in any run where podman is missing."""

    def run(line, message, hint, *words, code=3, container="c1", without=()):
        told = check(*words, container=container)
        assert told.wrong() == [line], told.lines
        _, said, hints = told.lines[line]
        assert message in said and any(hint in one for one in hints), (said, hints)
        assert told.untried() == list(without)
        for name in without:
            assert told.lines[name][1].startswith("not looked at, for want of: ") and not told.lines[name][2]
        assert told.code == code
        if not pytestconfig.option.everything:
            return told
        with a_session(desk, *words, container) as lines:  # it does not get as far as the packet log
            says_the_same_as_json(desk, told, "--check", *words, container)
        assert lines == ["simple-clearance: " + said, *("hint: " + one for one in hints)]
        assert desk.t.wait() == code
        return told

    return run


def says_the_same_as_json(desk, told, *words):
    done = desk.run("--json", *words)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (told.code, b"")
    assert [it["name"] for it in objects] == list(told.lines)
    for it in objects:
        mark, message, hints = told.lines[it["name"]]
        assert list(it) == JSON_FIELDS and it["type"] == "check"
        assert it["container"] == (None if it["name"] in OF_THE_HOST else words[-1])
        assert (it["ok"], it["message"], it["hint"]) == (mark == "ok", message, "; ".join(hints) or None)


@pytest.fixture
def runtime(desk):
    """A runtime directory, short enough for the path of a socket."""
    path = tempfile.mkdtemp(prefix="run")
    desk.env["XDG_RUNTIME_DIR"] = path
    yield path
    shutil.rmtree(path)


def listening(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    it = socket.socket(socket.AF_UNIX)
    it.bind(path)
    it.listen(8)
    return it


@contextlib.contextmanager
def a_session(desk, *words):
    """A session that can't start runs meanwhile; at the end the list holds its lines on stderr."""
    lines = []
    with tempfile.TemporaryFile() as err:
        desk.start(*words, stderr=err)
        yield lines
        desk.t.wait()
        err.seek(0)
        lines += err.read().decode().splitlines()


NEED_CONTAINER = ("shielded", "state dir", "namespace", "packet log")


def test_on_a_host_that_lacks_nothing_every_line_is_ok(desk, check):
    told = check()
    assert list(told.lines) == LINES
    assert told.wrong() == told.untried() == [] and told.code == 0
    said = {name: line[1] for name, line in told.lines.items()}
    assert said["container"] == "c1 runs, id " + desk.c1.sid
    assert said["shielded"] == "yes, bundle version 18: private ranges stay shut"
    assert said["state dir"] == desk.c1.state_dir
    assert said["packet log"] == "the namespace can be entered, NFLOG group 100 is free"
    assert said["terok-shield"] == "terok-shield 0.9.0"
    assert said["hub"] == "none is active"
    assert said["terminal"].startswith("no terminal to prompt on: fine for --json"), "told, and taken as ok"
    says_the_same_as_json(desk, told, "--check", "c1")
    assert desk.host.verdicts() == []
    desk.nothing_is_left()


def test_with_a_terminal_that_line_says_so(desk):
    t = desk.start("--check", "c1")
    assert t.wait() == 0
    assert "there is one to prompt on" in t.text()
    assert t.termios() == endtoend.as_opened()


def test_what_goes_with_one_container_is_checked_for_one(desk):
    done = desk.run("--check", "--state-dir", "/", "c1", "c2")
    assert done.returncode == 2 and b"--state-dir goes with one container" in done.stderr


@pytest.fixture
def several(desk, runtime):
    """Containers with ever worse faults: c1 has none, c2 a log that can't be read, c3 is stopped, c4 has two
    faults, c5 a hub; their names."""
    unread, faulty, answered = (desk.host.container(name, desk.lab) for name in ("c2", "c4", "c5"))
    stopped = desk.host.container("c3")
    with contextlib.suppress(FileNotFoundError):
        os.remove(unread.path("dnsmasq.log"))
    os.mkfifo(unread.path("dnsmasq.log"))
    stopped.stop()
    os.chmod(faulty.state_dir, 0o777)
    faulty.inspected["State"]["ConmonPid"] = 1 << 22
    faulty.save()
    with listening("%s/terok/clearance/%s/hub.sock" % (runtime, answered.sid)):
        yield ["c1", "c2", "c3", "c4", "c5"]


WORST_FIRST = ["c5", "c3", "c4", "c2", "c1"]
HOST_FIRST = ["python", "podman", "terok-shield", "terminal", "hub"]


def test_of_several_each_is_told_in_a_line_the_worst_first(desk, several):
    done = desk.run("--check", *several)
    told = Told(done.returncode, done.stdout.decode())
    assert list(told.lines) == [*HOST_FIRST, *WORST_FIRST] and done.stderr == b""
    assert told.wrong() == ["c5", "c3", "c4"] and told.code == 1
    assert told.lines["hub"][1] == "none for all containers is active"
    assert told.lines["c5"][1].startswith("hub: the clearance hub is active: ")
    assert told.lines["c5"][2][0].endswith("kill -TERM %d" % os.getpid())
    assert told.lines["c3"][1:] == ("container: c3 is not running", ["podman start c3"])
    assert "others may write to it" in told.lines["c4"][1]
    assert told.lines["c4"][2][-1] == "--check c4 tells 1 more"
    assert told.lines["c2"][0] == "ok" and told.lines["c2"][1].startswith("query log: ")
    assert told.lines["c1"] == ("ok", "the namespace can be entered, NFLOG group 100 is free", [])
    desk.nothing_is_left()


def test_json_has_every_line_of_several_with_its_container(desk, several):
    done = desk.run("--check", "--json", *several)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and all(list(it) == JSON_FIELDS for it in objects)
    assert [it["name"] for it in objects if it["container"] is None] == HOST_FIRST
    assert list(dict.fromkeys(it["container"] for it in objects)) == [None, *WORST_FIRST]
    of_c1 = [it["name"] for it in objects if it["container"] == "c1"]
    assert of_c1 == ["container", "shielded", "state dir", "namespace", "packet log", "hub"]
    assert [it["name"] for it in objects if it["container"] == "c4" and it["ok"] is False] == [
        "state dir",
        "namespace",
        "packet log",
    ]


def test_what_is_wrong_for_all_is_told_once(desk, runtime):
    desk.host.container("c2", desk.lab)
    with listening(runtime + "/terok-clearance.sock"):
        done = desk.run("--check", "c1", "c2")
    told = Told(done.returncode, done.stdout.decode())
    assert told.wrong() == ["hub"] and told.untried() == ["c1", "c2"] and told.code == 1
    assert told.lines["c1"][1:] == ("hub: not looked at, for want of: hub", [])


def test_with_all_each_shielded_container_that_runs_is_told(desk, several):
    plain = desk.host.container("c6", desk.lab)
    del plain.annotations["terok.shield.state_dir"]
    plain.save()
    done = desk.run("--check", "--all")
    told = Told(done.returncode, done.stdout.decode())
    running = [name for name in WORST_FIRST if name != "c3"]
    assert list(told.lines) == [*HOST_FIRST, "containers", *running] and told.code == 1
    assert told.lines["containers"] == ("ok", "4 shielded ones run", [])
    done = desk.run("--check", "--all", "--json")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(it["container"] for it in objects)) == [None, *running]


def test_with_all_and_none_that_runs_nothing_is_amiss(desk):
    desk.c1.stop()
    done = desk.run("--check", "--all")
    told = Told(done.returncode, done.stdout.decode())
    assert list(told.lines) == [*HOST_FIRST, "containers"] and told.code == 0
    assert told.lines["containers"][1] == "no shielded one runs yet: a session waits for the first"


def test_with_all_and_a_podman_that_does_not_tell_that_is_what_is_wrong(desk):
    script(desk, "podman", '[ "$1" = --version ] && echo podman version 4.3.1 || { echo no >&2; exit 125; }')
    done = desk.run("--check", "--all")
    told = Told(done.returncode, done.stdout.decode())
    assert told.wrong() == ["containers"] and told.code == 3
    desk.host.remove("podman")
    without_this_machines_own(desk)
    done = desk.run("--check", "--all")
    told = Told(done.returncode, done.stdout.decode())
    assert told.wrong() == ["podman"] and told.untried() == ["containers"] and told.code == 3


def test_a_name_that_is_none_spoils_nothing_for_the_others(desk):
    done = desk.run("--check", "c1", "c9", "a/b")
    told = Told(done.returncode, done.stdout.decode())
    assert told.wrong() == ["c9", "a/b"] and told.code == 3
    assert told.lines["c9"][1] == "container: no such container: c9"
    assert told.lines["a/b"][1] == "container: 'a/b' is not a container's name"


def test_a_long_name_stands_before_all_that_is_said(desk):
    name = "a-container-with-a-long-name"
    desk.host.container(name, desk.lab)
    lines = desk.run("--check", "c1", name).stdout.decode().splitlines()
    assert len({re.match(r"ok +\S+ +", line).end() for line in lines}) == 1


def test_python_is_too_old(old_python, desk):
    done = subprocess.run([old_python.path, desk.pyz, "--check", "c1"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"needs Python 3.8 or later" in done.stderr and done.stderr.count(b"\n") == 1


def test_podman_is_missing(desk, check):
    desk.host.remove("podman")
    without_this_machines_own(desk)
    told = check()
    assert told.wrong() == ["podman"] and told.code == 3
    assert told.lines["podman"][1:] == (
        "podman: no such command",
        ["install podman, or give --netns PATH with --state-dir DIR"],
    )
    assert told.untried() == ["container", *NEED_CONTAINER]
    with a_session(desk, "c1") as lines:
        says_the_same_as_json(desk, told, "--check", "c1")
    assert desk.t.wait() == 3 and lines[1:] == ["hint: " + told.lines["podman"][2][0]]


def without_this_machines_own(desk):
    desk.env["PATH"] = desk.host.bin


def test_podman_can_not_be_run(desk, check):
    desk.host.control("podman", mode="fail")
    told = check()
    assert told.wrong() == ["container"] and told.code == 3
    said = "Error: cannot open run-dir: permission denied"
    assert told.lines["podman"][1] == "tells no version, but: %s (%s)" % (said, RUN_IT)
    assert said in told.lines["container"][1]


def test_there_is_no_such_container(broken):
    broken("container", "no such container: c9", "podman ps -a", container="c9", without=NEED_CONTAINER)


def test_the_container_is_stopped(desk, broken):
    desk.c1.stop()
    broken("container", "c1 is not running", "podman start c1", without=NEED_CONTAINER)


@pytest.mark.parametrize("status", ["exited", "stopping"])
def test_a_stopped_container_that_is_followed_is_waited_for_and_no_fault(desk, check, status):
    desk.c1.stop()
    desk.c1.inspected["State"]["Status"] = status
    desk.c1.save()
    told = check("--follow")
    assert not told.wrong() and not told.untried() and told.code == 0
    assert told.lines["container"] == ("ok", "c1 does not run: a session waits for its start", [])
    assert list(told.lines) == [
        name for name in LINES if name not in ("state dir", "namespace", "packet log")
    ]


def test_what_keeps_a_stopped_container_from_being_watched_is_wrong_before_it_starts(desk, runtime, check):
    desk.c1.stop()
    del desk.c1.annotations["terok.shield.state_dir"]
    desk.c1.save()
    with listening(runtime + "/terok-clearance.sock"):
        told = check("--follow")
    assert told.wrong() == ["shielded", "hub"] and not told.untried() and told.code == 1


def test_of_several_that_are_followed_one_that_does_not_run_is_in_order(desk):
    desk.host.container("c2").stop()
    done = desk.run("--check", "--follow", "c1", "c2")
    told = Told(done.returncode, done.stdout.decode())
    assert told.lines["c1"] == ("ok", "the namespace can be entered, NFLOG group 100 is free", [])
    assert told.lines["c2"] == ("ok", "c2 does not run: a session waits for its start", [])
    assert told.code == 0


def test_the_container_is_not_shielded(desk, broken):
    del desk.c1.annotations["terok.shield.state_dir"]
    desk.c1.save()
    left = ("state dir", "packet log")
    broken("shielded", "c1 is not shielded", "start it with terok-shield run", without=left)


def test_the_container_is_roots_own(desk, broken, check):
    need("root")
    desk.c1.becomes_roots_own()
    broken("rootless", "c1 is root's own: terok-shield works for rootless containers", "--answer skip")
    for words in (["--dry-run"], ["--answer", "skip"]):
        assert check(*words).code == 0


def test_without_a_bundle_version_that_is_told(desk, check):
    del desk.c1.annotations["terok.shield.version"]
    desk.c1.save()
    told = check()
    assert told.code == 0 and "bundle version unknown" in told.lines["shielded"][1]


def test_the_state_directory_is_not_to_be_believed(desk, broken):
    os.chmod(desk.c1.state_dir, 0o777)
    broken("state dir", "others may write to it", "--state-dir DIR", without=("packet log",))


def test_the_state_directory_given_is_the_root_of_all(desk, broken):
    hint = "--state-dir " + desk.c1.state_dir
    words = ("--state-dir", desk.host.state_root)
    broken("state dir", "is the root of all containers' state", hint, *words, without=("packet log",))


def test_the_namespace_is_that_of_another_process_by_now(desk, broken):
    desk.c1.inspected["State"]["ConmonPid"] = 1 << 22
    desk.c1.save()
    broken("namespace", "is no longer its process", "podman start c1", without=("packet log",))


def test_the_namespace_given_does_not_exist(desk, broken):
    words = ("--netns", "/run/netns/none", "--state-dir", desk.c1.state_dir)
    told = broken(
        "namespace", "No such file or directory", "ls -l /run/netns", *words, without=("packet log",)
    )
    assert "podman" not in told.lines, "not needed then"


def test_the_namespace_can_not_be_entered(desk, broken):
    """It is no network namespace at all."""
    words = ("--netns", "/proc/self/ns/uts", "--state-dir", desk.c1.state_dir)
    broken("packet log", "can't join the network namespace", "/proc/PID/ns/net", *words)


# What keeps the right user out, as a module, a unit or a smaller kernel would


FORBID = os.path.join(TOOLS, "forbid.py")


@pytest.mark.parametrize(
    "rule, said, hint",
    [
        pytest.param(
            "setns=EACCES", "can't join the network namespace: Permission denied", DENIED, id="a module"
        ),
        pytest.param("setns=EPERM", "Operation not permitted", DENIED, id="RestrictNamespaces= of a unit"),
        pytest.param(
            "socket,0=16,2=12=EPROTONOSUPPORT",
            "this kernel has no packet log: netlink socket: Protocol not supported",
            "modprobe nfnetlink_log",
            id="no nfnetlink",
        ),
        pytest.param(  # what is sent to an address of 12 bytes: netlink's
            "sendto,5=12=EINVAL",
            "this kernel has no packet log: nflog bind: Invalid argument",
            "modprobe nfnetlink_log",
            id="no nfnetlink_log",
        ),
        pytest.param("socket,0=16=EACCES", "netlink socket: Permission denied", DENIED, id="no netlink"),
    ],
)
def test_a_host_where_nobody_may_enter_or_listen(desk, broken, rule, said, hint, some_python):
    desk.python = some_python.path
    desk.prefix = [sys.executable, FORBID, rule]
    told = broken("packet log", said, hint)
    if hint is DENIED:
        assert told.lines["packet log"][2][0] == "run it as the user who started the container, or as root"


def test_a_home_where_nothing_can_be_locked_or_noticed_is_said_and_no_fault(desk, check):
    """As one on NFS may be; 1026 is F_NOTIFY, linux/fcntl.h."""
    desk.prefix = [sys.executable, FORBID, "flock=ENOLCK", "fcntl,1=1026=EINVAL"]
    told = check()
    assert told.code == 0 and told.wrong() == []
    assert "there are no notices of what changes in " in told.lines["notices"][1]
    t = desk.start("c1")
    t.expect("there are no notices of what changes in")
    desk.press("a", desk.block())
    t.expect("done in")
    desk.quit()


@pytest.mark.parametrize(("action", "words"), STATES.items())
def test_a_shield_that_is_not_up_is_said_and_no_fault(desk, check, action, words):
    """As its start tells it; a state from before the container's start counts for nothing."""
    line = '{"ts":"%s","container":"c1","action":"%s"}\n'
    desk.c1.append("audit.jsonl", line % ("2026-01-01T00:00:00+00:00", "shield_quarantine"))
    assert "shield" not in check().lines
    desk.c1.append("audit.jsonl", line % ("2198-01-01T00:00:00+00:00", action))
    told = check()
    says_the_same_as_json(desk, told, "--check", "c1")
    assert told.code == 0 and told.wrong() == []
    remedy = "terok-shield up --container-id %s c1" % desk.c1.id
    assert told.lines["shield"] == ("ok", words, [remedy])
    t = desk.start("c1")
    t.expect(words[:40])
    t.send("\x03")
    desk.ends(0)


PODMAN = """\
#!/bin/sh
[ "$1" != --version ] || exec echo "podman version 4.3.1"
echo "cannot clone: No space left on device
Error: cannot re-exec process" >&2
exit 125
"""


def test_no_user_namespaces_are_to_be_had_so_podman_can_do_nothing(desk, broken, need):
    need("userns")
    write(desk.host.bin + "/podman", PODMAN)
    os.chmod(desk.host.bin + "/podman", 0o755)
    text = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    desk.prefix = ["unshare", "--user", "--map-root-user", "sh", "-c", text, "sh"]
    hint = "no user namespace is allowed here (/proc/sys/user/max_user_namespaces is 0): sysctl user."
    broken("container", "podman inspect c1: Error: cannot re-exec process", hint, without=NEED_CONTAINER)


def test_a_clock_that_was_set_back_leaves_the_shields_state_unknown(desk, check, some_python):
    """Which lines of its log are from before the container's start, nothing tells then."""
    desk.python = some_python.path
    desk.c1.append(
        "audit.jsonl", '{"ts":"2026-01-01T00:00:00+00:00","container":"c1","action":"shield_down"}\n'
    )
    desk.c1.inspected["State"]["StartedAt"] = "2199-01-01T00:00:00.123456789+00:00"
    desk.c1.save()
    told = check()
    words = "this machine's clock was set back since the container's start"
    assert told.code == 0 and told.lines["audit log"][1].startswith(words)
    assert "terok-shield status" in told.lines["audit log"][1] and "verdicts" not in told.lines
    t = desk.start("c1")
    t.expect("watching c1")
    t.expect("this machine's clock was set back")
    desk.press("s", desk.block())
    t.expect("s not now\n")
    text = desk.quit()
    assert "shield up" not in text and "shield down" not in text


def test_the_group_is_held_by_another_program(desk, broken):
    holder = subprocess.Popen(
        desk.argv("--as-reader", desk.c1.state_dir, "c1", "--netns", desk.lab.netns),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=desk.env,
    )
    with holder:
        assert b"container_started" in holder.stdout.readline()
        broken("packet log", "NFLOG group 100 is held by pid %d" % holder.pid, "ps -fp %d" % holder.pid)
        holder.stdin.close()


def test_the_group_is_held_by_the_shields_own_reader_which_is_no_fault(desk, check):
    head = desk.c1.bridge_reader()
    told = check()
    assert told.wrong() == [] and told.code == 0
    assert (
        told.lines["packet log"][1]
        == "through its audit log (pid %d holds it); --take-over has it all" % head
    )
    told = check("--take-over")
    assert told.lines["packet log"][1].endswith("(pid %d), which --take-over ends" % head)
    assert os.path.exists("/proc/%d" % head), "to look ends nothing"


@pytest.mark.parametrize("trouble", ["auditing", "link", "kind", "absent", ""])
def test_an_audit_log_that_tells_nothing_is_said_and_no_fault(desk, check, trouble, some_python):
    desk.python = some_python.path
    path, words = desk.c1.path("audit.jsonl"), "the shield's state is not seen: the audit log "
    if trouble == "auditing":
        desk.c1.annotations["terok.shield.audit_enabled"] = "false"
        desk.c1.save()
        words = "auditing is off: it is not seen whether the shield goes down or up"
    elif trouble:
        os.remove(path)
        if trouble == "link":
            os.symlink("/proc/self/mem", path)
            words += "can't be read ("
        elif trouble == "kind":
            os.mkfifo(path)
            words += "is not a file"
    told = check()
    assert told.code == 0
    says_the_same_as_json(desk, told, "--check", "c1")
    t = desk.start("c1")
    t.expect("watching c1")
    if trouble in ("auditing", "link", "kind"):
        assert told.lines["audit log"][0] == "ok" and told.lines["audit log"][1].startswith(words)
        t.expect(words[:40])
    else:
        assert "audit log" not in told.lines
    t.send("\x03")
    assert desk.ends(0).count("not seen") == (trouble in ("auditing", "link", "kind"))


def test_where_all_is_in_an_audit_log_that_can_not_be_read_it_is_wrong(desk, broken, some_python):
    desk.python = some_python.path
    holder = desk.c1.bridge_reader()
    os.remove(desk.c1.path("audit.jsonl"))
    os.symlink("/proc/self/mem", desk.c1.path("audit.jsonl"))
    words = "terok-shield's reader (pid %d) holds the packet log, and its audit log can't be read" % holder
    broken("packet log", words, "--take-over ends that reader")


def test_a_verdict_command_is_quoted_wherever_it_is_told_to_be_pasted(desk, check, some_python):
    desk.python = some_python.path
    os.mkdir(os.path.join(desk.host.folder, "my tools"))
    tool = os.path.join(desk.host.folder, "my tools", "shield")
    os.symlink(os.path.join(desk.host.bin, "terok-shield"), tool)
    desk.c1.append("policy/live", "+198.51.100.1\n")
    os.utime(desk.c1.path("policy/live"), (1e9, 1e9))  # from before the container's start
    words = ["--shield", "'my tools/shield'"]
    remedy = "'my tools/shield' up --container-id %s c1" % desk.c1.id
    assert check(*words, cwd=desk.host.folder).lines["verdicts"][2] == [remedy]
    t = desk.sit(*words, cwd=desk.host.folder)
    asked = desk.block()
    told = t.text().partition("hint: ")[2].partition("203.0.113.10")[0]
    command = re.match(r"(?:.*\\\n)*.*\n", told).group()
    assert "\n" in command.rstrip() and shlex.split(command.replace("\\\n", "")) == shlex.split(remedy), (
        "as it would be pasted"
    )
    desk.press("d", asked)
    t.expect("done in")
    assert "the same again:\n  'my tools/shield' deny c1 203.0.113.10\n" in desk.quit()


def test_a_paused_container_is_watched_and_so_it_is_said(desk, check, some_python):
    desk.python = some_python.path
    desk.c1.inspected["State"].update(Running=False, Paused=True, Status="paused")
    desk.c1.save()
    told = check()
    words = "is paused: nothing is tried in it until `podman unpause c1`"
    assert told.code == 0 and told.lines["container"][1] == "c1 %s, id %s" % (words, desk.c1.sid)
    t = desk.sit()
    t.expect("podman unpause c1")
    desk.press("a", desk.block())
    t.expect("done in")
    desk.quit()


def test_a_container_that_is_stopping_is_waited_for_by_whoever_starts_it_again(desk, broken, some_python):
    desk.python = some_python.path
    desk.c1.inspected["State"].update(Running=False, Status="stopping")
    desk.c1.save()
    hint = "once it has stopped: podman start c1"
    broken("container", "c1 is stopping", hint, without=NEED_CONTAINER)


EXTRA = "Nov 23 23:05:50 dnsmasq[7]: 5 127.0.0.1/40000 query[A] www.example.com from 127.0.0.1\n"


@pytest.mark.parametrize("trouble", ["form", "mode", "kind", "absent", ""])
def test_a_query_log_that_tells_no_names_is_said_and_no_fault(desk, check, trouble):
    path, words = desk.c1.path("dnsmasq.log"), "no names are known: the query log "
    if trouble == "form":
        desk.c1.append("dnsmasq.log", EXTRA)
        words += "is in another form (log-queries=extra)"
    elif trouble == "mode":
        os.remove(path)
        os.symlink("/proc/self/mem", path)
        words += "can't be read ("
    elif trouble == "kind":
        os.remove(path)
        os.mkfifo(path)
        words += "is not a file"
    elif trouble == "absent":
        os.remove(path)
    told = check()
    assert told.code == 0
    t = desk.start("c1")
    t.expect("watching c1")
    if trouble in ("form", "mode", "kind"):
        assert told.lines["query log"][0] == "ok" and told.lines["query log"][1].startswith(words)
        t.expect("no names are known: the query log")
    else:
        assert "query log" not in told.lines
    t.send("\x03")
    text = desk.ends(0)
    assert ("no names are known" in text) == (trouble in ("form", "mode", "kind"))


def test_terok_shield_is_missing(desk, broken):
    desk.host.remove("terok-shield")
    if shutil.which("terok-shield", path=desk.env["PATH"]):
        pytest.skip("this machine has its own")
    broken("terok-shield", "terok-shield: no such command", "install terok-shield for this user")


def test_the_verdict_command_given_is_missing(broken):
    broken("terok-shield", "no-shield: no such command", "--shield 'CMD ARG...'", "--shield", "no-shield -x")


def script(desk, name, text):
    path = os.path.join(desk.host.bin, name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def test_terok_shield_does_not_run(desk, check):
    """A session starts, and fails with the first verdict: better told before."""
    script(desk, "terok-shield", "echo 'ModuleNotFoundError: no module' >&2; exit 1")
    told = check()
    assert told.wrong() == [] and told.code == 0
    said = "tells no version, but: ModuleNotFoundError: no module (%s)" % RUN_IT
    assert told.lines["terok-shield"][1] == said
    script(desk, "terok-shield", "exec no-such-program")
    told = check()
    assert told.wrong() == ["terok-shield"] and told.code == 3
    assert "--version: " in told.lines["terok-shield"][1] and told.lines["terok-shield"][2] == [RUN_IT]


def test_the_whole_verdict_command_is_asked_for_its_version(desk, check):
    path = script(desk, "wrapped", '[ "$1 $2" = "-u op" ] && shift 2 && exec terok-shield "$@"')
    assert check("--shield", path + " -u op").lines["terok-shield"][1] == "terok-shield 0.9.0"
    path = script(desk, "plain", "echo usage >&2; exit 2")
    assert check("--shield", path).lines["terok-shield"][1] == path + " (it doesn't tell its version)"


def test_the_policy_is_wrong(desk, broken, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("allow *\n")
    told = broken("policy", "%s:1: " % policy, "--answer allow --for", "--policy", str(policy))
    assert list(told.lines) == [*LINES[:8], "policy", *LINES[8:]]


def test_the_policy_is_right(check, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text("# one\nallow *.example.com\nskip * port 25\n")
    assert check("--policy", str(policy)).lines["policy"] == ("ok", "%s: 2 rules" % policy, [])


def test_a_policy_is_looked_at_alone_where_no_container_is_named(desk, tmp_path):
    """Wherever it is written: neither podman nor terok-shield has to be there."""
    policy = tmp_path / "policy"
    alone = ["--check", "--policy", str(policy)]
    for rules, code, text in (
        ("allow *.example.com\n[c*]\nskip *\n", 0, "ok    policy        %s: 2 rules, of which 1 for all\n"),
        ("deny a.example\n", 3, "WRONG policy        %s:1: "),
    ):
        policy.write_text(rules)
        done = desk.run(*alone, env={})
        assert (done.returncode, done.stderr) == (code, b"")
        assert done.stdout.decode().startswith(text % policy) and done.stdout.count(b" policy ") == 1
        done = desk.run(*alone, "--json", env={})
        (told,) = map(json.loads, done.stdout.splitlines())
        assert (done.returncode, list(told), told["container"]) == (code, JSON_FIELDS, None)
    assert desk.run("--check", env={}).returncode == 2, "nothing is there to look at"


def test_the_policy_can_not_be_read(broken, tmp_path):
    path = str(tmp_path / "none")
    broken("policy", "No such file or directory", "--policy FILE", "--policy", path)


def test_the_hub_is_active(desk, runtime, broken):
    with listening("%s/terok/clearance/%s/hub.sock" % (runtime, desk.c1.sid)):
        broken("hub", "the clearance hub is active", "kill -TERM %d" % os.getpid(), code=1)


def test_an_active_hub_decides_the_exit_code_whatever_else_is_wrong(desk, runtime, check):
    os.chmod(desk.c1.state_dir, 0o777)
    with listening(runtime + "/terok-clearance.sock"):
        told = check()
    assert told.wrong() == ["state dir", "hub"] and told.code == 1


def test_the_session_bus_can_not_be_asked(runtime, broken, check):
    with listening(runtime + "/bus"):
        broken("hub", "can't tell whether a clearance hub is active", "--ignore-hub")
        assert check("--ignore-hub").code == 0


def test_another_reader_needs_no_namespace(desk, check):
    path = script(desk, "reader", 'echo "{\\"type\\":\\"container_started\\",\\"container\\":\\"$2\\"}"; cat')
    told = check("--reader", path, "--state-dir", desk.c1.state_dir)
    assert told.code == 0 and told.lines["packet log"][1] == "the given reader listens"
    assert told.lines["namespace"][1] == "not needed: another reader is given"


def test_another_reader_tells_of_no_start_so_who_follows_needs_podman(desk, check):
    desk.host.remove("podman")
    without_this_machines_own(desk)
    words = ["--follow", "--state-dir", desk.c1.state_dir, "--reader", "/bin/cat"]
    told = check(*words)
    assert told.wrong() == ["podman"] and told.untried() == ["container", *NEED_CONTAINER]
    assert told.code == desk.run("--json", *words, "c1").returncode == 3


def test_another_reader_that_never_listens(desk, broken):
    path = script(desk, "reader", "echo 'no such group' >&2")
    broken("packet log", "the reader ended before it listened", "", "--reader", path)


def test_an_old_shield_on_real_rules(host, terminal, pyz):
    with Lab(rules=14) as lab:
        done = endtoend.Desk(host, lab, terminal, pyz).run("--check", "c1")
    assert done.returncode == 0 and b"bundle version 14: an allow opens private" in done.stdout


def test_a_check_that_can_not_be_told_is_no_success(desk):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            desk.argv("--check", "c1"),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env=desk.env,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (5, b"simple-clearance: stdout: No space left on device\n")
