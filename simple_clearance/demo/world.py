"""The demonstration's namespace: the shield's rules in it, and what stands where terok-shield stands.

This is the process inside: it makes its own user and network namespace, so that nothing in it
reaches anything outside and all of it is gone when it ends.  It owns the rules (by the host's
`nft`), listeners that answer, and a socket on which the demonstration's verdict command asks
for changes.  It ends when its stdin is closed, however that happens, and takes its folder along.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import time

from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..reader.confinement import CLONE_NEWNET, CLONE_NEWUSER
from ..reader.packetlog import PacketLog
from ..system import children
from ..system.pidfd import libc_call
from .agent import NAMES, Agent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

# linux/sockios.h, linux/if.h
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP = 1

CONTAINER = "demo"
READY = "ready"
SOCKET = "shield.sock"  # in the folder; by that name alone, since a whole path may be too long
LOGS = ("dnsmasq.log", "audit.jsonl")
FILES = (*LOGS, SOCKET)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where nft is, and where an ordinary user's PATH does not look."""

NETWORKS = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "10.0.2.2")
PORTS = (22, 80, 443)
BROKEN = "192.0.2.66"  # no allow of it works
TAKES = 0.3  # seconds, as long as the real command
PATIENCE = 2.0  # seconds for a verdict command to say what it wants

USERNS_HINT = (
    "sysctl user.max_user_namespaces kernel.unprivileged_userns_clone "
    "kernel.apparmor_restrict_unprivileged_userns shows what forbids it; root needs none"
)
NETNS_HINT = "sysctl user.max_net_namespaces; inside a container it may be forbidden altogether"
NFT_HINT = "apt install nftables, or what your distribution calls it"
RULES_HINT = "modprobe nf_tables nfnetlink_log, as root; nft --version: 0.9 and later are known to work"

RULES = """
table inet terok_shield {
 set t20_security_deny_v4 { type ipv4_addr; flags interval; }
 set t40_project_allow_v4 { type ipv4_addr; flags interval, timeout; timeout 30m; }
 chain output {
  type filter hook output priority filter; policy drop;
  ct state established,related accept
  ip daddr @t20_security_deny_v4 log prefix "TEROK_SHIELD_DENIED: " group 100 REJECT
  ip daddr 10.0.0.0/8 log prefix "TEROK_SHIELD_PRIVATE: " group 100 REJECT
  ip daddr @t40_project_allow_v4 log prefix "TEROK_SHIELD_ALLOWED: " group 100 accept
  log prefix "TEROK_SHIELD_BLOCKED: " group 100 REJECT
 }
}
""".replace("REJECT", "reject with icmpx type admin-prohibited")
SETS = {"allow": "t40_project_allow_v4", "deny": "t20_security_deny_v4"}


def find_nft(environ: Mapping[str, str]) -> str:
    """The host's nft.  Refused when there is none."""
    path = children.find("nft", {"PATH": environ.get("PATH", os.defpath) + ":" + SBIN})
    if not path:
        raise Refused(CANNOT_START, "nft: no such command", NFT_HINT)
    return path


def main(folder: str) -> int:
    """The process inside: tells `ready`, or which step failed and how to mend that; then plays."""
    try:
        try:
            os.chdir(folder)
            world = World(find_nft(os.environ))
        except Refused as refusal:
            _tell(refusal.message, *refusal.hints)
            return CANNOT_START
        except OSError as error:
            _tell(f"{printable(folder)}: {error.strerror}")
            return CANNOT_START
        _tell(READY)
        world.run()
        return 0
    finally:
        remove(folder)


def remove(folder: str) -> None:
    """Removes the folder and what is made in it, nothing else; whichever of us is left does that."""
    for name in FILES:
        try:
            os.unlink(os.path.join(folder, name))
        except OSError:
            pass  # not made, or removed already
    try:
        os.rmdir(folder)
    except OSError:
        pass


def _tell(*lines: str) -> None:
    try:
        os.write(1, "".join(line + "\n" for line in lines).encode("ascii", "backslashreplace"))
    except OSError:
        pass  # nobody waits for it any more, as stdin will show


class World:
    """The inside, in the current folder.  Raises Refused, naming the step that this host forbids."""

    def __init__(self, nft: str) -> None:
        self._nft_path = nft
        self._members: dict[str, set[str]] = {"allow": set(), "deny": set()}
        for what, step, hint in (
            *_namespaces(),
            ("the loopback interface", _raise_loopback, NETNS_HINT),
            ("the packet filter's rules", self._load_rules, RULES_HINT),
            ("the packet log", _try_packet_log, RULES_HINT),
        ):
            try:
                step()
            except OSError as error:
                text = f"{what} can't be had here: {error.strerror or error}"
                raise Refused(CANNOT_START, text, hint) from None
        for name in LOGS:
            open(name, "a").close()
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(SOCKET)
        self._control.listen(8)
        self._listeners = [_listener(port) for port in PORTS]
        self._agent = Agent(LOGS[0])

    def run(self) -> None:
        """Lets the agent play and serves verdicts until stdin closes."""
        agent = self._agent
        while True:
            due = agent.deadline()
            timeout = None if due is None else max(0.0, due - time.monotonic())
            watched: list[Any] = [0, self._control, *self._listeners]
            readable, writable, _ = select.select(watched, agent.sockets(), [], timeout)
            if 0 in readable:
                return  # nobody writes to it: it has been closed
            for listener in self._listeners:
                if listener in readable:
                    listener.accept()[0].close()
            for connection in writable:
                agent.ended(connection)
            if self._control in readable:
                self._verdict()
            agent.tick()

    def _verdict(self) -> None:
        """One request of the verdict command: `allow|deny TARGET`, answered as the real one does."""
        connection = self._control.accept()[0]
        with connection:
            connection.settimeout(PATIENCE)
            try:
                action, _, target = connection.recv(512).decode("ascii", "replace").strip().partition(" ")
                time.sleep(TAKES)
                connection.sendall(self._apply(action, target).encode("ascii", "backslashreplace"))
            except OSError:
                return  # it went away: nobody waits for the answer
        self._agent.answered(NAMES.get(target, (target,)))

    def _apply(self, action: str, target: str) -> str:
        """The exit code, a newline and the text of one verdict."""
        found = NAMES.get(target, (target,))
        if BROKEN in found and action == "allow":
            return f"1\nError: allow {target}: cannot lock the shield's state (as the demonstration wants it)"
        other = "deny" if action == "allow" else "allow"
        commands = ["delete " + _element(other, each) for each in found if each in self._members[other]]
        commands += ["add " + _element(action, each) for each in found if each not in self._members[action]]
        try:
            self._nft("\n".join(commands) + "\n")
        except OSError as error:
            return f"1\nError: {printable(error, 200)}"
        self._members[other].difference_update(found)
        self._members[action].update(found)
        if action == "allow":
            return "0\nAllowed {} -> {} for {}".format(target, ", ".join(found), CONTAINER)
        return "0\nDenied {} ({}) for {}".format(target, ", ".join(found), CONTAINER)

    def _load_rules(self) -> None:
        self._nft(RULES)

    def _nft(self, commands: str) -> None:
        import subprocess

        done = subprocess.run(
            [self._nft_path, "-f", "-"], input=commands.encode(), capture_output=True, check=False
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
            raise OSError("{}: {}".format(self._nft_path, said or "exit code %d" % done.returncode))


def _element(role: str, address: str) -> str:
    return "element inet terok_shield %s { %s }" % (SETS[role], address)


def _namespaces() -> list[tuple[str, Callable[[], None], str]]:
    """The steps into a network namespace of our own; none are left where root has taken the only one."""
    if os.getuid() == 0:
        try:
            _unshare(CLONE_NEWNET)
            return []
        except OSError:
            pass  # the root of a container, perhaps: as an ordinary user then
    ids = (os.getuid(), os.getgid())
    return [
        ("a user namespace", lambda: _unshare(CLONE_NEWUSER), USERNS_HINT),
        ("an id in a user namespace", lambda: _map_ids(*ids), USERNS_HINT),
        ("a network namespace", lambda: _unshare(CLONE_NEWNET), NETNS_HINT),
    ]


def _unshare(kind: int) -> None:
    if hasattr(os, "unshare"):
        os.unshare(kind)
    else:
        libc_call("unshare", kind)


def _map_ids(uid: int, gid: int) -> None:
    """Root inside is this user outside; who is not root outside may map nobody else."""
    for name, text in (("setgroups", "deny"), ("uid_map", "0 %d 1" % uid), ("gid_map", "0 %d 1" % gid)):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


def _raise_loopback() -> None:
    """`lo` up, and a /24 of each network on it: a whole network answers there, without ip(8)."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        for number, address in enumerate(NETWORKS):
            name = b"lo:%d" % (number + 1)
            for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
                packed = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(any_socket, request, packed)


def _try_packet_log() -> None:
    """Binds its group as the reader will, and lets it go."""
    PacketLog().close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(16)
    return listener


def shield(folder: str, argv: list[str]) -> int:
    """The verdict command: `allow|deny CONTAINER TARGET`, applied in the demonstration's namespace only."""
    try:
        os.chdir(folder)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(SOCKET)
            connection.sendall((f"{argv[0]} {argv[-1]}\n").encode("ascii", "replace"))
            answer = b""
            while True:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
    except OSError as error:
        print(f"Error: the demonstration has ended: {error.strerror}", file=sys.stderr)
        return 1
    status, _, text = answer.decode("ascii", "replace").partition("\n")
    print(text, file=sys.stdout if status == "0" else sys.stderr)
    return 0 if status == "0" else 1
