"""The hub and its surroundings, the real ones: terok-clearance under terok-sandbox.

with Sandbox(python) as rig:
    rig.launched("c1")                   # shielded, with a bridge reader, without a hub
    hub = rig.hub("c1")                  # the hub's process alone, started by hand
    rig.supervised("s1")                 # everything: supervisor, hub, verdict helper, signer, reader
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import time
from typing import Any

from real.rig import IMAGE, PROFILE, Rig
from support import PATIENCE, eventually

# A createRuntime hook, and all that it starts, has every signal blocked under crun 1.8, and none elsewhere.
UNBLOCK = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, ());"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
PASSPHRASE = "correct horse battery staple"


def launch(rig: Rig, name: str, flags: str, *options: str, bus: bool = True, deaf: bool = False) -> str:
    """A container under the hooks of terok-shield, and of terok-sandbox if that is set up; its id.

    With `bus` it is as after a login: the bridge reader starts.  `deaf`: as crun 1.8 leaves it.
    """
    path = "/run/user/%d/bus" % rig.uid
    if bus:
        rig.as_op(["touch", path], check=True)
    podman = ["podman", *([] if deaf else ["--hooks-dir", _minding(rig)])]
    argv = [
        *podman,
        "run",
        "-d",
        "-v",
        "/usr:/usr:ro",
        *shlex.split(flags),
        *options,
        IMAGE,
        "sleep",
        "infinity",
    ]
    try:
        return rig.as_op(argv, check=True).stdout.strip()
    finally:
        if bus:
            rig.as_op(["rm", path])


def shielded(rig: Rig, name: str, *options: str, bus: bool = True, deaf: bool = False) -> str:
    """As `Rig.shielded`, its id."""
    prepare = ["terok-shield", "--state-dir", rig.root, "prepare", name, "--profiles", PROFILE]
    container_id = launch(rig, name, rig.as_op(prepare, check=True).stdout, *options, bus=bus, deaf=deaf)
    if bus:
        eventually(lambda: _held(rig, container_id), what="the bridge reader holds the packet log")
    return container_id


def _held(rig: Rig, container_id: str) -> bool:
    table = ["cat", *("/proc/%d/net/netfilter/nfnetlink_log" % pid for pid in readers(rig, container_id)[1:])]
    return len(table) == 2 and rig.as_op(table).stdout.split()[:1] == ["100"]


def readers(rig: Rig, container_id: str) -> list[int]:
    """The pids, as the operator sees them, of the container's bridge reader: its head first."""
    found = rig.processes("--emit=socket", "--container-id=" + container_id)
    return [pid for pid, group, _ in sorted(found, key=lambda row: row[0] != row[1])]


def _minding(rig: Rig) -> str:
    """A folder of the same hooks, made so that what they start minds signals."""
    folder = rig.home + "/minding"
    os.makedirs(folder, exist_ok=True)
    for path in glob.glob(rig.home + "/.local/share/terok/*/hooks/*.json"):
        with open(path) as file:
            hook = json.load(file)
        hook["hook"]["args"] = [rig.venv + "/bin/python3", "-c", UNBLOCK, *_args(hook["hook"])]
        hook["hook"]["path"] = rig.venv + "/bin/python3"
        with open(os.path.join(folder, os.path.basename(path)), "w") as file:
            json.dump(hook, file)
    return folder


def _args(hook: dict[str, Any]) -> list[str]:
    return [hook["path"], *hook.get("args", [""])[1:]]


class Sandbox(Rig):
    """A rig with the hub's programs beside today's terok-shield."""

    beside = ("terok-clearance==0.8.1", "terok-sandbox==0.6.0")

    def __init__(self, python: str, *others: str, tools: str = "") -> None:
        super().__init__("0.9.0", python, *others, tools=tools)
        self.runtime = "/run/user/%d" % self.uid
        self.ids: dict[str, str] = {}
        self._started: list[subprocess.Popen[Any]] = []
        self._set_up = False

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        super().__exit__()

    def launched(self, name: str, *options: str, bus: bool = True, deaf: bool = False) -> str:
        """A shielded container without a supervisor; its id."""
        self.ids[name] = shielded(self, name, *options, bus=bus, deaf=deaf)
        return self.ids[name]

    def supervised(self, name: str, bus: bool = True, deaf: bool = False) -> str:
        """A container as terok-sandbox makes it, once its hub is up; its id."""
        if not self._set_up:
            unlock = ["sh", "-c", "echo '%s' | terok-sandbox vault unlock" % PASSPHRASE]
            self.as_op(unlock, check=True)
            self.as_op(["terok-sandbox", "setup", "--passphrase-tier", "kernel-keyring"], check=True)
            self._set_up = True
        prepare = ["terok-sandbox", "prepare", "--no-gate", "--no-broker", name]
        flags = self.as_op(prepare, check=True).stdout
        self.ids[name] = launch(self, name, flags, bus=bus, deaf=deaf)
        eventually(lambda: self.answers(name), what="the hub is up")
        return self.ids[name]

    # --- hubs

    def sidecar(self, name: str) -> str:
        """What a hub is told of a container; its path."""
        path = "%s/%s.json" % (self.home, name)
        told = {
            "container_name": name,
            "runtime_dir": self.runtime + "/terok/sandbox",
            "db_path": self.home + "/db",
        }
        with open(path, "w") as file:
            json.dump(told, file)
        os.chown(path, self.uid, self.uid)
        os.chmod(path, 0o600)
        return path

    def hub(self, name: str) -> Hub:
        """The hub of a container, by hand; it is starting when this returns."""
        words = ["supervise-child", "clearance", self.ids[name], self.sidecar(name)]
        return Hub(self, name, self.begin(["terok-sandbox", *words], stderr=subprocess.DEVNULL))

    def verdict_helper(self, name: str) -> None:
        """What a hub has run its verdicts, for one that was started by hand."""
        self.begin(
            ["terok-sandbox", "supervise-child", "verdict", self.ids[name], self.sidecar(name)],
            stderr=subprocess.DEVNULL,
        )
        path = "%s/terok/verdict/%s.sock" % (self.runtime, self.ids[name][:12])
        eventually(lambda: self.answers(path=path), what="the verdict helper listens")

    def begin(self, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
        """A program of the operator's that ends with the rig, if not before."""
        options.setdefault("stdin", subprocess.DEVNULL)
        self._started.append(subprocess.Popen(self.argv(argv, PYTHONUNBUFFERED="1"), **options))
        return self._started[-1]

    def hubs(self, name: str) -> list[int]:
        """The pids, as the operator sees them, of the container's hubs, oldest first."""
        return [pid for pid, _, _ in self.processes("supervise-child clearance " + self.ids[name])]

    def socket(self, name: str) -> str:
        return "%s/terok/clearance/%s/hub.sock" % (self.runtime, self.ids[name][:12])

    def answers(self, name: str = "", path: str = "") -> bool:
        """Whether a hub can be connected to."""
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            code = client.connect_ex("/proc/%d/root%s" % (self._pid, path or self.socket(name)))
            return code in (0, errno.EAGAIN)  # or busy


class Hub:
    """A hub's process, from its start on."""

    def __init__(self, rig: Sandbox, name: str, process: subprocess.Popen[Any]) -> None:
        self.rig, self.name, self.process = rig, name, process

    def online(self) -> float:
        """Waits until it listens; when that was."""
        eventually(lambda: self.rig.answers(self.name), what="the hub listens")
        return time.monotonic()

    def end(self, number: int = signal.SIGTERM) -> None:
        """What it listens on stays where it is."""
        for pid in self.rig.hubs(self.name):
            self.rig.as_op(["kill", "-%d" % number, str(pid)])
        self.process.wait(PATIENCE)
        eventually(lambda: not self.rig.hubs(self.name))


class Client:
    """The hub's own terminal client, by way of pipes."""

    def __init__(self, rig: Sandbox) -> None:
        pipe = subprocess.PIPE
        self._process = rig.begin(
            ["terok-clearance-hub", "clearance"], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
        )
        self._said = ""
        self.until("subscriber online")

    def say(self, line: str) -> None:
        self._process.stdin.write(line.encode() + b"\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]

    def until(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Waits until it has said this since what was waited for before; the first group of the pattern."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self._said)
            if found:
                self._said = self._said[found.end() :]
                return found.group(found.re.groups and 1)
            left = deadline - time.monotonic()
            assert left > 0, "%s: %s" % (pattern, self._said[-1000:])
            if select.select([self._process.stdout], [], [], left)[0]:
                data = os.read(self._process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
                assert data, "it ended: " + self._said[-1000:]
                self._said += data.decode("utf-8", "replace")

    def quit(self) -> None:
        self.say("q")
        self._process.communicate(timeout=PATIENCE)
