"""What happened to a container, as values: whoever reads it makes them, whoever decides takes them.  Pure."""

from __future__ import annotations

from . import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence, Union

    Message = Union["Event", "Started", "Held", "Exited", "Lost"]

KINDS = ("pending", "allowed", "denied", "bypass", "multicast")
"""What may have become of a packet."""

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


class Held:
    """The reader can't listen, since the process `pid` holds the packet log."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid


class Exited:
    """The reader ends; `reason` is `poststop` (the container stopped) or `eof`."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


GAPS = ("watch", "link")
"""Where a loss is a time in which nobody watched, of unknown content: a reader, a link ended unexpectedly."""


class Lost:
    """`count` packets were lost since the last such line, `where`: kernel or reader; of `GAPS` so many."""

    __slots__ = ("count", "where")

    def __init__(self, count: int, where: str) -> None:
        self.count = count
        self.where = where


class Learnt:
    """The names of `dest` have become known: these, the one looked up last first."""

    __slots__ = ("dest", "names")

    def __init__(self, dest: str, names: tuple[Name, ...]) -> None:
        self.dest = dest
        self.names = names

    def __repr__(self) -> str:
        return "Learnt(%s, %r)" % (self.dest, self.names)


class Watching:
    """A container whose watch begins.

    `state` is its shield's, `shield` the version of that; `id` is 64 hex digits or "", `source` the kind of
    where its events come from; `missed`, how many packets were blocked before; `held_by`, the pid of
    terok-shield's reader that holds its packet log, `taken_over`, of the one that was ended, else 0;
    `unseen`, what can't be seen of it, in words; `in_pod`, whether what it tries may be another one's;
    `no_ipv6`, whether that gets no answer in it.
    """

    __slots__ = (
        "dossier", "held_by", "id", "in_pod", "missed", "name", "no_ipv6", "shield", "source", "state",
        "taken_over", "unseen",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        dossier: dict[str, str],
        state: str,
        *,
        container_id: str = "",
        source: str = "",
        shield: int | None = None,
        missed: int = 0,
        held_by: int = 0,
        taken_over: int = 0,
        unseen: Sequence[str] = (),
        in_pod: bool = False,
        no_ipv6: bool = False,
    ) -> None:
        self.name = name
        self.id = container_id
        self.source = source
        self.shield = shield
        self.unseen = unseen
        self.dossier = dossier
        self.state = state
        self.missed = missed
        self.held_by = held_by
        self.taken_over = taken_over
        self.in_pod = in_pod
        self.no_ipv6 = no_ipv6

    def facts(self) -> dict[str, Any]:
        """The fields of a record that tell it, but for the name."""
        known = {
            "shield_state": self.state or None, "missed": self.missed, "held_by": self.held_by or None,
            "taken_over": self.taken_over or None, "unseen": list(self.unseen), "dossier": self.dossier,
            "in_pod": self.in_pod, "no_ipv6": self.no_ipv6,
        }  # fmt: skip
        told = {key: value for key, value in known.items() if value or key == "dossier"}
        return {"id": self.id or None, "source": self.source or None, "shield": self.shield, **told}


class Recorded:
    """A verdict in the shield's own log: `action` (`allow`, `deny`) of `dest`, asked for as `target`."""

    __slots__ = ("action", "dest", "target", "ts")

    def __init__(self, action: str, dest: str, target: str, ts: str) -> None:
        self.action = action
        self.dest = dest
        self.target = target
        self.ts = ts


class Name:
    """A name that was answered with an address.

    `name` is in lower case, `via` the end of its CNAME chain or "", `at` the log's own time,
    `nov 23 23:05:50`.  `forgot` says that its address may have had names before this one that are
    forgotten: of all names of an address only the one looked up first can tell so.
    """

    __slots__ = ("at", "forgot", "name", "via")

    def __init__(self, name: str, via: str, at: str, forgot: bool = False) -> None:
        self.name = name
        self.via = via
        self.at = at
        self.forgot = forgot

    def __repr__(self) -> str:
        return "Name(%r, %r, %r)" % (self.name, self.via, self.at)
