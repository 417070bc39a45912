"""The policy file on disk: read at the start, and again when it has changed."""

from __future__ import annotations

import os

from . import policy
from .errors import CANNOT_START, Refused
from .text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    from .policy import Policy

    Stamp = Tuple[int, int, int, int]


class PolicyFile:
    """The file at `path`; Refused (3) when it can't be read or has a mistake, naming it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: Stamp | None = None

    def load(self) -> Policy:
        """The rules as they are now."""
        try:
            with open(self.path, "rb") as file:
                self._stamp = _stamp(os.fstat(file.fileno()))
                data = file.read(policy.LARGEST + 1)
        except OSError as error:
            text = f"policy file {printable(self.path, 200)}: {error.strerror}"
            raise Refused(CANNOT_START, text, "--policy FILE names a file that you can read") from None
        try:
            return policy.parse(data, self.path)
        except policy.PolicyError as error:
            raise Refused(CANNOT_START, str(error), *([error.hint] if error.hint else [])) from None

    def changed(self) -> bool:
        """Whether there is another file, or other bytes in it, than was loaded last."""
        try:
            return _stamp(os.stat(self.path)) != self._stamp
        except OSError:
            return False  # being replaced: the notice of the new one is still to come


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
