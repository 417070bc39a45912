"""Our own readers as a session has them: what it takes to have one, and what it hands on to them."""

from __future__ import annotations

import os
import resource

import endtoend
from lab import Lab
from needs import need
from support import eventually

desk = endtoend.desk

NEEDED = {"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH"}


def environment(pid):
    with open("/proc/%d/environ" % pid, "rb") as file:
        return {word.partition(b"=")[0].decode() for word in file.read().split(b"\0")[:-1]}


def test_neither_a_reader_nor_what_forks_it_has_the_sessions_environment(desk):
    need("root")  # a reader is another user by then
    t = desk.start("c1", env={"A_SECRET": "of the operator"})
    t.expect("watching c1")
    pids = [*desk.processes("forkserver"), desk.reader()]
    assert len(pids) == 2
    for pid in pids:
        assert environment(pid) <= NEEDED
    desk.quit()


def test_one_more_container_takes_one_descriptor_for_its_reader(desk, host):
    """The socket; what else a container takes in the session is its files and its namespace."""
    desk.sit()
    before = channels(*desk.processes("session"))
    desk.quit()
    with Lab() as other:
        host.container("c2", other)
        t = desk.start("c1", "c2")
        t.expect("watching c2")
        assert channels(*desk.processes("session")) == before + 1
        desk.quit()


def channels(pid):
    """How many sockets and pipes it has."""
    folder = "/proc/%d/fd/" % pid
    found = [os.readlink(folder + fd) for fd in os.listdir(folder)]
    return len([what for what in found if what.startswith(("socket:", "pipe:"))])


def limit(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def test_it_may_have_many_descriptors_and_what_it_starts_no_more_than_we_have(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", gate=gate)
    few = ["sh", "-c", 'ulimit -S -n 512; exec "$@"', "sh"]
    desk.t = t = desk.terminal([*few, *desk.argv("c1")], env=desk.env)
    t.expect("watching c1")
    (session,) = desk.processes("session")
    assert limit(session) == min(8192, resource.prlimit(0, resource.RLIMIT_NOFILE)[1])
    desk.press("a", desk.block())
    verdict = eventually(desk.host.verdicts, what="the verdict command runs")[0]
    assert limit(verdict.pid) == 512
    desk.host.open(gate)
    t.expect("done in")
    desk.quit()
