"""Real terok-shield on real rootless podman, in a world of its own: see `world.py`.

    with Rig("0.9.0", python="/usr/bin/python3.12") as rig:
        c = rig.shielded("c1", "--annotation", "dossier.task=t-7")
        rig.shield("allow", c, "198.51.100.1")
        assert rig.conn(c, "198.51.100.1") == "198.51.100.1 connected"

The operator is a user who exists in that world only; his files lie in a folder of /var/tmp that
goes with the rig.  The workload sees this machine's own /usr, read only, so the image is empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any, Iterator

from needs import which
from real.neighbours import NETWORK, Fact, value
from real.world import ipv6
from support import PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
USER, IMAGE, PROFILE = "scop", "localhost/scop", "scop"
PROGRAMS = ("podman", "crun", "newuidmap", "dnsmasq", "dig", "nft", "ip")  # and how a container is connected
PROGRAMS += ("mount", "nsenter", "unshare", "setpriv", "ps", "kill")
OPEN = ("open.example", "203.0.113.77", "203.0.113.128/25", "2001:db8:77::/64")  # from the start
CONN = ("python3", "/conn.py")
PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
CONTAINERS_CONF = """\
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


def programs() -> tuple[str, ...]:
    """All that the world calls; where podman is missing, whatever it may want to connect a container with."""
    podman = which("podman")
    if podman is None:
        return (*PROGRAMS, NETWORK.before, NETWORK.now)
    told = subprocess.run([podman, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    return (*PROGRAMS, value(NETWORK, told.stdout))


def pip(python: str, folder: str) -> str:
    """pip on this Python, made in that folder if it is not there, as that takes longer than its use."""
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(folder + "/done"):
            subprocess.run([python, "-m", "venv", "--clear", folder + "/pip"], check=True)
            open(folder + "/done", "w").close()
    return folder + "/pip/bin/pip"


def prefix(python: str) -> str:
    """Where this interpreter and its library are installed."""
    argv = [python, "-c", "import sys; print(sys.base_prefix)"]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def taken(flags: list[str], *options: str) -> list[str]:
    """These options with their values, which `flags` has no longer."""
    found = []
    for option in options:
        while option in flags:
            at = flags.index(option)
            found += flags[at : at + 2]
            del flags[at : at + 2]
    return found


class Rig:
    """One version of terok-shield with an operator; a context manager, ready when entered.

    `as_op` runs anything as the operator; `shielded`, `inside`, `conn`, `shield` and `status`
    are what is run most.  `folder` holds everything, readable from outside.
    """

    beside: tuple[str, ...] = ()  # packages that are installed besides terok-shield

    def __init__(self, version: str, python: str, *others: str, tools: str = "") -> None:
        """`python` is what terok-shield will run with; `others` shall be there for the operator, too.

        What can serve several rigs lies in the folder `tools`.
        """
        self.version = version
        self.python = python
        self.others = others
        self.uid, self.subids = 29411, 96468992  # free numbers on any sane machine, and only seen inside
        self.folder = tempfile.mkdtemp(prefix="simple-clearance-real-", dir="/var/tmp")
        self.home = self.folder + "/home"
        self.root = self.home + "/.local/state/terok/shield"
        self.venv = self.folder + "/venv"
        self.tools = tools or self.folder + "/tools"
        self._versions: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._workloads: dict[str, Workload] = {}
        self._world: subprocess.Popen[str] | None = None
        self._pid = 0

    def __enter__(self) -> Rig:
        try:
            os.chmod(self.folder, 0o755)
            self._install()
            self._settle()
            self._start()
            self._image()
            self.as_op(["terok-shield", "setup"], check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._world is not None:
            self._world.stdin.close()  # type: ignore[union-attr]
            self._world.wait(PATIENCE)  # the kernel has killed every process of that world by then
            self._world.stdout.close()  # type: ignore[union-attr]
            self._world = None
        for workload in self._workloads.values():
            workload.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- building it

    def _install(self) -> None:
        subprocess.run([self.python, "-m", "venv", "--without-pip", self.venv], check=True)
        argv = [pip(self.python, self.tools), "--python", self.venv + "/bin/python3", "install", "-q"]
        argv += ["--disable-pip-version-check", "terok-shield==" + self.version, *self.beside]
        for pause in (1, 5, 0):  # an index of packages may be out of breath
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            if done.returncode == 0:
                return
            time.sleep(pause)
        raise AssertionError(done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2])

    def _settle(self) -> None:
        """The operator's home, and what all may read."""
        files = {
            ".config/containers/containers.conf": CONTAINERS_CONF,
            ".config/containers/storage.conf": '[storage]\ndriver = "vfs"\n',
            ".config/terok/shield/profiles/%s.txt" % PROFILE: "".join(
                self._plus() + line + "\n" for line in OPEN
            ),
        }
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(self.home, path)), exist_ok=True)
            with open(os.path.join(self.home, path), "w") as file:
                file.write(text)
        subprocess.run(["chown", "-R", "%d:%d" % (self.uid, self.uid), self.home], check=True)
        shutil.copy(os.path.join(HERE, "tap.py"), self.folder)

    def _plus(self) -> str:
        return "" if self.version.startswith("0.7.") else "+"

    def _start(self) -> None:
        needed = [prefix(python) for python in (self.python, *self.others)]
        given = {"user": USER, "uid": self.uid, "subids": self.subids, "home": self.home, "needed": needed}
        argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv += [
            "--propagation",
            "private",
            sys.executable,
            os.path.join(HERE, "world.py"),
            json.dumps(given),
        ]
        self._world = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._world.stdout is not None and self._world.stdout.readline() == "ready\n", "no world"
        with open("/proc/%d/task/%d/children" % (self._world.pid, self._world.pid)) as file:
            self._pid = int(file.read())

    def _image(self) -> None:
        """An image of nothing but mount points, the names of three users, and `conn.py`."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for path in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "root"):
                entry = tarfile.TarInfo(path)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
                tar.addfile(entry)
            for path in ("bin", "sbin", "lib", "lib64"):
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, "usr/" + path
                tar.addfile(entry)
            with open(os.path.join(HERE, "conn.py"), "rb") as file:
                conn = file.read()
            users = b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"
            for path, text in (("conn.py", conn), ("etc/passwd", users)):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text), 0o644
                tar.addfile(entry, io.BytesIO(text))
        with open(self.folder + "/image.tar", "wb") as out:
            out.write(data.getvalue())
        self.as_op(["podman", "import", "-q", self.folder + "/image.tar", IMAGE], check=True)

    # --- using it

    def fact(self, fact: Fact) -> Any:
        """What is true with the release that is found here."""
        if fact.program not in self._versions:
            self._versions[fact.program] = self.as_op([fact.program, "--version"], check=True).stdout
        return value(fact, self._versions[fact.program])

    def env(self, **more: str) -> dict[str, str]:
        """What the operator has after a login."""
        variables = {
            "HOME": self.home,
            "USER": USER,
            "LOGNAME": USER,
            "PATH": ":".join((self.venv + "/bin", *PATH)),
            "XDG_RUNTIME_DIR": "/run/user/%d" % self.uid,
            "LANG": "C.UTF-8",
            "TERM": os.environ.get("TERM", "dumb"),
        }
        variables.update(more)
        return variables

    def enter(self) -> list[str]:
        """The beginning of an argv that runs the rest in there, as root."""
        return ["nsenter", "--target", str(self._pid), "--mount", "--net", "--pid"]

    def argv(self, argv: list[str], **env: str) -> list[str]:
        """`argv` as the operator runs it after a login; for a test that starts it itself."""
        become = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]
        clean = ["env", "--ignore-environment", "--chdir", self.home]
        return self.enter() + become + clean + ["%s=%s" % item for item in self.env(**env).items()] + argv

    def reach(self, port: int) -> socket.socket:
        """A connection to a port of that world's loopback; the thread that asks for it moves there."""
        with open("/proc/%d/ns/net" % self._pid) as network:
            if ctypes.CDLL(None).setns(network.fileno(), 0):
                raise OSError("setns")
        return socket.create_connection(("127.0.0.1", port))

    def sets(self, name: str) -> dict[str, set[str]]:
        """The addresses in each of the rule set's sets, as nft in the container's namespace tells them."""
        enter = ["podman", "unshare", "nsenter", "-t", str(self.inspected(name)["State"]["Pid"]), "-n"]
        told = self.as_op([*enter, "nft", "-j", "list", "table", "inet", "terok_shield"], check=True).stdout
        found = {}
        for each in [entry["set"] for entry in json.loads(told)["nftables"] if "set" in entry]:
            elements = [one["elem"]["val"] if "elem" in one else one for one in each.get("elem", [])]
            found[each["name"]] = {one for one in elements if isinstance(one, str)}
        return found

    def as_op(
        self, argv: list[str], check: bool = False, timeout: float = PATIENCE, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; stdout and stderr are text, stdin is empty."""
        done = subprocess.run(
            self.argv(argv, **env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, "%s: %s%s" % (shlex.join(argv), done.stdout, done.stderr)
        return done

    def without(self, *names: str) -> str:
        """A PATH for the operator on which everything is but these programs."""
        folder = self.folder + "/without-" + "-".join(names)
        if not os.path.isdir(folder):
            os.mkdir(folder)
            for place in PATH:
                for name in set(os.listdir(place)) - set(names) - set(os.listdir(folder)):
                    os.symlink(os.path.join(place, name), os.path.join(folder, name))
        return "%s/bin:%s" % (self.venv, folder)

    @contextlib.contextmanager
    def only_ipv4(self) -> Iterator[None]:
        """Meanwhile the host has no IPv6 address but loopback's."""
        enter = ["nsenter", "--target", str(self._pid), "--net"]
        subprocess.run([*enter, "ip", "-6", "address", "flush", "dev", "eth0"], check=True)
        try:
            yield
        finally:
            for argv in ipv6():
                subprocess.run([*enter, *argv], check=True)

    def start(self, name: str, *options: str, image: str = IMAGE) -> str:
        """An unshielded container that sleeps; its name."""
        argv = ["podman", "run", "-d", "--name", name, "-v", "/usr:/usr:ro", *options]
        self.as_op(argv + [image, "sleep", "infinity"], check=True)
        return name

    def shielded(
        self,
        name: str,
        *options: str,
        image: str = IMAGE,
        profile: str = PROFILE,
        runs: tuple[str, ...] = ("sleep", "infinity"),
        **env: str,
    ) -> str:
        """A shielded container that sleeps, unless it `runs` something else; `options` are podman's.

        A `--network` among them goes in the place of the shield's own.
        """
        flags = self.prepared(name, profile, **env)
        if "--network" in options:
            taken(flags, "--network", "--add-host")
        argv = ["podman", "run", "-d", "-v", "/usr:/usr:ro", *flags, *options]
        self._ids[name] = self.as_op([*argv, image, *runs], check=True, **env).stdout.strip()
        return name

    def prepared(self, name: str, profile: str = PROFILE, **env: str) -> list[str]:
        """The options that make a container a shielded one of this name."""
        prepare = ["terok-shield", "--state-dir", self.root, "prepare", name, "--profiles", profile]
        return shlex.split(self.as_op(prepare, check=True, **env).stdout)

    def in_pod(self, name: str, *options: str, runs: tuple[str, ...] = ("sleep", "infinity")) -> str:
        """A shielded container in a pod of its own, for which `options` are."""
        argv = ["podman", "import", "-q", "--change", 'ENTRYPOINT ["/usr/bin/sleep","infinity"]']
        self.as_op([*argv, self.folder + "/image.tar", "localhost/pause"], check=True)
        flags = self.prepared(name)
        network = taken(flags, "--network", "--add-host")  # a pod's are those of all in it
        argv = ["podman", "pod", "create", "--name", name + "-pod", "--infra-image", "localhost/pause"]
        self.as_op([*argv, "-v", "/usr:/usr:ro", *network, *options], check=True)
        argv = ["podman", "run", "-d", "--pod", name + "-pod", *flags, IMAGE, *runs]
        self._ids[name] = self.as_op(argv, check=True).stdout.strip()
        return name

    def shared(self, *options: str) -> str:
        """A shielded container with these options that tests share, each with addresses of its own."""
        name = "with" + "".join(options).replace("=", "-")
        return name if name in self._ids else self.shielded(name, *options)

    def inside(self, name: str, argv: list[str]) -> str:
        """What a command in the container printed."""
        return self.as_op(["podman", "exec", name, *argv], check=True).stdout

    def conn(
        self,
        name: str,
        host: str,
        port: int = 443,
        proto: str = "tcp",
        count: int = 1,
        patience: float = PATIENCE,
    ) -> str:
        """Try a connection from inside: `198.51.100.1 EHOSTUNREACH`; `… timeout` after that many seconds."""
        workload = self._workloads.get(name)
        if workload is None or not workload.alive():
            if workload is not None:
                workload.close()
            workload = self._workloads[name] = Workload(self.argv(["podman", "exec", "-i", name, *CONN]))
        return workload.ask("%s %d %s %d %g" % (host, port, proto, count, patience))

    def leave(self, name: str) -> None:
        """End what tries connections in there; where processes are the host's, no stop would."""
        self._workloads.pop(name).close()

    def shield(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.as_op(["terok-shield", *argv])

    def status(self, name: str) -> str:
        return self.shield("status", name).stdout.strip()

    def inspected(self, name: str) -> Any:
        return json.loads(
            self.as_op(["podman", "inspect", "--format", "json", "--", name], check=True).stdout
        )[0]

    def posture(self, name: str, *command: str) -> None:
        """`posture(c, "down", "--disengage")`, `posture(c, "up")`: they want the container's whole id."""
        given = [
            command[0],
            *(["--container-id", self._ids[name]] if command[0] != "quarantine" else []),
        ]
        assert self.shield(*given, *command[1:], name).returncode == 0

    def state(self, name: str, file: str = "") -> str:
        """The path of the container's state directory, or of a file in it."""
        return os.path.join(self.root, "containers", name, file).rstrip("/")

    def read(self, name: str, file: str) -> str:
        with open(self.state(name, file), encoding="utf-8", errors="surrogateescape") as opened:
            return opened.read()

    def audit(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(name, "audit.jsonl").splitlines()]

    def processes(self, *words: str) -> list[tuple[int, int, str]]:
        """(pid, process group, command line) of those whose command line has every one of `words`."""
        found = []
        for line in self.as_op(["ps", "-eo", "pid=,pgid=,args=", "-ww"], check=True).stdout.splitlines():
            pid, group, args = line.split(None, 2)
            if all(word in args for word in words) and " -eo pid=" not in args:
                found.append((int(pid), int(group), args))
        return found

    def journal(self) -> subprocess.Popen[str]:
        """A context manager: meanwhile the world has a socket where journald has its own."""
        code = (
            "import os, select, socket, sys; os.makedirs('/run/systemd/journal', exist_ok=True)\n"
            "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/run/systemd/journal/socket')\n"
            "os.chmod('/run/systemd/journal/socket', 0o666); print(flush=True)\n"
            "while sys.stdin not in select.select([s, sys.stdin], [], [])[0]: s.recv(1 << 16)\n"
            "os.unlink('/run/systemd/journal/socket')\n"
        )
        argv = [*self.enter(), self.venv + "/bin/python3", "-c", code]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()  # type: ignore[union-attr]
        return process

    def tap(self, name: str, *options: str) -> Tap:
        return Tap(self, name, options)


class Workload:
    """A program in a container that tries connections when it is told to; it ends with the container."""

    def __init__(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        assert self.ask("127.0.0.1 1").startswith("127.0.0.1 "), "it does not start"

    def alive(self) -> bool:
        """Whether it answers: a stopped container's may still be there as a process."""
        try:
            return bool(self.ask("127.0.0.1 1"))
        except OSError:
            return False

    def ask(self, words: str) -> str:
        self._process.stdin.write(words + "\n")  # type: ignore[union-attr]
        return self._process.stdout.readline().strip()  # type: ignore[union-attr]

    def close(self) -> None:
        self._process.stdout.close()  # type: ignore[union-attr]
        try:
            self._process.stdin.close()  # type: ignore[union-attr]
        except OSError:
            pass  # it had ended before
        self._process.wait(PATIENCE)


class Tap:
    """A listener of a container's NFLOG group; see `tap.py`.  A context manager."""

    def __init__(self, rig: Rig, name: str, options: tuple[str, ...]) -> None:
        argv = [
            rig.venv + "/bin/python3",
            "-I",
            rig.folder + "/tap.py",
            str(rig.inspected(name)["State"]["Pid"]),
        ]
        self._process = subprocess.Popen(
            rig.argv(argv + list(options)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.packets: list[dict[str, Any]] = []
        self.first = self._line()  # `listening …`, or the name of an errno

    def __enter__(self) -> Tap:
        assert self.first.startswith("listening"), self.first
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(PATIENCE)
        self._process.stdout.close()  # type: ignore[union-attr]

    def _line(self) -> str:
        return self._process.stdout.readline().strip()  # type: ignore[union-attr]

    def packet(self, dest: str) -> dict[str, Any]:
        """The next packet to `dest`; the others before it are kept in `packets`."""
        while True:
            self.packets.append(json.loads(self._line()))
            if self.packets[-1]["dest"] == dest:
                return self.packets[-1]
