"""`--save-policy FILE`: what the operator answered, as rules of a policy file, for later sessions.

The awkward facts: the file may be open in an editor, which replaces it or writes it anew at any moment;
so nothing is kept open, and what stands there is read before each rule is added.  And half a rule may be
another rule (`allow 203.0.113.1` of `allow 203.0.113.10`): so a line is written as a comment, and becomes a
rule by its first byte once all of it is there.  A comment and its rule are of one length, so that nothing
behind them moves.  And what was answered for one container was answered for no other: so a rule stands in a
section of its container, unless the session is about that one alone and the file has no sections.
"""

from __future__ import annotations

import errno
import os
import stat

from ..base import addresses, timestamps
from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..docket import policy
from ..docket.verdict import APPLIED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Tuple

    from ..base.moment import Now
    from ..docket.docket import Record
    from ..docket.ruleset import Rule

    Target = Tuple[str, str]  # the container, and the address or name

OPERATORS = ("operator", "script")
"""Whose answers are kept; those of rules stand in a file already."""

RULE, COMMENT = "%s   # %s\n", "# %s # %s\n"
"""A line with a rule and why it stands there, and the same once it is taken back."""


class SavedPolicy:
    """Adds rules to the file at `path`; one that an undo or another answer takes back becomes a comment.

    `several`: the session may be about more containers than one, and each rule needs a section.
    `failed` says what went wrong first, and `report` has been called with it; "" while all is well.
    Refused (3) when it can't be written.
    """

    def __init__(self, path: str, report: Callable[[str], None], several: bool) -> None:
        self.failed = ""
        self._several = several
        self._path = path
        self._name = printable(path, 200)
        self._report = report
        self._open: dict[str, Record] = {}  # what each open request is about, by its id
        self._ours: dict[Target, tuple[str, str]] = {}  # what was added for it: the rule, and why
        self._last: dict[Target, str] = {}  # the rule for its last answer, added or there already
        try:
            os.close(self._opened(os.O_CREAT))
        except (OSError, ValueError) as error:  # a path may hold a NUL
            problem = (isinstance(error, OSError) and error.strerror) or str(error)
            raise Refused(
                CANNOT_START,
                "--save-policy %s: %s" % (self._name, problem),
                "name a file that this user can write to, in a folder that exists",
            ) from None

    def __repr__(self) -> str:
        return "SavedPolicy(%s, %d rules)" % (self._name, len(self._ours))

    def record(self, record: Record, now: Now) -> None:
        """Takes note of any record of the session."""
        kind = record["type"]
        if kind == "pending":
            self._open[record["id"]] = record
        elif kind == "names" and record["id"] in self._open:
            self._open[record["id"]] = {**self._open[record["id"]], "names": record["names"]}
        elif kind == "closed":
            request = self._open.pop(record["id"], None)
            if record["why"] == "muted" and record["by"] in OPERATORS and request is not None:
                self._answered("skip", record["target"], request["container"], request, now)
        elif kind == "unmuted":
            self._safely(self._take_back, (record["container"], record["target"]))
        elif kind == "verdict" and record["result"] == APPLIED and record["by"] in OPERATORS:
            container, target = record["container"], record["target"]
            if record["undo"]:
                self._safely(self._take_back, (container, target))
            elif record["action"] == "allow" or addresses.canonical(target):
                requests = [self._open[each] for each in record["ids"] if each in self._open]
                self._answered(record["action"], target, container, next(iter(requests), None), now)

    def close(self) -> None:
        """Nothing of it is open."""

    def _answered(self, action: str, target: str, container: str, request: Record | None, now: Now) -> None:
        rule, about = "%s %s" % (action, target), (container, target)
        if self._last.get(about) != rule:  # what is muted may be tried at any number of addresses
            self._safely(self._take_back, about)
            self._last[about] = rule
            why = "%s %s" % (timestamps.stamp(now.wall), container)
            self._safely(self._add, about, rule, why, request)

    def _safely(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except OSError as error:
            if not self.failed:
                problem = error.strerror or str(error)
                self.failed = "--save-policy %s: %s: not every answer is kept" % (self._name, problem)
                self._report(self.failed)

    def _add(self, about: Target, rule: str, why: str, request: Record | None) -> None:
        """Adds a rule, unless one that stands there decides before it, for its container.

        One that decides before it what the answer was about, but not all that it may be about, is told.
        """
        container, target = about
        fd = self._opened(os.O_CREAT | os.O_APPEND)
        try:
            data = _content(fd)
            rules, _ = policy.read(data, self._name)
            action = rule.partition(" ")[0]
            part = rules.of(container)
            before = part.before(action, target)
            if before is not None:
                self._tell(rule, before, "is not added: `%s` stands before it")
                return
            if request is not None:
                private = request["class"] == "private"
                first = part.before_here(action, request["dest"], private, request["names"])
                self._tell(rule, first, "is added behind `%s`, which decides first where both match")
            last = policy.last_section(data)
            section = container if self._several or last != "" else ""
            header = b"" if section == last else b"[%s]\n" % section.encode("ascii")
            line, comment = (form % (rule, why) for form in (RULE, COMMENT))
            text = b"" if data.endswith(b"\n") or not data else b"\n"
            text += (b"#" + header[1:] if header else b"") + comment.encode("ascii")
            if os.write(fd, text) < len(text):
                os.write(fd, b"\n")  # what is there stays a comment
                raise OSError(errno.ENOSPC, "it could not be written whole")
            at = os.lseek(fd, 0, os.SEEK_CUR) - len(comment)
        finally:
            os.close(fd)
        if header:
            self._replace(at - len(header), b"#" + header[1:], header)
        self._replace(at, comment.encode("ascii"), line.encode("ascii"), section)
        self._ours[about] = rule, why

    def _tell(self, rule: str, before: Rule | None, what: str) -> None:
        """What stands before a rule, where that decides otherwise."""
        if before is not None and before.action != rule.partition(" ")[0]:
            text = "--save-policy %s: `%s` " % (self._name, rule)
            self._report(text + what % printable(before.text, 200))

    def _take_back(self, about: Target) -> None:
        """The rule that was added for a target becomes a comment, wherever it stands by now."""
        self._last.pop(about, None)
        ours = self._ours.pop(about, None)
        if ours is None:
            return
        line, comment = ((form % ours).encode("ascii") for form in (RULE, COMMENT))
        fd = self._opened(0)
        try:
            at = (b"\n" + _content(fd)).find(b"\n" + line)
        finally:
            os.close(fd)
        if at >= 0:  # else somebody has taken it out
            self._replace(at, line, comment)

    def _replace(self, at: int, was: bytes, becomes: bytes, section: str | None = None) -> None:
        """The line that stands there becomes another of its length, in that section if one is meant.

        One of the two is a comment, and so is whatever is there in between: a rule gets its first byte last,
        and loses it first.  Not through a descriptor that appends.
        """
        fd = self._opened(0)
        try:
            data = _content(fd)
            moved = section is not None and policy.last_section(data[:at]) != section
            if moved or data[at : at + len(was)] != was:
                raise OSError(errno.ESTALE, "it was changed meanwhile")
            first, rest = (at, becomes[:1]), (at + 1, becomes[1:])
            for place, part in (first, rest) if becomes.startswith(b"#") else (rest, first):
                os.pwrite(fd, part, place)
        finally:
            os.close(fd)

    def _opened(self, flags: int) -> int:
        flags |= os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a file")
        return fd


def _content(fd: int) -> bytes:
    data = os.pread(fd, policy.LARGEST + 1, 0)
    if len(data) > policy.LARGEST:
        raise OSError(errno.EFBIG, "it is larger than a policy")
    return data
