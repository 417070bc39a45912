"""A container under watch: what was found out about it, before anything is asked.

Owns a pidfd of its first process, the descriptor of its network namespace until the reader has
it, the lock that keeps other sessions away, and the look for its hub.
"""

from __future__ import annotations

import os

from ..base import ids
from ..base.errors import CANNOT_START, Refused
from ..base.happenings import Watching
from ..base.text import printable
from ..containers import network, podman, statedir
from ..hub.hub import Hub
from ..system.pidfd import has_ended, pidfd_open
from . import auditlog, lookups
from .auditlog import AUDIT_LOG, ShieldLog
from .lookups import NameBook
from .stages import FOUND, GOES_ON, STAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Protocol

    from ..base.happenings import Name
    from ..base.moment import Now
    from ..base.options import Options
    from ..containers.podman import Container

    class Source(Protocol):
        """What every source of events has: where they come from, whether they do yet, and its end."""

        @property
        def kind(self) -> str: ...
        @property
        def started(self) -> bool: ...
        @property
        def held_by(self) -> int: ...
        def stop(self) -> None: ...
        def close(self) -> None: ...
        def reap(self, now: Now) -> None: ...


SANDBOX_VERSION = 18
"""The bundle whose rules the demonstration's namespace has."""


class Watched:
    """One container; a context manager.  `pidfd`, `namespace` and `lock` are -1 where there is none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = ""
        self.version: int | None = None
        self.dossier: dict[str, str] = {}
        self.state_dir = ""
        self.first = 0  # the pid of its first process
        self.sidecar: str | None = None
        self.started_at = ""
        self.roots = False  # whether it is no rootless container, so that no verdict holds
        self.in_pod = False
        self.no_ipv6 = False  # whether that gets no answer in it, allowed or not
        self.unseen: list[str] = []  # what can't be seen of it, in words
        self.audited = True  # whether its shield's changes and verdicts are in the audit log
        self.pidfd = -1
        self.namespace = -1
        self.lock = -1
        self.hub: Hub | None = None
        self.book: NameBook | None = None
        self.log: ShieldLog | None = None
        self.state = ""
        self.behind_since: float | None = None  # since when some names have not been read (monotonic)
        self.blocked_before = 0
        self.taken_over = 0
        self.source: Source | None = None
        self.since: float | None = None  # when that began to listen (monotonic)
        self.resuming = False  # whether it is one that took the bridge reader's place
        self.faulty = False  # whether it was told that lines of it mean nothing
        self.stage = FOUND
        self.refused: Refused | None = None  # why it is watched no longer, though it runs
        self.left = False  # whether the session has ended before it

    def __repr__(self) -> str:
        return f"Watched({self.name}, {self.id[:12]})"

    def move(self, cause: str) -> None:
        """Something has happened that brings it to its next stage."""
        self.stage = STAGES[self.stage][cause]

    @property
    def goes_on(self) -> bool:
        """Whether its end has not been seen."""
        return self.stage in GOES_ON

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close_namespace()
        for fd in (self.lock, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.lock = self.pidfd = -1
        if self.hub is not None:
            self.hub.__exit__()
        for followed in (self.book, self.log):
            if followed is not None:
                followed.close()

    def names(self, dest: str) -> tuple[Name, ...]:
        """The names known for an address, the one looked up last first."""
        return self.book.names(dest) if self.book is not None else ()

    def open_logs(self, sharing: int) -> None:
        """Follows what the shield writes of it, one of so many; what can't be seen there is `unseen`."""
        query_log = os.path.join(self.state_dir, "dnsmasq.log")
        unseen = [*auditlog.unseen(self.state_dir, self.audited, self.started_at), lookups.fault(query_log)]
        self.unseen += filter(None, unseen)
        self.book = NameBook(query_log, 1 / sharing)
        self.log = ShieldLog(os.path.join(self.state_dir, AUDIT_LOG), self.started_at)
        state, self.blocked_before = self.log.history()
        self.state = state if self.audited else ""  # else only the bridge reader writes there

    def claim(self) -> None:
        """Keeps other sessions away.  Refused (3) when another one was first."""
        if self.lock < 0 and self.state_dir:
            self.lock = statedir.claim(self.state_dir, self.name)

    def watching(self) -> Watching:
        """As the operator is told it, once it has a source."""
        assert self.source is not None
        return Watching(
            self.name, self.dossier, self.state, container_id=self.id, source=self.source.kind,
            shield=self.version, missed=self.blocked_before, held_by=self.source.held_by,
            taken_over=self.taken_over, unseen=self.unseen, in_pod=self.in_pod, no_ipv6=self.no_ipv6,
        )  # fmt: skip

    def in_one_network(self, other: Watched) -> bool:
        """Whether both run, in one network namespace; False where that is unknown."""
        if self.namespace < 0 or other.namespace < 0:
            return False
        return os.path.samestat(os.fstat(self.namespace), os.fstat(other.namespace))

    def close_namespace(self) -> None:
        """The reader has it now; while anyone holds it, it outlives the container."""
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


def needs_podman(options: Options) -> bool:
    """Whether all that it would tell has not been given; nothing else tells of a start."""
    given = options.netns is not None or (options.reader and options.state_dir)
    return options.follow or not given


def prepare(
    name: str,
    options: Options,
    environ: Mapping[str, str],
    uid: int,
    trace: Callable[[str], None] = lambda text: None,
    known: Container | Refused | None = None,
) -> Watched:
    """Finds out everything about a container.  Refused (3) with the remedy when it can't be watched.

    `name` is what was given; it is watched by the name that podman tells, which the shield, too, goes by.
    `known` is what podman has told of it, where it was asked already.
    """
    podman.check_name(name)
    watched = Watched(name)
    try:
        _fill(watched, options, uid, known)
        if watched.roots and options.decides:
            raise podman.not_rootless(watched.name)
        if options.sandbox:
            watched.version = SANDBOX_VERSION
            return watched
        by_id = len(name) in (ids.SHORT_ID, ids.LONG_ID) and ids.is_hex(name)
        container_id = watched.id or (name if by_id else None)
        ignore, first = options.ignore_hub, watched.first
        watched.hub = Hub(container_id, watched.sidecar, environ, uid, ignore, first, trace)
    except BaseException:
        watched.__exit__()
        raise
    return watched


def _fill(watched: Watched, options: Options, uid: int, known: Container | Refused | None) -> None:
    if options.state_dir is not None:
        watched.state_dir = os.path.abspath(options.state_dir)
    try:
        if options.sandbox:
            watched.pidfd = pidfd_open(options.sandbox)
            raise Refused(CANNOT_START, "there is no podman to ask")
        found = known or podman.inspect(watched.name)
        if isinstance(found, Refused):
            raise found
        if not needs_podman(options) and not found.is_called(watched.name):
            raise Refused(CANNOT_START, "it is another one, whose id happens to begin like that name")
        watched.name = found.name
        watched.id, watched.version, watched.dossier = found.id, found.shield_version, found.dossier
        watched.in_pod = found.in_pod
        watched.roots = podman.is_roots(found, uid)
        watched.sidecar, watched.started_at = found.sidecar, found.started_at
        watched.audited = found.audited
        watched.unseen += [podman.PAUSED % found.name] if found.paused else []
        watched.first = found.pid
        podman.check_running(found)
        watched.state_dir = podman.state_directory(found, watched.state_dir or None, uid)
        watched.pidfd, watched.namespace = network.open_namespace(found)
    except Refused:
        if needs_podman(options):
            raise
        # its end will not be noticed then, which is what was chosen with --netns
    if options.state_dir is not None:  # whatever podman could not tell
        statedir.check_given(options.state_dir, watched.name, watched.id)
    if not watched.id:
        watched.id = statedir.recorded_id(watched.state_dir)
    if options.netns is not None:
        watched.close_namespace()
        watched.namespace = open_netns(options.netns)


def open_netns(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo would hold us up
    except OSError as error:
        raise Refused(
            CANNOT_START,
            f"network namespace {printable(path)}: {error.strerror}",
            "ls -l /run/netns; or /proc/PID/ns/net of a process inside, as its user",
        ) from None


def no_shield(program: str) -> Refused:
    """The verdict command can't be found."""
    return Refused(
        CANNOT_START,
        f"{printable(program)}: no such command",
        "install terok-shield for this user, or name it: --shield 'CMD ARG...'",
    )


def ended(watched: Watched) -> bool:
    """Whether the container's first process has ended, as far as that can be told."""
    return watched.pidfd >= 0 and has_ended(watched.pidfd)
