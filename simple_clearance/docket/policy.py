"""The policy file: rules that decide without asking, as text.  Pure.

A rule is a line `ACTION TARGET [port N[-M]] [tcp|udp|icmp]`; a line `[PATTERN]` begins a section, whose rules
hold for the containers whose names match.  What can't be meant, or can't be done, is a mistake that names
its line and the remedy.  What the rules decide is `ruleset`'s.
"""

from __future__ import annotations

from ..base import addresses, ids
from ..base.text import printable
from .ruleset import Network, Policy, Rule

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


class PolicyError(ValueError):
    """A mistake in the file: `str` is `FILE:LINE: reason`, `hint` the remedy or ""."""

    def __init__(self, where: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{where}: {reason}")
        self.hint = hint


class _Mistake(Exception):
    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


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
