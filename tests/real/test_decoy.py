"""The namespace that podman made is watched, whatever users it has, and none that was made inside.

The first file of all: `auto` wants ids that no other container with a mapping of its own has.
"""

from __future__ import annotations

import itertools

import pytest
from support import eventually

pytestmark = pytest.mark.newest

number = itertools.count(1)

KINDS = {
    "default": (),
    "user": ("--user", "1000"),
    "keep-id": ("--userns=keep-id",),
    "auto": ("--userns=auto:size=2000",),
    "nomap": ("--userns=nomap",),
}
LEAVING = """\
import ctypes, time
print(ctypes.CDLL(None).unshare(%s), flush=True)
time.sleep(9999)
"""
BOTH, NETWORK = "0x50000000", "0x40000000"  # CLONE_NEWUSER | CLONE_NEWNET, and the second alone


@pytest.fixture(params=KINDS)
def options(request):
    """podman's options for each kind of user namespace."""
    return KINDS[request.param]


def test_one_with_ids_that_podman_picks_is_served_alike(rig, desk):
    name = rig.shielded("is-auto", *KINDS["auto"])
    desk.serves(name, "198.51.100.91")


def leaves(what):
    """A first process that leaves for namespaces of its own."""
    return ("python3", "-c", LEAVING % what)


def is_watched(rig, desk, name, address):
    script = desk.script(name)
    assert rig.conn(name, address).split()[1] in ("EHOSTUNREACH", "EACCES")
    script.until("pending", dest=address)
    script.finish()


def is_refused(rig, desk, name):
    """It has left by the time it says 0."""
    eventually(lambda: rig.as_op(["podman", "logs", name]).stdout == "0\n", what="it has left")
    pid = rig.inspected(name)["State"]["Pid"]
    told = "%s: pid %d (python3) is in a network namespace that podman did not make for it" % (name, pid)
    for words in (["--json", name], ["--check", name]):
        done = desk.run(*words)
        assert done.returncode == 3 and told in done.stdout + done.stderr, done
        assert "hint: " in done.stdout + done.stderr
    assert not desk.processes()


def end(rig, *names):
    rig.as_op(["podman", "rm", "-f", "-t", "0", *names], check=True)


def test_what_podman_made_is_watched_and_watched_again_after_a_restart(rig, desk, options):
    name = rig.shielded("stays%d" % next(number), *options)
    is_watched(rig, desk, name, "192.0.2.71")
    rig.as_op(["podman", "restart", "-t", "0", name], check=True)
    is_watched(rig, desk, name, "192.0.2.72")
    end(rig, name)


def test_what_was_made_inside_is_refused(rig, desk, options):
    name = rig.shielded("leaves%d" % next(number), *options, runs=leaves(BOTH))
    is_refused(rig, desk, name)
    end(rig, name)


def test_a_container_that_only_leaves_when_it_is_restarted_is_refused_then(rig, desk):
    """What it began with was watched, and that is no reason to believe it later."""
    first = (
        "import os, time\nif not os.path.exists('/tmp/again'): open('/tmp/again', 'w'); time.sleep(9999)\n"
    )
    name = rig.shielded("returns", runs=("python3", "-c", first + LEAVING % BOTH))
    eventually(lambda: rig.inside(name, ["ls", "/tmp"]) == "again\n", what="it has begun")
    is_watched(rig, desk, name, "192.0.2.73")
    rig.as_op(["podman", "restart", "-t", "0", name], check=True)
    is_refused(rig, desk, name)
    end(rig, name)


def test_one_with_privileges_that_needs_no_users_of_its_own_is_refused(rig, desk):
    name = rig.shielded("mighty", "--cap-add", "SYS_ADMIN", runs=leaves(NETWORK))
    is_refused(rig, desk, name)
    end(rig, name)


@pytest.mark.parametrize("kind", ["default", "keep-id"])
def test_a_pod_is_watched_and_one_who_left_it_is_not(rig, desk, kind):
    stays, left = (name % next(number) for name in ("pod%d", "podless%d"))
    rig.in_pod(stays, *KINDS[kind])
    is_watched(rig, desk, stays, "192.0.2.74")
    rig.in_pod(left, *KINDS[kind], runs=leaves(BOTH))
    is_refused(rig, desk, left)
    rig.as_op(["podman", "pod", "rm", "-f", "-t", "0", stays + "-pod", left + "-pod"], check=True)
