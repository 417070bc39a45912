"""Mutated real bytes for every parser, and what each may raise: its own error, and nothing else.

The invariant: a parser returns a value or raises its one error, whatever it is given, and every
text that it returns is one that `text.printable` can make safe.  `bench_fuzz` runs millions of
these, `formats/test_mutants.py` a seeded share.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any, Callable, Iterator

from simple_clearance.base import text
from simple_clearance.base.jsonlines import BadLine
from simple_clearance.docket import policy, verdict
from simple_clearance.formats import auditline, dbus, nflog, readerline
from simple_clearance.formats.dnsmasq import DnsLog
from simple_clearance.formats.recording import Recording
from simple_clearance.fronts import protocol
from simple_clearance.prompt import keyboard

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")

LINES = [
    b'{"type":"container_started","container":"c1"}',
    b'{"type":"pending","container":"c1","id":"c1:1","dest":"198.51.100.0","port":443,"proto":6,"domain":"",'
    b'"dossier":{},"ts":"2026-01-31T17:32:05.123+00:00","class":"default","uid":1000}',
    b'{"type":"again","of":"pending","class":"private","container":"c1","id":"c1:2","dest":"2001:db8::1",'
    b'"port":null,"proto":17,"count":12,"ts":"2026-01-31T17:32:05.123+00:00"}',
    b'{"type":"lost","container":"c1","count":7,"where":"kernel"}',
    b'{"type":"container_exited","container":"c1","reason":"poststop"}',
]
RULES = (
    b"allow *.example.com port 443 tcp\nallow 203.0.113.0/24\ndeny 198.51.100.0/24 # no\nskip * port 25-26\n"
    b"[c*]\nask 203.0.113.9\n"
)
SAID = b"Allowed blocked.example -> 198.51.100.1, 2001:db8:1::1 for c1\n"


TROUBLE = (b"\0", b"\xff" * 4, b"\n", b'"', b"\\u0000", b"-1", b"9" * 30, b"{[", b"\x1b[A")


def read(name: str) -> bytes:
    with open(os.path.join(SAMPLES, name), "rb") as file:
        return file.read()


def datagrams(name: str) -> list[bytes]:
    return [bytes.fromhex(one) for one in json.loads(read(name))["datagrams"]]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """`data` with bytes changed, cut out, doubled, or replaced by what parsers trip over."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randrange(1, 33)]
        elif kind == 3:
            out[at:at] = rng.choice(TROUBLE)
        elif kind == 4 and out:
            out[at % len(out)] = rng.choice((0, 255, 127, 128, 10, 34))
        else:
            del out[at:]
    return bytes(out)


def _dns(data: bytes) -> object:
    log = DnsLog()
    return [(name.name, name.via, name.at) for dest in log.feed(data) for name in log.names(dest)]


def _bus(data: bytes) -> object:
    connection = dbus.Connection()
    return connection.feed(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n" + data)


def _keys(data: bytes) -> object:
    board = keyboard.Keyboard()
    board.deciding, board.working = "adsm", "lhi?q"
    return [(press.key, press.fate) for press in board.feed(data, 1.0)], board.tick(9.0) is None


def _said(data: bytes) -> object:
    words = data.decode("latin-1")
    return verdict.outcome("allow", "blocked.example", len(words) % 3, words, words, 0.1)


def _recorded(data: bytes) -> object:
    return Recording("c1").parse(data)


def _policy(data: bytes) -> object:
    found = policy.parse(data, "rules")
    return found.of("c1").decide("203.0.113.9", 443, 6, False, ["a.example.com"])


PACKETS = datagrams("nflog-single.json") + datagrams("nflog-batched.json")
_LOG = read("dnsmasq-0.9.log").splitlines(keepends=True)
LOOKED_UP = [b"".join(_LOG[start : start + 8]) for start in range(0, 96, 8)]
Parser = Callable[[bytes], object]
PARSERS: list[tuple[str, Parser, tuple[type[Exception], ...], list[bytes]]] = [
    ("nflog", nflog.parse, (), PACKETS),
    ("readerline", readerline.parse, (BadLine,), LINES),
    ("audit", auditline.parse, (BadLine,), read("audit.jsonl").splitlines()),
    ("recording", _recorded, (BadLine,), LINES),
    ("dnslog", _dns, (), LOOKED_UP),
    ("dbus", _bus, (dbus.ProtocolError,), [dbus.method_call(2, "NameHasOwner", "org.terok.Shield1")]),
    ("policy", _policy, (policy.PolicyError,), [RULES]),
    ("answers", protocol.parse_answer, (protocol.BadAnswer,), [b"allow r1 www.example.com", b"deny r22"]),
    ("verdict", _said, (), [SAID]),
    ("keys", _keys, (), [b"a", b"\x1b[A", b"\x1b[1;5C", b"\x1bOP"]),
    ("text", lambda data: text.printable(data, 40).encode("ascii"), (), [SAID]),
]


def run(seed: int, number: int) -> Iterator[tuple[str, int]]:
    """Gives every parser `number` mutants; yields how many of them it took.  Any other error is raised."""
    for name, parser, errors, samples in PARSERS:
        rng = random.Random("%d %s" % (seed, name))
        taken = 0
        for _ in range(number):
            data = mutated(rng, rng.choice(samples))
            try:
                found: Any = parser(data)
            except errors:
                continue
            except Exception as error:
                raise AssertionError("%s raised %r for %r" % (name, error, data)) from error
            taken += found is not None
        yield name, taken
