"""What is told of a hub's process: which one it is, what ends it, and whether a reader feeds it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from needs import need
from support import PATIENCE, eventually

from simple_clearance.sources import bridge
from simple_clearance.sources.watched import Watched
from simple_clearance.system import processes

from .conftest import SID

OWN = ("terok/clearance/%s/hub.sock" % SID, "terok/events/%s/ingester.sock" % SID)
# As a hub starts: it takes the socket's name away from whoever had it, and says nothing.
HUB = """\
import os, signal, socket, sys
how = sys.argv[1]
if how == "blocks":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if how == "ignores":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listening = []
for path in sys.argv[2:]:
    listening.append(socket.socket(socket.AF_UNIX))
    if os.path.exists(path):
        os.unlink(path)
    listening[-1].bind(path)
    listening[-1].listen(16)
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def start(place):
    """`start(*paths, how=…)`: a hub's process that listens on all of them."""
    started = []

    def begin(*paths, how=""):
        for path in paths:
            os.makedirs(os.path.dirname(os.path.join(place.path, path)), exist_ok=True)
        argv = [sys.executable, "-I", "-c", HUB, how, *(os.path.join(place.path, path) for path in paths)]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"up\n"
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def look(place):
    """What a look of ours comes to, as the user who runs all this."""
    return place.hub(uid=os.getuid()).look


def end(process):
    process.kill()
    process.wait()


def test_nobody_is_there(look):
    assert look() is None


def socket_of(process):
    with open("/proc/%d/cmdline" % process.pid) as file:
        return file.read().split("\0")[5]


def test_clients_that_are_connected_are_no_hub(start, look, place):
    first = start(*OWN)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.path.join(place.path, OWN[0]))
        end(first)
        assert look() is None


# --- what listens inside the container


OUTSIDE, INSIDE, BELOW = "outside", "inside", "in a namespace below"
UNSHARE = "unshare --user --map-root-user --pid --fork --kill-child "


@pytest.fixture
def container(place):
    """`container(where)`: the pid of a container's first process; what listens as its hub is `where`."""
    need("userns")
    need("unshare")
    started = []

    def start(where):
        path = os.path.join(place.path, OWN[0])
        os.makedirs(os.path.dirname(path))
        hub = {OUTSIDE: "true", INSIDE: '"$@"', BELOW: UNSHARE + '"$@"'}[where]
        argv = [sys.executable, "-I", "-c", HUB, "", path]
        inside = ["sh", "-c", "echo started; %s & wait; sleep 600" % hub, "sh", *argv]
        commands = [[*UNSHARE.split(), *inside]] + [argv] * (where == OUTSIDE)
        for command in commands:
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        said = b"".join(one.stdout.readline() for one in started[:1])
        assert said + started[-1].stdout.readline() == b"started\nup\n"
        with open("/proc/%d/task/%d/children" % (started[0].pid, started[0].pid)) as children:
            return int(children.read().split()[0])

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("where", [INSIDE, BELOW])
def test_what_listens_inside_the_container_is_no_hub(place, container, where):
    first = container(where)
    assert place.hub(uid=os.getuid()).look().pid > 1
    assert place.hub(uid=os.getuid(), first=first).look() is None


HELD = """\
import os, socket, sys, time
listening = socket.socket(socket.AF_UNIX)
os.chdir(os.path.dirname(sys.argv[2]))
listening.bind(sys.argv[2] if sys.argv[1] == "absolute" else "hub.sock")
if os.fork():
    time.sleep(600)
if not os.fork():  # who calls listen(2) is gone then
    listening.listen(int(sys.argv[3]))
    os._exit(0)
os.wait()
clients = []
while int(sys.argv[3]) == 0:
    clients.append(socket.socket(socket.AF_UNIX))
    clients[-1].setblocking(False)
    if clients[-1].connect_ex(sys.argv[2]):
        break
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(place, tmp_path_factory):
    """`held(before, how, backlog)`: a socket where a hub's would be, whose listener has ended; 0: full, too.

    `before` is the command that it is run by; the pid of that command's child is what comes of it.
    One test at a time, in whichever worker: one that is bound by a relative path may lie anywhere.
    """
    started = []
    lock = open(tmp_path_factory.getbasetemp().parent / "relative", "w")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX)

    def start(before, how, backlog):
        path = os.path.join(place.path, OWN[0])
        os.makedirs(os.path.dirname(path))
        argv = [*before, sys.executable, "-I", "-c", HELD, how, path, str(backlog)]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True))
        assert started[-1].stdout.readline() == b"up\n"
        with open("/proc/%d/task/%d/children" % (started[0].pid, started[0].pid)) as children:
            return int(children.read().split()[0])

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    lock.close()


@pytest.mark.parametrize("backlog", [5, 0], ids=["answers", "is full"])
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_a_socket_in_the_container_whose_listener_has_ended_is_no_hub(place, held, how, backlog):
    """A full backlog never tells who listens; who has ended can't be looked at.  Their network tells."""
    need("userns")
    need("unshare")
    first = held([*UNSHARE.split(), "--net"], how, backlog)
    assert place.hub(uid=os.getuid()).look(), "without the container it would be one"
    assert place.hub(uid=os.getuid(), first=first).look() is None


@pytest.mark.parametrize("backlog", [5, 0], ids=["answers", "is full"])
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_a_socket_outside_whose_listener_has_ended_is_a_hub_whatever_the_container_binds(
    place, held, container, how, backlog, tmp_path
):
    held([], how, backlog)
    with subprocess.Popen(
        [*UNSHARE.split(), "--net", sys.executable, "-I", "-c", HUB, "", str(tmp_path / "hub.sock")],
        stdout=subprocess.PIPE,
    ) as inside:
        assert inside.stdout.readline() == b"up\n"
        with open("/proc/%d/task/%d/children" % (inside.pid, inside.pid)) as children:
            first = int(children.read().split()[0])
        assert place.hub(uid=os.getuid(), first=first).look()
        inside.kill()


def test_of_a_table_of_sockets_no_more_is_read_than_others_can_make_it_long(held):
    first = str(held([], "absolute", 5))
    assert any(path.endswith(OWN[0]) for path in processes.unix_listeners(first))
    assert processes.unix_listeners(first, 10) is None
    assert processes.unix_listeners("0") is None


def test_a_hub_that_listens_outside_is_one(place, container):
    first = container(OUTSIDE)
    assert place.hub(uid=os.getuid(), first=first).look()


def test_a_container_without_a_namespace_for_its_processes_hides_no_hub(start, place):
    """As with `podman run --pid=host`."""
    hub = start(OWN[0])
    assert place.hub(uid=os.getuid(), first=os.getpid()).look().pid == hub.pid


def test_where_the_first_process_has_ended_what_answers_is_a_hub(place, container):
    first = container(INSIDE)
    assert processes.words(first)
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert place.hub(uid=os.getuid(), first=gone.pid).look()


@pytest.mark.parametrize("how", ["", "blocks", "ignores"])
def test_the_remedy_that_is_named_ends_it(start, look, how):
    """As an operator's shell runs it.  crun 1.8 starts what its hooks start with SIGTERM blocked."""
    first = start(*OWN, how=how)
    (remedy,) = re.findall(r"kill -(?:TERM|KILL) \d+", " ".join(look().hints))
    assert ("TERM" in remedy) == (how == "")
    subprocess.run(["sh", "-c", remedy], check=True)
    assert first.wait(PATIENCE) == (-signal.SIGTERM if how == "" else -signal.SIGKILL)
    assert look() is None


# --- a hub that no reader feeds


@pytest.fixture
def c1(tmp_path):
    it = Watched("c1")
    it.state_dir, it.id = str(tmp_path), "f" * 64
    return it


@pytest.fixture
def reader(c1):
    """`reader(*words)`: a process with these words more on a reader's command line, in a group of its own."""
    started = []

    def start(*words):
        argv = [sys.executable, "-c", "import time; time.sleep(600)", c1.state_dir, *words]
        started.append(subprocess.Popen(argv, start_new_session=True))
        eventually(lambda: c1.state_dir.encode() in processes.words(started[-1].pid))
        return started[-1]

    yield start
    for process in started:
        end(process)


def feeds(c1, text):
    with open(c1.state_dir + "/reader.pid", "w") as file:
        file.write(text)
    return bridge.feeds_a_hub(c1, os.getuid())


def test_without_a_bus_at_the_containers_start_nobody_feeds_a_hub(c1):
    assert bridge.feeds_a_hub(c1, os.getuid()) is False


def test_the_reader_that_runs_feeds_it(c1, reader):
    it = reader("--emit=socket", "--container-id=" + c1.id)
    assert feeds(c1, "%d\n" % it.pid) is True


def test_a_reader_that_has_ended_does_not(c1, reader):
    it = reader("--emit=socket", "--container-id=" + c1.id)
    end(it)
    assert feeds(c1, "%d\n" % it.pid) is False


def test_another_process_with_its_number_does_not(c1, reader):
    it = reader("--emit=socket", "--container-id=" + "0" * 64)
    assert feeds(c1, "%d\n" % it.pid) is not True


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1" * 30, "\0"])
def test_what_is_no_pid_tells_nothing(c1, text):
    assert feeds(c1, text) in (None, False)


def test_without_a_state_directory_nothing_is_known():
    assert bridge.feeds_a_hub(Watched("c1"), os.getuid()) is None


def test_what_is_said_of_a_hub_depends_on_it(start, look):
    first = start(*OWN)
    fed, unfed, unknown = look(True), look(False), look(None)
    assert "though no reader feeds it" in unfed.what
    assert unfed.hints == ("end the hub of this container, which frees it: kill -TERM %d" % first.pid,)
    assert fed.what == unknown.what == "its socket %s answers (pid %d)" % (socket_of(first), first.pid)
    assert fed.hints == unknown.hints and "terok-clearance-hub clearance" in fed.hints[0]
