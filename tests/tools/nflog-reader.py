"""Stands where terok-shield's bridge reader stands: it holds NFLOG group 100 and writes the audit log.

Two processes with the real one's command line, the second (`--hub-socket=` more) inside the
namespace of LAB_PID.  At most one line in 30 s for an address, up to 1 s late (the kernel's own
flush timeout), blocked packets only.  STUBBORN=deaf: both ignore SIGTERM; careless: they catch it.
"""

import errno
import os
import signal
import socket
import struct
import sys
import time

# linux/netfilter/nfnetlink_log.h
NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG = 4 << 8, 4 << 8 | 1
NFULA_PAYLOAD, NFULA_PREFIX = 9, 10
NFULA_CFG_CMD, NFULA_CFG_MODE = 1, 2
NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET = 1, 2
GROUP = 100
LINE = '{"ts":"%s","container":"%s","action":"blocked","dest":"%s","port":%d,"proto":"%s"}\n'


def configure(link, kind, payload):
    attribute = struct.pack("=HH", 4 + len(payload), kind) + payload
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=BB", socket.AF_UNSPEC, 0) + struct.pack(">H", GROUP) + attribute
    link.send(struct.pack("=IHHII", 16 + len(body), NFULNL_MSG_CONFIG, 5, 0, 0) + body)  # REQUEST | ACK
    error = struct.unpack_from("=i", link.recv(4096), 16)[0]
    if error:
        sys.exit("nflog: " + os.strerror(-error))


def messages(data):
    at = 0
    while at + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if kind == NFULNL_MSG_PACKET:
            yield data[at + 20 : at + length]
        at += max(length + 3 & ~3, 16)


def attributes(data):
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x7FFF] = data[at + 4 : at + length]
        at += max(length + 3 & ~3, 4)
    return found


def destination(packet):
    if packet[0] >> 4 == 4:
        dest, proto, rest = (
            socket.inet_ntop(socket.AF_INET, packet[16:20]),
            packet[9],
            packet[(packet[0] & 15) * 4 :],
        )
    else:
        dest, proto, rest = socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[6], packet[40:]
    known = {6: "tcp", 17: "udp"}.get(proto)
    return dest, struct.unpack_from(">H", rest, 2)[0] if known and len(rest) >= 4 else 0, known or str(proto)


def listen(state_dir, sid):
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    link.bind((0, 0))
    configure(link, NFULA_CFG_CMD, struct.pack("=B", NFULNL_CFG_CMD_BIND))
    configure(link, NFULA_CFG_MODE, struct.pack(">IBx", 128, NFULNL_COPY_PACKET))
    print("listening", flush=True)
    told = {}
    while True:
        try:
            data = link.recv(1 << 17)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            continue  # more came than there was room for: it is lost
        for message in messages(data):
            found = attributes(message)
            if not found.get(NFULA_PREFIX, b"").startswith(b"TEROK_SHIELD_BLOCKED: "):
                continue
            try:
                dest, port, proto = destination(found[NFULA_PAYLOAD])
            except (IndexError, ValueError):
                continue  # a packet that is none
            now = time.monotonic()
            if now - told.get(dest, -30) < 30 or dest.startswith("ff02:"):
                continue
            told[dest] = now
            ts = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
            with open(os.path.join(state_dir, "audit.jsonl"), "a") as f:
                f.write(LINE % (ts, sid, dest, port, proto))


def main():
    state_dir, sid = sys.argv[1:3]
    stubborn = os.environ.get("STUBBORN")
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn == "deaf" else lambda *_: None)
    if sys.argv[-1].startswith("--hub-socket="):
        listen(state_dir, sid)
    pid = os.environ["LAB_PID"]
    flags = ["-n"]
    if os.getuid() and os.readlink("/proc/self/ns/user") != os.readlink("/proc/%s/ns/user" % pid):
        flags = ["-U", "-n", "--preserve-credentials"]
    inner = [sys.executable, "-I", "-S", *sys.argv, "--hub-socket=/run/terok/events/%s/ingester.sock" % sid]
    sys.exit(os.spawnvp(os.P_WAIT, "nsenter", ["nsenter", "-t", pid, *flags, "--", *inner]))


main()
