"""What a recording says: a `--log`, a `--json` output or a reader's lines, one or the other.  Pure.

Nothing in it is believed more than a reader's lines are.  What a reader saw is an event again;
what was decided then is not, since a replay decides anew.

The awkward facts: our own records count a request's tries from its beginning, a reader's from
its last line; and a log holds one session after the other, whose ids start again.
"""

from __future__ import annotations

import re

from ..base import addresses, jsonlines
from ..base.happenings import KINDS, Event, Lost, Name
from ..base.jsonlines import BadLine
from . import readerline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Message = Union[Event, Lost, "Learnt"]

REMEMBERED = 100_000
"""Destinations whose count is remembered; a session of ours remembers fewer."""

OTHERS_SHOWN = 8
KNOWN = (
    *KINDS,
    *("container_started", "container_exited", "again", "lost"),
    *("session", "names", "deciding", "verdict", "passed", "still_blocked", "closed"),
    *("shield", "error", "summary"),
)
LOST_WHERE = ("kernel", "reader", "table", "stdout", "log")
_CONTAINER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


class Learnt:
    """The names of `dest` have become known."""

    __slots__ = ("dest",)

    def __init__(self, dest: str) -> None:
        self.dest = dest

    def __repr__(self) -> str:
        return "Learnt(%s)" % self.dest


class Recorded:
    """One thing that happened: `message`, and when, in the recording's own words (or "")."""

    __slots__ = ("message", "ts")

    def __init__(self, message: Message, ts: str) -> None:
        self.message = message
        self.ts = ts

    def __repr__(self) -> str:
        return "Recorded(%r, %s)" % (self.message, self.ts)


class Recording:
    """Reads a recording line by line, for one container.

    `container` is the one asked for or, where none was, the first one in it; `id` and `version`
    (of its shield's bundle) are known once a session of ours told them, `dossier` once a request
    did.  `others` counts the lines for other containers, `understood` all of a type that we know;
    `choice` are the containers of the first session of ours, where none was asked for.
    """

    def __init__(self, container: str = "") -> None:
        self.container = container
        self.id = ""
        self.version: int | None = None
        self.dossier: dict[str, str] = {}
        self.others: dict[str, int] = {}
        self.choice: list[str] = []
        self.understood = 0
        self._also = container  # the id that it goes by, too
        self._names: dict[str, tuple[Name, ...]] = {}
        self._open: dict[str, Event] = {}  # by the ids of the session that is being read
        self._counts: dict[tuple[str, int | None, int | None], int] = {}

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names known for an address so far."""
        return self._names.get(dest, ())

    def parse(self, line: bytes) -> Recorded | None:
        """One line; None where it holds nothing that happened.  Raises only `BadLine`."""
        fields = jsonlines.parse_object(line)
        kind = fields.get("type")
        if not isinstance(kind, str):
            raise BadLine("no type")
        self.understood += kind in KNOWN
        if kind == "session":
            self._session(fields)
            return None
        if "container" in fields and not self._is_ours(fields):
            return None
        message = self._message(kind, fields, line)
        if message is None:
            return None
        ts = fields.get("ts")
        return Recorded(message, ts if isinstance(ts, str) and len(ts) <= 40 else "")

    def _message(self, kind: str, fields: dict[str, Any], line: bytes) -> Message | None:
        if kind == "names":
            event = self._open.get(_text(fields, "id"))
            return Learnt(event.dest) if event and self._learn(event.dest, fields) else None
        if kind == "closed":
            self._open.pop(_text(fields, "id"), None)
            return None
        if kind == "again" and "dest" not in fields:
            return self._again(fields)
        if kind == "lost":
            lost = readerline.parse(line)
            assert isinstance(lost, Lost)
            where = fields.get("where")
            return Lost(lost.count, where) if where in LOST_WHERE else lost
        message = readerline.parse(line)
        if not isinstance(message, Event):
            return None  # container_started and the like, types of ours that decide nothing, types to come
        if kind == "pending":
            self._pending(message, fields)
        return message

    def _session(self, fields: dict[str, Any]) -> None:
        """A session of ours begins: its ids and counts are its own."""
        self._open.clear()
        self._counts.clear()
        listed = fields.get("containers")
        containers = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        if not self.container:
            self.choice = [_text(each, "name") for each in containers]
            if len(containers) == 1:
                self._choose(self.choice[0])
        for each in containers:
            name, full_id, version = _text(each, "name"), _text(each, "id"), each.get("shield")
            by_id = len(self.container) >= 12 and full_id.startswith(self.container)
            if name and (name == self.container or by_id):
                self._also, self.id = name, full_id
                self.version = version if type(version) is int else None

    def _is_ours(self, fields: dict[str, Any]) -> bool:
        name = _text(fields, "container")
        if not name and fields["type"] == "lost":
            return True  # of an output that was not read, which concerned all
        if not self.container:
            self._choose(name)
        if name and name in (self.container, self._also, self.id, self.id[:12]):
            return True
        if name in self.others or len(self.others) < OTHERS_SHOWN:
            self.others[name] = self.others.get(name, 0) + 1
        return False

    def _choose(self, name: str) -> None:
        if not _CONTAINER.fullmatch(name):
            raise BadLine("container is not a name")
        self.container = self._also = name

    def _pending(self, event: Event, fields: dict[str, Any]) -> None:
        dossier = fields.get("dossier")
        if isinstance(dossier, dict) and not self.dossier:
            self.dossier = {key: value for key, value in dossier.items() if isinstance(value, str)}
        if "count" not in fields:
            return  # a reader's line
        total = _total(fields)
        self._learn(event.dest, fields)
        self._open[_text(fields, "id")] = event
        event.reader_id = _text(fields, "reader_id")
        event.count = self._since(event, total) or total

    def _again(self, fields: dict[str, Any]) -> Event | None:
        """One of our own: it tells the whole count of a request."""
        event = self._open.get(_text(fields, "id"))
        if event is None:
            return None
        count = self._since(event, _total(fields))
        return Event(
            "pending", event.dest, event.port, event.proto,
            private=event.private, uid=event.uid, count=count, reader_id=event.reader_id,
        ) if count else None  # fmt: skip

    def _since(self, event: Event, total: int) -> int:
        """How many of `total` tries are new since they were last told; 0 when it has not grown."""
        key = (event.dest, event.proto, event.port)
        told = self._counts.get(key, 0)
        if len(self._counts) >= REMEMBERED:
            self._counts.clear()
        self._counts[key] = total
        return max(0, total - told)

    def _learn(self, dest: str, fields: dict[str, Any]) -> bool:
        names = fields.get("names")
        found = tuple(
            Name(name, "", "")
            for name in (names if isinstance(names, list) else [])
            if isinstance(name, str) and addresses.is_name(name)
        )
        if not found:
            return False
        if len(self._names) >= REMEMBERED:
            self._names.clear()
        self._names[dest] = found
        return True


def _total(fields: dict[str, Any]) -> int:
    value = fields.get("count")
    if type(value) is not int or not 0 < value <= readerline.COUNT_LIMIT:
        raise BadLine("count is not a number of tries")
    return value


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) and len(value) <= 256 else ""
