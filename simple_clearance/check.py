"""`--check`: what is missing on this host to watch containers, and how to mend it.

It takes the same steps as the start of a session, one line each; it runs no verdict and asks nothing.
Of several containers each is told in one line, the worst first, below what they have in common.
"""

from __future__ import annotations

from .base import jsonlines, timestamps
from .base.errors import HUB_ACTIVE, OK
from .sources.forked import Forkserver
from .steps import ContainerSteps, HostSteps, Line, no_trace
from .system import clocks
from .system.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

    from .base.options import Options

ORDER = (
    "python", "podman", "container", "shielded", "rootless", "state dir", "verdicts", "namespace",
    "packet log", "audit log", "shield", "notices", "query log", "terok-shield", "policy", "hub", "terminal",
)  # fmt: skip
"""Of the lines, where one container is looked at."""
NOTES = ("verdicts", "audit log", "shield", "notices", "query log")
"""Lines that are there only where there is something to tell, though a session starts all the same."""
FINE = 4
"""The rank of a line that tells of nothing that is amiss; the worst has 0."""
WIDEST = 40  # characters of a name to which those of several containers are brought


class Check:
    """The lines that there are to tell of the host and each container, and the exit code."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ
        self._host = HostSteps(options, environ)
        self._containers: list[ContainerSteps] = []
        self._is_one = len(options.containers) == 1

    def run(self) -> int:
        """Takes every step that can be taken; returns the exit code that a session would end with.

        Where no container is named, of the policy file alone.
        """
        if self._options.containers or self._options.all:
            self._host.take()
            if not self._is_one:
                self._host.take_hub()
            if self._options.all:
                self._host.find_all()
            self._take_containers()
        else:
            self._host.take_policy()
        self._containers.sort(key=lambda one: min(map(_rank, one.lines)))
        lines = [*self._host.lines, *(line for one in self._containers for line in one.lines)]
        return _gravest([line.refusal.code for line in lines if line.refusal is not None])

    def _take_containers(self) -> None:
        loop = Loop()
        forkserver = Forkserver(loop, no_trace)
        try:
            for name, told in self._host.known.items():
                one = ContainerSteps(self._options, self._environ, name, self._host, told, loop, forkserver)
                one.take()
                self._containers.append(one)
        finally:
            forkserver.close()

    def text(self) -> list[str]:
        """Of one container every line; of several what they have in common, and then the worst of each."""
        if self._is_one:
            return [text for _, line in self.lines() for text in line.text()]
        told = [_worst(one) for one in self._containers]
        width = max([13, *(min(len(line.name), WIDEST) for line in told)])
        return [text for line in [*self._host.lines, *told] for text in line.text(width)]

    def lines(self) -> list[tuple[str, Line]]:
        """Every line with the container that it is about, "" for the host."""
        found = [("", line) for line in self._host.lines]
        found += [(one.name, line) for one in self._containers for line in one.lines]
        if self._is_one:
            found.sort(key=lambda row: ORDER.index(row[1].name))
        return found


def _rank(line: Line) -> int:
    """The lower the worse."""
    if line.refusal is None:
        return FINE - (line.name in NOTES)
    return (0 if line.refusal.code == HUB_ACTIVE else 1) if line.wrong else 2


def _worst(one: ContainerSteps) -> Line:
    """All of it in one line by the container's name: what is worst, or that it can be watched."""
    told = min(one.lines, key=_rank)
    if _rank(told) == FINE:
        best = [line.message for line in one.lines if line.name in ("container", "packet log")]
        return Line(one.name, best[-1])
    hints, more = told.hints, sum(line.wrong for line in one.lines) - 1
    if more > 0:
        hints += ("--check %s tells %d more" % (one.name, more),)
    return Line(one.name, "%s: %s" % (told.name, told.message), told.refusal, hints)


def run(options: Options, environ: Mapping[str, str]) -> tuple[str, int]:
    """The lines of `--check`, as text or (`--json`) as one object a line, and the exit code."""
    if not options.hosts:
        return _here(options, environ)
    from . import checkover

    parts = [_here(options, environ)] if options.containers or options.all else []
    parts += checkover.run(options)
    return "".join(text for text, _ in parts), _gravest([code for _, code in parts if code != OK])


def _gravest(codes: list[int]) -> int:
    """Of those of all that is wrong: a hub that is active, else the first one."""
    return HUB_ACTIVE if HUB_ACTIVE in codes else codes[0] if codes else OK


def _here(options: Options, environ: Mapping[str, str]) -> tuple[str, int]:
    check = Check(options, environ)
    code = check.run()
    if not options.json:
        return "".join(text + "\n" for text in check.text()), code
    found = []
    for container, line in check.lines():
        fields = {
            "type": "check",
            "ts": timestamps.stamp(clocks.now().wall),
            "container": container or None,
            "name": line.name,
            "ok": line.ok,
            "message": line.message,
            "hint": "; ".join(line.hints) or None,
        }
        found.append(jsonlines.encode(fields).decode("ascii"))
    return "".join(found), code
