"""What only a real host does to a real podman: its own sentence and remedy for it, or it hinders nobody."""

from __future__ import annotations

import contextlib
import subprocess
import threading

import pytest

pytestmark = pytest.mark.newest


@contextlib.contextmanager
def remounted(rig, options, back):
    """The world's /proc with these options, then with those before."""
    enter = ["nsenter", "--target", str(rig._pid), "--mount", "--pid", "mount", "-o"]
    subprocess.run([*enter, "remount," + options, "/proc"], check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "remount," + back, "/proc"], check=True)


@pytest.mark.parametrize("kind", [(), ("--userns=keep-id",)], ids=["default", "keep-id"])
def test_a_proc_that_hides_what_is_anothers_hinders_nobody(rig, desk, kind):
    """What a container's own user may look into is shown."""
    name = rig.shielded("hidden%d" % len(kind), *kind)
    with remounted(rig, "hidepid=2", "hidepid=0"):
        assert not rig.processes("world.py"), "root's are hidden"
        desk.serves(name, "198.51.100.94")


LOCKING = """
import fcntl, glob, os, sys
storage = os.path.expanduser("~/.local/share/containers/storage")
locks = [open(path, "r+") for path in glob.glob(storage + "/**/*.lock", recursive=True)]
for lock in locks:
    fcntl.lockf(lock, fcntl.LOCK_EX)
print(len(locks), flush=True)
sys.stdin.read()
"""


def test_a_storage_that_a_build_holds_locked_is_waited_for(rig, desk, c):
    """Ten seconds, by no clock of ours: podman has been asked and has not answered when it is let go."""
    argv = rig.argv([rig.venv + "/bin/python3", "-c", LOCKING])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as build:
        assert int(build.stdout.readline()) > 0
        let_go = threading.Timer(10, build.stdin.close)
        let_go.start()
        check = desk.run("--check", c)
        assert not let_go.is_alive(), "it was not waited for"
    assert check.returncode == 0, check.stdout


WITHOUT = (
    'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all "$@"'
)


def test_without_user_namespaces_podman_can_do_nothing_and_the_remedy_is_named(rig, desk, c):
    """In a user namespace of its own, since the setting is the whole machine's: the limit is that one's."""
    inside = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", WITHOUT, "sh"]
    for words in (["--check", c], [c, "--json"]):
        done = rig.as_op([*inside, desk.python, "-W", "error", desk.pyz, *words])
        said = done.stdout + done.stderr
        assert done.returncode == 3 and "podman inspect %s: " % c in said, said
        assert "hint: no user namespace is allowed here (/proc/sys/user/max_user_namespaces is 0)" in said
