"""The files that the shield keeps of one container, as they were written last.

What stands at their names may be a trap: nothing but a regular file is read, and nothing waited for.
"""

from __future__ import annotations

import os
import re
import stat

RULES = "ruleset.nft"
"""The rules that a start loads, below the state directory."""

LIMIT = 1 << 20
"""Bytes of a file that are looked at: its last ones."""

_ICMPV6 = re.compile(r"icmpv6|ipv6-icmp|l4proto 58\b")


def read(path: str) -> tuple[str, float]:
    """The end of a regular file, and when it changed last; "" and 0 where there is none."""

    def opener(name: str, _flags: int) -> int:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    try:
        with open(path, "rb", opener=opener) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return "", 0.0
            file.seek(max(0, found.st_size - LIMIT))
            return file.read(LIMIT).decode("utf-8", "replace"), found.st_mtime
    except OSError:
        return "", 0.0  # a folder included


def stops_ipv6(state_dir: str) -> bool:
    """Whether no IPv6 address can answer, allowed or not; False where the rules are unknown.

    They log what they refuse and let no ICMPv6 out: no neighbour discovery then (RFC 4861), so that
    a packet that is allowed finds no way.
    """
    rules = read(os.path.join(state_dir, RULES))[0]
    return "TEROK_SHIELD_BLOCKED" in rules and not _ICMPV6.search(rules)
