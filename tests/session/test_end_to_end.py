"""From a packet in the kernel to a line: on every Python, in root's and in an ordinary user's namespace."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile

import endtoend
import pytest
from lab import Lab, as_user, reachable_python
from support import PATIENCE, eventually

from simple_clearance.reader import confinement

desk = endtoend.desk


class Reader:
    """The archive in the reader's role; `line()` is the next of its lines."""

    def __init__(self, argv, env=None):
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self._data = b""

    def line(self):
        while b"\n" not in self._data:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], "no line"
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, self.process.stderr.read()
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        assert line.isascii()
        return json.loads(line)

    def wait(self):
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


@pytest.fixture
def read(desk):
    """`read(python, lab)`: a reader of the archive that listens."""
    readers = []

    def start(python=desk.python, lab=desk.lab, prefix=(), archive=desk.pyz, words=None):
        words = ["--netns", lab.netns] if words is None else words
        argv = [
            *prefix,
            python,
            "-I",
            "-W",
            "error",
            archive,
            "--as-reader",
            desk.c1.state_dir,
            "c1",
            "--emit=json",
        ]
        readers.append(Reader([*argv, *words], desk.env))
        assert readers[-1].line() == {"type": "container_started", "container": "c1"}
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


def facts(line):
    return {key: line[key] for key in ("type", "container", "dest", "port", "proto", "class")}


def test_a_block_is_a_line_on_every_python(desk, read, every_python):
    reader = read(every_python.path)
    for address, port, proto, number in (
        ("203.0.113.10", 443, "tcp", 6),
        ("2001:db8:5::10", 8443, "tcp", 6),
        ("198.51.100.7", 123, "udp", 17),
        ("2001:db8:5::11", 53, "udp", 17),
    ):
        desk.lab.connect(address, port, proto, timeout=0.2)
        assert facts(reader.line()) == {
            "type": "pending",
            "container": "c1",
            "dest": address,
            "port": port,
            "proto": number,
            "class": "default",
        }
    reader.process.stdin.close()
    assert reader.wait() == 0
    eventually(lambda: desk.lab.holder() == 0, what="the NFLOG group is free")


def test_every_prefix_has_its_type(desk, read):
    reader = read()
    desk.lab.listen(443)
    desk.lab.add("allow", "203.0.113.1")
    desk.lab.add("deny", "203.0.113.2")
    desk.lab.add("bypass", "203.0.113.3")
    for address, kind in (
        ("203.0.113.1", "allowed"),
        ("203.0.113.2", "denied"),
        ("203.0.113.3", "bypass"),
        ("10.1.2.3", "pending"),
    ):
        desk.lab.connect(address, 443)
        line = reader.line()
        assert (line["type"], line["dest"]) == (kind, address)
    assert (line["class"], line["uid"]) == ("private", 0)


def test_podman_tells_where_when_no_namespace_is_given(desk, read):
    desk.c1.annotations["dossier.project"] = "demo"
    desk.c1.save()
    reader = read(words=[])
    desk.lab.connect("203.0.113.10", 443)
    assert reader.line()["dossier"] == {"project": "demo"}
    desk.c1.stop()
    assert reader.line() == {"type": "container_exited", "container": "c1", "reason": "poststop"}
    assert reader.wait() == 0


def test_the_reader_keeps_no_privilege(desk, read):
    reader = read()
    with open("/proc/%d/status" % reader.process.pid) as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines())
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    if os.getuid() == 0:
        highest = str(confinement._highest_mapped("/proc/self/uid_map"))
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {highest}
        assert status["Groups"].split() == []
        assert os.listdir(os.path.join("/proc", str(reader.process.pid), "root")) != os.listdir("/")


@pytest.mark.parametrize("rules", [18, pytest.param(14, marks=pytest.mark.thorough)])
def test_an_ordinary_users_namespace_is_entered_without_any_helper(desk, read, rules):
    """No sudo, no nsenter, no podman unshare: with Python alone."""
    folder = tempfile.mkdtemp(prefix="reader")
    try:
        os.chmod(folder, 0o755)
        archive = shutil.copy(desk.pyz, folder)
        uid = os.getuid() or 1000
        with Lab(rules=rules, user=uid) as lab:
            reader = read(reachable_python(uid), lab, as_user(uid), archive)
            lab.connect("203.0.113.10", 443)
            assert reader.line()["dest"] == "203.0.113.10"
            lab.connect("10.0.2.2", 443)
            assert reader.line()["class"] == "private"
            assert lab.holder() == reader.process.pid
            reader.process.send_signal(signal.SIGTERM)
            assert reader.wait() == 0
            eventually(lambda: lab.holder() == 0, what="the NFLOG group is free")
    finally:
        shutil.rmtree(folder)


def test_a_lone_packet_is_not_held_back(desk, read):
    """The kernel's own flush timeout is a second; what it takes is for the benches to tell."""
    read()
    *_, copy_range, timeout, _uses = desk.lab.listener()
    assert timeout == 0
    assert 128 <= copy_range < 1500, "as much as the headers may take, and no more"


@pytest.mark.parametrize("end", ["stdin closed", "stdout closed", "SIGTERM", "SIGINT", "SIGHUP"])
def test_every_end_of_the_reader_frees_the_group(desk, read, end):
    reader = read()
    assert desk.lab.holder() == reader.process.pid
    if end == "stdin closed":
        reader.process.stdin.close()
    elif end == "stdout closed":
        reader.process.stdout.close()
    else:
        reader.process.send_signal(getattr(signal, end))
    code = reader.wait()
    assert code == 0 or (end == "SIGHUP" and code == -signal.SIGHUP)
    eventually(lambda: desk.lab.holder() == 0, what="the NFLOG group is free")


def test_a_reader_whose_parent_dies_ends_though_its_stdin_stays_open(desk):
    """Between us and the reader a shell that is killed; our end of the pipe stays open."""
    argv = [desk.python, desk.pyz, "--as-reader", "/", "c1", "--emit=json", "--netns", desk.lab.netns]
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; :', "sh", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=desk.env
    )
    try:
        assert b"container_started" in shell.stdout.readline()
        shell.kill()
        shell.wait()
        eventually(lambda: desk.lab.holder() == 0, what="the NFLOG group is free")
    finally:
        shell.stdin.close()
        shell.stdout.close()


def test_a_burst_is_told_whole_and_once(desk, read):
    reader = read()
    count = 500
    desk.lab.flood(count)
    seen, lost = set(), 0
    while len(seen) + lost < count:
        line = reader.line()
        if line["type"] == "pending":
            assert line["dest"] not in seen
            seen.add(line["dest"])
        else:
            assert line["type"] == "lost"
            lost += line["count"]
    assert lost == 0


def test_repeats_are_gathered_and_none_is_missing(desk, read):
    reader = read()
    count = 5000
    desk.lab.flood(count, same=True, first="203.0.113.10")
    total, lines = 0, 0
    while total < count:
        line = reader.line()
        lines += 1
        if line["type"] == "lost":
            total += line["count"]
            continue
        assert line["type"] == ("pending" if lines == 1 else "again") and line["dest"] == "203.0.113.10"
        total += line.get("count", 1)
    assert total == count and lines < 50


def test_the_archive_tells_a_block_from_a_real_verdict_by_packets_alone(desk):
    """`terok-shield` says done and does nothing; then the address opens; each is told as it is."""
    desk.host.control("terok-shield", mode="silent")
    desk.lab.listen(443)
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("done in")

    def is_told():
        assert desk.lab.connect("203.0.113.10", 443) == "EHOSTUNREACH"
        t.quiet(0.1)
        return "still blocked" in t.text()

    eventually(is_told, what="what was tried some time after it is told")
    desk.lab.add("allow", "203.0.113.10")
    assert desk.lab.connect("203.0.113.10", 443) == "connected"
    t.expect("first packet let out")
    desk.quit(0)
