"""Which state directory is believed, and what is said of the others."""

from __future__ import annotations

import fcntl
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import pytest
from lab import as_user, reachable_python
from needs import need

from simple_clearance.base.errors import Refused
from simple_clearance.containers import podman, statedir
from simple_clearance.system import processes

ID = "3b068f2a090c" + "0" * 52
OTHER = "9" * 12


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "c1"
    path.mkdir(mode=0o700)
    (path / "container.id").write_text(ID[:12] + "\n")
    return path


def refused(function, *arguments):
    with pytest.raises(Refused) as caught:
        function(*arguments)
    assert caught.value.code == 3
    assert caught.value.hints
    return caught.value


def believe(path, uid=None):
    return statedir.believable(str(path), ID, os.getuid() if uid is None else uid)


def test_our_own_directory_with_this_containers_id_is_believed(folder):
    believe(folder)
    assert statedir.recorded_id(str(folder)) == ID[:12]


def test_an_id_without_its_newline_is_believed(folder):
    (folder / "container.id").write_text(ID[:12])
    believe(folder)


def test_a_symbolic_link_is_not_believed(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert "is not believed" in refused(believe, link).message


def test_another_users_directory_is_not_believed(folder):
    assert "it belongs to uid %d" % os.getuid() in refused(believe, folder, os.getuid() + 1).message


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_may_write_to_is_not_believed(mode, folder):
    folder.chmod(mode)
    assert "others may write to it (mode %04o)" % mode in refused(believe, folder).message


@pytest.mark.parametrize(
    "path",
    ["", "c1", "./c1", "/nonexistent", "/etc/passwd", "/\0", "/\ud800", "/" + "x" * 5000, "/proc/self/mem"],
)
def test_what_is_no_directory_is_not_believed(path, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    error = refused(believe, path)
    assert error.message.isascii()
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        ID,
        ID[:11] + "\n",
        ID[:12] + "\n\n",
        ID[:12].upper(),
        " " + ID[:12],
        OTHER + "\n",
        "\xff" * 12,
    ],
)
def test_another_id_or_none_is_not_believed(content, folder):
    (folder / "container.id").write_text(content)
    assert "container.id" in refused(believe, folder).message
    assert statedir.recorded_id(str(folder)) == (OTHER if content == OTHER + "\n" else "")


def test_an_id_file_that_is_no_file_neither_convinces_nor_holds_up(folder):
    real = folder / "container.id"
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("elsewhere", path)):
        real.rename(folder / "elsewhere")
        make(str(real))
        assert "no usable container.id" in refused(believe, folder).message
        (os.rmdir if real.is_dir() and not real.is_symlink() else os.unlink)(str(real))
        (folder / "elsewhere").rename(real)


def test_the_root_of_all_containers_is_refused_with_the_one_to_give(folder):
    root = folder.parent / "root"
    (root / "containers" / "c1").mkdir(parents=True)
    error = refused(statedir.check_given, str(root), "c1")
    assert error.hints == ("--state-dir %s/containers/c1" % root,)
    statedir.check_given(str(root), "c2")


def test_a_root_inside_the_right_directory_does_not_put_it_in_doubt(folder):
    """terok-shield makes one when it is given the container's own directory as its --state-dir."""
    (folder / "containers" / "c1").mkdir(parents=True)
    statedir.check_given(str(folder), "c1", ID)


def test_a_given_directory_needs_no_id_but_must_not_hold_another(folder):
    statedir.check_given(str(folder), "c1", ID)
    statedir.check_given(str(folder), "c1")
    assert (
        "is that of container 3b068f2a090c"
        in refused(statedir.check_given, str(folder), "c1", OTHER * 5).message
    )
    (folder / "container.id").unlink()
    statedir.check_given(str(folder), "c1", ID)
    statedir.check_given(str(folder), "c1")


@pytest.mark.parametrize("path", ["", "/nonexistent", "/etc/passwd", "/\0", "\ud800"])
def test_a_given_path_that_is_no_directory_is_refused(path):
    assert refused(statedir.check_given, path, "c1", ID).message.isascii()


def test_a_given_symbolic_link_is_the_users_own_business(folder):
    link = folder.parent / "link"
    link.symlink_to(folder)
    statedir.check_given(str(link), "c1", ID)


def test_the_given_directory_goes_before_the_annotated_one(folder):
    annotated = types.SimpleNamespace(name="c1", id=ID, state_dir="/nonexistent")
    assert podman.state_directory(annotated, str(folder), os.getuid()) == str(folder)
    refused(podman.state_directory, annotated, None, os.getuid())
    annotated.state_dir = str(folder)
    assert podman.state_directory(annotated, None, os.getuid()) == str(folder)


def test_a_refusal_escapes_what_an_image_wrote(folder):
    evil = pathlib.Path(str(folder) + "\x1b[2J\nhint: rm -rf")
    message = refused(believe, evil).message
    assert "\\x1b[2J\\x0ahint" in message


def test_a_refusal_escapes_and_clips_what_was_given(folder):
    evil = folder.parent / "\x1b[2J\nhint: rm -rf"
    folder.rename(evil)
    errors = [refused(statedir.check_given, str(evil), "c1", OTHER)]
    (evil / "container.id").unlink()
    (evil / "containers" / "c1").mkdir(parents=True)
    errors.append(refused(statedir.check_given, str(evil), "c1"))
    errors.append(refused(statedir.check_given, str(evil) + "/nowhere", "c1"))
    for error in errors:
        assert "\\x1b[2J\\x0ahint" in error.message
        assert all(text.isprintable() for text in (error.message, *error.hints))
    assert len(refused(statedir.check_given, "/" + "x" * 5000, "c1").message) < 300


@pytest.mark.parametrize(
    "path, reason",
    [("/nonexistent", "No such file or directory"), ("/\0", "no path"), ("/\ud800", "no path")],
)
def test_the_systems_own_words_say_why_where_it_has_any(path, reason):
    for error in (refused(believe, path), refused(statedir.check_given, path, "c1")):
        assert error.message.endswith(": " + reason)


def test_nothing_stays_open_but_the_lock(folder):
    lock, before = statedir.claim(str(folder), "c1"), os.listdir("/proc/self/fd")
    believe(folder)
    refused(believe, folder, os.getuid() + 1)
    statedir.check_given(str(folder), "c1", ID)
    refused(statedir.check_given, str(folder), "c1", OTHER)
    refused(statedir.claim, str(folder), "c1")
    assert os.listdir("/proc/self/fd") == before
    os.close(lock)


# --- one session at a time


def test_one_has_it_until_it_is_closed(folder):
    lock = statedir.claim(str(folder), "c1")
    error = refused(statedir.claim, str(folder), "c1")
    assert "another session answers for c1: pid %d (" % os.getpid() in error.message
    assert "kill -TERM %d" % os.getpid() in error.hints[0]
    os.close(lock)
    os.close(statedir.claim(str(folder), "c1"))


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_another_users_lock_on_a_directory_that_all_may_read_keeps_nobody_away(kind):
    need("root")
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        code = "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(fd, %d)\n" % kind
        argv = [*as_user(), reachable_python(), "-c", code + "print(flush=True); sys.stdin.read()", path]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
            assert stranger.stdout.readline() == b"\n"
            assert statedir.claim(path, "c1") == -1
            stranger.stdin.close()
        lock = statedir.claim(path, "c1")
        assert lock >= 0
        os.close(lock)


def test_other_containers_are_others_business(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for lock in [statedir.claim(str(path), "c1") for path in (folder, other)]:
        assert lock >= 0
        os.close(lock)


def test_a_stranger_with_a_lock_on_another_file_is_not_the_one(folder):
    with open(folder / "container.id") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        found = os.fstat(other.fileno())
        assert processes.locking(found) == os.getpid()
    fields = list(found)
    fields[2] += 1  # st_dev: the same number on another file system
    assert processes.locking(os.stat_result(fields)) == 0


def test_what_can_not_be_locked_keeps_nobody_away(folder):
    assert statedir.claim(str(folder) + "/nowhere", "c1") == -1
    assert statedir.claim("/proc/self/environ", "c1") == -1


def test_the_one_that_has_it_is_shown_by_its_command_escaped_and_clipped(folder):
    lock, (ours, theirs) = os.open(str(folder), os.O_RDONLY), os.pipe()
    code = "import fcntl; fcntl.flock(%d, fcntl.LOCK_EX); print(flush=True); open(%d).read()" % (lock, ours)
    argv = [sys.executable, "-c", code, "x" * 1000, "\x1b[2J\n"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=(lock, ours)) as holder:
        os.close(lock)
        assert holder.stdout.readline() == b"\n"
        message = refused(statedir.claim, str(folder), "c1").message
        os.close(theirs)
    os.close(ours)
    assert "pid %d (..xxx" % holder.pid in message and message.endswith("xxx \\x1b[2J\\x0a)")
    assert len(message) < 300


def test_one_that_can_not_be_seen_has_it_all_the_same(folder):
    """Whoever took the lock may have ended, with the descriptor left to another."""
    lock = os.open(str(folder), os.O_RDONLY)
    code = "import fcntl; fcntl.flock(%d, fcntl.LOCK_EX)" % lock
    subprocess.run([sys.executable, "-c", code], pass_fds=(lock,), check=True)
    error = refused(statedir.claim, str(folder), "c1")
    os.close(lock)
    assert error.message == "another session answers for c1: a process"
    assert error.hints == ("answer there, or end it first",)
