"""The one error that a user is meant to read, and the exit codes."""

from __future__ import annotations

import errno

OK = 0
HUB_ACTIVE = 1
USAGE = 2
CANNOT_START = 3
READER_ENDED = 4
INCOMPLETE = 5
INTERNAL = 70  # EX_SOFTWARE of sysexits.h


STOPPED_EARLY = "stopped before anything was watched"
"""Which is no end as asked: who calls us must not go on as if nothing had been blocked."""


MORE_FILES = "allow it more open files: ulimit -n 1024, LimitNOFILE=1024 in a unit"


AS_WHOM = "run it as the user who started the container, or as root"
FORBIDDEN = "if that is you, AppArmor, SELinux or a unit's sandbox forbids it: journalctl -k -g denied"
"""Where the right user is refused as well, nothing but the kernel's log tells by whom."""


class Command(str):
    """A hint that is a command and nothing else: where a line has no room, a shell takes it as it stands."""


class Refused(Exception):
    """Something that the user can mend: what is wrong, and how to mend it.

    `code` is the exit code, `message` one line in lower case without a full stop, each of
    `hints` a remedy, usually a command.  `by` is the process at whose end it is mended, 0 where that
    is no process's doing.  Only the command line prints it.
    """

    def __init__(self, code: int, message: str, *hints: str, by: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hints = hints
        self.by = by

    def __repr__(self) -> str:
        return "Refused(%d, %r, *%r)" % (self.code, self.message, self.hints)


def starved(error: BaseException | None) -> str:
    """`Too many open files`, where that is what an error comes from, whatever was made of it; else ""."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return ""
