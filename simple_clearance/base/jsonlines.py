"""JSON lines: bytes into whole lines, a line into an object, and back.  Pure.

Whoever writes them may be another program, or hostile: lines of any length, cut anywhere.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINE_LIMIT = 64 * 1024
"""Bytes of one line.  Ours have 200; an audit line with a long dossier has a few thousand."""


class BadLine(ValueError):
    """A line that is not what it should be: the only error of those who read one."""


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


def parse_object(line: bytes) -> dict[str, Any]:
    """One JSON object.  Raises `BadLine` for everything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadLine("not a JSON object")
    return value


def encode(fields: dict[str, Any]) -> bytes:
    """One object as a line of printable ASCII."""
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"
