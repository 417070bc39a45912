"""The walls of the reader that runs: what /proc tells of it, and every forbidden thing tried from inside.

The archive has a few lines more: once it is confined, the reader itself does its worst, then goes on as ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from lab import Lab, as_user, reachable_python
from needs import need
from reading import Forkserver, Reader
from support import with_a_fault

ORDINARY = 1000
GROUP = 4242
"""One more that the ordinary user is in."""

TRIES = r"""
import ctypes, fcntl, json, resource, subprocess, threading
from ..formats import nflog

def _all_tries(netlink):
    libc = ctypes.CDLL(None, use_errno=True)
    victim, folder = int(os.environ["VICTIM"]), os.environ["FOLDER"]
    file, inside = folder + "/audit.jsonl", "/proc/%d" % victim
    memory = (ctypes.c_size_t * 2)(0, 1)  # an iovec
    here = ctypes.addressof(memory)
    memory[0] = here
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    admin = (ctypes.c_uint32 * 6)(*[1 << 21] * 3)  # CAP_SYS_ADMIN

    def call(name, *args):
        words = [ctypes.c_char_p(arg) if isinstance(arg, bytes) else ctypes.c_long(arg) for arg in args]
        if getattr(libc, name)(*words) < 0:
            raise OSError(ctypes.get_errno(), name)

    def forked():
        if not os.fork():
            os._exit(0)

    def told_netfilter():
        netlink.sendto(nflog.bind_request(), (0, 0))
        answer = nflog.acknowledged(netlink.recv(1 << 16))
        if answer:
            raise OSError(answer, "netfilter")

    def connected():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(folder + "/socket")

    whose = os.PRIO_PROCESS, victim
    descriptors = {
        "a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "a file of its folder": lambda: os.open("0", os.O_RDONLY),
        "a file above": lambda: os.open("../../../etc/passwd", os.O_RDONLY),
        "a folder": lambda: os.listdir("/"),
        "a folder of processes": lambda: os.listdir("/proc"),
        "a memory file": lambda: os.memfd_create("x"),
        "a pipe": os.pipe,
        "a terminal": os.openpty,
        "a copy": lambda: os.dup(1),
        "a copy elsewhere": lambda: os.dup2(1, 0),
        "a copy at a number": lambda: fcntl.fcntl(1, fcntl.F_DUPFD, 0),
        "a socket": lambda: socket.socket(socket.AF_INET),
        "a local socket": connected,
        "a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "two sockets": socket.socketpair,
        "an epoll": select.epoll,
        "a pidfd": lambda: call("syscall", 434, victim, 0),
    }
    tries = {"before: " + name: what for name, what in descriptors.items()}
    tries["close one"] = lambda: os.close(0)
    tries.update(("after: " + name, what) for name, what in descriptors.items())
    tries.update({
        "fork": forked,
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "thread": lambda: threading.Thread(target=int).start(),
        "run": lambda: subprocess.call(["true"]),
        "exec": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 77"]),
        "exec a descriptor": lambda: os.execve(1, ["x"], {}),
        "look at the operator's process": lambda: os.stat(inside),
        "trace it": lambda: call("ptrace", 16, victim, 0, 0),
        "read its memory": lambda: call("process_vm_readv", victim, here, 1, here, 1, 0),
        "signal it": lambda: os.kill(victim, 0),
        "signal what started it": lambda: os.kill(os.getppid(), 0),
        "trace what started it": lambda: call("ptrace", 16, os.getppid(), 0, 0),
        "read the memory of that": lambda: call("process_vm_readv", os.getppid(), here, 1, here, 1, 0),
        "signal the first one": lambda: os.kill(1, 0),
        "slow it": lambda: os.setpriority(*whose, os.getpriority(*whose) + 1),
        "limit it": lambda: resource.prlimit(victim, resource.RLIMIT_CORE, (0, 0)),
        "become root": lambda: os.setuid(0),
        "become root for good": lambda: os.setresuid(0, 0, 0),
        "join root's group": lambda: os.setgid(0),
        "join groups": lambda: os.setgroups([0]),
        "take capabilities": lambda: call("capset", ctypes.addressof(header), ctypes.addressof(admin)),
        "keep one": lambda: call("prctl", 47, 2, 21, 0, 0),
        "make a user namespace": lambda: call("unshare", 0x10000000),
        "make a mount namespace": lambda: call("unshare", 0x00020000),
        "make a network namespace": lambda: call("unshare", 0x40000000),
        "mount": lambda: call("mount", b"none", b"/", b"tmpfs", 0, 0),
        "leave its folder": lambda: os.chroot(".."),
        "go elsewhere": lambda: os.chdir("/proc"),
        "have more descriptors": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)),
        "have more processes": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (9, 9)),
        "tell netfilter what to log": told_netfilter,
        "remove from the state directory": lambda: os.unlink(file),
        "truncate there": lambda: os.truncate(file, 0),
        "rename there": lambda: os.rename(file, folder + "/x"),
        "chmod there": lambda: os.chmod(file, 0o777),
        "make a folder there": lambda: os.mkdir(folder + "/x"),
        "make a link there": lambda: os.symlink("x", folder + "/x"),
        "make a fifo there": lambda: os.mkfifo(folder + "/x"),
        "make a file here": lambda: os.mknod("/x"),
    })
    found = {}
    for name, what in tries.items():
        try:
            what()
            found[name] = ""
        except (OSError, ValueError, RuntimeError) as problem:
            found[name] = str(problem)
    return found

def _confined(self, run=_Loop.run):
    line = json.dumps({"type": "tries", "found": _all_tries(self._log._socket)}) + "\n"
    os.write(1, line.encode())
    return run(self)

_Loop.run = _confined
"""


TO_ITS_OWN = {"signal it", "slow it", "limit it"}


@pytest.fixture(scope="module", name="hostile")
def _hostile(pyz):
    """The archive with the tries, and where every user can read it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = with_a_fault(pyz, folder + "/hostile.pyz", "reader/reader", TRIES)
        os.chmod(path, 0o755)
        yield path


@contextlib.contextmanager
def by_hand(*args):
    """The reader whose command line that is."""
    hostile, lab, prefix, python, env = args
    with Reader(lab, argv=prefix, python=python, pyz=hostile, env=env) as reader:
        yield reader


@contextlib.contextmanager
def forked(*args):
    """The same, forked as for a session."""
    hostile, lab, prefix, python, env = args
    with Forkserver(hostile, prefix, python, env=env) as server:
        reader = server.fork(lab.netns)
        reader.expect(type="container_started")
        reader.pid = lab.holder()
        yield reader


@pytest.fixture(name="start", params=[by_hand, forked])
def _start(request):
    """How the reader is started."""
    return request.param


def done(start, hostile, lab, argv=(), python=sys.executable):
    """What the confined reader could do, and its status; it goes on, and the state directory is as it was."""
    prefix = list(argv)
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen([*prefix, "sleep", "600"]) as victim:
        file = os.path.join(folder, "audit.jsonl")
        with open(file, "w") as log:
            log.write("what was there\n")
        if prefix:
            for path in (folder, file):
                shutil.chown(path, ORDINARY, ORDINARY)
        env = dict(os.environ, VICTIM=str(victim.pid), FOLDER=folder)
        with start(hostile, lab, prefix, python, env) as reader:
            found = reader.expect(type="tries")["found"]
            status = reader.status()
            with open("/proc/%d/limits" % reader.pid) as limits:
                rows = {line[:26].strip(): line[26:].split()[:2] for line in limits}
            assert rows["Max open files"] == rows["Max processes"] == ["0", "0"]
            lab.connect("198.51.100.30", 443)
            reader.expect(type="pending", dest="198.51.100.30")
        victim.kill()
        assert os.listdir(folder) == ["audit.jsonl"] and os.stat(file).st_mode & 0o777 != 0o777
        with open(file) as log:
            assert log.read() == "what was there\n"
    return {name for name, problem in found.items() if not problem} - {"close one"}, status


def has_nothing(status):
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1" and status["Threads"] == "1"


def test_roots_reader_can_do_nothing_but_read(start, hostile, every_python):
    need("root")
    with Lab() as lab:
        could, status = done(start, hostile, lab, python=every_python.path)
    assert could == set()
    has_nothing(status)
    assert status["Groups"].strip() == ""


@pytest.mark.parametrize(
    "ids, groups, could",
    [
        pytest.param("many", [], set(), id="ids of its own"),
        pytest.param(
            "one",
            [GROUP],
            TO_ITS_OWN | {"become root", "become root for good", "join root's group"},  # which it is in there
            id="one id, with which it stays the operator to his processes",
        ),
    ],
)
def test_an_ordinary_users_can_do_no_more(start, hostile, ids, groups, could):
    prefix, python = as_user(ORDINARY, group=GROUP), reachable_python(ORDINARY)
    with Lab(user=ORDINARY if os.getuid() == 0 else 0, ids=ids) as lab:
        found, status = done(start, hostile, lab, prefix, python)
    if could and (start is forked or os.getuid()):  # else it was root who started it
        could = could | {"signal what started it"}
    assert found == could
    has_nothing(status)
    if os.getuid() == 0:
        assert list(map(int, status["Groups"].split())) == groups
