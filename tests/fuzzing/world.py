"""What goes on around a session at random: containers with real packets, their logs, their ends, its files.

What happens is chosen by the seed; when it happens is up to the machine, so that a seed tells the same
story only nearly.
"""

from __future__ import annotations

import calendar
import json
import os
import random
import signal
import threading
import time
from typing import Any, Callable, Optional, Tuple

from endtoend import processes
from fuzzing.hubs import Places
from fuzzing.rules import PolicyFile
from host import Call, Host
from lab import Lab
from support import eventually
from terminal_driver import state

OPEN = "connected sent ECONNREFUSED"  # a timeout is none: answers to IPv6 are told only so often
NAMES = ["www.example.com", "api.example.org", "a.b.c.d.example.net", "x" * 60 + "." + "y" * 50 + ".example"]
MODES = ["", "", "", "", "fail", "hang", "killed", "silent", "half", "stubborn"]
ADDRESSES = [
    "203.0.113.%d",
    "198.51.100.%d",
    "2001:db8::%x",
    "2001:db8:5:1234:5678:9abc:def0:%x",
    "10.0.2.%d",
]
SEEN = 1.0
"""Seconds within which a shield's state that its audit log tells has been seen."""

Blocked = Tuple[str, str, Optional[int], int]  # container, address, port, protocol

_SCAN = """
import socket
dest, first, end = "%s", %d, %d
family = socket.AF_INET6 if ":" in dest else socket.AF_INET
result = []
with socket.socket(family, socket.SOCK_DGRAM) as s:
    for port in range(first, end):
        try: s.sendto(b"?", (dest, port))
        except PermissionError: result.append(port)
        except OSError: pass
"""

_RAW = """
import socket, struct
def raw(dest, packet):
    family = socket.AF_INET6 if ":" in dest else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, 255) as s:
        try: s.sendto(packet, (dest, 0))
        except OSError: pass
def ipv4(dest, proto, rest, version=4):
    head = struct.pack(">BBHHHBBH", version << 4 | 5, 0, 20 + len(rest), 7, 0, 64, proto, 0)
    return head + socket.inet_aton("127.0.0.1") + socket.inet_aton(dest) + rest
def ipv6(dest, proto, rest, version=6):
    head = struct.pack(">IHBB", version << 28, len(rest), proto, 64)
    return head + socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, dest) + rest
def ping(dest):
    six = ":" in dest
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1) as s:
        try: s.sendto(bytes((128 if six else 8, 0, 0xf7, 0xff)) + bytes(4), (dest, 0))
        except OSError: pass
"""

# The container's last act: packets, how many so far in a file, and the end, unless somebody else was quicker.
_LAST_ACT = """
import mmap, os, signal, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
with open(%r, "r+b") as file:
    sent = mmap.mmap(file.fileno(), 4)
for i in range(%d):
    try: s.sendto(b"?", ("198.19.%%d.%%d" %% (i >> 8, i & 255), 443))
    except OSError: pass
    sent[:4] = (i + 1).to_bytes(4, "little")
os.kill(os.getpid(), signal.SIGKILL)
"""


class Jitter(threading.Thread):
    """How late this process may be: the longest it was kept from waking, and when."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.gaps: list[tuple[float, float]] = []

    def run(self) -> None:
        last = time.monotonic()
        while not self.over.wait(0.02):
            now = time.monotonic()
            if now - last > 0.05:
                self.gaps.append((now, now - last))
            last = now

    def around(self, moment: float) -> float:
        return max([gap for at, gap in self.gaps if moment - 2 < at < moment + 2], default=0.0)


class World:
    """A host, one to three shielded containers, and what a story needs to be judged by."""

    def __init__(self, folder: str, pyz: str, seed: int) -> None:
        self.seed, self.pyz = seed, pyz
        self.chance = random.Random(seed)
        self.host = Host(folder)
        self.places = Places(self.chance)
        self.labs: dict[str, Lab] = {}
        self.sent: dict[Blocked, float] = {}  # what was blocked, and when first
        self.looked_up: set[tuple[str, str, str]] = set()  # container, name, address
        self.story: list[str] = []
        self.blind: set[str] = set()  # containers whose reader was killed
        self.audited: dict[str, int] = {}  # those whose packets terok-shield's own reader has, and its pid
        self.ended_at: dict[str, float] = {}  # containers
        self.states: list[tuple[float, str, str]] = []  # when a shield became what
        self.told_to_end: list[float] = []  # when the session was, or had to
        self.bursts: set[str] = set()  # containers that ended with more packets than may have been read
        self.alive_at: dict[int, float] = {}  # verdict commands without an end, and when they still ran
        self.jitter = Jitter()
        self._wall = time.time() - time.monotonic()
        self._floods = 0
        self._modes: dict[str, Any] = {}
        try:
            for number in range(self.chance.randint(1, 3)):
                self._container_begins("c%d" % (number + 1))
            self.policy = (
                None if self.chance.random() < 0.5 else PolicyFile(folder + "/rules", self.chance, NAMES)
            )
        except BaseException:
            self.close()
            raise

    def _container_begins(self, name: str) -> None:
        self.labs[name] = lab = Lab(rules=self.chance.choice((18, 18, 14)))
        lab.listen(443)
        container = self.host.container(name, lab)
        if self.chance.random() < 0.15:
            self.audited[name] = container.bridge_reader()

    def close(self) -> None:
        self.jitter.over.set()
        self.host.close()
        for lab in self.labs.values():
            lab.close()
        self.places.close()

    def say(self, what: str) -> None:
        self.story.append("%.3f %s" % (time.monotonic(), what))

    def ours(self) -> list[int]:
        """The processes of the session."""
        return [pid for pid, argv in processes(self.pyz) if "-S" in argv or "--as-reader" in argv]

    @property
    def living(self) -> list[str]:
        return [name for name, lab in self.labs.items() if os.path.exists("/proc/%d/net" % lab.pid)]

    # --- what may happen

    def acts(self) -> list[tuple[Callable[[], None], int]]:
        """Each with its weight."""
        return [
            (self.tries, 16),
            (self._pings, 2),
            (self.floods, 1),
            (self._scans, 1),
            (self._contradicts, 2),
            (self.looks_up, 3),
            (self._forges, 2),
            (self.shield, 3),
            (self._changes_state, 1),
            (self._one_ends, 1),
            (self._bridge_ends, 1),
            (self._pretends, 1),
            (self._edits, 2),
            (self.pauses, 4),
        ]

    def _any_container(self) -> str:
        return self.chance.choice(self.living)

    def _any_address(self) -> str:
        return self.chance.choice(ADDRESSES) % self.chance.randint(1, 9)

    def tries(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            self.blocks()

    def blocks(self) -> None:
        name, address = self._any_container(), self._any_address()
        port = self.chance.choice([443, 443, 80, 5432, 53])
        proto = self.chance.choice(["tcp", "udp"])
        came = self.labs[name].connect(address, port, proto, timeout=0.2)
        if came not in OPEN:
            self._was_blocked(name, address, port, 6 if proto == "tcp" else 17)
        self.say("%s %s %s %d: %s" % (name, proto, address, port, came))

    def _was_blocked(self, name: str, address: str, port: int, proto: int) -> None:
        if name not in self.audited:  # else the audit log says what was to be told
            self.sent.setdefault((name, address, port, proto), time.monotonic())

    def _pings(self) -> None:
        name, address = self._any_container(), self._any_address()
        self.labs[name].python(_RAW + "ping(%r)" % address)
        self.say("%s pings %s" % (name, address))

    def floods(self) -> None:
        name, number = self._any_container(), self.chance.choice([50, 400, 3000])
        self._floods += 1
        first = "198.18.%d.0" % (16 * self._floods % 256)
        if self.chance.random() < 0.4:
            address = self._any_address()
            self.labs[name].flood(number, same=True, first=address)
            self.say("%s sends %d to %s" % (name, number, address))
            return
        if 16 * self._floods < 240:
            self.labs[name].flood(number, first=first)
            base = 16 * self._floods * 256
            for index in range(number):
                self._was_blocked(name, "198.18.%d.%d" % divmod(base + index, 256), 443, 17)
            self.say("%s floods %d from %s" % (name, number, first))

    def _scans(self) -> None:
        name, address, number = self._any_container(), self._any_address(), self.chance.choice([20, 70, 500])
        first = self.chance.choice([1, 400, 30_000])
        for port in self.labs[name].python(_SCAN % (address, first, first + number)) or []:
            self._was_blocked(name, address, port, 17)
        self.say("%s scans %d ports of %s from %d" % (name, number, address, first))

    def _contradicts(self) -> None:
        code = self.chance.choice(
            [
                "raw('2001:db8::31', ipv4('198.51.100.66', 17, bytes(40))[:24] + bytes(32))",
                "raw('2001:db8::31', ipv6('2001:db8::31', 17, bytes(8), 4))",
                "raw('198.51.100.67', ipv4('198.51.100.67', 17, bytes(8), 6))",
                "raw('198.51.100.68', ipv4('198.51.100.68', 6, bytes(13) + b'\\x11' + bytes(6)))",
                "raw('198.51.100.69', ipv4('198.51.100.69', 6, b'x'))",
                "raw('2001:db8::32', ipv6('2001:db8::32', 0, bytes(range(40))))",
                "raw('2001:db8::33', ipv6('2001:db8::33', 44, b'\\x11' + bytes(50)))",
            ]
        )
        self.labs[self._any_container()].python(_RAW + code)
        self.say(code)

    def looks_up(self) -> None:
        name, asked, address = self._any_container(), self.chance.choice(NAMES), self._any_address()
        self.looked_up.add((name, asked, address))
        self.host.containers[name].looks_up(asked, address)
        self.say("%s looks up %s: %s" % (name, asked[:20], address))

    def _forges(self) -> None:
        address = self._any_address()
        head = time.strftime("%b %e %H:%M:%S") + " dnsmasq[17816]: "
        line = self.chance.choice(
            [
                head + "reply \x1b[2J\x07evil.example is %s\n" % address,
                head
                + "reply a is 0.0.0.0/0\n"
                + head
                + "reply www.example.com is %s is %s\n" % (address, address),
                head + "reply b.example is\n" + head + "reply " + "c" * 70_000 + " is %s\n" % address,
                head + "query[A] www.exam",
                "\0\xff\n\n\r\n" + head + "reply c1  203.0.113.99  tcp 443 is %s\n" % address,
                head + "exiting on receipt of SIGTERM\n" + head + "started, version 2.90 cache disabled\n",
            ]
        )
        self.host.containers[self._any_container()].append("dnsmasq.log", line.encode("latin-1"))
        self.say("forges %r" % line[:60])

    def shield(self) -> None:
        """How the next verdicts go."""
        names = {asked: [self._any_address() for _ in range(self.chance.randint(0, 3))] for asked in NAMES}
        wanted = dict(mode=self.chance.choice(MODES), delay=self.chance.choice([0, 0, 0.3, 1.0]), names=names)
        self._modes.update(wanted)
        self.host.control("terok-shield", **self._modes)
        self.say("verdicts: %(mode)s %(delay)s" % wanted)

    def _changes_state(self) -> None:
        """Rarely: somebody puts a container into quarantine, and later up again."""
        name = self._any_container()
        now = next((what for _, one, what in reversed(self.states) if one == name), "up")
        if now == "up" and self.chance.random() < 0.7:
            return
        what = "up" if now != "up" else "quarantine"
        self.host.containers[name].shield(what)
        self._modes = dict(self.host.wanted["terok-shield"])
        self.states.append((time.monotonic(), name, what))
        self.say("the shield of %s: %s" % (name, what))

    def _pretends(self) -> None:
        if self.chance.random() < 0.5:
            self.say(self.places.pretend(self.host.containers[self._any_container()].sid))

    def _edits(self) -> None:
        if self.policy is not None:
            self.say("the policy is " + self.policy.change())

    def pauses(self) -> None:
        time.sleep(self.chance.choice([0.05, 0.5, 1.0]))

    # --- what ends

    def _one_ends(self) -> None:
        """Rarely: a container, or the reader of one."""
        if self.chance.random() < 0.7:
            return
        name = self._any_container()
        if self.chance.random() < 0.3:
            readers = [pid for pid in (self.labs[name].holder(),) if pid in self.ours()]
            if readers:
                self.blind.add(name)
                self.told_to_end.append(time.monotonic())
                self.say("the reader of %s is killed" % name)
                os.kill(readers[0], 9)
                time.sleep(0.2)
        elif len(self.living) > 1:
            self.ends(name)

    def _bridge_ends(self) -> None:
        """Rarely: terok-shield's own reader; then the session listens itself."""
        for name in [name for name in self.living if name in self.audited][:1]:
            if self.chance.random() < 0.5:
                self.say("the bridge reader of %s ends" % name)
                os.killpg(self.audited[name], signal.SIGKILL)
                eventually(lambda name=name: self.over or self._is_ours(name), what="we listen in its place")
                del self.audited[name]

    def _is_ours(self, name: str) -> bool:
        return name not in self.living or self.labs[name].holder() in self.ours()

    def ends(self, name: str) -> None:
        """With or without a burst in its last moment, in which it may be ended."""
        last_act = self.chance.choice([0, 0, 1, 50, 2000, 20_000])
        if last_act and name not in self.audited:
            self._ends_with_a_burst(name, last_act)
        self.ended_at[name] = time.monotonic()
        self.say("%s ends" % name)
        self.host.containers[name].stop(told=self.chance.random() < 0.8)

    def _ends_with_a_burst(self, name: str, number: int) -> None:
        path = os.path.join(self.host.folder, "sent by " + name)
        with open(path, "wb") as file:
            file.write(bytes(4))
        dying = threading.Thread(target=self._last_act, args=(name, _LAST_ACT % (path, number)))
        dying.start()
        if self.chance.random() < 0.5:
            time.sleep(self.chance.choice([0.0, 0.005, 0.02, 0.1]))
            self.labs[name].end()
        dying.join()
        with open(path, "rb") as file:
            sent = int.from_bytes(file.read(), "little")
        self.say("%s sends %d in its last moment" % (name, sent))
        now = time.monotonic()
        for index in range(sent):
            self.sent.setdefault((name, "198.19.%d.%d" % divmod(index, 256), 443, 17), now)
        if sent > 500:  # more than there may be room for
            self.bursts.add(name)

    def _last_act(self, name: str, code: str) -> None:
        try:
            self.labs[name].python(code)
        except (RuntimeError, BrokenPipeError):
            pass  # it is gone

    # --- what is found of it

    @property
    def over(self) -> bool:
        """Whether the session has ended."""
        raise NotImplementedError

    def look_at_verdicts(self) -> None:
        now = time.monotonic()
        for call in self.host.verdicts():
            if call.ended is None and self.runs(call):
                self.alive_at[call.pid] = now

    def runs(self, call: Call) -> bool:
        try:
            with open("/proc/%d/cmdline" % call.pid, "rb") as file:
                return self.host.folder.encode() in file.read() and state(call.pid) != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def moment(self, stamp: str) -> float:
        """The monotonic time of a time of day, in whole seconds."""
        return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - self._wall

    def audit_lines(self, until: dict[str, float], before: float) -> set[tuple[str, str]]:
        """(container, address) of what terok-shield's own readers had told so long before; in whole seconds.

        `until`: container -> when that counts to.
        """
        found = set()
        for name, container in self.host.containers.items():
            for line in map(json.loads, container.read("audit.jsonl").splitlines()):
                last = min(until[name] - before, self.ended_at.get(name, until[name]))
                if line["action"] == "blocked" and self.moment(line["ts"]) < last:
                    found.add((name, line["dest"]))
        return found
