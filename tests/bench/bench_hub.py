"""How long one look for a clearance hub takes, for which each verdict waits.

    python3 tests/bench/bench_hub.py [LOOKS]

The quickest of so many looks, in ms, that find nobody: without a session bus, with one (where
there is a dbus-daemon), and beside 500 sockets that others listen on, which must make no difference.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from simple_clearance.hub.hub import Hub


def quickest(hub: Hub, looks: int) -> float:
    """Milliseconds."""
    best = 1000.0
    for _ in range(looks):
        began = time.perf_counter()
        if hub.look() is not None:
            sys.exit("there is a hub")
        best = min(best, 1000 * (time.perf_counter() - began))
    return best


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
                    daemon.terminate()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
