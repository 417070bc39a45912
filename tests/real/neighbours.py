"""What is true with one release of a neighbour and not with another: all that these tests know of it.

    if rig.fact(IMAGE_ANNOTATIONS): ...

A fact stands here with the release that changed it, as far as that is known, and with what shows it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Fact(NamedTuple):
    program: str  # whose release decides: what `PROGRAM --version` says
    since: tuple[int, ...]
    before: Any
    now: Any


# what connects a container: `podman info --format {{.Host.RootlessNetworkCmd}}`, or `ps` before
NETWORK = Fact("podman", (5,), "slirp4netns", "pasta")
# the 127.0.0.1 of the host, seen from a container: `podman exec C cat /etc/hosts`, host.containers.internal
LOOPBACK = Fact("podman", (5,), "10.0.2.2", "169.254.1.2")
# whom a container's dnsmasq asks: the file `upstream.dns` in the state directory
FORWARDER = Fact("podman", (5,), "10.0.2.3", "169.254.1.1")
# its own address is the host's, so nothing on the host is behind that: `podman exec C ip address`
HOSTS_ADDRESS = Fact("podman", (5,), False, True)
# an address can be made to lead to the host's own: `pasta --help`
MAPS_TO_HOST = Fact("podman", (5, 3), False, True)
# `podman run --network pasta`; before, `unsupported network mode`
HAS_PASTA = Fact("podman", (4, 4), False, True)
# a program that connects to a name tries its IPv6 address first: `podman exec C getent ahosts shut.example`
IPV6_FIRST = Fact("podman", (5,), False, True)
# those of the image stand among a container's: `podman inspect --format {{.Config.Annotations}} C`
IMAGE_ANNOTATIONS = Fact("podman", (5,), True, False)
# `reply TWO.example` in dnsmasq.log, as it was asked for, or `reply two.example`
KEEPS_CASE = Fact("dnsmasq", (2, 91), True, False)


def release(output: str) -> tuple[int, ...]:
    """The release that a program's `--version` tells: (5, 4, 2)."""
    found = re.search(r"\d+(\.\d+)+", output)
    assert found, output
    return tuple(map(int, found.group().split(".")))


def value(fact: Fact, output: str) -> Any:
    return fact.now if release(output) >= fact.since else fact.before
