"""A private message bus, hubs to find, and a look with another user's eyes."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile

import pytest
from busmade import Owner
from needs import need
from support import PATIENCE

from simple_clearance.hub.common import Common
from simple_clearance.hub.guard import Guard
from simple_clearance.hub.hub import Hub
from simple_clearance.system.loop import Loop

SID = "0123456789ab"
NOBODY = 65534  # a uid that every system knows, without a /run/user of its own


class Place:
    """A folder with a runtime root in it, short enough for the path of a socket, and what runs there."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="hub")
        os.chmod(self.path, 0o755)
        self.root = self.path + "/terok"
        self._closing = []

    def close(self):
        for close in reversed(self._closing):
            close()
        shutil.rmtree(self.path, ignore_errors=True)

    def environ(self, **more):
        return dict({"XDG_RUNTIME_DIR": self.path, "HOME": self.path + "/home"}, **more)

    def hub(self, sidecar=None, uid=NOBODY, ignore=False, container_id=SID, first=0, **environ):
        """Our side: what is being tested."""
        hub = Hub(container_id, sidecar, self.environ(**environ), uid, ignore, first)
        self._closing.append(hub.__exit__)
        return hub

    def guard(self, containers, appeared=lambda *what: None, **more):
        """A guard in a loop of its own over containers, each with its short id."""
        guard = Guard(Loop(), Common(self.environ(), NOBODY), appeared)
        self._closing.append(guard.close)
        for name, sid in containers.items():
            guard.add(name, self.hub(container_id=sid, **more))
        return guard

    def listen(self, path, backlog=5, kind=socket.SOCK_STREAM):
        """Their side: a socket that accepts nobody, which is all that a hub shows of itself."""
        path = os.path.join(self.path, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, kind)
        self._closing.append(listener.close)
        listener.bind(path)
        if kind == socket.SOCK_STREAM and backlog >= 0:
            listener.listen(backlog)
        return listener

    def fill(self, listener):
        """Connect until the backlog is full."""
        while True:
            client = socket.socket(socket.AF_UNIX)
            self._closing.append(client.close)
            client.setblocking(False)
            if client.connect_ex(listener.getsockname()):
                return

    def bus(self, path="bus", address="", before=()):
        """A message bus, run by way of the command `before`; `.terminate()` and `.wait()` end it."""
        address = address or "unix:path=%s/%s" % (self.path, path)
        argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
        daemon = subprocess.Popen(
            [*before, *argv, "--address=" + address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._closing += [daemon.stdout.close, daemon.wait, daemon.kill]
        assert daemon.stdout.readline().startswith(b"unix:")
        return daemon

    def client(self, path="bus"):
        client = Owner(path if path[0] == "\0" else os.path.join(self.path, path))
        self._closing.append(client.close)
        return client


@pytest.fixture
def place():
    place = Place()
    yield place
    place.close()


@pytest.fixture
def bus(place):
    need("dbus-daemon")
    return place.bus()


@pytest.fixture
def descriptors():
    """How many descriptors this process has open."""
    return lambda: len(os.listdir("/proc/self/fd"))


@pytest.fixture
def as_ordinary_user():
    return _as_ordinary_user


def _as_ordinary_user(function):
    """What `function` returns, as text, in a process that root's rights don't help."""
    if os.getuid() != 0:
        return str(function())
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writing, str(function()).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(pid, 0)
    return told


@pytest.fixture
def readable():
    """`readable(fd, within=PATIENCE)`: whether there is something to read, as soon as there is."""

    def ask(fd, within=PATIENCE):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(within * 1000))

    return ask
