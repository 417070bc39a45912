"""What is found out about a container before it is watched, and that nothing of it stays open."""

from __future__ import annotations

import os
import socket
import tempfile

import pytest
from support import eventually

from simple_clearance.base.errors import Refused
from simple_clearance.base.options import Options
from simple_clearance.sources import watched


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left_open():
    before = open_descriptors()
    yield
    assert open_descriptors() == before


@pytest.fixture
def c1(host):
    return host.container("c1", dossier__project="demo")


@pytest.fixture
def prepare(host, c1, monkeypatch):
    """prepare(NAME, option=value, ...): the container of the host, with podman's stand-in before all else."""
    monkeypatch.setenv("PATH", host.bin)  # nor is there another podman

    def call(name="c1", **given):
        options = Options([name])
        environ = host.env(XDG_RUNTIME_DIR=given.pop("runtime", host.runtime))
        for option, value in given.items():
            setattr(options, option, value)
        return watched.prepare(name, options, environ, os.getuid())

    return call


def same(descriptor, path):
    return os.path.samestat(os.fstat(descriptor), os.stat(path))


def test_all_that_podman_tells_is_kept_and_closed_in_the_end(prepare, c1):
    with prepare() as it:
        assert (it.id, it.version, it.state_dir) == (c1.id, c1.version, c1.state_dir)
        assert it.dossier == {"project": "demo"} and it.audited
        assert same(it.namespace, "/proc/%d/ns/net" % c1.pid)
        assert not watched.ended(it)
        it.lock = os.open(c1.path("container.id"), os.O_RDONLY)
        c1.stop()
        eventually(lambda: watched.ended(it), what="its end is noticed")
        inside = it.pidfd, it.namespace, it.lock
    assert (it.pidfd, it.namespace, it.lock) == (-1, -1, -1)
    for descriptor in inside:
        with pytest.raises(OSError):
            os.fstat(descriptor)
    it.__exit__()  # nothing is closed twice: its number may be another's by now


def test_whether_its_audit_log_is_kept_is_annotated(prepare, c1):
    c1.annotations["terok.shield.audit_enabled"] = "false"
    c1.save()
    with prepare() as it:
        assert not it.audited


def test_a_namespace_that_is_given_takes_the_place_of_podmans(prepare, c1):
    with prepare(netns="/proc/self/ns/uts", state_dir=c1.state_dir) as it:
        assert same(it.namespace, "/proc/self/ns/uts")
        assert it.pidfd >= 0, "its end is noticed all the same"


def test_without_podman_the_state_directory_tells_which_it_is(prepare, host, c1):
    host.remove("podman")
    with prepare(netns="/proc/self/ns/net", state_dir=c1.state_dir) as it:
        assert it.id == c1.sid
        assert it.namespace >= 0 and it.pidfd == -1 and not watched.ended(it)
    with prepare(reader=["a-reader"], state_dir=c1.state_dir) as it:
        assert it.id == c1.sid and it.namespace == -1


def test_without_podman_a_relative_state_directory_is_made_absolute(prepare, host, c1, monkeypatch):
    host.remove("podman")
    monkeypatch.chdir(os.path.dirname(c1.state_dir))
    with prepare(reader=["a-reader"], state_dir="c1") as it:
        assert it.state_dir == c1.state_dir


@pytest.mark.parametrize("kept", ["nothing", "reader", "state_dir"])
def test_what_podman_has_to_tell_is_not_guessed(prepare, host, c1, kept):
    host.remove("podman")
    given = {"reader": ["a-reader"], "state_dir": c1.state_dir}
    with pytest.raises(Refused) as caught:
        prepare(**{option: value for option, value in given.items() if option == kept})
    assert caught.value.code == 3 and caught.value.message.startswith("podman: ")


@pytest.mark.parametrize("name", ["c1", "c" * 11, "x" * 12, "c" * 12, "c" * 64])
def test_without_podman_and_a_recorded_id_only_a_name_that_is_an_id_is_taken_for_it(prepare, host, c1, name):
    host.remove("podman")
    os.unlink(c1.path("container.id"))
    folder = os.path.join(os.path.dirname(c1.state_dir), name)
    os.makedirs(folder, 0o700, exist_ok=True)
    with tempfile.TemporaryDirectory() as runtime, socket.socket(socket.AF_UNIX) as hub:  # a short path
        place = os.path.join(runtime, "terok", "clearance", name[:12])
        os.makedirs(place)
        hub.bind(os.path.join(place, "hub.sock"))
        hub.listen()
        with prepare(name, reader=["a-reader"], state_dir=folder, runtime=runtime) as it:
            assert it.id == ""
            assert bool(it.hub.look()) is (name in ("c" * 12, "c" * 64))


def test_when_it_is_refused_in_the_end_nothing_stays_open_and_what_was_given_is_safe_to_show(prepare, c1):
    with pytest.raises(Refused) as caught:
        prepare(netns="/run/netns/no\x1bsuch", state_dir=c1.state_dir)
    assert caught.value.code == 3
    assert caught.value.message == r"network namespace /run/netns/no\x1bsuch: No such file or directory"


def test_a_verdict_command_that_is_not_there_is_safe_to_show():
    assert watched.no_shield("no\x1bsuch").message == r"no\x1bsuch: no such command"


def test_a_name_is_looked_at_before_podman_is_asked(prepare, host):
    with pytest.raises(Refused):
        prepare("--all")
    assert host.calls("podman") == []
