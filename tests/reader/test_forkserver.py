"""What forks the readers: each has its own and nothing else, and nobody minds what befalls another."""

from __future__ import annotations

import os
import resource
import signal
import subprocess

import pytest
from lab import Lab, as_user, reachable_python
from needs import need
from reading import Forkserver
from support import PATIENCE, eventually, with_a_fault

ORDINARY = 1000


@pytest.fixture(name="labs")
def _labs():
    """Two shielded namespaces."""
    with Lab() as first, Lab() as second:
        yield first, second


@pytest.fixture(name="archive")
def _archive(pyz, tmp_path_factory):
    """Where every user may read it."""
    folder = tmp_path_factory.mktemp("public")
    for path in (folder, *folder.parents):
        if os.stat(path).st_uid == os.getuid() and str(path).startswith("/tmp/"):
            os.chmod(path, 0o755)
    path = str(folder / "simple-clearance.pyz")
    with open(pyz, "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o755)
    return path


@pytest.fixture(name="server")
def _server(pyz):
    with Forkserver(pyz, env={"PATH": os.environ["PATH"], "SECRET": "of the caller"}) as server:
        yield server


def blocked(lab, reader, address):
    """A packet in there is told by that reader."""
    lab.connect(address, 443, "udp")
    reader.expect(type="pending", dest=address)


def test_each_tells_what_is_blocked_in_its_namespace(labs, server, every_python, pyz):
    with Forkserver(pyz, python=every_python.path) as server:
        readers = [server.fork(lab.netns, name).listens() for lab, name in zip(labs, ("c1", "c2"))]
        for number, (lab, reader) in enumerate(zip(labs, readers)):
            blocked(lab, reader, "198.51.100.%d" % number)
            assert lab.holder() == server.pids()[number]
        assert [reader.end() for reader in readers] == [0, 0]


def test_what_is_blocked_before_the_hang_up_is_told(labs, server):
    """The session closes its writing side, and still hears all of it."""
    reader = server.fork(labs[0].netns).listens()
    for number in range(20):
        labs[0].connect("198.51.100.%d" % number, 443, "udp")
    assert reader.end() == 0
    while reader.read(PATIENCE):
        pass
    assert len([line for line in reader.lines if line["type"] == "pending"]) == 20


# --- nothing but its own


def links(pid):
    """What its descriptors stand for, but for what has no identity of its own."""
    folder = "/proc/%d/fd/" % pid
    return {fd: os.readlink(folder + fd) for fd in os.listdir(folder)}


def test_a_reader_has_no_descriptor_of_its_siblings_or_its_parent(labs, server):
    need("root")  # who has become another user is not ours to look at
    for lab in labs:
        server.fork(lab.netns).listens()
    first, second = (links(pid) for pid in server.pids())
    parents = links(server.pid)
    for found in (first, second):
        kinds = sorted(what.partition(":")[0] for what in found.values())
        assert kinds == ["anon_inode"] * 3 + ["pipe"] + ["socket"] * 3, found  # two epolls, a pidfd
        assert found["0"] == found["1"] != parents["0"]
    shared = set(first.values()) & set(second.values())
    assert all(what.startswith("anon_inode:") for what in shared), shared
    said = {first["2"], second["2"]}
    assert {what for what in parents.values() if what in {*first.values(), *second.values()}} - shared == said
    assert not [what for what in parents.values() if what.startswith("net:")]


def memory(pid):
    """All that it may write to."""
    with open("/proc/%d/maps" % pid) as maps:
        spans = [line.split()[0].split("-") for line in maps if " rw" in line]
    with open("/proc/%d/mem" % pid, "rb", 0) as file:
        for first, last in spans:
            file.seek(int(first, 16))
            yield file.read(int(last, 16) - int(first, 16))


def test_a_readers_memory_holds_nothing_of_its_siblings(labs, server):
    need("root")
    names = ["the-container-%s" % name for name in ("called-alpha", "of-beta")]
    for lab, name in zip(labs, names):
        server.fork(lab.netns, name).listens()
    first, second = (b"".join(memory(pid)) for pid in server.pids())
    parents = b"".join(memory(server.pid))
    alpha, beta = (name.encode() for name in names)
    assert alpha in first and beta in second
    assert beta not in first and alpha not in second
    assert alpha not in parents and beta not in parents


def test_a_reader_shows_itself_as_what_it_is(labs, server, pyz):
    reader = server.fork(labs[0].netns, "agent-7").listens()
    (pid,) = server.pids()
    with open("/proc/%d/cmdline" % pid, "rb") as file:
        assert file.read().rstrip(b"\0").split(b"\0") == [pyz.encode(), b"--as-reader", b"agent-7"]
    assert reader.end() == 0


def test_a_name_that_is_too_long_for_that_is_cut_there_alone(labs, server):
    name = "n" * 3000
    reader = server.fork(labs[0].netns, name)
    reader.expect(type="container_started", container=name)
    (pid,) = server.pids()
    with open("/proc/%d/cmdline" % pid, "rb") as file, open("/proc/%d/cmdline" % server.pid, "rb") as parents:
        assert len(file.read()) == len(parents.read())


# --- what befalls one


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_one_that_ends_is_told_and_the_others_go_on(labs, server, number):
    first, second = (server.fork(lab.netns).listens() for lab in labs)
    first.kill(number)
    assert first.ended() == (0 if number == signal.SIGTERM else -number, "")
    blocked(labs[1], second, "198.51.100.1")
    again = server.fork(labs[0].netns).listens()
    blocked(labs[0], again, "198.51.100.2")


def test_one_that_is_stopped_holds_up_nobody_and_ends_with_the_rest(labs, pyz):
    with Forkserver(pyz) as server:
        server.fork(labs[0].netns).listens().kill(signal.SIGSTOP)
        eventually(lambda: state(server.pids()[0]) == "T", what="it is stopped")
        second = server.fork(labs[1].netns).listens()
        blocked(labs[1], second, "198.51.100.1")
        assert second.end() == 0
    eventually(lambda: labs[0].holder() == 0, what="the NFLOG group is free")


def state(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(") ")[2][0]


def test_why_one_can_not_listen_is_told_with_its_end(labs, server):
    first = server.fork(labs[0].netns).listens()
    code, said = server.fork(labs[0].netns).ended()
    assert code == 3
    assert said.startswith("simple-clearance: NFLOG group 100 is held by pid %d" % server.pids()[0])
    assert "hint: it belongs to another session of simple-clearance" in said
    blocked(labs[0], first, "198.51.100.1")


def test_a_signal_for_one_that_has_ended_is_nobodys(labs, server):
    first, second = (server.fork(lab.netns).listens() for lab in labs)
    assert first.end() == 0
    first.kill(signal.SIGKILL)
    blocked(labs[1], second, "198.51.100.1")


def test_thirty_at_once_all_listen(pyz):
    need("unshare")
    sleepers = [subprocess.Popen([*UNSHARE, "sleep", "600"]) for _ in range(30)]
    try:
        for one in sleepers:
            eventually(lambda one=one: comm(one.pid) == "sleep", what="its namespace is there")
        with Forkserver(pyz) as server:
            readers = [server.fork("/proc/%d/ns/net" % one.pid, "c%d" % one.pid) for one in sleepers]
            for one, reader in zip(sleepers, readers):
                reader.expect(type="container_started", container="c%d" % one.pid)
            assert len(server.pids()) == 30
    finally:
        for one in sleepers:
            one.kill()
            one.wait()


UNSHARE = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]


def comm(pid):
    with open("/proc/%d/comm" % pid) as file:
        return file.read().strip()


# --- what befalls what forks them


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_it_ends_so_do_its_readers(labs, pyz, number):
    with Forkserver(pyz) as server:
        readers = [server.fork(lab.netns).listens() for lab in labs]
        pids = server.pids()
        server.process.send_signal(number)
        for reader in readers:
            while reader.read(PATIENCE):
                pass
        eventually(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids), what="they have ended")
    assert [lab.holder() for lab in labs] == [0, 0]


def test_it_needs_its_archive_no_more(labs, archive):
    with Forkserver(archive) as server:
        server.fork(labs[0].netns).listens()
        os.unlink(archive)
        reader = server.fork(labs[1].netns).listens()
        blocked(labs[1], reader, "198.51.100.1")
        code, said = server.fork(labs[1].netns).ended()
        assert code == 3 and "is held by pid" in said
        assert reader.end() == 0


NO_PROCESS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_where_no_process_may_be_made_the_reason_is_told(archive):
    python = reachable_python(ORDINARY)
    with Forkserver(archive, [*as_user(ORDINARY), python, "-I", "-S", "-c", NO_PROCESS], python) as server:
        for _ in range(2):
            assert server.fork("/proc/self/ns/net").ended() == (
                3,
                "simple-clearance: fork a reader: Resource temporarily unavailable\n"
                "hint: allow this user more processes: ulimit -u, TasksMax= in a unit\n",
            )


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_where_no_descriptor_is_left_the_reason_is_told(labs, server, left):
    reader = server.fork(labs[0].netns).listens()
    eventually(lambda: state(server.pid) == "S", what="it has closed what it was handed")
    most = len(os.listdir("/proc/%d/fd" % server.pid)) + left
    usual = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most, usual[1]))
    code, said = server.fork(labs[1].netns).ended()
    assert code == 3 and said.startswith("simple-clearance: fork a reader: ")
    assert said.endswith("hint: allow it more open files: ulimit -n 1024, LimitNOFILE=1024 in a unit\n")
    blocked(labs[0], reader, "198.51.100.1")
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, usual)
    blocked(labs[1], server.fork(labs[1].netns).listens(), "198.51.100.2")


def test_what_is_said_at_an_end_is_its_end(labs, pyz, tmp_path):
    """A reader that says more than its pipe holds is not held up by that."""
    fault = "\ndef tell(*_a):\n    os.write(2, b'x' * 100_000 + b'the end'); return 7\nmain = tell\n"
    with Forkserver(with_a_fault(pyz, str(tmp_path / "wordy.pyz"), "reader/reader", fault)) as server:
        code, said = server.fork(labs[0].netns).ended()
    assert code == 7 and said.endswith("xthe end") and len(said) == 8192


def test_a_bug_in_a_confined_reader_is_told(labs, pyz, tmp_path):
    fault = "\ndef _bug(self):\n    raise ValueError('a bug')\n_Loop.run = _bug\n"
    with Forkserver(with_a_fault(pyz, str(tmp_path / "wrong.pyz"), "reader/reader", fault)) as server:
        code, said = server.fork(labs[0].netns).ended()
    assert code == 70
    assert said.startswith("simple-clearance: internal error: ValueError at reader.py:")
