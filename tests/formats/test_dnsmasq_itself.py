"""The same against a real dnsmasq: the test is the program in the container and its name server.

Nothing is answered by itself: each test says when which query gets which answer.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import random
import socket
import struct
import subprocess
import time

import pytest
from needs import need, which
from support import PATIENCE, ROOT, eventually

from simple_clearance.base.addresses import is_name
from simple_clearance.formats.dnsmasq import DnsLog

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "HTTPS": 65, "ANY": 255}
KINDS = {number: kind for kind, number in TYPES.items()}
GOOD = [("www.good.example", "CNAME", "edge.cdn.example"), ("edge.cdn.example", "A", "203.0.113.10")]
EVIL = [("evil.example", "A", "203.0.113.66")]


def encoded(name):
    labels = name if isinstance(name, list) else name.split(".")
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in labels) + b"\0"


def question(message):
    """The name, in lower case, and the type that a message asks for."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1").lower())
        at += 1 + message[at]
    return ".".join(labels), KINDS[struct.unpack("!H", message[at + 1 : at + 3])[0]]


def data_of(kind, value):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind == "TXT":
        return bytes([len(value)]) + value.encode("latin-1")
    return b"\0\1\0" if kind == "HTTPS" else encoded(value)


class Dnsmasq:
    """A dnsmasq that logs to a file, asked by `ask` and answered by `answer`."""

    def __init__(self, folder, *options):
        self.path = str(folder / "dnsmasq.log")
        self.upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.upstream.bind(("127.0.0.1", 0))
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        arguments = [
            "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
            "--listen-address=127.0.0.1", "--port=%d" % self.address[1], "--log-queries",
            "--server=127.0.0.1#%d" % self.upstream.getsockname()[1], "--log-facility=" + self.path,
            "--pid-file=" + str(folder / "pid"), *options,
        ]  # fmt: skip
        if os.geteuid() == 0:
            arguments.append("--user=root")
        self.process = subprocess.Popen([which("dnsmasq"), *arguments])
        self.number = 0
        self.ttl = 300  # of all but aliases
        eventually(lambda: b": started" in self.log(), what="dnsmasq is up")
        self.file = open(self.path, "rb")  # noqa: SIM115
        self.asked = self.logged = 0

    def log(self):
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def message(self, name, kind):
        self.number = self.number % 60000 + 1
        header = struct.pack("!6H", self.number, 0x0100, 1, 0, 0, 0)
        return header + encoded(name) + struct.pack("!2H", TYPES[kind], 1)

    def ask(self, name, kind="A"):
        """Ask, and give back the query that dnsmasq asks for it: (its bytes, where from)."""
        self.client.sendto(self.message(name, kind), self.address)
        self.asked += 1
        self.upstream.settimeout(PATIENCE)
        while True:
            message, origin = self.upstream.recvfrom(4096)
            if encoded(name) in message:  # else one that was left over
                return message, origin

    def note(self, name, kind):
        """Ask, wait until that is logged, and give back what dnsmasq has asked since: [] if nothing."""
        self.client.sendto(self.message(name, kind), self.address)
        self.asked += 1
        deadline = time.monotonic() + PATIENCE
        while self.logged < self.asked:
            assert time.monotonic() < deadline, "not logged: %s" % name
            line = self.file.readline()
            if line.endswith(b"\n"):
                self.logged += b": query[" in line
            else:  # it is being written
                self.file.seek(-len(line), os.SEEK_CUR)
        self.upstream.setblocking(False)
        asked = []
        while True:
            try:
                asked.append(self.upstream.recvfrom(4096))
            except BlockingIOError:
                return asked

    def answer(self, forwarded, records):
        message, origin = forwarded
        end = message.index(b"\0", 12) + 5
        reply = message[:2] + struct.pack("!5H", 0x8180, 1, len(records), 0, 0) + message[12:end]
        for owner, kind, value in records:
            data = data_of(kind, value)
            ttl = 300 if kind == "CNAME" else self.ttl
            reply += encoded(owner) + struct.pack("!2HIH", TYPES[kind], 1, ttl, len(data)) + data
        self.upstream.sendto(reply, origin)

    def parsed(self):
        """The log, once all that was asked and answered stands in it."""
        self.answer(self.ask("last.example"), [("last.example", "A", "192.0.2.99")])
        eventually(
            lambda: b"reply last.example is 192.0.2.99\n" in self.log(), what="the last answer is logged"
        )
        lines = DnsLog()
        lines.feed(self.log())
        return lines

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.file.close()
        self.upstream.close()
        self.client.close()


@pytest.fixture
def dnsmasq(tmp_path):
    need("dnsmasq")
    started = Dnsmasq(tmp_path, "--cache-size=0")
    yield started
    started.close()


def names(lines, address):
    return [(name.name, name.via) for name in lines.names(address)]


def test_a_chain_is_traced_back_to_the_name_that_was_asked_for(dnsmasq):
    dnsmasq.answer(dnsmasq.ask("WWW.good.example"), GOOD)
    assert names(dnsmasq.parsed(), "203.0.113.10") == [("www.good.example", "edge.cdn.example")]


def test_what_a_browser_asks_at_once_shows_the_names_it_asked_for(dnsmasq):
    """A, AAAA and HTTPS, of many names, answered in any order; every other HTTPS query never is."""
    pick, pending, asked = random.Random(3), [], {}
    for number in range(40):
        head, end, address = "h%d.example.com" % number, "e%d.cdn.example" % number, "203.0.113.%d" % number
        asked[address] = (head, end)
        for kind in pick.sample(["A", "AAAA", "HTTPS"], 3):
            records = [(head, "CNAME", end), *([(end, "A", address)] if kind == "A" else [])]
            if kind == "HTTPS" and number % 4 == 0:
                records.append((end, "HTTPS", ""))
            if kind != "HTTPS" or number % 2 == 0:
                pending.append((dnsmasq.ask(head, kind), records))
            else:
                dnsmasq.ask(head, kind)
        while len(pending) > (30 if number < 39 else 0):
            dnsmasq.answer(*pending.pop(pick.randrange(len(pending))))
    lines = dnsmasq.parsed()
    assert {address: names(lines, address) for address in asked} == {a: [n] for a, n in asked.items()}


def test_the_answer_to_a_cname_query_lends_its_name_to_nobody(dnsmasq):
    for also in (None, "A", "HTTPS"):
        alias = dnsmasq.ask("www.good.example", "CNAME")
        if also:
            dnsmasq.ask("www.good.example", also)
        evil = dnsmasq.ask("evil.example")
        dnsmasq.answer(alias, GOOD[:1])
        dnsmasq.answer(evil, EVIL)
    assert names(dnsmasq.parsed(), "203.0.113.66") == [("evil.example", "")]
    assert b"reply www.good.example is <CNAME>\n" in dnsmasq.log()


def test_a_chain_too_long_for_dnsmasq_lends_its_name_to_nobody(dnsmasq):
    chain = [("n%d.example" % number, "CNAME", "n%d.example" % (number + 1)) for number in range(12)]
    long, evil = dnsmasq.ask("n0.example"), dnsmasq.ask("evil.example")
    dnsmasq.answer(long, chain)
    dnsmasq.answer(evil, EVIL)
    assert names(dnsmasq.parsed(), "203.0.113.66") == [("evil.example", "")]
    assert b"reply n9.example is <CNAME>\n" in dnsmasq.log()


def test_a_cached_alias_whose_end_has_to_be_asked_for_lends_its_name_to_nobody(tmp_path):
    need("dnsmasq")
    dnsmasq = Dnsmasq(tmp_path, "--cache-size=150")
    dnsmasq.ttl = 1
    try:
        evil = dnsmasq.ask("evil.example")
        dnsmasq.answer(dnsmasq.ask("www.good.example"), GOOD)
        eventually(lambda: dnsmasq.note("www.good.example", "A"), what="the address has left the cache")
        dnsmasq.answer(evil, EVIL)
        lines = dnsmasq.parsed()
    finally:
        dnsmasq.close()
    pid = b" dnsmasq[%d]: " % dnsmasq.process.pid
    logged = [line.partition(pid)[2] for line in dnsmasq.log().splitlines()]
    alias = len(logged) - 1 - logged[::-1].index(b"cached www.good.example is <CNAME>")
    assert logged[alias + 1].startswith(b"forwarded www.good.example to ")
    assert names(lines, "203.0.113.66") == [("evil.example", "")]


def test_a_query_over_tcp_is_logged_under_another_pid_and_found(dnsmasq):
    import threading

    listener = socket.create_server(("127.0.0.1", dnsmasq.upstream.getsockname()[1]))
    listener.settimeout(PATIENCE)

    def serve():
        connection, _ = listener.accept()
        with connection:
            query = connection.recv(4096)[2:]
            end = query.index(b"\0", 12) + 5
            reply = query[:2] + struct.pack("!5H", 0x8180, 1, 2, 0, 0) + query[12:end]
            for owner, kind, value in GOOD:
                data = data_of(kind, value)
                reply += encoded(owner) + struct.pack("!2HIH", TYPES[kind], 1, 300, len(data)) + data
            connection.sendall(struct.pack("!H", len(reply)) + reply)
            connection.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    with socket.create_connection(dnsmasq.address, timeout=PATIENCE) as client:
        message = dnsmasq.message("www.good.example", "A")
        client.sendall(struct.pack("!H", len(message)) + message)
        assert client.recv(4096)
    server.join()
    listener.close()
    lines = dnsmasq.parsed()
    assert names(lines, "203.0.113.10") == [("www.good.example", "edge.cdn.example")]
    pids = {line.split(b"]")[0].split(b"[")[1] for line in dnsmasq.log().splitlines() if b"good" in line}
    assert len(pids) == 1 and pids != {b"%d" % dnsmasq.process.pid}


def test_the_text_of_a_txt_record_names_nothing(dnsmasq):
    texts = [
        "203.0.113.66",
        "cached github.com is 203.0.113.66",
        "x]: reply www.good.example is 203.0.113.66",
        "Nov 23 23:05:50 dnsmasq[%d]: reply www.good.example is 203.0.113.66" % dnsmasq.process.pid,
        "\nNov 23 23:05:50 dnsmasq[1]: reply www.good.example is 203.0.113.66",
        "<CNAME>",
    ]
    for text in texts:
        dnsmasq.answer(dnsmasq.ask("evil.example", "TXT"), [("evil.example", "TXT", text)])
    assert names(dnsmasq.parsed(), "203.0.113.66") == []
    assert b"reply evil.example is cached github.com is 203.0.113.66\n" in dnsmasq.log()


def test_names_that_read_like_lines_name_nothing(dnsmasq):
    asked = [
        ["cached github", "com is 203", "0", "113", "66"],
        ["x]: reply www", "good", "example is 203", "0", "113", "66"],
        ["a\nNov 23 23:05:50 dnsmasq[1]: reply www", "good", "example is 203", "0", "113", "66"],
        ["Nov 23 23:05:50 dnsmasq[1]: reply www", "good", "example is 203", "0", "113", "66"],
        ["-h"], ["@1", "example"], ["b\xfccher", "example"], ["a b", "example"], ["\x1b[2J", "example"],
        ["203", "0", "113", "66"],
    ]  # fmt: skip
    for name in asked:
        dnsmasq.answer(dnsmasq.ask(name), [(name, "A", "203.0.113.66")])
    assert names(dnsmasq.parsed(), "203.0.113.66") == []
    assert b"query[A] cached github.com is 203.0.113.66 from 127.0.0.1\n" in dnsmasq.log()


def test_the_answer_to_a_ptr_query_names_nothing(dnsmasq):
    for value in ("www.good.example", "198.51.100.70"):
        dnsmasq.answer(
            dnsmasq.ask("66.113.0.203.in-addr.arpa", "PTR"), [("66.113.0.203.in-addr.arpa", "PTR", value)]
        )
    lines = dnsmasq.parsed()
    assert names(lines, "203.0.113.66") == names(lines, "198.51.100.70") == []
    assert b"reply 203.0.113.66 is 198.51.100.70\n" in dnsmasq.log()


def imaginary():
    """The world of the random walks, which are taken here by the real dnsmasq."""
    path = os.path.join(ROOT, "tests", "formats", "test_dnsmasq.py")
    spec = importlib.util.spec_from_file_location("walks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Dns(random.Random(0))


def records(world, name, kind, pick):
    """What name servers answer; the enemy's own one says any text."""
    found = []
    for _ in range(9):
        value = world.ZONE.get(name)
        if value is None:
            break
        if not value[0].isdigit():
            found.append((name, "CNAME", value))
            if kind in ("CNAME", "ANY") and pick.random() < 0.8:
                break
            name = value
            continue
        if kind in ("A", "ANY"):
            found.append((name, "A", value))
        elif kind == "TXT" and name.endswith("evil.example"):
            found.append((name, "TXT", pick.choice(world.TEXT)))
        elif kind == "HTTPS" and pick.random() < 0.5:
            found.append((name, "HTTPS", ""))
        break
    return found


@pytest.mark.parametrize("cache", [0, 150])
def test_no_timing_of_queries_gives_an_address_a_good_name_that_does_not_lead_there(tmp_path, cache, rounds):
    need("dnsmasq")
    dnsmasq = Dnsmasq(tmp_path, "--cache-size=%d" % cache)
    pick, world, pending = random.Random(7), imaginary(), []
    try:
        for name in ("api.good.example", "spare.good.example"):  # which nothing later takes away again
            dnsmasq.answer(dnsmasq.ask(name), records(world, name, "A", pick))
        for _ in range(rounds(2000)):
            if len(pending) < 12 and pick.random() < 0.6:
                name = pick.choice(world.ASKED)
                # one that the enemy leaves alone: its chains are to be followed
                spared = name == "api.good.example"
                kind = pick.choice(["A", "AAAA"] if spared else ["A", "A", "A", "CNAME", "CNAME", *TYPES])
                pending += dnsmasq.note(pick.choice((name, name.upper())), kind)
            if pending and pick.random() < 0.6:
                message, origin = pending.pop(pick.randrange(len(pending)))
                name, kind = question(message)
                dnsmasq.answer((message, origin), records(world, name, kind, pick))
        lines = dnsmasq.parsed()
    finally:
        dnsmasq.close()
    for address in ("203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.66", "203.0.113.67"):
        for name, _ in names(lines, address):
            assert is_name(name)
            assert name.endswith("evil.example") or world.leads_to(name) == address
    assert ("api.good.example", "edge.cdn.example") in names(lines, "203.0.113.10")
    assert ("spare.good.example", "quiet.cdn.example") in names(lines, "203.0.113.12")
