"""JSON lines: bytes into lines, a reader's lines into values.  Pure.

A reader is another process and may be another program, so nothing it writes is believed
before it has been looked at: wrong types, addresses with more in them than an address, lines
of any length are each one `BadLine` and nothing else.
"""

from __future__ import annotations

import json

from . import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Message = Union["Event", "Started", "Exited", "Lost"]

LINE_LIMIT = 64 * 1024
"""Bytes of one line.  Ours have 200; an audit line with a long dossier has a few thousand."""

COUNT_LIMIT = 1 << 48


class BadLine(ValueError):
    """A line that is no event: the only error that `parse` raises."""


class Lines:
    """Whole lines out of a stream of bytes; the unfinished tail is kept, up to `limit`.

    A longer line is dropped to its end and counted in `dropped`.
    """

    __slots__ = ("_limit", "_skipping", "_tail", "dropped")

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._tail = b""
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines."""
        reach = len(self._tail) + len(data)
        lines = (self._tail + data).split(b"\n")
        self._tail = lines.pop()
        if self._skipping and lines:
            self._skipping = False
            del lines[0]
        if len(self._tail) > self._limit or self._skipping:
            if not self._skipping:
                self.dropped += 1
                self._skipping = True
            self._tail = b""
        if reach > self._limit:  # else no finished line can be too long
            kept = [line for line in lines if len(line) <= self._limit]
            self.dropped += len(lines) - len(kept)
            return kept
        return lines

    @property
    def tail(self) -> bytes:
        """The unfinished line so far; b"" for one that is dropped."""
        return self._tail

    def finish(self) -> bool:
        """At the end of the stream: whether half a line was left (it is dropped and counted)."""
        half = bool(self._tail) or self._skipping
        if self._tail:
            self.dropped += 1
        self._tail, self._skipping = b"", False
        return half


GATHERED = 0.4
"""Seconds by which a reader's line may be late: it gathers repeats for 0.25 s."""


class Event:
    """Packets of one kind to one destination.

    `kind` is `pending` (blocked: may be asked), `allowed`, `denied`, `bypass` or `multicast`;
    `private` is true where the shield's floor logged it; `port`, `proto` (an IP protocol
    number) and `uid` are None when unknown; `count` is how many packets this stands for;
    `ts` is the reader's own time stamp as text, or ""; `late` is by how many seconds it may be
    told late, so that it tells nothing against what was seen within them.
    """

    __slots__ = ("count", "dest", "kind", "late", "port", "private", "proto", "reader_id", "ts", "uid")

    def __init__(
        self,
        kind: str,
        dest: str,
        port: int | None,
        proto: int | None,
        *,
        private: bool = False,
        uid: int | None = None,
        count: int = 1,
        reader_id: str = "",
        ts: str = "",
        late: float = GATHERED,
    ) -> None:
        self.kind = kind
        self.dest = dest
        # terok-shield's reader has 0 where there is none
        self.port = port if port or proto in addresses.WITH_PORTS else None
        self.proto = proto
        self.private = private
        self.uid = uid
        self.count = count
        self.reader_id = reader_id
        self.ts = ts
        self.late = late

    def __repr__(self) -> str:
        return "Event(%s %s proto=%s port=%s x%d%s)" % (
            self.kind, self.dest, self.proto, self.port, self.count, " private" if self.private else "",
        )  # fmt: skip


class Started:
    """The reader listens."""

    __slots__ = ()


class Exited:
    """The reader ends; `reason` is `poststop` (the container stopped) or `eof`."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Lost:
    """`count` packets were lost since the last such line, `where`: kernel or reader."""

    __slots__ = ("count", "where")

    def __init__(self, count: int, where: str) -> None:
        self.count = count
        self.where = where


KINDS = ("pending", "allowed", "denied", "bypass", "multicast")


def parse(line: bytes) -> Message | None:
    """One line of a reader; None for a type that we don't know.  Raises only `BadLine`."""
    fields = parse_object(line)
    kind = fields.get("type")
    if kind in KINDS:
        return _event(kind, fields, 1)
    if kind == "again":
        if fields.get("of", "pending") not in KINDS:
            return None
        return _event(fields.get("of", "pending"), fields, _integer(fields, "count", 1, COUNT_LIMIT))
    if kind == "container_started":
        return Started()
    if kind == "container_exited":
        reason = fields.get("reason")
        return Exited(reason if isinstance(reason, str) else "")
    if kind == "lost":
        return Lost(
            _integer(fields, "count", 1, COUNT_LIMIT),
            "reader" if fields.get("where") == "reader" else "kernel",
        )
    if not isinstance(kind, str):
        raise BadLine("no type")
    return None


def parse_object(line: bytes) -> dict[str, Any]:
    """One JSON object.  Raises `BadLine` for everything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadLine("not a JSON object")
    return value


def _event(kind: str, fields: dict[str, Any], count: int) -> Event:
    dest = fields.get("dest")
    plain = addresses.canonical(dest) if isinstance(dest, str) and len(dest) < 64 else None
    if plain is None:
        raise BadLine("dest is not an address")
    shield_class = fields.get("class")
    reader_id = fields.get("id")
    ts = fields.get("ts")
    return Event(
        kind,
        plain,
        _optional(fields, "port", 0xFFFF),
        _optional(fields, "proto", 0xFF),
        private=shield_class == "private" if isinstance(shield_class, str) else addresses.is_floor(plain),
        uid=_optional(fields, "uid", 0xFFFFFFFF),
        count=count,
        reader_id=reader_id if isinstance(reader_id, str) and len(reader_id) <= 128 else "",
        ts=ts if isinstance(ts, str) and len(ts) <= 40 else "",
    )


def _optional(fields: dict[str, Any], name: str, most: int) -> int | None:
    return None if fields.get(name) is None else _integer(fields, name, 0, most)


def _integer(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not least <= value <= most:  # a bool is an int, too
        raise BadLine("%s is not a number from %d to %d" % (name, least, most))
    return value


def encode(fields: dict[str, Any]) -> bytes:
    """One object as a line of printable ASCII."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
