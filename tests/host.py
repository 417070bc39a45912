"""A host with containers, for the tool to run on: stand-ins for podman and terok-shield first on PATH.

    c1 = host.container("c1", lab)               # lab: a `lab.Lab`, whose nft sets the verdicts really change
    host.control("terok-shield", delay=2, mode="fail")
    run([..., "c1"], env=host.env())
    host.verdicts()                              # what was run, when, and how it ended

Everything lies in one folder and ends with the test, processes included.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from support import ROOT, TOOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab import Lab

with open(os.path.join(ROOT, "tests", "samples", "podman-inspect-0.9.json")) as _sample:
    _TEMPLATE = json.load(_sample)[0]


class Call:
    """One run of a stand-in.  `ended` and `rc` are None while it runs, or when it was killed."""

    def __init__(self, tool: str, argv: list[str], pid: int, began: float) -> None:
        self.tool, self.argv, self.pid, self.began = tool, argv, pid, began
        self.ended: float | None = None
        self.rc: int | None = None

    def __repr__(self) -> str:
        return "Call(%s %s, rc=%s)" % (self.tool, " ".join(self.argv), self.rc)


class Container:
    """A shielded container as podman and the file system show it; made by `Host.container`."""

    def __init__(
        self, host: Host, name: str, lab: Lab | None, version: int, annotations: dict[str, str]
    ) -> None:
        self.host, self.name, self.lab, self.version = host, name, lab, version
        self.id = hashlib.sha256(name.encode()).hexdigest()
        self.sid = self.id[:12]
        self.state_dir = os.path.join(host.state_root, "containers", name)
        self._dns_pid = 17816
        self._sleeper = None
        if lab is None:  # something whose end can be seen
            self._sleeper = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        self.pid = lab.pid if lab is not None else self._sleeper.pid  # type: ignore[union-attr]
        self._write_state()
        self.inspected = self._describe(annotations)
        self.save()

    def _write_state(self) -> None:
        os.makedirs(os.path.join(self.state_dir, "policy"), mode=0o700, exist_ok=True)
        os.chmod(self.state_dir, 0o700)
        new = self.version >= 15
        files = {
            "container.id": self.sid + "\n",
            "dns.tier": "dnsmasq-live\n" if self.version >= 18 else "dnsmasq\n",
            "dnsmasq.log": "",
            "audit.jsonl": "",
        }
        if new:
            for tier in ("10-override", "20-security-deny", "30-provider-allow", "40-project-allow", "live"):
                files["policy/" + tier] = ""
        for path, text in files.items():
            with open(os.path.join(self.state_dir, path), "w") as f:
                f.write(text)
        os.chmod(self.path("dnsmasq.log"), 0o660)

    def _describe(self, annotations: dict[str, str]) -> dict[str, Any]:
        it: dict[str, Any] = copy.deepcopy(_TEMPLATE)
        it["Id"], it["Name"] = self.id, self.name
        it["State"].update(Pid=self.pid, ConmonPid=parent_of(self.pid))
        if self.lab is not None and self.lab.user:  # with a user namespace of its own, as keep-id has
            it["HostConfig"].update(
                UsernsMode="private", IDMappings={"UidMap": ["0:1:1"], "GidMap": ["0:1:1"]}
            )
        it["Config"]["Hostname"] = self.sid
        it["Config"]["Annotations"].update(
            {
                "terok.shield.name": self.name,
                "terok.shield.state_dir": self.state_dir,
                "terok.shield.version": str(self.version),
            }
        )
        it["Config"]["Annotations"].update(annotations)
        return it

    @property
    def annotations(self) -> dict[str, str]:
        """What podman tells; change it, then `save()`."""
        notes: dict[str, str] = self.inspected["Config"]["Annotations"]
        return notes

    def save(self) -> None:
        path = os.path.join(self.host.folder, "containers", self.name + ".json")
        write(path, json.dumps(self.inspected, indent=1))

    def path(self, name: str) -> str:
        return os.path.join(self.state_dir, name)

    def read(self, name: str) -> str:
        with open(self.path(name)) as f:
            return f.read()

    def append(self, name: str, text: str | bytes) -> None:
        with open(self.path(name), "ab") as f:
            f.write(text.encode() if isinstance(text, str) else text)

    def becomes_roots_own(self) -> None:
        """As podman tells of a container that root has started."""
        folder = "/run/containers/storage/overlay-containers/%s/userdata" % self.id
        self.inspected.update(PidFile=folder + "/pidfile", ConmonPidFile=folder + "/conmon.pid")
        self.save()

    def stop(self, told: bool = True) -> None:
        """End the process inside; with `told`, podman knows."""
        if self.lab is not None:
            self.lab.end()
        elif self._sleeper is not None:
            self._sleeper.kill()
            self._sleeper.wait()
        if told:
            self.inspected["State"].update(Running=False, Status="exited", Pid=0)
            self.inspected["State"].pop("ConmonPid", None)
            self.save()

    def start(self, lab: Lab, new: bool = False) -> None:
        """It runs again, in this namespace; `new`: removed and made anew under its name."""
        if new:
            self.id = hashlib.sha256(os.urandom(8)).hexdigest()
            self.sid, self.inspected["Id"] = self.id[:12], self.id
        self.lab, self.pid = lab, lab.pid
        self.inspected["State"].update(
            Running=True, Status="running", Pid=self.pid, ConmonPid=parent_of(self.pid),
            StartedAt=time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime()),
        )  # fmt: skip
        os.unlink(self.path("container.id"))
        write(self.path("container.id"), self.sid + "\n")
        self.save()
        self.host.makes_network()

    def shield(self, state: str) -> None:
        """`up`, `down`, `disengaged`, `quarantine`: what `status` says from now on, and the audit log's line.

        The rules in the namespace stay; change them with the lab where it matters.
        """
        wanted = dict(self.host.wanted.get("terok-shield", {}))
        wanted["states"] = dict(wanted.get("states", {}), **{self.name: state})
        self.host.control("terok-shield", **wanted)
        line = {"ts": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), "container": self.name}
        line["action"] = "shield_" + {"disengaged": "down"}.get(state, state)
        if state == "disengaged":
            line["detail"] = "disengaged=True"
        self.append("audit.jsonl", json.dumps(line, separators=(",", ":")) + "\n")

    def looks_up(self, name: str, *addresses: str, via: tuple[str, ...] = ()) -> None:
        """The query log of one look-up by name, through the aliases `via`, as dnsmasq writes it."""
        head = "%s dnsmasq[%d]: " % (time.strftime("%b %e %H:%M:%S"), self._dns_pid)
        kind = "AAAA" if addresses and ":" in addresses[0] else "A"
        lines = ["query[%s] %s from 127.0.0.1" % (kind, name), "forwarded %s to 10.0.2.3" % name]
        chain = [name, *via]
        lines += ["reply %s is <CNAME>" % alias for alias in chain[:-1]]
        lines += ["reply %s is %s" % (chain[-1], address) for address in addresses or ("NXDOMAIN",)]
        self.append("dnsmasq.log", "".join(head + line + "\n" for line in lines))

    def bridge_reader(self, stubborn: str = "", user: Sequence[str] = (), **other: str) -> int:
        """Start what terok-shield's hook starts: two processes, the second holding the NFLOG group.

        The pid of the head, which is the process group's, once the group is held; it writes
        `audit.jsonl` as the real one does.  `stubborn`: SIGTERM is ignored ("deaf", as under crun
        1.8) or caught and not minded ("careless").  `user` begins the argv, up to the Python.
        `other` takes the place of `state_dir`, `emit`, `container_id` on its command line.
        """
        assert self.lab is not None
        program = shutil.copy(os.path.join(TOOLS, "nflog-reader.py"), self.host.folder)
        words = {"state_dir": self.state_dir, "emit": "socket", "container_id": self.id, **other}
        argv = [*(user or [sys.executable]), "-I", "-S", program, words["state_dir"], self.sid]
        argv += ["--emit=" + words["emit"], "--annotations={}", "--container-id=" + words["container_id"]]
        env = dict(os.environ, LAB_PID=str(self.pid), STUBBORN=stubborn)
        head = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env, start_new_session=True
        )
        self.host.children.append(head)
        assert head.stdout is not None and head.stdout.readline() == b"listening\n"
        write(self.path("reader.pid"), "%d\n" % head.pid)
        return head.pid

    def close(self) -> None:
        if self._sleeper is not None:
            self._sleeper.kill()
            self._sleeper.wait()


class Host:
    """A folder with `bin/` (stand-ins), the shield's state root, a home and a runtime directory."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.bin = os.path.join(folder, "bin")
        self.home = os.path.join(folder, "home")
        self.runtime = os.path.join(folder, "run")
        self.state_root = os.path.join(self.home, ".local/state/terok/shield")
        self.containers: dict[str, Container] = {}
        self.children: list[subprocess.Popen[bytes]] = []
        self.wanted: dict[str, dict[str, Any]] = {}
        self._gates = self._networks = 0
        for path in (folder, self.bin, self.home, self.runtime, os.path.join(folder, "containers")):
            os.makedirs(path, mode=0o700)
        os.makedirs(self.state_root, mode=0o700)
        for tool in ("podman", "terok-shield"):
            self.install(tool)

    def install(self, tool: str) -> None:
        """Put a stand-in into `bin/`; `remove` takes it away."""
        script = os.path.join(self.folder, "lib", tool)  # by whose name a process list shows it
        os.makedirs(os.path.dirname(script), exist_ok=True)
        write(script, "import sys; sys.path.insert(0, %r); import %s\n" % (TOOLS, tool.replace("-", "_")))
        words = (sys.executable, "-I", "-S", script, self.folder)
        program = " ".join(map(quote, words))
        path = os.path.join(self.bin, tool)
        write(path, '#!/bin/sh\nexec %s "$@"\n' % program)
        os.chmod(path, 0o755)

    def remove(self, tool: str) -> None:
        os.unlink(os.path.join(self.bin, tool))

    def container(self, name: str, lab: Lab | None = None, version: int = 0, **annotations: str) -> Container:
        """A running shielded container; `version` of the bundle: that of the lab's rules, else 18.

        Keywords are annotations with `__` for a dot: `dossier__project="demo"`.
        """
        version = version or (lab.rules if lab is not None else 18)
        notes = {key.replace("__", "."): value for key, value in annotations.items()}
        self.containers[name] = Container(self, name, lab, version, notes)
        return self.containers[name]

    def makes_network(self) -> None:
        """As podman does for each container that starts."""
        os.makedirs(os.path.join(self.runtime, "netns"), exist_ok=True)
        self._networks += 1
        write(os.path.join(self.runtime, "netns", "netns-%d" % self._networks), "")

    def control(self, tool: str, **wanted: Any) -> None:
        """How a stand-in behaves from now on (see its head); an absent key is as at the start."""
        self.wanted[tool] = wanted
        write(os.path.join(self.folder, "control"), repr(self.wanted))

    def gate(self) -> str:
        """What a stand-in is to wait for, as `control(…, gate=…)`, until `open` has been called with it."""
        self._gates += 1
        return os.path.join(self.folder, "gate-%d" % self._gates)

    def open(self, gate: str) -> None:
        write(gate, "")

    def env(self, **more: str) -> dict[str, str]:
        """An ordinary user's environment: no session bus, nothing of the one who runs the tests."""
        env = {
            "PATH": self.bin + ":/usr/local/bin:/usr/bin:/bin",
            "HOME": self.home,
            "XDG_RUNTIME_DIR": self.runtime,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        env.update(more)
        return env

    def tool(self, *words: str) -> list[str]:
        """The argv that runs the checkout with the Python of the tests, from any folder."""
        code = (
            "import sys; sys.path.insert(0, %r); from simple_clearance.cli import script; sys.exit(script())"
        )
        return [sys.executable, "-I", "-c", code % ROOT, *words]

    # --- what was run

    def calls(self, tool: str = "") -> list[Call]:
        """Every run of a stand-in so far, in the order in which they began."""
        calls: list[Call] = []
        running: dict[int, Call] = {}
        for line in self._records():
            if "argv" in line:
                running[line["pid"]] = Call(line["tool"], line["argv"], line["pid"], line["at"])
                calls.append(running[line["pid"]])
            elif "rc" in line:
                call = running.pop(line["pid"])
                call.ended, call.rc = line["at"], line["rc"]
        return [call for call in calls if not tool or call.tool == tool]

    def verdicts(self) -> list[Call]:
        """The runs of `terok-shield allow|deny`, in the order in which they began."""
        return [call for call in self.calls("terok-shield") if call.argv[:1] in (["allow"], ["deny"])]

    def targets(self) -> list[str]:
        """`allow 203.0.113.10` and the like: what was decided, in order."""
        return ["%s %s" % (call.argv[0], call.argv[-1]) for call in self.verdicts()]

    def _records(self) -> list[dict[str, Any]]:
        try:
            with open(os.path.join(self.folder, "calls")) as f:
                return [ast.literal_eval(line) for line in f]
        except FileNotFoundError:
            return []

    # --- the end

    def close(self) -> None:
        """End what the stand-ins left running, by pid, and only where it is still theirs."""
        for line in self._records():
            if "argv" in line:
                kill_if(line["pid"], self.folder)
            elif "child" in line:
                kill_if(line["child"], "sleep")
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        for container in self.containers.values():
            container.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def kill_if(pid: int, words: str) -> None:
    """End this process if its command line still has these words in it (pids are used again)."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            if words.encode() in f.read():
                os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass


def parent_of(pid: int) -> int:
    with open("/proc/%d/stat" % pid) as f:
        return int(f.read().rpartition(")")[2].split()[1])


def quote(word: str) -> str:
    return word if re.match(r"[\w./-]+\Z", word) else "'%s'" % word.replace("'", "'\\''")


def write(path: str, text: str) -> None:
    """Whole or not at all: a stand-in may be reading it."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)
