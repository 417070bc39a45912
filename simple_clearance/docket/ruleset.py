"""The rules of a policy, and which of them match a blocked packet.  Pure.

The first that matches wins.  The rules of a section hold for the containers whose names match its pattern,
those of none for all; `policy` reads them from a file.  The awkward fact: a name is known from the
container's own look-ups, which can be forged, so a rule on a name never opens the blocked address.  It runs
`allow NAME`, which the host resolves, and the caller comes back with `after` when that did not help.
"""

from __future__ import annotations

from ..base import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Sequence, Tuple, Union

    Place = Union[str, Tuple[int, int, int]]

PARTS = 256
"""Containers of which it is remembered what holds for them."""

# (address, length of the prefix): what the shield's floor keeps shut
FLOOR = (
    ("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("169.254.0.0", 16),
    ("fc00::", 7), ("fe80::", 10),
)  # fmt: skip


class Network:
    """A range: `first` is its network address as a number, `length` its prefix's, `bits` 32 or 128."""

    __slots__ = ("bits", "first", "length")

    def __init__(self, address: str, length: int | None = None) -> None:
        raw = addresses.packed(address) or b""
        self.bits = 8 * len(raw)
        self.first = int.from_bytes(raw, "big")
        self.length = self.bits if length is None else length

    def __contains__(self, other: object) -> bool:
        if not isinstance(other, Network) or other.bits != self.bits or other.length < self.length:
            return False
        return other.first >> (self.bits - self.length) == self.first >> (self.bits - self.length)

    def within(self, bits: int, length: int) -> Place:
        """The network of that length that it lies in, where addresses have so many bits."""
        return bits, length, self.first >> (bits - length) if bits == self.bits else -1

    @property
    def has_host_bits(self) -> bool:
        return bool(self.first & ((1 << (self.bits - self.length)) - 1))


class Rule:
    """One line.  `index` is its place among the rules, from 0; `section` the pattern that it stands under.

    `text` is the rule as written, with its section before it: the same rule may stand in several.
    Exactly one of `name` (a host name), `suffix` (`.example.com`) and `network` says what it is
    about; none of them for `*`.
    """

    __slots__ = ("action", "index", "name", "network", "ports", "protos", "section", "suffix", "text")

    def __init__(self, index: int, text: str, action: str, section: str = "") -> None:
        self.index = index
        self.section = section
        self.text = "[%s] %s" % (section, text) if section else text
        self.action = action
        self.name = ""
        self.suffix = ""
        self.network: Network | None = None
        self.ports: tuple[int, int] | None = None
        self.protos: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return "Rule(%d, %r)" % (self.index, self.text)

    @property
    def named(self) -> bool:
        return bool(self.name or self.suffix)

    @property
    def place(self) -> Place:
        """What it is about."""
        if self.network is not None:
            return self.network.within(self.network.bits, self.network.length)
        return self.name or self.suffix or "*"

    def matched_name(self, names: Sequence[str]) -> str:
        """Which of the names, the one looked up last first, it is about; "" for none.

        An allow leads to whatever the host resolves, so any name that can be a target will do; what an
        address is skipped or asked by is the name that it was looked up under last.
        """
        for name in names if self.action == "allow" else names[:1]:
            if name != self.name and not (self.suffix and name.endswith(self.suffix)):
                continue
            if self.action != "allow" or addresses.is_target_name(name):
                return name
        return ""

    def covers(self, port: int | None, proto: int | None) -> bool:
        """What is unknown is covered only by a rule that doesn't name it."""
        if self.protos and proto not in self.protos:
            return False
        return self.ports is None or (port is not None and self.ports[0] <= port <= self.ports[1])


class Decision:
    """What a rule decides: its `action`, and for an allow by name the `name` to allow, else ""."""

    __slots__ = ("action", "name", "rule")

    def __init__(self, rule: Rule, name: str) -> None:
        self.rule = rule
        self.action = rule.action
        self.name = name

    def __repr__(self) -> str:
        return f"Decision({self.rule!r}, {self.name!r})"


class Policy:
    """The rules of one file, in order.  `of` a container are those that hold for it."""

    __slots__ = ("_parts", "_patterns", "_sections", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._sections: dict[str, _Section] = {}
        for rule in rules:
            self._sections.setdefault(rule.section, _Section()).add(rule)
        self._patterns = [pattern for pattern in self._sections if "*" in pattern or "?" in pattern]
        self._parts: dict[str, Part] = {}

    def __repr__(self) -> str:
        return "Policy(%d rules)" % len(self.rules)

    def __contains__(self, rule: Rule) -> bool:
        """Whether it is one of these very rules: a changed file may have the same text."""
        return rule.index < len(self.rules) and self.rules[rule.index] is rule

    def of(self, container: str) -> Part:
        """The rules that hold for a container: those of all, and those of each section that it matches."""
        part = self._parts.get(container)
        if part is None:
            matching = (each for each in self._patterns if is_match(each, container))
            patterns = dict.fromkeys(("", container, *matching))  # a recording may name no container
            found = [self._sections[pattern] for pattern in patterns if pattern in self._sections]
            if len(self._parts) >= PARTS:
                self._parts.clear()
            part = self._parts[container] = Part(self.rules, found)
        return part


class _Section:
    """The rules that stand under one pattern, found by what they are about.

    A file may have tens of thousands, and whoever is inside makes thousands of requests a second.
    """

    __slots__ = ("by_place", "depths", "first_named", "lengths", "number")

    def __init__(self) -> None:
        self.number = 0
        self.first_named: int | None = None
        self.by_place: dict[Place, list[Rule]] = {}
        self.lengths: set[tuple[int, int]] = set()  # (bits, prefix) of the networks
        self.depths: set[int] = set()  # how many labels the suffixes have

    def add(self, rule: Rule) -> None:
        self.number += 1
        if rule.named and self.first_named is None:
            self.first_named = rule.index
        self.by_place.setdefault(rule.place, []).append(rule)
        if rule.network is not None:
            self.lengths.add((rule.network.bits, rule.network.length))
        if rule.suffix:
            self.depths.add(rule.suffix.count("."))


class Part:
    """The rules of a file that hold for one container, `number` of them, in the file's order.

    `first_named` is the index of the first one by name, None where there is none.
    """

    __slots__ = ("_depths", "_lengths", "_rules", "_tables", "first_named", "number")

    def __init__(self, rules: tuple[Rule, ...], sections: Sequence[_Section]) -> None:
        self._rules = rules  # of the whole file
        self._tables = [section.by_place for section in sections]
        self._lengths = {length for section in sections for length in section.lengths}
        self._depths = {depth for section in sections for depth in section.depths}
        self.number = sum(section.number for section in sections)
        self.first_named = min(
            (section.first_named for section in sections if section.first_named is not None), default=None
        )

    def __repr__(self) -> str:
        return "Part(%d of %d rules)" % (self.number, len(self._rules))

    def decide(
        self,
        dest: str,
        port: int | None,
        proto: int | None,
        private: bool,
        names: Sequence[str] = (),
        after: Rule | None = None,
    ) -> Decision | None:
        """The first rule behind `after` that matches a blocked packet; None when none does."""
        return next(self.matching(dest, port, proto, private, names, after), None)

    def matching(
        self,
        dest: str,
        port: int | None,
        proto: int | None,
        private: bool,
        names: Sequence[str] = (),
        after: Rule | None = None,
    ) -> Iterator[Decision]:
        """The rules behind `after` that match a blocked packet, in order.

        A rule of another policy, such as the file's before it changed, is behind none of this one's.
        `private` is whether the shield's floor logged it; `names` are those known for `dest`, the one
        looked up last first.

        terok-shield denies whole addresses, above every allow: so an allow of the address on another
        port keeps the denies behind it from matching.
        """
        first, allowed = self._place_behind(after), False
        for decision in self._about(dest, private, names):
            rule = decision.rule
            if rule.action == "deny" and allowed:
                continue
            allowed = allowed or rule.action == "allow"
            if rule.index >= first and rule.covers(port, proto):
                yield decision

    def first(
        self, dest: str, port: int | None, proto: int | None, private: bool, names: Sequence[str] = ()
    ) -> Rule | None:
        """The first rule that is about a blocked packet, also where an allow keeps it from deciding."""
        rules = (decision.rule for decision in self._about(dest, private, names))
        return next((rule for rule in rules if rule.covers(port, proto)), None)

    def allows(self, dest: str, private: bool, names: Sequence[str]) -> bool:
        """Whether a rule allows the address, on whatever port."""
        return any(decision.action == "allow" for decision in self._about(dest, private, names))

    def before(self, action: str, target: str) -> Rule | None:
        """The rule for which one of this action on an address or name never decides behind all of these."""
        if addresses.canonical(target) is not None:
            return self.before_here(action, target, False, ())
        found = self._places(None, [target])
        return _whole(action, (rule for rule in found if not rule.named or rule.matched_name([target])))

    def before_here(self, action: str, dest: str, private: bool, names: Sequence[str]) -> Rule | None:
        """The rule for which it decides nothing there while these are the names known for `dest`."""
        return _whole(action, (decision.rule for decision in self._about(dest, private, names)))

    def _about(self, dest: str, private: bool, names: Sequence[str]) -> Iterator[Decision]:
        """What the rules on an address decide, on the ports that each is for."""
        address = Network(dest)
        guarded = _guarded_range(dest, address, private)
        for rule in self._places(address, names):
            name = ""
            if rule.named:
                name = rule.matched_name(names)
                if not name or (rule.action == "allow" and guarded is not None):
                    continue
            elif rule.action == "allow" and guarded is not None and rule.network not in guarded:
                continue
            yield Decision(rule, name if rule.action == "allow" else "")

    def _places(self, address: Network | None, names: Sequence[str]) -> list[Rule]:
        """The rules, in order, that are about everything, about this address or about one of the names."""
        places: dict[Place, None] = {"*": None}
        if address is not None:
            places.update((address.within(*length), None) for length in self._lengths)
        for name in names if self.first_named is not None else ():
            places[name] = None
            for depth in self._depths:
                labels = name.rsplit(".", depth)
                if len(labels) > depth:
                    places["." + ".".join(labels[1:])] = None
        found = [rule for table in self._tables for place in places for rule in table.get(place, ())]
        return sorted(found, key=lambda rule: rule.index)

    def _place_behind(self, rule: Rule | None) -> int:
        ours = rule is not None and rule.index < len(self._rules) and self._rules[rule.index] is rule
        return rule.index + 1 if rule is not None and ours else 0


def _whole(action: str, rules: Iterable[Rule]) -> Rule | None:
    """The first on every port; for a deny, which is of the whole address, also an allow on any."""
    for rule in rules:
        if (rule.ports is None and not rule.protos) or (action == "deny" and rule.action == "allow"):
            return rule
    return None


def _guarded_range(dest: str, address: Network, private: bool) -> Network | None:
    """The range that a rule must lie in to allow this address; None where any rule may.

    The host's loopback and a metadata service are ranges of one address; what lies behind a NAT64 has the
    range that stands there for its own.
    """
    inner = addresses.behind_nat64(dest)
    if inner is not None:
        found = _guarded_range(inner, Network(inner), False)
        return None if found is None else Network(dest, 96 + found.length)
    if addresses.special(dest) is not None:
        return address
    if not private and not addresses.is_floor(dest):
        return None
    return next((net for net in (Network(*part) for part in FLOOR) if address in net), address)


def is_match(pattern: str, name: str) -> bool:
    """Whether `pattern` stands for all of `name`: `*` for any characters or none, `?` for one of any kind.

    In no more steps than the product of their lengths, whatever whoever named the container chose.
    """
    ends = {0}  # how much of the name what has been seen of the pattern may stand for
    for sign in pattern:
        if sign == "*":
            ends = set(range(min(ends), len(name) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(name) and sign in ("?", name[end])}
        if not ends:
            return False
    return len(name) in ends
