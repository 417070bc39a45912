"""The session bus, asked for real: a private dbus-daemon, and things that only look like one."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
import time

import pytest

from simple_clearance.base.errors import CANNOT_START, Refused
from simple_clearance.hub.hub import NAME

SID = "0123456789ab"
NOBODY = 65534


def cannot_tell(hub):
    with pytest.raises(Refused) as caught:
        hub.look()
    assert caught.value.code == CANNOT_START
    assert any("--ignore-hub" in hint for hint in caught.value.hints)
    return caught.value.message


def test_a_bus_without_the_name_is_asked_over_one_kept_connection(place, bus):
    hub = place.hub()
    assert hub.look() is None
    fds = hub.common.poll_fds()
    assert len(fds) == 1
    assert hub.look() is None
    assert hub.common.poll_fds() == fds


@pytest.mark.parametrize("name", [NAME, "%s.Container_%s" % (NAME, SID)])
def test_an_owner_of_the_name_is_an_active_hub_for_as_long_as_it_owns_it(place, bus, name):
    hub, client = place.hub(), place.client()
    client.own(name)
    active = hub.look()
    assert active.what == "%s has an owner on the session bus" % name
    assert active.hints[1].endswith("systemctl --user stop terok-clearance-hub")
    client.release(name)
    assert hub.look() is None
    client.own(name)
    assert hub.look()
    client.close()
    assert hub.look() is None or place.hub().look() is None


def test_the_name_of_another_container_is_not_ours(place, bus):
    place.client().own("%s.Container_ba9876543210" % NAME)
    assert place.hub().look() is None


def test_an_owner_is_told_without_asking(place, bus, readable):
    hub, client = place.hub(), place.client()
    hub.look()
    for act in (client.own, client.release):
        act(NAME)
        assert readable(hub.common.poll_fds()[0])
        assert hub.common.on_readable() is True
        assert hub.common.on_readable() is False
        assert (hub.look() is not None) == (act == client.own)


def test_what_else_happens_on_the_bus_does_not_wake_us(place, bus, readable):
    hub = place.hub()
    hub.look()
    client = place.client()
    for number in range(20):
        client.own("org.example.N%d" % number)
        client.own("%s.Container_%012d" % (NAME, number))
        client.own("%sX.N%d" % (NAME, number))
    client.close()
    place.client()  # once it has been let in, the bus is done with what came before
    assert not readable(hub.common.poll_fds()[0], within=0.3)


def test_a_change_that_a_look_reads_is_not_told_again(place, bus, readable):
    hub, client = place.hub(), place.client()
    hub.look()
    client.own(NAME)
    assert readable(hub.common.poll_fds()[0])
    assert hub.look()
    assert not readable(hub.common.poll_fds()[0], within=0)


def test_a_bus_that_ends_is_told_and_then_it_is_no_bus(place, bus, readable):
    hub = place.hub()
    hub.look()
    bus.terminate()
    bus.wait()
    assert readable(hub.common.poll_fds()[0])
    assert hub.common.on_readable() is True
    assert hub.common.poll_fds() == []
    assert hub.common.on_readable() is False
    assert hub.look() is None


def test_a_bus_that_took_the_place_of_another_is_asked_in_the_same_look(place, bus):
    hub = place.hub()
    hub.look()
    bus.terminate()
    bus.wait()
    place.bus()
    place.client().own(NAME)
    assert hub.look()


def test_a_bus_that_appears_later_is_asked(place, need):
    need("dbus-daemon")
    hub = place.hub()
    assert hub.look() is None
    assert hub.common.poll_fds() == []
    assert place.path in hub.folders()
    place.bus()
    place.client().own(NAME)
    assert hub.look()


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("unix:path=@/b%75s", id="escaped"),
        pytest.param("unix:path=@/nothing;unix:path=@/bus,guid=00", id="the second of a list"),
        pytest.param("tcp:host=192.0.2.1,port=9;unix:path=@/bus", id="behind one of another kind"),
    ],
)
def test_the_address_in_the_environment_is_followed(place, bus, address):
    place.client().own(NAME)
    address = address.replace("@", place.path)
    assert place.hub(DBUS_SESSION_BUS_ADDRESS=address, XDG_RUNTIME_DIR="/nowhere").look()


def test_an_abstract_address_is_followed(place, need):
    need("dbus-daemon")
    name = "hub-test-%d" % os.getpid()
    place.bus(address="unix:abstract=" + name)
    place.client("\0" + name).own(NAME)
    hub = place.hub(DBUS_SESSION_BUS_ADDRESS="unix:abstract=" + name)
    assert hub.look()
    assert hub.folders()


@pytest.mark.parametrize("address", ["unix:path=/nowhere/bus", "unix:abstract=simple-clearance-nobody"])
def test_an_address_where_no_bus_is_means_no_bus(place, address):
    assert place.hub(DBUS_SESSION_BUS_ADDRESS=address).look() is None


def test_a_bus_socket_left_behind_means_no_bus(place):
    place.listen("bus").close()
    assert place.hub().look() is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp:host=192.0.2.1,port=9", "kind tcp"),
        ("unix:path=/nowhere/bus;nonce-tcp:host=192.0.2.1", "kind nonce-tcp"),
        ("autolaunch:", "kind autolaunch"),
        ("disabled:", "kind disabled"),
        ("/run/bus", "no transport"),
        ("unix:path=%zz", "hex digits"),
    ],
)
def test_an_address_that_cannot_be_used_is_not_the_same_as_no_bus(place, address, reason):
    hub = place.hub(DBUS_SESSION_BUS_ADDRESS=address)
    assert reason in cannot_tell(hub)
    assert hub.folders()
    assert place.hub(DBUS_SESSION_BUS_ADDRESS=address, ignore=True).look() is None


def test_a_bus_that_we_may_not_reach_is_not_the_same_as_no_bus(place, bus, as_ordinary_user):
    os.chmod(place.path + "/bus", 0)
    told = as_ordinary_user(lambda: cannot_tell(place.hub()))
    assert told.endswith("the session bus can't be asked: connect to %s/bus: Permission denied" % place.path)


def test_a_bus_that_lets_only_its_own_user_in_is_not_the_same_as_no_bus(place, bus, need, as_ordinary_user):
    need("root")
    os.chmod(place.path + "/bus", 0o777)
    told = as_ordinary_user(lambda: cannot_tell(place.hub()))
    assert "the session bus can't be asked: the bus " in told


def test_a_bus_of_the_same_user_lets_us_in_from_another_user_namespace(place, need, as_ordinary_user):
    """Where we are uid 0 and the bus knows us as another: it believes the kernel, not a name."""
    for capability in ("root", "userns", "setpriv", "dbus-daemon"):
        need(capability)
    os.chown(place.path, NOBODY, NOBODY)
    bus = place.bus(before=["setpriv", "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY, "--clear-groups"])

    def look():
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE, or /proc/self stays root's
        assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWUSER
        with open("/proc/self/uid_map", "w") as uid_map:
            uid_map.write("0 %d 1" % NOBODY)
        return os.getuid(), place.hub().look()

    assert as_ordinary_user(look) == "(0, None)"
    assert bus.poll() is None


def test_a_bus_that_never_answers_is_given_up_after_its_deadline(place):
    listener = place.listen("bus", backlog=5)
    for hub in (place.hub(), place.hub(ignore=True)):
        start = time.monotonic()
        assert hub.look() is None if hub._ignore else "no answer in time" in cannot_tell(hub)
        assert time.monotonic() - start > 0.4
        assert hub.common.poll_fds() == []
    assert listener


def test_a_bus_that_stops_answering_is_given_up_after_its_deadline(place, bus):
    hub = place.hub()
    hub.look()
    os.kill(bus.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        assert "no answer" in cannot_tell(hub)
        assert time.monotonic() - start > 0.4
    finally:
        os.kill(bus.pid, signal.SIGCONT)
    assert hub.look() is None


def test_a_bus_with_a_full_backlog_is_given_up_after_its_deadline(place):
    place.fill(place.listen("bus", backlog=0))
    start = time.monotonic()
    assert "connect to %s/bus" % place.path in cannot_tell(place.hub())
    assert time.monotonic() - start > 0.4


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"", id="closes at once"),
        pytest.param(b"REJECTED\r\n", id="refuses"),
        pytest.param(b"\0" * 5000, id="sends zeros"),
        pytest.param(b"OK 00\r\nX" + b"\xff" * 99, id="breaks off"),
        pytest.param(b"DATA\r\n", id="closes half-way"),
    ],
)
def test_what_is_no_bus_is_not_the_same_as_no_bus(place, says):
    listener = place.listen("bus")

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(says)
            connection.shutdown(socket.SHUT_WR)

    server = threading.Thread(target=serve)
    server.start()
    try:
        assert "the session bus can't be asked: " in cannot_tell(place.hub())
    finally:
        server.join()


def test_a_hub_by_its_socket_is_found_whatever_the_bus_is(place):
    place.listen("bus")
    place.listen("terok/clearance/%s/hub.sock" % SID)
    assert place.hub().look()


def test_leaving_closes_the_connection(place, bus, descriptors):
    before = descriptors()
    with place.hub() as hub:
        hub.look()
        assert descriptors() == before + 1
    assert descriptors() == before
    assert hub.common.poll_fds() == []


def test_what_goes_over_the_wire_can_be_traced(place, bus):
    from simple_clearance.hub.hub import Hub

    seen = []
    with Hub(SID, None, place.environ(), 4242, trace=seen.append) as hub:
        hub.look()
    assert seen[0] == r"bus > b'\x00AUTH EXTERNAL\r\n'"
    assert r"bus < b'DATA\r\n'" in seen
