"""How long one look for a clearance hub takes, for which each verdict waits.

    .venv/bin/python tests/bench/bench_hub.py [LOOKS]

The quickest of so many looks, in ms, that find nobody: without a session bus, with one (where
there is a dbus-daemon), and beside 500 sockets that others listen on, which must make no difference.
Then, with a bus, those of a session over many containers: before a verdict for one of them, and over
all of them after a notice; and what it takes to follow their folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Callable

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from simple_clearance.base.errors import Refused
from simple_clearance.hub.common import Common
from simple_clearance.hub.guard import Guard
from simple_clearance.hub.hub import Hub
from simple_clearance.system.folders import Folders
from simple_clearance.system.loop import Loop


def quickest(hub: Hub, looks: int) -> float:
    """Milliseconds."""

    def look() -> None:
        if hub.look() is not None:
            sys.exit("there is a hub")

    return quickest_call(look, looks)


def quickest_call(call: Callable[[], object], times: int) -> float:
    """Milliseconds."""
    best = 1000.0
    for _ in range(times):
        began = time.perf_counter()
        call()
        best = min(best, 1000 * (time.perf_counter() - began))
    return best


def over_many(number: int, environ: dict[str, str], looks: int) -> str:
    """One line: what a session over so many containers pays."""

    def found(container: str, refused: Refused) -> None:
        sys.exit("%s: %s" % (container, refused))

    guard = Guard(Loop(), Common(environ, os.getuid()), found)
    for each in range(number):
        guard.add("c%d" % each, Hub("%012x" % each, None, environ, os.getuid()))
    before = len(os.listdir("/proc/self/fd"))
    first = quickest_call(guard.check, 1)
    one, every = quickest_call(lambda: guard.objection("c0"), looks), quickest_call(guard.look, looks)
    with Folders(signal.SIGURG) as folders:
        guard.watch(folders)
        followed = quickest_call(folders.refresh, looks)
        descriptors = len(os.listdir("/proc/self/fd")) - before
    guard.close()
    text = "%3d containers: first look %.2f, before a verdict %.3f, over all %.3f, folders %.3f ms"
    return (text + "; %d descriptors") % (number, first, one, every, followed, descriptors)


def beside_others(python: str) -> float:
    """Milliseconds of a look beside five hundred sockets of others, for that Python."""
    done = subprocess.run([python, __file__], stdout=subprocess.PIPE, check=True)
    (line,) = (line for line in done.stdout.decode().splitlines() if line.startswith("beside"))
    return float(line.split()[-2])


def main(looks: int = 200) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environ = {"XDG_RUNTIME_DIR": folder, "HOME": folder}
        with Hub("0123456789ab", None, environ, os.getuid()) as hub:
            print("a look                       %.3f ms" % quickest(hub, looks), flush=True)
            others = [socket.socket(socket.AF_UNIX) for _ in range(500)]
            for number, other in enumerate(others):
                other.bind("\0%s/terok-clearance.sock %d" % (folder, number))
                other.listen()
            print("beside 500 others' sockets   %.3f ms" % quickest(hub, looks), flush=True)
            for other in others:
                other.close()
            if shutil.which("dbus-daemon"):
                argv = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
                argv += ["--address=unix:path=%s/bus" % folder]
                with subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon:
                    assert daemon.stdout is not None
                    daemon.stdout.readline()
                    print("with a session bus           %.3f ms" % quickest(hub, looks))
                    for number in (1, 10, 100):
                        print(over_many(number, environ, looks))
                    for folder_of in ("clearance", "events"):
                        os.makedirs("%s/terok/%s" % (folder, folder_of))
                    print(over_many(100, environ, looks) + ", where hubs have been")
                    daemon.terminate()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
