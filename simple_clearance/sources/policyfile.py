"""The policy file on disk: read at the start, and again when it has changed.

The awkward fact: a file is seldom changed at once.  Read between an editor's truncation and its
writing, it would be without a rule, and `--answer` would decide what a rule was to keep shut.  So
a change counts once it has stood for a moment.
"""

from __future__ import annotations

import os
import stat

from ..base.errors import CANNOT_START, Refused
from ..base.text import count, printable
from ..docket import policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    from ..docket.ruleset import Policy

    Stamp = Tuple[int, int, int, int]

SETTLES = 0.3
"""Seconds without another change, after which a changed file is read."""


class PolicyFile:
    """The file at `path`.  `due` is when it is to be read again (monotonic), None while it is unchanged.

    `right`: what was read of it last are rules without a mistake, so many as `rules`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.due: float | None = None
        self.right = False
        self.rules = 0
        self._loaded: Stamp | None = None
        self._seen: Stamp | None = None

    def load(self) -> Policy:
        """The rules as they are now.  Refused (3) when they can't be read, or for their first mistake."""
        self.right = False
        found, mistakes = self.read()
        if mistakes:
            raise mistakes[0]
        self.right, self.rules = True, len(found.rules)
        return found

    def told(self) -> str:
        """That it has rules in place of mistakes."""
        return "policy file %s is right again: %s" % (printable(self.path, 200), count(self.rules, "rule"))

    def read(self) -> tuple[Policy, list[Refused]]:
        """The rules, and every mistake among them.  Refused (3) when they can't be read at all."""
        found, mistakes = policy.read(self._data(), self.path)
        return found, [
            Refused(CANNOT_START, str(error), *([error.hint] if error.hint else [])) for error in mistakes
        ]

    def _data(self) -> bytes:
        again, self.due = self._loaded is not None, None
        try:
            # the second time nobody waits for it: it must not be a pipe by then
            flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if again else 0)
            with open(self.path, "rb", opener=lambda path, _flags: os.open(path, flags)) as file:
                found = os.fstat(file.fileno())
                self._loaded = self._seen = _stamp(found)
                if again and not stat.S_ISREG(found.st_mode):
                    raise self._refused("not a regular file any more")
                data = file.read(policy.LARGEST + 1)
        except OSError as error:
            self._seen = self._look()
            raise self._refused(error.strerror or str(error)) from None
        return data

    def notice(self, mono: float) -> None:
        """Something has changed where it lies: `due` tells whether and when to read it.

        A file that is gone is due, too: it may just be replaced, and else that has to be told.
        """
        found = self._look()
        if found != self._seen:
            self._seen = found
            self.due = mono + SETTLES

    def _look(self) -> Stamp | None:
        """What it looks like now, None where it is not there."""
        try:
            return _stamp(os.stat(self.path))
        except OSError:
            return None

    def _refused(self, reason: str) -> Refused:
        text = f"policy file {printable(self.path, 200)}: {reason}"
        return Refused(CANNOT_START, text, "--policy FILE names a file that you can read")


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
