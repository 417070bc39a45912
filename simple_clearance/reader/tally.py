"""What the reader has seen, as lines: the first packet of its kind at once, repeats as counts.

Pure: batches of packets in, JSON lines out.  The lines are put together by hand, since a flood
needs 50,000 of them a second and everything in them is a number, an address or a constant; the
two texts from outside (the container's name, its dossier) are quoted once, at the start.

The awkward fact: whoever is inside decides how many destinations there are.  So each kind
remembers its own (a flood of allowed ones can't push out the blocked), in two generations: when
the young one is full it becomes the old one, whose own predecessor is forgotten.  A destination
tried again after that is a new one.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from ..formats.nflog import Batch, Key

GENERATION = 4096  # destinations of a kind in each of the two generations; twice as many take 4 MB more
REPEATS = 16384  # destinations of a kind whose repeats are counted at once
PIECE = 512  # lines of repeats that are made at once

OF = {  # the kernel's prefix -> the `type` of its line, and its `class`
    "blocked": ("pending", ',"class":"default"'),
    "private": ("pending", ',"class":"private"'),
    "denied": ("denied", ""),
    "allowed": ("allowed", ""),
    "bypass": ("bypass", ""),
    "multicast": ("multicast", ""),
}
_STARTED = '{"type":"container_started","container":%s}\n'
_HELD = '{"type":"held","container":%s,"pid":%d}\n'
_EXITED = '{"type":"container_exited","container":%s,"reason":"%s"}\n'
_LOST = '{"type":"lost","container":%s,"count":%d,"where":"%s"}\n'
# A new destination's line, in two parts: its number and its address come between
_HEAD = '{"type":"%s","container":%s,"id":%s'
_TAIL = '","port":%s,"proto":%s%s,"ts":"%s"%s,"uid":%s}\n'
_LABELS = ',"domain":"","dossier":{%s}'
_AGAIN = (
    '{"type":"again","of":"%s"%s,"container":%s,"id":%s%d","dest":"%s","port":%s,"proto":%s,'
    '"count":%d,"ts":"%s"}\n'
)
_UNKNOWN = 0x10000  # a port or protocol in a key
_MARK = Struct("=II")  # protocol, port: the beginning of a key; the destination is its end


class _Kind:
    """One kind's destinations: key -> number of its line; those tried again -> [number, how often]."""

    __slots__ = ("again", "old", "young")

    def __init__(self) -> None:
        self.young: dict[bytes, int] = {}
        self.old: dict[bytes, int] = {}
        self.again: dict[bytes, list[int]] = {}


class Tally:
    """Turns batches into lines for one container.

    `as_text` spells a packed address, `stamp` a time in seconds since the epoch; the time of
    what is told is asked for with `wall`.
    `untold` counts the packets that no line tells of, since there was no room; its user may
    add to it, and resets it once it is told.
    """

    def __init__(
        self,
        container: str,
        dossier: dict[str, str],
        as_text: Callable[[bytes], str],
        stamp: Callable[[float], str],
    ) -> None:
        self._container = quoted(container)
        self._id = quoted(container + ":")[:-1]  # without the number and the closing quote
        labels = ",".join([quoted(key) + ":" + quoted(value) for key, value in dossier.items()])
        self._labels = _LABELS % labels
        self._as_text = as_text
        self._stamp = stamp
        self._kinds = {kind: _Kind() for kind in OF}
        self._number = 0
        self.untold = 0

    def started(self) -> str:
        return _STARTED % self._container

    def held(self, pid: int) -> str:
        """Nothing will be told, since this process has what we would listen to."""
        return _HELD % (self._container, pid)

    def exited(self, reason: str) -> str:
        return _EXITED % (self._container, reason)

    def lost(self, count: int, where: str) -> str:
        """`where` is kernel (its buffer was full) or reader (nobody took our lines fast enough)."""
        return _LOST % (self._container, count, where)

    def take(self, batch: Batch, wall: float, room: bool, ample: bool) -> str:
        """The lines for what is new in `batch`, which came at `wall` (seconds since the epoch).

        Without `room` nothing new is told, without `ample` room only what is blocked.  What is
        not told goes into `untold`, and is new again when it is tried again; what was told
        before is counted for `repeats`.
        """
        lines: list[str] = []
        for group, counts in batch.groups.items():
            kind, proto, port, _ = group
            seen = self._kinds[kind]
            young, old, as_text = seen.young, seen.old, self._as_text
            mark = _MARK.pack(_UNKNOWN if proto is None else proto, _UNKNOWN if port is None else port)
            may_tell = ample or (room and OF[kind][0] == "pending")
            head = tail = ""
            for dest, count in counts.items():
                key = mark + dest
                number = young.get(key) or old.get(key)
                if number is not None:
                    young[key] = number
                    self._count(seen, key, number, count)
                elif may_tell:
                    if not head:  # most batches of a flood hold nothing new
                        head, tail = self._around(group, wall)
                    self._number = young[key] = number = self._number + 1
                    lines.append(f'{head}{number}","dest":"{as_text(dest)}{tail}')
                    if count > 1:
                        self._count(seen, key, number, count - 1)
                else:
                    self.untold += count
            if len(young) >= GENERATION:
                seen.old, seen.young = young, {}
        return "".join(lines)

    def _around(self, group: Key, wall: float) -> tuple[str, str]:
        """A new destination's line, before its number and after its address."""
        kind, proto, port, uid = group
        of, shield_class = OF[kind]
        labels = self._labels if of == "pending" else ""
        tail = _TAIL % (_json(port), _json(proto), labels, self._stamp(wall), shield_class, _json(uid))
        return _HEAD % (of, self._container, self._id), tail

    def _count(self, seen: _Kind, key: bytes, number: int, count: int) -> None:
        entry = seen.again.get(key)
        if entry is not None:
            entry[1] += count
        elif len(seen.again) < REPEATS:
            seen.again[key] = [number, count]
        else:
            self.untold += count

    @property
    def repeated(self) -> bool:
        """Whether `repeats` would tell anything."""
        return any([seen.again for seen in self._kinds.values()])

    def repeats(self, wall: float) -> Iterator[str]:
        """The `again` lines for what was counted since it was told last, in pieces of some 100 KB.

        All of it at once took 8 MB more.  What its user does not take stays counted.
        """
        stamp = self._stamp(wall)
        for kind, seen in self._kinds.items():
            keys = list(seen.again)
            for at in range(0, len(keys), PIECE):
                some = [(key, seen.again.pop(key)) for key in keys[at : at + PIECE]]
                yield "".join([self._again(kind, key, entry, stamp) for key, entry in some])

    def _again(self, kind: str, key: bytes, entry: list[int], stamp: str) -> str:
        of, shield_class = OF[kind]
        number, count = entry
        proto, port = _MARK.unpack_from(key)
        dest = self._as_text(key[_MARK.size :])
        return _AGAIN % (
            of, shield_class, self._container, self._id, number, dest, _json(port), _json(proto),
            count, stamp,
        )  # fmt: skip


def _json(value: int | None) -> str:
    return "null" if value is None or value == _UNKNOWN else str(value)


def quoted(text: str) -> str:
    """A JSON string of printable ASCII, whatever `text` holds."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"%s"' % text
    import json  # 6 ms that hardly any container needs

    return json.dumps(text).replace("\x7f", "\\u007f")
