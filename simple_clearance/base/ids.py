"""What names a container: the name that podman takes, and its id.  Pure."""

from __future__ import annotations

SHORT_ID, LONG_ID = 12, 64
"""Hex digits: of what podman prints and the shield and the hub go by, and of a whole id."""

TWICE = "name each container once"
"""What to do where two names are one container's."""

_HEX = frozenset("0123456789abcdef")
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


def is_hex(text: str) -> bool:
    return _HEX.issuperset(text)


def is_name(text: str) -> bool:
    """True for what podman accepts as a name: `[A-Za-z0-9_][A-Za-z0-9_.-]*`; ids are among them."""
    return bool(text) and text[0] not in ".-" and _NAME.issuperset(text)
