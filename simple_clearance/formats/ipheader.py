"""IPv4 and IPv6 headers as bytes: where a logged packet was sent, and to which port.  Pure.

The awkward fact: the sender may put anything between these headers and the ports (options,
extension and routing headers, fragments), and of all that only the first bytes were copied.
The address is the one in the header itself, which is what the rules matched; a port that may
belong to something else is None rather than a guess.  A raw packet's first bytes need not even be
those of its family, which the kernel tells apart: the rules went by that.  In a flood of packets
alike `nflog` cuts the address out at the same place, without reading each header.
"""

from __future__ import annotations

from struct import Struct

from ..base.addresses import V4_MAPPED, WITH_PORTS

# linux/socket.h
AF_INET, AF_INET6 = 2, 10
# linux/in.h, linux/in6.h
IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH = 0, 43, 44, 51
IPPROTO_ICMPV6, IPPROTO_DSTOPTS = 58, 60
IPPROTO_TCP = 6
# linux/tcp.h: where the flags are in its header
TCP_FLAGS, TCP_SYN, TCP_ACK = 13, 0x02, 0x10
# linux/ip.h
IPOPT_END, IPOPT_NOOP, IPOPT_LSRR, IPOPT_SSRR = 0, 1, 131, 137

EXTENSIONS = frozenset((IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH, IPPROTO_DSTOPTS))
MAX_EXTENSIONS = 8
# Neighbour discovery 133-137 (RFC 4861) and multicast listener discovery 130-132, 143 (RFC 3810)
ND_MLD = frozenset((130, 131, 132, 133, 134, 135, 136, 137, 143))
BROADCAST = b"\xff" * 4

_BE16 = Struct(">H")


class Malformed(ValueError):
    """Bytes that contradict their own lengths."""


def destination(data: bytes, start: int, end: int, family: int) -> tuple[bytes, int | None, int | None, bool]:
    """Of the packet at `start`, of which `end - start` bytes came: address, protocol, port, undecidable.

    Protocol and port are None where they are not known.  Undecidable is what nobody can allow
    or deny: multicast and broadcast, neighbour and listener discovery, IPv4 addresses in IPv6
    packets (`::ffff:0:0/96`, which no rule of the shield's means), and what is no try to connect:
    the rest of an old TCP connection.  Raises Malformed, also for another version than `family`'s.
    """
    version = data[start] >> 4 if start < end else 0
    if (family, version) == (AF_INET, 4):
        return _ipv4(data, start, end)
    if (family, version) == (AF_INET6, 6):
        return _ipv6(data, start, end)
    raise Malformed("IP version %d of family %d" % (version, family))


def _ipv4(data: bytes, start: int, end: int) -> tuple[bytes, int | None, int | None, bool]:
    size = (data[start] & 15) * 4
    if size < 20 or size > end - start:
        raise Malformed("an IPv4 header of %d bytes in %d" % (size, end - start))
    dest, proto = data[start + 16 : start + 20], data[start + 9]
    fragment_offset = _BE16.unpack_from(data, start + 6)[0] & 0x1FFF
    sure = fragment_offset == 0 and not _source_routed(data[start + 20 : start + size])
    port = _port(data, start + size, end, proto) if sure else None
    late = sure and _is_late(data, start + size, end, proto)
    return dest, proto, port, late or 224 <= dest[0] < 240 or dest == BROADCAST


def _source_routed(options: bytes) -> bool:
    """Whether these options (RFC 791 section 3.1) send the packet on to another address."""
    at = 0
    while at < len(options) and options[at] != IPOPT_END:
        if options[at] in (IPOPT_LSRR, IPOPT_SSRR):
            return True
        if options[at] == IPOPT_NOOP:
            at += 1
        elif at + 1 < len(options) and options[at + 1] >= 2:
            at += options[at + 1]
        else:
            return True  # nonsense: whatever follows is in doubt
    return False


def _ipv6(data: bytes, start: int, end: int) -> tuple[bytes, int | None, int | None, bool]:
    if end - start < 40:
        raise Malformed("an IPv6 header of %d bytes" % (end - start))
    dest = data[start + 24 : start + 40]
    proto, at, sure = _upper_layer(data, data[start + 6], start + 40, end)
    chatter = proto == IPPROTO_ICMPV6 and sure and at < end and data[at] in ND_MLD
    port = _port(data, at, end, proto) if sure else None
    late = sure and _is_late(data, at, end, proto)
    return dest, proto, port, late or dest[0] == 0xFF or chatter or dest.startswith(V4_MAPPED)


def _upper_layer(data: bytes, header: int, at: int, end: int) -> tuple[int | None, int, bool]:
    """Past the extension headers (RFC 8200 section 4): protocol, where it starts, is it what was asked for.

    It is not with segments left (the packet goes on to another address) or in a later fragment.
    """
    sure = True
    for _ in range(MAX_EXTENSIONS):
        if header not in EXTENSIONS:
            return header, at, sure
        if end - at < 8:  # every extension header is at least that long
            break
        size = (data[at + 1] + 1) * 8
        if header == IPPROTO_ROUTING:
            sure = sure and data[at + 3] == 0
        elif header == IPPROTO_AH:
            size = (data[at + 1] + 2) * 4
        elif header == IPPROTO_FRAGMENT:
            size = 8
            if _BE16.unpack_from(data, at + 2)[0] >> 3:
                return None if data[at] in EXTENSIONS else data[at], end, False
        header, at = data[at], at + size
    return None, end, False


def _port(data: bytes, at: int, end: int, proto: int | None) -> int | None:
    """The destination port, where the protocol has one and it lies within what was copied."""
    if proto in WITH_PORTS and end - at >= 4:
        return int(_BE16.unpack_from(data, at + 2)[0])
    return None


def _is_late(data: bytes, at: int, end: int, proto: int | None) -> bool:
    """Whether this TCP segment begins nothing: the FIN or RST of a connection that is forgotten by now."""
    if proto != IPPROTO_TCP or end - at <= TCP_FLAGS:
        return False
    return data[at + TCP_FLAGS] & (TCP_SYN | TCP_ACK) != TCP_SYN
