"""Which names were answered with an address, as many as are kept.  Pure.

Whoever runs inside the container chooses how many there are, of one address and of all.
"""

from __future__ import annotations

from ..base.happenings import Name

MAX_ADDRESSES = 20000
MAX_NAMES = 64  # of one address
MAX_ALL = 65536  # of all addresses together


class AddressBook:
    """The names of each address, the latest last.

    Two generations stand in for an order by last use: what is used moves into the young one, and
    when that is half of all the old one is forgotten.  `share` of the bounds is its own.
    """

    __slots__ = ("_addresses", "_names", "_young", "forgot", "old", "young")

    def __init__(self, share: float) -> None:
        self._addresses = int(MAX_ADDRESSES * share) // 2  # of a generation
        self._names = int(MAX_ALL * share) // 2
        self._young = 0  # names in the young one
        self.young: dict[bytes, list[Name]] = {}
        self.old: dict[bytes, list[Name]] = {}
        self.forgot = False  # whether an old generation was: any address may have been in it

    def names(self, address: bytes) -> list[Name]:
        return self.young.get(address) or self.old.get(address) or []

    def enter(self, address: bytes, name: str, via: str, at: str) -> bool:
        """Note that a name was looked up; whether it was not the one of its address that was last."""
        names = self.young.get(address)
        if names is None:
            names = self._rejuvenate(address)
        found = names[-1] if names else None
        if found is None or found.name != name:
            found = next((one for one in names if one.name == name), None)
            if found is None:
                if len(names) >= MAX_NAMES:
                    del names[: MAX_NAMES // 2]
                    names[0].forgot = True
                    self._young -= MAX_NAMES // 2
                names.append(Name(name, via, at, self.forgot and not names))
                self._young += 1
                return True
            names.remove(found)
            names[0].forgot = names[0].forgot or found.forgot
            found.forgot = False
            names.append(found)
            found.via, found.at = via, at
            return True
        found.via, found.at = via, at
        return False

    def _rejuvenate(self, address: bytes) -> list[Name]:
        if len(self.young) >= self._addresses or self._young >= self._names:
            self.forgot = bool(self.old) or self.forgot
            self.old = self.young
            self.young = {}
            self._young = 0
        names = self.young[address] = self.old.pop(address, [])
        self._young += len(names)
        return names
