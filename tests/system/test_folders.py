"""Signals as bytes, folders as signals: nothing lost, nothing told twice, everything put back."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import pytest
from support import eventually

from simple_clearance.system.folders import CONTENTS, ENTRIES, Folders
from simple_clearance.system.signals import Wakeups


def wakes(wakeups, within=0.0):
    poll = select.poll()
    poll.register(wakeups.fd, select.POLLIN)
    return bool(poll.poll(within * 1000))


def told(wakeups, within=2.0):
    """The signals that come within that time, as soon as one does."""
    return wakeups.take() if wakes(wakeups, within) else set()


def quiet(wakeups):
    """Nothing comes any more."""
    return eventually(lambda: not told(wakeups, 0.05))


@pytest.fixture
def descriptors():
    """How many descriptors this process has open."""
    return lambda: len(os.listdir("/proc/self/fd"))


@pytest.fixture
def wakeups():
    with Wakeups(signal.SIGIO, signal.SIGTERM, signal.SIGUSR1) as wakeups:
        yield wakeups


# --- signals


def test_a_signal_wakes_and_is_told_once(wakeups):
    assert not wakes(wakeups)
    os.kill(os.getpid(), signal.SIGTERM)
    assert wakes(wakeups)
    assert wakeups.take() == {signal.SIGTERM}
    assert not wakes(wakeups)
    assert wakeups.take() == set()


def test_a_signal_that_comes_many_times_is_told_once(wakeups):
    for _ in range(100):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert wakeups.take() == {signal.SIGUSR1, signal.SIGTERM}
    assert wakeups.take() == set()


def test_a_signal_interrupts_a_poll_that_waits_for_ever(wakeups):
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    poll = select.poll()
    poll.register(wakeups.fd, select.POLLIN)
    assert poll.poll(5000)
    timer.join()
    assert wakeups.take() == {signal.SIGTERM}


def test_a_signal_behind_a_full_pipe_of_notices_is_not_lost(wakeups):
    for _ in range(70000):  # a pipe holds 65536
        os.kill(os.getpid(), signal.SIGIO)
    os.kill(os.getpid(), signal.SIGTERM)
    assert wakeups.take() == {signal.SIGIO, signal.SIGTERM}
    assert not wakes(wakeups)


def test_everything_is_put_back_on_every_way_out(descriptors):
    def former(number, frame):
        pass

    before, numbers = descriptors(), (signal.SIGIO, signal.SIGTERM, signal.SIGINT)
    saved = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGTERM, former)
    try:
        with pytest.raises(KeyError), Wakeups(*numbers):
            assert signal.getsignal(signal.SIGTERM) is not former
            raise KeyError
        assert signal.getsignal(signal.SIGTERM) is former
    finally:
        signal.signal(signal.SIGTERM, saved[1])
    assert [signal.getsignal(number) for number in numbers] == saved
    assert signal.set_wakeup_fd(-1) == -1
    assert descriptors() == before


def test_a_wakeup_descriptor_of_somebody_else_is_put_back():
    reading, writing = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(writing)
    try:
        with Wakeups(signal.SIGUSR1):
            assert signal.set_wakeup_fd(writing) not in (writing, -1)
    finally:
        assert signal.set_wakeup_fd(-1) == writing
        os.close(reading)
        os.close(writing)


def test_a_signal_that_cannot_be_caught_leaves_nothing_changed(descriptors):
    before, saved = descriptors(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError), Wakeups(signal.SIGTERM, signal.SIGKILL):
        pass
    assert signal.getsignal(signal.SIGTERM) == saved
    assert descriptors() == before


def test_another_thread_than_the_main_one_is_told_so(descriptors):
    before, errors = descriptors(), []

    def enter():
        try:
            with Wakeups(signal.SIGUSR1):
                pass
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == ["signals can be caught in the main thread only"]
    assert descriptors() == before


def test_a_child_inherits_neither_the_pipe_nor_a_folder(wakeups, tmp_path):
    with Folders() as folders:
        folders.watch(str(tmp_path))
        argv = ["ls", "-l", "/proc/self/fd"]
        listing = subprocess.run(argv, stdout=subprocess.PIPE, close_fds=False, check=True).stdout.decode()
    assert str(tmp_path) not in listing
    assert os.readlink("/proc/self/fd/%d" % wakeups.fd) not in listing


def test_a_notice_that_comes_last_of_all_does_not_kill(tmp_path):
    """It may be pending when the handlers go; its default action is the end of the process."""
    program = (
        "import os, signal, sys, threading\n"
        "from simple_clearance.system.signals import *; from simple_clearance.system.folders import *\n"
        "with Wakeups(signal.SIGIO), Folders() as folders:\n"
        "    folders.watch(sys.argv[1])\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])\n"
        "    open(sys.argv[1] + '/x', 'w').close()\n"
        "    assert signal.SIGIO in signal.sigpending()\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 0


# --- folders

CHANGES = {
    "created": lambda folder: (folder / "new").write_text(""),
    "made": lambda folder: (folder / "sub").mkdir(),
    "deleted": lambda folder: (folder / "log").unlink(),
    "renamed": lambda folder: (folder / "log").rename(folder / "log.1"),
    "replaced": lambda folder: (folder / "other").rename(folder / "log"),
    "mode": lambda folder: (folder / "log").chmod(0o600),
}
WRITES = {
    "appended": lambda folder: append(folder / "log"),
    "truncated": lambda folder: os.truncate(str(folder / "log"), 1),
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "watched"
    path.mkdir()
    (path / "log").write_text("some")
    (path / "other").write_text("other")
    return path


@pytest.fixture
def folders(wakeups):
    with Folders() as folders:
        yield folders


def append(path):
    with open(str(path), "a") as file:
        file.write("more")


@pytest.mark.parametrize("events", [ENTRIES, CONTENTS], ids=["entries", "contents"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_entries_is_noticed(wakeups, folders, folder, change, events):
    assert folders.watch(str(folder), events)
    assert not wakes(wakeups)
    change(folder)
    assert told(wakeups) == {signal.SIGIO}


@pytest.mark.parametrize("change", WRITES.values(), ids=WRITES)
def test_writes_are_noticed_only_where_they_matter(wakeups, folders, folder, change):
    assert folders.watch(str(folder), ENTRIES)
    change(folder)
    assert not wakes(wakeups, 0.1)
    assert folders.watch(str(folder), CONTENTS)
    change(folder)
    assert told(wakeups) == {signal.SIGIO}


def test_each_of_many_changes_after_a_take_is_noticed(wakeups, folders, folder):
    folders.watch(str(folder), CONTENTS)
    for _ in range(20):
        append(folder / "log")
        assert told(wakeups) == {signal.SIGIO}


def test_a_missing_folder_is_noticed_when_it_appears_and_then_watched(wakeups, folders, tmp_path):
    path = tmp_path / "a" / "b" / "c"
    assert folders.watch(str(path))
    for part in (tmp_path / "a", tmp_path / "a" / "b", path, path / "hub.sock"):
        assert quiet(wakeups)
        part.mkdir()
        assert told(wakeups) == {signal.SIGIO}
        folders.refresh()


def test_a_missing_folder_that_appears_all_at_once_is_watched(wakeups, folders, tmp_path):
    path = tmp_path / "a" / "b" / "c"
    folders.watch(str(path))
    path.mkdir(parents=True)
    assert told(wakeups)
    folders.refresh()
    assert quiet(wakeups)
    (path / "hub.sock").mkdir()
    assert told(wakeups) == {signal.SIGIO}


def test_only_what_is_waited_for_stays_watched(wakeups, folders, tmp_path):
    path = tmp_path / "a" / "b"
    folders.watch(str(path))
    path.mkdir(parents=True)
    folders.refresh()
    assert quiet(wakeups)
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "a" / "unrelated").mkdir()
    assert not wakes(wakeups, 0.1)


def test_a_folder_that_was_removed_and_made_again_is_watched(wakeups, folders, tmp_path):
    path = tmp_path / "a" / "b"
    path.mkdir(parents=True)
    folders.watch(str(path.parent))
    folders.watch(str(path))
    for _ in range(3):
        path.rmdir()
        assert told(wakeups)
        folders.refresh()
        path.mkdir()
        assert told(wakeups)
        folders.refresh()
        assert quiet(wakeups)
        (path / "x").mkdir()
        assert told(wakeups)
        (path / "x").rmdir()
        assert told(wakeups)


def test_a_folder_replaced_by_another_is_followed(wakeups, folders, tmp_path):
    (tmp_path / "a").mkdir()
    folders.watch(str(tmp_path))
    folders.watch(str(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "old")
    (tmp_path / "a").mkdir()
    folders.refresh()
    assert quiet(wakeups)
    (tmp_path / "old" / "x").mkdir()
    assert not wakes(wakeups, 0.1)
    (tmp_path / "a" / "x").mkdir()
    assert told(wakeups)


def test_a_folder_is_watched_through_a_symbolic_link(wakeups, folders, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert folders.watch(str(tmp_path / "link"), CONTENTS)
    append(folder / "log")
    assert told(wakeups)


def test_a_file_is_watched_where_it_really_is_and_where_its_link_is(wakeups, folders, folder, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "policy"
    link.symlink_to(folder / "log")
    assert folders.watch_file(str(link))
    append(folder / "log")
    assert told(wakeups)
    (tmp_path / "links" / "policy.new").symlink_to(folder / "other")
    assert told(wakeups)
    (tmp_path / "links" / "policy.new").rename(link)
    assert told(wakeups)


def test_a_plain_file_is_watched(wakeups, folders, folder):
    assert folders.watch_file(str(folder / "log"))
    append(folder / "log")
    assert told(wakeups)


def test_a_file_in_the_place_of_a_folder_is_waited_out(wakeups, folders, tmp_path):
    (tmp_path / "a").write_text("")
    assert folders.watch(str(tmp_path / "a" / "b"))
    (tmp_path / "a").unlink()
    assert told(wakeups)


def test_the_same_folder_twice_costs_one_descriptor(folders, folder, descriptors):
    folders.watch(str(folder))
    before = descriptors()
    for _ in range(5):
        assert folders.watch(str(folder), CONTENTS)
        assert folders.watch(str(folder) + "/.", ENTRIES)
        folders.refresh()
    assert descriptors() == before


def test_a_folder_is_let_go_once_all_who_watched_it_have(wakeups, folders, folder, descriptors):
    before = descriptors()
    folders.watch_all([str(folder), str(folder)])
    folders.unwatch(str(folder))
    folders.refresh()
    (folder / "new").write_text("")
    assert told(wakeups) == {signal.SIGIO}
    folders.unwatch(str(folder))
    folders.refresh()
    assert descriptors() == before
    (folder / "newer").write_text("")
    assert not wakes(wakeups, 0.1)
    with pytest.raises(KeyError):
        folders.unwatch(str(folder))


def test_who_watched_for_less_goes_on_when_who_watched_for_more_has_gone(wakeups, folders, folder):
    folders.watch(str(folder), ENTRIES)
    folders.watch(str(folder), CONTENTS)
    folders.unwatch(str(folder), CONTENTS)
    folders.refresh()
    (folder / "new").write_text("")
    assert told(wakeups) == {signal.SIGIO}


def test_many_missing_folders_below_a_missing_one_cost_one_descriptor(
    wakeups, folders, tmp_path, descriptors
):
    before = descriptors()
    paths = [tmp_path / "a" / ("b%d" % number) / "c" for number in range(50)]
    assert folders.watch_all([str(path) for path in paths] + [str(tmp_path / "a")])
    assert descriptors() == before + 1
    paths[7].mkdir(parents=True)
    assert told(wakeups) == {signal.SIGIO}
    folders.refresh()
    assert descriptors() == before + 2, "the one that is there, and the one for those that are not"
    assert quiet(wakeups)
    (paths[7] / "hub.sock").mkdir()
    assert told(wakeups) == {signal.SIGIO}
    (tmp_path / "a" / "b3").mkdir()
    assert told(wakeups) == {signal.SIGIO}


def test_after_closing_nothing_is_noticed(wakeups, folder, descriptors):
    before = descriptors()
    with Folders() as folders:
        folders.watch(str(folder))
    (folder / "new").mkdir()
    assert not wakes(wakeups, 0.1)
    assert descriptors() == before


def test_two_kinds_of_folders_are_told_apart_by_their_signal(folder, tmp_path):
    other = tmp_path / "quiet"
    other.mkdir()
    with Wakeups(signal.SIGIO, signal.SIGURG) as wakeups, Folders() as busy, Folders(signal.SIGURG) as rare:
        busy.watch(str(folder), CONTENTS)
        rare.watch(str(other))
        append(folder / "log")
        assert told(wakeups) == {signal.SIGIO}
        (other / "hub.sock").mkdir()
        assert told(wakeups) == {signal.SIGURG}


def test_a_notice_without_a_handler_would_kill_so_it_is_not_asked_for(folder):
    with Folders() as folders, pytest.raises(RuntimeError, match="catch signal"):
        folders.watch(str(folder))


def test_a_folder_that_we_may_not_read_is_said_to_be_not_watched(wakeups, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    program = (
        "import os, signal, sys\n"
        "from simple_clearance.system.signals import *; from simple_clearance.system.folders import *\n"
        "if os.getuid() == 0:\n"
        "    os.setgroups([])\n"
        "    os.setresuid(4242, 4242, 4242)\n"
        "with Wakeups(signal.SIGIO), Folders() as folders:\n"
        "    print(folders.watch(sys.argv[1]))\n"
    )
    os.chmod(str(tmp_path), 0o755)
    done = subprocess.run([sys.executable, "-c", program, str(closed)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.strip() == b"False"


def test_a_path_that_cannot_be_is_not_watched(folders):
    assert folders.watch("/" + "x" * 300 + "/y") is False


def test_idle_costs_no_wakeup(wakeups, folders, folder):
    folders.watch(str(folder), CONTENTS)
    folders.watch(str(folder / "missing"))
    before = os.times()
    assert not wakes(wakeups, 1.0)
    after = os.times()
    assert after.user + after.system - before.user - before.system <= 0.02
