"""NFLOG as bytes: the request that binds a group, and the packets that come back.

Owns the layout of netlink, nfnetlink_log and the IP headers inside, and nothing else: no
socket, no clock.  Kernel constants keep the kernel's names; the header stands above them.

The awkward fact: whoever sends the packets chooses most of these bytes, their number too.  So
every length is checked before it is used, the cursor always advances, and a port is said to be
unknown rather than guessed.  A flood arrives as datagrams of some 400 messages that differ in
nothing but a few fields; `_run` reads those by columns (0.04 us a packet to one destination, 0.15 us
to many) and `_walk`, one message at a time (3 us), is what it has to agree with.
"""

from __future__ import annotations

from struct import Struct

from .ipheader import IPPROTO_TCP, TCP_FLAGS, Malformed, destination

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

    Key = Tuple[str, Optional[int], Optional[int], Optional[int]]  # kind, proto, port, uid
    Groups = Dict[Key, Dict[bytes, int]]
    Spans = Dict[int, Tuple[int, int]]  # attribute type -> where its value starts and ends

# linux/netlink.h
NETLINK_NETFILTER = 12
NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLMSG_ERROR = 0x02
NLA_TYPE_MASK = 0x3FFF
# linux/netfilter/nfnetlink.h
NFNL_SUBSYS_ULOG = 4
NFNETLINK_V0 = 0
# linux/netfilter/nfnetlink_log.h
NFULNL_MSG_PACKET = 0
NFULNL_MSG_CONFIG = 1
NFULNL_CFG_CMD_BIND = 1
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_NLBUFSIZ = 1, 2, 3
NFULA_CFG_TIMEOUT, NFULA_CFG_QTHRESH, NFULA_CFG_FLAGS = 4, 5, 6
NFULNL_COPY_PACKET = 2
NFULNL_CFG_F_SEQ = 0x0001
NFULA_PAYLOAD, NFULA_PREFIX, NFULA_UID, NFULA_SEQ = 9, 10, 11, 12
GROUP = 100  # terok-shield's
COPY_RANGE = 128  # room for some extension headers before the ports
NLBUFSIZ = 65536  # a datagram's size in a flood
QTHRESH = 100000  # never the reason to flush: TIMEOUT 0 flushes at the next tick

KINDS = {
    b"TEROK_SHIELD_BLOCKED: ": "blocked",
    b"TEROK_SHIELD_PRIVATE: ": "private",
    b"TEROK_SHIELD_DENIED: ": "denied",
    b"TEROK_SHIELD_ALLOWED: ": "allowed",
    b"TEROK_SHIELD_BYPASS: ": "bypass",
}
MULTICAST = "multicast"  # blocked like anything, but nobody can decide about it

_NLMSGHDR = Struct("=IHHII")  # length, type, flags, sequence, port id
_NFGENMSG = Struct(">BBH")  # family, version, resource (the group)
_NLATTR = Struct("=HH")  # length with this header, type
_BE16 = Struct(">H")
_BE32 = Struct(">I")
_LENGTH_AND_TYPE = Struct("=IH")
_ERROR = Struct("=i")  # struct nlmsgerr: 0 or a negative errno
_PACKET_TYPE = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET
_DONE_LENGTH = _NLMSGHDR.size + _NFGENMSG.size
_FEW = 8  # messages; fewer are not worth learning a layout for
_MANY = 4096  # bytes of messages; fewer are not worth sorting
_SORT = 56  # bytes that tell one sort from another: all before the interface
_DECIDABLE = range(1, 224)  # first bytes of a destination that is neither multicast nor `::ffff:0:0/96`


class Packet:
    """One logged packet: `kind` of KINDS or MULTICAST, `dest` packed, the rest None where unknown.

    `dest` is the address in the packet's own header, which is the one the rules matched: a
    routing header may send the packet elsewhere.
    """

    __slots__ = ("dest", "kind", "port", "proto", "uid")

    def __init__(self, kind: str, dest: bytes, proto: int | None, port: int | None, uid: int | None) -> None:
        self.kind, self.dest, self.proto, self.port, self.uid = kind, dest, proto, port, uid

    def __repr__(self) -> str:
        return f"Packet({self.kind} {self.dest.hex()} proto {self.proto} port {self.port} uid {self.uid})"


class Batch:
    """What one datagram held: `groups` maps (kind, proto, port, uid) to {dest: packets}.

    `logged` counts the packets in it, with those under a foreign prefix, which are in no
    group; `broken` what could not be read; `last` is the newest sequence number, if they have any.
    """

    __slots__ = ("broken", "groups", "last", "logged")

    def __init__(self) -> None:
        self.groups: Groups = {}
        self.logged = self.broken = 0
        self.last: int | None = None

    def numbered(self, number: int) -> None:
        """A packet has this number: 32 bits that start again at 0, and the packets come sorted."""
        if self.last is None or (number - self.last) & 0xFFFFFFFF < 1 << 31:
            self.last = number

    def add(self, key: Key, counts: dict[bytes, int]) -> None:
        group = self.groups.get(key)
        if group is None:
            self.groups[key] = counts
            return
        for dest, count in counts.items():
            group[dest] = group.get(dest, 0) + count

    def __repr__(self) -> str:
        numbers = f"{self.logged} logged, {self.broken} broken, last number {self.last}"
        return f"Batch({numbers}, {self.groups})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]


class Sequence:
    """Counts what the kernel could not deliver, by the gaps in its numbering (per binding, 32 bits)."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def missing(self, batch: Batch) -> int:
        """How many packets were logged before the end of `batch` and never seen; call once for each."""
        if batch.last is None:
            return 0
        gap = (batch.last + 1 - self._next - batch.logged) & 0xFFFFFFFF
        self._next = (batch.last + 1) & 0xFFFFFFFF
        return gap if gap < 1 << 31 else 0  # more seen than numbered: not a gap


def bind_request() -> bytes:
    """The message that binds `GROUP` with all its settings at once; the kernel acknowledges it.

    TIMEOUT 0 with a large QTHRESH delivers at the next tick and still in batches.  Nothing of
    it can be changed later: that takes CAP_NET_ADMIN again.
    """
    body = _NFGENMSG.pack(0, NFNETLINK_V0, GROUP) + b"".join(
        (
            _attribute(NFULA_CFG_CMD, bytes((NFULNL_CFG_CMD_BIND,))),
            # struct nfulnl_msg_config_mode: copy_range, copy_mode, padding
            _attribute(NFULA_CFG_MODE, _BE32.pack(COPY_RANGE) + bytes((NFULNL_COPY_PACKET, 0))),
            _attribute(NFULA_CFG_NLBUFSIZ, _BE32.pack(NLBUFSIZ)),
            _attribute(NFULA_CFG_TIMEOUT, _BE32.pack(0)),
            _attribute(NFULA_CFG_QTHRESH, _BE32.pack(QTHRESH)),
            _attribute(NFULA_CFG_FLAGS, _BE16.pack(NFULNL_CFG_F_SEQ)),
        )
    )
    kind = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG
    flags = NLM_F_REQUEST | NLM_F_ACK
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _NLATTR.pack(_NLATTR.size + len(value), kind) + value + bytes(-len(value) % 4)


def acknowledged(datagram: bytes) -> int | None:
    """The errno of an acknowledgement, 0 for success; None when `datagram` is something else."""
    if len(datagram) < _NLMSGHDR.size + 4 or _LENGTH_AND_TYPE.unpack_from(datagram)[1] != NLMSG_ERROR:
        return None
    return -int(_ERROR.unpack_from(datagram, _NLMSGHDR.size)[0])


def parse(datagram: bytes) -> Batch:
    """Every packet of one datagram; what can't be read is counted, never raised."""
    batch = Batch()
    at = _run(batch, datagram, 0)
    if len(datagram) - at >= _MANY:
        at = _sort(batch, datagram, at)
    _read(batch, datagram, at)
    return batch


def _sort(batch: Batch, data: bytes, at: int) -> int:
    """Read a mixture sort by sort (length, family, prefix): then `_run` has something to run on.

    Returns where it found no message: at the end, or before one that contradicts its length.
    """
    sorts: dict[bytes, list[bytes]] = {}
    while len(data) - at >= _NLMSGHDR.size:
        length = _LENGTH_AND_TYPE.unpack_from(data, at)[0]
        following = at + (length + 3 & ~3)
        if length < _NLMSGHDR.size or length > len(data) - at:
            break
        sorts.setdefault(data[at : at + _SORT], []).append(data[at:following])
        at = following
    for messages in sorts.values():
        _read(batch, b"".join(messages), 0)
    return at


def _read(batch: Batch, data: bytes, at: int) -> None:
    while len(data) - at >= _NLMSGHDR.size:
        at = _run(batch, data, at) or _walk(batch, data, at, _FEW)


def _walk(batch: Batch, data: bytes, at: int, messages: int) -> int:
    """The clear way: one message after the other from `at` on, so many at most; where it stopped."""
    end = len(data)
    while messages and end - at >= _NLMSGHDR.size:
        length, kind = _LENGTH_AND_TYPE.unpack_from(data, at)
        if length < _NLMSGHDR.size or length > end - at:
            batch.broken += 1  # where the next one starts is anyone's guess
            return end
        if kind == _PACKET_TYPE:
            batch.logged += 1
            try:
                _take(batch, data, at, at + length)
            except Malformed:
                batch.broken += 1
        at += length + 3 & ~3
        messages -= 1
    return at


def _take(batch: Batch, data: bytes, start: int, end: int) -> None:
    found = _attributes(data, start, end)
    if NFULA_SEQ in found:
        batch.numbered(_number(data, found[NFULA_SEQ]))
    packet = _packet(data, found, data[start + _NLMSGHDR.size])
    if packet is not None:
        batch.add((packet.kind, packet.proto, packet.port, packet.uid), {packet.dest: 1})


def _attributes(data: bytes, start: int, end: int) -> Spans:
    """The attributes of the message at `start`, which ends at `end`."""
    at = start + _DONE_LENGTH
    if at > end:
        raise Malformed("no room for struct nfgenmsg")
    found: Spans = {}
    while end - at >= _NLATTR.size:
        length, kind = _NLATTR.unpack_from(data, at)
        if length < _NLATTR.size or length > end - at:
            raise Malformed("an attribute of %d bytes, %d are left" % (length, end - at))
        found[kind & NLA_TYPE_MASK] = at + _NLATTR.size, at + length
        at += length + 3 & ~3
    return found


def _number(data: bytes, span: tuple[int, int]) -> int:
    start, end = span
    if end - start != _BE32.size:
        raise Malformed("a number of %d bytes" % (end - start))
    return int(_BE32.unpack_from(data, start)[0])


def _packet(data: bytes, found: Spans, family: int) -> Packet | None:
    """The packet of that family that these attributes describe; None under a foreign prefix."""
    if NFULA_PREFIX not in found:
        return None
    start, end = found[NFULA_PREFIX]
    kind = KINDS.get(data[start:end].rstrip(b"\0"))
    if kind is None:
        return None
    if NFULA_PAYLOAD not in found:
        raise Malformed("no payload")
    uid = _number(data, found[NFULA_UID]) if NFULA_UID in found else None
    start, end = found[NFULA_PAYLOAD]
    dest, proto, port, undecidable = destination(data, start, end, family)
    if undecidable and kind in ("blocked", "private"):
        kind = MULTICAST
    return Packet(kind, dest, proto, port, uid)


def _run(batch: Batch, data: bytes, at: int) -> int:
    """The quick way: the messages from `at` on that are built alike; where they end, 0 for too few.

    It learns from the first one where everything is, then compares columns: the same byte of
    every message in one slice.  What it adds to `batch` is exactly what `_walk` would.
    """
    if len(data) - at < _NLMSGHDR.size:
        return 0
    stride: int
    stride, kind = _LENGTH_AND_TYPE.unpack_from(data, at)
    if kind != _PACKET_TYPE or stride < _DONE_LENGTH or stride % 4:
        return 0
    count = (len(data) - at) // stride
    if count < _FEW:
        return 0
    found, packet = _model(data, at, stride)
    if packet is None:
        return 0
    decisive = _decisive(at, found, packet)
    varying = _varying(data, at, count, stride)
    if varying is None or not varying.isdisjoint(decisive):
        for first in decisive:
            column = data[first : at + count * stride : stride]
            if column != column[:1] * count:
                count -= len(column.lstrip(column[:1]))
                if count < _FEW:
                    return 0
    end = at + count * stride
    size = len(packet.dest)
    dest = found[NFULA_PAYLOAD][0] + (16 if size == 4 else 24)
    if all(data[i:end:stride] == data[i : i + 1] * count for i in range(dest, dest + size)):
        counts = {packet.dest: count}
    elif not all(first in _DECIDABLE for first in set(data[dest:end:stride])):
        return 0
    else:
        counts = _counted([data[i : i + size] for i in range(dest, end, stride)])
    start, stop = found[NFULA_SEQ]
    batch.numbered(_number(data, (start + end - at - stride, stop + end - at - stride)))
    batch.logged += count
    batch.add((packet.kind, packet.proto, packet.port, packet.uid), counts)
    return end


def _varying(data: bytes, at: int, count: int, stride: int) -> set[int] | None:
    """Where the bytes are that are not the same in all messages; None when that isn't found easily.

    The last one tells, by how it differs from the first.  Without those columns all of it repeats
    itself, which is one comparison instead of one for each of 70 columns (half the time).
    """
    first, last = data[at : at + stride], data[at + (count - 1) * stride : at + count * stride]
    varying = [i for i, (one, other) in enumerate(zip(first, last)) if one != other]
    rest, nothing = bytearray(data[at : at + count * stride]), bytes(count)
    for i in varying:
        rest[i::stride] = nothing
    if not rest.startswith(memoryview(rest)[stride:]):
        return None
    return {at + i for i in varying}


def _model(data: bytes, at: int, length: int) -> tuple[Spans, Packet | None]:
    """What the first message says, if it is a plain packet: numbered, a known port, no extra headers."""
    try:
        found = _attributes(data, at, at + length)
        packet = _packet(data, found, data[at + _NLMSGHDR.size])
        _number(data, found.get(NFULA_SEQ, (0, 0)))
    except Malformed:
        return {}, None
    if packet is None or packet.port is None or packet.kind == MULTICAST:
        return found, None
    ip = found[NFULA_PAYLOAD][0]
    plain = data[ip] == 0x45 if len(packet.dest) == 4 else data[ip + 6] == packet.proto
    return found, packet if plain else None


def _decisive(at: int, found: Spans, packet: Packet) -> list[int]:
    """Where all the bytes are that decide how a message is read, its destination and number apart."""
    offsets = [*range(at, at + 6), at + _NLMSGHDR.size]  # nlmsg_len, nlmsg_type, nfgen_family
    for start, _ in found.values():
        offsets += range(start - _NLATTR.size, start)
    for kind in (NFULA_PREFIX, NFULA_UID):
        if kind in found:
            offsets += range(*found[kind])
    ip, end = found[NFULA_PAYLOAD]
    flags = ip + (20 if len(packet.dest) == 4 else 40) + TCP_FLAGS
    if packet.proto == IPPROTO_TCP and flags < end:
        offsets.append(flags)
    if len(packet.dest) == 4:  # version and header length, fragment offset, protocol, port
        return [*offsets, ip, ip + 6, ip + 7, ip + 9, ip + 22, ip + 23]
    return [*offsets, ip, ip + 6, ip + 42, ip + 43]


def _counted(dests: list[bytes]) -> dict[bytes, int]:
    counts = dict.fromkeys(dests, 1)
    if len(counts) < len(dests):
        counts = dict.fromkeys(dests, 0)
        for dest in dests:
            counts[dest] += 1
    return counts
