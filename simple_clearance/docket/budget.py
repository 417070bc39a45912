"""What a container can multiply, and how much of it is kept.  Pure.

Whoever is inside chooses how many destinations, names and, where rules decide, verdicts there are.
So whatever grows with them has its bound here, for one container; several share it, so that a
session with many needs no more memory than one with one.  What goes over is told, once a container.
What one has too much of since others came goes as soon as it gets more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping

LIMITS = {
    "requests": 20_000,  # remembered; then a closed one is forgotten (`states`), else the new one is lost
    "ports": 64,  # open requests of one address with a port of their own (`ports`)
    "answers": 2_000,  # of the history, those of rules and the others
    "muted": 20_000,  # names and addresses
    "addresses": 4_096,  # whose verdict is held against the packets
    "targets": 4_096,  # whose last word is known
    "failures": 4_096,  # addresses and names whose verdict came to nothing
    "let out": 1_024,  # addresses let out while a verdict runs, which may be its work
    "automatic": 64,  # verdicts of a policy or of `--answer` that wait
    "warnings": 64,  # rules and addresses told to be without effect
}
OF_ONE_ADDRESS = ("ports",)
KEYS = 64
"""Requests that one answer remembers, to ask one of them again: a name may have thousands."""
IDS = 256
"""Ids of requests by which one verdict can be undone; of an address hardly more than 64 are open at once."""
SHARED_BY = 20
"""Containers that share a bound; more of them get as much each as if they were so many."""

TOLD = {
    "muted": "more than %d names and addresses are muted: the first ones are asked again when they are tried",
    "answers": "more than %d answers: the history shows the latest, a --log keeps all",
    "addresses": "verdicts on more than %d addresses: whether the oldest worked is not told any more",
    "targets": "verdicts on more than %d targets: the oldest are not repeated at the end, a --log keeps all",
    "failures": "more than %d verdicts came to nothing: the oldest are only counted",
}


class Budget:
    """The bounds of one session.  `containers` share them."""

    def __init__(self, limits: Mapping[str, int] = LIMITS) -> None:
        self._limits = {**LIMITS, **limits}
        self.containers = 1

    def limit(self, kind: str) -> int:
        """How many of a kind are kept for one container, or for one of its addresses."""
        if kind in OF_ONE_ADDRESS:
            return self._limits[kind]
        return max(1, self._limits[kind] // min(SHARED_BY, max(1, self.containers)))


class Kept:
    """The latest things of one kind, by container and key; the oldest goes when there is no room.

    `tell(type, **fields)` takes what should be told.
    """

    def __init__(self, kind: str, budget: Budget, tell: Callable[..., None]) -> None:
        self._kind = kind
        self._budget = budget
        self._tell = tell
        self._kept: dict[str, dict[str, Any]] = {}
        self._over: dict[str, bool] = {}

    def any(self, container: str) -> bool:
        """Whether anything is kept for a container."""
        return bool(self._kept.get(container))

    def get(self, container: str, key: str) -> Any:
        return self._kept.get(container, {}).get(key)

    def put(self, container: str, key: str, value: Any) -> list[Any]:
        """Keeps it as the latest; what had to go: for it, or since others share the bound by now."""
        kept = self._kept.setdefault(container, {})
        kept.pop(key, None)
        kept[key] = value
        limit = self._budget.limit(self._kind)
        if len(kept) > limit and not self._over.get(container):
            self._over[container] = True
            self._tell("error", message=container + ": " + TOLD[self._kind] % limit)
        return [kept.pop(next(iter(kept))) for _ in range(len(kept) - limit)]

    def drop(self, container: str) -> dict[str, Any]:
        """Forgets all that is kept for a container; what that was."""
        self._over.pop(container, None)
        return self._kept.pop(container, {})

    def pop(self, container: str, key: str) -> Any:
        return self._kept.get(container, {}).pop(key, None)

    def items(self) -> list[tuple[str, str, Any]]:
        """(container, key, value), the oldest of each container first."""
        return [(container, *item) for container, kept in self._kept.items() for item in kept.items()]
