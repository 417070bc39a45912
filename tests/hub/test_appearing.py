"""A hub that starts while we run is noticed by itself: no wake-up before, none needed after."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest
from support import PATIENCE

from simple_clearance.hub.hub import LOOK_AGAIN, NAME
from simple_clearance.system.folders import Folders
from simple_clearance.system.signals import Wakeups

SID = "0123456789ab"

# A hub as it really starts: folders, then bind(), and only some time later listen(): when it is told to.
HUB = """
import os, socket, sys
sys.stdin.readline()
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
print("bound", flush=True)
sys.stdin.readline()
listener.listen(1)
print("listening", flush=True)
sys.stdin.read()
"""


class Watching:
    """What a session does between its events, in small."""

    def __init__(self, hub):
        self.hub = hub
        self.rounds = 0
        self._wakeups = Wakeups(signal.SIGURG)
        self._folders = Folders(signal.SIGURG)

    def __enter__(self):
        self._wakeups.__enter__()
        for path in self.hub.folders():
            assert self._folders.watch(path), path
        assert self.hub.look() is None
        return self

    def __exit__(self, *failure):
        self._folders.close()
        self._wakeups.__exit__()

    def wait(self, seconds=PATIENCE, until_left=0, then=None):
        """The hub found within that time, or None.

        Once no more than `until_left` of the looks after a notice are to come, `then` is called.
        """
        end, due = time.monotonic() + seconds, []
        while True:
            now = time.monotonic()
            if due and due[0] <= now:
                if then is not None and len(due) <= until_left:
                    then()
                    then = None
                del due[0]
                active = self.hub.look()
                if active:
                    return active
                continue
            until = min([end] + due[:1])
            if now >= end:
                return None
            poll = select.poll()
            for fd in [self._wakeups.fd, *self.hub.common.poll_fds()]:
                poll.register(fd, select.POLLIN)
            ready = [fd for fd, _ in poll.poll((until - now) * 1000 + 1)]
            self.rounds += bool(ready)
            again = set(ready) - {self._wakeups.fd} and self.hub.common.on_readable()
            if self._wakeups.fd in ready and self._wakeups.take():
                self._folders.refresh()
                again = True
            if again:
                due = sorted(due + [time.monotonic() + later for later in LOOK_AGAIN])


@pytest.fixture
def start():
    children = []

    def start(path):
        argv = [sys.executable, "-I", "-S", "-c", HUB, path]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def goes_on(child, how_far):
    child.stdin.write(b"go\n")
    child.stdin.flush()
    assert child.stdout.readline().decode() == how_far + "\n"


def binds(child):
    goes_on(child, "bound")


def listens(child):
    goes_on(child, "listening")


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("terok/clearance/%s/hub.sock" % SID, 4),
        ("terok/clearance/%s/hub.sock" % SID, 1),
        ("terok/events/%s/ingester.sock" % SID, 2),
        ("terok/clearance/%s.sock" % SID, 3),
        ("home/.local/state/terok/clearance/%s/hub.sock" % SID, 2),
        ("terok-clearance.sock", 2),
    ],
)
def test_a_hub_that_appears_is_found_once_it_listens(place, start, path, left):
    """It may listen as late as right before the last look: no notice comes of that."""
    child = start(os.path.join(place.path, path))
    with Watching(place.hub()) as watching:
        assert watching.wait(0.2) is None
        assert watching.rounds == 0, "woken while nothing happened"
        binds(child)
        assert watching.wait(until_left=left, then=lambda: listens(child)).pid == child.pid


def test_a_hub_that_takes_the_place_of_a_stale_socket_is_found(place, start):
    path = "terok/clearance/%s/hub.sock" % SID
    place.listen(path).close()
    child = start(os.path.join(place.path, path))
    with Watching(place.hub()) as watching:
        assert watching.wait(0.2) is None
        assert watching.rounds == 0
        binds(child)
        assert watching.wait(until_left=2, then=lambda: listens(child)).pid == child.pid


def test_a_bus_that_appears_with_its_hub_is_found(place, need):
    need("dbus-daemon")
    with Watching(place.hub()) as watching:
        assert watching.wait(0.2) is None
        place.bus()
        assert watching.wait(2.5) is None
        assert watching.hub.common.poll_fds(), "the bus that appeared is listened to"
        rounds = watching.rounds
        assert watching.wait(0.3) is None
        assert watching.rounds == rounds
        place.client().own(NAME)
        assert watching.wait()


def test_a_hub_that_comes_and_goes_is_found_each_time(place, start):
    path = os.path.join(place.path, "terok/clearance/%s/hub.sock" % SID)
    hub = place.hub()
    with Watching(hub) as watching:
        for _ in range(3):
            child = start(path)
            binds(child)
            listens(child)
            assert watching.wait().pid == child.pid
            child.kill()
            child.wait()
            assert hub.look() is None
