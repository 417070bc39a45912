"""Every packet that the shield blocks is told, counted or lost: the kernel counts them, too."""

from __future__ import annotations

import re

import pytest
import scripting
from lab import Lab
from support import thorough

script = scripting.script

RAW = """
import os, random, socket, struct
chance = random.Random(7)
FRAGMENTS = [0x2000, 0x2001, 1, 0x1fff, 0x3fff, 0x8000]
EXTENSIONS = [0, 43, 44, 60, 51, 135]
def send(dest, packet):
    family = socket.AF_INET6 if ":" in dest else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, 255) as s:
        try: s.sendto(packet, (dest, 0))
        except OSError: pass  # blocked, or not even a packet to the kernel
def four(number, proto, rest, options=b"", fragment=0, version=4):
    dest = "203.0.113.%d" % number
    length = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", version << 4 | length, 0, 0, number, fragment, 64, proto, 0)
    send(dest, head + socket.inet_aton("127.0.0.1") + socket.inet_aton(dest) + options + rest)
def six(number, following, rest, version=6, length=None):
    dest = "2001:db8::%x" % number
    head = struct.pack(">IHBB", version << 28, len(rest) if length is None else length, following, 64)
    ends = socket.inet_pton(socket.AF_INET6, "::1"), socket.inet_pton(socket.AF_INET6, dest)
    send(dest, head + b"".join(ends) + rest)
def each(*protocols):
    return [(n, chance.choice(protocols)) for n in range(250)]
def some(most):
    return chance.getrandbits(8 * most).to_bytes(most, "big")[: chance.randrange(most)]
"""

KINDS = {
    "each protocol": "for n in range(250): four(n, n, some(60)); six(n, n, some(60))",
    "fragments": "for n, it in each(6, 17): four(n, it, some(40), fragment=chance.choice(FRAGMENTS))",
    "options": "for n, it in each(6, 17): four(n, it, some(40), bytes(4 * chance.randrange(11)))",
    "errors of others": "for n, kind in each(3, 4, 5, 11, 12): four(n, 1, bytes([kind, 0, 0, 0]) + some(60))",
    "flags": "for n in range(250): four(n, 6, struct.pack('>HHIIBBHHH', 9, 443, 1, 1, 0x50, n, 0, 0, 0))",
    "extension headers": "for n, it in each(*EXTENSIONS): "
    "six(n, it, bytes([chance.choice([*EXTENSIONS, 6, 17, 58]), n % 4]) + some(200))",
    "other versions": "for n in range(250): four(n, 17, some(60), version=n % 16); "
    "six(n, 17, some(60), version=n % 16, length=chance.randrange(65536))",
}


@pytest.mark.parametrize("kinds", [list(KINDS), *thorough(*([kind] for kind in KINDS))], ids="+".join)
def test_every_packet_is_told_counted_or_lost(script, host, kinds):
    with Lab() as lab:
        host.container("c2", lab)
        it = script("--json", reader=False, names=("c2",))
        it.until("session")
        for kind in kinds:
            lab.python(RAW + KINDS[kind])
        (blocked,) = re.findall(r'BLOCKED: " group 100 counter packets (\d+)', lab.nft("list", "ruleset"))
        while not it.silent(1.5):  # a rising count is told once a second
            it.read()
        lab.end()
        summary = it.until("summary")
        told = {it["id"]: it["count"] for it in it.records if it["type"] in ("pending", "again")}
        assert int(blocked) > 40 * len(kinds)
        assert int(blocked) == sum(told.values()) + summary["lost"] + summary["untold"]
        it.ends(5)
