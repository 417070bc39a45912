"""The containers under watch, and where their events come from.

Owns what was found out about each container, its source of events, and its followed logs.
Whatever comes in goes into the docket; the end of the last container, or of a source, is told
to `ended`.
"""

from __future__ import annotations

import os

from ..base import jsonlines
from ..base.errors import CANNOT_START, OK, READER_ENDED, Refused
from ..base.happenings import Event, Exited, Lost, Started, Watching
from ..base.ids import SHORT_ID
from ..base.text import printable
from ..containers import forgotten, kept, statedir
from ..formats import auditline
from ..system import archived, clocks
from ..system.folders import CONTENTS, NO_NOTICES
from ..system.loop import ROUND
from . import auditlog, bridge, lookups, watched
from .auditlog import AUDIT_LOG, ShieldLog
from .readers import AuditSource, ReaderSource, SharedSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Sequence, Tuple, Union

    from ..base.happenings import Message, Name, Recorded
    from ..base.moment import Now
    from ..base.options import Options
    from ..docket.docket import Docket
    from ..hub.hub import Hub
    from ..system.folders import Folders
    from ..system.loop import Loop
    from .replay import ReplayFile, ReplaySource
    from .watched import Watched

    Source = Union[ReaderSource, AuditSource, SharedSource, ReplaySource]
    Row = Tuple[str, str, str, Union[int, None]]
    Reading = Callable[[Watched, Now], bool]


SHARED = "in the network of %s: what it tries is asked as that one's"
HEIR = "%s: what is tried in the network that it is in is asked as this one's from now on"

LAST = 1.0
"""Seconds that a container's last packets may take from the kernel to us."""
LAST_OF_LOG = 1.5
"""The same through the audit log: terok-shield's reader writes up to a second late, and ends later yet."""
ONE_BY_ONE = 0.5
"""Seconds of that in which each is told; of a flood the rest is only counted."""
REST = 0.2
"""Seconds for the rest of an audit log, once nobody writes to it any more."""


class Fleet:
    """All containers of one session.  `ended(code, words)` is called when there is nothing left to watch."""

    def __init__(
        self,
        loop: Loop,
        docket: Docket,
        options: Options,
        trace: Callable[[str], None],
        ended: Callable[..., None],
        drain: Callable[[Now], None],
    ) -> None:
        self.containers: list[Watched] = []
        self.unnoticed = False  # whether files change of which there are no notices
        self.sources: list[Source] = []
        self._loop = loop
        self._docket = docket
        self._options = options
        self._trace = trace
        self._ended = ended
        self._drain = drain
        self._archive = archived.stamp()
        self._stopping = False
        self._listened = False
        self._resuming: list[Watched] = []
        self._last: dict[Watched, float] = {}  # those that have ended: until when their last words are taken
        self._cut: dict[Watched, int] = {}  # and how many of those were only counted
        self._faulty: list[Source] = []
        self._replay: ReplaySource | None = None
        self._turns: list[tuple[Watched, Reading]] = []  # who of those that read a log is next
        loop.deadlines += [self._next_slice, lambda: min(self._last.values(), default=None)]

    @property
    def replays(self) -> bool:
        """Whether a recording is still being read."""
        return self._replay is not None and not self._replay.over

    @property
    def replayed(self) -> bool:
        """Whether a recording has been read to its end."""
        return self._replay is not None and self._replay.over

    @property
    def hubs(self) -> dict[str, Hub]:
        """The look for a hub, by container."""
        return {one.name: one.hub for one in self.containers if one.hub is not None}

    def rows(self) -> list[Row]:
        """Name, id, kind of source and bundle version of each container."""
        return [
            (source.watched.name, source.watched.id, source.kind, source.watched.version)
            for source in self.sources
            if source.watched.name  # a recording that never said so has none
        ]

    def watching(self) -> list[Watching]:
        """The same as the operator is told it."""
        return [
            Watching(
                one.name, one.dossier, one.state, missed=one.blocked_before, held_by=source.held_by,
                taken_over=one.taken_over, recorded=source.kind == "replay", unseen=one.unseen,
            )
            for source in self.sources
            for one in (source.watched,)
        ]  # fmt: skip

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Finds out all about every container.  Refused (3) when one can't be watched."""
        for name in self._options.containers:
            self.containers.append(watched.prepare(name, self._options, environ, os.getuid(), self._trace))

    def start(self, files: Folders) -> None:
        """Starts every source; `listening` tells when all of them do."""
        for one in self.containers:
            ipv6 = not kept.stops_ipv6(one.state_dir)
            self._docket.add_container(one.name, one.version, one.dossier, ipv6=ipv6, in_pod=one.in_pod)
            self.sources.append(self._source(one))
            if one.pidfd >= 0:
                self._watch_end(one)
            query_log = os.path.join(one.state_dir, "dnsmasq.log")
            one.unseen += [
                *auditlog.unseen(one.state_dir, one.audited),
                *filter(None, [lookups.fault(query_log)]),
            ]
            one.book = lookups.NameBook(query_log, 1 / len(self.containers))
            one.log = ShieldLog(os.path.join(one.state_dir, AUDIT_LOG), one.started_at)
            if not files.watch(one.state_dir, CONTENTS):
                self.unnoticed = True
                one.unseen.append(NO_NOTICES % printable(one.state_dir, 200))
            self._read_names_on(one, clocks.now())
            self._turns += [(one, read) for read in (self._read_names, self._read_log, self._read_history)]
            one.state, one.blocked_before = one.log.history()
            if not one.audited:
                one.state = ""  # then only the bridge reader writes there
            if one.state:
                self._docket.shields.state(one.name, one.state, clocks.now())
        self._docket.take()  # the greeting tells the shields' states
        for one in self.containers:
            self._tell_forgotten(one)

    def _tell_forgotten(self, one: Watched) -> None:
        number = forgotten.forgotten(one.state_dir, one.started_at)
        if number:
            command = forgotten.remedy(one.name, one.id, self._options.shield_command)
            self._docket.warn(f"{one.name}: {forgotten.told(number)}", hint=command)

    def start_replay(self) -> None:
        """The same for a recording.  Refused when it can't be read."""
        from .replay import ReplayFile, ReplaySource

        name = "".join(self._options.containers)
        file = ReplayFile(self._options.replay or "", name)
        one = watched.Watched(name)
        self.containers.append(one)
        self._replay = ReplaySource(
            one, file, self._loop, self._replay_known, self._replayed, self._replay_over
        )
        self.sources.append(self._replay)

    def listening(self) -> bool:
        self._listened = self._listened or all(source.started for source in self.sources)
        return self._listened

    def claim(self) -> None:
        """Keeps other sessions away: two may well listen, where one of them has its events from elsewhere.

        Refused (3) when another one was first.
        """
        for one in self.containers:
            if one.lock < 0 and one.state_dir and not self._options.dry_run:
                one.lock = statedir.claim(one.state_dir, one.name)

    @property
    def has_last_words(self) -> bool:
        """Whether a container has ended whose last words are still being taken: for a second at most."""
        return bool(self._last)

    def ending(self, name: str) -> bool:
        """Whether that container has ended, and its last words are still being taken."""
        return any(one.name == name for one in self._last)

    def spellings(self, name: str) -> tuple[str, ...]:
        """All that a verdict command may call that container."""
        ids = [one.id for one in self.containers if one.name == name and one.id]
        return (name, *ids, *(one[:SHORT_ID] for one in ids))

    def tick(self, now: Now) -> None:
        """Hurries those whose last words are only counted, and waits no longer for what has not come."""
        for one in [one for one in self._last if self._only_counted(one, now)]:
            over = self._last[one] <= now.mono
            for source in self._of(one):
                if isinstance(source, ReaderSource):
                    source.read_rest(now)  # which may be the last of it, and told as that
                    if over:
                        self._had_all(one, now, False)
            if over:
                self._had_all(one, now, self._read_rest(one, now))

    def _only_counted(self, one: Watched, now: Now) -> bool:
        return self._last.get(one, now.mono + LAST) - now.mono <= LAST - ONE_BY_ONE

    def reap(self, now: Now) -> None:
        """After SIGCHLD."""
        for source in list(self.sources):
            source.reap(now)

    def catch_up(self, now: Now) -> None:
        """What was read of a recording before it was known which one it is."""
        if self._replay is not None:
            self._replay.catch_up(now)

    def files_changed(self) -> None:
        """Something in a state directory has changed: a name was looked up, or the shield's state."""
        for one in self.containers:
            if one.book is not None and one.log is not None:
                one.book.noticed = one.log.noticed = True

    def read_files(self, now: Now) -> None:
        """Slices of what has not been read yet, by turns, until this round's time is over."""
        for turn in list(self._turns):
            one, read = turn
            if read(one, now):
                self._turns.remove(turn)
                self._turns.append(turn)
                if self._is_over(now):
                    return

    def _is_over(self, now: Now) -> bool:
        """Whether that round's time is."""
        return clocks.now().mono >= now.mono + ROUND

    def _read_log(self, one: Watched, now: Now) -> bool:
        """A slice of the audit log; False where there is nothing to be read."""
        if one.log is None or not (one.log.more or one.log.noticed) or self._is_closed(one):
            return False
        for message in one.log.read():
            if isinstance(message, auditline.ShieldState):
                self._docket.shields.state(one.name, message.state, now)
            else:
                self._blocked(one, message, now)
        return True

    def _read_log_on(self, one: Watched, now: Now) -> None:
        """All of it that is there, for as long as the round's time is not over."""
        if one.log is not None:
            one.log.noticed = True
            while self._read_log(one, now) and not self._is_over(now):
                pass

    def _read_rest(self, one: Watched, now: Now) -> bool:
        """What is left of the audit log, in `REST` seconds at most; whether that was all of it."""
        if one.log is None:
            return True
        until = clocks.now().mono + REST
        one.log.noticed = True
        while self._read_log(one, now):
            if clocks.now().mono >= until:
                return False
        return not one.log.half

    def _read_history(self, one: Watched, now: Now) -> bool:
        """A slice of what the query log held before the start."""
        if one.book is None or not one.book.has_history or self._is_closed(one):
            return False
        for dest in one.book.catch_up():
            self._docket.learn(one.name, dest, now)
        self._names_read(one, one.book.behind, now)
        return True

    def stop(self) -> None:
        """The session ends: what ends from now on was meant to; what ended before has its last words."""
        self._stopping = True
        for one in self.containers:
            if watched.ended(one):
                self._container_ended(one, clocks.now())

    def close(self) -> None:
        for source in self.sources:
            source.close()
        for one in self.containers:
            one.__exit__()

    def tell_bad_lines(self, at_end: bool = False) -> None:
        """Warns of a reader's lines that were no events: of the first one, and how many at the end."""
        for source in self.sources:
            if not isinstance(source, (ReaderSource, AuditSource)):
                continue  # a recording tells them by itself
            number, name = source.bad_lines, source.watched.name
            whose = "the reader" if isinstance(source, ReaderSource) else "the audit log"
            if number and source not in self._faulty:
                self._faulty.append(source)
                fault = source.fault or "longer than %d bytes, or half a line" % jsonlines.LINE_LIMIT
                self._docket.warn(f"{name}: a line of {whose} means nothing: {fault}")
            if at_end and number > 1:
                self._docket.warn("%s: %d lines of %s meant nothing" % (name, number, whose))

    def feeds_a_hub(self, name: str) -> bool | None:
        """Whether a bridge reader of this container runs, without which a hub is deaf; None when unknown."""
        return next(bridge.feeds_a_hub(one, os.getuid()) for one in self.containers if one.name == name)

    # Names

    def names(self, container: str, dest: str) -> Sequence[Name]:
        """Those known for an address now, the one looked up last first."""
        if self._replay is not None:
            return self._replay.names(dest)
        return next((one.names(dest) for one in self.containers if one.name == container), ())

    def recorded(self, container: str, dest: str) -> Recorded | None:
        """The verdict on an address that the shield's log has last."""
        logs = [one.log for one in self.containers if one.name == container and one.log is not None]
        return logs[0].recorded.get(dest) if logs else None

    def _read_names(self, one: Watched, now: Now) -> bool:
        """A slice of what is new in the query log; what changes for waiting requests is told."""
        if one.book is None or not (one.book.more or one.book.noticed) or self._is_closed(one):
            return False
        for dest in one.book.look():
            self._docket.learn(one.name, dest, now)
        self._names_read(one, one.book.behind, now)
        return True

    def _read_names_on(self, one: Watched, now: Now) -> None:
        """All of it that is there, for as long as the round's time is not over."""
        if one.book is not None:
            one.book.noticed = True
            while self._read_names(one, now) and not self._is_over(now):
                pass

    def behind(self, container: str) -> bool:
        """Whether names were looked up that have not been read yet."""
        return any(
            one.book is not None and one.book.behind for one in self.containers if one.name == container
        )

    def _names_read(self, one: Watched, behind: bool, now: Now) -> None:
        """Some of the query log was read; rules wait while it is `behind`, which is told where it is slow."""
        if behind:
            since = one.behind_since = now.mono if one.behind_since is None else one.behind_since
            if now.mono - since > lookups.SLOW and self._docket.rules.active:
                one.behind_since = float("inf")  # told once
                text = (
                    "the names looked up before this start are still being read: rules by name wait for them"
                )
                self._docket.warn(f"{one.name}: {text}, and so does --answer")
        elif one.behind_since is not None:
            one.behind_since = None
            self._docket.names_known(one.name, now)

    def _next_slice(self) -> float | None:
        """At once, while there is more of a log to be read."""
        return 0.0 if any(self._unread(one) for one in self.containers) else None

    def _unread(self, one: Watched) -> bool:
        if one.book is None or one.log is None or self._is_closed(one):
            return False
        return one.book.behind or one.book.noticed or one.log.more or one.log.noticed

    def _is_closed(self, one: Watched) -> bool:
        """Whether it has ended, and its last words have been taken."""
        return one.ended and one not in self._last

    # Sources

    def _source(self, one: Watched) -> ReaderSource | SharedSource:
        """A reader, or that of another container with the same network: one program can listen in it."""
        for source in self.sources:
            if not isinstance(source, SharedSource) and source.watched.in_one_network(one):
                one.unseen.append(SHARED % source.watched.name)
                return SharedSource(one, source.watched)
        return self._reader(one)

    def _hand_over(self, one: Watched) -> None:
        """It listens no more: the next one in its network does, unless the session ends."""
        heirs = [
            source
            for source in self.sources
            if isinstance(source, SharedSource) and source.through is one and not source.watched.ended
        ]
        if not heirs or self._stopping:
            return
        for source in self._of(one):
            source.close()
        for source in heirs:
            self._replace(source, self._source(source.watched))
        self._docket.warn(HEIR % heirs[0].watched.name)

    def _reader(self, one: Watched) -> ReaderSource:
        return ReaderSource(
            one, self._loop, self._event, self._reader_gone, self._options.reader, self._trace
        )

    def _event(self, source: ReaderSource, message: Message, now: Now) -> None:
        one = source.watched
        if isinstance(message, Event) and self._only_counted(one, now):
            if message.kind == "pending":
                self._cut[one] = self._cut.get(one, 0) + message.count
            return
        if isinstance(message, Started) and one in self._resuming:
            self._resuming.remove(one)
            self._docket.warn(f"{one.name}: terok-shield's reader has ended: we read the packet log now")
        if isinstance(message, Event) and message.kind == "pending":
            if one.book is None or not one.book.more:  # else each of these would take a slice's time
                self._read_names_on(one, now)
            if one.log is None or not one.log.more:
                self._read_log_on(one, now)  # a quarantine that blocked it is told there
        self._take(one, message, now)

    def _take(self, one: Watched, message: object, now: Now) -> None:
        if isinstance(message, Event):
            self._docket.handle(one.name, message, now)
        elif isinstance(message, Lost):
            self._docket.lost(one.name, message.count, message.where)
        elif isinstance(message, Exited) and message.reason == "poststop" and one.pidfd < 0:
            self._container_ended(one, now)  # else the pidfd knows

    def _reader_gone(self, source: ReaderSource, now: Now) -> None:
        one = source.watched
        if one.ended:
            self._had_all(one, now, source.foreign or not source.child.status)
        if one.ended or self._stopping:
            return
        if not source.started:
            self._not_started(source)
        elif watched.ended(one):
            self._container_ended(one, now)
            self._had_all(one, now, source.foreign or not source.child.status)
        else:
            said = ": " + source.said[-1] if source.said else ""
            words = f"{one.name}: the reader ended unexpectedly (exit code {source.child.status}){said}"
            self._ended(READER_ENDED, words)

    def _not_started(self, source: ReaderSource) -> None:
        """Where the bridge reader holds the group: its audit log, or its end.  Refused otherwise."""
        one = source.watched
        found = bridge.find(one, source.holder, os.getuid()) if source.holder else None
        if found is None and self._listened:
            refusal = self._refusal(source)
            hints = ["hint: " + hint for hint in refusal.hints]
            self._ended(READER_ENDED, f"{one.name}: {refusal.message}", *hints)
        elif found is None:
            raise self._refusal(source)
        elif self._options.take_over:
            source.close()
            self._take_over(one, found)
            self._replace(source, self._reader(one))
        else:
            source.close()
            auditlog.check_readable(one.state_dir, found.pid)
            self._replace(source, AuditSource(one, self._loop, found, self._bridge_gone))

    def _refusal(self, source: ReaderSource) -> Refused:
        """Why it never listened: where our own did not even begin, perhaps since our file is another now."""
        begun = any(line.startswith("simple-clearance: ") for line in source.said)
        if begun or source.foreign or archived.stamp() == self._archive:
            return source.refusal()
        path = printable(archived.path(), 200)
        text = f"{path} was replaced or removed while it ran: no reader can be started"
        return Refused(CANNOT_START, text, "start it again")

    def _take_over(self, one: Watched, found: bridge.Bridge) -> None:
        """Ends the bridge reader, once more sure that neither a hub nor another session needs it."""
        try:
            self.claim()
            active = one.hub.look(self.feeds_a_hub(one.name)) if one.hub is not None else None
            if active is not None:
                raise active.refused()
            found.end()
        finally:
            found.close()
        one.taken_over = found.pid

    def _bridge_gone(self, source: AuditSource, now: Now) -> None:
        """The bridge reader has ended: the group is free, and we listen ourselves."""
        one = source.watched
        whole = self._read_rest(one, now)  # its last words
        if one.ended:
            self._had_all(one, now, whole)
        elif not whole:
            self._docket.lost(one.name, 1, "reader")
        if one.ended or self._stopping or watched.ended(one):
            return
        self._resuming.append(one)
        self._replace(source, self._reader(one))

    def _blocked(self, one: Watched, event: Event, now: Now) -> None:
        """A blocked packet that the bridge reader has told."""
        source = next(source for source in self.sources if source.watched is one)
        if source.kind == "audit-log":
            self._docket.handle(one.name, event, now)
        elif not self._listened:
            one.blocked_before += 1  # while it was found out who listens

    def _replace(self, source: Source, other: Source) -> None:
        self.sources[self.sources.index(source)] = other

    def _watch_end(self, one: Watched) -> None:
        def ended(_events: int, now: Now) -> None:
            self._container_ended(one, now)

        self._loop.add(one.pidfd, ended)

    def _container_ended(self, one: Watched, now: Now) -> None:
        """Its end is a barrier: what was blocked before it is taken first, until its source has ended."""
        if one.ended:
            return
        one.ended = True
        one.close_namespace()  # or it would outlive the container
        self._loop.remove(one.pidfd)
        through_log = any(source.kind == "audit-log" for source in self._of(one))
        self._last[one] = now.mono + (LAST_OF_LOG if through_log else LAST)
        for source in self._of(one):
            source.stop()
            if isinstance(source, SharedSource):
                self._had_all(one, now)

    def _had_all(self, one: Watched, now: Now, whole: bool = True) -> None:
        """Nothing more comes of a container that has ended; `whole`: nor is there more."""
        if self._last.pop(one, None) is None:
            return
        lost = self._cut.pop(one, 0) + (not whole)
        if lost:
            self._docket.lost(one.name, lost, "reader")
        one.unlock()  # one that is started again is not taken up again
        self._docket.stop(one.name, now)
        self._hand_over(one)
        if all(other.ended for other in self.containers) and not self._last:
            self._ended(OK)

    def _of(self, one: Watched) -> list[Source]:
        return [source for source in self.sources if source.watched is one]

    # Recordings

    def _replay_known(self, file: ReplayFile) -> None:
        """Which container it is about, and what is recorded of that."""
        (one,), recording = self.containers, file.recording
        one.name, one.id, one.version = recording.container, recording.id, recording.version
        one.dossier = recording.dossier
        self._docket.add_container(one.name, one.version, one.dossier)

    def _replayed(self, source: ReplaySource, message: object, now: Now) -> None:
        dest = getattr(message, "dest", "")
        if isinstance(message, (Event, Lost)):
            self._take(source.watched, message, now)
        elif dest:  # `recording.Learnt`: more is known of an address
            self._docket.learn(source.watched.name, dest, now)
        self._drain(now)

    def _replay_over(self, source: ReplaySource, _now: Now) -> None:
        for remark in source.file.remarks():
            self._docket.warn(remark)
