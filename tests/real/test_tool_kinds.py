"""Containers of every kind: how each is connected, whose ids and processes it has, what it shares.

One with ids that podman picks is in `test_decoy`.  What can't be had, and why, is said by a test, too.
"""

from __future__ import annotations

import os
import re

import pytest
from endtoend import KEYS
from real.neighbours import HAS_PASTA, HOSTS_ADDRESS, LOOPBACK, MAPS_TO_HOST, NETWORK
from real.rig import IMAGE
from real.world import AT_HOME, OWN


def old(rig):
    """0.7: an allow opens private addresses, too."""
    return rig.version.startswith("0.7.")


KINDS = {
    "default": (),
    "user": ("--user", "1000"),
    "keep-id": ("--userns=keep-id",),
    "nomap": ("--userns=nomap",),
    # podman has no private one without a cgroup, and those of the operator are none here
    "pid of the host": ("--pid=host", "--cgroups=enabled"),
    "bridge": ("--network", "bridge"),
}


@pytest.mark.newest
@pytest.mark.parametrize("kind", KINDS)
def test_a_container_of_any_kind_is_served_alike(kind, rig, desk):
    name = rig.shielded("is-" + kind.replace(" ", "-"), *KINDS[kind])
    desk.serves(name, "198.51.100.91")


@pytest.mark.newest
@pytest.mark.parametrize("program", ["slirp4netns", "pasta"])
def test_a_container_is_served_alike_whatever_connects_it(program, rig, desk):
    if program == "pasta" and not rig.fact(HAS_PASTA):
        argv = ["podman", "run", "--rm", "--network", "pasta", IMAGE, "true"]
        assert "pasta" in rig.as_op(argv).stderr  # an unknown one, and no mode of the shield's either
        return
    conf = rig.home + "/connected-by"
    with open(conf, "w") as file:
        file.write('[network]\ndefault_rootless_network_cmd = "%s"\n' % program)
    os.chmod(conf, 0o644)
    name = rig.shielded("is-" + program, CONTAINERS_CONF_OVERRIDE=conf)
    assert rig.processes(program)
    desk.serves(name, "198.51.100.91")


@pytest.mark.newest
def test_a_bridge_beside_the_shields_own_network_is_refused_by_podman(rig):
    flags = rig.prepared("beside")
    done = rig.as_op(["podman", "run", "--rm", *flags, "--network", "bridge", IMAGE, "true"])
    assert done.returncode and "selected mode %s" % rig.fact(NETWORK) in done.stderr


def test_what_a_plain_container_of_the_pod_tries_is_told_to_be_from_the_pod(rig, desk):
    name = rig.in_pod("podded")
    argv = ["podman", "run", "-d", "--name", "beside", "--pod", "podded-pod", IMAGE]
    rig.as_op([*argv, "sleep", "infinity"], check=True)
    try:
        t = desk.sit(name)
        assert rig.conn("beside", "198.51.100.81").endswith("EHOSTUNREACH")
        t.expect(re.compile(r"podded  198\.51\.100\.81  tcp 443 .*from its pod"))
        desk.press("a", t.expect(KEYS))
        t.expect("a allow 198.51.100.81 ... done in")
        assert rig.conn("beside", "198.51.100.81") == "198.51.100.81 connected"
        desk.quit()
    finally:
        rig.as_op(["podman", "pod", "rm", "-f", "-t", "0", "podded-pod"], check=True)


# --- what leads to the host itself


def test_the_address_of_the_hosts_loopback_is_asked_only_where_an_allow_opens_it(rig, desk):
    name = rig.shielded("loopback")
    address, port = rig.fact(LOOPBACK), AT_HOME["127.0.0.1"]
    t = desk.sit(name)
    if old(rig):
        asked = desk.block(name, address, port)
        told = " ".join(t.text().split())
        assert "! this machine's own loopback: allowing opens every service on 127.0.0.1" in told
        desk.press("a", asked)
        desk.press("y", t.expect("y allow " + address), own=True)
        t.expect("a allow %s ... done in" % address)
        assert rig.conn(name, address, port) == address + " connected"
    else:
        assert rig.conn(name, address, port) == address + " EHOSTUNREACH"
        t.expect("! not asked: the shield keeps private ranges shut, whatever is allowed")
        assert rig.shield("allow", name, address).returncode == 0  # says so, and
        assert rig.conn(name, address, port) == address + " EHOSTUNREACH"
    desk.quit()


def test_the_hosts_own_address_is_the_containers_or_one_like_any_other(rig, desk, c):
    """Where it is the container's, what is tried there stays inside, and nobody blocks or logs it."""
    it = desk.script(c)
    port = AT_HOME[OWN]
    came = rig.conn(c, OWN, port)
    if rig.fact(HOSTS_ADDRESS):
        assert came == OWN + " ECONNREFUSED"
        rig.conn(c, "198.51.100.92")
        it.until("pending", dest="198.51.100.92")
        assert not it.of("pending", dest=OWN)
    else:
        assert came == OWN + " EHOSTUNREACH"
        asked = it.until("pending", dest=OWN)
        assert (asked["class"], asked["floor"]) == ("default", False)
        it.say("allow " + asked["id"])
        it.until("verdict", id=asked["id"], result="applied")
        assert rig.conn(c, OWN, port) == OWN + " connected"
    assert it.finish()[0] in (0, 5)


def test_an_address_that_the_launcher_leads_to_the_host_is_one_like_any_other(rig, desk):
    """Nothing but the options of its network tells; an allow opens what the host has on its own address."""
    mapped = "198.51.100.93"
    network = "pasta:--map-host-loopback,169.254.1.2,--map-guest-addr," + mapped
    if not rig.fact(MAPS_TO_HOST):
        done = rig.as_op(["podman", "run", "--rm", "--network", network, IMAGE, "true"])
        assert done.returncode and "pasta" in done.stderr
        return
    name = rig.shielded("mapped", "--network", network)
    it = desk.script(name)
    assert rig.conn(name, mapped, AT_HOME[OWN]) == mapped + " EHOSTUNREACH"
    asked = it.until("pending", dest=mapped)
    assert (asked["class"], asked["floor"]) == ("default", False)
    it.say("allow " + asked["id"])
    it.until("verdict", id=asked["id"], result="applied")
    assert rig.conn(name, mapped, AT_HOME[OWN]) == mapped + " connected"
    assert rig.conn(name, mapped, AT_HOME["127.0.0.1"]) == mapped + " ECONNREFUSED"
    it.until("passed", dest=mapped)
    assert it.finish()[0] == 0
