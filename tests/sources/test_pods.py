"""Containers of one pod: one network namespace, one listener, several that are watched."""

from __future__ import annotations

import subprocess

import endtoend
import pytest
from lab import Lab
from support import eventually

desk = endtoend.desk


class Inside:
    """Another container's first process in a lab's network; stands where a `lab.Lab` would."""

    def __init__(self, lab):
        self.user, self.rules = 0, lab.rules
        words = ["nsenter", "--net=" + lab.netns, "sleep", "600"]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

        def entered():
            with open("/proc/%d/comm" % self.pid) as file:
                return file.read() == "sleep\n"

        eventually(entered, what="it runs inside")

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def pod(desk):
    """Two of them, in a network that stays."""
    inside = [Inside(desk.lab), Inside(desk.lab)]
    for number, one in enumerate(inside, 1):
        desk.host.container("c%d" % number, one)
    yield desk
    for one in inside:
        one.end()


def watch(pod):
    t = pod.start("c1", "c2")
    t.expect("watching c1")
    t.expect("watching c2")
    t.expect("in the network of c1: what it tries is asked as that one's")
    return t


def test_a_second_container_in_one_network_is_watched_through_the_first_ones_listener(pod):
    watch(pod)
    assert len(pod.processes("reader")) == 1
    pod.press("a", pod.block())
    pod.t.expect("c1  a allow 203.0.113.10 ... done in")
    assert [call.argv for call in pod.host.verdicts()] == [["allow", "c1", "203.0.113.10"]]
    assert "another session" not in pod.quit(0)


def test_when_the_second_one_ends_the_first_is_watched_on(pod):
    t = watch(pod)
    pod.host.containers["c2"].stop()
    t.expect("c2: the container has stopped")
    pod.press("s", pod.block())
    t.expect("s not now\n")
    pod.quit(0)


def test_when_the_first_one_ends_the_second_gets_a_listener_of_its_own(pod):
    t = watch(pod)
    first = pod.reader()
    pod.host.containers["c1"].stop()
    t.expect("c1: the container has stopped")
    t.expect("c2: what is tried in the network that it is in is asked as this one's")
    eventually(lambda: pod.lab.holder() not in (0, first), what="another one listens")
    pod.press("a", pod.block())
    t.expect("c2  a allow 203.0.113.10 ... done in")
    pod.quit(0)


def test_the_session_ends_with_the_last_of_them(pod):
    watch(pod)
    for name in ("c2", "c1"):
        pod.host.containers[name].stop()
    pod.ends(0)


def test_two_containers_with_a_network_each_have_a_listener_each(desk, pod):
    with Lab() as other:
        pod.host.container("c3", other)
        t = pod.start("c1", "c2", "c3")
        for name in ("c1", "c2", "c3"):
            t.expect("watching " + name)
        assert len(pod.processes("reader")) == 2
        pod.quit(0)
