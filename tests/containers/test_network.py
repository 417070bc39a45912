"""The way into the network namespace: podman's own, and no other."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from lab import Lab, as_user
from needs import need
from support import eventually

from simple_clearance.base.errors import FORBIDDEN, Refused
from simple_clearance.containers import network, podman

SAMPLE = pathlib.Path(__file__).parent.parent / "samples" / "podman-inspect-0.9.json"


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No descriptor outlives a call."""
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def process():
    """A process of ours that stands where a container's first one stands."""
    child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
    yield child
    child.kill()
    child.wait()


def made(pid, conmon_pid, own_users=False, sandbox=""):
    """What podman tells of a container with that first process."""
    found = json.loads(SAMPLE.read_text())
    found[0]["State"].update(Pid=pid, ConmonPid=conmon_pid)
    found[0]["HostConfig"]["IDMappings"] = {"UidMap": ["0:1:65536"]} if own_users else None
    found[0]["NetworkSettings"]["SandboxKey"] = sandbox
    return podman.parse(json.dumps(found).encode())[0]


def refusal(container):
    with pytest.raises(Refused) as caught:
        network.open_namespace(container)
    error = caught.value
    assert error.code == 3
    assert error.hints
    assert all(text.isascii() and text.isprintable() for text in (error.message,) + error.hints)
    return error


def gone(pid):
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_namespace_is_that_of_conmons_child(process):
    pidfd, namespace = network.open_namespace(made(process.pid, os.getpid()))
    try:
        assert os.fstat(namespace).st_ino == os.stat("/proc/%d/ns/net" % process.pid).st_ino
        assert not os.get_inheritable(pidfd)
        assert not os.get_inheritable(namespace)
    finally:
        os.close(pidfd)
        os.close(namespace)


def test_a_pid_that_passed_to_another_process_is_refused(process):
    error = refusal(made(process.pid, 1))
    assert "is no longer its process" in error.message


def test_a_process_that_has_ended_is_refused(process):
    process.kill()
    eventually(lambda: gone(process.pid))
    refusal(made(process.pid, os.getpid()))  # a zombie
    process.wait()
    refusal(made(process.pid, os.getpid()))  # not even that


def test_a_process_that_goes_on_without_its_main_thread_is_named():
    """Its namespaces are not to be seen, though it runs: nothing can be watched there, and nothing opened."""
    leave = "threading.Thread(target=sys.stdin.read).start(); ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)"
    number = {"x86_64": "60", "aarch64": "93"}.get(os.uname().machine, "93")  # exit(2), of one thread
    argv = [sys.executable, "-c", "import ctypes, sys, threading; " + leave, number]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
        eventually(lambda: gone(child.pid), what="its main thread has ended")
        error = refusal(made(child.pid, os.getpid()))
        assert "has ended its main thread" in error.message
        child.stdin.close()


def test_the_parent_is_found_whatever_the_process_calls_itself():
    rename = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') S 1 (x', 0, 0, 0)"  # PR_SET_NAME
    argv = [sys.executable, "-c", rename + "; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        for fd in network.open_namespace(made(child.pid, os.getpid())):
            os.close(fd)
        child.stdin.close()


def test_another_users_container_is_refused_with_who_may(process):
    need("root")
    c = made(process.pid, os.getpid())
    ends = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            network.open_namespace(c)
        except Refused as error:
            os.write(ends[1], repr(error).encode())
        finally:
            os._exit(0)
    os.close(ends[1])
    said = os.read(ends[0], 4096).decode()
    os.close(ends[0])
    os.waitpid(child, 0)
    assert "ns/net: Permission denied" in said
    assert "run this as the user who started c1" in said and FORBIDDEN in said


def test_where_proc_hides_what_is_anothers_that_is_said():
    """In a pid namespace of its own: before Linux 5.8 the option is for all mounts of one."""
    need("root")
    code = """
import os, subprocess, sys
from test_network import made, refusal
process = subprocess.Popen(["sleep", "600"])
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
error = refusal(made(process.pid, os.getpid()))
print(error.message, *error.hints, sep="\\n")
"""
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c"]
    argv += ['mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh", sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])}
    said = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout
    message, *hints = said.splitlines()
    assert re.fullmatch(r"c1: /proc shows nothing of pid \d+: it is mounted with hidepid", message)
    assert hints == ["run this as the user who started c1; or, as root: mount -o remount,hidepid=0 /proc"]


# --- a namespace that the workload made

# conmon, and below it the container's first process: each goes into namespaces of its own, step by step.
CHAIN = r"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)

def unshare(what):
    kinds = {"user": 0x10000000, "net": 0x40000000, "user+net": 0x50000000}
    rows = [("setgroups", "deny"), ("uid_map", "0 %d 1" % os.getuid()), ("gid_map", "0 %d 1" % os.getgid())]
    if libc.unshare(kinds[what]):
        sys.exit("unshare %s: %s" % (what, os.strerror(ctypes.get_errno())))
    if what != "net":
        for name, row in rows:  # nobody without an id may make another one
            with open("/proc/self/" + name, "w") as file:
                file.write(row)

conmon, container = sys.argv[1].split(), sys.argv[2].split()
for what in conmon:
    unshare(what)
pid = os.fork()
if not pid:
    for what in container:
        unshare(what)
    print(os.getpid(), os.getppid(), flush=True)
    sys.stdin.read()
    os._exit(0)
os.waitpid(pid, 0)
"""


class Made:
    """conmon after these steps, and its child, the container's first process, after those."""

    def __init__(self, conmon, container):
        argv = [*as_user(), "/usr/bin/python3", "-I", "-S", "-c", CHAIN, conmon, container]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._process.stdout.readline()
        assert line, "no such namespaces here"
        self.pid, self.conmon = map(int, line.split())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.mark.parametrize("own_users", [False, True], ids=["podman's users", "users of its own"])
@pytest.mark.parametrize(
    "conmon, container, depth",
    [
        pytest.param("user net", "", 0, id="podman's own"),
        pytest.param("user", "user net", 1, id="made with the container's own users"),
        pytest.param("user", "user+net", 1, id="both at once"),
        pytest.param("user net", "user net", 1, id="left it"),
        pytest.param("user", "user net user net", 2, id="left it from users of its own"),
        pytest.param("user", "user net user user+net", 3, id="left it twice"),
    ],
)
def test_what_was_made_inside_is_refused_however_it_was_made(conmon, container, depth, own_users):
    need("userns")
    with Made(conmon, container) as made_up:
        found = made(made_up.pid, made_up.conmon, own_users)
        if depth <= own_users:
            for fd in network.open_namespace(found):
                os.close(fd)
        else:
            assert refusal(found).message == (
                "c1: pid %d (python3) is in a network namespace that podman did not make for it" % made_up.pid
            )


def test_what_podman_names_is_the_one_whoever_owns_it():
    """A program with CAP_SYS_ADMIN may make one that podman's own users own; a pod's may be another's."""
    need("userns")
    with Made("user net", "net") as left, Made("user", "user net") as other:
        named = "/proc/%d/ns/net"
        refusal(made(left.pid, left.conmon, sandbox=named % left.conmon))
        for one in (left, other):
            for fd in network.open_namespace(made(one.pid, one.conmon, sandbox=named % one.pid)):
                os.close(fd)


@pytest.mark.parametrize("sandbox", ["/nowhere", "/etc/passwd", "/\0"])
def test_where_what_podman_names_is_no_namespace_the_owner_tells(sandbox):
    need("userns")
    with Made("user net", "") as stayed, Made("user net", "user net") as left:
        for fd in network.open_namespace(made(stayed.pid, stayed.conmon, sandbox=sandbox)):
            os.close(fd)
        refusal(made(left.pid, left.conmon, sandbox=sandbox))


def test_the_hosts_own_network_is_not_the_containers():
    need("userns")
    with Made("user", "") as in_podmans_users:
        assert "did not make" in refusal(made(in_podmans_users.pid, in_podmans_users.conmon, True)).message


def test_without_a_conmon_nothing_tells(process):
    assert "its conmon has ended" in refusal(made(process.pid, 0)).message


def test_a_lab_is_what_podman_would_have_made():
    with Lab() as lab:
        own = lab.user != 0
        for fd in network.open_namespace(made(lab.pid, os.getpid(), own)):
            os.close(fd)
