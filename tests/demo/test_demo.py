"""`--demo`, from the archive on a pty: what it shows, to whom, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap

import endtoend
import pytest
from lab import as_user, reachable_python
from needs import which
from support import PATIENCE, PYTHONS, ROOT, eventually, thorough

KEYS = endtoend.KEYS
NAME = "registry.example.com"


class Show:
    """The demonstration for one user; `folder` is where it may make its temporary one."""

    def __init__(self, terminal, pyz):
        self.terminal = terminal
        self.top = tempfile.mkdtemp(prefix="demo")
        os.chmod(self.top, 0o755)
        self.pyz = shutil.copy(pyz, self.top)
        self.folder = os.path.join(self.top, "tmp")
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o1777)
        self.python, self.prefix, self.path = sys.executable, [], "/usr/local/bin:/usr/bin:/bin"
        self.t = None

    def close(self):
        shutil.rmtree(self.top, ignore_errors=True)

    def as_ordinary_user(self, python=""):
        self.prefix, self.python = as_user(os.getuid() or 1000), python or reachable_python()

    def start(self, *words, before=()):
        """On a pty, in the environment of an ordinary user: nft is not on that PATH."""
        env = {"PATH": self.path, "TMPDIR": self.folder, "HOME": self.top, "TERM": "xterm", "LANG": "C.UTF-8"}
        argv = [*before, *self.prefix, self.python, "-W", "error", self.pyz, "--demo", *words]
        self.t = self.terminal(argv, env=env, cwd=self.top)
        return self.t

    def ask(self, name):
        """Wait for the question about this, painted whole."""
        self.t.expect(name)
        return self.t.expect(KEYS)

    def press(self, key, painted, own=False):
        """Press it as soon as it counts: `painted` has been waited for, and its write has returned."""
        endtoend.wait_for_keys(self.t, painted, own)
        self.t.send(key)

    def process(self, role):
        """The pid of the process with that word in its command line; the session's for ""."""
        found = [
            pid for pid, argv in endtoend.processes(self.pyz) if role in argv or not (role or roles(argv))
        ]
        return found[0] if found else 0

    def nothing_is_left(self):
        eventually(lambda: not list(endtoend.processes(self.pyz)), what="no process is left")
        eventually(lambda: os.listdir(self.folder) == [], what="no temporary folder is left")


def roles(argv):
    return any(word.startswith(("--demo-", "--as-")) for word in argv)


@pytest.fixture
def show(terminal, pyz):
    it = Show(terminal, pyz)
    yield it
    it.close()


@pytest.fixture
def live(show, need):
    need("nft")
    if os.getuid() != 0:
        need("userns")
    return show


# --- what it shows


def test_a_walk_through_all_of_it(live):
    t = live.start()
    t.expect("every answer acts in there")

    def told(text):
        """In whatever order: what is told comes between questions, in batches."""
        eventually(lambda: text in t.text(), what=text)

    asked = live.ask(NAME)
    assert "203.0.113.10  tcp 443 https" in t.text() and "via edge.cdn.example" in t.text()
    live.press("a", asked)
    told("a allow 203.0.113.10 ... done in")
    told("203.0.113.10: first packet let out")
    told("10.0.2.2  tcp 22 ssh")
    told("not asked: the shield keeps private ranges shut")

    live.press("d", live.ask("telemetry.example.net"))
    told("d deny 198.51.100.7 ... done in")

    live.press("a", live.ask("broken.example"))
    told("a allow 192.0.2.66 ... FAILED after")
    told("the demonstration: Error: ")
    live.press("s", live.ask("broken.example"))

    live.press("A", live.ask("api.example.org"))
    live.press("y", t.expect("any other key: no"), own=True)
    told("opened 203.0.113.20, 203.0.113.21")
    live.ask("198.51.100.101")
    told("203.0.113.21: first packet let out")
    endtoend.lists(t, 100)
    t.send("*")
    live.press("m", t.expect("100 marked:"), own=True)
    told("m not in this session (100 requests)")
    t.settled()
    t.send("q")
    assert t.wait() == 5, "a verdict failed and was not made good"
    text = t.text()
    assert "stopped: 2 allowed, 1 denied, 1 skipped, 100 muted, 1 failed" in text
    assert "the same again" not in text, "out here there is nothing to run them on"
    assert t.termios() == endtoend.as_opened()
    live.nothing_is_left()


def lets_one_through(show):
    t = show.start()
    show.press("a", show.ask(NAME))
    t.expect("203.0.113.10: first packet let out")
    t.send("\x03")
    assert t.wait() in (0, 5), "the next one may be open already"
    assert "Traceback" not in t.text() and "hint" not in t.text()
    show.nothing_is_left()


@pytest.mark.thorough
@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]], ids=lambda python: python.name)
def test_it_works_with_the_oldest_and_the_newest_python(live, python):
    live.python = python.path
    live.folder = os.path.join(live.folder, "x" * 120)  # no name of a socket in there could be that long
    os.mkdir(live.folder)
    lets_one_through(live)


def test_it_works_for_an_ordinary_user(live, need):
    need("userns")
    live.as_ordinary_user()
    lets_one_through(live)


def test_it_works_for_a_root_who_may_little_as_in_many_containers(live, need):
    need("root")
    need("userns")
    live.prefix = ["setpriv", "--bounding-set=-sys_admin,-net_admin"]
    live.start()
    live.ask(NAME)
    live.t.send("\x03")
    assert live.t.wait() == 5
    live.nothing_is_left()


def test_it_works_from_a_checkout_as_the_readme_says(live):
    with open(os.path.join(ROOT, "README.md")) as file:
        assert "python3 -m simple_clearance --demo" in file.read()
    env = {"PATH": live.path, "TMPDIR": live.folder, "TERM": "xterm"}
    t = live.t = live.terminal([sys.executable, "-m", "simple_clearance", "--demo"], env=env, cwd=ROOT)
    live.ask(NAME)
    t.send("\x03")
    assert t.wait() == 5
    assert os.listdir(live.folder) == []


def test_without_a_terminal_nothing_is_made(live):
    done = subprocess.run(
        [live.python, live.pyz, "--demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": live.path, "TMPDIR": live.folder},
        start_new_session=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"") and b"no terminal to prompt on" in done.stderr
    live.nothing_is_left()


def test_a_script_may_watch_it_too(live):
    """`--json`: only events on stdout, an answer on stdin."""
    child = subprocess.Popen(
        [live.python, live.pyz, "--demo", "--json", "--count", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": live.path, "TMPDIR": live.folder},
        start_new_session=True,
    )
    with child:
        for line in child.stdout:
            event = json.loads(line)
            if event.get("names") == [NAME]:  # known at once, or a moment later
                child.stdin.write(b"allow %s\n" % event["id"].encode())
                child.stdin.flush()
            elif event["type"] == "verdict":
                assert event["result"] == "applied"
    assert (event["type"], event["allowed"], child.returncode) == ("summary", 1, 0)
    live.nothing_is_left()


def test_a_stdout_that_takes_nothing_is_told_as_in_any_session(live):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [live.python, live.pyz, "--demo", "--answer", "skip"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env={"PATH": live.path, "TMPDIR": live.folder},
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (5, b"simple-clearance: stdout: No space left on device\n")
    live.nothing_is_left()


# --- where this host does not allow it: run as root in front of it, it takes one thing away

FORBID = textwrap.dedent(
    r"""
    import ctypes, os, struct, subprocess, sys
    libc = ctypes.CDLL(None, use_errno=True)
    what, argv = sys.argv[1], sys.argv[2:]
    def call(name, *args):
        if getattr(libc, name)(*args) < 0:
            raise OSError(ctypes.get_errno(), name)
    def write(path, text):
        with open(path, "w") as file:
            file.write(text)
    def own_limits():
        "A user namespace with everybody in it, and limits of its own."
        ours, theirs = os.pipe()
        if os.fork() == 0:
            os.read(ours, 1)
            for name in ("uid_map", "gid_map"):
                write("/proc/%d/%s" % (os.getppid(), name), "0 0 65536")
            os._exit(0)
        call("unshare", 0x10000000)
        os.write(theirs, b".")
        os.wait()
        os.setresuid(0, 0, 0)
    if what in ("user", "net"):
        own_limits()
        write("/proc/sys/user/max_%s_namespaces" % what, "0")
    elif what in ("map", "nft"):
        call("unshare", 0x00020000)
        call("mount", None, b"/", None, 0x4000 | 0x40000, None)  # MS_REC | MS_PRIVATE
        if what == "map":
            call("mount", b"/proc", b"/proc", None, 0x1000 | 0x4000, None)  # MS_BIND
            call("mount", None, b"/proc", None, 0x1000 | 0x20 | 1, None)  # MS_REMOUNT | MS_RDONLY
        else:
            call("mount", b"/dev/null", os.environ["NFT"].encode(), None, 0x1000, None)
    elif what == "tmp":
        call("unshare", 0x00020000)
        call("mount", None, b"/", None, 0x4000 | 0x40000, None)
        for name in ("/tmp", "/var/tmp", "/usr/tmp", os.environ["TMPDIR"], os.getcwd()):
            folder = name.encode()
            if os.path.isdir(folder):
                call("mount", folder, folder, None, 0x1000 | 0x4000, None)
                call("mount", None, folder, None, 0x1000 | 0x20 | 1, None)
    elif what == "lo":
        # seccomp: ioctl(fd, SIOCSIFFLAGS) is EPERM, everything else as it was
        number = {"x86_64": 16, "aarch64": 29}[os.uname().machine]
        code = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 24), (0x15, 0, 1, 0x8914),
                (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
        filter = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
        call("prctl", 38, 1, 0, 0, 0)
        call("prctl", 22, 2, filter)
    os.execvp(argv[0], argv)
    """
)


@pytest.mark.parametrize(
    "what, reason, remedy",
    [
        ("nft", "nft: no such command", "apt install nftables"),
        ("user", "a user namespace can't be had here: ", "sysctl user.max_user_namespaces"),
        ("map", "an id in a user namespace can't be had here: ", "kernel.apparmor_restrict"),
        ("net", "a network namespace can't be had here: ", "sysctl user.max_net_namespaces"),
        ("lo", "the loopback interface can't be had here: Operation not permitted", "inside a container"),
    ],
)
def test_it_says_what_this_host_forbids_and_plays_a_recording(show, need, what, reason, remedy):
    need("nft")
    need("root")
    need("userns")
    script = os.path.join(show.top, "forbid.py")
    with open(script, "w") as file:
        file.write(FORBID)
    show.as_ordinary_user()
    nft = "NFT=" + os.path.realpath(which("nft"))
    t = show.start(before=["env", nft, sys.executable, "-I", script, what])
    t.expect("no live demonstration: " + reason)
    t.expect("hint: ")
    assert remedy in t.expect(re.compile(".*\n")).text
    t.expect("here is a recording: ")
    show.ask(NAME)
    t.send("\x03")
    assert t.wait() == 5
    assert "Traceback" not in t.text()
    show.nothing_is_left()


def test_without_a_folder_to_write_to_it_plays_the_recording(show, need):
    need("root")
    script = os.path.join(show.top, "forbid.py")
    with open(script, "w") as file:
        file.write(FORBID)
    t = show.start(before=[sys.executable, "-I", script, "tmp"])
    t.expect("no live demonstration: no temporary folder")
    t.expect("hint: TMPDIR=DIR names one")
    show.ask(NAME)
    t.send("\x03")
    t.wait()


def test_rules_that_nft_refuses_are_told_in_its_words(live):
    fake(live, "echo 'Error: Could not process rule: Operation not permitted' >&2; exit 1")
    t = live.start()
    t.expect("no live demonstration: the packet filter's rules can't be had here: ")
    t.expect("Could not process rule: Operation not permitted")
    t.expect("hint: modprobe nf_tables")
    live.ask(NAME)
    t.send("\x03")
    t.wait()
    live.nothing_is_left()


def fake(show, script):
    """This shell script stands first on the PATH as nft."""
    folder = os.path.join(show.top, "bin")
    os.mkdir(folder)
    path = os.path.join(folder, "nft")
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + script + "\n")
    os.chmod(path, 0o755)
    show.path = folder + ":" + show.path


def test_the_recording_goes_through_the_same_prompt_at_its_own_pace(show):
    fake(show, "exit 1")
    t = show.start()
    asked = show.ask(NAME)
    show.press("a", asked)
    t.expect("a allow 203.0.113.10 ... dry run: nothing was run")
    t.expect("10.0.2.2  tcp 22 ssh")
    t.expect("not asked: the shield keeps private ranges shut")
    t.send("\x03")
    assert t.wait() in (0, 5), "the next one may be open already"
    assert t.termios() == endtoend.as_opened()
    show.nothing_is_left()


def test_the_recording_holds_what_the_demonstration_shows():
    from simple_clearance.demo import agent, tape

    lines = [fields for _, fields in tape.lines()]
    assert lines[0]["type"] == "session" and lines[0]["containers"][0]["name"] == "demo"
    pending = [fields for fields in lines if fields["type"] == "pending"]
    recorded = [(it["dest"], it["port"], it["names"], it["floor"]) for it in pending]
    wanted = []
    for _, target, port, number in agent.SCENES:
        found = agent.NAMES.get(target) or agent.neighbours(target, number)
        names = [target] if target in agent.NAMES else []
        wanted += [(dest, port, names, dest.startswith("10.")) for dest in found]
    assert recorded == wanted
    times = [at for at, _ in tape.lines()]
    assert times == sorted(times) and times[-1] < 40
    first, second = [at for at, fields in tape.lines() if fields["type"] == "pending"][:2]
    assert second - first > 3, "the pace of somebody who looks at it"


# --- its end


def ends_with(show, code):
    assert show.t.wait() == code, show.t
    assert show.t.termios() == endtoend.as_opened()
    show.nothing_is_left()


@pytest.mark.parametrize("how", ["hang-up", *thorough("Ctrl-C", "SIGTERM")])
def test_nothing_is_left_however_it_is_told_to_end(live, how):
    t = live.start()
    live.ask(NAME)
    assert os.listdir(live.folder) != [] and live.process("--demo-world")
    if how == "Ctrl-C":
        t.send("\x03")
        ends_with(live, 5)
    elif how == "SIGTERM":
        t.kill(signal.SIGTERM)
        ends_with(live, 5)
    else:
        t.hangup()
        t.wait()
        live.nothing_is_left()


@pytest.mark.parametrize(
    "role, code, told",
    [
        ("", -signal.SIGKILL, ""),
        ("--demo-world", 5, "demo: the container has stopped"),
        ("--as-reader", 4, "the reader ended unexpectedly"),
        ("--as-forkserver", 4, "the reader ended unexpectedly"),
    ],
    ids=["the session", "what holds the namespace", "the reader", "what has forked it"],
)
def test_nothing_is_left_when_one_of_its_processes_is_killed(live, role, code, told):
    t = live.start()
    live.ask(NAME)
    namespace = os.readlink("/proc/%d/ns/net" % live.process("--demo-world"))
    os.kill(eventually(lambda: live.process(role), what="it runs"), signal.SIGKILL)
    assert t.wait() == code
    assert told in t.text()
    live.nothing_is_left()
    eventually(lambda: namespace not in namespaces(), what="its namespace is gone")


def namespaces():
    """The network namespaces that any process is in."""
    found = set()
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.add(os.readlink("/proc/%s/ns/net" % entry))
        except OSError:
            pass  # not ours to look at, or gone
    return found


def test_a_verdict_command_that_is_killed_is_told_and_the_rest_goes_on(live):
    t = live.start()
    live.press("a", live.ask(NAME))
    os.kill(eventually(lambda: live.process("--demo-shield")), signal.SIGKILL)
    t.expect("it may or may not be open")
    t.send("\x03")
    ends_with(live, 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, *thorough(signal.SIGTERM)])
def test_nothing_is_left_when_it_ends_before_it_has_begun(live, number):
    begun, gate = os.path.join(live.top, "begun"), os.path.join(live.top, "gate")
    fake(live, "echo $$ >%s; until [ -e %s ]; do sleep 0.05; done" % (begun, gate))
    t = live.start()
    eventually(lambda: os.path.exists(begun), what="the rules are being loaded")
    assert os.listdir(live.folder) != []
    t.kill(number)
    with open(gate, "w"):
        pass
    t.wait()
    live.nothing_is_left()
