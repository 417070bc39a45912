"""Policy files at random that change while they are read, and which verdicts they can be the reason for."""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import random
import time
from typing import Optional, Tuple

SETTLES = 0.3
"""Seconds that a file has to stand before it counts."""
FLOOR = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
LOOPBACK = "10.0.2.2"  # of the host, inside
PROTOCOLS = {"": (), "tcp": (6,), "udp": (17,), "icmp": (1, 58)}
TARGETS = [
    "203.0.113.0/24",
    "203.0.113.0/29",
    "203.0.113.5",
    "198.51.100.0/24",
    "198.51.100.4",
    "2001:db8::/32",
    "2001:db8::7",
    "10.0.2.0/24",
    "10.0.2.2",
    "10.0.0.0/7",  # wider than a private range
    "198.18.0.0/20",
]
WRONG = [
    b"allow *\n",
    b"deny 203.0.113.4 port 80\n",
    b"\xff\xfe\n",
    b"let 203.0.113.4\n",
    b"allow 0.0.0.0/0\n",
    b"[c1 c2]\nskip *\n",
]
SECTIONS = ["c1", "c2", "c?", "*", "*3", "nobody"]

Request = Tuple[str, Optional[int], Optional[int]]  # address, port, protocol


def is_private(dest: str) -> bool:
    return any(ipaddress.ip_address(dest) in net for net in FLOOR)


class Rule:
    """One line of a file; `section` is the pattern of the containers that it is for."""

    def __init__(self, action: str, target: str, port: int = 0, proto: str = "") -> None:
        self.section = ""
        self.action, self.target, self.port, self.proto = action, target, port, proto
        self.text = "%s %s%s%s" % (action, target, " port %d" % port if port else "", proto and " " + proto)
        self.named = target != "*" and not set(target) <= set("0123456789abcdef.:/")

    def __repr__(self) -> str:
        return "[%s] %s" % (self.section, self.text) if self.section else self.text

    def is_about(self, dest: str) -> bool:
        """Whether it is a rule on addresses, and on this one."""
        if self.target == "*":
            return True
        return not self.named and ipaddress.ip_address(dest) in ipaddress.ip_network(self.target)

    def is_about_name(self, name: str) -> bool:
        return name == self.target or (self.target[:2] == "*." and name.endswith(self.target[1:]))

    def covers(self, port: int | None, proto: int | None) -> bool:
        return self.port in (0, port) and (not self.proto or proto in PROTOCOLS[self.proto])

    def may_allow(self, dest: str, names: set[str]) -> bool:
        """Whether an allow may be about it: a private address by a range in its own, the loopback alone."""
        if self.named:
            return not is_private(dest) and any(map(self.is_about_name, names))
        network = ipaddress.ip_network(self.target)
        if dest == LOOPBACK:
            return self.target == dest
        within = [net for net in FLOOR if ipaddress.ip_address(dest) in net]
        return self.is_about(dest) and all(network.subnet_of(net) for net in within)

    def leads_to(self, dest: str, name: str) -> bool:
        """Whether its verdict is about that name, or about the address where that is ""."""
        return self.is_about_name(name) if name else self.is_about(dest)


class Edition:
    """What a file said from `since` on; `rules` is None where that was wrong."""

    def __init__(self, since: float, rules: list[Rule] | None) -> None:
        self.since, self.rules = since, rules

    def of(self, container: str) -> Edition:
        """What it said for one container."""
        ours = [rule for rule in self.rules or () if fnmatch.fnmatchcase(container, rule.section or "*")]
        return Edition(self.since, None if self.rules is None else ours)

    def allows(self, request: Request, name: str, names: set[str]) -> bool:
        """Whether a rule allows this blocked packet, by `name` unless that is "", and none before forbids it.

        `names` are those that may be known for its address.
        """
        dest, port, proto = request
        before = False  # an allow of the address on whatever port keeps what is behind it from denying
        for rule in self.rules or ():
            allows = rule.action == "allow" and rule.may_allow(dest, names)
            if allows and rule.covers(port, proto) and rule.leads_to(dest, name):
                return True
            decides = rule.action in ("skip", "ask") or (rule.action == "deny" and not before)
            if decides and rule.is_about(dest) and rule.covers(port, proto):
                return False
            before = before or allows
        return False

    def denies(self, dest: str) -> bool:
        """Whether a rule denies the address, and none before allows it on whatever port."""
        for rule in self.rules or ():
            if rule.action == "deny" and rule.is_about(dest):
                return True
            if rule.action == "allow" and rule.may_allow(dest, set()):
                return False
        return False

    def allows_somewhere(self, dest: str) -> bool:
        return any(rule.action == "allow" and rule.may_allow(dest, set()) for rule in self.rules or ())


class PolicyFile:
    """A file that somebody edits."""

    def __init__(self, path: str, chance: random.Random, names: list[str]) -> None:
        self.path = path
        self.editions: list[Edition] = []
        self._chance, self._names = chance, names
        rules = self._some()
        self._write(self._text(rules))
        self.editions.append(Edition(0.0, rules))

    def _some(self) -> list[Rule]:
        rules = [self._any() for _ in range(self._chance.randint(0, 6))]
        section = ""
        for rule in rules:
            if self._chance.random() < 0.2:
                section = self._chance.choice(SECTIONS)
            rule.section = section
        return rules

    def _any(self) -> Rule:
        action = self._chance.choice(["allow", "allow", "deny", "skip", "ask"])
        targets = TARGETS + (self._names + ["*.example.com", "*.example.net"] if action != "deny" else [])
        if action in ("skip", "ask"):
            targets = [*targets, "*"]
        if action == "deny":
            return Rule(action, self._chance.choice(targets))
        port, proto = self._chance.choice([(0, ""), (0, ""), (443, ""), (80, "tcp"), (0, "udp"), (0, "icmp")])
        return Rule(action, self._chance.choice(targets), port, proto)

    def _text(self, rules: list[Rule]) -> bytes:
        lines, section = [], ""
        for rule in rules:
            if rule.section != section:
                section = rule.section
                lines.append("[%s]\n" % section)
            lines.append(rule.text + "\n")
        return "".join(lines).encode()

    def _write(self, data: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(data)

    def change(self) -> str:
        """In one of the ways in which files change; what was done, in words."""
        rules: list[Rule] | None = self._some()
        how = self._chance.choice(["renamed", "rewritten", "bit by bit", "wrong", "gone", "fifo", "folder"])
        data = self._text(rules or []) if how != "wrong" else self._chance.choice(WRONG)
        self.editions.append(Edition(time.monotonic(), None))  # whatever stands there meanwhile
        if os.path.isdir(self.path):
            os.rmdir(self.path)
        elif os.path.lexists(self.path) and how not in ("renamed", "rewritten"):
            os.unlink(self.path)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            os.unlink(self.path)
        if how == "fifo":
            os.mkfifo(self.path)
        elif how == "folder":
            os.mkdir(self.path)
        elif how == "renamed":
            with open(self.path + "~", "wb") as file:
                file.write(data)
            os.rename(self.path + "~", self.path)
        elif how == "bit by bit":
            self._write(b"")
            with open(self.path, "ab", 0) as file:
                for line in data.splitlines(True):
                    file.write(line)
                    time.sleep(0.03)
        elif how != "gone":
            self._write(data)
        good = how in ("renamed", "rewritten", "bit by bit")
        self.editions.append(Edition(time.monotonic(), rules if good else None))
        return "%s: %s" % (how, data.decode("latin-1").replace("\n", "; ")) if good else how

    def in_force(self, moment: float, late: float) -> list[Edition]:
        """Those that may have decided what began then; `late` is how late anything may be."""
        found, best = [], 1e99
        for index in reversed(range(len(self.editions))):
            edition = self.editions[index]
            if edition.rules is None:
                continue
            if edition.since <= moment < best:
                found.append(edition)
            after = self.editions[index + 1].since if index + 1 < len(self.editions) else 1e99
            if after - edition.since > SETTLES + late:
                best = min(best, edition.since + SETTLES + late)
        return found
