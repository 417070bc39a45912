"""`--check --host`: what each of these machines says of itself, and what the link to it adds.

The same program is run there, over the same ssh as a session.  What it says is another machine's text.
"""

from __future__ import annotations

from .base import jsonlines, timestamps
from .base.errors import CANNOT_START, Refused
from .base.text import printable
from .formats import sessionline
from .joined import ssh
from .steps import Line
from .system import children, clocks, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .base.options import Options
    from .joined.link import Command

DEADLINE = 90.0
"""Seconds for a machine to answer; whoever is asked for a password takes his time."""


def run(options: Options) -> list[tuple[str, int]]:
    """For each machine what there is to tell, as text or (`--json`) an object a line, and the exit code."""
    found = []
    for name, command in ssh.checks(options, _may_ask()).items():
        link, out, code = _checked(name, command)
        told = _objects(name, link, out) if options.json else _lines(name, link, out)
        found.append((told, code))
    return found


def _may_ask() -> bool:
    try:
        with terminal.find():
            return True
    except Refused:
        return False


def _checked(name: str, command: Command) -> tuple[Line, bytes, int]:
    """What the link adds, what was said there, and the exit code."""
    began = clocks.now().mono
    problem, hint = "", command.hint
    for argv, apart in ((command.argv, True), (command.asking, False)):
        if not argv:
            continue
        try:
            code, out, err = children.run(argv, DEADLINE, given=command.preamble, apart=apart)
        except (OSError, children.Stuck) as error:
            problem = "%s: %s" % (argv[0], getattr(error, "strerror", None) or error)
            continue
        if out:
            text = "%s answers in %.1f s" % (name, clocks.now().mono - began)
            return Line("link", text), out, code
        said = [line for line in err.decode("latin-1").splitlines() if line.strip()]
        problem = printable(said[-1], 300) if said else "it ended with %d" % code
    refused = Refused(CANNOT_START, "%s: %s" % (name, problem), hint)
    return Line("link", refused.message, refused), b"", CANNOT_START


def _lines(name: str, link: Line, out: bytes) -> str:
    """As the machine lays them out, below its name."""
    said = [printable(line, 1000) for line in out.splitlines()]
    return "".join(text + "\n" for text in ["%s:" % name, *link.text(), *said])


def _objects(name: str, link: Line, out: bytes) -> str:
    records = [_fields(name, "", link.name, link.ok, link.message, "; ".join(link.hints))]
    for line in out.splitlines():
        try:
            told = sessionline.parse(line)
        except jsonlines.BadLine:
            continue  # what a shell's start-up file prints there
        if told is not None and told["type"] == "check":
            container = "%s/%s" % (name, told["container"]) if told["container"] else ""
            more = (told["name"], told["ok"], told["message"], told["hint"])
            records.append(_fields(name, container, *more))
    return "".join(jsonlines.encode(record).decode("ascii") for record in records)


def _fields(host: str, container: str, name: str, ok: bool, message: str, hint: str) -> dict[str, Any]:
    ts = timestamps.stamp(clocks.now().wall)
    about = {"type": "check", "ts": ts, "host": host, "container": container or None}
    return {**about, "name": name, "ok": ok, "message": message, "hint": hint or None}
