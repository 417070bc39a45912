"""What the verdict command is called with, and what its exit and its words mean.  Pure.

`terok-shield allow|deny CONTAINER TARGET` is the trust boundary.  A target may be a network
for it (`0.0.0.0/0` opens everything), so only one plain address or one checked name ever
becomes one.  Its exit code does not tell what is open; only packets do.
"""

from __future__ import annotations

import re

from ..base import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Sequence

ACTIONS = ("allow", "deny")
APPLIED, FAILED, UNKNOWN, DRY_RUN = "applied", "failed", "unknown", "dry-run"
NOT_STARTED = "not-started"
"""The reason where no command was run."""

_ALLOWED = re.compile(r"^Allowed (\S+) -> ([0-9A-Fa-f:., ]+) for \S+$", re.MULTILINE)

# What Python's logging puts before a warning.
_LOGGED = re.compile(r"^[0-9]{4}-[0-9-]{5} [0-9:,]{8,12} [A-Z]+ [\w.]+: ")

# What the command's own words tell, in this order.  With journald its warnings go there, and only
# `Error: No IPs allowed for c1` is left, which tells nothing.
_REASONS = (
    ("No address for", "no-address"),
    ("add element inet terok_shield", "quarantine"),  # nft, which then finds no such set
    ("in quarantine", "quarantine"),
    ("nsenter: ", "not-running"),
    ("not running", "not-running"),
    ("returned 125", "no-container"),
    ("no such container", "no-container"),
    ("'terok.shield.state_dir' annotation", "not-shielded"),
)


def is_command(words: Sequence[str], programs: Collection[str], names: Collection[str]) -> bool:
    """Whether this command line runs a verdict for a container of one of these names.

    An interpreter may stand before the program, options between it and the action.
    """
    for at in range(1, len(words) - 2):
        if words[at] in ACTIONS and words[at + 1] in names:
            return any(word.rpartition("/")[2] in programs for word in words[:at])
    return False


class Outcome:
    """What came of one verdict.

    `result` is applied, failed, unknown or dry-run, `reason` a word of the interface or "", `error` the
    command's own text (untrusted), `opened` the addresses that an allow says it opened,
    `seconds` how long it ran.
    """

    __slots__ = ("error", "opened", "reason", "result", "seconds")

    def __init__(
        self,
        result: str,
        reason: str = "",
        error: str = "",
        opened: tuple[str, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        self.result = result
        self.reason = reason
        self.error = error
        self.opened = opened
        self.seconds = seconds

    def __repr__(self) -> str:
        return "Outcome({} {} opened={} {!r})".format(
            self.result, self.reason, ",".join(self.opened), self.error
        )


def command(shield: Sequence[str], action: str, container: str, target: str) -> list[str]:
    """The argv of one verdict.  Raises ValueError for a target that is not exactly one thing."""
    if action not in ACTIONS:
        raise ValueError(f"no such action: {action!r}")
    if addresses.canonical(target) != target and not addresses.is_target_name(target):
        raise ValueError(f"neither a plain address nor a host name: {target!r}")
    return [*shield, action, container, target]


def outcome(action: str, target: str, status: int | None, out: str, err: str, seconds: float) -> Outcome:
    """Reads the end of a verdict command: `status` is its exit code, None if a signal ended it."""
    said = _last_lines(err)
    if status is None:
        return Outcome(UNKNOWN, "ended", said, seconds=seconds)
    if status == 0:
        return Outcome(APPLIED, "", said, _opened(action, target, out), seconds)
    if "interval overlaps with an existing one" in err:
        if action == "deny":
            return Outcome(APPLIED, "already-denied", said, seconds=seconds)
        opened = (target,) if addresses.canonical(target) else ()
        return Outcome(APPLIED, "already-open", said, opened, seconds)
    lowered = err.lower()
    reason = next((word for text, word in _REASONS if text.lower() in lowered), "exit")
    return Outcome(FAILED, reason, said or "exit code %d" % status, seconds=seconds)


def _opened(action: str, target: str, out: str) -> tuple[str, ...]:
    if action != "allow":
        return ()
    found: list[str] = []
    for match in _ALLOWED.finditer(out):
        for word in match.group(2).split(","):
            address = addresses.canonical(word.strip())
            if address and address not in found:
                found.append(address)
    if not found and addresses.canonical(target):
        found.append(target)
    return tuple(found)


def _last_lines(err: str) -> str:
    """The last three lines that say something, as one; nft's pointing `^^^^` says nothing here."""
    lines = [_LOGGED.sub("", line.strip()) for line in err.splitlines() if line.strip(" ^~\t")]
    return " / ".join(lines[-3:])
