"""The policy file: rules that decide without asking.  Pure.

A rule is a line `ACTION TARGET [port N[-M]] [tcp|udp|icmp]`; the first that matches wins.  A line
`[PATTERN]` begins a section, whose rules hold for the containers whose names match.  The awkward
fact: a name is known from the container's own look-ups, which can be forged, so a rule on a name
never opens the blocked address.  It runs `allow NAME`, which the host resolves, and the caller
comes back with `after` when that did not help.
"""

from __future__ import annotations

from ..base import addresses, ids
from ..base.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence, Tuple, Union

    Place = Union[str, Tuple[int, int, int]]

ACTIONS = ("allow", "deny", "skip", "ask")
TARGETS = "a target is example.com, *.example.com, 203.0.113.9, 203.0.113.0/24 or *"
SYNTAX = "ACTION TARGET [port N[-M]] [tcp|udp|icmp]"
SECTIONS = "[agent-1], [agent-*] or [HOST/agent-?]: a container's name; * and ? stand for any characters"
PROTOCOLS = {"tcp": (6,), "udp": (17,), "icmp": (1, 58)}
"""What each word stands for: `icmp` is ICMPv6, too."""

LARGEST = 1 << 20
"""Bytes of a policy file; more is somebody's mistake."""

MISTAKES = 50
"""Mistakes of one file that are told."""

PARTS = 256
"""Containers of which it is remembered what holds for them."""

# (address, length of the prefix): what the shield's floor keeps shut
FLOOR = (
    ("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("169.254.0.0", 16),
    ("fc00::", 7), ("fe80::", 10),
)  # fmt: skip


class PolicyError(ValueError):
    """A mistake in the file: `str` is `FILE:LINE: reason`, `hint` the remedy or ""."""

    def __init__(self, where: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{where}: {reason}")
        self.hint = hint


class _Mistake(Exception):
    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


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

    def allows(self, dest: str, private: bool, names: Sequence[str]) -> bool:
        """Whether a rule allows the address, on whatever port."""
        return any(decision.action == "allow" for decision in self._about(dest, private, names))

    def settles(self, target: str) -> bool:
        """Whether a rule decides this address or name on every port, so that none behind it ever does."""
        if addresses.canonical(target) is not None:
            rules = [decision.rule for decision in self._about(target, False, ())]
        else:
            found = self._places(None, [target])
            rules = [rule for rule in found if not rule.named or rule.matched_name([target])]
        return any(rule.ports is None and not rule.protos for rule in rules)

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


def parse(data: bytes, filename: str) -> Policy:
    """The policy in a file's bytes.  Raises `PolicyError` for the first mistake, nothing else."""
    policy, mistakes = read(data, filename)
    if mistakes:
        raise mistakes[0]
    return policy


def read(data: bytes, filename: str) -> tuple[Policy, list[PolicyError]]:
    """The policy in a file's bytes without the lines that are wrong, and what is wrong with each.

    What stands in a section whose line is wrong is left out, too: nobody can say for whom it was meant.
    After `MISTAKES` of them it reads no further.
    """
    shown = printable(filename, 200)
    if len(data) > LARGEST:
        return Policy([]), [PolicyError(shown, "more than %d bytes" % LARGEST)]
    rules: list[Rule] = []
    mistakes: list[PolicyError] = []
    section: str | None = ""  # None: its line is wrong
    for number, line in enumerate(_lines(data), 1):
        try:
            text = _text(line)
            if text.startswith("["):
                section = _section(text)
            elif text:
                rule = _rule(text, len(rules), section or "")
                if section is not None:
                    rules.append(rule)
        except _Mistake as mistake:
            mistakes.append(PolicyError("%s:%d" % (shown, number), str(mistake), mistake.hint))
            if len(mistakes) == MISTAKES:
                break
            if _may_begin_a_section(line):
                section = None
    return Policy(rules), mistakes


def last_section(data: bytes) -> str | None:
    """The pattern of the section that a rule at the end of the file would stand in.

    "" where it would hold for all containers; None where nobody can say, since a wrong line may have been
    meant to begin one.
    """
    for line in reversed(_lines(data)):
        if _may_begin_a_section(line):
            try:
                return _section(_text(line))
            except _Mistake:
                return None
    return ""


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


def _lines(data: bytes) -> list[bytes]:
    text = data[3:] if data.startswith(b"\xef\xbb\xbf") else data  # the mark that some editors put first
    return text.split(b"\n")


def _text(line: bytes) -> str:
    """What a line says, without its comment."""
    try:
        text = line.decode("utf-8").partition("#")[0].strip(" \t\r")
    except UnicodeDecodeError:
        raise _Mistake("not UTF-8 text") from None
    if not text.split():
        return ""
    if not text.replace("\t", " ").isprintable():
        raise _Mistake("a control character in it")
    return text


def _may_begin_a_section(line: bytes) -> bool:
    """No rule has such a bracket, so whatever else is wrong with the line, it may have been meant to."""
    return b"[" in line.partition(b"#")[0]


def _section(text: str) -> str:
    """The pattern of a line that begins a section."""
    before, _, rest = text.partition("[")
    pattern, bracket, behind = rest.partition("]")
    if before or not bracket or not pattern:
        raise _Mistake("not a section: %s" % printable(text, 80), SECTIONS)
    if behind:
        raise _Mistake(
            "not understood behind a section: %s" % printable(behind.strip(), 80), "a line of its own"
        )
    some = pattern.replace("*", "x").replace("?", "x")  # which stands wherever any character may
    if not all(ids.is_name(part) for part in some.split("/")):
        raise _Mistake("no container has a name like this: %s" % printable(pattern, 80), SECTIONS)
    return pattern


def _rule(text: str, index: int, section: str) -> Rule:
    words = text.split()
    if words[0] not in ACTIONS:
        raise _Mistake("no such action: %s" % printable(words[0], 40), "allow, deny, skip or ask")
    if len(words) < 2:
        raise _Mistake("no target", SYNTAX)
    rule = Rule(index, " ".join(words), words[0], section)
    _target(rule, words[1])
    _conditions(rule, words[2:])
    _consistent(rule, words[1])
    return rule


def _target(rule: Rule, word: str) -> None:
    if word == "*":
        return
    plain = addresses.canonical(word)
    if plain is not None:
        rule.network = Network(plain)
    elif "/" in word and "://" not in word:
        rule.network = _network(word)
    elif word.startswith("*."):
        if not addresses.is_name(word[2:].lower()):
            raise _Mistake("not a suffix: %s" % printable(word, 80), "*.example.com")
        rule.suffix = word[1:].lower()
    elif addresses.is_name(word.lower()):
        rule.name = word.lower()
    else:
        raise _Mistake("neither a name nor an address: %s" % printable(word, 80), _meant(word))


def _meant(word: str) -> str:
    """What `word`, which is no target, may have been meant for."""
    host = word.partition("://")[2].partition("/")[0] or word
    name, _, port = host.rpartition(":")
    port = " port " + port if port.isascii() and port.isdigit() else ""
    name = (name if port else host).strip("[]").rstrip(".").lower()
    if addresses.canonical(name) is None and not addresses.is_name(name):
        return TARGETS
    return printable(name, 80) + port


def _network(word: str) -> Network:
    address, _, length = word.partition("/")
    plain = addresses.canonical(address)
    if plain is None or not (length.isascii() and length.isdigit()) or len(length) > 3:
        raise _Mistake("not a network: %s" % printable(word, 80), "203.0.113.0/24 or 2001:db8::/32")
    network = Network(plain, int(length))
    if network.length > network.bits:
        raise _Mistake(
            "not a network: %s" % printable(word, 80), "the prefix has at most %d bits" % network.bits
        )
    if network.length == 0:
        raise _Mistake(
            "a network of /0 is everything", "--answer allow --for SECONDS, or * for deny, skip and ask"
        )
    if network.has_host_bits:
        first = (network.first >> (network.bits - network.length)) << (network.bits - network.length)
        start = addresses.unpacked(first.to_bytes(network.bits // 8, "big"))
        raise _Mistake(
            "%s has bits set behind its prefix" % printable(word, 80), "%s/%d" % (start, network.length)
        )
    return network


def _conditions(rule: Rule, words: list[str]) -> None:
    while words:
        word = words.pop(0)
        if word == "port" and rule.ports is None:
            if not words:
                raise _Mistake("no port after `port`", "port 443 or port 8000-8080")
            rule.ports = _ports(words.pop(0))
        elif word in PROTOCOLS and not rule.protos:
            rule.protos = PROTOCOLS[word]
        else:
            raise _Mistake("not understood: %s" % printable(word, 40), SYNTAX)


def _ports(word: str) -> tuple[int, int]:
    first, dash, last = word.partition("-")
    numbers = [first, last if dash else first]
    if not all(text.isascii() and text.isdigit() and len(text) <= 5 for text in numbers):
        raise _Mistake("not a port: %s" % printable(word, 40), "port 443 or port 8000-8080")
    low, high = int(numbers[0]), int(numbers[1])
    if not 0 <= low <= high <= 0xFFFF:
        raise _Mistake("not a range of ports: %s" % printable(word, 40), "from 0 to 65535, the smaller first")
    return low, high


def _consistent(rule: Rule, word: str) -> None:
    """What terok-shield can't do, or what nobody can have meant."""
    if rule.action == "deny" and rule.named:
        raise _Mistake("deny takes an address or a network, not a name", "skip %s" % printable(word, 80))
    if rule.ports is not None and rule.protos == PROTOCOLS["icmp"]:
        raise _Mistake("icmp has no ports", "icmp, without a port")
    if rule.action == "deny" and (rule.ports is not None or rule.protos):
        raise _Mistake(
            "terok-shield denies whole addresses, not ports", "skip, with the same words behind it"
        )
    if rule.action == "allow" and word == "*":
        raise _Mistake("allow * would open everything", "--answer allow --for SECONDS")
    if rule.action == "allow" and rule.named and not addresses.is_target_name(rule.name or "x" + rule.suffix):
        raise _Mistake(
            "not a name that can be allowed: %s" % printable(word, 80),
            "a name with a dot in it, without `_` and not under localhost; else its address",
        )
