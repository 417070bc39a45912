"""The container's dnsmasq query log: which names were looked up and answered with an address.

Owns the rules by which a line of that log is believed.  The awkward fact: whoever runs inside
the container chooses the names that are asked for, their timing, and often the answers too, so
a line may hold a forged line.  Hence lines match whole or not at all, and a CNAME chain is
followed back to the name that was asked for only while nothing else can explain it; otherwise
the record's own name is shown.  What is found here is a hint for a person.  It opens nothing.

What dnsmasq 2.90 writes (`log_query` of its cache.c, `extract_addresses` of its rfc1035.c):

- The lines of one answer follow one another, apart from `nftset add` lines between them.
- Of the answer to a CNAME query only `reply NAME is <CNAME>` is written, so the first line of
  another answer may follow it and look like the end of a chain.  The same goes for a chain of
  ten, where dnsmasq gives up, and for a cached CNAME whose end has to be asked for.
- The text of a TXT record is written as it is, and may read like an address.
- A TCP connection is served by a process of its own, under a pid of its own.

`feed` takes any cut of the log and never raises.  Memory is bounded, see the constants.  Most
lines of a log say what was asked and forwarded: a regular expression leaps over those, and what
was asked is looked for in the text itself, where it matters.  Twice as fast as line by line.
"""

from __future__ import annotations

import re

from ..base.addresses import is_name
from ..base.happenings import Name
from .addressbook import AddressBook

MAX_SHOWN = 16384  # names that were checked
MAX_OTHERS = 4096  # names with queries for something else in flight
MAX_UNFINISHED = 4096  # bytes of a line whose end is missing; dnsmasq's own limit is 1024
ASKED_WITHIN = 65536  # bytes of the log in which a query is looked for
LOOK_BACK = 4  # bytes that may be looked through for each byte of the log: ten times what ordinary ones need
LOOK_BACK_MOST = 262144  # of those, how many may be saved up
A_LOOK = 64  # bytes that beginning to look is worth

# Seconds for which a query may be unanswered.  dnsmasq forgets one after 40 (four times TIMEOUT
# of its config.h), and with it drops an answer that comes later.
IN_FLIGHT = 60
NEVER = -IN_FLIGHT - 1
MAX_ALIASES = 10  # CNAME_CHAIN of dnsmasq's config.h

# In lower case, as is the text that they are matched with.  Each line begins with the newline
# before it: a regular expression finds that quicker than `^`.
LINE = re.compile(
    rb"\n([a-z]{3} [ 1-3][0-9] [0-9:]{8} dnsmasq\[[0-9]{1,10})\]: (?:"
    rb"(reply|cached) ([^ \n]{1,1024}) is ([^ \n]{1,1024})"
    rb"|query\[(?!a\]|aaaa\])([^]\n]{1,32})\] ([^ \n]{1,1024}) from [^ \n]{1,64})(?=\n)"
)
BETWEEN = re.compile(rb"(?:\n.{16}dnsmasq\[[0-9]{1,10}\]: (?:nft|ip)set add .*)+")
TIME = re.compile(rb".... ?([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ")
# What inet_ntop(3) may write.  That is the canonical form, so no more needs to be checked here:
# other text of this shape is an address that nobody ever asks for.
ADDRESS = re.compile(rb"[0-9.]{7,15}|[0-9a-f:]{2,39}")


class _Others:
    """The queries about one name for something else than an address."""

    __slots__ = ("count", "latest", "text")

    def __init__(self) -> None:
        self.count = 0  # how many may be unanswered
        self.latest = NEVER
        self.text = NEVER  # the latest one for a TXT record


class _Chain:
    """A CNAME chain as it is written."""

    __slots__ = ("aliases", "end", "head", "name", "program", "then", "verb")

    def __init__(self, program: bytes, verb: bytes, head: bytes, name: str) -> None:
        self.program = program
        self.verb = verb  # `reply` or `cached`
        self.head = head
        self.name = name  # the head, if that is certainly what was asked for; "" when in doubt
        self.aliases = 1
        self.then = 0  # where in the text its next line has to begin
        self.end = b""  # what it leads to, once that is there


class DnsLog:
    """The names of addresses, from a log that is read as it grows.

    `middle` says that the first byte fed is not the log's first.  It may stand within a line
    then, so that line is left out, since its rest could read like another.  And what is in
    flight is unknown, so no chain is followed for the first minute of the log's time.  `share` is
    the part of the bounds that this log may use.
    """

    def __init__(self, middle: bool = False, share: float = 1.0) -> None:
        self._share = share / 2 if middle else share  # the other half is for what stands before
        self._book = AddressBook(self._share)
        self._earlier: DnsLog | None = None
        self._text = b"\n"  # the end of the log so far, in lower case
        self._read = 0  # where in it the newline is after the last line that was read
        self._skipping = middle  # whether the rest of a line is to be left out
        self._shown: dict[bytes, str] = {}
        self._others: dict[tuple[bytes, bytes], _Others] = {}
        self._chain: _Chain | None = None
        self._prefix = b""  # `nov 23 23:05:50 dnsmasq[4711` of the latest line
        self._program = b""  # `dnsmasq[4711`
        self._at = ""  # `23:05:50`
        self._latest = 0  # the latest time, in seconds of its month
        self._elapsed = 0  # seconds since the first one
        self._settled = IN_FLIGHT if middle else 0  # when all that is in flight is known
        self._look_back = LOOK_BACK_MOST  # bytes that may still be looked through

    def earlier(self) -> DnsLog:
        """A log to feed with what was written before this one's first byte; names of both are found."""
        self._earlier = DnsLog(share=self._share)
        return self._earlier

    def begin_anew(self) -> None:
        """The file was replaced or truncated: half a line before that has no other half."""
        self._text = b"\n"
        self._read = 0
        self._skipping = False
        self._chain = None

    def names(self, address: str) -> list[Name]:
        """The names of a canonical address, the one that was looked up last first."""
        names = self._book.names(address.encode("ascii", "replace"))
        found = [Name(name.name, name.via, name.at) for name in reversed(names)]
        forgot = names[0].forgot if names else self._book.forgot
        if self._earlier:
            known = {name.name for name in found}
            before = self._earlier.names(address)
            found += [name for name in before if name.name not in known]
            forgot = forgot or (before[-1].forgot if before else self._earlier._book.forgot)
        if found:
            found[-1].forgot = forgot
        return found

    def feed(self, data: bytes) -> set[str]:
        """Take what the log holds next; the addresses that have another name now, or another one last.

        Less than a megabyte at a time keeps memory flat.
        """
        changed: set[bytes] = set()
        self._look_back = min(LOOK_BACK_MOST, self._look_back + LOOK_BACK * len(data))
        text = self._append(data)
        end = text.rfind(b"\n")
        for match in LINE.finditer(text, self._read, end + 1):
            prefix, verb, name, value, kind, asked = match.groups()
            if prefix != self._prefix:
                self._prefix = prefix
                self._program = prefix[16:]
                self._at = prefix[7:15].decode("ascii")
                if not self._latest:
                    self._now()
            if kind:
                self._ask_other(asked, kind)
                continue
            if self._chain and not self._goes_on(self._chain, text, match.start(), verb):
                self._chain = None
            names = self._book.young.get(value)
            if names and not self._chain and not self._others and names[-1].name == self._shown.get(name):
                names[-1].via = ""  # what most lines come to
                names[-1].at = self._at
            elif names or ADDRESS.fullmatch(value):
                if self._answer(text, match.start(), name, value):
                    changed.add(value)
            elif value == b"<cname>":
                self._alias(text, match.start(), verb, name)
            else:
                self._nothing(value)
            if self._chain:
                self._chain.then = match.end()
        self._trim(text, end)
        return {address.decode("ascii") for address in changed}

    def _append(self, data: bytes) -> bytes:
        if self._skipping:
            data = data[data.find(b"\n") :] if b"\n" in data else b""
            self._skipping = not data
        return self._text + data.lower()

    def _trim(self, text: bytes, end: int) -> None:
        """Keep what a look back may need, and the line that has no end yet."""
        if len(text) - end > MAX_UNFINISHED:
            text = text[: end + MAX_UNFINISHED] + b" "  # matches nothing, whatever it was
            self._skipping = True
        start = max(0, end - ASKED_WITHIN)
        self._text = text[start:]
        self._read = end - start
        if self._chain:
            self._chain.then -= start

    def _now(self) -> int:
        """Seconds that went by in the log.

        Never more than really did, unless its clock was set forward: a new month counts as none.
        """
        match = TIME.match(self._prefix)
        if match:
            day, hour, minute, second = map(int, match.groups())
            latest = ((day * 24 + hour) * 60 + minute) * 60 + second
            if latest > self._latest > 0:
                self._elapsed += latest - self._latest
            if not self._latest - IN_FLIGHT < latest < self._latest:  # else two processes, out of order
                self._latest = latest
        return self._elapsed

    def _ask_other(self, name: bytes, kind: bytes) -> None:
        """Note a query for anything but an address."""
        now = self._now()
        key = (self._program, name)
        others = self._others.get(key)
        if others is None:
            if len(self._others) >= MAX_OTHERS * self._share:
                self._forget_others(now)
            others = self._others[key] = _Others()
        elif others.latest < now - IN_FLIGHT:
            others.count = 0
        others.count += 1
        others.latest = now
        if kind == b"txt":
            others.text = now

    def _forget_others(self, now: int) -> None:
        since = now - IN_FLIGHT
        self._others = {key: others for key, others in self._others.items() if others.latest >= since}
        if len(self._others) > MAX_OTHERS * self._share / 2:  # a flood: no chain until all have landed
            self._others.clear()
            self._settled = now + IN_FLIGHT

    def _goes_on(self, chain: _Chain, text: bytes, begin: int, verb: bytes) -> bool:
        """Whether the line at `begin` is the chain's next one."""
        return (
            chain.program == self._program
            and chain.verb == verb  # an answer is wholly out of the cache, or not at all
            and chain.then >= 0
            and (chain.then == begin or BETWEEN.fullmatch(text, chain.then, begin) is not None)
        )

    def _alias(self, text: bytes, begin: int, verb: bytes, name: bytes) -> None:
        """`reply NAME is <CNAME>`: a chain begins or goes on."""
        chain = self._chain
        if chain is None or chain.end:
            # Now, not where it ends: by then a query may count as forgotten whose answer this is.
            certain = self._is_certain(text, begin, name)
            self._chain = _Chain(self._program, verb, name, self._show(name) if certain else "")
            return
        chain.aliases += 1
        if chain.aliases == MAX_ALIASES:
            self._chain = None

    def _nothing(self, value: bytes) -> None:
        """An answer without an address, NXDOMAIN or `<HTTPS>`: a chain ends there, if there is one."""
        chain, self._chain = self._chain, None
        # Only a query for something else has such an answer, and each has one such line behind
        # its aliases.  So one of those queries is no longer in flight.
        if chain and not chain.end and (value == b"nodata" or value[:1] == b"<"):
            others = self._others.get((chain.program, chain.head))
            if others and others.count:
                others.count -= 1

    def _answer(self, text: bytes, begin: int, owner: bytes, address: bytes) -> bool:
        """An address is one of the name that was asked for, where that is certain, else of its owner."""
        name, via = self._show(owner), ""
        chain = self._chain
        if chain and chain.end and chain.end != owner:
            chain = self._chain = None
        if chain:
            chain.end = owner
            if chain.name:
                name, via = chain.name, name
        elif self._others and self._is_text(text, begin, owner):
            return False
        return name != "" and self._book.enter(address, name, via, self._at)

    def _is_certain(self, text: bytes, begin: int, head: bytes) -> bool:
        """Whether a chain with this head can only answer a query for its address."""
        others = self._others.get((self._program, head)) if self._others else None
        if others and others.count and others.latest >= self._now() - IN_FLIGHT:
            return False
        if self._settled and self._now() < self._settled:
            return False
        return self._was_asked(text, begin, head)

    def _is_text(self, text: bytes, begin: int, owner: bytes) -> bool:
        """Whether this can only be the text of a TXT record."""
        others = self._others.get((self._program, owner))
        asked_text = others is not None and others.text >= self._now() - IN_FLIGHT
        return asked_text and not self._was_asked(text, begin, owner)

    def _was_asked(self, text: bytes, begin: int, name: bytes) -> bool:
        """Whether this process was asked for an address of `name` not long before; False when in doubt.

        So it is, too, once whoever is inside has made us look through too much.
        """
        asked = b"] %s from " % name
        kinds = (self._program + b"]: query[a", self._program + b"]: query[aaaa")
        since = max(0, begin - min(ASKED_WITHIN, self._look_back))
        at, looks = text.rfind(asked, since, begin), 1
        while at >= 0 and not text.endswith(kinds, since, at) and looks * A_LOOK < self._look_back:
            at, looks = text.rfind(asked, since, at), looks + 1
        self._look_back = max(0, self._look_back - (begin - max(at, since)) - looks * A_LOOK)
        return at >= 0 and text.endswith(kinds, since, at)

    def _show(self, name: bytes) -> str:
        """A name as text, if it may be shown, else ""."""
        shown = self._shown.get(name)
        if shown is None:
            if len(self._shown) >= MAX_SHOWN * self._share:
                self._shown.clear()
            shown = name.decode("latin-1")
            shown = self._shown[name] = shown if is_name(shown) else ""
        return shown
