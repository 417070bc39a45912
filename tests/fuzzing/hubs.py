"""A clearance hub that is not there yet: nothing, a file that only looks like one, then the real one."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

from busmade import Owner
from soak import PATHS

from simple_clearance.hub.hub import NAME


class Places:
    """The runtime directory of one host, with or without a session bus."""

    def __init__(self, chance: random.Random) -> None:
        self.path = tempfile.mkdtemp(prefix="run")  # short enough for a socket's path
        self.since = 0.0  # when a hub was there,
        self.only = ""  # and the sid of the container that it is for, "" for all
        self._chance = chance
        self._closing: list[socket.socket | Owner] = []
        self._bus: subprocess.Popen[bytes] | None = None
        if chance.random() < 0.4:
            self._start_bus()

    def _start_bus(self) -> None:
        argv = ["dbus-daemon", "--session", "--nofork", "--print-address"]
        self._bus = subprocess.Popen(
            [*argv, "--address=unix:path=%s/bus" % self.path],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._bus.stdout is not None and self._bus.stdout.readline()

    def _bind(self, sid: str) -> socket.socket:
        path = self._chance.choice(PATHS)
        path = os.path.join(self.path, path % sid if "%" in path else path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        it = socket.socket(socket.AF_UNIX)
        self._closing.append(it)
        it.bind(path)
        return it

    def pretend(self, sid: str) -> str:
        """What is no hub: a socket that nobody listens on, a name that is another's, a bus that goes."""
        if self._bus is not None and self._chance.random() < 0.4:
            other = Owner(self.path + "/bus")
            self._closing.append(other)
            other.own("org.example.Shield%d" % self._chance.randrange(1 << 30))
            return "a name of somebody else's on the bus"
        self._bind(sid)
        return "a socket without a hub"

    def appear(self, sid: str) -> str:
        if self._bus is not None and self._chance.random() < 0.5:
            owner = Owner(self.path + "/bus")
            self._closing.append(owner)
            name = self._chance.choice([NAME, "%s.Container_%s" % (NAME, sid)])
            owner.own(name)
            self.since, self.only = time.monotonic(), sid if name.endswith(sid) else ""
            return name
        it = self._bind(sid)
        time.sleep(self._chance.choice([0.0, 0.02, 0.3]))
        it.listen(1)
        path = str(it.getsockname())
        self.since, self.only = time.monotonic(), sid if sid in path else ""
        return path

    def since_for(self, sid: str) -> float:
        """When a hub was there for that container; 0 as long as none is."""
        return self.since if self.only in ("", sid) else 0.0

    def close(self) -> None:
        for each in self._closing:
            each.close()
        if self._bus is not None:
            self._bus.kill()
            self._bus.wait()
            assert self._bus.stdout is not None
            self._bus.stdout.close()
        shutil.rmtree(self.path, ignore_errors=True)
