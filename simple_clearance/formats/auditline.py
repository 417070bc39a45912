"""The shield's audit log, line by line: what its bridge reader saw blocked, and the shield's state.  Pure.

`audit.jsonl` in the state directory gets a line for each change of the shield's state, for each
verdict, whoever asked for it, and, while terok-shield's bridge reader runs, for blocked packets: at
most one in 30 s for a name or an address, without a uid and without a count.
"""

from __future__ import annotations

from ..base import addresses
from ..base.happenings import Event, Recorded
from ..base.jsonlines import BadLine, parse_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DISENGAGED = ("disengaged=True", "allow_all=True")  # today's word for it, and that of 0.7
VERDICTS = {"allowed": "allow", "denied": "deny"}
STATES = {"shield_up": "up", "shield_down": "down", "shield_quarantine": "quarantine"}


LATE = 1.5
"""Seconds by which a line may be late: the bridge reader writes each up to a second after the packet."""


class ShieldState:
    """The shield was put into `state`: up, down, disengaged or quarantine; `ts` as the log has it."""

    __slots__ = ("state", "ts")

    def __init__(self, state: str, ts: str) -> None:
        self.state = state
        self.ts = ts

    def __repr__(self) -> str:
        return f"ShieldState({self.state}, {self.ts})"


def parse(line: bytes) -> Event | ShieldState | Recorded | None:
    """One line; None for what is neither a blocked packet, nor a change of state, nor a verdict.

    Raises `BadLine` for one that is not what it seems, nothing else.
    """
    fields = parse_object(line)
    action = fields.get("action")
    if action == "blocked":
        return _blocked(fields)
    if isinstance(action, str) and action in STATES:
        detail = str(fields.get("detail", ""))[:200]
        disengaged = action == "shield_down" and any(word in detail for word in DISENGAGED)
        return ShieldState("disengaged" if disengaged else STATES[action], _text(fields.get("ts")))
    if isinstance(action, str) and action in VERDICTS:
        return _recorded(fields, VERDICTS[action])
    return None


def _recorded(fields: dict[str, Any], action: str) -> Recorded | None:
    dest = addresses.canonical(fields.get("dest"))
    detail = str(fields.get("detail", ""))[:300]
    target = detail[len("target=") :] if detail.startswith("target=") else ""
    return Recorded(action, dest, target, _text(fields.get("ts"))) if dest else None


def _blocked(fields: dict[str, Any]) -> Event:
    plain = addresses.canonical(fields.get("dest"))
    if plain is None:
        raise BadLine("dest is not an address")
    port = fields.get("port")
    if port is not None and (type(port) is not int or not 0 <= port <= 0xFFFF):
        raise BadLine("port is not a port")
    proto = _proto(_text(fields.get("proto")))
    return Event(
        "pending",
        plain,
        port,
        proto,
        private=addresses.is_floor(plain),
        ts=_text(fields.get("ts")),
        late=LATE,
    )


def _proto(name: str) -> int | None:
    """`tcp`, or a number where it has no name."""
    if name.isdecimal() and name.isascii() and int(name) <= 0xFF:
        return int(name)
    return addresses.proto_number(name)


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 40 else ""
