"""A network namespace with terok-shield's rules in it, and someone inside who makes connections.

Everything happens on its loopback: the documentation networks, the benchmark network of
RFC 2544 and the private ranges are routed to `lo`, so any of their addresses answers where a
`listen` waits.  The rules are those of a shielded container, in their order, with one change:
the line that accepts `lo` is left out, since here `lo` is the way out.

Whoever runs as root gets a plain namespace; an ordinary user (or root with `user=`) gets one
that a user namespace owns, as rootless podman's are: with subordinate ids, where there are any.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Callable, TypeVar

from needs import lacking, need, subids
from support import PATIENCE

T = TypeVar("T")

PREFIX = "TEROK_SHIELD_"
SETS = {  # role -> set name without its _v4 or _v6, by bundle version
    18: {
        "override": "t10_override",
        "deny": "t20_security_deny",
        "provider": "t30_provider_allow",
        "allow": "t40_project_allow",
        "bypass": "bypass_window",
    },
    14: {"allow": "allow", "deny": "deny"},
}
NETWORKS = (
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "198.18.0.0/15",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "2001:db8::/32",
    "fc00::/7",
)
MULTICAST = {"-4": "multicast 224.0.0.0/4", "-6": "multicast ff00::/8"}  # it goes out, nobody gets it


def ruleset(rules: int = 18) -> str:
    """What `nft -f -` reads: the table of bundle version 18 (floor first) or 14 (allow first)."""
    sets = SETS[rules]
    timed = ("allow", "bypass") if rules >= 15 else ("allow",)
    lines = ["table inet terok_shield {"]
    for role, name in sets.items():
        for version in "46":
            flags = "interval, timeout" if role in timed else "interval"
            timeout = " timeout 30m;" if role == "allow" else ""
            lines.append(
                " set %s_v%s { type ipv%s_addr; flags %s;%s }" % (name, version, version, flags, timeout)
            )
    lines += [
        " chain output {",
        "  type filter hook output priority filter; policy drop;",
        "  ct state established,related accept",
        "  udp dport 53 ip daddr 10.0.2.3 accept",
        "  tcp dport 53 ip daddr 10.0.2.3 accept",
    ]
    reject = "reject with icmpx type admin-prohibited"

    def matched(role: str, prefix: str, verdict: str) -> list[str]:
        return [
            '  %s daddr @%s_v%s log prefix "%s%s: " group 100 counter %s'
            % (family, sets[role], version, PREFIX, prefix, verdict)
            for family, version in (("ip", "4"), ("ip6", "6"))
        ]

    def private(*networks: str) -> list[str]:
        return [
            '  %s daddr %s log prefix "%sPRIVATE: " group 100 %s'
            % ("ip6" if ":" in network else "ip", network, PREFIX, reject)
            for network in networks
        ]

    lan = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    if rules >= 15:
        lines += private("169.254.0.0/16", "fe80::/10", "fd00:ec2::254")
        lines += matched("override", "ALLOWED", "accept") + matched("deny", "DENIED", reject)
        lines += private(*lan + ("fc00::/7",))
        lines += matched("provider", "ALLOWED", "accept") + matched("allow", "ALLOWED", "accept")
        lines += matched("bypass", "BYPASS", "accept")
    else:
        lines += matched("allow", "ALLOWED", "accept") + matched("deny", "DENIED", reject)
        lines += private(*lan + ("169.254.0.0/16", "fc00::/7", "fe80::/10"))
    lines += [
        '  log prefix "%sBLOCKED: " group 100 counter %s' % (PREFIX, reject),
        " }",
        " chain input {",
        "  type filter hook input priority filter; policy drop;",
        '  iifname "lo" accept',
        "  ct state established,related accept",
        "  drop",
        " }",
        "}",
    ]
    return "\n".join(lines) + "\n"


# In two steps: a network made before its owner's ids are mapped shows its files to nobody.  The one
# inside has a parent of that user's, as conmon is.
_OWN = r"""
import ctypes, os, sys

def unshare(kind):
    if ctypes.CDLL(None, use_errno=True).unshare(kind):
        sys.exit("unshare: " + os.strerror(ctypes.get_errno()))

inside = os.fork()
if inside:
    for fd in (0, 1):
        os.close(fd)
    os.waitpid(inside, 0)
    os._exit(0)
unshare(0x10000000)  # CLONE_NEWUSER
print(os.getpid(), flush=True)
sys.stdin.buffer.raw.readline()  # not a byte more
unshare(0x40000000)  # CLONE_NEWNET
"""

# The one inside.  It reads a JSON object a line and answers with one; the end of its stdin ends it.
_AGENT = r"""
import errno, json, os, socket, subprocess, sys, threading, time

def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET

def connect(address, port, proto, timeout):
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family(address), kind) as s:
        s.settimeout(timeout)
        try:
            s.connect((address, port))
            if proto == "tcp":
                return "connected"
            s.send(b"?")
            return "sent"
        except socket.timeout:
            return "timeout"
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))

def listen(port, proto="tcp"):
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    s = socket.socket(socket.AF_INET6, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    if proto == "tcp":
        s.listen(128)
    def serve():
        while True:
            if proto == "tcp":
                s.accept()[0].close()
            else:
                data, sender = s.recvfrom(2048)
                try:
                    s.sendto(data, sender)
                except OSError:
                    pass
    threading.Thread(target=serve, daemon=True).start()
    return "listening"

def run(argv, stdin=""):
    done = subprocess.run(argv, input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return [done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")]

def flood(n, same=False, first="198.18.0.0", port=443, seconds=0.0):
    version = family(first)
    base = int.from_bytes(socket.inet_pton(version, first), "big")
    size = 16 if version == socket.AF_INET6 else 4
    began = time.monotonic()
    with socket.socket(version, socket.SOCK_DGRAM) as s:
        for i in range(n):
            to = first if same else socket.inet_ntop(version, (base + i).to_bytes(size, "big"))
            try:
                s.sendto(b"?", (to, port))
            except OSError:
                pass
    return time.monotonic() - began

def python(code):
    scope = {}
    exec(code, scope)
    return scope.get("result")

known = dict(connect=connect, listen=listen, run=run, flood=flood, python=python)
for line in sys.stdin.buffer:
    what, args, named = json.loads(line)
    try:
        answer = [True, known[what](*args, **named)]
    except Exception as e:
        answer = [False, "%s: %s" % (type(e).__name__, e)]
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
os._exit(0)
"""


def as_user(uid: int = 1000, group: int = 0) -> list[str]:
    """The beginning of an argv that runs the rest as that ordinary user; empty when we are one.

    `group` is one more that the user is in.
    """
    if os.getuid() != 0:
        return []
    groups = ["--groups", str(group)] if group else ["--clear-groups"]
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), *groups, "--no-new-privs", "--"]


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def reachable_python(uid: int = 1000) -> str:
    """An interpreter that this user may run: ours, unless it lies in a home folder of root's."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        # by way of env: setpriv itself still has its capabilities while it looks up the program
        argv = [*as_user(uid), "env", candidate, "-I", "-S", "-c", "import socket"]
        if subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return candidate
    raise RuntimeError("no Python that uid %d may run" % uid)


class Lab:
    """`with Lab() as lab:` — a shielded namespace; `pid` a process inside, `netns` its path.

    `rules` is the bundle version (18 or 14), `user` an ordinary uid to own it (root only).  The ids
    in a user's namespace are `many`, as newuidmap(1) and newgidmap(1) give them, or `one`, as
    `unshare -r` does, where nobody may change groups.
    """

    def __init__(self, rules: int = 18, user: int = 0, ids: str = "") -> None:
        need("nft")
        self.rules = rules
        self.user = user or os.getuid()
        if self.user:
            need("subids" if ids == "many" else "userns")
        many = ids == "many" or (not ids and not lacking("subids"))
        self.sets = SETS[rules]
        python = sys.executable
        argv = ["unshare", "-n"] if self.user == 0 else []
        if self.user and os.getuid() == 0:
            argv = as_user(self.user) + argv
            python = reachable_python(self.user)
        self._agent = subprocess.Popen(
            [*argv, python, "-I", "-S", "-u", "-c", (_OWN if self.user else "") + _AGENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(os.environ, PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"),
            cwd="/",
        )
        self.pid = self._agent.pid if not self.user else int(self._agent.stdout.readline())  # type: ignore
        self.netns = "/proc/%d/ns/net" % self.pid
        try:
            if self.user:
                self._map_ids(many)
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _map_ids(self, many: bool) -> None:
        stdin = self._agent.stdin
        assert stdin is not None
        if not many:
            write("/proc/%d/setgroups" % self.pid, "deny")
        for kind, own in (("uid", self.user), ("gid", self.user if os.getuid() == 0 else os.getgid())):
            ids = [(0, own, 1)]
            if many and os.getuid() == 0:
                ids.append((1, 100000, 65536))
            if many and os.getuid():
                ids.append((1, *subids(self.user, "/etc/sub" + kind)))
                words = [str(number) for row in ids for number in row]
                subprocess.run(["new%smap" % kind, str(self.pid), *words], check=True)
            else:
                write("/proc/%d/%s_map" % (self.pid, kind), "".join("%d %d %d\n" % row for row in ids))
        stdin.write(b"go\n")
        stdin.flush()

    def _prepare(self) -> None:
        for family in ("-4", "-6"):
            here = [network for network in NETWORKS if (":" in network) == (family == "-6")]
            lines = ["link set lo up"] + ["route add local %s dev lo" % network for network in here]
            lines += ["route add %s dev lo" % MULTICAST[family]]
            self.run(["ip", family, "-batch", "-"], "\n".join(lines) + "\n")
        self.run(["nft", "-f", "-"], ruleset(self.rules))

    def _ask(self, what: str, *args: object, **named: object) -> object:
        stdin, stdout = self._agent.stdin, self._agent.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps([what, args, named]).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError("the lab's agent ended: %r" % self._agent.wait())
        good, answer = json.loads(line)
        if not good:
            raise RuntimeError("%s in the lab: %s" % (what, answer))
        return answer

    def connect(self, address: str, port: int, proto: str = "tcp", timeout: float = PATIENCE) -> str:
        """`connected` (tcp), `sent` (udp), `timeout`, or the errno's name, as `EHOSTUNREACH`."""
        return str(self._ask("connect", address, port, proto, timeout))

    def listen(self, port: int, proto: str = "tcp") -> None:
        """Answer on this port of every address; `udp` echoes."""
        self._ask("listen", port, proto)

    def run(self, argv: list[str], stdin: str = "", check: bool = True) -> str:
        """Run a command inside as its root; its stdout.  `check` raises on a return code."""
        code, out, err = self._ask("run", argv, stdin)
        if check and code:
            raise RuntimeError("%s: rc %d: %s" % (" ".join(argv), code, err))
        return str(out)

    def nft(self, *args: str, check: bool = True) -> str:
        return self.run(["nft", *args], check=check)

    def python(self, code: str) -> object:
        """Run this source inside; whatever it leaves in `result` (JSON values only)."""
        return self._ask("python", code)

    def ask_while(self, meanwhile: Callable[[], T], code: str) -> tuple[float, T]:
        """Run this source inside and `meanwhile()` out here at the same time; their results."""
        stdin, stdout = self._agent.stdin, self._agent.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(["python", [code], {}]).encode() + b"\n")
        stdin.flush()
        result = meanwhile()
        return float(json.loads(stdout.readline())[1]), result

    def flood(self, n: int, same: bool = False, first: str = "198.18.0.0", port: int = 443) -> float:
        """`n` blocked datagrams to `n` addresses from `first` on (or all to it); the seconds taken."""
        return float(str(self._ask("flood", n, same, first, port)))

    def enter(self) -> list[str]:
        """The beginning of an argv that runs the rest in here, from outside."""
        flags = ["-n"] if self.user == os.getuid() == 0 else ["-U", "-n", "--preserve-credentials"]
        return ["nsenter", "-t", str(self.pid), *flags, "--"]

    def set_name(self, role: str, address: str = "") -> str:
        """`allow`, `deny`, … -> the set's real name, for that address's family; real names pass."""
        name = self.sets.get(role, role)
        return name if name.endswith(("_v4", "_v6")) else name + ("_v6" if ":" in address else "_v4")

    def add(self, role: str, address: str) -> None:
        self.nft("add", "element", "inet", "terok_shield", self.set_name(role, address), "{ %s }" % address)

    def remove(self, role: str, address: str) -> None:
        name = self.set_name(role, address)
        self.nft("delete", "element", "inet", "terok_shield", name, "{ %s }" % address)

    def set_contains(self, role: str, address: str) -> bool:
        """Is this address in the set (a role of `sets`, or its real name)?"""
        name = self.set_name(role, address)
        code, _, _ = self._ask(
            "run", ["nft", "get", "element", "inet", "terok_shield", name, "{ %s }" % address]
        )
        return bool(code == 0)

    def holder(self) -> int:
        """The port id of whoever listens to NFLOG group 100 in here (usually its pid); 0: nobody."""
        listener = self.listener()
        return listener[1] if listener else 0

    def listener(self) -> list[int]:
        """The kernel's row for NFLOG group 100 in here: group, port id, packets that wait, copy mode,
        copy range, flush timeout (1/100 s), uses; empty when nobody listens."""
        with open("/proc/%d/net/netfilter/nfnetlink_log" % self.pid) as table:
            rows = [[int(column) for column in line.split()] for line in table]
        return next((row for row in rows if row[0] == 100), [])

    def netlink(self, pid: int) -> dict[str, int]:
        """Of the netlink socket of port id `pid` in here: `Rmem`, the bytes that wait in it, and `Drops`."""
        with open("/proc/%d/net/netlink" % self.pid) as table:
            head, *rows = (line.split() for line in table)
        (row,) = (row for row in rows if row[head.index("Pid")] == str(pid))
        return {name: int(row[head.index(name)]) for name in ("Rmem", "Drops")}

    def end(self) -> None:
        """End the process inside, as a container's end does."""
        if self._agent.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self._agent.wait()

    def close(self) -> None:
        self.end()
        for stream in (self._agent.stdin, self._agent.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


if __name__ == "__main__":
    began = time.monotonic()
    with Lab() as lab:
        print("pid %d, ready after %.0f ms" % (lab.pid, 1000 * (time.monotonic() - began)))
        print(lab.nft("list", "ruleset"))
        sys.stdin.read()
