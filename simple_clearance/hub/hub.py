"""Whether a clearance hub is active: the one other program that runs verdicts for our container.

The awkward facts.  A hub today has no name on any bus, and one of the first versions has nothing
else; and it comes and goes while we run, without any lock between it and us.  So: look at the start,
whenever `folders` or the bus give notice, and right before every verdict.  What can't be
asked is not the same as "no hub".  Nothing is ever sent to a hub.
"""

from __future__ import annotations

from ..base.errors import CANNOT_START, Refused
from ..base.ids import SHORT_ID, is_hex
from . import bus, sockets
from .common import Common, Signs
from .places import Places
from .sockets import CLIENT, STOP_SERVICE, Active

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping

    from .sockets import Fed, Finding

NAME = "org.terok.Shield1"
# A folder's notice comes at bind(), before connecting succeeds, and none comes at listen().
LOOK_AGAIN = (0.0, 0.1, 0.5, 1.0, 2.0)  # seconds after a notice

IGNORE = "--ignore-hub, if you know that no hub runs for this container"


class Hub:
    """What tells of a hub that answers for one container, and the look for it alone.

    `container_id` are the 12 or 64 hex digits of the container's id, or None where only hubs
    for all containers can be looked for; `sidecar` is the annotation `terok.sandbox.sidecar`;
    `first` is the pid of the container's first process, 0 where it is not known: what listens in there
    is no hub, though an image's sidecar and a volume may put it where one would be.  `ignore` takes
    what can't be asked for "no hub", never a hub that is active.  `names` are those on the bus, `firsts` is
    empty or that `first`.

    Only `look` connects to the bus, by `common` and for this container alone; over several of them
    `guard.Guard` looks.
    """

    def __init__(
        self,
        container_id: str | None,
        sidecar: str | None,
        environ: Mapping[str, str],
        uid: int,
        ignore: bool = False,
        first: int = 0,
        trace: bus.Trace = lambda text: None,
    ) -> None:
        if container_id is not None and not (is_hex(container_id) and len(container_id) >= SHORT_ID):
            raise ValueError("not a container's id: %r" % container_id)
        sid = container_id[:SHORT_ID] if container_id else ""
        self.firsts = [first] if first else []
        self.names = [NAME] + ["%s.Container_%s" % (NAME, sid)] * bool(sid)
        self._places = Places(sid, sidecar, environ, uid)
        self._ignore = ignore
        self.common = Common(environ, uid, trace)
        self.common.watch(self.names)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *failure: object) -> None:
        self.common.close()

    def look(self, has_reader: bool | None = None, seconds: float = bus.DEADLINE) -> Active | None:
        """The hub that is active now, or None.  Takes 1 ms, or `seconds` with a bus that hangs.

        Refused (3) when a socket or the bus can't be asked, unless that is to be ignored.
        `has_reader`: whether the bridge reader that feeds a hub runs, where that is known.
        """
        owned, doubt = self.common.owned(seconds)
        signs = Signs(owned, doubt, self.common.sockets(self.firsts))
        return self.judge(signs, lambda: has_reader)

    def judge(self, signs: Signs, fed: Fed) -> Active | None:
        """The same, once what it has in common with others has been asked (see `Common`).

        A verdict may be begun right after it: so what is quick to ask, and where a hub is likeliest
        to be, its own sockets, is asked last, though it is told first.
        """
        doubts = []
        for finding in self._findings(signs, fed):
            if isinstance(finding, Active):
                return finding
            doubts.append(finding)
        if doubts and not self._ignore:
            raise Refused(CANNOT_START, "can't tell whether a clearance hub is active: " + doubts[0], IGNORE)
        return None

    def _findings(self, signs: Signs, fed: Fed) -> Iterator[Finding]:
        """Each hub found, and as text each place that can't be asked."""
        for path in self._places.container_sockets(signs.there):
            finding = sockets.probe(path, self.firsts, fed)
            if finding is not None:
                yield finding
        yield from signs.sockets
        for name in self.names:
            if name in signs.owned:
                yield Active("%s has an owner on the session bus" % name, (CLIENT, STOP_SERVICE))
        if signs.doubt:
            yield signs.doubt

    def folders(self) -> list[str]:
        """Where a hub, or the bus, would appear; some may not exist (yet)."""
        return self._places.folders()
