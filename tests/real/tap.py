"""Listen to NFLOG group 100 of a container, as its ordinary user: tap.py PID [only-net].

Prints `listening` with its line of the kernel's table, or the name of an errno, then for each
packet a JSON object: its prefix, its destination, its attribute types.  Ends with its stdin.
Independent of the project's own reader on purpose.
"""

import errno
import fcntl
import ipaddress
import json
import os
import select
import socket
import struct
import sys

NS_GET_USERNS = 0xB701  # linux/nsfs.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
NETLINK_NETFILTER, NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG = 12, 4, 1
NLMSG_ERROR = 2
GROUP = 100


def request(*attributes, family=socket.AF_UNSPEC):
    body = struct.pack("!BBH", family, 0, GROUP)
    for kind, data in attributes:
        body += struct.pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)
    header = struct.pack("=IHHII", len(body) + 16, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, 5, 0, 0)
    return header + body


def ask(nflog, message):
    nflog.send(message)
    answer = nflog.recv(8192)
    while struct.unpack_from("=H", answer, 4)[0] != NLMSG_ERROR:  # a packet that was quicker
        answer = nflog.recv(8192)
    code = -struct.unpack_from("=i", answer, 16)[0]
    if code:
        raise OSError(code, os.strerror(code))


def attributes(data):
    found, at = {}, 20
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x7FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found


def told(found):
    packet = found[9]
    four = packet[0] >> 4 == 4
    return {
        "prefix": found[10].rstrip(b"\0").decode(),
        "dest": str(ipaddress.ip_address(packet[16:20] if four else packet[24:40])),
        "proto": packet[9] if four else packet[6],
        "attributes": sorted(found),
    }


def main(pid, only_net):
    namespace = os.open("/proc/%s/ns/net" % pid, os.O_RDONLY)
    if not only_net:
        os.setns(fcntl.ioctl(namespace, NS_GET_USERNS), CLONE_NEWUSER)
    os.setns(namespace, CLONE_NEWNET)
    nflog = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    nflog.bind((0, 0))
    ask(nflog, request((1, b"\1")))  # NFULNL_CFG_CMD_BIND
    ask(nflog, request((2, struct.pack("!IBx", 128, 2))))  # NFULA_CFG_MODE: 128 bytes of the packet
    ask(nflog, request((5, struct.pack("!I", 1))))  # NFULA_CFG_QTHRESH: each at once
    with open("/proc/self/net/netfilter/nfnetlink_log") as table:
        print("listening", json.dumps(table.read().split()), flush=True)
    while nflog in select.select([nflog, sys.stdin], [], [])[0]:
        data = nflog.recv(1 << 16)
        while len(data) >= 16:
            size, kind = struct.unpack_from("=IH", data)
            if kind == NFNL_SUBSYS_ULOG << 8:
                print(json.dumps(told(attributes(data[:size]))), flush=True)
            data = data[(size + 3) & ~3 :]


try:
    main(sys.argv[1], "only-net" in sys.argv[2:])
except OSError as error:
    sys.exit(print(errno.errorcode[error.errno]))
