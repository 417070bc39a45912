"""The reader on real packets: what it tells, when it ends, and that it waits for nobody."""

from __future__ import annotations

import datetime
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from lab import Lab, as_user, reachable_python
from needs import lacks, need
from reading import Reader, code, flags
from support import PATIENCE, ROOT, comes_to_rest, eventually

from simple_clearance.reader import confinement

ORDINARY = 1000


@pytest.fixture(scope="module", name="lab")
def _lab():
    with Lab() as it:
        it.listen(443)
        it.listen(443, "udp")
        it.add("allow", "198.51.100.200")
        it.add("allow", "2001:db8:a::1")
        it.add("deny", "198.51.100.201")
        it.nft("add element inet terok_shield bypass_window_v4 { 198.51.100.202 }")
        yield it


@pytest.fixture(name="reader")
def _reader(lab):
    with Reader(lab) as it:
        yield it


# --- what it tells


def test_a_blocked_connection_is_told_at_once_with_all_that_is_known(lab, reader):
    before = time.time()
    assert lab.connect("198.51.100.1", 443) == "EHOSTUNREACH"
    line = reader.expect(type="pending")
    stamp = line.pop("ts")
    assert before - 0.001 < datetime.datetime.fromisoformat(stamp).timestamp() < time.time()
    assert stamp[19] == "." and stamp.endswith("+00:00") and len(stamp) == 29
    assert line == {
        "type": "pending",
        "container": "c1",
        "id": "c1:1",
        "dest": "198.51.100.1",
        "port": 443,
        "proto": 6,
        "domain": "",
        "dossier": {},
        "class": "default",
        "uid": 0,  # as the container sees it
    }


@pytest.mark.parametrize(
    "address, proto, expected, fields",
    [
        pytest.param("198.51.100.9", "udp", "EPERM", {"type": "pending", "proto": 17}, id="udp"),
        pytest.param("2001:db8::9", "udp", "EPERM", {"type": "pending", "class": "default"}, id="ipv6"),
        pytest.param(
            "10.0.2.2", "tcp", "EHOSTUNREACH", {"type": "pending", "class": "private"}, id="private"
        ),
        pytest.param(
            "169.254.1.2", "tcp", "EHOSTUNREACH", {"type": "pending", "class": "private"}, id="link-local"
        ),
        pytest.param("fd00::2", "udp", "EPERM", {"type": "pending", "class": "private"}, id="private ipv6"),
        pytest.param("198.51.100.200", "tcp", "connected", {"type": "allowed", "proto": 6}, id="allowed"),
        pytest.param("2001:db8:a::1", "tcp", "connected", {"type": "allowed", "proto": 6}, id="allowed ipv6"),
        pytest.param("198.51.100.201", "tcp", "EHOSTUNREACH", {"type": "denied"}, id="denied"),
        pytest.param("198.51.100.202", "udp", "sent", {"type": "bypass"}, id="bypass"),
    ],
)
def test_every_kind_of_packet_is_told_as_what_it_is(lab, reader, address, proto, expected, fields):
    assert lab.connect(address, 443, proto) == expected
    line = reader.expect(dest=address)
    assert {name: line.get(name) for name in fields} == fields
    assert line["port"] == 443


def test_multicast_is_told_apart(lab, reader):
    lab.python(
        "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "try: s.sendto(b'?', ('ff02::fb', 5353, 0, socket.if_nametoindex('lo')))\n"
        "except OSError as e: result = str(e)\n"
    )
    assert reader.expect(dest="ff02::fb")["type"] == "multicast"


RAW = """
import socket, struct
def raw(dest, packet):
    family = socket.AF_INET6 if ":" in dest else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, 255) as s:  # IPPROTO_RAW: with the header
        try: s.sendto(packet, (dest, 0))
        except PermissionError: pass  # nft's reject
def ipv4(dest, proto, rest, version=4):
    head = struct.pack(">BBHHHBBH", version << 4 | 5, 0, 20 + len(rest), 7, 0, 64, proto, 0)
    return head + socket.inet_aton("127.0.0.1") + socket.inet_aton(dest) + rest
def ipv6(dest, proto, rest, version=6):
    head = struct.pack(">IHBB", version << 28, len(rest), proto, 64)
    return head + socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, dest) + rest
def tcp(flags):
    return struct.pack(">HHIIBBHHH", 40000, 443, 1, 1, 80, flags, 0, 0, 0)
"""


def test_a_packet_whose_version_is_not_its_familys_is_counted_and_never_believed(lab, reader):
    """In the bytes of this IPv6 packet an IPv4 header would have another destination, a forged one."""
    lab.python(RAW + "raw('2001:db8::31', ipv4('198.51.100.66', 17, bytes(40))[:24] + bytes(32))")
    lab.python(RAW + "p = ipv6('2001:db8::31', 17, bytes(8), 4); raw('2001:db8::31', p)")
    lab.connect("198.51.100.32", 443)
    reader.expect(dest="198.51.100.32")
    lost = 0
    while lost < 2:  # in one line, or in two
        lost += reader.expect(type="lost", where="reader")["count"]
    assert lost == 2
    assert {line["dest"] for line in reader.lines} <= {"::1"}  # the shield's own refusals to the sender


def test_the_end_of_an_old_connection_is_no_try_to_connect(lab, reader):
    lab.python(RAW + "for f in (0x11, 0x14, 0x04): raw('198.51.100.33', ipv4('198.51.100.33', 6, tcp(f)))")
    lab.python(RAW + "raw('2001:db8::33', ipv6('2001:db8::33', 6, tcp(0x11)))")
    for dest in ("198.51.100.33", "2001:db8::33"):
        assert reader.expect(dest=dest)["type"] == "multicast"
    lab.python(RAW + "raw('198.51.100.33', ipv4('198.51.100.33', 6, tcp(2)))")
    assert reader.expect(dest="198.51.100.33", type="pending")["port"] == 443


def test_an_ipv4_address_in_an_ipv6_packet_is_counted(lab, reader):
    lab.run(["ip", "-6", "route", "add", "local", "::ffff:198.51.100.0/120", "dev", "lo"])
    lab.python(RAW + "raw('::ffff:198.51.100.34', ipv6('::ffff:198.51.100.34', 17, bytes(8)))")
    assert reader.expect(dest="::ffff:c633:6422")["type"] == "multicast"


def test_a_ping_has_no_port(lab, reader):
    lab.python(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)\n"
        "try: s.sendto(b'\\x08\\0\\xf7\\xff' + bytes(4), ('198.51.100.30', 0))\n"
        "except OSError: pass\n"
    )
    line = reader.expect(dest="198.51.100.30")
    assert (line["proto"], line["port"]) == (1, None)


def test_the_port_behind_a_routing_header_is_unknown(lab, reader):
    """RFC 8754: the first address is what the rules see, the packet goes on to another."""
    result = lab.python(
        "import socket\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "hop, end = (socket.inet_pton(socket.AF_INET6, a) for a in ('2001:db8::a', '2001:db8::b'))\n"
        "header = bytes((0, 4, 4, 1, 1, 0, 0, 0)) + end + hop\n"
        "try:\n"
        "    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RTHDR, header)\n"
        "    s.sendto(b'?', ('2001:db8::b', 443))\n"
        "except OSError as e: result = '%s: %s' % (type(e).__name__, e)\n"
    )
    if result is not None and not str(result).startswith("PermissionError"):
        lacks("a kernel that sends segment routing headers", str(result), optional=True)
    line = reader.expect(dest="2001:db8::a")
    assert (line["proto"], line["port"]) == (17, None)


def test_retries_are_told_as_a_count(lab, reader):
    for _ in range(20):
        lab.connect("198.51.100.2", 443, "udp")
    first = reader.expect(type="pending", dest="198.51.100.2")
    counts = []
    while sum(counts) < 19:
        line = reader.expect(type="again", of="pending", dest="198.51.100.2", port=443, proto=17)
        assert line["id"] == first["id"]
        assert line["class"] == "default"
        counts.append(line["count"])
    assert sum(counts) == 19


def test_other_ports_and_protocols_are_requests_of_their_own(lab, reader):
    for port, proto in ((443, "tcp"), (80, "tcp"), (443, "udp")):
        lab.connect("198.51.100.3", port, proto)
        reader.expect(type="pending", dest="198.51.100.3", port=port, proto=6 if proto == "tcp" else 17)


def test_labels_are_passed_on(lab):
    with Reader(lab, call="main('c1', sys.argv[1], None, {'project': 'de\"mo\\x1b'})") as reader:
        lab.connect("198.51.100.4", 443)
        assert reader.expect(type="pending")["dossier"] == {"project": 'de"mo\x1b'}


def test_a_flood_is_accounted_for_to_the_last_packet(lab, reader, rounds):
    many, same = rounds(50000), rounds(30000)
    lab.flood(many)
    reader.until_accounted(many)
    assert reader.accounted("pending") + reader.accounted("lost") <= many
    lab.flood(same, same=True, first="198.51.100.77")
    reader.until_accounted(many + same)
    assert (
        sum(line.get("dest") == "198.51.100.77" and line["type"] == "pending" for line in reader.lines) == 1
    )


def test_two_floods_at_once_are_accounted_for(lab, reader, rounds):
    number = rounds(5000)
    code_ = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for i in range(%d):\n"
        "  for to in ('198.51.100.5', '198.51.100.202', '203.0.113.%%d' %% (i %% 250)):\n"
        "    try: s.sendto(b'?' * (1 + i %% 3), (to, 4444))\n"
        "    except OSError: pass\n"
    )
    lab.python(code_ % number)
    reader.expect(type="pending", dest="198.51.100.5")
    reader.expect(type="bypass", dest="198.51.100.202")
    reader.until_accounted(3 * number - 2)


def overrun(lab, reader):
    """While it is stopped more comes than the kernel keeps for it; each packet is accounted for."""
    number = 0
    os.kill(reader.pid, signal.SIGSTOP)
    while not lab.netlink(reader.pid)["Drops"]:
        lab.flood(5000, same=True, first="198.51.100.6")
        number += 5000
    os.kill(reader.pid, signal.SIGCONT)
    while not reader.accounted("lost"):
        assert reader.read(PATIENCE)
    assert reader.accounted("lost") == 1  # some were, at the end; the next packet's number tells how many
    eventually(lambda: lab.netlink(reader.pid)["Rmem"] == 0, what="the next packet finds room")
    lab.connect("198.51.100.6", 443, "udp")
    reader.until_accounted(number + 1)
    assert {line["where"] for line in reader.lines if line["type"] == "lost"} == {"kernel"}


@pytest.mark.thorough
def test_what_the_kernel_had_to_drop_is_counted(lab, reader):
    """It keeps 16 MB for root; what an ordinary user may have is less, as a rule, and tried below."""
    overrun(lab, reader)


FLOOD = """
import socket
to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        to.sendto(b"?", ("198.51.100.7", 443))
    except OSError:
        pass
"""
BIND_AGAIN = """
import os, select, sys, time
sys.path.insert(0, sys.argv[1])
from simple_clearance.reader import packetlog
packetlog.RECEIVE_BUFFER = 1  # the least that there is: it may overrun before the acknowledgement is in it
binds = overrun = 0
until = time.monotonic() + float(sys.argv[3])
while binds < int(sys.argv[2]) or not overrun and time.monotonic() < until:
    log = packetlog.PacketLog()
    binds += 1
    overrun += log.lossy
    log.close()
print(overrun)
"""


def test_a_buffer_that_overruns_while_it_binds_is_a_loss_and_no_failure(lab):
    """Without the root of the host, whose buffers are as large as it likes."""
    flood = subprocess.Popen([*lab.enter(), sys.executable, "-I", "-S", "-c", FLOOD])
    try:
        argv = [*lab.enter(), sys.executable, "-I", "-c", BIND_AGAIN, ROOT, "3000", str(PATIENCE)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    finally:
        flood.kill()
        flood.wait()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert int(done.stdout) > 0


# --- it waits for nobody


def test_a_stdout_that_nobody_reads_stops_nothing_and_what_is_lost_is_counted(lab, reader):
    lab.flood(45000)
    reader.until_accounted(45000)
    assert reader.accounted("lost") > 0  # 45,000 lines are more than its backlog and the pipe hold
    assert {line["where"] for line in reader.lines if line["type"] == "lost"} == {"reader"}
    lab.connect("198.51.100.8", 443)
    reader.expect(type="pending", dest="198.51.100.8")


def test_no_flag_is_set_on_a_descriptor_that_others_share(lab):
    pairs = [os.pipe(), pty.openpty(), [end.detach() for end in socket.socketpair()]]
    for ours, theirs in pairs:
        try:
            before = flags(theirs)
            with Reader(lab, stdout=theirs) as reader:
                assert b"container_started" in os.read(ours, 4096), reader.errors()
                assert flags(theirs) == before
                assert reader.end() == 0
        finally:
            os.close(ours)
            os.close(theirs)


def test_it_writes_to_a_file(lab, tmp_path):
    with open(tmp_path / "events", "wb") as file, Reader(lab, stdout=file) as reader:
        path = tmp_path / "events"
        eventually(path.read_text)
        lab.connect("198.51.100.10", 443)
        lines = eventually(lambda: path.read_text().splitlines()[1:])
        assert json.loads(lines[0])["dest"] == "198.51.100.10"
        assert reader.end() == 0


def test_it_writes_to_a_socket_that_is_not_read(lab):
    ours, theirs = socket.socketpair()
    with ours, theirs, Reader(lab, stdout=theirs) as reader:
        theirs.close()
        ours.settimeout(PATIENCE)
        received = ours.recv(1 << 16)
        lab.flood(5000)  # a socket holds a thousand
        while received.count(b"\n") < 5001:
            received += ours.recv(1 << 16)
        assert reader.process.poll() is None


# --- when it ends


def test_it_ends_when_its_stdin_hangs_up(lab, reader):
    assert reader.end() == 0
    assert reader.errors() == ""
    assert lab.holder() == 0


def test_it_ends_when_a_socket_on_its_stdin_hangs_up(lab):
    ours, theirs = socket.socketpair()
    with ours, theirs, Reader(lab, stdin=theirs) as reader:
        theirs.close()
        ours.send(b"what it never reads\n" * 100)
        lab.connect("198.51.100.11", 443)
        reader.expect(type="pending")
        ours.shutdown(socket.SHUT_WR)
        assert reader.wait() == 0


def test_it_ends_when_a_terminal_on_its_stdin_hangs_up(lab):
    ours, theirs = pty.openpty()
    with Reader(lab, stdin=theirs) as reader:
        os.close(theirs)
        os.write(ours, b"y\n")
        lab.connect("198.51.100.12", 443)
        reader.expect(type="pending")
        os.close(ours)
        assert reader.wait() == 0


def test_a_stdin_that_is_nothing_or_a_file_does_no_harm(lab, tmp_path):
    (tmp_path / "file").write_text("q\n")
    for path in (os.devnull, tmp_path / "file"):
        with open(path, "rb") as stdin, Reader(lab, stdin=stdin) as reader:
            lab.connect("198.51.100.13", 443)
            reader.expect(type="pending")


def test_it_does_without_standard_descriptors(lab):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh"]
    with Reader(lab, argv=shell) as reader:
        lab.connect("198.51.100.14", 443)
        reader.expect(type="pending")
        reader.process.terminate()
        assert reader.wait() == 0


def test_it_ends_with_its_parent(lab):
    middle = (
        "import subprocess, sys\n"
        "argv = [sys.executable, '-I', '-S', '-c', *sys.argv[1:]]\n"
        "p = subprocess.Popen(argv, stdin=subprocess.DEVNULL)\n"
        "print(p.pid, flush=True)\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", middle, code(), lab.netns], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        pid, started = int(parent.stdout.readline()), parent.stdout.readline()
        assert b"container_started" in started
        assert lab.holder() == pid
        parent.kill()
        eventually(lambda: lab.holder() == 0)
        assert parent.stdout.read() == b""


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
def test_it_ends_where_its_parent_had_ended_before_it_looked(lab, whose):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    told = "from simple_clearance.reader import reader; sys.exit(reader.tell('c1', sys.argv[2], %d))"
    told = "import sys; sys.path.insert(0, sys.argv[1]); " + told % (ended.pid if whose == "nobody's" else 1)
    done = subprocess.run(
        [sys.executable, "-c", told, ROOT, lab.netns], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")


def test_it_ends_when_nobody_is_left_to_read_its_stdout(lab, reader):
    reader.process.stdout.close()
    assert reader.wait() == 0
    reader.process.stdout = None


def test_it_tells_the_end_of_the_container():
    with Lab() as short_lived:
        call = (
            "main('c1', sys.argv[1],"
            " __import__('simple_clearance.system.pidfd', fromlist=['*']).pidfd_open(%d))"
        )
        with Reader(short_lived, call=call % short_lived.pid) as reader:
            short_lived.connect("198.51.100.15", 443, "udp")
            short_lived.connect("198.51.100.15", 443, "udp")
            short_lived.end()
            assert reader.wait() == 0
            while reader.read(0):
                pass
            assert reader.lines[-1] == {"type": "container_exited", "container": "c1", "reason": "poststop"}
            assert reader.accounted() == 2


def test_without_a_path_it_asks_podman_and_tells_the_end(host):
    with Lab() as short_lived:
        host.container("c1", short_lived, dossier__task="t-7")
        role = "__import__('simple_clearance.cli').cli.main(['--as-reader', '/nowhere', 'c1', '--emit=json'])"
        with Reader(short_lived, call=role, env=host.env()) as reader:
            short_lived.connect("198.51.100.22", 443)
            assert reader.expect(type="pending")["dossier"] == {"task": "t-7"}
            short_lived.end()
            assert reader.expect(type="container_exited")["reason"] == "poststop"
            assert reader.wait() == 0


def test_sigterm_ends_it_with_0(lab, reader):
    reader.process.terminate()
    assert reader.wait() == 0
    assert reader.errors() == ""


def test_it_sleeps_while_nothing_happens(lab, reader):
    lab.connect("198.51.100.16", 443, "udp")
    lab.connect("198.51.100.16", 443, "udp")
    reader.expect(type="again")
    comes_to_rest([reader.pid])


# --- what it may do


def has_no_privilege(reader):
    """Nor a group: but where the kernel lets nobody leave one, which then reaches no file."""
    status = reader.status()
    assert {
        name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")
    } == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), 0)
    with open("/proc/%d/setgroups" % reader.pid) as file:
        may_leave = file.read() == "allow\n"
    assert not (may_leave and status["Groups"].strip())
    return may_leave


def test_it_keeps_no_privilege(reader):
    has_no_privilege(reader)
    try:
        assert os.readlink("/proc/%d/root" % reader.pid).endswith("/fdinfo")
    except PermissionError:  # it is another user by now, whom only root may look into
        assert os.getuid() != 0
    if os.getuid() == 0:
        status = reader.status()
        highest = str(confinement._highest_mapped("/proc/self/uid_map"))  # which no other process has
        assert status["Uid"].split() == status["Gid"].split() == [highest] * 4


def test_it_believes_the_kernel_alone(lab, reader):
    """Anyone inside may send to its netlink address; a message made up there would be a forged request."""
    payload = bytes.fromhex("450000200000000040110000c0000201c633640700350035000c0000") + bytes(4)
    forged = (
        "import socket, struct\n"
        "def a(kind, value):\n"
        "    return struct.pack('=HH', 4 + len(value), kind) + value + bytes(-len(value) %% 4)\n"
        "body = struct.pack('>BBH', 2, 0, 100) + a(10, b'TEROK_SHIELD_BLOCKED: \\0') + a(9, %r)\n"
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n"
        "result = s.sendto(struct.pack('=IHHII', 16 + len(body), 0x400, 0, 0, 0) + body, (%d, 0))\n"
    ) % (payload, reader.pid)
    assert lab.python(forged) > 0
    lab.connect("198.51.100.17", 443, "udp")
    assert reader.expect(type="pending")["dest"] == "198.51.100.17"
    assert reader.lines == []


# --- when it can't start


def failed(argv, *told, **options):
    """The exit code and the lines on stderr of a reader that could not start, and `told` nothing else."""
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False, **options)
    assert list(map(json.loads, done.stdout.splitlines())) == list(told)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stderr.decode().splitlines()


def test_another_listener_is_named(lab, reader):
    held = {"type": "held", "container": "c1", "pid": reader.pid}
    rc, (message, hint) = failed([sys.executable, "-I", "-S", "-c", code(), lab.netns], held)
    name = reader.status()["Name"]
    assert rc == 3
    assert message == "simple-clearance: NFLOG group 100 is held by pid %d (%s)" % (reader.pid, name)
    assert hint.startswith("hint: ")
    lab.connect("198.51.100.18", 443)
    reader.expect(type="pending")  # the one that listens is not disturbed


@pytest.mark.parametrize("path", ["/nonexistent", "/dev/null", "/proc/self/ns/mnt"])
def test_a_path_that_is_no_network_namespace_is_refused(path):
    rc, lines = failed([sys.executable, "-I", "-S", "-c", code(), path])
    assert rc == 3
    assert lines[0].startswith("simple-clearance: can't ")
    assert lines[1] == (
        "hint: a container's network namespace is /proc/PID/ns/net of a process in it, or /run/netns/NAME"
    )


def test_somebody_elses_container_is_refused(lab, home):
    need("root")
    python = reachable_python(ORDINARY)
    rc, lines = failed([*as_user(ORDINARY), python, "-I", "-S", "-c", code(home=home), lab.netns])
    assert rc == 3
    assert lines[0].startswith("simple-clearance: ")
    assert "ermission" in lines[0] or "permitted" in lines[0]
    assert lines[1].startswith("hint: ")


# --- ordinary users


@pytest.fixture(scope="module", name="home")
def _home():
    """The package where every user can read it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(os.path.join(ROOT, "simple_clearance"), os.path.join(folder, "simple_clearance"))
        yield folder


@pytest.fixture(name="users_lab")
def _users_lab():
    with Lab(user=ORDINARY if os.getuid() == 0 else 0) as it:
        yield it


def test_an_ordinary_user_reads_their_own_container(users_lab, home):
    python = reachable_python(ORDINARY)
    with Reader(users_lab, argv=as_user(ORDINARY), python=python, home=home) as reader:
        users_lab.connect("198.51.100.19", 443)
        line = reader.expect(type="pending", dest="198.51.100.19")
        assert line["uid"] == 0  # as the container sees it
        assert int(reader.status()["CapEff"], 16) == 0
        held = {"type": "held", "container": "c1", "pid": reader.pid}
        argv = [*as_user(ORDINARY), python, "-I", "-S", "-c", code(home=home), users_lab.netns]
        rc, lines = failed(argv, held)
        assert rc == 3
        assert "NFLOG group 100 is held by pid %d (" % reader.pid in lines[0]
        overrun(users_lab, reader)
        assert reader.end() == 0


@pytest.mark.parametrize("ids", ["many", "one"])
def test_an_ordinary_users_keeps_no_group_that_it_may_leave(home, ids):
    """With ids of its own, as in podman's containers, it may; in a namespace of `unshare -r` nobody may."""
    python, argv = reachable_python(ORDINARY), as_user(ORDINARY, group=4242)
    with Lab(user=ORDINARY if os.getuid() == 0 else 0, ids=ids) as lab, Reader(
        lab, argv=argv, python=python, home=home
    ) as reader:
        assert has_no_privilege(reader) == (ids == "many")
        lab.connect("198.51.100.23", 443)
        reader.expect(type="pending", dest="198.51.100.23")


def test_root_reads_an_ordinary_users_container(users_lab):
    need("root")
    with Reader(users_lab) as reader:
        users_lab.connect("198.51.100.20", 443)
        reader.expect(type="pending", dest="198.51.100.20")


def test_every_python_reads(lab, every_python):
    with Reader(lab, python=every_python.path) as reader:
        lab.connect("198.51.100.21", 443)
        reader.expect(type="pending", dest="198.51.100.21")
        lab.flood(500)
        reader.until_accounted(500)
        assert int(reader.status()["CapEff"], 16) == 0
        assert reader.end() == 0
        assert reader.errors() == ""
