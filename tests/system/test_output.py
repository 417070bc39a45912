"""A stdout that nobody waits for, whatever it is, and no flag of it is changed."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import socket
import subprocess
import sys
import time
import tty

import pytest
from needs import need
from support import PATIENCE, ROOT

from simple_clearance.system.output import Output


@pytest.fixture
def pipe():
    """Both ends of a pipe; closed with the test, unless it has done so."""
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        if fd >= 0:
            os.close(fd)


def drained(fd):
    """What can be read without waiting."""
    data = b""
    while select.select([fd], [], [], 0)[0]:
        more = os.read(fd, 1 << 16)
        if not more:
            break
        data += more
    return data


LINES = "".join("%07d\n" % number for number in range(50_000))  # 400 KB


def test_what_does_not_fit_into_a_pipe_waits_and_comes_whole(pipe):
    output = Output(pipe[1])
    output.put(LINES)
    output.flush()
    assert 0 < output.backlog < len(LINES)
    found = b""
    while output.backlog:
        found += drained(pipe[0])
        output.flush()
    found += drained(pipe[0])
    assert found == LINES.encode() and not output.gone
    os.close(output.fd)


def test_no_flag_of_the_pipe_is_changed(pipe):
    output = Output(pipe[1])
    output.put(LINES)
    output.flush()
    for fd in pipe:
        assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(output.fd)


def test_a_pipe_may_be_asked_to_keep_more(pipe):
    output = Output(pipe[1])
    output.widen(1 << 17)
    assert fcntl.fcntl(pipe[0], 1032) == 1 << 17  # F_GETPIPE_SZ, linux/fcntl.h
    os.close(output.fd)


def test_a_pipe_that_nobody_reads_any_more_is_gone(pipe):
    output = Output(pipe[1])
    os.close(pipe[0])
    pipe[0] = -1
    output.put("x\n")
    output.flush()
    assert output.gone and output.failed is None
    output.put("y\n")
    assert output.backlog == 2, "nothing is kept for nobody"
    os.close(output.fd)


def test_a_named_pipe_that_nobody_reads_from_the_start_is_gone(tmp_path):
    os.mkfifo(tmp_path / "out")
    reading = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(tmp_path / "out", os.O_WRONLY)
    os.close(reading)
    assert Output(writing).gone
    os.close(writing)


def test_a_terminal_that_is_stalled_is_not_waited_for():
    need("pty")
    master, slave = pty.openpty()
    tty.setraw(slave)
    output = Output(slave)
    output.put(LINES)
    output.flush()
    assert output.backlog and not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK
    found = b""
    while output.backlog:
        found += drained(master)
        output.flush()
    os.close(master)
    output.put("x\n")
    output.flush()
    assert output.gone and output.failed is None, "a hang-up is nobody reading"
    os.close(output.fd)
    os.close(slave)


def test_a_socket_is_not_waited_for():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        output = Output(theirs.fileno())
        output.put(LINES * 4)
        output.flush()
        assert output.backlog and theirs.getblocking()
        found = b""
        while output.backlog:
            found += drained(ours.fileno())
            output.flush()
        found += drained(ours.fileno())
        assert found == (LINES * 4).encode()
        ours.close()
        output.put("x\n")
        output.flush()
        assert output.gone and output.failed is None


def test_a_file_takes_all(tmp_path):
    with open(tmp_path / "out", "wb") as file:
        output = Output(file.fileno())
        output.put(LINES)
        output.flush()
        assert output.backlog == 0
    assert (tmp_path / "out").read_text() == LINES


def test_a_full_disk_is_more_than_nobody_reading():
    with open("/dev/full", "wb") as full:
        output = Output(full.fileno())
        output.put("x\n")
        output.flush()
    assert output.gone and output.failed is not None and output.failed.errno == errno.ENOSPC
    os.close(output.fd)


def test_a_descriptor_that_is_closed_is_an_error(pipe):
    os.close(pipe[0])
    fd, pipe[0] = pipe[0], -1
    with pytest.raises(OSError):
        Output(fd)


def test_another_users_pipe_is_not_waited_for_either():
    """It can't be opened anew: `sudo -u nobody simple-clearance.pyz | less`."""
    need("root")
    code = (
        "import os, sys; sys.path.insert(0, %r)\n"
        "from simple_clearance.system.output import Output\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "output = Output(); output.put(%r * 50000)\n"
        "output.flush()\n"
        "sys.stderr.write('%%d %%d' %% (output.fd, output.backlog > 300000))\n"
        "sys.stderr.flush()\n"
        "output.linger(%d)\n"
    )
    argv = [sys.executable, "-S", "-c", code % (ROOT, "1234567\n", PATIENCE)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr.read(len("1 1")) == b"1 1"  # while nobody reads
        assert child.stdout.read() == b"1234567\n" * 50_000
        assert child.wait(PATIENCE) == 0 and child.stderr.read() == b""


def test_the_last_words_get_their_time_and_no_more(pipe):
    output = Output(pipe[1])
    output.put(LINES)
    began = time.monotonic()
    output.linger(0.2)
    assert time.monotonic() - began > 0.15
    assert output.backlog and not output.gone
    os.close(output.fd)
