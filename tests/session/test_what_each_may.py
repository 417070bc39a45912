"""What each of the processes may do: README's table is what is found here.

An ordinary user with one group more sits at two containers with ids of their own, as podman makes them, and
has begun a verdict.  Each process has tried everything itself, by a few lines more in the archive and in the
verdict command; the rest is what /proc tells of it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Iterator

import endtoend
import pytest
from endtoend import Desk, hand_over
from host import write
from lab import Lab, as_user
from needs import need
from support import ROOT, eventually, with_a_fault

from simple_clearance.system import processes

ordinary = endtoend.ordinary

USER, GROUP = 1000, 4242
NEEDED = ("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH")
TRIES = r"""
import json, os, socket, sys, time

def tries(folder):
    def pids(name):
        with open(os.path.join(folder, name)) as file:
            return list(map(int, file))

    def run():
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

    yours, readers = pids("yours"), pids("readers")
    yield
    for name, what in (
        ("opens a file", lambda: os.close(os.open("/etc/passwd", os.O_RDONLY))),
        ("opens a socket", lambda: socket.socket().close()),
        ("starts a process", run),
        ("opens `/dev/tty`", lambda: os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))),
        ("signals your processes", lambda: [os.kill(pid, 0) for pid in yours]),
        ("signals a reader", lambda: [os.kill(pid, 0) for pid in readers]),
    ):
        try:
            what()
            yield name, "yes"
        except OSError:
            yield name, "no"

def find(role, folder, confine=lambda: None):
    found = tries(folder)
    next(found)
    with open(os.path.join(folder, "found-" + role), "w") as file:
        confine()
        file.write(json.dumps([os.getpid(), dict(found)]))
"""
IN_SESSION = """
from .runner import Runner
def _start(self, *args, start=Runner.start):
    find("session", FOLDER)
    start(self, *args)
Runner.start = _start
"""
IN_FORKSERVER = """
def _fork(self, *args, fork=_Server._fork):
    find("forkserver", FOLDER)
    return fork(self, *args)
_Server._fork = _fork
"""
IN_READER = """
def _confined(confine=confinement.drop_privileges):
    find("reader", FOLDER, confine)
confinement.drop_privileges = _confined
"""
VERDICT = """#!%s -IS
FOLDER = %r
%s
if sys.argv[1] in ("allow", "deny"):
    find("verdict", FOLDER)
    sys.stdin.read()  # as one that asks, to whom nobody answers
    while not os.path.exists(FOLDER + "/enough"):
        time.sleep(0.01)
os.execv(FOLDER + "/terok-shield", sys.argv)
"""


class Process:
    """What one is, as /proc tells."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.folder = "/proc/%d/" % pid
        with open(self.folder + "status") as status:
            self.status = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        with open(self.folder + "environ", "rb") as environ:
            self.environ = dict(one.split(b"=", 1) for one in environ.read().split(b"\0") if b"=" in one)
        self.network = os.readlink(self.folder + "ns/net")
        self.files = {int(fd): self.link(fd) for fd in os.listdir(self.folder + "fd")}

    def link(self, fd: str) -> str:
        return os.readlink(self.folder + "fd/" + fd)

    def same(self, other: Process, *names: str) -> bool:
        return all(self.status[name] == other.status[name] for name in names)

    # Cells of the table, `you` being a process that the user has started himself

    def user(self, you: Process) -> str:
        if self.same(you, "Uid", "Gid"):
            return "you"
        for kind in ("Uid", "Gid"):
            with open(self.folder + kind.lower() + "_map") as file:
                _, outside, count = max(list(map(int, line.split())) for line in file)
            assert set(map(int, self.status[kind].split())) == {outside + count - 1}
        return "an id of the container's, the last"

    def groups(self, you: Process) -> str:
        return "yours" if self.same(you, "Groups") else self.status["Groups"].strip() or "none"

    def capabilities(self, you: Process) -> str:
        sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        if self.same(you, *sets):
            return "yours"
        assert not any(int(self.status[name], 16) for name in sets)
        return "none"

    def gains(self, _you: Process) -> str:
        return {"0": "yes", "1": "no"}[self.status["NoNewPrivs"]]

    def where(self, you: Process) -> str:
        return "yours" if self.network == you.network else "the container's"

    def environment(self, you: Process) -> str:
        if self.environ == you.environ:
            return "yours"
        assert self.environ == {name.encode(): you.environ[name.encode()] for name in NEEDED}
        return "path, language, libraries"

    def stdin(self, _you: Process) -> str:
        link = self.files[0]
        if link.startswith("/dev/pts/"):
            return "your terminal"
        return "a socket to the session" if link.startswith("socket:") else "`%s`" % link

    def holds(self, _you: Process) -> str:
        """Beside its three standard descriptors."""
        kinds = sorted(what.partition(":")[0] for fd, what in self.files.items() if fd > 2)
        found = {
            (): "nothing",
            ("pipe",) * 2: "what each reader says on stderr",
            ("anon_inode",) * 3 + ("socket",): "the packet log, its parent's pidfd, two epolls",
        }
        return found.get(tuple(kinds), "all that it watches" if len(kinds) > 9 else str(kinds))


OUTSIDE = {
    "runs as": Process.user,
    "groups": Process.groups,
    "capabilities": Process.capabilities,
    "may gain more, as by `sudo`": Process.gains,
    "network": Process.where,
    "environment": Process.environment,
    "stdin": Process.stdin,
    "other descriptors": Process.holds,
}


@pytest.fixture(name="desk")
def _desk(ordinary: Desk) -> Desk:
    """Everything tells what it finds into `folder`."""
    need("root")
    need("subids")
    folder = os.path.join(ordinary.host.folder, "found")
    os.mkdir(folder)
    line = "FOLDER = %r\n" % folder
    for number, (module, code) in enumerate(
        (("session", IN_SESSION), ("reader/forkserver", IN_FORKSERVER), ("reader/reader", IN_READER))
    ):
        path = "%s.%d" % (ordinary.pyz, number)
        ordinary.pyz = with_a_fault(ordinary.pyz, path, module, TRIES + line + code)
    shield = ordinary.host.bin + "/terok-shield"
    os.rename(shield, folder + "/terok-shield")
    with open(shield, "w") as file:
        file.write(VERDICT % (ordinary.python, folder, TRIES))
    os.chmod(shield, 0o755)
    ordinary.prefix = [word for word in as_user(USER, group=GROUP) if word != "--no-new-privs"]
    ordinary.env = ordinary.host.env(**dict.fromkeys(NEEDED[:3], "C.UTF-8"), LD_LIBRARY_PATH="/nowhere")
    hand_over(os.path.dirname(ordinary.pyz), USER, ordinary.python)
    return ordinary


def told(folder: str, role: str, pid: int = 0) -> tuple[int, dict[str, str]]:
    """Who that was, and what it found itself; of that pid, where one is given."""

    def whole() -> tuple[int, dict[str, str]] | None:
        try:
            with open("%s/found-%s" % (folder, role)) as file:
                who, found = json.load(file)
        except (OSError, ValueError):
            return None
        return None if pid and who != pid else (who, found)

    return eventually(whole, what="the %s has tried all" % role)  # type: ignore[return-value]


@pytest.fixture(name="your_own")
def _your_own(desk: Desk) -> Iterator[Process]:
    """A process that the user has started himself."""
    argv = [*desk.prefix, "sleep", "600"]
    with subprocess.Popen(argv, env=desk.env, stdin=subprocess.DEVNULL) as child:
        try:
            eventually(lambda: processes.name(child.pid) == "sleep", what="it has become that user's")
            yield Process(child.pid)
        finally:
            child.kill()


def test_the_table_is_what_each_has_found(desk: Desk, your_own: Process) -> None:
    folder = os.path.join(desk.host.folder, "found")
    with Lab(user=USER, ids="many") as lab:
        write(folder + "/yours", "%d\n" % your_own.pid)
        write(folder + "/readers", "")
        t = desk.start("--all")
        (first,) = eventually(lambda: desk.processes("reader"), what="c1 is watched")
        told(folder, "reader", first)
        write(folder + "/readers", "%d\n" % first)
        desk.host.container("c2", lab)
        hand_over(os.path.dirname(desk.pyz), USER, desk.python)
        desk.host.makes_network()
        eventually(lambda: len(desk.processes("reader")) == 2, what="both are watched")
        (second,) = set(desk.processes("reader")) - {first}
        reader = told(folder, "reader", second)
        desk.press("a", desk.block())
        found = [told(folder, "session"), told(folder, "forkserver"), reader, told(folder, "verdict")]
        each = [Process(pid) for pid, _ in found]
        rows = [[name, *(cell(one, your_own) for one in each)] for name, cell in OUTSIDE.items()]
        rows += [[name, *(tried[name] for _, tried in found)] for name in found[0][1]]
        ours = [*desk.processes("session"), *desk.processes("forkserver"), second]
        assert [pid for pid, _ in found][:3] == ours
        write(folder + "/enough", "")
        t.expect("done in")
    with open(os.path.join(ROOT, "README.md")) as file:
        section = file.read().partition("\n## What each process may do\n")[2].partition("\n## ")[0]
    lines = [re.split(r" *\| *", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    assert [cell.partition(",")[0] for cell in lines[0]] == ["", "session", "forkserver", "reader", "verdict"]
    assert lines[2:] == rows
