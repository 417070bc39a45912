"""The container's dnsmasq query log: which names were looked up and answered with an address.

Owns the rules by which a line of that log is believed.  The awkward fact: whoever runs inside
the container chooses the names that are asked for, their timing, and often the answers too, so
a line may hold a forged line.  Hence lines match whole or not at all, and a CNAME chain is
followed back to the name that was asked for only while nothing else can explain it; otherwise
the record's own name is shown.  What is found here is a hint for a person.  It opens nothing.

Two lines that follow one another are of one answer, or the second begins another one: then it
bears a name that was asked for itself.  So a chain is certain when its head was asked for an
address, and either nothing but an address, so that `<CNAME>` is not the whole answer, or none of
its later names was asked for at all.

What dnsmasq 2.90 writes (`log_query` of its cache.c, `extract_addresses` of its rfc1035.c):

- The lines of one answer follow one another, apart from `nftset add` lines between them.
- Of the answer to a CNAME query only `reply NAME is <CNAME>` is written, so the first line of
  another answer may follow it and look like the end of a chain.  The same goes for a chain of
  ten, where dnsmasq gives up, and for a cached CNAME whose end has to be asked for.
- The text of a TXT record is written as it is, and may read like an address.
- A TCP connection is served by a process of its own, under a pid of its own.

`feed` takes any cut of the log and never raises.  Memory is bounded, see the constants, and so is
the work for each byte.  A regular expression leaps over the lines that tell nothing.
"""

from __future__ import annotations

import re

from ..base.addresses import is_name
from ..base.happenings import Name
from .addressbook import AddressBook

MAX_SHOWN = 16384  # names that were checked
MAX_ASKED = 16384  # names that may be in flight
MAX_UNFINISHED = 4096  # bytes of a line whose end is missing; dnsmasq's own limit is 1024

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
    rb"|query\[([^]\n]{1,32})\] ([^ \n]{1,1024}) from [^ \n]{1,64})(?=\n)"
)
BETWEEN = re.compile(rb"(?:\n.{16}dnsmasq\[[0-9]{1,10}\]: (?:nft|ip)set add .*)+")
TIME = re.compile(rb".... ?([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ")
# What inet_ntop(3) may write.  That is the canonical form, so no more needs to be checked here:
# other text of this shape is an address that nobody ever asks for.
ADDRESS = re.compile(rb"[0-9.]{7,15}|[0-9a-f:]{2,39}")

# `... dnsmasq[4711]: 5 127.0.0.1/40000 query[A] www.example.com from 127.0.0.1`
OTHER_FORM = re.compile(
    rb"\n(?![a-z]{3} [ 1-3][0-9] [0-9:]{8} dnsmasq\[[0-9]{1,10}\]: [^0-9])"
    rb"[^\n]{,64}dnsmasq[^\n]{,64} (?:query\[|reply |cached )"
)


def is_foreign(data: bytes) -> bool:
    """Whether these lines of a log tell of look-ups, and all in a form that is not read here."""
    text = b"\n" + data.lower()
    return OTHER_FORM.search(text) is not None and LINE.search(text) is None


class _Asked:
    """When a name was asked for, in seconds of the log's time."""

    __slots__ = ("address", "other", "others", "text")

    def __init__(self) -> None:
        self.address = NEVER  # the latest query for an address
        self.other = NEVER  # the latest one for anything else
        self.others = 0  # how many of those may be unanswered
        self.text = NEVER  # the latest one for a TXT record


class _Chain:
    """A CNAME chain as it is written."""

    __slots__ = ("aliases", "end", "head", "name", "program", "since", "sure", "then", "verb")

    def __init__(self, program: bytes, verb: bytes, head: bytes, since: int) -> None:
        self.program = program
        self.verb = verb  # `reply` or `cached`
        self.head = head
        self.since = since  # what was asked for before that was not in flight when the chain began
        self.name = ""  # the head, if that may be what was asked for
        self.sure = False  # whether it is, whatever its later names are
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
        self._asked: dict[bytes, _Asked] = {}
        self._text_asked = NEVER  # the latest query for a TXT record, of any name
        self._chain: _Chain | None = None
        self._prefix = b""  # `nov 23 23:05:50 dnsmasq[4711` of the latest line
        self._program = b""  # `dnsmasq[4711`
        self._at = ""  # `nov 23 23:05:50`
        self._latest = 0  # the latest time, in seconds of its month
        self._elapsed = 0  # seconds since the first one
        self._settled = IN_FLIGHT if middle else 0  # when all that is in flight is known

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
        text = self._append(data)
        end = text.rfind(b"\n")
        for match in LINE.finditer(text, self._read, end + 1):
            prefix, verb, name, value, kind, asked = match.groups()
            if prefix != self._prefix:
                self._prefix = prefix
                self._program = prefix[16:]
                self._at = prefix[:15].decode("ascii")
                self._pass_time()
            if kind:
                self._ask(asked, kind)
                continue
            if self._chain and not self._goes_on(self._chain, text, match.start(), verb):
                self._chain = None
            if value in self._book.young or ADDRESS.fullmatch(value):
                if self._answer(name, value):
                    changed.add(value)
            elif value == b"<cname>":
                self._alias(verb, name)
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
        """Keep the line that has no end yet, and what stands since the chain's last one."""
        if len(text) - end > MAX_UNFINISHED:
            text = text[: end + MAX_UNFINISHED] + b" "  # matches nothing, whatever it was
            self._skipping = True
        start = self._chain.then if self._chain and self._chain.then >= end - MAX_UNFINISHED else end
        self._text = text[start:]
        self._read = end - start
        if self._chain:
            self._chain.then -= start

    def _pass_time(self) -> None:
        """Count the seconds that went by in the log.

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

    def _ask(self, name: bytes, kind: bytes) -> None:
        """Note a query."""
        asked = self._asked.get(name)
        if asked is None:
            if len(self._asked) >= MAX_ASKED * self._share:
                self._forget_asked()
            asked = self._asked[name] = _Asked()
        now = self._elapsed
        if kind in (b"a", b"aaaa"):
            asked.address = now
            return
        if asked.other < now - IN_FLIGHT:
            asked.others = 0
        asked.others += 1
        asked.other = now
        if kind == b"txt":
            asked.text = self._text_asked = now

    def _forget_asked(self) -> None:
        since = self._elapsed - IN_FLIGHT
        self._asked = {
            name: asked for name, asked in self._asked.items() if max(asked.address, asked.other) >= since
        }
        if len(self._asked) > MAX_ASKED * self._share / 2:  # a flood: no chain until all have landed
            self._asked.clear()
            self._settled = self._elapsed + IN_FLIGHT

    def _goes_on(self, chain: _Chain, text: bytes, begin: int, verb: bytes) -> bool:
        """Whether the line at `begin` is the chain's next one."""
        return (
            chain.program == self._program
            and chain.verb == verb  # an answer is wholly out of the cache, or not at all
            and chain.then >= 0
            and (chain.then == begin or BETWEEN.fullmatch(text, chain.then, begin) is not None)
        )

    def _alias(self, verb: bytes, name: bytes) -> None:
        """`reply NAME is <CNAME>`: a chain begins or goes on."""
        chain = self._chain
        if chain is None or chain.end:
            chain = self._chain = _Chain(self._program, verb, name, self._elapsed - IN_FLIGHT)
            asked = self._asked.get(name)
            if asked and asked.address >= chain.since and self._elapsed >= self._settled:
                chain.name = self._show(name)
                chain.sure = not asked.others or asked.other < chain.since
            return
        self._doubt(chain, name)
        chain.aliases += 1
        if chain.aliases == MAX_ALIASES:
            self._chain = None

    def _doubt(self, chain: _Chain, later: bytes) -> None:
        """The line about this later name of a chain may begin another answer, if it was asked for itself.

        An answer to a PTR query bears an address instead of what was asked for.
        """
        asked = self._asked.get(later)
        was_asked = asked and max(asked.address, asked.other) >= chain.since
        if not chain.sure and (was_asked or not self._show(later)):
            chain.name = ""

    def _nothing(self, value: bytes) -> None:
        """An answer without an address, NXDOMAIN or `<HTTPS>`: a chain ends there, if there is one."""
        chain, self._chain = self._chain, None
        # Only a query for something else has such an answer, and each has one such line behind
        # its aliases.  So one of those queries is no longer in flight.
        if chain and not chain.end and (value == b"nodata" or value[:1] == b"<"):
            asked = self._asked.get(chain.head)
            if asked and asked.others:
                asked.others -= 1

    def _answer(self, owner: bytes, address: bytes) -> bool:
        """An address is one of the name that was asked for, where that is certain, else of its owner."""
        name, via = self._show(owner), ""
        chain = self._chain
        if chain and chain.end and chain.end != owner:
            chain = self._chain = None
        if chain:
            if not chain.end:
                self._doubt(chain, owner)
            chain.end = owner
            if chain.name:
                name, via = chain.name, name
        elif self._text_asked >= self._elapsed - IN_FLIGHT and self._is_text(owner):
            return False
        return name != "" and self._book.enter(address, name, via, self._at)

    def _is_text(self, owner: bytes) -> bool:
        """Whether this can only be the text of a TXT record."""
        asked, since = self._asked.get(owner), self._elapsed - IN_FLIGHT
        return asked is not None and asked.text >= since > asked.address

    def _show(self, name: bytes) -> str:
        """A name as text, if it may be shown, else ""."""
        shown = self._shown.get(name)
        if shown is None:
            if len(self._shown) >= MAX_SHOWN * self._share:
                self._shown.clear()
            shown = name.decode("latin-1")
            shown = self._shown[name] = shown if is_name(shown) else ""
        return shown
