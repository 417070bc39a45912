"""The names of the addresses that something waits for, as they were heard last.  Pure.

The query log's book has all names (`lookup`); here is what a request is shown under, and whether
anything is new.
"""

from __future__ import annotations

from ..base import addresses
from ..base.index import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..base.happenings import Name

NAMES_TOLD = 8
"""Names of an address in a record, those looked up last; of the others, how many are known still."""


class Heard:
    """What was heard of an address: `shown` is the name its requests are shown under.

    Two numbers stand for the rest: `members` for which names there are, `fingerprint` also for which
    was looked up last, which is what rules go by.
    """

    __slots__ = ("fingerprint", "members", "shown")

    def __init__(self, names: Sequence[Name]) -> None:
        self.shown = shown(names)
        self.members = hash(frozenset(name.name for name in names))
        self.fingerprint = hash((names[0].name if names else "", self.members))

    @property
    def text(self) -> str:
        return self.shown.name if self.shown is not None else ""


class Names:
    """`lookup(container, dest)` gives the names known for an address, the one looked up last first."""

    def __init__(self, lookup: Callable[[str, str], Sequence[Name]]) -> None:
        self.lookup = lookup
        self._heard: dict[tuple[str, str], Heard] = {}
        self._nothing = Heard(())  # one for all the addresses that have no name: tens of thousands perhaps
        self._shown_as: dict[str, Index] = {}  # by container: the same addresses under their names

    def shown(self, container: str, dest: str) -> Name | None:
        """The name that its requests are shown under: the latest that may be a target, else the latest."""
        heard = self._heard.get((container, dest))
        return heard.shown if heard is not None else shown(self.lookup(container, dest))

    def shown_as(self, container: str, name: str) -> list[str]:
        """The addresses that something waits for and that are shown under that name."""
        return self._shown_as[container].get(name) if container in self._shown_as else []

    def fingerprint(self, container: str, dest: str) -> int:
        """Stands for the names that were heard of an address, and which is the latest."""
        heard = self._heard.get((container, dest))
        return heard.fingerprint if heard is not None else 0

    def listen(self, container: str, dest: str) -> None:
        """Something waits for this address from now on."""
        if (container, dest) not in self._heard:
            self.hear(container, dest)

    def hear(self, container: str, dest: str) -> tuple[Heard | None, Heard]:
        """What was heard of it before, and now."""
        before = self._heard.get((container, dest))
        names = self.lookup(container, dest)
        heard = self._heard[container, dest] = Heard(names) if names else self._nothing
        self._show_no_longer(container, dest, before)
        if heard.text:
            self._shown_as.setdefault(container, Index()).add(heard.text, dest)
        return before, heard

    def forget(self, container: str, dest: str) -> None:
        """Nothing waits for it any more."""
        self._show_no_longer(container, dest, self._heard.pop((container, dest), None))

    def _show_no_longer(self, container: str, dest: str, heard: Heard | None) -> None:
        if heard is not None and heard.text:
            self._shown_as[container].remove(heard.text, dest)
            if not self._shown_as[container]:
                del self._shown_as[container]


def shown(names: Sequence[Name]) -> Name | None:
    """The first that may be a target, else the first."""
    targets = (name for name in names if addresses.is_target_name(name.name))
    return next(targets, names[0] if names else None)


def names_told(names: Sequence[Name]) -> dict[str, Any]:
    """The fields of a record that tell names."""
    fields: dict[str, Any] = {"names": [name.name for name in names[:NAMES_TOLD]]}
    if len(names) > NAMES_TOLD:
        fields["more_names"] = len(names) - NAMES_TOLD
    if names and names[-1].forgot:
        fields["names_forgotten"] = True
    return fields
