"""Which container a list is narrowed to.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

ONE_ONLY = "all of these are of one container"


class Narrowing:
    """To one container, `only`; "" stands for all."""

    def __init__(self) -> None:
        self.only = ""
        self._began = ""  # with which of them it was begun

    def turn(self, containers: Sequence[str], first: str) -> str:
        """To the `first` of these, then to each of the others, then to all again; why not, if not."""
        if self.only and containers:
            at = containers.index(self.only) + 1 if self.only in containers else 0
            after = containers[at % len(containers)]
            began = self._began if self._began in containers else containers[0]
            self.only = "" if after == began else after
        elif self.only:
            self.only = ""
        elif len(containers) > 1:
            self.only = self._began = first
        else:
            return ONE_ONLY
        return ""

    def holds(self, container: str) -> bool:
        return self.only in ("", container)
