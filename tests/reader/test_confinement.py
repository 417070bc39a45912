"""Joining namespaces and giving up privilege, under the id maps that rootless containers have."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile

import pytest
from lab import Lab, as_user, reachable_python, write
from needs import need
from reading import code
from support import PATIENCE, PYTHONS, ROOT

from simple_clearance.base.errors import Refused
from simple_clearance.reader import confinement
from simple_clearance.system import pidfd

ORDINARY = 1000

# A process in a user namespace of its own that waits to be mapped, then gives up privilege.
DROPPING = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from simple_clearance.reader import confinement
alive, leave = os.pipe()
neighbour = os.fork()
if not neighbour:
    os.close(leave)
    os.read(alive, 1)
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x40000000):
    sys.exit(os.strerror(ctypes.get_errno()))
print("made", flush=True)
sys.stdin.readline()
confinement.drop_privileges()
def forked():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
def refused(what, *args):
    try:
        what(*args)
    except OSError:
        return True
walls = [refused(os.open, "/etc/passwd", 0) and refused(os.open, "etc/passwd", 0),
         refused(os.listdir, "/proc"), refused(os.setuid, 0),
         refused(os.dup, 0), refused(forked), refused(os.kill, neighbour, 0)]
print(*map(int, map(bool, walls)), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module", name="home")
def _home():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(os.path.join(ROOT, "simple_clearance"), os.path.join(folder, "simple_clearance"))
        yield folder


@contextlib.contextmanager
def dropped(home, ids, script=DROPPING, setgroups="allow", start=None):
    """What a process with these ids, and a group more, finds after it has given up privilege; its status.

    `start` begins another argv than an ordinary user's.
    """
    start = [*as_user(ORDINARY, group=4242), reachable_python(ORDINARY)] if start is None else start
    argv = [*start, "-I", "-c", script, home]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        if setgroups != "allow":
            write("/proc/%d/setgroups" % process.pid, setgroups)
        for kind in ("uid", "gid"):
            write("/proc/%d/%s_map" % (process.pid, kind), ids[kind] if isinstance(ids, dict) else ids)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        walls = process.stdout.readline().decode().strip()
        with open("/proc/%d/status" % process.pid) as status:
            found = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        yield walls, found


@pytest.mark.parametrize(
    "ids, uid, walls",
    [
        pytest.param("0 1000 1\n1 100000 65535\n", 65535, "1 1 1 1 1 1", id="podman's default"),
        pytest.param("0 100000 1000\n1000 1000 1\n1001 101000 64535\n", 65535, "1 1 1 1 1 1", id="keep-id"),
        pytest.param("0 100000 65536\n", 65535, "1 1 1 1 1 1", id="nomap"),
        pytest.param("0 1000 1\n1 100000 99\n", 99, "1 1 1 1 1 1", id="few ids"),
        pytest.param("0 1000 1\n", 0, "1 1 0 1 1 0", id="one id, which is root"),
        pytest.param("1000 1000 1\n", 1000, "1 1 1 1 1 0", id="one id, which is not"),
    ],
)
def test_every_id_map_ends_without_a_capability(home, ids, uid, walls):
    need("root")
    need("userns")
    with dropped(home, ids) as (found_walls, found):
        assert found_walls == walls
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(found[name], 16) == 0, name
        outside = {
            int(a) + i: int(b) + i for a, b, n in map(str.split, ids.splitlines()) for i in range(int(n))
        }
        assert found["Uid"].split() == [str(outside[uid])] * 4
        assert found["Gid"].split() == [str(outside[uid])] * 4
        assert found["Groups"].strip() == ""


def test_groups_that_the_kernel_lets_nobody_leave_reach_no_file(home):
    """Without newgidmap(1), as `unshare -r` makes a namespace, setgroups(2) is forbidden there for good."""
    need("userns")
    own = {"uid": os.getuid(), "gid": os.getgid()} if os.getuid() else dict.fromkeys(("uid", "gid"), ORDINARY)
    ids = {kind: "0 %d 1\n" % number for kind, number in own.items()}
    with dropped(home, ids, setgroups="deny") as (walls, found):
        assert walls == "1 1 0 1 1 0"  # no file is there, none can be opened
        assert int(found["CapEff"], 16) == 0
        assert set(map(int, found["Groups"].split())) == (set(os.getgroups()) if os.getuid() else {4242})


def test_root_in_a_namespace_of_his_id_alone_may_still_start_processes(home):
    """Which no limit keeps the machine's root from; nor from others, who are root's, too."""
    need("root")
    need("userns")
    with dropped(home, "0 0 1\n", start=[sys.executable]) as (walls, found):
        assert walls == "1 1 0 1 0 0"
        assert int(found["CapEff"], 16) == 0


def test_without_ctypes_what_else_can_be_given_up_is(home):
    """Root's capabilities stay then, where there is nobody else to become: they reach no further."""
    need("root")
    need("userns")
    script = DROPPING.replace("confinement.drop_", "sys.modules['ctypes'] = None; confinement.drop_")
    with dropped(home, "0 1000 1\n", script) as (walls, found):
        assert walls == "1 1 0 1 1 0"
        assert found["Groups"].strip() == ""


def test_a_pidfd_tells_the_end_of_a_process(every_python):
    script = (
        "import select, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.system import pidfd\n"
        "fd = pidfd.pidfd_open(int(sys.argv[1])); p = select.poll(); p.register(fd, select.POLLIN)\n"
        "print(len(p.poll(0)), flush=True); print(len(p.poll(%d)), flush=True)\n" % (ROOT, PATIENCE * 1000)
    )
    with subprocess.Popen(["sleep", "600"]) as other:
        argv = [every_python.path, "-I", "-S", "-c", script, str(other.pid)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"0\n"
            other.kill()
            assert process.stdout.readline() == b"1\n"


def test_a_pidfd_of_nobody_is_an_error():
    with pytest.raises(ProcessLookupError):
        pidfd.pidfd_open(0x3FFFFFFF)


def test_a_pidfd_is_not_inherited():
    fd = pidfd.pidfd_open(os.getpid())
    try:
        assert not os.get_inheritable(fd)
        assert select.select([fd], [], [], 0)[0] == []
    finally:
        os.close(fd)


@pytest.mark.parametrize("python", [p for p in PYTHONS if p.version < (3, 12)], ids=lambda p: p.name)
def test_a_python_without_ctypes_says_what_would_do(python):
    need("netns")
    script = "import sys; sys.modules['ctypes'] = None\n" + code()
    argv = [python.path, "-I", "-S", "-c", script, "/proc/self/ns/net"]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 3
    assert done.stdout == b""
    message, hint = done.stderr.decode().splitlines()
    assert (
        message == "simple-clearance: this Python can't enter a container: it has neither os.setns nor ctypes"
    )
    assert "3.12" in hint


def test_a_process_that_has_threads_is_refused_with_a_reason(home):
    """Joining a user namespace takes a single thread: the reader is a process of its own for that."""
    script = (
        "import os, sys, threading; sys.path.insert(0, sys.argv[2])\n"
        "from simple_clearance.reader import confinement\n"
        "from simple_clearance.base.errors import Refused\n"
        "threading.Thread(target=sys.stdin.read, daemon=True).start()\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "try: confinement.enter(fd)\n"
        "except Refused as e: print(e.code, e.message, flush=True)\n"
        "os._exit(0)\n"
    )
    with Lab(user=ORDINARY if os.getuid() == 0 else 0) as lab:
        argv = [*as_user(ORDINARY), reachable_python(ORDINARY), "-I", "-S", "-c", script, lab.netns, home]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read().startswith(b"3 can't join the container's namespaces: ")


def test_entering_leaves_no_descriptor_open(home):
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2])\n"
        "from simple_clearance.reader import confinement\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY); before = os.listdir('/proc/self/fd')\n"
        "confinement.enter(fd); print(before == os.listdir('/proc/self/fd'))\n"
    )
    need("nft")
    with Lab(user=ORDINARY if os.getuid() == 0 else 0) as lab:
        argv = [*as_user(ORDINARY), reachable_python(ORDINARY), "-I", "-S", "-c", script, lab.netns, home]
        assert subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout == b"True\n"


def test_what_is_no_network_namespace_is_refused_before_anything_else_is_tried():
    with open(os.devnull) as file, pytest.raises(Refused) as caught:
        confinement.enter(file.fileno())
    assert caught.value.message == "can't join the network namespace: Invalid argument"


def test_a_namespace_whose_owner_is_out_of_sight_is_refused():
    need("userns")
    script = (
        "import ctypes, os, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.reader import confinement\n"
        "from simple_clearance.base.errors import Refused\n"
        "fd = os.open('/proc/self/ns/net', os.O_RDONLY)\n"
        "assert ctypes.CDLL(None).unshare(confinement.CLONE_NEWUSER) == 0\n"
        "try: confinement.enter(fd)\n"
        "except Refused as e: print(e.message, *e.hints, sep='; ')\n" % ROOT
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().startswith(
        "can't find the user namespace that owns it: Operation not permitted; run it as the user"
    )


def test_a_path_is_escaped_before_it_is_shown():
    with pytest.raises(Refused) as caught:
        confinement.open_path("/nowhere/\x1b[2J\n")
    assert caught.value.message == "can't open /nowhere/\\x1b[2J\\x0a: No such file or directory"


def test_a_python_without_pidfd_open_asks_the_kernel_itself():
    fd = pidfd.libc_call("syscall", pidfd.SYS_PIDFD_OPEN, os.getpid(), 0)
    try:
        assert os.readlink("/proc/self/fd/%d" % fd) == "anon_inode:[pidfd]"
    finally:
        os.close(fd)
