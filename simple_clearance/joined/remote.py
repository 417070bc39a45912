"""The containers of another session, as ours: its requests and our docket's, its ids and ours.

That session asks, guards, locks and runs; ours decides.  Each request that is open there stands for one of
ours, which may stand for several of theirs: all other ports of an address are one.  Whatever its records say
is about its own containers, whose names get its name before them, and about requests that it has opened.

    there                                   here
    pending ID       ------------------->   a request, or a known one again
    again ID, names ID, closed ID   ---->   the same of that request
    allow|deny|undo ID   <---------------   a job of one of its containers begins
    verdict          ------------------->   its outcome
    skip ID          <---------------       set aside here, muted, or decided by a rule that skips
    ask ID           <---------------       asked again here by hand

What is set aside here is skipped there, whatever keeps it quiet here: so it asks again once it is tried after
a minute, with the whole count of its tries, keeps room for what is new, and nothing is told twice.
"""

from __future__ import annotations

from ..base.errors import CANNOT_START, Refused
from ..base.happenings import Event, Watching
from ..base.jsonlines import BadLine
from ..docket.states import OPEN, STILL_OPEN
from ..docket.verdict import APPLIED
from ..formats.sessionline import CONTAINERS
from .held import AllHeld, Held, remember
from .sent import AllSent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from ..base.happenings import Name
    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..docket.jobs import Job
    from ..docket.requests import Key, Request
    from ..formats.sessionline import Record

PROTOCOL = 1

HELD = 20_000
"""Requests of one session that are held open here; what is more is skipped there, and told as lost."""
ENDED = 100
"""Containers that have ended and whose mutes and history are kept."""
WARNINGS = 64
"""Remarks of one session that are told, until it is another one."""


class Remote:
    """One session that was joined.  `say(line)` sends it an answer.

    `version` is its own, "" before its first record; `sent` has the verdicts that it was told to run.
    """

    def __init__(self, name: str, docket: Docket, say: Callable[[str], None], timeout: float) -> None:
        self.name = name
        self.version = ""
        self.sent = AllSent(docket, say, timeout)
        self.exit: int | None = None
        """What it ended with, where it has said so."""
        self.watching: dict[str, Record] = {}
        """What it told of the containers that it watches, by the names that they have here."""
        self.behind: set[str] = set()
        """Those of which it has not read all names yet."""
        self._docket = docket
        self._say = say
        self._held = AllHeld()
        self._last: dict[Key, str] = {}  # the ids of what is closed there, by what it is here
        self._counts: dict[tuple[str, str, int | None, int | None], int] = {}  # tries counted here
        self._asking: dict[str, str] = {}  # what was asked there once more: ours, by the line that did
        self._warned = 0
        self._ended: dict[str, None] = {}  # containers, in that order

    # What that session tells

    def take(self, record: Record, now: Now) -> None:
        """One record, as `formats.sessionline` gives it.  BadLine where it is about something else's."""
        if not self.version:
            self._begin(record)
            return
        take = getattr(self, "_take_" + record["type"], None)
        if take is not None:
            take(record, now)

    def _begin(self, record: Record) -> None:
        if record["type"] != "session":
            raise BadLine("it does not begin with a session")
        if record["protocol"] != PROTOCOL:
            text = "%s speaks version %d of the protocol, this is %d"
            raise Refused(
                CANNOT_START, text % (self.name, record["protocol"], PROTOCOL), "run the same version there"
            )
        self.version = record["version"] or "?"
        for each in record["containers"]:
            self._add(each["name"], each)

    def _add(self, name: str, about: Record) -> None:
        container = f"{self.name}/{name}"
        self._docket.add_container(
            container, about["shield"], about["dossier"],
            ipv6=not about["no_ipv6"], in_pod=about["in_pod"], state=about["shield_state"],
        )  # fmt: skip
        self._ended.pop(container, None)
        self.watching[container] = about

    def _local(self, record: Record) -> str:
        """The name that a container of its has here; BadLine where it has not told of that one."""
        container = f"{self.name}/{record['container']}"
        if container not in self.watching:
            raise BadLine("%s: no such container was told" % record["container"])
        return container

    def _take_container(self, record: Record, now: Now) -> None:
        if not record["container"]:
            self._take_machine(record)
        elif record["state"] == "started":
            container = f"{self.name}/{record['container']}"
            if container in self.watching:
                return
            if len(self.watching) >= CONTAINERS:
                self._warn("%s: more than %d containers: the others are left out" % (self.name, CONTAINERS))
                return
            self._add(record["container"], record)
            self._docket.started(self.row(container))
        elif record["state"] == "stopped":
            self._stop(self._local(record), now, record["reason"], record["hint"])

    def _take_machine(self, record: Record) -> None:
        """What is told of one that was joined there."""
        if record["host"] and record["state"] in ("lost", "back") and self._may_remark():
            reason = {"reason": record["reason"]} if record["state"] == "lost" else {}
            host = f"{self.name}/{record['host']}"
            self._docket.relay({"type": "container", "host": host, "state": record["state"], **reason})

    def _stop(self, container: str, now: Now, reason: str = "", hint: str = "") -> None:
        refused = Refused(CANNOT_START, reason, *([hint] if hint else [])) if reason else None
        for held in self._held.of_container(container):
            self._held.remove(held)
        self._end(container, now, refused)

    def _end(self, container: str, now: Now, refused: Refused | None = None, told: bool = True) -> None:
        """It is watched no longer; of those only the last ones are remembered."""
        del self.watching[container]
        self.behind.discard(container)
        self._docket.stop(container, now, refused, told=told)
        self._ended[container] = None
        for oldest in list(self._ended)[: max(0, len(self._ended) - ENDED)]:
            if self._docket.forget(oldest):
                del self._ended[oldest]

    def _take_pending(self, record: Record, now: Now) -> None:
        container, remote_id, event = self._local(record), record["id"], record["event"]
        if self._held.get(remote_id) is not None:
            raise BadLine("an id is used twice")
        if len(self._held) >= HELD:
            self._docket.lost(container, event.count, "table")
            self._say("skip " + remote_id)
            return
        if record["behind"]:
            self.behind.add(container)
        new = self._new_tries(container, event, event.count)
        request = self._docket.stands_for(container, event, now)
        held = Held(remote_id, container, event)
        self._held.add(held)
        self._held.name(held, _names(record))
        if request is None or new or request.state in STILL_OPEN:
            event.count = new if request is not None else max(1, new)
            request = self._docket.asked_there(container, event, now)
        held.request = request
        if request is not None and request.state in STILL_OPEN:
            self._held.bind(held, request.id)
            self._docket.learn(container, event.dest, now)
            self._asking = {line: local for line, local in self._asking.items() if local != request.id}
        elif not record["floor"]:
            self._set_aside(held)

    def _new_tries(self, container: str, event: Event, total: int) -> int:
        """How many of its tries were not counted here yet: that session counts from its own beginning."""
        key = (container, event.dest, event.proto, event.port)
        before = self._counts.get(key, 0)
        remember(self._counts, key, max(total, before))
        return max(0, total - before)

    def _set_aside(self, held: Held) -> None:
        """Nobody decides it now: it is to ask again when it is tried again."""
        if not held.skipped:
            held.skipped = True
            self._say("skip " + held.id)

    def _take_again(self, record: Record, now: Now) -> None:
        held = self._held.get(record["id"])
        if held is None or held.request is None:
            return
        self._count(held, held.request, record["count"], now)
        if held.request.state not in STILL_OPEN:
            self._set_aside(held)

    def _count(self, held: Held, request: Request, total: int, now: Now) -> None:
        """It was tried so often there."""
        held.event.count = self._new_tries(held.container, held.event, total)
        if held.event.count:
            self._docket.tried_there(request, held.event, now)

    def _take_names(self, record: Record, now: Now) -> None:
        held = self._held.get(record["id"])
        if held is not None and record["names"]:
            self._held.name(held, _names(record))
            self._docket.learn(held.container, held.event.dest, now)

    def _take_names_read(self, record: Record, now: Now) -> None:
        container = self._local(record)
        self.behind.discard(container)
        self._docket.names_known(container, now)

    def _take_closed(self, record: Record, now: Now) -> None:
        held = self._held.get(record["id"])
        if held is None:
            return
        request = self._docket.request(held.local)
        self._held.remove(held)
        if held.request is None:
            return
        self._count(held, held.request, record["count"], now)
        remember(self._last, held.request.key, held.id)
        if request is None or self._held.bound_to(request.id):
            return
        if not (held.skipped and self._ask(request)):  # else it was asked again here by hand meanwhile
            self._docket.closed_there(request, record["why"], now)

    def _take_verdict(self, record: Record, now: Now) -> None:
        container = self._local(record)
        if not self.sent.answered(container, record, now) and record["result"] == APPLIED:
            text = "%s: %s %s was run there, by %s"
            self._warn(text % (container, record["action"], record["target"], record["by"] or "whom?"))

    def _take_passed(self, record: Record, now: Now) -> None:
        self._docket.relay({**record, "container": self._local(record)})

    _take_still_blocked = _take_recorded = _take_passed

    def _take_shield(self, record: Record, now: Now) -> None:
        self._docket.shields.state(self._local(record), record["state"], now)

    def _take_lost(self, record: Record, now: Now) -> None:
        container = self._local(record) if record["container"] else ""
        self._docket.lost(container, record["count"], record["where"])

    def _take_error(self, record: Record, now: Now) -> None:
        """What concerns whoever answers there is for us; an answer of ours may not have been understood."""
        line = record["line"]
        job = self.sent.refused(line, record["message"], now)
        if job is not None:
            for request in map(self._docket.awaiting, job.ids):
                if request is not None:  # it was closed there meanwhile
                    self._reopen(request, now)
            return
        local = self._asking.pop(line, "")
        request = self._docket.request(local) if local else None
        if request is not None:
            self._last.pop(request.key, None)
            if request.state == OPEN:
                self._docket.closed_there(request, "stopped", now)
        elif line.startswith(("skip ", "ask ")):
            return  # it was closed there meanwhile, or opened
        self._warn("%s: %s" % (self.name, record["message"]), record["hint"])

    def _take_summary(self, record: Record, now: Now) -> None:
        self.exit = record["exit"]
        self._docket.counts["untold"] += record["untold"]

    def _warn(self, text: str, hint: str = "") -> None:
        if self._may_remark():
            self._docket.warn(text, hint=hint)

    def _may_remark(self) -> bool:
        """Whether one more is told; that no more are, is."""
        self._warned += 1
        if self._warned == WARNINGS + 1:
            self._docket.warn("%s: more such lines are not told" % self.name)
        return self._warned <= WARNINGS

    # What is decided here

    def told(self, record: Record, now: Now) -> None:
        """A record of our docket's, perhaps of one of these containers."""
        if record["type"] == "closed":
            closed_there_too = record["why"] not in ("skipped", "muted", "dry-run")
            for held in self._held.bound_to(record["id"]):
                self._held.bind(held, "")
                if not closed_there_too:
                    self._set_aside(held)
        elif record["type"] == "pending" and record["container"] in self.watching:
            request = self._docket.request(record["id"])
            if request is not None:
                self._reopen(request, now)

    def _reopen(self, request: Request, now: Now) -> None:
        """It is open here, and is to be there, too."""
        if not self._reaches(request):
            self._warn("%s: %s can't be asked again" % (request.container, request.dest))
            self._docket.closed_there(request, "stopped", now)

    def _reaches(self, request: Request) -> bool:
        """Whether it is open there, or is asked there once more."""
        return bool(self._held.bound_to(request.id)) or self._take_up(request) or self._ask(request)

    def _take_up(self, request: Request) -> bool:
        """What is open there for it although it was closed here: that stands for it again."""
        found = self._held.of(request)
        for held in found:
            self._held.bind(held, request.id)
        return bool(found)

    def _ask(self, request: Request) -> bool:
        """Has it opened there once more; False where that can't be."""
        if request.id in self._asking.values():
            return True
        remote_id = self._last.get(request.key)
        if remote_id is None:
            return False
        self._asking["ask " + remote_id] = request.id
        self._say("ask " + remote_id)
        return True

    def must_wait(self, job: Job) -> bool:
        """Whether what it is about is being opened there once more."""
        if job.undoes is not None or self._cited(job):
            return False
        requests = [request for request in map(self._docket.request, job.ids) if request is not None]
        return any([self._reaches(request) for request in requests])

    def _cited(self, job: Job) -> str:
        """The id by which that session knows what the job is about; "" where it does not."""
        if job.undoes is not None:
            return self.sent.id_of(job.undoes)
        for local in job.ids:
            for held in self._held.bound_to(local):
                if not held.skipped:
                    return held.id
        return ""

    def start(self, job: Job, now: Now) -> None:
        """Sends a job, which has begun; one that can't be has failed."""
        self.sent.start(job, self._cited(job), now)

    def hung_up(self, now: Now, words: str) -> None:
        """That session is gone: what it ran has no outcome, what it had is closed."""
        self.sent.give_up(now, words)
        self.sent.forget()
        for container in list(self.watching):
            self._end(container, now, told=False)
        self.version, self.exit, self._warned = "", None, 0
        for kept in (self._held, self._last, self._counts, self._asking):
            kept.clear()

    # What the session asks

    def names(self, container: str, dest: str) -> Sequence[Name]:
        """Those known for an address now, the one looked up last first."""
        return self._held.names(container, dest)

    def row(self, container: str) -> Watching:
        """One of its containers, as the operator is told it."""
        about = self.watching[container]
        return Watching(
            container, about["dossier"], about["shield_state"], container_id=about["id"],
            source=about["source"], shield=about["shield"], missed=about["missed"],
            held_by=about["held_by"], taken_over=about["taken_over"], unseen=about["unseen"],
            in_pod=about["in_pod"], no_ipv6=about["no_ipv6"],
        )  # fmt: skip


def _names(record: Record) -> Sequence[Name]:
    """The names that it has told of an address: where it knows more, or did, here they are unknown."""
    names: Sequence[Name] = record["names"]
    if names and (record["more_names"] or record["names_forgotten"]):
        names[-1].forgot = True
    return names
