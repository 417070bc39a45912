"""Addresses, names and services as values: one spelling each, and what is special about some.

Owns the rule for what may reach the verdict command: a plain address in its canonical form, or
a name that `is_target_name`.  The awkward fact: that command takes far more (networks, options,
`::ffff:` addresses that open nothing), so everything that isn't surely one of the two is None
or False here.  Nothing raises.  The standard `ipaddress` would do part of this for 4 ms of
start-up time, which is why it isn't used.
"""

from __future__ import annotations

HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
V4_MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2

_HOST_LOOPBACK = "this machine's own loopback: allowing opens every service on 127.0.0.1"
_METADATA = "a cloud's metadata service: allowing opens this machine's own credentials"
_BEHIND_NAT64 = "it leads to %s behind NAT64: %s"
_PRIVATE = "a private address"
_SPECIAL = {
    "169.254.1.2": _HOST_LOOPBACK,  # pasta
    "10.0.2.2": _HOST_LOOPBACK,  # slirp4netns
    "fd00::2": _HOST_LOOPBACK,  # slirp4netns
    "169.254.169.254": _METADATA,  # of most clouds
    "fd00:ec2::254": _METADATA,  # Amazon, IPv6
    "168.63.129.16": _METADATA,  # Azure
    "100.100.100.200": _METADATA,  # Alibaba
    "192.0.0.192": _METADATA,  # Oracle
}
NAT64 = b"\0\x64\xff\x9b" + b"\0" * 8  # 64:ff9b::/96, RFC 6052 section 2.1

# IANA "Assigned Internet Protocol Numbers"; the kernel's names are in linux/in.h.
PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}
WITH_PORTS = frozenset((6, 17, 33, 132, 136))
"""The protocols whose headers begin with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite."""

# Names as in /etc/services, or what people call it where that file knows nothing better.
_TCP = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 43: "whois", 53: "domain",
    70: "gopher", 79: "finger", 80: "http", 88: "kerberos", 110: "pop3", 111: "sunrpc",
    119: "nntp", 135: "epmap", 139: "netbios-ssn", 143: "imap", 179: "bgp", 194: "irc",
    389: "ldap", 443: "https", 445: "microsoft-ds", 465: "submissions", 515: "printer",
    554: "rtsp", 587: "submission", 631: "ipp", 636: "ldaps", 853: "domain-s", 873: "rsync",
    989: "ftps-data", 990: "ftps", 993: "imaps", 995: "pop3s", 1080: "socks", 1433: "ms-sql-s",
    1521: "oracle", 1883: "mqtt", 2049: "nfs", 2181: "zookeeper", 2375: "docker",
    2376: "docker-s", 3128: "squid", 3306: "mysql", 3389: "rdp", 4369: "epmd", 5060: "sip",
    5061: "sips", 5222: "xmpp-client", 5269: "xmpp-server", 5432: "postgresql", 5671: "amqps",
    5672: "amqp", 5900: "vnc", 6379: "redis", 6443: "kubernetes", 6667: "ircd",
    8080: "http-alt", 8443: "https-alt", 8883: "secure-mqtt", 9092: "kafka",
    9200: "elasticsearch", 9418: "git", 11211: "memcached", 11434: "ollama", 27017: "mongodb",
}  # fmt: skip
_UDP = {
    53: "domain", 67: "bootps", 68: "bootpc", 69: "tftp", 80: "http", 88: "kerberos", 123: "ntp",
    137: "netbios-ns", 138: "netbios-dgm", 161: "snmp", 162: "snmp-trap", 389: "ldap",
    443: "https", 500: "isakmp", 514: "syslog", 853: "domain-s", 1194: "openvpn", 1900: "ssdp",
    2049: "nfs", 3478: "stun", 4500: "ipsec-nat-t", 4789: "vxlan", 5060: "sip", 5353: "mdns",
    5355: "llmnr", 8443: "https-alt", 51820: "wireguard",
}  # fmt: skip


def canonical(value: object) -> str | None:
    """One plain address in its one spelling (RFC 5952), or None for anything else.

    Anything else is: not a string, a network, a scope (`fe80::1%eth0`), a port, blanks, octets
    with leading zeros, and IPv4 written as IPv6 (`::ffff:1.2.3.4`).
    """
    address = packed(value)
    return None if address is None else unpacked(address)


def disguised(value: object) -> str | None:
    """The one spelling of an IPv4 address in 16 bytes, `::ffff:102:304`; None for anything else."""
    address = _packed6(value) if isinstance(value, str) and ":" in value else None
    return unpacked(address) if address is not None and address.startswith(V4_MAPPED) else None


def packed(value: object) -> bytes | None:
    """The 4 or 16 bytes of an address in network order; None where `canonical` is."""
    if not isinstance(value, str):
        return None
    if ":" not in value:
        return _packed4(value)
    address = _packed6(value)
    return None if address is None or address.startswith(V4_MAPPED) else address


def unpacked(address: bytes) -> str:
    """The text of 4 or 16 bytes, as RFC 5952 writes it: lower case, the longest zeros as `::`.

    An IPv4 address in 16 bytes stays IPv6 text (`::ffff:102:304`), which is not canonical.
    """
    if len(address) == 4:
        return "%d.%d.%d.%d" % tuple(address)
    groups = ["%x" % (address[at] << 8 | address[at + 1]) for at in range(0, 16, 2)]
    start, length = _longest_zeros(groups)
    if length < 2:  # section 4.2.2: a single zero group is written out
        return ":".join(groups)
    return ":".join(groups[:start]) + "::" + ":".join(groups[start + length :])


def _packed4(text: str) -> bytes | None:
    octets = text.split(".", 4)  # whoever wrote it may have written any number
    if len(octets) != 4:
        return None
    numbers = []
    for octet in octets:
        if not (0 < len(octet) < 4 and octet.isascii() and octet.isdigit()):
            return None
        if octet[0] == "0" and octet != "0":  # octal to some programs, nothing to others
            return None
        numbers.append(int(octet))
    return bytes(numbers) if max(numbers) < 256 else None


def _packed6(text: str) -> bytes | None:
    if len(text) > 45:  # INET6_ADDRSTRLEN of netinet/in.h, less its NUL
        return None
    head, colon, tail = text.rpartition(":")
    if "." in tail:  # the last 32 bits as an IPv4 address, RFC 4291 section 2.2
        low = _packed4(tail)
        if low is None:
            return None
        text = head + colon + "%x:%x" % (low[0] << 8 | low[1], low[2] << 8 | low[3])
    left, gap, right = text.partition("::")
    before = left.split(":") if left else []
    after = right.split(":") if right else []
    missing = 8 - len(before) - len(after)
    if (missing < 1) if gap else (missing != 0):
        return None
    groups = before + ["0"] * missing + after
    if not all(0 < len(group) < 5 and HEX_DIGITS.issuperset(group) for group in groups):
        return None
    return int("".join(group.rjust(4, "0") for group in groups), 16).to_bytes(16, "big")


def _longest_zeros(groups: list[str]) -> tuple[int, int]:
    """(start, length) of the longest run of zero groups, the first one of several."""
    best = (0, 0)
    start = 0
    for at, group in enumerate(groups + ["end"]):
        if group != "0":
            if at - start > best[1]:
                best = (start, at - start)
            start = at + 1
    return best


def is_floor(address: str) -> bool:
    """Whether the shield's own floor refuses it: private and link-local ranges.

    10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10.
    """
    raw = packed(address)
    if raw is None:
        return False
    first, second = raw[0], raw[1]
    if len(raw) == 16:
        return first & 0xFE == 0xFC or (first == 0xFE and second & 0xC0 == 0x80)
    return (
        first == 10
        or (first == 172 and second & 0xF0 == 16)
        or (first == 192 and second == 168)
        or (first == 169 and second == 254)
    )


def special(address: str) -> str | None:
    """What it opens to allow the host's own loopback or a metadata service; None for others.

    An IPv6 address that a NAT64 leads to one of them, or to a private one, is special, too.
    """
    inner = behind_nat64(address)
    if inner is None:
        return _SPECIAL.get(address)
    what = _SPECIAL.get(inner, _PRIVATE if is_floor(inner) else None)
    return None if what is None else _BEHIND_NAT64 % (inner, what)


def behind_nat64(address: str) -> str | None:
    """The IPv4 address that an address in 64:ff9b::/96 stands for; None for any other."""
    if not address.startswith("64:ff9b::"):
        return None
    raw = packed(address)
    return unpacked(raw[12:]) if raw is not None and raw.startswith(NAT64) else None


def is_undecidable(address: str) -> bool:
    """Multicast and broadcast, neighbour discovery and MLD among it: nobody can decide about it."""
    raw = packed(address)
    if raw is None:
        return False
    return raw[0] == 0xFF if len(raw) == 16 else raw[0] & 0xF0 == 0xE0 or raw == b"\xff\xff\xff\xff"


def proto_name(proto: int) -> str:
    """`tcp` for 6; `proto 99` for a number without a name here."""
    return PROTOCOLS.get(proto) or "proto %d" % proto


def proto_number(name: str) -> int | None:
    """6 for `tcp`; None for a name that isn't known here."""
    for number, known in PROTOCOLS.items():
        if known == name:
            return number
    return None


def service(port: int | None, proto: int | None) -> str | None:
    """The well-known name of a port, `https` for 443 and 6; None when there is none."""
    if port is None:
        return None
    return _TCP.get(port) if proto == 6 else _UDP.get(port) if proto == 17 else None


def is_name(text: str) -> bool:
    """Whether a host name may be shown as one: nothing in it can be taken for anything else.

    Labels of letters, digits, inner hyphens and underscores, the last one without underscores and no
    number, not a hexadecimal one either, so that nothing reads it as an address (`api.k8s` is a name,
    `198.51.100.70` and `1.0x7f` are none); at most 253 characters (RFC 1035 section 2.3.4 less the root).
    """
    if not text.isascii() or len(text) > 253:
        return False
    # On the whole text rather than label by label: a query log holds many names.
    if not text.replace(".", "").replace("-", "").replace("_", "").isalnum():
        return False
    edges = "." + text + "."
    if ".." in edges or ".-" in edges or "-." in edges:
        return False
    labels = text.split(".")
    last = labels[-1]
    if "_" in last or last.isdigit() or (last[:2].lower() == "0x" and HEX_DIGITS.issuperset(last[2:])):
        return False
    return max(map(len, labels)) < 64


def is_target_name(text: str) -> bool:
    """Whether a name may be handed to the verdict command: `is_name`, two labels, no underscore.

    Names under `localhost` are this machine's own (RFC 6761 section 6.3), so none of them.
    """
    _, dot, last = text.rpartition(".")
    return bool(dot) and is_name(text) and "_" not in text and last.lower() != "localhost"
