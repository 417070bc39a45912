"""The containers under watch: those that were named, or all that run, now and later.

Owns what was found out about each, and its source of events.  Whatever comes in goes into the docket.
A watch begins when its source listens; `stages` has all that may become of it.  Without `--follow` the end of
the last one, or of a source, is told to `ended`; with it a container is waited for and taken up again, and
one that can't be watched is told once, with the reason.
"""

from __future__ import annotations

import os

from ..base import jsonlines
from ..base.errors import CANNOT_START, HUB_ACTIVE, OK, READER_ENDED, Refused
from ..base.happenings import Event, Exited, Lost, Recorded, Started
from ..base.ids import SHORT_ID
from ..base.text import printable
from ..containers import forgotten, kept
from ..containers.podman import Container, inspect_all
from ..docket.budget import SHARED_BY
from ..formats.auditline import ShieldState
from ..system.folders import CONTENTS, NO_NOTICES
from . import auditlog, bridge, starts, watched
from .endings import Endings
from .forked import Forkserver
from .logs import Logs
from .readers import AuditSource, ReaderSource, SharedSource
from .roster import Roster
from .stages import ENDING, OVER, STARTING, WATCHED
from .starts import Starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Sequence

    from ..base.happenings import Message, Name, Watching
    from ..base.moment import Now
    from ..base.options import Options
    from ..containers.podman import Listed
    from ..docket.docket import Docket
    from ..hub.guard import Guard
    from ..system.folders import Folders
    from ..system.loop import Loop
    from .replay import ReplaySource
    from .watched import Source, Watched


SHARED = "in the network of %s: what it tries is asked as that one's"
HEIR = "%s: what is tried in the network that it is in is asked as this one's from now on"

STEADY = 60.0
"""Seconds that a reader must have listened to be started once more when it has ended unexpectedly."""
REMEMBERED = 100
"""Containers that have ended and whose mutes and history are kept; beyond it the first ones are forgotten."""


class Fleet:
    """All containers of one session.  `ended(code, words)` is called when there is nothing left to watch.

    `containers` has the latest watch of each by its name, those that are over included; what was called for a
    container before that one began is forgotten with it.  `logs` are those that the shield keeps of them,
    `replay` the recording that is played instead.
    """

    def __init__(
        self,
        loop: Loop,
        docket: Docket,
        options: Options,
        environ: Mapping[str, str],
        trace: Callable[[str], None],
        ended: Callable[..., None],
    ) -> None:
        self.containers: dict[str, Watched] = {}
        self.logs = Logs(loop, docket, self._logged)
        self.replay: ReplaySource | None = None
        self.unnoticed = False  # whether files change of which there are no notices
        self._loop = loop
        self._docket = docket
        self._options = options
        self._environ = environ
        self._trace = trace
        self._ended = ended
        self._forkserver = Forkserver(loop, trace)
        self._follows = options.follow
        self._stopping = False
        self._listened = False
        self._guard: Guard  # from `prepare` on
        self._files: Folders  # these two from `start` on
        self._starts: Starts
        self._endings = Endings(loop, docket, self.logs, self._over)
        self._named: list[str] = []  # those that were, by what podman calls them
        self._absent: dict[str, str] = {}  # state directories of those that don't run at the start, by name
        self._roster = Roster(loop, self._is_wanted, self._take_up, docket.warn)

    # What the others ask

    @property
    def watches(self) -> bool:
        """Whether any of them is watched, or may be yet."""
        awaited = self._follows and (self._options.all or self._options.containers)
        return bool(awaited) or any(one.stage != OVER for one in self.containers.values())

    @property
    def several(self) -> bool:
        """Whether it goes on without one of them."""
        return self._follows or len(self.containers) > 1

    def watching(self) -> list[Watching]:
        """Each container as it is told."""
        return [one.watching() for one in self.containers.values() if one.source is not None]

    def awaited(self) -> str:
        """What is waited for, in words."""
        if not self._follows:
            return ""
        refused = self._roster.refused
        if self._options.all:
            other = " other" if refused else ""
            start = "each%s shielded container of this user is watched, also those that start later" % other
            return start if self._sources or other else start + ": none runs yet"
        missing = [name for name in self._named if name not in (*self.containers, *refused)]
        told = ["waiting for the start of " + ", ".join(missing)] if missing else []
        barred = [name for name in self._named if name in refused]
        return "; ".join(told + (["waiting until %s can be watched" % ", ".join(barred)] if barred else []))

    def spellings(self, name: str) -> tuple[str, ...]:
        """All that a verdict command may call that container."""
        one = self.containers.get(name)
        return (name, one.id, one.id[:SHORT_ID]) if one is not None and one.id else (name,)

    @property
    def has_last_words(self) -> bool:
        """Whether last words of a container are still being taken: for a second at most."""
        return bool(self._endings)

    def ending(self, name: str) -> bool:
        """Whether that container has ended, and its last words are still being taken."""
        one = self.containers.get(name)
        return one is not None and one.stage == ENDING

    def feeds_a_hub(self, name: str) -> bool | None:
        """Whether a bridge reader of this container runs, without which a hub is deaf; None when unknown."""
        return bridge.feeds_a_hub(self.containers[name], os.getuid())

    def names(self, container: str, dest: str) -> Sequence[Name]:
        """Those known for an address now, the one looked up last first."""
        if self.replay is not None:
            return self.replay.names(dest)
        one = self.containers.get(container)
        return one.names(dest) if one is not None else ()

    def behind(self, container: str) -> bool:
        """Whether names were looked up that have not been read yet."""
        one = self.containers.get(container)
        return one is not None and one.book is not None and one.book.behind

    def recorded(self, container: str, dest: str) -> Recorded | None:
        """The verdict on an address that the shield's log has last."""
        one = self.containers.get(container)
        return one.log.recorded.get(dest) if one is not None and one.log is not None else None

    # Beginning

    def prepare(self, guard: Guard) -> None:
        """Finds out all about every container that was named; from now on `guard` looks for its hub.

        Refused (3) when one can't be watched, unless all that it lacks is that it runs and it is waited for.
        """
        self._guard = guard
        names = self._options.containers
        known: Mapping[str, Container | Refused | None] = (
            inspect_all(names) if len(names) > 1 or self._follows and names else dict.fromkeys(names)
        )
        self._named = list(known)
        for name, found in known.items():
            if self._follows and isinstance(found, Container) and not found.running:
                self._absent[name] = found.state_dir or ""
                continue
            one = self._prepared(name, found)
            self.containers[one.name] = one
            if one.hub is not None:
                guard.add(one.name, one.hub)

    def _prepared(self, name: str, found: Container | Refused | None) -> Watched:
        return watched.prepare(name, self._options, self._environ, os.getuid(), self._trace, found)

    def start(self, files: Folders, places: Folders, now: Now) -> None:
        """Starts every source; `listening` tells when all of them do.

        `files` are the folders whose contents matter, `places` those where something may appear.
        """
        self._files, self._starts = files, Starts(places)
        for one in self.containers.values():
            self._begin(one, now)
        if self._follows:
            self._starts.expect("", *starts.places(self._environ, os.getuid()))
        for name, state_dir in self._absent.items():
            self._starts.expect(name, state_dir)
        if self._options.all:
            self._roster.begin(now)

    def listening(self) -> bool:
        if self._roster.complete and all(source.started for source in self._sources):
            self._listened = True
        return self._listened

    @property
    def late(self) -> str:
        """What the start waits for, in words."""
        if not self._roster.complete:
            return "podman has not answered"
        return "the reader does not listen"

    def claim(self) -> None:
        """Keeps other sessions away: two may well listen, where one of them has its events from elsewhere.

        Refused (3) when another one was first.
        """
        for one in list(self.containers.values()):
            try:
                self._claim(one)
            except Refused as refused:
                self._give_up(one, refused)

    def _claim(self, one: Watched) -> None:
        if not self._options.dry_run and one.goes_on:
            one.claim()

    def _is_wanted(self, found: Listed) -> bool:
        return self._options.all or found.name in self._named

    def _take_up(self, found: Container, now: Now) -> None:
        """One that runs and is not watched.  Refused when it can't be."""
        if self._options.all and found.state_dir is None:
            return
        before = self.containers.get(found.name)
        if before is not None and before.stage != OVER:
            if (before.id, before.first) != (found.id, found.pid):
                self._roster.let_go(found.id)  # its turn comes when the one before has had its last words
            return
        one = self._prepared(found.name, found)
        self.containers.pop(one.name, None)  # to be the last one again
        self.containers[one.name] = one
        try:
            self._look_for_a_hub(one)
            self._claim(one)  # before a reader is started, which would be in the way of the next one
            self._begin(one, now)
        except Refused as refused:
            self._give_up(one, refused)

    def _look_for_a_hub(self, one: Watched) -> None:
        """Refused when one is active for it; from now on one that appears is told."""
        if one.hub is not None:
            self._guard.add(one.name, one.hub)
            active = self._guard.ask(one.name)
            if active is not None:
                raise active.refused()

    def _begin(self, one: Watched, now: Now) -> None:
        """Opens its logs, starts its source."""
        one.source = self._source(one)
        one.move("begun")
        if one.pidfd >= 0:
            self._loop.add(one.pidfd, lambda _events, now: self._container_ended(one, now))
        noticed = self._files.watch(one.state_dir, CONTENTS)
        one.open_logs(SHARED_BY if self._options.all else min(SHARED_BY, len(self._options.containers)))
        if not noticed:
            self.unnoticed = True
            one.unseen.append(NO_NOTICES % printable(one.state_dir, 200))
        self.logs.read_names_on(one, now)
        self.logs.add(one)
        if one.source.started:
            self._listens(one, now)

    def _listens(self, one: Watched, now: Now) -> None:
        """Its source listens: the docket knows it from now on."""
        if one.stage != STARTING or one.source is None:
            return  # it has had another source before this one
        one.move("listens")
        one.since = now.mono
        self._starts.forget(one.name)
        one.no_ipv6 = kept.stops_ipv6(one.state_dir)
        self._docket.add_container(
            one.name, one.version, one.dossier, ipv6=not one.no_ipv6, in_pod=one.in_pod, state=one.state
        )
        if self._listened:  # else the greeting tells it
            self._docket.started(one.watching())
        self._tell_forgotten(one)

    def _tell_forgotten(self, one: Watched) -> None:
        number = forgotten.forgotten(one.state_dir, one.started_at)
        if number:
            command = forgotten.remedy(one.name, one.id, self._options.shield_command)
            self._docket.warn(f"{one.name}: {forgotten.told(number)}", hint=command)

    def _give_up(self, one: Watched, refused: Refused) -> None:
        """It can't be watched: no start of the session, unless it is one of those that are followed."""
        if not self._follows and not self._stopping:
            raise refused
        self._let_go(one, "given up")
        if self.containers.get(one.name) is one:
            del self.containers[one.name]
        if not self._stopping:
            self._roster.refuse(one.name, one.id, one.first, refused)
            self._starts.expect(one.name, *_folders(one, refused))

    def _let_go(self, one: Watched, cause: str) -> None:
        """Gives back all that was taken for it."""
        one.move(cause)
        if one.source is not None:
            self._endings.let_go(one.source)
        self.logs.remove(one)
        self._loop.remove(one.pidfd)
        if one.log is not None:
            self._files.unwatch(one.state_dir, CONTENTS)
        self._guard.remove(one.name)
        one.__exit__()

    # One round

    def tick(self, now: Now) -> None:
        """Waits no longer for what has not come."""
        self._endings.tick(now)
        self._roster.tick(now)

    def reap(self, now: Now) -> None:
        """After SIGCHLD."""
        for source in self._sources:
            source.reap(now)
        self._endings.reap()
        self._roster.reap(now)

    def noticed(self, now: Now) -> None:
        """Something has changed in one of the folders that are watched for whatever may appear."""
        if self._follows and self._starts.have_changed():
            self._roster.noticed(now)

    def stop(self, now: Now) -> None:
        """The session ends: what ends from now on was meant to; what ended before has its last words."""
        self._stopping = True
        self._roster.stop()
        for one in list(self.containers.values()):
            if watched.ended(one):
                self._container_ended(one, now)

    def take_leave(self, now: Now) -> None:
        """Of those that are watched what was blocked by now is still taken, while it `has_last_words`."""
        for one in list(self.containers.values()):
            if one.stage == WATCHED and one.source is not None and self.replay is None:
                one.left = True
                self._endings.leave(one, one.source, now)

    def close(self) -> None:
        self._roster.stop()
        for source in self._sources:
            source.close()
        self._endings.close()
        self._forkserver.close()
        for one in self.containers.values():
            one.__exit__()

    def tell_bad_lines(self, at_end: bool = False) -> None:
        """Warns of a reader's lines that were no events: of the first one, and how many at the end."""
        for one in self.containers.values():
            if not isinstance(one.source, (ReaderSource, AuditSource)):
                continue  # a recording tells them by itself
            number = one.source.bad_lines
            whose = "the reader" if isinstance(one.source, ReaderSource) else "the audit log"
            if number and not one.faulty:
                one.faulty = True
                fault = one.source.fault or "longer than %d bytes, or half a line" % jsonlines.LINE_LIMIT
                self._docket.warn(f"{one.name}: a line of {whose} means nothing: {fault}")
            if at_end and number > 1:
                self._docket.warn("%s: %d lines of %s meant nothing" % (one.name, number, whose))

    # What comes in

    def _event(self, source: ReaderSource, message: Message, now: Now) -> None:
        one = source.watched
        if one.stage == OVER:
            return
        if isinstance(message, Event) and self._endings.only_counts(one, now):
            if message.kind == "pending":
                self._endings.count(one, message.count)
            return
        if isinstance(message, Started):
            self._listens(one, now)
            if one.resuming:
                one.resuming = False
                self._docket.warn(f"{one.name}: terok-shield's reader has ended: we read the packet log now")
        if isinstance(message, Event) and message.kind == "pending":
            self.logs.read_on(one, now)  # a quarantine that blocked it is told there
        if isinstance(message, Event):
            self._docket.handle(one.name, message, now)
        elif isinstance(message, Lost):
            self._docket.lost(one.name, message.count, message.where)
        elif isinstance(message, Exited) and one.stage == WATCHED and not watched.ended(one):
            if message.reason == "poststop" and one.pidfd < 0:
                self._container_ended(one, now)  # else the pidfd knows
            else:
                self._lose(one, "the reader ended unexpectedly: it takes the container for stopped", now)

    def _logged(self, one: Watched, message: Event | ShieldState | Recorded, now: Now) -> None:
        """What its audit log tells: the shield's state, a verdict, or what the bridge reader saw blocked."""
        if isinstance(message, Recorded):
            self._docket.recorded_now(one.name, message)
        elif isinstance(message, ShieldState):
            one.state = message.state
            if one.stage != STARTING:
                self._docket.shields.state(one.name, message.state, now)
        elif one.source is not None and one.source.kind == "audit-log":
            self._docket.handle(one.name, message, now)
        elif one.stage == STARTING:
            one.blocked_before += 1  # while it was found out who listens

    # Sources

    @property
    def _sources(self) -> list[Source]:
        """Where events come from now."""
        left = (one for one in self.containers.values() if one.stage != OVER)
        return [one.source for one in left if one.source is not None]

    def _source(self, one: Watched) -> ReaderSource | SharedSource:
        """A reader, or that of another container with the same network: one program can listen in it."""
        for other in self.containers.values():
            if isinstance(other.source, ReaderSource) and other.goes_on and other.in_one_network(one):
                one.unseen.append(SHARED % other.name)
                return SharedSource(one, other)
        return self._reader(one)

    def _hand_over(self, one: Watched) -> None:
        """It listens no more: the next one in its network does, unless the session ends."""
        heirs = [
            other
            for other in self.containers.values()
            if isinstance(other.source, SharedSource) and other.source.through is one and other.goes_on
        ]
        if not heirs or self._stopping:
            return
        for heir in heirs:
            heir.source = self._source(heir)
        self._docket.warn(HEIR % heirs[0].name)

    def _reader(self, one: Watched) -> ReaderSource:
        readers = self._options.reader or self._forkserver
        return ReaderSource(one, self._loop, self._event, self._reader_gone, readers, self._trace)

    def _reader_gone(self, source: ReaderSource, now: Now) -> None:
        one = source.watched
        whole = source.foreign or not source.child.status
        self._endings.had_all(one, now, whole)
        if not one.goes_on or self._stopping:
            return
        if not source.started:
            self._not_started(source, now)
        elif watched.ended(one):
            self._container_ended(one, now)
            self._endings.had_all(one, now, whole)
        else:
            said = ": " + source.said[-1] if source.said else ""
            self._lose(
                one, "the reader ended unexpectedly (exit code %s)%s" % (source.child.status, said), now
            )

    def _lose(self, one: Watched, reason: str, now: Now, *hints: str) -> None:
        """Its source has failed: the end of the session, unless it is one of those that are followed."""
        if not self._follows:
            self._ended(READER_ENDED, Refused(READER_ENDED, f"{one.name}: {reason}", *hints))
            return
        self._docket.lost(one.name, 1, "watch")
        self.leave(one.name, Refused(READER_ENDED, reason, *hints), now)
        self._endings.had_all(one, now)
        if one.since is not None and now.mono - one.since >= STEADY:
            self._roster.noticed(now)  # else the next one would end as soon, again and again

    def _not_started(self, source: ReaderSource, now: Now) -> None:
        """Where the bridge reader holds the group: its audit log, or its end.  Refused otherwise."""
        one = source.watched
        found = bridge.find(one, source.holder, os.getuid()) if source.holder else None
        try:
            if found is None:
                raise source.refusal()
            source.close()
            if self._options.take_over:
                self._take_over(one, found)
                one.source = self._reader(one)
            else:
                auditlog.check_readable(one.state_dir, found.pid)
                one.source = AuditSource(one, self._loop, found, self._bridge_gone)
                self._listens(one, now)
        except Refused as refused:
            if one.stage == WATCHED and self._listened:
                self._lose(one, refused.message, now, *refused.hints)
            else:
                self._give_up(one, refused)

    def _take_over(self, one: Watched, found: bridge.Bridge) -> None:
        """Ends the bridge reader, once more sure that neither a hub nor another session needs it."""
        try:
            self._claim(one)
            self._look_for_a_hub(one)
            found.end()
        finally:
            found.close()
        one.taken_over = found.pid

    def _bridge_gone(self, source: AuditSource, now: Now) -> None:
        """The bridge reader has ended: the group is free, and we listen ourselves."""
        one = source.watched
        whole = self.logs.read_rest(one, now)  # its last words
        if not whole and one.goes_on:
            self._docket.lost(one.name, 1, "watch")
        self._endings.had_all(one, now, whole)
        if not one.goes_on or self._stopping or watched.ended(one):
            return
        one.resuming = True
        one.source = self._reader(one)

    # Ending

    def leave(self, name: str, refused: Refused, now: Now) -> None:
        """That container is watched no longer, though it runs; where it is followed, it may be again."""
        one = self.containers[name]
        one.refused = refused
        self._container_ended(one, now)

    def _container_ended(self, one: Watched, now: Now) -> None:
        """Its end was seen, or decided on."""
        if one.stage == WATCHED and one.source is not None:
            self._endings.begin(one, one.source, now)
        elif one.stage == STARTING:
            text = "%s has stopped before its reader listened" % one.name
            hint = "podman start " + one.name
            self._give_up(one, one.refused or Refused(CANNOT_START, text, hint))
            self._roster.noticed(now)  # it may have started again by now

    def _over(self, one: Watched, now: Now) -> None:
        """Nothing more comes of one that has ended, or that the session has left."""
        self._let_go(one, "had all")
        if one.left:
            return
        self._docket.stop(one.name, now, one.refused)
        self._hand_over(one)
        if self._follows:
            self._await(one, now)
        elif all(other.stage == OVER for other in self.containers.values()):
            self._ended(OK)
            for other in self.containers.values():
                if other.refused is not None:
                    reason = "%s: %s" % (other.name, other.refused.message)
                    self._ended(HUB_ACTIVE, Refused(HUB_ACTIVE, reason, *other.refused.hints))

    def _await(self, one: Watched, now: Now) -> None:
        """It may start again, or may be watched again."""
        if one.refused is not None:
            self._roster.refuse(one.name, one.id, one.first, one.refused, told=True)
        else:
            self._roster.noticed(now)  # it may have started again by now
        self._starts.expect(one.name, *_folders(one, one.refused))
        over = [other for other in self.containers.values() if other.stage == OVER]
        for other in over[: max(0, len(over) - REMEMBERED)]:
            if self._docket.forget(other.name):
                self._starts.forget(other.name)
                del self.containers[other.name]

    # Recordings

    def start_replay(self, drain: Callable[[Now], None]) -> None:
        """Plays a recording instead: `drain(now)` after each thing.  Refused when it can't be read."""
        from .playback import Playback

        name = "".join(self._options.containers)
        playback = Playback(self._options.replay or "", name, self._loop, self._docket, drain)
        self.replay = playback.watched.source = playback.source
        self.containers[name] = playback.watched


def _folders(one: Watched, refused: Refused | None) -> list[str]:
    """Where it shows that it has started again, or that its hub has gone."""
    hub = one.hub.folders() if one.hub is not None and refused is not None else []
    return [one.state_dir, *hub]
