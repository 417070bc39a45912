"""What a recording says: lines of a `--log`, of a `--json` output and of readers, in any mixture.  Pure.

All go one way: a record of ours is put into a reader's words, and those are read, and believed, as
any reader's are.  What was decided then is left out, since a replay decides anew.

The awkward facts: our own records count a request's tries from its beginning, a reader's from
its last line; and a log holds one session after the other, whose ids start again.
"""

from __future__ import annotations

from ..base import addresses, jsonlines, timestamps
from ..base.happenings import KINDS, Event, Learnt, Lost, Name
from ..base.jsonlines import BadLine
from ..base.text import bounded_labels
from . import readerline
from .sessionline import NAME, NAME_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Message = Union[Event, Lost, Learnt]

LINE_LIMIT = 1 << 20
"""Bytes of one line: a verdict lists all requests that it covered, of which there may be 20,000."""

REMEMBERED = 100_000
"""Destinations whose count is remembered; a session of ours remembers fewer."""

OTHERS_SHOWN = 8
KNOWN = (
    *KINDS,
    *("container_started", "container_exited", "again", "lost"),
    *("session", "names", "deciding", "verdict", "passed", "still_blocked", "closed"),
    *("shield", "error", "summary"),
)
REQUEST = ("dest", "port", "proto", "class", "uid", "reader_id")
"""The fields of a `pending` record that tell what a later one with its id is about."""


class Recorded:
    """One thing that happened, and when by the clock of then; None before any line told that."""

    __slots__ = ("message", "wall")

    def __init__(self, message: Message, wall: float | None) -> None:
        self.message = message
        self.wall = wall

    def __repr__(self) -> str:
        return "Recorded(%r, %s)" % (self.message, self.wall)


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
        self._wall: float | None = None
        self._open: dict[str, dict[str, Any]] = {}  # by the ids of the session that is being read
        self._counts: dict[tuple[str, int | None, int | None], int] = {}

    def parse(self, line: bytes) -> list[Recorded]:
        """What one line says happened, in its order; mostly one thing or none.  Raises only `BadLine`."""
        fields = jsonlines.parse_object(line)
        kind = fields.get("type")
        if not isinstance(kind, str):
            raise BadLine("no type")
        self.understood += kind in KNOWN
        if kind == "session":
            self._session(fields)
        elif "container" not in fields or self._is_ours(fields):
            wall = timestamps.seconds(_text(fields, "ts"))
            self._wall = self._wall if wall is None else wall
            return [Recorded(message, self._wall) for message in self._messages(kind, fields)]
        return []

    def _messages(self, kind: str, fields: dict[str, Any]) -> list[Message]:
        """What a line says that may be of one of our records, or a reader's."""
        request_id = _text(fields, "id")
        request = self._open.get(request_id, {})
        if kind == "closed":
            self._open.pop(request_id, None)
            if "count" not in fields:
                return []
        if kind == "names":
            return _learnt(request["dest"], fields) if request else []
        if kind in ("again", "closed") and "dest" not in fields:
            return self._counted({**request, "count": fields.get("count")}) if request else []
        if kind != "pending" or "count" not in fields:
            message = readerline.message(fields)
            if kind == "pending":
                self._label(fields)
            return [message] if isinstance(message, (Event, Lost)) else []
        request = {key: fields.get(key) for key in REQUEST}
        found = self._counted({**request, "count": fields["count"]}, opens=True)
        self._label(fields)
        self._open[request_id] = request
        return [*_learnt(request["dest"], fields), *found]

    def _counted(self, request: dict[str, Any], opens: bool = False) -> list[Message]:
        """A request of ours with the whole count of its tries, as a reader tells the new ones.

        One that has just been opened is told in any case.
        """
        words = {**request, "type": "again", "of": "pending", "id": request["reader_id"]}
        event = readerline.message(words)
        assert isinstance(event, Event)
        key, total = (event.dest, event.proto, event.port), event.count
        event.count = max(0, total - self._counts.get(key, 0)) or total * opens
        if len(self._counts) >= REMEMBERED:
            self._counts.clear()
        self._counts[key] = total
        return [event] if event.count else []

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
        if not NAME.fullmatch(name) or len(name) > NAME_LIMIT:
            raise BadLine("container is not a name")
        self.container = self._also = name

    def _label(self, fields: dict[str, Any]) -> None:
        """The labels of the first request that has any are those of the container."""
        dossier = fields.get("dossier")
        if isinstance(dossier, dict) and not self.dossier:
            self.dossier = bounded_labels(dossier)


def _learnt(dest: str, fields: dict[str, Any]) -> list[Message]:
    """The names that a record of ours tells."""
    names = fields.get("names")
    found = tuple(
        Name(name, "", "")
        for name in (names if isinstance(names, list) else [])
        if isinstance(name, str) and addresses.is_name(name)
    )
    if found:
        found[-1].forgot = bool(fields.get("more_names") or fields.get("names_forgotten"))
    return [Learnt(dest, found)] if found else []


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) and len(value) <= 256 else ""
