"""What is found out about a container before it is watched, and that nothing of it stays open."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

import pytest
from support import eventually

from simple_clearance.base.errors import Refused
from simple_clearance.base.options import Options
from simple_clearance.sources import watched
from simple_clearance.sources.lookups import NameBook


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
def c2(host):
    return host.container("c2")


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


def test_a_name_that_is_made_up_is_not_taken_for_the_beginning_of_an_id(c1, c2, prepare):
    """Nothing tells that podman's container is meant, where neither its name nor its id is given."""
    label = c2.id[:4]
    with prepare(label, netns="/proc/self/ns/net", state_dir=c1.state_dir) as it:
        assert (it.name, it.id, it.pidfd) == (label, c1.sid, -1)
    with prepare(label) as it:
        assert (it.name, it.id) == ("c2", c2.id)


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


def test_its_hub_is_looked_for_by_the_id_that_podman_tells(prepare, c1):
    with tempfile.TemporaryDirectory() as runtime, socket.socket(socket.AF_UNIX) as hub:  # a short path
        place = os.path.join(runtime, "terok", "clearance", c1.sid)
        os.makedirs(place)
        hub.bind(os.path.join(place, "hub.sock"))
        hub.listen()
        with prepare(runtime=runtime) as it:
            assert it.hub.look()


def test_in_the_demonstration_nothing_but_its_process_is_asked(prepare, host, c1):
    with prepare(sandbox=os.getpid(), netns="/proc/self/ns/net", state_dir=c1.state_dir) as it:
        assert it.version == 18 and it.hub is None
        assert it.pidfd >= 0 and not watched.ended(it)
    assert host.calls("podman") == []


def test_its_names_are_those_of_its_query_log_which_is_closed_with_it(prepare, c1):
    c1.looks_up("www.example.com", "203.0.113.10")
    with prepare() as it:
        assert it.names("203.0.113.10") == ()
        it.book = NameBook(c1.path("dnsmasq.log"))
        it.book.look()
        while it.book.behind:
            it.book.catch_up()
        assert [one.name for one in it.names("203.0.113.10")] == ["www.example.com"]


def test_the_state_directory_that_is_given_is_the_one_that_is_read(prepare, c1, tmp_path):
    given = shutil.copytree(c1.state_dir, str(tmp_path / "c1"))
    with prepare(state_dir=given) as it:
        assert it.state_dir == given


@pytest.mark.parametrize("given", [{}, {"netns": "/proc/self/ns/net"}, {"reader": ["a-reader"]}])
def test_the_state_directory_of_another_container_is_refused_though_podman_is_not_needed(c2, prepare, given):
    with pytest.raises(Refused) as caught:
        prepare(state_dir=c2.state_dir, **given)
    assert caught.value.code == 3 and caught.value.message.endswith("is that of container " + c2.sid)


def test_without_podman_a_state_directory_that_is_not_there_is_refused(prepare, host, tmp_path):
    host.remove("podman")
    with pytest.raises(Refused) as caught:
        prepare(netns="/proc/self/ns/net", state_dir=str(tmp_path / "no"))
    assert caught.value.message.endswith("no': No such file or directory")


def test_one_that_does_not_run_is_refused(prepare, c1):
    c1.stop()
    with pytest.raises(Refused, match="c1"):
        prepare()


def test_a_verdict_command_that_is_not_there_is_safe_to_show():
    assert watched.no_shield("no\x1bsuch").message == r"no\x1bsuch: no such command"


def test_a_name_is_looked_at_even_where_podman_is_not_needed(prepare, host, c1):
    for given in ({}, {"reader": ["a-reader"], "state_dir": c1.state_dir}):
        with pytest.raises(Refused) as caught:
            prepare("--all", **given)
        assert caught.value.code == 3
    assert host.calls("podman") == []
