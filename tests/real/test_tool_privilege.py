"""As little privilege as possible, seen from outside: what the reader of a real container still can do."""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest
from support import PYTHONS

pytestmark = pytest.mark.newest


@pytest.fixture(scope="module", params=["default", "keep-id", "nomap"])
def kind(request, rig, c):
    """A shielded container with that kind of user namespace."""
    return c if request.param == "default" else rig.shared("--userns=" + request.param)


def status(pid):
    """proc_pid_status(5)"""
    with open("/proc/%d/status" % pid) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def test_the_reader_that_listens_has_nothing_left(rig, desk, kind):
    script = desk.script(kind)
    (reader,), (session,) = desk.processes("reader"), desk.processes("session")
    found = status(reader)
    assert {found["Cap" + one].strip("0") for one in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {""}
    assert found["NoNewPrivs"] == "1"
    (uid,), (gid,) = set(found["Uid"].split()), set(found["Gid"].split())
    assert rig.subids <= int(uid) < rig.subids + 262144 and rig.subids <= int(gid) < rig.subids + 262144
    assert found["Groups"].strip() == ""
    assert os.readlink("/proc/%d/root" % reader) == os.readlink("/proc/%d/cwd" % reader)
    assert os.readlink("/proc/%d/root" % reader).endswith("/fdinfo")
    inside = rig.inspected(kind)["State"]["Pid"]
    for space in ("net", "user"):
        theirs = rig.as_op(["readlink", "/proc/%d/ns/%s" % (inside, space)], check=True).stdout.strip()
        assert namespace(reader, space) == theirs != namespace(session, space)
    kinds = descriptors(reader)
    assert kinds.count("netlink") == 1 and kinds.count("socket") == 2, kinds  # its stdin and stdout are one
    assert set(kinds) <= {"netlink", "socket", "pipe", "pidfd", "eventpoll"}, kinds
    assert limit(reader) == 0
    rig.conn(kind, "192.0.2.61")  # and it still does its work
    script.until("pending", dest="192.0.2.61")


def test_the_session_itself_is_the_ordinary_user_it_was_started_by(rig, desk, kind):
    desk.script(kind)
    (session,) = desk.processes("session")
    found = status(session)
    assert found["CapEff"].strip("0") == "" and found["Uid"].split() == [str(rig.uid)] * 4
    assert namespace(session, "net") != namespace(desk.processes("reader")[0], "net")


def namespace(pid, kind):
    return os.readlink("/proc/%d/ns/%s" % (pid, kind))


def descriptors(pid):
    """What kind each open descriptor is of."""
    with open("/proc/%d/net/netlink" % pid) as table:
        netlink = {"socket:[%s]" % line.split()[9] for line in list(table)[1:]}
    links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
    return [
        "netlink" if link in netlink else link.replace("anon_inode:", "").strip("[]").partition(":")[0]
        for link in links
    ]


def limit(pid):
    with open("/proc/%d/limits" % pid) as file:
        (line,) = (line for line in file if line.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard
    return int(soft)


# The reader's own steps, in a process that then tries what a reader that was taken over would.
TRYING = r"""
import os, select, socket, sys
sys.path.insert(0, sys.argv[1])
from simple_clearance.reader import confinement
from simple_clearance.formats import nflog
from simple_clearance.system import pidfd
from simple_clearance.reader.packetlog import PacketLog
import ctypes, fcntl, resource, signal, struct  # everything first
libc = ctypes.CDLL(None, use_errno=True)
parent, folder, pid = os.getppid(), sys.argv[2], int(sys.argv[3])
pidfd = pidfd.pidfd_open(pid)
space = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY)
others = []
for one in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/comm" % one) as comm:
            others.append((int(one), comm.read().strip()))
    except OSError:
        pass  # ended meanwhile
others = [(one, name) for one, name in others if one != os.getpid()]
confinement.enter(space)
log = PacketLog()
confinement.drop_privileges()


def system(name, *args):
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)


def configure():
    log._socket.sendto(nflog.bind_request(), (0, 0))
    answer = nflog.acknowledged(log._socket.recv(1 << 16))
    if answer:
        raise OSError(answer, "bind")


tries = {
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "open itself": lambda: os.open("/", os.O_RDONLY),
    "climb": lambda: os.open("../../../../etc/passwd", os.O_RDONLY),
    "write a file": lambda: os.open(folder + "/written", os.O_WRONLY | os.O_CREAT),
    "write at its root": lambda: os.open("/written", os.O_WRONLY | os.O_CREAT),
    "make a folder": lambda: os.mkdir("/made"),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
    "make a pipe": os.pipe,
    "copy a descriptor": lambda: os.dup(0),
    "signal its parent": lambda: os.kill(parent, 0),
    "signal the container": lambda: os.kill(pid, 0),
    "signal the container by its descriptor": lambda: system("syscall", 424, pidfd, 0, None, 0),
    **{"signal %d %s" % (one, name): (lambda one=one: os.kill(one, 0)) for one, name in others},
    "become root": lambda: os.setresuid(0, 0, 0),
    "become the group": lambda: os.setresgid(0, 0, 0),
    "get groups": lambda: os.setgroups([0]),
    "raise its limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    "leave its root": lambda: os.chroot("."),
    "enter a namespace": lambda: system("setns", space, 0),
    "make a network namespace": lambda: system("unshare", 0x40000000),
    "make a user namespace": lambda: system("unshare", 0x10000000),
    "mount": lambda: system("mount", b"none", b"/", b"tmpfs", 0, None),
    "trace its parent": lambda: system("ptrace", 16, parent, 0, 0),
    "change the packet log's settings": configure,
    "run a program": lambda: os.execv("/bin/true", ["true"]),
}
for what, attempt in tries.items():
    try:
        attempt()
    except (OSError, ValueError):  # setrlimit's EPERM is a ValueError
        continue
    print("could", what)
print("tried", flush=True)
if select.select([log], [], [], 60)[0] and log.receive() is not None:
    print("received", flush=True)
"""


@pytest.mark.parametrize("python", dict.fromkeys([PYTHONS[0], PYTHONS[-1]]), ids=lambda python: python.name)
def test_whoever_took_over_the_reader_could_do_nothing_but_read_packets(python, rig, desk, kind):
    pid = rig.inspected(kind)["State"]["Pid"]
    below = ["sh", "-c", '"$@"; exit $?', "sh"]  # so that its parent is the operator's process, too
    argv = rig.argv([*below, python.path, "-I", "-c", TRYING, desk.pyz, rig.home, str(pid)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        said = list(itertools.takewhile(lambda line: line != "tried\n", child.stdout))
        rig.conn(kind, "192.0.2.62")
        rest = child.stdout.read()
    assert said == []
    assert rest == "received\n"
